//! What the collectors that go through all processes share: the walk, and what an error of a file of procfs means.
//!
//! A file that is missing under `/proc/PID` says one of four things: the process has ended; it has no such thing by
//! nature (a thread of the kernel has no image); this kernel has no such file at all; or something is hiding it. They
//! are told apart here, so that a row never lacks a field in silence and a busy host does not fill the bundle with
//! items that say nothing.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use bundle::item::{Kind, Status};
use bundle::time::Instant;
use rustix::fs::{AtFlags, StatxFlags};
use rustix::io::Errno;

use super::Failure;
use crate::host::Host;
use crate::host::proc::{self, Hands, Pages, Piece, Process, Reached};
use crate::run::session::{Session, Stopped};

/// Goes through the processes of the session's host, by ascending number.
///
/// # Errors
/// [`Failure::Failed`] when `/proc` cannot be listed, and what `visit` answers.
pub fn every_process(
    session: &mut Session,
    mut visit: impl FnMut(&mut Session, &mut Walk, u32, &Process) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let host = session.host().clone();
    let mut processes = proc::Processes::of(&host).map_err(Failure::reading("/proc"))?;
    let pids = processes.pids().map_err(Failure::reading("/proc"))?;
    let mut walk = Walk::default();
    for pid in pids {
        session.go_on()?;
        walk.begin();
        match processes.open(pid) {
            Ok(process) => visit(session, &mut walk, pid, &process)?,
            Err(error) => session.unreadable(path(pid, ""), &error)?,
        }
        if walk.gone {
            let item = session.item(Kind::Record, path(pid, ""), "procfs", Status::Vanished);
            session.note(item.because("ended while it was read"))?;
        }
    }
    walk.finish(session)?;
    Ok(())
}

/// Ticks per second in procfs: USER_HZ, 100 wherever Linux runs today (asm-generic/param.h).
const TICK_NS: i128 = 10_000_000;

/// When the host was booted, by the wall clock as it is set now.
#[derive(Clone, Copy, Debug)]
pub struct Booted(Instant);

impl Booted {
    /// Reckoned from both clocks of the host.
    pub fn of(host: &Host) -> Self {
        Self(Instant(host.now().0 - i128::from(host.clock().boottime_ns())))
    }

    /// The moment that lies so many ticks after the boot: `starttime` of proc_pid_stat(5).
    pub fn start(self, ticks: u64) -> Instant {
        Instant(self.0.0 + i128::from(ticks) * TICK_NS)
    }
}

/// The walk's state: the buffer, and what is known of this kernel's files.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one process and of one walk, not a state")]
pub struct Walk {
    /// What was read of the process at hand.
    pub pages: Pages,
    /// True when the process at hand was found to have ended.
    pub gone: bool,
    /// True when the process at hand has no memory and no image by nature: a thread of the kernel, or a zombie.
    pub bare: bool,
    /// Files of the process at hand that a bound cut short.
    pub cut: Vec<&'static str>,
    /// True when links of the process at hand were refused, and an item says so.
    pub refused: bool,
    absent: BTreeSet<&'static CStr>,
    limited: bool,
}

/// `/proc/PID/name` as bytes, `/proc/PID` for an empty name.
pub fn path(pid: u32, name: &str) -> Vec<u8> {
    if name.is_empty() { format!("/proc/{pid}").into_bytes() } else { format!("/proc/{pid}/{name}").into_bytes() }
}

impl Walk {
    fn begin(&mut self) {
        self.pages.clear();
        self.cut.clear();
        self.gone = false;
        self.bare = false;
        self.refused = false;
    }

    /// Reads a file of the process at hand; `None` when there is nothing to read, with the reason noted.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn read(
        &mut self,
        session: &mut Session,
        (pid, dir): (u32, BorrowedFd<'_>),
        name: &'static CStr,
        hands: Hands,
        bytes_max: usize,
    ) -> Result<Option<Piece>, Stopped> {
        if self.gone || self.absent.contains(name) {
            return Ok(None);
        }
        match self.pages.read(dir, name, hands, bytes_max) {
            Ok(piece) => {
                if piece.cut {
                    self.note_cut(session, pid, name, bytes_max)?;
                }
                Ok(Some(piece))
            }
            Err(error) => {
                self.failed(session, (pid, dir), name, &error)?;
                Ok(None)
            }
        }
    }

    /// Reads a link of the process at hand, in the same way.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn link(
        &mut self,
        session: &mut Session,
        (pid, dir): (u32, BorrowedFd<'_>),
        name: &'static CStr,
    ) -> Result<Option<Piece>, Stopped> {
        if self.gone {
            return Ok(None);
        }
        match self.pages.link(dir, name) {
            Ok(piece) => Ok(Some(piece)),
            Err(error) => {
                self.failed(session, (pid, dir), name, &error)?;
                Ok(None)
            }
        }
    }

