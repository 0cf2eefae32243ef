//! What people decide about an incident, and how they say it.
//!
//! An incident is a view over immutable alerts; what people add is its [`Case`]: a document that only [`Action`]s change,
//! one by one, each with who, when and why in the custody log. Everything here but ids and times is somebody's text:
//! bounded where it comes in, to be escaped where it is shown.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::assessment::Severity;
use crate::response::{Anchor, ClockDecision, ClockSubmission, Phase};
use crate::{AlertId, EditId, IncidentId, Instant};

/// The longest text of a note, a reason or a receipt.
pub const TEXT_BYTES_MAX: usize = 16 << 10;
/// The longest name of a person, a role or a step.
pub const NAME_BYTES_MAX: usize = 128;
/// The longest line of a report: its title, a host's or an account's name.
pub const LINE_BYTES_MAX: usize = 512;
/// Alerts that are moved at once.
pub const MOVED_MAX: usize = 1000;
/// Submissions, decisions and done steps that an incident keeps, of each kind.
pub const KEPT_MAX: usize = 500;

/// One line that says something, as the API's document tells it.
const LINE: &str = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$";
/// A text that says something.
const SAID: &str = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x08\x0b-\x1f\x7f-\x9f]*$";
/// A text, or nothing.
const TEXT: &str = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$";

/// Who, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stamp {
    /// Who: `user:<name>`, or `server`.
    pub by: String,
    /// Why; empty where nobody is asked for a reason.
    pub reason: String,
    /// When it was said.
    pub time: Instant,
}

/// What people decided about an incident so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Case {
    /// Who answered the page, first.
    pub acknowledged: Option<Stamp>,
    /// The facts that start notification clocks, as far as they are known.
    pub anchors: BTreeMap<Anchor, AnchorSet>,
    /// Set when it was closed.
    pub closed: Option<Closing>,
    /// Whether clocks apply; of several about one clock the newest counts.
    pub decisions: Vec<ClockDecision>,
    /// When people were last told where it stands: a note that is an update.
    pub last_update: Option<Instant>,
    /// The incident that took its alerts over.
    pub merged_into: Option<IncidentId>,
    /// What a person says against the rules.
    pub overridden: Option<Overridden>,
    /// Where the work stands.
    pub phase: Phase,
    /// Other incidents that may have to do with it, and why.
    pub related: BTreeMap<IncidentId, String>,
    /// Who has which role, e.g. `incident_commander`.
    pub roles: BTreeMap<String, String>,
    /// The steps of the checklist that are done or waived, by their ids.
    pub steps: BTreeMap<String, StepState>,
    /// What was sent to authorities and others.
    pub submissions: Vec<ClockSubmission>,
    /// When a person first did something to it: from then on the server does not merge it into another by itself.
    pub worked_on: Option<Instant>,
}

/// A fact that starts clocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnchorSet {
    /// When it was so.
    pub at: Instant,
    /// Who said so.
    pub stamp: Stamp,
}

/// How an incident ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Closing {
    /// The OCSF verdict.
    pub disposition: Disposition,
    /// Who closed it.
    pub stamp: Stamp,
}

/// What an incident turned out to be (OCSF `verdict`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// The detection was wrong.
    FalsePositive,
    /// It happened.
    TruePositive,
    /// Not worth a look.
    Disregard,
    /// It may have happened.
    Suspicious,
    /// It happened, and was meant to.
    Benign,
    /// Somebody tried the detection out.
    Test,
    /// Nobody can say.
    InsufficientData,
    /// Another incident is about the same.
    Duplicate,
}

impl Disposition {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::TruePositive,
        Self::FalsePositive,
        Self::Benign,
        Self::Suspicious,
        Self::Disregard,
        Self::Test,
        Self::Duplicate,
        Self::InsufficientData,
    ];

    /// The name as it is serialised.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FalsePositive => "false_positive",
            Self::TruePositive => "true_positive",
            Self::Disregard => "disregard",
            Self::Suspicious => "suspicious",
            Self::Benign => "benign",
            Self::Test => "test",
            Self::InsufficientData => "insufficient_data",
            Self::Duplicate => "duplicate",
        }
    }
}

