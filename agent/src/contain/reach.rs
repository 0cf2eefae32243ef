//! Whether an isolation lets through what it should: a server answers, and outside addresses get nothing.
//!
//! A server is asked by a TCP connection. Outside addresses are sent one UDP datagram each, which the kernel refuses at
//! once when its rules drop it (EPERM) or it has no route: nothing waits, and where the isolation holds nothing leaves.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use wire::containment::Endpoint;

use super::{Look, Scene, preview};

const CONNECT_MAX: Duration = Duration::from_secs(1);
const SERVERS_MAX: usize = 4;
/// Peers of the moment that are taken as outside addresses.
const PEERS_MAX: usize = 3;
/// Never anybody's (RFC 5737, RFC 3849), and routed like anything else.
const NOBODY: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];
/// discard
const PORT: u16 = 9;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reach {
    outside: Vec<IpAddr>,
    servers: Vec<SocketAddr>,
    /// A server answered before anything was done: if none did, none is missed afterwards.
    server_answered: bool,
}

impl Reach {
    /// Asks the servers, and picks addresses that will be outside.
    pub fn plan(scene: &Scene<'_>, servers: &[Endpoint], allow: &[Endpoint], resolvers: &[IpAddr]) -> Self {
        let sockets = servers.iter().filter_map(|server| Some(SocketAddr::new(server.address, server.port?)));
        let servers_asked: Vec<SocketAddr> = sockets.take(SERVERS_MAX).collect();
        let is_inside = |ip: &IpAddr| {
            let all = servers.iter().chain(allow);
            ip.is_loopback() || resolvers.contains(ip) || all.into_iter().any(|peer| covers(peer, *ip))
        };
        let peers = preview::peers(scene.host).into_iter().filter(|ip| !is_inside(ip)).take(PEERS_MAX);
        let outside = peers.chain(NOBODY.into_iter().filter(|ip| !is_inside(ip))).collect();
        Self { outside, server_answered: answering(&servers_asked).is_some(), servers: servers_asked }
    }

    /// In a sentence.
    pub fn says(&self) -> String {
        let list = |ips: Vec<String>| if ips.is_empty() { "none".to_owned() } else { ips.join(", ") };
        format!(
            "looked after it: servers {} answer, outside addresses {} get nothing",
            list(self.servers.iter().map(ToString::to_string).collect()),
            list(self.outside.iter().map(ToString::to_string).collect())
        )
    }

    /// See [`super::Effect::looks`].
    pub fn looks(&self) -> Vec<Look> {
        let mut looks = Vec::new();
        if !self.servers.is_empty() {
            looks.push(match answering(&self.servers) {
                Some(server) => Look::at(true, format!("the server {server} answers")),
                None if !self.server_answered => Look::at(true, "no server answers, as before the isolation"),
                None => Look { can_wait: true, ..Look::at(false, "no server answers any more") },
            });
        }
        looks.extend(self.outside.iter().map(|ip| match sent(*ip) {
            Ok(()) => Look::at(false, format!("{ip} is outside, and a datagram left for it")),
            Err(error) if is_refused(&error) => Look::at(true, format!("{ip} is outside, and gets nothing")),
            Err(error) => Look::at(true, format!("{ip} is outside, and has no way: {error}")),
        }));
        looks
    }
}

fn covers(peer: &Endpoint, ip: IpAddr) -> bool {
    Endpoint { port: None, ..*peer }.covers(&Endpoint::of(ip))
}

/// The first server that takes a connection.
fn answering(servers: &[SocketAddr]) -> Option<SocketAddr> {
    servers.iter().copied().find(|server| TcpStream::connect_timeout(server, CONNECT_MAX).is_ok())
}

fn sent(ip: IpAddr) -> io::Result<()> {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((ip, PORT))?;
    socket.send(&[0]).map(|_| ())
}

fn is_refused(error: &io::Error) -> bool {
    [Errno::PERM, Errno::ACCESS].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
