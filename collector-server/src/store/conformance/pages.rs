//! Pages, and which incidents are to be looked at.

use wire::api::PageState;
use wire::assessment::Severity;
use wire::{IncidentId, Instant, PageId};

use super::fixtures::{at, incident, page, random};
use super::{done, opened, refused};
use crate::store::{Change, PageRecord, Store, Watch};

fn ids(pages: &[PageRecord]) -> Vec<PageId> {
    pages.iter().map(|page| page.view.page).collect()
}

pub async fn a_page_is_changed_by_who_saw_it_last(store: &dyn Store) {
    let id = opened(store, "INC-page").await;
    let mut record = page(1, Some(&id));
    refused(store, Change::PutPage(record.clone().into())).await;
    refused(store, Change::AddPage(page(1, Some(&"INC-none".parse().unwrap())).into())).await;
    done(store, vec![Change::AddPage(record.clone().into())]).await;
    refused(store, Change::AddPage(record.clone().into())).await;
    assert_eq!(store.page(record.view.page).await.unwrap(), Some(record.clone()));
    refused(store, Change::PutPage(record.clone().into())).await;
    record.version = 2;
    record.is_held = false;
    record.view.state = PageState::Sent;
    record.view.sent = Some(at(9));
    done(store, vec![Change::PutPage(record.clone().into())]).await;
    refused(store, Change::PutPage(record.clone().into())).await;
    assert_eq!(store.page(record.view.page).await.unwrap(), Some(record));
    assert_eq!(store.page(PageId::new(1, random(1))).await.unwrap(), None);
}

pub async fn pages_are_listed_in_order(store: &dyn Store) {
    let id = opened(store, "INC-pages").await;
    let (of_incident, test) = ([12, 10, 11].map(|n| page(n, Some(&id))), page(13, None));
    let mut sent = page(14, Some(&id));
    sent.view.state = PageState::Sent;
    let all = of_incident.iter().chain([&test, &sent]);
    done(store, all.map(|page| Change::AddPage(page.clone().into())).collect()).await;
    let [third, first, second] = of_incident.map(|page| page.view.page);
    assert_eq!(ids(&store.pages_of(&id).await.unwrap()), [sent.view.page, third, second, first]);
    assert_eq!(ids(&store.pages_due(at(12), 10).await.unwrap()), [first, second, third]);
    assert_eq!(ids(&store.pages_due(at(12), 1).await.unwrap()), [first]);
    assert_eq!(ids(&store.pages_due(at(99), 10).await.unwrap()), [first, second, third, test.view.page]);
    assert_eq!(store.pages_due(at(9), 10).await.unwrap(), []);
    assert_eq!(ids(&store.pages_since(at(13), 10).await.unwrap()), [sent.view.page, test.view.page]);
    assert_eq!(ids(&store.pages_since(at(10), 1).await.unwrap()), [sent.view.page]);
}

/// Of these incidents, those that are to be looked at then.
async fn to_look_at(store: &dyn Store, now: Instant, among: &IncidentId) -> Option<Watch> {
    let due = store.incidents_to_look_at(now, 1_000).await.unwrap();
    due.into_iter().find(|(record, _)| record.incident == *among).map(|(_, watch)| watch)
}

pub async fn an_incident_that_changed_is_looked_at(store: &dyn Store) {
    let mut record = incident("INC-watch", Severity::Sev2, 0);
    let id = record.incident.clone();
    let watch = Watch {
        severity: Some(Severity::Sev2),
        since: Some(at(1)),
        answers: vec![at(0)],
        told: [("vacant CISO".to_owned(), at(2))].into(),
    };
    let put = |version, due| Change::PutWatch { incident: id.clone(), version, watch: watch.clone(), due };
    refused(store, put(1, None)).await;
    refused(store, Change::LookNow(id.clone())).await;
    done(store, vec![Change::AddIncident(record.clone().into())]).await;
    assert_eq!(to_look_at(store, at(0), &id).await, Some(Watch::default()));
    refused(store, put(2, None)).await;
    done(store, vec![put(1, Some(at(7)))]).await;
    assert_eq!(store.watch(&id).await.unwrap(), watch);
    assert_eq!(store.watch(&"INC-none".parse().unwrap()).await.unwrap(), Watch::default());
    assert_eq!(to_look_at(store, at(6), &id).await, None);
    assert_eq!(to_look_at(store, at(7), &id).await, Some(watch.clone()));
    done(store, vec![put(1, None)]).await;
    assert_eq!(to_look_at(store, at(9_999), &id).await, None);
    record.version = 2;
    done(store, vec![Change::PutIncident(record.into())]).await;
    assert_eq!(to_look_at(store, at(0), &id).await, Some(watch.clone()));
    done(store, vec![put(2, None)]).await;
    done(store, vec![Change::LookNow(id.clone())]).await;
    assert_eq!(to_look_at(store, at(0), &id).await, Some(watch.clone()));
    // It is out of the way of the cases that come after.
    done(store, vec![put(2, None)]).await;
}
