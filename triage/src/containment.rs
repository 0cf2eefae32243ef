//! What to do to the hosts, with what must hold first (`data/containment.yaml`). Proposed here, decided elsewhere.

use std::collections::BTreeMap;

use serde::Deserialize;
use wire::assessment::{Containment, Severity};

use crate::taxonomy::{DefaultAction, IncidentType};

/// The rules of containment.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainmentRules {
    /// The version of the file.
    pub version: String,
    /// How long automation waits for the volatile tier of a host, in seconds, before it isolates it without.
    pub budget_secs: u32,
    /// The same for types of incidents in which that is too long.
    pub budget_secs_of: BTreeMap<String, u32>,
    /// The actions that are known.
    pub actions: Vec<Action>,
    /// What must hold, in words.
    pub conditions: Conditions,
}

/// An action.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// Its name.
    pub action: String,
    /// At what.
    pub aimed_at: Aim,
    /// True when it is reversible, leased and allowed to run by itself.
    pub automatic: bool,
    /// How many must approve it when it does not.
    pub approvers: u32,
}

/// What an action is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// A host.
    Host,
    /// A process of a host.
    Process,
    /// An account of a host.
    Account,
    /// Somebody who does it by hand.
    People,
}

/// The conditions in words.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// Capturing goes first.
    pub evidence: String,
    /// It ends by itself.
    pub lease: String,
    /// No address alone.
    pub exact_host: String,
    /// No reused PID.
    pub exact_process: String,
    /// The site's list.
    pub not_listed: String,
    /// What confirmed means.
    pub two_sources: String,
    /// The host is on the site's list.
    pub listed: String,
}

/// What is known of the incident.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// How bad.
    pub severity: Severity,
    /// Two independent sources agree.
    pub is_confirmed: bool,
    /// A victim is named by an exact id.
    pub is_exact: bool,
    /// A victim is never isolated.
    pub is_listed: bool,
}

impl ContainmentRules {
    /// What is proposed for an incident of this type.
    pub fn propose(&self, incident_type: &IncidentType, situation: Situation) -> Vec<Containment> {
        incident_type.containment.iter().filter_map(|default| self.proposal(default, situation)).collect()
    }

    /// How long automation waits for the volatile tier in an incident of this type.
    pub fn budget_secs(&self, incident_type: &str) -> u32 {
        self.budget_secs_of.get(incident_type).copied().unwrap_or(self.budget_secs)
    }

    /// How many must approve this action in an incident of this type; one for an action that the rules do not know.
    pub fn approvers(&self, incident_type: Option<&IncidentType>, action: &str) -> u32 {
        let own = self.actions.iter().find(|known| known.action == action).map_or(1, |known| known.approvers);
        let of_type = incident_type.and_then(|known| known.containment.iter().find(|one| one.action == action));
        of_type.and_then(|one| one.approvers).unwrap_or(1).max(own).max(1)
    }

    fn proposal(&self, default: &DefaultAction, situation: Situation) -> Option<Containment> {
        let action = self.actions.iter().find(|action| action.action == default.action)?;
        let approvers = default.approvers.unwrap_or(action.approvers).max(action.approvers);
        let words = &self.conditions;
        let automatic = action.automatic
            && approvers <= 1
            && situation.severity == Severity::Sev1
            && situation.is_confirmed
            && situation.is_exact
            && !situation.is_listed;
        let mut conditions = Vec::new();
        if action.aimed_at == Aim::People {
            conditions.extend(default.task.clone());
            conditions.extend(default.owner.as_ref().map(|owner| format!("owner: {owner}")));
            conditions.extend(default.within_minutes.map(|minutes| format!("within {minutes} min")));
            conditions.extend(default.after.clone());
            return Some(Containment { action: default.action.clone(), automatic: false, conditions });
        }
        match approvers {
            _ if automatic => conditions.push(words.two_sources.clone()),
            0 | 1 => conditions.push("one approver".to_owned()),
            many => conditions.push(format!("{many} approvers")),
        }
        conditions.extend(default.after.clone());
        match action.aimed_at {
            Aim::Host => {
                conditions.extend([&words.evidence, &words.exact_host, &words.lease].map(String::clone));
                conditions.push(if situation.is_listed { &words.listed } else { &words.not_listed }.clone());
            }
            Aim::Process => conditions.extend([&words.exact_host, &words.exact_process].map(String::clone)),
            Aim::Account | Aim::People => {}
        }
        Some(Containment { action: default.action.clone(), automatic, conditions })
    }
}
