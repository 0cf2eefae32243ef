//! From an alert to an incident.

use serde_json::{Value, json};
use server::store::Store as _;

use super::harness::{Server, With};

const ALERTS: &str = "/api/v1/alerts";

fn falco(host: &str, at: &str) -> Value {
    json!({
        "output": "A shell was spawned in a container with an attached terminal",
        "priority": "Critical",
        "rule": "Terminal shell in container",
        "source": "syscall",
        "time": at,
        "hostname": host,
        "output_fields": { "proc.name": "bash", "user.name": "www-data", "evt.time": 1 },
        "tags": ["T1059"],
    })
}

fn plain(host: &str) -> Value {
    json!({ "event_type": "ransomware", "host": host, "timestamp": "2026-11-21T17:40:00Z",
            "details": { "ransom_note": "README_DECRYPT.txt" } })
}

async fn send(server: &Server, with: &With, alert: &Value) -> Value {
    server.post(ALERTS, with, alert).await.is(200).json()["alerts"][0].clone()
}

#[tokio::test]
async fn two_alerts_of_one_host_are_one_incident_and_the_second_says_why() {
    let server = Server::start().await;
    let (agent, _) = server.enrol("WEB-1", 1).await;
    let other = server.another_source().await;
    let first = send(&server, &server.source, &falco("web-1", "2026-11-21T17:30:00Z")).await;
    assert_eq!((&first["incident"], &first["duplicate"]), (&json!("INC-2026-0001"), &json!(false)));
    assert_eq!(first["correlated"], Value::Null);
    server.clock.pass(1);
    let second = send(&server, &other, &plain("web-1")).await;
    assert_eq!(second["incident"], "INC-2026-0001");
    assert!(second["correlated"].as_str().unwrap().contains("web-1"), "{second}");

    let incident = server.get("/api/v1/incidents/INC-2026-0001").await.is(200).json();
    assert_eq!(incident["alerts"].as_array().unwrap().len(), 2);
    assert_eq!(incident["summary"]["alerts"], 2);
    assert_eq!(incident["hosts"][0]["agent"], agent.as_str());
    let alert = incident["alerts"][0]["alert"].as_str().unwrap();
    let raw = server.get(&format!("{ALERTS}/{alert}/raw")).await.is(200);
    assert_eq!(raw.json(), falco("web-1", "2026-11-21T17:30:00Z"));
    assert!(raw.header("content-disposition").starts_with("attachment"));
    let list = server.get("/api/v1/incidents").await.is(200).json();
    assert_eq!(list["items"][0]["incident"], "INC-2026-0001");
    assert_eq!(list["next"], Value::Null);

    let leaves = server.store.leaves(Some(&"INC-2026-0001".parse().unwrap()), 0, 100).await.unwrap();
    let events: Vec<_> = leaves.iter().map(|stored| stored.leaf.event.as_str()).collect();
    assert_eq!(events[..4], ["alert_received", "incident_opened", "alert_received", "alert_correlated"]);
    assert_eq!(leaves[0].leaf.actor, "source:falco");
    assert_eq!(leaves[0].leaf.details["raw_sha256"], incident["alerts"][0]["raw_sha256"]);
}

#[tokio::test]
async fn the_same_alert_again_changes_nothing() {
    let server = Server::start().await;
    let alert = falco("web-1", "2026-11-21T17:30:00Z");
    let first = send(&server, &server.source, &alert).await;
    let size = server.store.head().await.unwrap().size;
    let again = send(&server, &server.responder, &alert).await;
    assert_eq!(again["duplicate"], true);
    assert_eq!(again["alert"], first["alert"]);
    assert_eq!(again["severity"], first["severity"]);
    assert_eq!(server.store.head().await.unwrap().size, size);
}

#[tokio::test]
async fn alerts_that_share_nothing_open_incidents_of_their_own() {
    let server = Server::start().await;
    let alerts: Vec<Value> = (0..20).map(|n| plain(&format!("host-{n}"))).collect();
    let sends = alerts.iter().map(|alert| send(&server, &server.source, alert));
    let received = futures_util::future::join_all(sends).await;
    let mut incidents: Vec<_> = received.iter().map(|one| one["incident"].as_str().unwrap().to_owned()).collect();
    incidents.sort();
    let wanted: Vec<_> = (1..=20).map(|n| format!("INC-2026-{n:04}")).collect();
    assert_eq!(incidents, wanted);
    let first = server.get("/api/v1/incidents?limit=15").await.is(200).json();
    let next = first["next"].as_str().unwrap();
    let second = server.get(&format!("/api/v1/incidents?limit=15&after={next}")).await.is(200).json();
    assert_eq!((first["items"].as_array().unwrap().len(), second["items"].as_array().unwrap().len()), (15, 5));
    assert_eq!(second["next"], Value::Null);
}

#[tokio::test]
async fn alerts_of_one_host_at_once_are_one_incident() {
    let server = Server::start().await;
    let alerts: Vec<Value> = (0..20).map(|n| falco("web-1", &format!("2026-11-21T17:30:{n:02}Z"))).collect();
    let received =
        futures_util::future::join_all(alerts.iter().map(|alert| send(&server, &server.source, alert))).await;
    assert!(received.iter().all(|one| one["incident"] == "INC-2026-0001"));
    assert_eq!(received.iter().filter(|one| one["correlated"].is_null()).count(), 1);
}

