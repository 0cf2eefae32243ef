//! RTM_NEWLINK: interfaces (rtnetlink(7), include/uapi/linux/if_link.h).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use super::super::netlink::{attributes, i32_at, u16_at, u32_at, u64_at};
use super::{bits, hardware, ip, name};

/// Settings of one interface by the names that they have under `/proc/sys/net`.
pub type ConfRow = BTreeMap<&'static str, i64>;

/// An interface. Numbers without a unit are the kernel's.
#[derive(Debug, Default, schemars::JsonSchema, Serialize)]
pub struct Link<'a> {
    /// Alias, free text that an administrator gave (`ip link set alias`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<Cow<'a, str>>,
    /// Other names of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub altnames: Vec<Cow<'a, str>>,
    /// Link-layer broadcast address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broadcast: Option<String>,
    /// How often the carrier came or went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carrier_changes: Option<u32>,
    /// IFF_* by name (netdevice(7)): UP, PROMISC …
    pub flags: Vec<&'static str>,
    /// The same as a number.
    pub flags_number: u32,
    /// Index in its namespace.
    pub index: i32,
    /// IPv4 settings of the interface; the names are those of `/proc/sys/net/ipv4/conf/<interface>`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ipv4_conf: ConfRow,
    /// IPv6 settings of the interface; the names are those of `/proc/sys/net/ipv6/conf/<interface>`. Intervals and delays
    /// are in milliseconds, where the files show seconds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ipv6_conf: ConfRow,
    /// Kind of a virtual interface: veth, bridge, tun, vxlan, wireguard …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Cow<'a, str>>,
    /// Index of the interface below it, or of a veth's other end, in the namespace `link_netnsid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<u32>,
    /// The namespace of `link` as this namespace numbers it; absent: this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_netnsid: Option<i32>,
    /// Link-layer address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// The address that the hardware came with, where it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_permanent: Option<String>,
    /// Index of the bridge, bond or VRF that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<u32>,
    /// Largest packet in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Name.
    pub name: Cow<'a, str>,
    /// The exact bytes of the name when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_b64: Option<String>,
    /// Inode of its network namespace.
    pub netns: u64,
    /// RFC 2863 state: up, down, dormant …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operstate: Option<&'static str>,
    /// How many listeners hold it in promiscuous mode; also counts those that set no flag (packet sockets).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promiscuity: Option<u32>,
    /// Queueing discipline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qdisc: Option<Cow<'a, str>>,
    /// `interface`.
    pub record: &'static str,
    /// Kind of its master: bridge, bond, vrf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slave_kind: Option<Cow<'a, str>>,
    /// `netlink`, or `procfs` where netlink was refused.
    pub source: &'static str,
    /// Counters since it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<Counters>,
    /// Length of the transmit queue in packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_queue_len: Option<u32>,
    /// ARPHRD_* by name: ether, loopback, none …
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub hardware_type: Option<&'static str>,
    /// The same as a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub type_number: Option<u16>,
    /// Identifiers of XDP programs that see its packets before anything else does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub xdp_programs: Vec<u32>,
}

/// Packets and bytes (`struct rtnl_link_stats64`).
#[derive(Clone, Copy, Debug, Default, schemars::JsonSchema, Serialize)]
pub struct Counters {
    /// Collisions.
    pub collisions: u64,
    /// Multicast packets received.
    pub multicast: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets that were received and dropped for want of room.
    pub rx_dropped: u64,
    /// Damaged packets.
    pub rx_errors: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets that were dropped before they were sent.
    pub tx_dropped: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets sent.
    pub tx_packets: u64,
}

