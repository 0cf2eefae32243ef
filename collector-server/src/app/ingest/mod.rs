//! What came is verified: whole bundles at once, broken ones as far as they go.
//!
//! Nothing is lost when the server dies in between: what is still `receiving` is found by the sweep, and a bundle that
//! gets more bytes or checkpoints after its verification is `receiving` again.

mod judge;
mod queue;

use std::io::{self, BufRead as _, BufReader, Read};
use std::sync::Arc;

use bundle::checkpoint::Layer;
use bundle::verify::{
    Against, Announced, NotVerified, Sidecar, Transport, TransportReport, Verified, check, check_transport, layer_of,
};
use serde_json::json;
use sha2::Digest as _;
use ssh_key::PublicKey;
use tokio_util::sync::CancellationToken;
use wire::api::{EvidenceState, LiveEvent};
use wire::order::OrderState;
use wire::{BundleId, Sha256};

use super::{Actor, App, Problem, ProblemKind, details, orders};
use crate::store::{Change, CheckpointRecord, EvidenceRecord, NewLeaf, OrderRecord, StoreError};
use judge::{Findings, Judged};
pub use queue::Queue;

/// So long after its last byte a bundle is left to the server that took it.
const ANOTHER_S_NS: i128 = 60 * 1_000_000_000;

/// What a verification gave.
#[expect(clippy::large_enum_variant, reason = "one or two live at a time, each moved a few times")]
pub(super) enum Outcome {
    /// Of all that is in a bundle.
    Content(Result<Verified, NotVerified>),
    /// Of the bytes of an encrypted one: nobody here has a key.
    Transport(Result<Verified<Transport>, NotVerified<TransportReport>>),
}

impl Outcome {
    fn nothing(why: &str) -> Self {
        Self::Content(Err(NotVerified::NotABundle(why.to_owned())))
    }

    /// Without those that say nothing about the bundle.
    fn or_unread(self) -> io::Result<Self> {
        match self {
            Self::Content(Err(NotVerified::Io(error))) | Self::Transport(Err(NotVerified::Io(error))) => Err(error),
            outcome => Ok(outcome),
        }
    }
}

impl App {
    /// Looks after the queue until the server stops: at most two verifications at a time.
    pub async fn run_ingest(self: Arc<Self>) {
        while let Some((bundle, turn)) = self.ingest.next(&self.stop).await {
            let app = Arc::clone(&self);
            tokio::spawn(async move {
                if let Err(problem) = app.ingest_bundle(bundle).await {
                    let (message, cause) = (problem.message, problem.cause);
                    tracing::error!(%bundle, message, cause, "the bundle was not verified; it is tried again");
                }
                drop(turn);
            });
        }
        self.ingest.wait_until_idle().await;
    }

    /// Finds bundles of which nothing more is to come, and queues them.
    pub(super) async fn sweep_uploads(&self) -> Result<(), Problem> {
        for record in self.store.evidence_in(EvidenceState::Receiving).await? {
            let is_whole = record.length == Some(record.offset);
            let order = self.order_of(&record).await?;
            let is_run_over = order.as_ref().is_some_and(|order| {
                matches!(order.state, OrderState::Interrupted | OrderState::Failed) && !orders::is_given_up(order)
            });
            let is_another_s = self.peers.has_others() && self.now().0 - record.last_seen.0 < ANOTHER_S_NS;
            if (is_whole && !is_another_s) || is_run_over || self.is_silent(&record, order.as_ref()) {
                self.ingest.when_idle(record.view.bundle);
            }
        }
        Ok(())
    }

    /// True when neither bytes came nor the agent told of its run for as long as the server waits.
    fn is_silent(&self, record: &EvidenceRecord, order: Option<&OrderRecord>) -> bool {
        let heard = order.and_then(orders::last_told).map_or(record.last_seen, |told| told.max(record.last_seen));
        self.now().0 - heard.0 >= i128::from(self.limits.idle_secs) * 1_000_000_000
    }

    async fn order_of(&self, record: &EvidenceRecord) -> Result<Option<OrderRecord>, Problem> {
        match record.view.order {
            Some(order) => Ok(self.store.order(order).await?),
            None => Ok(None),
        }
    }

