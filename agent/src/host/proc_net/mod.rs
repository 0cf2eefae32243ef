//! The tables of sockets under `/proc/net`, parsed by hand from bytes.
//!
//! A parser hands each socket to a function as it goes, borrowing from the table: nothing is collected. A line that does
//! not read as a socket is handed over as it stands (`unparsed`), so that nothing is lost in silence.

mod inet;
pub(super) mod names;
mod netlink;
mod packet;
mod sctp;
mod unix;

use std::borrow::Cow;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

use super::net_census::{Owner, Owners};
use crate::run::session::Stopped;

/// What a parser calls for each socket.
pub type Each<'e> = &'e mut dyn FnMut(Socket<'_>) -> Result<(), Stopped>;

/// One file of `/proc/net` that lists sockets.
#[derive(Clone, Copy)]
pub struct Table {
    /// The file, below `/proc/net`.
    pub file: &'static str,
    /// The protocol of its rows.
    pub protocol: &'static str,
    /// Its parser.
    pub parse: Parse,
    /// False for tables of modules that most kernels do not have loaded: their absence is no news.
    pub expected: bool,
}

type Parse = fn(&'static str, &[u8], Each<'_>) -> Result<(), Stopped>;

/// A table that every kernel has.
const fn table(file: &'static str, parse: Parse) -> Table {
    Table { file, protocol: file, parse, expected: true }
}

/// A table that is there only with IPv6 or with a module.
const fn optional(file: &'static str, protocol: &'static str, parse: Parse) -> Table {
    Table { file, protocol, parse, expected: false }
}

/// Every table of sockets, the connections first.
pub const TABLES: &[Table] = &[
    table("tcp", inet::parse),
    optional("tcp6", "tcp6", inet::parse),
    table("udp", inet::parse),
    optional("udp6", "udp6", inet::parse),
    optional("udplite", "udplite", inet::parse),
    optional("udplite6", "udplite6", inet::parse),
    table("raw", inet::parse),
    optional("raw6", "raw6", inet::parse),
    table("icmp", inet::parse),
    optional("icmp6", "icmp6", inet::parse),
    optional("packet", "packet", packet::parse),
    table("unix", unix::parse),
    table("netlink", netlink::parse),
    optional("sctp/eps", "sctp_endpoint", sctp::parse_endpoints),
    optional("sctp/assocs", "sctp_association", sctp::parse_associations),
];

/// One socket: what the kernel's table says of it, and who holds it. Absent fields are not in that table, or zero where
/// the comment says so. Ticks are hundredths of a second (USER_HZ, time(7)).
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Socket<'a> {
    /// TCP: twice the number of quick acknowledgements left, plus one for an interactive connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack_quick: Option<u64>,
    /// TCP: how long an acknowledgement may be delayed, in ticks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack_timeout_ticks: Option<u64>,
    /// TCP: congestion window in segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub congestion_window: Option<u64>,
    /// Packets that were dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drops: Option<u64>,
    /// Netlink: not zero while a dump is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dumping: Option<u64>,
    /// Unix: the kernel's flags; 65536 is a listening socket. Absent: zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<u64>,
    /// Netlink: the first 32 multicast groups as bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<u64>,
    /// Inode on sockfs; zero for a connection without a file (TIME_WAIT, orphans, the kernel's own).
    pub inode: u64,
    /// Packet: the interface it is bound to, by index; zero is all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_index: Option<u64>,
    /// Unix: how many lines of the table its name takes beyond the first. Not zero means line feeds in the name, or a
    /// name that was made to look like other sockets.
    #[serde(skip_serializing_if = "is_zero")]
    pub joined_lines: u32,
    /// Local address; an IPv4 address in an IPv6 table is shown as IPv4 with `v4_mapped`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_address: Option<IpAddr>,
    /// SCTP: all local addresses, the primary one with a `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub local_addresses: Vec<Cow<'a, str>>,
    /// Local port; the IP protocol of a raw socket, the identifier of a ping socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_port: Option<u16>,
    /// Netlink: the protocol by name (`ROUTE`, `AUDIT`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netlink_protocol: Option<&'static str>,
    /// Netlink: the protocol by number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netlink_protocol_number: Option<u64>,
    /// Inode of its network namespace; zero for an unlisted socket, whose namespace is not known.
    pub netns: u64,
    /// The processes that hold it: `{comm, comm_b64, fd, pid}`.
    #[schemars(with = "Vec<Owner<'a>>")]
    pub owners: Owners<'a>,
    /// Packet: the protocol it hears by name (`ALL`, `IP`, `ARP`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packet_protocol: Option<&'static str>,
    /// Packet: the protocol it hears by number (ETH_P_*).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packet_protocol_number: Option<u64>,
    /// Unix: its name; an abstract name begins with `@`, which the kernel prints for NUL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Cow<'a, str>>,
    /// Unix: the exact bytes of the name when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_b64: Option<String>,
    /// Netlink: the port, which is the PID for the first socket of a process and zero for the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub portid: Option<u64>,
    /// The table: tcp, tcp6, udp, unix …; for an unlisted socket what sockfs calls it (`TCP`, `ALG`).
    pub protocol: Cow<'a, str>,
    /// Unix: the protocol by number, which is always zero today. Absent: zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol_number: Option<u64>,
    /// `socket`.
    pub record: &'static str,
    /// References to it in the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub references: Option<u64>,
    /// Remote address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_address: Option<IpAddr>,
    /// SCTP: all remote addresses, the primary one with a `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remote_addresses: Vec<Cow<'a, str>>,
    /// Remote port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_port: Option<u16>,
    /// TCP: time until a retransmission, in ticks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retransmit_timeout_ticks: Option<u64>,
    /// TCP: retransmissions without an answer. Absent: zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retransmits: Option<u64>,
    /// Packet: 1 while it is attached to its hook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<u64>,
    /// Bytes that were received and not read. Listening TCP: connections that wait to be accepted. Packet, netlink:
    /// memory taken by what was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_queue: Option<u64>,
    /// SCTP: the other columns of its tables, as they stand.
    #[serde(skip_serializing_if = "Columns::is_empty")]
    #[schemars(with = "std::collections::BTreeMap<String, String>")]
    pub sctp: Columns<'a>,
    /// The kernel's address of the socket, hashed or zero unless kptr_restrict allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sk: Option<Cow<'a, str>>,
    /// Where it stands in the table (`sl`): the hash bucket for UDP and raw sockets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<u64>,
    /// TCP: slow start threshold in segments, -1 before the first loss; for a listening socket the fast-open backlog.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_start_threshold: Option<i64>,
    /// By name (`ESTABLISHED`, `LISTEN`); for UDP and raw sockets `CLOSE` means not connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    /// By number, where it has no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_number: Option<u64>,
    /// The running timer: retransmit, keepalive, time_wait, probe. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timer: Option<Cow<'static, str>>,
    /// When it fires, in ticks from now. Absent: zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timer_ticks: Option<u64>,
    /// Bytes that were written and not acknowledged. Listening TCP: zero. Netlink: memory taken by what was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_queue: Option<u64>,
    /// Unix, packet: STREAM, DGRAM, RAW, SEQPACKET.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub socket_type: Option<&'static str>,
    /// The same by number, where it has no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub type_number: Option<u64>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u64>,
    /// TCP: probes of a zero window or keepalives without an answer. Absent: zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unanswered_probes: Option<u64>,
    /// True for a socket that a process holds and that no table lists: by nature (a socket that is not bound yet, or of
    /// a family without a table) or because something hides it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unlisted: bool,
    /// A line that does not read as a socket, as it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unparsed: Option<Cow<'a, str>>,
    /// The exact bytes of that line when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unparsed_b64: Option<String>,
    /// True for IPv4 in an IPv6 table (`::ffff:192.0.2.1`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub v4_mapped: bool,
}

