//! Bundles on their way in: who may begin an upload, and to which incident it belongs.
//!
//! What was acknowledged is durable, in this order: the segment lies in the object store, then the record says so, then
//! the client is told. A server that dies in between leaves an object that nobody was told of; its bytes come again,
//! perhaps cut elsewhere, and lie under another name.

pub mod append;
pub mod checkpoints;
pub mod spooled;
pub mod tally;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Moment};

use serde_json::json;
use ssh_key::PublicKey;
use tokio::sync::Notify;
use wire::api::{EvidenceState, EvidenceView, LiveEvent, RunPart};
use wire::order::OrderState;
use wire::ticket::TicketKind;
use wire::{BundleId, IncidentId, Instant, OrderId, Sha256, UploadId};

use super::{Actor, App, Problem, ProblemKind, details, random};
use crate::store::{Change, EvidenceRecord, NewLeaf, StoreError};
use tally::Tally;

/// An upload can be continued for so long after its last byte: a day more than an agent keeps what waits for the server.
const CONTINUED_SECS_MAX: i128 = 8 * 24 * 3600;
/// Bundles that are being received at a time, of all owners.
const OPEN_MAX: usize = 900;
const NAME_CHARS_MAX: usize = 200;
const SIGNER_BYTES_MAX: usize = 1024;

/// What somebody who begins an upload says of it.
#[derive(Clone, Debug)]
pub struct NewUpload {
    /// The bundle of the same run that it stands beside, where it does.
    pub belongs_to: Option<BundleId>,
    /// The bundle's id.
    pub bundle: BundleId,
    /// The part of the run before this one.
    pub continues: Option<BundleId>,
    /// The incident, where a person brings it.
    pub incident: Option<IncidentId>,
    /// The length, where it is known already.
    pub length: Option<u64>,
    /// The name of the file.
    pub name: Option<String>,
    /// The order, where an agent answers one.
    pub order: Option<OrderId>,
    /// The key that signs the transport checkpoints.
    pub signer: Option<String>,
}

/// The uploads that somebody worked on a moment ago. What is here can be made again from the records.
#[derive(Debug, Default)]
pub struct Uploads {
    /// Held while an upload is begun: its bounds count what others have open.
    beginning: tokio::sync::Mutex<()>,
    slots: Mutex<HashMap<BundleId, Arc<Slot>>>,
}

/// One upload.
#[derive(Debug)]
struct Slot {
    /// Held while the tally is made again.
    counting: tokio::sync::Mutex<()>,
    /// Notified when another request wants to write: whoever waits for bytes of a dead connection lets go.
    takeover: Notify,
    tally: Mutex<Option<Tally>>,
    used: Mutex<Moment>,
    /// Held while checkpoints are added or the view is read and written again.
    view: Arc<tokio::sync::Mutex<()>>,
    /// Held by the one who writes.
    writer: Arc<tokio::sync::Mutex<()>>,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            counting: tokio::sync::Mutex::default(),
            takeover: Notify::new(),
            tally: Mutex::default(),
            used: Mutex::new(Moment::now()),
            view: Arc::default(),
            writer: Arc::default(),
        }
    }
}

impl Slot {
    /// A wish to write that came too late for the one who wrote is none against the one who writes next.
    fn forget_takeover(&self) {
        let mut wish = std::pin::pin!(self.takeover.notified());
        wish.as_mut().enable();
    }
}

impl Uploads {
    fn slot(&self, bundle: BundleId) -> Arc<Slot> {
        let slot = Arc::clone(lock(&self.slots).entry(bundle).or_default());
        *lock(&slot.used) = Moment::now();
        slot
    }

    /// The lock under which the view of a bundle is read and written again.
    pub(super) fn view_lock(&self, bundle: BundleId) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.slot(bundle).view)
    }

    /// Whoever writes to this bundle lets go.
    pub(super) fn break_off(&self, bundle: BundleId) {
        if let Some(slot) = lock(&self.slots).get(&bundle) {
            slot.takeover.notify_one();
        }
    }

    /// Forgets what nobody has worked on for so long.
    pub(super) fn forget_idle(&self, idle: Duration) {
        lock(&self.slots).retain(|_, slot| Arc::strong_count(slot) > 1 || lock(&slot.used).elapsed() < idle);
    }
}

