//! Tracked connections as rows: from netlink (include/uapi/linux/netfilter/nfnetlink_conntrack.h), or from the text of
//! `/proc/net/nf_conntrack` where only that is there.

use std::borrow::Cow;
use std::net::IpAddr;

use bundle::item::Nanos;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::netlink::{attribute, text_of, u16_be, u32_be, u64_be};
use super::super::rtnetlink::ip;
use super::super::tokens::{Words, split_at};
use super::{body, protocol_name};

/// IPCTNL_MSG_CT_GET.
pub const GET: u16 = 1;

/// A connection that the kernel tracks.
#[derive(Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Row {
    /// Bytes from the one who began it, where the kernel counts (net.netfilter.nf_conntrack_acct).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Where it went to, as the one who began it sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<IpAddr>,
    /// Port or ICMP type that it went to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
    /// Helper that looks into it: ftp, sip …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helper: Option<String>,
    /// The kernel's number for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// True when it is sent elsewhere than it was sent to, or comes from elsewhere than it seems to.
    pub is_translated: bool,
    /// Mark that rules gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// Inode of its network namespace.
    pub netns: u64,
    /// Packets from the one who began it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
    /// tcp, udp, icmp …; a number where it has no name.
    pub protocol: Cow<'static, str>,
    /// `connection`.
    pub record: &'static str,
    /// Bytes of the answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_bytes: Option<u64>,
    /// Where the answers go to: with source NAT, another address than `source`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_destination: Option<IpAddr>,
    /// Port that the answers go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_destination_port: Option<u16>,
    /// Packets of the answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_packets: Option<u64>,
    /// Where the answers come from: with destination NAT, another address than `destination`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_source: Option<IpAddr>,
    /// Port that the answers come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_source_port: Option<u16>,
    /// Security context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<String>,
    /// Who began it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Port or ICMP id that it began from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// When it began, where the kernel keeps that (net.netfilter.nf_conntrack_timestamp).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_ns: Option<Nanos>,
    /// State of TCP: established, syn_sent, time_wait …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Cow<'static, str>>,
    /// seen_reply, assured, confirmed, snat, dnat, offload …
    pub status: Vec<&'static str>,
    /// In so long it is forgotten, when nothing more comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<u32>,
    /// Zone, where it is not the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<u16>,
}

const STATUS: [&str; 15] = [
    "expected",
    "seen_reply",
    "assured",
    "confirmed",
    "snat",
    "dnat",
    "seq_adjust",
    "",
    "",
    "dying",
    "fixed_timeout",
    "template",
    "untracked",
    "helper",
    "offload",
];

const TCP_STATES: [&str; 10] = [
    "none",
    "syn_sent",
    "syn_recv",
    "established",
    "fin_wait",
    "close_wait",
    "last_ack",
    "time_wait",
    "close",
    "syn_sent2",
];

/// One direction.
#[derive(Default)]
struct Tuple {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    source_port: Option<u16>,
    destination_port: Option<u16>,
    protocol: u8,
}

fn tuple(list: &[u8]) -> Tuple {
    let addresses = attribute(list, 1).unwrap_or_default();
    let ports = attribute(list, 2).unwrap_or_default();
    let address = |v4, v6| attribute(addresses, v4).or_else(|| attribute(addresses, v6)).and_then(ip);
    let port = |kind| attribute(ports, kind).and_then(u16_be);
    let byte = |kind| attribute(ports, kind).and_then(|value| value.first()).map(|byte| u16::from(*byte));
    Tuple {
        source: address(1, 3),
        destination: address(2, 4),
        source_port: port(2).or_else(|| port(4)).or_else(|| port(7)),
        destination_port: port(3).or_else(|| byte(5)).or_else(|| byte(8)),
        protocol: attribute(ports, 1).and_then(|value| value.first()).copied().unwrap_or(0),
    }
}

