//! The messages of rtnetlink(7) as rows: interfaces, addresses, routes, neighbours, rules.
//!
//! Each parser takes the payload of one message and gives one row, or `None` when it is too short for its own header.
//! Attributes that no row has a field for are in the raw dump, which is kept beside the rows.

mod address;
mod link;
mod neighbour;
mod nexthop;
mod route;
mod rule;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use address::Address;
pub use link::{ConfRow, Counters, Link};
pub use neighbour::Neighbour;
pub use nexthop::{NextHopObject, VlanRow, vlans};
pub use route::{NextHop, Route};
pub use rule::Rule;

/// RTM_GETLINK.
pub const GET_LINK: u16 = 18;
/// RTM_GETADDR.
pub const GET_ADDRESS: u16 = 22;
/// RTM_GETROUTE.
pub const GET_ROUTE: u16 = 26;
/// RTM_GETNEIGH.
pub const GET_NEIGHBOUR: u16 = 30;
/// RTM_GETRULE.
pub const GET_RULE: u16 = 34;
/// RTM_GETNEXTHOP (Linux 5.3).
pub const GET_NEXTHOP: u16 = 106;

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const NEW_NEIGHBOUR: u16 = 28;
const NEW_RULE: u16 = 32;

/// AF_INET.
pub const INET: u8 = 2;
/// AF_BRIDGE: the forwarding tables of bridges, as neighbours.
pub const BRIDGE: u8 = 7;
/// AF_INET6.
pub const INET6: u8 = 10;
/// AF_MPLS.
pub const MPLS: u8 = 28;
/// RTNL_FAMILY_IPMR: multicast routes.
pub const IPMR: u8 = 128;
/// RTNL_FAMILY_IP6MR.
pub const IP6MR: u8 = 129;

/// One row.
#[derive(Debug, schemars::JsonSchema, serde::Serialize)]
#[serde(untagged)]
pub enum Row<'a> {
    /// An interface.
    Link(Box<Link<'a>>),
    /// An address of an interface.
    Address(Box<Address<'a>>),
    /// A route.
    Route(Box<Route>),
    /// A neighbour: ARP, NDP, a bridge's forwarding table.
    Neighbour(Box<Neighbour>),
    /// A rule of policy routing.
    Rule(Box<Rule<'a>>),
}

/// The row that a message stands for; `None` for other messages (the end of a dump) and for those that are too short.
pub fn row(netns: u64, kind: u16, payload: &[u8]) -> Option<Row<'_>> {
    match kind {
        NEW_LINK => Link::read(netns, payload).map(|row| Row::Link(Box::new(row))),
        NEW_ADDRESS => Address::read(netns, payload).map(|row| Row::Address(Box::new(row))),
        NEW_ROUTE => Route::read(netns, payload).map(|row| Row::Route(Box::new(row))),
        NEW_NEIGHBOUR => Neighbour::read(netns, payload).map(|row| Row::Neighbour(Box::new(row))),
        NEW_RULE => Rule::read(netns, payload).map(|row| Row::Rule(Box::new(row))),
        _ => None,
    }
}

/// An address by its length: four bytes or sixteen.
pub fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        16 => Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()),
        _ => None,
    }
}

/// The unspecified address of a family, which stands for "all" in routes and rules.
fn any(family: u8) -> Option<IpAddr> {
    match family {
        INET => Some(Ipv4Addr::UNSPECIFIED.into()),
        INET6 => Some(Ipv6Addr::UNSPECIFIED.into()),
        _ => None,
    }
}

fn family_name(family: u8) -> Cow<'static, str> {
    Cow::Borrowed(match family {
        INET => "ipv4",
        INET6 => "ipv6",
        BRIDGE => "bridge",
        28 => "mpls",
        128 => "ipmr",
        129 => "ip6mr",
        other => return Cow::Owned(other.to_string()),
    })
}

