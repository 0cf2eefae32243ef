//! Bad input: a message that names the subject and the next step, the right exit code, nothing lost.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use harness::{Ended, Lab, Running, Site, agent, holdfast, path_text, server, until};
use rustix::process::Signal;

fn run(command: &mut Command) -> Ended {
    Running::start(command).wait(Duration::from_mins(1))
}

/// Runs the agent and expects exactly this on standard error, nothing on standard output.
#[track_caller]
fn refused(lab: &Lab, words: &[&str], code: i32, message: &str) {
    let ended = run(Command::new(agent()).args(words).env("HOLDFAST_STATE_DIR", lab.path("state"))).expect_code(code);
    assert_eq!((ended.stderr.trim_end(), ended.stdout.as_str()), (message, ""));
}

#[test]
fn an_unknown_profile() {
    refused(
        &Lab::new(),
        &["collect", "--profile", "intrusoin"],
        64,
        "holdfast-agent: unknown profile `intrusoin`\n  hint: did you mean `intrusion`?",
    );
}

#[test]
fn a_profile_file_that_is_not_there() {
    refused(
        &Lab::new(),
        &["plan", "--profile", "/nonexistent/p.yaml"],
        65,
        "holdfast-agent: the profile /nonexistent/p.yaml cannot be read: No such file or directory (os error 2)\n  \
         hint: give the path of a YAML file, or a name that `holdfast-agent profiles` lists",
    );
}

#[test]
fn mistakes_in_a_profile_come_with_file_line_and_a_suggestion() {
    for (yaml, message) in [
        (
            "name: x\ncollect:\n  - collect: procesess\n",
            "FILE:3: unknown collector `procesess`\n  hint: did you mean `processes`?",
        ),
        ("name: x\nsumary: y\ncollect: []\n", "FILE:2: unknown field `sumary`\n  hint: did you mean `summary`?"),
        (
            "name: x\ncollect:\n  - include: volatil\n",
            "FILE:3: unknown part `volatil`\n  hint: did you mean `volatile`?",
        ),
        (
            "name: x\ncollect:\n  - collect: files\n    with:\n      path: [/etc/**]\n",
            "FILE:5: unknown field `path`\n  hint: did you mean `paths`?",
        ),
    ] {
        let lab = Lab::new();
        let profile = lab.profile(yaml);
        let message = format!("holdfast-agent: {}", message.replace("FILE", path_text(&profile)));
        refused(&lab, &["collect", "--profile", path_text(&profile)], 65, &message);
        assert!(!lab.path("state").exists(), "a key was made for a run that did not begin");
    }
}

#[test]
fn all_mistakes_are_told_at_once_and_a_wrong_glob_is_one() {
    let lab = Lab::new();
    let profile = lab.profile(
        "name: x\ncollect:\n  - collect: nope\n  - collect: files\n    with: { paths: [\"relative/**\"] }\n  - collect: files\n    with: { paths: [\"/etc/[\"] }\n",
    );
    let ended = lab.collect(&profile).run().expect_code(65);
    for line in [3, 5, 7] {
        assert!(ended.stderr.contains(&format!("{}:{line}: ", path_text(&profile))), "line {line}: {}", ended.stderr);
    }
    assert_eq!(fs::read_dir(lab.out()).unwrap().count(), 0);
}

#[test]
fn an_output_that_cannot_be_written() {
    let lab = Lab::new();
    lab.plant("a", "a");
    let profile = lab.tree_profile("");
    let ended = lab.collect(&profile).output("/proc/nope").run().expect_code(74);
    assert_eq!(
        ended.stderr.lines().collect::<Vec<_>>()[..2],
        [
            "holdfast-agent: /proc/nope cannot be created: No such file or directory (os error 2)",
            "  hint: choose a folder that can be written, with --output",
        ],
    );
}

#[test]
fn nothing_that_is_there_is_overwritten() {
    let lab = Lab::new();
    lab.plant("a", "a");
    let precious = lab.path("precious.zip");
    fs::write(&precious, "what was there before").unwrap();
    let ended = lab.collect(lab.tree_profile("")).output(&precious).run().expect_code(74);
    assert!(ended.stderr.contains("precious.zip cannot be created: File exists"), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "what was there before");
}

