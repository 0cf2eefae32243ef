//! Alerts that are placed together: what they change, and what custody is told of it.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use triage::{Alert, Context};
use wire::IncidentId;
use wire::api::AlertReceived;
use wire::assessment::Severity;
use wire::case::Case;

use super::super::cases::judge::{judge, outranked};
use super::super::{Actor, Problem};
use super::recall::Recall;
use super::{Incoming, internal};
use crate::store::{AlertRecord, Change, IncidentRecord, NewLeaf, Store};

/// A reason in a leaf; it names what two alerts share, which is a stranger's text.
const REASON_CHARS_MAX: usize = 500;

/// See the module.
pub(super) struct Batch<'a> {
    context: &'a Context<'a>,
    leaves: Vec<NewLeaf>,
    recall: Recall,
    records: Vec<AlertRecord>,
    /// Incidents that got an alert; new ones have no severity from before.
    touched: Vec<(IncidentId, Option<Severity>)>,
}

/// Everything that a batch changes, what its senders are told, and what is known when it is done.
pub(super) struct Closed {
    pub changes: Vec<Change>,
    pub leaves: Vec<NewLeaf>,
    pub placed: Vec<AlertReceived>,
    pub recall: Recall,
}

impl<'a> Batch<'a> {
    /// An empty one.
    pub fn new(context: &'a Context<'a>, recall: Recall) -> Self {
        Self { context, leaves: Vec::new(), recall, records: Vec::new(), touched: Vec::new() }
    }

    /// Finds the place of one more alert.
    pub async fn place(&mut self, store: &dyn Store, incoming: &Incoming) -> Result<(), Problem> {
        let alert = &incoming.alert;
        let mut record = AlertRecord {
            alert: incoming.id,
            assessment: triage::assess(&[alert], self.context),
            correlated: None,
            incident: None,
            normalised: serde_json::to_value(alert).map_err(internal)?,
            raw_sha256: alert.raw_sha256,
            received: alert.received,
            sent_by: incoming.sent_by.clone(),
            source_ref: incoming.source_ref.clone(),
            title: alert.title.clone(),
        };
        if record.assessment.auto_close {
            self.leaves.push(received(&record));
        } else if let Some((incident, reason)) = self.relative(store, alert).await? {
            record.incident = Some(incident.clone());
            self.leaves.push(received(&record));
            let shown: String = reason.chars().take(REASON_CHARS_MAX).collect();
            self.leaves.push(leaf(
                &record.sent_by,
                &record,
                "alert_correlated",
                json!({ "into": incident, "reason": shown }),
            ));
            record.correlated = Some(reason);
            let before = self.recall.incident(store, &incident).await?.assessment.severity;
            if !self.touched.iter().any(|(touched, _)| *touched == incident) {
                self.touched.push((incident.clone(), Some(before)));
            }
            self.recall.add(store, &incident, Arc::new(alert.clone())).await?;
        } else {
            let id = self.recall.new_id(store, record.received).await?;
            record.incident = Some(id.clone());
            self.leaves.push(received(&record));
            let assessment = &record.assessment;
            let details = json!({ "incident_type": assessment.incident_type, "severity": assessment.severity });
            let opened = leaf(&Actor::Server.to_string(), &record, "incident_opened", details);
            self.leaves.push(NewLeaf { subject: format!("incident:{id}"), ..opened });
            self.touched.push((id.clone(), None));
            self.recall.put(IncidentRecord {
                assessment: assessment.clone(),
                case: Case::default(),
                incident: id.clone(),
                opened: record.received,
                title: record.title.clone(),
                updated: record.received,
                version: 0,
            });
            self.recall.add(store, &id, Arc::new(alert.clone())).await?;
        }
        self.records.push(record);
        Ok(())
    }

    /// The incident that the alert belongs to, and why: of all that it could, the worst, and of those the last that grew.
    async fn relative(&mut self, store: &dyn Store, alert: &Alert) -> Result<Option<(IncidentId, String)>, Problem> {
        let mut reasons: Vec<(IncidentId, String)> = Vec::new();
        for (incident, other) in self.recall.recent() {
            if reasons.iter().all(|(known, _)| known != incident)
                && let Some(reason) = triage::correlates(alert, other)
            {
                reasons.push((incident.clone(), reason));
            }
        }
        let mut best: Option<(Severity, (IncidentId, String))> = None;
        for (incident, reason) in reasons {
            let severity = self.recall.incident(store, &incident).await?.assessment.severity;
            if best.as_ref().is_none_or(|(best, _)| severity > *best) {
                best = Some((severity, (incident, reason)));
            }
        }
        Ok(best.map(|(_, relative)| relative))
    }

    /// Assesses every incident that got an alert, once, and says what is to be written.
    pub async fn close(mut self, store: &dyn Store) -> Result<Closed, Problem> {
        let mut changes = Vec::new();
        for (id, before) in std::mem::take(&mut self.touched) {
            let newest = self.records.iter().rev().find(|record| record.incident.as_ref() == Some(&id));
            let newest = newest.ok_or_else(|| internal("an incident was touched by no alert"))?;
            let known = self.recall.incident(store, &id).await?.clone();
            let alerts: Vec<&Alert> = self.recall.alerts(&id).iter().map(AsRef::as_ref).collect();
            let assessment = judge(self.context, &known.case, &known.assessment, (&alerts, alerts.len()));
            let after = assessment.severity;
            if let Some(before) = before.filter(|before| *before != after) {
                let details = json!({ "alert": newest.alert, "from": before, "to": after });
                let changed = leaf(&Actor::Server.to_string(), newest, "severity_changed", details);
                self.leaves.push(NewLeaf { subject: format!("incident:{id}"), ..changed });
            }
            if let Some(details) = before.and_then(|before| outranked(&known.case, before, &assessment)) {
                let raised = leaf(&Actor::Server.to_string(), newest, "override_outranked", Value::Object(details));
                self.leaves.push(NewLeaf { subject: format!("incident:{id}"), ..raised });
            }
            let updated = newest.received.max(known.updated);
            let record = IncidentRecord { assessment, updated, version: known.version + 1, ..known };
            let boxed = Box::new(record.clone());
            changes.push(if before.is_none() { Change::AddIncident(boxed) } else { Change::PutIncident(boxed) });
            self.recall.put(record);
        }
        let mut placed = Vec::with_capacity(self.records.len());
        for record in &self.records {
            let severity = match &record.incident {
                Some(incident) => self.recall.incident(store, incident).await?.assessment.severity,
                None => record.assessment.severity,
            };
            placed.push(AlertReceived {
                alert: record.alert,
                correlated: record.correlated.clone(),
                duplicate: false,
                incident: record.incident.clone(),
                severity,
            });
        }
        changes.extend(self.records.into_iter().map(|record| Change::AddAlert(Box::new(record))));
        Ok(Closed { changes, leaves: self.leaves, placed, recall: self.recall })
    }
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
    let details = if let Value::Object(details) = details { details } else { Map::new() };
    let subject = format!("alert:{}", record.alert);
    let (incident, time) = (record.incident.clone(), record.received);
    NewLeaf { actor: by.to_owned(), details, event, incident, subject, time }
}
