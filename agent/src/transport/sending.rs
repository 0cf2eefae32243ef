//! What is sent when: live, while the server answers; from the spool, the oldest first, when it was away or slow.
//!
//! The order of a bundle's bytes is never changed. Once something of it waits in the spool, all that follows goes there
//! as well, while the oldest is tried again and again; when nothing waits any more, the rest goes live.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::backoff::Backoff;
use super::client::{CallError, Client};
use super::queue::{Outgoing, Piece, receipt_wait};
use super::receipts::Receipts;
use super::spool::{About, Entry, Kind, Moment, NoRoom, Spool};
use super::upload::{Step, Subject, Upload, UploadError, checkpoint};
use crate::causes::with_causes;

/// While there is no room in the spool it is looked for this often.
const ROOM_EVERY: Duration = Duration::from_secs(1);

/// Where evidence goes that cannot be sent now.
#[derive(Clone, Debug)]
pub enum Otherwise {
    /// Into the spool.
    Spool(Arc<Spool>),
    /// Nowhere, because …: the run waits with it, and ends when the server stays away.
    Nowhere(&'static str),
}

/// Where a bundle is that was written to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uploaded {
    /// On the server, all of it.
    Whole,
    /// The rest waits in the spool.
    Spooled,
}

/// Uploads what comes out of `outgoing` until the seal. `may_begin` comes before the first request.
///
/// # Errors
/// [`UploadError`]; the writer's next call then fails as well.
pub async fn upload(
    client: &Client,
    subject: Subject,
    mut outgoing: Outgoing,
    receipts: Receipts<'_>,
    may_begin: impl Future<Output = Result<(), CallError>>,
    otherwise: Otherwise,
) -> Result<Uploaded, UploadError> {
    let bundle = subject.bundle;
    let upload = Upload::new(client, subject, receipts, Duration::ZERO);
    let sending = Sending {
        upload,
        may_begin: Some(pin!(may_begin)),
        otherwise,
        away_max: client.away_max,
        position: 0,
        is_sealed: false,
    };
    let ended = sending.run(&mut outgoing).await;
    tracing::info!(%bundle, held_peak = outgoing.held_peak(), "upload ended");
    match &ended {
        Ok(Uploaded::Whole) => {}
        Ok(Uploaded::Spooled) => tracing::warn!(%bundle, "the bundle is sealed, and its end waits in the spool"),
        Err(error) => outgoing.fail(&with_causes(error)),
    }
    ended
}

struct Sending<'a, 'b, B> {
    upload: Upload<'a>,
    /// None when it has come.
    may_begin: Option<Pin<&'b mut B>>,
    otherwise: Otherwise,
    /// Without a spool, and when it is full, the server may stay away for so long.
    away_max: Duration,
    /// Where in the stream the next chunk begins.
    position: u64,
    /// The last checkpoint is on the server or in the spool.
    is_sealed: bool,
}

/// Why what is collected does not go live any more.
struct Stopped {
    /// What was on its way.
    piece: Option<Piece>,
    reason: String,
}

impl<B: Future<Output = Result<(), CallError>>> Sending<'_, '_, B> {
    async fn run(mut self, outgoing: &mut Outgoing) -> Result<Uploaded, UploadError> {
        while let Some(stopped) = self.live(outgoing).await? {
            let Otherwise::Spool(spool) = self.otherwise.clone() else { break };
            if !self.spooling(&spool, stopped, outgoing).await? {
                if !self.is_sealed {
                    return Err(UploadError::Unsealed { offset: self.position });
                }
                return Ok(Uploaded::Spooled);
            }
        }
        if !self.is_sealed {
            return Err(UploadError::Unsealed { offset: self.upload.offset() });
        }
        match self.upload.end().await {
            // Our server knows it from the last checkpoint; the word is for those that take no checkpoints.
            Err(UploadError::Away { .. }) if matches!(self.otherwise, Otherwise::Spool(_)) => {}
            ended => ended?,
        }
        Ok(Uploaded::Whole)
    }

