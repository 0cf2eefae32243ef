//! The other servers that share the records: what they tell is passed on to whoever waits here.

use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;
use wire::Instant;
use wire::agent_api::POLL_WAIT_SECS_MAX;
use wire::api::LiveEvent;

use super::{App, hub};
use crate::store::HostRecord;
use crate::store::sql::peers::{News, Peers};

impl App {
    /// From now on this server is one of several.
    pub fn join(&mut self, peers: &Peers) {
        self.hub.peers = peers.clone();
        self.live.peers = peers.clone();
        self.peers = peers.clone();
    }

    /// Hears what the others tell, until the server stops. `site` is notified when one of them has read its site's files
    /// again.
    pub async fn hear(&self, mut news: Receiver<News>, site: &Notify) {
        loop {
            let heard = tokio::select! {
                () = self.stop.cancelled() => return,
                heard = news.recv() => heard,
            };
            match heard {
                Some(News::Live(incident, event)) => {
                    if matches!(*event, LiveEvent::Evidence { .. }) {
                        self.findings.wake();
                    }
                    self.live.tell_here(incident, *event);
                }
                Some(News::Missed) => {
                    self.hub.wake_all_here();
                    self.live.missed_here();
                    self.findings.wake();
                }
                Some(News::Site) => site.notify_one(),
                Some(News::Wake(agent)) => self.hub.wake_here(&agent),
                None => return,
            }
        }
    }

    /// True while the agent waits for orders, here or at another server, or did a moment ago. Of the others only what is
    /// written down is known: when its last poll began.
    pub fn is_connected(&self, host: &HostRecord) -> bool {
        let is_near = |seen: Instant| {
            let secs = POLL_WAIT_SECS_MAX + hub::LINGER.as_secs();
            self.now().0 - seen.0 < i128::from(secs) * 1_000_000_000
        };
        self.hub.is_connected(&host.agent) || (self.peers.has_others() && host.last_seen.is_some_and(is_near))
    }
}
