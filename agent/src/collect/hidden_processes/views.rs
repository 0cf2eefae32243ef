//! The ways in which the kernel is asked for a number, and the sweep over many of them.

use std::collections::BTreeSet;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant as Monotonic;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, getpriority_process, pidfd_open, test_kill_process};

use crate::collect::per_process::is_alive;
use crate::host::proc::{self, Processes, Reached};
use crate::host::sys::tasks;

/// Numbers that a thread of the sweep takes at a time.
const BLOCK: u32 = 4096;
/// Threads of the sweep.
const SWEEPERS_MAX: usize = 4;
/// The system calls, in the order of [`Calls`].
const CALLS: [&str; 7] =
    ["kill", "getpgid", "getsid", "getpriority", "sched_getscheduler", "sched_getparam", "pidfd_open"];

/// What each system call said: yes, no, or that it could not be asked.
pub type Calls = [Option<bool>; CALLS.len()];

/// What all views say of one number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The system calls.
    pub calls: Calls,
    /// In some cgroup.procs; `None` when no control group can be read.
    pub cgroups: Option<bool>,
    /// In the listing of a fresh procfs mount.
    pub fresh_listed: Option<bool>,
    /// Its folder in a fresh procfs mount is that of a process.
    pub fresh_opened: Option<bool>,
    /// True when something is mounted over its folder.
    pub is_covered: bool,
    /// In the listing of `/proc`.
    pub listed: bool,
    /// Its folder in `/proc` is that of a process.
    pub opened: bool,
}

impl View {
    fn all(&self) -> impl Iterator<Item = (&'static str, Option<bool>)> {
        let folders = [
            ("proc_list", Some(self.listed)),
            ("proc_open", Some(self.opened)),
            ("fresh_proc_list", self.fresh_listed),
            ("fresh_proc_open", self.fresh_opened),
        ];
        let calls = CALLS.into_iter().zip(self.calls);
        folders.into_iter().chain(calls).chain([("cgroup_procs", self.cgroups)])
    }

    /// The views that gave this answer.
    pub fn named(&self, answer: Option<bool>) -> Vec<&'static str> {
        self.all().filter(|(_, said)| *said == answer).map(|(name, _)| name).collect()
    }

    /// True unless all views that were asked say the same. No control group has a zombie, so that its absence there
    /// says nothing.
    pub fn disagrees(&self) -> bool {
        let said = |answer| self.all().any(|(name, said)| said == Some(answer) && (answer || name != "cgroup_procs"));
        said(true) && said(false)
    }
}

/// `/proc`, a fresh procfs mount, and their latest listings.
pub struct Asked {
    processes: Processes,
    fresh_error: Option<io::Error>,
    listed: Vec<u32>,
    fresh_listed: Vec<u32>,
}

impl Asked {
    /// Makes the mount, where that can be done.
    pub fn of(mut processes: Processes) -> Self {
        let fresh_error = processes.fresh().err();
        Self { processes, fresh_error, listed: Vec::new(), fresh_listed: Vec::new() }
    }

    /// Why there is no fresh mount.
    pub fn fresh_error(&self) -> Option<&io::Error> {
        self.fresh_error.as_ref()
    }

    /// Lists both anew.
    ///
    /// # Errors
    /// As getdents64(2), for `/proc` itself.
    pub fn list(&mut self) -> io::Result<()> {
        self.listed = self.processes.pids()?;
        if self.fresh_error.is_none() {
            let listed = self.processes.fresh().and_then(|fresh| proc::open_dir(fresh, c"."));
            let listed = listed.and_then(|folder| proc::numbers(folder.as_fd(), &mut self.fresh_listed).map(|_| ()));
            self.fresh_error = listed.err();
        }
        Ok(())
    }

    /// What `/proc` listed last, ascending.
    pub fn listed(&self) -> &Vec<u32> {
        &self.listed
    }

    /// What the fresh mount listed last, ascending.
    pub fn fresh_listed(&self) -> impl Iterator<Item = u32> {
        self.fresh_listed.iter().copied()
    }

    /// The threads of these processes, themselves left out.
    pub fn threads(&self, pids: &[u32]) -> BTreeSet<u32> {
        let mut threads = BTreeSet::new();
        let mut tids = Vec::new();
        for &pid in pids {
            let Ok(folder) = proc::open_path(self.processes.dir(), pid) else { continue };
            if proc::has_one_thread(folder.as_fd()) {
                continue;
            }
            let listed = proc::open_dir(folder.as_fd(), c"task");
            if listed.and_then(|task| proc::numbers(task.as_fd(), &mut tids)).is_ok() {
                threads.extend(tids.iter().filter(|tid| **tid != pid));
            }
        }
        threads
    }

