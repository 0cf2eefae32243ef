//! Packets as they pass, for some seconds, into a pcapng file, and who spoke with whom in them.
//!
//! A packet socket (packet(7)) is filtered before it is bound, so that nothing else is queued; interfaces are not put
//! into promiscuous mode, because that would change the host and be logged. The agent's own connections are left out, by
//! both ends, and named in the row.
//!
//! The tier is `memory` although packets are gone at once: a capture takes its seconds, and nothing of the volatile tier
//! may wait for it. A profile that wants processes' memory first names this collector after those that take it.
//!
//! Rows: `capture` (one), `conversation` (one for each direction between two ends). Raw: `packets.pcapng`.
//!
//! Known limits: a connection that the agent opens while the capture goes on is in it; of a packet that left through an
//! offloading card, checksums are not those of the wire; what an XDP program drops is not seen.

mod conversation;
mod filter;
mod pcapng;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant as Monotonic};

use bundle::item::{Kind, Nanos, Status};
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with, sockopt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::{ByteSize, Tier};

use self::conversation::{CONVERSATIONS_MAX, Conversations};
use self::filter::{Connection, Filter};
use self::pcapng::{Packet, Pcapng};
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::Host;
use crate::host::kernel_part::Part;
use crate::host::netns::{Door, NetNamespace, link_inode};
use crate::host::proc_net::TABLES;
use crate::host::sys::net::{
    PacketOption, Received, attach_filter, bind_packet, packet_statistics, receive_packet, set_packet_option,
};
use crate::host::tokens::bracketed;
use crate::run::session::{Ended, Session};

const SECONDS: u64 = 60;
const SECONDS_MAX: u64 = 3600;
const BYTES_MAX: u64 = 64 << 20;
/// What is taken of a packet, when nobody says otherwise; no packet is longer.
const SNAP_BYTES: u32 = 262_144;
const HOSTS_MAX: usize = 48;
const PORTS_MAX: usize = 64;
const INTERFACES_MAX: usize = 64;
/// Connections of the agent's own that are left out.
const OWN_MAX: usize = 16;
/// Room for packets that wait while the bundle is busy.
const BUFFER_BYTES: i32 = 16 << 20;
/// Pieces that are handed over.
const PIECE_BYTES: usize = 256 << 10;
/// A wait for a packet: so often it is asked whether the step must end.
const WAIT: Duration = Duration::from_millis(100);
/// ARPHRD_LOOPBACK; PACKET_OUTGOING.
const LOOPBACK: u16 = 772;
const OUTGOING: u8 = 4;

/// Arguments of `collect: packet_capture`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PacketCapture {
    /// How long: 60 seconds when nothing is said, 3600 at most.
    #[serde(default)]
    seconds: Option<u64>,
    /// How much: 64 MiB when nothing is said. The capture ends when it is reached.
    #[serde(default)]
    bytes_max: Option<ByteSize>,
    /// What is taken of each packet, from its beginning: all of it when nothing is said.
    #[serde(default)]
    snap_bytes: Option<u32>,
    /// Names of interfaces: all when nothing is said.
    #[serde(default)]
    interfaces: Vec<String>,
    /// Addresses or prefixes (`192.0.2.0/24`), either end: all when nothing is said.
    #[serde(default)]
    hosts: Vec<Prefix>,
    /// Ports, either end: all when nothing is said.
    #[serde(default)]
    ports: Vec<u16>,
    /// Protocols: all when nothing is said.
    #[serde(default)]
    protocols: Vec<Protocol>,
    /// Takes the agent's own connections too.
    #[serde(default)]
    with_own: bool,
    /// Captures in the network namespace of this process: in the agent's own when nothing is said.
    #[serde(default)]
    pid: Option<u32>,
}

/// A protocol that a capture can be narrowed to.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Protocol {
    Tcp,
    Udp,
    Icmp,
    Icmpv6,
    Sctp,
    Arp,
}

/// An address and the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prefix(IpAddr, u8);

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("{text:?} is no address and no prefix such as 192.0.2.0/24"))
        })
    }
}

impl Prefix {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv6() { 128 } else { 32 };
        let length = length.map_or(Some(most), |length| length.parse().ok().filter(|length| *length <= most))?;
        Some(Self(address, length))
    }
}

