//! Who spoke with whom in a capture, counted while it goes on.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use bundle::item::Nanos;
use schemars::JsonSchema;
use serde::Serialize;

use crate::host::netlink::u16_be;
use crate::host::nf::protocol_name;
use crate::host::rtnetlink::ip;

/// Conversations that are counted; the packets of more are in the capture alone.
pub const CONVERSATIONS_MAX: usize = 50_000;

/// Packets in one direction between two ends.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Row {
    /// Bytes on the wire, headers included.
    pub bytes: u64,
    /// Where they went.
    pub destination: IpAddr,
    /// Port that they went to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
    /// When the first came.
    pub first_ns: Nanos,
    /// Name of the interface.
    pub interface_name: String,
    /// When the last came.
    pub last_ns: Nanos,
    /// Inode of the network namespace.
    pub netns: u64,
    /// How many.
    pub packets: u64,
    /// tcp, udp, icmp …; a number where it has no name.
    pub protocol: String,
    /// `conversation`.
    pub record: &'static str,
    /// Where they came from.
    pub source: IpAddr,
    /// Port that they came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
}

/// Protocol, source and destination, each with its port.
type Ends = (u8, IpAddr, Option<u16>, IpAddr, Option<u16>);

#[derive(Debug, Default)]
struct Count {
    packets: u64,
    bytes: u64,
    first_ns: u64,
    last_ns: u64,
}

/// All conversations so far.
#[derive(Debug, Default)]
pub struct Conversations {
    counts: BTreeMap<(usize, Ends), Count>,
    /// True when there were more than [`CONVERSATIONS_MAX`].
    pub is_full: bool,
}

impl Conversations {
    /// Counts a packet that begins with its network header.
    pub fn count(&mut self, interface: usize, header: &[u8], length: usize, time_ns: u64) {
        let Some(ends) = ends(header) else { return };
        let ends = (interface, ends);
        if self.counts.len() >= CONVERSATIONS_MAX && !self.counts.contains_key(&ends) {
            self.is_full = true;
            return;
        }
        let count = self.counts.entry(ends).or_insert_with(|| Count { first_ns: time_ns, ..Count::default() });
        count.packets += 1;
        count.bytes += length as u64;
        count.last_ns = time_ns;
    }

    /// The rows, sorted by interface, protocol and ends.
    pub fn rows(&self, netns: u64, names: &[String]) -> impl Iterator<Item = Row> {
        self.counts.iter().map(move |((interface, (protocol, source, source_port, destination, port)), count)| Row {
            bytes: count.bytes,
            destination: *destination,
            destination_port: *port,
            first_ns: Nanos(count.first_ns.into()),
            interface_name: names.get(*interface).cloned().unwrap_or_default(),
            last_ns: Nanos(count.last_ns.into()),
            netns,
            packets: count.packets,
            protocol: protocol_name(*protocol).into_owned(),
            record: "conversation",
            source: *source,
            source_port: *source_port,
        })
    }
}

/// Protocol and both ends of an IP packet.
fn ends(header: &[u8]) -> Option<Ends> {
    let first = *header.first()?;
    let (protocol, source, destination, behind) = match first >> 4 {
        4 => {
            let is_later_fragment = u16_be(header.get(6..)?)? & 0x1fff != 0;
            let behind = if is_later_fragment { &[] } else { header.get(usize::from(first & 15) * 4..)? };
            (*header.get(9)?, ip(header.get(12..16)?)?, ip(header.get(16..20)?)?, behind)
        }
        6 => {
            let address = |at: usize| Some(IpAddr::from(Ipv6Addr::from(*header.get(at..)?.first_chunk::<16>()?)));
            (*header.get(6)?, address(8)?, address(24)?, header.get(40..)?)
        }
        _ => return None,
    };
    let has_ports = matches!(protocol, 6 | 17 | 33 | 132 | 136);
    let port = |at: usize| behind.get(at..).filter(|_| has_ports).and_then(u16_be);
    Some((protocol, source, port(0), destination, port(2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_counted_apart() {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 192, 0, 2, 7];
        packet.extend([0x9c, 0x40, 0x01, 0xbb]);
        let mut conversations = Conversations::default();
        conversations.count(0, &packet, 60, 5);
        conversations.count(0, &packet, 40, 9);
        conversations.count(0, &packet[..19], 40, 9);
        conversations.count(0, &[0x60; 10], 40, 9);
        let rows: Vec<Row> = conversations.rows(1, &["eth0".to_owned()]).collect();
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].packets, rows[0].bytes, rows[0].destination_port), (2, 100, Some(443)));
        assert_eq!((rows[0].first_ns, rows[0].last_ns), (Nanos(5), Nanos(9)));
    }
}
