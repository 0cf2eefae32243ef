//! The custody log.

use bundle::merkle::{Tree, leaf_hash};
use futures_util::future::join_all;
use wire::custody::{HeadPoint, LEAF_BYTES_MAX, Leaf};
use wire::{Instant, Sha256};

use super::fixtures::{alert, at, evidence, leaf};
use super::{done, everything, opened};
use crate::objects::Segment;
use crate::store::{Change, Store, StoreError};

pub async fn an_empty_log(store: &dyn Store) {
    let empty = HeadPoint { root: Sha256::of(b""), size: 0 };
    assert_eq!(store.head().await.unwrap(), empty);
    assert_eq!(store.leaves(None, 0, 10).await.unwrap(), []);
    assert_eq!(store.commit(vec![], vec![]).await.unwrap(), empty);
    store.ping().await.unwrap();
}

pub async fn leaves_of_one_incident(store: &dyn Store) {
    let (one, other) = (opened(store, "INC-leaves").await, opened(store, "INC-leaves-other").await);
    let from = store.head().await.unwrap().size;
    let leaves = [Some(&one), Some(&other), None, Some(&one), Some(&one)];
    let leaves = leaves.iter().zip(0..).map(|(incident, n)| leaf(*incident, n)).collect();
    assert_eq!(store.commit(vec![], leaves).await.unwrap().size, from + 5);
    let seqs = async |incident, from, limit| {
        let leaves = store.leaves(incident, from, limit).await.unwrap();
        leaves.iter().map(|leaf| leaf.leaf.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(Some(&one), 0, 9).await, [from, from + 3, from + 4]);
    assert_eq!(seqs(Some(&one), from + 1, 1).await, [from + 3]);
    assert_eq!(seqs(Some(&other), 0, 9).await, [from + 1]);
    assert_eq!(seqs(None, from + 1, 2).await, [from + 1, from + 2]);
    assert_eq!(seqs(None, from + 5, 9).await, [0; 0]);
    assert_eq!(seqs(None, u64::MAX, 9).await, [0; 0]);
    // The text is what is hashed: sorted at every depth, without blanks, and of this leaf.
    let stored = store.leaves(None, from + 1, 1).await.unwrap().remove(0);
    let sorted = serde_json::to_string(&serde_json::to_value(&stored.leaf).unwrap()).unwrap();
    assert_eq!(stored.text, sorted);
    let wanted = leaf(Some(&other), 1);
    let wanted = Leaf {
        actor: wanted.actor,
        details: wanted.details,
        event: wanted.event.into(),
        incident: wanted.incident,
        seq: from + 1,
        subject: wanted.subject,
        time: wanted.time,
        v: 1,
    };
    assert_eq!(stored.leaf, wanted);
}

pub async fn many_write_and_the_log_has_no_gap(store: &dyn Store) {
    let before = store.head().await.unwrap().size;
    let writers = (0..40_u64).map(|writer| async move {
        let mut heads = Vec::new();
        for n in 0..10 {
            // Every fifth commit meets an alert that is there: it must leave the others alone.
            let n = if n % 5 == 4 { n - 1 } else { n };
            let change = Change::AddAlert(alert(1_000 + writer * 100 + n, None).into());
            match store.commit(vec![change], vec![leaf(None, n), leaf(None, n)]).await {
                Ok(head) => heads.push(head.size),
                Err(StoreError::Conflict(_)) => heads.push(0),
                Err(error) => panic!("{error:?}"),
            }
        }
        heads
    });
    let mut heads = join_all(writers).await;
    for of_one in &mut heads {
        assert_eq!(of_one.iter().filter(|size| **size == 0).count(), 2, "{of_one:?}");
        of_one.retain(|size| *size > 0);
        assert!(of_one.is_sorted_by(|before, after| before < after), "{of_one:?}");
    }
    let mut all = heads.concat();
    all.sort_unstable();
    let wanted: Vec<u64> = (1..=320).map(|n| before + 2 * n).collect();
    assert_eq!(all, wanted, "each commit has the head that was its own");
}

pub async fn numbers_beyond_the_backend_are_refused_and_never_wrapped(store: &dyn Store) {
    let id = opened(store, "INC-numbers").await;
    let record = evidence(90, &id);
    let bundle = record.view.bundle;
    done(store, vec![Change::AddEvidence(record.into())]).await;
    let before = everything(store).await;
    let far = Instant(i128::MAX);
    let segment = |bytes| Segment { bytes, offset: 0, sha256: None };
    let mut long = leaf(None, 0);
    long.subject = "x".repeat(LEAF_BYTES_MAX);
    let commits = [
        (vec![Change::Length(bundle, u64::MAX)], vec![]),
        (vec![Change::Advance { bundle, segment: segment(u64::MAX), at: at(0) }], vec![]),
        (vec![Change::Advance { bundle, segment: segment(1), at: far }], vec![]),
        (vec![Change::Length(bundle, 5)], vec![leaf(None, 0), long]),
    ];
    for (changes, leaves) in commits {
        let outcome = store.commit(changes, leaves).await;
        assert!(matches!(outcome, Err(StoreError::Backend(_))), "{outcome:?}");
    }
    assert_eq!(everything(store).await, before);
}

pub async fn the_log_is_the_tree_over_its_leaves(store: &dyn Store) {
    let leaves = store.leaves(None, 0, u32::MAX).await.unwrap();
    let mut tree = Tree::default();
    for stored in &leaves {
        assert_eq!(stored.leaf.seq, tree.size());
        assert_eq!(stored.leaf, serde_json::from_str(&stored.text).unwrap());
        assert_eq!(stored.hash, leaf_hash(stored.text.as_bytes()));
        tree.push(stored.text.as_bytes());
    }
    assert!(leaves.len() > 700, "{}", leaves.len());
    assert_eq!(store.head().await.unwrap(), HeadPoint { root: tree.root(), size: tree.size() });
}
