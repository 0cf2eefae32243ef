//! How hosts are heard. An agent that does not ask for orders is silent; one that asks again is back; one whose count of
//! questions went back has a disk that was set back, or somebody else has its keys; and one that was removed says so.
//!
//! Each is said once: a leaf of custody, and a page for every open incident that names the host (`escalation::look`).
//!
//! What a host sends while it collects counts as being heard, because a long collection does not ask for orders. A host
//! whose agent an intruder stops is silent; one whose agent they hold asks on, and nothing here tells it from a good one.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wire::host::Beat;
use wire::{AgentId, IncidentId, Instant};

use super::incidents::{plain, victims};
use super::{Actor, App, Problem, details};
use crate::store::{Change, HostRecord, IncidentRecord, NewLeaf, StoreError};

/// Hosts that one pass finds silent.
const AT_A_TIME: u32 = 500;
/// Open incidents that are looked through for the name of a host.
const INCIDENTS_MAX: u32 = 500;
const PAGES_MAX: u32 = 20;
/// It is said again of one host after this: two that share an identity go back all the time.
const SAID_AGAIN_NS: i128 = 3600 * 1_000_000_000;
/// Two questions of one agent may overtake each other within this time, by so many.
const REORDERED_NS: i128 = 60 * 1_000_000_000;
const REORDERED_MAX: u64 = 2;
/// What happened to a host is worth a page for this long.
const NEWS_NS: i128 = 24 * 3600 * 1_000_000_000;

/// Something about a host that people who work on its incidents must know.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    host: HostRecord,
}

impl Trouble {
    /// What is to be told, by the purpose of its page, and since when.
    pub fn told(&self, now: Instant) -> impl Iterator<Item = (String, Instant)> + use<'_> {
        let HostRecord { agent, gone, silent, went_back, .. } = &self.host;
        let is_news = move |at: &Instant| now.0 - at.0 < NEWS_NS;
        let all = [("host_silent", *silent), ("host_went_back", *went_back), ("host_removed", *gone)];
        all.into_iter().filter_map(move |(what, at)| at.filter(is_news).map(|at| (format!("{what}:{agent}"), at)))
    }

    /// True when the incident is about this host.
    pub fn is_of(&self, record: &IncidentRecord) -> bool {
        names_it(record, &self.host)
    }
}

fn names_it(record: &IncidentRecord, host: &HostRecord) -> bool {
    let ours: BTreeSet<String> = [plain(host.agent.as_str()), plain(&host.facts.name)].into();
    victims(&record.assessment).any(|name| ours.contains(&plain(name)))
}

impl App {
    /// Hosts about which there is something to tell.
    pub(super) async fn troubled_hosts(&self) -> Result<Vec<Trouble>, Problem> {
        let since = Instant(self.now().0 - NEWS_NS);
        let hosts = self.store.hosts_troubled(since, AT_A_TIME).await?;
        Ok(hosts.into_iter().map(|host| Trouble { host }).collect())
    }

