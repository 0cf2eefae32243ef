//! Alerts that are placed together: what they change, and what custody is told of it.
//!
//! The order in which alerts come does not matter in the end: one that ties two open incidents merges them, and the older
//! one goes on. That is an edit like a person's, with its reason, and can be undone. Where a person has worked on the newer
//! one, both stay, and each says that the other is there.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use triage::{Alert, Context};
use wire::api::AlertReceived;
use wire::assessment::Severity;
use wire::case::{Case, Edit, EditKind, Stamp};
use wire::{EditId, IncidentId, Instant};

use super::super::cases::judge::{ASSESSED_MAX, judge, outranked};
use super::super::cases::membership::{MERGED_MAX, merged_leaves, related};
use super::super::{Actor, Problem, random};
use super::recall::Recall;
use super::ties::Ties;
use super::{Incoming, internal, unix_ms};
use crate::store::{AlertRecord, Change, IncidentRecord, NewLeaf, Store};

/// A reason in a leaf; it names what two alerts share, which is a stranger's text.
const REASON_CHARS_MAX: usize = 500;

/// See the module.
pub(super) struct Batch<'a> {
    context: &'a Context<'a>,
    /// Merges, in their order.
    edits: Vec<Edit>,
    leaves: Vec<NewLeaf>,
    recall: Recall,
    records: Vec<AlertRecord>,
    ties: Ties,
    /// Incidents that change; new ones have no severity from before.
    touched: Vec<(IncidentId, Option<Severity>)>,
}

/// Everything that a batch changes, what its senders are told, and what is known when it is done.
pub(super) struct Closed {
    pub changes: Vec<Change>,
    pub leaves: Vec<NewLeaf>,
    pub placed: Vec<AlertReceived>,
    pub recall: Recall,
}

/// What an alert has in common with incidents, and why.
struct Relatives {
    closed: Vec<(IncidentId, String)>,
    /// The oldest first.
    open: Vec<(IncidentId, String)>,
}

impl<'a> Batch<'a> {
    /// An empty one.
    pub fn new(context: &'a Context<'a>, recall: Recall) -> Self {
        let (edits, leaves, records, touched) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { context, edits, leaves, recall, records, ties: Ties::default(), touched }
    }

    /// Finds the place of one more alert.
    pub async fn place(&mut self, store: &dyn Store, incoming: &Incoming) -> Result<(), Problem> {
        let alert = &incoming.alert;
        let keys = triage::correlate::keys(alert);
        let mut record = AlertRecord {
            alert: incoming.id,
            assessment: triage::assess(&[alert], self.context),
            correlated: None,
            happened_secs: alert.at().unix_seconds(),
            incident: None,
            keys: keys.stored.clone(),
            normalised: serde_json::to_value(alert).map_err(internal)?,
            raw_sha256: alert.raw_sha256,
            received: alert.received,
            sent_by: incoming.sent_by.clone(),
            source_ref: incoming.source_ref.clone(),
            title: alert.title.clone(),
        };
        if record.assessment.auto_close {
            self.leaves.push(received(&record));
            self.records.push(record);
            return Ok(());
        }
        let reasons = self.ties.of(store, &keys, record.happened_secs).await?;
        let relatives = self.relatives(store, reasons).await?;
        let incident = if relatives.open.is_empty() {
            self.open(store, &mut record, relatives.closed).await?
        } else {
            self.attach(store, &mut record, relatives.open).await?
        };
        self.ties.add(keys.stored, record.happened_secs, incident.clone());
        self.recall.add(store, &incident, Arc::new(alert.clone())).await?;
        self.records.push(record);
        Ok(())
    }

    async fn relatives(
        &mut self,
        store: &dyn Store,
        reasons: impl IntoIterator<Item = (IncidentId, String)>,
    ) -> Result<Relatives, Problem> {
        let (mut closed, mut open) = (Vec::new(), Vec::new());
        for (incident, reason) in reasons {
            let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
            let record = self.recall.incident(store, &incident).await?;
            if record.case.closed.is_some() {
                closed.push((incident, reason));
            } else {
                open.push((age(record), incident, reason));
            }
        }
        open.sort();
        Ok(Relatives { closed, open: open.into_iter().map(|(_, incident, reason)| (incident, reason)).collect() })
    }

    /// A new incident; those that are closed stay closed, and it says what it has in common with them.
    async fn open(
        &mut self,
        store: &dyn Store,
        record: &mut AlertRecord,
        closed: Vec<(IncidentId, String)>,
    ) -> Result<IncidentId, Problem> {
        let id = self.recall.new_id(store, record.received).await?;
        record.incident = Some(id.clone());
        self.leaves.push(received(record));
        let mut case = Case::default();
        for (other, reason) in closed {
            related(&mut case, other, reason);
        }
        let assessment = &record.assessment;
        let details = json!({
            "incident_type": assessment.incident_type,
            "related": case.related,
            "severity": assessment.severity,
        });
        self.tell(&id, record.received, "incident_opened", details);
        self.touched.push((id.clone(), None));
        self.recall.put(IncidentRecord {
            assessment: assessment.clone(),
            case,
            incident: id.clone(),
            opened: record.received,
            title: record.title.clone(),
            updated: record.received,
            version: 0,
        });
        Ok(id)
    }

