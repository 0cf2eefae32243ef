//! Processes that some of the kernel's answers show and others do not.
//!
//! The kernel is asked for processes in many ways that go through different code: the listing of `/proc`, the folder of
//! each number, the same through a procfs mount that was made just now, system calls that take a number (kill(2) with
//! signal 0, getpgid(2), getsid(2), getpriority(2), sched_getscheduler(2), sched_getparam(2), pidfd_open(2)), and
//! `cgroup.procs` of all control groups. What hides a process seldom bends all of them. Every number on which they
//! disagree is a row with what each of them said; a mount on or below `/proc/PID` is a row as well. The last row tells
//! which numbers were asked for.
//!
//! A process that starts or ends meanwhile is no disagreement: numbers that stand out are asked for three times more,
//! before and after a fresh listing, and only what stays the same is a row. A number that answers and is not listed may
//! be a thread: the folders `task` decide, then `Tgid` of its status. A zombie is in no control group; that alone is
//! no disagreement.
//!
//! Numbers near those in use are asked for by four system calls; those far above by getpgid(2) alone, as long as the
//! time for it lasts (0.2 µs each, pid_max may be 4,194,304). The last row says how far that went. Nothing is written,
//! no process is signalled (signal 0 only checks), and no control group is mounted for it.
//!
//! Known limits: what answers wrongly everywhere (a hooked lookup of numbers) is not seen; the image of the memory is
//! then. An agent in a PID namespace sees that namespace only. An audit rule on kill(2) will log the calls.

mod cgroups;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant as Monotonic};

use bundle::item::{Kind, Status as ItemStatus, shown};
use bundle::time::Instant;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use self::cgroups::Groups;
use self::views::{Asked, View, sweep};
use super::per_process::Booted;
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::mounts::{self, Mount, MountTable};
use crate::host::proc::stat::Stat;
use crate::host::proc::status::Status;
use crate::host::proc::{self, Hands, Pages, Processes};
use crate::host::text::{Number, decimal};
use crate::host::{Host, capabilities};
use crate::run::session::Session;

/// The kernel's own bound of pid_max on 64 bits.
const PID_MAX: u32 = 1 << 22;
/// So far above the highest number in use all system calls are asked; above that getpgid(2) alone.
const NEAR: u32 = 32 << 10;
/// The near numbers take 20 ms; a machine that is emulated needs a hundred times that.
const NEAR_TIME_MAX: Duration = Duration::from_secs(1);
/// Rounds in which a disagreement must stay the same.
const ROUNDS: usize = 3;
/// Rows of disagreements.
const ROWS_MAX: usize = 4096;
const MOUNTINFO_BYTES_MAX: u64 = 64 << 20;
const FILE_BYTES_MAX: usize = 64 << 10;

/// The collector `hidden_processes`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HiddenProcesses {
    /// How long numbers far above those in use are asked for, in milliseconds; 0 leaves them out. All of them, up to
    /// pid_max, take about 800 divided by the number of processors.
    far_scan_ms_max: u64,
}

impl Default for HiddenProcesses {
    fn default() -> Self {
        Self { far_scan_ms_max: 200 }
    }
}

/// A number on which the views disagree.
#[derive(Debug, Serialize, JsonSchema)]
struct ProcessRow {
    /// Control groups whose cgroup.procs names it, at most sixteen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cgroups: Vec<String>,
    /// Arguments joined by blanks, at most 4096 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    cmdline: Option<String>,
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    comm: Option<String>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    comm_b64: Option<String>,
    /// True when something is mounted over its folder in /proc.
    covered_by_mount: bool,
    /// Image, without the kernel's ` (deleted)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<String>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    exe_b64: Option<String>,
    /// True when the image has no name any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    exe_deleted: Option<bool>,
    /// True when the number is that of a thread, which its process's folder `task` does not list.
    is_thread: bool,
    /// Views that do not have it: the names are those of `seen_by`.
    missed_by: Vec<&'static str>,
    /// Views that could not be asked.
    not_asked: Vec<&'static str>,
    /// The number.
    pid: u32,
    /// Parent's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    ppid: Option<u64>,
    /// `process`.
    record: &'static str,
    /// Views that have it: proc_list, proc_open, fresh_proc_list, fresh_proc_open, kill, getpgid, getsid, getpriority,
    /// sched_getscheduler, sched_getparam, pidfd_open, cgroup_procs.
    seen_by: Vec<&'static str>,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Instant>,
    /// Process that the number belongs to, by its own status.
    #[serde(skip_serializing_if = "Option::is_none")]
    tgid: Option<u64>,
    /// Real user.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u64>,
}