    /// Verifies what is there of a bundle and writes down what came of it.
    async fn ingest_bundle(&self, bundle: BundleId) -> Result<(), Problem> {
        let Some(record) = self.store.evidence(bundle).await? else { return Ok(()) };
        let checkpoints = self.store.checkpoints(bundle).await?;
        let started = std::time::Instant::now();
        let Some((outcome, sha256)) = self.verify(&record, &checkpoints).await? else { return Ok(()) };
        let judged = self.judged(&record, &checkpoints, outcome, sha256).await?;
        let lock = self.uploads.view_lock(bundle);
        let _view = lock.lock().await;
        let Some(now) = self.store.evidence(bundle).await? else { return Ok(()) };
        if now.offset != record.offset || self.store.checkpoints(bundle).await?.len() != checkpoints.len() {
            // More came meanwhile; whoever brought it, or the sweep, asks again.
            return Ok(());
        }
        let (view, secs) = (&judged.view, started.elapsed().as_secs_f64());
        tracing::info!(%bundle, bytes = record.offset, state = view.state.name(), secs, "bundle verified");
        metrics::counter!("holdfast_bundles_total", "state" => view.state.name()).increment(1);
        metrics::histogram!("holdfast_ingest_seconds").record(secs);
        self.keep_judgement(&now, judged).await
    }