/// A link-layer address as people write it, `02:42:ac:11:00:02`; a tunnel's end as an address.
fn hardware(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 3);
    for (at, byte) in bytes.iter().enumerate() {
        let _ = write!(text, "{}{byte:02x}", if at == 0 { "" } else { ":" });
    }
    text
}

/// A name that ends at its NUL, as text. Interface names may hold any byte but `/`, `:` and blanks.
fn name(bytes: &[u8]) -> (Cow<'_, str>, Option<String>) {
    let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    match str::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text), None),
        Err(_) => {
            let (text, exact) = bundle::item::shown(bytes);
            (Cow::Owned(text), exact)
        }
    }
}

/// The names of the bits that are set; bits beyond the names are left to the number that stands beside them.
fn bits(number: u32, names: &[&'static str]) -> Vec<&'static str> {
    names
        .iter()
        .enumerate()
        .filter(|&(bit, name)| !name.is_empty() && bit < 32 && number & (1 << bit) != 0)
        .map(|(_, name)| *name)
        .collect()
}

/// The routing protocols of `include/uapi/linux/rtnetlink.h`: who put a route or a rule there.
fn route_protocol(number: u8) -> Cow<'static, str> {
    Cow::Borrowed(match number {
        0 => "unspec",
        1 => "redirect",
        2 => "kernel",
        3 => "boot",
        4 => "static",
        8 => "gated",
        9 => "ra",
        10 => "mrt",
        11 => "zebra",
        12 => "bird",
        13 => "dnrouted",
        14 => "xorp",
        15 => "ntk",
        16 => "dhcp",
        17 => "mrouted",
        18 => "keepalived",
        42 => "babel",
        84 => "openr",
        186 => "bgp",
        187 => "isis",
        188 => "ospf",
        189 => "rip",
        192 => "eigrp",
        other => return Cow::Owned(other.to_string()),
    })
}

fn scope_name(number: u8) -> Cow<'static, str> {
    Cow::Borrowed(match number {
        0 => "global",
        200 => "site",
        253 => "link",
        254 => "host",
        255 => "nowhere",
        other => return Cow::Owned(other.to_string()),
    })
}

fn table_name(number: u32) -> Cow<'static, str> {
    Cow::Borrowed(match number {
        0 => "unspec",
        253 => "default",
        254 => "main",
        255 => "local",
        other => return Cow::Owned(other.to_string()),
    })
}

#[cfg(test)]
mod testing {
    /// An attribute with its header and padding.
    pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// The row as JSON, its keys checked.
    pub fn json(netns: u64, kind: u16, payload: &[u8]) -> serde_json::Value {
        let text = serde_json::to_string(&super::row(netns, kind, payload).unwrap()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(text, value.to_string(), "keys out of order");
        value
    }
}

#[cfg(test)]
mod tests {
    use super::testing::attribute;
    use super::*;

    #[test]
    fn damaged_messages_never_panic_and_give_bounded_rows() {
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap()
        };
        for kind in [NEW_LINK, NEW_ADDRESS, NEW_ROUTE, NEW_NEIGHBOUR, NEW_RULE] {
            for _ in 0..3000 {
                let mut payload: Vec<u8> = (0..16).map(|_| u8::try_from(next() & 255).unwrap()).collect();
                for _ in 0..next() % 12 {
                    let value: Vec<u8> = (0..next() % 40).map(|_| u8::try_from(next() & 15).unwrap()).collect();
                    payload.extend(attribute(u16::try_from(next() % 64).unwrap(), &value));
                }
                payload.truncate(next() % (payload.len() + 1));
                if let Some(row) = row(1, kind, &payload) {
                    assert!(serde_json::to_string(&row).unwrap().len() < 4000 + payload.len() * 64);
                }
            }
        }
    }

    #[test]
    fn bits_beyond_their_names_are_left_alone() {
        assert_eq!(bits(0b1101, &["a", "b", ""]), ["a"]);
        assert_eq!(hardware(&[2, 0x42, 0xac]), "02:42:ac");
    }
}