impl Row {
    fn settle(&mut self) {
        // ICMP answers have another type by nature.
        let has_ports = !self.protocol.starts_with("icmp");
        self.is_translated = self.source != self.reply_destination
            || self.destination != self.reply_source
            || has_ports
                && (self.source_port != self.reply_destination_port || self.destination_port != self.reply_source_port);
    }

    fn set(&mut self, original: &Tuple, reply: &Tuple) {
        self.source = original.source;
        self.destination = original.destination;
        self.source_port = original.source_port;
        self.destination_port = original.destination_port;
        self.reply_source = reply.source;
        self.reply_destination = reply.destination;
        self.reply_source_port = reply.source_port;
        self.reply_destination_port = reply.destination_port;
    }
}

/// The row of a IPCTNL_MSG_CT_NEW.
pub fn read(netns: u64, payload: &[u8]) -> Option<Row> {
    let (_, list) = body(payload)?;
    let number = |kind| attribute(list, kind).and_then(u32_be);
    let original = tuple(attribute(list, 1)?);
    let status = number(3).unwrap_or(0);
    let counter = |of, kind| attribute(list, of).and_then(|list| attribute(list, kind)).and_then(u64_be);
    let tcp = attribute(list, 4).and_then(|info| attribute(info, 1));
    let state = tcp.and_then(|tcp| attribute(tcp, 1)).and_then(|state| state.first()).map(|number| {
        TCP_STATES.get(usize::from(*number)).map_or_else(|| Cow::Owned(number.to_string()), |name| Cow::Borrowed(*name))
    });
    let named = STATUS.iter().enumerate().filter(|(bit, name)| !name.is_empty() && status & (1 << bit) != 0);
    let text = |of, kind| {
        let value = attribute(list, of).and_then(|list| attribute(list, kind));
        value.map(|value| String::from_utf8_lossy(text_of(value)).into_owned())
    };
    let mut row = Row {
        bytes: counter(9, 2),
        helper: text(5, 1),
        id: number(12),
        mark: number(8),
        netns,
        packets: counter(9, 1),
        protocol: protocol_name(original.protocol),
        record: "connection",
        reply_bytes: counter(10, 2),
        reply_packets: counter(10, 1),
        security_context: text(19, 1),
        start_ns: counter(20, 1).map(|ns| Nanos(i128::from(ns))),
        state,
        status: named.map(|(_, name)| *name).collect(),
        timeout_secs: number(7),
        zone: attribute(list, 18).and_then(u16_be),
        ..Row::default()
    };
    row.set(&original, &tuple(attribute(list, 2).unwrap_or_default()));
    row.settle();
    Some(row)
}

