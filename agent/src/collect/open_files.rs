//! Every open descriptor of every process: what it points to and how it was opened.
//!
//! One row per descriptor, by process and number, from the text of the link `/proc/PID/fd/N` and the lines of
//! `/proc/PID/fdinfo/N` (proc_pid_fd(5), proc_pid_fdinfo(5)). Nothing behind a link is ever touched: stat through it
//! waits for a network server or a FUSE daemon that may be gone.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::io::Errno;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use super::per_process::{Walk, every_process, path};
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::Host;
use crate::host::proc::fdinfo::{FdInfo, FlagNames};
use crate::host::proc::{self, Piece, Process, Reached};
use crate::host::text::{Exact, List, Number, Text};
use crate::run::session::{Session, Stopped};

/// Descriptors of one process that are taken.
const DESCRIPTORS_MAX: usize = 256 << 10;
/// Bytes of one fdinfo: an epoll or inotify descriptor has a line for each thing that it watches.
const FDINFO_BYTES_MAX: usize = 256 << 10;
/// The buffer is emptied after this many descriptors, so that it stays in the processor's cache.
const PAGES_DESCRIPTORS: usize = 64;

/// Takes no arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenFiles {}

/// One descriptor.
#[derive(JsonSchema, Serialize)]
struct Row<'a> {
    /// True when a bound left out lines of fdinfo.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
    /// True when the kernel says that the file has no name any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    /// Number of the descriptor.
    fd: u32,
    /// The other lines of fdinfo: locks, watches, counters of an eventfd …
    #[serde(skip_serializing_if = "Option::is_none")]
    fdinfo: Option<List<'a>>,
    /// Flags of open(2), octal.
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<Text<'a>>,
    /// The same by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    flags_names: Option<FlagNames>,
    /// Inode of the file (5.14).
    #[serde(skip_serializing_if = "Option::is_none")]
    ino: Option<u64>,
    /// Inode of a socket, pipe or namespace, from the text of the link: what `/proc/net` names sockets by.
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    /// Number of its mount in mountinfo.
    #[serde(skip_serializing_if = "Option::is_none")]
    mnt_id: Option<u64>,
    /// Process number.
    pid: u32,
    /// Position in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pos: Option<Number>,
    /// Text of the link, without the kernel's ` (deleted)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Text<'a>>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_b64: Option<Exact<'a>>,
    /// file, device, socket, pipe, memfd, anon_inode, namespace or other; `device` is anything under `/dev`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
}

impl Collect for OpenFiles {
    const NAME: &'static str = "open_files";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str = "Every open descriptor of every process: file, socket, pipe, flags, position";
    const NEEDS: &'static [&'static str] = &["CAP_SYS_PTRACE"];

    fn rows() -> Vec<RowType> {
        vec![RowType::of::<Row<'_>>(Self::NAME, "proc_pid_fd(5), proc_pid_fdinfo(5)")]
    }

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let mut numbers = Vec::new();
        every_process(session, |session, walk, pid, process| descriptors(session, walk, &mut numbers, (pid, process)))
    }

    fn plan(&self, _host: &Host) -> Plan {
        Plan { reads: vec!["/proc/*/fd/* (link text)".into(), "/proc/*/fdinfo/*".into()], ..Plan::default() }
    }
}

fn descriptors(
    session: &mut Session,
    walk: &mut Walk,
    numbers: &mut Vec<u32>,
    (pid, process): (u32, &Process),
) -> Result<(), Failure> {
    if process.reached == Reached::MountOnly {
        return Ok(()); // The items of `processes` say so; what lies on top is no evidence.
    }
    let dir = process.dir.as_fd();
    let fd = match proc::open_dir(dir, c"fd").and_then(|fd| proc::numbers(fd.as_fd(), numbers).map(|_| fd)) {
        Ok(fd) => fd,
        Err(error) => {
            // A zombie has no descriptors: the kernel then says ENOENT for the listing, while its stat is still there.
            let is_zombie = Errno::from_io_error(&error) == Some(Errno::NOENT);
            walk.bare = is_zombie;
            return Ok(walk.failed(session, (pid, dir), c"fd", &error)?);
        }
    };
    if numbers.is_empty() {
        return Ok(());
    }
    if numbers.len() > DESCRIPTORS_MAX {
        numbers.truncate(DESCRIPTORS_MAX);
        let rule = format!("only the first {DESCRIPTORS_MAX} descriptors of a process are taken");
        walk.left_out(session, pid, "fd", rule)?;
    }
    let fdinfo = match proc::open_dir(dir, c"fdinfo") {
        Ok(fdinfo) => Some(fdinfo),
        Err(error) => {
            walk.failed(session, (pid, dir), c"fdinfo", &error)?;
            None
        }
    };
    for (index, number) in numbers.iter().enumerate() {
        session.go_on()?;
        if index % PAGES_DESCRIPTORS == 0 {
            walk.pages.clear();
        }
        let at = (pid, fd.as_fd(), fdinfo.as_ref().map(std::os::fd::AsFd::as_fd));
        descriptor(session, walk, at, *number)?;
    }
    Ok(())
}

