//! What happens in incidents, as it happens. Nothing here is kept: who was away reads the incident again.

use tokio::sync::broadcast;
use wire::IncidentId;
use wire::api::LiveEvent;

/// Events that a slow listener may fall behind before it loses some, and is told to reload.
const BACKLOG_MAX: usize = 1024;

/// See the module.
#[derive(Debug)]
pub struct Live(broadcast::Sender<(IncidentId, LiveEvent)>);

impl Default for Live {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG_MAX))
    }
}

impl Live {
    /// Tells everybody who listens.
    pub fn tell(&self, incident: &IncidentId, event: LiveEvent) {
        // An error only says that nobody listens.
        let _ = self.0.send((incident.clone(), event));
    }

    /// Everything that happens from now on, in all incidents.
    pub fn listen(&self) -> broadcast::Receiver<(IncidentId, LiveEvent)> {
        self.0.subscribe()
    }
}
