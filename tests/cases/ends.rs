//! However a run is ended, what it has is signed: interrupted, on a full medium, at a limit.

use std::fs::{self, OpenOptions};
use std::process::Command;
use std::time::Duration;

use harness::{Collected, Lab, Opened, Random, Running, agent, is_root_or_skipped, path_text, until};
use rustix::process::Signal;

const SOON: Duration = Duration::from_mins(1);

/// A tree that takes a minute at the rate that its profile allows.
fn slow(lab: &Lab) -> std::path::PathBuf {
    let mut random = Random::seeded();
    for number in 0..60 {
        lab.plant(&number.to_string(), random.bytes(1 << 20));
    }
    lab.profile(
        "name: slow\nlimits: { read_bytes_per_sec_max: 1MiB }\ncollect:\n  - collect: files\n    with: { paths: [\"TREE/**\"] }\n  - collect: file_timeline\n",
    )
}

fn interrupted_by(signal: Signal) {
    let lab = Lab::new();
    let running = lab.collect(slow(&lab)).arg("--json").start();
    until("the bundle grows", SOON, || {
        let files = fs::read_dir(lab.out()).unwrap().map(|entry| entry.unwrap());
        let lengths = files.map(|file| file.metadata().map_or(0, |meta| meta.len()));
        lengths.max().filter(|length| *length > 512 << 10)
    });
    running.signal(signal);
    let sealed = Collected::of(&running.wait(SOON).expect_code(3));
    assert_eq!((&sealed.told["state"], &sealed.told["interrupted"]), (&"sealed".into(), &true.into()));
    let outcomes: Vec<&str> =
        sealed.told["coverage"].as_array().unwrap().iter().map(|step| step["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["interrupted", "not_run"], "{}", sealed.told);
    for verdict in [lab.verify(&sealed.path), lab.verify_py(&sealed.path)] {
        verdict.signers(&sealed.signers).stream(&sealed.stream).run().expect_code(0);
    }
    let mut bundle = Opened::at(&sealed.path);
    let custody = bundle.lines("data/custody/");
    assert!(custody.iter().any(|line| line["event"] == "interrupted"));
    assert_eq!(custody.last().unwrap()["event"], "sealing");
    let items = bundle.items();
    let whole = items.iter().filter(|item| item["status"] == "ok" && item["size"] == 1 << 20).count();
    assert!((1..60).contains(&whole), "{whole} files came through whole");
}

#[test]
fn sigterm_seals() {
    interrupted_by(Signal::TERM);
}

#[test]
fn sigint_seals() {
    interrupted_by(Signal::INT);
}

#[test]
fn a_limit_of_time_seals_and_says_so() {
    let lab = Lab::new();
    let profile = slow(&lab);
    let text = fs::read_to_string(&profile).unwrap();
    fs::write(&profile, text.replace("limits: {", "limits: { wall_secs_max: 2,")).unwrap();
    let sealed = lab.collect(profile).within(SOON).ends_with(3);
    assert_eq!(sealed.told["coverage"][0]["outcome"], "timed_out", "{}", sealed.told);
    assert_eq!(sealed.told["coverage"][1]["outcome"], "not_run", "{}", sealed.told);
    lab.verify(&sealed.path).signers(&sealed.signers).run().expect_code(0);
}

#[test]
fn a_limit_of_size_seals_and_what_was_left_out_is_an_item() {
    let lab = Lab::new();
    for number in 0..10 {
        lab.plant(&number.to_string(), Random::seeded().bytes(1 << 20));
    }
    let profile = lab.profile(
        "name: small\nlimits: { bytes_max: 3MiB }\ncollect:\n  - collect: files\n    with: { paths: [\"TREE/**\"] }\n",
    );
    let sealed = lab.collect(profile).ends_with(3);
    assert_eq!(sealed.told["coverage"][0]["outcome"], "limited", "{}", sealed.told);
    let items = Opened::at(&sealed.path).items();
    let files: Vec<&serde_json::Value> = items.iter().filter(|item| item["meta"]["type"] == "file").collect();
    assert_eq!(files.len(), 10);
    let left_out = files.iter().filter(|item| ["skipped", "truncated"].contains(&item["status"].as_str().unwrap()));
    assert!(left_out.clone().count() >= 7);
    assert!(left_out.clone().all(|item| item["reason"].as_str().unwrap().contains("bytes_max")));
    lab.verify(&sealed.path).signers(&sealed.signers).run().expect_code(0);
}

#[test]
fn an_output_that_is_always_full_is_no_seal_and_says_so() {
    let lab = Lab::new();
    lab.plant("a", "a");
    let mut collect = lab.collect(lab.tree_profile("")).output("-").command();
    collect.stdout(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let ended = Running::start_with_own_output(&mut collect).wait(SOON).expect_code(1);
    assert!(
        ended.stderr.contains("holdfast-agent: the output cannot be written: No space left on device"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_medium_that_fills_up_leaves_a_partial_bundle() {
    if !is_root_or_skipped("a medium that fills up") {
        return;
    }
    let lab = Lab::new();
    lab.plant("d/random", Random::seeded().bytes(16 << 20));
    let profile = lab.tree_profile("  - collect: host_facts\n  - collect: processes\n");
    let (medium, saved) = (lab.path("medium"), lab.path("saved"));
    fs::create_dir(&medium).unwrap();
    fs::create_dir(&saved).unwrap();
    // The medium is gone with its mount namespace, so what lies on it is saved inside.
    let script =
        "mount -t tmpfs -o size=8m none \"$1\" && shift && \"$@\"; code=$?; cp \"$MEDIUM\"/* \"$SAVED\"; exit $code";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(&medium).arg(agent());
    command.args(["collect", "--profile"]).arg(&profile).arg("--output").arg(&medium);
    command.env("HOLDFAST_STATE_DIR", lab.path("state")).env("MEDIUM", &medium).env("SAVED", &saved);
    let ended = Running::start(&mut command).wait(SOON).expect_code(1);
    assert!(ended.stderr.contains("No space left on device"), "{}", ended.stderr);
    assert!(ended.stderr.contains("is a partial bundle"), "{}", ended.stderr);
    let files: Vec<_> = fs::read_dir(&saved).unwrap().map(|entry| entry.unwrap().path()).collect();
    let bundle = files.iter().find(|path| path_text(path).ends_with(".evidence.zip")).unwrap();
    let said = lab.verify(bundle).run().expect_code(4).stdout;
    assert!(said.contains("state:       partial"), "{said}");
    let rows = lab.path("rows");
    lab.verify(bundle).arg("--extract").arg(&rows).run().expect_code(4);
    assert!(rows.join("data/volatile/processes.jsonl").is_file(), "the volatile evidence did not survive");
}
