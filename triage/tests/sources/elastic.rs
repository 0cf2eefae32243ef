//! Elastic Security: alerts of rules and of Elastic Defend.

use serde_json::json;
use triage::{Context, normalise};
use wire::assessment::Severity::{self, Sev1, Sev2, Sev3, Sev4};

use crate::{RECEIVED, REPORTER, VICTIM, alert, check, fixture, techniques, triaged};

#[test]
fn a_search_result_holds_alerts() {
    let hosts = [("latest-bastion-2", VICTIM)];
    let got = check("elastic-search-hits.json", "credential_compromise", Sev2, &hosts, "elastic_guessed");
    assert_eq!(techniques(&got)[..2], ["T1110", "T1110.001"]);
    assert_eq!(got.accounts, ["deploy"]);
    assert!(got.false_positive_indicators.is_empty(), "latest is no test");
    let read = alert(&fixture("elastic-search-hits.json"));
    assert_eq!(read.source_ref.as_deref(), Some("b0f8"));
    assert_eq!(read.product, "system");
}

#[test]
fn a_sensor_that_watches_others_is_no_victim() {
    let hosts = [("ids-sensor-1", REPORTER)];
    let got = check("elastic-network-sensor.json", "malware_infection", Sev2, &hosts, "elastic_control_server");
    assert!(got.indicators.iter().any(|one| one.value == "198.51.100.9"));
    // What Elastic passes on is Suricata's, and confirms nothing that Suricata says.
    assert_eq!(alert(&fixture("elastic-network-sensor.json")).product, "suricata");
}

#[test]
fn elastic_defend_detects_or_prevents() {
    let hosts = [("testimony-srv-1", VICTIM)];
    let got = check("elastic-defend-memory.json", "malware_infection", Sev2, &hosts, "elastic_memory_threat");
    assert_eq!(techniques(&got), ["T1055"]);
    let mut record = fixture("elastic-defend-memory.json");
    record["event"]["type"] = json!(["info", "denied"]);
    assert_eq!(triaged(&record).severity, Sev3);
    record["event"]["code"] = "ransomware".into();
    assert_eq!((triaged(&record).incident_type.as_str(), triaged(&record).severity), ("ransomware", Sev2));
    record["event"]["type"] = json!(["info", "start"]);
    assert_eq!(triaged(&record).severity, Sev1);
    record["event"]["code"] = "malicious_file".into();
    record["file"] = json!({ "name": "eicar.com", "path": "C:\\Temp\\eicar.com" });
    assert_eq!(triaged(&record).disposition, "test");
    // A name with the letters in it is none.
    record["file"]["name"] = "test_eicar_reader.dll".into();
    assert!(!triaged(&record).auto_close);
}

/// Names of prebuilt rules, their severity and tactic.
#[test]
fn prebuilt_rules() {
    let cases: &[(&str, &str, &str, &str, Severity)] = &[
        ("AWS CloudTrail Log Suspended", "medium", "Defense Evasion", "cloud_account_compromise", Sev1),
        ("AWS IAM User Addition to Group", "low", "Credential Access", "cloud_account_compromise", Sev3),
        ("Volume Shadow Copy Deletion via PowerShell", "high", "Impact", "ransomware", Sev2),
        ("Potential Linux Ransomware Note Creation Detected", "medium", "Impact", "ransomware", Sev1),
        ("LSASS Memory Dump Creation", "high", "Credential Access", "credential_compromise", Sev2),
        ("Potential Credential Access via DCSync", "medium", "Credential Access", "domain_controller_breach", Sev1),
        (
            "Potential Internal Linux SSH Brute Force Detected",
            "medium",
            "Credential Access",
            "credential_compromise",
            Sev3,
        ),
        ("Elastic Agent Service Terminated", "medium", "Defense Evasion", "malware_infection", Sev2),
        (
            "Webshell Detection: Script Process Child of Common Web Processes",
            "high",
            "Persistence",
            "malware_infection",
            Sev2,
        ),
        ("Potential Reverse Shell via Suspicious Child Process", "medium", "Execution", "malware_infection", Sev2),
        ("Incoming Execution via WinRM Remote Shell", "medium", "Lateral Movement", "lateral_movement", Sev2),
        ("System Log File Deletion", "medium", "Defense Evasion", "malware_infection", Sev3),
        ("Suspicious MS Office Child Process", "medium", "Initial Access", "phishing_attempt", Sev4),
        ("Sudoers File Modification", "medium", "Privilege Escalation", "privilege_escalation", Sev3),
        ("Linux System Information Discovery", "low", "Discovery", "unauthorized_access", Sev4),
        ("Kernel Module Load via insmod", "medium", "Persistence", "malware_infection", Sev2),
    ];
    let mut wrong = Vec::new();
    for (name, level, tactic, incident_type, severity) in cases {
        let got = triaged(&json!({
            "@timestamp": "2026-11-21T17:33:00Z", "event.kind": "signal", "event.module": "endpoint",
            "kibana.alert.uuid": "u1", "kibana.alert.severity": level, "kibana.alert.rule.name": name,
            "kibana.alert.rule.threat": [{ "tactic": { "name": tactic } }], "host.name": "srv-1",
        }));
        if (got.incident_type.as_str(), got.severity) != (*incident_type, *severity) {
            let rules: Vec<_> = got.severity_explanation.iter().map(|effect| effect.rule.clone()).collect();
            wrong.push(format!("{name} ({level}): {} {} by {rules:?}", got.incident_type, got.severity));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_indicator_is_as_good_as_what_matched() {
    let record = |matched: &str| {
        json!({
            "@timestamp": "2026-11-21T17:33:00Z", "event.kind": "signal", "kibana.alert.uuid": "u2", "kibana.alert.severity": "low",
            "kibana.alert.rule.name": "Own list", "kibana.alert.rule.category": "Indicator Match Rule", "host.name": "srv-1",
            "threat": { "enrichments": [{ "matched": { "field": matched, "atomic": "x" } }] },
        })
    };
    for (matched, incident_type, severity) in [
        ("file.hash.sha256", "malware_infection", Sev2),
        ("destination.ip", "malware_infection", Sev2),
        ("source.ip", "unauthorized_access", Sev4),
        ("host.name", "security_alert", Sev4),
    ] {
        let got = triaged(&record(matched));
        assert_eq!((got.incident_type.as_str(), got.severity), (incident_type, severity), "{matched}");
    }
    // Hostile: an index name alone makes no alert, and nothing breaks.
    let odd = json!({ "_index": "x", "_source": [1, 2], "hits": { "hits": "none" } }).to_string();
    assert_eq!(normalise(odd.as_bytes(), RECEIVED, Context::shipped().unwrap().rules).unwrap().len(), 1);
}
