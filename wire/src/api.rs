//! What people and machines ask of the server below `/api/v1`, with `Authorization: Bearer <token>`.
//!
//! | request | who | body | answer |
//! |---|---|---|---|
//! | `GET /api/v1/me` | any token | | [`Me`] |
//! | `POST /api/v1/alerts?source=NAME` | source, responder | an alert in its own dialect, up to 1 MiB | [`AlertsReply`] |
//! | `GET /api/v1/alerts?after=&limit=` | analyst | | [`Page`] of [`AlertView`], the newest first |
//! | `GET /api/v1/alerts/{alert}` | analyst | | [`AlertView`] |
//! | `GET /api/v1/alerts/{alert}/raw` | analyst | | its bytes |
//! | `GET /api/v1/incidents` | analyst | | [`Page`] of [`IncidentSummary`], the worst and newest first |
//! | `GET /api/v1/incidents/{incident}` | analyst | | [`IncidentView`] |
//! | `GET /api/v1/incidents/{incident}/events` | analyst | | server-sent events, each a [`LiveEvent`] |
//! | `GET /api/v1/incidents/{incident}/timeline?after=` | analyst | | [`Page`] of [`TimelineEntry`](crate::case::TimelineEntry), the oldest first |
//! | `POST /api/v1/incidents/{incident}/actions` | responder | [`Action`](crate::case::Action) | [`ActionReply`](crate::case::ActionReply) |
//! | `GET /api/v1/incidents/{incident}/drafts/{audience}` | analyst | | [`Draft`] |
//! | `POST /api/v1/reports` | analyst | [`HumanReport`](crate::case::HumanReport) | [`AlertsReply`] |
//! | `POST /api/v1/triage` | any token | an alert in its own dialect; nothing is kept | a list of [`Assessment`] |
//! | `POST /api/v1/triage/replay` | responder | [`ReplayRequest`] | [`ReplayReply`] |
//! | `GET /api/v1/triage/plan?type=&target=` | any token | | `ForensicsPlan` |
//! | `POST /api/v1/sources/{token}/alerts` | whoever signs | an alert and the signature of its source | [`AlertsReply`] |
//! | `GET /api/v1/dead-letters` | responder | | [`Page`] of [`DeadLetter`], the newest first |
//! | `POST /api/v1/dead-letters/{letter}/replay` | responder | | [`AlertsReply`] |
//! | `GET /api/v1/escalation` | analyst | | [`EscalationStatus`] |
//! | `POST /api/v1/escalation/test` | responder | [`EscalationTest`] | [`EscalationTestReply`] |
//! | `POST /api/v1/incidents/{incident}/tickets` | responder | [`TicketRequest`] | [`TicketReply`] |
//! | `GET /api/v1/hosts?label=KEY=VALUE,…` | analyst | | [`Page`] of [`HostView`] |
//! | `GET /api/v1/hosts/{agent}` | analyst | | [`HostView`] |
//! | `POST /api/v1/hosts/{agent}/marks` | responder | [`HostMark`](crate::host::HostMark) | [`HostView`] |
//! | `POST /api/v1/hosts/tickets` | responder | [`TicketRequest`] | [`TicketReply`]: an enrolment ticket |
//! | `POST /api/v1/orders` | responder | [`Signed`] around an [`Order`](crate::order::Order) or a [`ContainmentOrder`](crate::containment::ContainmentOrder) | [`OrderView`] |
//! | `POST /api/v1/hunts` | responder | [`HuntRequest`](crate::hunt::HuntRequest) | [`HuntView`](crate::hunt::HuntView) |
//! | `POST /api/v1/hunts/{hunt}/orders?wave=1` | responder | [`Signed`] around an [`Order`](crate::order::Order) | [`OrderView`]: it waits for its turn |
//! | `POST /api/v1/hunts/{hunt}/start`, `…/cancel` | responder | | [`HuntView`](crate::hunt::HuntView) |
//! | `GET /api/v1/hunts`, `GET /api/v1/hunts/{hunt}` | analyst | | [`HuntView`](crate::hunt::HuntView) |
//! | `GET /api/v1/orders/{order}` | analyst | | [`OrderView`] |
//! | `GET /api/v1/orders/{order}/signed` | analyst | | [`Signed`]: the bytes that an approval signs |
//! | `POST /api/v1/orders/{order}/approvals` | responder | [`Approval`](crate::containment::Approval) | [`OrderView`] |
//! | `POST /api/v1/orders/{order}/cancel` | responder | [`CancelRequest`] | [`OrderView`] |
//! | `GET /api/v1/evidence?incident=ID` | analyst | | [`Page`] of [`EvidenceView`] |
//! | `GET /api/v1/evidence/{bundle}` | analyst | | [`EvidenceView`] |
//! | `GET /api/v1/evidence/{bundle}/content` | analyst | | the bytes, with `Range`; each read is in custody |
//! | `GET /api/v1/evidence/{bundle}/stream` | analyst | | the transport checkpoints, `<name>.stream.jsonl` |
//! | `GET /api/v1/evidence/{bundle}/receipts` | analyst | | the signed receipts, one JSON object a line |
//! | `GET /api/v1/evidence/{bundle}/items?q=&limit=&after=` | analyst | | [`Page`] of item records |
//! | `POST /api/v1/uploads` … | responder | see uploads in [`crate::agent_api`] | |
//! | `GET /api/v1/signers` | analyst | | the `allowed_signers` lines of all enrolled agents and of the server |
//! | `GET /api/v1/custody?incident=ID` | analyst | | [`Page`] of leaves |
//! | `GET /api/v1/custody/export` | analyst | | one [`CustodyLine`] a line: all leaves, then the newest head |
//!
//! Errors are an [`ErrorBody`] with a status of 4xx or 5xx.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::agent_api::HostFacts;
use crate::assessment::{Assessment, Severity};
use crate::case::{Case, Disposition, Edit};
use crate::containment::{Action, ContainmentEvent, Directive};
use crate::finding::Found;
use crate::host::HostMarks;
use crate::order::{OrderEvent, OrderState};
use crate::receipt::Receipt;
use crate::response::{Audience, ChecklistStep, ClockState, Phase, TimerState};
use crate::signed::Signed;
use crate::{AgentId, AlertId, BundleId, IncidentId, Instant, LetterId, OrderId, PageId, Sha256, Tier};

