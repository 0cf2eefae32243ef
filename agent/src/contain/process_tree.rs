//! Processes that are made to stand still together: whom, how, and how they go on.
//!
//! With control groups of version 2 (kernel 5.2) they are moved into a group of this containment's own, which is frozen
//! before the first one comes: who is moved stands still at once, nobody sees a signal, and a child that was forked
//! meanwhile is found by the next look. Without them each is sent SIGSTOP, which its parent sees, and whoever may send
//! SIGCONT can undo.
//!
//! A PID may be given anew at any moment. So a process is a PID and the tick at which it began, signals go through a
//! pidfd that was opened before the two were compared (5.3), and who was moved into the group by such an accident is
//! moved back.
//!
//! Known limits: a process in a PID namespace of its own is found by its PID in the host's. What leaves the group by root's
//! hand is not brought back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use wire::OrderId;
use wire::containment::ProcessRef;

use super::{Failed, Unplanned};
use crate::host::Host;
use crate::host::proc::stat::Stat;

/// Processes of one containment.
const MEMBERS_MAX: usize = 8192;
/// Looks for new children before it is given up: somebody forks faster than we look.
const LOOKS_MAX: usize = 64;
/// How long the kernel may take to stop or to end all of them.
const SETTLE: Duration = Duration::from_secs(5);
const SMALL_BYTES_MAX: u64 = 1 << 20;

/// Whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// A process and all that descend from it.
    Tree(ProcessRef),
    /// Everything that came of logins of this user.
    Sessions {
        /// The user.
        uid: u32,
    },
    /// Everything in this control group, by its path on the host.
    Group(PathBuf),
}

/// One that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The group that it was in, from the root of its hierarchy, where it was moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Which.
    pub process: ProcessRef,
    /// It was stopped before, and stays so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_stopped: bool,
}

/// How they are made to stand still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// In a frozen group: its folder.
    Group(PathBuf),
    /// By SIGSTOP.
    Signal,
}

/// Processes and what was done to them: part of a step, and as such in the journal before it happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Still {
    /// Whom.
    pub whose: Whose,
    /// Those that were found.
    #[serde(default)]
    pub members: Vec<Member>,
    /// How; nothing is done yet without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub means: Option<Means>,
    /// What is lacking here, and what is done instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<String>,
}

/// What is known of a process.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its name.
    pub comm: String,
    /// Its parent.
    pub parent: u32,
    /// A thread of the kernel.
    pub is_kernel: bool,
    /// R, S, T, Z …
    pub state: u8,
    /// When it began.
    pub start_ticks: u64,
}

/// Every process of the host, by PID. Those that end meanwhile are left out.
pub fn every(host: &Host) -> io::Result<BTreeMap<u32, Known>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(host.path("/proc"))? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if let Some(known) = one(host, pid) {
            found.insert(pid, known);
        }
    }
    Ok(found)
}

/// One process; `None` when there is none.
pub fn one(host: &Host, pid: u32) -> Option<Known> {
    let line = host.read(format!("/proc/{pid}/stat"), SMALL_BYTES_MAX).ok()?;
    let stat = Stat::parse(&line)?;
    if stat.is_dead() {
        return None;
    }
    Some(Known {
        comm: bundle::item::shown(stat.comm).0,
        parent: u32::try_from(stat.ppid()?).ok()?,
        is_kernel: stat.is_kernel_thread(),
        state: stat.state,
        start_ticks: stat.starttime_ticks()?,
    })
}

/// The process that is meant, if it is still there.
pub fn find(host: &Host, process: ProcessRef) -> Option<Known> {
    one(host, process.pid).filter(|known| known.start_ticks == process.start_ticks)
}

impl Whose {
    /// All of them, now.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn now(&self, host: &Host, known: &[Member]) -> io::Result<BTreeMap<u32, Known>> {
        let mut all = every(host)?;
        all.retain(|_, process| !process.is_kernel);
        let mut taken: BTreeSet<u32> = match self {
            Self::Tree(root) => all
                .get(&root.pid)
                .filter(|one| one.start_ticks == root.start_ticks)
                .map(|_| root.pid)
                .into_iter()
                .collect(),
            Self::Sessions { uid } => all.keys().copied().filter(|pid| is_of_sessions(host, *pid, *uid)).collect(),
            Self::Group(folder) => in_group(folder).into_iter().filter(|pid| all.contains_key(pid)).collect(),
        };
        // Also of those whose parent has ended since: they were found while it lived.
        taken.extend(known.iter().filter(|member| is(&all, member.process)).map(|member| member.process.pid));
        loop {
            let more: Vec<u32> = all
                .iter()
                .filter(|(pid, one)| !taken.contains(pid) && taken.contains(&one.parent))
                .map(|(pid, _)| *pid)
                .collect();
            if more.is_empty() {
                break;
            }
            taken.extend(more);
        }
        all.retain(|pid, _| taken.contains(pid));
        Ok(all)
    }
}