/// A mount on `/proc/PID` or below.
#[derive(Debug, Serialize, JsonSchema)]
struct MountRow {
    /// True when it covers the whole folder of the process.
    covers_process: bool,
    /// Type of the file system on top.
    fs_type: String,
    /// Number of the mount.
    mount_id: u64,
    /// Where it is mounted.
    mount_point: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    mount_point_b64: Option<String>,
    /// The process whose folder it is on.
    pid: u32,
    /// `mount_over_process`.
    record: &'static str,
    /// The part of the file system that is mounted.
    root: String,
    /// What the file system was made from.
    source: String,
    /// `/proc/self/mountinfo`, or that of the first process where the agent is in another mount namespace.
    view: &'static str,
}

/// What was asked.
#[derive(Debug, Serialize, JsonSchema)]
struct ScanRow {
    /// Control groups whose cgroup.procs was read.
    cgroups: usize,
    /// Disagreements that a second look explained: processes that started or ended meanwhile.
    explained: usize,
    /// Numbers up to this one were asked for by getpgid(2).
    far_scanned_to: u32,
    /// False when a procfs mount of our own could not be made: those two views are missing.
    has_fresh_proc: bool,
    /// True when every number up to pid_max was asked for.
    is_complete: bool,
    /// Numbers up to this one were asked for by kill, getpgid, sched_getscheduler and pidfd_open.
    near_scanned_to: u32,
    /// The highest number that this kernel gives out, plus one.
    pid_max: u32,
    /// Processes that /proc lists.
    processes: usize,
    /// `scan`.
    record: &'static str,
    /// How long the scan of the numbers took, in milliseconds.
    scan_ms: u64,
    /// Threads that the folders `task` list beside the first of each process.
    threads: usize,
}

impl Collect for HiddenProcesses {
    const NAME: &'static str = "hidden_processes";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str = "Processes on which the kernel's own answers disagree, and mounts over /proc/PID";
    const NEEDS: &'static [&'static str] = &["CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_KILL"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        if !session.host().is_live() {
            let item = session.item(Kind::Record, *b"/proc", "procfs", ItemStatus::Skipped);
            return Ok(session.note(item.because("only a live host has processes"))?);
        }
        let host = session.host().clone();
        let table = mounts_over(session, &host)?;
        if let Some(reason) = differs_by_nature(&host, &table) {
            let item = session.item(Kind::Record, *b"/proc", "procfs", ItemStatus::Skipped);
            return Ok(session.note(item.because(reason))?);
        }
        Search::begin(session, &table)?.run(session, Duration::from_millis(self.far_scan_ms_max))
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<ProcessRow>(
                "process",
                "proc(5), kill(2), getpgid(2), getpriority(2), sched_getscheduler(2), pidfd_open(2), cgroups(7)",
            ),
            RowType::of::<MountRow>("mount_over_process", "proc_pid_mountinfo(5)"),
            RowType::of::<ScanRow>("scan", "proc_sys_kernel(5)"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        Plan {
            reads: vec![
                "/proc (listing, each folder; the same through a mount of our own)".into(),
                "kill(N, 0), getpgid, getsid, getpriority, sched_getscheduler, sched_getparam, pidfd_open".into(),
                "/sys/fs/cgroup/**/cgroup.procs".into(),
                "/proc/{self,1}/mountinfo".into(),
            ],
            ..Plan::default()
        }
    }
}

/// Hands over the mounts on `/proc/PID`, and answers with the mounts of our own namespace.
fn mounts_over(session: &mut Session, host: &Host) -> Result<MountTable, Failure> {
    let namespace = |pid: &str| rustix::fs::readlink(format!("/proc/{pid}/ns/mnt"), Vec::new()).ok();
    let mut views = vec!["/proc/self/mountinfo"];
    if namespace("1") != namespace("self") {
        views.push("/proc/1/mountinfo");
    }
    let mut own = MountTable::default();
    for view in views {
        let text = match host.read(view, MOUNTINFO_BYTES_MAX) {
            Ok(text) => text,
            Err(error) => {
                session.unreadable(view, &error)?;
                continue;
            }
        };
        let mounts = mounts::parse(&text).mounts;
        for mount in &mounts {
            if let Some((pid, covers_process)) = over_process(&mount.point) {
                session.row(&MountRow::of(mount, pid, covers_process, view))?;
            }
        }
        if view == "/proc/self/mountinfo" {
            own = MountTable::new(mounts);
        }
    }
    Ok(own)
}

