//! An alert comes in: kept as it came, normalised, assessed, put into its incident.
//!
//! No alert is lost: what no normaliser understands becomes a `security_alert` with what could be read. Each alert is one
//! commit with its custody leaves. Opening an incident takes the next number of the year, so two alerts that both open
//! one conflict, and the second looks again and finds the first.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use triage::{Alert, Context, NotTaken, Parsed, Rules};
use wire::api::{AlertReceived, AlertView, AlertsReply, LiveEvent};
use wire::assessment::Assessment;
use wire::{AlertId, IncidentId, Instant, Sha256};

use super::{Actor, App, Problem, ProblemKind, random};
use crate::objects::alert_path;
use crate::store::{AlertRecord, Change, IncidentRecord, NewLeaf, StoreError};

/// The most that is taken in at once.
pub const ALERTS_BYTES_MAX: usize = 1 << 20;
/// Tries of one alert, each on what the one before it ran into. Within one server alerts wait for each other, so only
/// another server on the same store can make a try fail.
const TRIES_MAX: u32 = 8;

/// Alerts are put into incidents one after the other.
#[derive(Debug, Default)]
pub struct Turn(Mutex<()>);

impl App {
    /// Takes in all alerts that `raw` holds. `product` names the sender's product, where the records do not say.
    ///
    /// # Errors
    /// [`ProblemKind::Input`], [`ProblemKind::TooLarge`]: nothing was taken. Any other: the alerts before the one that
    /// failed were taken; sent again, they are duplicates.
    pub async fn receive_alerts(&self, by: &Actor, product: Option<&str>, raw: Bytes) -> Result<AlertsReply, Problem> {
        let received = self.now();
        let parsed = match triage::normalise(&raw, received) {
            Ok(parsed) => parsed,
            // A poll for findings that found none.
            Err(NotTaken::Empty) if !raw.trim_ascii().is_empty() => Vec::new(),
            Err(not_taken) => return Err(not_taken_problem(&not_taken)),
        };
        let mut alerts = Vec::with_capacity(parsed.len());
        for one in parsed {
            alerts.push(self.receive(by, product, one).await?);
        }
        Ok(AlertsReply { alerts })
    }

    async fn receive(&self, by: &Actor, product: Option<&str>, parsed: Parsed) -> Result<AlertReceived, Problem> {
        let Parsed { mut alert, raw } = parsed;
        if let Actor::User { token, .. } = by {
            alert.ingest_token = Some(token.clone());
        }
        // Only where the record does not say it: Falco's alert stays Falco's, whatever relays it.
        let is_unsaid = alert.product == alert.source && ["generic", "plain"].contains(&alert.source.as_str());
        if let Some(product) = product.filter(|_| is_unsaid) {
            product.clone_into(&mut alert.product);
        }
        let rules = Rules::shipped().map_err(|mistakes| {
            Problem::new(ProblemKind::Internal, "the server's triage rules cannot be read").cause(mistakes)
        })?;
        let context = Context::with(rules);
        let id = AlertId::new(unix_ms(alert.received), random()?);
        let _turn = self.alerts.0.lock().await;
        let source_ref = source_ref(&alert);
        if let Some(there) = self.store.alert_by_ref(&source_ref).await? {
            return self.duplicate(there).await;
        }
        self.objects.put_new(&alert_path(id), Bytes::from(raw)).await?;
        let mut tries = 1;
        loop {
            let place = self.place(by, id, &source_ref, &alert, &context).await?;
            match self.store.commit(place.changes, place.leaves).await {
                Ok(_) => {
                    if let Some(incident) = &place.received.incident {
                        self.live.tell(incident, LiveEvent::Alert { alert: id, severity: place.received.severity });
                    }
                    return Ok(place.received);
                }
                Err(StoreError::Conflict(_)) if tries < TRIES_MAX => tries += 1,
                Err(StoreError::Conflict(what)) => {
                    return Err(Problem::new(ProblemKind::Unavailable, "too many alerts come at once")
                        .hint("send it again in a moment")
                        .cause(what));
                }
                Err(error) => return Err(error.into()),
            }
            if let Some(there) = self.store.alert_by_ref(&source_ref).await? {
                return self.duplicate(there).await;
            }
        }
    }