#[test]
fn a_signing_key_that_others_may_have_read() {
    let lab = Lab::new();
    lab.plant("a", "a");
    let profile = lab.tree_profile("");
    lab.collect(&profile).sealed();
    let key = lab.path("state/agent_key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let ended = lab.collect(&profile).run().expect_code(77);
    assert!(ended.stderr.contains(&format!("{} may be read or changed by others", key.display())), "{}", ended.stderr);
    assert!(ended.stderr.contains("\n  hint: "), "{}", ended.stderr);
}

#[test]
fn a_host_is_not_enrolled_again_under_its_running_daemon() {
    let site = Site::new();
    let host = site.enroll("web-1");
    let before = fs::read(host.state().join("tls.pem")).unwrap();
    let daemon = host.daemon();
    until("the daemon is up", Duration::from_mins(1), || host.run(&["status"]).stdout.contains("is up").then_some(()));
    let ticket = site.holdfast(&["host", "enroll-ticket"]).expect_code(0).stdout;
    let ticket = site.write("again.ticket", ticket).into_os_string().into_string().unwrap();
    let words = ["enroll", "--token", &ticket, "--signers", &site.text("signers")];
    let refused = host.run(&words).expect_code(77);
    assert!(refused.stderr.ends_with("\n  hint: stop it first: systemctl stop holdfast-agent\n"), "{}", refused.stderr);
    assert_eq!(fs::read(host.state().join("tls.pem")).unwrap(), before);
    daemon.signal(Signal::TERM);
    daemon.wait(Duration::from_mins(1)).expect_code(0);
    host.run(&words).expect_code(0);
    assert_ne!(fs::read(host.state().join("tls.pem")).unwrap(), before, "the ticket was not spent");
}

#[test]
fn tokens_are_made_where_a_server_is_and_nowhere_else() {
    let lab = Lab::new();
    let token = |words: &[&str], data: &std::path::Path| {
        run(Command::new(server()).arg("token").args(words).arg("--data").arg(data))
    };
    let (add, typo) = (["add", "ada", "--role", "responder"], lab.path("typo"));
    let refused = token(&add, &typo).expect_code(69);
    assert!(refused.stderr.contains("typo/holdfast.db is not there\nhint: --data names"), "{}", refused.stderr);
    assert!(!typo.exists());
    let site = Site::new();
    token(&add, &site.data()).expect_code(0);
    let unknown = token(&["revoke", "0123456789abcdef"], &site.data()).expect_code(65);
    assert!(unknown.stderr.contains("there is no token"), "{}", unknown.stderr);
    let mut second = Command::new(server());
    let address = site.url().replace("https://", "");
    second.args(["serve", "--listen", &address, "--data"]).arg(lab.path("second"));
    let refused = run(&mut second).expect_code(69);
    assert!(refused.stderr.contains("\nhint: another holdfast-server?"), "{}", refused.stderr);
}

#[test]
fn a_command_line_that_is_not_understood() {
    let lab = Lab::new();
    for words in [&["collcet"][..], &["collect"], &["collect", "--profile", "triage", "--outptu", "x"], &[]] {
        let ended = run(Command::new(agent()).args(words)).expect_code(64);
        assert!(ended.stderr.contains("Usage: holdfast-agent"), "{}", ended.stderr);
    }
    refused(
        &lab,
        &["collect", "--profile", "triage", "--output", "-", "--json"],
        64,
        "holdfast-agent: --json and --output - both want standard output\n  hint: write the bundle to a folder",
    );
    let collectors = run(Command::new(agent()).args(["collectors", "procesess"])).expect_code(64);
    assert!(collectors.stderr.contains("did you mean `processes`?"), "{}", collectors.stderr);
    run(Command::new(holdfast()).arg("verify")).expect_code(64);
}

#[test]
fn what_is_no_bundle_is_not_called_tampered() {
    let lab = Lab::new();
    for (name, content) in [
        ("text.zip", &b"this is no bundle\n"[..]),
        ("empty.zip", b""),
        ("other.zip", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("encrypted.zip.age", b"age-encryption.org/v1\n-> X25519 abc\n"),
    ] {
        let path = lab.path(name);
        fs::write(&path, content).unwrap();
        let ended = lab.verify(&path).run().expect_code(65);
        assert!(ended.said().contains(name) || name == "empty.zip", "{}", ended.said());
        lab.verify_py(&path).run().expect_code(65);
    }
    let ended = lab.verify(&lab.path("nowhere.zip")).run().expect_code(74);
    assert!(ended.stderr.contains("nowhere.zip"), "{}", ended.stderr);
}
