//! What changes: alerts and incidents, hosts, orders, evidence, tokens, and the custody log.
//!
//! All writing goes through [`Store::commit`]: any number of changes and the custody leaves that record them, durable
//! together or not at all. One conformance suite runs against every backend.

#[cfg(test)]
mod conformance;
pub mod sql;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wire::agent_api::HostFacts;
use wire::api::{ConsoleView, DeadLetter, EvidenceState, EvidenceView, PageView, Role, TimedEvent};
use wire::assessment::{Assessment, Severity};
use wire::case::{Case, Edit, Stamp};
use wire::containment::{Approval, Directive};
use wire::custody::{HeadPoint, Leaf};
use wire::finding::{FindingsReport, Found};
use wire::host::{Beat, HostMarks, Label};
use wire::hunt::HuntState;
use wire::order::OrderState;
use wire::receipt::Receipt;
use wire::signed::Signed;
use wire::ticket::TicketKind;
use wire::{
    AgentId, AlertId, BundleId, EditId, HuntId, IncidentId, Instant, LetterId, OrderId, PageId, Sha256, UploadId,
};

use crate::objects::Segment;

/// Events that are kept of one order; progress counts once.
pub const ORDER_EVENTS_MAX: usize = 64;

/// Ties that are found for one alert.
pub const TIES_MAX: u32 = 256;
/// Absorbed incidents that are listed.
pub const ABSORBED_MAX: u32 = 100;

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What a change assumed no longer holds: look again. Nothing was changed.
    #[error("{0}")]
    Conflict(String),
    /// The backend failed. Nothing was changed.
    #[error("the store failed")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An alert as it was received, and what was made of it. Never changed; only its incident may be.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRecord {
    /// Its id.
    pub alert: AlertId,
    /// What triage makes of it alone.
    pub assessment: Assessment,
    /// Why it stood in its first incident, when it did not open it.
    pub correlated: Option<String>,
    /// When it happened, in seconds since the epoch.
    pub happened_secs: i64,
    /// The incident; none when it was closed by itself.
    pub incident: Option<IncidentId>,
    /// Under which other alerts find it (`triage::correlate`).
    pub keys: BTreeSet<String>,
    /// The normalised alert as JSON (`triage::Alert`).
    pub normalised: Value,
    /// Digest of its bytes, which lie in the object store as `alerts/<alert>`.
    pub raw_sha256: Sha256,
    /// When it came.
    pub received: Instant,
    /// Who sent it.
    pub sent_by: String,
    /// Unique: the same alert from the same source is a duplicate.
    pub source_ref: String,
    /// One line.
    pub title: String,
}

/// An incident that has something in common with an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tie {
    /// When its nearest alert with this key happened, in seconds since the epoch.
    pub happened_secs: i64,
    /// It.
    pub incident: IncidentId,
    /// What they have in common.
    pub key: String,
}

/// An incident. Its alerts, orders and evidence name it.
#[derive(Clone, Debug, PartialEq)]
pub struct IncidentRecord {
    /// What triage makes of all its alerts.
    pub assessment: Assessment,
    /// What people decided about it.
    pub case: Case,
    /// Its id, `INC-<year>-<number>`.
    pub incident: IncidentId,
    /// When its first alert came.
    pub opened: Instant,
    /// One line.
    pub title: String,
    /// When something was last added.
    pub updated: Instant,
    /// Counts the changes, from 1: whoever writes must have seen the last.
    pub version: u64,
}