    async fn duplicate(&self, there: AlertRecord) -> Result<AlertReceived, Problem> {
        let severity = match &there.incident {
            Some(incident) => self.incident_record(incident).await?.assessment.severity,
            None => there.assessment.severity,
        };
        let AlertRecord { alert, correlated, incident, .. } = there;
        Ok(AlertReceived { alert, correlated, duplicate: true, incident, severity })
    }

    /// What to write so that the alert stands where it belongs, as things are now.
    async fn place(
        &self,
        by: &Actor,
        id: AlertId,
        source_ref: &str,
        alert: &Alert,
        context: &Context<'_>,
    ) -> Result<Place, Problem> {
        let alone = triage::assess(&[alert], context);
        let mut record = AlertRecord {
            alert: id,
            assessment: alone,
            correlated: None,
            incident: None,
            normalised: serde_json::to_value(alert).map_err(internal)?,
            raw_sha256: alert.raw_sha256,
            received: alert.received,
            sent_by: by.to_string(),
            source_ref: source_ref.to_owned(),
            title: alert.title.clone(),
        };
        if record.assessment.auto_close {
            return Ok(Place::of(by, record, None, Vec::new(), Vec::new()));
        }
        match self.relative(alert).await? {
            Some((incident, reason)) => {
                record.incident = Some(incident.incident.clone());
                record.correlated = Some(reason);
                self.join(by, record, incident, alert, context).await
            }
            None => self.open(by, record).await,
        }
    }

    /// The incident that the alert belongs to: of all that it could, the worst, and of those the last that grew.
    async fn relative(&self, alert: &Alert) -> Result<Option<(IncidentRecord, String)>, Problem> {
        let since = Instant(alert.received.0 - i128::from(triage::correlate::WINDOW_SECS) * 1_000_000_000);
        let mut reasons: Vec<(IncidentId, String)> = Vec::new();
        for other in self.store.alerts_since(since).await? {
            let Some(incident) = other.incident else { continue };
            if reasons.iter().any(|(known, _)| *known == incident) {
                continue;
            }
            let other: Alert = serde_json::from_value(other.normalised).map_err(internal)?;
            if let Some(reason) = triage::correlates(alert, &other) {
                reasons.push((incident, reason));
            }
        }
        let mut best: Option<(IncidentRecord, String)> = None;
        for (incident, reason) in reasons {
            let incident = self.incident_record(&incident).await?;
            if best.as_ref().is_none_or(|(best, _)| incident.assessment.severity > best.assessment.severity) {
                best = Some((incident, reason));
            }
        }
        Ok(best)
    }

    async fn join(
        &self,
        by: &Actor,
        record: AlertRecord,
        incident: IncidentRecord,
        alert: &Alert,
        context: &Context<'_>,
    ) -> Result<Place, Problem> {
        let mut all = Vec::new();
        for other in self.store.alerts_of(&incident.incident).await? {
            all.push(serde_json::from_value::<Alert>(other.normalised).map_err(internal)?);
        }
        let all: Vec<&Alert> = all.iter().chain([alert]).collect();
        let assessment = triage::assess(&all, context);
        let mut leaves = vec![leaf(
            by,
            &record,
            "alert_correlated",
            json!({ "reason": record.correlated, "into": incident.incident }),
        )];
        leaves.extend(severity_leaf(&record, &incident.assessment, &assessment));
        let incident = IncidentRecord {
            assessment,
            updated: record.received.max(incident.updated),
            version: incident.version + 1,
            ..incident
        };
        let severity = incident.assessment.severity;
        Ok(Place::of(by, record, Some(severity), vec![Change::PutIncident(Box::new(incident))], leaves))
    }

    async fn open(&self, by: &Actor, mut record: AlertRecord) -> Result<Place, Problem> {
        let year = record.received.calendar().to_zoned(jiff::tz::TimeZone::UTC).year();
        let number = self.store.last_incident_number(year).await? + 1;
        let id: IncidentId = format!("INC-{year}-{number:04}").parse().map_err(internal)?;
        let incident = IncidentRecord {
            assessment: record.assessment.clone(),
            incident: id.clone(),
            opened: record.received,
            title: record.title.clone(),
            updated: record.received,
            version: 1,
        };
        record.incident = Some(id.clone());
        let assessment = &incident.assessment;
        let details = json!({ "incident_type": assessment.incident_type, "severity": assessment.severity });
        let opened =
            NewLeaf { subject: format!("incident:{id}"), ..leaf(&Actor::Server, &record, "incident_opened", details) };
        let severity = assessment.severity;
        Ok(Place::of(by, record, Some(severity), vec![Change::AddIncident(Box::new(incident))], vec![opened]))
    }

