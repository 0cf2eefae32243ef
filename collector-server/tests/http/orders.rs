//! The people's half of orders.

use bundle::sign::SigningKey;
use serde_json::{Value, json};
use server::store::Store as _;
use wire::order::{ORDER_TYPE, Order};
use wire::profile::{Limits, Profile};
use wire::signed::{Signed, namespace};
use wire::{AgentId, Instant, OrderId};

use super::harness::{Answer, NOW, Server, With};

const ORDERS: &str = "/api/v1/orders";
const SECOND: i128 = 1_000_000_000;

fn order(agent: &AgentId) -> Order {
    Order {
        agent: agent.clone(),
        approved_sensitive: vec![],
        expires: Instant(NOW.0 + 600 * SECOND),
        incident: "INC-2026-0001".parse().unwrap(),
        issued: NOW,
        legal_basis: None,
        nonce: "0123456789abcdef0123456789abcdef".into(),
        order: OrderId::new(1, [1; 10]),
        profile: Profile {
            name: "intrusion".into(),
            summary: "x".into(),
            incident_types: vec![],
            limits: Limits::default(),
            tiers: std::collections::BTreeMap::new(),
            collect: vec![],
            contain: vec![],
        },
        profile_version: "0.1.0".into(),
        purpose: None,
        supersedes: None,
        kind: ORDER_TYPE.into(),
        v: 1,
        values: wire::profile::Values::default(),
    }
}

fn signed(message: &[u8]) -> Signed {
    SigningKey::from_seed(&[9; 32]).envelope("zoe@example", namespace::COLLECT, message).unwrap()
}

async fn dispatch(server: &Server, envelope: &Signed) -> Answer {
    server.post(ORDERS, &server.responder, &json!(envelope)).await
}

async fn ready() -> (Server, AgentId) {
    let server = Server::start().await;
    let (agent, _) = server.enrol("web-1", 1).await;
    server.post("/api/v1/alerts", &server.source, &json!({ "event_type": "intrusion", "host": "web-1" })).await.is(200);
    (server, agent)
}

