//! Bytes at the end of an upload: one segment after another, each durable before it counts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;
use wire::api::EvidenceState;
use wire::order::OrderState;
use wire::{Sha256, UploadId};

use super::tally::Tally;
use super::{Slot, lock};
use crate::app::orders::is_given_up;
use crate::app::{Actor, App, Problem, ProblemKind};
use crate::objects::Segment;
use crate::store::{Change, EvidenceRecord};

/// Segments of one bundle: at 8 MiB each they hold far more than the longest bundle, and some for broken connections.
const SEGMENTS_MAX: usize = 65_536;
/// How long the one who writes may take to let go.
const TAKEOVER_SECS_MAX: u64 = 5;

/// The right to write at the end of an upload. There is one at a time.
pub struct Append {
    app: Arc<App>,
    record: EvidenceRecord,
    slot: Arc<Slot>,
    tally: Tally,
    _writer: OwnedMutexGuard<()>,
}

impl App {
    /// Takes the right to write at `offset`, which must be where the upload stands. Whoever has it and waits for bytes
    /// lets go: its connection is dead, or the owner would not ask again.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`], [`ProblemKind::Conflict`] for another offset, [`ProblemKind::Locked`].
    pub async fn append(
        self: &Arc<Self>,
        by: &Actor,
        upload: UploadId,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Append, Problem> {
        let bundle = self.upload(by, upload).await?.view.bundle;
        if let Actor::Agent { agent, .. } = by {
            self.heard(agent, None).await?;
        }
        let slot = self.uploads.slot(bundle);
        let writer = match Arc::clone(&slot.writer).try_lock_owned() {
            Ok(writer) => writer,
            Err(_) => {
                slot.takeover.notify_one();
                let waited = timeout(Duration::from_secs(TAKEOVER_SECS_MAX), Arc::clone(&slot.writer).lock_owned());
                waited.await.map_err(|_| {
                    Problem::new(ProblemKind::Locked, format!("another request writes to upload {upload}"))
                        .hint("one at a time: wait for its end, then ask for the offset")
                })?
            }
        };
        slot.forget_takeover();
        // Only now is the record the last word.
        let mut record = self.upload(by, upload).await?;
        if record.offset != offset {
            let message = format!("upload {upload} stands at byte {}, not {offset}", record.offset);
            return Err(
                Problem::new(ProblemKind::Conflict, message).hint("ask for the offset with HEAD and go on there")
            );
        }
        self.check_open(&record).await?;
        match (record.length, length) {
            (None, Some(length)) => record = self.declare_length(&record, length).await?,
            (Some(known), Some(length)) if known != length => {
                return Err(Problem::new(
                    ProblemKind::Conflict,
                    format!("upload {upload} was declared with {known} bytes"),
                )
                .hint("the length of an upload never changes"));
            }
            _ => {}
        }
        let tally = self.tally(&slot, &record).await?;
        Ok(Append { app: Arc::clone(self), record, slot, tally, _writer: writer })
    }

    /// An upload can be continued until it is whole, was silent for too long, or its run has ended.
    async fn check_open(&self, record: &EvidenceRecord) -> Result<(), Problem> {
        let bundle = record.view.bundle;
        let Some(until) = self.continued_until(record) else { return Ok(()) };
        if until <= self.now() {
            return Err(Problem::new(ProblemKind::NotFound, format!("the upload of bundle {bundle} has expired"))
                .hint("what came is kept as it is; collect again"));
        }
        let order = match record.view.order {
            Some(order) => self.store.order(order).await?,
            None => None,
        };
        match order {
            Some(order) if order.state.is_final() && order.state != OrderState::Completed && !is_given_up(&order) => {
                let message = format!("order {} is {}: its bundle is closed", order.order, order.state.name());
                Err(Problem::new(ProblemKind::Conflict, message).hint("a new order supersedes it"))
            }
            _ => Ok(()),
        }
    }
}

impl Append {
    /// The upload as it stands now; whoever waits to write goes on.
    pub fn into_record(self) -> EvidenceRecord {
        self.record
    }

    /// Bytes that it still takes.
    pub fn room(&self) -> u64 {
        self.record.length.unwrap_or(self.app.limits.bundle_bytes_max).saturating_sub(self.record.offset)
    }

