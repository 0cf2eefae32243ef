//! Interfaces, addresses, routes of all tables, neighbours and rules of every network namespace, the settings that make a
//! host a router or blind, and how it resolves names.
//!
//! All of it comes from NETLINK_ROUTE dumps through one socket per namespace; a scratch thread enters the namespace only
//! to open that socket. Where netlink or setns(2) is refused, `/proc/net` gives what it has.
//!
//! Rows: `namespace`, `interface`, `address`, `route`, `neighbour`, `rule`, `sysctl`, `resolver`. Raw:
//! `netns-<inode>/rtnetlink.bin`, the messages of all dumps one after the other, as they came.

use std::io::{self, Read as _};
use std::os::fd::OwnedFd;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bundle::item::{Kind, Status};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use super::netlink_dumps::Dumps;
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::Host;
use crate::host::net_census::Census;
use crate::host::net_sysctl::{self, Setting};
use crate::host::netlink;
use crate::host::netns::{Door, NetNamespace};
use crate::host::proc_net_state;
use crate::host::regular::Links;
use crate::host::rtnetlink::{self, BRIDGE, INET, INET6};
use crate::run::session::{Session, Stopped};

/// A file of the resolver.
const RESOLVER_BYTES_MAX: u64 = 256 << 10;
const RESOLVER: [&str; 5] =
    ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf"];
/// A table of `/proc/net`, where netlink is refused.
const TABLE_BYTES_MAX: u64 = 8 << 20;

/// What is asked for: name, message, and the family's own header (`ifinfomsg`, `ifaddrmsg`, `rtmsg`, `ndmsg`).
const DUMPS: [(&str, u16, u8, usize); 9] = [
    ("RTM_GETLINK", rtnetlink::GET_LINK, 0, 16),
    ("RTM_GETADDR", rtnetlink::GET_ADDRESS, 0, 8),
    ("RTM_GETROUTE ipv4", rtnetlink::GET_ROUTE, INET, 12),
    ("RTM_GETROUTE ipv6", rtnetlink::GET_ROUTE, INET6, 12),
    ("RTM_GETNEIGH ipv4", rtnetlink::GET_NEIGHBOUR, INET, 12),
    ("RTM_GETNEIGH ipv6", rtnetlink::GET_NEIGHBOUR, INET6, 12),
    ("RTM_GETNEIGH bridge", rtnetlink::GET_NEIGHBOUR, BRIDGE, 12),
    ("RTM_GETRULE ipv4", rtnetlink::GET_RULE, INET, 12),
    ("RTM_GETRULE ipv6", rtnetlink::GET_RULE, INET6, 12),
];

/// The collector `network_state`; it has no arguments.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkState {}

/// A network namespace.
#[derive(JsonSchema, Serialize)]
struct NamespaceRow {
    /// Each way in that is known: task, descriptor or mount, and its path.
    doors: Vec<String>,
    /// Inode of its link, `/proc/PID/ns/net`.
    netns: u64,
    /// Processes that live in it.
    processes: u32,
    /// `namespace`.
    record: &'static str,
    /// `netlink`, or `procfs` where netlink or setns(2) was refused.
    source: &'static str,
}

/// One setting under `/proc/sys/net`.
#[derive(JsonSchema, Serialize)]
struct SysctlRow<'a> {
    /// Inode of the network namespace.
    netns: u64,
    /// The file.
    path: &'a str,
    /// `sysctl`.
    record: &'static str,
    /// Its text without the line's end.
    value: &'a str,
}

/// A file that decides how names are resolved.
#[derive(JsonSchema, Serialize)]
struct ResolverRow<'a> {
    /// Its text; invalid UTF-8 is replaced.
    content: &'a str,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_b64: Option<String>,
    /// The file.
    path: &'a str,
    /// `resolver`.
    record: &'static str,
    /// Where it points, when it is a symbolic link.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