/// A panic while one of these locks was held leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What follows from who begins the upload.
struct Origin {
    certificate_serial: Option<String>,
    incident: IncidentId,
    signer: Option<String>,
    /// What is used up by it.
    uses: Option<Change>,
}

impl App {
    /// Begins an upload. Begun again by the same owner for the same bundle, it is the one that is there.
    ///
    /// # Errors
    /// [`ProblemKind::Input`], [`ProblemKind::Forbidden`] for another's order, [`ProblemKind::Conflict`] for a bundle that
    /// somebody else brings, [`ProblemKind::TooLarge`], [`ProblemKind::TooMany`], [`ProblemKind::Full`].
    pub async fn begin_upload(&self, by: &Actor, new: NewUpload) -> Result<EvidenceRecord, Problem> {
        check_length(new.length, self.limits.bundle_bytes_max)?;
        let _one_at_a_time = self.uploads.beginning.lock().await;
        if let Some(there) = self.store.evidence(new.bundle).await? {
            return self.begun_again(by, there, new.length).await;
        }
        let origin = self.origin(by, &new).await?;
        self.check_room(by).await?;
        let record = self.record_of(by, &new, &origin)?;
        let leaf = NewLeaf {
            actor: by.to_string(),
            details: details([
                ("belongs_to", json!(new.belongs_to)),
                ("continues", json!(new.continues)),
                ("certificate_serial", json!(record.certificate_serial)),
                ("name", json!(record.view.name)),
                ("order", json!(record.view.order)),
                ("signer", json!(record.signer)),
                ("upload", json!(record.upload)),
            ]),
            event: "upload_begun",
            incident: Some(record.view.incident.clone()),
            subject: format!("bundle:{}", new.bundle),
            time: record.view.received,
        };
        let mut changes: Vec<Change> = origin.uses.into_iter().collect();
        changes.push(Change::AddEvidence(Box::new(record.clone())));
        changes.push(Change::Touch(record.view.incident.clone(), record.view.received));
        match self.store.commit(changes, vec![leaf]).await {
            Ok(_) => {}
            Err(StoreError::Conflict(what)) => {
                return Err(Problem::new(ProblemKind::Conflict, what)
                    .hint("an upload ticket lets one bundle in; ask for another, or look at what is there"));
            }
            Err(error) => return Err(error.into()),
        }
        self.tell_evidence(&record.view);
        tracing::info!(bundle = %new.bundle, %by, "upload begun");
        Ok(record)
    }

    /// The upload, for its owner.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`], also for one of somebody else.
    pub async fn upload(&self, by: &Actor, upload: UploadId) -> Result<EvidenceRecord, Problem> {
        let record = self.store.evidence_by_upload(upload).await?;
        record.filter(|record| record.view.brought_by == by.to_string()).ok_or_else(|| {
            Problem::new(ProblemKind::NotFound, format!("there is no upload {upload} of {by}"))
                .hint("begin it again: the same bundle gives the same upload")
        })
    }

    /// Until when an upload can be continued; `None` when all of it is there.
    pub fn continued_until(&self, record: &EvidenceRecord) -> Option<Instant> {
        let is_whole = record.length == Some(record.offset);
        (!is_whole).then(|| Instant(record.last_seen.0 + CONTINUED_SECS_MAX * 1_000_000_000))
    }

    /// The owner sends no more. What came is evidence, and stays.
    ///
    /// # Errors
    /// As [`App::upload`].
    pub async fn end_upload(&self, by: &Actor, upload: UploadId) -> Result<(), Problem> {
        let record = self.upload(by, upload).await?;
        let leaf = NewLeaf {
            actor: by.to_string(),
            details: details([("bytes", json!(record.offset)), ("length", json!(record.length))]),
            event: "upload_ended",
            incident: Some(record.view.incident.clone()),
            subject: format!("bundle:{}", record.view.bundle),
            time: self.now(),
        };
        if record.view.state == EvidenceState::Receiving {
            // Nothing can follow: its length is what came.
            let closed = record.length.is_none().then_some(Change::Length(record.view.bundle, record.offset));
            self.store.commit(closed.into_iter().collect(), vec![leaf]).await?;
            self.ingest.now(record.view.bundle);
        }
        Ok(())
    }