/// IFF_*, bit by bit (include/uapi/linux/if.h).
const FLAGS: [&str; 19] = [
    "UP",
    "BROADCAST",
    "DEBUG",
    "LOOPBACK",
    "POINTOPOINT",
    "NOTRAILERS",
    "RUNNING",
    "NOARP",
    "PROMISC",
    "ALLMULTI",
    "MASTER",
    "SLAVE",
    "MULTICAST",
    "PORTSEL",
    "AUTOMEDIA",
    "DYNAMIC",
    "LOWER_UP",
    "DORMANT",
    "ECHO",
];
const OPERSTATES: [&str; 7] = ["unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"];
/// IPV4_DEVCONF_*, from 1 (include/uapi/linux/ip.h).
const IPV4_CONF: [&str; 33] = [
    "forwarding",
    "mc_forwarding",
    "proxy_arp",
    "accept_redirects",
    "secure_redirects",
    "send_redirects",
    "shared_media",
    "rp_filter",
    "accept_source_route",
    "bootp_relay",
    "log_martians",
    "tag",
    "arp_filter",
    "medium_id",
    "disable_xfrm",
    "disable_policy",
    "force_igmp_version",
    "arp_announce",
    "arp_ignore",
    "promote_secondaries",
    "arp_accept",
    "arp_notify",
    "accept_local",
    "src_valid_mark",
    "proxy_arp_pvlan",
    "route_localnet",
    "igmpv2_unsolicited_report_interval",
    "igmpv3_unsolicited_report_interval",
    "ignore_routes_with_linkdown",
    "drop_unicast_in_l2_multicast",
    "drop_gratuitous_arp",
    "bc_forwarding",
    "arp_evict_nocarrier",
];
/// DEVCONF_*, from 0 (include/uapi/linux/ipv6.h).
const IPV6_CONF: [&str; 27] = [
    "forwarding",
    "hop_limit",
    "mtu",
    "accept_ra",
    "accept_redirects",
    "autoconf",
    "dad_transmits",
    "router_solicitations",
    "router_solicitation_interval",
    "router_solicitation_delay",
    "use_tempaddr",
    "temp_valid_lft",
    "temp_prefered_lft",
    "regen_max_retry",
    "max_desync_factor",
    "max_addresses",
    "force_mld_version",
    "accept_ra_defrtr",
    "accept_ra_pinfo",
    "accept_ra_rtr_pref",
    "router_probe_interval",
    "accept_ra_rt_info_max_plen",
    "proxy_ndp",
    "optimistic_dad",
    "accept_source_route",
    "mc_forwarding",
    "disable_ipv6",
];

impl<'a> Link<'a> {
    pub(super) fn read(netns: u64, payload: &'a [u8]) -> Option<Self> {
        let hardware_type = u16_at(payload, 2)?;
        let flags = u32_at(payload, 8)?;
        let mut link = Self {
            flags: bits(flags, &FLAGS),
            flags_number: flags,
            index: i32_at(payload, 4)?,
            netns,
            record: "interface",
            source: "netlink",
            hardware_type: type_name(hardware_type),
            type_number: Some(hardware_type),
            ..Self::default()
        };
        for (kind, value) in attributes(payload.get(16..)?) {
            link.attribute(kind, value);
        }
        Some(link)
    }

    fn attribute(&mut self, kind: u16, value: &'a [u8]) {
        match kind {
            1 => self.mac = self.link_address(value),
            2 => self.broadcast = self.link_address(value),
            3 => (self.name, self.name_b64) = name(value),
            4 => self.mtu = u32_at(value, 0),
            5 => self.link = u32_at(value, 0),
            6 => self.qdisc = Some(name(value).0),
            10 => self.master = u32_at(value, 0),
            13 => self.tx_queue_len = u32_at(value, 0),
            16 => self.operstate = value.first().and_then(|&state| OPERSTATES.get(usize::from(state)).copied()),
            18 => self.link_info(value),
            20 => self.alias = Some(name(value).0),
            23 => self.stats = Counters::read(value),
            26 => self.settings(value),
            30 => self.promiscuity = u32_at(value, 0),
            35 => self.carrier_changes = u32_at(value, 0),
            37 => self.link_netnsid = i32_at(value, 0),
            // IFLA_XDP: IFLA_XDP_PROG_ID, and those of the driver, the generic and the hardware hook.
            43 => {
                let ids = attributes(value).filter(|(kind, _)| matches!(kind, 4..=7));
                self.xdp_programs = ids.filter_map(|(_, id)| u32_at(id, 0)).filter(|&id| id != 0).collect();
                self.xdp_programs.sort_unstable();
                self.xdp_programs.dedup();
            }
            // IFLA_PROP_LIST: IFLA_ALT_IFNAME.
            52 => {
                let names = attributes(value).filter(|(kind, _)| *kind == 53);
                self.altnames = names.map(|(_, value)| name(value).0).collect();
            }
            54 => self.mac_permanent = Some(hardware(value)),
            _ => {}
        }
    }

    /// Tunnels over IP have IP addresses where others have link-layer addresses.
    fn link_address(&self, value: &[u8]) -> Option<String> {
        match self.type_number {
            Some(768 | 769 | 776 | 778 | 823) => ip(value).map(|address| address.to_string()),
            _ => (!value.is_empty()).then(|| hardware(value)),
        }
    }

