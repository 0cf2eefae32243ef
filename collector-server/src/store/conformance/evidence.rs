//! Bundles on their way in, and after.

use futures_util::future::join_all;
use wire::api::{EvidenceState, EvidenceView};
use wire::{BundleId, Sha256};

use super::fixtures::{at, checkpoint, evidence, findings, random};
use super::{done, opened, refused};
use crate::objects::Segment;
use crate::store::{Change, EvidenceRecord, FindingsRecord, Store};

fn add(record: &EvidenceRecord) -> Change {
    Change::AddEvidence(Box::new(record.clone()))
}

fn advance(bundle: BundleId, offset: u64, bytes: u64) -> Change {
    Change::Advance { bundle, segment: segment(offset, bytes), at: at(60) }
}

/// Every second one is as older versions wrote them.
fn segment(offset: u64, bytes: u64) -> Segment {
    let sha256 = offset.is_multiple_of(2).then(|| Sha256::of(&offset.to_be_bytes()));
    Segment { bytes, offset, sha256 }
}

pub async fn an_upload_advances_without_gaps(store: &dyn Store) {
    let id = opened(store, "INC-upload").await;
    let mut record = evidence(1, &id);
    let bundle = record.view.bundle;
    refused(store, advance(bundle, 0, 8)).await;
    refused(store, Change::Length(bundle, 20)).await;
    done(store, vec![add(&record)]).await;
    assert_eq!(store.evidence(bundle).await.unwrap(), Some(record.clone()));
    assert_eq!(store.evidence_by_upload(record.upload).await.unwrap(), Some(record.clone()));
    assert_eq!(store.segments(bundle).await.unwrap(), []);
    refused(store, advance(bundle, 1, 8)).await;
    refused(store, advance(bundle, 0, 0)).await;
    done(store, vec![advance(bundle, 0, 8)]).await;
    refused(store, advance(bundle, 0, 8)).await;
    refused(store, Change::Length(bundle, 7)).await;
    done(store, vec![Change::Length(bundle, 20)]).await;
    refused(store, Change::Length(bundle, 20)).await;
    refused(store, advance(bundle, 8, 13)).await;
    let rivals = join_all((0..20).map(|_| store.commit(vec![advance(bundle, 8, 2)], vec![]))).await;
    assert_eq!(rivals.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    done(store, vec![advance(bundle, 10, 9), advance(bundle, 19, 1)]).await;
    refused(store, advance(bundle, 20, 1)).await;
    (record.offset, record.length, record.last_seen) = (20, Some(20), at(60));
    assert_eq!(store.evidence(bundle).await.unwrap(), Some(record));
    assert_eq!(
        store.segments(bundle).await.unwrap(),
        [(0, 8), (8, 2), (10, 9), (19, 1)].map(|(offset, bytes)| segment(offset, bytes))
    );
    assert_eq!(store.counts(&id).await.unwrap(), (0, 1));
}

pub async fn what_was_decided_on_a_bundle_holds_while_it_stands(store: &dyn Store) {
    let id = opened(store, "INC-stands").await;
    let record = evidence(5, &id);
    let bundle = record.view.bundle;
    let is = |offset, state| Change::EvidenceIs { bundle, offset, state };
    refused(store, is(0, EvidenceState::Receiving)).await;
    done(store, vec![add(&record), is(0, EvidenceState::Receiving), advance(bundle, 0, 8)]).await;
    refused(store, is(0, EvidenceState::Receiving)).await;
    refused(store, is(8, EvidenceState::Sealed)).await;
    done(store, vec![is(8, EvidenceState::Receiving)]).await;
}

pub async fn a_bundle_is_shown_as_it_was_put(store: &dyn Store) {
    let (id, other) = (opened(store, "INC-view").await, opened(store, "INC-view-other").await);
    let mut record = evidence(10, &id);
    let bundle = record.view.bundle;
    refused(store, Change::PutEvidenceView(record.view.clone().into())).await;
    done(store, vec![add(&record)]).await;
    let (mut same_bundle, mut same_upload) = (evidence(11, &id), evidence(11, &id));
    same_bundle.view.bundle = bundle;
    same_upload.upload = record.upload;
    refused(store, add(&record)).await;
    refused(store, add(&same_bundle)).await;
    refused(store, add(&same_upload)).await;
    refused(store, add(&evidence(11, &"INC-none".parse().unwrap()))).await;

    record.view.state = EvidenceState::Sealed;
    record.view.incident = other.clone();
    record.view.sha256 = Some(Sha256::of(b"all of it"));
    let mut with_receipts = record.view.clone();
    with_receipts.receipts = vec![checkpoint(bundle, 1).receipt];
    done(store, vec![Change::PutEvidenceView(with_receipts.into())]).await;
    assert_eq!(store.evidence(bundle).await.unwrap(), Some(record.clone()));
    assert_eq!(store.evidence_list(Some(&id), None, 10).await.unwrap(), []);
    assert_eq!(store.evidence_list(Some(&other), None, 10).await.unwrap(), [record.clone()]);
    assert_eq!(store.evidence_in(EvidenceState::Sealed).await.unwrap(), [record.clone()]);
    record.view.incident = "INC-none".parse().unwrap();
    refused(store, Change::PutEvidenceView(record.view.into())).await;
    assert_eq!(store.evidence(BundleId::new(1, random(0))).await.unwrap(), None);
}

pub async fn bundles_are_listed_in_order(store: &dyn Store) {
    let id = opened(store, "INC-bundles").await;
    let mut added = [22, 20, 21, 23].map(|n| evidence(n, &id));
    for record in &mut added {
        record.view.state = EvidenceState::Partial;
    }
    done(store, added.iter().map(add).collect()).await;
    added.sort_by_key(|record| record.view.received);
    assert_eq!(store.evidence_in(EvidenceState::Partial).await.unwrap(), added);
    added.reverse();
    assert_eq!(store.evidence_list(Some(&id), None, 10).await.unwrap(), added);
    assert_eq!(store.evidence_list(Some(&id), None, 3).await.unwrap(), added[..3]);
    assert_eq!(store.evidence_list(Some(&id), Some(added[1].view.bundle), 1).await.unwrap(), added[2..3]);
    assert_eq!(store.evidence_list(Some(&id), Some(added[3].view.bundle), 9).await.unwrap(), []);
    assert_eq!(store.evidence_list(None, None, 4).await.unwrap(), added);
    assert_eq!(store.evidence_list(None, Some(added[0].view.bundle), 3).await.unwrap(), added[1..]);
}

pub async fn checkpoints_are_numbered_from_one(store: &dyn Store) {
    let id = opened(store, "INC-checkpoints").await;
    let record = evidence(30, &id);
    let bundle = record.view.bundle;
    let line = |seq| Change::AddCheckpoint(Box::new(checkpoint(bundle, seq)));
    refused(store, line(1)).await;
    done(store, vec![add(&record)]).await;
    refused(store, line(0)).await;
    refused(store, line(2)).await;
    done(store, vec![line(1)]).await;
    refused(store, line(1)).await;
    refused(store, line(3)).await;
    done(store, vec![line(2), line(3)]).await;
    assert_eq!(store.checkpoints(bundle).await.unwrap(), [1, 2, 3].map(|seq| checkpoint(bundle, seq)));
    assert_eq!(store.checkpoints(BundleId::new(1, random(0))).await.unwrap(), []);
}

pub async fn the_last_findings_of_a_bundle_are_kept(store: &dyn Store) {
    let id = opened(store, "INC-findings").await;
    let mut record = evidence(40, &id);
    record.view.state = EvidenceState::Sealed;
    let bundle = record.view.bundle;
    let put = |of: &FindingsRecord| Change::PutFindings(Box::new(of.clone()));
    let is_without = async || {
        let without = store.evidence_without_findings(1_000).await.unwrap();
        without.iter().any(|record| record.view.bundle == bundle)
    };
    let mut found = findings(bundle, 8);
    refused(store, put(&found)).await;
    done(store, vec![add(&record), advance(bundle, 0, 8)]).await;
    assert_eq!((store.findings(bundle).await.unwrap(), store.found(bundle).await.unwrap()), (None, None));
    assert!(is_without().await);
    done(store, vec![put(&found)]).await;
    assert_eq!(store.findings(bundle).await.unwrap(), Some(found.clone()));
    assert_eq!(store.found(bundle).await.unwrap(), Some(found.found()));
    assert!(!is_without().await);
    done(store, vec![advance(bundle, 8, 2)]).await;
    assert!(is_without().await, "more came");
    (found.offset, found.evaluated) = (10, at(70));
    found.report.findings.clear();
    done(store, vec![put(&found)]).await;
    assert_eq!(store.findings(bundle).await.unwrap(), Some(found));
    assert!(!is_without().await);
    done(store, vec![advance(bundle, 10, 1)]).await;
    assert!(is_without().await);
    let sealed = EvidenceView { encrypted: true, ..record.view.clone() };
    done(store, vec![Change::PutEvidenceView(sealed.into())]).await;
    assert!(!is_without().await, "nobody here can look into it");
    record.view.state = EvidenceState::Receiving;
    done(store, vec![Change::PutEvidenceView(record.view.into()), advance(bundle, 11, 1)]).await;
    assert!(!is_without().await, "it is to be verified first");
}
