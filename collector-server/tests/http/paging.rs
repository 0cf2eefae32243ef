//! An incident wakes people, one after the other, until somebody answers; deadlines are told of once.

use serde_json::{Value, json};
use server::store::{Change, Store as _};
use wire::api::{Contradiction, EvidenceState};

use super::cases::{INC, act, plain, send};
use super::escalation::{SiteFolder, verified};
use super::harness::Server;
use super::peers::{Peer, Reply};

const ID: &str = "INC-2026-0001";
const MINUTE: u64 = 60;

/// Two people with a webhook each. Nobody stands for the CEO.
struct Line {
    ciso: Peer,
    folder: SiteFolder,
    lead: Peer,
}

impl Line {
    async fn new(limits: &str) -> Self {
        let (lead, ciso) = (Peer::http().await, Peer::http().await);
        let contact = |name: &str, role: &str, peer: &Peer| {
            let url = peer.url("/");
            format!(
                "  - {{name: {name}, roles: [{role}], channels: [{{webhook: {{url: \"{url}\", secret_file: webhook.secret}}}}]}}\n"
            )
        };
        let (mara, ola) = (contact("Mara", "SOC lead", &lead), contact("Ola", "CISO", &ciso));
        let limits = format!("limits: {{answer_seconds: 1{limits}}}\nlink: https://holdfast.example\n");
        Self { folder: SiteFolder::new(&format!("{limits}contacts:\n{mara}{ola}")), lead, ciso }
    }
}

/// A server that works with these people.
async fn served(line: &Line) -> Server {
    let server = Server::start().await;
    line.folder.serve(&server);
    server
}

/// What the server does by itself meanwhile.
async fn pass(server: &Server, seconds: u64) {
    server.clock.pass(seconds);
    for _ in 0..3 {
        server.app.look_after_incidents().await.unwrap();
        server.app.deliver_due().await.unwrap();
    }
}

/// The purposes of what the peer got since this was asked last.
fn purposes(peer: &Peer) -> Vec<String> {
    peer.got().iter().map(|got| verified(got)["data"]["purpose"].as_str().unwrap().to_owned()).collect()
}

/// How often the peer was asked to answer the incident.
fn woken(peer: &Peer) -> usize {
    purposes(peer).iter().filter(|purpose| *purpose == "escalation").count()
}

/// The details of all leaves of this event.
async fn leaves(server: &Server, event: &str) -> Vec<Value> {
    let leaves = server.store.leaves(None, 0, 10_000).await.unwrap();
    let of_event = leaves.into_iter().filter(|stored| stored.leaf.event == event);
    of_event.map(|stored| Value::Object(stored.leaf.details)).collect()
}

#[tokio::test]
async fn a_page_nobody_answers_goes_to_the_next_in_line() {
    let line = Line::new("").await;
    let server = served(&line).await;
    let hostile = json!({
        "event_type": "ransomware", "host": "web-1", "user": "svc_backup", "source_ip": "198.51.100.7",
        "title": "Encrypted <!channel>\r\nX: y \u{202e}", "timestamp": "2026-11-21T17:40:00Z",
    });
    send(&server, &server.source, &hostile).await;
    pass(&server, 0).await;
    let [got] = line.lead.got().try_into().unwrap();
    let told = verified(&got);
    assert_eq!((&told["type"], &told["data"]["role"]), (&json!("page.incident"), &json!("SOC lead")));
    let incident = &told["data"]["incidents"][0];
    assert_eq!((&incident["incident"], &incident["severity"]), (&json!(ID), &json!("SEV1")));
    assert_eq!(incident["victims"], json!(["web-1"]));
    assert_eq!(incident["link"], format!("https://holdfast.example/incidents/{ID}"));
    assert!(!incident["next_action"].as_str().unwrap().is_empty());
    for sensitive in ["svc_backup", "198.51.100.7", "\\r", "\u{202e}"] {
        assert!(!got.body.contains(sensitive), "{}", got.body);
    }
    assert_eq!(leaves(&server, "role_vacant").await, [json!({ "role": "CEO" })]);
    pass(&server, 5 * MINUTE - 1).await;
    assert_eq!((woken(&line.lead), woken(&line.ciso)), (0, 0));
    pass(&server, 1).await;
    assert_eq!((woken(&line.lead), woken(&line.ciso)), (0, 1));
    // There is no CEO: the line begins again.
    pass(&server, 5 * MINUTE).await;
    assert_eq!((woken(&line.lead), woken(&line.ciso)), (1, 0));
    act(&server, ID, &json!({ "do": "acknowledge" })).await;
    pass(&server, 60 * MINUTE).await;
    assert_eq!((woken(&line.lead), woken(&line.ciso)), (0, 0));
    assert_eq!(leaves(&server, "role_vacant").await.len(), 1);
    let view = server.get(INC).await.is(200).json();
    let pages: Vec<_> =
        view["pages"].as_array().unwrap().iter().filter(|page| page["purpose"] == "escalation").collect();
    assert_eq!(pages.iter().map(|page| &page["step"]).collect::<Vec<_>>(), [2, 1, 0]);
    assert!(pages.iter().all(|page| page["state"] == "sent"), "{pages:?}");
    let timeline = server.get(&format!("{INC}/timeline")).await.is(200).json();
    assert!(timeline["items"].as_array().unwrap().iter().any(|entry| entry["event"] == "page_sent"), "{timeline}");
}