    fn link_info(&mut self, value: &'a [u8]) {
        for (kind, value) in attributes(value) {
            match kind {
                1 => self.kind = Some(name(value).0),
                4 => self.slave_kind = Some(name(value).0),
                _ => {}
            }
        }
    }

    /// IFLA_AF_SPEC: by family, the settings that `/proc/sys/net` shows file by file.
    fn settings(&mut self, value: &[u8]) {
        for (family, value) in attributes(value) {
            for (kind, value) in attributes(value) {
                // IFLA_INET_CONF is 1, IFLA_INET6_CONF is 2: arrays of 32-bit numbers.
                let (names, into): (&[&'static str], _) = match (family, kind) {
                    (2, 1) => (&IPV4_CONF, &mut self.ipv4_conf),
                    (10, 2) => (&IPV6_CONF, &mut self.ipv6_conf),
                    _ => continue,
                };
                for (name, number) in names.iter().zip(value.chunks_exact(4)) {
                    into.extend(i32_at(number, 0).map(|number| (*name, i64::from(number))));
                }
            }
        }
    }
}

impl Counters {
    fn read(value: &[u8]) -> Option<Self> {
        let at = |field: usize| u64_at(value, field * 8);
        Some(Self {
            rx_packets: at(0)?,
            tx_packets: at(1)?,
            rx_bytes: at(2)?,
            tx_bytes: at(3)?,
            rx_errors: at(4)?,
            tx_errors: at(5)?,
            rx_dropped: at(6)?,
            tx_dropped: at(7)?,
            multicast: at(8)?,
            collisions: at(9)?,
        })
    }
}

/// ARPHRD_* (include/uapi/linux/if_arp.h).
fn type_name(number: u16) -> Option<&'static str> {
    Some(match number {
        1 => "ether",
        24 => "ieee1394",
        32 => "infiniband",
        280 => "can",
        512 => "ppp",
        519 => "rawip",
        768 => "ipip",
        769 => "tunnel6",
        772 => "loopback",
        776 => "sit",
        778 => "gre",
        801 => "ieee80211",
        803 => "ieee80211_radiotap",
        804 => "ieee802154",
        823 => "ip6gre",
        824 => "netlink",
        65534 => "none",
        65535 => "void",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{attribute, json};
    use serde_json::json;

    #[test]
    fn a_veth_in_promiscuous_mode_with_xdp() {
        let mut payload = vec![0, 0];
        payload.extend(1u16.to_ne_bytes());
        payload.extend(5i32.to_ne_bytes());
        payload.extend(0x1_1143u32.to_ne_bytes());
        payload.extend([0; 4]);
        payload.extend(attribute(3, b"veth\xff\0"));
        payload.extend(attribute(1, &[2, 0x42, 0xac, 0x11, 0, 2]));
        payload.extend(attribute(4, &1500u32.to_ne_bytes()));
        payload.extend(attribute(5, &6u32.to_ne_bytes()));
        payload.extend(attribute(16, &[6]));
        payload.extend(attribute(18 | 0x8000, &attribute(1, b"veth\0")));
        payload.extend(attribute(23, &(0..24u64).flat_map(u64::to_ne_bytes).collect::<Vec<_>>()));
        payload.extend(attribute(30, &1u32.to_ne_bytes()));
        payload.extend(attribute(37, &0i32.to_ne_bytes()));
        payload.extend(attribute(43 | 0x8000, &[attribute(2, &[1]), attribute(4, &77u32.to_ne_bytes())].concat()));
        payload.extend(attribute(52 | 0x8000, &attribute(53, b"other\0")));
        let settings = attribute(1, &[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        payload.extend(attribute(26 | 0x8000, &attribute(2, &settings)));
        let row = json(9, 16, &payload);
        assert_eq!(row["flags"], json!(["UP", "BROADCAST", "RUNNING", "PROMISC", "MULTICAST", "LOWER_UP"]));
        assert_eq!(
            (&row["mac"], &row["kind"], &row["name_b64"]),
            (&json!("02:42:ac:11:00:02"), &json!("veth"), &json!("dmV0aP8="))
        );
        assert_eq!((&row["stats"]["tx_bytes"], &row["xdp_programs"]), (&json!(3), &json!([77])));
        assert_eq!(
            (&row["ipv4_conf"], &row["altnames"]),
            (&json!({"forwarding": 1, "mc_forwarding": 0, "proxy_arp": 1}), &json!(["other"]))
        );
        assert_eq!((&row["operstate"], &row["link_netnsid"], &row["type"]), (&json!("up"), &json!(0), &json!("ether")));
    }
}
