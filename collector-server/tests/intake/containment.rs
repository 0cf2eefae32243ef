//! Containment orders: who approves them, when an agent is handed one, and what it makes of them.

use bundle::sign::SigningKey;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use wire::api::OrderView;
use wire::containment::{
    Action, Approval, CONTAINMENT_TYPE, Check, ConsoleReport, ContainmentEvent, ContainmentOrder, Directive, Preview,
    ProcessRef, ReleaseCause, Side,
};
use wire::order::{OrderEvent, OrderState};
use wire::signed::{Signed, namespace};
use wire::{AgentId, IncidentId, Instant, OrderId};

use super::site::{Host, Site, now, read};

const HOUR: i128 = 3_600_000_000_000;

fn unique() -> [u8; 10] {
    server::app::random().unwrap()
}

fn isolate() -> Action {
    Action::IsolateNetwork { allow: Vec::new(), resolvers: Vec::new() }
}

fn apply(action: Action) -> Directive {
    Directive::Apply { action, lease_secs: 3600 }
}

fn ordered(incident: &IncidentId, agent: &AgentId, directive: Directive) -> ContainmentOrder {
    ContainmentOrder {
        agent: agent.clone(),
        directive,
        evidence: None,
        expires: Instant(now().0 + HOUR),
        incident: incident.clone(),
        issued: now(),
        nonce: wire::Sha256::of(&unique()).to_string()[..32].to_owned(),
        order: OrderId::new(1, unique()),
        reason: Some("it spreads".into()),
        kind: CONTAINMENT_TYPE.into(),
        v: 1,
    }
}

fn signed(principal: &str, seed: u8, order: &ContainmentOrder) -> Signed {
    let message = serde_json::to_vec(order).unwrap();
    SigningKey::from_seed(&[seed; 32]).envelope(principal, namespace::CONTAIN, &message).unwrap()
}

async fn send(site: &Site, path: &str, body: &impl serde::Serialize) -> Response {
    let request = site.person(Method::POST, path).header("content-type", "application/json");
    request.body(serde_json::to_vec(body).unwrap()).send().await.unwrap()
}

async fn contain(site: &Site, order: &ContainmentOrder) -> OrderView {
    read(send(site, "/api/v1/orders", &signed("ada", 9, order)).await).await
}

async fn approve(site: &Site, order: OrderId, principal: &str, seed: u8) -> Response {
    let envelope: Signed = site.get(&format!("/api/v1/orders/{order}/signed")).await;
    let message = envelope.message().unwrap();
    let sig_ssh = SigningKey::from_seed(&[seed; 32]).sign(namespace::CONTAIN, &message).unwrap();
    let approval = Approval { principal: principal.into(), sig_ssh };
    send(site, &format!("/api/v1/orders/{order}/approvals"), &approval).await
}

fn told(told: ContainmentEvent) -> OrderEvent {
    OrderEvent::Containment { told, rehearsed: false }
}

fn validated(holds: bool) -> OrderEvent {
    let checks = vec![Check { holds, side: Side::Server, what: "192.0.2.1:443 does not answer".into() }];
    told(ContainmentEvent::Validated { checks, holds })
}

async fn tell(site: &Site, host: &Host, order: OrderId, event: &OrderEvent, expected: OrderState) {
    let answer = host.tell(site, order, event).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{event:?}: {}", answer.text().await.unwrap());
    assert_eq!(site.order(order).await.state, expected, "{event:?}");
}

/// The hint of a conflict.
async fn conflict(answer: Response) -> String {
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    format!("{} {}", body["message"].as_str().unwrap(), body["hint"].as_str().unwrap())
}

