//! What people do to incidents, over the API: what changes, what the timeline and custody say, what is refused.

use serde_json::{Value, json};
use server::store::Store as _;
use wire::IncidentId;

use super::harness::{Server, With};

pub const INC: &str = "/api/v1/incidents/INC-2026-0001";

pub fn plain(host: &str, event: &str) -> Value {
    json!({ "event_type": event, "host": host, "timestamp": "2026-11-21T17:40:00Z" })
}

pub async fn send(server: &Server, with: &With, alert: &Value) -> Value {
    server.post("/api/v1/alerts", with, alert).await.is(200).json()["alerts"][0].clone()
}

/// Does it, as zoe, who may.
pub async fn act(server: &Server, incident: &str, action: &Value) -> Value {
    server.post(&format!("/api/v1/incidents/{incident}/actions"), &server.responder, action).await.is(200).json()
}

/// The same, refused with this status: the error.
pub async fn refused(server: &Server, incident: &str, action: &Value, status: u16) -> Value {
    server.post(&format!("/api/v1/incidents/{incident}/actions"), &server.responder, action).await.is(status).json()
}

pub async fn view(server: &Server, incident: &str) -> Value {
    server.get(&format!("/api/v1/incidents/{incident}")).await.is(200).json()
}

async fn events(server: &Server, incident: &str) -> Vec<String> {
    let incident: IncidentId = incident.parse().unwrap();
    let leaves = server.store.leaves(Some(&incident), 0, 1_000).await.unwrap();
    leaves.into_iter().map(|stored| stored.leaf.event).collect()
}

async fn opened() -> Server {
    let server = Server::start().await;
    send(&server, &server.source, &plain("web-1", "ransomware")).await;
    server
}

#[tokio::test]
async fn each_action_changes_the_case_and_stands_in_the_timeline() {
    let server = opened().await;
    for (action, event, text) in [
        (json!({"do": "acknowledge"}), "incident_acknowledged", "Acknowledged."),
        (
            json!({"do": "note", "text": " db-1 too \u{202e}", "update": true}),
            "note_added",
            "Update: db-1 too \u{202e}",
        ),
        (json!({"do": "assign", "role": "scribe", "person": "Ola"}), "role_assigned", "scribe is Ola."),
        (json!({"do": "assign", "role": "lead", "person": "Zoe"}), "role_assigned", "lead is Zoe."),
        (json!({"do": "assign", "role": "lead", "person": ""}), "role_vacated", "lead is no more Zoe."),
        (
            json!({"do": "anchor", "anchor": "aware_at", "at": "2026-11-21T17:41:00Z", "reason": "call"}),
            "anchor_set",
            "aware at: 2026-11-21T17:41:00.000000000Z: call",
        ),
        (
            json!({"do": "phase", "phase": "containment"}),
            "phase_changed",
            "Phase detection and analysis → containment.",
        ),
        (
            json!({"do": "close", "disposition": "true_positive", "reason": "done"}),
            "incident_closed",
            "Closed as true positive: done",
        ),
        (json!({"do": "reopen", "reason": "again"}), "incident_reopened", "Opened again: again"),
    ] {
        server.clock.pass(60);
        let before = view(&server, "INC-2026-0001").await;
        let reply = act(&server, "INC-2026-0001", &action).await;
        // What is left undone is said, and prevents nothing.
        let is_warned = ["phase", "close"].contains(&action["do"].as_str().unwrap());
        assert_eq!(reply["incident"], "INC-2026-0001", "{action}");
        assert_eq!(reply["warnings"].to_string().contains("steps are open"), is_warned, "{action}");
        let timeline = server.get(&format!("{INC}/timeline?limit=500")).await.is(200).json();
        let last = timeline["items"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&last["event"], &last["text"]), (&json!(event), &json!(text)));
        assert_eq!((&last["actor"], &last["incident"]), (&json!("user:zoe"), &json!("INC-2026-0001")));
        let after = view(&server, "INC-2026-0001").await;
        assert!(after["summary"]["updated"].as_str() > before["summary"]["updated"].as_str());
    }
    let case = view(&server, "INC-2026-0001").await["case"].clone();
    assert_eq!(case["acknowledged"]["by"], "user:zoe");
    assert_eq!((&case["phase"], &case["roles"]), (&json!("containment"), &json!({"scribe": "Ola"})));
    assert_eq!(case["anchors"]["aware_at"]["stamp"]["reason"], "call");
    assert_eq!((&case["closed"], &case["worked_on"].is_string()), (&Value::Null, &true));
}

