//! The incident types and their defaults (`data/taxonomy.yaml`).

use std::collections::BTreeMap;

use serde::Deserialize;
use wire::assessment::Severity;

/// The types, and other words for them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taxonomy {
    /// The version of the file.
    pub version: String,
    /// All types; the last one is what nothing decided.
    pub types: Vec<IncidentType>,
    /// Words that senders use, to types.
    pub aliases: BTreeMap<String, String>,
}

/// One type.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IncidentType {
    /// Its name, e.g. `ransomware`.
    #[serde(rename = "type")]
    pub name: String,
    /// Before evidence moderates it.
    pub severity: Severity,
    /// At this severity.
    pub respond_within_minutes: u32,
    /// The first is shown where an alert names none.
    pub techniques: Vec<String>,
    /// The class and type of the Reference Security Incident Taxonomy.
    pub rsit: String,
    /// The collection profile made for it.
    pub profile: String,
    /// What is proposed, in order.
    pub containment: Vec<DefaultAction>,
    /// One sentence.
    pub next_step: String,
}

/// An action that a type proposes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefaultAction {
    /// The action's name.
    pub action: String,
    /// More approvers than the action itself takes.
    #[serde(default)]
    pub approvers: Option<u32>,
    /// What must hold first, beside the action's own conditions.
    #[serde(default)]
    pub after: Option<String>,
    /// Of a `manual_task`: what to do.
    #[serde(default)]
    pub task: Option<String>,
    /// Of a `manual_task`: who does it.
    #[serde(default)]
    pub owner: Option<String>,
    /// Of a `manual_task`: its deadline.
    #[serde(default)]
    pub within_minutes: Option<u32>,
}

impl Taxonomy {
    /// The type of this name.
    pub fn get(&self, name: &str) -> Option<&IncidentType> {
        self.types.iter().find(|one| one.name == name)
    }

    /// The type that a sender means: by its name or another word for it, in any case, with spaces or hyphens.
    pub fn meant(&self, word: &str) -> Option<&IncidentType> {
        let word = word.trim().to_lowercase().replace([' ', '-'], "_");
        self.get(self.aliases.get(&word).unwrap_or(&word))
    }

    /// The severity of a type before evidence moderates it.
    pub fn default_severity(&self, name: &str) -> Severity {
        self.get(name).map_or(Severity::Sev4, |one| one.severity)
    }
}
