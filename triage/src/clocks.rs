//! Which notification clocks may apply (`data/clocks.yaml`). Guidance, not legal advice.

use std::collections::BTreeSet;

use serde::Deserialize;
use wire::assessment::{NotificationClock, Severity};

/// The clocks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clocks {
    /// The version of the file.
    pub version: String,
    /// In the order in which they are shown.
    pub clocks: Vec<Clock>,
}

/// One clock.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// The regulation.
    pub regime: String,
    /// The fact that starts it.
    pub anchor: Anchor,
    /// In words.
    pub deadline: String,
    /// From this severity upward.
    pub severity: Severity,
    /// Only for these types; empty is all.
    pub types: Vec<String>,
    /// Only with any of these signals; empty is always.
    pub data: Vec<String>,
    /// False for one that is shipped switched off.
    #[serde(default = "yes")]
    pub enabled: bool,
}

const fn yes() -> bool {
    true
}

/// The facts that start clocks. They are kept apart: none stands for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// The first alert.
    DetectedAt,
    /// Somebody of the organisation knew.
    AwareAt,
    /// It was classified as major.
    ClassifiedMajorAt,
    /// It was found to be material.
    MaterialDeterminedAt,
    /// There was reason to believe it.
    ReasonableBeliefAt,
    /// The breach was confirmed.
    ConfirmedBreachAt,
    /// A ransom was paid.
    RansomPaidAt,
}

impl Anchor {
    const fn name(self) -> &'static str {
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

impl Clocks {
    /// The clocks that may apply to an incident of this type and severity with these signals.
    pub fn that_may_apply(&self, name: &str, severity: Severity, signals: &BTreeSet<&str>) -> Vec<NotificationClock> {
        let applies = |clock: &&Clock| {
            clock.enabled
                && severity >= clock.severity
                && (clock.types.is_empty() || clock.types.iter().any(|one| one == name))
                && (clock.data.is_empty() || clock.data.iter().any(|one| signals.contains(one.as_str())))
        };
        let shown = |clock: &Clock| NotificationClock {
            anchor: clock.anchor.name().to_owned(),
            deadline: clock.deadline.clone(),
            regime: clock.regime.clone(),
        };
        self.clocks.iter().filter(applies).map(shown).collect()
    }
}
