//! What was read of alerts and incidents for the last batch, kept for the next: in a storm nothing is read twice.
//!
//! It holds as long as the custody log has not grown: every change to an alert or an incident is a leaf, whoever makes
//! it. Any other leaf makes it be read again too, which costs time and nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use triage::Alert;
use wire::custody::HeadPoint;
use wire::{IncidentId, Instant};

use super::super::cases::judge::ASSESSED_MAX;
use super::super::{Problem, ProblemKind};
use super::{internal, numbered, year};
use crate::store::{AlertRecord, IncidentRecord, Store};

/// About what is kept between two batches, as JSON.
const BYTES_MAX: usize = 64 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Recall {
    /// By incident, the oldest first.
    alerts: HashMap<IncidentId, Vec<Arc<Alert>>>,
    bytes: usize,
    /// The log when this was right; none when nothing was read yet.
    head: Option<HeadPoint>,
    incidents: HashMap<IncidentId, IncidentRecord>,
    /// By year, the number of the last incident.
    numbers: HashMap<i16, u32>,
}

impl Recall {
    /// This, when it is still right, or what the store says.
    pub async fn refreshed(self, store: &dyn Store, now: Instant) -> Result<Self, Problem> {
        let head = store.head().await?;
        if self.head == Some(head) {
            return Ok(self);
        }
        let mut read = Self { head: Some(head), ..Self::default() };
        // Before anything else is looked up: an incident that another server opens from here on takes this number, and ours conflicts.
        // Read later, the number would be the next one, and one host would have two incidents.
        let year = year(now);
        read.numbers.insert(year, store.last_incident_number(year).await?);
        Ok(read)
    }

    /// The same, after the commit of these many leaves, which made the log like this; nothing, when others wrote
    /// meanwhile, or when it is too much to be kept.
    pub fn after(mut self, leaves: usize, head: HeadPoint) -> Self {
        let wanted = self.head.map(|before| before.size + leaves as u64);
        if wanted != Some(head.size) || self.bytes > BYTES_MAX {
            return Self::default();
        }
        self.head = Some(head);
        self
    }

    /// An incident that an alert names.
    pub async fn incident(&mut self, store: &dyn Store, incident: &IncidentId) -> Result<&IncidentRecord, Problem> {
        if !self.incidents.contains_key(incident) {
            let record = store.incident(incident).await?;
            let record = record.ok_or_else(|| internal(format!("{incident} has alerts and is not there")))?;
            self.incidents.insert(incident.clone(), record);
        }
        self.incidents.get(incident).ok_or_else(|| internal("an incident that was read is not there"))
    }

    /// The id for a new incident.
    pub async fn new_id(&mut self, store: &dyn Store, at: Instant) -> Result<IncidentId, Problem> {
        let year = year(at);
        let last = match self.numbers.get(&year) {
            Some(last) => *last,
            None => store.last_incident_number(year).await?,
        };
        let number = last.checked_add(1).ok_or_else(|| {
            Problem::new(ProblemKind::Internal, format!("there is no number left for an incident of {year}"))
        })?;
        self.numbers.insert(year, number);
        numbered(year, number)
    }

    /// Adds an alert to its incident, whose other alerts are read first unless it is new.
    pub async fn add(&mut self, store: &dyn Store, incident: &IncidentId, alert: Arc<Alert>) -> Result<(), Problem> {
        self.load(store, incident).await?;
        self.bytes += serde_json::to_string(&alert).map_or(0, |json| json.len());
        self.alerts.entry(incident.clone()).or_default().push(alert);
        Ok(())
    }

    /// All alerts of one incident become another's. How many that has then, as far as they are read.
    pub async fn absorb(&mut self, store: &dyn Store, from: &IncidentId, into: &IncidentId) -> Result<usize, Problem> {
        self.load(store, from).await?;
        self.load(store, into).await?;
        let moved = self.alerts.insert(from.clone(), Vec::new()).unwrap_or_default();
        let alerts = self.alerts.entry(into.clone()).or_default();
        alerts.extend(moved);
        alerts.sort_by_key(|alert| alert.received);
        Ok(alerts.len())
    }

    async fn load(&mut self, store: &dyn Store, incident: &IncidentId) -> Result<(), Problem> {
        if self.alerts.contains_key(incident) {
            return Ok(());
        }
        let mut alerts = Vec::new();
        for record in store.alerts_of(incident).await? {
            alerts.push(self.read(record)?);
        }
        self.alerts.insert(incident.clone(), alerts);
        Ok(())
    }

    /// All alerts of an incident to which one was added.
    pub fn alerts(&self, incident: &IncidentId) -> &[Arc<Alert>] {
        self.alerts.get(incident).map_or(&[], Vec::as_slice)
    }

    /// Puts an incident in the place of the one that is known. Of more alerts than it is assessed over, the newest go.
    pub fn put(&mut self, record: IncidentRecord) {
        if let Some(alerts) = self.alerts.get_mut(&record.incident) {
            alerts.truncate(ASSESSED_MAX);
        }
        self.incidents.insert(record.incident.clone(), record);
    }

    fn read(&mut self, record: AlertRecord) -> Result<Arc<Alert>, Problem> {
        self.bytes += record.normalised.to_string().len();
        serde_json::from_value(record.normalised).map(Arc::new).map_err(internal)
    }
}
