//! What the tests of actions stand on: a stage that drives one action's steps as the engine does, and processes of their
//! own to act on.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use wire::OrderId;
use wire::containment::{Action, ProcessRef};

use super::journal::{By, Otherwise, Wish};
use super::process_tree::{every, one};
use super::{Contain, Failed, Kind, Look, Scene};
use crate::host::Host;

/// An action on a host, with its steps as they lie in the journal.
pub struct Stage {
    fallbacks: Vec<String>,
    host: Host,
    kind: Kind,
    state: tempfile::TempDir,
    steps: Vec<Value>,
    wish: Wish,
}

fn wish(action: Action) -> Wish {
    let (on_invalid, on_lease_end) = (Otherwise::Restore, Otherwise::Restore);
    Wish { action, by: By::Order, lease_secs: 60, on_invalid, on_lease_end, roles: Vec::new(), servers: Vec::new() }
}

fn id() -> OrderId {
    let mut random = [0; 10];
    getrandom::fill(&mut random).unwrap();
    OrderId::new(1, random)
}

impl Stage {
    /// The action's plan on this host.
    pub fn of<C: Contain>(host: Host, action: Action) -> Self {
        Self::planned::<C>(host, action).unwrap_or_else(|why| panic!("{why}"))
    }

    fn planned<C: Contain>(host: Host, action: Action) -> Result<Self, String> {
        let (state, kind, wish) = (tempfile::tempdir().unwrap(), Kind::of::<C>(), wish(action));
        let scene = Scene { host: &host, id: id(), state: state.path(), wish: &wish };
        let plan = (kind.plan)(&wish.action, &scene).map_err(|error| error.0)?;
        Ok(Self { fallbacks: plan.fallbacks, steps: plan.steps, host, kind, state, wish })
    }

    /// One step, without a plan.
    pub fn of_step<C: Contain>(host: Host, step: &C::Step) -> Self {
        let steps = vec![serde_json::to_value(step).unwrap()];
        let (state, kind) = (tempfile::tempdir().unwrap(), Kind::of::<C>());
        let wish = wish(Action::BlockMetadataService {});
        Self { fallbacks: Vec::new(), host, kind, state, steps, wish }
    }

    /// Why the action cannot be planned here.
    pub fn refused<C: Contain>(host: Host, action: Action) -> String {
        Self::planned::<C>(host, action).err().unwrap_or_else(|| panic!("it was planned"))
    }

    fn with<T>(
        &mut self,
        at: usize,
        call: impl FnOnce(&Kind, &Value, &Scene<'_>, &mut super::Keep<'_, Value>) -> T,
    ) -> T {
        let data = self.steps[at].clone();
        // One id for all of its steps, as in the journal.
        let scene =
            Scene { host: &self.host, id: OrderId::new(1, [9; 10]), state: self.state.path(), wish: &self.wish };
        let step = &mut self.steps[at];
        call(&self.kind, &data, &scene, &mut |data| {
            step.clone_from(data);
            Ok(())
        })
    }

    pub fn apply(&mut self) -> Result<(), Failed> {
        (0..self.steps.len())
            .try_for_each(|at| self.with(at, |kind, data, scene, keep| (kind.apply)(data, scene, keep)))
    }

    pub fn undo(&mut self) -> Result<Vec<String>, Failed> {
        let mut left = Vec::new();
        for at in (0..self.steps.len()).rev() {
            left.extend(self.with(at, |kind, data, scene, keep| (kind.undo)(data, scene, keep))?);
        }
        Ok(left)
    }

    pub fn looks(&mut self) -> Vec<Look> {
        (0..self.steps.len())
            .flat_map(|at| self.with(at, |kind, data, scene, _| (kind.looks)(data, scene)).unwrap())
            .collect()
    }

    pub fn holds(&mut self) -> bool {
        self.looks().iter().all(|look| look.holds)
    }

    pub fn says(&self) -> String {
        self.steps.iter().map(|step| (self.kind.says)(step).unwrap()).collect::<Vec<_>>().join("\n")
    }

    /// The steps as the journal holds them.
    pub fn journal(&self) -> String {
        serde_json::to_string(&self.steps).unwrap()
    }

    pub fn planned_fallbacks(&self) -> &[String] {
        &self.fallbacks
    }

