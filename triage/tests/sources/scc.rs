//! Google Security Command Center.

use serde_json::json;
use triage::{Context, normalise};
use wire::assessment::Severity::{self, Sev1, Sev2, Sev3, Sev4};

use crate::{RECEIVED, VICTIM, alert, check, fixture, techniques, triaged};

#[test]
fn a_leaked_key_in_use() {
    let hosts = [("gcp-project:990011", VICTIM)];
    let got = check("scc-leaked-key-v2.json", "cloud_account_compromise", Sev2, &hosts, "scc_leaked_key_used");
    // Security Command Center names techniques instead of giving their ids.
    assert_eq!(techniques(&got), ["T1078", "T1078.004"]);
    assert_eq!(got.accounts, ["dev-tools@proj-test-1.iam.gserviceaccount.com"]);
    assert!(got.false_positive_indicators.is_empty() && !got.auto_close, "a project's name is no verdict");
    for (key, value) in [("state", "INACTIVE"), ("mute", "MUTED")] {
        let mut record = fixture("scc-leaked-key-v2.json");
        record["finding"][key] = value.into();
        assert!(triaged(&record).auto_close, "{key}");
    }
}

#[test]
fn pods_nodes_and_the_cluster() {
    let hosts = [("gce:gke-shop-1", VICTIM), ("gke:shop", VICTIM), ("pod:shop/web-6f9c", VICTIM)];
    let got = check("scc-container.json", "malware_infection", Sev2, &hosts, "scc_remote_shell");
    assert_eq!(techniques(&got)[0], "T1059.004");
    assert_eq!(alert(&fixture("scc-container.json")).fields["process.path"], "/bin/busybox");
}

#[test]
fn pub_sub_brings_it_in_base64() {
    let got = check("scc-pubsub-setting.json", "policy_violation", Sev4, &[], "scc_setting");
    assert!(!got.auto_close);
    // What is no base64, or no JSON in it, stays an alert with what could be read.
    for data in ["%%%", "bm90IGpzb24="] {
        let raw = json!({ "message": { "data": data, "messageId": "1" }, "subscription": "s" }).to_string();
        assert_eq!(normalise(raw.as_bytes(), RECEIVED, Context::shipped().unwrap().rules).unwrap().len(), 1);
    }
}