/// An enrolled host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostRecord {
    /// Its agent.
    pub agent: AgentId,
    /// The last beat that it told; none of an agent that has none.
    pub beat: Option<Beat>,
    /// When its certificate ends.
    pub certificate_expires: Instant,
    /// Serial numbers of the certificates that it was given, lower-case hex, the newest last.
    pub certificate_serials: Vec<String>,
    /// When it was enrolled.
    pub enrolled: Instant,
    /// What it says of itself.
    pub facts: HostFacts,
    /// When its agent told that it was removed.
    pub gone: Option<Instant>,
    /// When it was last heard.
    pub last_seen: Option<Instant>,
    /// What people have set about it.
    pub marks: HostMarks,
    /// When it was shut out.
    pub revoked: Option<Instant>,
    /// The key that it signs with, `ssh-ed25519 AAAA…`.
    pub signer: String,
    /// When it was found silent, unless it was heard since.
    pub silent: Option<Instant>,
    /// Counts the changes of [`Change::PutHost`], from 1: whoever writes must have seen the last.
    pub version: u64,
    /// When it was last said that its beat went back.
    pub went_back: Option<Instant>,
}

impl HostRecord {
    /// True when it is welcome: it was not shut out, and is not gone.
    pub const fn is_enrolled(&self) -> bool {
        self.revoked.is_none() && self.gone.is_none()
    }
}

/// Somebody approved a containment order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRecord {
    /// Their signature, which travels with the order.
    pub approval: Approval,
    /// Who brought it.
    pub by: String,
    /// The fingerprint of the key that signed.
    pub key: String,
    /// When it came.
    pub time: Instant,
}

/// One profile over many hosts, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HuntRecord {
    /// Orders under way at a time.
    pub concurrency: u32,
    /// When it began.
    pub created: Instant,
    /// Who began it.
    pub created_by: String,
    /// When it ends.
    pub expires: Instant,
    /// Its id.
    pub hunt: HuntId,
    /// The incident.
    pub incident: IncidentId,
    /// The labels by which its hosts were found.
    pub labels: Vec<Label>,
    /// The profile's name.
    pub profile: String,
    /// For which purpose.
    pub purpose: Option<String>,
    /// Orders that are let go in a minute.
    pub rate_per_min: u32,
    /// Where it stands.
    pub state: HuntState,
    /// Counts the changes, from 1: whoever writes must have seen the last.
    pub version: u64,
}

/// An order of a hunt, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HuntPlace {
    /// The agent that it is for.
    pub agent: AgentId,
    /// The bundle that it made.
    pub bundle: Option<BundleId>,
    /// Which.
    pub order: OrderId,
    /// When its agent could have it; none while it waits for its turn.
    pub released: Option<Instant>,
    /// Where it stands.
    pub state: OrderState,
    /// See [`wire::hunt::FIRST_WAVE`].
    pub wave: u32,
}

impl HuntPlace {
    /// True while it waits for its turn.
    pub const fn is_held(&self) -> bool {
        self.released.is_none() && !self.state.is_final()
    }
}

/// An order and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderRecord {
    /// The agent that it is for.
    pub agent: AgentId,
    /// Who approved it beside its signer, the first one first.
    pub approvals: Vec<ApprovalRecord>,
    /// How many persons must approve it, its signer included; none for what automation may do by itself.
    pub approvers: u32,
    /// The bundle that it made.
    pub bundle: Option<BundleId>,
    /// What a containment order is about; none of a collection.
    pub directive: Option<Directive>,
    /// The order under its signature.
    pub envelope: Signed,
    /// What the agent told, the oldest first; of progress only the last.
    pub events: Vec<TimedEvent>,
    /// From then on it is refused.
    pub expires: Instant,
    /// The incident.
    pub incident: IncidentId,
    /// When it was signed.
    pub issued: Instant,
    /// Unique per agent.
    pub nonce: String,
    /// Its id.
    pub order: OrderId,
    /// The profile's name; of a containment order, the action's or else the directive's.
    pub profile: String,
    /// Digest of its signed bytes.
    pub sha256: Sha256,
    /// Where it stands.
    pub state: OrderState,
    /// The order that it replaces.
    pub supersedes: Option<OrderId>,
}

/// What automation does about one host of one incident.
#[derive(Clone, Debug, PartialEq)]
pub struct AutomationRecord {
    /// The host's agent.
    pub agent: AgentId,
    /// When it is to be looked at again, at the latest; none at its end.
    pub due: Option<Instant>,
    /// The incident.
    pub incident: IncidentId,
    /// Where it stands (`app::containment::machine::Automation`).
    pub stands: Value,
    /// Counts the changes, from 1: whoever writes must have seen the last.
    pub version: u64,
}

