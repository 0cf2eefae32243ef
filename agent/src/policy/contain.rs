//! `[contain]`: what orders may do to this host. Without it, nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use wire::containment::{APPROVALS_MAX, Action, Endpoint, LEASE_SECS_MAX};

use super::{PolicyError, actions};
use crate::contain::journal::Otherwise;

/// Approvers of what cannot be taken back, and of everything on a protected host.
const TWO: usize = 2;

/// `[contain]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Contain {
    /// The actions that may be ordered, by name.
    pub actions: Vec<String>,
    /// The exceptions that an isolation may name: each must lie within one of these.
    pub allow: Vec<Endpoint>,
    /// How many people must have signed, by action. What is not listed takes one; what cannot be taken back, two.
    pub approvals: BTreeMap<String, usize>,
    /// The longest lease, and the longest renewal.
    pub lease_secs_max: u64,
    /// What happens when what was done does not hold, or cuts off the server.
    pub on_invalid: Otherwise,
    /// What happens when a lease ends and nobody renewed it.
    pub on_lease_end: Otherwise,
    /// This host is one on which others depend: nothing happens to it without two people.
    pub protected: bool,
    /// The resolvers that an isolation may go on asking.
    pub resolvers: Vec<IpAddr>,
}

impl Default for Contain {
    fn default() -> Self {
        Self {
            actions: Vec::new(),
            allow: Vec::new(),
            approvals: BTreeMap::new(),
            lease_secs_max: LEASE_SECS_MAX,
            on_invalid: Otherwise::Restore,
            on_lease_end: Otherwise::Restore,
            protected: false,
            resolvers: Vec::new(),
        }
    }
}

impl Contain {
    pub(super) fn check(&self) -> Result<(), PolicyError> {
        let wrong = |what: String, hint: String| PolicyError::Value { section: "contain", what, hint };
        actions("contain", self.actions.iter().chain(self.approvals.keys()))?;
        // One of them is the order's own signature.
        let approvers_max = APPROVALS_MAX + 1;
        if let Some((action, count)) = self.approvals.iter().find(|(_, count)| !(1..=approvers_max).contains(*count)) {
            let hint = format!("1 to {approvers_max} people can approve");
            return Err(wrong(format!("`{action}` cannot take {count} approvals"), hint));
        }
        if !(1..=LEASE_SECS_MAX).contains(&self.lease_secs_max) {
            let hint = format!("at least 1, and at most {LEASE_SECS_MAX}: whoever needs longer renews");
            return Err(wrong(format!("a lease of {} s is none", self.lease_secs_max), hint));
        }
        Ok(())
    }

    /// How many people must have signed before this action is applied.
    pub fn approvals(&self, action: &Action) -> usize {
        let usual = if action.is_reversible() { 1 } else { TWO };
        let asked = self.approvals.get(action.name()).copied().unwrap_or(usual);
        if self.protected { asked.max(TWO) } else { asked }
    }

    /// Whether this action may be ordered, with these arguments. What a person may not order, nobody may.
    ///
    /// # Errors
    /// What is forbidden, in a sentence.
    pub fn permit(&self, action: &Action) -> Result<(), String> {
        if self.actions.is_empty() {
            return Err("no containment may be ordered on this host".to_owned());
        }
        if !self.actions.iter().any(|name| name == action.name()) {
            return Err(format!("the action `{}` is not among those that may be ordered", action.name()));
        }
        let Action::IsolateNetwork { allow, resolvers } = action else { return Ok(()) };
        if let Some(asked) = allow.iter().find(|asked| !self.allow.iter().any(|allowed| allowed.covers(asked))) {
            return Err(format!("the exception {asked} is wider than what an isolation may leave open"));
        }
        if let Some(asked) = resolvers.iter().find(|asked| !self.resolvers.contains(asked)) {
            return Err(format!("the resolver {asked} is not among those that an isolation may leave open"));
        }
        Ok(())
    }

    /// Whether what does not hold, seen from the server, may be taken back.
    ///
    /// # Errors
    /// What is forbidden, in a sentence.
    pub fn permit_restoring(&self) -> Result<(), String> {
        match self.on_invalid {
            Otherwise::Restore => Ok(()),
            Otherwise::StayClosed => {
                Err("it stays closed, as this host's policy says of what does not hold".to_owned())
            }
        }
    }

    /// Whether a lease may be this long.
    ///
    /// # Errors
    /// What is forbidden, in a sentence.
    pub fn permit_lease(&self, lease_secs: u64) -> Result<(), String> {
        if lease_secs > self.lease_secs_max {
            return Err(format!("a lease of {lease_secs} s is beyond the ceiling of {}", self.lease_secs_max));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wire::containment::ProcessRef;

    use super::*;
    use crate::policy::Policy;

    #[test]
    fn without_a_policy_nothing_is_contained_and_with_one_what_it_says() {
        let isolate = |allow: &[&str], resolvers: &[&str]| Action::IsolateNetwork {
            allow: allow.iter().map(|text| text.parse().unwrap()).collect(),
            resolvers: resolvers.iter().map(|text| text.parse().unwrap()).collect(),
        };
        let kill = Action::KillProcess { process: ProcessRef { pid: 7, start_ticks: 1 } };
        assert!(Policy::default().contain.permit(&isolate(&[], &[])).unwrap_err().starts_with("no containment"));
        let policy = "[contain]\nactions = [\"isolate_network\", \"kill_process\"]\nallow = [\"10.0.0.0/24:443\"]\n\
            resolvers = [\"10.0.0.53\"]\nlease_secs_max = 60\napprovals = { isolate_network = 3 }\n\
            on_lease_end = \"stay_closed\"\n";
        let contain = Policy::parse(policy).unwrap().contain;
        assert_eq!((contain.on_lease_end, contain.on_invalid), (Otherwise::StayClosed, Otherwise::Restore));
        contain.permit(&isolate(&["10.0.0.7:443"], &["10.0.0.53"])).unwrap();
        for (allow, resolvers) in
            [("10.0.0.7", "10.0.0.53"), ("10.0.1.7:443", "10.0.0.53"), ("10.0.0.7:443", "10.0.0.54")]
        {
            assert!(contain.permit(&isolate(&[allow], &[resolvers])).is_err(), "{allow} {resolvers}");
        }
        assert!(contain.permit(&Action::BlockMetadataService {}).unwrap_err().contains("`block_metadata_service`"));
        assert!(contain.permit_lease(60).is_ok() && contain.permit_lease(61).is_err());
        assert_eq!((contain.approvals(&isolate(&[], &[])), contain.approvals(&kill)), (3, 2));
        let one = Contain { approvals: BTreeMap::from([("kill_process".to_owned(), 1)]), ..Contain::default() };
        assert_eq!((one.approvals(&kill), one.approvals(&isolate(&[], &[]))), (1, 1));
        let protected = Contain { protected: true, ..one };
        assert_eq!((protected.approvals(&kill), protected.approvals(&isolate(&[], &[]))), (2, 2));
    }
}
