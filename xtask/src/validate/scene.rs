//! The private copy of the machine, and what happens in it.

use std::ffi::CString;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command};

use anyhow::{Context as _, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, unmount};
use rustix::process::pivot_root;
use serde_json::{Value, json};

use super::acts;
use super::traces::TRACES;

/// Where the folder of the run is within the copy.
const WORK: &str = "/work-of-validation";
/// Where programs and files are planted.
pub const PLANTED: &str = "/tmp/.validation";
/// Collectors that the traces need. Those that this agent does not have are left out of the profile.
const COLLECTORS: [&str; 30] = [
    "host_facts",
    "processes",
    "process_identity",
    "hidden_processes",
    "memory_maps",
    "open_files",
    "sockets",
    "hidden_sockets",
    "network_state",
    "firewall",
    "kernel_modules",
    "hidden_modules",
    "kernel_state",
    "bpf",
    "namespaces",
    "ssh_sessions",
    "sessions",
    "deleted_files",
    "process_images",
    "mounts",
    "containers",
    "persistence",
    "preload",
    "accounts",
    "login_records",
    "web_roots",
    "temp_files",
    "user_activity",
    "suid_and_capabilities",
    "package_verification",
];

/// Runs as the first process of the namespaces that unshare(1) made.
pub fn run(work: &Path) -> anyhow::Result<()> {
    enter(work).context("a private copy of this machine cannot be made")?;
    let work = Path::new(WORK);
    profile(work)?;
    collect(work, "clean")?;
    fs::create_dir_all(PLANTED)?;
    let mut scene = Scene { processes: Vec::new() };
    let mut planted = Vec::new();
    for trace in TRACES {
        let outcome = (trace.plant)(&mut scene);
        let (mark, why) = match outcome {
            Ok(mark) => (Some(mark), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        planted
            .push(json!({"id": trace.id, "mark": mark, "not_planted": why, "rules": trace.rules, "what": trace.what}));
    }
    fs::write(work.join("planted.json"), Value::Array(planted).to_string())?;
    // From here on no program is started but the agent, which is static: the last trace bends the dynamic loader.
    collect(work, "planted")
}

/// An overlay in memory over the whole of `/`, with a `/proc` of these namespaces; then it is the root.
fn enter(work: &Path) -> anyhow::Result<()> {
    let base = work.join("root");
    fs::create_dir_all(&base)?;
    mount("tmpfs", &base, "tmpfs", MountFlags::empty(), None)?;
    for name in ["upper", "work", "new"] {
        fs::create_dir(base.join(name))?;
    }
    let new = base.join("new");
    let shown = base.display();
    let data = CString::new(format!("lowerdir=/,upperdir={shown}/upper,workdir={shown}/work"))?;
    mount("overlay", &new, "overlay", MountFlags::empty(), data.as_c_str()).context("overlay over /")?;
    let here = new.join(WORK.trim_start_matches('/'));
    fs::create_dir_all(&here)?;
    mount_bind(work, &here)?;
    for (kind, at) in [("proc", "proc"), ("sysfs", "sys"), ("tmpfs", "tmp"), ("tmpfs", "run")] {
        let at = new.join(at);
        fs::create_dir_all(&at)?;
        mount(kind, &at, kind, MountFlags::empty(), None).with_context(|| format!("{kind} at {}", at.display()))?;
    }
    mount_bind_recursive("/dev", new.join("dev"))?;
    std::env::set_current_dir(&new)?;
    fs::create_dir_all("old-root")?;
    pivot_root(".", "old-root")?;
    std::env::set_current_dir("/")?;
    unmount("/old-root", UnmountFlags::DETACH)?;
    fs::remove_dir("/old-root")?;
    rustix::system::sethostname(b"validation")?;
    // A new network namespace has its loopback down. Without ip(8), what needs a connection is not planted, and says so.
    let _ = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    Ok(())
}

/// A profile of the collectors that this agent has.
fn profile(work: &Path) -> anyhow::Result<()> {
    // Each line: tier, name, summary.
    let listed = Command::new(work.join("holdfast-agent")).args(["collectors"]).output()?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let is_known = |name: &&&str| listed.lines().any(|line| line.split_whitespace().nth(1) == Some(**name));
    let mut text = String::from("name: validation\nsummary: What the validation looks at.\ncollect:\n");
    for name in COLLECTORS.iter().filter(is_known) {
        let _ = writeln!(text, "  - collect: {name}");
    }
    fs::write(work.join("validation.yaml"), text)?;
    Ok(())
}

fn collect(work: &Path, name: &str) -> anyhow::Result<()> {
    let mut agent = Command::new(work.join("holdfast-agent"));
    agent.arg("collect").arg("--profile").arg(work.join("validation.yaml")).arg("--output").arg(work.join(name));
    fs::create_dir_all(work.join(name))?;
    let ran = agent.env("HOLDFAST_STATE_DIR", work.join("state")).output()?;
    let said = String::from_utf8_lossy(&ran.stderr);
    // 3: a step met a limit, which is no failure of the collection.
    ensure!(matches!(ran.status.code(), Some(0 | 3)), "the agent failed ({}): {said}", ran.status);
    Ok(())
}

/// What was started, to be ended with the namespaces.
pub struct Scene {
    processes: Vec<Child>,
}

impl Scene {
    /// Starts an act. Returns its number, and what it said.
    pub fn start(&mut self, program: &str, arg0: Option<&str>, words: &[&str]) -> anyhow::Result<(u32, Vec<String>)> {
        let (child, said) = acts::start(program, arg0, words)?;
        let pid = child.id();
        self.processes.push(child);
        Ok((pid, said))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for child in &mut self.processes {
            let _ = child.kill();
        }
    }
}

/// A copy of this program under another name.
pub fn copy(name: &str) -> anyhow::Result<String> {
    let path = format!("{PLANTED}/{name}");
    fs::copy(format!("{WORK}/xtask"), &path)?;
    Ok(path)
}

/// A file, with the folders above it.
pub fn write(path: &str, text: &str, mode: u32) -> anyhow::Result<()> {
    make_parent(path)?;
    fs::write(path, text).with_context(|| path.to_owned())?;
    set_mode(path, mode)
}

/// The mode of a file.
pub fn set_mode(path: &str, mode: u32) -> anyhow::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(|| path.to_owned())
}

/// A line at the end of a file.
pub fn append(path: &str, line: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    make_parent(path)?;
    let file = fs::OpenOptions::new().create(true).append(true).open(path);
    writeln!(file.with_context(|| path.to_owned())?, "{line}")?;
    Ok(())
}

fn make_parent(path: &str) -> anyhow::Result<()> {
    let parent = Path::new(path).parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).with_context(|| parent.display().to_string())
}