/// What root did at the console of a host, without an order.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsoleRecord {
    /// The host's agent.
    pub agent: AgentId,
    /// The id that it was given there.
    pub id: OrderId,
    /// True while it is in force.
    pub is_in_force: bool,
    /// When something of it was last told.
    pub told: Instant,
    /// Counts the changes, from 1: whoever writes must have seen the last.
    pub version: u64,
    /// What people are shown.
    pub view: ConsoleView,
}

/// A bundle, from the first byte of its upload on.
#[derive(Clone, Debug, PartialEq)]
pub struct EvidenceRecord {
    /// Serial number of the certificate under which it comes.
    pub certificate_serial: Option<String>,
    /// When something of it last came.
    pub last_seen: Instant,
    /// The length, once it is declared.
    pub length: Option<u64>,
    /// Bytes that are durable: in the object store, one object a [`Segment`].
    pub offset: u64,
    /// The key that must sign its transport checkpoints, `ssh-ed25519 AAAA…`; as claimed, when it came with a ticket.
    pub signer: Option<String>,
    /// Its upload.
    pub upload: UploadId,
    /// What people are shown; `receipts` in it is left empty here.
    pub view: EvidenceView,
}

/// A transport checkpoint that verified, and the receipt that was given for it.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointRecord {
    /// The bundle.
    pub bundle: BundleId,
    /// The receipt under the server's signature.
    pub envelope: Signed,
    /// The line as it came, without LF.
    pub line: String,
    /// What the receipt says.
    pub receipt: Receipt,
}

/// What the rules made of a bundle.
#[derive(Clone, Debug, PartialEq)]
pub struct FindingsRecord {
    /// When.
    pub evaluated: Instant,
    /// Of how many of its bytes.
    pub offset: u64,
    /// It.
    pub report: FindingsReport,
}

impl FindingsRecord {
    /// The same in numbers.
    pub fn found(&self) -> Found {
        Found { evaluated: self.evaluated, levels: self.report.levels() }
    }
}

/// A secret that lets in once. The secret itself is not kept.
#[derive(Clone, Debug, PartialEq)]
pub struct TicketRecord {
    /// Who asked for it.
    pub created_by: String,
    /// When it ends.
    pub expires: Instant,
    /// The host that it was made for, for people.
    pub host: Option<String>,
    /// The incident that its upload belongs to.
    pub incident: Option<IncidentId>,
    /// What it is good for.
    pub kind: TicketKind,
    /// Digest of the secret, which has 256 random bits: its id.
    pub ticket: Sha256,
    /// Who used it: an agent's id, or the bundle that came.
    pub used_by: Option<String>,
}

/// A token of a person or a program. Tokens look like `hf_<id>_<secret>`.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenRecord {
    /// When it was made.
    pub created: Instant,
    /// When it ends.
    pub expires: Option<Instant>,
    /// argon2id over the secret, in the PHC string format; empty when its holder signs instead.
    pub hash: String,
    /// Who it belongs to.
    pub name: String,
    /// When it was withdrawn.
    pub revoked: Option<Instant>,
    /// What it lets its holder do.
    pub role: Role,
    /// How its holder signs. Forgotten when the token is withdrawn.
    pub signature: Option<SourceSignature>,
    /// Its id: 16 hex digits.
    pub token: String,
}

/// How a source signs its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSignature {
    /// The key that it shares with the server.
    pub key: SharedKey,
    /// `github`, `standard-webhooks`, `slack` or `hex:HEADER`.
    pub scheme: String,
}

/// A key that two sides share. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedKey(pub Vec<u8>);

impl std::fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A request whose alerts could not be taken in. Its bytes lie in the object store as `dead-letters/<letter>`.
#[derive(Clone, Debug, PartialEq)]
pub struct LetterRecord {
    /// The id of the token that it came with.
    pub ingest_token: Option<String>,
    /// What people are shown.
    pub view: DeadLetter,
}