    fn note_cut(
        &mut self,
        session: &mut Session,
        pid: u32,
        name: &'static CStr,
        bytes_max: usize,
    ) -> Result<(), Stopped> {
        let name = name.to_str().unwrap_or_default();
        let rule = format!("only the first {bytes_max} bytes of /proc/PID/{name} are taken");
        self.left_out(session, pid, name, rule)
    }

    /// Says that a bound left out the rest of `name` of the process at hand.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn left_out(
        &mut self,
        session: &mut Session,
        pid: u32,
        name: &'static str,
        rule: String,
    ) -> Result<(), Stopped> {
        if !self.cut.contains(&name) {
            self.cut.push(name);
        }
        let item = session.item(Kind::Record, path(pid, name), "procfs", Status::Truncated);
        session.note(item.because(rule.as_str()))?;
        if !self.limited {
            self.limited = true;
            session.limited(rule)?;
        }
        Ok(())
    }

    /// Decides what it means that `name` of the process could not be read, and notes it.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn failed(
        &mut self,
        session: &mut Session,
        (pid, dir): (u32, BorrowedFd<'_>),
        name: &'static CStr,
        error: &io::Error,
    ) -> Result<(), Stopped> {
        let errno = Errno::from_io_error(error);
        let missing = matches!(errno, Some(Errno::NOENT | Errno::SRCH));
        if missing && !is_alive(dir) {
            self.gone = true;
        } else if missing && self.bare {
            // By nature, and the row says so: kernel_thread, or the state Z.
        } else if errno == Some(Errno::NOENT) && OPTIONAL.contains(&name)
            || errno == Some(Errno::INVAL) && name == c"attr/current"
        {
            self.absent.insert(name);
        } else {
            session.unreadable(path(pid, name.to_str().unwrap_or_default()), error)?;
        }
        Ok(())
    }

    /// True when the file was found to be none of this kernel's.
    pub fn is_absent(&self, name: &'static CStr) -> bool {
        self.absent.contains(name)
    }

    fn finish(&self, session: &mut Session) -> Result<(), Stopped> {
        for name in &self.absent {
            let path = format!("/proc/self/{}", name.to_str().unwrap_or_default());
            let item = session.item(Kind::Record, path, "procfs", Status::Skipped);
            session.note(item.because("this kernel was built without it, or no module of it answers"))?;
        }
        Ok(())
    }
}

/// Files that a kernel may be built without. `attr/current` answers EINVAL when no security module does.
const OPTIONAL: [&CStr; 10] = [
    c"attr/current",
    c"cgroup",
    c"io",
    c"limits",
    c"loginuid",
    c"oom_score_adj",
    c"sessionid",
    c"stack",
    c"task/children",
    c"wchan",
];

/// True while the process of that folder has not been reaped: its own files can still be looked up.
pub fn is_alive(dir: BorrowedFd<'_>) -> bool {
    rustix::fs::statx(dir, c"stat", AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE).is_ok()
}

/// Notes a process that somebody put something over, or whose folder is empty. Returns false when there is nothing of
/// the process to be read.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn note_hidden(session: &mut Session, walk: &mut Walk, pid: u32, process: &Process) -> Result<bool, Stopped> {
    let (reason, goes_on) = match process.reached {
        Reached::BehindMount if is_alive(process.dir.as_fd()) => {
            ("something is mounted over it: the process was read through a procfs mount of our own", true)
        }
        Reached::BehindMount => ("something is mounted over it, and the process has ended", false),
        Reached::MountOnly => {
            ("something is mounted over it, and without CAP_SYS_ADMIN it cannot be read from behind", false)
        }
        Reached::Openly if is_alive(process.dir.as_fd()) => return Ok(true),
        Reached::Openly => match is_empty(process.dir.as_fd()) {
            Ok(true) => ("its folder is there and empty: something hides the process", false),
            Ok(false) => ("its folder has no stat: something hides the process", false),
            Err(_) => {
                walk.gone = true;
                return Ok(false);
            }
        },
    };
    let item = session.item(Kind::Record, path(pid, ""), "procfs", Status::Error);
    session.note(item.because(reason))?;
    Ok(goes_on)
}

/// A folder of a process that has ended cannot be listed any more; one that something lies over can.
fn is_empty(dir: BorrowedFd<'_>) -> io::Result<bool> {
    let listing = proc::open_dir(dir, c".")?;
    let mut numbers = Vec::new();
    Ok(proc::numbers(listing.as_fd(), &mut numbers)? == 0 && numbers.is_empty())
}
