//! The agent protects itself: what parses can run and change nothing, what it believes can be changed by nobody else, who
//! watches it hears from it, and its evidence says what it was.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::{Collected, Lab, Opened, Running, Site, agent};
use rustix::process::Signal;
use serde_json::Value;
use wire::Sha256;

use super::path_broken::SOON;

/// A collector of each kind, as the threads that run them are confined.
fn profile(lab: &Lab) -> std::path::PathBuf {
    lab.plant("read/by/the/walk", "evidence");
    lab.tree_profile("  - collect: host_facts\n  - collect: agent_files\n  - collect: processes\n")
}

fn confinement(collected: &Collected) -> Value {
    Opened::at(&collected.path).json("data/footprint.json")["confinement"].clone()
}

fn kernel_has(call: &str) -> bool {
    let script = "import ctypes, sys; libc = ctypes.CDLL(None); print(libc.syscall(444, None, 0, 1) > 0)";
    let asked = Running::start(Command::new("python3").args(["-c", script])).wait(SOON).expect_code(0);
    call != "landlock" || asked.stdout.trim() == "True"
}

#[test]
fn the_footprint_says_what_collectors_could_not_have_done_and_the_bundle_what_collected() {
    let lab = Lab::new();
    let collected = lab.collect(profile(&lab)).sealed();
    let told = confinement(&collected);
    assert_eq!(told["seccomp"], "all collectors", "{told}");
    if kernel_has("landlock") {
        assert!(told["landlock"].as_str().unwrap().starts_with("collectors of logs and files, version "), "{told}");
    }
    let mut opened = Opened::at(&collected.path);
    // What is confined reads on, through detached views of mounts where it is root.
    let taken = opened.names().iter().any(|name| name.ends_with("read/by/the/walk"));
    assert!(taken, "{:?}", opened.names());
    let rows = opened.lines("data/system/");
    let program = rows.iter().find(|row| row["record"] == "agent_program");
    let program = program.unwrap_or_else(|| panic!("{:?}: {rows:?}", opened.names()));
    assert_eq!(program["sha256"], Sha256::of(&fs::read(agent()).unwrap()).to_string());
    assert_eq!(program["path"], agent().canonicalize().unwrap().to_str().unwrap());
    let key = rows.iter().find(|row| row["path"].as_str().is_some_and(|path| path.ends_with("/state/agent_key")));
    assert!(key.unwrap().get("sha256").is_none(), "a secret has no digest: {rows:?}");
}

#[test]
fn a_kernel_that_cannot_confine_is_no_reason_not_to_collect() {
    let lab = Lab::new();
    let collect = lab.collect(profile(&lab)).arg("--json").command();
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=seccomp,landlock_create_ruleset"]);
    command.args(["-e", "inject=seccomp:error=EINVAL", "-e", "inject=landlock_create_ruleset:error=ENOSYS"]);
    command.arg(collect.get_program()).args(collect.get_args());
    command.envs(collect.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ended = Running::start(&mut command).wait(SOON).expect_code(0);
    assert_eq!(ended.stderr.matches("cannot be confined").count(), 2, "{}", ended.stderr);
    let told = confinement(&Collected::of(&ended));
    for what in ["seccomp", "landlock"] {
        assert!(told[what].as_str().unwrap().starts_with("no: "), "{told}");
    }
}

#[test]
fn who_watches_hears_that_the_daemon_is_up_goes_round_and_stops() {
    let site = Site::new();
    let host = site.enroll("web-1");
    let path = site.path("notify");
    let heard = UnixDatagram::bind(&path).unwrap();
    heard.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let line = || {
        let mut line = [0; 256];
        let length = heard.recv(&mut line).unwrap();
        String::from_utf8_lossy(&line[..length]).into_owned()
    };
    let variables = [format!("NOTIFY_SOCKET={}", path.display()), "WATCHDOG_USEC=100000".to_owned()];
    let daemon = host.daemon_behind(&[&["env".to_owned()], &variables[..]].concat());
    assert_eq!(line(), "READY=1");
    assert_eq!(line(), "WATCHDOG=1");
    daemon.signal(Signal::TERM);
    let stopping = std::iter::repeat_with(line).find(|line| line != "WATCHDOG=1");
    assert_eq!(stopping.as_deref(), Some("STOPPING=1"));
    daemon.wait(SOON).expect_code(0);
}

#[test]
fn what_others_may_change_is_not_believed() {
    let site = Site::new();
    let host = site.enroll("web-1");
    let chmod = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let refused = |path: &Path, mode: u32, before: u32| {
        chmod(path, mode);
        let said = host.daemon().wait(SOON).expect_code(77).stderr;
        assert!(said.contains(path.to_str().unwrap()) && said.contains("hint: "), "{said}");
        chmod(path, before);
    };
    // Whoever may write to the folder above puts another one in its place.
    let above = host.state().parent().unwrap().canonicalize().unwrap();
    refused(&above, 0o770, 0o700);
    refused(&host.state().join("tls.pem"), 0o640, 0o600);
    refused(&host.state().join("enrolment.json"), 0o604, 0o600);
    let daemon = host.daemon();
    harness::until("it is connected", SOON, || (site.api("hosts")["items"][0]["connected"] == true).then_some(()));
    super::path_broken::end(daemon);
}