/// A browser's session.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRecord {
    /// When it ends.
    pub expires: Instant,
    /// Digest of the cookie's value, which has 256 random bits.
    pub session: Sha256,
    /// The token that it was opened with; it ends with it.
    pub token: String,
}

/// Somebody is to be told of an incident over one channel, or was.
#[derive(Clone, Debug, PartialEq)]
pub struct PageRecord {
    /// Which of the contact's channels, from 0.
    pub channel: u32,
    /// When it is to be tried, while it is queued.
    pub due: Instant,
    /// True when there were too many: it goes out together with others that are held for the same contact.
    pub is_held: bool,
    /// The incident's severity when it was decided; none for a test.
    pub severity: Option<Severity>,
    /// Counts the changes, from 1: whoever writes must have seen the last.
    pub version: u64,
    /// What people are shown.
    pub view: PageView,
}

/// What the escalation of an incident remembers: what was told once is not told again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Watch {
    /// When it was answered at a lower severity, the oldest first.
    pub answers: Vec<Instant>,
    /// The severity of the last look.
    pub severity: Option<Severity>,
    /// Since when it is that high. Lowering does not move it.
    pub since: Option<Instant>,
    /// What was told, by a word of its own, and for which time: when that moves, it is told again.
    pub told: BTreeMap<String, Instant>,
}

