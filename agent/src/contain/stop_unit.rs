//! `stop_unit`: the unit of systemd is stopped and cannot be started again.
//!
//! Two effects, both without a program of the host. First a mask of the running system: a link
//! `/run/systemd/system.control/UNIT` to `/dev/null`, and SIGHUP to process 1, which is systemd's own way to be told to read
//! its units anew (systemd(1), SIGNALS). So neither `Restart=` nor a socket, a timer or a person starts it. That folder
//! comes before `/etc/systemd/system` (systemd.unit(5)), where an intruder's units lie and where `systemctl mask --runtime`
//! would change nothing. Then all processes of the unit's control group are made to stand still and ended.
//!
//! Why not `StopUnit` over D-Bus: it runs what the unit says (`ExecStop=`), which may be an intruder's, waits as long as
//! the unit says, and needs a bus that works. What is lost: the service does not end in its own order, and systemd shows it
//! as failed. The plan says so.
//!
//! Undoing takes the mask away, if it is ours still, and tells systemd. It does not start the unit: whether that is right
//! people decide. After a reboot `/run` is empty, and the mask is made anew by whoever keeps the lease.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use wire::containment::Action;

use super::kill_process::Kill;
use super::process_tree::{Whose, spare};
use super::{Contain, Effect, Failed, Keep, Look, Plan, Scene, Unplanned};
use crate::host::Host;

/// It is there where systemd runs (sd_booted(3)).
const RUNNING: &str = "/run/systemd/system";
const RUNTIME: &str = "/run/systemd";
/// Where masks are made: a folder in [`RUNTIME`].
const CONTROL: &str = "system.control";
const MASKED: &str = "/dev/null";
/// Where unit files lie (systemd.unit(5)); what generators make included.
const FOLDERS: [&str; 7] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/run/systemd/generator.late",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// Kinds of unit that run or start something. A slice or a scope has no file to mask.
const KINDS: [&str; 4] = [".service", ".socket", ".timer", ".path"];
/// The host does not work without these, or this program does not.
const SPARED: [&str; 6] = [
    "dbus.service",
    "dbus-broker.service",
    "systemd-journald.service",
    "systemd-logind.service",
    "systemd-udevd.service",
    "init.scope",
];
const OWN: &str = "holdfast-";
const NAME_BYTES_MAX: usize = 255;

/// See the module.
pub struct StopUnit;

/// The mask, or the end of what runs.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// A link to `/dev/null`.
    Mask {
        /// The folder of masks was there before.
        has_folder: bool,
        /// The unit.
        unit: String,
        /// It was masked before, and stays so.
        was_masked: bool,
    },
    /// Its processes.
    End(Box<Kill>),
}

impl Contain for StopUnit {
    const NAME: &'static str = "stop_unit";
    const SUMMARY: &'static str =
        "The unit of systemd is stopped and masked; it may be started again when it is released.";
    type Step = Stop;

    fn plan(action: &Action, scene: &Scene<'_>) -> Result<Plan<Stop>, Unplanned> {
        let Action::StopUnit { unit } = action else {
            return Err(Unplanned(format!("`{}` is no {}", action.name(), Self::NAME)));
        };
        let refused = |why: &str| Unplanned(format!("{unit:?}: {why}"));
        let is_plain = unit.len() <= NAME_BYTES_MAX
            && !unit.starts_with('.')
            && unit.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte));
        if !is_plain || !KINDS.iter().any(|kind| unit.len() > kind.len() && unit.ends_with(kind)) {
            return Err(refused("the name of a service, socket, timer or path is wanted, with its suffix"));
        }
        if SPARED.contains(&unit.as_str()) || unit.starts_with(OWN) {
            return Err(refused("without it the host, or this program, does not work"));
        }
        if !scene.host.path(RUNNING).is_dir() {
            return Err(refused("systemd does not run here"));
        }
        let group = group(scene.host, unit);
        if group.is_none() && !is_known(scene.host, unit) {
            return Err(refused("there is no such unit"));
        }
        let folder = control(scene.host);
        let was_masked = match fs::read_link(folder.join(unit)) {
            Ok(target) if target == Path::new(MASKED) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            _ => return Err(refused("a unit of the running system is where its mask would be")),
        };
        let mut steps = vec![Stop::Mask { has_folder: folder.is_dir(), unit: unit.clone(), was_masked }];
        if let Some(group) = group {
            let whose = Whose::Group(group);
            let count = spare(scene.host, &whose)?.len();
            if count > 0 {
                let who = format!("{count} processes of {unit}, in no order of its own: systemd shows it as failed");
                steps.push(Stop::End(Box::new(Kill::new(whose, who))));
            }
        }
        Ok(Plan::of(steps))
    }
}

