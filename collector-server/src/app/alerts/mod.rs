//! Alerts come in: kept as they came, normalised, assessed, put into their incidents.
//!
//! No alert is lost: what no normaliser understands becomes a `security_alert` with what could be read. Requests find room
//! or are told to come again ([`doors`]), then their alerts wait in lines that are served in turn ([`queue`]), and are
//! placed together, [`AT_A_TIME`] in one commit with their custody leaves: in a storm an incident is assessed once for all
//! of them. Opening an incident takes the next number of the year, so two servers that both open
//! one conflict, and the second looks again and finds the first.

mod batch;
pub mod doors;
mod queue;
mod recall;
mod ties;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit, oneshot};
use triage::{Alert, NotTaken, Parsed};
use wire::api::{AlertReceived, AlertView, AlertsReply, LiveEvent, Page};
use wire::{AlertId, IncidentId, Instant, Sha256};

use super::letters::Undelivered;
use super::signatures::Seen;
use super::triage::off_thread;
use super::{Actor, App, Problem, ProblemKind, page_of, random};
use crate::objects::alert_path;
use crate::store::{AlertRecord, NewLeaf, StoreError};
use batch::{Batch, Closed};
use doors::{Doors, Room};
use queue::{Portion, Queue};
use recall::Recall;

/// The most that is taken in at once.
pub const ALERTS_BYTES_MAX: usize = 1 << 20;
/// Requests whose bytes are read as alerts at a time.
const PARSES_MAX: usize = 4;
/// Alerts in one commit.
const AT_A_TIME: usize = 64;
/// Tries of one commit, each on what the one before it ran into. Within one server alerts wait for each other, so only
/// another server on the same store can make a try fail; the one that knows all it needs is faster, again and again.
const TRIES_MAX: u32 = 64;

/// Alerts are put into incidents one after the other, and what was read for the last ones is kept for the next.
#[derive(Debug, Default)]
pub struct Turn(Mutex<Recall>);

impl Turn {
    /// Waits until no alert is being placed, and keeps others from it as long as the answer is held.
    pub(super) async fn wait(&self) -> impl Drop + Send {
        self.0.lock().await
    }
}

/// The way in, up to the turn.
#[derive(Debug)]
pub struct Intake {
    /// Who may bring alerts now.
    pub doors: Doors,
    /// One for each request whose bytes are being read as alerts.
    parsing: Semaphore,
    queue: Queue,
    /// Requests that were signed and may come once only.
    pub seen: Seen,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            doors: Doors::default(),
            parsing: Semaphore::new(PARSES_MAX),
            queue: Queue::default(),
            seen: Seen::default(),
        }
    }
}

impl Intake {
    /// Waits until one more may be read.
    pub(super) async fn turn_to_parse(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.parsing.acquire().await.map_err(internal)
    }
}

/// A request's alerts, where they come from, and the room that they take until each of them has its place.
#[derive(Debug)]
pub struct Delivery {
    /// What it holds, as it came.
    pub raw: Bytes,
    /// Its room.
    pub room: Room,
    /// Who sent it: an [`Actor`], as custody names it.
    pub sent_by: String,
    /// The product, where the records do not say it.
    pub product: Option<String>,
    /// The id of the token that it came with.
    pub token: Option<String>,
}

/// An alert on its way in.
struct Incoming {
    alert: Alert,
    id: AlertId,
    raw: Bytes,
    sent_by: String,
    source_ref: String,
}

/// Where one of the alerts in a request went.
enum Went {
    /// It came before.
    Before(AlertReceived),
    /// It is the alert of this place in the batch.
    In(usize),
}

impl App {
    /// Room for a request of this caller with a body of so many bytes.
    ///
    /// # Errors
    /// [`ProblemKind::TooMany`], [`ProblemKind::Unavailable`]: it comes again.
    pub fn room_for(&self, by: &Actor, bytes: usize) -> Result<Room, Problem> {
        let name;
        let source = match by {
            Actor::User { token, .. } => token,
            other => {
                name = other.to_string();
                &name
            }
        };
        self.intake.doors.enter(&self.limits, source, bytes, self.clock.boottime_ns())
    }

    /// Takes in all alerts that `raw` holds. `product` names the sender's product, where the records do not say.
    ///
    /// # Errors
    /// As [`App::take_in`], and as [`App::room_for`].
    pub async fn receive_alerts(
        self: &Arc<Self>,
        by: &Actor,
        product: Option<&str>,
        raw: Bytes,
    ) -> Result<AlertsReply, Problem> {
        let room = self.room_for(by, raw.len())?;
        self.take_in(Delivery::new(by, product, raw, room)).await
    }

