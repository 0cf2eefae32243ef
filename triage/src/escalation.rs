//! Whom to call, how and by when (`data/escalation.yaml`).

use std::collections::BTreeSet;

use serde::Deserialize;
use wire::assessment::{EscalationPath, Severity};

use crate::taxonomy::IncidentType;

/// The rules of escalation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Escalation {
    /// The version of the file.
    pub version: String,
    /// One entry for each severity.
    pub severities: Vec<AtSeverity>,
    /// Who is added for a type, at SEV1 and SEV2.
    pub additions: Vec<Addition>,
    /// The signals that say that data of people are at risk.
    pub data_signals: Vec<String>,
    /// Who is added then, at any severity.
    pub data_adds: Vec<String>,
}

/// What a severity asks for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AtSeverity {
    /// Which.
    pub severity: Severity,
    /// Roles, in order.
    pub escalate_to: Vec<String>,
    /// Roles that are added when data of people are at risk.
    pub data_at_risk: Vec<String>,
    /// Where the type has no time of its own at this severity.
    pub respond_within_minutes: u32,
    /// True when a bridge call is opened.
    pub bridge_call: bool,
    /// True when a war room is opened.
    pub war_room: bool,
}

/// Who is added for a type.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addition {
    /// Any of these.
    pub types: Vec<String>,
    /// Roles.
    pub add: Vec<String>,
}

impl Escalation {
    /// The path of an incident of this type and severity with these signals.
    pub fn path(&self, incident_type: &IncidentType, severity: Severity, signals: &BTreeSet<&str>) -> EscalationPath {
        let Some(at) = self.severities.iter().find(|at| at.severity == severity) else {
            return EscalationPath::default();
        };
        let mut roles = at.escalate_to.clone();
        if severity >= Severity::Sev2 {
            let fitting = self.additions.iter().filter(|one| one.types.contains(&incident_type.name));
            roles.extend(fitting.flat_map(|one| one.add.iter().cloned()));
        }
        if self.data_signals.iter().any(|name| signals.contains(name.as_str())) {
            roles.extend(at.data_at_risk.iter().chain(&self.data_adds).cloned());
        }
        let mut escalate_to: Vec<String> = Vec::new();
        for role in roles {
            if !escalate_to.contains(&role) {
                escalate_to.push(role);
            }
        }
        let own_time = (incident_type.severity == severity).then_some(incident_type.respond_within_minutes);
        EscalationPath {
            bridge_call: at.bridge_call,
            escalate_to,
            respond_within_minutes: own_time.unwrap_or(at.respond_within_minutes),
            war_room: at.war_room,
        }
    }
}
