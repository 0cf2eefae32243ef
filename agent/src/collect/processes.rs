//! Every process: what it is, what it runs, as whom, since when, in which namespaces, with which threads.
//!
//! One row per process, ascending by number, and one timeline line for its start. Everything comes from the small
//! files of `/proc/PID` (proc(5)). Mappings and open files are the rows of `memory_maps` and `open_files`.
//!
//! Known limits: `smaps_rollup` is not read, because it walks the page tables of the process under its lock. The name,
//! arguments and environment are the process's own claims; `exe` and `stat` are the kernel's. `start` is reckoned from
//! ticks of 1/100 s since boot and the wall clock as it is set now.

mod row;

use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd};

use bundle::item::{Kind, Status};
use bundle::time::Instant;
use bundle::timeline::Event;
use rustix::fs::Statx;
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::Deserialize;
use wire::Tier;

use self::row::{NAMESPACES, Namespaces, Row};
use super::per_process::{Booted, Walk, every_process, note_hidden, path};
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::Host;
use crate::host::proc::remote::RemoteMounts;
use crate::host::proc::stat::Stat;
use crate::host::proc::{self, Hands, Piece, Process, Reached};
use crate::run::session::{Session, Stopped};

/// Bytes of arguments and of environment that are taken of one process; the kernel allows both together 6 MiB.
const ARGUMENT_BYTES_MAX: usize = 256 << 10;
/// Bytes of any other file: many times what the kernel writes.
const FILE_BYTES_MAX: usize = 64 << 10;
/// Bytes of the list of children of one thread: some 500,000 of them.
const CHILDREN_BYTES_MAX: usize = 4 << 20;
/// Threads of one process that are taken.
const THREADS_MAX: usize = 32 << 10;
/// Characters of the arguments that a timeline line shows.
const MESSAGE_CHARACTERS_MAX: usize = 200;
/// Timeline lines are held back and handed over together, because each one ends a batch of rows.
const EVENTS_HELD_MAX: usize = 4096;

/// Takes no arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Processes {}

impl Collect for Processes {
    const NAME: &'static str = "processes";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str =
        "Every process: identity, arguments, environment, image, privileges, namespaces, threads";
    const NEEDS: &'static [&'static str] = &["CAP_SYS_PTRACE", "CAP_SYS_ADMIN"];

    fn rows() -> Vec<RowType> {
        vec![RowType::of::<Row<'_>>("process", "proc_pid(5), namespaces(7), capabilities(7)")]
    }

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let mut reader = Reader::begin(session.host());
        every_process(session, |session, walk, pid, process| reader.process(session, walk, pid, process))?;
        reader.hand_over_events(session)?;
        Ok(())
    }

    fn plan(&self, _host: &Host) -> Plan {
        let files = "stat,status,statm,cmdline,environ,cgroup,limits,io,loginuid,sessionid,oom_score_adj,wchan,stack";
        Plan {
            reads: vec![
                format!("/proc/*/{{{files}}}"),
                "/proc/*/{exe,cwd,root,ns/*,attr/current}".into(),
                "/proc/*/task/*/{stat,children}".into(),
            ],
            ..Plan::default()
        }
    }
}

/// A thread, as pieces of the walk's buffer.
struct ThreadPieces {
    tid: u32,
    stat: Option<Piece>,
    children: Option<Piece>,
}

/// Everything read of one process, as pieces of the walk's buffer.
struct Pieces {
    attr_current: Option<Piece>,
    cgroup: Option<Piece>,
    cmdline: Option<Piece>,
    collected: Instant,
    cwd: Option<Piece>,
    /// And how many of its values are withheld.
    environ: (Option<Piece>, u64),
    exe: Option<Piece>,
    exe_remote: bool,
    exe_stat: Option<Box<Statx>>,
    io: Option<Piece>,
    limits: Option<Piece>,
    loginuid: Option<Piece>,
    ns: Namespaces,
    oom_score_adj: Option<Piece>,
    root: Option<Piece>,
    sessionid: Option<Piece>,
    stack: Option<Piece>,
    start: Option<Instant>,
    statm: Option<Piece>,
    status: Option<Piece>,
    threads: Vec<ThreadPieces>,
    wchan: Option<Piece>,
}

/// The state of one collection.
struct Reader {
    booted: Booted,
    remote: RemoteMounts,
    tids: Vec<u32>,
    events: Vec<Event>,
}

impl Reader {
    fn begin(host: &Host) -> Self {
        Self { booted: Booted::of(host), remote: RemoteMounts::default(), tids: Vec::new(), events: Vec::new() }
    }

