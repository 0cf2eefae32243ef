//! The time-and-process half of a response: which facts start clocks, where each clock, timer and checklist stands.
//!
//! Guidance, not legal advice. The JSON keys are a promise to machines. Readers keep unknown fields.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Instant;
use crate::suggest::nearest;

/// A fact that starts clocks. They are kept apart: none stands for another, and only people establish those after
/// [`Anchor::DetectedAt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// The first sign was seen, by a product or a person.
    DetectedAt,
    /// The organisation knew with reasonable certainty ("became aware", "discovered").
    AwareAt,
    /// It was classified as a major incident.
    ClassifiedMajorAt,
    /// It was found to be material to investors.
    MaterialDeterminedAt,
    /// There was reason to believe that it is a covered incident.
    ReasonableBeliefAt,
    /// It was determined that a breach that must be notified has occurred.
    ConfirmedBreachAt,
    /// A ransom was paid.
    RansomPaidAt,
}

impl Anchor {
    /// All anchors, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::DetectedAt,
        Self::AwareAt,
        Self::ClassifiedMajorAt,
        Self::MaterialDeterminedAt,
        Self::ReasonableBeliefAt,
        Self::ConfirmedBreachAt,
        Self::RansomPaidAt,
    ];

    /// `aware_at` and so on.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DetectedAt => "detected_at",
            Self::AwareAt => "aware_at",
            Self::ClassifiedMajorAt => "classified_major_at",
            Self::MaterialDeterminedAt => "material_determined_at",
            Self::ReasonableBeliefAt => "reasonable_belief_at",
            Self::ConfirmedBreachAt => "confirmed_breach_at",
            Self::RansomPaidAt => "ransom_paid_at",
        }
    }
}

/// A phase of the response (NIST SP 800-61 rev. 2, section 3). Preparation is not a phase of one incident; what the
/// standard calls "containment, eradication and recovery" is kept apart, since each ends at another time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "IncidentPhase")]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// What it is, how far it reaches.
    #[default]
    DetectionAndAnalysis,
    /// It goes no further.
    Containment,
    /// Its cause and everything it left are gone.
    Eradication,
    /// Systems are back and watched.
    Recovery,
    /// What is learnt from it.
    PostIncident,
}

impl Phase {
    /// All phases, in their order.
    pub const ALL: [Self; 5] =
        [Self::DetectionAndAnalysis, Self::Containment, Self::Eradication, Self::Recovery, Self::PostIncident];

    /// `detection_and_analysis` and so on.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DetectionAndAnalysis => "detection_and_analysis",
            Self::Containment => "containment",
            Self::Eradication => "eradication",
            Self::Recovery => "recovery",
            Self::PostIncident => "post_incident",
        }
    }
}

/// For whom a draft is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Those who work on it.
    Technical,
    /// Those who decide and pay.
    Executive,
    /// Counsel.
    Legal,
    /// Those whose service or data are concerned; names no internal host.
    Customers,
    /// An authority; names no internal host unless it is asked for.
    Regulator,
}

impl Audience {
    /// All audiences, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Technical, Self::Executive, Self::Legal, Self::Customers, Self::Regulator];

    /// `technical` and so on.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Technical => "technical",
            Self::Executive => "executive",
            Self::Legal => "legal",
            Self::Customers => "customers",
            Self::Regulator => "regulator",
        }
    }
}

/// `Display` and `FromStr` of an enum that has `ALL` and `name`, as its JSON has it.
macro_rules! named {
    ($type:ident, $what:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.into_iter().find(|one| one.name() == text).ok_or_else(|| {
                    let names = Self::ALL.map(Self::name);
                    let hint = nearest(text, names.into_iter()).map(|name| format!("; hint: {name}?"));
                    format!(
                        "{text:?} is no {}{}",
                        $what,
                        hint.unwrap_or_else(|| format!(": one of {}", names.join(", ")))
                    )
                })
            }
        }
    };
}
named!(Anchor, "anchor");
named!(Phase, "phase");
named!(Audience, "audience");

/// Whether a clock applies: who said so, why and when. The newest decision on a clock counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClockDecision {
    /// True when it applies.
    pub applies: bool,
    /// When it was decided.
    pub at: Instant,
    /// Who decided.
    pub by: String,
    /// The clock's name, e.g. `gdpr_art_33`.
    pub clock: String,
    /// Why.
    pub why: String,
}

