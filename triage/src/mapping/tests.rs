//! Every word of the format, through a mapping and a record.

use serde_json::{Value, json};
use wire::assessment::{Host, HostRole};
use wire::profile::{Text, document};

use super::Mapping;
use crate::Alert;
use crate::alert::{HostIdKind, Level, Marker};

const MAPPING: &str = r#"
version: "1"
source: acme
detect:
  - has: [sensor, findings]
    lacks: [skip]
    equals: { kind: ["acme.*", 7] }
    unequal: { state: [draft] }
  - equals: { acme: [true] }
parsed: [extra, extra.inner]
nothing: ["-", N/A]
product: [vendor, "'acme edr'"]
event: [rule.name, name]
title: [title, "{rule.name} on {sensor}"]
ref: [id]
occurred_at: [bad_time, time]
first_seen: [from]
last_seen: [to]
dwell_hours: [hours]
type: [declared]
severity:
  - { path: word, scale: words, levels: { Dire: critical, 5: low } }
  - { path: score, scale: 0-16, at_least: { 12: critical, 7.5: high, 0: low } }
  - { path: rank, scale: 1 is worst, at_most: { 1: critical, 3: medium } }
hosts:
  - { names: [sensor], role: reporter }
  - { each: "machines[kind=device]", names: [fqdn, name], also: [name, extra.asset], role: victim, when: { lacks: [relay] } }
  - { names: ["pod:{ns}/{pod}"], role: victim, when: { has: [pod] } }
  - { names: ["seen[]"], role: source }
ids:
  - { kind: fqdn, paths: ["machines[].fqdn", address] }
  - { kind: instance_id, paths: ["machines[].instance"], when: { equals: { cloud: [aws] } } }
accounts: ["users[].name", owner]
indicators:
  - { type: auto, paths: ["seen[]", hash] }
  - { type: process, paths: [process] }
techniques: [tags]
labels: [tags]
words: [extra.inner.note, "findings[]"]
triggers: [triggers]
fields: { process.path: [nowhere, process], host.name: ["machines[].name"] }
markers:
  - { marker: prevented, when: { equals: { action: [blocked, quar*] } } }
  - { marker: test, when: { has: [sample] } }
"#;

fn read(record: &Value) -> Option<Alert> {
    let text = Text { file: "acme.yaml".to_owned(), yaml: MAPPING.to_owned() };
    let (mapping, _): (Mapping, _) = document(&text).unwrap();
    assert_eq!(mapping.mistakes(), []);
    mapping.read(record)
}

fn record() -> Value {
    json!({
        "sensor": "hub-1", "kind": "ACME.alert", "findings": ["first", "second"], "vendor": "-",
        "extra": "{\"asset\":\"A-77\",\"inner\":\"{\\\"note\\\":\\\"reverse shell\\\"}\"}",
        "rule": { "name": "Shell" }, "id": 42, "bad_time": "soon", "time": "2026-11-21T17:45:48Z",
        "from": 1_795_283_148, "to": "2026-11-21 18:45:48", "hours": "36.5", "declared": "malware",
        "word": "unheard", "score": "9", "rank": 1,
        "machines": [
            { "kind": "Device", "fqdn": "db-1.example.org", "name": "db-1", "instance": "i-1" },
            { "kind": "device", "name": "db-2", "extra": { "asset": "A-2" } },
            { "kind": "device", "name": "proxy", "relay": true },
            { "kind": "router", "name": "gw" },
        ],
        "ns": "shop", "pod": "web-0", "seen": ["203.0.113.9", "-"], "address": "203.0.113.9", "cloud": "gcp",
        "users": [{ "name": "eve" }, { "name": "N/A" }, 7], "owner": "root", "hash": "d41d8cd98f00b204e9800998ecf8427e",
        "process": "/tmp/x", "tags": ["attack.t1059.004", "linux"], "triggers": ["ransom_note"], "action": "Quarantined",
    })
}