impl JsonSchema for Prefix {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Prefix".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}

/// What a capture was and what came of it.
#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    /// Bytes of the pcapng file.
    bytes: u64,
    /// Packets for which the kernel had no room; they are missing.
    drops: u64,
    /// seconds or bytes_max: what ended it.
    ended_by: &'static str,
    /// When it ended.
    ended_ns: Nanos,
    /// Connections of the agent's own that were left out: `192.0.2.1:443 from port 50000`.
    excluded: Vec<String>,
    /// What it was narrowed to: hosts, ports, protocols.
    filter: Vec<String>,
    /// Interfaces that packets came from.
    interfaces: Vec<String>,
    /// Inode of the network namespace.
    netns: u64,
    /// Packets in the file.
    packets: u64,
    /// `capture`.
    record: &'static str,
    /// What was taken of each packet at most.
    snap_bytes: u32,
    /// When it began.
    started_ns: Nanos,
}

impl Collect for PacketCapture {
    const NAME: &'static str = "packet_capture";
    const TIER: Tier = Tier::Memory;
    const SUMMARY: &'static str = "Packets of some seconds as pcapng, filtered, and who spoke with whom in them";
    const NEEDS: &'static [&'static str] = &["CAP_NET_RAW", "CAP_NET_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let host = session.host().clone();
        let skipped = if !host.is_live() {
            Some("only on a live host")
        } else if !Part::of(&host, "af_packet").may_be_asked() {
            Some("af_packet is not loaded, and a packet socket would load it")
        } else {
            None
        };
        if let Some(reason) = skipped {
            let item = session.item(Kind::Record, "packets", "af_packet", Status::Skipped);
            return Ok(session.note(item.because(reason))?);
        }
        let most = [
            ("hosts", self.hosts.len(), HOSTS_MAX),
            ("ports", self.ports.len(), PORTS_MAX),
            ("interfaces", self.interfaces.len(), INTERFACES_MAX),
        ];
        if let Some((what, count, most)) = most.into_iter().find(|(_, count, most)| count > most) {
            let source = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(Failure::Failed { what: format!("{count} {what}; the most is {most}"), source });
        }
        let (socket, netns) = self.socket(&host).map_err(Failure::reading("a packet socket"))?;
        let without = if self.with_own { Vec::new() } else { own_connections(&host) };
        let filter = self.filter(session, &socket, without)?;
        if !self.interfaces.is_empty() && filter.interfaces.is_empty() {
            return Ok(());
        }
        // Filtered before it is bound: until then it gets nothing.
        if !filter.takes_all() {
            let program = filter.compile(u32::MAX);
            attach_filter(socket.as_fd(), &program).map_err(Failure::reading("the filter"))?;
        }
        set_packet_option(socket.as_fd(), PacketOption::Timestamps, 1).map_err(Failure::reading("SO_TIMESTAMPNS"))?;
        if set_packet_option(socket.as_fd(), PacketOption::BufferBeyondLimit, BUFFER_BYTES).is_err() {
            let _ = set_packet_option(socket.as_fd(), PacketOption::Buffer, BUFFER_BYTES);
        }
        let _ = set_packet_option(socket.as_fd(), PacketOption::AuxiliaryData, 1);
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(WAIT))
            .map_err(|error| Failure::reading("SO_RCVTIMEO")(error.into()))?;
        bind_packet(socket.as_fd(), 0).map_err(Failure::reading("the packet socket"))?;
        self.capture(session, &socket, netns, &filter)
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<Row>("capture", "packet(7), draft-ietf-opsawg-pcapng"),
            RowType::of::<conversation::Row>("conversation", "packet(7)"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        let seconds = self.seconds();
        let of = if self.interfaces.is_empty() { "all interfaces".to_owned() } else { self.interfaces.join(", ") };
        Plan {
            reads: vec![format!("packets of {of} for {seconds} s")],
            bytes: Some(self.bytes_max()),
            disturbs: vec![format!("a packet socket for {seconds} s: each packet that passes its filter is copied")],
            ..Plan::default()
        }
    }
}

impl PacketCapture {
    fn seconds(&self) -> u64 {
        self.seconds.unwrap_or(SECONDS).min(SECONDS_MAX)
    }

    fn bytes_max(&self) -> u64 {
        self.bytes_max.map_or(BYTES_MAX, |size| size.0)
    }

    fn snap_bytes(&self) -> u32 {
        self.snap_bytes.filter(|bytes| *bytes > 0).unwrap_or(SNAP_BYTES).min(SNAP_BYTES)
    }

