//! Shared memory, semaphores and message queues of every IPC namespace.
//!
//! System V objects come from `/proc/sysvipc` (proc_sysvipc(5)), which shows the namespace of who opens it: a thread
//! enters each namespace, opens the files, makes a mount of its message queues that is attached nowhere, and ends.
//! POSIX message queues are named with what stat tells; a queue's state is not read, because that moves the queue's own
//! times (mq_overview(7), ipc/mqueue.c). Who has a shared memory segment attached comes from the mappings of the
//! processes in that namespace, read only where a segment is attached at all.
//!
//! Rows: `shm`, `sem`, `msg`, `posix_queue`. Raw: `ipcns-<inode>/{shm,sem,msg}`, for those that list anything. POSIX
//! shared memory is files below /dev/shm.
//!
//! Known limits: numbers of users and processes are shown as the agent's own namespaces have them. A namespace without
//! processes is not entered.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use bundle::item::{Kind, Status, shown};
use bundle::time::Instant;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, StatxTimestamp};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use rustix::thread::LinkNameSpaceType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use super::per_process::{every_process, path};
use super::rows::RowType;
use super::sockets::read_to;
use super::{Collect, Failure, Plan};
use crate::host::namespaces::{self, named};
use crate::host::proc::maps::Mapping;
use crate::host::proc::{self, Hands, Pages, Processes, Reached};
use crate::host::text::in_base;
use crate::host::tokens::{Words, lines};
use crate::host::{Host, mounts};
use crate::run::session::{Session, Stopped};

/// Message queues of one namespace.
const QUEUES_MAX: usize = 1 << 14;
/// Processes that a row of shared memory names.
const PIDS_MAX: usize = 64;
const MAPS_BYTES_MAX: usize = 32 << 20;
const RAW_BYTES_MAX: usize = 8 << 20;
/// The files of `/proc/sysvipc`.
const FILES: [&str; 3] = ["shm", "sem", "msg"];
/// SHM_DEST: the segment goes when the last process detaches it. SHM_LOCKED: it is not swapped.
const SHM_DEST: u64 = 0o1000;
const SHM_LOCKED: u64 = 0o2000;

/// The collector `ipc`; it has no arguments.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ipc {}

/// A segment of System V shared memory.
#[derive(Debug, Serialize, JsonSchema)]
struct ShmRow {
    /// Last attached; absent for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    attach_time: Option<Instant>,
    /// How many times it is attached now.
    attached: u64,
    /// Processes that have it mapped, at most 64.
    attached_pids: Vec<u32>,
    /// Last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    change_time: Option<Instant>,
    /// Group of who made it.
    creator_gid: u64,
    /// Process that made it; it may have ended long ago.
    creator_pid: u64,
    /// User who made it.
    creator_uid: u64,
    /// Last detached; absent for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    detach_time: Option<Instant>,
    /// Owning group.
    gid: u64,
    /// Its number in the namespace (shmid).
    id: u64,
    /// Inode of its IPC namespace.
    ipcns: u64,
    /// True when everybody may read and write it.
    is_open_to_others: bool,
    /// True when it was removed and lives on until the last process detaches it.
    is_removed: bool,
    /// Key, hex; 0 for IPC_PRIVATE.
    key: String,
    /// Process that attached or detached it last.
    last_pid: u64,
    /// True when it is locked in memory.
    locked: bool,
    /// Permissions, octal.
    mode: String,
    /// `shm`.
    record: &'static str,
    /// In memory now.
    rss_bytes: u64,
    /// Size.
    size_bytes: u64,
    /// Swapped out.
    swap_bytes: u64,
    /// Owner.
    uid: u64,
}

/// A set of System V semaphores.
#[derive(Debug, Serialize, JsonSchema)]
struct SemRow {
    /// Last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    change_time: Option<Instant>,
    /// Group of who made it.
    creator_gid: u64,
    /// User who made it.
    creator_uid: u64,
    /// Owning group.
    gid: u64,
    /// Its number in the namespace (semid).
    id: u64,
    /// Inode of its IPC namespace.
    ipcns: u64,
    /// Key, hex; 0 for IPC_PRIVATE.
    key: String,
    /// Permissions, octal.
    mode: String,
    /// Last operation; absent for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation_time: Option<Instant>,
    /// `sem`.
    record: &'static str,
    /// How many semaphores it has.
    semaphores: u64,
    /// Owner.
    uid: u64,
}

