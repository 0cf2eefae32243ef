//! Hosts and orders.

use wire::api::TimedEvent;
use wire::host::{Beat, HostMarks};
use wire::hunt::HuntState;
use wire::order::{OrderEvent, OrderState};
use wire::{AgentId, BundleId, OrderId, Tier};

use super::fixtures::{HOSTILE, at, host, hunt, order, random};
use super::{done, opened, refused};
use crate::store::{Change, HostRecord, ORDER_EVENTS_MAX, Store};

pub async fn hosts_are_added_changed_and_seen(store: &dyn Store) {
    let mut record = host("host-b");
    refused(store, Change::PutHost(record.clone().into())).await;
    refused(store, seen(&record.agent, 1, None)).await;
    done(store, vec![Change::AddHost(record.clone().into())]).await;
    refused(store, Change::AddHost(record.clone().into())).await;
    assert_eq!(store.host(&record.agent).await.unwrap(), Some(record.clone()));
    record.certificate_serials.push("0c".into());
    record.revoked = Some(at(3));
    record.facts.kernel = "6.8.0".into();
    record.version = 2;
    done(store, vec![Change::PutHost(record.clone().into())]).await;
    done(store, vec![seen(&record.agent, 4, None)]).await;
    record.last_seen = Some(at(4));
    assert_eq!(store.host(&record.agent).await.unwrap(), Some(record.clone()));

    let (first, last) = (host("host-a"), host("host-c"));
    done(store, vec![Change::AddHost(last.clone().into()), Change::AddHost(first.clone().into())]).await;
    let all = store.hosts(None, 10).await.unwrap();
    assert_eq!(all, [first.clone(), record.clone(), last.clone()]);
    assert_eq!(store.hosts(None, 2).await.unwrap(), all[..2]);
    assert_eq!(store.hosts(Some(&record.agent), 2).await.unwrap(), all[2..]);
    assert_eq!(store.hosts(Some(&last.agent), 2).await.unwrap(), []);
    assert_eq!(store.host(&"none".parse().unwrap()).await.unwrap(), None);
}

fn seen(agent: &AgentId, seconds: i128, count: Option<u64>) -> Change {
    let beat = count.map(|count| Beat { boot_id: None, count });
    Change::HostSeen { agent: agent.clone(), at: at(seconds), beat }
}

/// Two servers read one record, and both write it: a revocation, say, is not lost to a renewal.
pub async fn a_host_is_written_by_who_saw_it_last(store: &dyn Store) {
    let first = host("host-v");
    done(store, vec![Change::AddHost(first.clone().into())]).await;
    let revoked = HostRecord { revoked: Some(at(3)), version: 2, ..first.clone() };
    let mut renewed = HostRecord { version: 2, ..first.clone() };
    renewed.certificate_serials.push("0c".into());
    done(store, vec![Change::PutHost(revoked.clone().into())]).await;
    refused(store, Change::PutHost(renewed.clone().into())).await;
    refused(store, Change::PutHost(HostRecord { version: 1, ..renewed.clone() }.into())).await;
    refused(store, Change::PutHost(HostRecord { version: 4, ..renewed }.into())).await;
    assert_eq!(store.host(&first.agent).await.unwrap(), Some(revoked));
}

