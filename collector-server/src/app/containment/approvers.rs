//! How many persons must approve a containment order, its signer included, before an agent is handed it.
//!
//! The larger of what triage says of the incident's type and of the action, and of the rules of two persons. The host's
//! policy may ask for more, and has the last word.

use wire::containment::{Action, Directive};

/// From so many other hosts on, the same action is one upon the fleet.
pub const FLEET_HOSTS_MIN: usize = 5;

/// What is known of the place of an order.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// What the host last said of itself: it is protected.
    pub is_protected: bool,
    /// Other hosts at which the same action waits or is in force.
    pub others: usize,
    /// What triage asks for.
    pub triage: u32,
}

/// How many must approve, and why.
pub fn wanted(directive: &Directive, place: Place) -> (u32, Vec<String>) {
    // What changes nothing, and what takes a change back, must not wait for a second person.
    let Directive::Apply { action, .. } = directive else { return (1, Vec::new()) };
    let mut why = Vec::new();
    if place.triage > 1 {
        why.push(format!("triage asks for {} at an incident of this type", place.triage));
    }
    if !action.is_reversible() {
        why.push("it cannot be taken back".to_owned());
    }
    if place.others >= FLEET_HOSTS_MIN {
        why.push(format!("the same is done at {} other hosts", place.others));
    }
    if place.is_protected {
        why.push("the host is protected".to_owned());
    }
    let two = if why.is_empty() { 1 } else { 2 };
    (place.triage.max(two), why)
}

/// True for two actions of one kind.
pub fn is_same(one: &Action, other: &Action) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

#[cfg(test)]
mod tests {
    use wire::containment::ProcessRef;

    use super::*;

    const ALONE: Place = Place { is_protected: false, others: 0, triage: 1 };

    fn apply(action: Action) -> Directive {
        Directive::Apply { action, lease_secs: 60 }
    }

    #[test]
    fn the_larger_of_triage_and_the_rules_of_two_persons() {
        let isolate = || Action::IsolateNetwork { allow: Vec::new(), resolvers: Vec::new() };
        let kill = Action::KillProcess { process: ProcessRef { pid: 7, start_ticks: 9 } };
        let count = |directive: &Directive, place| wanted(directive, place).0;
        assert_eq!(wanted(&apply(isolate()), ALONE), (1, Vec::new()));
        assert_eq!(count(&apply(isolate()), Place { triage: 3, ..ALONE }), 3);
        assert_eq!(count(&apply(isolate()), Place { is_protected: true, ..ALONE }), 2);
        assert_eq!(count(&apply(isolate()), Place { others: FLEET_HOSTS_MIN - 1, ..ALONE }), 1);
        assert_eq!(count(&apply(isolate()), Place { others: FLEET_HOSTS_MIN, ..ALONE }), 2);
        assert_eq!(count(&apply(kill.clone()), ALONE), 2);
        assert_eq!(count(&Directive::Rehearse { action: kill }, Place { is_protected: true, ..ALONE }), 1);
    }
}
