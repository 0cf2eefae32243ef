//! Hosts with an agent.

use serde_json::json;
use wire::AgentId;
use wire::api::{EvidenceState, HostView, Page};

use super::{Actor, App, Problem, ProblemKind, details, page_of};
use crate::store::{Change, HostRecord, NewLeaf};

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

    /// Shuts a host out: its certificates count no more, at no door, and its key vouches for nothing that is signed from
    /// now on. What came is kept, verified as far as it goes. The host may be enrolled again with a new signing key.
    ///
    /// # Errors
    /// [`ProblemKind::Input`], [`ProblemKind::NotFound`]; [`ProblemKind::Conflict`] for one that was shut out before.
    pub async fn revoke_host(&self, by: &Actor, agent: &AgentId, reason: &str) -> Result<HostView, Problem> {
        super::tickets::check_text("reason", reason)?;
        let now = self.now();
        let host = {
            let _one_at_a_time = self.host_writes.lock().await;
            let host = self.store.host(agent).await?.ok_or_else(|| {
                Problem::new(ProblemKind::NotFound, format!("there is no host {agent}"))
                    .hint("its agent's id is wanted, as holdfast host list shows it")
            })?;
            if let Some(revoked) = host.revoked {
                return Err(Problem::new(ProblemKind::Conflict, format!("the host {agent} was shut out at {revoked}")));
            }
            let host = HostRecord { revoked: Some(now), ..host };
            let leaf = NewLeaf {
                actor: by.to_string(),
                details: details([
                    ("certificate_serials", json!(host.certificate_serials)),
                    ("reason", json!(reason)),
                    ("signer", json!(host.signer)),
                ]),
                event: "host_revoked",
                incident: None,
                subject: format!("host:{agent}"),
                time: now,
            };
            self.store.commit(vec![Change::PutHost(Box::new(host.clone()))], vec![leaf]).await?;
            host
        };
        tracing::warn!(%agent, %by, "host shut out");
        // Whoever waits is asked for its credential again; who is at sending lets go.
        self.hub.wake(agent);
        self.break_off(&agent.principal()).await?;
        Ok(self.host_view(host))
    }

    /// Ends what this owner is sending. What came is verified as far as it goes.
    pub(super) async fn break_off(&self, owner: &str) -> Result<(), Problem> {
        let open = self.store.evidence_in(EvidenceState::Receiving).await?;
        for record in open.into_iter().filter(|record| record.view.brought_by == owner) {
            self.uploads.break_off(record.view.bundle);
            self.ingest.now(record.view.bundle);
        }
        Ok(())
    }

    pub(super) fn host_view(&self, record: HostRecord) -> HostView {
        let connected = self.is_connected(&record);
        let HostRecord { agent, certificate_expires, enrolled, facts, last_seen, revoked, signer, .. } = record;
        HostView { agent, certificate_expires, connected, enrolled, facts, last_seen, revoked, signer }
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
