//! Microsoft: Defender through Graph and as rows, Sentinel, Defender for Cloud.

use serde_json::json;
use triage::{Context, assess, correlates, is_duplicate, normalise};
use wire::assessment::Severity::{self, Sev1, Sev2, Sev3, Sev4};

use crate::{INTERMEDIARY, RECEIVED, VICTIM, alert, check, fixture, techniques, triaged};

#[test]
fn a_device_that_is_mere_context_is_no_victim() {
    let hosts = [("fin-ws-31.corp.example.com", VICTIM), ("dc-01.corp.example.com", INTERMEDIARY)];
    let rule = "microsoft_credentials_dumped";
    let got = check("defender-graph-two-devices.json", "credential_compromise", Sev2, &hosts, rule);
    assert_eq!(techniques(&got)[0], "T1003.001");
    // The description speaks of ransomware in general; the tag says "test".
    assert_eq!(got.disposition, "suspicious");
    let read = alert(&fixture("defender-graph-two-devices.json"));
    let ids: Vec<_> = read.ids.iter().map(|id| id.value.as_str()).collect();
    assert_eq!(ids, ["fin-ws-31.corp.example.com", "7b0a5b2e-51f3-4b5c-8f6e-1f0f3b9a7c11"]);
    assert_eq!(read.accounts, ["m.ito@corp.example.com", "m.ito"]);
    // A system program's digest would tie every host to every other.
    let digests: Vec<_> = read.indicators.iter().filter(|one| one.kind == "sha256").collect();
    assert!(digests.len() == 1 && digests[0].value.starts_with('2'), "{digests:?}");
}

#[test]
fn what_an_analyst_decided_there_counts() {
    let mut record = fixture("defender-graph-two-devices.json");
    record["classification"] = "truePositive".into();
    record["determination"] = "apt".into();
    let got = triaged(&record);
    assert_eq!(
        (got.incident_type.as_str(), got.severity, got.disposition.as_str()),
        ("apt_intrusion", Sev1, "true_positive")
    );
    for (key, value) in [("classification", "informationalExpectedActivity"), ("status", "resolved")] {
        let mut record = fixture("defender-graph-two-devices.json");
        record[key] = value.into();
        assert!(triaged(&record).auto_close, "{key} = {value}");
        // The newest statement stands, in whatever order they come.
        record["lastUpdateDateTime"] = "2026-11-21T17:00:00Z".into();
        let (old, new) = (alert(&fixture("defender-graph-two-devices.json")), alert(&record));
        let context = Context::shipped().unwrap();
        assert!(is_duplicate(&old, &new));
        assert!(assess(&[&new, &old], &context).auto_close && assess(&[&old, &new], &context).auto_close);
    }
}

#[test]
fn two_rows_of_one_alert_are_two_records_of_one_incident() {
    let raw = fixture("defender-xdr-rows.json").to_string();
    let context = Context::shipped().unwrap();
    let rows = normalise(raw.as_bytes(), RECEIVED, context.rules).unwrap();
    let [machine, user] = [&rows[0].alert, &rows[1].alert];
    assert!(!is_duplicate(machine, user));
    assert!(correlates(machine, user).unwrap().contains("same alert group microsoft alert da638995447000000001_77"));
    let got = assess(&[machine, user], &context);
    assert_eq!((got.incident_type.as_str(), got.severity), ("lateral_movement", Sev2));
    assert_eq!(got.hosts[0].name, "hr-ws-07.corp.example.com");
    assert_eq!(got.accounts, ["k.lind@corp.example.com"]);
    assert_eq!(techniques(&got), ["T1021.002", "T1021"]);
    // Two products of one maker that pass each other's alerts on confirm nothing.
    assert!(got.severity_explanation.iter().all(|effect| effect.rule != "two_independent_sources"));
}