    /// Takes in all alerts of a request. One that cannot be taken in for what it holds, or for what fails here, is kept as
    /// a dead letter, and the answer says so.
    ///
    /// # Errors
    /// [`ProblemKind::Input`], [`ProblemKind::TooLarge`]: nothing was taken. Any other: alerts before the one that failed
    /// may have been taken; sent again, they are duplicates.
    pub async fn take_in(self: &Arc<Self>, delivery: Delivery) -> Result<AlertsReply, Problem> {
        let undelivered = Undelivered {
            ingest_token: delivery.token.clone(),
            raw: delivery.raw.clone(),
            sent_by: delivery.sent_by.clone(),
            source: delivery.product.clone(),
        };
        match self.take_in_all(delivery).await {
            Err(why) if matches!(why.kind, ProblemKind::Internal | ProblemKind::TooLarge) => {
                Err(self.keep_letter(undelivered, why).await)
            }
            taken => taken,
        }
    }

    /// The same, of which nothing is kept when it fails.
    pub(super) async fn take_in_all(self: &Arc<Self>, delivery: Delivery) -> Result<AlertsReply, Problem> {
        let mut incoming = self.read_alerts(&delivery).await?.into_iter();
        let room = Arc::new(delivery.room);
        let (mut portions, mut answers) = (Vec::new(), Vec::new());
        while !incoming.as_slice().is_empty() {
            let (reply, answer) = oneshot::channel();
            let alerts = incoming.by_ref().take(AT_A_TIME).collect();
            portions.push(Portion { alerts, reply, room: Arc::clone(&room) });
            answers.push(answer);
        }
        self.line_up(portions);
        let mut alerts = Vec::new();
        for answer in answers {
            alerts.extend(answer.await.map_err(|_| internal("the task that places alerts has ended"))??);
        }
        Ok(AlertsReply { alerts })
    }

    /// What the bytes say, off the threads that serve: a mebibyte of records takes its time.
    async fn read_alerts(&self, delivery: &Delivery) -> Result<Vec<Incoming>, Problem> {
        let _one_of_few = self.intake.turn_to_parse().await?;
        let (raw, now, rules) = (delivery.raw.clone(), self.now(), self.site.rules()?);
        match off_thread(move || triage::normalise(&raw, now, &rules)).await? {
            Ok(parsed) => parsed.into_iter().map(|one| incoming_of(delivery, one)).collect(),
            // A poll for findings that found none.
            Err(NotTaken::Empty) if !delivery.raw.trim_ascii().is_empty() => Ok(Vec::new()),
            Err(not_taken) => Err(not_taken_problem(&not_taken)),
        }
    }

    /// Places at most [`AT_A_TIME`] alerts, in one commit.
    async fn receive(&self, incoming: &[&Incoming]) -> Result<Vec<AlertReceived>, Problem> {
        let (rules, known) = (self.site.rules()?, self.known_of_hosts().await?);
        let context = known.context(&rules);
        let mut turn = self.alerts.0.lock().await;
        for _ in 0..TRIES_MAX {
            let (went, new) = self.sort_out(incoming).await?;
            if new.is_empty() {
                return answers(went, &[]);
            }
            let put = async |one: &Incoming| self.objects.put_new(&alert_path(one.id), one.raw.clone()).await;
            try_join_all(new.iter().map(|one| put(one))).await?;
            // Taken out, so that whatever ends this early leaves nothing half true behind.
            let recall = std::mem::take(&mut *turn).refreshed(&*self.store, self.now()).await?;
            let mut batch = Batch::new(&context, recall);
            for one in &new {
                batch.place(&*self.store, one).await?;
            }
            let Closed { changes, leaves, placed, recall } = batch.close(&*self.store).await?;
            let told = leaves.len();
            let said: Vec<_> = leaves.iter().filter_map(server_said).collect();
            match self.store.commit(changes, leaves).await {
                Ok(head) => {
                    *turn = recall.after(told, head);
                    for one in &placed {
                        if let Some(incident) = &one.incident {
                            self.live.tell(incident, LiveEvent::Alert { alert: one.alert, severity: one.severity });
                        }
                    }
                    for (incident, event) in said {
                        self.live.tell(&incident, event);
                    }
                    return answers(went, &placed);
                }
                Err(StoreError::Conflict(what)) => {
                    tracing::debug!(what, "alerts conflict with those of another server");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Problem::new(ProblemKind::Unavailable, "too many alerts come at once").hint("send it again in a moment"))
    }

    /// Parts those that came before, also in this request, from the new ones.
    async fn sort_out<'a>(&self, incoming: &[&'a Incoming]) -> Result<(Vec<Went>, Vec<&'a Incoming>), Problem> {
        let mut places: HashMap<&str, usize> = HashMap::new();
        let (mut went, mut new) = (Vec::with_capacity(incoming.len()), Vec::new());
        for &one in incoming {
            if let Some(place) = places.get(one.source_ref.as_str()) {
                went.push(Went::In(*place));
            } else if let Some(there) = self.store.alert_by_ref(&one.source_ref).await? {
                went.push(Went::Before(self.duplicate(there).await?));
            } else {
                places.insert(&one.source_ref, new.len());
                went.push(Went::In(new.len()));
                new.push(one);
            }
        }
        Ok((went, new))
    }