/// What a person says against the rules. Upward it holds; downward until a trigger fires that was not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Overridden {
    /// Instead of the rules' type.
    pub incident_type: Option<String>,
    /// Instead of the rules' severity.
    pub severity: Option<Severity>,
    /// Who, and why.
    pub stamp: Stamp,
    /// The triggers that had fired when it was said.
    pub triggers_then: Vec<String>,
}

/// A step of the checklist that somebody ticked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepState {
    /// Whether it was done or found needless.
    pub outcome: StepOutcome,
    /// Who; the reason is a note.
    pub stamp: Stamp,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// It was done.
    Done,
    /// It is open again.
    Open,
    /// It is not needed here; the note says why.
    Waived,
}

impl StepOutcome {
    /// The name as it is serialised.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Open => "open",
            Self::Waived => "waived",
        }
    }
}

/// What a person does to an incident: `POST /api/v1/incidents/{incident}/actions`. Each is one leaf of the custody log
/// and one entry of the timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// I have it: the page is answered, nobody else is woken.
    Acknowledge {},
    /// A fact that starts clocks is known. Entered again, it replaces the one before.
    Anchor {
        /// Which.
        anchor: Anchor,
        /// When it was so; now when absent.
        at: Option<Instant>,
        /// How it is known.
        #[schemars(length(max = TEXT_BYTES_MAX), regex(pattern = SAID))]
        reason: String,
    },
    /// A role goes to a person; an empty name takes it back.
    Assign {
        /// Who.
        #[schemars(length(max = NAME_BYTES_MAX), regex(pattern = TEXT))]
        person: String,
        /// Which, e.g. `incident_commander`.
        #[schemars(length(max = NAME_BYTES_MAX), regex(pattern = LINE))]
        role: String,
    },
    /// It is over.
    Close {
        /// What it turned out to be.
        disposition: Disposition,
        /// Why.
        #[schemars(length(max = TEXT_BYTES_MAX), regex(pattern = SAID))]
        reason: String,
    },
    /// Whether a notification clock applies.
    Decide {
        /// Whether.
        applies: bool,
        /// Its name, e.g. `gdpr_art_33`.
        #[schemars(length(max = NAME_BYTES_MAX), regex(pattern = LINE))]
        clock: String,
        /// Why.
        #[schemars(length(max = TEXT_BYTES_MAX), regex(pattern = SAID))]
        reason: String,
    },
    /// Takes over all alerts of another incident.
    Merge {
        /// Which.
        other: IncidentId,
        /// Why.
        #[schemars(length(max = TEXT_BYTES_MAX), regex(pattern = SAID))]
        reason: String,
    },
    /// Puts some of its alerts into another incident.
    Move {
        /// Which.
        #[schemars(length(min = 1, max = MOVED_MAX))]
        alerts: Vec<AlertId>,
        /// Why.
        #[schemars(length(max = TEXT_BYTES_MAX), regex(pattern = SAID))]
        reason: String,
        /// Where.
        to: IncidentId,
    },
    /// Says something.
    Note {
        /// What.
        #[schemars(length(max = TEXT_BYTES_MAX), regex(pattern = SAID))]
        text: String,
        /// True when it tells people where the incident stands: the update timer starts again.
        #[serde(default)]
        update: bool,
    },
    /// Contradicts the rules; without type and severity, an override is taken back.
    Override {
        /// Instead of the rules' type.
        incident_type: Option<String>,
        /// Why.
        #[schemars(length(max = TEXT_BYTES_MAX), regex(pattern = TEXT))]
        reason: String,
        /// Instead of the rules' severity.
        severity: Option<Severity>,
    },
    /// The work goes on in another phase.
    Phase {
        /// Which.
        phase: Phase,
        /// Why, where steps of the one before are open.
        #[serde(default)]
        #[schemars(length(max = TEXT_BYTES_MAX), regex(pattern = TEXT))]
        reason: String,
    },
    /// It is not over.
    Reopen {
        /// Why.
        #[schemars(length(max = TEXT_BYTES_MAX), regex(pattern = SAID))]
        reason: String,
    },
    /// Puts some of its alerts into an incident of their own.
    Split {
        /// Which.
        #[schemars(length(min = 1, max = MOVED_MAX))]
        alerts: Vec<AlertId>,
        /// Why.
        #[schemars(length(max = TEXT_BYTES_MAX), regex(pattern = SAID))]
        reason: String,
    },
    /// Ticks a step of the checklist.
    Step {
        /// A note; needed when it is waived.
        #[serde(default)]
        #[schemars(length(max = TEXT_BYTES_MAX), regex(pattern = TEXT))]
        note: String,
        /// What became of it.
        outcome: StepOutcome,
        /// Its id.
        #[schemars(length(max = NAME_BYTES_MAX), regex(pattern = LINE))]
        step: String,
    },
    /// A notification was sent.
    Submit {
        /// When it was sent; now when absent.
        at: Option<Instant>,
        /// The clock's name, e.g. `gdpr_art_33`.
        #[schemars(length(max = NAME_BYTES_MAX), regex(pattern = LINE))]
        clock: String,
        /// What the receiver gave for it: a number, a link.
        #[schemars(length(max = TEXT_BYTES_MAX), regex(pattern = SAID))]
        receipt: String,
        /// Which of its stages.
        #[schemars(length(max = NAME_BYTES_MAX), regex(pattern = LINE))]
        stage: String,
    },
    /// Takes back a merge, a split or a move.
    Undo {
        /// Which.
        edit: EditId,
        /// Why.
        #[schemars(length(max = TEXT_BYTES_MAX), regex(pattern = SAID))]
        reason: String,
    },
}