/// What a token lets its holder do. Each role may do all that stands before it, but for [`Role::Source`], which may do
/// one thing only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Send alerts; read nothing.
    Source,
    /// Read incidents and evidence.
    Analyst,
    /// Send alerts, dispatch collections, enrol hosts, add evidence.
    Responder,
}

/// Who a token belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Me {
    /// The user's name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The server's key for receipts and custody heads, `ssh-ed25519 AAAA…`.
    pub server_signer: String,
    /// The server's clock.
    pub server_time: Instant,
}

/// Some of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub struct Page<T> {
    /// In the order that the request's documentation names.
    pub items: Vec<T>,
    /// Given as `after` it asks for the next page; null on the last.
    pub next: Option<String>,
}

/// What went wrong, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// A word for machines, e.g. `not_found`.
    pub code: String,
    /// The next step.
    pub hint: Option<String>,
    /// The subject and what is wrong with it.
    pub message: String,
}

/// What became of the alerts that were sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertsReply {
    /// One for each alert found in the body.
    pub alerts: Vec<AlertReceived>,
}

/// What became of one alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertReceived {
    /// Its id; of a duplicate, the id of the one that came first.
    pub alert: AlertId,
    /// Why it was attached to an incident that was there before; null when it opened one.
    pub correlated: Option<String>,
    /// True when the same alert had come before: nothing changed.
    pub duplicate: bool,
    /// The incident; null when it was closed by itself.
    pub incident: Option<IncidentId>,
    /// The incident's severity, this alert included.
    pub severity: Severity,
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertView {
    /// Its id.
    pub alert: AlertId,
    /// What triage makes of it alone.
    pub assessment: Assessment,
    /// Why it stands in its incident, when it did not open it.
    pub correlated: Option<String>,
    /// The incident that it belongs to.
    pub incident: Option<IncidentId>,
    /// Digest of its bytes.
    pub raw_sha256: Sha256,
    /// When it came.
    pub received: Instant,
    /// Who sent it.
    pub sent_by: String,
    /// One line.
    pub title: String,
}