/// The row of a line of `/proc/net/nf_conntrack`: family, protocol, seconds, the state of TCP, and `key=value` words, of
/// which those of the answer come second.
pub fn read_line(netns: u64, line: &[u8]) -> Option<Row> {
    let mut words = Words::of(line);
    let (_, _) = (words.next()?, words.next()?);
    let _ = words.next()?;
    let protocol = u8::try_from(words.decimal()?).ok()?;
    let mut row = Row { netns, protocol: protocol_name(protocol), record: "connection", ..Row::default() };
    let mut directions = [Tuple::default(), Tuple::default()];
    let mut counters = [[None; 2]; 2];
    let mut at = 0;
    for word in words {
        let Some((key, value)) = split_at(word, b'=') else {
            match word {
                b"[ASSURED]" => row.status.push("assured"),
                b"[OFFLOAD]" | b"[HW_OFFLOAD]" => row.status.push("offload"),
                b"[UNREPLIED]" => {}
                _ => match super::super::tokens::decimal(word).and_then(|secs| u32::try_from(secs).ok()) {
                    Some(secs) if row.timeout_secs.is_none() => row.timeout_secs = Some(secs),
                    _ => {
                        let name = String::from_utf8_lossy(word).to_lowercase();
                        if TCP_STATES.contains(&name.as_str()) {
                            row.state = Some(Cow::Owned(name));
                        }
                    }
                },
            }
            continue;
        };
        let text = str::from_utf8(value).ok();
        let number = || super::super::tokens::decimal(value);
        let port = || number().and_then(|number| u16::try_from(number).ok());
        // The second `src=` begins the answer's direction.
        if key == b"src" && directions.first().is_some_and(|first| first.source.is_some()) {
            at = 1;
        }
        let Some((tuple, counter)) = directions.get_mut(at).zip(counters.get_mut(at)) else { continue };
        match key {
            b"src" => tuple.source = text.and_then(|text| text.parse().ok()),
            b"dst" => tuple.destination = text.and_then(|text| text.parse().ok()),
            b"sport" | b"id" => tuple.source_port = port(),
            b"dport" | b"type" => tuple.destination_port = port(),
            b"packets" => counter[0] = number(),
            b"bytes" => counter[1] = number(),
            b"mark" => row.mark = number().and_then(|number| u32::try_from(number).ok()),
            b"zone" => row.zone = port(),
            b"secctx" => row.security_context = text.map(str::to_owned),
            _ => {}
        }
    }
    let [original, reply] = directions;
    original.source?;
    row.set(&original, &reply);
    [[row.packets, row.bytes], [row.reply_packets, row.reply_bytes]] = counters;
    row.settle();
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::netlink::testing::list as nested;

    #[test]
    fn a_translated_connection() {
        let direction = |source: &[u8], destination: &[u8], from: u16, to: u16| {
            nested(&[
                (1, &nested(&[(1, source), (2, destination)])),
                (2, &nested(&[(1, &[6]), (2, &from.to_be_bytes()), (3, &to.to_be_bytes())])),
            ])
        };
        let mut payload = vec![2, 0, 0, 0];
        payload.extend(nested(&[
            (1, &direction(&[10, 0, 0, 2], &[192, 0, 2, 1], 40000, 80)),
            (2, &direction(&[172, 17, 0, 2], &[10, 0, 0, 2], 8080, 40000)),
            (3, &0x2eu32.to_be_bytes()),
            (4, &nested(&[(1, &nested(&[(1, &[3])]))])),
            (7, &431_999u32.to_be_bytes()),
            (9, &nested(&[(1, &5u64.to_be_bytes()), (2, &420u64.to_be_bytes())])),
        ]));
        let row = read(7, &payload).unwrap();
        assert_eq!(
            (row.state.as_deref(), row.timeout_secs, row.bytes),
            (Some("established"), Some(431_999), Some(420))
        );
        assert_eq!(row.status, ["seen_reply", "assured", "confirmed", "dnat"]);
        assert_eq!((row.reply_source.unwrap().to_string(), row.is_translated), ("172.17.0.2".to_owned(), true));
        for length in 0..payload.len() {
            let _ = read(7, &payload[..length]);
        }
    }

    #[test]
    fn lines_of_procfs() {
        let line = b"ipv4     2 tcp      6 431999 ESTABLISHED src=127.0.0.1 dst=127.0.0.1 sport=40000 dport=31337 \
            packets=4 bytes=216 src=127.0.0.1 dst=127.0.0.1 sport=31337 dport=40000 packets=3 bytes=164 [ASSURED] \
            mark=5 zone=0 use=2";
        let row = read_line(7, line).unwrap();
        assert_eq!((row.source_port, row.destination_port, row.bytes), (Some(40000), Some(31337), Some(216)));
        assert_eq!((row.reply_bytes, row.mark, row.is_translated), (Some(164), Some(5), false));
        assert_eq!((row.state.as_deref(), row.timeout_secs), (Some("established"), Some(431_999)));
        assert_eq!(read_line(7, b"ipv4 2 tcp 6 1 src= dst="), None);
        assert_eq!(read_line(7, b""), None);
    }
}
