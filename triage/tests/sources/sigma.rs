//! Sigma, as several tools write its matches.

use wire::assessment::Severity::{Sev2, Sev3, Sev4};

use crate::{VICTIM, alert, check, fixture, techniques};

#[test]
fn matches_of_several_tools() {
    let host = [("WS-114.corp.example.com", VICTIM)];
    let dump = check("sigma-hayabusa-lsass.json", "credential_compromise", Sev2, &host, "sigma_credential_tool");
    assert_eq!(techniques(&dump)[0], "T1003.001");
    assert_eq!(dump.accounts, ["CORP\\svc_web"]);
    let host = [("FS-02.corp.example.com", VICTIM)];
    let moved = check("sigma-chainsaw-psexec.json", "lateral_movement", Sev3, &host, "sigma_lateral_movement");
    assert_eq!(techniques(&moved)[0], "T1569.002");
    let record = alert(&fixture("sigma-chainsaw-psexec.json"));
    assert_eq!(record.ids[0].value, "FS-02.corp.example.com");
    assert!(record.source_ref.unwrap().ends_with("/System/5511"));
}

#[test]
fn a_rules_description_is_no_evidence_and_test_in_its_title_closes_nothing() {
    let got = check("sigma-zircolite-low.json", "security_alert", Sev4, &[("WS-7", VICTIM)], "sigma_discovery");
    assert!(!got.auto_close);
}
