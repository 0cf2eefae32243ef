//! What happens in incidents, as it happens, at this server and at those that share its records. Nothing here is kept: who
//! was away reads the incident again.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use wire::IncidentId;
use wire::api::LiveEvent;

use super::{Problem, ProblemKind};
use crate::store::sql::peers::{News, Peers};

/// Events that a slow listener may fall behind before it loses some, and is told to reload.
const BACKLOG_MAX: usize = 1024;
/// Who listens at a time.
const LISTENERS_MAX: usize = 256;

/// See the module.
#[derive(Debug)]
pub struct Live {
    missed: watch::Sender<()>,
    /// The servers that share the records.
    pub peers: Peers,
    sender: broadcast::Sender<(IncidentId, LiveEvent)>,
    seats: Arc<Semaphore>,
}

/// Hears everything that happens from the moment that it was made, in all incidents.
#[derive(Debug)]
pub struct Listener {
    /// Changes when events may have been lost on their way from another server.
    pub missed: watch::Receiver<()>,
    /// The events.
    pub receiver: broadcast::Receiver<(IncidentId, LiveEvent)>,
    _seat: OwnedSemaphorePermit,
}

impl Default for Live {
    fn default() -> Self {
        let (sender, seats) = (broadcast::Sender::new(BACKLOG_MAX), Arc::new(Semaphore::new(LISTENERS_MAX)));
        Self { missed: watch::Sender::default(), peers: Peers::default(), sender, seats }
    }
}

impl Live {
    /// Tells everybody who listens, wherever.
    pub fn tell(&self, incident: &IncidentId, event: LiveEvent) {
        self.peers.tell(News::Live(incident.clone(), Box::new(event.clone())));
        self.tell_here(incident.clone(), event);
    }

    /// Tells everybody who listens at this server.
    pub fn tell_here(&self, incident: IncidentId, event: LiveEvent) {
        // An error only says that nobody listens.
        let _ = self.sender.send((incident, event));
    }

    /// Has everybody who listens at this server read the incident again.
    pub fn missed_here(&self) {
        self.missed.send_replace(());
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// [`ProblemKind::Unavailable`] when too many do.
    pub fn listen(&self) -> Result<Listener, Problem> {
        let seat = Arc::clone(&self.seats).try_acquire_owned().map_err(|full| {
            Problem::new(ProblemKind::Unavailable, "too many follow incidents at this moment")
                .hint("try again in a minute; the incident itself can be read as ever")
                .cause(full)
        })?;
        Ok(Listener { missed: self.missed.subscribe(), receiver: self.sender.subscribe(), _seat: seat })
    }
}