impl<'a> Socket<'a> {
    /// A socket of that protocol with nothing else.
    pub fn of(protocol: &'static str) -> Self {
        Self { protocol: Cow::Borrowed(protocol), record: "socket", ..Self::default() }
    }

    fn unparsed(protocol: &'static str, line: &'a [u8]) -> Self {
        let (unparsed, unparsed_b64) = text(line);
        Self { unparsed: Some(unparsed), unparsed_b64, ..Self::of(protocol) }
    }
}

/// Columns by name, serialised as an object; the names come sorted.
#[derive(Debug, Default)]
pub struct Columns<'a>(Vec<(&'static str, Cow<'a, str>)>);

impl Columns<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Columns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Bytes as records show them, without a copy when they are UTF-8.
fn text(bytes: &[u8]) -> (Cow<'_, str>, Option<String>) {
    match str::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text), None),
        Err(_) => {
            let (text, exact) = bundle::item::shown(bytes);
            (Cow::Owned(text), exact)
        }
    }
}

/// The lines below the header.
fn below_header(table: &[u8]) -> impl Iterator<Item = &[u8]> {
    super::tokens::lines(table).skip(1)
}

/// Hands over what a line reads as, or the line itself.
fn hand_over<'a>(
    protocol: &'static str,
    line: &'a [u8],
    read: Option<Socket<'a>>,
    each: Each<'_>,
) -> Result<(), Stopped> {
    each(read.unwrap_or_else(|| Socket::unparsed(protocol, line)))
}

/// `None` for zero, which rows leave out.
fn not_zero(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod testing {
    use super::*;

    /// The rows that a table gives.
    pub fn rows(file: &str, table: &[u8]) -> Vec<serde_json::Value> {
        let parser = TABLES.iter().find(|table| table.file == file).unwrap();
        let mut rows = Vec::new();
        (parser.parse)(parser.protocol, table, &mut |socket| {
            rows.push(serde_json::to_value(&socket).unwrap());
            Ok(())
        })
        .unwrap();
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::testing::rows;
    use super::*;

    #[test]
    fn keys_are_sorted() {
        let socket = Socket {
            sctp: Columns(vec![("a", "b".into())]),
            v4_mapped: true,
            unlisted: true,
            joined_lines: 1,
            path: Some("".into()),
            path_b64: Some(String::new()),
            state: Some("LISTEN"),
            socket_type: Some("STREAM"),
            type_number: Some(1),
            tx_queue: Some(0),
            timer: Some("probe".into()),
            uid: Some(0),
            ack_quick: Some(1),
            ack_timeout_ticks: Some(1),
            netlink_protocol: Some("ROUTE"),
            ..Socket::of("tcp")
        };
        let text = serde_json::to_string(&socket).unwrap();
        let sorted: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(text, sorted.to_string());
    }

    #[test]
    fn no_table_panics_on_damaged_bytes() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap()
        };
        let table =
            b"header\n   0: 0100007F:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 \
            1611 1 0000000023a0af44 100 0 0 10 0\n0000000008ec6979: 00000003 00000000 00000000 0001 03 14244 /run/x\n\
            00000000690dc63e 4   0          00000000 0        0        0     2        0        1520\n"
                .as_slice();
        for _ in 0..2000 {
            let mut damaged = table.to_vec();
            for _ in 0..3 {
                let at = next() % damaged.len();
                damaged[at] ^= 1 << (next() % 8);
            }
            damaged.truncate(next() % (damaged.len() + 1));
            for parser in TABLES {
                assert!(rows(parser.file, &damaged).len() <= damaged.len());
            }
        }
    }
}
