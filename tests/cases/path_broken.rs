//! The path breaks: the agent, the cable, the server. What was acknowledged is there, and it verifies.

use std::process::Command;
use std::time::Duration;

use harness::{Lab, Random, Running, Site, until};
use rustix::process::Signal;
use serde_json::{Value, json};

pub const SOON: Duration = Duration::from_mins(2);

/// The volatile tier, then a tree that takes some seconds at the rate that its profile allows.
pub fn slow(lab: &Lab, files: usize, rate: &str) -> String {
    let mut random = Random::seeded();
    for number in 0..files {
        lab.plant(&number.to_string(), random.bytes(1 << 20));
    }
    let profile = format!(
        "name: slow\nsummary: A test.\nlimits: {{ read_bytes_per_sec_max: {rate} }}\ncollect:\n  - collect: host_facts\n  - collect: processes\n  - collect: files\n    with: {{ paths: [\"TREE/**\"] }}\n"
    );
    lab.profile(&profile).into_os_string().into_string().unwrap()
}

pub fn incident(site: &Site) -> String {
    site.alert("edr", &json!({"event_type": "malware", "host": "web-1", "details": "one"}))
}

/// Waits until the server holds some of the files tier, and returns the bundle as it then is.
pub fn in_the_files_tier(site: &Site, incident: &str, bytes: u64) -> Value {
    until("the files tier is on its way", SOON, || {
        let evidence = site.api(&format!("evidence?incident={incident}"))["items"][0].clone();
        let has_volatile = evidence["tiers"].as_array()?.contains(&json!("volatile"));
        (has_volatile && evidence["bytes"].as_u64()? >= bytes).then_some(evidence)
    })
}

pub fn only_bundle(site: &Site, incident: &str) -> Value {
    let bundles = site.api(&format!("evidence?incident={incident}"));
    assert_eq!(bundles["items"].as_array().unwrap().len(), 1, "{bundles}");
    bundles["items"][0].clone()
}

/// The bundle, once the server has verified it.
pub fn verified(site: &Site, incident: &str) -> Value {
    until("the bundle is verified", SOON, || {
        let bundle = only_bundle(site, incident);
        (bundle["state"] != "receiving").then_some(bundle)
    })
}

/// Downloads the bundle and lets `holdfast verify` judge it.
pub fn get(site: &Site, bundle: &Value, code: i32) -> std::path::PathBuf {
    let folder = site.path("got");
    let id = bundle["bundle"].as_str().unwrap();
    site.holdfast(&["evidence", "get", id, "--output", folder.to_str().unwrap()]).expect_code(code);
    folder.join(bundle["name"].as_str().unwrap())
}

/// The sum of the server's counters in whose line all of these stand.
pub fn metric(site: &Site, name: &[&str]) -> u64 {
    let token = std::fs::read_to_string(site.path("responder.token")).unwrap();
    let answer = site.client().get(format!("{}/metrics", site.url())).bearer_auth(token.trim()).send().unwrap();
    let text = answer.text().unwrap();
    let values = text
        .lines()
        .filter(|line| name.iter().all(|part| line.contains(part)))
        .filter_map(|line| line.rsplit_once(' '));
    values.filter_map(|(_, value)| value.parse::<u64>().ok()).sum()
}

pub fn end(daemon: Running) {
    daemon.signal(Signal::TERM);
    daemon.wait(SOON).expect_code(0);
}