#[tokio::test]
async fn a_page_is_tried_again_and_survives_the_server() {
    let line = Line::new("").await;
    let server = served(&line).await;
    line.lead.answers([Reply::Says(500, "no"), Reply::Nothing, Reply::Says(429, "slowly")]);
    send(&server, &server.source, &plain("web-1", "ransomware")).await;
    pass(&server, 0).await;
    let first = line.lead.got();
    assert_eq!(first.len(), 1);
    let page = async |server: &Server| server.get(INC).await.is(200).json()["pages"][0].clone();
    let queued = page(&server).await;
    assert_eq!((&queued["state"], &queued["attempts"]), (&json!("queued"), &json!(1)));
    assert!(queued["error"].as_str().unwrap().contains("500"), "{queued}");
    // Not at once again; and another process goes on where this one was.
    let server = server.beside().await;
    line.folder.serve(&server);
    pass(&server, 1).await;
    assert!(line.lead.got().is_empty());
    pass(&server, 7).await;
    assert!(page(&server).await["error"].as_str().unwrap().contains("no answer within 1 seconds"));
    pass(&server, 13).await;
    assert!(page(&server).await["error"].as_str().unwrap().contains("429"));
    pass(&server, 25).await;
    let sent = page(&server).await;
    assert_eq!((&sent["state"], &sent["attempts"], &sent["error"]), (&json!("sent"), &json!(4), &json!(null)));
    let tries = line.lead.got();
    assert_eq!(tries.len(), 3);
    // Who gets it twice can tell.
    assert!(tries.iter().all(|got| got.headers["webhook-id"] == first[0].headers["webhook-id"]));
    assert_ne!(tries[2].headers["webhook-timestamp"], first[0].headers["webhook-timestamp"]);
    assert_eq!((leaves(&server, "page_queued").await.len(), leaves(&server, "page_sent").await.len()), (1, 1));
}

#[tokio::test]
async fn who_cannot_be_reached_does_not_hold_up_the_next() {
    let line = Line::new("").await;
    let server = served(&line).await;
    line.lead.answers([Reply::Says(410, "gone")]);
    send(&server, &server.source, &plain("web-1", "ransomware")).await;
    pass(&server, 0).await;
    assert_eq!((woken(&line.lead), woken(&line.ciso)), (1, 1));
    let failed = leaves(&server, "page_failed").await;
    assert_eq!((failed.len(), &failed[0]["contact"]), (1, &json!("Mara")));
    // Nobody at all: the line keeps its distance.
    line.lead.answers(vec![Reply::Says(410, "gone"); 2]);
    line.ciso.answers(vec![Reply::Says(410, "gone"); 2]);
    pass(&server, 5 * MINUTE).await;
    assert_eq!((woken(&line.lead), woken(&line.ciso)), (1, 1));
}

