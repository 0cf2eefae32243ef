//! What a person decided against the rules.

use serde::{Deserialize, Serialize};
use wire::assessment::Severity;

/// A person's word on an incident. [`crate::assess`] applies it and shows it as the effect `human_override`.
///
/// A severity upward always holds. Downward it holds until a trigger fires that is not among those known then: the
/// person could not have weighed it. A type replaces what the rules decided, with that type's default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Who.
    pub by: String,
    /// The type, one of the taxonomy; another word is ignored.
    pub incident_type: Option<String>,
    /// Why.
    pub reason: String,
    /// How bad.
    pub severity: Option<Severity>,
    /// The triggers that had fired when it was decided.
    pub triggers_then: Vec<String>,
}

impl Override {
    pub(crate) fn input(&self) -> String {
        format!("{}: {}", self.by, self.reason)
    }
}
