//! The settings under `/proc/sys/net` that make a host a router, let it be deceived, or keep it from saying so
//! (Documentation/networking/ip-sysctl.rst). They belong to the network namespace of the thread that opens them.

use std::io;

use super::Host;

/// A setting has a few bytes.
const VALUE_BYTES_MAX: u64 = 4 << 10;
/// Interfaces whose settings are read from files, where netlink is refused.
const INTERFACES_MAX: usize = 1000;

const GLOBAL: [&str; 7] = [
    "ipv4/ip_forward",
    "ipv4/ip_nonlocal_bind",
    "ipv4/ip_unprivileged_port_start",
    "ipv4/icmp_echo_ignore_all",
    "ipv4/icmp_echo_ignore_broadcasts",
    "ipv4/tcp_syncookies",
    "ipv4/ping_group_range",
];
const IPV4: [&str; 12] = [
    "accept_redirects",
    "accept_source_route",
    "arp_accept",
    "arp_ignore",
    "forwarding",
    "log_martians",
    "mc_forwarding",
    "proxy_arp",
    "route_localnet",
    "rp_filter",
    "secure_redirects",
    "send_redirects",
];
const IPV6: [&str; 7] = [
    "accept_ra",
    "accept_redirects",
    "accept_source_route",
    "disable_ipv6",
    "forwarding",
    "mc_forwarding",
    "proxy_ndp",
];

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The file.
    pub path: String,
    /// Its text without the line's end.
    pub value: io::Result<String>,
}

/// Reads the settings of the calling thread's namespace: the global ones and those of `all` and `default`; of every
/// interface too where `interfaces` asks for it.
pub fn read(host: &Host, interfaces: bool) -> Vec<Setting> {
    let mut paths: Vec<String> = GLOBAL.iter().map(|name| format!("/proc/sys/net/{name}")).collect();
    for (family, names) in [("ipv4", IPV4.as_slice()), ("ipv6", IPV6.as_slice())] {
        let folder = format!("/proc/sys/net/{family}/conf");
        let mut entries = vec!["all".to_owned(), "default".to_owned()];
        if interfaces {
            entries.extend(others(host, &folder));
        }
        for entry in entries {
            paths.extend(names.iter().map(|name| format!("{folder}/{entry}/{name}")));
        }
    }
    let read = |path: String| {
        let value = host.read_text(&path, VALUE_BYTES_MAX);
        Setting { path, value }
    };
    paths.into_iter().map(read).collect()
}

/// The interfaces that have a folder, in the order of their names.
fn others(host: &Host, folder: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(host.path(folder)) else {
        return Vec::new();
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name != "all" && name != "default").take(INTERFACES_MAX).collect();
    names.sort_unstable();
    names
}
