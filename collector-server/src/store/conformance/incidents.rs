//! Incidents and alerts.

use futures_util::future::join_all;
use wire::assessment::Severity;

use super::fixtures::{alert, assessment, at, incident};
use super::{done, opened, refused};
use crate::store::{AlertRecord, Change, IncidentRecord, Store};

fn add(record: &IncidentRecord) -> Change {
    Change::AddIncident(Box::new(record.clone()))
}

fn put(record: &IncidentRecord) -> Change {
    Change::PutIncident(Box::new(record.clone()))
}

pub async fn records_come_back_as_they_went_in(store: &dyn Store) {
    let there = incident("INC-whole", Severity::Sev1, 5);
    let attached = alert(1, Some(&there.incident));
    let mut alone = alert(2, None);
    alone.correlated = None;
    let changes = vec![add(&there), Change::AddAlert(attached.clone().into()), Change::AddAlert(alone.clone().into())];
    done(store, changes).await;
    assert_eq!(store.incident(&there.incident).await.unwrap(), Some(there.clone()));
    assert_eq!(store.alert(attached.alert).await.unwrap(), Some(attached.clone()));
    assert_eq!(store.alert_by_ref(&attached.source_ref).await.unwrap(), Some(attached.clone()));
    assert_eq!(store.alert(alone.alert).await.unwrap(), Some(alone));
    assert_eq!(store.alerts_of(&there.incident).await.unwrap(), [attached]);
    assert_eq!(store.counts(&there.incident).await.unwrap(), (1, 0));
    assert_eq!(store.counts(&"INC-none".parse().unwrap()).await.unwrap(), (0, 0));
    assert_eq!(store.incident(&"INC-none".parse().unwrap()).await.unwrap(), None);
    assert_eq!(store.alert(alert(3, None).alert).await.unwrap(), None);
    assert_eq!(store.alert_by_ref("").await.unwrap(), None);
    refused(store, add(&there)).await;
}

pub async fn alerts_are_unique_by_id_and_by_source_ref(store: &dyn Store) {
    let first = alert(10, None);
    done(store, vec![Change::AddAlert(first.clone().into())]).await;
    let mut same_ref = alert(11, None);
    same_ref.source_ref.clone_from(&first.source_ref);
    refused(store, Change::AddAlert(same_ref.into())).await;
    let mut same_id = alert(11, None);
    same_id.alert = first.alert;
    refused(store, Change::AddAlert(same_id.into())).await;
    refused(store, Change::AddAlert(alert(11, Some(&"INC-none".parse().unwrap())).into())).await;
    assert_eq!(store.alert(first.alert).await.unwrap(), Some(first));
}

pub async fn a_version_is_written_once(store: &dyn Store) {
    let mut record = incident("INC-version", Severity::Sev3, 0);
    refused(store, put(&record)).await;
    done(store, vec![add(&record)]).await;
    refused(store, put(&record)).await;
    record.version = 3;
    refused(store, put(&record)).await;
    record.version = 2;
    record.assessment = assessment(Severity::Sev1);
    record.title = "another".into();
    record.updated = at(9);
    done(store, vec![put(&record)]).await;
    assert_eq!(store.incident(&record.incident).await.unwrap(), Some(record.clone()));
    record.version = 3;
    let rivals = join_all((0..20).map(|_| store.commit(vec![put(&record)], vec![]))).await;
    assert_eq!(rivals.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    // Within one commit a change sees those before it.
    let (mut fourth, mut fifth) = (record.clone(), record);
    (fourth.version, fifth.version) = (4, 5);
    done(store, vec![put(&fourth), put(&fifth)]).await;
}

pub async fn an_incident_is_touched_and_keeps_its_version(store: &dyn Store) {
    let id = opened(store, "INC-touched").await;
    for (touched, updated) in [(7, 7), (3, 7), (8, 8)] {
        done(store, vec![Change::Touch(id.clone(), at(touched))]).await;
        let wanted = incident("INC-touched", Severity::Sev4, updated);
        assert_eq!(store.incident(&id).await.unwrap(), Some(wanted));
    }
    refused(store, Change::Touch("INC-none".parse().unwrap(), at(9))).await;
}

pub async fn the_worst_come_first_and_pages_are_whole(store: &dyn Store) {
    let wanted = [
        ("INC-page-c", Severity::Sev1, 3000),
        ("INC-page-b", Severity::Sev1, 1000),
        ("INC-page-a", Severity::Sev1, 1000),
        ("INC-page-e", Severity::Sev2, 9000),
        ("INC-page-d", Severity::Sev4, 9000),
    ];
    for at in [2, 4, 0, 3, 1] {
        let (id, severity, updated) = wanted[at];
        done(store, vec![add(&incident(id, severity, updated))]).await;
    }
    let all = store.incidents(None, 1_000).await.unwrap();
    let of_the_case = all.iter().filter(|record| record.incident.as_str().starts_with("INC-page-"));
    assert!(of_the_case.map(|record| record.incident.as_str()).eq(wanted.iter().map(|(id, ..)| *id)));
    for size in [1, 2, 3, 1_000] {
        let mut pages = Vec::new();
        loop {
            let after = pages.last().map(|record: &IncidentRecord| record.incident.clone());
            let page = store.incidents(after.as_ref(), size).await.unwrap();
            if page.is_empty() {
                break;
            }
            pages.extend(page);
        }
        assert_eq!(pages, all, "pages of {size}");
    }
    assert!(store.incidents(Some(&"INC-none".parse().unwrap()), 10).await.unwrap().is_empty());
}

pub async fn alerts_are_listed_in_order(store: &dyn Store) {
    let id = opened(store, "INC-alerts").await;
    for n in [22, 20, 21] {
        done(store, vec![Change::AddAlert(alert(n, Some(&id)).into())]).await;
    }
    done(store, vec![Change::AddAlert(alert(23, None).into())]).await;
    let listed = |n: &[u64]| n.iter().map(|n| alert(*n, Some(&id))).collect::<Vec<_>>();
    assert_eq!(store.alerts_of(&id).await.unwrap(), listed(&[20, 21, 22]));
    // Of all, those without an incident too; other cases' alerts came earlier or later, and stand between them in no order.
    let mut pages = Vec::new();
    loop {
        let after = pages.last().map(|record: &AlertRecord| record.alert);
        let page = store.alerts(after, 2).await.unwrap();
        if page.is_empty() {
            break;
        }
        pages.extend(page);
    }
    assert!(pages.is_sorted_by_key(|record| std::cmp::Reverse((record.received, record.alert))));
    assert_eq!(pages, store.alerts(None, 1_000).await.unwrap());
    assert!([20, 21, 22, 23].iter().all(|n| pages.iter().any(|record| record.alert == alert(*n, None).alert)));
    assert_eq!(store.alerts(Some(alert(99, None).alert), 5).await.unwrap(), []);
}

pub async fn numbers_count_by_year(store: &dyn Store) {
    assert_eq!(store.last_incident_number(2026).await.unwrap(), 0);
    for id in ["INC-2026-0009", "INC-2026-0010", "INC-2025-0099", "INC-2026-x", "X-2026-0011"] {
        opened(store, id).await;
    }
    assert_eq!(store.last_incident_number(2026).await.unwrap(), 10);
    assert_eq!(store.last_incident_number(2025).await.unwrap(), 99);
    assert_eq!(store.last_incident_number(2027).await.unwrap(), 0);
}
