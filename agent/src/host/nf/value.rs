//! Values that a firewall compares with, as people write them.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::netlink::{text_of, u16_be, u32_be};
use super::protocol_name;

/// What a value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Unknown: shown in hexadecimal.
    Bytes,
    /// A number in network order.
    Number,
    /// A number of 32 bits in host order: an index, a user.
    HostNumber,
    /// The same, shown in hexadecimal: a mark.
    Mark,
    /// An address; a value that is cut short stands for a prefix.
    Ip4,
    /// An address; a value that is cut short stands for a prefix.
    Ip6,
    /// An address of the link.
    Mac,
    /// A port.
    Port,
    /// An IP protocol.
    Protocol,
    /// NFPROTO_*.
    NfProto,
    /// The name of an interface, a trailing `*` for a prefix.
    Interface,
    /// An EtherType.
    EtherType,
    /// Bits of `ct state` (host order).
    CtState,
    /// Bits of `ct status` (host order).
    CtStatus,
    /// `original` or `reply`.
    CtDirection,
    /// Bits of the TCP header.
    TcpFlags,
    /// RTN_* (host order).
    AddressType,
    /// A type of ICMP.
    IcmpType,
    /// PACKET_*.
    PacketType,
}

const CT_STATES: [&str; 4] = ["invalid", "established", "related", "new"];
const CT_STATUS: [&str; 10] =
    ["expected", "seen-reply", "assured", "confirmed", "snat", "dnat", "seq-adjust", "snat-done", "dnat-done", "dying"];
const TCP_FLAGS: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"];
const ADDRESS_TYPES: [&str; 9] =
    ["unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit"];
const PACKET_TYPES: [&str; 4] = ["host", "broadcast", "multicast", "other"];

impl Kind {
    /// The data types of nft(8) that sets are keyed by (its `TYPE_*`; a concatenation has six bits for each part).
    pub fn of_nft(number: u32) -> Self {
        match number {
            7 => Self::Ip4,
            8 => Self::Ip6,
            9 => Self::Mac,
            10 => Self::EtherType,
            12 => Self::Protocol,
            13 => Self::Port,
            14 | 29 => Self::IcmpType,
            15 => Self::TcpFlags,
            19 => Self::Mark,
            41 => Self::Interface,
            26 => Self::CtState,
            28 => Self::CtStatus,
            _ => Self::Bytes,
        }
    }

    /// True for values of bits, of which `value & bits != 0` is asked.
    pub fn is_of_bits(self) -> bool {
        matches!(self, Self::CtState | Self::CtStatus | Self::TcpFlags)
    }

    /// Bytes that one value has; 0 when that depends.
    pub fn bytes(self) -> usize {
        match self {
            Self::Ip4 | Self::Mark | Self::HostNumber | Self::CtState | Self::CtStatus | Self::AddressType => 4,
            Self::Ip6 | Self::Interface => 16,
            Self::Mac => 6,
            Self::Port | Self::EtherType => 2,
            Self::Protocol | Self::TcpFlags | Self::IcmpType | Self::NfProto | Self::PacketType | Self::CtDirection => {
                1
            }
            Self::Bytes | Self::Number => 0,
        }
    }

    /// A value as text.
    pub fn show(self, value: &[u8]) -> String {
        self.shown(value).unwrap_or_else(|| hex(value))
    }

    fn shown(self, value: &[u8]) -> Option<String> {
        let host = || Some(u32::from_ne_bytes(*value.first_chunk()?));
        let byte = || value.first().copied();
        let named = |names: &[&str], number: u32| match names.get(number as usize) {
            Some(name) => (*name).to_owned(),
            None => number.to_string(),
        };
        Some(match self {
            Self::Bytes => return None,
            Self::Number => number(value)?,
            Self::HostNumber => host()?.to_string(),
            Self::Mark => format!("0x{:x}", host()?),
            Self::Ip4 => match value.len() {
                1..4 => format!("{}/{}", Ipv4Addr::from(filled::<4>(value)), value.len() * 8),
                _ => Ipv4Addr::from(*value.first_chunk::<4>()?).to_string(),
            },
            Self::Ip6 => match value.len() {
                1..16 => format!("{}/{}", Ipv6Addr::from(filled::<16>(value)), value.len() * 8),
                _ => Ipv6Addr::from(*value.first_chunk::<16>()?).to_string(),
            },
            Self::Mac => {
                let parts: Vec<String> = value.get(..6)?.iter().map(|byte| format!("{byte:02x}")).collect();
                parts.join(":")
            }
            Self::Port => u16_be(value)?.to_string(),
            Self::Protocol => protocol_name(byte()?).into_owned(),
            Self::NfProto => match byte()? {
                2 => "ipv4".to_owned(),
                10 => "ipv6".to_owned(),
                other => other.to_string(),
            },
            // A name that fills its place without a zero byte is a prefix.
            Self::Interface => {
                let is_prefix = !value.contains(&0) && value.len() < 16;
                quoted(text_of(value), if is_prefix { "*" } else { "" })
            }
            Self::EtherType => match u16_be(value)? {
                0x0800 => "ip".to_owned(),
                0x0806 => "arp".to_owned(),
                0x86dd => "ip6".to_owned(),
                0x8100 => "vlan".to_owned(),
                other => format!("0x{other:04x}"),
            },
            Self::CtState => {
                // "untracked" lies apart from the others (NF_CT_STATE_UNTRACKED_BIT).
                let bits = host()?;
                let mut text = named_bits(bits & 0xf, &CT_STATES);
                if bits & 64 != 0 {
                    text = if text.is_empty() { "untracked".to_owned() } else { format!("{text},untracked") };
                }
                if bits & !0x4f != 0 { format!("0x{bits:x}") } else { text }
            }
            Self::CtStatus => named_bits(host()?, &CT_STATUS),
            Self::CtDirection => named(&["original", "reply"], u32::from(byte()?)),
            Self::TcpFlags => named_bits(u32::from(byte()?), &TCP_FLAGS),
            Self::AddressType => named(&ADDRESS_TYPES, host()?),
            Self::IcmpType => match byte()? {
                0 => "echo-reply".to_owned(),
                3 => "destination-unreachable".to_owned(),
                8 => "echo-request".to_owned(),
                11 => "time-exceeded".to_owned(),
                other => other.to_string(),
            },
            Self::PacketType => named(&PACKET_TYPES, u32::from(byte()?)),
        })
    }
}

