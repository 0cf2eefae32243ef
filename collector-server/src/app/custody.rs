//! The custody log as people read it and take it away.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, stream};
use serde_json::{Map, json};
use wire::api::{CustodyLine, Page};
use wire::custody::{HEAD_TYPE, Head, HeadPoint, Leaf};
use wire::signed::{Signed, namespace};
use wire::{IncidentId, Instant};

use super::{Actor, App, Problem, ProblemKind, page_of};
use crate::store::{NewLeaf, StoredLeaf};

/// The name under which the server signs.
pub const SERVER_PRINCIPAL: &str = "server";
/// See [`App::signers`].
const VOUCHED_BEFORE_NS: i128 = 24 * 3600 * 1_000_000_000;
/// Leaves that are read at a time.
const AT_A_TIME: u32 = 1000;

impl App {
    /// Leaves from a number on, the oldest first, of one incident or of all.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`] for the incident.
    pub async fn custody(&self, incident: Option<&IncidentId>, from: u64, limit: u32) -> Result<Page<Leaf>, Problem> {
        if let Some(incident) = incident {
            self.incident_record(incident).await?;
        }
        let leaves = self.store.leaves(incident, from, limit + 1).await?;
        let page = page_of(leaves, limit, |stored| stored.leaf.seq.to_string());
        Ok(Page { items: page.items.into_iter().map(|stored| stored.leaf).collect(), next: page.next })
    }

    /// The custody log's state under the server's signature.
    ///
    /// # Errors
    /// [`ProblemKind::Internal`].
    pub fn signed_head(&self, point: HeadPoint) -> Result<Signed, Problem> {
        let head = Head { point, time: self.now(), kind: HEAD_TYPE.to_owned(), v: 1 };
        let internal = |error: &dyn std::fmt::Display| {
            Problem::new(ProblemKind::Internal, "the custody head could not be signed").cause(error)
        };
        let message = serde_json::to_vec(&head).map_err(|error| internal(&error))?;
        self.signer.envelope(SERVER_PRINCIPAL, namespace::CUSTODY, &message).map_err(|error| internal(&error))
    }

    /// All leaves, one [`CustodyLine`] a line, and after them the head that they have. Leaves that come meanwhile are for
    /// the next export. That it was taken away is the last leaf in it.
    ///
    /// # Errors
    /// Before the first line; an error after it breaks the stream off without a head.
    pub async fn custody_export(
        self: Arc<Self>,
        by: &Actor,
    ) -> Result<impl Stream<Item = Result<Bytes, Problem>> + Send + 'static, Problem> {
        let leaf = NewLeaf {
            actor: by.to_string(),
            details: Map::new(),
            event: "custody_exported",
            incident: None,
            subject: "custody".to_owned(),
            time: self.now(),
        };
        let point = self.store.commit(Vec::new(), vec![leaf]).await?;
        let head = line(&CustodyLine::Head(self.signed_head(point)?))?;
        let app = self;
        Ok(stream::try_unfold((0, Some(head)), move |(from, head)| {
            let app = Arc::clone(&app);
            async move {
                let left = point.size.saturating_sub(from);
                if left == 0 {
                    return Ok(head.map(|head| (head, (from, None))));
                }
                let limit = u32::try_from(left).unwrap_or(u32::MAX).min(AT_A_TIME);
                let leaves = app.store.leaves(None, from, limit).await?;
                if leaves.is_empty() {
                    return Err(Problem::new(
                        ProblemKind::Internal,
                        format!("leaf {from} of the custody log is not there"),
                    ));
                }
                let mut lines = Vec::new();
                for StoredLeaf { text, .. } in &leaves {
                    lines.extend_from_slice(&line(&CustodyLine::Leaf(text.clone()))?);
                }
                Ok(Some((Bytes::from(lines), (from + leaves.len() as u64, head))))
            }
        }))
    }

    /// The `allowed_signers` lines of the server and of all agents, those that were shut out too: what they signed before
    /// is still to be verified. Each is good for one purpose, and for the time in which this server vouches for the key:
    /// from its enrolment, or a day before it, for a host that sealed at its console first or whose clock is behind, until
    /// it was shut out.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn signers(&self) -> Result<String, Problem> {
        let (receipts, custody) = (namespace::RECEIPT, namespace::CUSTODY);
        let server = self.signer.public_line();
        let mut text = format!("{SERVER_PRINCIPAL} namespaces=\"{receipts},{custody}\" {server}\n");
        self.each_host(|host| {
            // A key is one line that this server has read as a key when the host was enrolled.
            let (principal, key) = (host.agent.principal(), host.signer);
            let after = instant(Instant(host.enrolled.0 - VOUCHED_BEFORE_NS));
            let before = host.revoked.map(|revoked| format!(",valid-before=\"{}\"", instant(revoked)));
            let (purpose, before) = (namespace::BUNDLE, before.unwrap_or_default());
            let _ = writeln!(text, "{principal} namespaces=\"{purpose}\",valid-after=\"{after}\"{before} {key}");
        })
        .await?;
        Ok(text)
    }
}

/// As ssh-keygen(1) reads it; without the Z it would be in the reader's own time zone.
fn instant(at: Instant) -> String {
    at.calendar().strftime("%Y%m%d%H%M%SZ").to_string()
}

fn line(line: &CustodyLine) -> Result<Bytes, Problem> {
    let mut text = serde_json::to_vec(&json!(line)).map_err(|error| {
        Problem::new(ProblemKind::Internal, "a line of the custody log could not be written").cause(error)
    })?;
    text.push(b'\n');
    Ok(text.into())
}
