//! What people set about hosts: labels, how much hangs on them, and which are never isolated. And how triage is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as Monotonic};

use serde_json::{Map, Value, json};
use triage::{Context, Rules};
use wire::AgentId;
use wire::api::HostView;
use wire::host::{Criticality, HostMark, HostMarks, LABELS_MAX, Protection, check_key};

use super::incidents::plain;
use super::{Actor, App, Problem, ProblemKind, details};
use crate::store::{HostRecord, NewLeaf};

/// What another server has set is known here after this.
const KNOWN_FOR: Duration = Duration::from_secs(5);
const AT_A_TIME: u32 = 500;

/// What triage is told of hosts, as it was read a moment ago: a flood of alerts asks for it with each of them.
#[derive(Debug, Default)]
pub struct Marks(Mutex<Option<(Monotonic, Arc<Known>)>>);

/// See [`Context`]: by the hosts' names and agents' ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    criticality: BTreeMap<String, Criticality>,
    never_isolate: BTreeSet<String>,
}

impl Known {
    /// These rules, and this known of hosts.
    pub fn context<'a>(&self, rules: &'a Rules) -> Context<'a> {
        Context {
            criticality: self.criticality.iter().map(|(name, level)| (name.clone(), level.name().to_owned())).collect(),
            never_isolate: self.never_isolate.clone(),
            ..Context::with(rules)
        }
    }

    fn add(&mut self, host: &HostRecord) {
        for name in [plain(host.agent.as_str()), plain(&host.facts.name)] {
            if let Some(level) = host.marks.criticality {
                // Of two hosts with one name the more critical counts.
                self.criticality.entry(name.clone()).and_modify(|there| *there = level.max(*there)).or_insert(level);
            }
            if host.marks.protected.is_some() {
                self.never_isolate.insert(name);
            }
        }
    }
}

impl App {
    /// Why automation must not isolate this host; nothing when it may.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`]: who does not know a host isolates nothing.
    pub async fn is_protected(&self, agent: &AgentId) -> Result<Option<Protection>, Problem> {
        Ok(self.host_record(agent).await?.marks.protected)
    }

    /// What is known of hosts beside alerts.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn known_of_hosts(&self) -> Result<Arc<Known>, Problem> {
        let kept = || self.marks.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, known)) = &*kept()
            && read.elapsed() < KNOWN_FOR
        {
            return Ok(Arc::clone(known));
        }
        let (read, mut known, mut after) = (Monotonic::now(), Known::default(), None::<AgentId>);
        loop {
            let hosts = self.store.hosts_marked(after.as_ref(), AT_A_TIME).await?;
            let Some(last) = hosts.last() else { break };
            after = Some(last.agent.clone());
            hosts.iter().filter(|host| host.is_enrolled()).for_each(|host| known.add(host));
        }
        let known = Arc::new(known);
        *kept() = Some((read, Arc::clone(&known)));
        Ok(known)
    }

    /// Sets something about a host.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`]; [`ProblemKind::Input`] for what is no label; [`ProblemKind::Full`] for too many of them;
    /// [`ProblemKind::Conflict`] for a host that was shut out, and for what is as it was.
    pub async fn mark_host(&self, by: &Actor, agent: &AgentId, mark: HostMark) -> Result<HostView, Problem> {
        let now = self.now();
        check(&mark)?;
        let changed = self.change_host(agent, |host| {
            if host.revoked.is_some() {
                return Err(Problem::new(ProblemKind::Conflict, format!("the host {agent} was shut out")));
            }
            let before = host.marks.clone();
            let protection = |because: &str| Protection { because: because.to_owned(), by: by.to_string(), since: now };
            let Some((event, details)) = apply(&mut host.marks, &mark, protection)? else { return Ok(None) };
            if host.marks == before {
                return Ok(None);
            }
            Ok(Some(vec![NewLeaf {
                actor: by.to_string(),
                details,
                event,
                incident: None,
                subject: format!("host:{agent}"),
                time: now,
            }]))
        });
        let host = changed.await?;
        // Who asks next reads it anew.
        self.marks.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(self.host_view(host))
    }
}

