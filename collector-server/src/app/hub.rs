//! Which agents wait for orders, and how they are woken.
//!
//! Nothing here is kept: after a restart the agents ask again. There is one entry for each enrolled agent that asked
//! lately, so the number of hosts bounds it. An agent may wait at another server that shares the records: whoever is woken
//! here is woken there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use wire::AgentId;

use crate::store::sql::peers::{News, Peers};

/// Long polls of one agent at a time. One that was cut off on the agent's side may still be open here.
pub const POLLS_MAX: usize = 4;
/// An agent counts as connected for so long after its last poll was answered: it is about to ask again.
pub(super) const LINGER: Duration = Duration::from_secs(15);
/// `last_seen` is written at most this often for one agent.
const SEEN_EVERY: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub struct Hub {
    lines: Arc<Mutex<HashMap<AgentId, Line>>>,
    /// The servers that share the records.
    pub peers: Peers,
}

/// What is known of one agent.
#[derive(Debug, Default)]
struct Line {
    left: Option<Instant>,
    notify: Arc<Notify>,
    polls: usize,
    seen_written: Option<Instant>,
}

impl Line {
    fn is_connected(&self, now: Instant) -> bool {
        self.polls > 0 || self.left.is_some_and(|left| now.saturating_duration_since(left) < LINGER)
    }

    fn is_seen_due(&mut self, now: Instant) -> bool {
        let is_due = self.seen_written.is_none_or(|written| now.saturating_duration_since(written) >= SEEN_EVERY);
        if is_due {
            self.seen_written = Some(now);
        }
        is_due
    }
}

/// An open long poll. It ends when this is dropped.
#[derive(Debug)]
pub struct Poll {
    agent: AgentId,
    lines: Arc<Mutex<HashMap<AgentId, Line>>>,
    /// Notified when there is something for the agent.
    pub notify: Arc<Notify>,
}

impl Hub {
    /// Answers the long poll of this agent, wherever it is open: there is something for it.
    pub fn wake(&self, agent: &AgentId) {
        self.wake_here(agent);
        self.peers.tell(News::Wake(agent.clone()));
    }

    /// The same at this server only.
    pub fn wake_here(&self, agent: &AgentId) {
        if let Some(line) = lock(&self.lines).get(agent) {
            line.notify.notify_waiters();
        }
    }

    /// Has all who wait here look whether there is something for them.
    pub fn wake_all_here(&self) {
        lock(&self.lines).values().for_each(|line| line.notify.notify_waiters());
    }

    /// True while a long poll of the agent is open at this server, or was a moment ago.
    pub fn is_connected(&self, agent: &AgentId) -> bool {
        lock(&self.lines).get(agent).is_some_and(|line| line.is_connected(Instant::now()))
    }

    /// How many agents are connected to this server.
    pub fn connected(&self) -> usize {
        let now = Instant::now();
        lock(&self.lines).values().filter(|line| line.is_connected(now)).count()
    }

    /// Begins a long poll; `None` when the agent has too many of them already.
    pub fn poll(&self, agent: &AgentId) -> Option<Poll> {
        let mut lines = lock(&self.lines);
        let line = lines.entry(agent.clone()).or_default();
        if line.polls >= POLLS_MAX {
            return None;
        }
        line.polls += 1;
        Some(Poll { agent: agent.clone(), lines: Arc::clone(&self.lines), notify: Arc::clone(&line.notify) })
    }

    /// As if nothing had been written down for a while: for those whose clock is not the machine's.
    pub fn forget_written(&self) {
        lock(&self.lines).values_mut().for_each(|line| line.seen_written = None);
    }

    /// As if the last polls had ended a while ago, likewise.
    pub fn forget_polls(&self) {
        lock(&self.lines).values_mut().for_each(|line| line.left = None);
    }

    /// True when it is time again to write down that this agent was heard; it then counts as written.
    pub fn is_seen_due(&self, agent: &AgentId) -> bool {
        lock(&self.lines).entry(agent.clone()).or_default().is_seen_due(Instant::now())
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        if let Some(line) = lock(&self.lines).get_mut(&self.agent) {
            line.polls = line.polls.saturating_sub(1);
            line.left = Some(Instant::now());
        }
    }
}

/// A panic while the lock was held leaves nothing half done here.
fn lock(lines: &Mutex<HashMap<AgentId, Line>>) -> MutexGuard<'_, HashMap<AgentId, Line>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_connected_while_it_asks_and_a_moment_longer() {
        let hub = Hub::default();
        let agent: AgentId = "web-1".parse().unwrap();
        assert!(!hub.is_connected(&agent));
        let polls: Vec<Poll> = std::iter::from_fn(|| hub.poll(&agent)).collect();
        assert_eq!((polls.len(), hub.connected()), (POLLS_MAX, 1));
        drop(polls);
        assert!(hub.is_connected(&agent) && hub.poll(&agent).is_some());
        let left = lock(&hub.lines)[&agent].left.unwrap();
        assert!(!lock(&hub.lines)[&agent].is_connected(left + LINGER));
    }

    #[test]
    fn it_is_written_down_once_in_a_while() {
        let (mut line, now) = (Line::default(), Instant::now());
        assert!(line.is_seen_due(now) && !line.is_seen_due(now) && line.is_seen_due(now + SEEN_EVERY));
    }
}