    async fn begun_again(
        &self,
        by: &Actor,
        there: EvidenceRecord,
        length: Option<u64>,
    ) -> Result<EvidenceRecord, Problem> {
        let bundle = there.view.bundle;
        if there.view.brought_by != by.to_string() {
            return Err(Problem::new(ProblemKind::Conflict, format!("bundle {bundle} is there already"))
                .hint("somebody else brought it; look at it with: holdfast evidence list"));
        }
        match (there.length, length) {
            (None, Some(length)) => self.declare_length(&there, length).await,
            (Some(known), Some(length)) if known != length => {
                Err(Problem::new(ProblemKind::Conflict, format!("bundle {bundle} was declared with {known} bytes"))
                    .hint("a bundle never changes; another one has another id"))
            }
            _ => Ok(there),
        }
    }

    async fn declare_length(&self, there: &EvidenceRecord, length: u64) -> Result<EvidenceRecord, Problem> {
        check_length(Some(length), self.limits.bundle_bytes_max)?;
        self.store.commit(vec![Change::Length(there.view.bundle, length)], Vec::new()).await?;
        if there.offset == length {
            self.ingest.soon(there.view.bundle);
        }
        Ok(EvidenceRecord { length: Some(length), ..there.clone() })
    }

    async fn origin(&self, by: &Actor, new: &NewUpload) -> Result<Origin, Problem> {
        let claimed = new.signer.as_deref().map(plain_key).transpose()?;
        match by {
            Actor::Agent { agent, serial } => {
                let signer = self.enrolled(agent).await?.signer;
                if claimed.is_some_and(|claimed| claimed != signer) {
                    return Err(Problem::new(
                        ProblemKind::Forbidden,
                        format!("the agent {agent} has another signing key"),
                    )
                    .hint("an enrolled agent's bundles are signed with the key that it was enrolled with"));
                }
                let incident = self.incident_of_order(by, new).await?;
                Ok(Origin { certificate_serial: Some(serial.clone()), incident, signer: Some(signer), uses: None })
            }
            Actor::Ticket { ticket } => self.ticket_origin(ticket, new, claimed).await,
            Actor::User { .. } | Actor::Server => {
                let Some(incident) = new.incident.clone() else {
                    return Err(Problem::new(ProblemKind::Input, "the upload names no incident")
                        .hint("Upload-Metadata: incident BASE64, or ?incident=INC-…"));
                };
                if self.store.incident(&incident).await?.is_none() {
                    return Err(Problem::new(ProblemKind::NotFound, format!("there is no incident {incident}"))
                        .hint("what there is stands in: holdfast incident list"));
                }
                Ok(Origin { certificate_serial: None, incident, signer: claimed, uses: None })
            }
        }
    }

    /// An agent uploads the bundle of its own order, while that runs.
    async fn incident_of_order(&self, by: &Actor, new: &NewUpload) -> Result<IncidentId, Problem> {
        let Some(order) = new.order else {
            return Err(Problem::new(ProblemKind::Input, "the upload names no order")
                .hint("an agent uploads what an order asked for; without one, a ticket or a person brings it"));
        };
        let record = self.own_order(by, order).await?;
        // A part comes after a part of the same run, also when that has waited on the host until the run was over.
        if let Some(before) = new.continues
            && self.part_before(by, before).await?.view.order == Some(order)
        {
            return Ok(record.incident);
        }
        // What stands beside the order's bundle comes while that order runs.
        if record.state != OrderState::Running || record.bundle != Some(new.belongs_to.unwrap_or(new.bundle)) {
            let state = record.state.name();
            let message = format!("order {order} is {state}, and its bundle is not known to be {}", new.bundle);
            return Err(
                Problem::new(ProblemKind::Conflict, message).hint("tell that it started, with this bundle, first")
            );
        }
        Ok(record.incident)
    }

