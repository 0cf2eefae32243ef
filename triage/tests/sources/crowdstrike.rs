//! CrowdStrike Falcon: event streams and the Alerts API.

use serde_json::json;
use triage::{Context, assess, normalise};
use wire::assessment::Severity::{self, Sev1, Sev2, Sev3, Sev4};

use crate::{RECEIVED, SOURCE, VICTIM, alert, check, fixture, techniques, triaged};

#[test]
fn what_would_have_been_killed_was_not() {
    let hosts = [("contest-db-1", VICTIM)];
    let rule = "crowdstrike_credentials_dumped";
    let got = check("crowdstrike-credentials.json", "credential_compromise", Sev2, &hosts, rule);
    assert_eq!(techniques(&got)[0], "T1003.001");
    assert_eq!(got.disposition, "suspicious");
    // "test" in a name is none, and procdump is on many hosts.
    assert!(got.false_positive_indicators.is_empty(), "{:?}", got.false_positive_indicators);
    assert!(got.indicators.iter().all(|one| one.kind != "sha256"));
    let mut record = fixture("crowdstrike-credentials.json");
    record["event"]["PatternDispositionDescription"] = "Prevention, process killed.".into();
    assert_eq!(triaged(&record).severity, Sev3);
    // The sensor's id is no agent's of ours.
    assert!(alert(&record).ids.is_empty());
}

#[test]
fn the_api_sends_several_and_a_test_trigger_is_no_intruder() {
    let raw = fixture("crowdstrike-alerts-api.json").to_string();
    let context = Context::shipped().unwrap();
    let taken = normalise(raw.as_bytes(), RECEIVED, context.rules).unwrap();
    let [ransomware, trigger] = [&taken[0].alert, &taken[1].alert].map(|alert| assess(&[alert], &context));
    assert_eq!((ransomware.incident_type.as_str(), ransomware.severity), ("ransomware", Sev1));
    assert!(ransomware.false_positive_indicators.is_empty(), "svc_backup is no excuse");
    assert_eq!(taken[0].alert.ids[0].value, "i-0a1b2c3d4e5f60718");
    assert_eq!((trigger.disposition.as_str(), trigger.severity, trigger.auto_close), ("test", Sev4, true));
}

#[test]
fn identity_events_name_two_ends() {
    let record = json!({
        "metadata": { "customerIDString": "c0ffee", "offset": 5, "eventType": "IdpDetectionSummaryEvent", "eventCreationTime": 1_795_282_000_000_i64 },
        "event": {
            "DetectId": "c0ffee:ind:1", "DetectName": "Suspected Pass-the-Hash", "Severity": 4, "Tactic": "Lateral Movement",
            "Technique": "Use Alternate Authentication Material", "Objective": "Explore", "ContextTimeStamp": 133_355_377_959_700_000_i64,
            "SourceEndpointHostName": "hr-ws-07", "TargetEndpointHostName": "fs-01.corp.example.com", "SourceAccountName": "K.LIND",
        },
    });
    let read = alert(&record);
    assert_eq!(read.vendor_severity.as_ref().map(|one| one.value.as_str()), Some("4"));
    assert!(read.at().unix_seconds() > 1_795_000_000);
    let got = triaged(&record);
    assert_eq!((got.incident_type.as_str(), got.severity), ("lateral_movement", Sev2));
    let hosts: Vec<_> = got.hosts.iter().map(|host| (host.name.as_str(), host.role)).collect();
    assert_eq!(hosts, [("fs-01.corp.example.com", VICTIM), ("hr-ws-07", SOURCE)]);
    assert_eq!(techniques(&got)[0], "T1550");
}

