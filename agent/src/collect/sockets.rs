//! Every socket of every network namespace, with the processes that hold it.
//!
//! The descriptors of all processes are read first, then the tables. A socket that a process held before and still holds
//! afterwards, and that no table lists, is a row of its own (`unlisted`): sockets that are not bound yet and those of
//! families without a table are like that by nature; a TCP socket with connections is not, and means that something edits
//! the tables.
//!
//! Rows: `record` is `socket`, or `namespace` with the tables that were read. Raw: `netns-<inode>/<table>`, for tables that
//! list anything.

use std::borrow::Cow;
use std::io;
use std::os::fd::OwnedFd;

use bundle::item::{Kind, Status};
use rustix::fs::{Mode, OFlags};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::Host;
use crate::host::net_census::{Census, Held};
use crate::host::netns::{Door, NetNamespace};
use crate::host::proc_net::{Socket, TABLES, Table};
use crate::host::regular::fd_path;
use crate::host::tokens::bracketed;
use crate::run::session::{Session, Stopped};

/// A table is parsed up to here: about 200,000 connections.
const TABLE_BYTES_MAX: usize = 32 << 20;
/// Of a table this much is kept as it was read.
const RAW_BYTES_MAX: usize = 8 << 20;
/// Unlisted sockets that are looked at.
const UNLISTED_MAX: usize = 1 << 16;
/// Other files of `/proc/net` that are kept as they are: counts of sockets, and who hears packets. They tell when the
/// tables do not list everything.
const WITNESSES: [&str; 3] = ["sockstat", "sockstat6", "ptype"];

/// The collector `sockets`; it has no arguments.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sockets {}

/// A network namespace and its tables.
#[derive(Serialize, JsonSchema)]
struct NamespaceRow<'a> {
    /// Each way in that is known: task, descriptor or mount, and its path.
    doors: Vec<String>,
    /// Inode of its link, `/proc/PID/ns/net`.
    netns: u64,
    /// Processes that live in it.
    processes: u32,
    /// `namespace`.
    record: &'static str,
    /// The tables that were read: file, bytes, rows.
    tables: &'a [TableRead],
}

/// A table that was read.
#[derive(Serialize, JsonSchema)]
struct TableRead {
    /// Its length.
    bytes: usize,
    /// Its name in `/proc/net`.
    file: &'static str,
    /// Lines of it that became rows.
    rows: u64,
}

impl Collect for Sockets {
    const NAME: &'static str = "sockets";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str = "Sockets of every network namespace, and the processes that hold them";
    const NEEDS: &'static [&'static str] = &["CAP_SYS_PTRACE", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let census = Census::take(session)?;
        let mut listed = Vec::new();
        let mut buffer = Vec::new();
        for namespace in census.namespaces.values() {
            session.go_on()?;
            tables(session, &census, namespace, &mut listed, &mut buffer)?;
        }
        listed.sort_unstable();
        unlisted(session, &census, &listed)
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<Socket<'static>>("socket", "proc_pid_net(5), Documentation/networking/proc_net_tcp.rst"),
            RowType::of::<NamespaceRow<'static>>("namespace", "network_namespaces(7)"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        Plan {
            reads: vec![
                "/proc/*/fd".to_owned(),
                "/proc/*/ns/net".to_owned(),
                format!("/proc/*/net/{{{}}}", table_files().collect::<Vec<_>>().join(",")),
            ],
            ..Plan::default()
        }
    }
}

