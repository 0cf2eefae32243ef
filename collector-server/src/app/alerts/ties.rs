//! What an alert has in common with incidents that are there, and with those that its own batch has just opened.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use triage::correlate::{Keys, WINDOW_SECS, rank, reason};
use wire::IncidentId;

use super::super::Problem;
use crate::store::{Store, Tie};

/// What a batch knows and the store does not yet.
#[derive(Debug, Default)]
pub(super) struct Ties {
    /// The alerts placed so far: under which keys each is found, when it happened, and where it was put.
    fresh: Vec<(BTreeSet<String>, i64, IncidentId)>,
    /// Incidents that were merged into others.
    merged: HashMap<IncidentId, IncidentId>,
}

impl Ties {
    /// An alert has its place.
    pub fn add(&mut self, keys: BTreeSet<String>, happened_secs: i64, incident: IncidentId) {
        self.fresh.push((keys, happened_secs, incident));
    }

    /// From now on what is tied to the one is tied to the other.
    pub fn merge(&mut self, from: IncidentId, into: IncidentId) {
        self.merged.insert(from, into);
    }

    /// Where the alerts of an incident are now.
    pub fn now<'a>(&'a self, mut incident: &'a IncidentId) -> &'a IncidentId {
        while let Some(into) = self.merged.get(incident) {
            incident = into;
        }
        incident
    }

    /// Each incident that the alert has something in common with, and the surest reason.
    pub async fn of(
        &self,
        store: &dyn Store,
        keys: &Keys,
        happened_secs: i64,
    ) -> Result<BTreeMap<IncidentId, String>, Problem> {
        let mut ties = store.ties(&keys.sought, happened_secs, WINDOW_SECS).await?;
        for (stored, there_secs, incident) in &self.fresh {
            if there_secs.abs_diff(happened_secs) <= WINDOW_SECS.unsigned_abs() {
                ties.extend(stored.intersection(&keys.sought).map(|key| Tie {
                    happened_secs: *there_secs,
                    incident: incident.clone(),
                    key: key.clone(),
                }));
            }
        }
        ties.sort_by(|a, b| {
            let sure = |tie: &Tie| (rank(&tie.key), tie.happened_secs.abs_diff(happened_secs));
            (sure(a), &a.key).cmp(&(sure(b), &b.key))
        });
        let mut reasons = BTreeMap::new();
        for tie in ties {
            let apart = tie.happened_secs.abs_diff(happened_secs);
            reasons.entry(self.now(&tie.incident).clone()).or_insert_with(|| reason(&tie.key, apart));
        }
        Ok(reasons)
    }
}
