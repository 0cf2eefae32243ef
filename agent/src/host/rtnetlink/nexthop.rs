//! RTM_NEWNEXTHOP: next hops that routes name by number (include/uapi/linux/nexthop.h); and the VLANs of bridge ports,
//! which an interface carries (include/uapi/linux/if_bridge.h).

use std::borrow::Cow;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use super::super::netlink::{attribute, attributes, text_of, u16_at, u32_at};
use super::{bits, family_name, ip, route_protocol};

/// A next hop that routes name by its number.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NextHopObject {
    /// True when it throws packets away.
    pub blackhole: bool,
    /// ipv4, ipv6.
    pub family: Cow<'static, str>,
    /// dead, onlink, linkdown …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<&'static str>,
    /// Where it sends to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The next hops that a group chooses from, by number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group: Vec<u32>,
    /// Its number.
    pub id: u32,
    /// Index of the interface that it sends through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_index: Option<u32>,
    /// Inode of its network namespace.
    pub netns: u64,
    /// Who made it: static, zebra, bgp …
    pub protocol: Cow<'static, str>,
    /// `nexthop`.
    pub record: &'static str,
}

impl NextHopObject {
    /// The row of a RTM_NEWNEXTHOP.
    pub fn read(netns: u64, payload: &[u8]) -> Option<Self> {
        let &[family, _, protocol, _, ..] = payload else { return None };
        let flags = u32_at(payload, 4)?;
        let list = payload.get(8..)?;
        // `struct nexthop_grp` has eight bytes: the number first.
        let group = attribute(list, 2).unwrap_or_default();
        Some(Self {
            blackhole: attribute(list, 4).is_some(),
            family: family_name(family),
            flags: bits(flags & 0xff, &["dead", "pervasive", "onlink", "offload", "linkdown", "unresolved", "trap"]),
            gateway: attribute(list, 6).and_then(ip),
            group: group.chunks_exact(8).filter_map(|hop| u32_at(hop, 0)).collect(),
            id: u32_at(attribute(list, 1)?, 0)?,
            interface_index: attribute(list, 5).and_then(|value| u32_at(value, 0)),
            netns,
            protocol: route_protocol(protocol),
            record: "nexthop",
        })
    }
}

/// A VLAN, or a range of them, of a port of a bridge.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VlanRow {
    /// pvid (untagged packets that come in get it), untagged (its packets go out without a tag), master.
    pub flags: Vec<&'static str>,
    /// Index of the port.
    pub interface_index: u32,
    /// Name of the port.
    pub interface_name: String,
    /// The last one, of a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_vlan: Option<u16>,
    /// Inode of its network namespace.
    pub netns: u64,
    /// `bridge_vlan`.
    pub record: &'static str,
    /// The VLAN.
    pub vlan: u16,
}

/// The VLANs in a RTM_NEWLINK of the family AF_BRIDGE (IFLA_AF_SPEC, IFLA_BRIDGE_VLAN_INFO).
pub fn vlans(netns: u64, payload: &[u8]) -> Vec<VlanRow> {
    let Some((index, list)) = u32_at(payload, 4).zip(payload.get(16..)) else { return Vec::new() };
    let name = String::from_utf8_lossy(text_of(attribute(list, 3).unwrap_or_default())).into_owned();
    let mut rows: Vec<VlanRow> = Vec::new();
    for (kind, value) in attributes(attribute(list, 26).unwrap_or_default()) {
        let Some((flags, vlan)) = u16_at(value, 0).zip(u16_at(value, 2)).filter(|_| kind == 2) else { continue };
        // BRIDGE_VLAN_INFO_RANGE_END: the one before began the range.
        if flags & 0x10 != 0
            && let Some(last) = rows.last_mut()
        {
            last.last_vlan = Some(vlan);
            continue;
        }
        rows.push(VlanRow {
            flags: bits(u32::from(flags) & 7, &["master", "pvid", "untagged"]),
            interface_index: index,
            interface_name: name.clone(),
            last_vlan: None,
            netns,
            record: "bridge_vlan",
            vlan,
        });
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::super::testing::attribute as written;
    use super::*;

    #[test]
    fn a_next_hop_and_a_group() {
        let mut payload = vec![2, 0, 4, 0, 0, 0, 0, 0];
        payload.extend(written(1, &7u32.to_ne_bytes()));
        payload.extend(written(6, &[192, 0, 2, 1]));
        payload.extend(written(2, &[3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]));
        let row = NextHopObject::read(1, &payload).unwrap();
        assert_eq!(
            (row.id, row.gateway.unwrap().to_string().as_str(), row.group.as_slice()),
            (7, "192.0.2.1", &[3, 4][..])
        );
        assert_eq!(NextHopObject::read(1, &payload[..7]), None);
    }

    #[test]
    fn a_range_of_vlans_is_one_row() {
        let one = |flags: u16, vlan: u16| written(2, &[flags.to_ne_bytes(), vlan.to_ne_bytes()].concat());
        let mut payload = vec![7, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        payload.extend(written(3, b"eth0\0"));
        payload.extend(written(26, &[one(6, 1), one(8, 10), one(16, 20)].concat()));
        let rows = vlans(1, &payload);
        assert_eq!(rows.iter().map(|row| (row.vlan, row.last_vlan)).collect::<Vec<_>>(), [(1, None), (10, Some(20))]);
        assert_eq!(rows[0].flags, ["pvid", "untagged"]);
        assert!(vlans(1, &payload[..15]).is_empty());
    }
}
