//! RTM_NEWRULE: rules of policy routing (ip-rule(8), include/uapi/linux/fib_rules.h).

use std::borrow::Cow;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use super::super::netlink::{attributes, u16_at, u32_at};
use super::{any, bits, family_name, ip, name, route_protocol, table_name};

/// A rule: which packets look into which table.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Rule<'a> {
    /// to_tbl, goto, nop, blackhole, unreachable, prohibit.
    pub action: Cow<'static, str>,
    /// Destination that packets must have; absent: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<IpAddr>,
    /// `[first, last]` destination port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_ports: Option<(u16, u16)>,
    /// Length of its prefix in bits.
    pub destination_prefix_len: u8,
    /// ipv4, ipv6, ipmr, ip6mr.
    pub family: Cow<'static, str>,
    /// FIB_RULE_*: permanent, invert, unresolved …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<&'static str>,
    /// The same as a number.
    pub flags_number: u32,
    /// Priority of the rule to go on with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goto: Option<u32>,
    /// Interface that packets come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_interface: Option<Cow<'a, str>>,
    /// IP protocol by number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_protocol: Option<u8>,
    /// True when the table is that of the packet's VRF.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub l3mdev: bool,
    /// Mark that packets must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// The bits of the mark that count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark_mask: Option<u32>,
    /// Inode of its network namespace.
    pub netns: u64,
    /// Interface that packets go out through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_interface: Option<Cow<'a, str>>,
    /// Its place: the smaller is asked first.
    pub priority: u32,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Cow<'static, str>>,
    /// `rule`.
    pub record: &'static str,
    /// `netlink`.
    pub source: &'static str,
    /// Source that packets must have; absent: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_address: Option<IpAddr>,
    /// `[first, last]` source port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ports: Option<(u16, u16)>,
    /// Length of the source's prefix in bits.
    pub source_prefix_len: u8,
    /// Routes with a prefix of at most this length do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppress_prefix_len: Option<u32>,
    /// Table by name or number.
    pub table: Cow<'static, str>,
    /// Type of service that packets must have; absent: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tos: Option<u8>,
    /// `[first, last]` user whose packets it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uids: Option<(u32, u32)>,
}

const FLAGS: [&str; 5] = ["permanent", "invert", "unresolved", "iif_detached", "oif_detached"];
const ACTIONS: [&str; 9] = ["unspec", "to_tbl", "goto", "nop", "res3", "res4", "blackhole", "unreachable", "prohibit"];

impl<'a> Rule<'a> {
    pub(super) fn read(netns: u64, payload: &'a [u8]) -> Option<Self> {
        let &[family, destination_prefix_len, source_prefix_len, tos, table, _, _, action, ..] = payload else {
            return None;
        };
        let flags = u32_at(payload, 8)?;
        let mut rule = Self {
            action: match ACTIONS.get(usize::from(action)) {
                Some(name) => Cow::Borrowed(name),
                None => Cow::Owned(action.to_string()),
            },
            destination: any(family).filter(|_| destination_prefix_len != 0),
            destination_prefix_len,
            family: family_name(family),
            flags: bits(flags, &FLAGS),
            flags_number: flags,
            netns,
            record: "rule",
            source: "netlink",
            source_prefix_len,
            table: table_name(u32::from(table)),
            tos: (tos != 0).then_some(tos),
            ..Self::default()
        };
        for (kind, value) in attributes(payload.get(12..)?) {
            rule.attribute(kind, value);
        }
        Some(rule)
    }

    fn attribute(&mut self, kind: u16, value: &'a [u8]) {
        let ports = || u16_at(value, 0).zip(u16_at(value, 2));
        match kind {
            1 => self.destination = ip(value).or(self.destination),
            2 => self.source_address = ip(value),
            3 => self.input_interface = Some(name(value).0),
            4 => self.goto = u32_at(value, 0),
            6 => self.priority = u32_at(value, 0).unwrap_or(0),
            10 => self.mark = u32_at(value, 0),
            14 => self.suppress_prefix_len = u32_at(value, 0).filter(|&length| length != u32::MAX),
            15 => self.table = u32_at(value, 0).map_or_else(|| self.table.clone(), table_name),
            16 => self.mark_mask = u32_at(value, 0),
            17 => self.output_interface = Some(name(value).0),
            19 => self.l3mdev = value.first().is_some_and(|&on| on != 0),
            20 => self.uids = u32_at(value, 0).zip(u32_at(value, 4)),
            21 => self.protocol = value.first().map(|&number| route_protocol(number)),
            22 => self.ip_protocol = value.first().copied(),
            23 => self.source_ports = ports(),
            24 => self.destination_ports = ports(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{attribute, json};
    use serde_json::json;

    #[test]
    fn a_rule_that_sends_marked_packets_of_a_user_elsewhere() {
        let mut payload = vec![2, 0, 24, 0, 100, 0, 0, 1, 2, 0, 0, 0];
        payload.extend(attribute(2, &[192, 0, 2, 0]));
        payload.extend(attribute(6, &5u32.to_ne_bytes()));
        payload.extend(attribute(10, &0xcafeu32.to_ne_bytes()));
        payload.extend(attribute(14, &u32::MAX.to_ne_bytes()));
        payload.extend(attribute(17, b"tun0\0"));
        payload.extend(attribute(20, &[1000u32, 1000].map(u32::to_ne_bytes).concat()));
        let row = json(9, 32, &payload);
        assert_eq!(
            row,
            json!({
                "action": "to_tbl", "destination_prefix_len": 0, "family": "ipv4", "flags": ["invert"],
                "flags_number": 2, "mark": 0xcafe, "netns": 9, "output_interface": "tun0", "priority": 5,
                "record": "rule", "source": "netlink", "source_address": "192.0.2.0", "source_prefix_len": 24,
                "table": "100", "uids": [1000, 1000],
            })
        );
    }
}