#[tokio::test]
async fn an_order_is_kept_exactly_as_it_was_signed() {
    let (server, agent) = ready().await;
    // Spaces and order of keys are the signer's.
    let message = format!("{}  ", serde_json::to_string_pretty(&order(&agent)).unwrap());
    let envelope = signed(message.as_bytes());
    let view = dispatch(&server, &envelope).await.is(200).json();
    assert_eq!(
        (&view["state"], &view["host"], &view["signed_by"]),
        (&json!("queued"), &json!("web-1"), &json!("zoe@example"))
    );
    assert_eq!(view["sha256"], envelope.sha256().unwrap().to_string());
    let waiting = server.store.orders_waiting(&agent).await.unwrap();
    assert_eq!(waiting[0].envelope, envelope);
    assert_eq!(server.get(&format!("{ORDERS}/{}", view["order"].as_str().unwrap())).await.is(200).json(), view);
    let incident = server.get("/api/v1/incidents/INC-2026-0001").await.is(200).json();
    assert_eq!(incident["orders"][0], view);
    let leaves = server.store.leaves(None, 0, 100).await.unwrap();
    let leaf = &leaves.last().unwrap().leaf;
    assert_eq!((leaf.event.as_str(), leaf.actor.as_str()), ("order_issued", "user:zoe"));
    assert_eq!(leaf.details["sha256"], view["sha256"]);
    assert!(leaf.details["key"].as_str().unwrap().starts_with("SHA256:"));

    // The same again, and another order with its nonce.
    dispatch(&server, &envelope).await.is(409);
    let replayed = Order { order: OrderId::new(2, [2; 10]), ..order(&agent) };
    dispatch(&server, &signed(&serde_json::to_vec(&replayed).unwrap())).await.is(409);
    assert_eq!(server.store.orders_waiting(&agent).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_reason() {
    let (server, agent) = ready().await;
    let good = order(&agent);
    let refuse = async |order: Order, status: u16, why: &str| {
        let answer = dispatch(&server, &signed(&serde_json::to_vec(&order).unwrap())).await.is(status);
        assert!(answer.text().contains(why), "{why}: {}", answer.text());
        assert!(answer.json()["hint"].is_string());
    };
    refuse(Order { agent: "db-1".parse().unwrap(), ..good.clone() }, 404, "no agent db-1").await;
    refuse(Order { incident: "INC-2026-0009".parse().unwrap(), ..good.clone() }, 404, "INC-2026-0009").await;
    refuse(Order { expires: NOW, ..good.clone() }, 400, "expired").await;
    refuse(Order { issued: Instant(NOW.0 + 301 * SECOND), ..good.clone() }, 400, "future").await;
    let too_long = Instant(NOW.0 + (7 * 86_400 + 1) * SECOND);
    refuse(Order { expires: too_long, ..good.clone() }, 400, "too long").await;
    refuse(Order { nonce: "7".into(), ..good.clone() }, 400, "nonce").await;
    refuse(Order { v: 2, ..good.clone() }, 400, "version").await;
    refuse(Order { supersedes: Some(OrderId::new(5, [5; 10])), ..good.clone() }, 400, "not here").await;
    let mut large = good.clone();
    large.profile.summary = "x".repeat(64 << 10);
    refuse(large, 400, "profile has").await;

    let message = serde_json::to_vec(&good).unwrap();
    let envelope = signed(&message);
    let unsigned = Signed { sig_ssh: String::new(), ..envelope.clone() };
    assert!(dispatch(&server, &unsigned).await.is(400).text().contains("no signature"));
    let altered = Signed { signed_b64: signed(b"{}").signed_b64, ..envelope.clone() };
    assert!(dispatch(&server, &altered).await.is(400).text().contains("not of these bytes"));
    let elsewhere = SigningKey::from_seed(&[9; 32]).envelope("zoe", "file", &message).unwrap();
    dispatch(&server, &elsewhere).await.is(400);
    let mut unknown: Value = serde_json::to_value(&good).unwrap();
    unknown["shell"] = json!("id");
    assert!(dispatch(&server, &signed(unknown.to_string().as_bytes())).await.is(400).text().contains("shell"));
    assert!(server.store.orders_waiting(&agent).await.unwrap().is_empty());
    server.post(ORDERS, &server.analyst, &json!(envelope)).await.is(403);
    server.post(ORDERS, &With::Nothing, &json!(envelope)).await.is(401);
    dispatch(&server, &envelope).await.is(200);
}

#[tokio::test]
async fn an_order_that_nobody_took_reads_as_expired_at_once() {
    let (server, agent) = ready().await;
    let order = order(&agent);
    dispatch(&server, &signed(&serde_json::to_vec(&order).unwrap())).await.is(200);
    let path = format!("{ORDERS}/{}", order.order);
    server.clock.pass(599);
    assert_eq!(server.get(&path).await.is(200).json()["state"], "queued");
    server.clock.pass(1);
    assert_eq!(server.get(&path).await.is(200).json()["state"], "expired");
    assert!(server.store.order(order.order).await.unwrap().is_some_and(|kept| !kept.state.is_final()), "no sweep ran");
}

#[tokio::test]
async fn only_an_order_for_the_same_agent_is_superseded() {
    let (server, agent) = ready().await;
    let (other, _) = server.enrol("db-1", 2).await;
    let first = order(&agent);
    dispatch(&server, &signed(&serde_json::to_vec(&first).unwrap())).await.is(200);
    let again = Order {
        order: OrderId::new(2, [2; 10]),
        nonce: "f".repeat(32),
        supersedes: Some(first.order),
        ..first.clone()
    };
    let for_other = Order { agent: other, ..again.clone() };
    dispatch(&server, &signed(&serde_json::to_vec(&for_other).unwrap())).await.is(400);
    let view = dispatch(&server, &signed(&serde_json::to_vec(&again).unwrap())).await.is(200).json();
    assert_eq!(view["supersedes"], first.order.to_string());
}
