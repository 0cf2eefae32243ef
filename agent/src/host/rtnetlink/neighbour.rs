//! RTM_NEWNEIGH: neighbours of ARP and NDP, and the forwarding tables of bridges (include/uapi/linux/neighbour.h).

use std::borrow::Cow;
use std::net::IpAddr;

use serde::Serialize;

use super::super::netlink::{attributes, u16_at, u32_at};
use super::{bits, family_name, hardware, ip};

/// A neighbour.
#[derive(Debug, Default, schemars::JsonSchema, Serialize)]
pub struct Neighbour {
    /// Its address; absent in a bridge's table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// How long ago it was confirmed, in hundredths of a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_ticks: Option<u32>,
    /// ipv4, ipv6 or bridge.
    pub family: Cow<'static, str>,
    /// NTF_*: proxy, router, extern_learn …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<&'static str>,
    /// The same as a number.
    pub flags_number: u32,
    /// Index of the interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_index: Option<u32>,
    /// Name of the interface, where only `/proc/net/arp` could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_name: Option<String>,
    /// Its link-layer address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Index of the bridge whose table it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<u32>,
    /// Inode of its network namespace.
    pub netns: u64,
    /// Unanswered questions for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<u32>,
    /// `neighbour`.
    pub record: &'static str,
    /// References to it in the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub references: Option<u32>,
    /// `netlink`, or `procfs` where netlink was refused.
    pub source: &'static str,
    /// NUD_*: reachable, stale, permanent …
    pub state: Vec<&'static str>,
    /// How long ago it was changed, in hundredths of a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_ticks: Option<u32>,
    /// How long ago it was used, in hundredths of a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_ticks: Option<u32>,
    /// VLAN of an entry of a bridge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
}

const FLAGS: [&str; 8] = ["use", "self", "master", "proxy", "extern_learn", "offloaded", "sticky", "router"];
const STATES: [&str; 8] = ["incomplete", "reachable", "stale", "delay", "probe", "failed", "noarp", "permanent"];

impl Neighbour {
    pub(super) fn read(netns: u64, payload: &[u8]) -> Option<Self> {
        let &[family, _, _, _, _, _, _, _, _, _, flags, _, ..] = payload else {
            return None;
        };
        let mut neighbour = Self {
            family: family_name(family),
            flags: bits(u32::from(flags), &FLAGS),
            flags_number: u32::from(flags),
            interface_index: u32_at(payload, 4),
            source: "netlink",
            state: bits(u32::from(u16_at(payload, 8)?), &STATES),
            ..Self::new(netns, family)
        };
        for (kind, value) in attributes(payload.get(12..)?) {
            match kind {
                1 => neighbour.address = ip(value),
                2 => neighbour.mac = (!value.is_empty()).then(|| hardware(value)),
                3 => {
                    neighbour.confirmed_ticks = u32_at(value, 0);
                    neighbour.used_ticks = u32_at(value, 4);
                    neighbour.updated_ticks = u32_at(value, 8);
                    neighbour.references = u32_at(value, 12);
                }
                4 => neighbour.probes = u32_at(value, 0),
                5 => neighbour.vlan = u16_at(value, 0),
                9 => neighbour.master = u32_at(value, 0),
                _ => {}
            }
        }
        Some(neighbour)
    }

    /// A neighbour with nothing but its family; also for the rows that come from `/proc/net/arp`.
    pub fn new(netns: u64, family: u8) -> Self {
        Self { family: family_name(family), netns, record: "neighbour", source: "netlink", ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{attribute, json};
    use serde_json::json;

    #[test]
    fn a_router_that_was_seen() {
        let mut payload = vec![10, 0, 0, 0];
        payload.extend(2u32.to_ne_bytes());
        payload.extend(4u16.to_ne_bytes());
        payload.extend([0x80, 1]);
        payload.extend(attribute(1, &[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
        payload.extend(attribute(2, &[2, 0, 0, 0, 0, 1]));
        payload.extend(attribute(3, &[1u32, 2, 3, 4].map(u32::to_ne_bytes).concat()));
        let row = json(9, 28, &payload);
        assert_eq!((&row["address"], &row["mac"]), (&json!("fe80::1"), &json!("02:00:00:00:00:01")));
        assert_eq!((&row["state"], &row["flags"]), (&json!(["stale"]), &json!(["router"])));
        assert_eq!((&row["updated_ticks"], &row["family"]), (&json!(3), &json!("ipv6")));
    }
}