fn is(all: &BTreeMap<u32, Known>, process: ProcessRef) -> bool {
    all.get(&process.pid).is_some_and(|one| one.start_ticks == process.start_ticks)
}

/// True for what came of a login of this user: by the number that the kernel keeps of it (loginuid, which only root may
/// set), or by the group that logind puts the user's sessions into.
fn is_of_sessions(host: &Host, pid: u32, uid: u32) -> bool {
    let loginuid = host.read_text(format!("/proc/{pid}/loginuid"), SMALL_BYTES_MAX);
    if loginuid.is_ok_and(|text| text.parse() == Ok(uid)) {
        return true;
    }
    let slice = format!("user-{uid}.slice");
    let groups = host.read(format!("/proc/{pid}/cgroup"), SMALL_BYTES_MAX).unwrap_or_default();
    crate::host::cgroup::memberships(&groups)
        .any(|group| group.path.split(|byte| *byte == b'/').any(|part| part == slice.as_bytes()))
}

/// The processes of a control group and of those below it.
fn in_group(folder: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let listed = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        found.extend(listed.lines().filter_map(|line| line.trim().parse::<u32>().ok()));
        let below = fs::read_dir(&folder).into_iter().flatten().flatten();
        folders
            .extend(below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()));
        if found.len() > MEMBERS_MAX || folders.len() > MEMBERS_MAX {
            break;
        }
    }
    found
}

/// Refuses what must never stand still: the first process, this program, whoever it runs under, threads of the kernel.
///
/// # Errors
/// Who it is.
pub fn spare(host: &Host, whose: &Whose) -> Result<BTreeMap<u32, Known>, Unplanned> {
    if let Whose::Tree(root) = whose {
        let known = one(host, root.pid).ok_or_else(|| Unplanned(format!("there is no process {}", root.pid)))?;
        if known.start_ticks != root.start_ticks {
            let began = known.start_ticks;
            return Err(Unplanned(format!(
                "process {} ({}) began at tick {began}, not at {}: the one that was meant has ended",
                root.pid, known.comm, root.start_ticks
            )));
        }
        if known.is_kernel {
            return Err(Unplanned(format!("process {} ({}) is a thread of the kernel", root.pid, known.comm)));
        }
    }
    let members = whose.now(host, &[]).map_err(|error| Unplanned(format!("/proc: {error}")))?;
    if members.contains_key(&1) {
        return Err(Unplanned("process 1 is among them: without it the host stops".to_owned()));
    }
    if members.len() > MEMBERS_MAX {
        return Err(Unplanned(format!("they are {}, and {MEMBERS_MAX} are the most", members.len())));
    }
    let own = fs::metadata("/proc/self/exe").map(|meta| (meta.dev(), meta.ino())).ok();
    for (pid, known) in &members {
        let is_same =
            fs::metadata(host.path(format!("/proc/{pid}/exe"))).is_ok_and(|exe| Some((exe.dev(), exe.ino())) == own);
        if *pid == std::process::id() || is_same {
            return Err(Unplanned(format!("process {pid} ({}) is among them, which is this program", known.comm)));
        }
    }
    Ok(members)
}

/// A process that signals can be sent to, whoever has its PID later.
enum Handle {
    Fd(OwnedFd),
    /// Before 5.3.
    Number(Pid),
}