    fn process(&mut self, session: &mut Session, walk: &mut Walk, pid: u32, process: &Process) -> Result<(), Failure> {
        let collected = session.now();
        let dir = process.dir.as_fd();
        if process.reached != Reached::Openly && !note_hidden(session, walk, pid, process)? {
            return Ok(());
        }
        let line = match walk.pages.read(dir, c"stat", Hands::AtOnce, FILE_BYTES_MAX) {
            Ok(line) => line,
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::SRCH)) => {
                note_hidden(session, walk, pid, process)?;
                return Ok(());
            }
            Err(error) => return Ok(session.unreadable(path(pid, "stat"), &error)?),
        };
        let Some(stat) = Stat::parse(walk.pages.get(line)) else {
            let item = session.item(Kind::Record, path(pid, "stat"), "procfs", Status::Error);
            return Ok(session.note(item.because("it is not what the kernel writes there"))?);
        };
        if stat.pid != pid {
            let item = session.item(Kind::Record, path(pid, ""), "procfs", Status::Error);
            let reason = format!("it shows process {}: something hides the one of this number", stat.pid);
            session.note(item.because(reason))?;
        }
        walk.bare = stat.is_kernel_thread() || stat.is_dead();
        let many_threads = stat.threads() != Some(1);
        let began = stat.starttime_ticks().map(|ticks| self.booted.start(ticks));
        let mut pieces = read_files(session, walk, pid, process)?;
        pieces.collected = collected;
        pieces.start = began;
        self.image(session, walk, (pid, process), &mut pieces)?;
        self.threads(session, walk, (pid, process), many_threads, line, &mut pieces)?;
        let Some(stat) = Stat::parse(walk.pages.get(line)) else {
            return Ok(());
        };
        let unhidden = process.reached == Reached::BehindMount;
        let row = Row::of(pid, &stat, &pieces, &walk.pages).read(&walk.cut, unhidden, walk.gone);
        session.row(&row)?;
        if let Some(at) = began {
            let arguments = pieces.cmdline.map_or(&b""[..], |piece| walk.pages.get(piece));
            self.events.push(started(at, pid, &stat, arguments));
        }
        if self.events.len() >= EVENTS_HELD_MAX {
            self.hand_over_events(session)?;
        }
        Ok(())
    }

    /// What stands behind `exe`. The kernel keeps the image's inode: nothing is read from a disk for that.
    fn image(
        &mut self,
        session: &mut Session,
        walk: &mut Walk,
        (pid, process): (u32, &Process),
        pieces: &mut Pieces,
    ) -> Result<(), Stopped> {
        let Some(exe) = pieces.exe else {
            return Ok(());
        };
        let dir = process.dir.as_fd();
        let target = walk.pages.get(exe).to_vec();
        let mnt = pieces.ns.mnt().unwrap_or(0);
        if self.remote.holds(mnt, dir, &mut walk.pages, &target) {
            pieces.exe_remote = true;
            return Ok(());
        }
        // In a fixture the link leads out of the tree, to a file of the machine that runs the test.
        if !session.host().is_live() {
            return Ok(());
        }
        match proc::statx_behind(dir, c"exe") {
            Ok(found) => pieces.exe_stat = Some(Box::new(found)),
            Err(error) => walk.failed(session, (pid, dir), c"exe", &error)?,
        }
        Ok(())
    }

    /// Its threads, with the processes that each of them started.
    fn threads(
        &mut self,
        session: &mut Session,
        walk: &mut Walk,
        (pid, process): (u32, &Process),
        many: bool,
        stat: Piece,
        pieces: &mut Pieces,
    ) -> Result<(), Stopped> {
        let dir = process.dir.as_fd();
        if many && !walk.gone {
            let listed = proc::open_dir(dir, c"task").and_then(|task| proc::numbers(task.as_fd(), &mut self.tids));
            if let Err(error) = listed {
                walk.failed(session, (pid, dir), c"task", &error)?;
                return Ok(());
            }
        } else {
            self.tids.clear();
            self.tids.push(pid);
        }
        if self.tids.len() > THREADS_MAX {
            self.tids.truncate(THREADS_MAX);
            let rule = format!("only the first {THREADS_MAX} threads of a process are taken");
            walk.left_out(session, pid, "task", rule)?;
        }
        for &tid in &self.tids {
            session.go_on()?;
            // The first thread's line is the process's own; it needs no second reading. A thread that ended since the
            // listing stays in the row with its number alone.
            let stat = if tid == pid {
                Some(stat)
            } else {
                let read = walk.pages.read_under(dir, ("task/", tid, "/stat"), Hands::AtOnce, FILE_BYTES_MAX);
                read.ok()
            };
            let children = if stat.is_none() || walk.gone || walk.is_absent(c"task/children") {
                None
            } else {
                let file = ("task/", tid, "/children");
                match walk.pages.read_under(dir, file, Hands::InPieces, CHILDREN_BYTES_MAX) {
                    Ok(piece) => {
                        if piece.cut {
                            let rule =
                                format!("only the first {CHILDREN_BYTES_MAX} bytes of task/TID/children are taken");
                            walk.left_out(session, pid, "task/children", rule)?;
                        }
                        Some(piece)
                    }
                    Err(error) => {
                        if tid == pid {
                            walk.failed(session, (pid, dir), c"task/children", &error)?;
                        }
                        None
                    }
                }
            };
            pieces.threads.push(ThreadPieces { tid, stat, children });
        }
        Ok(())
    }
}

