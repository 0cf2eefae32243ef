//! The roles of an incident and what each does (`data/roles.yaml`).

use serde::Deserialize;
use wire::assessment::Severity;

/// The roles.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// The version of the file.
    pub version: String,
    /// In the order in which they are shown.
    pub roles: Vec<Role>,
}

/// A role.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Its name, e.g. `incident_commander`.
    pub role: String,
    /// Its name for people.
    pub title: String,
    /// Named at this severity and above; below it the incident commander has it.
    pub from: Severity,
    /// What it does, each in a sentence.
    pub duties: Vec<String>,
}

impl Roles {
    /// The role of this name.
    pub fn get(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|one| one.role == name)
    }

    /// The roles that are to be named at this severity.
    pub fn wanted(&self, severity: Severity) -> impl Iterator<Item = &Role> {
        self.roles.iter().filter(move |one| severity >= one.from)
    }
}