/// One change. Each says what it assumes, and that what its record names is there: its incident, its host, its bundle,
/// its token. When that does not hold, the whole commit is a [`StoreError::Conflict`]. The changes of a commit are made in
/// their order: an incident before its alerts.
#[derive(Clone, Debug)]
pub enum Change {
    /// A new alert; its `source_ref` is new.
    AddAlert(Box<AlertRecord>),
    /// A new incident; its id is new.
    AddIncident(Box<IncidentRecord>),
    /// Alerts go from one incident to another; all of them are in the first. Each is named once.
    MoveAlerts {
        /// Which.
        alerts: Vec<AlertId>,
        /// The incident that they are in.
        from: IncidentId,
        /// The incident that they will be in.
        to: IncidentId,
    },
    /// A new change of membership; its id is new.
    AddEdit(Box<Edit>),
    /// A change of membership that was not taken back is: by whom, when and why.
    UndoEdit(EditId, Stamp),
    /// The incident in a new version; the stored one is one less.
    PutIncident(Box<IncidentRecord>),
    /// Something was added to an incident that is there: it, and the one that it was merged into, were last updated then,
    /// unless they were later. Its version stays.
    Touch(IncidentId, Instant),
    /// A new host; its id is new.
    AddHost(Box<HostRecord>),
    /// The host in a new version; the stored one is one less. What others write as it happens stays as it is: when it was
    /// last heard, its beat, and what came of that.
    PutHost(Box<HostRecord>),
    /// A host that is there was heard, now, with this beat.
    HostSeen {
        /// It.
        agent: AgentId,
        /// When; a time before the stored one changes nothing about that.
        at: Instant,
        /// Its beat, where it has one.
        beat: Option<Beat>,
    },
    /// A host that was last heard then, and was not found silent since, is silent from now on.
    HostSilent {
        /// It.
        agent: AgentId,
        /// When.
        at: Instant,
        /// When it was last heard.
        last_seen: Instant,
    },
    /// A host that was found silent then is heard again.
    HostBack {
        /// It.
        agent: AgentId,
        /// Since when it was silent.
        silent: Instant,
    },
    /// The beat of a host went back, which was last said then and is said now.
    HostWentBack {
        /// It.
        agent: AgentId,
        /// Now.
        at: Instant,
        /// When it was last said.
        before: Option<Instant>,
    },
    /// A new order; its id is new, and so is its nonce for this agent.
    AddOrder(Box<OrderRecord>),
    /// One more approves an order that waits for it, and had so many approvals until then.
    AddApproval {
        /// It.
        approval: Box<ApprovalRecord>,
        /// How many there were.
        before: usize,
        /// The order.
        order: OrderId,
        /// Where it stands now.
        to: OrderState,
    },
    /// A new hunt; its id is new.
    AddHunt(Box<HuntRecord>),
    /// The hunt in a new version; the stored one is one less.
    PutHunt(Box<HuntRecord>),
    /// An order that is there waits in a hunt that is there for its turn: no agent is handed it.
    HoldOrder {
        /// The hunt.
        hunt: HuntId,
        /// The order, which is in no hunt.
        order: OrderId,
        /// See [`wire::hunt::FIRST_WAVE`].
        wave: u32,
    },
    /// An order that waits for its turn does not any more.
    ReleaseOrder(OrderId, Instant),
    /// Something happened to an order in one of these states; an order that is in none of them is a conflict, and so is
    /// one that has [`ORDER_EVENTS_MAX`] events. What is told of containment again and again makes room for itself: the
    /// oldest goes, and is in custody.
    OrderEvent {
        /// The states in which it can happen.
        from: Vec<OrderState>,
        /// The order.
        order: OrderId,
        /// What happened; none for `delivered` and `expired`. Progress replaces the progress before it. The bundle that
        /// `started` names is kept in the order.
        event: Option<TimedEvent>,
        /// Where it stands now.
        to: OrderState,
    },
    /// Automation begins to look after a host of an incident, for which it did not yet.
    AddAutomation(Box<AutomationRecord>),
    /// What automation does in a new version; the stored one is one less.
    PutAutomation(Box<AutomationRecord>),
    /// What a console told: new in version 1, else the stored one is one less.
    PutConsole(Box<ConsoleRecord>),
    /// A new bundle; its id and its upload's are new.
    AddEvidence(Box<EvidenceRecord>),
    /// Nothing changes: a bundle that is there stands at this offset in this state. For what was decided on that.
    EvidenceIs {
        /// The bundle.
        bundle: BundleId,
        /// Bytes that are durable.
        offset: u64,
        /// Its state.
        state: EvidenceState,
    },
    /// A segment became durable: it begins at the stored offset, has at least one byte and does not reach past the length.
    Advance {
        /// The bundle.
        bundle: BundleId,
        /// It.
        segment: Segment,
        /// When.
        at: Instant,
    },
    /// The length of an upload is known; none was, and it is not less than what came.
    Length(BundleId, u64),
    /// What people are shown of a bundle that is there.
    PutEvidenceView(Box<EvidenceView>),
    /// A transport checkpoint and its receipt; the number is one more than the last, and 1 in the first.
    AddCheckpoint(Box<CheckpointRecord>),
    /// What the rules made of a bundle that is there; it replaces what they made of it before.
    PutFindings(Box<FindingsRecord>),
    /// A new page; its id is new.
    AddPage(Box<PageRecord>),
    /// The page in a new version; the stored one is one less.
    PutPage(Box<PageRecord>),
    /// An incident that is there, in this version, was looked at; the next look is due then, or when the incident changes.
    PutWatch {
        /// The incident.
        incident: IncidentId,
        /// Its version when it was looked at.
        version: u64,
        /// What is remembered.
        watch: Watch,
        /// When the next look is due.
        due: Option<Instant>,
    },
    /// An incident that is there is to be looked at now.
    LookNow(IncidentId),
    /// A new ticket.
    AddTicket(Box<TicketRecord>),
    /// A ticket is used up: of this kind, not used, not ended at this time.
    UseTicket {
        /// Its id.
        ticket: Sha256,
        /// The time.
        at: Instant,
        /// Who used it.
        by: String,
        /// Its kind.
        kind: TicketKind,
    },
    /// A ticket that has not ended by this time ends then.
    EndTicket(Sha256, Instant),
    /// A new dead letter; its id is new.
    AddLetter(Box<LetterRecord>),
    /// A dead letter that was not replayed was, now.
    LetterReplayed(LetterId, Instant),
    /// A dead letter that was replayed goes.
    RemoveLetter(LetterId),
    /// What all servers that share the records must have in common is this now, and was that before; none, when it is new.
    SetIdentity {
        /// What it was.
        from: Option<String>,
        /// Its name.
        name: &'static str,
        /// What it is.
        to: String,
    },
    /// Other rules of triage are in force than those of this digest, which now are.
    SetRules(Sha256),
    /// A new token.
    AddToken(Box<TokenRecord>),
    /// A token that was not withdrawn is; its sessions end, and the key that it signs with is forgotten.
    RevokeToken(String, Instant),
    /// A new session of a token that was not withdrawn.
    AddSession(SessionRecord),
    /// A session ends; one that is not there is no conflict.
    EndSession(Sha256),
}