    /// Into the one incident that it belongs to. Of several, the newer ones are merged into the oldest, unless a person
    /// worked on them; of those that stay, the worst gets the alert.
    async fn attach(
        &mut self,
        store: &dyn Store,
        record: &mut AlertRecord,
        open: Vec<(IncidentId, String)>,
    ) -> Result<IncidentId, Problem> {
        let mut open = open.into_iter();
        let (oldest, why) = open.next().ok_or_else(|| internal("an alert is attached to nothing"))?;
        let mut places = vec![(oldest.clone(), why)];
        for (newer, why) in open {
            if self.may_merge(store, &newer).await? {
                self.merge(store, (&newer, &oldest), &why, record.received).await?;
            } else {
                self.relate(store, (&newer, &oldest), &why, record.received).await?;
                places.push((newer, why));
            }
        }
        let mut worst: Option<(Severity, (IncidentId, String))> = None;
        for (place, why) in places {
            let severity = self.touch(store, &place).await?;
            if worst.as_ref().is_none_or(|(worst, _)| severity > *worst) {
                worst = Some((severity, (place, why)));
            }
        }
        let (_, (incident, reason)) = worst.ok_or_else(|| internal("an alert is attached to nothing"))?;
        record.incident = Some(incident.clone());
        self.leaves.push(received(record));
        let details = json!({ "into": incident, "reason": reason });
        self.leaves.push(leaf(&record.sent_by, record, "alert_correlated", details));
        record.correlated = Some(reason);
        Ok(incident)
    }

    /// Notes that an incident changes. Its severity now.
    async fn touch(&mut self, store: &dyn Store, incident: &IncidentId) -> Result<Severity, Problem> {
        let severity = self.recall.incident(store, incident).await?.assessment.severity;
        if !self.touched.iter().any(|(touched, _)| touched == incident) {
            self.touched.push((incident.clone(), Some(severity)));
        }
        Ok(severity)
    }

    async fn may_merge(&mut self, store: &dyn Store, newer: &IncidentId) -> Result<bool, Problem> {
        let is_worked_on = self.recall.incident(store, newer).await?.case.worked_on.is_some();
        Ok(!is_worked_on
            && !store.is_edited_by_people(newer).await?
            && store.counts(newer).await?.0 <= MERGED_MAX.into())
    }

    async fn merge(
        &mut self,
        store: &dyn Store,
        (from, into): (&IncidentId, &IncidentId),
        why: &str,
        at: Instant,
    ) -> Result<(), Problem> {
        let mut alerts = store.alert_ids(from, MERGED_MAX).await?;
        for edit in &self.edits {
            if edit.to == *from {
                alerts.extend(&edit.alerts);
            }
        }
        let here = self.records.iter().filter(|record| record.incident.as_ref() == Some(from));
        alerts.extend(here.map(|record| record.alert));
        let edit = Edit {
            alerts,
            edit: EditId::new(unix_ms(at), random()?),
            from: from.clone(),
            kind: EditKind::Merge,
            stamp: Stamp { by: Actor::Server.to_string(), reason: format!("an alert ties them: {why}"), time: at },
            to: into.clone(),
            undone: None,
        };
        self.touch(store, from).await?;
        self.touch(store, into).await?;
        self.assess(store, from).await?;
        let mut absorbed = self.recall.incident(store, from).await?.clone();
        let mut absorbing = self.recall.incident(store, into).await?.clone();
        let count = self.recall.absorb(store, from, into).await?;
        // Of so many alerts some are left out: what is known of the worse of the two stays.
        if count > ASSESSED_MAX && absorbing.assessment.severity < absorbed.assessment.severity {
            absorbing.assessment = absorbed.assessment.clone();
            self.recall.put(absorbing);
        }
        absorbed.case.merged_into = Some(into.clone());
        self.recall.put(absorbed);
        self.ties.merge(from.clone(), into.clone());
        self.leaves.extend(merged_leaves(&edit));
        self.edits.push(edit);
        Ok(())
    }

    /// Both say that the other is there, once.
    async fn relate(
        &mut self,
        store: &dyn Store,
        (one, other): (&IncidentId, &IncidentId),
        why: &str,
        at: Instant,
    ) -> Result<(), Problem> {
        for (one, other) in [(one, other), (other, one)] {
            let mut record = self.recall.incident(store, one).await?.clone();
            if related(&mut record.case, other.clone(), why.to_owned()) {
                self.touch(store, one).await?;
                self.recall.put(record);
                self.tell(one, at, "incidents_related", json!({ "other": other, "reason": why }));
            }
        }
        Ok(())
    }