    /// The part that an upload continues, when the same owner brought it.
    async fn part_before(&self, by: &Actor, before: BundleId) -> Result<EvidenceRecord, Problem> {
        let record = self.store.evidence(before).await?;
        record.filter(|record| record.view.brought_by == by.to_string()).ok_or_else(|| {
            Problem::new(ProblemKind::Conflict, format!("{by} brought no bundle {before} that could go on"))
                .hint("the parts of a run come in their order, by the same way")
        })
    }

    async fn ticket_origin(&self, ticket: &str, new: &NewUpload, signer: Option<String>) -> Result<Origin, Problem> {
        let unknown = || {
            Problem::new(ProblemKind::Credentials, "this upload ticket cannot be used")
                .hint("ask a responder for another")
        };
        let id: Sha256 = ticket.parse().map_err(|_| unknown())?;
        let record = self.store.ticket(id).await?.ok_or_else(unknown)?;
        let incident = record.incident.ok_or_else(unknown)?;
        // One use is one run, in however many parts.
        if record.used_by.is_some()
            && let Some(before) = new.continues
        {
            let by = Actor::Ticket { ticket: ticket.to_owned() };
            let announced = self.part_before(&by, before).await?.signer;
            if announced != signer {
                return Err(Problem::new(ProblemKind::Forbidden, "the part before was signed with another key")
                    .hint("one run is signed with one key"));
            }
            return Ok(Origin { certificate_serial: None, incident, signer, uses: None });
        }
        if record.used_by.is_some() {
            return Err(Problem::new(ProblemKind::Forbidden, "this upload ticket was used for another bundle")
                .hint("ask a responder for another; if that was not you, somebody else had it: say so"));
        }
        let uses =
            Change::UseTicket { ticket: id, at: self.now(), by: new.bundle.to_string(), kind: TicketKind::Upload };
        Ok(Origin { certificate_serial: None, incident, signer, uses: Some(uses) })
    }

    async fn check_room(&self, by: &Actor) -> Result<(), Problem> {
        let open = self.store.evidence_in(EvidenceState::Receiving).await?;
        let own = open.iter().filter(|record| record.view.brought_by == by.to_string()).count();
        if own >= self.limits.uploads_of_owner_max || open.len() >= OPEN_MAX {
            return Err(Problem::new(
                ProblemKind::TooMany,
                format!("{by} has {own} uploads open, the server {}", open.len()),
            )
            .hint("bring one to its end, or end it with DELETE"));
        }
        self.check_disk(0)
    }

    /// Keeps the floor of free space, with `bytes` more. In a bucket there is none to keep.
    fn check_disk(&self, bytes: u64) -> Result<(), Problem> {
        let free = self
            .objects
            .free_bytes()
            .map_err(|error| Problem::new(ProblemKind::Internal, "the object store does not answer").cause(error))?;
        if free.is_none_or(|free| free >= self.limits.free_bytes_min.saturating_add(bytes)) {
            return Ok(());
        }
        Err(Problem::new(ProblemKind::Full, "the server has no room for more evidence")
            .hint("the operator must make room where the objects lie; what was acknowledged is safe"))
    }

