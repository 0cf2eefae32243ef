//! Which alerts belong to which incident: what ties them, and how that changes.

use std::collections::BTreeSet;

use wire::assessment::Severity;
use wire::case::{Edit, EditKind, Stamp};
use wire::{AlertId, EditId, IncidentId};

use super::fixtures::{HOSTILE, alert, at, incident, random};
use super::{done, opened, refused};
use crate::store::{AlertRecord, Change, Store, TIES_MAX};

const WINDOW: i64 = 1_000;

fn keyed(n: u64, incident: &IncidentId, happened_secs: i64, keys: &[&str]) -> AlertRecord {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    AlertRecord { happened_secs, keys, ..alert(n, Some(incident)) }
}

fn add(record: &AlertRecord) -> Change {
    Change::AddAlert(record.clone().into())
}

async fn ties(store: &dyn Store, keys: &[&str], happened_secs: i64) -> Vec<(String, String, i64)> {
    let keys: BTreeSet<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    let ties = store.ties(&keys, happened_secs, WINDOW).await.unwrap();
    let mut ties: Vec<_> = ties.into_iter().map(|tie| (tie.incident.to_string(), tie.key, tie.happened_secs)).collect();
    ties.sort();
    ties
}

fn tie(incident: &str, key: &str, happened_secs: i64) -> (String, String, i64) {
    (incident.to_owned(), key.to_owned(), happened_secs)
}

pub async fn ties_are_exact_and_of_each_incident_the_nearest(store: &dyn Store) {
    let (a, b) = (opened(store, "INC-tie-a").await, opened(store, "INC-tie-b").await);
    let odd = format!("account:{HOSTILE}");
    let mut alone = alert(105, None);
    alone.keys = ["tie:x".to_owned()].into();
    let changes = vec![
        add(&keyed(100, &a, 5_000, &["tie:x", "tie:y", &odd])),
        add(&keyed(101, &a, 5_900, &["tie:x"])),
        add(&keyed(102, &b, 5_400, &["tie:x"])),
        add(&keyed(103, &b, i64::MAX, &["tie:end"])),
        add(&keyed(104, &b, i64::MIN, &["tie:end"])),
        Change::AddAlert(alone.into()),
    ];
    done(store, changes).await;
    let (on_a, on_b) = (|key, at| tie("INC-tie-a", key, at), |key, at| tie("INC-tie-b", key, at));
    assert_eq!(ties(store, &["tie:x"], 5_100).await, [on_a("tie:x", 5_000), on_b("tie:x", 5_400)]);
    assert_eq!(
        ties(store, &["tie:x", "tie:y", "tie:z"], 5_800).await,
        [on_a("tie:x", 5_900), on_a("tie:y", 5_000), on_b("tie:x", 5_400)]
    );
    // At the window's ends, and one past them.
    assert_eq!(ties(store, &["tie:y"], 5_000 + WINDOW).await, [on_a("tie:y", 5_000)]);
    assert_eq!(ties(store, &["tie:y"], 5_000 + WINDOW + 1).await, []);
    assert_eq!(ties(store, &["tie:y"], 5_000 - WINDOW).await, [on_a("tie:y", 5_000)]);
    assert_eq!(ties(store, &["tie:y"], 5_000 - WINDOW - 1).await, []);
    assert_eq!(ties(store, &["tie:end"], 5_000).await, []);
    assert_eq!(ties(store, &["tie:end"], i64::MAX).await, [on_b("tie:end", i64::MAX)]);
    assert_eq!(ties(store, &["tie:end"], i64::MIN).await, [on_b("tie:end", i64::MIN)]);
    assert_eq!(ties(store, &[&odd], 5_000).await, [on_a(&odd, 5_000)]);
    assert_eq!(ties(store, &[], 5_000).await, []);
    assert_eq!(ties(store, &["tie", "tie:", "TIE:X", "account:<b>"], 5_000).await, []);
}