/// A leaf of the custody log that has no place yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NewLeaf {
    /// See [`Leaf::actor`].
    pub actor: String,
    /// See [`Leaf::details`].
    pub details: Map<String, Value>,
    /// See [`Leaf::event`].
    pub event: &'static str,
    /// See [`Leaf::incident`].
    pub incident: Option<IncidentId>,
    /// See [`Leaf::subject`].
    pub subject: String,
    /// See [`Leaf::time`].
    pub time: Instant,
}

/// A leaf and its exact text, which is what was hashed.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredLeaf {
    /// Its hash, as it was written down with it.
    pub hash: Sha256,
    /// Parsed.
    pub leaf: Leaf,
    /// As hashed.
    pub text: String,
}

/// Where the server's records are kept.
#[async_trait]
pub trait Store: Send + Sync {
    /// Makes all changes and appends all leaves, durably, or does nothing. Returns the custody log's state after it.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn commit(&self, changes: Vec<Change>, leaves: Vec<NewLeaf>) -> Result<HeadPoint, StoreError>;

    /// The alert of this id.
    async fn alert(&self, alert: AlertId) -> Result<Option<AlertRecord>, StoreError>;
    /// The alert with this `source_ref`.
    async fn alert_by_ref(&self, source_ref: &str) -> Result<Option<AlertRecord>, StoreError>;
    /// Alerts, the newest first, also those without an incident; `after` is the last one of the page before.
    async fn alerts(&self, after: Option<AlertId>, limit: u32) -> Result<Vec<AlertRecord>, StoreError>;
    /// The alerts of an incident, the oldest first, at most 1,000.
    async fn alerts_of(&self, incident: &IncidentId) -> Result<Vec<AlertRecord>, StoreError>;
    /// The ids of the alerts of an incident, the oldest first.
    async fn alert_ids(&self, incident: &IncidentId, limit: u32) -> Result<Vec<AlertId>, StoreError>;
    /// The first of these alerts that is not in that incident.
    async fn alert_elsewhere(&self, alerts: &[AlertId], incident: &IncidentId) -> Result<Option<AlertId>, StoreError>;
    /// The incidents with an alert that has one of these keys and happened at most so many seconds before or after: one tie
    /// for each incident and key, at most [`TIES_MAX`], those that went on longest first. However many alerts share a key,
    /// this takes as long as there are incidents that do.
    async fn ties(&self, keys: &BTreeSet<String>, happened_secs: i64, window_secs: i64)
    -> Result<Vec<Tie>, StoreError>;

    /// The incident of this id.
    async fn incident(&self, incident: &IncidentId) -> Result<Option<IncidentRecord>, StoreError>;
    /// Incidents that were not merged into another, the worst first and of those the last updated; `after` is the last one of the page before, and counts
    /// where it stands now. After one that is not there comes nothing.
    async fn incidents(&self, after: Option<&IncidentId>, limit: u32) -> Result<Vec<IncidentRecord>, StoreError>;
    /// The incidents that were merged into this one, and into those, in the order of their ids, at most [`ABSORBED_MAX`].
    async fn absorbed(&self, incident: &IncidentId) -> Result<Vec<IncidentId>, StoreError>;
    /// The change of membership of this id.
    async fn edit(&self, edit: EditId) -> Result<Option<Edit>, StoreError>;
    /// The changes of membership of an incident, on either side, the newest first.
    async fn edits_of(&self, incident: &IncidentId, limit: u32) -> Result<Vec<Edit>, StoreError>;
    /// True when a person changed which alerts it has, or took such a change back.
    async fn is_edited_by_people(&self, incident: &IncidentId) -> Result<bool, StoreError>;
    /// The number of the last incident of this year; 0 when there is none.
    async fn last_incident_number(&self, year: i16) -> Result<u32, StoreError>;
    /// Numbers of alerts and of bundles of an incident.
    async fn counts(&self, incident: &IncidentId) -> Result<(u64, u64), StoreError>;

