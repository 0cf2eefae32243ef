//! What to collect (`data/evidence.yaml`).

use std::collections::BTreeMap;

use serde::Deserialize;
use wire::assessment::{EvidencePlan, Severity};
use wire::tier::Tier;

use crate::taxonomy::IncidentType;

/// The rules of the evidence plan.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceRules {
    /// The version of the file.
    pub version: String,
    /// What must be on record for evidence to stand, each in a sentence.
    pub custody: Vec<String>,
    /// The collection profiles that there are.
    pub profiles: Vec<PlannedProfile>,
    /// What stands in for a profile that is not there, by severity.
    pub stand_in: BTreeMap<Severity, String>,
    /// Signals that say more than the type does.
    pub by_signal: Vec<BySignal>,
    /// The kinds of evidence of each tier, in the order in which they are taken.
    pub order: BTreeMap<Tier, Vec<String>>,
    /// What is looked at before anything else.
    pub first: Vec<First>,
}

/// A collection profile.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedProfile {
    /// Its name.
    pub profile: String,
    /// The tiers that it reaches.
    pub tiers: Vec<Tier>,
    /// On a host of ordinary size, with the upload.
    pub estimated_seconds: u32,
}

/// The profile for incidents of some types that show a signal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BySignal {
    /// Which signal.
    pub signal: String,
    /// Which types.
    pub types: Vec<String>,
    /// Its profile.
    pub profile: String,
}

/// What of a type is looked at first.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct First {
    /// Which type.
    #[serde(rename = "type")]
    pub incident_type: String,
    /// In words.
    pub evidence: String,
}

impl EvidenceRules {
    /// The plan for an incident of this type and severity that shows these signals: the type's own profile where there is
    /// one, unless a signal says more.
    pub fn plan(&self, incident_type: &IncidentType, severity: Severity, shows: impl Fn(&str) -> bool) -> EvidencePlan {
        let says_more = |one: &&BySignal| one.types.contains(&incident_type.name) && shows(&one.signal);
        let profile = self.by_signal.iter().find(says_more).map_or(&incident_type.profile, |one| &one.profile);
        self.plan_as(profile, incident_type, severity)
    }

    /// The same, by the profile of this name where there is one.
    pub fn plan_as(&self, profile: &str, incident_type: &IncidentType, severity: Severity) -> EvidencePlan {
        let named = |name: &str| self.profiles.iter().find(|one| one.profile == name);
        let stand_in = || self.stand_in.get(&severity).and_then(|name| named(name));
        let Some(profile) = named(profile).or_else(stand_in) else {
            return EvidencePlan::default();
        };
        let first = self.first.iter().filter(|one| one.incident_type == incident_type.name);
        let by_tier = profile.tiers.iter().filter_map(|tier| self.order.get(tier)).flatten();
        EvidencePlan {
            estimated_seconds: profile.estimated_seconds,
            order: first.map(|one| &one.evidence).chain(by_tier).cloned().collect(),
            profile: profile.profile.clone(),
            tiers: profile.tiers.clone(),
        }
    }
}