    async fn duplicate(&self, there: AlertRecord) -> Result<AlertReceived, Problem> {
        let severity = match &there.incident {
            Some(incident) => self.incident_record(incident).await?.assessment.severity,
            None => there.assessment.severity,
        };
        let AlertRecord { alert, correlated, incident, .. } = there;
        Ok(AlertReceived { alert, correlated, duplicate: true, incident, severity })
    }

    /// Alerts, the newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn alerts(&self, after: Option<AlertId>, limit: u32) -> Result<Page<AlertView>, Problem> {
        let records = self.store.alerts(after, limit + 1).await?;
        let page = page_of(records, limit, |record| record.alert.to_string());
        Ok(Page { items: page.items.into_iter().map(view).collect(), next: page.next })
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

/// An alert as it was normalised.
pub(super) fn read(normalised: Value) -> Result<Alert, Problem> {
    serde_json::from_value(normalised).map_err(internal)
}

/// As people are shown it.
pub(super) fn view(record: AlertRecord) -> AlertView {
    let AlertRecord { alert, assessment, correlated, incident, raw_sha256, received, sent_by, title, .. } = record;
    AlertView { alert, assessment, correlated, incident, raw_sha256, received, sent_by, title }
}

impl Delivery {
    /// What this caller brings.
    pub fn new(by: &Actor, product: Option<&str>, raw: Bytes, room: Room) -> Self {
        let token = if let Actor::User { token, .. } = by { Some(token.clone()) } else { None };
        Self { raw, room, sent_by: by.to_string(), product: product.map(str::to_owned), token }
    }
}

fn incoming_of(delivery: &Delivery, parsed: Parsed) -> Result<Incoming, Problem> {
    let Parsed { mut alert, raw } = parsed;
    alert.ingest_token.clone_from(&delivery.token);
    // Only where the record does not say it: Falco's alert stays Falco's, whatever relays it.
    let is_unsaid = alert.product == alert.source && ["generic", "plain"].contains(&alert.source.as_str());
    if let Some(product) = delivery.product.as_ref().filter(|_| is_unsaid) {
        alert.product.clone_from(product);
    }
    let id = AlertId::new(unix_ms(alert.received), random()?);
    let (sent_by, source_ref) = (delivery.sent_by.clone(), source_ref(&alert));
    Ok(Incoming { alert, id, raw: raw.into(), sent_by, source_ref })
}

/// What the server did to an incident beside placing an alert.
fn server_said(leaf: &NewLeaf) -> Option<(IncidentId, LiveEvent)> {
    let incident = leaf.incident.clone().filter(|_| leaf.actor == "server")?;
    Some((incident, LiveEvent::Case { actor: leaf.actor.clone(), event: leaf.event.to_owned(), time: leaf.time }))
}

/// `INC-<year>-<number>`.
pub(super) fn numbered(year: i16, number: u32) -> Result<IncidentId, Problem> {
    format!("INC-{year}-{number:04}").parse().map_err(internal)
}

/// The year in which an incident is numbered.
pub(super) fn year(at: Instant) -> i16 {
    at.calendar().to_zoned(jiff::tz::TimeZone::UTC).year()
}

/// One answer for each alert of a request, in their order; of two that are the same, the second is a duplicate.
fn answers(went: Vec<Went>, placed: &[AlertReceived]) -> Result<Vec<AlertReceived>, Problem> {
    let mut is_told = vec![false; placed.len()];
    let answer = |went| match went {
        Went::Before(received) => Ok(received),
        Went::In(place) => match (placed.get(place), is_told.get_mut(place)) {
            (Some(received), Some(is_told)) => {
                Ok(AlertReceived { duplicate: std::mem::replace(is_told, true), ..received.clone() })
            }
            _ => Err(internal("an alert has no place in its batch")),
        },
    };
    went.into_iter().map(answer).collect()
}

/// One for each record of a product, however often and by whomever it is sent.
fn source_ref(alert: &Alert) -> String {
    match &alert.source_ref {
        Some(id) => format!("{}:{id}", alert.product),
        None => format!("sha256:{}", alert.raw_sha256),
    }
}

pub(super) fn unix_ms(at: Instant) -> u64 {
    u64::try_from(at.0 / 1_000_000).unwrap_or(0)
}

pub(super) fn not_taken_problem(not_taken: &NotTaken) -> Problem {
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