    fn record_of(&self, by: &Actor, new: &NewUpload, origin: &Origin) -> Result<EvidenceRecord, Problem> {
        let now = self.now();
        let unix_ms = u64::try_from(now.0 / 1_000_000).unwrap_or(0);
        let name = new.name.as_deref().map(plain_name).filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| format!("{}.evidence.zip", new.bundle));
        let view = EvidenceView {
            brought_by: by.to_string(),
            bundle: new.bundle,
            bytes: 0,
            contradictions: Vec::new(),
            // Until its first bytes were seen.
            encrypted: name.ends_with(".age"),
            findings: Vec::new(),
            found: None,
            host: String::new(),
            incident: origin.incident.clone(),
            items: std::collections::BTreeMap::new(),
            name,
            order: new.order.filter(|_| matches!(by, Actor::Agent { .. })),
            part: new.continues.map(|before| RunPart { continues: Some(before), ..RunPart::default() }),
            profile: None,
            receipts: Vec::new(),
            received: now,
            sha256: None,
            signer: None,
            signer_principal: None,
            state: EvidenceState::Receiving,
            tiers: Vec::new(),
            trust: None,
            verified_to: 0,
        };
        Ok(EvidenceRecord {
            certificate_serial: origin.certificate_serial.clone(),
            last_seen: now,
            length: new.length,
            offset: 0,
            signer: origin.signer.clone(),
            upload: UploadId::new(unix_ms, random()?),
            view,
        })
    }

    /// What people are shown of an upload, as it stands in the records.
    async fn upload_view(&self, upload: UploadId) -> Result<EvidenceView, Problem> {
        let record = self.store.evidence_by_upload(upload).await?;
        record
            .map(|record| record.view)
            .ok_or_else(|| Problem::new(ProblemKind::NotFound, format!("there is no upload {upload}")))
    }

    /// Tells those who follow the incident that a bundle changed its state.
    pub(super) fn tell_evidence(&self, view: &EvidenceView) {
        self.live.tell(&view.incident, LiveEvent::Evidence { bundle: view.bundle, state: view.state });
    }

    /// The tally of an upload, made again when it is not at hand.
    async fn tally(&self, slot: &Slot, record: &EvidenceRecord) -> Result<Tally, Problem> {
        let _one_at_a_time = slot.counting.lock().await;
        if let Some(tally) = lock(&slot.tally).as_ref().filter(|tally| tally.offset() >= record.offset) {
            return Ok(tally.clone());
        }
        let bundle = record.view.bundle;
        let mut segments = self.store.segments(bundle).await?;
        segments.retain(|segment| segment.offset < record.offset);
        let reader = self.objects.reader(bundle, segments.clone(), record.offset);
        let lost = |error: &dyn std::fmt::Display| {
            Problem::new(ProblemKind::Internal, format!("what is held of bundle {bundle} cannot be read"))
                .hint("the operator finds the cause in the server's log")
                .cause(error)
        };
        let counted = tokio::task::spawn_blocking(move || Tally::of(reader, &segments)).await;
        let tally = counted.map_err(|error| lost(&error))?.map_err(|error| lost(&error))?;
        *lock(&slot.tally) = Some(tally.clone());
        Ok(tally)
    }
}

fn check_length(length: Option<u64>, bytes_max: u64) -> Result<(), Problem> {
    match length {
        Some(length) if length > bytes_max => {
            Err(Problem::new(ProblemKind::TooLarge, format!("a bundle of {length} bytes is longer than {bytes_max}"))
                .hint("collect less at a time, or ask the operator for a higher limit"))
        }
        _ => Ok(()),
    }
}

/// A public key in the one way in which it is written here.
fn plain_key(text: &str) -> Result<String, Problem> {
    let key = PublicKey::from_openssh(text.trim()).ok().filter(|_| text.len() <= SIGNER_BYTES_MAX);
    let line = key.and_then(|mut key| {
        key.set_comment("");
        key.to_openssh().ok()
    });
    line.ok_or_else(|| {
        Problem::new(ProblemKind::Input, "the upload's signer is no public key").hint("\"ssh-ed25519 AAAA…\" is wanted")
    })
}

/// A file's name that leads nowhere and breaks no header.
fn plain_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    name.chars().take(NAME_CHARS_MAX).map(plain).collect::<String>().trim_start_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keys_are_made_plain() {
        assert_eq!(plain_name("../../etc/passwd\n"), "_.._etc_passwd_");
        assert_eq!(plain_name("web-1_2026.evidence.zip"), "web-1_2026.evidence.zip");
        assert_eq!(plain_name(&"ü".repeat(900)).len(), NAME_CHARS_MAX);
        let line = bundle::sign::SigningKey::from_seed(&[1; 32]).public_line();
        assert_eq!(plain_key(&format!("{line} root@web-1\n")).unwrap(), line);
        assert!(plain_key("ssh-ed25519 AAAA").is_err() && plain_key("").is_err());
    }
}