#[tokio::test]
async fn what_cannot_be_taken_back_waits_for_two_persons_with_two_keys() {
    let site = Site::start().await;
    let (host, incident) = (Host::enroll(&site, 1).await, site.incident().await);
    let kill = Action::KillProcess { process: ProcessRef { pid: 4711, start_ticks: 99 } };
    let order = contain(&site, &ordered(&incident, &host.agent, apply(kill))).await;
    assert_eq!((order.state, order.approvers), (OrderState::AwaitingApproval, 2));
    assert!(host.orders(&site, 0).await.orders.is_empty());

    let id = order.order;
    assert!(conflict(approve(&site, id, "ada", 10).await).await.contains("under this name"));
    assert!(conflict(approve(&site, id, "eve", 9).await).await.contains("another person"));
    assert_eq!(approve(&site, id, "automation", 11).await.status(), StatusCode::BAD_REQUEST);
    let stranger = SigningKey::from_seed(&[10; 32]).sign(namespace::COLLECT, b"other").unwrap();
    let approval = Approval { principal: "ben".into(), sig_ssh: stranger };
    let path = format!("/api/v1/orders/{id}/approvals");
    assert_eq!(send(&site, &path, &approval).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(site.order(id).await.state, OrderState::AwaitingApproval);

    let approved: OrderView = read(approve(&site, id, "ben", 10).await).await;
    assert_eq!((approved.state, approved.approvals[0].principal.as_str()), (OrderState::Queued, "ben"));
    assert!(conflict(approve(&site, id, "cyd", 12).await).await.contains("waits for no approval"));
    let reply = host.orders(&site, 0).await;
    assert_eq!((reply.orders[0].order, reply.orders[0].approvals.len()), (id, 1));
    assert_eq!(reply.orders[0].approvals[0].principal, "ben");
    let leaves = [site.custody("containment_ordered").await, site.custody("containment_approved").await].concat();
    assert_eq!(leaves.len(), 2);
    assert_eq!(leaves[0]["details"]["because"], json!(["it cannot be taken back"]));
    assert_eq!(leaves[1]["details"]["persons"], 2);
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn containment_is_asked_for_alone_and_taken_back_while_no_agent_has_it() {
    let site = Site::start().await;
    let (host, incident) = (Host::enroll(&site, 1).await, site.incident().await);
    let collection = site.dispatch(&incident, &host.agent).await;
    let order = contain(&site, &ordered(&incident, &host.agent, apply(isolate()))).await;
    assert_eq!((order.state, order.approvers, order.profile.as_str()), (OrderState::Queued, 1, "isolate_network"));
    let release = ordered(&incident, &host.agent, Directive::Release { contains: order.order });
    let answer = send(&site, "/api/v1/orders", &signed("ada", 9, &release)).await;
    assert!(conflict(answer).await.contains("holdfast cancel"));
    let path = format!("/api/v1/orders/{}/cancel", order.order);
    assert_eq!(send(&site, &path, &json!({"reason": ""})).await.status(), StatusCode::BAD_REQUEST);
    let cancelled: OrderView = read(send(&site, &path, &json!({"reason": "a drill"})).await).await;
    assert_eq!(cancelled.state, OrderState::Cancelled);
    assert!(conflict(send(&site, &path, &json!({"reason": "again"})).await).await.contains("it is over"));

    let order = contain(&site, &ordered(&incident, &host.agent, apply(isolate()))).await.order;
    let path = "/agent/v1/orders?wait_secs=0&kind=containment";
    let reply: wire::agent_api::OrdersReply = read(host.request(&site, Method::GET, path).send().await.unwrap()).await;
    assert_eq!(reply.orders.iter().map(|order| order.order).collect::<Vec<_>>(), [order]);
    let both = host.orders(&site, 0).await.orders;
    assert_eq!(both.iter().map(|order| order.order).collect::<Vec<_>>(), [order, collection.order]);
    let path = format!("/api/v1/orders/{order}/cancel");
    let too_late = conflict(send(&site, &path, &json!({"reason": "no"})).await).await;
    assert!(too_late.contains(&format!("holdfast release {order}")), "{too_late}");
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn an_order_holds_is_renewed_and_released_and_each_is_told_once() {
    use OrderState::{Accepted, Completed, Holding, Running};
    let site = Site::start().await;
    let (host, incident) = (Host::enroll(&site, 1).await, site.incident().await);
    let order = contain(&site, &ordered(&incident, &host.agent, apply(isolate()))).await.order;
    let started = OrderEvent::Started { bundle: super::site::new_bundle_id() };
    assert_eq!(host.tell(&site, order, &started).await.status(), StatusCode::CONFLICT, "it is no collection");
    let until = Instant(now().0 + HOUR);
    let planned = ContainmentEvent::Planned { preview: Preview::default(), steps: vec!["cut".into()] };
    for (event, state) in [
        (OrderEvent::Accepted, Accepted),
        (told(planned), Running),
        (told(ContainmentEvent::Applied { fallbacks: Vec::new(), until }), Holding),
        (validated(true), Holding),
        (validated(true), Holding),
        (validated(false), Holding),
        (validated(true), Holding),
        (told(ContainmentEvent::Tampered { message: "gone".into(), restored: true }), Holding),
    ] {
        tell(&site, &host, order, &event, state).await;
    }
    // The server looks as well, and says so in its own name.
    let leaves = site.custody("containment_validated").await;
    let by_agent = leaves.iter().filter(|leaf| leaf["actor"] != "server").count();
    assert_eq!(by_agent, 3, "told twice at once it is told once");
    let view = site.order(order).await;
    let sides = view.events.iter().filter(|event| event.agent_time.is_some()).filter_map(|event| match &event.event {
        OrderEvent::Containment { told: ContainmentEvent::Validated { checks, .. }, .. } => Some(checks[0].side),
        _ => None,
    });
    assert!(sides.into_iter().all(|side| side == Side::Host), "an agent does not speak for the server");

    let renew = Directive::Renew { contains: order, lease_secs: 7200 };
    let renew = contain(&site, &ordered(&incident, &host.agent, renew)).await.order;
    let renewed = told(ContainmentEvent::Renewed { until: Instant(until.0 + HOUR) });
    tell(&site, &host, renew, &OrderEvent::Accepted, Accepted).await;
    tell(&site, &host, order, &renewed, Holding).await;
    tell(&site, &host, renew, &renewed, Completed).await;
    let release = Directive::Release { contains: order };
    let release = contain(&site, &ordered(&incident, &host.agent, release)).await.order;
    let failed = told(ContainmentEvent::Failed { message: "busy".into(), restored: false });
    let released = told(ContainmentEvent::Released { cause: ReleaseCause::Order, left: Vec::new() });
    tell(&site, &host, order, &failed, OrderState::Failed).await;
    tell(&site, &host, order, &released, Completed).await;
    tell(&site, &host, release, &released, Completed).await;
    let new = told(ContainmentEvent::Tampered { message: "again".into(), restored: true });
    assert_eq!(host.tell(&site, order, &new).await.status(), StatusCode::CONFLICT);
    let late = ordered(&incident, &host.agent, Directive::Renew { contains: order, lease_secs: 60 });
    let answer = send(&site, "/api/v1/orders", &signed("ada", 9, &late)).await;
    assert!(conflict(answer).await.contains("nothing of it is in force"));

    let rehearsal = Directive::Rehearse { action: isolate() };
    let rehearsal = contain(&site, &ordered(&incident, &host.agent, rehearsal)).await.order;
    let preview = Preview { protected_roles: vec!["protected".into()], ..Preview::default() };
    let planned = ContainmentEvent::Planned { preview, steps: Vec::new() };
    tell(&site, &host, rehearsal, &OrderEvent::Containment { told: planned, rehearsed: true }, Completed).await;
    let order = contain(&site, &ordered(&incident, &host.agent, apply(isolate()))).await;
    assert_eq!((order.state, order.approvers), (OrderState::AwaitingApproval, 2), "the host says that it is protected");
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn an_order_that_nobody_approved_in_time_expires() {
    let site = Site::start().await;
    let (host, incident) = (Host::enroll(&site, 1).await, site.incident().await);
    let kill = Action::EndSessions { account: "eve".into() };
    let soon = Instant(now().0 + 300_000_000);
    let order = ContainmentOrder { expires: soon, ..ordered(&incident, &host.agent, apply(kill)) };
    let order = contain(&site, &order).await.order;
    while now() < soon {
        tokio::task::yield_now().await;
    }
    assert_eq!(site.order(order).await.state, OrderState::Expired);
    assert!(conflict(approve(&site, order, "ben", 10).await).await.contains("is expired"));
    site.server.app.sweep().await;
    assert_eq!(site.custody("order_expired").await.len(), 1);
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn what_a_console_did_is_kept_and_told_once() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let id = OrderId::new(1, unique());
    let report = |event, time| ConsoleReport { action: isolate(), event, id, rehearsed: false, time: Instant(time) };
    let applied = report(ContainmentEvent::Applied { fallbacks: Vec::new(), until: now() }, 1);
    let released = report(ContainmentEvent::Released { cause: ReleaseCause::Console, left: Vec::new() }, 2);
    let post = async |report: &ConsoleReport| {
        let request = host.request(&site, Method::POST, "/agent/v1/containments");
        let request = request.header("content-type", "application/json").body(serde_json::to_vec(report).unwrap());
        request.send().await.unwrap().status()
    };
    for _ in 0..2 {
        assert_eq!(post(&applied).await, StatusCode::NO_CONTENT);
    }
    let consoles = site.server.app.consoles().await.unwrap();
    assert!(consoles.len() == 1 && consoles[0].is_in_force && consoles[0].events.len() == 1, "{consoles:?}");
    let other = ConsoleReport { action: Action::BlockMetadataService {}, ..released.clone() };
    assert_eq!(post(&other).await, StatusCode::BAD_REQUEST);
    assert_eq!(post(&released).await, StatusCode::NO_CONTENT);
    assert!(!site.server.app.consoles().await.unwrap()[0].is_in_force);
    assert_eq!(site.custody("containment_released").await.len(), 1);
    site.server.stop().await.unwrap();
}
