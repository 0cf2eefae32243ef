//! Hosts with an agent.

use serde_json::json;
use wire::AgentId;
use wire::api::{EvidenceState, HostView, Page};
use wire::host::Label;

use super::{Actor, App, Problem, ProblemKind, details, page_of};
use crate::store::{Change, HostRecord, NewLeaf, StoreError};

/// Hosts that are read at a time when all are looked through.
const AT_A_TIME: u32 = 500;
/// Tries of one change, each on what another server wrote meanwhile.
const TRIES_MAX: u32 = 64;

impl App {
    /// Hosts with all of these labels, in the order of their agents' ids. Those that were shut out, or are gone, are not
    /// among them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn hosts(
        &self,
        labels: &[Label],
        after: Option<&AgentId>,
        limit: u32,
    ) -> Result<Page<HostView>, Problem> {
        let (mut found, mut after) = (Vec::new(), after.cloned());
        // One more than is wanted says that there is another page.
        while found.len() <= limit as usize {
            let records = self.store.hosts(after.as_ref(), AT_A_TIME).await?;
            let Some(last) = records.last() else { break };
            after = Some(last.agent.clone());
            let has_all = |record: &HostRecord| labels.iter().all(|label| label.is_among(&record.marks.labels));
            found.extend(records.into_iter().filter(|record| record.is_enrolled() && has_all(record)));
        }
        let page = page_of(found, limit, |record| record.agent.to_string());
        Ok(Page { items: page.items.into_iter().map(|record| self.host_view(record)).collect(), next: page.next })
    }

    /// A host, also one that was shut out.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`].
    pub async fn host(&self, agent: &AgentId) -> Result<HostView, Problem> {
        self.host_record(agent).await.map(|record| self.host_view(record))
    }

    pub(super) async fn host_record(&self, agent: &AgentId) -> Result<HostRecord, Problem> {
        self.store.host(agent).await?.ok_or_else(|| {
            Problem::new(ProblemKind::NotFound, format!("there is no host {agent}"))
                .hint("its agent's id is wanted, as holdfast host list shows it")
        })
    }

    /// Changes the record of a host as `change` says, which is asked again when another server was faster: what it decides
    /// on is what is there when it is written. It answers the leaf, or nothing when everything is as it should be.
    pub(super) async fn change_host(
        &self,
        agent: &AgentId,
        change: impl Fn(&mut HostRecord) -> Result<Option<Vec<NewLeaf>>, Problem>,
    ) -> Result<HostRecord, Problem> {
        let _one_at_a_time = self.host_writes.lock().await;
        for _ in 0..TRIES_MAX {
            let mut host = self.host_record(agent).await?;
            let Some(leaves) = change(&mut host)? else { return Ok(host) };
            host.version += 1;
            match self.store.commit(vec![Change::PutHost(Box::new(host.clone()))], leaves).await {
                Ok(_) => return Ok(host),
                Err(StoreError::Conflict(what)) => tracing::debug!(what, "a host was changed elsewhere meanwhile"),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Problem::new(ProblemKind::Unavailable, format!("the host {agent} changes all the time")).hint("try again"))
    }

    /// Shuts a host out: its certificates count no more, at no door, and its key vouches for nothing that is signed from
    /// now on. What came is kept, verified as far as it goes. The host may be enrolled again with a new signing key.
    ///
    /// # Errors
    /// [`ProblemKind::Input`], [`ProblemKind::NotFound`]; [`ProblemKind::Conflict`] for one that was shut out before.
    pub async fn revoke_host(&self, by: &Actor, agent: &AgentId, reason: &str) -> Result<HostView, Problem> {
        super::tickets::check_text("reason", reason)?;
        let now = self.now();
        let host = self.change_host(agent, |host| {
            if let Some(revoked) = host.revoked {
                return Err(Problem::new(ProblemKind::Conflict, format!("the host {agent} was shut out at {revoked}")));
            }
            host.revoked = Some(now);
            Ok(Some(vec![NewLeaf {
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
            }]))
        });
        let host = host.await?;
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
        let HostRecord { agent, certificate_expires, enrolled, facts, gone, last_seen, marks, .. } = record;
        let HostRecord { revoked, signer, silent, went_back, .. } = record;
        HostView {
            agent,
            certificate_expires,
            connected,
            enrolled,
            facts,
            gone,
            last_seen,
            marks,
            revoked,
            signer,
            silent,
            went_back,
        }
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