    /// A packet socket that gets nothing yet, and the inode of its namespace.
    fn socket(&self, host: &Host) -> io::Result<(OwnedFd, u64)> {
        let open = || socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None);
        let Some(pid) = self.pid else {
            let own = link_inode("/proc/thread-self/ns/net").unwrap_or(0);
            return Ok((open()?, own));
        };
        let inode = link_inode(&format!("/proc/{pid}/ns/net")).ok_or(io::ErrorKind::NotFound)?;
        let mut namespace = NetNamespace::new(inode);
        namespace.add(Door::Task { pid, tid: pid });
        Ok((namespace.enter(host, open)??, inode))
    }

    fn filter(&self, session: &mut Session, socket: &OwnedFd, without: Vec<Connection>) -> Result<Filter, Failure> {
        let mut filter = Filter {
            hosts: self.hosts.iter().map(|Prefix(address, length)| (*address, *length)).collect(),
            ports: self.ports.clone(),
            without,
            ..Filter::default()
        };
        for protocol in &self.protocols {
            match protocol {
                Protocol::Tcp => filter.protocols.push(6),
                Protocol::Udp => filter.protocols.push(17),
                Protocol::Icmp => filter.protocols.push(1),
                Protocol::Icmpv6 => filter.protocols.push(58),
                Protocol::Sctp => filter.protocols.push(132),
                Protocol::Arp => filter.arp = true,
            }
        }
        for name in &self.interfaces {
            match netdevice::name_to_index(socket, name) {
                Ok(index) => filter.interfaces.push(index),
                Err(error) => session.unreadable(format!("packets/{name}"), &error.into())?,
            }
        }
        Ok(filter)
    }

    fn capture(&self, session: &mut Session, socket: &OwnedFd, netns: u64, filter: &Filter) -> Result<(), Failure> {
        let started_ns = session.now();
        let end = Monotonic::now() + Duration::from_secs(self.seconds());
        let bytes_max = self.bytes_max().min(session.content_bytes_left());
        let mut buffer = vec![0; self.snap_bytes() as usize];
        let mut file = Pcapng::new();
        let mut conversations = Conversations::default();
        let (mut bytes, mut packets) = (0, 0);
        let mut failed = None;
        let item = session.item(Kind::Record, format!("packets/{netns}"), "af_packet", Status::Ok);
        session.begin(item.stored_as(format!("data/raw/{}/packets.pcapng", Self::NAME)))?;
        let ended_by = loop {
            session.go_on()?;
            if Monotonic::now() >= end {
                break "seconds";
            }
            let received = match receive_packet(socket.as_fd(), &mut buffer) {
                Ok(received) => received,
                Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => continue,
                // An interface that goes down says so on the socket; packets of the others go on.
                Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => continue,
                Err(error) => {
                    failed = Some(error);
                    break "error";
                }
            };
            // What a loopback sends it receives as well.
            if received.hardware == LOOPBACK && received.kind == OUTGOING {
                continue;
            }
            let taken = buffer.get(..received.length.min(buffer.len())).unwrap_or_default();
            packets += 1;
            add(&mut file, &mut conversations, socket, received, taken, self.snap_bytes());
            if bytes + file.waiting() as u64 >= bytes_max {
                break "bytes_max";
            }
            if file.waiting() >= PIECE_BYTES {
                bytes += file.waiting() as u64;
                session.chunk(file.take())?;
            }
        };
        let ended_ns = session.now();
        let statistics = packet_statistics(socket.as_fd()).unwrap_or_default();
        let drops = u64::from(statistics.drops);
        file.statistics(u64::try_from(ended_ns.0).unwrap_or(0), statistics.packets.into(), drops);
        bytes += file.waiting() as u64;
        session.chunk(file.take())?;
        session.end(match failed {
            Some(error) => {
                let errno = error.raw_os_error().unwrap_or(0);
                Ended { error: Some((errno, error.to_string())), ..Ended::with(Status::Error) }
            }
            None if ended_by == "bytes_max" => {
                Ended { reason: Some(format!("{bytes_max} bytes")), ..Ended::with(Status::Truncated) }
            }
            None => Ended::with(Status::Ok),
        })?;
        let names: Vec<String> = file.interfaces().iter().map(|one| one.name.clone()).collect();
        for row in conversations.rows(netns, &names) {
            session.row(&row)?;
        }
        session.row(&Row {
            bytes,
            drops,
            ended_by,
            ended_ns: Nanos(ended_ns.0),
            excluded: filter.without.iter().map(shown).collect(),
            filter: self.shown_filter(),
            interfaces: names.into_iter().collect::<BTreeSet<_>>().into_iter().collect(),
            netns,
            packets,
            record: "capture",
            snap_bytes: self.snap_bytes(),
            started_ns: Nanos(started_ns.0),
        })?;
        if conversations.is_full {
            session.limited(format!("more than {CONVERSATIONS_MAX} conversations: the capture has them all"))?;
        }
        if ended_by == "bytes_max" {
            session.limited(format!("the capture ended at {bytes_max} bytes"))?;
        }
        Ok(())
    }

    fn shown_filter(&self) -> Vec<String> {
        let hosts = self.hosts.iter().map(|Prefix(address, length)| format!("host {address}/{length}"));
        let ports = self.ports.iter().map(|port| format!("port {port}"));
        let protocols = self.protocols.iter().map(|protocol| format!("protocol {protocol:?}").to_lowercase());
        hosts.chain(ports).chain(protocols).collect()
    }
}