/// Reads all tables of one namespace.
fn tables(
    session: &mut Session,
    census: &Census,
    namespace: &NetNamespace,
    listed: &mut Vec<u64>,
    buffer: &mut Vec<u8>,
) -> Result<(), Failure> {
    let host = session.host().clone();
    let names: Vec<&str> = table_files().chain(WITNESSES).collect();
    let (folder, files) = match namespace.open_files(&host, &names) {
        Ok(opened) => opened,
        Err(error) => {
            let path = namespace.doors.first().map_or_else(|| b"/proc".to_vec(), Door::path);
            let item = session
                .item(Kind::Record, path, "setns", Status::Error)
                .failed(&error)
                .because(format!("network namespace {} could not be entered", namespace.inode));
            return Ok(session.note(item)?);
        }
    };
    let mut files = files.into_iter();
    let mut read = Vec::with_capacity(TABLES.len());
    for (table, file) in TABLES.iter().zip(files.by_ref()) {
        let path = [folder.as_slice(), b"/", table.file.as_bytes()].concat();
        match file.and_then(|file| read_to(&file, buffer)) {
            Ok(whole) => {
                let rows = rows_of(session, census, namespace.inode, table, buffer, listed)?;
                read.push(TableRead { bytes: buffer.len(), file: table.file, rows });
                keep(session, &path, namespace.inode, table.file, buffer, whole && rows == 0)?;
                if !whole {
                    cut_short(session, &path, TABLE_BYTES_MAX)?;
                }
            }
            // No IPv6, no module.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !table.expected => {}
            Err(error) => session.unreadable(path, &error)?,
        }
    }
    for (name, file) in WITNESSES.into_iter().zip(files) {
        let path = [folder.as_slice(), b"/", name.as_bytes()].concat();
        match file.and_then(|file| read_to(&file, buffer)) {
            Ok(_) => keep(session, &path, namespace.inode, name, buffer, false)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => session.unreadable(path, &error)?,
        }
    }
    let door = |door: &Door| format!("{} {}", door.kind(), String::from_utf8_lossy(&door.path()));
    session.row(&NamespaceRow {
        doors: namespace.doors.iter().map(door).collect(),
        netns: namespace.inode,
        processes: namespace.processes,
        record: "namespace",
        tables: &read,
    })?;
    Ok(())
}

/// Hands over the rows of one table and remembers their inodes; answers how many rows there were.
fn rows_of(
    session: &mut Session,
    census: &Census,
    netns: u64,
    table: &Table,
    bytes: &[u8],
    listed: &mut Vec<u64>,
) -> Result<u64, Stopped> {
    let mut rows = 0;
    (table.parse)(table.protocol, bytes, &mut |socket| {
        rows += 1;
        let mut socket: Socket<'_> = socket;
        socket.netns = netns;
        socket.owners = census.owners(socket.inode);
        listed.push(socket.inode);
        session.row(&socket)
    })?;
    Ok(rows)
}

/// Keeps the bytes of a table, unless it lists nothing: the namespace's row says that it was read.
fn keep(session: &mut Session, path: &[u8], netns: u64, file: &str, bytes: &[u8], empty: bool) -> Result<(), Stopped> {
    if empty || bytes.is_empty() {
        return Ok(());
    }
    let kept = bytes.get(..RAW_BYTES_MAX).unwrap_or(bytes);
    session.raw(path, "procfs", format!("netns-{netns}/{file}"), kept.to_vec())?;
    if kept.len() < bytes.len() && bytes.len() < TABLE_BYTES_MAX {
        cut_short(session, path, RAW_BYTES_MAX)?;
    }
    Ok(())
}

fn cut_short(session: &mut Session, path: &[u8], bytes_max: usize) -> Result<(), Stopped> {
    let rule = format!("{} is longer than {bytes_max} bytes", String::from_utf8_lossy(path));
    let item = session.item(Kind::Record, path, "procfs", Status::Truncated).because(rule.clone());
    session.note(item)?;
    session.limited(rule)
}

