//! Whom a containment would touch: the blast radius, told before anything is done, from the host's own tables.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use wire::containment::{PREVIEW_ITEMS_MAX, Preview};

use super::journal::Wish;
use crate::host::Host;
use crate::host::netlink;
use crate::host::proc::Processes;
use crate::host::proc_net::TABLES;
use crate::host::rtnetlink::{self, Row};
use crate::host::tokens::bracketed;
use crate::host::utmp::{self, Layout};

const TABLE_BYTES_MAX: u64 = 16 << 20;
const UTMP_BYTES_MAX: u64 = 8 << 20;
/// Descriptors of one process that are looked at.
const DESCRIPTORS_MAX: usize = 65_536;
/// The type of a record of somebody who is logged in (utmp(5)).
const USER_PROCESS: i16 = 7;

/// What a host is for others, by the ports on which it listens.
const ROLES: [(u16, &str); 22] = [
    (53, "name server"),
    (67, "DHCP server"),
    (88, "Kerberos"),
    (123, "time server"),
    (389, "directory"),
    (636, "directory"),
    (1433, "database"),
    (1521, "database"),
    (2049, "file server"),
    (2379, "etcd"),
    (3260, "storage target"),
    (3306, "database"),
    (445, "file server"),
    (5432, "database"),
    (5672, "message broker"),
    (6379, "database"),
    (6443, "Kubernetes API server"),
    (9092, "message broker"),
    (9200, "database"),
    (10250, "Kubernetes node"),
    (27017, "database"),
    (1514, "log server"),
];

/// A socket of the host's own network namespace.
struct Found {
    inode: u64,
    listens: bool,
    local: (IpAddr, u16),
    protocol: &'static str,
    remote: (IpAddr, u16),
}

/// The preview of what is wished for.
pub fn of(host: &Host, wish: &Wish) -> Preview {
    let mut preview = Preview { protected_roles: wish.roles.clone(), ..Preview::default() };
    if !host.is_live() {
        return preview;
    }
    let found = sockets(host);
    let names = names_of(host, &found.iter().map(|socket| socket.inode).collect());
    let name = |inode| names.get(&inode).map_or("-", String::as_str);
    let ports: BTreeSet<u16> = found.iter().filter(|socket| socket.listens).map(|socket| socket.local.1).collect();
    let mut roles: Vec<String> =
        ROLES.iter().filter(|(port, _)| ports.contains(port)).map(|(_, role)| (*role).to_owned()).collect();
    roles.extend(network_root(host));
    preview.protected_roles.extend(roles);
    preview.protected_roles.sort();
    preview.protected_roles.dedup();
    let (mut listening, mut peers) = (BTreeSet::new(), BTreeSet::new());
    for Found { inode, listens, local, protocol, remote } in found {
        if listens {
            listening.insert(format!("{protocol} {}:{} {}", shown(local.0), local.1, name(inode)));
        } else if ports.contains(&local.1) {
            peers.insert(format!("in {protocol} {}:{} {}", shown(remote.0), local.1, name(inode)));
        } else {
            peers.insert(format!("out {protocol} {}:{} {}", shown(remote.0), remote.1, name(inode)));
        }
    }
    (preview.listening, preview.peers) = (listening.into_iter().collect(), peers.into_iter().collect());
    preview.addresses = addresses();
    preview.sessions = sessions(host);
    let mut more = 0;
    let Preview { addresses, listening, peers, protected_roles, sessions, .. } = &mut preview;
    for list in [listening, peers, protected_roles, sessions] {
        more += list.len().saturating_sub(PREVIEW_ITEMS_MAX);
        list.truncate(PREVIEW_ITEMS_MAX);
    }
    more += addresses.len().saturating_sub(PREVIEW_ITEMS_MAX);
    addresses.truncate(PREVIEW_ITEMS_MAX);
    preview.more = more as u64;
    preview
}

/// The addresses that this host is connected to, by TCP.
pub fn peers(host: &Host) -> BTreeSet<IpAddr> {
    if !host.is_live() {
        return BTreeSet::new();
    }
    sockets(host).into_iter().filter(|socket| !socket.listens).map(|socket| socket.remote.0).collect()
}