#[tokio::test]
async fn a_raise_needs_a_new_answer() {
    let line = Line::new("").await;
    let server = served(&line).await;
    send(&server, &server.source, &plain("web-1", "lateral_movement")).await;
    pass(&server, 0).await;
    assert_eq!((woken(&line.lead), woken(&line.ciso)), (1, 0));
    act(&server, ID, &json!({ "do": "acknowledge" })).await;
    pass(&server, 30 * MINUTE).await;
    assert_eq!((woken(&line.lead), woken(&line.ciso)), (0, 0));
    act(&server, ID, &json!({ "do": "override", "severity": "SEV1", "reason": "the domain controller too" })).await;
    pass(&server, 1).await;
    assert_eq!((woken(&line.lead), woken(&line.ciso)), (1, 0));
    assert_eq!(leaves(&server, "acknowledgement_lapsed").await[0]["to"], "SEV1");
    assert_eq!(server.get(INC).await.json()["summary"]["acknowledged"], false);
    act(&server, ID, &json!({ "do": "acknowledge" })).await;
    // Lower again is no reason to wake anybody.
    act(&server, ID, &json!({ "do": "override", "severity": "SEV2", "reason": "it was not" })).await;
    pass(&server, 10 * MINUTE).await;
    assert_eq!((woken(&line.lead), woken(&line.ciso)), (0, 0));
    assert_eq!(server.get(INC).await.json()["summary"]["acknowledged"], true);
}

#[tokio::test]
async fn what_is_answered_or_over_wakes_nobody() {
    let line = Line::new("").await;
    let server = served(&line).await;
    line.lead.answers([Reply::Says(503, "later")]);
    send(&server, &server.source, &plain("web-1", "ransomware")).await;
    pass(&server, 0).await;
    assert_eq!(woken(&line.lead), 1);
    act(&server, ID, &json!({ "do": "acknowledge" })).await;
    pass(&server, 10).await;
    assert_eq!(woken(&line.lead), 0);
    let dropped = leaves(&server, "page_dropped").await;
    assert_eq!((dropped.len(), &dropped[0]["why"]), (1, &json!("acknowledged by user:zoe")));
    send(&server, &server.source, &plain("db-1", "ransomware")).await;
    let second = "INC-2026-0002";
    act(&server, second, &json!({ "do": "close", "disposition": "false_positive", "reason": "a drill" })).await;
    pass(&server, 60 * MINUTE).await;
    let view = server.get(&format!("/api/v1/incidents/{second}")).await.is(200).json();
    assert_eq!(view["pages"], json!([]));
}

#[tokio::test]
async fn a_storm_comes_as_a_digest_and_not_as_silence() {
    let line = Line::new(", pages_per_contact_per_hour: 2, digest_minutes: 5").await;
    let server = served(&line).await;
    for n in 0..9 {
        send(&server, &server.source, &plain(&format!("host-{n}"), "lateral_movement")).await;
    }
    pass(&server, 0).await;
    let got: Vec<Value> = line.lead.got().iter().map(verified).collect();
    assert_eq!(got.len(), 3);
    let [digest] = got.iter().filter(|got| got["type"] == "page.digest").collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(digest["data"]["incidents_count"], 7);
    assert_eq!(digest["data"]["text"], "[SEV2] 7 more incidents wait for an answer");
    // The next one waits for the next digest.
    send(&server, &server.source, &plain("host-10", "lateral_movement")).await;
    send(&server, &server.source, &plain("host-11", "ransomware")).await;
    pass(&server, 4 * MINUTE).await;
    assert!(line.lead.got().is_empty());
    pass(&server, MINUTE).await;
    let [digest] = line.lead.got().iter().map(verified).collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(digest["data"]["incidents"][0]["severity"], "SEV1");
    assert_eq!(leaves(&server, "page_sent").await.len(), 11);
}

