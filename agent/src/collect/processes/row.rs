//! The row of one process.

use std::collections::BTreeMap;
use std::ffi::CStr;

use bundle::time::Instant;
use serde::Serialize;
use serde::ser::{SerializeSeq as _, Serializer};

use super::{Pieces, ThreadPieces};
use crate::host::proc::stat::Stat;
use crate::host::proc::status::{Numbers, Status};
use crate::host::proc::usage::{Counters, Limits, Memory};
use crate::host::proc::{self, Pages, Piece};
use crate::host::text::{Device, Exact, List, Number, Text, decimal};

/// The namespaces that a process is in (namespaces(7)), sorted.
pub const NAMESPACES: [(&str, &CStr); 10] = [
    ("cgroup", c"ns/cgroup"),
    ("ipc", c"ns/ipc"),
    ("mnt", c"ns/mnt"),
    ("net", c"ns/net"),
    ("pid", c"ns/pid"),
    ("pid_for_children", c"ns/pid_for_children"),
    ("time", c"ns/time"),
    ("time_for_children", c"ns/time_for_children"),
    ("user", c"ns/user"),
    ("uts", c"ns/uts"),
];

/// One process. A field is absent when it could not be read (an item says why) or when there is nothing of it.
#[derive(schemars::JsonSchema, Serialize)]
pub struct Row<'a> {
    /// Label of the security module: the AppArmor profile or SELinux context (attr/current).
    #[serde(skip_serializing_if = "Option::is_none")]
    attr_current: Option<Text<'a>>,
    /// Its control groups, `hierarchy:controllers:path` each (cgroups(7)).
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<List<'a>>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup_b64: Option<Exact<'a>>,
    /// Arguments, as the process shows them now: it can write there what it likes.
    #[serde(skip_serializing_if = "Option::is_none")]
    cmdline: Option<List<'a>>,
    /// The exact bytes, zeros included, when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    cmdline_b64: Option<Exact<'a>>,
    /// When reading it began.
    collected: Instant,
    /// Name: of the file that was executed, or what the process set since (prctl(2)).
    comm: Text<'a>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    comm_b64: Option<Exact<'a>>,
    /// Names of files of which a bound left the rest out.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    cut: &'a [&'static str],
    /// Working folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<Text<'a>>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd_b64: Option<Exact<'a>>,
    /// Environment as it was at execve(2), changed in place at most; one `NAME=value` each, and the name alone where the
    /// value is withheld.
    #[serde(skip_serializing_if = "Option::is_none")]
    environ: Option<List<'a>>,
    /// The exact bytes, zeros included, when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    environ_b64: Option<Exact<'a>>,
    /// Variables whose values are withheld, because automation may not collect them in the clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    environ_withheld: Option<u64>,
    /// The running image.
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<Image<'a>>,
    /// Bytes and calls of reading and writing (proc_pid_io(5)).
    #[serde(skip_serializing_if = "Option::is_none")]
    io: Option<Counters<'a>>,
    /// True for a thread of the kernel (PF_KTHREAD): it has no arguments, environment or image.
    kernel_thread: bool,
    /// Limits of resources by the kernel's names: `[soft, hard, unit]` (proc_pid_limits(5)).
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Limits<'a>>,
    /// The user who logged in (audit); 4294967295 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    loginuid: Option<u64>,
    /// Inode numbers of its namespaces: equal numbers are the same namespace.
    ns: Namespaces,
    /// -1000 never to 1000 first, when memory runs out.
    #[serde(skip_serializing_if = "Option::is_none")]
    oom_score_adj: Option<Number>,
    /// Process number.
    pid: u32,
    /// Parent's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    ppid: Option<u64>,
    /// Root folder, as seen from ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<Text<'a>>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    root_b64: Option<Exact<'a>>,
    /// Audit session; 4294967295 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    sessionid: Option<u64>,
    /// Where it stands in the kernel, innermost first; empty while it runs in user space.
    #[serde(skip_serializing_if = "Option::is_none")]
    stack: Option<List<'a>>,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Instant>,
    /// The numbers of proc_pid_stat(5).
    stat: &'a Stat<'a>,
    /// One letter: R, S, D, Z, T, t, X, I.
    state: char,
    /// Memory in pages (proc_pid_statm(5)).
    #[serde(skip_serializing_if = "Option::is_none")]
    statm: Option<Memory>,
    /// The lines of proc_pid_status(5).
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    /// Its threads, ascending; the first is the process itself.
    threads: Threads<'a>,
    /// True when something is mounted over its folder and it was read from behind.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unhidden: bool,
    /// True when it ended while it was read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    vanished: bool,
    /// Function of the kernel that it waits in; `0` for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    wchan: Option<Text<'a>>,
}

/// What `/proc/PID/exe` points to.
#[derive(schemars::JsonSchema, Serialize)]
pub struct Image<'a> {
    /// True when the kernel says that the file has no name any more.
    deleted: bool,
    /// Device of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<Device>,
    /// Inode number.
    #[serde(skip_serializing_if = "Option::is_none")]
    ino: Option<u64>,
    /// Hard links; 0 for a file that was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    nlink: Option<u32>,
    /// Path, without the kernel's ` (deleted)`.
    path: Text<'a>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<Exact<'a>>,
    /// True when the file lies on a network or FUSE mount: it was then not looked at.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    remote: bool,
    /// Size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

/// Inode numbers of namespaces, in the order of [`NAMESPACES`].
#[derive(Clone, Copy, Default)]
pub struct Namespaces(pub [Option<u64>; NAMESPACES.len()]);