/// Reads the small files and the links. What moves on fastest comes first.
fn read_files(session: &mut Session, walk: &mut Walk, pid: u32, process: &Process) -> Result<Pieces, Stopped> {
    let dir = process.dir.as_fd();
    let at = (pid, dir);
    let has_memory = !walk.bare;
    macro_rules! file {
        ($name:literal) => {
            walk.read(session, at, $name, Hands::AtOnce, FILE_BYTES_MAX)?
        };
    }
    Ok(Pieces {
        wchan: file!(c"wchan"),
        stack: file!(c"stack"),
        status: file!(c"status"),
        statm: file!(c"statm"),
        io: file!(c"io"),
        exe: link_if(has_memory, session, walk, at, c"exe")?,
        // Since 4.17 the kernel reads anonymous memory only for these two, so that memory which a FUSE daemon backs
        // cannot make the reader wait (CVE-2018-1120).
        cmdline: arguments_if(has_memory, session, walk, at, c"cmdline")?,
        environ: environ(has_memory, session, walk, at)?,
        cwd: walk.link(session, at, c"cwd")?,
        root: walk.link(session, at, c"root")?,
        ns: namespaces(session, walk, at)?,
        cgroup: file!(c"cgroup"),
        loginuid: file!(c"loginuid"),
        sessionid: file!(c"sessionid"),
        oom_score_adj: file!(c"oom_score_adj"),
        attr_current: file!(c"attr/current"),
        limits: file!(c"limits"),
        collected: session.now(),
        exe_remote: false,
        exe_stat: None,
        start: None,
        threads: Vec::new(),
    })
}

fn link_if(
    wanted: bool,
    session: &mut Session,
    walk: &mut Walk,
    at: (u32, BorrowedFd<'_>),
    name: &'static CStr,
) -> Result<Option<Piece>, Stopped> {
    if wanted { walk.link(session, at, name) } else { Ok(None) }
}

/// The environment, and how many of its values are withheld.
fn environ(
    wanted: bool,
    session: &mut Session,
    walk: &mut Walk,
    at: (u32, BorrowedFd<'_>),
) -> Result<(Option<Piece>, u64), Stopped> {
    let piece = arguments_if(wanted, session, walk, at, c"environ")?;
    Ok(match piece.filter(|_| session.withholds_values()) {
        Some(piece) => {
            let (piece, withheld) = walk.pages.without_values(piece, |name| session.shows_variable(name));
            (Some(piece), withheld)
        }
        None => (piece, 0),
    })
}

fn arguments_if(
    wanted: bool,
    session: &mut Session,
    walk: &mut Walk,
    at: (u32, BorrowedFd<'_>),
    name: &'static CStr,
) -> Result<Option<Piece>, Stopped> {
    if wanted { walk.read(session, at, name, Hands::InPieces, ARGUMENT_BYTES_MAX) } else { Ok(None) }
}

/// The inode number of each namespace. Older kernels lack some, and a process that ends has left them.
fn namespaces(session: &mut Session, walk: &mut Walk, at: (u32, BorrowedFd<'_>)) -> Result<Namespaces, Stopped> {
    let mut ns = Namespaces::default();
    for (inode, (_, name)) in ns.0.iter_mut().zip(NAMESPACES) {
        match walk.pages.link(at.1, name) {
            Ok(link) => *inode = proc::bracketed(walk.pages.get(link)),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => {}
            Err(error) => {
                // What is refused for one is refused for all: one item says it.
                walk.failed(session, at, c"ns", &error)?;
                break;
            }
        }
    }
    Ok(ns)
}

/// The timeline line of a start. Arguments are the process's own words: control characters become blanks.
fn started(at: Instant, pid: u32, stat: &Stat<'_>, arguments: &[u8]) -> Event {
    let plain = |bytes: &[u8]| -> String {
        let text = String::from_utf8_lossy(bytes.get(..4 * MESSAGE_CHARACTERS_MAX).unwrap_or(bytes));
        let shown = text.trim_end_matches('\0').chars().take(MESSAGE_CHARACTERS_MAX);
        shown.map(|c| if c.is_control() { ' ' } else { c }).collect()
    };
    let arguments = plain(arguments);
    let parent = stat.ppid().unwrap_or(0);
    let name = plain(stat.comm);
    let message = if arguments.is_empty() {
        format!("process {pid} ({name}) of parent {parent} started")
    } else {
        format!("process {pid} ({name}) of parent {parent} started: {arguments}")
    };
    Event { at, desc: "Start Time", message, data_type: "linux:process:start" }
}

impl Reader {
    fn hand_over_events(&mut self, session: &mut Session) -> Result<(), Stopped> {
        self.events.drain(..).try_for_each(|event| session.event(event))
    }
}

#[cfg(test)]
mod tests;
