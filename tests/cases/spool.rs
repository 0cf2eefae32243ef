//! The server is away, or slow, for longer than anybody waits: evidence waits on the host, which cannot read it, and
//! comes when the server is back. What does not come is said.

use std::path::{Path, PathBuf};

use harness::{Host, Lab, Opened, Running, Site, until};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::path_broken::{SOON, end, get, in_the_files_tier, incident, metric, slow, verified};

const MARKER: &[u8] = b"a-marker-that-only-evidence-holds-0123456789";

/// A daemon that waits for the server for a second where it would for ten or more.
fn impatient(host: &Host) -> Running {
    let words =
        ["env", "HOLDFAST_SPOOL_AFTER_SECS=1", "HOLDFAST_SERVER_AWAY_SECS_MAX=2", "HOLDFAST_RECEIPT_SECS_MAX=1"];
    host.daemon_behind(&words.map(str::to_owned))
}

/// Some seconds of collection, with the marker in each file.
fn marked(lab: &Lab, files: usize, rate: &str) -> String {
    let profile = slow(lab, files, rate);
    for number in 0..files {
        let path = lab.tree().join(number.to_string());
        let mut content = std::fs::read(&path).unwrap();
        content[1000..1000 + MARKER.len()].copy_from_slice(MARKER);
        std::fs::write(&path, content).unwrap();
    }
    profile
}

fn status(host: &Host) -> Value {
    serde_json::from_str(&host.run(&["status", "--json"]).expect_code(0).stdout).unwrap()
}

/// Waits until the run is over and its evidence waits, and returns what `status` says of that.
fn ended_into_the_spool(host: &Host) -> Value {
    until("the run has ended into the spool", SOON, || {
        let told = status(host);
        (told["running"].is_null() && told["spool"][0]["bytes"].as_u64()? > 0).then(|| told["spool"][0].clone())
    })
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
}

fn holds(path: &Path, text: &[u8]) -> bool {
    std::fs::read(path).unwrap_or_default().windows(text.len()).any(|window| window == text)
}

/// The chunks that wait, in the order of the stream.
fn chunks(host: &Host) -> Vec<PathBuf> {
    let files = files_below(&host.state().join("spool"));
    files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "age")).collect()
}

fn is_empty(host: &Host) {
    until("the spool is empty", SOON, || files_below(&host.state().join("spool")).is_empty().then_some(()));
    assert_eq!(status(host)["spool"], json!([]));
}

/// The order's event of this name.
fn event(order: &Value, name: &str) -> Value {
    let events = order["events"].as_array().unwrap();
    let found = events.iter().rfind(|event| event["event"] == name);
    assert!(found.is_some(), "no {name}: {order}");
    found.cloned().unwrap()
}

#[test]
fn the_server_is_killed_in_the_run_and_gets_the_rest_when_it_is_back() {
    let (mut site, lab) = (Site::new(), Lab::new());
    let host = site.enroll("web-1");
    let daemon = impatient(&host);
    let incident = incident(&site);
    let order = host.dispatch(&site, &incident, &marked(&lab, 32, "8MiB"));
    in_the_files_tier(&site, &incident, 1 << 20);
    site.kill_server();
    let waits = ended_into_the_spool(&host);
    assert!(waits["reason"].as_str().unwrap().contains("stayed away for 1 s"), "{waits}");
    let said = host.run(&["status"]).expect_code(0).stdout;
    assert!(said.contains("of 1 bundle wait for the server, since"), "{said}");
    // Nothing of it can be read on the host.
    assert!(chunks(&host).len() > 1);
    for file in files_below(host.state()) {
        assert!(!holds(&file, MARKER), "{}", file.display());
        assert!(!holds(&file, b"AGE-SECRET-KEY"), "{}", file.display());
    }
    site.start_server();
    let told = site.await_order(&order, "completed", SOON);
    let spooled = event(&told, "spooled");
    assert_eq!((&spooled["bytes"], &spooled["full"]), (&waits["bytes"], &json!(false)), "{told}");
    let bundle = verified(&site, &incident);
    assert_eq!(bundle["state"], "sealed", "{bundle}");
    let file = get(&site, &bundle, 0);
    assert!(holds(&file, MARKER), "the marker would be found, were it there");
    let custody = Opened::at(&file).lines("data/custody/");
    let spooled = custody.iter().find(|line| line["event"] == "spooled").unwrap_or_else(|| panic!("{custody:?}"));
    assert!(spooled["reason"].as_str().unwrap().contains("stayed away"), "{spooled}");
    is_empty(&host);
    assert!(host.run(&["status"]).expect_code(0).stdout.contains("spool        empty"));
    assert!(metric(&site, &["holdfast_spooled_files_total{", "outcome=\"taken\""]) > 1);
    assert_eq!(metric(&site, &["holdfast_spooled_files_total{", "outcome=\"refused\""]), 0);
    site.holdfast(&["custody", "verify"]).expect_code(0);
    end(daemon);
}