/// An incident in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentSummary {
    /// True when somebody answered the page.
    #[serde(default)]
    pub acknowledged: bool,
    /// Number of alerts.
    pub alerts: u64,
    /// What it turned out to be, when it is closed.
    #[serde(default)]
    pub closed: Option<Disposition>,
    /// Number of bundles.
    pub evidence: u64,
    /// The names of the victims.
    pub hosts: Vec<String>,
    /// Its id.
    pub incident: IncidentId,
    /// See [`Assessment::incident_type`].
    pub incident_type: String,
    /// When its first alert came.
    pub opened: Instant,
    /// Where the work stands.
    #[serde(default)]
    pub phase: Phase,
    /// How bad.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// When something was last added.
    pub updated: Instant,
}

/// An incident: a view over its alerts, with what was done about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentView {
    /// Incidents that were merged into it: their orders and bundles are listed here too.
    #[serde(default)]
    pub absorbed: Vec<IncidentId>,
    /// Its alerts, the oldest first.
    pub alerts: Vec<AlertView>,
    /// What triage makes of all alerts together.
    pub assessment: Assessment,
    /// What automation does about its hosts, in the order of their agents' ids.
    #[serde(default)]
    pub automation: Vec<AutomationView>,
    /// Whether the site has automation switched on.
    #[serde(default)]
    pub automation_is_on: bool,
    /// What people decided about it.
    #[serde(default)]
    pub case: Case,
    /// What there is to do, phase by phase.
    #[serde(default)]
    pub checklist: Vec<ChecklistStep>,
    /// The notification clocks that may apply. Guidance, not legal advice.
    #[serde(default)]
    pub clocks: Vec<ClockState>,
    /// Changes of which alerts it has, the newest first.
    #[serde(default)]
    pub edits: Vec<Edit>,
    /// Its bundles, the newest first.
    pub evidence: Vec<EvidenceView>,
    /// Enrolled agents whose host the alerts name.
    pub hosts: Vec<HostView>,
    /// Its orders, the newest first.
    pub orders: Vec<OrderView>,
    /// Who was told of it, the newest first.
    #[serde(default)]
    pub pages: Vec<PageView>,
    /// In short.
    pub summary: IncidentSummary,
    /// By when something is to be done.
    #[serde(default)]
    pub timers: Vec<TimerState>,
}

/// Somebody was told of an incident, or is about to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PageView {
    /// How often it was tried.
    pub attempts: u32,
    /// The channel, e.g. `webhook`, `smtp`, `slack`, `pagerduty`.
    pub channel: String,
    /// Who, by the site's name for them.
    pub contact: String,
    /// When it was decided.
    pub created: Instant,
    /// Why the last try failed, in words.
    pub error: Option<String>,
    /// The incident; none for a test.
    pub incident: Option<IncidentId>,
    /// Its id.
    pub page: PageId,
    /// What it is about: `escalation`, `update_due`, `clock`, `test` …
    pub purpose: String,
    /// The role that the person stands for, e.g. `CISO`.
    pub role: String,
    /// When it was delivered.
    pub sent: Option<Instant>,
    /// Where it stands.
    pub state: PageState,
    /// The how-manieth of the escalation path, from 0.
    pub step: u32,
}

/// Where a page stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PageState {
    /// It will be sent.
    Queued,
    /// The other side took it.
    Sent,
    /// It was tried often enough.
    Failed,
    /// It was answered, or another one was, before it went out.
    Dropped,
}

impl PageState {
    /// The name as it is serialised.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// Who can be told of incidents, and how that goes. No secret and no address of a person is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EscalationStatus {
    /// The site's contacts.
    pub contacts: Vec<ContactView>,
    /// The last pages of all incidents, the newest first.
    pub pages: Vec<PageView>,
    /// Roles of the escalation paths for which the site names nobody.
    pub vacant: Vec<String>,
}

/// A contact of the site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContactView {
    /// The kinds of channels, in the order in which they are used.
    pub channels: Vec<String>,
    /// By the site's name.
    pub contact: String,
    /// The roles.
    pub roles: Vec<String>,
}

