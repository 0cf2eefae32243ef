//! Splunk: notables whose facts stand in their raw text, webhooks, and what it relays.

use wire::assessment::Severity::{Sev2, Sev3, Sev4};

use crate::{REPORTER, VICTIM, alert, check, fixture, triaged};

#[test]
fn the_search_heads_own_host_is_no_victim() {
    let hosts = [("fin-ws-31", VICTIM), ("splunk-idx-2", REPORTER), ("splunk-sh-1", REPORTER)];
    let got = check("splunk-notable-malware.json", "malware_infection", Sev2, &hosts, "splunk_malware");
    assert_eq!(got.accounts, ["r.kern"]);
    check("splunk-notable-malware-blocked.json", "malware_infection", Sev3, &hosts, "prevented");
}

#[test]
fn falco_through_splunk_is_falco() {
    let relayed = alert(&fixture("splunk-relays-falco.json"));
    let direct = alert(&fixture("falco-fileless-execution.json"));
    assert_eq!((relayed.product.as_str(), &relayed.source_ref), ("falco", &direct.source_ref));
    assert!(relayed.hosts.iter().any(|host| host.name == "splunk-idx-2" && host.role == REPORTER));
}

#[test]
fn a_sudo_session_that_ended_is_routine() {
    let hosts = [("db-3", VICTIM), ("splunk-idx-2", REPORTER)];
    let closed = check("splunk-sudo-session-closed.json", "security_alert", Sev4, &hosts, "splunk_sudo_session");
    assert_eq!((closed.auto_close, closed.disposition.as_str()), (true, "benign"));
    for (path, value) in [
        ("/result/_raw", "Nov 21 11:14:32 db-3 sudo[811]: pam_unix(sudo:session): session opened for user root"),
        ("/result/source", "/tmp/auth.log"),
    ] {
        let mut record = fixture("splunk-sudo-session-closed.json");
        *record.pointer_mut(path).unwrap() = value.into();
        assert!(!triaged(&record).auto_close, "{path}");
    }
}