    /// Writes down that an agent was heard, once in a while, and says what is odd about it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn heard(&self, agent: &AgentId, beat: Option<Beat>) -> Result<(), Problem> {
        if !self.hub.is_seen_due(agent) {
            return Ok(());
        }
        let (host, now) = (self.enrolled(agent).await?, self.now());
        let mut changes = vec![Change::HostSeen { agent: agent.clone(), at: now, beat: beat.clone() }];
        let mut leaves = Vec::new();
        if let Some(silent) = host.silent {
            metrics::counter!("holdfast_hosts_heard_of_total", "what" => "back").increment(1);
            changes.push(Change::HostBack { agent: agent.clone(), silent });
            leaves.push(self.leaf_of(agent, "host_back", back(&host, beat.as_ref()), None));
        }
        let is_new = host.went_back.is_none_or(|said| now.0 - said.0 >= SAID_AGAIN_NS);
        let went_back = beat.as_ref().zip(host.beat.as_ref());
        if let Some((beat, before)) = went_back.filter(|(beat, before)| is_behind(beat, before, host.last_seen, now))
            && is_new
        {
            metrics::counter!("holdfast_hosts_heard_of_total", "what" => "went_back").increment(1);
            tracing::warn!(%agent, count = beat.count, before = before.count, "the count of a host's questions went back");
            changes.push(Change::HostWentBack { agent: agent.clone(), at: now, before: host.went_back });
            let told = json!({"before": before, "beat": beat});
            leaves.extend(self.leaves_of(&host, "host_went_back", &told, &mut changes).await?);
        }
        match self.store.commit(changes, leaves).await {
            // Another server has heard it at the same time, and said so.
            Ok(_) | Err(StoreError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Finds hosts that have not been heard for as long as the site waits. Each is found once.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find_silent(&self) -> Result<(), Problem> {
        let now = self.now();
        let before = Instant(now.0 - i128::from(self.limits.silent_secs) * 1_000_000_000);
        for host in self.store.hosts_unheard(before, AT_A_TIME).await? {
            let Some(last_seen) = host.last_seen.filter(|_| !self.is_connected(&host)) else { continue };
            let agent = host.agent.clone();
            let mut changes = vec![Change::HostSilent { agent: agent.clone(), at: now, last_seen }];
            let told = json!({"after_secs": self.limits.silent_secs, "last_seen": last_seen});
            let leaves = self.leaves_of(&host, "host_silent", &told, &mut changes).await?;
            match self.store.commit(changes, leaves).await {
                Ok(_) => {
                    metrics::counter!("holdfast_hosts_heard_of_total", "what" => "silent").increment(1);
                    tracing::warn!(%agent, %last_seen, "a host has gone silent");
                }
                // It was heard meanwhile.
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// An agent tells that it is removed from its host: its certificates end. It is let in again with a new ticket.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn leave(&self, by: &Actor, agent: &AgentId) -> Result<(), Problem> {
        let now = self.now();
        let host = self.host_record(agent).await?;
        let mut changes = Vec::new();
        let told = json!({"certificate_serials": host.certificate_serials, "told_by": by.to_string()});
        let leaves = self.leaves_of(&host, "host_removed", &told, &mut changes).await?;
        self.change_host(agent, |host| {
            if host.gone.is_some() {
                return Ok(None);
            }
            host.gone = Some(now);
            host.certificate_serials.clear();
            Ok(Some(leaves.clone()))
        })
        .await?;
        if !changes.is_empty() {
            self.store.commit(changes, Vec::new()).await?;
        }
        metrics::counter!("holdfast_hosts_heard_of_total", "what" => "removed").increment(1);
        tracing::warn!(%agent, "the agent of a host tells that it is removed");
        self.hub.wake(agent);
        Ok(())
    }

    /// The leaf, and the same for each open incident that names the host, which is looked at now.
    async fn leaves_of(
        &self,
        host: &HostRecord,
        event: &'static str,
        told: &Value,
        changes: &mut Vec<Change>,
    ) -> Result<Vec<NewLeaf>, Problem> {
        let mut leaves = vec![self.leaf_of(&host.agent, event, told.clone(), None)];
        let mut after: Option<IncidentId> = None;
        for _ in 0..PAGES_MAX {
            let page = self.store.incidents(after.as_ref(), INCIDENTS_MAX).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.incident.clone());
            for record in page {
                if record.case.closed.is_none() && names_it(&record, host) {
                    changes.push(Change::LookNow(record.incident.clone()));
                    leaves.push(self.leaf_of(&host.agent, event, told.clone(), Some(record.incident)));
                }
            }
        }
        Ok(leaves)
    }

    fn leaf_of(&self, agent: &AgentId, event: &'static str, told: Value, incident: Option<IncidentId>) -> NewLeaf {
        let mut details = details([("agent", json!(agent))]);
        if let Value::Object(told) = told {
            details.extend(told);
        }
        NewLeaf {
            actor: Actor::Server.to_string(),
            details,
            event,
            incident,
            subject: format!("host:{agent}"),
            time: self.now(),
        }
    }
}

/// What is known of the time in which it was not heard: questions that did not reach us tell a host without a network from
/// one that was off.
fn back(host: &HostRecord, beat: Option<&Beat>) -> Value {
    let (asked, rebooted) = match (host.beat.as_ref(), beat) {
        (Some(before), Some(now)) => (now.count.checked_sub(before.count + 1), Some(now.boot_id != before.boot_id)),
        _ => (None, None),
    };
    json!({"asked_in_vain": asked, "last_seen": host.last_seen, "rebooted": rebooted, "silent": host.silent})
}

/// True when this count cannot come after the one before it.
fn is_behind(beat: &Beat, before: &Beat, last_seen: Option<Instant>, now: Instant) -> bool {
    if beat.count > before.count {
        return false;
    }
    let is_near = last_seen.is_some_and(|last| now.0 - last.0 < REORDERED_NS);
    let is_overtaken = beat.boot_id == before.boot_id && is_near && before.count - beat.count <= REORDERED_MAX;
    !is_overtaken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(boot: &str, count: u64) -> Beat {
        Beat { boot_id: Some(boot.into()), count }
    }

    #[test]
    fn a_count_only_grows_but_for_what_overtook_it() {
        let (now, before) = (Instant(1_000 * 1_000_000_000), beat("a", 100));
        let seen = |secs: i128| Some(Instant(now.0 - secs * 1_000_000_000));
        assert!(!is_behind(&beat("a", 101), &before, seen(3600), now));
        assert!(!is_behind(&beat("b", 500), &before, seen(3600), now), "it was started anew, and asked in vain");
        assert!(!is_behind(&beat("a", 98), &before, seen(59), now), "it was overtaken");
        assert!(is_behind(&beat("a", 97), &before, seen(59), now));
        assert!(is_behind(&beat("a", 100), &before, seen(60), now));
        assert!(is_behind(&beat("b", 100), &before, seen(1), now), "another machine");
        assert!(is_behind(&beat("a", 1), &before, None, now));
    }
}