impl Handle {
    fn of(host: &Host, process: ProcessRef) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(process.pid).ok()?)?;
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Self::Fd(fd),
            Err(Errno::NOSYS | Errno::PERM | Errno::NODEV) => Self::Number(pid),
            Err(_) => return None,
        };
        // After opening: what is compared now is what the descriptor is of.
        find(host, process).map(|_| handle)
    }

    fn send(&self, signal: Signal) -> io::Result<()> {
        let sent = match self {
            Self::Fd(fd) => pidfd_send_signal(fd, signal),
            Self::Number(pid) => rustix::process::kill_process(*pid, signal),
        };
        match sent {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Writes the state of the processes into the journal.
pub type KeepStill<'a> = dyn FnMut(&Still) -> io::Result<()> + 'a;

impl Still {
    /// Nothing is done yet.
    pub const fn new(whose: Whose) -> Self {
        Self { whose, members: Vec::new(), means: None, fallbacks: Vec::new() }
    }

    /// Makes all of them stand still, those too that are forked meanwhile.
    ///
    /// # Errors
    /// [`Failed`]; those that stand still are in `members`.
    pub fn stop(&mut self, host: &Host, id: OrderId, keep: &mut KeepStill<'_>) -> Result<(), Failed> {
        if self.means.is_none() {
            let (means, lacking) = means(host, id);
            self.means = Some(means);
            self.fallbacks.extend(lacking);
            if !has_pidfd() {
                self.fallbacks
                    .push("this kernel has no pidfd: a PID that is given anew in between could be hit".to_owned());
            }
            self.keep(keep)?;
        }
        if let Some(Means::Group(folder)) = &self.means {
            make_group(folder)?;
        }
        for _ in 0..LOOKS_MAX {
            let now = self.whose.now(host, &self.members).map_err(Failed::at("/proc"))?;
            let new: Vec<Member> = now
                .iter()
                .map(|(pid, known)| (ProcessRef { pid: *pid, start_ticks: known.start_ticks }, known))
                .filter(|(process, _)| !self.members.iter().any(|member| member.process == *process))
                .map(|(process, known)| Member {
                    group: self.is_grouped().then(|| group_of(host, process.pid)).flatten(),
                    process,
                    was_stopped: known.state == b'T',
                })
                .collect();
            if self.members.len() + new.len() > MEMBERS_MAX {
                return Err(Failed::because(format!("they are more than {MEMBERS_MAX} processes")));
            }
            let is_news = !new.is_empty();
            if is_news {
                self.members.extend(new);
                self.keep(keep)?;
            }
            let is_done = self.stop_known(host)?;
            if !is_news && is_done {
                return Ok(());
            }
        }
        Err(Failed::because("new processes come faster than they can be stopped"))
    }

    fn is_grouped(&self) -> bool {
        matches!(self.means, Some(Means::Group(_)))
    }

    fn keep(&self, keep: &mut KeepStill<'_>) -> Result<(), Failed> {
        keep(self).map_err(Failed::at("the journal"))
    }

    /// Stops those that are known; true when all of them stand still.
    fn stop_known(&self, host: &Host) -> Result<bool, Failed> {
        match &self.means {
            Some(Means::Group(folder)) => {
                let inside: BTreeSet<u32> = in_group(folder).into_iter().collect();
                for member in self.members.iter().filter(|member| !inside.contains(&member.process.pid)) {
                    if find(host, member.process).is_some() {
                        move_to(host, &folder.join("cgroup.procs"), member)
                            .map_err(Failed::at(format!("process {} cannot be moved", member.process.pid)))?;
                    }
                }
                Ok(until(|| is_frozen(folder)))
            }
            _ => {
                for member in self.members.iter().filter(|member| !member.was_stopped) {
                    if let Some(handle) = Handle::of(host, member.process) {
                        handle
                            .send(Signal::STOP)
                            .map_err(Failed::at(format!("process {} cannot be stopped", member.process.pid)))?;
                    }
                }
                Ok(until(|| self.moving(host).is_empty()))
            }
        }
    }

    /// Those that are there and do not stand still.
    pub fn moving(&self, host: &Host) -> Vec<u32> {
        let runs = |member: &&Member| match (&self.means, find(host, member.process)) {
            (_, None) => false,
            (Some(Means::Group(folder)), Some(_)) => {
                !is_frozen(folder) || !in_group(folder).contains(&member.process.pid)
            }
            (_, Some(known)) => !matches!(known.state, b'T' | b't' | b'Z'),
        };
        self.members.iter().filter(runs).map(|member| member.process.pid).collect()
    }

    /// Those that are still there.
    pub fn alive(&self, host: &Host) -> usize {
        self.members.iter().filter(|member| find(host, member.process).is_some()).count()
    }

    /// Ends all of them.
    ///
    /// # Errors
    /// [`Failed`] when some are still there afterwards.
    pub fn kill(&self, host: &Host) -> Result<(), Failed> {
        if let Some(Means::Group(folder)) = &self.means {
            // 5.14: also what was forked into the group a moment ago. Before it, one by one.
            let _ = fs::write(folder.join("cgroup.kill"), b"1");
        }
        for member in &self.members {
            if let Some(handle) = Handle::of(host, member.process) {
                handle
                    .send(Signal::KILL)
                    .map_err(Failed::at(format!("process {} cannot be ended", member.process.pid)))?;
            }
        }
        if !until(|| self.alive(host) == 0) {
            return Err(Failed::because(format!("{} processes do not end", self.alive(host))));
        }
        self.remove_group(host);
        Ok(())
    }

    /// Lets those go on that were made to stand still, in the groups that they were in; answers what is not as it was.
    ///
    /// # Errors
    /// [`Failed`]: some of them still stand still.
    pub fn resume(&self, host: &Host) -> Result<Vec<String>, Failed> {
        let mut left = Vec::new();
        match &self.means {
            None => {}
            Some(Means::Signal) => {
                for member in self.members.iter().filter(|member| !member.was_stopped) {
                    if let Some(handle) = Handle::of(host, member.process) {
                        handle
                            .send(Signal::CONT)
                            .map_err(Failed::at(format!("process {} cannot be continued", member.process.pid)))?;
                    }
                }
            }
            Some(Means::Group(folder)) => {
                let inside: BTreeSet<u32> = in_group(folder).into_iter().collect();
                for member in self.members.iter().filter(|member| inside.contains(&member.process.pid)) {
                    let Some(group) = &member.group else { continue };
                    let Some(mount) = folder.parent() else { continue };
                    let home = mount.join(group.trim_start_matches('/'));
                    if let Err(error) = move_to(host, &home.join("cgroup.procs"), member) {
                        let pid = member.process.pid;
                        left.push(format!("process {pid} is not in its control group {group} again: {error}"));
                    }
                }
                // Whoever is left runs on in the group above rather than standing still for ever.
                if folder.is_dir() {
                    fs::write(folder.join("cgroup.freeze"), b"0")
                        .map_err(Failed::at(format!("{} cannot be thawed", folder.display())))?;
                }
                self.remove_group(host);
            }
        }
        let gone = self.members.iter().filter(|member| find(host, member.process).is_none()).count();
        if gone > 0 {
            left.push(format!("{gone} of {} processes have ended meanwhile", self.members.len()));
        }
        Ok(left)
    }

    /// The group of our own goes, with whoever is still in it moved to the one above.
    fn remove_group(&self, host: &Host) {
        let Some(Means::Group(folder)) = &self.means else { return };
        if let Some(above) = folder.parent() {
            for pid in in_group(folder) {
                let _ = one(host, pid).map(|_| fs::write(above.join("cgroup.procs"), pid.to_string()));
            }
        }
        until(|| match fs::remove_dir(folder) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        });
    }
}

/// How they can be made to stand still here, and what is lacking.
fn means(host: &Host, id: OrderId) -> (Means, Option<String>) {
    let lacking = |why: String| {
        (Means::Signal, Some(format!("{why}: the processes were sent SIGSTOP, which their parents see and can undo")))
    };
    let Some(mount) = crate::host::freezer::cgroup2(host) else {
        return lacking("there are no control groups of version 2".to_owned());
    };
    let folder = mount.join(format!("holdfast-{id}"));
    if let Err(why) = make_group(&folder) {
        return lacking(crate::causes::with_causes(&why));
    }
    (Means::Group(folder), None)
}

/// Makes the group, frozen from the beginning.
fn make_group(folder: &Path) -> Result<(), Failed> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Failed::at(format!("{}", folder.display()))(error));
        }
        _ => {}
    }
    let frozen = fs::write(folder.join("cgroup.freeze"), b"1");
    if let Err(error) = frozen {
        let _ = fs::remove_dir(folder);
        return Err(Failed::at("the kernel freezes no control groups (5.2)")(error));
    }
    Ok(())
}