#[tokio::test]
async fn deadlines_are_told_once_also_by_another_process() {
    let line = Line::new("").await;
    let server = served(&line).await;
    send(&server, &server.source, &plain("web-1", "ransomware")).await;
    act(&server, ID, &json!({ "do": "acknowledge" })).await;
    pass(&server, 1).await;
    assert!(leaves(&server, "timer_warned").await.is_empty());
    assert_eq!((purposes(&line.lead).len(), purposes(&line.ciso).len()), (0, 0));
    pass(&server, 4 * MINUTE).await;
    assert_eq!(leaves(&server, "timer_warned").await[0]["timer"], "sev1_classified");
    assert!(leaves(&server, "timer_overdue").await.is_empty());
    pass(&server, MINUTE).await;
    let overdue = leaves(&server, "timer_overdue").await;
    assert_eq!((overdue.len(), &overdue[0]["timer"]), (1, &json!("sev1_classified")));
    assert_eq!(purposes(&line.lead), ["timer:sev1_classified"]);
    let server = server.beside().await;
    line.folder.serve(&server);
    pass(&server, 1).await;
    assert_eq!(leaves(&server, "timer_overdue").await.len(), 1);
    let view = server.get(INC).await.is(200).json();
    let timer = |name: &str| view["timers"].as_array().unwrap().iter().find(|timer| timer["timer"] == name).cloned();
    assert_eq!(timer("sev1_classified").unwrap()["state"], "overdue");
    assert_eq!(timer("respond").unwrap()["state"], "met");
    assert_eq!(timer("sev1_paged").unwrap()["state"], "met");
    // Whoever has the role in this incident is told.
    act(&server, ID, &json!({ "do": "assign", "role": "incident_commander", "person": "Ola" })).await;
    pass(&server, 25 * MINUTE).await;
    assert!(purposes(&line.ciso).contains(&"timer:sev1_decision_gate".to_owned()));
    // News that are due every so often are told each time that they are late.
    let updates = async |server: &Server| {
        leaves(server, "timer_overdue").await.iter().filter(|told| told["timer"] == "update").count()
    };
    assert_eq!(updates(&server).await, 1);
    act(&server, ID, &json!({ "do": "note", "text": "contained on web-1", "update": true })).await;
    pass(&server, 16 * MINUTE).await;
    assert_eq!(updates(&server).await, 2);
}

#[tokio::test]
async fn clocks_tick_from_the_fact_that_starts_them_to_the_receipt() {
    let line = Line::new("").await;
    let server = served(&line).await;
    send(&server, &server.source, &plain("web-1", "ransomware")).await;
    act(&server, ID, &json!({ "do": "acknowledge" })).await;
    pass(&server, 0).await;
    let clock = async |server: &Server| {
        let view = server.get(INC).await.is(200).json();
        let clocks = view["clocks"].as_array().unwrap().clone();
        clocks.into_iter().find(|clock| clock["clock"] == "nis2_art_23").unwrap_or_else(|| panic!("{view}"))
    };
    assert_eq!(clock(&server).await["stages"][0]["state"], "not_started");
    act(&server, ID, &json!({ "do": "anchor", "anchor": "aware_at", "reason": "the call" })).await;
    pass(&server, 0).await;
    let stage = clock(&server).await["stages"][0].clone();
    assert_eq!((&stage["state"], &stage["remaining_seconds"]), (&json!("running"), &json!(86_400)));
    let of_stage = async |server: &Server, event: &str| {
        let told = leaves(server, event).await;
        told.iter().filter(|told| told["clock"] == "nis2_art_23" && told["stage"] == stage["stage"]).count()
    };
    pass(&server, 12 * 60 * MINUTE).await;
    assert_eq!(of_stage(&server, "clock_warned").await, 0);
    pass(&server, 11 * 60 * MINUTE).await;
    assert_eq!((of_stage(&server, "clock_warned").await, of_stage(&server, "clock_overdue").await), (1, 0));
    let about = format!("clock:nis2_art_23:{}", stage["stage"].as_str().unwrap());
    pass(&server, 10 * MINUTE).await;
    assert!(purposes(&line.lead).contains(&about));
    pass(&server, 60 * MINUTE).await;
    assert_eq!((of_stage(&server, "clock_warned").await, of_stage(&server, "clock_overdue").await), (1, 1));
    let submit = json!({ "do": "submit", "clock": "nis2_art_23", "stage": stage["stage"], "receipt": "CSIRT-77" });
    act(&server, ID, &submit).await;
    assert_eq!(clock(&server).await["stages"][0]["state"], "submitted_late");
    pass(&server, 60 * MINUTE).await;
    assert_eq!((of_stage(&server, "clock_warned").await, of_stage(&server, "clock_overdue").await), (1, 1));
}