/// The folder of the unit's control group, if it runs: in any slice, also where version 1 is mounted beside.
fn group(host: &Host, unit: &str) -> Option<PathBuf> {
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];
    let mut folders: Vec<PathBuf> = roots.iter().map(|root| host.path(root)).collect();
    // Slices lie in slices: `system.slice/system-getty.slice/getty@tty1.service`.
    for _ in 0..4 {
        let mut below = Vec::new();
        for folder in folders {
            let found = folder.join(unit);
            if found.is_dir() {
                return Some(found);
            }
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
            below.extend(entries.filter(|path| path.extension().is_some_and(|end| end == "slice")));
        }
        folders = below;
    }
    None
}

/// True when there is a file for the unit, or for the template that it is an instance of.
fn is_known(host: &Host, unit: &str) -> bool {
    let template = unit.split_once('@').and_then(|(name, rest)| Some(format!("{name}@.{}", rest.rsplit_once('.')?.1)));
    let names = [Some(unit.to_owned()), template];
    let at = |folder: &str, name: &str| fs::symlink_metadata(host.path(folder).join(name)).is_ok();
    names.iter().flatten().any(|name| FOLDERS.iter().any(|folder| at(folder, name)))
}

/// Tells systemd to read its units anew.
fn reload(host: &Host) -> Result<(), Failed> {
    let is_systemd =
        host.is_live() && fs::read_to_string("/proc/1/comm").is_ok_and(|comm| comm.trim_end() == "systemd");
    match Pid::from_raw(1).filter(|_| is_systemd) {
        Some(first) => kill_process(first, Signal::HUP).map_err(Failed::at("systemd cannot be told")),
        None => Ok(()),
    }
}

fn control(host: &Host) -> PathBuf {
    host.path(RUNTIME).join(CONTROL)
}

fn mask(host: &Host, unit: &str) -> Result<(), Failed> {
    let failed = || format!("{RUNTIME}/{CONTROL}/{unit}");
    let above = host.dir(RUNTIME).map_err(Failed::at(RUNTIME))?;
    match rustix::fs::mkdirat(&above, CONTROL, Mode::from_raw_mode(0o755)) {
        Err(rustix::io::Errno::EXIST) => {}
        made => made.map_err(Failed::at(failed()))?,
    }
    match rustix::fs::symlinkat(MASKED, &above, format!("{CONTROL}/{unit}")) {
        Err(rustix::io::Errno::EXIST) if is_masked(host, unit) => {}
        made => made.map_err(Failed::at(failed()))?,
    }
    reload(host)
}

fn unmask(host: &Host, unit: &str, has_folder: bool) -> Result<(), Failed> {
    let above = host.dir(RUNTIME).map_err(Failed::at(RUNTIME))?;
    let is_ours = is_masked(host, unit);
    if is_ours {
        rustix::fs::unlinkat(above.as_fd(), format!("{CONTROL}/{unit}"), AtFlags::empty())
            .map_err(Failed::at(format!("{RUNTIME}/{CONTROL}/{unit}")))?;
    }
    if !has_folder {
        // Others may have put something there meanwhile: then it stays.
        let _ = rustix::fs::unlinkat(above.as_fd(), CONTROL, AtFlags::REMOVEDIR);
    }
    if is_ours { reload(host) } else { Ok(()) }
}

fn is_masked(host: &Host, unit: &str) -> bool {
    fs::read_link(control(host).join(unit)).is_ok_and(|target| target == Path::new(MASKED))
}

/// True when something runs in the unit's control group.
fn runs(host: &Host, unit: &str) -> bool {
    group(host, unit)
        .and_then(|group| fs::read_to_string(group.join("cgroup.procs")).ok())
        .is_some_and(|pids| !pids.trim().is_empty())
}

impl Effect for Stop {
    fn says(&self) -> String {
        match self {
            Self::Mask { unit, was_masked: true, .. } => format!("{unit} is masked already, and stays so"),
            Self::Mask { unit, .. } => format!("{unit} is masked until it is released or the host is started again"),
            Self::End(kill) => kill.says(),
        }
    }

    fn apply(&mut self, scene: &Scene<'_>, keep: &mut Keep<'_, Self>) -> Result<(), Failed> {
        match self {
            Self::Mask { was_masked: true, .. } => Ok(()),
            Self::Mask { unit, .. } => mask(scene.host, unit),
            Self::End(kill) => kill.apply(scene, &mut |now| keep(&Self::End(Box::new(now.clone())))),
        }
    }

    fn fallbacks(&self) -> Vec<String> {
        match self {
            Self::Mask { .. } => Vec::new(),
            Self::End(kill) => kill.fallbacks(),
        }
    }

    fn undo(&mut self, scene: &Scene<'_>, keep: &mut Keep<'_, Self>) -> Result<Vec<String>, Failed> {
        match self {
            Self::Mask { was_masked: true, .. } => Ok(Vec::new()),
            Self::Mask { has_folder, unit, .. } => {
                unmask(scene.host, unit, *has_folder)?;
                Ok(Vec::new())
            }
            Self::End(kill) => {
                let left = kill.undo(scene, &mut |now| keep(&Self::End(Box::new(now.clone()))))?;
                Ok(left.into_iter().map(|left| format!("{left}; the unit is started again by people")).collect())
            }
        }
    }