/// The process on whose folder, or below it, a mount point lies.
fn over_process(point: &[u8]) -> Option<(u32, bool)> {
    let rest = point.strip_prefix(b"/proc/")?;
    let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    let pid = decimal(rest.get(..end)?).and_then(|pid| u32::try_from(pid).ok())?;
    Some((pid, end == rest.len()))
}

impl MountRow {
    fn of(mount: &Mount, pid: u32, covers_process: bool, view: &'static str) -> Self {
        let (mount_point, mount_point_b64) = shown(&mount.point);
        Self {
            covers_process,
            fs_type: shown(&mount.fs_type).0,
            mount_id: mount.id,
            mount_point,
            mount_point_b64,
            pid,
            record: "mount_over_process",
            root: shown(&mount.root).0,
            source: shown(&mount.source).0,
            view,
        }
    }
}

/// Why the views must differ on this host, with nothing hidden.
fn differs_by_nature(host: &Host, table: &MountTable) -> Option<&'static str> {
    let processes = Processes::of(host).ok()?;
    if !processes.shows_own_namespace() {
        return Some("/proc shows another PID namespace than the one that system calls mean");
    }
    let hides = |options: &[u8]| {
        let mut options = options.split(|byte| *byte == b',');
        options.any(|option| option.strip_prefix(b"hidepid=").is_some_and(|value| value != b"0" && value != b"off"))
    };
    let is_hiding =
        table.covering(b"/proc/x").is_some_and(|mount| hides(&mount.options) || hides(&mount.super_options));
    let may_look = capabilities::effective(host).iter().any(|held| held == "CAP_SYS_PTRACE");
    (is_hiding && !may_look).then_some("/proc is mounted with hidepid, and CAP_SYS_PTRACE is lacking")
}

/// One search.
struct Search {
    asked: Asked,
    booted: Booted,
    groups: Groups,
    pages: Pages,
    pid_max: u32,
    /// What /proc listed at the beginning.
    listed: Vec<u32>,
    /// What the folders `task` list beside the processes themselves.
    threads: BTreeSet<u32>,
}

impl Search {
    fn begin(session: &mut Session, table: &MountTable) -> Result<Self, Failure> {
        let host = session.host().clone();
        let asked = Asked::of(Processes::of(&host).map_err(Failure::reading("/proc"))?);
        let pid_max = host.read("/proc/sys/kernel/pid_max", 32).ok().and_then(|text| decimal(text.trim_ascii()));
        let pid_max = pid_max.and_then(|most| u32::try_from(most).ok()).unwrap_or(PID_MAX).min(PID_MAX);
        let mut search = Self {
            asked,
            booted: Booted::of(&host),
            groups: Groups::default(),
            pages: Pages::default(),
            pid_max,
            listed: Vec::new(),
            threads: BTreeSet::new(),
        };
        if let Err(error) = search.asked.list() {
            return Err(Failure::reading("/proc")(error));
        }
        search.listed.clone_from(search.asked.listed());
        search.threads = search.asked.threads(&search.listed);
        search.groups = Groups::read(session, table)?;
        if let Some(error) = search.asked.fresh_error() {
            let reason = "a procfs mount of our own could not be made: those two views are missing";
            let item = session.item(Kind::Record, *b"/proc", "fsopen", ItemStatus::Skipped).failed(error);
            session.note(item.because(reason))?;
        }
        Ok(search)
    }

    fn run(mut self, session: &mut Session, far: Duration) -> Result<(), Failure> {
        let started = Monotonic::now();
        let highest = self.listed.last().copied().max(self.threads.last().copied()).unwrap_or(0);
        let last = self.pid_max.saturating_sub(1);
        let near = highest.saturating_add(NEAR).min(last);
        let (found, near_scanned_to) = sweep(1..=near, views::answers_any, Some(started + NEAR_TIME_MAX));
        let mut numbers: BTreeSet<u32> = found.into_iter().collect();
        session.go_on()?;
        let mut far_scanned_to = near_scanned_to;
        if near_scanned_to < last && !far.is_zero() {
            let deadline = Monotonic::now() + far;
            let (found, reached) = sweep(near_scanned_to + 1..=last, views::answers_getpgid, Some(deadline));
            numbers.extend(found);
            far_scanned_to = reached;
        }
        let scan_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        session.go_on()?;
        numbers.retain(|number| !self.threads.contains(number));
        numbers.extend(&self.listed);
        numbers.extend(self.asked.fresh_listed());
        numbers.extend(self.groups.pids());
        let (suspects, explained) = self.suspects(session, numbers)?;
        let (processes, threads, cgroups) = (self.listed.len(), self.threads.len(), self.groups.read);
        for (rows, (number, view)) in suspects.into_iter().enumerate() {
            if rows == ROWS_MAX {
                session.limited(format!("more than {ROWS_MAX} numbers on which the views disagree"))?;
                break;
            }
            let row = self.row(number, &view);
            session.row(&row)?;
        }
        if far_scanned_to < last {
            let reason = format!("numbers above {far_scanned_to} were not asked for (far_scan_ms_max)");
            let item = session.item(Kind::Record, *b"/proc/sys/kernel/pid_max", "getpgid", ItemStatus::Skipped);
            session.note(item.because(reason))?;
        }
        session.row(&ScanRow {
            cgroups,
            explained,
            far_scanned_to,
            has_fresh_proc: self.asked.fresh_error().is_none(),
            is_complete: far_scanned_to == last,
            near_scanned_to,
            pid_max: self.pid_max,
            processes,
            record: "scan",
            scan_ms,
            threads,
        })?;
        Ok(())
    }