    /// One pass over the bytes; `None` when the server stops meanwhile.
    pub(super) async fn verify(
        &self,
        record: &EvidenceRecord,
        checkpoints: &[CheckpointRecord],
    ) -> Result<Option<(Outcome, Option<Sha256>)>, Problem> {
        let bundle = record.view.bundle;
        let segments = self.store.segments(bundle).await?;
        let reader = self.objects.reader(bundle, segments, record.offset);
        let reader = Counted { hasher: sha2::Sha256::new(), reader, stop: self.stop.clone() };
        let sidecar: String = checkpoints.iter().flat_map(|checkpoint| [checkpoint.line.as_str(), "\n"]).collect();
        let with_sidecar = !checkpoints.is_empty();
        let signer = record.signer.as_deref().and_then(|line| PublicKey::from_openssh(line).ok());
        let verified = tokio::task::spawn_blocking(move || {
            let mut reader = BufReader::new(reader);
            let sidecar = Sidecar::read(sidecar.as_bytes())?;
            let outcome = match layer_of(reader.fill_buf()?) {
                Layer::Zip => {
                    let against = Against { signers: None, sidecar: with_sidecar.then_some(&sidecar) };
                    Outcome::Content(check(&mut reader, against))
                }
                Layer::Age => {
                    let announced = Announced { bundle: Some(bundle), signer: signer.as_ref() };
                    Outcome::Transport(check_transport(&mut reader, &sidecar, announced, None))
                }
            };
            let outcome = outcome.or_unread()?;
            io::copy(&mut reader, &mut io::sink())?;
            Ok::<_, io::Error>((outcome, Sha256(reader.into_inner().hasher.finalize().into())))
        });
        let failed = |error: &dyn std::fmt::Debug| {
            Problem::new(ProblemKind::Internal, format!("bundle {bundle} could not be read"))
                .cause(format!("{error:?}"))
        };
        match verified.await {
            Ok(Err(error)) => {
                if self.stop.is_cancelled() {
                    return Ok(None);
                }
                // Asking again does not bring them back; people must see it.
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) {
                    tracing::error!(%bundle, error = format!("{error:?}"), "bytes that were acknowledged are lost");
                    let why = "the server has lost bytes that it acknowledged; its operator finds more in the log";
                    return Ok(Some((Outcome::nothing(why), None)));
                }
                Err(failed(&error))
            }
            Ok(Ok((outcome, sha256))) => Ok(Some((outcome, Some(sha256)))),
            // The verifier must not fall over foreign bytes. If it does, it does so each time.
            Err(panic) => {
                tracing::error!(%bundle, %panic, "the verifier fell over this bundle");
                Ok(Some((Outcome::nothing("the verifier itself failed on it; tell the makers"), None)))
            }
        }
    }

    async fn judged(
        &self,
        record: &EvidenceRecord,
        checkpoints: &[CheckpointRecord],
        outcome: Outcome,
        sha256: Option<Sha256>,
    ) -> Result<Judged, Problem> {
        let order = self.order_of(record).await?;
        let named = judge::agent_of(record, &outcome);
        let host = match &named {
            Some(agent) => self.store.host(agent).await?,
            None => None,
        };
        let before = match judge::continued(&outcome) {
            Some(before) => self.store.evidence(before).await?,
            None => None,
        };
        Ok(match &outcome {
            Outcome::Content(outcome) => {
                judge::judge(record, checkpoints, order.as_ref(), (host.as_ref(), before.as_ref()), outcome, sha256)
            }
            Outcome::Transport(outcome) => judge::judge_sealed(record, checkpoints, host.as_ref(), outcome, sha256),
        })
    }

    async fn keep_judgement(&self, before: &EvidenceRecord, judged: Judged) -> Result<(), Problem> {
        let Judged { mismatches, mut view } = judged;
        // Those that came while it was verified.
        view.contradictions.clone_from(&before.view.contradictions);
        if before.view == view {
            return Ok(());
        }
        let (now, bundle) = (self.now(), view.bundle);
        let leaf = |event, details| NewLeaf {
            actor: Actor::Server.to_string(),
            details,
            event,
            incident: Some(view.incident.clone()),
            subject: format!("bundle:{bundle}"),
            time: now,
        };
        let mut leaves = vec![leaf(
            judge::event_of(view.state),
            details([
                ("bytes", json!(view.bytes)),
                ("findings", json!(view.findings)),
                ("sha256", json!(view.sha256)),
                ("signer", json!(view.signer)),
                ("trust", json!(view.trust)),
                ("verified_to", json!(view.verified_to)),
            ]),
        )];
        if !mismatches.is_empty() {
            let Findings(texts) = mismatches;
            leaves.push(leaf("evidence_mismatch", details([("what", json!(texts))])));
        }
        let mut changes = vec![
            Change::EvidenceIs { bundle, offset: before.offset, state: before.view.state },
            Change::PutEvidenceView(Box::new(view.clone())),
            Change::Touch(view.incident.clone(), now),
        ];
        if view.state == EvidenceState::Sealed && before.length.is_none() {
            // Nothing comes after a seal.
            changes.push(Change::Length(bundle, before.offset));
        }
        // Its agent may have died with the report of the end untold: the order must not seem to run for ever.
        let order = self.order_of(before).await?.filter(|order| self.is_silent(before, Some(order)));
        let mut ended = None;
        if let Some(order) = order.filter(|_| view.state != EvidenceState::Sealed) {
            let checkpoints = self.store.checkpoints(bundle).await?;
            let receipted = checkpoints.last().map(|last| last.receipt.offset);
            if let Some((change, leaf, event)) = orders::given_up(&order, bundle, receipted, now) {
                changes.push(change);
                leaves.push(leaf);
                ended = Some(LiveEvent::Order { event, order: order.order, state: OrderState::Interrupted });
            }
        }
        match self.store.commit(changes, leaves).await {
            Ok(_) => {}
            // More came at this moment, or another server said the same; whoever it was, or the sweep, asks again.
            Err(StoreError::Conflict(what)) => {
                tracing::debug!(%bundle, what, "what was made of the bundle was not kept");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        self.tell_evidence(&view);
        // The next part may have been verified before there was something to hold it against.
        if let Some(next) = view.part.as_ref().and_then(|part| part.next)
            && let Some(next) = self.store.evidence(next).await?
            && next.view.state != EvidenceState::Receiving
        {
            self.ingest.now(next.view.bundle);
        }
        self.findings.wake();
        if let Some(event) = ended {
            self.live.tell(&view.incident, event);
        }
        Ok(())
    }
}

/// Hashes what is read, and ends when the server does.
struct Counted<R> {
    hasher: sha2::Sha256,
    reader: R,
    stop: CancellationToken,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_cancelled() {
            return Err(io::Error::other("the server stops"));
        }
        let bytes = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..bytes]);
        Ok(bytes)
    }
}
