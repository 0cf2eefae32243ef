//! What the shipped rules make of alerts, through the doors: bytes in, assessment out.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its fixtures as well")]

use std::path::PathBuf;

use triage::{Alert, Context, NotTaken, Parsed, Rules, assess, correlates, triage_incident};
use wire::Instant;
use wire::assessment::{Assessment, HostRole, Severity};

/// 2026-11-21T17:52:00Z
const RECEIVED: Instant = Instant(1_795_283_520_000_000_000);

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn normalise(raw: &[u8]) -> Result<Vec<Parsed>, NotTaken> {
    triage::normalise(raw, RECEIVED, Rules::shipped().unwrap())
}

fn alert(raw: &[u8]) -> Alert {
    let mut taken = normalise(raw).unwrap();
    assert_eq!(taken.len(), 1);
    taken.remove(0).alert
}

fn triaged(raw: &[u8]) -> Assessment {
    triage_incident(raw, RECEIVED, &Context::shipped().unwrap()).unwrap().remove(0)
}

fn together(names: &[&str]) -> Assessment {
    let alerts: Vec<Alert> = names.iter().map(|name| alert(&fixture(name))).collect();
    assess(&alerts.iter().collect::<Vec<_>>(), &Context::shipped().unwrap())
}

fn rules_of(assessment: &Assessment) -> Vec<&str> {
    assessment.severity_explanation.iter().map(|effect| effect.rule.as_str()).collect()
}

const FALCO: &str = "falco-fileless-execution.json";
const GUARDDUTY: &str = "guardduty-command-and-control.json";

#[test]
fn each_source_alone_is_sev2_and_both_together_are_sev1() {
    for name in [FALCO, GUARDDUTY] {
        let one = triaged(&fixture(name));
        assert_eq!((one.incident_type.as_str(), one.severity), ("malware_infection", Severity::Sev2), "{name}");
        assert!(one.containment.iter().all(|proposed| !proposed.automatic), "one signal is not two");
        assert!(one.would_change_it.iter().any(|text| text.contains("second, independent source")));
        assert_eq!(one.disposition, "suspicious");
    }
    let both = together(&[FALCO, GUARDDUTY]);
    assert_eq!((both.incident_type.as_str(), both.severity), ("apt_intrusion", Severity::Sev1));
    assert_eq!(both.escalation_triggers_fired, ["hands_on_intruder"]);
    assert_eq!(both.disposition, "true_positive");
    assert!(rules_of(&both).contains(&"intruder_in_control"), "{:?}", both.severity_explanation);
    let agreement = both.severity_explanation.iter().find(|effect| effect.rule == "two_independent_sources").unwrap();
    assert_eq!(agreement.input, "falco and guardduty agree: same host web-1, 5 min apart");
    // One machine, under the name that people know, although GuardDuty lists it by its instance id.
    assert_eq!(both.hosts.len(), 1, "{:?}", both.hosts);
    assert_eq!((both.hosts[0].name.as_str(), both.hosts[0].role), ("web-1", HostRole::Victim));
    assert_eq!(both.evidence_plan.profile, "intrusion");
    assert_eq!(both.escalation_path.respond_within_minutes, 15);
    assert!(both.containment.iter().any(|proposed| proposed.action == "isolate_network" && proposed.automatic));
    assert!(
        both.notification_clocks.iter().any(|clock| clock.regime.starts_with("NIS2") && clock.anchor == "aware_at")
    );
}

#[test]
fn the_order_of_arrival_changes_nothing_and_a_duplicate_counts_once() {
    let names = [FALCO, GUARDDUTY, "guardduty-instance-credentials.json"];
    let expected = together(&names);
    for [a, b, c] in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        assert_eq!(together(&[names[a], names[b], names[c]]), expected);
    }
    assert_eq!(together(&[FALCO, FALCO]), together(&[FALCO]));
    let mut again = alert(&fixture(GUARDDUTY));
    again.raw_sha256 = wire::Sha256::of(b"the same finding, sent once more");
    let (one, rules) = (alert(&fixture(GUARDDUTY)), Context::shipped().unwrap());
    assert_eq!(assess(&[&one, &again], &rules).severity, Severity::Sev2, "one finding is not two sources");
}