    /// The numbers on which the views disagree, and go on to.
    fn suspects(
        &mut self,
        session: &mut Session,
        numbers: BTreeSet<u32>,
    ) -> Result<(BTreeMap<u32, View>, usize), Failure> {
        let mut suspects = BTreeMap::new();
        for number in numbers {
            session.go_on()?;
            let view = self.asked.view(number, self.groups.has(number));
            if view.disagrees() {
                suspects.insert(number, view);
            }
        }
        let first = suspects.len();
        for _ in 0..ROUNDS {
            if suspects.is_empty() {
                break;
            }
            session.go_on()?;
            let before: Vec<_> = suspects.keys().map(|number| (*number, views::calls(*number))).collect();
            if let Err(error) = self.asked.list() {
                return Err(Failure::reading("/proc")(error));
            }
            let threads = self.asked.threads(&self.asked.listed().clone());
            self.groups.read_again(suspects.keys().copied(), &mut self.pages);
            for (number, calls) in before {
                let view = self.asked.view(number, self.groups.has(number));
                let is_new_thread = threads.contains(&number);
                if !view.disagrees() || view.calls != calls || is_new_thread {
                    suspects.remove(&number);
                } else {
                    suspects.insert(number, view);
                }
            }
        }
        let explained = first - suspects.len();
        Ok((suspects, explained))
    }

    fn row(&mut self, number: u32, view: &View) -> ProcessRow {
        let mut row = ProcessRow {
            cgroups: self.groups.of(number),
            cmdline: None,
            comm: None,
            comm_b64: None,
            covered_by_mount: view.is_covered,
            exe: None,
            exe_b64: None,
            exe_deleted: None,
            is_thread: false,
            missed_by: view.named(Some(false)),
            not_asked: view.named(None),
            pid: number,
            ppid: None,
            record: "process",
            seen_by: view.named(Some(true)),
            start: None,
            tgid: None,
            uid: None,
        };
        self.pages.clear();
        let Some(folder) = self.asked.folder(number) else { return row };
        let (dir, pages) = (folder.as_fd(), &mut self.pages);
        if let Ok(piece) = pages.read(dir, c"stat", Hands::AtOnce, FILE_BYTES_MAX)
            && let Some(stat) = Stat::parse(pages.get(piece))
        {
            let (comm, exact) = shown(stat.comm);
            (row.comm, row.comm_b64) = (Some(comm), exact);
            row.ppid = stat.ppid();
            row.start = stat.starttime_ticks().map(|ticks| self.booted.start(ticks));
        }
        if let Ok(piece) = pages.read(dir, c"status", Hands::AtOnce, FILE_BYTES_MAX) {
            let status = Status::parse(pages.get(piece));
            row.tgid = status.tgid.and_then(Number::unsigned);
            row.uid = status.uids.and_then(|uids| uids.get(0));
            row.is_thread = row.tgid.is_some_and(|tgid| tgid != u64::from(number));
        }
        if let Ok(piece) = pages.read(dir, c"cmdline", Hands::InPieces, 4096) {
            row.cmdline = Some(shown(pages.get(piece)).0.trim_end_matches('\0').replace('\0', " "));
        }
        if let Ok(piece) = pages.link(dir, c"exe") {
            let (target, is_deleted) = proc::deleted(pages.get(piece));
            let (exe, exact) = shown(target);
            (row.exe, row.exe_b64, row.exe_deleted) = (Some(exe), exact, Some(is_deleted));
        }
        row
    }
}

#[cfg(test)]
mod tests;
