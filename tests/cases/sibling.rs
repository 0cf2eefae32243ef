//! What takes too long for a run to wait for it stands in a bundle of its own, which says to whom it belongs.

use std::time::Duration;

use harness::{Lab, Opened, Site};
use serde_json::{Value, json};

const PROFILE: &str = "name: memory\nsummary: Memory.\ncollect:\n  - collect: host_facts\n  \
                       - collect: physical_memory\n    limits: { bytes_max: 8MiB }\n";
const SOON: Duration = Duration::from_mins(2);

#[test]
fn two_bundles_lie_beside_each_other() {
    let lab = Lab::new();
    let profile = lab.profile(PROFILE);
    let ended = lab.collect(&profile).arg("--json").within(SOON).run();
    // A kernel that shows its memory has more of it than the bound: then the step is limited.
    assert!(matches!(ended.code(), Some(0 | 3)), "{}", ended.said());
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    let paths = [&told["path"], &told["sibling"]["path"]].map(|path| std::path::PathBuf::from(path.as_str().unwrap()));
    let signers = std::path::PathBuf::from(told["allowed_signers"].as_str().unwrap());
    let [mut main, mut beside] = [Opened::at(&paths[0]), Opened::at(&paths[1])];
    for path in &paths {
        lab.verify(path).signers(&signers).run().expect_code(0);
        lab.verify_py(path).signers(&signers).run().expect_code(0);
    }
    assert!(paths[1].to_str().unwrap().ends_with(".memory.evidence.zip"));
    let (of_main, of_beside) = (main.json("bundle.json"), beside.json("bundle.json"));
    assert_eq!((&of_main["belongs_to"], &of_beside["belongs_to"]), (&Value::Null, &of_main["bundle"]));
    let custody = main.lines("data/custody/");
    let begun = custody.iter().find(|line| line["event"] == "sibling_begun").unwrap();
    assert_eq!((&begun["bundle"], &begun["collectors"]), (&of_beside["bundle"], &json!(["physical_memory"])));
    let items = beside.items();
    let image = items.iter().find(|item| item["kind"] == "memory").unwrap();
    assert_eq!(image["path"], "/proc/kcore");
    match image["stored"].as_str() {
        Some(stored) => assert!(stored.starts_with("memory/") && beside.read(stored).starts_with(b"EMiL"), "{image}"),
        None => assert!(image["reason"].is_string() || image["error"].is_string(), "{image}"),
    }
    assert!(beside.names().iter().any(|name| name == "data/raw/physical_memory/version"));
}

#[test]
fn standard_output_takes_one_bundle_and_the_other_is_said_to_be_missing() {
    let lab = Lab::new();
    let profile = lab.profile(PROFILE);
    let ended = lab.collect(&profile).output("-").within(SOON).run().expect_code(3);
    let path = lab.path("piped.evidence.zip");
    std::fs::write(&path, &ended.stdout_bytes).unwrap();
    let coverage = Opened::at(&path).json("data/coverage.json");
    let step = coverage["collectors"].as_array().unwrap().iter().find(|step| step["collector"] == "physical_memory");
    assert_eq!(step.unwrap()["outcome"], "not_run", "{coverage}");
    assert!(ended.stderr.contains("standard output takes one"), "{}", ended.said());
}

#[test]
fn an_order_brings_both_to_its_incident() {
    let site = Site::new();
    let profile = site.write("memory.yaml", PROFILE);
    let host = site.enroll("web-1");
    let incident = site.alert("edr", &json!({"event_type": "malware", "host": "web-1", "details": "one"}));
    let daemon = host.daemon();
    let order = host.dispatch(&site, &incident, profile.to_str().unwrap());
    let ended = site.await_order(&order, "completed", SOON);
    let evidence = || site.api(&format!("evidence?incident={incident}"))["items"].as_array().unwrap().clone();
    let bundles = harness::until("both bundles are sealed", SOON, || {
        let bundles = evidence();
        (bundles.len() == 2 && bundles.iter().all(|bundle| bundle["state"] == "sealed")).then_some(bundles)
    });
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait(SOON).expect_code(0);
    for bundle in &bundles {
        assert_eq!((&bundle["order"], &bundle["findings"]), (&json!(order), &json!([])), "{bundle}");
    }
    let main = bundles.iter().find(|bundle| bundle["bundle"] == ended["bundle"]).unwrap();
    let beside = bundles.iter().find(|bundle| bundle["bundle"] != ended["bundle"]).unwrap();
    let got = site.path("got");
    let id = beside["bundle"].as_str().unwrap();
    site.holdfast(&["evidence", "get", id, "--output", got.to_str().unwrap()]).expect_code(0);
    let got = got.join(beside["name"].as_str().unwrap());
    assert!(got.to_str().unwrap().ends_with(".memory.evidence.zip"));
    assert_eq!(Opened::at(&got).json("bundle.json")["belongs_to"], main["bundle"]);
}