/// Reads a file of the kernel into `buffer`, at most [`TABLE_BYTES_MAX`] of it; false when there is more.
pub(super) fn read_to(file: &OwnedFd, buffer: &mut Vec<u8>) -> io::Result<bool> {
    const CHUNK: usize = 64 << 10;
    buffer.clear();
    loop {
        if buffer.capacity() - buffer.len() < CHUNK {
            buffer.reserve(CHUNK.max(buffer.len()));
        }
        match rustix::io::read(file, rustix::buffer::spare_capacity(buffer)) {
            Ok(0) => return Ok(true),
            Ok(_) if buffer.len() > TABLE_BYTES_MAX => {
                buffer.truncate(TABLE_BYTES_MAX);
                return Ok(false);
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sockets that processes hold and that no table lists, in the order of their inodes.
fn unlisted(session: &mut Session, census: &Census, listed: &[u64]) -> Result<(), Failure> {
    let host = session.host().clone();
    let mut rows = 0;
    for holders in census.held.chunk_by(|a, b| a.inode == b.inode) {
        session.go_on()?;
        let Some(first) = holders.first() else { continue };
        if listed.binary_search(&first.inode).is_ok() {
            continue;
        }
        // Closed since: then its absence from the tables says nothing.
        let Some(protocol) = holders.iter().find_map(|held| still_held(&host, held)) else {
            continue;
        };
        if rows == UNLISTED_MAX {
            session.limited(format!("more than {UNLISTED_MAX} sockets that no table lists"))?;
            break;
        }
        rows += 1;
        session.row(&Socket {
            inode: first.inode,
            owners: census.owners(first.inode),
            protocol: Cow::Owned(protocol),
            unlisted: true,
            ..Socket::of("")
        })?;
    }
    Ok(())
}

/// The name that sockfs has for the family or protocol of a socket, if its process still holds it: the attribute
/// `system.sockprotoname` (net/socket.c), `unknown` where it cannot be had.
fn still_held(host: &Host, held: &Held) -> Option<String> {
    let path = host.path(format!("/proc/{}/fd/{}", held.pid, held.fd));
    let is_it = |link: &std::ffi::CStr| bracketed(link.to_bytes(), b"socket") == Some(held.inode);
    if !is_it(&rustix::fs::readlink(&path, Vec::new()).ok()?) {
        return None;
    }
    if !host.is_live() {
        return Some("unknown".to_owned());
    }
    // O_PATH opens nothing; the attribute is asked of what was really found.
    let found = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let name = fd_path(&found);
    if !is_it(&rustix::fs::readlink(&name, Vec::new()).ok()?) {
        return None;
    }
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(&name, "system.sockprotoname", &mut value).unwrap_or(0);
    let text = value.get(..length).unwrap_or_default();
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    Some(if text.is_empty() { "unknown".to_owned() } else { String::from_utf8_lossy(text).into_owned() })
}

/// The names of all tables.
fn table_files() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|table| table.file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FixedClock;
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, items, rows};
    use bundle::time::Instant;
    use std::os::unix::fs::symlink;
    use std::sync::Arc;

    #[test]
    fn a_tree_with_an_owner_a_hidden_socket_and_a_second_namespace() {
        let tree = tempfile::tempdir().unwrap();
        for (pid, netns, sockets) in [(1, 100, vec![]), (42, 100, vec![500, 777]), (43, 200, vec![])] {
            let process = tree.path().join(format!("proc/{pid}"));
            for folder in ["ns", "fd", "task"] {
                std::fs::create_dir_all(process.join(folder)).unwrap();
            }
            std::fs::write(process.join("comm"), b"n\xffc\n").unwrap();
            symlink(format!("net:[{netns}]"), process.join("ns/net")).unwrap();
            for (fd, inode) in sockets.iter().enumerate() {
                symlink(format!("socket:[{inode}]"), process.join(format!("fd/{fd}"))).unwrap();
            }
            std::fs::create_dir_all(process.join("net")).unwrap();
            std::fs::write(
                process.join("net/tcp"),
                "sl\n   0: 0100007F:07E8 00000000:0000 0A 00000000:00000000 \
                00:00000000 00000000     0        0 500 1 00 100 0 0 10 0\n",
            )
            .unwrap();
            std::fs::write(process.join("net/unix"), "Num\n").unwrap();
            std::fs::create_dir_all(process.join("task")).unwrap();
            symlink("..", process.join(format!("task/{pid}"))).unwrap();
        }
        std::fs::create_dir_all(tree.path().join("proc/self")).unwrap();
        std::fs::write(tree.path().join("proc/self/mountinfo"), "").unwrap();

        let host = Arc::new(Host::at(tree.path(), FixedClock(Instant(0))));
        let messages = collect(&Sockets {}, host);
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        assert_eq!(rows[0]["owners"][0]["pid"], 42);
        assert_eq!(rows[0]["owners"][0]["comm_b64"], "bv9j");
        assert_eq!((rows[0]["local_port"].as_u64(), rows[0]["netns"].as_u64()), (Some(2024), Some(100)));
        assert_eq!((rows[1]["record"].as_str(), rows[1]["processes"].as_u64()), (Some("namespace"), Some(2)));
        assert_eq!(rows[3]["netns"], 200);
        let last = rows.last().unwrap();
        assert_eq!((last["inode"].as_u64(), last["unlisted"].as_bool()), (Some(777), Some(true)));
        // Tables that the kernel always has are missed by name; the two that list nothing are not kept.
        assert!(
            items(&messages)
                .iter()
                .any(|item| item.path == b"/proc/1/task/1/net/udp" && item.status == Status::Vanished)
                || items(&messages)
                    .iter()
                    .any(|item| item.path == b"/proc/42/task/42/net/udp" && item.status == Status::Vanished)
        );
        let raw =
            messages.iter().filter(|message| matches!(message, Message::Raw(_, name, _) if name.ends_with("/tcp")));
        assert_eq!(raw.count(), 2);
    }

    #[test]
    fn this_process_holds_its_listener() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let unbound =
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
        let port = listener.local_addr().unwrap().port();
        let messages = collect(&Sockets {}, Arc::new(Host::live()));
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        let mine = rows.iter().find(|row| row["local_port"] == port && row["protocol"] == "tcp").unwrap();
        assert_eq!(mine["state"], "LISTEN");
        assert!(mine["owners"].as_array().unwrap().iter().any(|owner| owner["pid"] == std::process::id()));
        assert!(rows.iter().any(|row| row["unlisted"] == true && row["protocol"] == "TCP"));
        assert!(!rows.iter().any(|row| row.get("unparsed").is_some()));
        drop(unbound);
        assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
    }

    #[test]
    fn a_long_file_is_cut_at_the_bound() {
        let folder = tempfile::tempdir().unwrap();
        for (length, whole) in [(TABLE_BYTES_MAX, true), (TABLE_BYTES_MAX + 1, false)] {
            let path = folder.path().join("table");
            std::fs::File::create(&path).unwrap().set_len(length as u64).unwrap();
            let file = OwnedFd::from(std::fs::File::open(&path).unwrap());
            let mut buffer = Vec::new();
            assert_eq!(read_to(&file, &mut buffer).unwrap(), whole);
            assert_eq!(buffer.len(), length.min(TABLE_BYTES_MAX));
        }
    }

    #[test]
    fn a_listener_in_a_namespace_without_processes_has_its_owner() {
        // Only root may make one.
        let Some((held, listener)) = crate::host::netns::testing::held_namespace() else { return };
        let netns = crate::host::netns::link_inode(&fd_path(&held)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let messages = collect(&Sockets {}, Arc::new(Host::live()));
        let rows = rows(&messages);
        let found = rows.iter().find(|row| row["netns"] == netns && row["local_port"] == port).unwrap();
        assert_eq!(
            (found["state"].as_str(), found["owners"][0]["pid"].as_u64()),
            (Some("LISTEN"), Some(u64::from(std::process::id())))
        );
        let namespace = rows.iter().find(|row| row["netns"] == netns && row["record"] == "namespace").unwrap();
        assert!(namespace["doors"][0].as_str().unwrap().starts_with("descriptor /proc/"));
    }
}