fn is_frozen(folder: &Path) -> bool {
    let events = fs::read_to_string(folder.join("cgroup.events")).unwrap_or_default();
    // A group with nobody in it is not frozen by the kernel's word, and nobody moves in it.
    events.lines().any(|line| line == "frozen 1") || in_group(folder).is_empty()
}

fn group_of(host: &Host, pid: u32) -> Option<String> {
    let text = host.read_text(format!("/proc/{pid}/cgroup"), SMALL_BYTES_MAX).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// Moves a process; one that has its PID by accident is moved back.
fn move_to(host: &Host, procs: &Path, member: &Member) -> io::Result<()> {
    let Some(before) = group_of(host, member.process.pid) else { return Ok(()) };
    match fs::write(procs, member.process.pid.to_string()) {
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => return Ok(()),
        moved => moved?,
    }
    let is_other = one(host, member.process.pid).is_some_and(|known| known.start_ticks != member.process.start_ticks);
    if is_other && let Some(mount) = crate::host::freezer::cgroup2(host) {
        fs::write(mount.join(before.trim_start_matches('/')).join("cgroup.procs"), member.process.pid.to_string())?;
    }
    Ok(())
}

fn has_pidfd() -> bool {
    pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).is_ok()
}

/// Looks until it is so, for as long as the kernel may take.
fn until(mut is_so: impl FnMut() -> bool) -> bool {
    let since = Instant::now();
    loop {
        if is_so() {
            return true;
        }
        if since.elapsed() > SETTLE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