/// Asks for a page that tries a contact's channels out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EscalationTest {
    /// Who.
    #[schemars(length(min = 1, max = 128))]
    pub contact: String,
}

/// The pages that try a contact out: one for each channel, queued. What becomes of them stands in [`EscalationStatus`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EscalationTestReply {
    /// In the order of the channels.
    pub pages: Vec<PageView>,
}

/// A request whose alerts could not be taken in. Its bytes are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// Its length.
    pub bytes: u64,
    /// Its id.
    pub letter: LetterId,
    /// Why nothing was taken.
    pub reason: String,
    /// When it came.
    pub received: Instant,
    /// When it was taken in after all.
    pub replayed: Option<Instant>,
    /// Who sent it.
    pub sent_by: String,
    /// Digest of its bytes.
    pub sha256: Sha256,
    /// The product that the sender named.
    pub source: Option<String>,
}

/// Asks what changed rules would have made of past alerts. Nothing is changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// The site's files under the changed rules: name to YAML, e.g. `severity.yaml`, `recognise/ours.yaml`.
    pub rules: std::collections::BTreeMap<String, String>,
    /// Incidents that grew since then; the last 30 days when absent.
    pub since: Option<Instant>,
}

/// What changed rules would have made of past incidents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayReply {
    /// The alerts that were looked at.
    pub alerts: u64,
    /// The incidents that would be different.
    pub differences: Vec<ReplayedIncident>,
    /// The incidents that were looked at.
    pub incidents: u64,
    /// True when there were more than are looked at once.
    pub is_cut: bool,
}

/// An incident that changed rules would have assessed in another way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayedIncident {
    /// Under the changed rules.
    pub after: Assessment,
    /// Under the rules in force.
    pub before: Assessment,
    /// Which.
    pub incident: IncidentId,
}

/// A text about an incident for somebody, to be read and mended before it is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Draft {
    /// For whom.
    pub audience: Audience,
    /// Markdown.
    pub text: String,
}

/// A host with an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostView {
    /// Its agent.
    pub agent: AgentId,
    /// When the agent's certificate ends.
    pub certificate_expires: Instant,
    /// True while a long poll of the agent is open, or was a moment ago.
    pub connected: bool,
    /// When it was enrolled.
    pub enrolled: Instant,
    /// What it says of itself.
    pub facts: HostFacts,
    /// When its agent told that it was removed from the host. It is let in again with a new ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Instant>,
    /// When the agent was last heard.
    pub last_seen: Option<Instant>,
    /// What people have set about it.
    #[serde(default, skip_serializing_if = "HostMarks::is_empty")]
    pub marks: HostMarks,
    /// When it was shut out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Instant>,
    /// The key that it signs with, `ssh-ed25519 AAAA…`.
    pub signer: String,
    /// Since when the server knows that it is silent: it has not asked for orders for as long as the site waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<Instant>,
    /// When its count of questions last went back: its disk was set back, or somebody else has its keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub went_back: Option<Instant>,
}

/// An order and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OrderView {
    /// The agent that it is for.
    pub agent: AgentId,
    /// Who approved a containment order beside its signer, the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalView>,
    /// How many persons must approve it, its signer included; none for what automation may do by itself.
    #[serde(default = "one")]
    pub approvers: u32,
    /// The bundle that it made.
    pub bundle: Option<BundleId>,
    /// What a containment order is about; none of a collection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directive: Option<Directive>,
    /// What the agent told, the oldest first; of progress only the last.
    pub events: Vec<TimedEvent>,
    /// From then on it is refused.
    pub expires: Instant,
    /// The host's name.
    pub host: String,
    /// The incident.
    pub incident: IncidentId,
    /// When it was signed.
    pub issued: Instant,
    /// Its id.
    pub order: OrderId,
    /// The profile's name; of a containment order, the action's or else the directive's.
    pub profile: String,
    /// Digest of its signed bytes.
    pub sha256: Sha256,
    /// Who signed it.
    pub signed_by: String,
    /// Where it stands.
    pub state: OrderState,
    /// The order that it replaces.
    pub supersedes: Option<OrderId>,
}