#[test]
fn a_relayed_alert_is_no_second_source() {
    let (mut a, mut b) = (alert(&fixture(FALCO)), alert(&fixture(GUARDDUTY)));
    let context = Context::shipped().unwrap();
    (a.ingest_token, b.ingest_token) = (Some("tok-1".into()), Some("tok-1".into()));
    assert_eq!(assess(&[&a, &b], &context).severity, Severity::Sev2, "both came in with one token");
    b.ingest_token = Some("tok-2".into());
    assert_eq!(assess(&[&a, &b], &context).severity, Severity::Sev1);
    b.product = "falco".into();
    assert_eq!(assess(&[&a, &b], &context).severity, Severity::Sev2, "Splunk that relays Falco is Falco");
}

#[test]
fn two_sources_about_two_hosts_do_not_agree() {
    let mut other = alert(&fixture(GUARDDUTY));
    for name in ["web-1", "ip-10-0-3-17.eu-west-1.compute.internal"] {
        other.aliases.remove(name);
    }
    other.ids.clear();
    other.hosts[0].name = "web-2".into();
    let falco = alert(&fixture(FALCO));
    assert_eq!(correlates(&falco, &other), None);
    let both = assess(&[&falco, &other], &Context::shipped().unwrap());
    // Merged by a person, they are two compromised systems; nothing confirms either.
    assert_eq!(both.escalation_triggers_fired, ["second_compromised_system"]);
    assert_ne!(both.disposition, "true_positive");
    assert!(both.containment.iter().all(|proposed| !proposed.automatic));
}

#[test]
fn failed_logins_and_then_root_is_high_and_asks_for_the_sessions() {
    let seed = triaged(&fixture("plain-unauthorized-access.json"));
    assert_eq!((seed.incident_type.as_str(), seed.severity), ("unauthorized_access", Severity::Sev2));
    assert!(rules_of(&seed).contains(&"privileged_account_taken"), "{:?}", seed.severity_explanation);
    assert_eq!(seed.hosts[0].name, "db-prod-01");
    assert_eq!(seed.escalation_path.escalate_to, ["SOC lead", "CISO"]);
    assert_eq!(seed.evidence_plan.profile, "unauthorized_access");
    assert_eq!(seed.evidence_plan.order[0], "sessions of the account and where they came from");
    let ids: Vec<&str> = seed.techniques.iter().map(|technique| technique.id.as_str()).collect();
    assert_eq!(ids, ["T1110", "T1078"]);
    assert!(seed.containment.iter().any(|proposed| proposed.action == "end_sessions"));
    let failed_only = br#"{"event_type":"unauthorized_access","host":"db-prod-01","details":"Multiple failed logins, no successful login"}"#;
    assert_eq!(triaged(failed_only).severity, Severity::Sev4);
}

#[test]
fn a_backup_account_does_not_excuse_ransomware() {
    let it = triaged(&fixture("plain-ransomware-backup-account.json"));
    assert_eq!((it.incident_type.as_str(), it.severity), ("ransomware", Severity::Sev1));
    assert!(!it.auto_close && it.false_positive_indicators.is_empty());
    assert_eq!(it.containment[0].action, "freeze_process");
    assert!(it.recommended_action.starts_with("Provisional SEV1"), "{}", it.recommended_action);
    // The same account elsewhere is a sign, with an owner, that closes nothing.
    let login =
        br#"{"event_type":"unauthorized_access","host":"prod-db-01","actor":"svc_backup","details":"login at 02:00"}"#;
    let it = triaged(login);
    assert_eq!(it.false_positive_indicators[0].owner, "backup operations");
    assert!(!it.auto_close && it.severity == Severity::Sev3);
    assert!(it.recommended_action.starts_with("Likely a false positive"), "{}", it.recommended_action);
    // Where something took effect, nobody waits for the owner's answer.
    let mines =
        br#"{"event_type":"malware_infection","host":"ci-7","actor":"jenkins","command":"xmrig -o stratum+tcp://x:1"}"#;
    let it = triaged(mines);
    assert_eq!(it.false_positive_indicators[0].owner, "platform engineering");
    assert!(it.recommended_action.contains("without waiting"), "{}", it.recommended_action);
}