    /// An alert.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`].
    pub async fn alert(&self, alert: AlertId) -> Result<AlertView, Problem> {
        self.alert_record(alert).await.map(view)
    }

    /// An alert's bytes as they came.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`].
    pub async fn alert_raw(&self, alert: AlertId) -> Result<Bytes, Problem> {
        let record = self.alert_record(alert).await?;
        let raw = self.objects.read(&alert_path(alert), ALERTS_BYTES_MAX as u64).await?;
        if Sha256::of(&raw) == record.raw_sha256 {
            return Ok(raw);
        }
        Err(Problem::new(ProblemKind::Internal, format!("the bytes of alert {alert} are not those that came"))
            .hint("tell the operator: an object was changed behind the server's back"))
    }

    async fn alert_record(&self, alert: AlertId) -> Result<AlertRecord, Problem> {
        let record = self.store.alert(alert).await?;
        record.ok_or_else(|| Problem::new(ProblemKind::NotFound, format!("there is no alert {alert}")))
    }
}

/// As people are shown it.
pub(super) fn view(record: AlertRecord) -> AlertView {
    let AlertRecord { alert, assessment, correlated, incident, raw_sha256, received, sent_by, title, .. } = record;
    AlertView { alert, assessment, correlated, incident, raw_sha256, received, sent_by, title }
}

/// Everything that one alert changes, and what its sender is told.
struct Place {
    changes: Vec<Change>,
    leaves: Vec<NewLeaf>,
    received: AlertReceived,
}

impl Place {
    fn of(
        by: &Actor,
        record: AlertRecord,
        severity: Option<wire::assessment::Severity>,
        mut changes: Vec<Change>,
        decisions: Vec<NewLeaf>,
    ) -> Self {
        let received = AlertReceived {
            alert: record.alert,
            correlated: record.correlated.clone(),
            duplicate: false,
            incident: record.incident.clone(),
            severity: severity.unwrap_or(record.assessment.severity),
        };
        let details = json!({
            "auto_close": record.assessment.auto_close,
            "raw_sha256": record.raw_sha256,
            "source": record.assessment.source,
        });
        let mut leaves = vec![leaf(by, &record, "alert_received", details)];
        leaves.extend(decisions);
        changes.push(Change::AddAlert(Box::new(record)));
        Self { changes, leaves, received }
    }
}

fn leaf(by: &Actor, record: &AlertRecord, event: &'static str, details: Value) -> NewLeaf {
    let details = if let Value::Object(details) = details { details } else { Map::new() };
    let subject = format!("alert:{}", record.alert);
    let (incident, time) = (record.incident.clone(), record.received);
    NewLeaf { actor: by.to_string(), details, event, incident, subject, time }
}

fn severity_leaf(record: &AlertRecord, before: &Assessment, after: &Assessment) -> Option<NewLeaf> {
    let incident = record.incident.as_ref()?;
    (before.severity != after.severity).then(|| NewLeaf {
        subject: format!("incident:{incident}"),
        ..leaf(
            &Actor::Server,
            record,
            "severity_changed",
            json!({ "alert": record.alert, "from": before.severity, "to": after.severity }),
        )
    })
}

/// One for each record of a product, however often and by whomever it is sent.
fn source_ref(alert: &Alert) -> String {
    match &alert.source_ref {
        Some(id) => format!("{}:{id}", alert.product),
        None => format!("sha256:{}", alert.raw_sha256),
    }
}

fn unix_ms(at: Instant) -> u64 {
    u64::try_from(at.0 / 1_000_000).unwrap_or(0)
}

fn not_taken_problem(not_taken: &NotTaken) -> Problem {
    let text = not_taken.to_string();
    let (message, hint) = text.split_once("\n  hint: ").unwrap_or((&text, "send an alert as its product made it"));
    let kind = match not_taken {
        NotTaken::Empty => ProblemKind::Input,
        NotTaken::TooLong(_) | NotTaken::TooMany => ProblemKind::TooLarge,
    };
    Problem::new(kind, message).hint(hint)
}

fn internal(error: impl std::fmt::Display) -> Problem {
    Problem::new(ProblemKind::Internal, "the server cannot read its own record of an alert").cause(error)
}
