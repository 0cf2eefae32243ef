//! Suricata: which end is the victim.

use wire::assessment::Severity::{Sev2, Sev3, Sev4};

use crate::{INTERMEDIARY, REPORTER, SOURCE, VICTIM, alert, check, fixture, techniques, triaged};

#[test]
fn the_packet_may_go_either_way() {
    let hosts = [("10.20.4.15", VICTIM), ("ids-1", REPORTER)];
    let rule = "suricata_command_and_control";
    let got = check("suricata-control-server-answers.json", "malware_infection", Sev2, &hosts, rule);
    assert_eq!(techniques(&got)[0], "T1573");
    assert!(got.indicators.iter().any(|one| one.value == "198.51.100.9"));
    // Without the flow's ends the direction says it, and without that the ports.
    let mut record = fixture("suricata-control-server-answers.json");
    for key in ["flow", "direction"] {
        record.as_object_mut().unwrap().remove(key);
        assert_eq!(alert(&record).fields["source.ip"], "10.20.4.15", "without {key}");
    }
}

#[test]
fn what_was_blocked_is_lower_and_its_sender_is_behind_the_proxy() {
    let hosts = [("10.20.0.8", VICTIM), ("192.0.2.44", SOURCE), ("203.0.113.201", INTERMEDIARY)];
    let got = check("suricata-exploit-blocked.json", "unauthorized_access", Sev4, &hosts, "suricata_exploit_attempt");
    assert!(got.severity_explanation.iter().any(|effect| effect.rule == "prevented"));
    let mut record = fixture("suricata-exploit-blocked.json");
    record["alert"]["action"] = "allowed".into();
    assert_eq!(triaged(&record).severity, Sev3);
    // The same between two hosts of ours is an intruder who moves on.
    record["src_ip"] = "10.20.4.15".into();
    assert_eq!(triaged(&record).incident_type, "lateral_movement");
}

#[test]
fn a_resolver_only_passes_on() {
    let hosts = [("10.20.4.15", VICTIM), ("10.20.0.53", INTERMEDIARY)];
    let got = check("suricata-question-to-resolver.json", "malware_infection", Sev2, &hosts, "suricata_malware");
    assert!(got.indicators.iter().any(|one| one.value == "drop.example.top"));
}

#[test]
fn a_docker_port_on_the_internet() {
    let hosts = [("10.20.4.4", VICTIM), ("198.51.100.77", SOURCE)];
    let rule = "suricata_container_made_from_outside";
    check("suricata-container-made-from-internet.json", "malware_infection", Sev2, &hosts, rule);
    let mut record = fixture("suricata-container-made-from-internet.json");
    record["http"] = serde_json::json!({ "url": "/version", "http_method": "GET" });
    assert_eq!((triaged(&record).incident_type.as_str(), triaged(&record).severity), ("security_alert", Sev3));
}

#[test]
fn every_class_of_rules_has_a_meaning() {
    for (signature, category, outward, wanted) in [
        ("ET SCAN Suspicious inbound to mySQL port 3306", "Potentially Bad Traffic", false, ("security_alert", Sev4)),
        ("ET SCAN Potential SSH Scan", "Attempted Information Leak", false, ("credential_compromise", Sev3)),
        ("ET SCAN Potential SSH Scan OUTBOUND", "Attempted Information Leak", true, ("malware_infection", Sev3)),
        ("ET POLICY GNU/Linux APT User-Agent Outbound", "Not Suspicious Traffic", true, ("policy_violation", Sev4)),
        (
            "ET COINMINER Example Stratum Login",
            "Crypto Currency Mining Activity Detected",
            true,
            ("malware_infection", Sev2),
        ),
        ("ET WEB_SERVER SQL Injection Attempt", "Web Application Attack", false, ("unauthorized_access", Sev3)),
        ("ET INFO Observed DNS Query to .biz TLD", "Potentially Bad Traffic", true, ("security_alert", Sev4)),
        (
            "ET PHISHING Successful Example Phish",
            "Successful Credential Theft Detected",
            true,
            ("credential_compromise", Sev2),
        ),
        ("GPL ATTACK_RESPONSE id check returned root", "Potentially Bad Traffic", false, ("unauthorized_access", Sev3)),
        ("ET DOS Possible NTP DDoS Inbound", "Attempted Denial of Service", false, ("dos_attack", Sev3)),
        ("ET ADWARE_PUP Example Install", "Possibly Unwanted Program Detected", true, ("policy_violation", Sev4)),
        ("SURICATA STREAM Packet with invalid ack", "Generic Protocol Command Decode", true, ("security_alert", Sev4)),
        ("Site rule 7", "Malware Command and Control Activity Detected", true, ("malware_infection", Sev2)),
    ] {
        let (ours, theirs) = (("10.20.4.15", 44_000), ("198.51.100.9", 8088));
        let (from, to) = if outward { (ours, theirs) } else { ((theirs.0, 44_000), (ours.0, 8088)) };
        let record = serde_json::json!({
            "timestamp": "2026-11-21T12:00:00.000001+0000", "flow_id": 1, "event_type": "alert",
            "src_ip": from.0, "src_port": from.1, "dest_ip": to.0, "dest_port": to.1, "proto": "TCP",
            "alert": { "action": "allowed", "signature_id": 1, "signature": signature, "category": category, "severity": 2 },
        });
        let got = triaged(&record);
        assert_eq!((got.incident_type.as_str(), got.severity), wanted, "{signature}: {:#?}", got.severity_explanation);
        assert_eq!(got.hosts[0].name, "10.20.4.15", "{signature}");
    }
}