impl Collect for NetworkState {
    const NAME: &'static str = "network_state";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str = "Interfaces, addresses, routes, neighbours and rules of every network namespace";
    const NEEDS: &'static [&'static str] = &["CAP_SYS_ADMIN"];

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<NamespaceRow>("namespace", "network_namespaces(7)"),
            RowType::of::<rtnetlink::Link<'_>>("link", "rtnetlink(7), include/uapi/linux/if_link.h"),
            RowType::of::<rtnetlink::Address<'_>>("address", "rtnetlink(7), include/uapi/linux/if_addr.h"),
            RowType::of::<rtnetlink::Route>("route", "rtnetlink(7)"),
            RowType::of::<rtnetlink::Neighbour>("neighbour", "rtnetlink(7), include/uapi/linux/neighbour.h"),
            RowType::of::<rtnetlink::Rule<'_>>("rule", "ip-rule(8), include/uapi/linux/fib_rules.h"),
            RowType::of::<SysctlRow<'_>>("sysctl", "proc_sys_net(5)"),
            RowType::of::<ResolverRow<'_>>("resolver", "resolv.conf(5), hosts(5), nsswitch.conf(5)"),
        ]
    }

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let census = Census::take(session)?;
        for namespace in census.namespaces.values() {
            session.go_on()?;
            state_of(session, namespace)?;
        }
        for path in RESOLVER {
            resolver(session, path)?;
        }
        Ok(())
    }

    fn plan(&self, _host: &Host) -> Plan {
        let netlink = DUMPS.iter().map(|(name, ..)| format!("netlink {name}"));
        let files = RESOLVER.iter().map(|path| (*path).to_owned());
        Plan {
            reads: netlink.chain(["/proc/sys/net/ipv{4,6}/conf".to_owned()]).chain(files).collect(),
            ..Plan::default()
        }
    }
}

fn state_of(session: &mut Session, namespace: &NetNamespace) -> Result<(), Failure> {
    let host = session.host().clone();
    // Settings follow the thread that opens them, so they are read in there too; netlink tells those of interfaces.
    let entered = namespace.enter(&host, || (netlink::open(), net_sysctl::read(&host, false)));
    let (socket, settings) = match entered {
        Ok((Ok(socket), settings)) => (Some(socket), Some(settings)),
        Ok((Err(error), _)) => {
            refused(session, namespace, "netlink", &error)?;
            (None, namespace.enter(&host, || net_sysctl::read(&host, true)).ok())
        }
        Err(error) if host.is_live() => {
            refused(session, namespace, "setns", &error)?;
            (None, None)
        }
        // A tree that stands for a host has one set of settings.
        Err(_) => (None, Some(net_sysctl::read(&host, true))),
    };
    session.row(&NamespaceRow {
        doors: namespace.doors.iter().map(described).collect(),
        netns: namespace.inode,
        processes: namespace.processes,
        record: "namespace",
        source: if socket.is_some() { "netlink" } else { "procfs" },
    })?;
    match socket {
        Some(socket) => by_netlink(session, namespace.inode, &socket)?,
        None => by_procfs(session, namespace)?,
    }
    for Setting { path, value } in settings.into_iter().flatten() {
        match value {
            Ok(value) => {
                session.row(&SysctlRow { netns: namespace.inode, path: &path, record: "sysctl", value: &value })?;
            }
            // No IPv6, or a kernel without this setting.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => session.unreadable(path, &error)?,
        }
    }
    Ok(())
}

fn described(door: &Door) -> String {
    format!("{} {}", door.kind(), String::from_utf8_lossy(&door.path()))
}

/// Notes that a namespace could not be entered or asked.
fn refused(
    session: &mut Session,
    namespace: &NetNamespace,
    method: &'static str,
    error: &io::Error,
) -> Result<(), Stopped> {
    let path = namespace.doors.first().map_or_else(|| b"/proc".to_vec(), Door::path);
    let item = session.item(Kind::Record, path, method, Status::Error).failed(error);
    session.note(item.because(format!("network namespace {}: /proc/net is read instead", namespace.inode)))
}