pub async fn a_flood_on_one_key_hides_nothing_and_is_bounded(store: &dyn Store) {
    let (quiet, loud) = (opened(store, "INC-flood-quiet").await, opened(store, "INC-flood-loud").await);
    let flood = (0..2_000).map(|n| add(&keyed(10_000 + n, &loud, 8_000, &["flood:x"])));
    let first = keyed(9_999, &quiet, 7_500, &["flood:x"]);
    done(store, [add(&first)].into_iter().chain(flood).collect()).await;
    let both = [tie("INC-flood-loud", "flood:x", 8_000), tie("INC-flood-quiet", "flood:x", 7_500)];
    assert_eq!(ties(store, &["flood:x"], 8_001).await, both);

    let many: Vec<_> =
        (0..u64::from(TIES_MAX) + 10).map(|n| incident(&format!("INC-many-{n:03}"), Severity::Sev4, 0)).collect();
    let changes = many.iter().zip(0..).flat_map(|(record, n)| {
        let last = keyed(13_000 + n, &record.incident, 9_000 + i64::try_from(n).unwrap(), &["flood:y"]);
        [Change::AddIncident(record.clone().into()), add(&last)]
    });
    done(store, changes.collect()).await;
    let found = ties(store, &["flood:y"], 9_100).await;
    assert_eq!((found.len(), &found[0]), (TIES_MAX as usize, &tie("INC-many-010", "flood:y", 9_010)));
}

pub async fn alerts_move_with_their_keys_or_not_at_all(store: &dyn Store) {
    let (a, b) = (opened(store, "INC-move-a").await, opened(store, "INC-move-b").await);
    let records = [
        keyed(120, &a, 100, &["move:x", "move:y"]),
        keyed(121, &a, 300, &["move:x"]),
        keyed(122, &b, 200, &["move:x"]),
        keyed(123, &b, 400, &[]),
    ];
    done(store, records.iter().map(add).collect()).await;
    let [first, second, third, bare] = records.clone().map(|record| record.alert);
    let change = |alerts: &[AlertId], from: &IncidentId, to: &IncidentId| Change::MoveAlerts {
        alerts: alerts.to_vec(),
        from: from.clone(),
        to: to.clone(),
    };
    refused(store, change(&[first, third], &a, &b)).await;
    refused(store, change(&[first], &a, &"INC-none".parse().unwrap())).await;
    refused(store, change(&[alert(199, None).alert], &a, &b)).await;
    let before = ties(store, &["move:x", "move:y"], 150).await;
    done(store, vec![change(&[first], &a, &b)]).await;
    assert_eq!(store.alerts_of(&a).await.unwrap(), [records[1].clone()]);
    assert_eq!(store.alert_ids(&b, 10).await.unwrap(), [first, third, bare]);
    assert_eq!(store.alert_ids(&b, 2).await.unwrap(), [first, third]);
    let moved = AlertRecord { incident: Some(b.clone()), ..records[0].clone() };
    assert_eq!(store.alert(first).await.unwrap(), Some(moved));
    assert_eq!(
        ties(store, &["move:x", "move:y"], 50).await,
        [tie("INC-move-a", "move:x", 300), tie("INC-move-b", "move:x", 100), tie("INC-move-b", "move:y", 100)]
    );
    assert_eq!(store.alert_elsewhere(&[first, third, bare], &b).await.unwrap(), None);
    assert_eq!(store.alert_elsewhere(&[first, second], &b).await.unwrap(), Some(second));
    let nowhere = alert(199, None).alert;
    assert_eq!(store.alert_elsewhere(&[nowhere], &b).await.unwrap(), Some(nowhere));
    assert_eq!(store.alert_elsewhere(&[], &b).await.unwrap(), None);
    done(store, vec![change(&[first], &b, &a), change(&[bare], &b, &a), change(&[], &a, &b)]).await;
    assert_eq!(ties(store, &["move:x", "move:y"], 150).await, before);
    assert_eq!(store.alert_ids(&a, 10).await.unwrap(), [first, second, bare]);
}

fn edit(n: u64, kind: EditKind, from: &IncidentId, to: &IncidentId, by: &str) -> Edit {
    let stamp = Stamp { by: by.into(), reason: HOSTILE.into(), time: at(i128::from(n)) };
    let (from, to) = (from.clone(), to.clone());
    Edit { alerts: vec![alert(1, None).alert], edit: EditId::new(7, random(n)), from, kind, stamp, to, undone: None }
}

