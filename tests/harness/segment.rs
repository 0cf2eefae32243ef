//! Five network namespaces: a host, a collector and another on one switch, and a container that the host forwards for.
//! In each, something answers over TCP and UDP, IPv4 and IPv6. Only for root.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::{Ended, Running};

const PORT: u16 = 7000;
/// What does not come within this time does not come: between namespaces a packet takes microseconds.
const ANSWER_MAX: Duration = Duration::from_millis(700);
const DEADLINE: Duration = Duration::from_secs(20);

/// One of the five.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The host under test.
    Host,
    /// The collector.
    Collector,
    /// Another on the same switch.
    Other,
    /// A container behind the host.
    Container,
}

impl At {
    const ALL: [Self; 4] = [Self::Host, Self::Collector, Self::Other, Self::Container];

    const fn letter(self) -> char {
        match self {
            Self::Host => 'h',
            Self::Collector => 'c',
            Self::Other => 'o',
            Self::Container => 'k',
        }
    }

    /// Its IPv4 and its IPv6 address.
    ///
    /// # Panics
    /// Never: they are constants.
    pub fn addresses(self) -> [IpAddr; 2] {
        let (four, six) = match self {
            Self::Host => ("10.79.0.10", "fd79::10"),
            Self::Collector => ("10.79.0.20", "fd79::20"),
            Self::Other => ("10.79.0.30", "fd79::30"),
            Self::Container => ("10.80.0.2", "fd80::2"),
        };
        [four, six].map(|text| text.parse().unwrap())
    }
}

/// A way from one to another, and whether it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// `Host>Other tcp 10.79.0.30`.
    pub name: String,
    /// Only the host and the collector are at its ends.
    pub is_kept: bool,
    /// Something came through.
    pub is_open: bool,
}

/// See the module. It ends when this is dropped.
pub struct Segment {
    id: String,
    held: Vec<(String, bool, TcpStream)>,
}

impl Segment {
    /// Makes it, with connections that are established. `None`, with the reason on standard error, where it cannot be.
    pub fn make() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let id = format!("hs{}n{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut segment = Self { id: id.clone(), held: Vec::new() };
        let mut steps = Vec::new();
        for letter in ['h', 'c', 'o', 'k', 's'] {
            steps.push(format!("ip netns add {id}{letter}"));
            steps.push(format!("ip -n {id}{letter} link set lo up"));
        }
        steps.push(format!("ip -n {id}s link add sw0 type bridge"));
        steps.push(format!("ip -n {id}s link set sw0 up"));
        for at in [At::Host, At::Collector, At::Other] {
            let (letter, [four, six]) = (at.letter(), at.addresses());
            steps.push(format!("ip link add e{letter} netns {id}s type veth peer name eth0 netns {id}{letter}"));
            steps.push(format!("ip -n {id}s link set e{letter} master sw0 up"));
            steps.push(format!("ip -n {id}{letter} link set eth0 up"));
            steps.push(format!("ip -n {id}{letter} addr add {four}/24 dev eth0"));
            steps.push(format!("ip -n {id}{letter} addr add {six}/64 dev eth0 nodad"));
        }
        steps.extend([
            format!("ip link add k0 netns {id}h type veth peer name eth0 netns {id}k"),
            format!("ip -n {id}h link set k0 up"),
            format!("ip -n {id}k link set eth0 up"),
            format!("ip -n {id}h addr add 10.80.0.1/24 dev k0"),
            format!("ip -n {id}h addr add fd80::1/64 dev k0 nodad"),
            format!("ip -n {id}k addr add 10.80.0.2/24 dev eth0"),
            format!("ip -n {id}k addr add fd80::2/64 dev eth0 nodad"),
            format!("ip -n {id}k route add default via 10.80.0.1"),
            format!("ip -n {id}k route add default via fd80::1"),
        ]);
        for letter in ['c', 'o'] {
            steps.push(format!("ip -n {id}{letter} route add 10.80.0.0/24 via 10.79.0.10"));
            steps.push(format!("ip -n {id}{letter} route add fd80::/64 via fd79::10"));
        }
        for step in steps {
            if let Err(why) = run(&step) {
                let _ = writeln!(std::io::stderr(), "skipped: a segment of namespaces: `{step}`: {}", why.trim());
                return None;
            }
        }
        segment.inside(At::Host, || {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        });
        for at in At::ALL {
            segment.inside(at, serve);
        }
        segment.hold();
        Some(segment)
    }

    /// The name of a namespace, as `ip netns` knows it.
    pub fn name(&self, at: At) -> String {
        format!("{}{}", self.id, at.letter())
    }