/// Takes all dumps of one namespace and keeps their messages.
fn by_netlink(session: &mut Session, netns: u64, socket: &OwnedFd) -> Result<(), Stopped> {
    let mut dumps = Dumps::new(socket, "route", netns);
    for (name, kind, family, header_bytes) in DUMPS {
        let mut header = vec![0; header_bytes];
        if let Some(first) = header.first_mut() {
            *first = family;
        }
        let dump = dumps.ask(session, kind, &header)?;
        let mut rows = 0;
        for message in netlink::messages(&dump.bytes) {
            if let Some(row) = rtnetlink::row(netns, message.kind, message.payload) {
                session.row(&row)?;
                rows += 1;
            }
        }
        dumps.tell(session, name, rows, dump)?;
    }
    dumps.keep(session, "rtnetlink.bin")
}

/// Reads what `/proc/net` has of the same.
fn by_procfs(session: &mut Session, namespace: &NetNamespace) -> Result<(), Failure> {
    let host = session.host().clone();
    let names: Vec<&str> = proc_net_state::TABLES.iter().map(|table| table.0).collect();
    let (folder, files) = match namespace.open_files(&host, &names) {
        Ok(opened) => opened,
        Err(error) => {
            let path = namespace.doors.first().map_or_else(|| b"/proc".to_vec(), Door::path);
            return Ok(session.unreadable(path, &error)?);
        }
    };
    for ((name, read), file) in proc_net_state::TABLES.iter().zip(files) {
        let path = [folder.as_slice(), b"/", name.as_bytes()].concat();
        let text = file.and_then(|file| {
            let mut text = Vec::new();
            std::fs::File::from(file).take(TABLE_BYTES_MAX).read_to_end(&mut text)?;
            Ok(text)
        });
        match text {
            Ok(text) => {
                if text.len() as u64 == TABLE_BYTES_MAX {
                    let rule = format!("{} has {TABLE_BYTES_MAX} bytes or more", String::from_utf8_lossy(&path));
                    let item = session.item(Kind::Record, path.as_slice(), "procfs", Status::Truncated);
                    session.note(item.because(rule.clone()))?;
                    session.limited(rule)?;
                }
                for row in read(namespace.inode, &text) {
                    session.row(&row)?;
                }
                session.raw(path, "procfs", format!("netns-{}/{name}", namespace.inode), text)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => session.unreadable(path, &error)?,
        }
    }
    Ok(())
}

fn resolver(session: &mut Session, path: &str) -> Result<(), Stopped> {
    let host = session.host().clone();
    let read = host.open_regular(path, Links::Follow).and_then(|(file, _)| {
        let mut bytes = Vec::new();
        file.take(RESOLVER_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    let mut bytes = match read {
        Ok(bytes) => bytes,
        Err(error) => return session.unreadable(path, &error),
    };
    if bytes.len() as u64 > RESOLVER_BYTES_MAX {
        bytes.pop();
        let rule = format!("{path} is longer than {RESOLVER_BYTES_MAX} bytes");
        let item = session.item(Kind::Record, path, "read", Status::Truncated);
        session.note(item.because(rule.clone()))?;
        session.limited(rule)?;
    }
    let target = rustix::fs::readlink(host.path(path), Vec::new()).ok();
    session.row(&ResolverRow {
        content: &String::from_utf8_lossy(&bytes),
        content_b64: str::from_utf8(&bytes).is_err().then(|| BASE64_STANDARD.encode(&bytes)),
        path,
        record: "resolver",
        target: target.map(|target| String::from_utf8_lossy(target.as_bytes()).into_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FixedClock;
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, items, rows};
    use bundle::time::Instant;
    use serde_json::json;
    use std::os::unix::fs::symlink;
    use std::sync::Arc;

    #[test]
    fn a_tree_is_read_through_its_files() {
        let tree = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &[u8]| {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("proc/self/mountinfo", b"");
        put(
            "proc/7/net/arp",
            b"IP address       HW type     Flags       HW address            Mask     Device\n\
            192.0.2.1        0x1         0x2         02:00:00:00:00:01     *        eth0\n",
        );
        put("proc/7/fd/none", b"");
        put("proc/7/task/none", b"");
        put("proc/7/ns/none", b"");
        put("proc/sys/net/ipv4/ip_forward", b"1\n");
        put("proc/sys/net/ipv4/conf/eth0/rp_filter", b"0\n");
        put("etc/hosts", b"203.0.113.9 update.example\xff\n");
        symlink("net:[55]", tree.path().join("proc/7/ns/net")).unwrap();
        symlink("..", tree.path().join("proc/7/task/7")).unwrap();
        symlink("hosts", tree.path().join("etc/resolv.conf")).unwrap();

        let messages = collect(&NetworkState {}, Arc::new(Host::at(tree.path(), FixedClock(Instant(0)))));
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        let of = |record: &str| rows.iter().filter(|row| row["record"] == record).cloned().collect::<Vec<_>>();
        assert_eq!((&of("namespace")[0]["netns"], &of("namespace")[0]["source"]), (&json!(55), &json!("procfs")));
        assert_eq!(of("neighbour")[0]["mac"], "02:00:00:00:00:01");
        assert_eq!(of("sysctl").len(), 2);
        assert_eq!(of("sysctl")[0]["value"], "1");
        assert_eq!(of("resolver")[0]["target"], "hosts");
        assert!(of("resolver")[1]["content_b64"].is_string());
        assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
    }

    #[test]
    fn the_live_host_has_a_loopback_and_its_settings() {
        let messages = collect(&NetworkState {}, Arc::new(Host::live()));
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        let own = crate::host::netns::link_inode("/proc/self/ns/net").unwrap();
        let mine =
            |record: &str| rows.iter().filter(|row| row["record"] == record && row["netns"] == own).collect::<Vec<_>>();
        let loopback = mine("interface").into_iter().find(|row| row["name"] == "lo").unwrap();
        assert_eq!(loopback["type"], "loopback");
        // The names that netlink's arrays are given here are those of the kernel's files.
        for family in ["ipv4", "ipv6"] {
            for (name, value) in loopback[format!("{family}_conf")].as_object().into_iter().flatten() {
                // Read in another unit than netlink tells, or made up at each reading.
                if name.contains("router_solicitation")
                    || name == "router_probe_interval"
                    || name.contains("unsolicited_report")
                    || name == "medium_id"
                {
                    continue;
                }
                let file = format!("/proc/sys/net/{family}/conf/lo/{name}");
                if let Ok(text) = std::fs::read_to_string(&file) {
                    assert_eq!(value.as_i64().unwrap(), text.trim().parse::<i64>().unwrap(), "{file}");
                }
            }
        }
        assert!(mine("address").iter().any(|row| row["local"] == "127.0.0.1"));
        assert!(mine("route").iter().any(|row| row["table"] == "local"));
        assert!(mine("rule").iter().any(|row| row["table"] == "main"));
        assert!(mine("sysctl").iter().any(|row| row["path"] == "/proc/sys/net/ipv4/ip_forward"));
        assert!(items(&messages).iter().any(|item| item.path == format!("netlink/route/{own}").as_bytes()));
    }

    #[test]
    fn a_namespace_that_only_a_descriptor_keeps_alive_is_entered() {
        // Only root may make one.
        let Some((held, _listener)) = crate::host::netns::testing::held_namespace() else { return };
        let own = crate::host::netns::link_inode(&crate::host::regular::fd_path(&held)).unwrap();
        let messages = collect(&NetworkState {}, Arc::new(Host::live()));
        let rows = rows(&messages);
        let of =
            |record: &str| rows.iter().filter(|row| row["record"] == record && row["netns"] == own).collect::<Vec<_>>();
        assert_eq!((&of("namespace")[0]["source"], &of("namespace")[0]["processes"]), (&json!("netlink"), &json!(0)));
        assert_eq!(of("interface").iter().filter(|row| row["name"] == "lo").count(), 1);
        assert!(!of("sysctl").is_empty());
    }
}