#[test]
fn sentinel_in_its_forms() {
    let rule = "microsoft_guessed";
    let hosts = [("dev-build-3.corp.example.com", VICTIM)];
    let got = check("sentinel-security-alert-row.json", "credential_compromise", Sev2, &hosts, rule);
    assert!(got.accounts.contains(&"a.okafor@corp.example.com".to_owned()), "{:?}", got.accounts);
    let hosts = [("app-12.corp.example.com", VICTIM)];
    let got = check("sentinel-incident-automation.json", "apt_intrusion", Sev1, &hosts, "microsoft_hands_on");
    assert_eq!(got.accounts, ["svc_deploy"]);
    let hosts = [("latest-web-02", VICTIM)];
    let got = check("defender-cloud-ssh.json", "credential_compromise", Sev2, &hosts, rule);
    assert!(got.indicators.iter().any(|one| one.value == "203.0.113.9"));
}

#[test]
fn an_incident_of_nothing_is_closed_and_one_that_somebody_works_on_is_not() {
    let record = |owner: serde_json::Value, title: &str| {
        json!({
            "id": "/subscriptions/0b1f/providers/Microsoft.SecurityInsights/Incidents/7", "type": "Microsoft.SecurityInsights/Incidents",
            "properties": {
                "title": title, "severity": "Low", "status": "New", "incidentNumber": 7, "owner": { "assignedTo": owner },
                "additionalData": { "alertsCount": 0, "bookmarksCount": 0, "commentsCount": 0, "tactics": [] },
                "relatedAnalyticRuleIds": [],
            },
        })
    };
    let nothing = triaged(&record(json!(null), "New incident"));
    assert_eq!((nothing.disposition.as_str(), nothing.auto_close), ("test", true));
    assert!(!triaged(&record(json!("j.meyer"), "New incident")).auto_close);
    assert!(!triaged(&record(json!(null), "Ransomware on the file server")).auto_close);
    assert!(!triaged(&record(json!(null), "User clicked a link, called by phone")).severity.eq(&Sev1));
}