#[tokio::test]
async fn said_again_the_first_stands() {
    let server = opened().await;
    let twice = [
        json!({"do": "acknowledge"}),
        json!({"do": "assign", "role": "lead", "person": "Zoe"}),
        json!({"do": "phase", "phase": "recovery"}),
        json!({"do": "close", "disposition": "benign", "reason": "a drill"}),
    ];
    for action in &twice {
        act(&server, "INC-2026-0001", action).await;
    }
    let (size, case) = (server.store.head().await.unwrap().size, view(&server, "INC-2026-0001").await["case"].clone());
    server.clock.pass(60);
    for action in &twice {
        act(&server, "INC-2026-0001", action).await;
    }
    assert_eq!(server.store.head().await.unwrap().size, size);
    assert_eq!(view(&server, "INC-2026-0001").await["case"], case);
    let other = json!({"do": "close", "disposition": "true_positive", "reason": "no drill"});
    assert!(refused(&server, "INC-2026-0001", &other, 409).await["hint"].as_str().unwrap().contains("reopen"));
}

#[tokio::test]
async fn what_cannot_be_said_is_refused_and_nothing_changes() {
    let server = opened().await;
    let size = server.store.head().await.unwrap().size;
    for action in [
        json!({"do": "note", "text": "  "}),
        json!({"do": "note", "text": "\u{1b}[2J"}),
        json!({"do": "note", "text": "x".repeat((16 << 10) + 1)}),
        json!({"do": "note", "text": "x", "updat": true}),
        json!({"do": "assign", "role": "a\nb", "person": "Zoe"}),
        json!({"do": "assign", "role": "x".repeat(129), "person": "Zoe"}),
        json!({"do": "close", "disposition": "benign", "reason": ""}),
        json!({"do": "close", "disposition": "fine", "reason": "x"}),
        json!({"do": "override", "severity": "SEV4", "reason": ""}),
        json!({"do": "override", "incident_type": "ransom", "reason": "x"}),
        json!({"do": "anchor", "anchor": "aware_at", "at": "2030-01-01T00:00:00Z", "reason": "x"}),
        json!({"do": "dance"}),
    ] {
        refused(&server, "INC-2026-0001", &action, 400).await;
    }
    refused(&server, "INC-2026-9999", &json!({"do": "acknowledge"}), 404).await;
    act(&server, "INC-2026-0001", &json!({"do": "note", "text": "x".repeat(16 << 10)})).await;
    assert_eq!(server.store.head().await.unwrap().size, size + 1);
}

