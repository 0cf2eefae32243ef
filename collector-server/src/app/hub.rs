//! Which agents wait for orders.

use wire::AgentId;

/// See the module.
#[derive(Debug, Default)]
pub struct Hub {}

impl Hub {
    /// Answers the long poll of this agent: there is something for it.
    pub fn wake(&self, _agent: &AgentId) {}

    /// True while a long poll of the agent is open, or was a moment ago.
    pub fn is_connected(&self, _agent: &AgentId) -> bool {
        false
    }
}