#[test]
fn every_word_of_the_format() {
    let alert = read(&record()).unwrap();
    assert_eq!((alert.source.as_str(), alert.product.as_str(), alert.event.as_str()), ("acme", "acme edr", "Shell"));
    assert_eq!((alert.title.as_str(), alert.source_ref.as_deref()), ("Shell on hub-1", Some("42")));
    let seconds = [alert.occurred_at, alert.first_seen, alert.last_seen].map(|at| at.map(wire::Instant::unix_seconds));
    assert_eq!(seconds, [Some(1_795_283_148), Some(1_795_283_148), Some(1_795_286_748)]);
    assert_eq!((alert.dwell_hours, alert.type_declared.as_deref()), (Some(36.5), Some("malware")));
    let severity = alert.vendor_severity.clone().unwrap();
    assert_eq!((severity.level, severity.scale.as_str(), severity.value.as_str()), (Level::High, "0-16", "9"));
    let host = |name: &str, role| Host { name: name.to_owned(), role };
    assert_eq!(
        alert.hosts,
        [
            host("hub-1", HostRole::Reporter),
            host("db-1.example.org", HostRole::Victim),
            host("db-2", HostRole::Victim),
            host("pod:shop/web-0", HostRole::Victim),
            host("203.0.113.9", HostRole::Source),
        ]
    );
    let aliases: Vec<_> = alert.aliases.iter().map(|(name, of)| (name.as_str(), of.as_str())).collect();
    assert_eq!(aliases, [("A-2", "db-2"), ("db-1", "db-1.example.org")]);
    let ids: Vec<_> = alert.ids.iter().map(|id| (id.kind, id.value.as_str())).collect();
    assert_eq!(ids, [(HostIdKind::Fqdn, "db-1.example.org")]);
    assert_eq!(alert.accounts, ["eve", "root"]);
    let indicators: Vec<_> = alert.indicators.iter().map(|one| (one.kind.as_str(), one.value.as_str())).collect();
    let hash = "d41d8cd98f00b204e9800998ecf8427e";
    assert_eq!(indicators, [("ip", "203.0.113.9"), ("md5", hash), ("process", "/tmp/x")]);
    assert_eq!(alert.techniques, ["T1059.004"]);
    assert_eq!(alert.labels.iter().collect::<Vec<_>>(), ["attack.t1059.004", "linux"]);
    assert_eq!(alert.text, ["reverse shell", "first", "second"]);
    assert_eq!(alert.triggers, ["ransom_note"]);
    let fields: Vec<_> = alert.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(fields, [("actor.user", "eve"), ("host.name", "db-1"), ("process.path", "/tmp/x")]);
    assert_eq!(alert.markers.iter().collect::<Vec<_>>(), [&Marker::Prevented]);
}

#[test]
fn a_record_is_detected_by_any_whole_condition() {
    let with = |key: &str, value: Value| {
        let mut record = record();
        record[key] = value;
        read(&record).is_some()
    };
    assert!(with("kind", json!(7)));
    assert!(!with("kind", json!("other")) && !with("skip", json!(1)) && !with("state", json!("Draft")));
    assert!(with("skip", json!("")), "an empty text is nothing");
    assert!(read(&json!({ "acme": "TRUE" })).is_some());
    assert!(!with("findings", json!([])));
}

#[test]
fn severities_on_each_kind_of_scale() {
    let level = |key: &str, value: Value| {
        let mut record = json!({ "acme": true });
        record[key] = value;
        read(&record).unwrap().vendor_severity.map(|severity| severity.level)
    };
    assert_eq!(level("word", json!("DIRE")), Some(Level::Critical));
    assert_eq!(level("word", json!(5)), Some(Level::Low));
    assert_eq!(level("word", json!("other")), None);
    for (score, wanted) in [(16.0, Level::Critical), (12.0, Level::Critical), (7.5, Level::High), (7.4, Level::Low)] {
        assert_eq!(level("score", json!(score)), Some(wanted), "{score}");
    }
    assert_eq!((level("score", json!(-1)), level("score", json!("NaN"))), (None, None));
    for (rank, wanted) in [(0, Some(Level::Critical)), (1, Some(Level::Critical)), (3, Some(Level::Medium)), (4, None)]
    {
        assert_eq!(level("rank", json!(rank)), wanted, "{rank}");
    }
}

#[test]
fn whatever_type_a_value_has_nothing_fails() {
    for value in [json!(null), json!(1.5e308), json!([[[]]]), json!({ "a": {} }), json!("x".repeat(100_000))] {
        let mut record = record();
        for key in record.as_object().unwrap().keys().cloned().collect::<Vec<_>>() {
            record[key] = value.clone();
        }
        record["acme"] = json!(true);
        let alert = read(&record).unwrap();
        assert!(alert.text.iter().all(|text| text.len() <= crate::fields::TEXT_BYTES_MAX));
    }
}

#[test]
fn mistakes_name_their_place() {
    for (from, to, wanted) in [
        ("nothing:", "nothin:", "unknown field `nothin`"),
        ("[rule.name, name]", "[rule..name]", "`rule..name` is no path"),
        ("role: reporter", "role: reporting", "unknown variant `reporting`"),
        ("at_most: { 1:", "at_most: { one:", "`one` is no number"),
        ("levels: { Dire: critical, 5: low }", "at_most: { 1: low }, levels: { a: low }", "a severity has one of"),
        ("\"{rule.name} on {sensor}\"", "\"{rule.name on\"", "has a `{`"),
    ] {
        let yaml = MAPPING.replacen(from, to, 1);
        let mistake = document::<Mapping>(&Text { file: "acme.yaml".to_owned(), yaml }).err().unwrap();
        assert!(mistake.message.contains(wanted), "{mistake}");
        let line = MAPPING.lines().position(|line| line.contains(from)).unwrap() + 1;
        assert_eq!(mistake.line, line, "{mistake}");
    }
}
