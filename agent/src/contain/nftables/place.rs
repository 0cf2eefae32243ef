//! Where tables go: the agent's own network namespace, and others that have a way out of their own.
//!
//! A container behind a veth passes the host's forwarding and its interfaces, and is cut there. A namespace that was
//! given a hardware interface is not; where this namespace is that of the first process, such interfaces are this host's
//! to give, and the namespace gets the same tables. A macvlan or the like sits on an interface of the host and passes its
//! netdev chains; where the kernel has none, or to be sure, its namespace gets the tables as well.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{Mode, OFlags};

use crate::host::Host;
use crate::host::netlink::{self, attribute, i32_at, write_attribute};
use crate::host::netns::{Door, NetNamespace, link_inode, mounts};
use crate::host::nf;
use crate::host::proc::Processes;
use crate::host::rtnetlink::{self, Link, Row};

/// IFF_LOOPBACK.
const LOOPBACK: u32 = 8;
/// RTM_GETNSID.
const GET_NSID: u16 = 90;
const MOUNTINFO_BYTES_MAX: u64 = 16 << 20;
/// Kinds of interface that put packets straight onto one of another namespace.
const RIDERS: [&str; 5] = ["macvlan", "macvtap", "ipvlan", "ipvtap", "vlan"];

/// The sockets of a namespace; they stay bound to it.
pub struct Place {
    /// NETLINK_NETFILTER.
    pub netfilter: OwnedFd,
    /// NETLINK_ROUTE.
    pub route: OwnedFd,
}

/// The inode of this process's own network namespace.
pub fn own() -> Option<u64> {
    link_inode("/proc/thread-self/ns/net")
}

impl Place {
    /// Of the calling thread's namespace.
    fn open() -> io::Result<Self> {
        Ok(Self { netfilter: netlink::open_protocol(netlink::NETFILTER)?, route: netlink::open()? })
    }

    /// Of this process's own namespace.
    ///
    /// # Errors
    /// As socket(2).
    pub fn here() -> io::Result<Self> {
        Self::open()
    }

    /// Of another namespace.
    ///
    /// # Errors
    /// As [`NetNamespace::enter`] and socket(2).
    pub fn of(host: &Host, namespace: &NetNamespace) -> io::Result<Self> {
        namespace.enter(host, Self::open)?
    }

    /// The names of its interfaces, the loopback left out, sorted.
    ///
    /// # Errors
    /// As netlink answers.
    pub fn devices(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        self.links(|link, name| {
            if link.flags_number & LOOPBACK == 0 {
                names.push(name);
            }
        })?;
        names.sort();
        Ok(names)
    }

    fn links(&self, mut each: impl FnMut(&Link<'_>, Vec<u8>)) -> io::Result<()> {
        let dump = netlink::dump(&self.route, rtnetlink::GET_LINK, 1, &[0; 16]);
        if let Some(error) = dump.error {
            return Err(error);
        }
        for message in netlink::messages(&dump.bytes) {
            // IFLA_IFNAME as it is: a name may be no UTF-8.
            let name = message.payload.get(16..).and_then(|attributes| attribute(attributes, 3));
            if let (Some(Row::Link(link)), Some(name)) = (rtnetlink::row(0, message.kind, message.payload), name) {
                each(&link, netlink::text_of(name).to_vec());
            }
        }
        Ok(())
    }

    /// True when it has a way out that does not pass this process's namespace as forwarding: see the module.
    fn has_way_out(&self, takes_hardware: bool, mine: &OwnedFd) -> bool {
        let number = self.number_of(mine);
        let mut has = false;
        let listed = self.links(|link, _| {
            has |= match link.kind.as_deref() {
                None => takes_hardware && link.flags_number & LOOPBACK == 0,
                Some(kind) => RIDERS.contains(&kind) && link.link_netnsid.is_some() && link.link_netnsid == number,
            };
        });
        listed.is_ok() && has
    }

    /// How this namespace numbers that one (RTM_GETNSID).
    fn number_of(&self, namespace: &OwnedFd) -> Option<i32> {
        let mut body = vec![0; 4];
        write_attribute(&mut body, 3, &namespace.as_raw_fd().to_ne_bytes());
        let answer = netlink::ask(&self.route, GET_NSID, 2, &body).ok()?;
        i32_at(attribute(answer.get(4..)?, 1)?, 0).filter(|number| *number >= 0)
    }
}

/// Every network namespace that a process lives in or that is mounted, by inode.
pub fn namespaces(host: &Host) -> BTreeMap<u64, NetNamespace> {
    let mut found = BTreeMap::<u64, NetNamespace>::new();
    let mut add = |inode, door| found.entry(inode).or_insert_with(|| NetNamespace::new(inode)).add(door);
    for pid in Processes::of(host).and_then(|processes| processes.pids()).unwrap_or_default() {
        if let Some(inode) = link_inode(&format!("/proc/{pid}/ns/net")) {
            add(inode, Door::Task { pid, tid: pid });
        }
    }
    if let Ok(text) = host.read("/proc/self/mountinfo", MOUNTINFO_BYTES_MAX) {
        for (inode, point) in mounts(&text) {
            add(inode, Door::Mount(point));
        }
    }
    found
}

/// The other namespaces that get tables too: see the module.
pub fn with_ways_out<'a>(host: &Host, all: &'a BTreeMap<u64, NetNamespace>) -> Vec<&'a NetNamespace> {
    let (Some(own), first) = (own(), link_inode("/proc/1/ns/net")) else { return Vec::new() };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(mine) = rustix::fs::open("/proc/thread-self/ns/net", flags, Mode::empty()) else { return Vec::new() };
    let others = all.values().filter(|namespace| namespace.inode != own && Some(namespace.inode) != first);
    others
        .filter(|namespace| Place::of(host, namespace).is_ok_and(|place| place.has_way_out(first == Some(own), &mine)))
        .collect()
}

/// `nfgenmsg` and one attribute, for a dump of one table.
pub fn of_table(family: u8, kind: u16, table: &str) -> Vec<u8> {
    let mut body = nf::header(family);
    write_attribute(&mut body, kind, &[table.as_bytes(), b"\0"].concat());
    body
}
