//! RTM_NEWROUTE: routes of all tables (rtnetlink(7), include/uapi/linux/rtnetlink.h).

use std::borrow::Cow;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use super::super::netlink::{attributes, i32_at, u16_at, u32_at};
use super::{any, bits, family_name, ip, route_protocol, scope_name, table_name};

/// A route.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Route {
    /// Destination; `0.0.0.0` or `::` with a prefix of zero is the default route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<IpAddr>,
    /// Kind of encapsulation (LWTUNNEL_ENCAP_*), by number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encapsulation: Option<u16>,
    /// Seconds until it goes away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_secs: Option<i32>,
    /// ipv4, ipv6, mpls, ipmr.
    pub family: Cow<'static, str>,
    /// RTNH_F_*: dead, onlink, linkdown …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<&'static str>,
    /// The same as a number.
    pub flags_number: u32,
    /// Where it sends to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Index of the interface that packets must come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_index: Option<u32>,
    /// Index of the interface that it sends through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_index: Option<u32>,
    /// Name of that interface, where only `/proc/net/route` could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_name: Option<String>,
    /// Mark that packets must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// Metric: the smaller wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// Inode of its network namespace.
    pub netns: u64,
    /// Identifier of a next hop object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nexthop_id: Option<u32>,
    /// The ways of a route with several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nexthops: Vec<NextHop>,
    /// Source address that it prefers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_source: Option<IpAddr>,
    /// Length of the destination's prefix in bits.
    pub prefix_len: u8,
    /// Who made it: kernel, boot, static, dhcp, ra, bgp …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Cow<'static, str>>,
    /// `route`.
    pub record: &'static str,
    /// global, site, link, host, nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Cow<'static, str>>,
    /// `netlink`, or `procfs` where netlink was refused.
    pub source: &'static str,
    /// Source that packets must come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_address: Option<IpAddr>,
    /// Length of the source's prefix in bits; absent: zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_prefix_len: Option<u8>,
    /// Table by name or number: main, local, default, 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<Cow<'static, str>>,
    /// Type of service that packets must have; absent: zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tos: Option<u8>,
    /// unicast, local, broadcast, blackhole, unreachable, prohibit …
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub route_type: Option<Cow<'static, str>>,
}

/// One way of a route.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct NextHop {
    /// RTNH_F_*.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<&'static str>,
    /// Where it sends to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Index of the interface.
    pub interface_index: i32,
    /// Weight, one less than what `ip route` shows.
    pub weight: u8,
}

const FLAGS: [&str; 7] = ["dead", "pervasive", "onlink", "offload", "linkdown", "unresolved", "trap"];

impl Route {
    pub(super) fn read(netns: u64, payload: &[u8]) -> Option<Self> {
        let &[family, prefix_len, source_len, tos, table, protocol, scope, kind, ..] = payload else {
            return None;
        };
        let flags = u32_at(payload, 8)?;
        let mut route = Self {
            destination: any(family),
            flags: bits(flags & 0xff, &FLAGS),
            flags_number: flags,
            protocol: Some(route_protocol(protocol)),
            scope: Some(scope_name(scope)),
            source_prefix_len: (source_len != 0).then_some(source_len),
            table: Some(table_name(u32::from(table))),
            tos: (tos != 0).then_some(tos),
            route_type: Some(type_name(kind)),
            ..Self::new(netns, family, prefix_len)
        };
        for (kind, value) in attributes(payload.get(12..)?) {
            match kind {
                1 => route.destination = ip(value).or(route.destination),
                2 => route.source_address = ip(value),
                3 => route.input_index = u32_at(value, 0),
                4 => route.interface_index = u32_at(value, 0),
                5 => route.gateway = ip(value),
                6 => route.metric = u32_at(value, 0),
                7 => route.preferred_source = ip(value),
                9 => route.nexthops = next_hops(value),
                12 => {
                    route.expires_secs = u32_at(value, 12)
                        .and_then(|_| i32_at(value, 8))
                        .filter(|&ticks| ticks != 0)
                        .map(|ticks| ticks / 100);
                }
                15 => route.table = u32_at(value, 0).map(table_name).or(route.table),
                16 => route.mark = u32_at(value, 0),
                18 => route.gateway = via(value),
                21 => route.encapsulation = u16_at(value, 0),
                30 => route.nexthop_id = u32_at(value, 0),
                _ => {}
            }
        }
        Some(route)
    }