    /// Returns when another request wants to write.
    pub async fn taken_over(&self) {
        self.slot.takeover.notified().await;
    }

    /// Adds a segment. It is durable and counts when this returns.
    ///
    /// # Errors
    /// [`ProblemKind::TooLarge`], [`ProblemKind::Full`]; nothing was added.
    pub async fn segment(&mut self, bytes: Bytes) -> Result<(), Problem> {
        self.segment_of(bytes, None).await
    }

    /// The same for bytes whose digest somebody has just taken.
    ///
    /// # Errors
    /// As [`Append::segment`].
    pub async fn segment_of(&mut self, bytes: Bytes, sha256: Option<Sha256>) -> Result<(), Problem> {
        let bundle = self.record.view.bundle;
        let length = bytes.len() as u64;
        if length == 0 {
            return Ok(());
        }
        if length > self.room() || self.tally.segments() >= SEGMENTS_MAX {
            let message = format!("bundle {bundle} is longer, or comes in more pieces, than is taken");
            return Err(
                Problem::new(ProblemKind::TooLarge, message).hint("send pieces of 8 MiB, up to the declared length")
            );
        }
        self.app.check_disk(length)?;
        let (before, counted) = (self.tally.clone(), bytes.clone());
        let counted = tokio::task::spawn_blocking(move || before.with(&counted));
        let offset = self.record.offset;
        let unhashed = |error| Problem::new(ProblemKind::Internal, "the bytes could not be hashed").cause(error);
        let segment = if sha256.is_some() {
            Segment { bytes: length, offset, sha256 }
        } else {
            let named = bytes.clone();
            tokio::task::spawn_blocking(move || Segment::of(offset, &named)).await.map_err(unhashed)?
        };
        self.put(segment, bytes).await?;
        let tally = counted.await.map_err(unhashed)?;
        self.advance(segment).await?;
        self.record.offset += length;
        self.record.last_seen = self.app.now();
        self.tally = tally.clone();
        *lock(&self.slot.tally) = Some(tally);
        *lock(&self.slot.used) = std::time::Instant::now();
        metrics::counter!("holdfast_evidence_bytes_total").increment(length);
        if self.record.length == Some(self.record.offset) {
            self.app.ingest.soon(bundle);
        }
        Ok(())
    }

    async fn put(&self, segment: Segment, bytes: Bytes) -> Result<(), Problem> {
        let put = self.app.objects.put_new(&segment.path(self.record.view.bundle), bytes).await;
        put.map_err(|error| {
            Problem::new(ProblemKind::Internal, "the bytes could not be kept")
                .hint("ask for the offset and send them again")
                .cause(format!("{error:?}"))
        })
    }

    /// The record says that the segment is there. A bundle that was verified as far as it went is received again.
    async fn advance(&mut self, segment: Segment) -> Result<(), Problem> {
        let (app, bundle) = (&self.app, self.record.view.bundle);
        let change = Change::Advance { bundle, segment, at: app.now() };
        if self.record.view.state == EvidenceState::Receiving {
            let is = Change::EvidenceIs { bundle, offset: self.record.offset, state: EvidenceState::Receiving };
            let Err(error) = app.store.commit(vec![is, change.clone()], Vec::new()).await else { return Ok(()) };
            // It may have been verified as far as it went, while the next bytes were waited for.
            if app.upload_view(self.record.upload).await?.state == EvidenceState::Receiving {
                return Err(error.into());
            }
        }
        let _view = self.slot.view.lock().await;
        let mut view = app.upload_view(self.record.upload).await?;
        view.state = EvidenceState::Receiving;
        let mut changes = vec![change, Change::PutEvidenceView(Box::new(view.clone()))];
        if let Some(order) = view.order
            && app.store.order(order).await?.is_some_and(|order| is_given_up(&order))
        {
            let from = vec![OrderState::Interrupted];
            changes.push(Change::OrderEvent { event: None, from, order, to: OrderState::Running });
        }
        app.store.commit(changes, Vec::new()).await?;
        app.tell_evidence(&view);
        self.record.view = view;
        Ok(())
    }
}
