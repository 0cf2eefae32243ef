//! A rule of nf_tables, expression by expression: load a field into a register, mask it, compare it, give a verdict.
//!
//! Everything is compared without connection tracking: what is established is cut like what is new.

use std::net::IpAddr;

use super::batch::{NESTED, NETDEV};
use crate::host::netlink::write_attribute;
use crate::host::nf::{IPV4, IPV6};

const REGISTER: u32 = 1;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
const META_PROTOCOL: u32 = 1;
const META_IIF: u32 = 4;
const META_OIF: u32 = 5;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
/// The loopback interface has this index in every network namespace (LOOPBACK_IFINDEX).
const LOOPBACK: u32 = 1;

/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Which end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where it comes from.
    Source,
    /// Where it goes to.
    Destination,
}

/// Expressions in the making.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    family: u8,
    expressions: Vec<u8>,
}

impl Rule {
    /// For a table of this family.
    pub const fn of(family: u8) -> Self {
        Self { family, expressions: Vec::new() }
    }

    /// NFTA_RULE_EXPRESSIONS.
    pub fn expressions(&self) -> &[u8] {
        &self.expressions
    }

    fn expression(mut self, name: &str, data: &[u8]) -> Self {
        let mut element = Vec::new();
        write_attribute(&mut element, 1, &[name.as_bytes(), b"\0"].concat());
        write_attribute(&mut element, NESTED | 2, data);
        write_attribute(&mut self.expressions, NESTED | 1, &element);
        self
    }

    fn meta(self, key: u32) -> Self {
        let mut data = Vec::new();
        write_attribute(&mut data, 1, &REGISTER.to_be_bytes());
        write_attribute(&mut data, 2, &key.to_be_bytes());
        self.expression("meta", &data)
    }

    fn payload(self, base: u32, offset: u32, length: u32) -> Self {
        let mut data = Vec::new();
        for (kind, value) in [(1, REGISTER), (2, base), (3, offset), (4, length)] {
            write_attribute(&mut data, kind, &value.to_be_bytes());
        }
        self.expression("payload", &data)
    }

    fn masked(self, mask: &[u8]) -> Self {
        let mut data = Vec::new();
        let length = u32::try_from(mask.len()).unwrap_or(0);
        for (kind, value) in [(1, REGISTER), (2, REGISTER), (3, length)] {
            write_attribute(&mut data, kind, &value.to_be_bytes());
        }
        for (kind, value) in [(4, mask), (5, &vec![0; mask.len()][..])] {
            let mut nested = Vec::new();
            write_attribute(&mut nested, 1, value);
            write_attribute(&mut data, NESTED | kind, &nested);
        }
        self.expression("bitwise", &data)
    }

    fn compared(self, operation: u32, value: &[u8]) -> Self {
        let mut nested = Vec::new();
        write_attribute(&mut nested, 1, value);
        let mut data = Vec::new();
        write_attribute(&mut data, 1, &REGISTER.to_be_bytes());
        write_attribute(&mut data, 2, &operation.to_be_bytes());
        write_attribute(&mut data, NESTED | 3, &nested);
        self.expression("cmp", &data)
    }

    fn equals(self, value: &[u8]) -> Self {
        self.compared(0, value)
    }

    fn verdict(self, code: i32, chain: Option<&str>) -> Self {
        let mut verdict = Vec::new();
        write_attribute(&mut verdict, 1, &code.to_be_bytes());
        if let Some(chain) = chain {
            write_attribute(&mut verdict, 2, &[chain.as_bytes(), b"\0"].concat());
        }
        let mut nested = Vec::new();
        write_attribute(&mut nested, NESTED | 2, &verdict);
        let mut data = Vec::new();
        write_attribute(&mut data, 1, &0u32.to_be_bytes());
        write_attribute(&mut data, NESTED | 2, &nested);
        self.expression("immediate", &data)
    }

    /// NF_ACCEPT.
    pub fn accept(self) -> Self {
        self.verdict(1, None)
    }

    /// NF_DROP.
    pub fn drop(self) -> Self {
        self.verdict(0, None)
    }

    /// NFT_JUMP.
    pub fn jump(self, chain: &str) -> Self {
        self.verdict(-3, Some(chain))
    }

    /// It came in by the loopback interface.
    pub fn in_by_loopback(self) -> Self {
        self.meta(META_IIF).equals(&LOOPBACK.to_ne_bytes())
    }

