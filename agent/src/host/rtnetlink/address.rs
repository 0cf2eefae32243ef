//! RTM_NEWADDR: addresses of interfaces (rtnetlink(7), include/uapi/linux/if_addr.h).

use std::borrow::Cow;
use std::net::IpAddr;

use serde::Serialize;

use super::super::netlink::{attributes, u32_at};
use super::{bits, family_name, ip, name, route_protocol, scope_name};

/// An address of an interface.
#[derive(Debug, Default, schemars::JsonSchema, Serialize)]
pub struct Address<'a> {
    /// The address; of a point-to-point link the other end's, and `local` is this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Broadcast address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broadcast: Option<IpAddr>,
    /// When it was made, in hundredths of a second since boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_ticks: Option<u32>,
    /// ipv4 or ipv6.
    pub family: Cow<'static, str>,
    /// IFA_F_*: permanent, deprecated, tentative …
    pub flags: Vec<&'static str>,
    /// The same as a number.
    pub flags_number: u32,
    /// Index of its interface.
    pub index: u32,
    /// Label, which is the interface's name or begins with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<Cow<'a, str>>,
    /// This end's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<IpAddr>,
    /// Inode of its network namespace.
    pub netns: u64,
    /// Seconds for which it is preferred; absent: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_secs: Option<u32>,
    /// Length of its network's prefix in bits.
    pub prefix_len: u8,
    /// Who made it, where the kernel says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Cow<'static, str>>,
    /// `address`.
    pub record: &'static str,
    /// global, site, link, host.
    pub scope: Cow<'static, str>,
    /// `netlink`, or `procfs` where netlink was refused.
    pub source: &'static str,
    /// When it was last changed, in hundredths of a second since boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_ticks: Option<u32>,
    /// Seconds for which it is valid; absent: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_secs: Option<u32>,
}

const FLAGS: [&str; 12] = [
    "secondary",
    "nodad",
    "optimistic",
    "dadfailed",
    "homeaddress",
    "deprecated",
    "tentative",
    "permanent",
    "managetempaddr",
    "noprefixroute",
    "mcautojoin",
    "stable_privacy",
];

impl<'a> Address<'a> {
    pub(super) fn read(netns: u64, payload: &'a [u8]) -> Option<Self> {
        let &[family, prefix_len, flags, scope, ..] = payload else {
            return None;
        };
        let mut address = Self {
            index: u32_at(payload, 4)?,
            flags_number: u32::from(flags),
            ..Self::new(netns, family, prefix_len, scope)
        };
        for (kind, value) in attributes(payload.get(8..)?) {
            match kind {
                1 => address.address = ip(value),
                2 => address.local = ip(value),
                3 => address.label = Some(name(value).0),
                4 => address.broadcast = ip(value),
                6 => {
                    let limited = |seconds: Option<u32>| seconds.filter(|&seconds| seconds != u32::MAX);
                    address.preferred_secs = limited(u32_at(value, 0));
                    address.valid_secs = limited(u32_at(value, 4));
                    address.created_ticks = u32_at(value, 8);
                    address.updated_ticks = u32_at(value, 12);
                }
                8 => address.flags_number = u32_at(value, 0).unwrap_or(address.flags_number),
                11 => address.protocol = value.first().map(|&number| ifa_protocol(number)),
                _ => {}
            }
        }
        address.flags = bits(address.flags_number, &FLAGS);
        Some(address)
    }

    /// An address with the fields of its header; also for the rows that come from `/proc/net/if_inet6`.
    pub fn new(netns: u64, family: u8, prefix_len: u8, scope: u8) -> Self {
        Self {
            family: family_name(family),
            netns,
            prefix_len,
            record: "address",
            scope: scope_name(scope),
            source: "netlink",
            ..Self::default()
        }
    }

    /// Sets the flags, by number and by name.
    pub fn set_flags(&mut self, number: u32) {
        self.flags_number = number;
        self.flags = bits(number, &FLAGS);
    }
}

/// IFAPROT_*, which differ from the protocols of routes in their first numbers.
fn ifa_protocol(number: u8) -> Cow<'static, str> {
    match number {
        1 => Cow::Borrowed("kernel_lo"),
        2 => Cow::Borrowed("kernel_ra"),
        3 => Cow::Borrowed("kernel_ll"),
        other => route_protocol(other),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{attribute, json};
    use serde_json::json;

    #[test]
    fn a_leased_address() {
        let mut payload = vec![2, 24, 0x80, 0];
        payload.extend(2u32.to_ne_bytes());
        payload.extend(attribute(1, &[192, 0, 2, 2]));
        payload.extend(attribute(2, &[192, 0, 2, 2]));
        payload.extend(attribute(3, b"eth0\0"));
        payload.extend(attribute(8, &0x200u32.to_ne_bytes()));
        payload.extend(attribute(6, &[u32::MAX, 3600, 100, 200].map(u32::to_ne_bytes).concat()));
        let row = json(9, 20, &payload);
        assert_eq!(
            row,
            json!({
                "address": "192.0.2.2", "created_ticks": 100, "family": "ipv4", "flags": ["noprefixroute"],
                "flags_number": 512, "index": 2, "label": "eth0", "local": "192.0.2.2", "netns": 9, "prefix_len": 24,
                "record": "address", "scope": "global", "source": "netlink", "updated_ticks": 200, "valid_secs": 3600,
            })
        );
    }
}