    fn looks(&self, scene: &Scene<'_>) -> Vec<Look> {
        match self {
            Self::Mask { unit, .. } => {
                let holds = is_masked(scene.host, unit);
                let what = format!("{unit} is {}masked", if holds { "" } else { "not " });
                let is_at_rest = !runs(scene.host, unit);
                let rest = format!("{unit} runs {}", if is_at_rest { "no process" } else { "still, or again" });
                vec![Look { can_wait: true, ..Look::at(holds, what) }, Look::at(is_at_rest, rest)]
            }
            Self::End(kill) => kill.looks(scene),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contain::testing::{Children, Stage};
    use crate::host::SystemClock;

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for folder in
            ["run/systemd/system", "usr/lib/systemd/system", "sys/fs/cgroup/system.slice/system-x.slice/x@1.service"]
        {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        fs::write(root.path().join("usr/lib/systemd/system/web.service"), "[Service]\n").unwrap();
        fs::write(root.path().join("usr/lib/systemd/system/x@.service"), "[Service]\n").unwrap();
        root
    }

    fn action(unit: &str) -> Action {
        Action::StopUnit { unit: unit.to_owned() }
    }

    fn host(root: &Path) -> Host {
        Host::at(root, SystemClock)
    }

    #[test]
    fn undo_after_apply_is_the_identity() {
        let root = root();
        let before = Stage::tree(root.path());
        let mut stage = Stage::of::<StopUnit>(host(root.path()), action("web.service"));
        stage.apply().unwrap();
        stage.apply().unwrap();
        assert!(stage.holds() && Stage::tree(root.path()) != before);
        assert_eq!(stage.undo().unwrap(), Vec::<String>::new());
        assert_eq!(stage.undo().unwrap(), Vec::<String>::new());
        assert_eq!(Stage::tree(root.path()), before);
    }

    #[test]
    fn what_runs_again_is_not_stopped() {
        let root = root();
        let mut stage = Stage::of::<StopUnit>(host(root.path()), action("web.service"));
        stage.apply().unwrap();
        assert!(stage.holds());
        let group = root.path().join("sys/fs/cgroup/system.slice/web.service");
        fs::create_dir(&group).unwrap();
        fs::write(group.join("cgroup.procs"), "4711\n").unwrap();
        assert!(!stage.holds());
    }

    #[test]
    fn who_masked_it_before_keeps_it_so() {
        let root = root();
        fs::create_dir(root.path().join("run/systemd/system.control")).unwrap();
        std::os::unix::fs::symlink(MASKED, root.path().join("run/systemd/system.control/web.service")).unwrap();
        let before = Stage::tree(root.path());
        let mut stage = Stage::of::<StopUnit>(host(root.path()), action("web.service"));
        stage.apply().unwrap();
        stage.undo().unwrap();
        assert_eq!(Stage::tree(root.path()), before);
    }

    #[test]
    fn what_runs_in_it_ends() {
        let root = root();
        let children = Children::tree();
        let pids: Vec<String> = children.pids().iter().map(u32::to_string).collect();
        let group = root.path().join("sys/fs/cgroup/system.slice/system-x.slice/x@1.service");
        fs::write(group.join("cgroup.procs"), pids.join("\n")).unwrap();
        assert_eq!(super::group(&host(root.path()), "x@1.service"), Some(group.clone()));
        let kill = Stop::End(Box::new(Kill::new(Whose::Group(group), String::new())));
        let mut stage = Stage::of_step::<StopUnit>(Host::live(), &kill);
        stage.apply().unwrap();
        assert!(stage.holds() && children.are_gone());
        assert!(stage.undo().unwrap()[0].contains("started again by people"));
    }

    #[test]
    fn wrong_input_is_refused_by_name() {
        let root = root();
        fs::create_dir(root.path().join("run/systemd/system.control")).unwrap();
        fs::write(root.path().join("run/systemd/system.control/own.service"), "[Service]\n").unwrap();
        fs::write(root.path().join("usr/lib/systemd/system/own.service"), "[Service]\n").unwrap();
        for (unit, wanted) in [
            ("none.service", "there is no such unit"),
            ("web", "with its suffix"),
            (".service", "with its suffix"),
            ("system.slice", "with its suffix"),
            ("../web.service", "with its suffix"),
            ("dbus.service", "does not work"),
            ("holdfast-agent.service", "does not work"),
            ("own.service", "where its mask would be"),
        ] {
            let refused = Stage::refused::<StopUnit>(host(root.path()), action(unit));
            assert!(refused.contains(wanted) && refused.contains(&unit.replace('\\', "")), "{unit}: {refused}");
        }
        fs::remove_dir_all(root.path().join("run")).unwrap();
        assert!(Stage::refused::<StopUnit>(host(root.path()), action("web.service")).contains("does not run here"));
    }
}
