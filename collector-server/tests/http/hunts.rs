//! One profile over many hosts: orders wait for their turn, the first wave before the second.

use bundle::sign::SigningKey;
use serde_json::{Value, json};
use server::store::Store as _;
use wire::order::{ORDER_TYPE, Order, OrderEvent};
use wire::signed::namespace;
use wire::{AgentId, Instant, OrderId, Sha256};

use super::cases::{INC, plain, send};
use super::harness::{NOW, Server, With};

fn signed(agent: &AgentId, number: u8) -> (OrderId, Value) {
    let profile =
        json!({"name": "test", "summary": "A test.", "incident_types": [], "limits": {}, "collect": [], "contain": []});
    let order = Order {
        agent: agent.clone(),
        approved_sensitive: Vec::new(),
        expires: Instant(NOW.0 + 7_200_000_000_000),
        incident: INC.rsplit('/').next().unwrap().parse().unwrap(),
        issued: NOW,
        legal_basis: None,
        nonce: Sha256::of(&[number]).to_string()[..32].to_owned(),
        order: OrderId::new(1_795_283_148_000, [number; 10]),
        profile: serde_json::from_value(profile).unwrap(),
        profile_version: "0.1.0".into(),
        purpose: None,
        supersedes: None,
        kind: ORDER_TYPE.into(),
        v: 1,
        values: wire::profile::Values::default(),
    };
    let message = serde_json::to_vec(&order).unwrap();
    (order.order, json!(SigningKey::from_seed(&[9; 32]).envelope("zoe", namespace::COLLECT, &message).unwrap()))
}

async fn begun(server: &Server, rate: u32, concurrency: u32) -> String {
    let asked = json!({
        "concurrency": concurrency, "incident": "INC-2026-0001", "labels": ["env=prod"], "profile": "test",
        "purpose": "a test", "rate_per_min": rate, "valid_secs": 3600,
    });
    server.post("/api/v1/hunts", &server.analyst, &asked).await.is(403);
    let begun = server.post("/api/v1/hunts", &server.responder, &asked).await.is(200).json();
    assert_eq!(begun["state"], "gathering");
    begun["hunt"].as_str().unwrap().to_owned()
}

async fn add(server: &Server, hunt: &str, agent: &AgentId, number: u8, wave: u32) -> OrderId {
    let (order, envelope) = signed(agent, number);
    server.post(&format!("/api/v1/hunts/{hunt}/orders?wave={wave}"), &server.responder, &envelope).await.is(200);
    order
}

async fn waiting(server: &Server, with: &With) -> Vec<String> {
    let reply = server.send("GET", "/agent/v1/orders?wait_secs=0", with, &[], vec![]).await.is(200).json();
    reply["orders"].as_array().unwrap().iter().map(|one| one["order"].as_str().unwrap().to_owned()).collect()
}

async fn tell(server: &Server, with: &With, order: OrderId, event: &OrderEvent) {
    let mut body = json!(event);
    body["time"] = json!(NOW);
    server.post(&format!("/agent/v1/orders/{order}/events"), with, &body).await.is(204);
}

async fn view(server: &Server, hunt: &str) -> Value {
    server.get(&format!("/api/v1/hunts/{hunt}")).await.is(200).json()
}