    /// What the escalation of an incident remembers; nothing when there is no such incident.
    async fn watch(&self, incident: &IncidentId) -> Result<Watch, StoreError>;
    /// Incidents that are to be looked at by now, those first that wait longest. One that was added or put is, at once.
    async fn incidents_to_look_at(&self, now: Instant, limit: u32) -> Result<Vec<(IncidentRecord, Watch)>, StoreError>;

    /// Queued pages that are due by now, those first that wait longest.
    async fn pages_due(&self, now: Instant, limit: u32) -> Result<Vec<PageRecord>, StoreError>;
    /// The pages of an incident, the newest first, at most 1,000.
    async fn pages_of(&self, incident: &IncidentId) -> Result<Vec<PageRecord>, StoreError>;
    /// Pages that were decided since then, the newest first.
    async fn pages_since(&self, since: Instant, limit: u32) -> Result<Vec<PageRecord>, StoreError>;
    /// The page of this id.
    async fn page(&self, page: PageId) -> Result<Option<PageRecord>, StoreError>;

    /// The host of this agent.
    async fn host(&self, agent: &AgentId) -> Result<Option<HostRecord>, StoreError>;
    /// Hosts in the order of their agents' ids, after this one.
    async fn hosts(&self, after: Option<&AgentId>, limit: u32) -> Result<Vec<HostRecord>, StoreError>;
    /// Hosts about which people have set something, in the order of their agents' ids, after this one.
    async fn hosts_marked(&self, after: Option<&AgentId>, limit: u32) -> Result<Vec<HostRecord>, StoreError>;
    /// Hosts that were last heard before then, are welcome, and were not found silent, in the order of their agents' ids.
    async fn hosts_unheard(&self, before: Instant, limit: u32) -> Result<Vec<HostRecord>, StoreError>;

    /// Hosts that were found silent since then, went back or are gone, in the order of their
    /// agents' ids.
    async fn hosts_troubled(&self, since: Instant, limit: u32) -> Result<Vec<HostRecord>, StoreError>;

    /// The order of this id.
    async fn order(&self, order: OrderId) -> Result<Option<OrderRecord>, StoreError>;
    /// The orders of an incident, the newest first, at most 1,000.
    async fn orders_of(&self, incident: &IncidentId) -> Result<Vec<OrderRecord>, StoreError>;
    /// The orders that an agent has not told anything of yet (queued, delivered), at most 100: those of containment first,
    /// and of each kind the oldest; those that wait in a hunt for their turn are not among them.
    async fn orders_waiting(&self, agent: &AgentId) -> Result<Vec<OrderRecord>, StoreError>;
    /// Orders that no agent has told anything of, approved or not, and whose time was over by then, the first first.
    async fn orders_overdue(&self, by: Instant, limit: u32) -> Result<Vec<OrderRecord>, StoreError>;
    /// Containment orders that are not at their end, the oldest first.
    async fn containment_orders(&self, limit: u32) -> Result<Vec<OrderRecord>, StoreError>;

