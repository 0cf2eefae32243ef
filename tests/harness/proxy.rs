//! A cable that a test can cut: passes TCP connections on to a server on loopback.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// See the module. It ends with the test's process.
pub struct Cable {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    to: SocketAddr,
    is_cut: AtomicBool,
    /// Bytes from the clients to the server.
    sent: AtomicU64,
    accepted: AtomicU64,
    open: Mutex<HashMap<u64, (TcpStream, TcpStream)>>,
}

impl Cable {
    /// A cable to this address.
    pub fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            to,
            is_cut: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            open: Mutex::default(),
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
        for (_, (client, server)) in self.shared.open.lock().unwrap().drain() {
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.shared.is_cut.store(false, Ordering::SeqCst);
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
        let Ok(server) = TcpStream::connect(self.to) else { return };
        let number = self.accepted.fetch_add(1, Ordering::SeqCst);
        let pair = (client.try_clone().unwrap(), server.try_clone().unwrap());
        self.open.lock().unwrap().insert(number, pair);
        for (from, to, counts) in
            [(client.try_clone().unwrap(), server.try_clone().unwrap(), true), (server, client, false)]
        {
            let shared = Arc::clone(self);
            std::thread::spawn(move || shared.copy(number, from, to, counts));
        }
    }

    fn copy(&self, number: u64, mut from: TcpStream, mut to: TcpStream, counts: bool) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
            if counts {
                self.sent.fetch_add(length as u64, Ordering::SeqCst);
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
        self.open.lock().unwrap().remove(&number);
    }
}