impl Namespaces {
    /// The mount namespace.
    pub fn mnt(&self) -> Option<u64> {
        self.0[2]
    }
}

impl schemars::JsonSchema for Namespaces {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Namespaces".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        BTreeMap::<String, u64>::json_schema(generator)
    }
}

impl schemars::JsonSchema for Threads<'_> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Threads".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Vec::<Thread<'_>>::json_schema(generator)
    }
}

impl Serialize for Namespaces {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let named = NAMESPACES.iter().zip(self.0);
        serializer.collect_map(named.filter_map(|((name, _), inode)| inode.map(|inode| (name, inode))))
    }
}

/// The threads of a process, serialised as a list of [`Thread`].
#[derive(Clone, Copy)]
struct Threads<'a> {
    threads: &'a [ThreadPieces],
    pages: &'a Pages,
}

/// One thread.
#[derive(schemars::JsonSchema, Serialize)]
struct Thread<'a> {
    /// Processes that this thread started and that still are its children (task/TID/children).
    #[serde(skip_serializing_if = "Option::is_none")]
    children: Option<Numbers<'a>>,
    /// Name of the thread; absent, like its state, for one that ended while it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    comm: Option<Text<'a>>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    comm_b64: Option<Exact<'a>>,
    /// One letter, as for a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<char>,
    /// Thread number.
    tid: u32,
}

impl Serialize for Threads<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.threads.len()))?;
        for thread in self.threads {
            let stat = thread.stat.and_then(|piece| Stat::name_and_state(self.pages.get(piece)));
            list.serialize_element(&Thread {
                children: thread.children.map(|piece| Numbers::of(self.pages.get(piece))),
                comm: stat.map(|(comm, _)| Text(comm)),
                comm_b64: stat.and_then(|(comm, _)| Exact::of(comm)),
                state: stat.map(|(_, state)| char::from(state)),
                tid: thread.tid,
            })?;
        }
        list.end()
    }
}

impl<'a> Image<'a> {
    fn of(pieces: &Pieces, pages: &'a Pages) -> Option<Self> {
        let (path, deleted) = proc::deleted(pages.get(pieces.exe?));
        let stat = pieces.exe_stat.as_deref();
        Some(Self {
            deleted,
            dev: stat.map(|stat| Device { major: stat.stx_dev_major, minor: stat.stx_dev_minor }),
            ino: stat.map(|stat| stat.stx_ino),
            nlink: stat.map(|stat| stat.stx_nlink),
            path: Text(path),
            path_b64: Exact::of(path),
            remote: pieces.exe_remote,
            size: stat.map(|stat| stat.stx_size),
        })
    }
}

impl<'a> Row<'a> {
    /// The row of process `pid`, whose stat is `stat`.
    pub fn of(pid: u32, stat: &'a Stat<'a>, pieces: &'a Pieces, pages: &'a Pages) -> Self {
        let get = |piece: Option<Piece>| piece.map(|piece| pages.get(piece));
        let exact = |piece: Option<Piece>| get(piece).and_then(Exact::of);
        let trimmed = |piece: Option<Piece>| get(piece).map(<[u8]>::trim_ascii_end);
        let number = |piece: Option<Piece>| trimmed(piece).and_then(decimal);
        Self {
            attr_current: get(pieces.attr_current).map(|label| Text(end_trimmed(label))),
            cgroup: get(pieces.cgroup).map(List::lines),
            cgroup_b64: exact(pieces.cgroup),
            cmdline: get(pieces.cmdline).map(List::zero_ended),
            cmdline_b64: exact(pieces.cmdline),
            collected: pieces.collected,
            comm: Text(stat.comm),
            comm_b64: Exact::of(stat.comm),
            cut: &[],
            cwd: get(pieces.cwd).map(Text),
            cwd_b64: exact(pieces.cwd),
            environ: get(pieces.environ.0).map(List::zero_ended),
            environ_b64: exact(pieces.environ.0),
            environ_withheld: Some(pieces.environ.1).filter(|withheld| *withheld > 0),
            exe: Image::of(pieces, pages),
            io: get(pieces.io).map(Counters::of),
            kernel_thread: stat.is_kernel_thread(),
            limits: get(pieces.limits).map(Limits::of),
            loginuid: number(pieces.loginuid),
            ns: pieces.ns,
            oom_score_adj: trimmed(pieces.oom_score_adj).and_then(Number::parse),
            pid,
            ppid: stat.ppid(),
            root: get(pieces.root).map(Text),
            root_b64: exact(pieces.root),
            sessionid: number(pieces.sessionid),
            stack: get(pieces.stack).map(List::lines),
            start: pieces.start,
            stat,
            state: char::from(stat.state),
            statm: get(pieces.statm).and_then(Memory::parse),
            status: get(pieces.status).map(Status::parse),
            threads: Threads { threads: &pieces.threads, pages },
            unhidden: false,
            vanished: false,
            wchan: trimmed(pieces.wchan).map(Text),
        }
    }

    /// The same with what is known of the reading: bounds that were met, how it was reached, whether it ended.
    #[must_use]
    pub fn read(self, cut: &'a [&'static str], unhidden: bool, vanished: bool) -> Self {
        Self { cut, unhidden, vanished, ..self }
    }
}

/// A label ends with a zero byte or a newline, as the security module likes.
fn end_trimmed(mut label: &[u8]) -> &[u8] {
    while let Some(shorter) = label.strip_suffix(b"\n").or_else(|| label.strip_suffix(b"\0")) {
        label = shorter;
    }
    label
}