#[tokio::test]
async fn a_storm_is_one_incident_and_what_came_twice_is_said() {
    let server = Server::start().await;
    let lines = |from: u32, to: u32| -> Vec<u8> {
        let alerts = (from..to).map(|n| falco("web-1", &format!("2026-11-21T17:{:02}:{:02}Z", n / 60, n % 60)));
        alerts.flat_map(|alert| format!("{alert}\n").into_bytes()).collect()
    };
    let mut body = lines(0, 150);
    body.extend(lines(0, 10));
    body.extend(format!("{}\n", plain("db-1")).into_bytes());
    let reply = server.send("POST", ALERTS, &server.source, &[], body).await.is(200).json();
    let received = reply["alerts"].as_array().unwrap();
    assert_eq!(received.len(), 161);
    assert!(received[..160].iter().all(|one| one["incident"] == "INC-2026-0001"));
    assert_eq!(received.iter().filter(|one| one["duplicate"] == true).count(), 10);
    assert_eq!(received[150]["alert"], received[0]["alert"]);
    assert_eq!(received[160]["incident"], "INC-2026-0002");
    let list = server.get("/api/v1/incidents").await.is(200).json();
    let alerts: Vec<_> = list["items"].as_array().unwrap().iter().map(|one| one["alerts"].as_u64().unwrap()).collect();
    assert_eq!(alerts.iter().sum::<u64>(), 151);
    // What is remembered of them is not older than the records.
    let known = received[0]["alert"].as_str().unwrap();
    server.get("/api/v1/custody/export").await.is(200);
    let one_more = send(&server, &server.source, &falco("web-1", "2026-11-21T17:59:59Z")).await;
    assert_eq!(one_more["incident"], "INC-2026-0001");
    assert_ne!(one_more["alert"], known);
    let incident = server.get("/api/v1/incidents/INC-2026-0001").await.is(200).json();
    assert_eq!(incident["alerts"].as_array().unwrap().len(), 151);
}

#[tokio::test]
async fn two_servers_on_one_store_lose_nothing_and_number_nothing_twice() {
    let one = Server::start().await;
    let two = one.beside().await;
    let alerts: Vec<Value> = (0..20).map(|n| plain(&format!("host-{}", n / 2))).collect();
    let servers = [&one, &two];
    let with: Vec<Value> = alerts
        .iter()
        .enumerate()
        .map(|(n, alert)| {
            let mut alert = alert.clone();
            alert["details"]["n"] = json!(n);
            alert
        })
        .collect();
    let sends = with.iter().enumerate().map(|(n, alert)| send(servers[n % 2], &one.source, alert));
    let received = futures_util::future::join_all(sends).await;
    let mut incidents: Vec<_> = received.iter().map(|one| one["incident"].as_str().unwrap()).collect();
    for pair in incidents.chunks(2) {
        assert_eq!(pair[0], pair[1]);
    }
    incidents.sort_unstable();
    incidents.dedup();
    let wanted: Vec<_> = (1..=10).map(|n| format!("INC-2026-{n:04}")).collect();
    assert_eq!(incidents, wanted);
}

#[tokio::test]
async fn what_nobody_understands_is_kept_and_what_is_nothing_is_refused() {
    let server = Server::start().await;
    let post = async |body: &[u8]| server.send("POST", ALERTS, &server.source, &[], body.to_vec()).await;
    let odd = post(b"\xff\x00 something is wrong on web-1").await.is(200).json();
    assert_eq!(odd["alerts"][0]["incident"], "INC-2026-0001");
    let raw = format!("{ALERTS}/{}/raw", odd["alerts"][0]["alert"].as_str().unwrap());
    assert_eq!(server.get(&raw).await.is(200).body, b"\xff\x00 something is wrong on web-1");
    post(b" \n ").await.is(400);
    assert_eq!(post(b" []\n").await.is(200).json()["alerts"], json!([]));
    post(&vec![b'x'; 1 << 20]).await.is(200);
    post(&vec![b'x'; (1 << 20) + 1]).await.is(413);
    let many = "{\"event_type\":\"x\"}\n".repeat(1001);
    post(many.as_bytes()).await.is(413);
    server.send("POST", &format!("{ALERTS}?source=My%20Product"), &server.source, &[], b"{}".to_vec()).await.is(400);
    server.send("POST", ALERTS, &server.analyst, &[], b"{}".to_vec()).await.is(403);
}

#[tokio::test]
async fn those_who_follow_an_incident_hear_of_its_alerts() {
    use futures_util::StreamExt as _;

    let server = Server::start().await;
    send(&server, &server.source, &falco("web-1", "2026-11-21T17:30:00Z")).await;
    let events = "/api/v1/incidents/INC-2026-0001/events";
    let response = server.open("GET", events, &server.analyst, &[], vec![]).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut heard = response.into_body().into_data_stream();
    assert_eq!(heard.next().await.unwrap().unwrap(), ": listening\n\n");
    send(&server, &server.source, &plain("elsewhere")).await;
    let alert = send(&server, &server.source, &falco("web-1", "2026-11-21T17:31:00Z")).await;
    let event = tokio::time::timeout(std::time::Duration::from_secs(10), heard.next()).await.unwrap();
    let event = String::from_utf8(event.unwrap().unwrap().to_vec()).unwrap();
    assert!(event.starts_with("event: alert\ndata: {"), "{event}");
    assert!(event.contains(alert["alert"].as_str().unwrap()));
    server.get("/api/v1/incidents/INC-2026-9999/events").await.is(404);
}
