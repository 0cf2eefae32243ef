//! What happens in incidents, as it happens. Nothing here is kept: who was away reads the incident again.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use wire::IncidentId;
use wire::api::LiveEvent;

use super::{Problem, ProblemKind};

/// Events that a slow listener may fall behind before it loses some, and is told to reload.
const BACKLOG_MAX: usize = 1024;
/// Who listens at a time.
const LISTENERS_MAX: usize = 256;

/// See the module.
#[derive(Debug)]
pub struct Live {
    sender: broadcast::Sender<(IncidentId, LiveEvent)>,
    seats: Arc<Semaphore>,
}

/// Hears everything that happens from the moment that it was made, in all incidents.
#[derive(Debug)]
pub struct Listener {
    /// The events.
    pub receiver: broadcast::Receiver<(IncidentId, LiveEvent)>,
    _seat: OwnedSemaphorePermit,
}

impl Default for Live {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG_MAX), seats: Arc::new(Semaphore::new(LISTENERS_MAX)) }
    }
}

impl Live {
    /// Tells everybody who listens.
    pub fn tell(&self, incident: &IncidentId, event: LiveEvent) {
        // An error only says that nobody listens.
        let _ = self.sender.send((incident.clone(), event));
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
        Ok(Listener { receiver: self.sender.subscribe(), _seat: seat })
    }
}