#[tokio::test]
async fn an_override_holds_upward_and_downward_until_a_trigger_fires() {
    let server = opened().await;
    send(&server, &server.source, &plain("db-1", "phishing_attempt")).await;
    let second = "INC-2026-0002";
    let low = view(&server, second).await["summary"]["severity"].clone();
    let up = act(&server, second, &json!({"do": "override", "severity": "SEV2", "reason": ""})).await;
    assert_eq!((&up["severity"], &up["warnings"]), (&json!("SEV2"), &json!([])));
    let back = act(&server, second, &json!({"do": "override", "reason": ""})).await;
    assert_eq!(back["severity"], low);

    let typed = json!({"do": "override", "incident_type": "Phishing", "severity": "SEV4", "reason": "a drill of HR"});
    let down = act(&server, "INC-2026-0001", &typed).await;
    assert_eq!(down["severity"], "SEV4");
    assert_eq!(view(&server, "INC-2026-0001").await["summary"]["incident_type"], "phishing_attempt");
    // Another alert alone does not end it; a trigger that was not there does, and says so.
    send(&server, &server.source, &plain("web-1", "malware_infection")).await;
    assert_eq!(view(&server, "INC-2026-0001").await["summary"]["severity"], "SEV4");
    let note = json!({ "event_type": "ransomware", "host": "web-1", "timestamp": "2026-11-21T17:45:00Z",
                       "escalation_triggers": ["ransom_note"], "details": { "ransom_note": "README_DECRYPT.txt" } });
    let raised = send(&server, &server.source, &note).await;
    assert_eq!(raised["severity"], "SEV1", "{raised}");
    assert!(events(&server, "INC-2026-0001").await.contains(&"override_outranked".to_owned()));
    // Knowing of it, the same can be said again.
    let again = json!({"do": "override", "severity": "SEV4", "reason": "the note is part of the drill"});
    assert_eq!(act(&server, "INC-2026-0001", &again).await["severity"], "SEV4");
}

#[tokio::test]
async fn those_who_follow_hear_of_actions() {
    let server = opened().await;
    let mut heard = server.app.live.listen().unwrap().receiver;
    act(&server, "INC-2026-0001", &json!({"do": "note", "text": "x"})).await;
    let (incident, event) = heard.try_recv().unwrap();
    assert_eq!(incident.as_str(), "INC-2026-0001");
    let event = serde_json::to_value(event).unwrap();
    assert_eq!(
        (&event["what"], &event["event"], &event["actor"]),
        (&json!("case"), &json!("note_added"), &json!("user:zoe"))
    );
}

#[tokio::test]
async fn two_servers_that_act_at_once_lose_nothing() {
    let one = opened().await;
    let two = one.beside().await;
    let acts = (0..20).map(|n| {
        let server = if n % 2 == 0 { &one } else { &two };
        let action = json!({"do": "assign", "role": format!("r{n}"), "person": "Zoe"});
        async move { act(server, "INC-2026-0001", &action).await }
    });
    futures_util::future::join_all(acts).await;
    assert_eq!(view(&one, "INC-2026-0001").await["case"]["roles"].as_object().unwrap().len(), 20);
    assert_eq!(events(&one, "INC-2026-0001").await.iter().filter(|event| *event == "role_assigned").count(), 20);
}

#[tokio::test]
async fn a_timeline_has_pages() {
    let server = opened().await;
    for n in 0..10 {
        act(&server, "INC-2026-0001", &json!({"do": "note", "text": format!("note {n}")})).await;
    }
    let all = server.get(&format!("{INC}/timeline")).await.is(200).json()["items"].clone();
    let (mut pages, mut after) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("{INC}/timeline?limit=3{after}")).await.is(200).json();
        pages.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!((json!(pages), all.as_array().unwrap().len()), (all, 12));
    server.get("/api/v1/incidents/INC-2026-9999/timeline").await.is(404);
}