pub async fn how_a_host_is_heard_is_written_beside_its_record(store: &dyn Store) {
    let mut record = host("host-w");
    let agent = record.agent.clone();
    done(store, vec![Change::AddHost(record.clone().into())]).await;
    done(store, vec![seen(&agent, 5, Some(9)), seen(&agent, 4, None)]).await;
    // Whoever writes the record has not seen that.
    record.marks.labels.insert("env".into(), HOSTILE.into());
    record.version = 2;
    done(store, vec![Change::PutHost(record.clone().into())]).await;
    (record.last_seen, record.beat) = (Some(at(5)), Some(Beat { boot_id: None, count: 9 }));
    assert_eq!(store.host(&agent).await.unwrap(), Some(record.clone()));

    let is_among = |hosts: Vec<HostRecord>| hosts.iter().any(|host| host.agent == agent);
    assert!(!is_among(store.hosts_unheard(at(5), 100).await.unwrap()));
    assert!(is_among(store.hosts_unheard(at(6), 100).await.unwrap()));
    let silent = |last_seen: i128| Change::HostSilent { agent: agent.clone(), at: at(9), last_seen: at(last_seen) };
    // It was heard since.
    refused(store, silent(4)).await;
    done(store, vec![silent(5)]).await;
    refused(store, silent(5)).await;
    assert!(!is_among(store.hosts_unheard(at(6), 100).await.unwrap()));
    record.silent = Some(at(9));
    assert!(is_among(store.hosts_troubled(at(9), 100).await.unwrap()));
    assert_eq!(store.host(&agent).await.unwrap(), Some(record.clone()));
    let back = |silent: i128| Change::HostBack { agent: agent.clone(), silent: at(silent) };
    refused(store, back(8)).await;
    done(store, vec![back(9)]).await;
    refused(store, back(9)).await;
    let went_back = |now: i128, before: Option<i128>| Change::HostWentBack {
        agent: agent.clone(),
        at: at(now),
        before: before.map(at),
    };
    refused(store, went_back(10, Some(9))).await;
    done(store, vec![went_back(10, None)]).await;
    refused(store, went_back(11, None)).await;
    done(store, vec![went_back(11, Some(10))]).await;
    (record.silent, record.went_back) = (None, Some(at(11)));
    assert!(is_among(store.hosts_troubled(at(11), 100).await.unwrap()));
    assert!(!is_among(store.hosts_troubled(at(12), 100).await.unwrap()));
    assert_eq!(store.host(&agent).await.unwrap(), Some(record.clone()));

    assert!(is_among(store.hosts_marked(None, 100).await.unwrap()));
    assert!(!is_among(store.hosts_marked(Some(&agent), 100).await.unwrap()));
    let gone = HostRecord { gone: Some(at(12)), marks: HostMarks::default(), version: 3, ..record };
    done(store, vec![Change::PutHost(gone.clone().into())]).await;
    assert_eq!(store.host(&agent).await.unwrap(), Some(gone));
    assert!(!is_among(store.hosts_marked(None, 100).await.unwrap()));
    assert!(!is_among(store.hosts_unheard(at(100), 100).await.unwrap()));
    assert!(is_among(store.hosts_troubled(at(12), 100).await.unwrap()));
    refused(store, silent(5)).await;
}

fn happens(order: OrderId, from: &[OrderState], event: Option<OrderEvent>, to: OrderState) -> Change {
    let event = event.map(|event| TimedEvent { agent_time: Some(at(4)), event, time: at(5) });
    Change::OrderEvent { from: from.to_vec(), order, event, to }
}

fn progress(bytes: u64) -> OrderEvent {
    OrderEvent::Progress { bytes, collector: HOSTILE.into(), items: 1, tier: Tier::Files }
}

pub async fn an_order_goes_from_state_to_state(store: &dyn Store) {
    use OrderState::{Accepted, Completed, Delivered, Queued, Running};
    let id = opened(store, "INC-order").await;
    let mut record = order(1, "host-a", &id);
    let (order, bundle) = (record.order, BundleId::new(1, random(1)));
    refused(store, happens(order, &[Queued], None, Delivered)).await;
    done(store, vec![Change::AddOrder(record.clone().into())]).await;
    assert_eq!(store.order(order).await.unwrap(), Some(record.clone()));
    refused(store, happens(order, &[], None, Delivered)).await;
    refused(store, happens(order, &[Delivered, Accepted], None, Running)).await;

    let started = OrderEvent::Started { bundle };
    let steps = [
        (Queued, None, Delivered),
        (Delivered, Some(OrderEvent::Accepted), Accepted),
        (Accepted, Some(started.clone()), Running),
        (Running, Some(progress(1)), Running),
        (Running, Some(progress(2)), Running),
    ];
    for (from, event, to) in steps {
        done(store, vec![happens(order, &[from, Completed], event, to)]).await;
        refused(store, happens(order, &[Queued], None, Completed)).await;
    }
    record.state = Running;
    record.bundle = Some(bundle);
    let told = [OrderEvent::Accepted, started, progress(2)];
    record.events = told.into_iter().map(|event| TimedEvent { agent_time: Some(at(4)), event, time: at(5) }).collect();
    assert_eq!(store.order(order).await.unwrap(), Some(record));

    let flood = (3..ORDER_EVENTS_MAX).map(|_| happens(order, &[Running], Some(OrderEvent::Accepted), Running));
    done(store, flood.collect()).await;
    refused(store, happens(order, &[Running], Some(OrderEvent::Accepted), Running)).await;
    done(store, vec![happens(order, &[Running], Some(progress(3)), Running)]).await;
}