fn shown(one: &Connection) -> String {
    format!("{}:{} from port {}", one.remote, one.remote_port, one.local_port)
}

/// Writes a packet and counts it.
fn add(
    file: &mut Pcapng,
    conversations: &mut Conversations,
    socket: &OwnedFd,
    received: Received,
    taken: &[u8],
    snap_bytes: u32,
) {
    let name = || {
        let index = u32::try_from(received.interface).unwrap_or(0);
        netdevice::index_to_name(socket, index).unwrap_or_else(|_| format!("if{index}"))
    };
    let interface = file.interface(received.interface, received.hardware, snap_bytes, name);
    let time_ns = received
        .time
        .map_or(0, |(secs, ns)| secs.cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(ns.cast_unsigned()));
    let is_ethernet = matches!(received.hardware, 1 | LOOPBACK);
    let is_outgoing = received.kind == OUTGOING;
    // The card took the tag off; it is put back where it was.
    let tagged = match received.vlan {
        Some((tag, of)) if is_ethernet && taken.len() >= 12 => {
            let (addresses, rest) = taken.split_at(12);
            Some([addresses, &of.to_be_bytes(), &tag.to_be_bytes(), rest].concat())
        }
        _ => None,
    };
    let more = if tagged.is_some() { 4 } else { 0 };
    let bytes = tagged.as_deref().unwrap_or(taken);
    file.packet(interface, Packet { time_ns, length: received.length + more, bytes, is_outgoing });
    let network = if is_ethernet { taken.get(14..) } else { Some(taken) };
    conversations.count(interface, network.unwrap_or_default(), received.length, time_ns);
}

