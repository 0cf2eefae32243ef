//! Orders on their way to agents, and what agents tell of them.

use reqwest::StatusCode;
use wire::api::LiveEvent;
use wire::order::{OrderEvent, OrderState, RefusalReason};
use wire::{Instant, Tier};

use super::site::{Host, PATIENCE, Site, new_bundle_id, now};

#[tokio::test]
async fn a_long_poll_is_answered_when_an_order_comes() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let incident = site.incident().await;
    let waiting = tokio::time::timeout(PATIENCE, host.orders(&site, 55));
    let dispatching = async {
        while !site.server.app.hub.is_connected(&host.agent) {
            tokio::task::yield_now().await;
        }
        site.dispatch(&incident, &host.agent).await
    };
    let (reply, order) = tokio::join!(waiting, dispatching);
    let reply = reply.unwrap();
    assert_eq!(reply.orders.len(), 1);
    assert_eq!(reply.orders[0].envelope.sha256().unwrap(), order.sha256);
    assert_eq!(site.order(order.order).await.state, OrderState::Delivered);
    let again = host.orders(&site, 55).await;
    assert_eq!(again.orders, reply.orders, "until something is told of it");
    assert_eq!(host.tell(&site, order.order, &OrderEvent::Accepted).await.status(), StatusCode::NO_CONTENT);
    assert!(host.orders(&site, 0).await.orders.is_empty());
    assert_eq!(site.custody("order_delivered").await.len(), 1);
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_stopping_server_answers_its_long_polls() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let client = host.client.clone();
    let url = site.url("/agent/v1/orders?wait_secs=55");
    let waiting = tokio::spawn(async move { client.get(url).send().await.unwrap().status() });
    while !site.server.app.hub.is_connected(&host.agent) {
        tokio::task::yield_now().await;
    }
    let started = std::time::Instant::now();
    site.server.stop().await.unwrap();
    assert_eq!(waiting.await.unwrap(), StatusCode::OK);
    assert!(started.elapsed().as_secs() < 15, "{:?}", started.elapsed());
}

#[tokio::test]
async fn what_is_told_is_believed_of_its_own_orders_in_their_order_and_once() {
    let site = Site::start().await;
    let (host, other) = (Host::enroll(&site, 1).await, Host::enroll(&site, 2).await);
    let incident = site.incident().await;
    let order = site.dispatch(&incident, &host.agent).await.order;
    let refused = other.tell(&site, order, &OrderEvent::Accepted).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(other.orders(&site, 0).await.orders.is_empty());
    let bundle = new_bundle_id();
    let progress = |bytes| OrderEvent::Progress { bytes, collector: "x".repeat(5000), items: 1, tier: Tier::Volatile };
    assert_eq!(host.tell(&site, order, &progress(1)).await.status(), StatusCode::CONFLICT);
    let mut live = site.server.app.live.listen().unwrap();
    for event in [OrderEvent::Accepted, OrderEvent::Started { bundle }, progress(1), progress(2)] {
        for _ in 0..2 {
            assert_eq!(host.tell(&site, order, &event).await.status(), StatusCode::NO_CONTENT, "{event:?}");
        }
        let (_, told) = live.receiver.recv().await.unwrap();
        assert!(matches!(told, LiveEvent::Order { order: told, .. } if told == order), "{told:?}");
    }
    let another = OrderEvent::Started { bundle: new_bundle_id() };
    assert_eq!(host.tell(&site, order, &another).await.status(), StatusCode::CONFLICT);
    let view = site.order(order).await;
    assert_eq!((view.state, view.bundle), (OrderState::Running, Some(bundle)));
    assert!(view.events.len() == 3 && view.events.iter().all(|event| format!("{event:?}").len() < 2000));
    let failed = OrderEvent::Failed { message: "no room".into() };
    assert_eq!(host.tell(&site, order, &failed).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(host.tell(&site, order, &progress(3)).await.status(), StatusCode::NO_CONTENT, "late, and of no use");
    assert_eq!(host.tell(&site, order, &OrderEvent::Accepted).await.status(), StatusCode::NO_CONTENT, "told again");
    assert_eq!(site.order(order).await.state, OrderState::Failed);
    let (names, mut counts) = (["order_accepted", "order_started", "order_failed"], Vec::new());
    for name in names {
        counts.push(site.custody(name).await.len());
    }
    assert_eq!(counts, [1, 1, 1]);
    site.server.stop().await.unwrap();
}

#[tokio::test]
async fn an_order_that_nobody_took_in_time_expires() {
    let site = Site::start().await;
    let host = Host::enroll(&site, 1).await;
    let incident = site.incident().await;
    let expires = Instant(now().0 + 300_000_000);
    let order = site.dispatch_until(&incident, &host.agent, expires).await.order;
    tokio::time::timeout(PATIENCE, async {
        while site.order(order).await.state != OrderState::Expired {
            site.server.app.sweep().await;
        }
    })
    .await
    .unwrap();
    assert!(host.orders(&site, 0).await.orders.is_empty());
    // The agent may have had it in time, and knows better.
    let refused = OrderEvent::Refused { message: "late".into(), reason: RefusalReason::Expired };
    assert_eq!(host.tell(&site, order, &refused).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(site.order(order).await.state, OrderState::Refused);
    site.server.stop().await.unwrap();
}