/// Categories of the threat findings index and of Security Health Analytics, with class and severity.
#[test]
fn documented_categories() {
    let cases: &[(&str, &str, &str, &str, Severity)] = &[
        ("Execution: Cryptocurrency Mining Hash Match", "THREAT", "HIGH", "malware_infection", Sev2),
        ("Malware: Malicious file on disk (YARA)", "THREAT", "MEDIUM", "malware_infection", Sev2),
        ("Defense Evasion: Unexpected kernel modules", "THREAT", "HIGH", "malware_infection", Sev2),
        ("Malware: Bad Domain", "THREAT", "LOW", "malware_infection", Sev2),
        ("Execution: Added Malicious Binary Executed", "THREAT", "CRITICAL", "malware_infection", Sev2),
        ("Added Binary Executed", "THREAT", "LOW", "malware_infection", Sev3),
        ("Execution: Container Escape", "THREAT", "CRITICAL", "privilege_escalation", Sev2),
        (
            "Privilege Escalation: Polkit Local Privilege Escalation Vulnerability (CVE-2021-4034)",
            "THREAT",
            "HIGH",
            "privilege_escalation",
            Sev2,
        ),
        ("Exfiltration: BigQuery Data Exfiltration", "THREAT", "HIGH", "data_exfiltration", Sev1),
        (
            "Exfiltration: AI Agent Initiated BigQuery VPC Perimeter Violation",
            "THREAT",
            "LOW",
            "unauthorized_access",
            Sev4,
        ),
        ("Persistence: New Geography", "THREAT", "LOW", "cloud_account_compromise", Sev3),
        ("Persistence: GCE Admin Added SSH Key", "THREAT", "LOW", "cloud_account_compromise", Sev3),
        ("Persistence: SSO Settings Changed", "THREAT", "HIGH", "cloud_account_compromise", Sev2),
        ("Initial Access: Log4j Compromise Attempt", "THREAT", "LOW", "unauthorized_access", Sev4),
        ("Initial Access: Suspicious Login Blocked", "THREAT", "LOW", "credential_compromise", Sev3),
        ("Initial Access: Excessive Permission Denied Actions", "THREAT", "MEDIUM", "credential_compromise", Sev3),
        ("Privilege Escalation: Create Kubernetes CSR for master cert", "THREAT", "HIGH", "privilege_escalation", Sev2),
        (
            "Privilege Escalation: Launch of privileged Kubernetes container",
            "THREAT",
            "LOW",
            "privilege_escalation",
            Sev3,
        ),
        ("Defense Evasion: Modify VPC Service Control", "THREAT", "LOW", "cloud_account_compromise", Sev3),
        ("Impact: Deleted Google Cloud Backup and DR Vault", "THREAT", "HIGH", "cloud_account_compromise", Sev2),
        (
            "Impact: Google Cloud Backup and DR reduced backup frequency",
            "THREAT",
            "LOW",
            "cloud_account_compromise",
            Sev3,
        ),
        ("Credential Access: Search Private Keys or Passwords", "THREAT", "LOW", "credential_compromise", Sev3),
        ("Lateral Movement: A detector of next year", "THREAT", "HIGH", "lateral_movement", Sev3),
        ("PUBLIC_BUCKET_ACL", "MISCONFIGURATION", "HIGH", "policy_violation", Sev3),
        ("OPEN_SSH_PORT", "MISCONFIGURATION", "HIGH", "policy_violation", Sev3),
        ("MFA_NOT_ENFORCED", "MISCONFIGURATION", "HIGH", "policy_violation", Sev3),
        ("AUDIT_LOGGING_DISABLED", "MISCONFIGURATION", "LOW", "policy_violation", Sev4),
        ("BUCKET_LOGGING_DISABLED", "MISCONFIGURATION", "LOW", "policy_violation", Sev4),
        ("SOFTWARE_VULNERABILITY", "VULNERABILITY", "CRITICAL", "vulnerability_discovered", Sev4),
        ("Externally exposed instance with a critical CVE", "TOXIC_COMBINATION", "CRITICAL", "policy_violation", Sev3),
    ];
    let mut wrong = Vec::new();
    for (category, class, level, incident_type, severity) in cases {
        let got = triaged(&json!({
            "finding": {
                "name": "organizations/1/sources/2/findings/3", "parent": "organizations/1/sources/2", "state": "ACTIVE",
                "resourceName": "//compute.googleapis.com/projects/p/zones/z/instances/4411", "category": category,
                "findingClass": class, "severity": level, "eventTime": "2026-11-21T16:00:00Z",
            },
            "resource": { "displayName": "vm-1" },
        }));
        assert_eq!(got.hosts[0].name, "gce:vm-1");
        if (got.incident_type.as_str(), got.severity) != (*incident_type, *severity) {
            let rules: Vec<_> = got.severity_explanation.iter().map(|effect| effect.rule.clone()).collect();
            wrong.push(format!("{category} ({level}): {} {} by {rules:?}", got.incident_type, got.severity));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn guessing_with_and_without_success() {
    let record = |outcome: &str| {
        json!({
            "finding": {
                "name": "organizations/1/sources/2/findings/9", "parent": "organizations/1/sources/2", "state": "ACTIVE",
                "resourceName": "//cloudresourcemanager.googleapis.com/projects/5", "category": "Brute Force: SSH",
                "severity": "HIGH", "findingClass": "THREAT", "eventTime": "2026-11-21T16:00:00Z",
                "sourceProperties": { "properties": { "attempts": [
                    { "vmName": "shop-1", "username": "ubuntu", "sourceIp": "203.0.113.8", "authResult": "FAIL" },
                    { "vmName": "shop-1", "username": "ubuntu", "sourceIp": "203.0.113.8", "authResult": outcome },
                ] } },
            },
        })
    };
    assert_eq!(triaged(&record("SUCCESS")).severity, Sev2);
    assert_eq!(triaged(&record("FAIL")).severity, Sev3);
    assert_eq!(triaged(&record("FAIL")).hosts[0].name, "gce:shop-1");
}
