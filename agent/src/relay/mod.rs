//! Lets other agents through to the servers that this one is enrolled at, where they cannot dial out themselves: an HTTP
//! CONNECT proxy for those addresses and no others.
//!
//! What goes through is TLS between the other agent and the server, with their own keys: nothing is opened, kept or
//! believed here. Who may connect is for the network to say; all that is won by it is to reach a server that shakes hands
//! with anybody. Everything is bounded: connections, those of one peer, the bytes and the time of a request, silence.

mod request;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as Monotonic};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::daemon::stop::Stop;
use crate::transport::client::{parse_servers, plain};
use crate::transport::proxy::Proxy;
use request::{Refused, Request};

/// What is passed on at a time, in each direction.
const PIECE_BYTES: usize = 16 << 10;
/// Between two tries to accept when the process may not open more files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// What the relay is held to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once. Each takes two descriptors, and 1024 is what a process may have where nobody said otherwise.
    pub connections_max: usize,
    /// Connections of one address at once: an agent has three, and there may be several behind one address.
    pub of_peer_max: usize,
    /// The bytes of a request.
    pub request_bytes_max: usize,
    /// The time until it is there.
    pub request_wait: Duration,
    /// The time until the server is reached.
    pub connect_wait: Duration,
    /// The time in which nothing goes through. A long poll is silent for almost a minute, and an idle connection is kept
    /// for a little longer.
    pub silence_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 400,
            of_peer_max: 32,
            request_bytes_max: 8 << 10,
            request_wait: Duration::from_secs(10),
            connect_wait: Duration::from_secs(10),
            silence_max: Duration::from_mins(3),
        }
    }
}

/// Where the relay lets through to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// As in a URL: lower case, an IPv6 address in brackets.
    host: String,
    port: u16,
}

impl Target {
    fn of(url: &reqwest::Url) -> Option<Self> {
        Some(Self { host: url.host_str()?.to_owned(), port: url.port_or_known_default()? })
    }

    /// What is resolved.
    fn name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Relay {
    limits: Limits,
    /// Connections of each address.
    open: Mutex<HashMap<IpAddr, usize>>,
    targets: Vec<Target>,
    /// What this host itself goes through.
    proxy: Option<Proxy>,
}

impl Relay {
    /// A relay to these servers, `https://host:port`, through the proxy that this host needs itself.
    ///
    /// # Errors
    /// A sentence, when a server's address is none.
    pub fn to(servers: &[String], proxy: Option<Proxy>, limits: Limits) -> Result<Self, String> {
        let urls = parse_servers(servers).map_err(|error| error.to_string())?;
        let targets = urls.iter().filter_map(Target::of).collect();
        Ok(Self { limits, open: Mutex::default(), targets, proxy })
    }

    /// Serves whoever connects, until it is told to stop. What is open then ends.
    pub async fn serve(self, listener: TcpListener, mut stop: Stop) {
        let relay = Arc::new(self);
        tokio::select! {
            () = relay.accept(listener) => {}
            () = stop.requested() => {}
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "no connection can be taken");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            match Seat::take(&self, peer.ip().to_canonical()) {
                Ok(seat) => drop(tokio::spawn(async move { seat.relay.attend(stream, peer).await })),
                Err(refused) => {
                    tell_refused(peer, &refused);
                    // What does not fit into the socket's buffer at once is not worth waiting for.
                    let _ = stream.try_write(refused.answer().as_bytes());
                }
            }
        }
    }

    /// One connection, from its request to its end.
    async fn attend(&self, mut client: TcpStream, peer: SocketAddr) {
        match self.open(&mut client).await {
            Err(refused) => {
                tell_refused(peer, &refused);
                let told = async {
                    client.write_all(refused.answer().as_bytes()).await?;
                    client.shutdown().await
                };
                let _ = timeout(self.limits.request_wait, told).await;
            }
            Ok((target, server)) => {
                tracing::info!(%peer, %target, "let through");
                let begun = Monotonic::now();
                let (sent, received) = pass(client, server, self.limits.silence_max).await;
                let secs = begun.elapsed().as_secs();
                tracing::info!(%peer, %target, sent, received, secs, "ended");
            }
        }
    }