/// What became of an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ActionReply {
    /// The incident that a split made.
    pub created: Option<IncidentId>,
    /// The edit of membership, which can be undone by this id.
    pub edit: Option<EditId>,
    /// The incident that it was done to.
    pub incident: IncidentId,
    /// Its severity now.
    pub severity: Severity,
    /// What it did not prevent and should be known: steps that are open, a trigger that outranks an override.
    pub warnings: Vec<String>,
}

/// What kind of change of membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EditKind {
    /// All alerts of one incident went into another.
    Merge,
    /// Some went into another that was there.
    Move,
    /// Some went into one of their own.
    Split,
}

impl EditKind {
    /// The name as it is serialised.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Merge => "merge",
            Self::Move => "move",
            Self::Split => "split",
        }
    }
}

/// A change of which alerts belong to which incident. It can be undone while every alert is still where it put it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Edit {
    /// The alerts that it moved.
    pub alerts: Vec<AlertId>,
    /// Its id.
    pub edit: EditId,
    /// The incident that they were in.
    pub from: IncidentId,
    /// What kind.
    pub kind: EditKind,
    /// Who, when and why. `server` where an alert tied two incidents together.
    pub stamp: Stamp,
    /// The incident that they went into.
    pub to: IncidentId,
    /// Who undid it, when and why.
    pub undone: Option<Stamp>,
}

/// One thing that happened in an incident: a leaf of the custody log, in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineEntry {
    /// Who did it.
    pub actor: String,
    /// The leaf's event, e.g. `note_added`.
    pub event: String,
    /// The incident of the leaf: this one, or one that was merged into it.
    pub incident: IncidentId,
    /// The leaf's number in the custody log.
    pub seq: u64,
    /// What it was done to.
    pub subject: String,
    /// In one or more sentences.
    pub text: String,
    /// When.
    pub time: Instant,
}

/// What a person tells who saw something: `POST /api/v1/reports`. It becomes an alert like any other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HumanReport {
    /// How to reach whoever saw it.
    #[schemars(length(max = LINE_BYTES_MAX), regex(pattern = LINE))]
    pub contact: Option<String>,
    /// The host that it is about.
    #[schemars(length(max = LINE_BYTES_MAX), regex(pattern = LINE))]
    pub host: Option<String>,
    /// A type of the taxonomy, where the person knows one.
    pub incident_type: Option<String>,
    /// When it was seen; now when absent.
    pub seen_at: Option<Instant>,
    /// One line.
    #[schemars(length(max = LINE_BYTES_MAX), regex(pattern = LINE))]
    pub title: String,
    /// The account that it is about.
    #[schemars(length(max = LINE_BYTES_MAX), regex(pattern = LINE))]
    pub user: Option<String>,
    /// What was seen, in the person's own words.
    #[schemars(length(max = TEXT_BYTES_MAX), regex(pattern = SAID))]
    pub what: String,
}