    /// Sends as it comes, until the end; or until the server is away or slow, where there is a spool.
    async fn live(&mut self, outgoing: &mut Outgoing) -> Result<Option<Stopped>, UploadError> {
        let otherwise = self.otherwise.clone();
        let has_spool = matches!(otherwise, Otherwise::Spool(_));
        self.upload.away_max = match &otherwise {
            Otherwise::Spool(spool) => spool.after,
            Otherwise::Nowhere(_) => self.away_max,
        };
        outgoing.forget_overdue();
        // At once, while the first collectors are at work: their evidence then waits for no handshake.
        let (mut piece, mut is_told) = (None, false);
        loop {
            let attempt = self.attempt(piece.as_ref());
            let sent = tokio::select! {
                sent = attempt => sent,
                reason = slow(outgoing, &otherwise, &mut is_told) => Ok(Some(reason)),
            };
            match sent {
                Ok(None) => {}
                Ok(Some(reason)) => return Ok(Some(Stopped { piece, reason })),
                Err(error @ UploadError::Away { .. }) if has_spool => {
                    return Ok(Some(Stopped { piece, reason: with_causes(&error) }));
                }
                Err(error) => return Err(error),
            }
            if let Some(sent) = &piece {
                pass(sent, &mut self.position, &mut self.is_sealed);
                outgoing.answered(sent);
            }
            piece = outgoing.next().await;
            if piece.is_none() {
                return Ok(None);
            }
        }
    }

    /// Sends a piece. Answers why it was not sent when the server has not even been told what it is for.
    async fn attempt(&mut self, piece: Option<&Piece>) -> Result<Option<String>, UploadError> {
        if let Some(begin) = &mut self.may_begin {
            let begun = match &self.otherwise {
                Otherwise::Nowhere(_) => begin.as_mut().await,
                Otherwise::Spool(spool) => match timeout(spool.after, begin.as_mut()).await {
                    Ok(begun) => begun,
                    Err(_) => return Ok(Some(format!("the server stayed away for {} s", spool.after.as_secs()))),
                },
            };
            self.may_begin = None;
            begun.map_err(|source| UploadError::Away { secs: self.away_max.as_secs(), source })?;
        }
        self.upload.begin().await?;
        match piece {
            Some(Piece::Chunk(bytes)) => self.upload.chunk(bytes).await?,
            Some(Piece::Line(line)) => drop(self.upload.line(line).await?),
            None => {}
        }
        Ok(None)
    }

    /// Keeps what comes in the spool, and sends what is there, the oldest first. True when nothing waits any more, false
    /// when the writer has ended and something does.
    async fn spooling(
        &mut self,
        spool: &Arc<Spool>,
        stopped: Stopped,
        outgoing: &mut Outgoing,
    ) -> Result<bool, UploadError> {
        let Self { upload, may_begin, away_max, position, is_sealed, .. } = self;
        let Stopped { piece, reason } = stopped;
        tracing::warn!(bundle = %upload.subject.bundle, reason, "what is collected goes into the spool");
        outgoing.happened("spooled", [("bytes", json!(outgoing.held())), ("reason", json!(reason))]);
        upload.doubt();
        upload.away_max = Duration::ZERO;
        let mut about = About::new(&upload.subject, reason, Moment::now());
        let waiting = spool.waiting(&about);
        // Something is on its way into the spool: that the spool is empty means nothing then.
        let is_busy = Cell::new(piece.is_some());
        let (sent, kept) = (Notify::new(), Notify::new());
        let keeping = async {
            let mut next = piece;
            loop {
                let piece = match next.take() {
                    Some(piece) => piece,
                    None => match outgoing.next().await {
                        Some(piece) => piece,
                        None => return Ok::<(), UploadError>(()),
                    },
                };
                is_busy.set(true);
                keep(spool, &mut about, (entry(&piece, *position), &piece), outgoing, &sent, *away_max).await?;
                pass(&piece, position, is_sealed);
                outgoing.answered(&piece);
                is_busy.set(false);
                kept.notify_one();
            }
        };
        let draining = async {
            let mut backoff = Backoff::upload();
            loop {
                if let Some(begin) = may_begin {
                    let begun = begin.as_mut().await;
                    *may_begin = None;
                    begun.map_err(|source| UploadError::Away { secs: 0, source })?;
                }
                match upload.oldest(&waiting).await {
                    Ok(Step::Sent) => {
                        backoff.reset();
                        sent.notify_one();
                    }
                    Ok(Step::Nothing) => {
                        let is_empty = waiting.entries().map_err(UploadError::Unreadable)?.is_empty();
                        if is_empty && !is_busy.get() {
                            return Ok(());
                        }
                        kept.notified().await;
                    }
                    Err(UploadError::Away { .. }) => tokio::time::sleep(backoff.wait()).await,
                    Err(error) => return Err(error),
                }
            }
        };
        tokio::select! {
            ended = keeping => ended?,
            drained = draining => drained?,
        }
        if !waiting.entries().map_err(UploadError::Unreadable)?.is_empty() {
            return Ok(false);
        }
        waiting.remove().map_err(UploadError::Unreadable)?;
        tracing::info!(bundle = %self.upload.subject.bundle, "nothing waits in the spool any more");
        outgoing.happened("spool_sent", [("bytes", json!(self.upload.offset()))]);
        Ok(true)
    }
}

