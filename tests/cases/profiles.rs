//! Profiles that narrow themselves, images, and single things.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use harness::{Collected, Lab, Opened, Running, agent};
use serde_json::json;

fn collect(lab: &Lab, words: &[&str]) -> Collected {
    let mut command = Command::new(agent());
    command.args(["collect", "--json", "--quiet", "--output"]).arg(lab.out()).args(words);
    command.env("HOLDFAST_STATE_DIR", lab.path("state"));
    Collected::of(&Running::start(&mut command).wait(Duration::from_mins(1)).expect_code(0))
}

#[test]
fn what_is_known_of_the_incident_narrows_the_profile_and_stands_in_the_bundle() {
    let lab = Lab::new();
    lab.plant("new", "new");
    let old = lab.plant("old", "old");
    let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::open(&old).unwrap().set_modified(long_ago).unwrap();
    let profile = lab.profile(
        "name: x\nsummary: x\ncollect:\n  - collect: files\n    with: { paths: [\"TREE/n*\", \"${incident.paths}\"] }\n  - collect: files\n    when: { incident: hashes }\n    with: { paths: [\"TREE/**\"] }\n",
    );
    let named = format!("paths={}", old.display());
    let collected = collect(&lab, &["--profile", profile.to_str().unwrap(), "--set", &named, "--set", "pids=7"]);
    let mut bundle = Opened::at(&collected.path);
    let header = bundle.json("bundle.json");
    assert_eq!(header["values"], json!({"paths": [old], "pids": [7]}));
    let taken: Vec<String> = bundle.items().iter().map(|item| item["path"].as_str().unwrap().to_owned()).collect();
    assert!(taken.contains(&old.display().to_string()), "{taken:?}");
    let steps = collected.told["coverage"].as_array().unwrap();
    assert_eq!(steps[1]["outcome"], "skipped");
    assert_eq!(steps[1]["reason"], "only when the incident knows hashes");
    lab.verify(&collected.path).signers(&collected.signers).run().expect_code(0);
}

#[test]
fn an_image_is_read_by_its_own_links_and_never_leads_out() {
    let lab = Lab::new();
    lab.plant("etc/hostname", "image-1\n");
    lab.plant("etc/passwd", "eve:x:1000:1000::/home/eve:/bin/sh\n");
    lab.plant("home/eve/.bash_history", "id\n");
    let outside = lab.path("outside");
    fs::write(&outside, "the examiner's own").unwrap();
    symlink(&outside, lab.tree().join("etc/shadow")).unwrap();
    symlink("/etc", lab.tree().join("conf")).unwrap();
    let tree = lab.tree();
    let words =
        ["--root", tree.to_str().unwrap(), "--path", "/conf/*", "--path", "~/.bash_history", "--path", "/etc/**"];
    let collected = collect(&lab, &words);
    let mut bundle = Opened::at(&collected.path);
    assert_eq!(bundle.json("bundle.json")["host"]["name"], "image-1");
    assert_eq!(bundle.json("bundle.json")["host"]["container_or_vm"], "image");
    assert_eq!(bundle.read("[root]/home/eve/.bash_history"), b"id\n");
    let names = bundle.names().to_vec();
    for name in names.iter().filter(|name| name.starts_with("[root]/")) {
        assert!(!bundle.read(name).windows(8).any(|bytes| bytes == b"examiner"), "{name}");
    }
}

#[test]
fn an_image_has_no_volatile_evidence_and_says_so() {
    let lab = Lab::new();
    lab.plant("etc/hostname", "image-1\n");
    let profile = lab.tree_profile("  - collect: processes\n");
    let words = ["--root", lab.tree().to_str().unwrap(), "--profile", profile.to_str().unwrap()].map(str::to_owned);
    let collected = collect(&lab, &words.each_ref().map(String::as_str));
    let step = &collected.told["coverage"][0];
    assert_eq!((&step["collector"], &step["outcome"]), (&json!("processes"), &json!("skipped")));
    assert_eq!(step["reason"], "only on a host that runs: this is an image");
}

#[test]
fn a_single_path_and_a_single_process() {
    let lab = Lab::new();
    let file = lab.plant("one", "1");
    let pid = std::process::id().to_string();
    let collected = collect(&lab, &["--path", file.to_str().unwrap(), "--pid", &pid]);
    let mut bundle = Opened::at(&collected.path);
    assert_eq!(bundle.json("bundle.json")["profile"]["name"], "ad_hoc");
    assert_eq!(bundle.json("bundle.json")["values"]["pids"], json!([std::process::id()]));
    assert!(bundle.lines("data/volatile/processes").iter().any(|row| row["pid"] == std::process::id()));
    assert!(bundle.lines("data/memory/process_memory").iter().any(|row| row["pid"] == std::process::id()));
    assert!(bundle.items().iter().any(|item| item["path"] == file.to_str().unwrap() && item["status"] == "ok"));
}

#[test]
fn lint_says_what_is_wrong_and_where() {
    let lab = Lab::new();
    let profile =
        lab.profile("name: x\nsummary: x\ncollect:\n  - collect: files\n    with: { paths: [\"${incident.path}\"] }\n");
    let lint = |words: &[&str]| {
        let mut command = Command::new(agent());
        command.args(["profiles", "lint"]).args(words);
        Running::start(&mut command).wait(Duration::from_mins(1))
    };
    lint(&[]).expect_code(0);
    let ended = lint(&[profile.to_str().unwrap()]).expect_code(65);
    let wanted = format!("{}:5: `incident.path` is no variable", profile.display());
    assert!(
        ended.stdout.contains(&wanted) && ended.stdout.contains("did you mean `incident.paths`?"),
        "{}",
        ended.said()
    );
    assert_eq!(ended.stderr.trim_end(), "holdfast-agent: 1 of 1 profiles have mistakes");
}

#[test]
fn a_definition_of_forensic_artifacts_needs_one_to_be_there() {
    let lab = Lab::new();
    let profile = lab.profile("name: x\nsummary: x\ncollect:\n  - artifact: NoSuchDefinitionAnywhere\n");
    let mut command = Command::new(agent());
    command.args(["plan", "--profile"]).arg(&profile);
    let ended = Running::start(&mut command).wait(Duration::from_mins(1)).expect_code(65);
    let wanted = format!("{}:4: artifact NoSuchDefinitionAnywhere: there is no definition", profile.display());
    assert!(ended.stderr.contains(&wanted), "{}", ended.said());
}
