//! Which alerts belong to which incident: people merge, split, move and undo; alerts that tie incidents together merge them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::cases::{act, refused, send, view};
use super::harness::Server;

/// An alert about a host and an account, so that two alerts can share either.
fn alert(n: u64, host: &str, user: &str) -> Value {
    let minute = n % 60;
    json!({ "event_type": if n.is_multiple_of(3) { "ransomware" } else { "phishing_attempt" }, "host": host, "user": user,
            "id": format!("a{n}"), "timestamp": format!("2026-11-21T1{}:{minute:02}:00Z", n / 60 % 8) })
}

fn ids(view: &Value) -> Vec<String> {
    let alerts = view["alerts"].as_array().unwrap().iter();
    let mut ids: Vec<String> = alerts.map(|alert| alert["alert"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

fn lines(alerts: impl Iterator<Item = Value>) -> Vec<u8> {
    alerts.flat_map(|alert| format!("{alert}\n").into_bytes()).collect()
}

/// An incident's alerts, its case and its assessment.
type State = (Vec<String>, Value, Value);

/// What an undo restores: the alerts, the case and the assessment.
async fn state(server: &Server, incident: &str) -> State {
    let view = view(server, incident).await;
    (ids(&view), view["case"].clone(), view["assessment"].clone())
}

async fn two() -> Server {
    let server = Server::start().await;
    send(&server, &server.source, &alert(1, "web-1", "ada")).await;
    send(&server, &server.source, &alert(2, "web-1", "bob")).await;
    send(&server, &server.source, &alert(3, "db-1", "cyd")).await;
    server
}

const A: &str = "INC-2026-0001";
const B: &str = "INC-2026-0002";
const C: &str = "INC-2026-0003";

#[tokio::test]
async fn a_merge_takes_all_over_and_undone_it_was_never_there() {
    let server = two().await;
    act(&server, A, &json!({"do": "note", "text": "before"})).await;
    act(&server, B, &json!({"do": "assign", "role": "lead", "person": "Zoe"})).await;
    let before = (state(&server, A).await, state(&server, B).await);
    let merged = act(&server, A, &json!({"do": "merge", "other": B, "reason": "one attacker"})).await;
    assert_eq!((&merged["severity"], &merged["created"]), (&before.1.2["severity"], &Value::Null));
    let (one, other) = (view(&server, A).await, view(&server, B).await);
    assert_eq!((ids(&one).len(), ids(&other).len()), (3, 0));
    assert_eq!((&one["absorbed"], &other["case"]["merged_into"]), (&json!([B]), &json!(A)));
    assert_eq!(
        (&one["edits"][0]["kind"], &one["edits"][0]["stamp"]["reason"]),
        (&json!("merge"), &json!("one attacker"))
    );
    assert!(one["alerts"].as_array().unwrap().iter().any(|alert| {
        alert["correlated"].as_str().is_some_and(|why| why.contains("from INC-2026-0002 by user:zoe: one attacker"))
    }));
    // It is not listed, nothing is done to it any more, and what was tied to it comes to the other.
    let listed = server.get("/api/v1/incidents").await.is(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    refused(&server, B, &json!({"do": "acknowledge"}), 409).await;
    refused(&server, A, &json!({"do": "merge", "other": B, "reason": "x"}), 409).await;
    let timeline = server.get(&format!("/api/v1/incidents/{A}/timeline")).await.is(200).json();
    let texts = timeline["items"].to_string();
    assert!(
        texts.contains("lead is Zoe") && texts.contains("INC-2026-0002 was merged into INC-2026-0001: one attacker")
    );

    let undo = json!({"do": "undo", "edit": merged["edit"], "reason": "two after all"});
    act(&server, B, &undo).await;
    assert_eq!((state(&server, A).await, state(&server, B).await), before);
    refused(&server, A, &undo, 409).await;
    // They were taken apart by a person: an alert that ties them only says so.
    let tie = send(
        &server,
        &server.source,
        &json!({ "event_type": "ransomware", "hosts": ["web-1", "db-1"], "id": "t",
        "timestamp": "2026-11-21T11:00:00Z" }),
    )
    .await;
    assert_eq!((ids(&view(&server, A).await).len(), ids(&view(&server, B).await).len()), (2, 2));
    assert_eq!(tie["incident"], B);
    assert!(view(&server, A).await["case"]["related"][B].as_str().unwrap().starts_with("same host"));
    assert!(view(&server, B).await["case"]["related"][A].is_string());
}

#[tokio::test]
async fn what_follows_an_absorbed_incident_comes_to_the_other() {
    let server = two().await;
    act(&server, A, &json!({"do": "merge", "other": B, "reason": "one attacker"})).await;
    let next = send(&server, &server.source, &alert(4, "db-1", "dan")).await;
    assert_eq!(next["incident"], A);
}

#[tokio::test]
async fn a_split_and_a_move_and_back() {
    let server = two().await;
    let alerts = ids(&view(&server, A).await);
    let before = (state(&server, A).await, state(&server, B).await);
    let split =
        act(&server, A, &json!({"do": "split", "alerts": [alerts[1], alerts[1]], "reason": "another matter"})).await;
    assert_eq!(split["created"], C);
    let apart = view(&server, C).await;
    assert_eq!((ids(&apart), &apart["edits"][0]["kind"]), (vec![alerts[1].clone()], &json!("split")));
    let moved = act(&server, C, &json!({"do": "merge", "other": B, "reason": "x"})).await;
    refused(&server, A, &json!({"do": "undo", "edit": moved["edit"], "reason": "not of A"}), 404).await;
    act(&server, C, &json!({"do": "undo", "edit": moved["edit"], "reason": "x"})).await;
    act(&server, A, &json!({"do": "undo", "edit": split["edit"], "reason": "no"})).await;
    assert_eq!((state(&server, A).await, state(&server, B).await), before);
    assert_eq!(view(&server, C).await["case"]["merged_into"], A);

    let over = act(&server, A, &json!({"do": "move", "alerts": [alerts[0]], "to": B, "reason": "db"})).await;
    assert_eq!((ids(&view(&server, A).await).len(), ids(&view(&server, B).await).len()), (1, 2));
    act(&server, B, &json!({"do": "undo", "edit": over["edit"], "reason": "no"})).await;
    assert_eq!((state(&server, A).await, state(&server, B).await), before);
}

#[tokio::test]
async fn what_cannot_be_moved_is_refused() {
    let server = two().await;
    let (a, b) = (ids(&view(&server, A).await), ids(&view(&server, B).await));
    let all: Vec<String> = a.clone();
    for (action, status) in [
        (json!({"do": "merge", "other": A, "reason": "x"}), 400),
        (json!({"do": "merge", "other": "INC-2026-9999", "reason": "x"}), 404),
        (json!({"do": "merge", "other": B, "reason": ""}), 400),
        (json!({"do": "split", "alerts": [], "reason": "x"}), 400),
        (json!({"do": "split", "alerts": all, "reason": "x"}), 409),
        (json!({"do": "split", "alerts": [b[0]], "reason": "x"}), 409),
        (json!({"do": "move", "alerts": [a[0]], "to": A, "reason": "x"}), 400),
        (json!({"do": "move", "alerts": all, "to": B, "reason": "x"}), 409),
        (json!({"do": "undo", "edit": a[0], "reason": "x"}), 404),
    ] {
        refused(&server, A, &action, status).await;
    }
    act(&server, A, &json!({"do": "close", "disposition": "benign", "reason": "x"})).await;
    refused(&server, A, &json!({"do": "merge", "other": B, "reason": "x"}), 409).await;
    // Out of order: what moved on is not there to be taken back.
    act(&server, A, &json!({"do": "reopen", "reason": "x"})).await;
    let first = act(&server, A, &json!({"do": "move", "alerts": [a[0]], "to": B, "reason": "x"})).await;
    act(&server, A, &json!({"do": "merge", "other": B, "reason": "x"})).await;
    refused(&server, A, &json!({"do": "undo", "edit": first["edit"], "reason": "x"}), 409).await;
}

#[tokio::test]
async fn an_alert_that_ties_two_incidents_merges_them_unless_somebody_worked_on_the_newer() {
    let tie = |n: u64| {
        json!({ "event_type": "phishing_attempt", "hosts": ["web-1", "db-1"], "id": format!("t{n}"),
                "timestamp": "2026-11-21T11:00:00Z" })
    };
    let server = two().await;
    let mut heard = server.app.live.listen().unwrap().receiver;
    assert_eq!(send(&server, &server.source, &tie(1)).await["incident"], A);
    let one = view(&server, A).await;
    assert_eq!((ids(&one).len(), &one["absorbed"]), (4, &json!([B])));
    let edit = &one["edits"][0];
    assert_eq!((&edit["stamp"]["by"], &edit["from"]), (&json!("server"), &json!(B)));
    assert!(edit["stamp"]["reason"].as_str().unwrap().starts_with("an alert ties them: same host"));
    let told: Vec<Value> = std::iter::from_fn(|| heard.try_recv().ok()).map(|(_, event)| json!(event)).collect();
    assert!(told.iter().any(|event| event["event"] == "incidents_merged"), "{told:?}");
    act(&server, A, &json!({"do": "undo", "edit": edit["edit"], "reason": "no"})).await;
    assert_eq!(ids(&view(&server, B).await).len(), 1);
    send(&server, &server.source, &tie(2)).await;
    assert_eq!(view(&server, A).await["absorbed"], json!([]));

    for worked in [json!({"do": "acknowledge"}), json!({"do": "note", "text": "I look"})] {
        let server = two().await;
        act(&server, B, &worked).await;
        send(&server, &server.source, &tie(1)).await;
        assert!(view(&server, A).await["case"]["related"][B].is_string(), "{worked}");
        assert_eq!(view(&server, B).await["case"]["merged_into"], Value::Null);
        // Said once, however often it is so.
        let size = view(&server, B).await["case"]["related"].as_object().unwrap().len();
        send(&server, &server.source, &tie(2)).await;
        assert_eq!(view(&server, B).await["case"]["related"].as_object().unwrap().len(), size);
    }
    // The work is on the older one: it goes on there.
    let server = two().await;
    act(&server, A, &json!({"do": "acknowledge"})).await;
    send(&server, &server.source, &tie(1)).await;
    assert_eq!(view(&server, B).await["case"]["merged_into"], A);
}

#[tokio::test]
async fn what_is_closed_stays_closed() {
    let server = two().await;
    act(&server, A, &json!({"do": "close", "disposition": "benign", "reason": "x"})).await;
    let next = send(&server, &server.source, &alert(4, "web-1", "dan")).await;
    assert_eq!((&next["incident"], &next["correlated"]), (&json!(C), &Value::Null));
    assert!(view(&server, C).await["case"]["related"][A].as_str().unwrap().starts_with("same host web-1"));
    assert_eq!(send(&server, &server.source, &alert(5, "web-1", "eve")).await["incident"], C);
    assert_eq!(ids(&view(&server, A).await).len(), 2);
}

#[tokio::test]
async fn a_flood_of_strangers_hides_nothing() {
    let server = two().await;
    for n in 0..3_u64 {
        let body = lines((0..500).map(|m| alert(1000 + 500 * n + m, &format!("h-{n}-{m}"), "root")));
        server.send("POST", "/api/v1/alerts", &server.source, &[], body).await.is(200);
    }
    assert_eq!(send(&server, &server.source, &alert(6, "db-1", "fay")).await["incident"], B);
}

/// Numbers that look random and are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

/// The alerts by their own ids, as they stand together, each set with what it was assessed as.
async fn partition(server: &Server) -> BTreeMap<BTreeSet<String>, Value> {
    let list = server.get("/api/v1/incidents?limit=500").await.is(200).json();
    let mut parts = BTreeMap::new();
    for incident in list["items"].as_array().unwrap() {
        let view = view(server, incident["incident"].as_str().unwrap()).await;
        let mut part = BTreeSet::new();
        for alert in ids(&view) {
            let raw = server.get(&format!("/api/v1/alerts/{alert}/raw")).await.is(200).json();
            part.insert(raw["id"].as_str().unwrap().to_owned());
        }
        parts.insert(part, view["assessment"].clone());
    }
    parts
}

#[tokio::test]
async fn the_order_of_arrival_does_not_change_the_incidents() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..4 {
        let hosts = 14;
        let mut alerts: Vec<Value> = (0..24)
            .map(|n| {
                let host = format!("h-{}", random.below(hosts));
                let full = if random.below(2) == 0 { format!("{host}.corp.example") } else { host };
                alert(n * 7, &full, &format!("u-{}", random.below(30)))
            })
            .collect();
        let mut wanted = None;
        for order in 0..4 {
            for n in (1..alerts.len()).rev() {
                alerts.swap(n, random.below(n + 1));
            }
            let server = Server::start().await;
            if order % 2 == 0 {
                for alert in &alerts {
                    send(&server, &server.source, alert).await;
                    server.clock.pass(1);
                }
            } else {
                let (first, second) = alerts.split_at(random.below(alerts.len()));
                for some in [first, second] {
                    let body = lines(some.iter().cloned());
                    let status = server.send("POST", "/api/v1/alerts", &server.source, &[], body).await.status;
                    assert!(status.is_success() || some.is_empty());
                }
            }
            let parts = partition(&server).await;
            assert_eq!(parts.keys().map(BTreeSet::len).sum::<usize>(), 24);
            assert!((2..20).contains(&parts.len()), "{} incidents", parts.len());
            assert_eq!(*wanted.get_or_insert_with(|| parts.clone()), parts, "round {round}, order {order}");
        }
    }
}

/// Random changes of membership, taken back one by one from the last: every state on the way is what it was.
#[tokio::test]
async fn what_is_done_and_undone_was_never_done() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for round in 0..3 {
        let server = Server::start().await;
        for n in 0..16 {
            send(&server, &server.source, &alert(n, &format!("h-{}", n % 5), &format!("u-{n}"))).await;
        }
        act(&server, A, &json!({"do": "override", "severity": "SEV1", "reason": "a feeling"})).await;
        let mut done: Vec<(String, Value, BTreeMap<String, State>)> = Vec::new();
        while done.len() < 12 {
            let there = open(&server).await;
            let names: Vec<&String> = there.keys().collect();
            let (one, other) = (names[random.below(names.len())], names[random.below(names.len())]);
            let alerts = &there[one].0;
            let some: Vec<&String> = alerts.iter().filter(|_| random.below(2) == 0).collect();
            let action = match random.below(3) {
                0 => json!({"do": "merge", "other": other, "reason": "x"}),
                1 => json!({"do": "split", "alerts": some, "reason": "x"}),
                _ => json!({"do": "move", "alerts": some, "to": other, "reason": "x"}),
            };
            let path = format!("/api/v1/incidents/{one}/actions");
            let answer = server.post(&path, &server.responder, &action).await;
            if answer.status.is_success() {
                done.push((one.clone(), answer.json()["edit"].clone(), there));
            } else {
                assert!([400, 409].contains(&answer.status.as_u16()), "{action}: {}", answer.text());
            }
        }
        while let Some((incident, edit, wanted)) = done.pop() {
            act(&server, &incident, &json!({"do": "undo", "edit": edit, "reason": "x"})).await;
            assert_eq!(open(&server).await, wanted, "round {round}, {} left", done.len());
        }
    }
}

/// All incidents that were not merged into another.
async fn open(server: &Server) -> BTreeMap<String, State> {
    let list = server.get("/api/v1/incidents?limit=500").await.is(200).json();
    let mut there = BTreeMap::new();
    for incident in list["items"].as_array().unwrap() {
        let incident = incident["incident"].as_str().unwrap();
        there.insert(incident.to_owned(), state(server, incident).await);
    }
    there
}

#[tokio::test]
async fn what_was_absorbed_keeps_its_orders_and_evidence_and_they_are_listed() {
    let server = two().await;
    let ticket = json!({"host": "db-1"});
    server.post(&format!("/api/v1/incidents/{B}/tickets"), &server.responder, &ticket).await.is(200);
    act(&server, A, &json!({"do": "merge", "other": B, "reason": "x"})).await;
    // A ticket that was made before still leads to the incident that it was made for.
    server.post(&format!("/api/v1/incidents/{B}/tickets"), &server.responder, &ticket).await.is(200);
    let timeline = server.get(&format!("/api/v1/incidents/{A}/timeline")).await.is(200).json();
    let items = timeline["items"].as_array().unwrap();
    assert!(items.iter().any(|entry| entry["event"] == "ticket_made" && entry["incident"] == B));
    assert!(items.is_sorted_by_key(|entry| entry["seq"].as_u64()));
}
