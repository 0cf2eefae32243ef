//! Netfilter's netlink messages (include/uapi/linux/netfilter/nfnetlink.h) as rows: nf_tables, connection tracking, IP
//! sets; and the tables of the older iptables.
//!
//! Every parser takes bytes of the kernel and never panics on them. Names are shown as text; the exact bytes are in the
//! raw dump that is kept beside the rows.

pub mod conntrack;
pub mod expression;
pub mod ipset;
pub mod tables;
pub mod value;
pub mod xtables;

use std::borrow::Cow;

/// NFNL_SUBSYS_CTNETLINK.
pub const CONNTRACK: u16 = 1;
/// NFNL_SUBSYS_IPSET.
pub const IPSET: u16 = 6;
/// NFNL_SUBSYS_NFTABLES.
pub const NFTABLES: u16 = 10;

/// NFPROTO_UNSPEC: every family.
pub const UNSPEC: u8 = 0;
/// NFPROTO_INET.
pub const INET: u8 = 1;
/// NFPROTO_IPV4.
pub const IPV4: u8 = 2;
/// NFPROTO_IPV6.
pub const IPV6: u8 = 10;

/// The type of a netlink message of a subsystem.
pub fn kind(subsystem: u16, message: u16) -> u16 {
    subsystem << 8 | message
}

/// `nfgenmsg`: family, version, resource.
pub fn header(family: u8) -> Vec<u8> {
    vec![family, 0, 0, 0]
}

/// Family and attributes of a message.
pub fn body(payload: &[u8]) -> Option<(u8, &[u8])> {
    Some((*payload.first()?, payload.get(4..)?))
}

/// The name of a family as nft(8) writes it.
pub fn family_name(family: u8) -> Cow<'static, str> {
    Cow::Borrowed(match family {
        INET => "inet",
        IPV4 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        IPV6 => "ip6",
        other => return Cow::Owned(other.to_string()),
    })
}

/// The name of an IP protocol that firewalls name.
pub fn protocol_name(number: u8) -> Cow<'static, str> {
    Cow::Borrowed(match number {
        1 => "icmp",
        2 => "igmp",
        4 => "ipip",
        6 => "tcp",
        17 => "udp",
        33 => "dccp",
        41 => "ipv6",
        47 => "gre",
        50 => "esp",
        51 => "ah",
        58 => "icmpv6",
        132 => "sctp",
        136 => "udplite",
        other => return Cow::Owned(other.to_string()),
    })
}