#[tokio::test]
async fn where_nobody_can_be_told_the_incident_still_says_whom_to_call() {
    let server = Server::start().await;
    send(&server, &server.source, &plain("web-1", "ransomware")).await;
    pass(&server, 60 * MINUTE).await;
    let view = server.get(INC).await.is(200).json();
    assert_eq!(view["assessment"]["escalation_path"]["escalate_to"], json!(["SOC lead", "CISO", "CEO"]));
    assert_eq!(view["pages"], json!([]));
    assert!(leaves(&server, "role_vacant").await.is_empty());
    assert!(!leaves(&server, "timer_overdue").await.is_empty());
}

#[tokio::test]
async fn pagerduty_hears_of_the_answer_and_of_the_end() {
    let peer = Peer::http().await;
    let folder = SiteFolder::new(&format!(
        "contacts:\n  - name: On call\n    roles: [SOC lead]\n    channels:\n      \
         - pagerduty: {{routing_key_file: pagerduty.key, url: \"{}\"}}\n",
        peer.url("/v2/enqueue")
    ));
    let server = Server::start().await;
    folder.serve(&server);
    let events = || -> Vec<(String, String)> {
        let got = peer.got();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        got.iter().map(|got| (text(&got.json()["event_action"]), text(&got.json()["dedup_key"]))).collect()
    };
    let is = |action: &str, key: &str| (action.to_owned(), key.to_owned());
    send(&server, &server.source, &plain("web-1", "ransomware")).await;
    pass(&server, 0).await;
    let [got] = peer.got().try_into().unwrap();
    let event = got.json();
    assert_eq!((&event["dedup_key"], &event["payload"]["severity"]), (&json!(ID), &json!("critical")));
    assert_eq!((&event["payload"]["source"], &event["payload"]["class"]), (&json!("web-1"), &json!("ransomware")));
    act(&server, ID, &json!({ "do": "acknowledge" })).await;
    pass(&server, 1).await;
    assert_eq!(events(), [is("acknowledge", ID)]);
    pass(&server, 5 * MINUTE).await;
    let about_timer = format!("{ID}/timer:sev1_classified");
    assert_eq!(events(), [is("trigger", &about_timer)]);
    act(&server, ID, &json!({ "do": "close", "disposition": "true_positive", "reason": "done" })).await;
    pass(&server, 1).await;
    let mut ends = events();
    ends.sort();
    assert_eq!(ends, [is("resolve", ID), is("resolve", &about_timer)]);
    pass(&server, 60 * MINUTE).await;
    assert_eq!(events(), []);
}

#[tokio::test]
async fn a_signer_who_contradicts_itself_wakes_somebody_also_when_the_incident_is_closed() {
    let line = Line::new("").await;
    let server = served(&line).await;
    send(&server, &server.source, &plain("web-1", "ransomware")).await;
    let bundle = super::evidence::hold(&server, 1000, EvidenceState::Sealed).await;
    pass(&server, 0).await;
    let closed = json!({ "do": "close", "disposition": "true_positive", "reason": "contained" });
    act(&server, ID, &closed).await;
    pass(&server, 0).await;
    purposes(&line.lead);
    let mut view = server.store.evidence(bundle).await.unwrap().unwrap().view;
    let (digest, time) = (wire::Sha256::of(b"x"), super::harness::NOW);
    let what = "equivocation".to_owned();
    view.contradictions.push(Contradiction {
        offset: 1,
        ours_sha256: digest,
        seq: 1,
        signed_sha256: digest,
        time,
        what,
    });
    let changes = vec![Change::LookNow(view.incident.clone()), Change::PutEvidenceView(Box::new(view))];
    server.store.commit(changes, vec![]).await.unwrap();
    pass(&server, 0).await;
    let purpose = format!("evidence_contradicted:{bundle}");
    assert!(purposes(&line.lead).contains(&purpose));
    pass(&server, MINUTE).await;
    assert!(!purposes(&line.lead).contains(&purpose), "once");
}
