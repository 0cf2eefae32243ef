//! Hosts with an agent.

use wire::AgentId;
use wire::api::{HostView, Page};

use super::{App, Problem, page_of};
use crate::store::HostRecord;

/// Hosts that are read at a time when all are looked through.
const AT_A_TIME: u32 = 500;

impl App {
    /// Hosts in the order of their agents' ids. Those that were shut out are not among them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn hosts(&self, after: Option<&AgentId>, limit: u32) -> Result<Page<HostView>, Problem> {
        let records = self.store.hosts(after, limit + 1).await?;
        let page = page_of(records, limit, |record| record.agent.to_string());
        let items = page.items.into_iter().filter(|record| record.revoked.is_none());
        Ok(Page { items: items.map(|record| self.host_view(record)).collect(), next: page.next })
    }

    pub(super) fn host_view(&self, record: HostRecord) -> HostView {
        let HostRecord { agent, certificate_expires, enrolled, facts, last_seen, signer, .. } = record;
        let connected = self.hub.is_connected(&agent);
        HostView { agent, certificate_expires, connected, enrolled, facts, last_seen, signer }
    }

    /// Looks at every host, those that were shut out too.
    pub(super) async fn each_host(&self, mut look: impl FnMut(HostRecord)) -> Result<(), Problem> {
        let mut after: Option<AgentId> = None;
        loop {
            let hosts = self.store.hosts(after.as_ref(), AT_A_TIME).await?;
            let Some(last) = hosts.last() else { return Ok(()) };
            after = Some(last.agent.clone());
            hosts.into_iter().for_each(&mut look);
        }
    }
}
