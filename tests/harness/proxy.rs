//! A cable that a test can cut, delay, narrow and block: passes TCP connections on to a server on loopback.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// What is passed on at a time, and how many such pieces are on their way in one direction.
const PIECE_BYTES: usize = 64 << 10;
const PIECES_MAX: usize = 64;
/// A narrow cable passes on pieces of this length, so that it is slow and not choppy.
const NARROW_PIECE_BYTES: usize = 4 << 10;

/// See the module. It ends with the test's process.
pub struct Cable {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// How the cable treats what goes over it.
#[derive(Clone, Copy, Default)]
struct Weather {
    delay: Duration,
    /// 0 is as fast as it goes.
    bytes_per_sec: u64,
    is_blocked: bool,
}

struct Shared {
    to: Mutex<SocketAddr>,
    is_cut: AtomicBool,
    /// Bytes from the clients to the server.
    sent: AtomicU64,
    accepted: AtomicU64,
    open: Mutex<HashMap<u64, (TcpStream, TcpStream)>>,
    weather: Mutex<Weather>,
    changed: Condvar,
}

impl Cable {
    /// A cable from loopback to this address.
    pub fn to(to: SocketAddr) -> Self {
        Self::from(Ipv4Addr::LOCALHOST.into(), to)
    }

    /// A cable from this address of ours.
    pub fn from(at: IpAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind((at, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            to: Mutex::new(to),
            is_cut: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            open: Mutex::default(),
            weather: Mutex::default(),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                accepting.pass_on(client);
            }
        });
        Self { address, shared }
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks all connections, and every new one at once.
    pub fn cut(&self) {
        self.shared.is_cut.store(true, Ordering::SeqCst);
        self.break_all();
    }

    /// Breaks all connections, and passes new ones on to another server: what a load balancer does.
    pub fn plug(&self, to: SocketAddr) {
        *self.shared.to.lock().unwrap() = to;
        self.break_all();
    }

    fn break_all(&self) {
        for (_, (client, server)) in self.shared.open.lock().unwrap().drain() {
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        }
        self.shared.changed.notify_all();
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.shared.is_cut.store(false, Ordering::SeqCst);
    }

    /// Everything takes so much longer in each direction.
    pub fn delay(&self, delay: Duration) {
        self.change(|weather| weather.delay = delay);
    }

    /// Passes on so much in each direction; 0 is as fast as it goes.
    pub fn narrow(&self, bytes_per_sec: u64) {
        self.change(|weather| weather.bytes_per_sec = bytes_per_sec);
    }

    /// Takes everything and passes nothing on: both ends believe in their connection.
    pub fn block(&self) {
        self.change(|weather| weather.is_blocked = true);
    }

    /// As good a cable as there is, where it is not cut. What was blocked goes on.
    pub fn calm(&self) {
        self.change(|weather| *weather = Weather::default());
    }

    fn change(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.shared.weather.lock().unwrap());
        self.shared.changed.notify_all();
    }

    /// Bytes that went towards the server.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.shared.open.lock().unwrap().len()
    }
}

impl Shared {
    fn pass_on(self: &Arc<Self>, client: TcpStream) {
        if self.is_cut.load(Ordering::SeqCst) {
            return;
        }
        let Ok(server) = TcpStream::connect(*self.to.lock().unwrap()) else { return };
        let number = self.accepted.fetch_add(1, Ordering::SeqCst);
        let pair = (client.try_clone().unwrap(), server.try_clone().unwrap());
        self.open.lock().unwrap().insert(number, pair);
        for (from, to, counts) in
            [(client.try_clone().unwrap(), server.try_clone().unwrap(), true), (server, client, false)]
        {
            let (pieces, waiting) = sync_channel(PIECES_MAX);
            let mut reading = from.try_clone().unwrap();
            std::thread::spawn(move || {
                let mut buffer = vec![0; PIECE_BYTES];
                while let Ok(length @ 1..) = reading.read(&mut buffer) {
                    if pieces.send((Instant::now(), buffer[..length].to_vec())).is_err() {
                        break;
                    }
                }
            });
            let shared = Arc::clone(self);
            std::thread::spawn(move || {
                shared.copy(&waiting, &to, counts);
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
                shared.open.lock().unwrap().remove(&number);
            });
        }
    }

    fn copy(&self, waiting: &Receiver<(Instant, Vec<u8>)>, mut to: &TcpStream, counts: bool) {
        while let Ok((came, piece)) = waiting.recv() {
            let mut rest = &piece[..];
            while !rest.is_empty() {
                let bytes_per_sec = self.hold_back(came);
                let length = if bytes_per_sec == 0 { rest.len() } else { rest.len().min(NARROW_PIECE_BYTES) };
                if to.write_all(&rest[..length]).is_err() {
                    return;
                }
                if counts {
                    self.sent.fetch_add(length as u64, Ordering::SeqCst);
                }
                if let Some(micros) = (length as u64 * 1_000_000).checked_div(bytes_per_sec) {
                    std::thread::sleep(Duration::from_micros(micros));
                }
                rest = &rest[length..];
            }
        }
    }

    /// Waits until what came then may go on; how fast it may.
    fn hold_back(&self, came: Instant) -> u64 {
        let mut weather = self.weather.lock().unwrap();
        loop {
            let left = weather.delay.saturating_sub(came.elapsed());
            if self.is_cut.load(Ordering::SeqCst) || (!weather.is_blocked && left.is_zero()) {
                return weather.bytes_per_sec;
            }
            weather = if weather.is_blocked {
                self.changed.wait(weather).unwrap()
            } else {
                self.changed.wait_timeout(weather, left).unwrap().0
            };
        }
    }
}
