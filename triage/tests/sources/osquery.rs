//! osquery: rows that came and went.

use wire::assessment::Severity::{Sev2, Sev3, Sev4};

use crate::{VICTIM, alert, check, fixture, triaged};

#[test]
fn rows() {
    let host = [("build-04.example.com", VICTIM)];
    check("osquery-key-added.json", "unauthorized_access", Sev3, &host, "osquery_authorized_keys");
    let names = alert(&fixture("osquery-key-added.json"));
    assert_eq!(names.ids[0].value, "build-04.example.com");
    let host = [("app-11", VICTIM)];
    check("osquery-program-in-memory.json", "malware_infection", Sev2, &host, "osquery_program_in_temporary_place");
    // It is gone, and was there until now.
    check("osquery-hostile-cron-removed.json", "malware_infection", Sev2, &host, "osquery_hostile_schedule");
    let mut record = fixture("osquery-key-added.json");
    record["action"] = "removed".into();
    assert_eq!(triaged(&record).severity, Sev4);
}

#[test]
fn only_the_stock_crontab_is_closed() {
    let stock = check("osquery-stock-cron.json", "security_alert", Sev4, &[("app-12", VICTIM)], "osquery_schedule");
    assert_eq!((stock.auto_close, stock.disposition.as_str()), (true, "benign"));
    for (path, value) in [
        ("/columns/command", "root cd / && run-parts --report /etc/cron.hourly; /tmp/.x"),
        ("/columns/path", "/var/spool/cron/www-data"),
    ] {
        let mut record = fixture("osquery-stock-cron.json");
        *record.pointer_mut(path).unwrap() = value.into();
        assert!(!triaged(&record).auto_close, "{path}");
    }
}