#[tokio::test]
async fn all_that_is_gone_first_is_taken_before_the_rest_and_it_is_counted() {
    let server = Server::start().await;
    send(&server, &server.source, &plain("web-1", "ransomware")).await;
    let (web, with_web) = server.enrol("web-1", 1).await;
    let (db, with_db) = server.enrol("db-1", 2).await;
    let hunt = begun(&server, 100, 100).await;
    let first = [add(&server, &hunt, &web, 1, 1).await, add(&server, &hunt, &db, 2, 1).await];
    let rest = [add(&server, &hunt, &web, 3, 2).await, add(&server, &hunt, &db, 4, 2).await];
    // Both ask, so both are there; what waits for its turn is not handed over.
    assert!(waiting(&server, &with_web).await.is_empty() && waiting(&server, &with_db).await.is_empty());
    server.app.look_after_hunts().await.unwrap();
    assert_eq!(waiting(&server, &with_web).await, [first[0].to_string()]);
    let started =
        server.post(&format!("/api/v1/hunts/{hunt}/start"), &server.responder, &json!({})).await.is(200).json();
    assert_eq!((&started["state"], &started["held"]), (&json!("running"), &json!(2)));
    let failed = OrderEvent::Failed { message: "a test".into() };
    tell(&server, &with_web, first[0], &failed).await;
    server.app.look_after_hunts().await.unwrap();
    assert!(waiting(&server, &with_web).await.is_empty(), "db-1 has its first order before it");
    tell(&server, &with_db, first[1], &failed).await;
    server.app.look_after_hunts().await.unwrap();
    assert_eq!(waiting(&server, &with_web).await, [rest[0].to_string()]);
    assert_eq!(waiting(&server, &with_db).await, [rest[1].to_string()]);
    for (with, order) in [(&with_web, rest[0]), (&with_db, rest[1])] {
        tell(&server, with, order, &failed).await;
    }
    server.app.look_after_hunts().await.unwrap();
    let over = view(&server, &hunt).await;
    assert_eq!((&over["state"], &over["orders"]), (&json!("done"), &json!({"failed": 4})));
    assert_eq!(over["hosts"].as_array().unwrap().len(), 2);
    let late = server.post(&format!("/api/v1/hunts/{hunt}/orders?wave=1"), &server.responder, &signed(&web, 9).1).await;
    late.is(409);
    let page = server.get(&format!("/hunts/{hunt}")).await.is(200).text();
    assert!(page.contains("db-1") && page.contains("a test"));
    assert!(server.get("/hunts").await.is(200).text().contains(&hunt));
    let events: Vec<String> =
        server.store.leaves(None, 0, 1_000).await.unwrap().into_iter().map(|leaf| leaf.leaf.event).collect();
    let count = |name: &str| events.iter().filter(|event| *event == name).count();
    assert_eq!((count("hunt_begun"), count("hunt_started"), count("hunt_done")), (1, 1, 1));
    assert_eq!(
        (count("order_issued"), count("order_released"), count("order_delivered")),
        (4, 4, 3),
        "one was told of before it was asked for"
    );
}

#[tokio::test]
async fn a_hunt_is_cancelled_or_ends_and_nobody_gets_what_is_left() {
    let server = Server::start().await;
    send(&server, &server.source, &plain("web-1", "ransomware")).await;
    let (web, with) = server.enrol("web-1", 1).await;
    let (away, _) = server.enrol("db-1", 2).await;
    for (number, is_cancelled) in [(10, true), (20, false)] {
        let hunt = begun(&server, 1, 1).await;
        let runs = add(&server, &hunt, &web, number, 1).await;
        add(&server, &hunt, &web, number + 1, 1).await;
        add(&server, &hunt, &away, number + 2, 1).await;
        assert!(waiting(&server, &with).await.is_empty());
        for _ in 0..3 {
            server.app.look_after_hunts().await.unwrap();
        }
        assert_eq!(waiting(&server, &with).await, [runs.to_string()], "one a minute, one at a time");
        tell(&server, &with, runs, &OrderEvent::Accepted).await;
        let (state, left) = if is_cancelled {
            let why = json!({"reason": "it was the wrong label"});
            server.post(&format!("/api/v1/hunts/{hunt}/cancel"), &server.responder, &why).await.is(200);
            server.post(&format!("/api/v1/hunts/{hunt}/cancel"), &server.responder, &why).await.is(409);
            ("cancelled", json!({"accepted": 1, "cancelled": 2}))
        } else {
            server.clock.pass(3601);
            server.app.look_after_hunts().await.unwrap();
            ("expired", json!({"accepted": 1, "expired": 2}))
        };
        let over = view(&server, &hunt).await;
        assert_eq!((&over["state"], &over["orders"], &over["held"]), (&json!(state), &left, &json!(0)));
        assert!(waiting(&server, &with).await.is_empty());
    }
    for bad in [
        json!({"concurrency": 0, "incident": "INC-2026-0001", "profile": "x", "purpose": null, "rate_per_min": 1, "valid_secs": 60}),
        json!({"concurrency": 1, "incident": "INC-2026-0001", "profile": "", "purpose": null, "rate_per_min": 1, "valid_secs": 60}),
        json!({"concurrency": 1, "incident": "INC-2026-0001", "profile": "x", "purpose": null, "rate_per_min": 1, "valid_secs": 604_801}),
    ] {
        server.post("/api/v1/hunts", &server.responder, &bad).await.is(400);
    }
}
