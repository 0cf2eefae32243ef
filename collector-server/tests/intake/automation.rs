//! Automation of SEV1 incidents, with a host that the test plays: two signals isolate it, one asks a person, and a server
//! that is ended at any point goes on where it was.

use bundle::sign::{AllowedSigners, open};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use server::app::{Actor, tokens};
use wire::api::{AlertsReply, AutomationView, IncidentView, OrderView, Role};
use wire::containment::{
    Check, ContainmentEvent, ContainmentOrder, Directive, EvidenceBasis, Preview, ReleaseCause, Side,
};
use wire::order::{OrderEvent, OrderState};
use wire::signed::{Signed, namespace};
use wire::{IncidentId, OrderId};

use super::site::{Host, PATIENCE, Site, agent_upload, new_bundle_id, now, read};

/// A site that has automation switched on.
async fn automated() -> Site {
    Site::start_with_files(&[("automation.yaml", "on: true\nnever_isolate: [keep-1]\n")]).await
}

/// An alert of another product, under a token of its own.
async fn alert(site: &Site, host: &Host, product: &str) -> IncidentId {
    let store = &*site.server.app.store;
    let token = tokens::add(store, now(), &Actor::Server, product, Role::Source, None).await.unwrap().text;
    let alert = json!({
        "event_type": "ransomware", "source": product, "agent_id": host.agent, "host": "web-1", "id": product,
        "details": {"note": "README_DECRYPT.txt"},
    });
    let request = site.people.request(Method::POST, site.url("/api/v1/alerts")).bearer_auth(token);
    let request = request.header("content-type", "application/json").body(alert.to_string());
    let reply: AlertsReply = read(request.send().await.unwrap()).await;
    reply.alerts[0].incident.clone().unwrap()
}

