//! The path: alerts, an order, an upload, an incident with evidence that anybody can verify.

use std::fs;
use std::time::Duration;

use harness::{Opened, Site, until};
use rustix::process::Signal;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_mins(1);

#[test]
fn from_two_alerts_to_evidence_that_anybody_can_verify() {
    from_alerts_to_evidence(&Site::new());
}

/// The whole of it, wherever the records are.
pub fn from_alerts_to_evidence(site: &Site) {
    let host = site.enroll("web-1");
    let daemon = host.daemon();
    let plain = json!({
        "event_type": "ransomware", "host": "web-1", "user": "svc_backup", "timestamp": "2026-11-21T03:00:00Z",
        "details": "README_DECRYPT.txt was written to 40 folders",
    });
    let incident = site.alert("edr", &plain);
    let again = site.ask(&["alert", "send", &site.text("alert.json"), "--source", "edr"]);
    assert_eq!((&again["alerts"][0]["duplicate"], &again["alerts"][0]["incident"]), (&json!(true), &json!(incident)));
    let second = json!({
        "event_type": "malware", "host": "WEB-1", "timestamp": "2026-11-21T03:01:00Z",
        "details": "an unknown program encrypts files",
    });
    assert_eq!(site.alert("backup", &second), incident, "the same host, a minute later");
    let shown = site.ask(&["incident", "show", &incident]);
    assert_eq!(shown["assessment"]["severity"], "SEV1", "{shown}");
    assert!(!shown["assessment"]["severity_explanation"].as_array().unwrap().is_empty());
    assert_eq!(shown["alerts"].as_array().unwrap().len(), 2);

    let words = ["dispatch", &incident, "--host", &host.agent(), "--profile", "triage", "--follow"];
    let followed = site.holdfast_within(&words, SOON).expect_code(0);
    assert!(followed.said().contains("volatile"), "{}", followed.said());
    let evidence = site.ask(&["evidence", "list", &incident]);
    let bundle = &evidence["items"][0];
    assert_eq!((&bundle["state"], &bundle["trust"]), (&json!("sealed"), &json!("enrolled")), "{bundle}");
    assert_eq!(bundle["tiers"], json!(["volatile", "memory", "system", "logs", "files"]));

    let got = site.path("got");
    let id = bundle["bundle"].as_str().unwrap();
    site.holdfast(&["evidence", "get", id, "--output", got.to_str().unwrap()]).expect_code(0);
    let name = bundle["name"].as_str().unwrap();
    let file = got.join(name);
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let words = ["verify", &text(&file), "--signers", &text(&got.join("allowed_signers"))];
    let said = site.holdfast(&words).expect_code(0).stdout;
    assert!(said.contains("state:       sealed"), "{said}");
    let receipts = text(&got.join(format!("{name}.receipts.jsonl")));
    let said = site.holdfast(&[&words[..], &["--receipts", &receipts]].concat()).expect_code(0).stdout;
    assert!(said.contains("held by:     server"), "{said}");
    let header = Opened::at(&file).json("bundle.json");
    assert_eq!(header["incident"], json!(incident));
    assert_eq!(header["authority"]["approvers"], json!([harness::RESPONDER]));
    assert_eq!(header["order_sha256"], site.api(&format!("orders/{}", bundle["order"].as_str().unwrap()))["sha256"]);

    site.holdfast(&["custody", "verify"]).expect_code(0);
    custody_names_everything(site, &incident);
    daemon.signal(Signal::TERM);
    daemon.wait(SOON).expect_code(0);
}

/// The first bundle of the incident, once the server has verified it.
fn verified(site: &Site, incident: &str) -> Value {
    until("the bundle is verified", SOON, || {
        let bundle = site.api(&format!("evidence?incident={incident}"))["items"][0].clone();
        (bundle["state"].is_string() && bundle["state"] != "receiving").then_some(bundle)
    })
}