pub async fn edits_are_kept_and_taken_back_once(store: &dyn Store) {
    let (a, b, c) =
        (opened(store, "INC-edit-a").await, opened(store, "INC-edit-b").await, opened(store, "INC-edit-c").await);
    let (merge, split) = (edit(1, EditKind::Merge, &b, &a, "server"), edit(2, EditKind::Split, &a, &c, "user:zoe"));
    done(store, vec![Change::AddEdit(merge.clone().into()), Change::AddEdit(split.clone().into())]).await;
    refused(store, Change::AddEdit(merge.clone().into())).await;
    refused(store, Change::AddEdit(edit(3, EditKind::Move, &a, &"INC-none".parse().unwrap(), "server").into())).await;
    assert_eq!(store.edit(merge.edit).await.unwrap(), Some(merge.clone()));
    assert_eq!(store.edit(EditId::new(7, random(3))).await.unwrap(), None);
    assert_eq!(store.edits_of(&a, 10).await.unwrap(), [split.clone(), merge.clone()]);
    assert_eq!(store.edits_of(&a, 1).await.unwrap(), std::slice::from_ref(&split));
    assert_eq!(store.edits_of(&b, 10).await.unwrap(), std::slice::from_ref(&merge));
    let edited = async |id| store.is_edited_by_people(id).await.unwrap();
    assert_eq!((edited(&a).await, edited(&b).await, edited(&c).await), (true, false, true));
    let stamp = Stamp { by: "user:zoe".into(), reason: "no".into(), time: at(9) };
    done(store, vec![Change::UndoEdit(merge.edit, stamp.clone())]).await;
    refused(store, Change::UndoEdit(merge.edit, stamp.clone())).await;
    refused(store, Change::UndoEdit(EditId::new(7, random(3)), stamp.clone())).await;
    assert_eq!(store.edits_of(&b, 10).await.unwrap(), [Edit { undone: Some(stamp), ..merge }]);
    assert!(edited(&b).await);
}

pub async fn what_was_absorbed_is_found_below_and_not_listed(store: &dyn Store) {
    let top = opened(store, "INC-absorb-a").await;
    let mut below = Vec::new();
    for (id, into) in
        [("INC-absorb-b", "INC-absorb-a"), ("INC-absorb-d", "INC-absorb-b"), ("INC-absorb-c", "INC-absorb-a")]
    {
        let mut record = incident(id, Severity::Sev1, 0);
        done(store, vec![Change::AddIncident(record.clone().into())]).await;
        (record.case.merged_into, record.version) = (Some(into.parse().unwrap()), 2);
        done(store, vec![Change::PutIncident(record.clone().into())]).await;
        assert_eq!(store.incident(&record.incident).await.unwrap(), Some(record.clone()));
        below.push(record);
    }
    let ids = |ids: &[&str]| ids.iter().map(|id| id.parse().unwrap()).collect::<Vec<IncidentId>>();
    assert_eq!(store.absorbed(&top).await.unwrap(), ids(&["INC-absorb-b", "INC-absorb-c", "INC-absorb-d"]));
    assert_eq!(store.absorbed(&below[0].incident).await.unwrap(), ids(&["INC-absorb-d"]));
    assert_eq!(store.absorbed(&below[1].incident).await.unwrap(), []);
    let listed = store.incidents(None, 1_000).await.unwrap();
    assert!(listed.iter().any(|record| record.incident == top));
    assert!(listed.iter().all(|record| record.case.merged_into.is_none()));
    // What is added to it is news of the one above too.
    done(store, vec![Change::Touch(below[1].incident.clone(), at(50))]).await;
    assert_eq!(store.incident(&top).await.unwrap().unwrap().updated, at(50));
    assert_eq!(store.incident(&below[2].incident).await.unwrap().unwrap().updated, at(0));
    let mut freed = below.remove(0);
    (freed.case.merged_into, freed.version, freed.updated) = (None, 3, at(50));
    done(store, vec![Change::PutIncident(freed.into())]).await;
    assert_eq!(store.absorbed(&top).await.unwrap(), ids(&["INC-absorb-c"]));
    refused(store, {
        let mut record = incident("INC-absorb-x", Severity::Sev4, 0);
        record.case.merged_into = Some("INC-none".parse().unwrap());
        Change::AddIncident(record.into())
    })
    .await;
}