fn check(mark: &HostMark) -> Result<(), Problem> {
    match mark {
        HostMark::Label { remove, set } => {
            if remove.is_empty() && set.is_empty() {
                return Err(Problem::new(ProblemKind::Input, "no label is named").hint("name one that comes or goes"));
            }
            let keys = remove.iter().try_for_each(|key| check_key(key));
            keys.map_err(|error| Problem::new(ProblemKind::Input, error.to_string()))
        }
        HostMark::Criticality { .. } => Ok(()),
        HostMark::Protect { because } | HostMark::Unprotect { because } => {
            super::tickets::check_text("because", because)
        }
    }
}

/// The event of a leaf, and its details.
type Told = (&'static str, Map<String, Value>);

/// What custody is told; nothing when everything is as it should be.
fn apply(
    marks: &mut HostMarks,
    mark: &HostMark,
    protection: impl Fn(&str) -> Protection,
) -> Result<Option<Told>, Problem> {
    match mark {
        HostMark::Label { remove, set } => {
            for key in remove {
                marks.labels.remove(key);
            }
            for label in set {
                marks.labels.insert(label.key.clone(), label.value.clone());
            }
            if marks.labels.len() > LABELS_MAX {
                return Err(Problem::new(ProblemKind::Full, format!("a host has at most {LABELS_MAX} labels"))
                    .hint("remove one that nobody asks for"));
            }
            let told = details([("labels", json!(marks.labels)), ("removed", json!(remove)), ("set", json!(set))]);
            Ok(Some(("host_labelled", told)))
        }
        HostMark::Criticality { level } => {
            let told = details([("from", json!(marks.criticality)), ("to", json!(level))]);
            marks.criticality = *level;
            Ok(Some(("host_criticality_set", told)))
        }
        HostMark::Protect { because } => {
            if marks.protected.as_ref().is_some_and(|there| there.because == *because) {
                return Ok(None);
            }
            marks.protected = Some(protection(because));
            Ok(Some(("host_protected", details([("because", json!(because))]))))
        }
        HostMark::Unprotect { because } => {
            let Some(was) = marks.protected.take() else { return Ok(None) };
            Ok(Some(("host_unprotected", details([("because", json!(because)), ("was", json!(was))]))))
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::host::Label;

    use super::*;

    fn protection(because: &str) -> Protection {
        Protection { because: because.into(), by: "user:ada".into(), since: wire::Instant(0) }
    }

    #[test]
    fn labels_are_bounded_and_what_changes_nothing_is_no_news() {
        let mut marks = HostMarks::default();
        let set: Vec<Label> = (0..LABELS_MAX).map(|n| Label::new(&format!("k{n}"), "v").unwrap()).collect();
        let all = HostMark::Label { remove: vec![], set };
        assert!(check(&all).is_ok() && apply(&mut marks, &all, protection).is_ok());
        let one_more = HostMark::Label { remove: vec![], set: vec![Label::new("more", "v").unwrap()] };
        assert_eq!(apply(&mut marks.clone(), &one_more, protection).unwrap_err().kind, ProblemKind::Full);
        let instead = HostMark::Label { remove: vec!["k0".into()], set: vec![Label::new("more", "v").unwrap()] };
        assert!(apply(&mut marks, &instead, protection).is_ok() && marks.labels.len() == LABELS_MAX);
        assert!(check(&HostMark::Label { remove: vec![], set: vec![] }).is_err());
        assert!(check(&HostMark::Label { remove: vec!["A".into()], set: vec![] }).is_err());
        assert!(check(&HostMark::Protect { because: "a\nb".into() }).is_err());
        let unprotect = HostMark::Unprotect { because: "moved".into() };
        assert_eq!(apply(&mut marks, &unprotect, protection).unwrap(), None);
        let protect = HostMark::Protect { because: "the domain controller".into() };
        assert!(apply(&mut marks, &protect, protection).unwrap().is_some());
        assert_eq!(apply(&mut marks, &protect, protection).unwrap(), None);
        assert!(apply(&mut marks, &unprotect, protection).unwrap().is_some() && marks.protected.is_none());
    }
}
