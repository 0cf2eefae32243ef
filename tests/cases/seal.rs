//! "A run always ends in a sealed bundle", and whoever trusts the key trusts the bundle.

use std::fs;
use std::process::Command;
use std::time::Duration;

use harness::{Collected, Lab, Opened, Running};

#[test]
fn a_sealed_bundle_is_trusted_by_both_verifiers() {
    let lab = Lab::new();
    let sealed = lab.sealed();
    for verdict in [lab.verify(&sealed.path), lab.verify_py(&sealed.path)] {
        verdict.signers(&sealed.signers).stream(&sealed.stream).run().expect_code(0);
    }
    let mut bundle = Opened::at(&sealed.path);
    assert_eq!(bundle.names()[..3], ["bagit.txt", "uac.log", "bundle.json"]);
    let items = bundle.items();
    assert_eq!(sealed.told["items"], items.len());
    for number in 0..20 {
        let planted = lab.tree().join(format!("d/{number}.txt"));
        let item = items.iter().find(|item| item["path"] == planted.to_str().unwrap()).unwrap();
        assert_eq!(item["status"], "ok", "{item}");
        assert_eq!(bundle.read(item["stored"].as_str().unwrap()), fs::read(&planted).unwrap());
    }
    let own = std::process::id();
    let rows = bundle.lines("data/volatile/processes");
    assert!(rows.iter().any(|row| row["pid"] == own), "this process is not among {} rows", rows.len());
}

#[test]
fn a_key_that_nobody_vouches_for_is_not_trusted() {
    let lab = Lab::new();
    let sealed = lab.sealed();
    for verdict in [lab.verify(&sealed.path), lab.verify_py(&sealed.path)] {
        verdict.run().expect_code(4);
    }
}

#[test]
fn a_bundle_sealed_again_with_another_key_is_not_trusted() {
    let lab = Lab::new();
    let genuine = lab.sealed();
    let forged = lab.collect(lab.path("profile.yaml")).state(&lab.path("forger")).output(lab.path("forged")).sealed();
    assert_ne!(genuine.principal, forged.principal);
    for verdict in [lab.verify(&forged.path), lab.verify_py(&forged.path)] {
        verdict.signers(&genuine.signers).run().expect_code(4);
    }
    // The forger's key under the host's name: the line in a file that somebody trusts decides, not the name.
    let genuine_line = fs::read_to_string(&genuine.signers).unwrap();
    let other_host = lab.path("signers-of-another-host");
    fs::write(&other_host, genuine_line.replace(&genuine.principal, &forged.principal)).unwrap();
    for verdict in [lab.verify(&forged.path), lab.verify_py(&forged.path)] {
        verdict.signers(&other_host).run().expect_code(4);
    }
}

#[test]
fn the_key_is_made_once_and_stays() {
    let lab = Lab::new();
    lab.plant("a", "a");
    let profile = lab.tree_profile("");
    let first = lab.collect(&profile).sealed();
    let second = lab.collect(&profile).sealed();
    assert_eq!(first.principal, second.principal);
    assert_eq!(fs::read_to_string(&first.signers).unwrap().lines().count(), 1);
    lab.verify(&second.path).signers(&first.signers).run().expect_code(0);
}

#[test]
fn standard_output_takes_the_bundle() {
    let lab = Lab::new();
    lab.plant("a", "a");
    let stream = lab.path("beside.jsonl");
    let collect = lab.collect(lab.tree_profile("")).output("-").arg("--stream").arg(&stream);
    let piped = collect.run().expect_code(0);
    let saved = lab.path("saved.zip");
    fs::write(&saved, &piped.stdout_bytes).unwrap();
    let verified = lab.verify(&saved).stream(&stream).run().expect_code(4);
    assert!(verified.stdout.contains("state:       sealed"), "{}", verified.stdout);
}

#[test]
fn tiers_come_in_the_order_of_volatility_whatever_the_profile_says() {
    let lab = Lab::new();
    lab.plant("a", "a");
    let profile = lab.profile(
        "name: test\ncollect:\n  - collect: files\n    with: { paths: [\"TREE/**\"] }\n  - collect: mounts\n  - collect: processes\n",
    );
    let sealed = lab.collect(profile).sealed();
    let ran = sealed.told["coverage"].as_array().unwrap();
    let ran: Vec<&str> = ran.iter().map(|step| step["collector"].as_str().unwrap()).collect();
    assert_eq!(ran, ["processes", "mounts", "files"]);
    let bundle = Opened::at(&sealed.path);
    let place = |wanted: &str| {
        let found = bundle.names().iter().position(|name| name.contains(wanted) && !name.ends_with('/'));
        found.unwrap_or_else(|| panic!("no {wanted} among {:?}", bundle.names()))
    };
    assert!(place("data/volatile/processes") < place("data/system/mounts"));
    assert!(place("data/system/mounts") < place("tree/a"));
}

#[test]
fn extracting_gives_the_files_and_no_links() {
    let lab = Lab::new();
    let sealed = lab.sealed();
    let extracted = lab.path("extracted");
    lab.verify(&sealed.path).signers(&sealed.signers).arg("--extract").arg(&extracted).run().expect_code(0);
    let tree = lab.tree();
    let inside = extracted.join("[root]").join(tree.strip_prefix("/").unwrap());
    assert_eq!(fs::read(inside.join("d/large.bin")).unwrap(), fs::read(tree.join("d/large.bin")).unwrap());
    assert_eq!(fs::read_to_string(inside.join("link")).unwrap().trim_end(), "d/1.txt");
    assert!(fs::symlink_metadata(inside.join("link")).unwrap().is_file());
    // Nothing is written over what is there.
    let again = lab.verify(&sealed.path).signers(&sealed.signers).arg("--extract").arg(&extracted).run();
    assert_ne!(again.code(), Some(0), "{}", again.said());
}

#[test]
fn a_profile_that_the_program_ships_seals_on_this_host() {
    let lab = Lab::new();
    let profile = lab.profile("name: test\ncollect:\n  - include: volatile\n  - collect: process_images\n  - collect: mounts\n  - collect: login_records\n");
    let collected: Collected = lab.collect(profile).within(Duration::from_mins(5)).sealed();
    let mut bundle = Opened::at(&collected.path);
    for (collector, tier) in [
        ("host_facts", "volatile"),
        ("processes", "volatile"),
        ("memory_maps", "volatile"),
        ("open_files", "volatile"),
        ("sockets", "volatile"),
        ("network_state", "volatile"),
        ("process_images", "memory"),
        ("mounts", "system"),
    ] {
        assert!(!bundle.lines(&format!("data/{tier}/{collector}")).is_empty(), "no rows of {collector}");
    }
    let mut plain = Command::new(harness::agent());
    plain.args(["plan", "--json", "--profile"]).arg(lab.path("profile.yaml"));
    let planned = harness::jsonl(&Running::start(&mut plain).wait(Duration::from_mins(1)).expect_code(0).stdout_bytes);
    let planned: Vec<_> = planned.iter().map(|step| step["collector"].clone()).collect();
    let ran: Vec<_> =
        collected.told["coverage"].as_array().unwrap().iter().map(|step| step["collector"].clone()).collect();
    assert_eq!(planned, ran, "what was planned is not what ran");
    lab.verify(&collected.path).signers(&collected.signers).run().expect_code(0);
}