pub async fn an_order_is_unique_by_id_and_by_nonce(store: &dyn Store) {
    let id = opened(store, "INC-nonce").await;
    let first = order(10, "host-a", &id);
    done(store, vec![Change::AddOrder(first.clone().into())]).await;
    let (mut same_nonce, mut same_id) = (order(11, "host-a", &id), order(11, "host-a", &id));
    same_nonce.nonce.clone_from(&first.nonce);
    same_id.order = first.order;
    refused(store, Change::AddOrder(same_nonce.clone().into())).await;
    refused(store, Change::AddOrder(same_id.into())).await;
    refused(store, Change::AddOrder(order(11, "host-a", &"INC-none".parse().unwrap()).into())).await;
    refused(store, Change::AddOrder(order(11, "no-host", &id).into())).await;
    // A nonce is for one agent.
    same_nonce.agent = "host-b".parse().unwrap();
    done(store, vec![Change::AddOrder(same_nonce.into())]).await;
}

pub async fn orders_are_listed_in_order(store: &dyn Store) {
    let id = opened(store, "INC-orders").await;
    let agent: AgentId = "host-c".parse().unwrap();
    let added = [22, 20, 21, 23].map(|n| order(n, "host-c", &id));
    done(store, added.iter().map(|order| Change::AddOrder(order.clone().into())).collect()).await;
    let [third, first, second, last] = added;
    let newest_first = [last.clone(), third.clone(), second.clone(), first.clone()];
    assert_eq!(store.orders_of(&id).await.unwrap(), newest_first);
    let delivered = happens(first.order, &[OrderState::Queued], None, OrderState::Delivered);
    let accepted = happens(second.order, &[OrderState::Queued], Some(OrderEvent::Accepted), OrderState::Accepted);
    let expired = happens(third.order, &[OrderState::Queued], None, OrderState::Expired);
    done(store, vec![delivered, accepted, expired]).await;
    let waiting = store.orders_waiting(&agent).await.unwrap();
    assert_eq!(waiting.iter().map(|order| order.order).collect::<Vec<_>>(), [first.order, last.order]);
    assert_eq!(store.orders_waiting(&"no-host".parse().unwrap()).await.unwrap(), []);
}

pub async fn an_order_of_a_hunt_waits_for_its_turn(store: &dyn Store) {
    let id = opened(store, "INC-hunt").await;
    let agent: AgentId = "host-h".parse().unwrap();
    done(store, vec![Change::AddHost(host("host-h").into())]).await;
    let mut hunt = hunt(7, &id);
    let of_hunt = |order: OrderId, wave| Change::HoldOrder { hunt: hunt.hunt, order, wave };
    let (first, second) = (order(70, "host-h", &id), order(71, "host-h", &id));
    done(store, vec![Change::AddOrder(first.clone().into()), Change::AddOrder(second.clone().into())]).await;
    refused(store, of_hunt(first.order, 1)).await;
    done(store, vec![Change::AddHunt(hunt.clone().into())]).await;
    refused(store, Change::AddHunt(hunt.clone().into())).await;
    done(store, vec![of_hunt(first.order, 2), of_hunt(second.order, 1)]).await;
    refused(store, of_hunt(first.order, 1)).await;
    refused(store, of_hunt(OrderId::new(9, random(99)), 1)).await;
    assert_eq!(store.orders_waiting(&agent).await.unwrap(), []);
    done(store, vec![Change::ReleaseOrder(second.order, at(6))]).await;
    refused(store, Change::ReleaseOrder(second.order, at(7))).await;
    assert_eq!(store.orders_waiting(&agent).await.unwrap(), std::slice::from_ref(&second));
    let places = store.hunt_orders(hunt.hunt).await.unwrap();
    let seen = places.iter().map(|place| (place.order, place.wave, place.released)).collect::<Vec<_>>();
    assert_eq!(seen, [(second.order, 1, Some(at(6))), (first.order, 2, None)]);
    assert!(places[1].is_held() && places[1].agent == agent);
    assert_eq!(store.hunts_open(10).await.unwrap(), std::slice::from_ref(&hunt));
    refused(store, Change::PutHunt(hunt.clone().into())).await;
    (hunt.version, hunt.state) = (2, HuntState::Done);
    done(store, vec![Change::PutHunt(hunt.clone().into())]).await;
    refused(store, Change::PutHunt(hunt.clone().into())).await;
    assert_eq!(store.hunt(hunt.hunt).await.unwrap(), Some(hunt.clone()));
    assert_eq!((store.hunts_open(10).await.unwrap(), store.hunts(10).await.unwrap()), (vec![], vec![hunt]));
}
