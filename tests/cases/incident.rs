//! From any alert to an incident that explains itself, and is worked on until it is over.

use std::process::Command;
use std::time::Duration;

use harness::{Running, Site, holdfast, root};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_mins(1);

/// The keys of triage's answer that others may build on.
const KEYS: [&str; 22] = [
    "incident_type",
    "classification_confidence",
    "severity",
    "severity_explanation",
    "would_change_it",
    "false_positive_indicators",
    "disposition",
    "auto_close",
    "escalation_triggers_fired",
    "escalation_path",
    "hosts",
    "accounts",
    "techniques",
    "indicators",
    "dwell_hours",
    "notification_clocks",
    "evidence_plan",
    "containment",
    "recommended_action",
    "source",
    "raw_sha256",
    "timestamp_utc",
];

fn fixture(name: &str) -> String {
    std::fs::read_to_string(root().join("triage/fixtures").join(name)).unwrap()
}

fn offline(line: &str) -> harness::Ended {
    let line = format!("cd {} && {} {line}", root().join("triage/fixtures").display(), holdfast().display());
    Running::start(Command::new("/bin/sh").args(["-c", &line]).env_clear()).wait(SOON)
}

#[test]
fn an_alert_is_triaged_offline_from_a_file_and_from_standard_input() {
    for (alert, severity, code) in [
        ("plain-ransomware-backup-account.json", "SEV1", 20),
        ("falco-fileless-execution.json", "SEV2", 10),
        ("osquery-stock-cron.json", "SEV4", 0),
    ] {
        let file = offline(&format!("triage {alert} --json")).expect_code(code);
        let input = offline(&format!("triage - --json < {alert}")).expect_code(code);
        assert_eq!(file.stdout, input.stdout, "{alert}");
        let answer: Value = serde_json::from_str(&file.stdout).unwrap();
        assert_eq!(answer["severity"], severity, "{alert}");
        for key in KEYS {
            assert!(answer.get(key).is_some(), "{alert}: {key}");
        }
        let text = offline(&format!("triage {alert}")).expect_code(code).stdout;
        for part in [severity, "next", "why", "call"] {
            assert!(text.contains(part), "{alert}: {part} in {text}");
        }
    }
    offline("triage /dev/null").expect_code(65);
    offline("triage /nowhere").expect_code(74);
    offline("triage --no-such-option x").expect_code(64);
    let nothing_known = offline("triage - --json < /etc/hostname").expect_code(0).stdout;
    let nothing_known: Value = serde_json::from_str(&nothing_known).unwrap();
    assert_eq!(nothing_known["incident_type"], "security_alert", "what nobody understands is still an alert");
}

#[test]
fn the_evidence_plan_of_a_type_is_at_hand() {
    let said = offline("evidence plan --type ransomware --target web-app-02 --json").expect_code(0).stdout;
    let plan: Value = serde_json::from_str(&said).unwrap();
    assert!(plan.to_string().contains("web-app-02"), "{plan}");
    let text = offline("evidence plan --type ransomware --target web-app-02").expect_code(0).stdout;
    assert!(text.contains("holdfast dispatch") && text.contains("web-app-02"), "{text}");
    let wrong = offline("evidence plan --type ransomwear --target web-app-02");
    assert!(
        wrong.code() != Some(0) && wrong.stderr.contains("ransomware"),
        "it suggests the right one: {}",
        wrong.stderr
    );
}

/// Sends an alert as its product does, with a token of its own; returns the incident.
fn sent(site: &Site, product: &str, alert: &Value) -> String {
    let token = site.token(product, "source");
    let request = site.client().post(format!("{}/api/v1/alerts?source={product}", site.url()));
    let answer = request.bearer_auth(token).header("content-type", "application/json").body(alert.to_string());
    let answer: Value = serde_json::from_str(&answer.send().unwrap().text().unwrap()).unwrap();
    answer["alerts"][0]["incident"].as_str().unwrap().to_owned()
}

#[test]
fn an_incident_is_worked_on_from_the_first_alert_to_the_last_note() {
    worked_on_from_the_first_alert_to_the_last_note(&Site::new());
}