#[tokio::test]
async fn what_a_person_saw_is_an_alert_like_any_other() {
    let server = opened().await;
    let report = json!({ "title": "Files on web-1 do not open", "what": "All end in .locked\nsince noon", "host": "web-1",
                         "user": "ola", "contact": "+47 555", "seen_at": "2026-11-21T17:42:00Z" });
    let reply = server.post("/api/v1/reports", &server.analyst, &report).await.is(200).json();
    assert_eq!(reply["alerts"][0]["incident"], "INC-2026-0001");
    let alert = reply["alerts"][0]["alert"].as_str().unwrap().to_owned();
    let there = server.get(&format!("/api/v1/alerts/{alert}")).await.is(200).json();
    assert_eq!((&there["title"], &there["sent_by"]), (&report["title"], &json!("user:ada")));
    let again = server.post("/api/v1/reports", &server.analyst, &report).await.is(200).json();
    assert_eq!((&again["alerts"][0]["duplicate"], &again["alerts"][0]["alert"]), (&json!(true), &json!(alert)));
    for (key, bad) in [
        ("title", json!(" ")),
        ("what", json!("")),
        ("host", json!("a\u{1b}")),
        ("incident_type", json!("x")),
        ("seen_at", json!("2030-01-01T00:00:00Z")),
        ("title", json!("x".repeat(513))),
    ] {
        let mut report = report.clone();
        report[key] = bad;
        server.post("/api/v1/reports", &server.analyst, &report).await.is(400);
    }
    let list = server.get("/api/v1/alerts?limit=1").await.is(200).json();
    let next = list["next"].as_str().unwrap();
    assert_eq!(
        server.get(&format!("/api/v1/alerts?after={next}")).await.is(200).json()["items"].as_array().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn checklist_clocks_timers_and_drafts_follow_what_people_say() {
    let server = opened().await;
    let before = view(&server, "INC-2026-0001").await;
    let steps = before["checklist"].as_array().unwrap();
    let step = steps.iter().find(|step| step["required"] == true).unwrap()["id"].as_str().unwrap().to_owned();
    let respond = |view: &Value| {
        let timers = view["timers"].as_array().unwrap();
        timers.iter().find(|timer| timer["timer"] == "respond").unwrap()["met_at"].clone()
    };
    assert_eq!(respond(&before), Value::Null);
    assert!(before["clocks"].as_array().unwrap().iter().any(|clock| clock["clock"] == "gdpr_art_33"));

    let early = act(&server, "INC-2026-0001", &json!({"do": "phase", "phase": "containment"})).await;
    assert!(early["warnings"][0].as_str().unwrap().contains("steps are open"), "{early}");
    act(&server, "INC-2026-0001", &json!({"do": "acknowledge"})).await;
    act(&server, "INC-2026-0001", &json!({"do": "step", "step": step, "outcome": "done"})).await;
    act(&server, "INC-2026-0001", &json!({"do": "anchor", "anchor": "aware_at", "reason": "a call"})).await;
    let sent = json!({"do": "submit", "regime": "gdpr_art_33", "stage": "notification", "receipt": "DPA 2026/117"});
    act(&server, "INC-2026-0001", &sent).await;
    for (bad, hint) in [
        (json!({"do": "step", "step": "no.such", "outcome": "done"}), "checklist"),
        (json!({"do": "step", "step": step, "outcome": "waived"}), "sentence"),
        (json!({"do": "submit", "regime": "gdpr_art_33", "stage": "notificaton", "receipt": "x"}), "notification"),
        (json!({"do": "decide", "clock": "gdpr_art33", "applies": true, "reason": "x"}), "gdpr_art_33"),
    ] {
        let error = refused(&server, "INC-2026-0001", &bad, 400).await;
        assert!(error["hint"].as_str().unwrap().contains(hint), "{error}");
    }
    let after = view(&server, "INC-2026-0001").await;
    assert!(respond(&after).is_string());
    let clocks = after["clocks"].as_array().unwrap();
    let stages = &clocks.iter().find(|clock| clock["clock"] == "gdpr_art_33").unwrap()["stages"];
    assert!(stages.to_string().contains("DPA 2026/117"), "{stages}");

    act(&server, "INC-2026-0001", &json!({"do": "note", "text": "web-1 is cut off", "update": true})).await;
    for audience in ["technical", "executive", "legal", "customers", "regulator"] {
        let draft = server.get(&format!("{INC}/drafts/{audience}")).await.is(200).json();
        assert_eq!(draft["audience"], audience);
        let text = draft["text"].as_str().unwrap();
        assert!(!text.is_empty());
        assert_eq!(text.contains("web-1"), !["customers", "regulator"].contains(&audience), "{audience}: {text}");
    }
    server.get(&format!("{INC}/drafts/press")).await.is(400);
    server.get("/api/v1/incidents/INC-2026-9999/drafts/legal").await.is(404);
}
