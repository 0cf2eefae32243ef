//! Wazuh, and what it relays.

use triage::are_independent;
use wire::assessment::Severity::{Sev2, Sev3, Sev4};

use crate::{REPORTER, SOURCE, VICTIM, alert, check, fixture, techniques, triaged};

#[test]
fn logins() {
    let hosts = [("web-07", VICTIM), ("203.0.113.50", SOURCE), ("wazuh-mgr-1", REPORTER)];
    let tried = check("wazuh-ssh-brute-force.json", "credential_compromise", Sev3, &hosts, "wazuh_brute_force");
    assert_eq!(techniques(&tried), ["T1110"]);
    assert_eq!(tried.accounts, ["root"]);
    check("wazuh-login-after-failures.json", "credential_compromise", Sev2, &hosts, "wazuh_login_after_failures");
}

#[test]
fn what_it_relays_is_the_other_products() {
    let hosts = [("10.20.1.7", VICTIM), ("ids-1", REPORTER), ("wazuh-mgr-1", REPORTER)];
    check("wazuh-relays-suricata.json", "malware_infection", Sev2, &hosts, "suricata_command_and_control");
    let (relayed, direct) =
        (alert(&fixture("wazuh-relays-suricata.json")), alert(&fixture("suricata-as-relayed.json")));
    assert_eq!((relayed.product.as_str(), &relayed.source_ref), ("suricata", &direct.source_ref));
    assert!(!are_independent(&relayed, &direct));
    // Falco runs on the agent's host.
    let hosts = [("web-07", VICTIM), ("wazuh-mgr-1", REPORTER)];
    check("wazuh-relays-falco.json", "malware_infection", Sev2, &hosts, "falco_web_server_child");
    // The host that runs the sensor may be the one in the packet.
    let mut record = fixture("wazuh-relays-suricata.json");
    record["agent"]["ip"] = "10.20.1.7".into();
    let own = alert(&record);
    assert_eq!((own.hosts[0].name.as_str(), own.hosts[0].role), ("ids-1", VICTIM));
    assert_eq!(own.aliases.get("10.20.1.7").map(String::as_str), Some("ids-1"));
}

#[test]
fn the_manager_only_collects() {
    let hosts = [("edge-fw-2", VICTIM), ("198.51.100.23", SOURCE), ("wazuh-mgr-1", REPORTER)];
    check("wazuh-syslog-through-manager.json", "credential_compromise", Sev3, &hosts, "wazuh_brute_force");
}

#[test]
fn telemetry_is_closed_unless_it_shows_an_intruder() {
    let hosts = [("web-07", VICTIM), ("wazuh-mgr-1", REPORTER)];
    let routine = check("wazuh-audited-command.json", "security_alert", Sev4, &hosts, "wazuh_audit_telemetry");
    assert_eq!((routine.auto_close, routine.disposition.as_str()), (true, "benign"));
    assert_eq!(routine.false_positive_indicators[0].owner, "detection engineering");
    let shell = check("wazuh-audited-reverse-shell.json", "malware_infection", Sev2, &hosts, "command_reverse_shell");
    assert!(!shell.auto_close);
    for (path, value) in [("/rule/level", serde_json::json!(7)), ("/data/audit/exe", serde_json::json!("/tmp/bash"))] {
        let mut record = fixture("wazuh-audited-command.json");
        *record.pointer_mut(path).unwrap() = value;
        assert!(!triaged(&record).auto_close, "{path}");
    }
}

#[test]
fn files_and_weaknesses() {
    let hosts = [("web-07", VICTIM), ("wazuh-mgr-1", REPORTER)];
    check("wazuh-preload-written.json", "malware_infection", Sev2, &hosts, "wazuh_preload_changed");
    let mut record = fixture("wazuh-preload-written.json");
    record["syscheck"]["path"] = "/etc/motd".into();
    assert_eq!((triaged(&record).incident_type.as_str(), triaged(&record).severity), ("security_alert", Sev4));
    // A scanner's 13 is the weakness's score, not an intruder.
    record["rule"] = serde_json::json!({ "level": 13, "id": "23506", "description": "CVE-2026-1000 affects openssl", "groups": ["vulnerability-detector"] });
    assert_eq!(
        (triaged(&record).incident_type.as_str(), triaged(&record).severity),
        ("vulnerability_discovered", Sev4)
    );
}

#[test]
fn events_that_windows_forwards_are_of_the_computer_that_wrote_them() {
    let mut record = serde_json::json!({
        "timestamp": "2026-11-21T17:40:00.000+0000", "id": "1795282800.77", "location": "EventChannel",
        "rule": { "id": "60204", "level": 10, "description": "Multiple Windows Logon Failures", "groups": ["windows", "authentication_failures"] },
        "agent": { "id": "031", "name": "collector-2", "ip": "10.8.0.9" }, "manager": { "name": "wazuh-mgr-1" },
        "data": { "win": { "system": { "computer": "till-14.shop.example" }, "eventdata": { "targetUserName": "e.tester", "ipAddress": "10.8.3.3" } } },
    });
    let hosts = |record: &serde_json::Value| {
        let hosts = triaged(record).hosts;
        hosts.into_iter().map(|host| (host.name, host.role)).collect::<Vec<_>>()
    };
    let found = hosts(&record);
    assert_eq!(found[0], ("till-14.shop.example".to_owned(), VICTIM));
    assert!(found.contains(&("collector-2".to_owned(), REPORTER)), "{found:?}");
    record["agent"]["name"] = "TILL-14".into();
    assert_eq!(hosts(&record)[0], ("TILL-14".to_owned(), VICTIM), "with its domain or without, it is one host");
}

#[test]
fn possible_is_not_confirmed_and_eicar_is_no_malware() {
    let record = |id: &str, description: &str, data: serde_json::Value| {
        serde_json::json!({
            "timestamp": "2026-11-21T17:40:00.000+0000", "id": "1795282800.78", "location": "x", "data": data,
            "rule": { "id": id, "level": 12, "description": description, "groups": ["virustotal"] },
            "agent": { "id": "031", "name": "web-07" }, "manager": { "name": "wazuh-mgr-1" },
        })
    };
    let logon = "Successful Remote Logon Detected - NTLM authentication, possible pass-the-hash attack.";
    let possible = triaged(&record("92652", logon, serde_json::json!({})));
    assert_eq!((possible.incident_type.as_str(), possible.severity), ("lateral_movement", Sev3));
    let found = |name: &str, md5: &str| {
        let file = serde_json::json!({ "virustotal": { "source": { "file": name, "md5": md5 } } });
        triaged(&record("87105", &format!("VirusTotal: Alert - {name} - 60 engines detected this file"), file))
    };
    let eicar = found("/srv/up/a.bin", "44d88612fea8a8f36de82e1278abb02f");
    assert_eq!((eicar.severity, eicar.disposition.as_str(), eicar.auto_close), (Sev4, "test", true));
    // Anybody can call a file so.
    let named = found("/srv/up/eicar.com", "0123456789abcdef0123456789abcdef");
    assert_eq!((named.severity, named.auto_close), (Sev2, false));
}
