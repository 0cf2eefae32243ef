//! Containment orders and their approvals, what automation does, and what consoles told.

use wire::OrderId;
use wire::api::TimedEvent;
use wire::containment::{ContainmentEvent, Preview, ReleaseCause};
use wire::order::{OrderEvent, OrderState};

use super::fixtures::{approval, at, automation, console, containment, order, random};
use super::{done, opened, refused};
use crate::store::{Change, ORDER_EVENTS_MAX, Store};

fn approve(order: OrderId, n: u64, before: usize, to: OrderState) -> Change {
    Change::AddApproval { approval: approval(n).into(), before, order, to }
}

fn told(order: OrderId, from: OrderState, told: ContainmentEvent, to: OrderState) -> Change {
    let event = OrderEvent::Containment { told, rehearsed: false };
    let event = Some(TimedEvent { agent_time: Some(at(4)), event, time: at(5) });
    Change::OrderEvent { event, from: vec![from], order, to }
}

pub async fn an_order_is_approved_by_who_saw_the_last_approval(store: &dyn Store) {
    use OrderState::{AwaitingApproval, Delivered, Queued};
    let id = opened(store, "INC-approve").await;
    let mut record = containment(30, "host-a", &id);
    let order = record.order;
    refused(store, approve(order, 1, 0, AwaitingApproval)).await;
    done(store, vec![Change::AddOrder(record.clone().into())]).await;
    refused(store, approve(order, 1, 1, AwaitingApproval)).await;
    done(store, vec![approve(order, 1, 0, AwaitingApproval)]).await;
    refused(store, approve(order, 2, 0, Queued)).await;
    done(store, vec![approve(order, 2, 1, Queued)]).await;
    refused(store, approve(order, 3, 2, Queued)).await;
    record.approvals = vec![approval(1), approval(2)];
    record.state = Queued;
    assert_eq!(store.order(order).await.unwrap(), Some(record));
    let handed = Change::OrderEvent { event: None, from: vec![Queued], order, to: Delivered };
    done(store, vec![handed]).await;
}

pub async fn containment_goes_before_collections_and_ends_like_them(store: &dyn Store) {
    use OrderState::{Completed, Delivered, Holding, Queued};
    let id = opened(store, "INC-first").await;
    let agent = "host-b".parse().unwrap();
    let (mut first, mut waits) = (containment(41, "host-b", &id), containment(42, "host-b", &id));
    first.state = Queued;
    waits.expires = at(100);
    let collection = order(40, "host-b", &id);
    let all = [&collection, &first, &waits].map(|order| Change::AddOrder(order.clone().into()));
    done(store, all.into()).await;
    let waiting = store.orders_waiting(&agent).await.unwrap();
    let ids: Vec<OrderId> = waiting.iter().map(|order| order.order).collect();
    assert!(ids.starts_with(&[first.order]) && ids.contains(&collection.order) && !ids.contains(&waits.order));
    let overdue = store.orders_overdue(at(100), 1).await.unwrap();
    assert_eq!(overdue, [waits.clone()]);
    assert_eq!(store.orders_overdue(at(99), 9).await.unwrap(), []);
    let mine = |orders: Vec<crate::store::OrderRecord>| -> Vec<OrderId> {
        orders.into_iter().filter(|order| order.incident == id).map(|order| order.order).collect()
    };
    assert_eq!(mine(store.containment_orders(1_000).await.unwrap()), [first.order, waits.order]);

    // What is told again and again makes room for itself, and what was planned anew replaces the plan.
    let planned = |more| ContainmentEvent::Planned { preview: Preview { more, ..Preview::default() }, steps: vec![] };
    let tampered = |n| ContainmentEvent::Tampered { message: format!("{n}"), restored: true };
    done(store, vec![told(first.order, Queued, planned(1), Delivered)]).await;
    done(store, vec![told(first.order, Delivered, planned(2), Holding)]).await;
    let flood = (0..2 * ORDER_EVENTS_MAX).map(|n| told(first.order, Holding, tampered(n), Holding));
    done(store, flood.collect()).await;
    let released = ContainmentEvent::Released { cause: ReleaseCause::Order, left: vec![] };
    done(store, vec![told(first.order, Holding, released, Completed)]).await;
    let record = store.order(first.order).await.unwrap().unwrap();
    assert_eq!((record.events.len(), record.state), (ORDER_EVENTS_MAX, Completed));
    assert_eq!(record.preview().map(|preview| preview.more), Some(2));
    let expired =
        Change::OrderEvent { event: None, from: vec![waits.state], order: waits.order, to: OrderState::Expired };
    done(store, vec![expired]).await;
    assert_eq!(mine(store.containment_orders(1_000).await.unwrap()), []);
}

pub async fn automation_is_written_by_who_saw_it_last(store: &dyn Store) {
    let id = opened(store, "INC-automation").await;
    let (mut one, other) = (automation("host-b", &id, Some(7)), automation("host-a", &id, Some(3)));
    refused(store, Change::PutAutomation(one.clone().into())).await;
    refused(store, Change::AddAutomation(automation("no-host", &id, None).into())).await;
    done(store, vec![Change::AddAutomation(one.clone().into()), Change::AddAutomation(other.clone().into())]).await;
    refused(store, Change::AddAutomation(one.clone().into())).await;
    assert_eq!(store.automations_of(&id).await.unwrap(), [other.clone(), one.clone()]);
    assert_eq!(store.automations(9).await.unwrap(), [other.clone(), one.clone()]);
    assert_eq!(store.automations(1).await.unwrap().first(), Some(&other));
    refused(store, Change::PutAutomation(one.clone().into())).await;
    (one.version, one.due) = (2, None);
    one.stands = serde_json::json!({"stage": "ended"});
    done(store, vec![Change::PutAutomation(one.clone().into())]).await;
    refused(store, Change::PutAutomation(one.clone().into())).await;
    assert_eq!(store.automations(9).await.unwrap(), std::slice::from_ref(&other));
    assert_eq!(store.automations_of(&id).await.unwrap(), [other, one]);
}

pub async fn what_a_console_told_is_kept(store: &dyn Store) {
    let (mut one, other) = (console(51, "host-a"), console(50, "host-b"));
    assert_eq!(store.console(&one.agent, one.id).await.unwrap(), None);
    done(store, vec![Change::PutConsole(one.clone().into()), Change::PutConsole(other.clone().into())]).await;
    refused(store, Change::PutConsole(one.clone().into())).await;
    refused(store, Change::PutConsole(console(52, "no-host").into())).await;
    assert_eq!(store.consoles(9).await.unwrap(), [one.clone(), other.clone()]);
    (one.version, one.is_in_force, one.view.is_in_force) = (2, false, false);
    done(store, vec![Change::PutConsole(one.clone().into())]).await;
    refused(store, Change::PutConsole(one.clone().into())).await;
    assert_eq!(store.consoles(1).await.unwrap(), std::slice::from_ref(&other));
    assert_eq!(store.console(&one.agent, one.id).await.unwrap(), Some(one.clone()));
    assert_eq!(store.console(&one.agent, OrderId::new(1, random(1))).await.unwrap(), None);
    assert_eq!(store.consoles(9).await.unwrap(), [other, one]);
}
