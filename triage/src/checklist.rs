//! What is to be done for a type of incident, phase by phase (`data/checklists.yaml`).
//!
//! Leaving a phase with open steps is warned of and not forbidden: whoever leads may know better, and says why.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use wire::response::{ChecklistStep, Phase};

use crate::rules::{Reader, Rules};

/// The checklists.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checklists {
    /// The version of the file.
    pub version: String,
    /// Steps that types share.
    pub parts: Vec<Part>,
    /// One for each type.
    pub checklists: Vec<Checklist>,
}

/// Steps that types share.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its name.
    pub part: String,
    /// The steps.
    pub steps: Vec<Step>,
}

/// The checklist of a type.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checklist {
    /// The type.
    #[serde(rename = "type")]
    pub incident_type: String,
    /// The names of the parts that it has.
    pub parts: Vec<String>,
    /// Its own steps.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name; never changes.
    pub id: String,
    /// When it is done.
    pub phase: Phase,
    /// The role that does it.
    pub owner: String,
    /// After the opening.
    #[serde(default)]
    pub within_minutes: Option<u32>,
    /// True when nobody is warned who leaves the phase without it.
    #[serde(default)]
    pub optional: bool,
    /// What is to be done.
    pub text: String,
    /// What shows that it was done.
    pub evidence: Vec<String>,
}

impl Checklists {
    /// The steps of a type, by phase, in a phase by time; none for an unknown type.
    pub fn for_type(&self, incident_type: &str) -> Vec<ChecklistStep> {
        let Some(list) = self.checklists.iter().find(|one| one.incident_type == incident_type) else {
            return Vec::new();
        };
        let parts = list.parts.iter().filter_map(|name| self.parts.iter().find(|part| part.part == *name));
        let steps = parts.flat_map(|part| &part.steps).chain(&list.steps);
        let mut steps: Vec<ChecklistStep> = steps.map(Step::shown).collect();
        steps.sort_by_key(|step| (step.phase, step.within_minutes.unwrap_or(u32::MAX)));
        steps
    }

    /// The required steps of all phases before `to` that are neither done nor waived: what is warned of when the
    /// incident goes to that phase.
    pub fn open_before(&self, incident_type: &str, to: Phase, settled: &BTreeSet<&str>) -> Vec<ChecklistStep> {
        let is_open = |step: &ChecklistStep| step.required && step.phase < to && !settled.contains(step.id.as_str());
        self.for_type(incident_type).into_iter().filter(is_open).collect()
    }

    /// True when some type has this step.
    pub fn has(&self, id: &str) -> bool {
        self.all().any(|(_, step)| step.id == id)
    }

    /// All steps, each with its path in the file.
    fn all(&self) -> impl Iterator<Item = (String, &Step)> {
        let parts = self.parts.iter().enumerate().map(|(n, part)| (format!("parts[{n}]"), &part.steps));
        let own = self.checklists.iter().enumerate().map(|(n, list)| (format!("checklists[{n}]"), &list.steps));
        parts.chain(own).flat_map(|(path, steps)| {
            steps.iter().enumerate().map(move |(m, step)| (format!("{path}.steps[{m}]"), step))
        })
    }

    pub(crate) fn check(&self, rules: &Rules, reader: &mut Reader) {
        const FILE: &str = "checklists.yaml";
        let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, step) in self.all() {
            *ids.entry(&step.id).or_default() += 1;
        }
        for (path, step) in self.all() {
            reader.known("role", &step.owner, rules.roles.get(&step.owner).is_some(), FILE, &path);
            reader.known("id of its own of step", &step.id, ids.get(step.id.as_str()) == Some(&1), FILE, &path);
        }
        for (n, list) in self.checklists.iter().enumerate() {
            let path = format!("checklists[{n}]");
            reader.known("type", &list.incident_type, rules.taxonomy.get(&list.incident_type).is_some(), FILE, &path);
            for name in &list.parts {
                reader.known("part", name, self.parts.iter().any(|part| part.part == *name), FILE, &path);
            }
        }
        for one in &rules.taxonomy.types {
            let is_there = self.checklists.iter().any(|list| list.incident_type == one.name);
            reader.known("checklist of type", &one.name, is_there, FILE, "checklists");
        }
    }
}

impl Step {
    fn shown(&self) -> ChecklistStep {
        ChecklistStep {
            evidence: self.evidence.clone(),
            id: self.id.clone(),
            owner: self.owner.clone(),
            phase: self.phase,
            required: !self.optional,
            text: self.text.clone(),
            within_minutes: self.within_minutes,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use wire::response::Phase;

    use crate::Rules;

    #[test]
    fn every_type_is_led_through_every_phase() {
        let rules = Rules::shipped().unwrap();
        for one in &rules.taxonomy.types {
            let steps = rules.checklists.for_type(&one.name);
            for phase in Phase::ALL {
                let of_phase = || steps.iter().filter(|step| step.phase == phase);
                assert!(of_phase().any(|step| step.required), "{} has nothing to do in {phase}", one.name);
                assert!(of_phase().all(|step| !step.evidence.is_empty()), "{} in {phase}", one.name);
            }
            assert!(steps.is_sorted_by_key(|step| step.phase));
        }
        assert!(rules.checklists.for_type("no_such_type").is_empty());
    }

    #[test]
    fn what_is_open_is_told_before_a_phase_is_left() {
        let checklists = &Rules::shipped().unwrap().checklists;
        let open = |to, settled: &BTreeSet<&str>| -> Vec<String> {
            checklists.open_before("dos_attack", to, settled).into_iter().map(|step| step.id).collect()
        };
        assert!(open(Phase::DetectionAndAnalysis, &BTreeSet::new()).is_empty());
        let first = open(Phase::Containment, &BTreeSet::new());
        assert!(first.contains(&"dos.kind".to_owned()));
        let settled: BTreeSet<&str> = first.iter().map(String::as_str).collect();
        assert_eq!(open(Phase::Containment, &settled), Vec::<String>::new());
        // The letter of an extortionist is optional; the call to the provider is not.
        let next = open(Phase::Eradication, &settled);
        assert!(next.contains(&"dos.upstream".to_owned()) && !next.contains(&"dos.extortion".to_owned()));
    }
}