/// A System V message queue.
#[derive(Debug, Serialize, JsonSchema)]
struct MsgRow {
    /// Last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    change_time: Option<Instant>,
    /// Group of who made it.
    creator_gid: u64,
    /// User who made it.
    creator_uid: u64,
    /// Owning group.
    gid: u64,
    /// Its number in the namespace (msqid).
    id: u64,
    /// Inode of its IPC namespace.
    ipcns: u64,
    /// Key, hex; 0 for IPC_PRIVATE.
    key: String,
    /// Messages that wait.
    messages: u64,
    /// Permissions, octal.
    mode: String,
    /// What they hold.
    queued_bytes: u64,
    /// Last received; absent for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    receive_time: Option<Instant>,
    /// Process that received last.
    receiver_pid: u64,
    /// `msg`.
    record: &'static str,
    /// Last sent; absent for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    send_time: Option<Instant>,
    /// Process that sent last.
    sender_pid: u64,
    /// Owner.
    uid: u64,
}

/// A POSIX message queue.
#[derive(Debug, Serialize, JsonSchema)]
struct QueueRow {
    /// Last looked at or received from.
    atime: Instant,
    /// Last changed, sent to or received from.
    ctime: Instant,
    /// Owning group.
    gid: u32,
    /// Inode of the queue.
    inode: u64,
    /// Inode of its IPC namespace.
    ipcns: u64,
    /// Permissions, octal.
    mode: String,
    /// Made, or sent to last.
    mtime: Instant,
    /// Its name, without the slash.
    name: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    name_b64: Option<String>,
    /// `posix_queue`.
    record: &'static str,
    /// Owner.
    uid: u32,
}

impl Collect for Ipc {
    const NAME: &'static str = "ipc";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str = "System V shared memory, semaphores, queues and POSIX queues of every IPC namespace";
    const NEEDS: &'static [&'static str] = &["CAP_SYS_PTRACE", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let host = session.host().clone();
        if !host.is_live() {
            let item = session.item(Kind::Record, *b"/proc/sysvipc", "procfs", Status::Skipped);
            return Ok(session.note(item.because("only a live host has objects of IPC"))?);
        }
        let own = rustix::fs::readlink("/proc/self/ns/ipc", Vec::new()).ok();
        let own = own.and_then(|link| named(link.as_bytes())).map(|(_, inode)| inode);
        for (ipcns, pids) in processes(session)? {
            session.go_on()?;
            namespace(session, &host, ipcns, &pids, own == Some(ipcns))?;
        }
        Ok(())
    }

    fn rows() -> Vec<RowType> {
        let source = "proc_sysvipc(5), sysvipc(7)";
        vec![
            RowType::of::<ShmRow>("shm", source),
            RowType::of::<SemRow>("sem", source),
            RowType::of::<MsgRow>("msg", source),
            RowType::of::<QueueRow>("posix_queue", "mq_overview(7)"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        Plan {
            reads: vec![
                "/proc/sysvipc/{shm,sem,msg} of every IPC namespace".into(),
                "POSIX message queues: names and stat".into(),
                "/proc/*/maps, where shared memory is attached".into(),
            ],
            ..Plan::default()
        }
    }
}

/// The processes of each IPC namespace.
fn processes(session: &mut Session) -> Result<BTreeMap<u64, Vec<u32>>, Failure> {
    let mut found: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    every_process(session, |session, walk, pid, process| {
        if process.reached == Reached::MountOnly {
            return Ok(());
        }
        let dir = process.dir.as_fd();
        walk.bare = true; // A zombie lives nowhere any more.
        if let Some(link) = walk.link(session, (pid, dir), c"ns/ipc")?
            && let Some((_, inode)) = named(walk.pages.get(link))
        {
            found.entry(inode).or_default().push(pid);
        }
        Ok(())
    })?;
    Ok(found)
}

/// What is opened inside a namespace.
struct Opened {
    files: Vec<io::Result<OwnedFd>>,
    queues: io::Result<OwnedFd>,
}

impl Opened {
    /// To be called inside.
    fn here() -> Self {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let open = |name: &&str| Ok(rustix::fs::open(format!("/proc/sysvipc/{name}"), flags, Mode::empty())?);
        Self { files: FILES.iter().map(open).collect(), queues: queues_mount() }
    }
}

/// A mount of the queues of the calling thread's namespace, read-only and attached nowhere (fsopen(2), kernel 5.2).
/// Each namespace has one file system of queues from its making on; this shows it and makes none.
fn queues_mount() -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("mqueue", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(&context)?;
    let quiet = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOATIME
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, quiet)?)
}