    /// Everything below a folder but times of folders and of access: names, owners, modes, times, contents.
    pub fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
                let (path, meta) = (entry.path(), entry.metadata().unwrap());
                let about = format!("{:o} {} {}", meta.mode(), meta.uid(), meta.gid());
                let about = if meta.is_dir() {
                    folders.push(path.clone());
                    about
                } else if meta.is_symlink() {
                    format!("{about} -> {}", std::fs::read_link(&path).unwrap().display())
                } else {
                    let time = (meta.mtime(), meta.mtime_nsec());
                    format!("{about} {time:?} {}", bundle::item::shown(&std::fs::read(&path).unwrap()).0)
                };
                found.insert(path, about);
            }
        }
        found
    }
}

/// The process of that number.
pub fn process(pid: u32) -> ProcessRef {
    let start_ticks = one(&Host::live(), pid).unwrap_or_else(|| panic!("no process {pid}")).start_ticks;
    ProcessRef { pid, start_ticks }
}

/// Three processes that descend from one another; the last one, cat, gives back what it is given. They end with this.
pub struct Children {
    first: Child,
    pids: Vec<u32>,
}

impl Children {
    pub fn tree() -> Self {
        Self::run("sh -c 'cat; :'; :")
    }

    /// The same, as a login of this user left them; `None`, with the reason printed, where no login can be made up.
    pub fn of_login(uid: u32) -> Option<Self> {
        let children = Self::run(&format!("echo {uid} > /proc/self/loginuid; sh -c 'cat; :'; :"));
        let loginuid = std::fs::read_to_string(format!("/proc/{}/loginuid", children.first.id())).unwrap_or_default();
        if loginuid.trim() != uid.to_string() {
            // Not println: the test runner would swallow it.
            let _ = writeln!(std::io::stderr(), "not tested: this kernel or container lets nobody set a loginuid");
            return None;
        }
        Some(children)
    }

    fn run(script: &str) -> Self {
        let mut first =
            Command::new("/bin/sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut children = Self {
            pids: Vec::new(),
            first: {
                first.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
                first
            },
        };
        assert!(children.answers(LONG), "cat did not begin");
        let all = every(&Host::live()).unwrap();
        let mut at = children.first.id();
        children.pids.push(at);
        while let Some((pid, _)) = all.iter().find(|(_, known)| known.parent == at) {
            children.pids.push(*pid);
            at = *pid;
        }
        assert_eq!(children.pids.len(), 3);
        children
    }

    /// Something comes back from cat within this time.
    fn answers(&self, within: Duration) -> bool {
        let out = self.first.stdout.as_ref().unwrap();
        rustix::fs::fcntl_setfl(out, rustix::fs::OFlags::NONBLOCK).unwrap();
        until(within, || rustix::io::read(out, &mut [0; 64]).is_ok_and(|length| length > 0))
    }

    fn ask(&self) {
        self.first.stdin.as_ref().unwrap().write_all(b"x\n").unwrap();
    }

    pub fn process(&self) -> ProcessRef {
        process(self.first.id())
    }

    pub fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// PID, state and control group of each.
    pub fn states(&self) -> Vec<(u32, char, String)> {
        let of = |pid: &u32| {
            let state = one(&Host::live(), *pid).map_or('-', |known| char::from(known.state));
            (*pid, state, std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default())
        };
        self.pids.iter().map(of).collect()
    }

    /// What is asked is not answered.
    pub fn stand_still(&self) -> bool {
        self.ask();
        !self.answers(Duration::from_millis(300))
    }

    /// What is or was asked is answered.
    pub fn go_on(&self) -> bool {
        self.ask();
        self.answers(LONG)
    }

    /// Stops the last one, and answers which it is.
    pub fn stop_last(&self) -> u32 {
        let last = *self.pids.last().unwrap();
        kill_process(Pid::from_raw(i32::try_from(last).unwrap()).unwrap(), Signal::STOP).unwrap();
        assert!(until(LONG, || one(&Host::live(), last).is_some_and(|known| known.state == b'T')));
        last
    }

    /// All go on but this one, which is still stopped.
    pub fn go_on_but(&self, stopped: u32) -> bool {
        until(LONG, || self.states().iter().all(|(pid, state, _)| (*state == 'T') == (*pid == stopped)))
    }

    pub fn are_gone(&self) -> bool {
        until(LONG, || self.pids.iter().all(|pid| one(&Host::live(), *pid).is_none()))
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for pid in self.pids.iter().filter(|pid| one(&Host::live(), **pid).is_some()) {
            let _ = Pid::from_raw(i32::try_from(*pid).unwrap()).map(|pid| kill_process(pid, Signal::KILL));
        }
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}

/// What happens at all happens within this.
const LONG: Duration = Duration::from_secs(20);

fn until(within: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let since = Instant::now();
    while since.elapsed() < within {
        if is_so() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}