#[test]
fn the_agent_is_killed_as_well_after_the_run_and_nothing_is_lost() {
    let (mut site, lab) = (Site::new(), Lab::new());
    let host = site.enroll("web-1");
    let daemon = impatient(&host);
    let incident = incident(&site);
    let order = host.dispatch(&site, &incident, &slow(&lab, 24, "8MiB"));
    in_the_files_tier(&site, &incident, 1 << 20);
    site.kill_server();
    ended_into_the_spool(&host);
    daemon.signal(Signal::KILL);
    daemon.wait(SOON);
    let daemon = host.daemon();
    site.start_server();
    site.await_order(&order, "completed", SOON);
    let bundle = verified(&site, &incident);
    assert_eq!(bundle["state"], "sealed", "{bundle}");
    get(&site, &bundle, 0);
    is_empty(&host);
    end(daemon);
}

#[test]
fn the_agent_is_killed_in_the_run_and_what_waited_comes_before_it_says_so() {
    let (mut site, lab) = (Site::new(), Lab::new());
    let host = site.enroll("web-1");
    let daemon = impatient(&host);
    let incident = incident(&site);
    let order = host.dispatch(&site, &incident, &slow(&lab, 80, "6MiB"));
    let before = in_the_files_tier(&site, &incident, 1 << 20)["bytes"].as_u64().unwrap();
    site.kill_server();
    until("some of the run waits", SOON, || (chunks(&host).len() > 1).then_some(()));
    daemon.signal(Signal::KILL);
    daemon.wait(SOON);
    let waits = status(&host)["spool"][0]["bytes"].as_u64().unwrap();
    site.start_server();
    let daemon = host.daemon();
    let told = site.await_order(&order, "interrupted", SOON);
    let bundle = verified(&site, &incident);
    assert_eq!(bundle["state"], "partial", "{bundle}");
    let receipts = bundle["receipts"].as_array().unwrap();
    let receipted = receipts.iter().filter_map(|receipt| receipt["offset"].as_u64()).max();
    assert_eq!(event(&told, "interrupted")["receipted"].as_u64(), receipted, "{told}");
    assert!(receipted.unwrap() > before, "{bundle}");
    assert_eq!(event(&told, "interrupted").get("by_silence"), None, "{told}");
    assert!(bundle["bytes"].as_u64().unwrap() >= before + waits / 2, "{bundle}");
    get(&site, &bundle, 3);
    is_empty(&host);
    end(daemon);
}