fn custody_names_everything(site: &Site, incident: &str) {
    let shown = site.ask(&["custody", "show", incident]);
    let events: Vec<&str> =
        shown["items"].as_array().unwrap().iter().map(|leaf| leaf["event"].as_str().unwrap()).collect();
    for event in ["incident_opened", "alert_received", "order_issued", "receipted", "evidence_downloaded"] {
        assert!(events.contains(&event), "{event} is not in {events:?}");
    }
}

#[test]
fn a_custody_log_that_was_rewritten_is_found_out() {
    let site = Site::new();
    site.alert("edr", &json!({"event_type": "malware", "host": "web-1", "details": "one"}));
    let token = fs::read_to_string(site.path("responder.token")).unwrap();
    let answer = site.client().get(format!("{}/api/v1/custody/export", site.url())).bearer_auth(token.trim());
    let export = answer.send().unwrap().text().unwrap();
    let whole = site.write("custody.jsonl", &export);
    site.holdfast(&["custody", "verify", whole.to_str().unwrap()]).expect_code(0);
    let (first, rest) = export.split_once('\n').unwrap();
    for (name, text) in [
        ("changed", format!("{}\n{rest}", first.replacen("\\\"time\\\":\\\"20", "\\\"time\\\":\\\"19", 1))),
        ("dropped", rest.to_owned()),
        ("cut", export.lines().rev().skip(2).map(|line| format!("{line}\n")).collect::<Vec<_>>().concat()),
    ] {
        assert_ne!(text, export, "{name}");
        let path = site.write(name, text);
        site.holdfast(&["custody", "verify", path.to_str().unwrap()]).expect_code(1);
    }
}

#[test]
fn a_host_without_an_agent_is_let_in_by_a_ticket_once() {
    let site = Site::new();
    let incident = site.alert("edr", &json!({"event_type": "malware", "host": "web-2", "details": "one"}));
    let ticket = site.holdfast(&["ticket", &incident, "--host", "web-2", "--profile", "triage"]).expect_code(0).stdout;
    let file = site.write("web-2.ticket", ticket);
    let collect = || {
        let mut command = std::process::Command::new(harness::agent());
        command.args(["collect", "--profile", "triage", "--quiet", "--ticket"]).arg(&file);
        command.env("HOLDFAST_STATE_DIR", site.path("web-2"));
        harness::Running::start(&mut command).wait(SOON)
    };
    let first = collect();
    assert!(matches!(first.code(), Some(0 | 3)), "{}", first.said());
    let bundle = verified(&site, &incident);
    assert_eq!((&bundle["state"], &bundle["trust"]), (&json!("sealed"), &json!("unenrolled")), "{bundle}");
    assert_eq!(collect().code(), Some(77), "a ticket lets in once");
    assert_eq!(site.api(&format!("evidence?incident={incident}"))["items"].as_array().unwrap().len(), 1);
}

#[test]
fn a_bundle_that_came_on_a_stick_is_attached_and_verified() {
    let site = Site::new();
    let incident = site.alert("edr", &json!({"event_type": "malware", "host": "web-3", "details": "one"}));
    let lab = harness::Lab::new();
    let sealed = lab.sealed();
    let path = sealed.path.to_str().unwrap();
    site.holdfast(&["evidence", "add", &incident, path, "--stream", sealed.stream.to_str().unwrap()]).expect_code(0);
    let bundle = verified(&site, &incident);
    assert_eq!((&bundle["state"], &bundle["trust"]), (&json!("sealed"), &json!("unknown")), "{bundle}");
    assert_eq!(bundle["brought_by"], "user:ada");

    let other = harness::Lab::new();
    let changed = other.sealed();
    let mut bytes = fs::read(&changed.path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&changed.path, bytes).unwrap();
    site.holdfast(&["evidence", "add", &incident, changed.path.to_str().unwrap()]).expect_code(1);
    let bundles = site.api(&format!("evidence?incident={incident}"));
    let rejected = bundles["items"].as_array().unwrap().iter().find(|bundle| bundle["state"] == "rejected");
    assert!(!rejected.unwrap()["findings"].as_array().unwrap().is_empty(), "{bundles}");
}