/// What was submitted to an authority, a partner or the persons concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClockSubmission {
    /// When it was submitted.
    pub at: Instant,
    /// Who submitted it.
    pub by: String,
    /// The clock's name, e.g. `gdpr_art_33`.
    pub clock: String,
    /// What proves it: the portal's reference, the message's id.
    pub receipt: Option<String>,
    /// The stage's name, e.g. `notification`.
    pub stage: String,
}

/// Where a clock stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClockState {
    /// Whom it binds, in words: what decides on applicability.
    pub applies_to: String,
    /// Its name in the rules, e.g. `gdpr_art_33`.
    pub clock: String,
    /// What was decided on applicability; nothing is undecided, and the clock runs as if it applied.
    pub decision: Option<ClockDecision>,
    /// What every answer about clocks says: guidance, not legal advice.
    pub guidance: String,
    /// The regulation, in words.
    pub regime: String,
    /// Where the rule stands: law, article, address.
    pub source: String,
    /// Its stages, in their order.
    pub stages: Vec<StageState>,
    /// The version of the rules.
    pub version: String,
}

/// Where a stage of a clock stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageState {
    /// The deadline, in words.
    pub deadline: String,
    /// When it is due; nothing while it waits, and for a stage that is due "at once".
    pub due_at: Option<Instant>,
    /// How the time was reckoned, each limit in a sentence; the earliest counts.
    pub reckoning: Vec<String>,
    /// Until it is due; negative when overdue. Nothing once it is submitted.
    pub remaining_seconds: Option<i64>,
    /// Its name, e.g. `notification`.
    pub stage: String,
    /// Where it stands.
    pub state: StageStatus,
    /// What was submitted.
    pub submission: Option<ClockSubmission>,
    /// Whom it is sent to.
    pub to: String,
    /// The facts that it waits for: anchors (`aware_at`) or stages (`the submission of initial`).
    pub waits_for: Vec<String>,
}

/// The state of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StageStatus {
    /// Decided: the clock does not apply.
    NotApplicable,
    /// The fact that starts it is not recorded.
    NotStarted,
    /// It runs.
    Running,
    /// It runs and is due soon, or at once.
    Warned,
    /// The time is over and nothing was submitted.
    Overdue,
    /// Submitted in time.
    Submitted,
    /// Submitted after it was due.
    SubmittedLate,
}

/// Where a response timer stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimerState {
    /// When it is due.
    pub due_at: Instant,
    /// When it was met.
    pub met_at: Option<Instant>,
    /// The role that sees to it.
    pub owner: String,
    /// Until it is due; negative when overdue. Nothing once it is met.
    pub remaining_seconds: Option<i64>,
    /// Where it stands.
    pub state: TimerStatus,
    /// Its name, e.g. `respond` or `sev1_contained`.
    pub timer: String,
    /// What is to be done, in a sentence.
    pub what: String,
}

/// The state of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimerStatus {
    /// There is time.
    Ok,
    /// It is due soon.
    Warn,
    /// The time is over.
    Overdue,
    /// Done in time.
    Met,
    /// Done after it was due.
    MetLate,
}

/// A step of an incident's checklist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChecklistStep {
    /// What shows that it was done, each in words.
    pub evidence: Vec<String>,
    /// Its name, e.g. `ransomware.protect_backups`: never changes, so that done steps stay done.
    pub id: String,
    /// The role that does it.
    pub owner: String,
    /// The phase that it belongs to.
    pub phase: Phase,
    /// False when nobody is warned who leaves the phase without it.
    pub required: bool,
    /// What is to be done.
    pub text: String,
    /// Counted from the opening of the incident.
    pub within_minutes: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::{Anchor, Audience, Phase};

    #[test]
    fn a_name_is_what_json_has_and_reads_back() {
        for anchor in Anchor::ALL {
            assert_eq!(serde_json::to_value(anchor).unwrap(), anchor.name());
            assert_eq!(anchor.name().parse(), Ok(anchor));
        }
        for phase in Phase::ALL {
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.name());
        }
        for audience in Audience::ALL {
            assert_eq!(serde_json::to_value(audience).unwrap(), audience.name());
        }
        assert!("aware".parse::<Anchor>().unwrap_err().starts_with("\"aware\" is no anchor"));
    }
}