    /// Asks all views for a number; the listings are the latest.
    pub fn view(&mut self, number: u32, cgroups: Option<bool>) -> View {
        let calls = calls(number);
        let has_fresh = self.fresh_error.is_none();
        let direct = proc::open_path(self.processes.dir(), number);
        let reached = self.processes.open(number);
        let is_covered = reached.as_ref().is_ok_and(|process| process.reached != Reached::Openly);
        let opened = !is_covered && direct.is_ok_and(|folder| is_alive(folder.as_fd()));
        let fresh = has_fresh.then(|| self.processes.fresh().and_then(|fresh| proc::open_path(fresh, number)));
        View {
            calls,
            cgroups,
            fresh_listed: has_fresh.then(|| self.fresh_listed.binary_search(&number).is_ok()),
            fresh_opened: fresh.map(|folder| folder.is_ok_and(|folder| is_alive(folder.as_fd()))),
            is_covered,
            listed: self.listed.binary_search(&number).is_ok(),
            opened,
        }
    }

    /// The folder of a number, through the fresh mount where there is one.
    pub fn folder(&mut self, number: u32) -> Option<OwnedFd> {
        let fresh = self.processes.fresh().and_then(|fresh: BorrowedFd<'_>| proc::open_path(fresh, number));
        fresh.or_else(|_| proc::open_path(self.processes.dir(), number)).ok()
    }
}

fn pid(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
}

/// Asks the system calls for a number.
pub fn calls(number: u32) -> Calls {
    let Some(pid) = pid(number) else { return Calls::default() };
    let raw = pid.as_raw_nonzero().get();
    [
        answer(&test_kill_process(pid)),
        answer(&in_errno(tasks::process_group_of(raw))),
        answer(&in_errno(tasks::session_of(raw))),
        answer(&getpriority_process(Some(pid))),
        answer(&in_errno(tasks::scheduler_of(raw))),
        answer(&in_errno(tasks::scheduler_priority_of(raw))),
        pidfd_answer(pid),
    ]
}

/// What an outcome says: a refusal is an answer too, and only what is not there says no.
fn answer<T>(outcome: &rustix::io::Result<T>) -> Option<bool> {
    match outcome {
        Ok(_) | Err(Errno::PERM | Errno::ACCESS) => Some(true),
        Err(Errno::SRCH) => Some(false),
        Err(_) => None,
    }
}

fn in_errno<T>(outcome: io::Result<T>) -> rustix::io::Result<T> {
    outcome.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// pidfd_open(2) knows the number of a thread, but opens only a process (EINVAL, ENOENT since 6.15).
fn pidfd_answer(pid: Pid) -> Option<bool> {
    match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::INVAL | Errno::NOENT) => Some(true),
        outcome => answer(&outcome),
    }
}

/// True when any of the four calls that look numbers up in different ways knows it.
pub fn answers_any(number: u32) -> bool {
    let Some(pid) = pid(number) else { return false };
    answers_getpgid(number)
        || answer(&test_kill_process(pid)) == Some(true)
        || answer(&in_errno(tasks::scheduler_of(pid.as_raw_nonzero().get()))) == Some(true)
        || pidfd_answer(pid) == Some(true)
}

/// True when getpgid(2) knows it: the cheapest of them.
pub fn answers_getpgid(number: u32) -> bool {
    i32::try_from(number).is_ok_and(|number| answer(&in_errno(tasks::process_group_of(number))) == Some(true))
}

/// Asks for all numbers of the range, on a few threads, until the deadline. Returns those that answered and the last
/// number that was asked for.
pub fn sweep(
    range: RangeInclusive<u32>,
    answers: impl Fn(u32) -> bool + Sync,
    deadline: Option<Monotonic>,
) -> (Vec<u32>, u32) {
    let (first, last) = range.into_inner();
    let next = AtomicU32::new(first);
    let sweeper = || {
        let mut found = Vec::new();
        while deadline.is_none_or(|deadline| Monotonic::now() < deadline) {
            let from = next.fetch_add(BLOCK, Ordering::Relaxed);
            if from > last {
                break;
            }
            found.extend((from..=last.min(from + (BLOCK - 1))).filter(|number| answers(*number)));
        }
        found
    };
    let sweepers = std::thread::available_parallelism().map_or(1, usize::from).min(SWEEPERS_MAX);
    let found = std::thread::scope(|scope| {
        let others: Vec<_> = (1..sweepers)
            .filter_map(|_| std::thread::Builder::new().name("sweep".into()).spawn_scoped(scope, sweeper).ok())
            .collect();
        let mut found = sweeper();
        for other in others {
            found.extend(other.join().unwrap_or_default());
        }
        found
    });
    let reached = next.load(Ordering::Relaxed).saturating_sub(1).clamp(first.saturating_sub(1), last);
    (found, reached)
}