impl OrderView {
    /// When the lease of what it did ends, by the host's clock; nothing where it did not apply anything.
    pub fn lease_until(&self) -> Option<Instant> {
        self.events.iter().rev().find_map(|timed| match &timed.event {
            OrderEvent::Containment {
                told: ContainmentEvent::Applied { until, .. } | ContainmentEvent::Renewed { until },
                ..
            } => Some(*until),
            _ => None,
        })
    }
}

fn one() -> u32 {
    1
}

/// Somebody approved a containment order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalView {
    /// Who brought the signature.
    pub by: String,
    /// The fingerprint of the key.
    pub key: String,
    /// Who signed, as in the hosts' `allowed_signers`.
    pub principal: String,
    /// When it came.
    pub time: Instant,
}

/// What root did at the console of a host, without an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConsoleView {
    /// What.
    pub action: Action,
    /// The host's agent.
    pub agent: AgentId,
    /// What was told of it, the oldest first.
    pub events: Vec<ToldEvent>,
    /// The id that it was given there.
    pub id: OrderId,
    /// True while it is in force.
    pub is_in_force: bool,
    /// Nothing was changed.
    #[serde(default)]
    pub rehearsed: bool,
}

/// Something that a console told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToldEvent {
    /// When, by the host's clock.
    pub agent_time: Instant,
    /// What.
    #[serde(flatten)]
    pub told: ContainmentEvent,
    /// When the server heard it.
    pub time: Instant,
}

/// What automation does about a host of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AutomationView {
    /// The host's agent.
    pub agent: AgentId,
    /// The order of its capture, while it matters.
    pub capture: Option<OrderId>,
    /// Until then somebody must approve the isolation.
    pub deadline: Option<Instant>,
    /// The host's name.
    pub host: String,
    /// The order of its isolation, where there is one.
    pub order: Option<OrderId>,
    /// Since when it stands there.
    pub since: Instant,
    /// `triaged`, `capturing`, `captured`, `waiting` (for an approval), `ordered`, `applied`, `holding` or `ended`.
    pub stage: String,
    /// Why it does what it does, or does not, each in a sentence.
    pub why: Vec<String>,
}

/// Takes an order back before an agent has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Why, for custody.
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"))]
    pub reason: String,
}

/// Something that happened to an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimedEvent {
    /// When, by the clock of the agent that told it: told again, it is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_time: Option<Instant>,
    /// What.
    #[serde(flatten)]
    pub event: OrderEvent,
    /// When the server heard it.
    pub time: Instant,
}

/// How far the server could prove a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceState {
    /// It is still coming.
    Receiving,
    /// All of it came, and the seal holds.
    Sealed,
    /// It ends before its seal; what came up to the last checkpoint holds.
    Partial,
    /// Nothing in it is signed, or no transport checkpoint came with it.
    Unverified,
    /// It was changed after it was signed.
    Rejected,
}

impl EvidenceState {
    /// The name as it is serialised.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Sealed => "sealed",
            Self::Partial => "partial",
            Self::Unverified => "unverified",
            Self::Rejected => "rejected",
        }
    }
}

/// Whose key sealed a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignerTrust {
    /// The key of the enrolled agent that it names.
    Enrolled,
    /// A host without an agent, let in by a ticket: the key is on record, and nobody vouches for it.
    Unenrolled,
    /// A key that the server does not know.
    Unknown,
}

/// The place of a bundle in a run that was too much for one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunPart {
    /// Digest of its final checkpoint, once it is verified and sealed: the next part names it.
    #[serde(default)]
    pub checkpoint_sha256: Option<Sha256>,
    /// The part before it.
    #[serde(default)]
    pub continues: Option<BundleId>,
    /// The part after it, once this one says so.
    #[serde(default)]
    pub next: Option<BundleId>,
    /// From 1, once it is verified; 0 before.
    #[serde(default)]
    pub number: u32,
}