fn namespace(session: &mut Session, host: &Host, ipcns: u64, pids: &[u32], is_own: bool) -> Result<(), Failure> {
    let entered = if is_own { Ok(Opened::here()) } else { enter(ipcns, pids) };
    let opened = match entered {
        Ok(opened) => opened,
        Err(error) => {
            let path = pids.first().map_or_else(Vec::new, |pid| path(*pid, "ns/ipc"));
            let item = session.item(Kind::Record, path, "setns", Status::Error).failed(&error);
            return Ok(session.note(item.because(format!("IPC namespace {ipcns} could not be entered")))?);
        }
    };
    for (name, file) in FILES.into_iter().zip(opened.files) {
        let path = format!("/proc/sysvipc/{name}");
        let mut bytes = Vec::new();
        match file.and_then(|file| read_to(&file, &mut bytes)) {
            Ok(is_whole) => {
                objects(session, host, (ipcns, pids), name, &bytes)?;
                if !is_whole {
                    session.limited(format!("{path} of namespace {ipcns} is longer than is read"))?;
                }
                if lines(&bytes).count() > 1 {
                    bytes.truncate(RAW_BYTES_MAX);
                    session.raw(path, "procfs", format!("ipcns-{ipcns}/{name}"), bytes)?;
                }
            }
            Err(error) => session.unreadable(path, &error)?,
        }
    }
    match opened.queues.or_else(|error| if is_own { mounted_queues(host).ok_or(error) } else { Err(error) }) {
        Ok(folder) => queues(session, ipcns, &folder),
        Err(error) => {
            let item = session.item(Kind::Record, *b"/dev/mqueue", "fsopen", Status::Skipped).failed(&error);
            Ok(session
                .note(item.because(format!("the message queues of IPC namespace {ipcns} could not be mounted")))?)
        }
    }
}

