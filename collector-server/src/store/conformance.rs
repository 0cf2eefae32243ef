//! What every backend of [`Store`] must do: one suite of named cases. A case speaks to the store through the trait
//! only, and each has records of its own, so that all of them run against one store.

mod access;
mod containment;
mod custody;
mod evidence;
mod fixtures;
mod incidents;
mod intake;
mod membership;
mod orders;
mod pages;

use std::fmt::Write as _;

use wire::api::EvidenceState;
use wire::assessment::Severity;
use wire::{IncidentId, Instant, Sha256};

use super::{Change, Store, StoreError};
use fixtures::{incident, leaf};

/// Runs all cases. The store is empty.
pub async fn run(store: &dyn Store) {
    custody::an_empty_log(store).await;
    incidents::records_come_back_as_they_went_in(store).await;
    incidents::alerts_are_unique_by_id_and_by_source_ref(store).await;
    incidents::a_version_is_written_once(store).await;
    incidents::an_incident_is_touched_and_keeps_its_version(store).await;
    incidents::the_worst_come_first_and_pages_are_whole(store).await;
    incidents::alerts_are_listed_in_order(store).await;
    incidents::numbers_count_by_year(store).await;
    membership::ties_are_exact_and_of_each_incident_the_nearest(store).await;
    membership::alerts_move_with_their_keys_or_not_at_all(store).await;
    membership::edits_are_kept_and_taken_back_once(store).await;
    membership::what_was_absorbed_is_found_below_and_not_listed(store).await;
    orders::hosts_are_added_changed_and_seen(store).await;
    orders::a_host_is_written_by_who_saw_it_last(store).await;
    orders::how_a_host_is_heard_is_written_beside_its_record(store).await;
    orders::an_order_goes_from_state_to_state(store).await;
    orders::an_order_is_unique_by_id_and_by_nonce(store).await;
    orders::orders_are_listed_in_order(store).await;
    containment::an_order_is_approved_by_who_saw_the_last_approval(store).await;
    containment::containment_goes_before_collections_and_ends_like_them(store).await;
    containment::automation_is_written_by_who_saw_it_last(store).await;
    containment::what_a_console_told_is_kept(store).await;
    orders::an_order_of_a_hunt_waits_for_its_turn(store).await;
    evidence::an_upload_advances_without_gaps(store).await;
    evidence::what_was_decided_on_a_bundle_holds_while_it_stands(store).await;
    evidence::a_bundle_is_shown_as_it_was_put(store).await;
    evidence::bundles_are_listed_in_order(store).await;
    evidence::checkpoints_are_numbered_from_one(store).await;
    evidence::the_last_findings_of_a_bundle_are_kept(store).await;
    intake::a_letter_goes_when_it_was_replayed(store).await;
    intake::rules_change_when_they_are_others(store).await;
    intake::letters_come_in_pages_the_newest_first(store).await;
    pages::a_page_is_changed_by_who_saw_it_last(store).await;
    pages::pages_are_listed_in_order(store).await;
    pages::an_incident_that_changed_is_looked_at(store).await;
    access::a_ticket_lets_in_once(store).await;
    access::a_token_ends_with_its_sessions(store).await;
    access::what_servers_have_in_common_changes_from_what_it_was(store).await;
    custody::leaves_of_one_incident(store).await;
    custody::many_write_and_the_log_has_no_gap(store).await;
    custody::numbers_beyond_the_backend_are_refused_and_never_wrapped(store).await;
    membership::a_flood_on_one_key_hides_nothing_and_is_bounded(store).await;
    custody::the_log_is_the_tree_over_its_leaves(store).await;
}

/// All that the store holds, as far as lists reach it, as text to compare.
pub async fn everything(store: &dyn Store) -> String {
    let mut text = String::new();
    let mut say = |what: &dyn std::fmt::Debug| writeln!(text, "{what:?}").unwrap();
    for incident in store.incidents(None, 1_000).await.unwrap() {
        say(&store.alerts_of(&incident.incident).await.unwrap());
        say(&store.orders_of(&incident.incident).await.unwrap());
        say(&store.edits_of(&incident.incident, 1_000).await.unwrap());
        say(&store.pages_of(&incident.incident).await.unwrap());
        say(&store.automations_of(&incident.incident).await.unwrap());
        say(&incident);
    }
    for record in store.evidence_list(None, None, 1_000).await.unwrap() {
        say(&store.segments(record.view.bundle).await.unwrap());
        say(&store.checkpoints(record.view.bundle).await.unwrap());
        say(&store.findings(record.view.bundle).await.unwrap());
        say(&record);
    }
    let end_of_time = Instant(i128::from(i64::MAX));
    for (incident, watch) in store.incidents_to_look_at(end_of_time, 1_000).await.unwrap() {
        say(&(incident.incident, watch));
    }
    say(&store.pages_since(Instant(0), 1_000).await.unwrap());
    say(&store.hosts(None, 1_000).await.unwrap());
    say(&store.consoles(1_000).await.unwrap());
    for hunt in store.hunts(1_000).await.unwrap() {
        say(&store.hunt_orders(hunt.hunt).await.unwrap());
        say(&hunt);
    }
    say(&store.tokens().await.unwrap());
    say(&store.letters(None, 1_000).await.unwrap());
    for n in 0..8_u64 {
        let id = Sha256::of(&n.to_be_bytes());
        say(&(store.ticket(id).await.unwrap(), store.session(id).await.unwrap()));
    }
    say(&store.evidence_in(EvidenceState::Receiving).await.unwrap());
    say(&store.head().await.unwrap());
    say(&store.leaves(None, 0, u32::MAX).await.unwrap());
    text
}

/// Makes the changes, with a leaf.
async fn done(store: &dyn Store, changes: Vec<Change>) {
    let size = store.head().await.unwrap().size;
    let head = store.commit(changes, vec![leaf(None, size)]).await.unwrap();
    assert_eq!((head.size, head), (size + 1, store.head().await.unwrap()));
}

/// The change is a conflict, and then nothing of its commit is done, neither what stands before it nor after it.
async fn refused(store: &dyn Store, change: Change) {
    let before = everything(store).await;
    let fresh = incident("INC-refused", Severity::Sev1, 0);
    let shown = format!("{change:?}");
    let changes = vec![Change::AddIncident(Box::new(fresh.clone())), change];
    let outcome = store.commit(changes, vec![leaf(None, 0), leaf(Some(&fresh.incident), 1)]).await;
    assert!(matches!(outcome, Err(StoreError::Conflict(_))), "{outcome:?} of {shown}");
    assert_eq!(everything(store).await, before, "after {shown}");
}

/// An incident of this name is there.
async fn opened(store: &dyn Store, id: &str) -> IncidentId {
    let record = incident(id, Severity::Sev4, 0);
    let id = record.incident.clone();
    done(store, vec![Change::AddIncident(Box::new(record))]).await;
    id
}
