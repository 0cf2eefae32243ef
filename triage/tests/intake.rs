//! What comes in, in whatever it is wrapped: every record is found, keeps its bytes, and says what it is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers as well")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use triage::{Parsed, Rules};
use wire::assessment::{Host, HostRole};
use wire::{Instant, Sha256};

fn taken(raw: &[u8]) -> Vec<Parsed> {
    triage::normalise(raw, Instant(0), Rules::shipped().unwrap()).unwrap()
}

/// What each of the records calls its event.
fn events(value: &Value) -> Vec<String> {
    let taken = taken(value.to_string().as_bytes());
    for one in &taken {
        assert_eq!(one.alert.raw_sha256, Sha256::of(&one.raw), "the digest of its own bytes");
    }
    taken.into_iter().map(|one| one.alert.event).collect()
}

fn plain(event: &str) -> Value {
    json!({ "event_type": event, "host": "web-1" })
}

#[test]
fn lists_of_alerts_are_taken_apart() {
    let (a, b) = (plain("a"), plain("b"));
    for envelope in [
        json!([a, b]),
        json!({ "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#security/alerts_v2", "value": [a, b] }),
        json!({ "kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [a, b] }),
        json!({ "took": 3, "hits": { "total": 2, "hits": [
            { "_index": "alerts", "_id": "1", "_source": a }, { "_index": "alerts", "_id": "2", "_source": b },
        ] } }),
        json!({ "Schema": [], "Results": [a, b] }),
        json!({ "meta": {}, "resources": [a, b], "errors": [] }),
        json!({ "messageType": "DATA_MESSAGE", "logEvents": [
            { "id": "1", "timestamp": 1, "message": a.to_string() }, { "id": "2", "timestamp": 2, "message": b.to_string() },
        ] }),
        json!({ "detail-type": "x", "detail": { "findings": [a, b] } }),
        json!({ "TopicArn": "arn:aws:sns:x", "Message": json!({ "Records": [a, b] }).to_string() }),
        json!({ "receivedMessages": [pub_sub(&a.to_string()), pub_sub(&b.to_string())] }),
    ] {
        assert_eq!(events(&envelope), ["a", "b"], "{envelope}");
    }
}

fn pub_sub(data: &str) -> Value {
    json!({ "ackId": "x", "message": { "data": STANDARD.encode(data), "messageId": "7", "attributes": {} } })
}

#[test]
fn a_message_around_one_alert_keeps_its_bytes() {
    let alert = plain("a");
    for envelope in [
        json!({ "message": { "data": STANDARD.encode(alert.to_string()), "messageId": "7" }, "subscription": "s" }),
        json!({ "TopicArn": "arn:aws:sns:x", "Type": "Notification", "Message": alert.to_string() }),
        json!({ "_index": "alerts", "_id": "1", "_source": alert }),
        json!({ "sourcetype": "_json", "host": "collector", "event": alert }),
        json!({ "detail-type": "Alert", "source": "app", "detail": alert }),
        json!({ "@timestamp": "2026-11-21T17:45:48Z", "log": alert.to_string(), "stream": "stdout" }),
    ] {
        let raw = envelope.to_string();
        let taken = taken(raw.as_bytes());
        assert_eq!(taken.len(), 1, "{raw}");
        assert_eq!((taken[0].alert.event.as_str(), taken[0].raw.as_slice()), ("a", raw.as_bytes()), "{raw}");
    }
}

#[test]
fn what_looks_like_an_envelope_and_is_none_stays_whole() {
    for record in [
        json!({ "message": { "data": "%%%", "messageId": "7" } }),
        json!({ "TopicArn": "arn:aws:sns:x", "Message": "plain words" }),
        json!({ "items": [{ "a": 1 }, { "b": 2 }] }),
        json!({ "value": ["a", "b"] }),
        json!({ "value": [{ "a": 1 }, 2] }),
        json!({ "hits": { "hits": [] } }),
        json!({ "_index": "x", "_source": 7 }),
    ] {
        assert_eq!(events(&record).len(), 1, "{record}");
    }
    // An envelope within itself, deeper than anybody packs. (Each level doubles the backslashes of those within.)
    let nested = (0..8).fold(plain("deep"), |inner, _| json!({ "TopicArn": "x", "Message": inner.to_string() }));
    assert_eq!(events(&nested), [""]);
    let packed = (0..6).fold(plain("deep"), |inner, _| json!({ "TopicArn": "x", "Message": inner.to_string() }));
    assert_eq!(events(&packed), ["deep"]);
}

#[test]
fn lines_of_several_forms_lose_none() {
    let raw = "{\"event_type\":\"a\"}\n{broken\n\nCEF:0|Acme|Gate|1|100|worm|9|dst=192.0.2.7 act=blocked\n\
        <13>Nov 21 17:45:48 ids suricata[9]: {\"event_type\":\"b\",\"host\":\"h\"}\nplain words\n";
    let taken = taken(raw.as_bytes());
    let events: Vec<&str> = taken.iter().map(|one| one.alert.event.as_str()).collect();
    assert_eq!(events, ["a", "", "worm (100)", "b", ""]);
    let lines: Vec<&str> = raw.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(taken.iter().map(|one| std::str::from_utf8(&one.raw).unwrap()).collect::<Vec<_>>(), lines);
    // Words with a line break in them are one text.
    assert_eq!(self::taken(b"a=1 is what it says\nand no more").len(), 1);
    assert_eq!(self::taken(b"time=17:45 src=192.0.2.1 msg=\"two words\"\ntime=17:46 src=192.0.2.2 msg=x\n").len(), 2);
}

#[test]
fn cef_and_leef_say_who_did_what_to_whom() {
    let host = |name: &str, role| Host { name: name.to_owned(), role };
    let cef = "<134>Nov 21 17:45:48 fw-1 CEF:0|Acme|Gate|1.0|100|Worm seen|8|rt=1795283148000 shost=pc-7.corp.example \
        src=10.0.0.7 dst=203.0.113.9 duser=eve act=blocked cs1Label=Technique cs1=T1071.001";
    let alert = &taken(cef.as_bytes())[0].alert;
    assert_eq!(
        (alert.source.as_str(), alert.product.as_str(), alert.title.as_str()),
        ("cef", "acme gate", "Worm seen")
    );
    assert_eq!(
        alert.hosts,
        [
            host("203.0.113.9", HostRole::Source),
            host("pc-7.corp.example", HostRole::Victim),
            host("fw-1", HostRole::Reporter),
        ]
    );
    assert_eq!(alert.occurred_at.map(Instant::unix_seconds), Some(1_795_283_148));
    assert_eq!(
        (alert.techniques.as_slice(), alert.accounts.as_slice()),
        (&["T1071.001".to_owned()][..], &["eve".to_owned()][..])
    );
    assert!(alert.markers.contains(&triage::alert::Marker::Prevented));
    let severity = alert.vendor_severity.as_ref().unwrap();
    assert_eq!((severity.level, severity.value.as_str()), (triage::alert::Level::High, "8"));
    let outbound = cef.replace("act=", "deviceDirection=1 act=");
    let alert = &taken(outbound.as_bytes())[0].alert;
    assert_eq!(alert.hosts[0], host("pc-7.corp.example", HostRole::Victim));
    assert_eq!(alert.ids[0].value, "pc-7.corp.example");
    let leef = "LEEF:2.0|Acme|Gate|2.1|login_failure|^|devTime=Nov 21 2026 17:45:48^src=192.0.2.1^usrName=eve^sev=5";
    let alert = &taken(leef.as_bytes())[0].alert;
    assert_eq!((alert.source.as_str(), alert.event.as_str()), ("leef", "login_failure"));
    assert_eq!(alert.hosts, [host("192.0.2.1", HostRole::Victim)]);
    assert_eq!(alert.occurred_at.map(Instant::unix_seconds), Some(1_795_283_148));
}