/// The whole of it, wherever the records are.
pub fn worked_on_from_the_first_alert_to_the_last_note(site: &Site) {
    let falco: Value = serde_json::from_str(&fixture("falco-fileless-execution.json")).unwrap();
    let guardduty: Value = serde_json::from_str(&fixture("guardduty-command-and-control.json")).unwrap();
    let incident = sent(site, "falco", &falco);
    assert_eq!(sent(site, "guardduty", &guardduty), incident, "the same host ties them");
    let stranger = json!({"event_type": "phishing", "host": "mail-7", "title": "A link was opened"});
    let other = sent(site, "proxy", &stranger);
    assert_ne!(other, incident);

    let show = |id: &str| site.ask(&["incident", "show", id]);
    let does = |words: &[&str]| {
        let words: Vec<&str> = ["incident"].iter().chain(words).copied().collect();
        site.holdfast(&words).expect_code(0).stdout
    };
    let before = show(&incident);
    assert_eq!(before["assessment"]["severity"], "SEV1");
    assert!(before["assessment"]["severity_explanation"].as_array().unwrap().len() > 3, "it explains itself");
    assert!(!before["checklist"].as_array().unwrap().is_empty() && !before["timers"].as_array().unwrap().is_empty());

    does(&["ack", &incident]);
    does(&["assign", &incident, "incident_commander", "Ada Berg"]);
    does(&["note", &incident, "the owner does not know the process", "--update"]);
    let step = before["checklist"][0]["id"].as_str().unwrap();
    does(&["step", &incident, step]);
    does(&["anchor", &incident, "aware_at", "--at", "2026-11-21T18:00:00Z", "--reason", "both alerts were read"]);
    does(&["phase", &incident, "containment", "--reason", "the evidence is in"]);

    // Two incidents become one, and two again: nothing else changes.
    let (mine, theirs) = (show(&incident), show(&other));
    does(&["merge", &incident, &other, "--reason", "one attacker"]);
    let merged = show(&incident);
    assert_eq!(merged["alerts"].as_array().unwrap().len(), 3);
    assert_eq!(show(&other)["case"]["merged_into"], incident.as_str());
    let edit = merged["edits"][0]["edit"].as_str().unwrap();
    does(&["undo", &incident, edit, "--reason", "the mail was a drill"]);
    for (was, id) in [(&mine, &incident), (&theirs, &other)] {
        let is = show(id);
        for part in ["alerts", "assessment"] {
            assert_eq!(is[part], was[part], "{id}: {part}");
        }
        assert_eq!(is["case"]["merged_into"], Value::Null);
    }

    let after = show(&incident);
    assert_eq!(after["case"]["roles"]["incident_commander"], "Ada Berg");
    assert_eq!(after["case"]["phase"], "containment");
    assert_eq!(after["case"]["steps"][step]["outcome"], "done");
    let clocks = after["clocks"].as_array().unwrap();
    let running = |clock: &&Value| clock["stages"].as_array().unwrap().iter().any(|stage| stage["due_at"].is_string());
    assert!(clocks.iter().any(|clock| running(&clock)), "awareness starts clocks: {clocks:?}");

    let timeline = does(&["timeline", &incident]);
    for said in ["the owner does not know the process", "Ada Berg", "one attacker", "the mail was a drill"] {
        assert!(timeline.contains(said), "{said} in {timeline}");
    }
    let draft = does(&["draft", &incident, "executive"]);
    assert!(draft.contains(&incident) && draft.contains("SEV1"), "{draft}");
    let outward = does(&["draft", &incident, "customers"]);
    assert!(!outward.contains("web-1"), "no name of a host leaves the house: {outward}");

    // Downward it holds only with a reason, and every word of it is in custody.
    let refused = site.holdfast(&["incident", "override", &incident, "--severity", "SEV3"]);
    assert_ne!(refused.code(), Some(0), "{}", refused.said());
    does(&["override", &incident, "--severity", "SEV3", "--reason", "a drill of the red team"]);
    assert_eq!(show(&incident)["assessment"]["severity"], "SEV3");
    does(&["close", &incident, "benign", "--reason", "the red team confirms it"]);
    assert_eq!(show(&incident)["summary"]["closed"], "benign");
    site.holdfast(&["custody", "verify"]).expect_code(0);
}