/// What automation does about the one host, once it is there.
async fn until(site: &Site, incident: &IncidentId, stage: &str) -> AutomationView {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let view: IncidentView = site.get(&format!("/api/v1/incidents/{incident}")).await;
        if let Some(one) = view.automation.iter().find(|one| one.stage == stage) {
            return one.clone();
        }
        let (automation, orders) = (&view.automation, &view.orders);
        assert!(std::time::Instant::now() < deadline, "automation is not {stage}: {automation:#?} {orders:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn tell(site: &Site, host: &Host, order: OrderId, event: &OrderEvent) {
    let answer = host.tell(site, order, event).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{event:?}: {}", answer.text().await.unwrap());
}

fn contained(told: ContainmentEvent) -> OrderEvent {
    OrderEvent::Containment { told, rehearsed: false }
}

/// The agent runs the capture up to the end of the volatile tier.
async fn capture(site: &Site, host: &Host, capture: OrderId) {
    let order: OrderView = site.order(capture).await;
    let bundle = new_bundle_id();
    for event in [OrderEvent::Accepted, OrderEvent::Started { bundle }] {
        tell(site, host, capture, &event).await;
    }
    let made = host.collect(&order, bundle);
    agent_upload(site, host, &order, bundle).await.unwrap().bring(&made, 0, 0..2).await;
}

/// The isolation as an agent is handed it, held against the key that the server shows.
async fn isolation(site: &Site, host: &Host) -> (OrderId, ContainmentOrder, usize) {
    let path = "/agent/v1/orders?wait_secs=0&kind=containment";
    let reply: wire::agent_api::OrdersReply = read(host.request(site, Method::GET, path).send().await.unwrap()).await;
    assert_eq!(reply.orders.len(), 1, "{reply:?}");
    let delivery = &reply.orders[0];
    let key = site.server.app.automation.as_ref().unwrap().public_line();
    let line = format!("automation namespaces=\"holdfast-collect,holdfast-contain\" {key}\n");
    let signers = AllowedSigners::parse(&line).unwrap();
    let message = open(&delivery.envelope, &signers, namespace::CONTAIN, now()).unwrap();
    (delivery.order, serde_json::from_slice(&message).unwrap(), delivery.approvals.len())
}

#[tokio::test]
async fn two_signals_isolate_a_host_and_a_server_that_ends_goes_on() {
    let mut site = automated().await;
    let mut host = Host::enroll(&site, 1).await;
    let incident = alert(&site, &host, "falco").await;
    let ordered = until(&site, &incident, "capturing").await.capture.unwrap();
    (site, host) = again(site, host).await;
    capture(&site, &host, ordered).await;
    let waiting = until(&site, &incident, "waiting").await;
    assert!(waiting.why.iter().any(|why| why.contains("one signal")), "{waiting:?}");
    assert_eq!(site.order(waiting.order.unwrap()).await.state, OrderState::AwaitingApproval);
    (site, host) = again(site, host).await;
    assert_eq!(alert(&site, &host, "guardduty").await, incident);
    let ordered = until(&site, &incident, "ordered").await;
    assert_eq!(site.order(waiting.order.unwrap()).await.state, OrderState::Cancelled);
    (site, host) = again(site, host).await;
    let (id, order, approvals) = isolation(&site, &host).await;
    assert_eq!((Some(id), approvals), (ordered.order, 0));
    assert!(matches!(order.directive, Directive::Apply { lease_secs: 14_400, .. }), "{order:?}");
    assert!(matches!(order.evidence, Some(EvidenceBasis::Receipted { .. })), "{order:?}");
    tell(&site, &host, id, &OrderEvent::Accepted).await;
    tell(&site, &host, id, &contained(ContainmentEvent::Planned { preview: Preview::default(), steps: vec![] })).await;
    tell(&site, &host, id, &contained(ContainmentEvent::Applied { fallbacks: vec![], until: now() })).await;
    until(&site, &incident, "applied").await;
    (site, host) = again(site, host).await;
    let checks = vec![Check { holds: true, side: Side::Host, what: "192.0.2.1:443 does not answer".into() }];
    tell(&site, &host, id, &contained(ContainmentEvent::Validated { checks, holds: true })).await;
    until(&site, &incident, "holding").await;
    (site, host) = again(site, host).await;
    tell(&site, &host, id, &contained(ContainmentEvent::Released { cause: ReleaseCause::Order, left: vec![] })).await;
    let ended = until(&site, &incident, "ended").await;
    assert!(ended.why[0].contains("an order said so"), "{ended:?}");
    let steps = ["triaged", "capturing", "waiting", "ordered", "applied", "holding", "ended"];
    for step in steps {
        assert_eq!(site.custody(&format!("automation_{step}")).await.len(), 1, "{step}");
    }
    let orders = [site.custody("order_issued").await, site.custody("containment_ordered").await];
    assert_eq!(orders.map(|leaves| leaves.len()), [1, 2], "nothing was ordered twice");
    site.server.stop().await.unwrap();
}

async fn again(site: Site, host: Host) -> (Site, Host) {
    let site = site.restarted().await;
    let host = host.again(&site);
    (site, host)
}

#[tokio::test]
async fn one_signal_takes_evidence_and_asks_a_person() {
    let site = automated().await;
    let host = Host::enroll(&site, 1).await;
    let incident = alert(&site, &host, "falco").await;
    // The agent takes the order, and nothing comes: the time is spent, and the loss is named.
    let capture = until(&site, &incident, "capturing").await.capture.unwrap();
    tell(&site, &host, capture, &OrderEvent::Accepted).await;
    let waiting = until(&site, &incident, "waiting").await;
    assert!(waiting.why.iter().any(|why| why.contains("lost")) && waiting.deadline.is_some(), "{waiting:?}");
    let order = waiting.order.unwrap();
    let path = "/agent/v1/orders?wait_secs=0&kind=containment";
    let reply: wire::agent_api::OrdersReply = read(host.request(&site, Method::GET, path).send().await.unwrap()).await;
    assert!(reply.orders.is_empty(), "nothing is isolated");
    let envelope: Signed = site.get(&format!("/api/v1/orders/{order}/signed")).await;
    let key = bundle::sign::SigningKey::from_seed(&[10; 32]);
    let sig_ssh = key.sign(namespace::CONTAIN, &envelope.message().unwrap()).unwrap();
    let approval = json!({"principal": "ben", "sig_ssh": sig_ssh});
    let approved: OrderView = site.post(&format!("/api/v1/orders/{order}/approvals"), &approval).await;
    assert_eq!(approved.state, OrderState::Queued);
    until(&site, &incident, "ordered").await;
    let (id, order, approvals) = isolation(&site, &host).await;
    assert_eq!((id, approvals), (approved.order, 1));
    assert!(matches!(order.evidence, Some(EvidenceBasis::BudgetSpent { .. })), "{order:?}");
    let refused = OrderEvent::Refused { message: "no".into(), reason: wire::order::RefusalReason::Policy };
    tell(&site, &host, id, &refused).await;
    let ended = until(&site, &incident, "ended").await;
    assert!(ended.why[0].contains("people must act"), "{ended:?}");
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn without_the_sites_word_nothing_is_done_by_itself() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let incident = alert(&site, &host, "falco").await;
    assert_eq!(alert(&site, &host, "guardduty").await, incident);
    let view: IncidentView = site.get(&format!("/api/v1/incidents/{incident}")).await;
    assert!(!view.automation_is_on && view.automation.is_empty());
    // It is looked at once a second: by the time that a sweep has gone through, nothing was begun.
    site.server.app.sweep().await;
    let leaves: Vec<Value> = site.custody("automation_triaged").await;
    assert!(leaves.is_empty() && host.orders(&site, 0).await.orders.is_empty());
    site.server.stop().await.unwrap();
}
