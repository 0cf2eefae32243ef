//! What closes, lowers and overrides; the traps of false positives; what a technique alone comes to.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use triage::{Alert, Context, Override, assess, normalise};
use wire::Instant;
use wire::assessment::{Assessment, Severity};

use Severity::{Sev1, Sev2, Sev3, Sev4};

const RECEIVED: Instant = Instant(1_795_283_520_000_000_000);

fn alert(record: &Value) -> Alert {
    let rules = triage::Rules::shipped().unwrap();
    normalise(record.to_string().as_bytes(), RECEIVED, rules).unwrap().remove(0).alert
}

fn assessed(records: &[Value]) -> Assessment {
    let alerts: Vec<Alert> = records.iter().map(alert).collect();
    assess(&alerts.iter().collect::<Vec<_>>(), &Context::shipped().unwrap())
}

fn signs(it: &Assessment) -> Vec<&str> {
    it.false_positive_indicators.iter().map(|sign| sign.rule.as_str()).collect()
}

/// Each of these words stands somewhere in the alert, and says nothing.
#[test]
fn words_in_an_alert_are_no_sign_of_a_false_positive() {
    for record in [
        json!({ "event_type": "malware", "host": "device-7", "source": "Microsoft Defender", "title": "Defender saw a trojan" }),
        json!({ "event_type": "malware", "host": "developer-laptop", "details": "backdoor in the crontab of a user" }),
        json!({ "event_type": "malware", "host": "contest-db", "details": "reverse shell", "parent_process": "cron" }),
        json!({ "event_type": "malware", "host": "web-1", "user": "latest.tester", "details": "trojan found in /home/test" }),
        json!({ "event_type": "ransomware", "host": "prod-db-01", "actor": "svc_backup", "details": "files encrypted" }),
    ] {
        let it = assessed(std::slice::from_ref(&record));
        assert!(signs(&it).is_empty() && !it.auto_close, "{record}: {:?}", it.false_positive_indicators);
        assert!(it.severity >= Sev2, "{record}");
    }
    // A name that says test is a sign, names whom to ask, and lowers nothing.
    let it = assessed(&[json!({ "event_type": "malware", "host": "test-db-1", "details": "reverse shell" })]);
    assert_eq!((signs(&it), it.severity, it.auto_close), (vec!["test_environment"], Sev2, false));
    assert!(it.recommended_action.contains("the environment's owner"), "{}", it.recommended_action);
}

fn probe(id: &str) -> Value {
    json!({ "kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": id, "stage": "ResponseComplete", "verb": "get",
        "requestURI": "/readyz", "user": { "username": "system:anonymous" }, "userAgent": "kube-probe/1.31",
        "sourceIPs": ["10.0.0.1"], "responseStatus": { "code": 200 } })
}

#[test]
fn only_routine_alone_is_closed() {
    let it = assessed(&[probe("a"), probe("b")]);
    assert_eq!((it.disposition.as_str(), it.auto_close, it.severity), ("benign", true, Sev4));
    assert_eq!(signs(&it), ["kubernetes_health_check"]);
    assert!(it.severity_explanation.iter().any(|effect| effect.rule == "benign" && effect.input.contains("platform")));
    let other = json!({ "event_type": "security_alert", "host": "node-1", "details": "something" });
    assert!(!assessed(&[probe("a"), other]).auto_close);
    for (part, value) in [
        ("userAgent", json!("curl/8.5")),
        ("requestURI", json!("/api/v1/secrets")),
        ("user", json!({ "username": "eve" })),
    ] {
        let mut near = probe("a");
        near[part] = value;
        assert!(!assessed(&[near]).auto_close, "{part}");
    }
    // Signs expire.
    let mut late = alert(&probe("a"));
    late.received = Instant(RECEIVED.0 + 2 * 366 * 86_400 * 1_000_000_000);
    assert!(!assess(&[&late], &Context::shipped().unwrap()).auto_close);
}

#[test]
fn a_person_outranks_the_rules_until_a_trigger_says_more() {
    let login = alert(&json!({ "event_type": "unauthorized_access", "host": "db-1", "details": "login at night" }));
    let note = alert(&json!({ "event_type": "malware", "host": "db-1", "details": "a ransom note was found" }));
    let mut context = Context::shipped().unwrap();
    assert_eq!(assess(&[&login], &context).severity, Sev3);
    let said = |incident_type: Option<&str>, severity, triggers: &[&str]| Override {
        by: "alice".into(),
        incident_type: incident_type.map(str::to_owned),
        reason: "agreed with the owner".into(),
        severity,
        triggers_then: triggers.iter().map(|&trigger| trigger.to_owned()).collect(),
    };
    context.overridden = Some(said(None, Some(Sev4), &[]));
    let down = assess(&[&login], &context);
    let effect = down.severity_explanation.iter().find(|effect| effect.rule == "human_override").unwrap();
    assert_eq!((down.severity, effect.effect.as_str()), (Sev4, "SEV3 → SEV4"));
    assert_eq!(effect.input, "alice: agreed with the owner");
    let since = assess(&[&login, &note], &context);
    assert_eq!(since.severity, Sev1, "the note was not known");
    assert!(since.severity_explanation.iter().any(|effect| effect.effect.contains("ransom_note fired since")));
    context.overridden = Some(said(None, Some(Sev2), &["ransom_note"]));
    assert_eq!(assess(&[&login, &note], &context).severity, Sev2, "the note was known");
    context.overridden = Some(said(None, Some(Sev1), &[]));
    assert_eq!(assess(&[&login], &context).severity, Sev1);
    context.overridden = Some(said(Some("insider_threat"), None, &[]));
    let typed = assess(&[&login], &context);
    assert_eq!((typed.incident_type.as_str(), typed.severity), ("insider_threat", Sev2));
    assert!(typed.escalation_path.escalate_to.iter().any(|role| role == "HR"));
    context.overridden = Some(said(Some("no such type"), None, &[]));
    assert_eq!(assess(&[&login], &context).incident_type, "unauthorized_access");
    // What a person rated is not closed by itself.
    context.overridden = Some(said(None, Some(Sev3), &[]));
    assert!(!assess(&[&alert(&probe("a"))], &context).auto_close);
}

