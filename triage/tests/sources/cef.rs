//! CEF, by the names that vendors give their events.

use triage::triage_incident;
use wire::assessment::Severity::{self, Sev2, Sev3, Sev4};

use crate::{Context, RECEIVED};

#[test]
fn events_of_several_vendors() {
    for (line, incident_type, severity) in [
        (
            "CEF:0|Fortinet|Fortigate|7.4|16384|ips signature: Apache.Log4j|7|src=203.0.113.9 dst=10.0.0.8 act=blocked",
            "unauthorized_access",
            Sev4,
        ),
        (
            "CEF:0|Palo Alto Networks|PAN-OS|11.0|threat|Example C2 traffic|8|src=10.0.0.5 dst=203.0.113.9 deviceDirection=1",
            "malware_infection",
            Sev2,
        ),
        (
            "CEF:0|Trend Micro|Deep Security Agent|20|4000000|Eicar_test_file Trojan|6|dvchost=app-1 act=quarantined",
            "malware_infection",
            Sev4,
        ),
        (
            "CEF:0|Imperva|SecureSphere|14|sql|SQL injection in parameter id|High|src=203.0.113.9 dst=10.0.0.8",
            "unauthorized_access",
            Sev3,
        ),
        (
            "CEF:0|Microsoft|Azure ATP|2|Dir|Suspected DCSync attack (replication of directory services)|10|shost=ws-1 dhost=dc-1",
            "domain_controller_breach",
            Severity::Sev1,
        ),
    ] {
        let got = triage_incident(line.as_bytes(), RECEIVED, &Context::shipped().unwrap()).unwrap().remove(0);
        let why = got.severity_explanation;
        assert_eq!((got.incident_type.as_str(), got.severity), (incident_type, severity), "{line}: {why:#?}");
    }
}

#[test]
fn which_end_is_ours() {
    for (line, victim, closed) in [
        // What leaves for a public address is about the host that it leaves from.
        (
            "CEF:0|Acme|Gate|1|7|Suspicious DNS query|5|src=10.9.0.8 shost=lt-8 dst=198.51.100.7 act=sinkhole cat=dns-c2",
            "lt-8",
            false,
        ),
        (
            "LEEF:2.0|Acme|DLP|3|DataLeak|^|src=10.9.0.9^dst=198.51.100.8^sev=9^action=Permitted^msg=exfiltration of card numbers",
            "10.9.0.9",
            false,
        ),
        ("CEF:0|Acme|Gate|1|8|SQL injection|5|src=198.51.100.7 dst=10.9.0.20", "10.9.0.20", false),
        // An agent that names neither end speaks of its own host.
        ("CEF:0|Acme|Agent|1|9|Eicar_test_file|6|dvchost=app-4 act=Delete", "app-4", true),
    ] {
        let got = triage_incident(line.as_bytes(), RECEIVED, &Context::shipped().unwrap()).unwrap().remove(0);
        let victims: Vec<_> =
            got.hosts.iter().filter(|host| host.role == crate::VICTIM).map(|host| host.name.as_str()).collect();
        assert_eq!((victims, got.auto_close), (vec![victim], closed), "{line}");
    }
}