/// A bundle on the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceView {
    /// Who brought it: `agent:<id>`, `user:<name>` or `ticket:<id>`.
    pub brought_by: String,
    /// Its id.
    pub bundle: BundleId,
    /// Bytes held.
    pub bytes: u64,
    /// What the signer said beside what this server has receipted: the first of them, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contradictions: Vec<Contradiction>,
    /// True when it is encrypted to analysts. The server holds it as it came: its bytes are verified by the transport
    /// checkpoints, and what is in them, and to whom it is encrypted, is not known here.
    #[serde(default)]
    pub encrypted: bool,
    /// The first findings of the verification, where it was rejected.
    pub findings: Vec<String>,
    /// What the rules made of its rows, once they were applied.
    #[serde(default)]
    pub found: Option<Found>,
    /// The host's name, as the bundle says.
    pub host: String,
    /// The incident.
    pub incident: IncidentId,
    /// Item records by status.
    pub items: std::collections::BTreeMap<String, u64>,
    /// The name of its file.
    pub name: String,
    /// The order that it answers.
    pub order: Option<OrderId>,
    /// Which part of its run it is; none for a run in one bundle.
    #[serde(default)]
    pub part: Option<RunPart>,
    /// The profile's name.
    pub profile: Option<String>,
    /// The receipts, the oldest first.
    pub receipts: Vec<Receipt>,
    /// When the first byte came.
    pub received: Instant,
    /// Digest of the bytes held.
    pub sha256: Option<Sha256>,
    /// The key that sealed, `ssh-ed25519 AAAA…`.
    pub signer: Option<String>,
    /// The name under which it signed, `agent:<id>`.
    pub signer_principal: Option<String>,
    /// How far it goes.
    pub state: EvidenceState,
    /// The tiers that are complete.
    pub tiers: Vec<Tier>,
    /// Whose key it is.
    pub trust: Option<SignerTrust>,
    /// Bytes up to which the content verified.
    pub verified_to: u64,
}

/// Two statements under the key of one signer that cannot both be true. The signed line itself is in custody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Contradiction {
    /// Bytes that the second statement speaks of.
    pub offset: u64,
    /// Digest of the bytes that this server holds, as far as it has given a receipt for that number, or for the end.
    pub ours_sha256: Sha256,
    /// The number of the checkpoint.
    pub seq: u64,
    /// Digest that was signed for them.
    pub signed_sha256: Sha256,
    /// When it came.
    pub time: Instant,
    /// `equivocation`: another checkpoint under a number that has a receipt, or after the last one.
    /// `checkpoint_mismatch`: a checkpoint for other bytes than those that came.
    pub what: String,
}

/// Asks for a ticket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TicketRequest {
    /// The host that it is for, for people.
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"))]
    pub host: Option<String>,
    /// The profile that is asked for.
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"))]
    pub profile: Option<String>,
    /// Seconds until it ends; at most a week. 24 hours when absent.
    #[schemars(range(min = 1, max = 604_800))]
    pub valid_secs: Option<u64>,
}

/// Shuts something out for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// Why, for custody.
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"))]
    pub reason: String,
}

/// A ticket. It is shown once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TicketReply {
    /// When it ends.
    pub expires: Instant,
    /// One line, see [`crate::ticket`].
    pub ticket: String,
}

/// Something that happened in an incident, as it happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum LiveEvent {
    /// An alert came; the severity may have changed.
    Alert {
        /// It.
        alert: AlertId,
        /// The incident's severity now.
        severity: Severity,
    },
    /// Something happened to an order.
    Order {
        /// What.
        event: TimedEvent,
        /// Which.
        order: OrderId,
        /// Where it stands now.
        state: OrderState,
    },
    /// A receipt was given.
    Receipt {
        /// It.
        receipt: Receipt,
    },
    /// A person or the server did something to it: an action, a page, a timer.
    Case {
        /// Who.
        actor: String,
        /// The event of its custody leaf, e.g. `note_added`.
        event: String,
        /// When.
        time: Instant,
    },
    /// A bundle changed its state.
    Evidence {
        /// Which.
        bundle: BundleId,
        /// How far it goes now.
        state: EvidenceState,
    },
}

/// A line of the custody log's export.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CustodyLine {
    /// The exact text of a [`crate::custody::Leaf`].
    Leaf(String),
    /// A signed [`crate::custody::Head`].
    Head(Signed),
}