#[test]
fn a_full_spool_is_said_and_keeps_the_beginning() {
    let (mut site, lab) = (Site::new(), Lab::new());
    let policy = site.write("policy.toml", "[spool]\nbytes_max = \"9MiB\"\n");
    let host = site.enroll_with("web-1", &["--policy", policy.to_str().unwrap()]);
    let daemon = impatient(&host);
    let incident = incident(&site);
    let order = host.dispatch(&site, &incident, &slow(&lab, 60, "16MiB"));
    in_the_files_tier(&site, &incident, 1 << 20);
    site.kill_server();
    let waits = ended_into_the_spool(&host);
    assert!(waits["full"].as_str().unwrap().contains("the spool is full"), "{waits}");
    let said = host.run(&["status"]).expect_code(0).stdout;
    assert!(said.contains("what came after this was not kept"), "{said}");
    site.start_server();
    let told = site.await_order(&order, "failed", SOON);
    assert!(event(&told, "failed")["message"].as_str().unwrap().contains("the spool is full"), "{told}");
    assert_eq!(event(&told, "spooled")["full"], true, "{told}");
    let bundle = verified(&site, &incident);
    assert_eq!(bundle["state"], "partial", "{bundle}");
    // Nothing waits that no receipt covers, and all of it verifies.
    let receipts = bundle["receipts"].as_array().unwrap();
    let receipted = receipts.iter().filter_map(|receipt| receipt["offset"].as_u64()).max();
    assert_eq!(receipted, bundle["bytes"].as_u64(), "{bundle}");
    get(&site, &bundle, 3);
    let custody = site.api(&format!("custody?incident={incident}&limit=500"));
    assert!(custody["items"].as_array().unwrap().iter().any(|leaf| leaf["event"] == "order_spooled"), "{custody}");
    is_empty(&host);
    end(daemon);
}

#[test]
fn a_flipped_byte_is_refused_and_named_and_harms_nothing_else() {
    let (mut site, lab) = (Site::new(), Lab::new());
    let host = site.enroll("web-1");
    let daemon = impatient(&host);
    let incident = incident(&site);
    let order = host.dispatch(&site, &incident, &slow(&lab, 32, "8MiB"));
    in_the_files_tier(&site, &incident, 1 << 20);
    site.kill_server();
    ended_into_the_spool(&host);
    let damaged = chunks(&host)[1].clone();
    let mut content = std::fs::read(&damaged).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(&damaged, content).unwrap();
    site.start_server();
    let told = site.await_order(&order, "failed", SOON);
    let name = damaged.file_name().unwrap().to_str().unwrap();
    assert!(event(&told, "failed")["message"].as_str().unwrap().contains(name), "{told}");
    assert_eq!(metric(&site, &["holdfast_spooled_files_total{", "outcome=\"refused\""]), 1);
    let bundle = verified(&site, &incident);
    assert_eq!(bundle["state"], "partial", "{bundle}");
    let offset: u64 = name.split('-').next().unwrap().parse().unwrap();
    assert_eq!(bundle["bytes"], offset, "what came before it is kept: {bundle}");
    get(&site, &bundle, 3);
    let said = host.run(&["status"]).expect_code(0).stdout;
    assert!(said.contains("not taken: ") && said.contains(name), "{said}");
    let next = host.dispatch(&site, &incident, "triage");
    site.await_order(&next, "completed", SOON);
    end(daemon);
}

#[test]
fn a_server_that_does_not_answer_in_time_gets_the_rest_later() {
    let (site, lab) = (Site::new(), Lab::new());
    let host = site.enroll("web-1");
    let daemon = impatient(&host);
    let incident = incident(&site);
    let order = host.dispatch(&site, &incident, &slow(&lab, 40, "16MiB"));
    in_the_files_tier(&site, &incident, 1 << 20);
    // Both ends believe in their connection, and nothing comes through.
    site.cable.block();
    let waits = ended_into_the_spool(&host);
    assert!(waits["reason"].as_str().unwrap().contains("slower than 1 s"), "{waits}");
    site.cable.calm();
    site.await_order(&order, "completed", SOON);
    let bundle = verified(&site, &incident);
    assert_eq!(bundle["state"], "sealed", "{bundle}");
    get(&site, &bundle, 0);
    is_empty(&host);
    end(daemon);
}