/// Keeps a piece in the spool. Without room for it, waits for some as it would without a spool: until the server has
/// stayed away for too long. What is there already is never given up for it.
async fn keep(
    spool: &Arc<Spool>,
    about: &mut About,
    (entry, piece): (Entry, &Piece),
    outgoing: &Outgoing,
    sent: &Notify,
    away_max: Duration,
) -> Result<(), UploadError> {
    let since = Instant::now();
    loop {
        let (there, of, content) = (Arc::clone(spool), about.clone(), piece.bytes().clone());
        let put = tokio::task::spawn_blocking(move || there.put(&of, entry, &content)).await;
        let no_room = match put {
            Ok(Ok(())) => {
                if about.full.take().is_some() {
                    note(spool, about);
                }
                return Ok(());
            }
            Ok(Err(no_room)) => no_room,
            Err(error) => NoRoom::Io(std::io::Error::other(error)),
        };
        if about.full.is_none() {
            let why = with_causes(&no_room);
            tracing::error!(bundle = %about.bundle, why, "no more fits into the spool");
            outgoing.happened("spool_full", [("reason", json!(why))]);
            about.full = Some(why);
            note(spool, about);
        }
        if since.elapsed() >= away_max {
            return Err(UploadError::NoRoom { waits: spool.waiting(about).bytes(), source: no_room });
        }
        let _ = timeout(ROOM_EVERY, sent.notified()).await;
    }
}

fn note(spool: &Spool, about: &About) {
    if let Err(error) = spool.note(about) {
        tracing::warn!(%error, "the spool's note cannot be written");
    }
}

/// Waits until the writer has waited for too long. Without a spool the bundle is told that it had none, and the
/// waiting goes on.
async fn slow(outgoing: &Outgoing, otherwise: &Otherwise, is_told: &mut bool) -> String {
    loop {
        outgoing.overdue().await;
        let secs = receipt_wait().as_secs();
        let reason = format!("the server was slower than {secs} s with a tier's receipt or with what it was sent");
        match otherwise {
            Otherwise::Spool(_) => return reason,
            Otherwise::Nowhere(_) if *is_told => {}
            Otherwise::Nowhere(why) => {
                *is_told = true;
                tracing::warn!(reason, why, "there is no spool");
                outgoing.happened("not_spooled", [("reason", json!(reason)), ("why", json!(why))]);
            }
        }
    }
}

/// The place of a piece in the spool, where the stream has come to `position`.
fn entry(piece: &Piece, position: u64) -> Entry {
    match piece {
        Piece::Chunk(bytes) => Entry { offset: position, kind: Kind::Chunk { length: bytes.len() as u64 } },
        Piece::Line(line) => {
            let offset = checkpoint(line).map_or(position, |checkpoint| checkpoint.offset);
            Entry { offset, kind: Kind::Line }
        }
    }
}

/// A piece is where it survives: what follows stands behind it.
fn pass(piece: &Piece, position: &mut u64, is_sealed: &mut bool) {
    match piece {
        Piece::Chunk(bytes) => *position += bytes.len() as u64,
        Piece::Line(line) => *is_sealed = checkpoint(line).is_some_and(|checkpoint| checkpoint.is_final),
    }
}
