//! What is done from time to time.

use std::time::Duration;

use super::App;

impl App {
    /// Finds uploads that have ended, and orders whose time is over. What fails is tried again the next time. Of servers
    /// that share the records, the leader does; each sees to its own memory.
    pub async fn sweep(&self) {
        if self.peers.leads() {
            self.sweep_records().await;
        }
        if let Err(problem) = self.adopt_letters().await {
            tracing::error!(
                message = problem.message,
                cause = problem.cause,
                "the dead letters were not looked through"
            );
        }
        self.uploads.forget_idle(Duration::from_secs(self.limits.idle_secs));
        if let Ok(Some(free)) = self.objects.free_bytes() {
            // A gauge is a float: beyond 8 PiB it is off by a byte.
            #[expect(clippy::cast_precision_loss, reason = "of that many bytes nobody misses one")]
            metrics::gauge!("holdfast_objects_free_bytes").set(free as f64);
        }
        metrics::gauge!("holdfast_agents_connected").set(u32::try_from(self.hub.connected()).unwrap_or(u32::MAX));
        metrics::gauge!("holdfast_leads").set(u32::from(self.peers.leads()));
    }

    async fn sweep_records(&self) {
        if let Err(problem) = self.sweep_uploads().await {
            tracing::error!(message = problem.message, cause = problem.cause, "the uploads were not looked through");
        }
        if let Err(problem) = self.expire_orders().await {
            tracing::error!(message = problem.message, cause = problem.cause, "the orders were not looked through");
        }
        if let Err(problem) = self.find_silent().await {
            tracing::error!(message = problem.message, cause = problem.cause, "the hosts were not looked through");
        }
    }
}
