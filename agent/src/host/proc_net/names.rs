//! Numbers of the kernel's headers, by name.

/// States of `include/net/tcp_states.h`, which UDP and raw sockets borrow.
pub fn tcp_state(number: u64) -> Option<&'static str> {
    Some(match number {
        1 => "ESTABLISHED",
        2 => "SYN_SENT",
        3 => "SYN_RECV",
        4 => "FIN_WAIT1",
        5 => "FIN_WAIT2",
        6 => "TIME_WAIT",
        7 => "CLOSE",
        8 => "CLOSE_WAIT",
        9 => "LAST_ACK",
        10 => "LISTEN",
        11 => "CLOSING",
        12 => "NEW_SYN_RECV",
        13 => "BOUND_INACTIVE",
        _ => return None,
    })
}

/// States of `include/uapi/linux/net.h`.
pub fn unix_state(number: u64) -> Option<&'static str> {
    Some(match number {
        0 => "FREE",
        1 => "UNCONNECTED",
        2 => "CONNECTING",
        3 => "CONNECTED",
        4 => "DISCONNECTING",
        _ => return None,
    })
}

/// Types of socket(2).
pub fn socket_type(number: u64) -> Option<&'static str> {
    Some(match number {
        1 => "STREAM",
        2 => "DGRAM",
        3 => "RAW",
        4 => "RDM",
        5 => "SEQPACKET",
        6 => "DCCP",
        10 => "PACKET",
        _ => return None,
    })
}

/// Protocols of netlink(7).
pub fn netlink_protocol(number: u64) -> Option<&'static str> {
    const NAMES: [&str; 23] = [
        "ROUTE",
        "UNUSED",
        "USERSOCK",
        "FIREWALL",
        "SOCK_DIAG",
        "NFLOG",
        "XFRM",
        "SELINUX",
        "ISCSI",
        "AUDIT",
        "FIB_LOOKUP",
        "CONNECTOR",
        "NETFILTER",
        "IP6_FW",
        "DNRTMSG",
        "KOBJECT_UEVENT",
        "GENERIC",
        "DM",
        "SCSITRANSPORT",
        "ECRYPTFS",
        "RDMA",
        "CRYPTO",
        "SMC",
    ];
    NAMES.get(usize::try_from(number).ok()?).copied()
}

/// Protocols of `include/uapi/linux/if_ether.h`, without `ETH_P_`.
pub fn ethernet_protocol(number: u64) -> Option<&'static str> {
    Some(match number {
        0x0000 => "NONE",
        0x0001 => "802_3",
        0x0003 => "ALL",
        0x0004 => "802_2",
        0x0800 => "IP",
        0x0806 => "ARP",
        0x0842 => "WOL",
        0x22f0 => "TSN",
        0x8035 => "RARP",
        0x8100 => "8021Q",
        0x86dd => "IPV6",
        0x8809 => "SLOW",
        0x8847 => "MPLS_UC",
        0x8848 => "MPLS_MC",
        0x8863 => "PPP_DISC",
        0x8864 => "PPP_SES",
        0x888e => "PAE",
        0x88a2 => "AOE",
        0x88a8 => "8021AD",
        0x88c7 => "PREAUTH",
        0x88cc => "LLDP",
        0x88e5 => "MACSEC",
        0x88f7 => "1588",
        0x8906 => "FCOE",
        0x8914 => "FIP",
        0x9000 => "LOOPBACK",
        _ => return None,
    })
}
