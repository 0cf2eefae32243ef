//! QRadar's offenses.

use wire::assessment::Severity::{Sev2, Sev3};

use crate::{SOURCE, VICTIM, check, fixture, triaged};

#[test]
fn the_source_of_an_offense_is_ours_or_theirs() {
    let host = [("203.0.113.50", SOURCE)];
    check("qradar-login-failures.json", "credential_compromise", Sev3, &host, "qradar_brute_force_by_words");
    let host = [("10.20.4.15", VICTIM)];
    check("qradar-trojan-on-our-host.json", "malware_infection", Sev2, &host, "qradar_malware");
}

#[test]
fn what_was_closed_there_is_closed_here() {
    let closed = triaged(&fixture("qradar-closed.json"));
    assert_eq!((closed.auto_close, closed.disposition.as_str()), (true, "disregard"));
}