#[test]
fn techniques_resolve_whatever_their_age() {
    let techniques = &triage::Rules::shipped().unwrap().techniques;
    for (id, now, name, tactic, retired) in [
        ("T1059.004", "T1059.004", "Command and Scripting Interpreter: Unix Shell", "Execution", None),
        (
            "t1169",
            "T1548.003",
            "Abuse Elevation Control Mechanism: Sudo and Sudo Caching",
            "Privilege Escalation",
            Some("T1169"),
        ),
        ("T1089", "T1562.001", "Impair Defenses: Disable or Modify Tools", "Defense Evasion", Some("T1089")),
        ("T1043", "T1571", "Non-Standard Port", "Command and Control", Some("T1043")),
        // Newer than the list: its technique is known.
        ("T1059.999", "T1059.999", "Command and Scripting Interpreter", "Execution", None),
        ("T9999", "T9999", "", "", None),
    ] {
        let it = techniques.resolve(id);
        assert_eq!((it.id.as_str(), it.name.as_str(), it.tactic.as_str()), (now, name, tactic), "{id}");
        assert_eq!(it.retired_id.as_deref(), retired, "{id}");
    }
}

/// An alert of a product that nobody has written a line for.
#[test]
fn a_technique_alone_suggests_a_type() {
    let unseen = |severity: &str, technique: &str| {
        let record = json!({ "product": "Acme XDR", "alert": "7", "severity": severity, "techniques": [technique],
            "hostname": "web-1", "message": "rule 4711 matched" });
        assessed(&[record])
    };
    for (severity, technique, incident_type, rated) in [
        ("high", "T1003.001", "credential_compromise", Sev2),
        ("low", "T1003.001", "credential_compromise", Sev3),
        ("medium", "T1486", "ransomware", Sev2),
        ("high", "T1021.002", "lateral_movement", Sev2),
        ("medium", "T1547.001", "malware_infection", Sev3),
        ("informational", "T1059", "security_alert", Sev4),
        ("medium", "T1087", "security_alert", Sev4),
        ("medium", "T1202", "security_alert", Sev3),
        ("high", "T1215", "malware_infection", Sev2),
    ] {
        let it = unseen(severity, technique);
        assert_eq!((it.incident_type.as_str(), it.severity), (incident_type, rated), "{severity} {technique}");
        assert!(it.classification_confidence <= 0.5, "a tag is no proof");
        assert!(!it.auto_close && it.disposition == "suspicious");
    }
}

/// Two names of one host are told by a third alert that knows both; many hosts are told apart quickly.
#[test]
fn hosts_are_one_when_a_name_ties_them() {
    let named = |id: usize, name: &str| alert(&json!({ "event_type": "malware", "id": format!("{id}"), "host": name }));
    let (a, b, mut both) = (named(1, "web-1"), named(2, "i-0f3a7c1d9e5b24a60"), named(3, "WEB-1.corp.example"));
    both.alias("i-0f3a7c1d9e5b24a60", "WEB-1.corp.example");
    let context = Context::shipped().unwrap();
    assert_eq!(assess(&[&a, &b], &context).hosts.len(), 2);
    for order in [[&a, &b, &both], [&both, &b, &a], [&b, &both, &a]] {
        let hosts = assess(&order, &context).hosts;
        assert_eq!((hosts.len(), hosts[0].name.as_str()), (1, "web-1"));
    }
    // A short name ties every full one, whichever comes between.
    let all = [
        named(1, "web-1"),
        named(2, "web-1.corp.example"),
        named(3, "web-1.lab.example"),
        named(4, "web-1.lab.example"),
    ];
    for first in 0..all.len() {
        let mut order: Vec<&Alert> = all.iter().collect();
        order.rotate_left(first);
        assert_eq!(assess(&order, &context).hosts.len(), 1);
    }
    let many: Vec<Alert> = (0..512)
        .map(|id| {
            let mut one = named(id, &format!("h-{id}-0"));
            (1..64).for_each(|n| one.host(format!("h-{id}-{n}.corp.example"), wire::assessment::HostRole::Victim));
            one
        })
        .collect();
    let started = std::time::Instant::now();
    assert_eq!(assess(&many.iter().collect::<Vec<_>>(), &context).hosts.len(), Alert::LIST_MAX);
    assert!(started.elapsed().as_secs() < 60, "32768 hosts took {:?}", started.elapsed());
}

#[test]
fn senders_name_triggers_in_their_own_words() {
    for (name, fires) in
        [("siem_disabled", true), ("CloudTrail disabled", true), ("defences_off", true), ("siem", false)]
    {
        let record =
            serde_json::json!({ "event_type": "policy_violation", "host": "log-1", "escalation_triggers": [name] });
        let raw = record.to_string();
        let got = triage::triage_incident(raw.as_bytes(), RECEIVED, &Context::shipped().unwrap()).unwrap().remove(0);
        assert_eq!(got.severity == Sev1, fires, "{name}");
        assert_eq!(got.escalation_triggers_fired.contains(&"defences_off".to_owned()), fires, "{name}");
    }
}