/// The agent's own connections of TCP, by the sockets among its descriptors.
fn own_connections(host: &Host) -> Vec<Connection> {
    let mut inodes = BTreeSet::new();
    for entry in std::fs::read_dir(host.path("/proc/self/fd")).into_iter().flatten().flatten() {
        if let Ok(target) = rustix::fs::readlink(entry.path(), Vec::new())
            && let Some(inode) = bracketed(target.as_bytes(), b"socket")
        {
            inodes.insert(inode);
        }
    }
    let mut found = Vec::new();
    for table in TABLES.iter().filter(|table| matches!(table.file, "tcp" | "tcp6")) {
        let Ok(text) = host.read(format!("/proc/self/net/{}", table.file), 16 << 20) else { continue };
        let _ = (table.parse)(table.protocol, &text, &mut |socket| {
            let ends = socket.local_port.zip(socket.remote_port).zip(socket.remote_address);
            if let Some(((local_port, remote_port), remote)) = ends
                && remote_port != 0
                && inodes.contains(&socket.inode)
                && found.len() < OWN_MAX
            {
                // On the wire a mapped address is one of IPv4.
                found.push(Connection { local_port, remote: remote.to_canonical(), remote_port });
            }
            Ok(())
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, inside, items, rows};
    use std::net::UdpSocket;
    use std::sync::Arc;

    #[test]
    fn prefixes_are_read_or_refused() {
        let read = |text: &str| serde_json::from_value::<Prefix>(text.into());
        assert_eq!(read("192.0.2.0/24").unwrap(), Prefix("192.0.2.0".parse().unwrap(), 24));
        assert_eq!(read("::1").unwrap().1, 128);
        for bad in ["", "192.0.2.0/33", "::/129", "example.com", "1/2/3"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    fn content(messages: &[Message]) -> Vec<u8> {
        let pieces = messages.iter().filter_map(|message| match message {
            Message::Chunk(bytes) => Some(bytes.as_slice()),
            _ => None,
        });
        pieces.collect::<Vec<_>>().concat()
    }

    /// Captures in a namespace of its own, whose loopback somebody sends over all the while.
    fn captured(capture: PacketCapture) -> Option<Vec<Message>> {
        std::thread::spawn(move || {
            if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_err() {
                println!("not tested: only root may make a network namespace");
                return None;
            }
            let held: OwnedFd = std::fs::File::open("/proc/thread-self/ns/net").unwrap().into();
            if !inside(&held, "ip", &["link", "set", "lo", "up"], "") {
                return None;
            }
            let wanted = UdpSocket::bind("127.0.0.1:31337").unwrap();
            let other = UdpSocket::bind("127.0.0.1:9").unwrap();
            let sender = UdpSocket::bind("127.0.0.1:40000").unwrap();
            let done = std::sync::atomic::AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        let _ = sender.send_to(b"FX_PACKET", wanted.local_addr().unwrap());
                        let _ = sender.send_to(b"FX_OTHER", other.local_addr().unwrap());
                        std::thread::yield_now();
                    }
                });
                let messages = collect(&capture, Arc::new(Host::live()));
                done.store(true, std::sync::atomic::Ordering::Relaxed);
                Some(messages)
            })
        })
        .join()
        .unwrap()
    }

    #[test]
    fn packets_of_a_port_come_back_and_no_others() {
        let capture = PacketCapture {
            ports: vec![31337],
            bytes_max: Some(ByteSize(20_000)),
            seconds: Some(30),
            ..PacketCapture::default()
        };
        let Some(messages) = captured(capture) else { return };
        assert_keys_sorted(&messages);
        let bytes = content(&messages);
        let blocks = pcapng::blocks(&bytes);
        let packets: Vec<_> = blocks.iter().filter(|(kind, _)| *kind == 6).collect();
        assert!(packets.len() > 10);
        let holds =
            |text: &[u8]| packets.iter().filter(|(_, body)| body.windows(text.len()).any(|at| at == text)).count();
        assert_eq!((holds(b"FX_PACKET"), holds(b"FX_OTHER")), (packets.len(), 0));
        let rows = rows(&messages);
        let row = rows.iter().find(|row| row["record"] == "capture").unwrap();
        assert_eq!((&row["packets"], &row["ended_by"]), (&packets.len().into(), &"bytes_max".into()));
        assert_eq!((&row["interfaces"][0], &row["bytes"]), (&"lo".into(), &bytes.len().into()));
        let conversation = rows.iter().find(|row| row["record"] == "conversation").unwrap();
        assert_eq!((&conversation["destination_port"], &conversation["protocol"]), (&31337.into(), &"udp".into()));
        assert_eq!(conversation["packets"], packets.len());
        // The first packet's time is now, in nanoseconds.
        let word = |at: usize| u64::from(u32::from_le_bytes(packets[0].1[at..at + 4].try_into().unwrap()));
        let now = u64::try_from(Host::live().now().0).unwrap();
        assert!(now - (word(4) << 32 | word(8)) < 60_000_000_000);
    }

    #[test]
    fn a_capture_of_an_interface_ends_by_its_seconds_and_cuts_packets() {
        let capture = PacketCapture {
            interfaces: vec!["lo".to_owned(), "none9".to_owned()],
            seconds: Some(1),
            snap_bytes: Some(46),
            ..PacketCapture::default()
        };
        let Some(messages) = captured(capture) else { return };
        let rows = rows(&messages);
        let row = rows.iter().find(|row| row["record"] == "capture").unwrap();
        assert_eq!((&row["ended_by"], &row["snap_bytes"]), (&"seconds".into(), &46.into()));
        let bytes = content(&messages);
        let packet = pcapng::blocks(&bytes).into_iter().find(|(kind, _)| *kind == 6).unwrap().1;
        // Ethernet, IPv4, UDP, and eight or nine bytes.
        assert!(packet[12] == 46 && matches!(packet[16], 50 | 51), "{:?}", &packet[12..20]);
        assert!(items(&messages).iter().any(|item| item.path == b"packets/none9"));
    }

    #[test]
    fn the_agents_own_connections_are_known() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let own = Connection {
            local_port: stream.local_addr().unwrap().port(),
            remote: "127.0.0.1".parse().unwrap(),
            remote_port: listener.local_addr().unwrap().port(),
        };
        let found = own_connections(&Host::live());
        assert!(found.contains(&own) || found.len() == OWN_MAX, "{found:?}");
    }
}