#[test]
fn what_was_stopped_is_not_told_as_if_it_had_come_about() {
    let said = |action: &str| {
        let raw =
            format!(r#"{{"event_type":"malware_infection","host":"pc-7","action":"{action}","details":"mimikatz"}}"#);
        let why = triaged(raw.as_bytes()).severity_explanation;
        why.into_iter().find(|effect| effect.rule == "words_credential_theft").unwrap().effect
    };
    assert!(said("blocked").ends_with("; stopped: credentials were taken"), "{}", said("blocked"));
    assert!(said("allowed").ends_with("; credentials were taken"), "{}", said("allowed"));
}

#[test]
fn movement_and_insiders() {
    let moved = triaged(&fixture("plain-lateral-movement.json"));
    assert_eq!((moved.incident_type.as_str(), moved.severity), ("lateral_movement", Severity::Sev2));
    let roles: Vec<_> = moved.hosts.iter().map(|host| (host.name.as_str(), host.role)).collect();
    assert_eq!(roles, [("app-03", HostRole::Victim), ("jump-01", HostRole::Source)]);
    let insider = triaged(&fixture("plain-insider-threat.json"));
    assert_eq!((insider.incident_type.as_str(), insider.severity), ("insider_threat", Severity::Sev2));
    assert_eq!(insider.escalation_path.escalate_to, ["SOC lead", "CISO", "HR", "legal"]);
    assert_eq!(insider.containment[0].action, "manual_task");
    assert_eq!(insider.escalation_triggers_fired, ["exfiltration_over_1_gb"]);
    assert!(insider.notification_clocks.iter().any(|clock| clock.regime.starts_with("GDPR")));
}

#[test]
fn an_instances_credentials_name_the_instance() {
    let it = alert(&fixture("guardduty-instance-credentials.json"));
    assert!(it.ids.iter().any(|id| id.value == "i-0f3a7c1d9e5b24a60"));
    assert_eq!(it.aliases.get("web-1").map(String::as_str), Some("i-0f3a7c1d9e5b24a60"));
    let with_falco = together(&[FALCO, "guardduty-instance-credentials.json"]);
    assert_eq!((with_falco.incident_type.as_str(), with_falco.severity), ("apt_intrusion", Severity::Sev1));
    assert!(rules_of(&with_falco).contains(&"stolen_and_used"));
}

#[test]
fn a_sensitive_file_that_is_read_is_not_yet_an_intruder() {
    let it = triaged(&fixture("falco-read-shadow.json"));
    assert_eq!((it.incident_type.as_str(), it.severity), ("credential_compromise", Severity::Sev3));
    assert!(rules_of(&it).contains(&"unconfirmed"));
}

#[test]
fn a_prevented_attack_is_one_lower_and_a_note_outranks_it() {
    let stopped = br#"{"event_type":"ransomware","host":"h","details":"encrypting files","action":"blocked"}"#;
    assert_eq!(triaged(stopped).severity, Severity::Sev2);
    let note =
        br#"{"event_type":"ransomware","host":"h","details":"ransom note README_DECRYPT.txt","action":"blocked"}"#;
    assert_eq!(triaged(note).severity, Severity::Sev1);
    assert_eq!(triaged(note).escalation_triggers_fired, ["ransom_note"]);
}

#[test]
fn only_the_vendors_own_sample_closes_what_would_be_critical() {
    let mut sample: serde_json::Value = serde_json::from_slice(&fixture(GUARDDUTY)).unwrap();
    sample["detail"]["type"] = "Stealth:IAMUser/CloudTrailLoggingDisabled".into();
    let real = triaged(sample.to_string().as_bytes());
    assert_eq!((real.severity, real.auto_close), (Severity::Sev1, false));
    sample["detail"]["service"]["additionalInfo"]["sample"] = true.into();
    let made_up = triaged(sample.to_string().as_bytes());
    assert_eq!((made_up.severity, made_up.auto_close, made_up.disposition.as_str()), (Severity::Sev4, true, "test"));
    let says_test = br#"{"event_type":"ransomware","host":"h","details":"ransom note found","test":true}"#;
    assert_eq!((triaged(says_test).severity, triaged(says_test).auto_close), (Severity::Sev1, false));
    // A tag is the intruder's to set; "test" in a name closes nothing.
    let mut tagged: serde_json::Value = serde_json::from_slice(&fixture(GUARDDUTY)).unwrap();
    tagged["detail"]["resource"]["instanceDetails"]["tags"][0]["value"] = "GeneratedFindingInstanceName".into();
    assert!(!triaged(tagged.to_string().as_bytes()).auto_close);
}

#[test]
fn dwell_and_criticality_raise() {
    let long = br#"{"event_type":"malware","host":"h","details":"backdoor found","dwell_hours":720}"#;
    assert_eq!(triaged(long).severity, Severity::Sev1);
    let week = br#"{"event_type":"unauthorized_access","host":"h","details":"x","dwell_hours":168}"#;
    assert_eq!(triaged(week).severity, Severity::Sev2);
    let one = alert(br#"{"event_type":"unauthorized_access","host":"db-1","details":"x"}"#);
    let mut context = Context::shipped().unwrap();
    assert_eq!(assess(&[&one], &context).severity, Severity::Sev3);
    context.criticality.insert("db-1".into(), "high".into());
    assert_eq!(assess(&[&one], &context).severity, Severity::Sev2);
    context.never_isolate.insert("db-1".into());
    // As another product writes the same name.
    let listed = assess(&[&alert(br#"{"event_type":"apt","host":"DB-1."}"#)], &context);
    let isolation = listed.containment.iter().find(|proposed| proposed.action == "isolate_network").unwrap();
    assert!(isolation.conditions.iter().any(|text| text.contains("stays connected")));
}

#[test]
fn nothing_is_lost() {
    let both = [fixture(FALCO), fixture(GUARDDUTY)];
    let compact = |raw: &[u8]| serde_json::from_slice::<serde_json::Value>(raw).unwrap().to_string();
    let (a, b) = (compact(&both[0]), compact(&both[1]));
    for (form, wanted) in [
        (format!("[{a},\n {b}]"), 2),
        (format!("{a}\n{b}\n"), 2),
        (format!("{a}{b}"), 2),
        (format!("{{\"Findings\":[{b}]}}"), 1),
        (format!("{{\"detail\":{{\"findings\":[{b}, {a}]}}}}"), 2),
        (format!("{a}\nnot json\n{b}"), 3),
        ("plain text".to_owned(), 1),
        ("{\"unknown\": {\"shape\": [1, 2]}}".to_owned(), 1),
        ("[1, \"two\"]".to_owned(), 2),
        // An alert that lists events is one alert.
        ("{\"event_type\":\"malware\",\"host\":\"h\",\"events\":[{\"a\":1},{\"b\":2}]}".to_owned(), 1),
        ("[".repeat(200_000), 1),
        ("{\"a\":".repeat(100_000), 1),
    ] {
        let taken = normalise(form.as_bytes()).unwrap();
        assert_eq!(taken.len(), wanted, "{}", form.chars().take(60).collect::<String>());
        for one in &taken {
            assert_eq!(one.alert.raw_sha256, wire::Sha256::of(&one.raw));
            assert!(form.contains(std::str::from_utf8(&one.raw).unwrap()), "the bytes as they came");
            let json = serde_json::to_string(&one.alert).unwrap();
            assert_eq!(serde_json::from_str::<Alert>(&json).unwrap(), one.alert);
        }
    }
    let unknown = triaged(b"{\"unknown\": {\"shape\": [1, 2]}}");
    assert_eq!(unknown.incident_type, "security_alert");
    assert_eq!(unknown.disposition, "insufficient_data");
    // What is not understood is never closed by itself.
    assert!(!triaged(br#"{"message":"tcp session","status":"closed","test":true}"#).auto_close);
}

#[test]
fn the_bounds_hold() {
    let records = |count: usize| format!("[{}]", vec!["{\"event_type\":\"x\"}"; count].join(","));
    assert_eq!(normalise(records(1000).as_bytes()).map(|taken| taken.len()), Ok(1000));
    assert_eq!(normalise(records(1001).as_bytes()), Err(NotTaken::TooMany));
    let long = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    assert!(normalise(long(1 << 20).as_bytes()).is_ok());
    assert_eq!(normalise(long((1 << 20) + 1).as_bytes()), Err(NotTaken::TooLong((1 << 20) + 1)));
    for empty in ["", " \n\t", "[]"] {
        assert_eq!(normalise(empty.as_bytes()), Err(NotTaken::Empty));
    }
    let wide = format!("{{\"event_type\":\"x\",\"host\":\"h\",\"iocs\":{}}}", serde_json::json!(vec!["a.b"; 10_000]));
    assert!(alert(wide.as_bytes()).indicators.len() <= Alert::LIST_MAX);
}

/// Bytes of a fixture, mutated by a small generator with a fixed seed: nothing panics, and what comes out keeps its
/// bounds, whichever way round the alerts come.
#[test]
fn no_input_panics_and_order_never_matters() {
    let fixtures =
        [FALCO, GUARDDUTY, "guardduty-instance-credentials.json", "plain-lateral-movement.json"].map(fixture);
    let context = Context::shipped().unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let replacements: [&[u8]; 10] =
        [b"null", b"[]", b"{}", b"-1", b"1e308", b"\"\"", b"\"\\u0000\\u202e\"", b",", b"\xff\xfe", b"\"T1169\""];
    for round in 0..150 {
        let mut alerts: Vec<Alert> = Vec::new();
        for _ in 0..=next(4) {
            let mut raw = fixtures[next(fixtures.len())].clone();
            for _ in 0..next(6) {
                let (at, with) = (next(raw.len()), replacements[next(replacements.len())]);
                let end = (at + next(12)).min(raw.len());
                raw.splice(at..end, with.iter().copied());
            }
            alerts.extend(normalise(&raw).unwrap().into_iter().map(|one| one.alert));
        }
        let forward: Vec<&Alert> = alerts.iter().collect();
        let mut other = forward.clone();
        let turn = next(other.len());
        other.rotate_left(turn);
        other.reverse();
        let assessment = assess(&forward, &context);
        assert_eq!(assess(&other, &context), assessment, "round {round}");
        assert!((0.0..=1.0).contains(&assessment.classification_confidence));
        assert!(assessment.indicators.len() <= Alert::LIST_MAX && assessment.hosts.len() <= Alert::LIST_MAX);
    }
}

#[test]
fn a_group_of_alertmanager_is_one_alert() {
    let raw = r#"{"version":"4","groupKey":"{}:{alertname=\"DiskFull\"}","status":"firing","receiver":"ops",
        "commonLabels":{"alertname":"DiskFull","job":"node"},"commonAnnotations":{"summary":"Disk is full"},
        "groupLabels":{"alertname":"DiskFull"},"alerts":[
        {"status":"firing","labels":{"instance":"db-1:9100","severity":"critical"},"annotations":{},
         "startsAt":"2026-11-21T17:45:48.120Z","fingerprint":"a1"},
        {"status":"firing","labels":{"instance":"db-2:9100","severity":"critical"},"annotations":{},
         "startsAt":"2026-11-21T17:46:48.120Z","fingerprint":"a2"}]}"#;
    let alert = alert(raw.as_bytes());
    assert_eq!((alert.source.as_str(), alert.title.as_str()), ("alertmanager", "Disk is full"));
    let hosts: Vec<&str> = alert.hosts.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(hosts, ["db-1:9100", "db-2:9100"]);
    assert_eq!(alert.occurred_at.map(Instant::unix_seconds), Some(1_795_283_148));
}

/// Once in full, once in short, and in full again: the third is tied to both of what is one host already.
#[test]
fn a_host_that_comes_in_full_and_in_short_is_one() {
    let named = |host: &str| {
        let event =
            serde_json::json!({ "event_type": "ransomware", "host": host, "timestamp": "2026-11-21T17:40:00Z" });
        alert(event.to_string().as_bytes())
    };
    for names in [
        ["web-1.corp.example", "web-1", "web-1.corp.example", "web-1"],
        ["web-1", "web-1.corp.example", "web-1", "web-1.corp.example"],
    ] {
        let alerts = names.map(named);
        let assessment = assess(&alerts.iter().collect::<Vec<_>>(), &Context::shipped().unwrap());
        assert_eq!(assessment.hosts.len(), 1, "{:?}", assessment.hosts);
    }
}