/// Tactics and techniques as the console names them: tactic, technique, severity name, prevented.
#[test]
fn documented_tactics_and_techniques() {
    let cases: &[(&str, &str, &str, bool, &str, Severity)] = &[
        ("Malware", "Known Malware", "High", false, "malware_infection", Sev2),
        ("Machine Learning", "Sensor-based ML", "Medium", true, "malware_infection", Sev3),
        ("Machine Learning", "Adware/PUP", "Low", false, "policy_violation", Sev4),
        ("Execution", "PowerShell", "Medium", false, "malware_infection", Sev3),
        ("Execution", "PowerShell", "High", false, "malware_infection", Sev2),
        ("Defense Evasion", "Sensor Tampering", "Critical", false, "malware_infection", Sev1),
        ("Impact", "Inhibit System Recovery", "High", true, "ransomware", Sev2),
        ("Exfiltration", "Exfiltration Over Web Service", "High", false, "data_exfiltration", Sev1),
        ("Persistence", "Web Shell", "High", false, "malware_infection", Sev2),
        ("Custom Intelligence", "Indicator of Compromise", "Medium", false, "malware_infection", Sev3),
        (
            "Privilege Escalation",
            "Exploitation for Privilege Escalation",
            "Medium",
            false,
            "privilege_escalation",
            Sev3,
        ),
        ("Discovery", "Remote System Discovery", "Low", false, "unauthorized_access", Sev4),
        ("Command and Control", "Ingress Tool Transfer", "Medium", false, "malware_infection", Sev2),
        ("Post-Exploit", "Malicious Tool Execution", "High", false, "malware_infection", Sev2),
    ];
    let mut wrong = Vec::new();
    for (tactic, technique, level, is_prevented, incident_type, severity) in cases {
        let disposition = if *is_prevented {
            "Prevention, process was blocked from execution."
        } else {
            "Detection, standard detection."
        };
        let got = triaged(&json!({
            "metadata": { "customerIDString": "c0ffee", "offset": 9, "eventType": "EppDetectionSummaryEvent", "eventCreationTime": 1_795_282_000_000_i64 },
            "event": {
                "Hostname": "pc-1", "UserName": "eve", "Name": "Detection", "Description": "Review the process tree.",
                "SeverityName": level, "Tactic": tactic, "Technique": technique, "Objective": "Follow Through",
                "CompositeId": "c0ffee:ind:2", "PatternDispositionDescription": disposition, "CommandLine": "x.exe",
            },
        }));
        if (got.incident_type.as_str(), got.severity) != (*incident_type, *severity) {
            let rules: Vec<_> = got.severity_explanation.iter().map(|effect| effect.rule.clone()).collect();
            wrong.push(format!("{tactic}/{technique} ({level}): {} {} by {rules:?}", got.incident_type, got.severity));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn overwatch_is_people() {
    for (level, incident_type, severity) in
        [("Critical", "apt_intrusion", Sev1), ("High", "apt_intrusion", Sev1), ("Medium", "unauthorized_access", Sev3)]
    {
        let got = triaged(&json!({
            "metadata": { "eventType": "DetectionSummaryEvent", "offset": 1, "customerIDString": "c0ffee", "eventCreationTime": 1_795_282_000_000_i64 },
            "event": {
                "ComputerName": "app-3", "DetectName": "Overwatch Detection", "SeverityName": level, "DetectId": "ldt:1:2",
                "DetectDescription": "Falcon Overwatch has identified suspicious activity. It should be reviewed.",
            },
        }));
        assert_eq!((got.incident_type.as_str(), got.severity), (incident_type, severity), "{level}");
        assert_eq!(got.disposition, "true_positive");
    }
}

#[test]
fn its_own_test_detections_and_incidents() {
    let event = |kind: &str, event: serde_json::Value| {
        triaged(
            &serde_json::json!({ "metadata": { "eventType": kind, "offset": 4, "eventCreationTime": 1_795_282_800_000_i64 }, "event": event }),
        )
    };
    let detection = |name: &str, description: &str| {
        let fields = serde_json::json!({ "Name": name, "Description": description, "Hostname": "app-3", "SeverityName": "High", "Objective": "Follow Through" });
        event("EppDetectionSummaryEvent", fields)
    };
    let test = detection("TestTriggerHigh", "For evaluation only - benign, no action needed.");
    assert_eq!((test.disposition.as_str(), test.auto_close), ("test", true));
    assert!(!detection("CredentialTheft", "A process read the memory of LSASS.").auto_close);
    let incident = |moves: i32| {
        event(
            "IncidentSummaryEvent",
            serde_json::json!({ "IncidentID": "inc:1:2", "HostID": "77aa", "FineScore": 8.1, "LateralMovement": moves }),
        )
    };
    let moved = incident(1);
    assert_eq!((moved.incident_type.as_str(), moved.severity), ("lateral_movement", Sev2));
    assert_eq!(moved.hosts[0].name, "77aa");
    let stays = incident(0);
    assert_eq!((stays.incident_type.as_str(), stays.severity), ("security_alert", Sev3));
}