    /// What the client asks for, and a connection to it, with the client told so.
    async fn open(&self, client: &mut TcpStream) -> Result<(&Target, TcpStream), Refused> {
        let Limits { request_bytes_max, request_wait, connect_wait, .. } = self.limits;
        let read = timeout(request_wait, Request::read(client, request_bytes_max));
        let Request { authority, early } = read.await.map_err(|_| Refused::Slow)??;
        let asked = request::target(&authority).ok_or(Refused::Malformed)?;
        let target = self.targets.iter().find(|target| **target == asked);
        let target = target.ok_or_else(|| Refused::Elsewhere(plain(&authority)))?;
        let away = |why: io::Error| Refused::Away { target: target.to_string(), why: plain(&why.to_string()) };
        let late = |_| away(io::ErrorKind::TimedOut.into());
        let mut server = timeout(connect_wait, self.dial(target)).await.map_err(late)?.map_err(away)?;
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let answered = async {
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
            server.write_all(&early).await
        };
        timeout(connect_wait, answered).await.map_err(late)?.map_err(away)?;
        Ok((target, server))
    }

    /// A connection to the server, through this host's own proxy where it has one.
    async fn dial(&self, target: &Target) -> io::Result<TcpStream> {
        let Some(proxy) = &self.proxy else { return TcpStream::connect((target.name(), target.port)).await };
        let next = proxy.url().parse().ok().as_ref().and_then(Target::of);
        let next = next.ok_or_else(|| io::Error::other("the proxy's address is none"))?;
        let mut stream = TcpStream::connect((next.name(), next.port)).await?;
        request::connect(&mut stream, target, proxy.authorization().as_ref(), self.limits.request_bytes_max).await?;
        Ok(stream)
    }
}

/// A place among the connections.
struct Seat {
    relay: Arc<Relay>,
    peer: IpAddr,
}

impl Seat {
    fn take(relay: &Arc<Relay>, peer: IpAddr) -> Result<Self, Refused> {
        let mut open = relay.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.values().sum::<usize>() >= relay.limits.connections_max {
            return Err(Refused::Full);
        }
        let of_peer = open.entry(peer).or_default();
        if *of_peer >= relay.limits.of_peer_max {
            return Err(Refused::TooMany);
        }
        *of_peer += 1;
        Ok(Self { relay: Arc::clone(relay), peer })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.relay.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_peer) = open.get_mut(&self.peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

fn tell_refused(peer: SocketAddr, refused: &Refused) {
    tracing::warn!(%peer, why = %refused, "refused");
}

/// Passes everything on, in both directions, until both have ended, one breaks, or neither says anything for too long.
/// Answers how much went to the server and how much came from it.
async fn pass(mut client: TcpStream, mut server: TcpStream, silence_max: Duration) -> (u64, u64) {
    let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
    let moved = Notify::new();
    let silence = async { while timeout(silence_max, moved.notified()).await.is_ok() {} };
    {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let both = async {
            tokio::try_join!(
                copy(&mut from_client, &mut to_server, &sent, &moved),
                copy(&mut from_server, &mut to_client, &received, &moved),
            )
        };
        tokio::select! {
            _ = both => {}
            () = silence => {}
        }
    }
    (sent.into_inner(), received.into_inner())
}

async fn copy(
    from: &mut tokio::net::tcp::ReadHalf<'_>,
    to: &mut tokio::net::tcp::WriteHalf<'_>,
    bytes: &AtomicU64,
    moved: &Notify,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = from.read(&mut piece).await?;
        let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else { return to.shutdown().await };
        to.write_all(read).await?;
        bytes.fetch_add(length as u64, Ordering::Relaxed);
        moved.notify_one();
    }
}

#[cfg(test)]
mod tests;