/// The names of the bits, by commas; a bit without a name makes it a number.
fn named_bits(bits: u32, names: &[&str]) -> String {
    if bits.checked_shr(u32::try_from(names.len()).unwrap_or(32)).unwrap_or(0) != 0 || bits == 0 {
        return format!("0x{bits:x}");
    }
    let set = names.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
}

fn filled<const N: usize>(value: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    for (to, from) in bytes.iter_mut().zip(value) {
        *to = *from;
    }
    bytes
}

fn number(value: &[u8]) -> Option<String> {
    if value.len() > 8 {
        return None;
    }
    Some(value.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)).to_string())
}

/// Bytes in hexadecimal.
pub fn hex(value: &[u8]) -> String {
    let mut text = "0x".to_owned();
    for byte in value {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A text in quotes, with what would end them or break a line escaped.
pub fn quoted(text: &[u8], end: &str) -> String {
    format!("\"{}{end}\"", text.escape_ascii())
}

/// Length of the prefix that a mask stands for.
pub fn prefix_of(mask: &[u8]) -> Option<usize> {
    let ones: usize = mask.iter().map(|byte| byte.leading_ones() as usize).take_while(|ones| *ones > 0).sum();
    let mut rest = mask.iter().enumerate();
    let is_prefix = rest.all(|(at, byte)| {
        let bits = ones.saturating_sub(at * 8).min(8);
        *byte == u8::try_from(0xff00_u32 >> bits & 0xff).unwrap_or(0)
    });
    is_prefix.then_some(ones)
}

/// The value that lies one below, in network order.
pub fn before(value: &[u8]) -> Vec<u8> {
    let mut bytes = value.to_vec();
    for byte in bytes.iter_mut().rev() {
        let (less, borrowed) = byte.overflowing_sub(1);
        *byte = less;
        if !borrowed {
            break;
        }
    }
    bytes
}

/// `first-last`, or `address/length` when that is all of a prefix, or the one value.
pub fn range(kind: Kind, first: &[u8], last: &[u8]) -> String {
    if first == last {
        return kind.show(first);
    }
    if matches!(kind, Kind::Ip4 | Kind::Ip6) && first.len() == last.len() {
        let mask: Vec<u8> = first.iter().zip(last).map(|(a, b)| !(a ^ b)).collect();
        let is_whole = first.iter().zip(&mask).all(|(byte, mask)| byte & !mask == 0)
            && last.iter().zip(&mask).all(|(byte, mask)| byte | mask == 0xff);
        if let (true, Some(length)) = (is_whole, prefix_of(&mask)) {
            return format!("{}/{length}", kind.show(first));
        }
    }
    format!("{}-{}", kind.show(first), kind.show(last))
}

/// What `nfproto`, `ct l3proto` and the like name in sets of `ipset` and `nat`.
pub fn address(value: &[u8]) -> String {
    match value.len() {
        4 => Kind::Ip4.show(value),
        16 => Kind::Ip6.show(value),
        _ => hex(value),
    }
}

/// A number in network order, or in hexadecimal when it is no number.
pub fn be32(value: &[u8]) -> String {
    u32_be(value).map_or_else(|| hex(value), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_people_write_them() {
        assert_eq!(Kind::Ip4.show(&[192, 0, 2, 7]), "192.0.2.7");
        assert_eq!(Kind::Ip4.show(&[10, 1]), "10.1.0.0/16");
        assert_eq!(Kind::Port.show(&[0x7a, 0x69]), "31337");
        assert_eq!(Kind::Interface.show(b"eth"), "\"eth*\"");
        assert_eq!(Kind::Interface.show(b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), "\"lo\"");
        assert_eq!(Kind::CtState.show(&6u32.to_ne_bytes()), "established,related");
        assert_eq!(Kind::CtState.show(&65u32.to_ne_bytes()), "invalid,untracked");
        assert_eq!(Kind::TcpFlags.show(&[2]), "syn");
        assert_eq!(Kind::Port.show(&[1]), "0x01");
        assert_eq!(Kind::Mac.show(&[1, 2]), "0x0102");
        assert_eq!(Kind::Bytes.show(&[0xab]), "0xab");
    }

    #[test]
    fn prefixes_and_ranges() {
        assert_eq!(prefix_of(&[255, 192, 0]), Some(10));
        assert_eq!(prefix_of(&[255, 0, 255]), None);
        assert_eq!(prefix_of(&[0, 0]), Some(0));
        assert_eq!(before(&[1, 0, 0]), [0, 255, 255]);
        assert_eq!(range(Kind::Ip4, &[10, 0, 0, 0], &[10, 255, 255, 255]), "10.0.0.0/8");
        assert_eq!(range(Kind::Ip4, &[10, 0, 0, 0], &[10, 0, 0, 5]), "10.0.0.0-10.0.0.5");
        assert_eq!(range(Kind::Port, &[0, 53], &[0, 53]), "53");
    }
}