    /// It goes out by the loopback interface.
    pub fn out_by_loopback(self) -> Self {
        self.meta(META_OIF).equals(&LOOPBACK.to_ne_bytes())
    }

    /// Its EtherType; only the netdev family sees what is no IP.
    pub fn ether_type(self, number: u16) -> Self {
        self.meta(META_PROTOCOL).equals(&number.to_be_bytes())
    }

    fn ipv4(self) -> Self {
        if self.family == NETDEV { self.ether_type(0x0800) } else { self.meta(META_NFPROTO).equals(&[IPV4]) }
    }

    fn ipv6(self) -> Self {
        if self.family == NETDEV { self.ether_type(0x86dd) } else { self.meta(META_NFPROTO).equals(&[IPV6]) }
    }

    /// One end lies in a network.
    pub fn address(self, end: End, address: IpAddr, prefix: u8) -> Self {
        let (rule, offset, bytes) = match address {
            IpAddr::V4(v4) => (self.ipv4(), if end == End::Source { 12 } else { 16 }, v4.octets().to_vec()),
            IpAddr::V6(v6) => (self.ipv6(), if end == End::Source { 8 } else { 24 }, v6.octets().to_vec()),
        };
        if prefix == 0 {
            return rule;
        }
        let length = u32::try_from(bytes.len()).unwrap_or(0);
        let loaded = rule.payload(NETWORK, offset, length);
        if usize::from(prefix) >= bytes.len() * 8 { loaded } else { loaded.masked(&mask(prefix, bytes.len())) }
            .equals(&bytes)
    }

    /// Its transport protocol.
    pub fn protocol(self, number: u8) -> Self {
        self.meta(META_L4PROTO).equals(&[number])
    }

    /// A port at one end.
    pub fn port(self, end: End, port: u16) -> Self {
        self.payload(TRANSPORT, if end == End::Source { 0 } else { 2 }, 2).equals(&port.to_be_bytes())
    }

    /// A TCP segment that opens no connection: not SYN without ACK.
    pub fn opens_nothing(self) -> Self {
        self.payload(TRANSPORT, 13, 1).masked(&[0x12]).compared(1, &[0x02])
    }

    /// ICMP of this type and code.
    pub fn icmp(self, kind: u8, code: u8) -> Self {
        self.ipv4().protocol(ICMP).payload(TRANSPORT, 0, 2).equals(&[kind, code])
    }

    /// ICMPv6 of this type.
    pub fn icmpv6(self, kind: u8) -> Self {
        self.ipv6().protocol(ICMPV6).payload(TRANSPORT, 0, 1).equals(&[kind])
    }

    /// No router has passed it on: hop limit 255 (RFC 4861).
    pub fn was_not_routed(self) -> Self {
        self.payload(NETWORK, 7, 1).equals(&[255])
    }
}

fn mask(prefix: u8, bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|at| {
            let bits = usize::from(prefix).saturating_sub(at * 8).min(8);
            u8::try_from((0xff00_u32 >> bits) & 0xff).unwrap_or(0)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::nf::expression::{KnownSets, decode};

    fn text(rule: &Rule) -> String {
        decode(rule.family, rule.expressions(), &KnownSets::new()).text
    }

    #[test]
    fn rules_read_as_they_are_meant() {
        let inet = || Rule::of(crate::host::nf::INET);
        let v4: IpAddr = "10.77.0.0".parse().unwrap();
        let v6: IpAddr = "fd77::20".parse().unwrap();
        let cases = [
            (inet().in_by_loopback().accept(), "iif 1 accept"),
            (inet().address(End::Source, v4, 20).accept(), "ip saddr 10.77.0.0/20 accept"),
            (
                inet().address(End::Destination, v6, 128).protocol(TCP).port(End::Destination, 8443).accept(),
                "ip6 daddr fd77::20 tcp dport 8443 accept",
            ),
            (Rule::of(NETDEV).address(End::Destination, v6, 128).drop(), "ip6 daddr fd77::20 drop"),
            (inet().jump("peers_in"), "jump peers_in"),
        ];
        for (rule, wanted) in cases {
            assert_eq!(text(&rule), wanted);
        }
    }

    #[test]
    fn masks() {
        assert_eq!(mask(20, 4), [255, 255, 0xf0, 0]);
        assert_eq!(mask(10, 16)[..3], [255, 0xc0, 0]);
        assert_eq!((mask(32, 4), mask(0, 4)), (vec![255; 4], vec![0; 4]));
    }
}