    /// What automation does about the hosts of an incident, in the order of their agents' ids.
    async fn automations_of(&self, incident: &IncidentId) -> Result<Vec<AutomationRecord>, StoreError>;
    /// What automation does and has not ended, those first that are due first.
    async fn automations(&self, limit: u32) -> Result<Vec<AutomationRecord>, StoreError>;
    /// What a console told of this containment.
    async fn console(&self, agent: &AgentId, id: OrderId) -> Result<Option<ConsoleRecord>, StoreError>;
    /// What consoles told, those first that were told of last; those in force before all others.
    async fn consoles(&self, limit: u32) -> Result<Vec<ConsoleRecord>, StoreError>;

    /// The hunt of this id.
    async fn hunt(&self, hunt: HuntId) -> Result<Option<HuntRecord>, StoreError>;
    /// Hunts, the newest first.
    async fn hunts(&self, limit: u32) -> Result<Vec<HuntRecord>, StoreError>;
    /// Hunts of which orders may be let go, the oldest first.
    async fn hunts_open(&self, limit: u32) -> Result<Vec<HuntRecord>, StoreError>;
    /// The orders of a hunt, in the order of their waves and ids.
    async fn hunt_orders(&self, hunt: HuntId) -> Result<Vec<HuntPlace>, StoreError>;

    /// The bundle of this id.
    async fn evidence(&self, bundle: BundleId) -> Result<Option<EvidenceRecord>, StoreError>;
    /// The bundle of this upload.
    async fn evidence_by_upload(&self, upload: UploadId) -> Result<Option<EvidenceRecord>, StoreError>;
    /// Bundles, the newest first, of one incident or of all.
    async fn evidence_list(
        &self,
        incident: Option<&IncidentId>,
        after: Option<BundleId>,
        limit: u32,
    ) -> Result<Vec<EvidenceRecord>, StoreError>;
    /// Bundles in this state, the oldest first, at most 1,000.
    async fn evidence_in(&self, state: EvidenceState) -> Result<Vec<EvidenceRecord>, StoreError>;
    /// The segments of a bundle's bytes, in order, without gaps.
    async fn segments(&self, bundle: BundleId) -> Result<Vec<Segment>, StoreError>;
    /// The transport checkpoints of a bundle, in order.
    async fn checkpoints(&self, bundle: BundleId) -> Result<Vec<CheckpointRecord>, StoreError>;
    /// What the rules made of a bundle the last time.
    async fn findings(&self, bundle: BundleId) -> Result<Option<FindingsRecord>, StoreError>;
    /// The same in numbers.
    async fn found(&self, bundle: BundleId) -> Result<Option<Found>, StoreError>;
    /// Bundles that are sealed or partial, not encrypted, and of which the rules did not see all bytes, the newest first.
    async fn evidence_without_findings(&self, limit: u32) -> Result<Vec<EvidenceRecord>, StoreError>;

    /// The dead letter of this id.
    async fn letter(&self, letter: LetterId) -> Result<Option<LetterRecord>, StoreError>;
    /// Dead letters, the newest first. After one that is not there comes nothing.
    async fn letters(&self, after: Option<LetterId>, limit: u32) -> Result<Vec<LetterRecord>, StoreError>;

    /// What all servers that share the records must have in common under this name.
    async fn identity(&self, name: &str) -> Result<Option<String>, StoreError>;
    /// The ticket of this id.
    async fn ticket(&self, ticket: Sha256) -> Result<Option<TicketRecord>, StoreError>;
    /// The token of this id.
    async fn token(&self, token: &str) -> Result<Option<TokenRecord>, StoreError>;
    /// All tokens, in the order of their names.
    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError>;
    /// The session of this id.
    async fn session(&self, session: Sha256) -> Result<Option<SessionRecord>, StoreError>;

    /// The custody log's state.
    async fn head(&self) -> Result<HeadPoint, StoreError>;
    /// Leaves from this number on, of one incident or of all.
    async fn leaves(&self, incident: Option<&IncidentId>, from: u64, limit: u32)
    -> Result<Vec<StoredLeaf>, StoreError>;
    /// The last leaves of an incident, the newest first.
    async fn last_leaves(&self, incident: &IncidentId, limit: u32) -> Result<Vec<StoredLeaf>, StoreError>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), StoreError>;
}