    /// Assesses an incident over the alerts that it has by now. One that was merged stays as it was.
    async fn assess(&mut self, store: &dyn Store, id: &IncidentId) -> Result<(), Problem> {
        let mut record = self.recall.incident(store, id).await?.clone();
        let alerts: Vec<&Alert> = self.recall.alerts(id).iter().map(AsRef::as_ref).collect();
        if alerts.is_empty() || record.case.merged_into.is_some() {
            return Ok(());
        }
        record.assessment = judge(self.context, &record.case, &record.assessment, (&alerts, alerts.len()));
        self.recall.put(record);
        Ok(())
    }

    /// Assesses every incident that changed, once, and says what is to be written.
    pub async fn close(mut self, store: &dyn Store) -> Result<Closed, Problem> {
        let now = self.records.iter().map(|record| record.received).max().unwrap_or(Instant(0));
        let mut changes = Vec::new();
        for (id, before) in std::mem::take(&mut self.touched) {
            self.assess(store, &id).await?;
            let known = self.recall.incident(store, &id).await?.clone();
            if let Some(before) = before {
                self.tell_severity(&known, before, now);
            }
            let record = IncidentRecord { updated: now.max(known.updated), version: known.version + 1, ..known };
            let boxed = Box::new(record.clone());
            changes.push(if before.is_none() { Change::AddIncident(boxed) } else { Change::PutIncident(boxed) });
            self.recall.put(record);
        }
        // One that was opened and merged at once names the other, which may be new as well: that one goes first.
        changes.sort_by_key(|change| match change {
            Change::AddIncident(record) => (u8::from(record.case.merged_into.is_some()), age(record)),
            Change::PutIncident(record) => (2, age(record)),
            _ => (3, (Instant(0), Vec::new())),
        });
        let placed = self.placed(store).await?;
        changes.extend(self.records.into_iter().map(|record| Change::AddAlert(Box::new(record))));
        for edit in self.edits {
            let Edit { alerts, from, to, .. } = edit.clone();
            changes.extend([Change::MoveAlerts { alerts, from, to }, Change::AddEdit(Box::new(edit))]);
        }
        Ok(Closed { changes, leaves: self.leaves, placed, recall: self.recall })
    }

    fn tell_severity(&mut self, known: &IncidentRecord, before: Severity, at: Instant) {
        let after = known.assessment.severity;
        if before != after {
            let newest = self.records.iter().rev().find(|record| record.incident.as_ref() == Some(&known.incident));
            let alert = newest.map(|record| record.alert);
            self.tell(&known.incident, at, "severity_changed", json!({ "alert": alert, "from": before, "to": after }));
        }
        if let Some(details) = outranked(&known.case, before, &known.assessment) {
            self.tell(&known.incident, at, "override_outranked", Value::Object(details));
        }
    }

    async fn placed(&mut self, store: &dyn Store) -> Result<Vec<AlertReceived>, Problem> {
        let mut placed = Vec::with_capacity(self.records.len());
        for record in &self.records {
            let incident = record.incident.as_ref().map(|incident| self.ties.now(incident).clone());
            let severity = match &incident {
                Some(incident) => self.recall.incident(store, incident).await?.assessment.severity,
                None => record.assessment.severity,
            };
            let (alert, correlated) = (record.alert, record.correlated.clone());
            placed.push(AlertReceived { alert, correlated, duplicate: false, incident, severity });
        }
        Ok(placed)
    }

    /// The server says something of an incident.
    fn tell(&mut self, incident: &IncidentId, time: Instant, event: &'static str, details: Value) {
        self.leaves.push(NewLeaf {
            actor: Actor::Server.to_string(),
            details: object(details),
            event,
            incident: Some(incident.clone()),
            subject: format!("incident:{incident}"),
            time,
        });
    }
}

/// The lesser is the older: by the first alert, then by the number, which grows in length too.
fn age(record: &IncidentRecord) -> (Instant, Vec<u8>) {
    let id = record.incident.as_str();
    let mut key = vec![u8::try_from(id.len()).unwrap_or(u8::MAX)];
    key.extend(id.bytes());
    (record.opened, key)
}

fn received(record: &AlertRecord) -> NewLeaf {
    let details = json!({
        "auto_close": record.assessment.auto_close,
        "raw_sha256": record.raw_sha256,
        "source": record.assessment.source,
    });
    leaf(&record.sent_by, record, "alert_received", details)
}

fn leaf(by: &str, record: &AlertRecord, event: &'static str, details: Value) -> NewLeaf {
    let (incident, time) = (record.incident.clone(), record.received);
    let subject = format!("alert:{}", record.alert);
    NewLeaf { actor: by.to_owned(), details: object(details), event, incident, subject, time }
}

fn object(details: Value) -> Map<String, Value> {
    if let Value::Object(details) = details { details } else { Map::new() }
}