fn enter(ipcns: u64, pids: &[u32]) -> io::Result<Opened> {
    let mut refused = io::Error::from(io::ErrorKind::NotFound);
    // More than one, because a process may have ended.
    for pid in pids.iter().take(8) {
        let opened = namespaces::open(&path(*pid, "ns/ipc"), ipcns);
        let inside = |namespace: OwnedFd| {
            namespaces::inside(&namespace, LinkNameSpaceType::InterProcessCommunication, Opened::here)
        };
        match opened.and_then(inside) {
            Ok(opened) => return Ok(opened),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Where the queues of our own namespace are mounted already: for kernels before 5.2.
fn mounted_queues(host: &Host) -> Option<OwnedFd> {
    let text = host.read("/proc/self/mountinfo", 64 << 20).ok()?;
    let table = mounts::MountTable::new(mounts::parse(&text).mounts);
    let is_seen = |mount: &&mounts::Mount| table.covering(&mount.point).is_some_and(|seen| seen.id == mount.id);
    let mount = table.all().iter().filter(|mount| mount.fs_type == b"mqueue").find(is_seen)?;
    host.dir(std::ffi::OsStr::from_bytes(&mount.point)).ok()
}

fn queues(session: &mut Session, ipcns: u64, folder: &OwnedFd) -> Result<(), Failure> {
    let listed = proc::open_dir(folder.as_fd(), c".").and_then(|listing| proc::names(listing.as_fd()));
    let names = match listed {
        Ok(names) => names,
        Err(error) => return Ok(session.unreadable(*b"/dev/mqueue", &error)?),
    };
    for (n, name) in names.iter().enumerate() {
        session.go_on()?;
        if n == QUEUES_MAX {
            session.limited(format!("more than {QUEUES_MAX} message queues in IPC namespace {ipcns}"))?;
            break;
        }
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
        // A queue that was removed meanwhile is none.
        let Ok(stat) = rustix::fs::statx(folder, name, flags, StatxFlags::BASIC_STATS) else { continue };
        let at = |time: StatxTimestamp| Instant(i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec));
        let (text, name_b64) = shown(name.to_bytes());
        session.row(&QueueRow {
            atime: at(stat.stx_atime),
            ctime: at(stat.stx_ctime),
            gid: stat.stx_gid,
            inode: stat.stx_ino,
            ipcns,
            mode: format!("{:04o}", stat.stx_mode & 0o7777),
            mtime: at(stat.stx_mtime),
            name: text,
            name_b64,
            record: "posix_queue",
            uid: stat.stx_uid,
        })?;
    }
    Ok(())
}

/// Hands over the rows of one file.
fn objects(
    session: &mut Session,
    host: &Host,
    (ipcns, pids): (u64, &[u32]),
    name: &str,
    bytes: &[u8],
) -> Result<(), Failure> {
    let mut attached = None;
    for line in lines(bytes).skip(1) {
        session.go_on()?;
        let handed_over = match name {
            "shm" => match shm(ipcns, line) {
                Some(mut row) => {
                    if row.attached > 0 {
                        let found = attached.get_or_insert_with(|| attachments(session, host, pids));
                        row.attached_pids = found.get(&row.id).cloned().unwrap_or_default();
                    }
                    Some(session.row(&row)?)
                }
                None => None,
            },
            "sem" => sem(ipcns, line).map(|row| session.row(&row)).transpose()?,
            _ => msg(ipcns, line).map(|row| session.row(&row)).transpose()?,
        };
        if handed_over.is_none() {
            odd_line(session, name, line)?;
        }
    }
    Ok(())
}

fn odd_line(session: &mut Session, name: &str, line: &[u8]) -> Result<(), Stopped> {
    let item = session.item(Kind::Record, format!("/proc/sysvipc/{name}"), "procfs", Status::Error);
    let line: String = String::from_utf8_lossy(line).chars().take(200).collect();
    session.note(item.because(format!("it has a line that the kernel does not write: {line:?}")))
}

/// Who has which segment mapped: the inode of such a mapping is the segment's number.
fn attachments(session: &Session, host: &Host, pids: &[u32]) -> BTreeMap<u64, Vec<u32>> {
    let mut found: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    let Ok(mut processes) = Processes::of(host) else { return found };
    let mut pages = Pages::default();
    for &pid in pids {
        if session.go_on().is_err() {
            break;
        }
        pages.clear();
        let Ok(process) = processes.open(pid) else { continue };
        let Ok(maps) = pages.read(process.dir.as_fd(), c"maps", Hands::InPieces, MAPS_BYTES_MAX) else { continue };
        let text = pages.get(maps);
        for mapping in text.split(|byte| *byte == b'\n').filter_map(Mapping::parse) {
            if mapping.path.starts_with(b"/SYSV") && mapping.perms.ends_with('s') {
                let pids = found.entry(mapping.inode).or_default();
                if pids.len() < PIDS_MAX && pids.last() != Some(&pid) {
                    pids.push(pid);
                }
            }
        }
    }
    found
}

/// A time in seconds, 0 for never.
fn moment(secs: u64) -> Option<Instant> {
    (secs != 0).then_some(Instant(i128::from(secs) * 1_000_000_000))
}

/// Key (a signed decimal), number, permissions in octal: what every line begins with.
fn head(words: &mut Words<'_>) -> Option<(String, u64, u64)> {
    let key = i32::try_from(words.signed()?).ok()?;
    Some((format!("0x{key:08x}"), words.decimal()?, in_base(words.next()?, 8)?))
}

fn shm(ipcns: u64, line: &[u8]) -> Option<ShmRow> {
    let mut words = Words::of(line);
    let (key, id, perms) = head(&mut words)?;
    let size_bytes = words.decimal()?;
    let (creator_pid, last_pid, attached) = (words.decimal()?, words.decimal()?, words.decimal()?);
    let (uid, gid, creator_uid, creator_gid) = (words.decimal()?, words.decimal()?, words.decimal()?, words.decimal()?);
    let (attach, detach, change) = (words.decimal()?, words.decimal()?, words.decimal()?);
    Some(ShmRow {
        attach_time: moment(attach),
        attached,
        attached_pids: Vec::new(),
        change_time: moment(change),
        creator_gid,
        creator_pid,
        creator_uid,
        detach_time: moment(detach),
        gid,
        id,
        ipcns,
        is_open_to_others: perms & 0o006 == 0o006,
        is_removed: perms & SHM_DEST != 0,
        key,
        last_pid,
        locked: perms & SHM_LOCKED != 0,
        mode: format!("{:04o}", perms & 0o777),
        record: "shm",
        rss_bytes: words.decimal()?,
        size_bytes,
        swap_bytes: words.decimal()?,
        uid,
    })
}

fn sem(ipcns: u64, line: &[u8]) -> Option<SemRow> {
    let mut words = Words::of(line);
    let (key, id, perms) = head(&mut words)?;
    let semaphores = words.decimal()?;
    let (uid, gid, creator_uid, creator_gid) = (words.decimal()?, words.decimal()?, words.decimal()?, words.decimal()?);
    Some(SemRow {
        operation_time: moment(words.decimal()?),
        change_time: moment(words.decimal()?),
        creator_gid,
        creator_uid,
        gid,
        id,
        ipcns,
        key,
        mode: format!("{perms:04o}"),
        record: "sem",
        semaphores,
        uid,
    })
}

fn msg(ipcns: u64, line: &[u8]) -> Option<MsgRow> {
    let mut words = Words::of(line);
    let (key, id, perms) = head(&mut words)?;
    let (queued_bytes, messages) = (words.decimal()?, words.decimal()?);
    let (sender_pid, receiver_pid) = (words.decimal()?, words.decimal()?);
    let (uid, gid, creator_uid, creator_gid) = (words.decimal()?, words.decimal()?, words.decimal()?, words.decimal()?);
    Some(MsgRow {
        send_time: moment(words.decimal()?),
        receive_time: moment(words.decimal()?),
        change_time: moment(words.decimal()?),
        creator_gid,
        creator_uid,
        gid,
        id,
        ipcns,
        key,
        messages,
        mode: format!("{perms:04o}"),
        queued_bytes,
        receiver_pid,
        record: "msg",
        sender_pid,
        uid,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::session::Message;
    use crate::run::testing;

    #[test]
    fn lines_of_the_three_files() {
        let line = b"1179142744          0  3666                  4096  3108  3109      1  1000     5     0     6 1700000000          0 1700000001                  4096                     0";
        let row = serde_json::to_value(shm(7, line).unwrap()).unwrap();
        for (column, expected) in [
            ("key", "0x46484a58".into()),
            ("mode", "0666".into()),
            ("is_removed", true.into()),
            ("locked", true.into()),
            ("is_open_to_others", true.into()),
            ("attached", 1.into()),
            ("creator_pid", 3108.into()),
            ("last_pid", 3109.into()),
            ("creator_gid", 6.into()),
            ("attach_time", "2023-11-14T22:13:20.000000000Z".into()),
            ("rss_bytes", serde_json::Value::from(4096)),
        ] {
            assert_eq!(row[column], expected, "{column}");
        }
        assert!(row.get("detach_time").is_none());
        let sem =
            sem(7, b"        -1          3   600          4     0     0     1     2          0 1700000001").unwrap();
        assert_eq!((sem.key.as_str(), sem.semaphores, sem.creator_uid), ("0xffffffff", 4, 1));
        let line = b"  5   0   644   11   2  31  32   0   0   0   0 1700000000 0 1700000001";
        let msg = msg(7, line).unwrap();
        assert_eq!((msg.queued_bytes, msg.messages, msg.sender_pid, msg.receiver_pid), (11, 2, 31, 32));
        for length in 0..60 {
            assert!(shm(7, &line[..length.min(line.len())]).is_none());
        }
    }

    #[test]
    fn a_tree_has_no_objects() {
        let tree = tempfile::tempdir().unwrap();
        let host = Host::at(tree.path(), FixedClock(Instant(0)));
        let messages = testing::collect(&Ipc {}, Arc::new(host));
        assert_eq!(testing::items(&messages)[0].status, Status::Skipped);
    }

    #[test]
    fn the_live_host_answers_or_says_why_not() {
        let messages = testing::collect(&Ipc {}, Arc::new(Host::live()));
        testing::assert_keys_sorted(&messages);
        assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
        let own = rustix::fs::readlink("/proc/self/ns/ipc", Vec::new()).unwrap();
        let (_, own) = named(own.as_bytes()).unwrap();
        let found = processes_of(own);
        assert!(found.contains(&std::process::id()));
        // A kernel without System V IPC has an item for each of the files.
        let missing = testing::items(&messages).iter().filter(|item| item.path.starts_with(b"/proc/sysvipc")).count();
        let there = std::path::Path::new("/proc/sysvipc/shm").exists();
        assert!(there || missing >= FILES.len());
    }

    fn processes_of(ipcns: u64) -> Vec<u32> {
        let mut found = Vec::new();
        for pid in Processes::of(&Host::live()).unwrap().pids().unwrap() {
            let link = rustix::fs::readlink(format!("/proc/{pid}/ns/ipc"), Vec::new());
            if link.is_ok_and(|link| named(link.as_bytes()) == Some(("ipc", ipcns))) {
                found.push(pid);
            }
        }
        found
    }
}