#[test]
fn the_agent_is_killed_and_what_arrived_is_a_partial_bundle() {
    let (site, lab) = (Site::new(), Lab::new());
    let host = site.enroll("web-1");
    let daemon = host.daemon();
    let incident = incident(&site);
    let order = host.dispatch(&site, &incident, &slow(&lab, 60, "2MiB"));
    in_the_files_tier(&site, &incident, 9 << 20);
    daemon.signal(Signal::KILL);
    daemon.wait(SOON);

    let daemon = host.daemon();
    let told = site.await_order(&order, "interrupted", SOON);
    let last = told["events"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["event"], "interrupted");
    assert!(last["receipted"].as_u64().unwrap() > 0, "{told}");
    let bundle = verified(&site, &incident);
    assert_eq!(bundle["state"], "partial", "{bundle}");
    let receipts = bundle["receipts"].as_array().unwrap();
    assert!(receipts.iter().any(|receipt| receipt["phase"] == "volatile" && receipt["phase_complete"] == true));
    let file = get(&site, &bundle, 3);
    let bounded = file.with_file_name("bounded.zip");
    let token = std::fs::read_to_string(site.path("responder.token")).unwrap();
    let id = bundle["bundle"].as_str().unwrap();
    let url = format!("{}/api/v1/evidence/{id}/content?view=bounded", site.url());
    let bytes = site.client().get(url).bearer_auth(token.trim()).send().unwrap().bytes().unwrap();
    std::fs::write(&bounded, bytes).unwrap();
    Running::start(Command::new("unzip").arg("-tq").arg(&bounded)).wait(SOON).expect_code(0);

    let words = ["dispatch", &incident, "--host", &host.agent(), "--profile", "triage", "--supersedes", &order];
    let next = site.ask(&words)["order"].as_str().unwrap().to_owned();
    let told = site.await_order(&next, "completed", SOON);
    assert_eq!(told["supersedes"], json!(order));
    end(daemon);
}

#[test]
fn the_cable_is_cut_for_20_seconds_and_no_acknowledged_byte_goes_again() {
    let (site, lab) = (Site::new(), Lab::new());
    let host = site.enroll("web-1");
    let daemon = host.daemon();
    let incident = incident(&site);
    let order = host.dispatch(&site, &incident, &slow(&lab, 40, "4MiB"));
    let before = in_the_files_tier(&site, &incident, 9 << 20)["bytes"].as_u64().unwrap();
    site.cable.cut();
    // The cut is a time, not a condition.
    std::thread::sleep(Duration::from_secs(20));
    let meanwhile = only_bundle(&site, &incident);
    assert!(meanwhile["bytes"].as_u64().unwrap() >= before);
    site.cable.mend();
    site.await_order(&order, "completed", SOON);
    let bundle = verified(&site, &incident);
    assert_eq!(bundle["state"], "sealed", "{bundle}");
    let length = std::fs::metadata(get(&site, &bundle, 0)).unwrap().len();
    assert_eq!(bundle["bytes"], length);
    assert_eq!(metric(&site, &["holdfast_evidence_bytes_total "]), length);
    // Bytes that were acknowledged, sent again, would come at an offset that is not the server's.
    assert_eq!(metric(&site, &["holdfast_requests_total{", "method=\"PATCH\"", "status=\"409\""]), 0);
    end(daemon);
}

#[test]
fn the_server_is_killed_and_nothing_acknowledged_is_lost() {
    let (mut site, lab) = (Site::new(), Lab::new());
    let profile = slow(&lab, 40, "4MiB");
    let host = site.enroll("web-1");
    let daemon = host.daemon();
    let incident = incident(&site);
    let order = host.dispatch(&site, &incident, &profile);
    let before = in_the_files_tier(&site, &incident, 9 << 20);
    site.kill_server();
    site.start_server();
    let after = only_bundle(&site, &incident);
    assert!(after["bytes"].as_u64() >= before["bytes"].as_u64(), "{before} {after}");
    assert!(after["receipts"].as_array().unwrap().len() >= before["receipts"].as_array().unwrap().len());
    site.await_order(&order, "completed", SOON);
    let bundle = verified(&site, &incident);
    assert_eq!(bundle["state"], "sealed", "{bundle}");
    get(&site, &bundle, 0);
    let told = site.api(&format!("orders/{order}"));
    let started = told["events"].as_array().unwrap().iter().filter(|event| event["event"] == "started").count();
    assert_eq!(started, 1, "{told}");
    site.holdfast(&["custody", "verify"]).expect_code(0);
    end(daemon);
}