/// Titles that Microsoft documents, with its severity and category, as Graph sends them.
#[test]
fn documented_titles() {
    let cases: &[(&str, &str, &str, &str, Severity)] = &[
        ("Atypical travel", "medium", "UnusualLocation", "credential_compromise", Sev3),
        ("Unfamiliar sign-in properties", "low", "InitialAccess", "credential_compromise", Sev3),
        ("Leaked credentials", "high", "CredentialAccess", "credential_compromise", Sev2),
        ("Anomalous Token", "medium", "CredentialAccess", "credential_compromise", Sev2),
        ("Suspicious inbox manipulation rule", "medium", "DefenseEvasion", "credential_compromise", Sev2),
        ("Password Spray", "high", "CredentialAccess", "credential_compromise", Sev2),
        ("Suspected brute force attack (Kerberos, NTLM)", "medium", "CredentialAccess", "credential_compromise", Sev3),
        (
            "Suspected DCSync attack (replication of directory services)",
            "high",
            "CredentialAccess",
            "domain_controller_breach",
            Sev1,
        ),
        (
            "Suspected Golden Ticket usage (encryption downgrade)",
            "medium",
            "Persistence",
            "domain_controller_breach",
            Sev1,
        ),
        ("Suspected identity theft (pass-the-ticket)", "high", "LateralMovement", "lateral_movement", Sev2),
        ("Remote code execution attempt", "medium", "Execution", "lateral_movement", Sev2),
        ("User and IP address reconnaissance (SMB)", "medium", "Discovery", "unauthorized_access", Sev3),
        ("Honeytoken authentication activity", "medium", "CredentialAccess", "credential_compromise", Sev2),
        ("'Emotet' malware was detected", "high", "Malware", "malware_infection", Sev2),
        ("'Wacatac' malware was prevented", "informational", "Malware", "malware_infection", Sev3),
        ("'LockBit' ransomware was detected", "high", "Ransomware", "ransomware", Sev1),
        ("'LockBit' ransomware was prevented", "low", "Ransomware", "ransomware", Sev2),
        ("File backups were deleted", "medium", "Impact", "ransomware", Sev2),
        ("'PUABundler' unwanted software was detected", "informational", "UnwantedSoftware", "policy_violation", Sev4),
        ("Human-operated attack using compromised account", "high", "SuspiciousActivity", "apt_intrusion", Sev1),
        ("Ransomware-linked Storm-0501 threat actor detected", "high", "SuspiciousActivity", "apt_intrusion", Sev1),
        (
            "Attempt to turn off Microsoft Defender Antivirus protection",
            "medium",
            "DefenseEvasion",
            "malware_infection",
            Sev3,
        ),
        ("Microsoft Defender Antivirus protection turned off", "high", "DefenseEvasion", "malware_infection", Sev2),
        ("Suspicious process injection observed", "medium", "DefenseEvasion", "malware_infection", Sev2),
        ("Suspicious PowerShell command line", "medium", "Execution", "malware_infection", Sev3),
        ("Suspicious PowerShell command line", "high", "Execution", "malware_infection", Sev2),
        ("Possible web shell installation", "medium", "Persistence", "malware_infection", Sev2),
        ("Anomalous file written by an Office process", "low", "InitialAccess", "unauthorized_access", Sev4),
        ("A potentially malicious URL click was detected", "high", "InitialAccess", "phishing_attempt", Sev3),
        (
            "Email messages containing malicious file removed after delivery",
            "informational",
            "InitialAccess",
            "phishing_attempt",
            Sev4,
        ),
        ("Email reported by user as malware or phish", "low", "InitialAccess", "phishing_attempt", Sev4),
        ("Suspicious email sending patterns detected", "medium", "InitialAccess", "credential_compromise", Sev3),
        (
            "DLP policy (Personal data) matched for email with subject (x)",
            "low",
            "Exfiltration",
            "policy_violation",
            Sev3,
        ),
        ("Mass download by a single user", "medium", "Exfiltration", "insider_threat", Sev2),
        ("Digital currency mining related behavior detected", "high", "Execution", "malware_infection", Sev2),
        ("Privileged container detected", "low", "PrivilegeEscalation", "privilege_escalation", Sev3),
        ("Exposed Kubernetes dashboard detected", "high", "InitialAccess", "policy_violation", Sev3),
        ("DDoS Attack detected for Public IP", "high", "Impact", "dos_attack", Sev3),
        (
            "Connection to adversary-in-the-middle (AiTM) phishing site",
            "high",
            "InitialAccess",
            "credential_compromise",
            Sev2,
        ),
    ];
    let mut wrong = Vec::new();
    for (title, level, category, incident_type, severity) in cases {
        let got = triaged(&json!({
            "@odata.type": "#microsoft.graph.security.alert", "id": "da1", "title": title, "severity": level,
            "category": category, "status": "new", "serviceSource": "microsoftDefenderForEndpoint",
            "createdDateTime": "2026-11-21T16:00:00Z",
            "evidence": [{ "@odata.type": "#microsoft.graph.security.deviceEvidence", "deviceDnsName": "pc-1.corp.example.com" }],
        }));
        if (got.incident_type.as_str(), got.severity) != (*incident_type, *severity) || got.auto_close {
            let rules: Vec<_> = got.severity_explanation.iter().map(|effect| effect.rule.clone()).collect();
            wrong.push(format!("{title} ({level}): {} {} by {rules:?}", got.incident_type, got.severity));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_test_is_one_by_its_vendors_word_only() {
    let record = |title: &str| {
        json!({
            "@odata.type": "#microsoft.graph.security.alert", "id": "da2", "title": title, "severity": "high",
            "category": "Malware", "status": "new", "serviceSource": "microsoftDefenderForEndpoint",
            "evidence": [{ "deviceDnsName": "test-dev-1.corp.example.com", "tags": ["test"] }],
        })
    };
    for title in ["[Test Alert] Suspicious Powershell commandline", "'EICAR_Test_File' malware was detected"] {
        let got = triaged(&record(title));
        assert_eq!((got.disposition.as_str(), got.auto_close, got.severity), ("test", true, Sev4), "{title}");
    }
    for title in ["Latest 'Qakbot' malware was detected", "Suspicious device attested: malware was detected"] {
        let got = triaged(&record(title));
        assert!(!got.auto_close && got.disposition == "suspicious", "{title}");
    }
    let sample = json!({ "systemAlertId": "s1", "alertDisplayName": "[SAMPLE ALERT] Digital currency mining related behavior detected", "severity": "High", "compromisedEntity": "Sample-VM", "status": "Active" });
    assert_eq!(triaged(&sample).disposition, "test");
}