fn descriptor(
    session: &mut Session,
    walk: &mut Walk,
    (pid, fd, fdinfo): (u32, BorrowedFd<'_>, Option<BorrowedFd<'_>>),
    number: u32,
) -> Result<(), Stopped> {
    let link = walk.pages.link_number(fd, number);
    let info = fdinfo.map(|fdinfo| walk.pages.read_number(fdinfo, number, FDINFO_BYTES_MAX));
    let link = match link {
        // What is refused for one descriptor is refused for all of the process: one item says it, and the rows have
        // the numbers.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            if !walk.refused {
                walk.refused = true;
                session.unreadable(path(pid, "fd"), &error)?;
            }
            None
        }
        link => noted(session, link, || format!("/proc/{pid}/fd/{number}"))?,
    };
    let info = match info {
        Some(info) => noted(session, info, || format!("/proc/{pid}/fdinfo/{number}"))?,
        None => None,
    };
    let (name, deleted) = link.map_or((None, false), |link| {
        let (name, deleted) = proc::deleted(walk.pages.get(link));
        (Some(name), deleted)
    });
    let info_is_cut = info.is_some_and(|info| info.cut);
    let info = info.map(|info| FdInfo::parse(walk.pages.get(info))).unwrap_or_default();
    session.row(&Row {
        cut: info_is_cut,
        deleted,
        fd: number,
        fdinfo: (!info.more.is_empty()).then(|| List::lines(info.more)),
        flags: info.flags.map(Text),
        flags_names: info.flag_names(),
        ino: info.ino,
        inode: name.and_then(inode),
        mnt_id: info.mnt_id,
        pid,
        pos: info.pos,
        target: name.map(Text),
        target_b64: name.and_then(Exact::of),
        kind: name.map(kind),
    })?;
    if info_is_cut {
        session.limited(format!("only the first {FDINFO_BYTES_MAX} bytes of /proc/PID/fdinfo/N are taken"))?;
    }
    Ok(())
}

/// The piece, or an item that says why there is none. A descriptor that was closed meanwhile is `vanished`.
fn noted(
    session: &mut Session,
    read: io::Result<Piece>,
    path: impl FnOnce() -> String,
) -> Result<Option<Piece>, Stopped> {
    match read {
        Ok(piece) => Ok(Some(piece)),
        Err(error) => {
            session.unreadable(path(), &error)?;
            Ok(None)
        }
    }
}

/// What the text of a link says that it points to.
fn kind(target: &[u8]) -> &'static str {
    const BEGINNINGS: [(&[u8], &str); 5] = [
        (b"socket:", "socket"),
        (b"pipe:", "pipe"),
        (b"anon_inode:", "anon_inode"),
        (b"/memfd:", "memfd"),
        (b"/dev/", "device"),
    ];
    let known = BEGINNINGS.iter().find(|(beginning, _)| target.starts_with(beginning));
    match (known, target.first()) {
        (Some((_, kind)), _) => kind,
        (None, Some(b'/')) => "file",
        (None, _) if proc::bracketed(target).is_some() => "namespace",
        (None, _) => "other",
    }
}

/// A file may be called `/tmp/[7]`: only what is no path is named by a number.
fn inode(target: &[u8]) -> Option<u64> {
    if target.starts_with(b"/") { None } else { proc::bracketed(target) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::Arc;

    use bundle::item::Status;
    use bundle::time::Instant;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::testing;

    #[test]
    fn a_tree() {
        let tree = tempfile::tempdir().unwrap();
        let dir = tree.path().join("proc/7");
        for name in ["fd", "fdinfo"] {
            std::fs::create_dir_all(dir.join(name)).unwrap();
        }
        for (number, target) in [("10", "/memfd:x (deleted)"), ("9", "socket:[77]"), ("2", "/tmp/[7]")] {
            symlink(target, dir.join("fd").join(number)).unwrap();
        }
        std::fs::write(dir.join("fdinfo/9"), "pos:\t0\nflags:\t02\nmnt_id:\t9\nino:\t77\n").unwrap();
        std::fs::write(dir.join("fdinfo/10"), "pos:\t5\nflags:\t0100002\nlock:\t1: POSIX\n").unwrap();
        let messages = testing::collect(&OpenFiles {}, Arc::new(Host::at(tree.path(), FixedClock(Instant(0)))));
        let rows = testing::rows(&messages);
        assert_eq!(rows[0], serde_json::json!({"fd": 2, "pid": 7, "target": "/tmp/[7]", "type": "file"}));
        assert_eq!(
            rows[1],
            serde_json::json!({"fd": 9, "flags": "02", "flags_names": ["O_RDWR"], "ino": 77, "inode": 77, "mnt_id": 9,
                "pid": 7, "pos": 0, "target": "socket:[77]", "type": "socket"})
        );
        assert_eq!((&rows[2]["type"], &rows[2]["deleted"]), (&"memfd".into(), &true.into()));
        assert_eq!(rows[2]["fdinfo"], serde_json::json!(["lock:\t1: POSIX"]));
        let items = testing::items(&messages);
        assert_eq!((items[0].path.as_slice(), items[0].status), (&b"/proc/7/fdinfo/2"[..], Status::Vanished));
    }

    #[test]
    fn kinds() {
        for (target, expected) in [
            ("/dev/null", "device"),
            ("pipe:[1]", "pipe"),
            ("anon_inode:[eventpoll]", "anon_inode"),
            ("mnt:[4026531841]", "namespace"),
            ("(unknown)", "other"),
            ("", "other"),
        ] {
            assert_eq!(kind(target.as_bytes()), expected, "{target}");
        }
    }

    #[test]
    fn this_process_on_the_live_host() {
        let file = tempfile::tempfile().unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&file);
        let messages = testing::collect(&OpenFiles {}, Arc::new(Host::live()));
        let rows = testing::rows(&messages);
        let row = rows.iter().find(|row| row["pid"] == std::process::id() && row["fd"] == number).unwrap();
        assert_eq!((&row["type"], &row["deleted"]), (&"file".into(), &true.into()));
        assert!(row["flags_names"].as_array().unwrap().contains(&"O_RDWR".into()));
    }
}