    /// A route with nothing but where it goes; also for the rows that come from `/proc/net`.
    pub fn new(netns: u64, family: u8, prefix_len: u8) -> Self {
        Self { family: family_name(family), netns, prefix_len, record: "route", source: "netlink", ..Self::default() }
    }
}

/// RTA_VIA: a gateway of another family.
fn via(value: &[u8]) -> Option<IpAddr> {
    ip(value.get(2..)?)
}

/// RTA_MULTIPATH: `struct rtnexthop`, each with attributes of its own.
fn next_hops(mut bytes: &[u8]) -> Vec<NextHop> {
    let mut hops = Vec::new();
    while let Some(length) = u16_at(bytes, 0).map(usize::from) {
        let (Some(&[_, _, flags, weight, ..]), Some(attached)) = (bytes.get(..length), bytes.get(8..length)) else {
            break;
        };
        let gateway = attributes(attached).find_map(|(kind, value)| match kind {
            5 => ip(value),
            18 => via(value),
            _ => None,
        });
        hops.push(NextHop {
            flags: bits(u32::from(flags), &FLAGS),
            gateway,
            interface_index: i32_at(bytes, 4).unwrap_or(0),
            weight,
        });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    hops
}

fn type_name(number: u8) -> Cow<'static, str> {
    const NAMES: [&str; 12] = [
        "unspec",
        "unicast",
        "local",
        "broadcast",
        "anycast",
        "multicast",
        "blackhole",
        "unreachable",
        "prohibit",
        "throw",
        "nat",
        "xresolve",
    ];
    match NAMES.get(usize::from(number)) {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Owned(number.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{attribute, json};
    use serde_json::json;

    #[test]
    fn a_default_route_in_a_table_of_its_own() {
        let mut payload = vec![2, 0, 0, 0, 252, 16, 0, 1, 0, 0, 0, 0];
        payload.extend(attribute(15, &1000u32.to_ne_bytes()));
        payload.extend(attribute(5, &[192, 0, 2, 1]));
        payload.extend(attribute(4, &2u32.to_ne_bytes()));
        payload.extend(attribute(6, &100u32.to_ne_bytes()));
        let row = json(9, 24, &payload);
        assert_eq!(
            row,
            json!({
                "destination": "0.0.0.0", "family": "ipv4", "flags_number": 0, "gateway": "192.0.2.1",
                "interface_index": 2, "metric": 100, "netns": 9, "prefix_len": 0, "protocol": "dhcp", "record": "route",
                "scope": "global", "source": "netlink", "table": "1000", "type": "unicast",
            })
        );
    }

    #[test]
    fn several_ways_and_a_gateway_of_the_other_family() {
        let hop = |index: i32, attached: &[u8]| {
            let mut bytes = u16::try_from(8 + attached.len()).unwrap().to_ne_bytes().to_vec();
            bytes.extend([0, 4]);
            bytes.extend(index.to_ne_bytes());
            bytes.extend(attached);
            bytes
        };
        let via = [10u16.to_ne_bytes().to_vec(), vec![0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]].concat();
        let hops = [hop(2, &attribute(5, &[192, 0, 2, 1])), hop(3, &attribute(18, &via))].concat();
        let mut payload = vec![2, 8, 0, 0, 254, 4, 0, 6, 4, 0, 0, 0];
        payload.extend(attribute(1, &[10, 0, 0, 0]));
        payload.extend(attribute(9, &hops));
        let row = json(9, 24, &payload);
        assert_eq!(
            (&row["flags"], &row["type"], &row["table"]),
            (&json!(["onlink"]), &json!("blackhole"), &json!("main"))
        );
        assert_eq!(row["nexthops"][1], json!({"gateway": "fe80::1", "interface_index": 3, "weight": 4}));
    }
}