    /// A command that runs in the host's namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name(At::Host))).arg(program);
        command
    }

    /// Runs `nft` in the host's namespace.
    pub fn nft(&self, words: &str) -> Ended {
        Running::start(self.command("nft").args(words.split_whitespace())).wait(DEADLINE)
    }

    /// Pulls or plugs the collector's cable.
    pub fn plug(&self, is_in: bool) {
        run(&format!("ip -n {}s link set ec {}", self.id, if is_in { "up" } else { "down" })).unwrap();
    }

    /// Runs it on a thread in a namespace; what it opens stays there.
    pub fn inside<T: Send + 'static>(&self, at: At, work: impl FnOnce() -> T + Send + 'static) -> T {
        let path = format!("/run/netns/{}", self.name(at));
        let thread = std::thread::spawn(move || {
            let namespace = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        });
        thread.join().unwrap()
    }

    fn hold(&mut self) {
        let ends =
            [(At::Host, At::Other), (At::Other, At::Host), (At::Host, At::Collector), (At::Container, At::Other)];
        for (from, to) in ends {
            for address in to.addresses() {
                let is_kept = to == At::Collector;
                let stream = self.inside(from, move || {
                    TcpStream::connect_timeout(&SocketAddr::new(address, PORT), DEADLINE).unwrap()
                });
                stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
                self.held.push((format!("{from:?}>{to:?} established {address}"), is_kept, stream));
            }
        }
    }

    /// Every way, tried now: both directions, IPv4 and IPv6, TCP and UDP, new and established, forwarded, and a packet
    /// socket.
    pub fn ways(&self) -> Vec<Way> {
        use At::{Collector, Container, Host, Other};
        let pairs = [
            (Host, Collector),
            (Collector, Host),
            (Host, Other),
            (Other, Host),
            (Container, Other),
            (Other, Container),
            (Container, Collector),
        ];
        let mut tries = Vec::new();
        for (from, to) in pairs {
            for address in to.addresses() {
                for protocol in ["tcp", "udp"] {
                    let path = format!("/run/netns/{}", self.name(from));
                    let name = format!("{from:?}>{to:?} {protocol} {address}");
                    let is_kept = [from, to].iter().all(|end| matches!(end, Host | Collector));
                    tries.push(std::thread::spawn(move || {
                        let namespace =
                            rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
                        let namespace = std::os::fd::AsFd::as_fd(&namespace);
                        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network)).unwrap();
                        Way { name, is_kept, is_open: asked(protocol, SocketAddr::new(address, PORT)) }
                    }));
                }
            }
        }
        let mut ways: Vec<Way> = tries.into_iter().map(|one| one.join().unwrap()).collect();
        for (name, is_kept, stream) in &self.held {
            ways.push(Way { name: name.clone(), is_kept: *is_kept, is_open: echoed(stream) });
        }
        ways.push(Way { name: "Host>Other packet socket".to_owned(), is_kept: false, is_open: self.packet_passes() });
        ways
    }

    /// Those that are not as they should be: all open, or only the kept ones.
    pub fn wrong(&self, is_isolated: bool) -> Vec<Way> {
        self.ways().into_iter().filter(|way| way.is_open == (is_isolated && !way.is_kept)).collect()
    }

    /// Whether a frame that a packet socket of the host sends reaches the other.
    fn packet_passes(&self) -> bool {
        const SEND: &str = "import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); \
            s.bind(('eth0', 0)); s.send(b'\\xff' * 6 + s.getsockname()[4] + b'\\x88\\xb5' + b'holdfast' * 8)";
        const TAKE: &str = "import socket, sys; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88b5)); \
            s.settimeout(2); print('ready', flush=True); sys.exit(0 if b'holdfast' in s.recv(2000) else 1)";
        let mut take = Command::new("nsenter");
        take.arg(format!("--net=/run/netns/{}", self.name(At::Other))).args(["python3", "-c", TAKE]);
        let mut taker = take.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
        let mut ready = [0; 6];
        taker.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        // A packet that is dropped on its way out is an error for who sends it.
        let _ = Running::start(self.command("python3").args(["-c", SEND])).wait(DEADLINE);
        taker.wait().unwrap().success()
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.held.clear();
        for letter in ['h', 'c', 'o', 'k', 's'] {
            let _ = run(&format!("ip netns del {}{letter}", self.id));
        }
    }
}

/// Answers what it hears, for as long as the test runs.
fn serve() {
    for any in ["::", "0.0.0.0"] {
        let address = SocketAddr::new(any.parse().unwrap(), PORT);
        let socket = UdpSocket::bind(address);
        // Where the IPv6 socket takes IPv4 as well, which is the default, the second is refused.
        let Ok(socket) = socket else { continue };
        std::thread::spawn(move || {
            let mut bytes = [0; 64];
            while let Ok((length, from)) = socket.recv_from(&mut bytes) {
                let _ = socket.send_to(&bytes[..length], from);
            }
        });
        let Ok(listener) = TcpListener::bind(address) else { continue };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let (mut bytes, mut stream) = ([0; 64], stream);
                    while let Ok(length @ 1..) = stream.read(&mut bytes) {
                        if stream.write_all(&bytes[..length]).is_err() {
                            break;
                        }
                    }
                });
            }
        });
    }
}

fn asked(protocol: &str, to: SocketAddr) -> bool {
    if protocol == "tcp" {
        return TcpStream::connect_timeout(&to, ANSWER_MAX).is_ok_and(|stream| {
            stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
            echoed(&stream)
        });
    }
    let any: IpAddr = if to.is_ipv4() { "0.0.0.0" } else { "::" }.parse().unwrap();
    let Ok(socket) = UdpSocket::bind((any, 0)) else { return false };
    socket.set_read_timeout(Some(ANSWER_MAX)).unwrap();
    let mut bytes = [0; 8];
    socket.connect(to).and_then(|()| socket.send(b"ping")).and_then(|_| socket.recv(&mut bytes)).is_ok()
}

/// Whether what is said now comes back, after whatever came back late.
fn echoed(mut stream: &TcpStream) -> bool {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let word = format!("{};", WORD.fetch_add(1, Ordering::Relaxed));
    if stream.write_all(word.as_bytes()).is_err() {
        return false;
    }
    let (mut heard, mut bytes) = (String::new(), [0; 64]);
    while let Ok(length @ 1..) = stream.read(&mut bytes) {
        heard.push_str(&String::from_utf8_lossy(&bytes[..length]));
        if heard.ends_with(&word) {
            return true;
        }
    }
    false
}

/// Runs it; what it complained about when it failed.
fn run(words: &str) -> Result<(), String> {
    let words: Vec<&str> = words.split_whitespace().collect();
    let ended = Running::start(Command::new(words[0]).args(&words[1..])).wait(DEADLINE);
    if ended.code() == Some(0) { Ok(()) } else { Err(ended.said()) }
}