/// TCP and UDP sockets that listen to others or are connected with them; the loopback left out.
fn sockets(host: &Host) -> Vec<Found> {
    let mut found = Vec::new();
    for table in TABLES.iter().filter(|table| matches!(table.file, "tcp" | "tcp6" | "udp" | "udp6")) {
        let Ok(text) = host.read(format!("/proc/thread-self/net/{}", table.file), TABLE_BYTES_MAX) else { continue };
        let protocol = if table.file.starts_with("tcp") { "tcp" } else { "udp" };
        let _ = (table.parse)(table.protocol, &text, &mut |socket| {
            let local = socket.local_address.zip(socket.local_port);
            let remote = socket.remote_address.zip(socket.remote_port);
            let (Some(local), Some(remote)) = (local, remote) else { return Ok(()) };
            let listens = remote.1 == 0 && (protocol == "udp" || socket.state == Some("LISTEN"));
            let is_met = listens || socket.state == Some("ESTABLISHED");
            if is_met && !local.0.is_loopback() && !remote.0.is_loopback() {
                found.push(Found { inode: socket.inode, listens, local, protocol, remote });
            }
            Ok(())
        });
    }
    found
}

/// Who holds these sockets, by name.
fn names_of(host: &Host, wanted: &BTreeSet<u64>) -> BTreeMap<u64, String> {
    let mut names = BTreeMap::new();
    for pid in Processes::of(host).and_then(|processes| processes.pids()).unwrap_or_default() {
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for descriptor in descriptors.take(DESCRIPTORS_MAX).flatten() {
            let Ok(target) = rustix::fs::readlink(descriptor.path(), Vec::new()) else { continue };
            if let Some(inode) = bracketed(target.as_bytes(), b"socket").filter(|inode| wanted.contains(inode)) {
                let name = host.read_text(format!("/proc/{pid}/comm"), 64).unwrap_or_default();
                names.entry(inode).or_insert(name);
            }
        }
    }
    names
}

fn addresses() -> Vec<IpAddr> {
    let Ok(socket) = netlink::open() else { return Vec::new() };
    let dump = netlink::dump(&socket, rtnetlink::GET_ADDRESS, 1, &[0; 8]);
    let rows =
        netlink::messages(&dump.bytes).filter_map(|message| match rtnetlink::row(0, message.kind, message.payload) {
            Some(Row::Address(address)) => address.local.or(address.address),
            _ => None,
        });
    let found: BTreeSet<IpAddr> = rows.filter(|ip| !ip.is_loopback()).collect();
    found.into_iter().collect()
}

fn sessions(host: &Host) -> Vec<String> {
    let text = ["/run/utmp", "/var/run/utmp"].iter().find_map(|path| host.read(path, UTMP_BYTES_MAX).ok());
    let text = text.unwrap_or_default();
    let records = text.chunks(Layout::HERE.record_bytes).filter_map(|bytes| utmp::record(Layout::HERE, bytes));
    let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    records
        .filter(|record| record.kind == USER_PROCESS)
        .map(|record| {
            format!("{} {} {}", show(record.user), show(record.line), show(record.host)).trim_end().to_owned()
        })
        .collect()
}

/// A host whose files come over the network stops when it is cut off.
fn network_root(host: &Host) -> Option<String> {
    let table = host.mount_table().ok()?;
    let remote = table.all().iter().find(|mount| matches!(&mount.fs_type[..], b"nfs" | b"nfs4" | b"cifs" | b"ceph"))?;
    Some(format!("files over the network ({})", String::from_utf8_lossy(&remote.fs_type)))
}

fn shown(ip: IpAddr) -> String {
    if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_this_process_is_in_it() {
        let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = sockets(&Host::live());
        let own = found.iter().find(|socket| socket.listens && socket.local.1 == port).unwrap();
        let names = names_of(&Host::live(), &BTreeSet::from([own.inode]));
        assert!(!names[&own.inode].is_empty());
    }
}
