//! Between the thread that writes a bundle and the one that uploads it: chunks and transport checkpoints, in order.
//!
//! What is neither on the server nor in the spool is held in memory, at most [`HELD_BYTES_MAX`] of it: the writer then
//! waits. A chunk ends where the writer flushes, which is where a transport checkpoint stands, or at its greatest length.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bundle::write::{Happened, Output};
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::Notify;
use wire::agent_api::CHUNK_BYTES_MAX;

/// Bytes that may wait for the server's acknowledgement.
pub const HELD_BYTES_MAX: usize = 16 << 20;
/// At the end of a tier the writer waits this long for the receipt, and for room whenever there is none.
const RECEIPT_SECS_MAX: u64 = 30;
/// Names another time, for tests.
const RECEIPT_VARIABLE: &str = "HOLDFAST_RECEIPT_SECS_MAX";

/// What goes to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The next bytes of the bundle.
    Chunk(Bytes),
    /// A transport checkpoint over everything before it.
    Line(Bytes),
}

impl Piece {
    /// Its bytes, whatever they are.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Chunk(bytes) | Self::Line(bytes) => bytes,
        }
    }

    fn len(&self) -> usize {
        self.bytes().len()
    }
}

/// How long the writer waits for a receipt.
pub fn receipt_wait() -> Duration {
    let named = std::env::var(RECEIPT_VARIABLE).ok().and_then(|secs| secs.parse().ok());
    Duration::from_secs(named.unwrap_or(RECEIPT_SECS_MAX))
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Piece>,
    filling: Vec<u8>,
    /// Bytes in `pieces`, in `filling` and on their way.
    held: usize,
    /// The most that `held` ever was.
    held_peak: usize,
    lines_put: u64,
    lines_answered: u64,
    closed: bool,
    failed: Option<String>,
    /// For the custody log of the bundle.
    happened: Vec<Happened>,
    /// The writer has waited for too long: for a tier's receipt, or for room.
    is_overdue: bool,
}

impl State {
    fn put(&mut self, piece: Piece) {
        if matches!(piece, Piece::Line(_)) {
            self.lines_put += 1;
            self.hold(piece.len());
        }
        self.pieces.push_back(piece);
    }

    fn hold(&mut self, bytes: usize) {
        self.held += bytes;
        self.held_peak = self.held_peak.max(self.held);
    }

    fn end_chunk(&mut self) {
        if !self.filling.is_empty() {
            let chunk = std::mem::take(&mut self.filling);
            self.put(Piece::Chunk(chunk.into()));
        }
    }

    fn check(&self) -> io::Result<()> {
        match &self.failed {
            Some(why) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, why.clone())),
            None => Ok(()),
        }
    }
}

struct Shared {
    /// How long the writer waits for a receipt.
    patience: Duration,
    state: Mutex<State>,
    /// Signalled when bytes or lines were acknowledged, and when the upload failed.
    moved: Condvar,
    /// Signalled when there is something to send, and at the end.
    work: Notify,
    /// Signalled when the writer has waited for too long.
    overdue: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer has waited for too long.
    fn overdue(&self, state: &mut State) {
        state.is_overdue = true;
        self.overdue.notify_one();
    }
}

/// A queue: the bundle's output, its sidecar, and the end that uploads.
pub fn queue() -> (Chunks, Lines, Outgoing) {
    let (state, moved, work, overdue) = Default::default();
    let shared = Arc::new(Shared { patience: receipt_wait(), state, moved, work, overdue });
    (Chunks(Arc::clone(&shared)), Lines(Arc::clone(&shared)), Outgoing(shared))
}

/// Takes the bundle.
pub struct Chunks(Arc<Shared>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        let started = Instant::now();
        loop {
            state.check()?;
            let room = HELD_BYTES_MAX.saturating_sub(state.held);
            let length = bytes.len().min(room).min(CHUNK_BYTES_MAX - state.filling.len());
            if length > 0 || bytes.is_empty() {
                state.hold(length);
                state.filling.extend_from_slice(&bytes[..length]);
                if state.filling.len() == CHUNK_BYTES_MAX {
                    state.end_chunk();
                    self.0.work.notify_one();
                }
                return Ok(length);
            }
            // What cannot be taken grows old as what gets no receipt does.
            let left = self.0.patience.saturating_sub(started.elapsed());
            state = if left.is_zero() {
                self.0.overdue(&mut state);
                self.0.moved.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.0.moved.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.check()?;
        state.end_chunk();
        self.0.work.notify_one();
        Ok(())
    }
}

impl Output for Chunks {
    /// Waits until the last transport checkpoint is answered for: with a receipt, or with a place in the spool. After
    /// [`receipt_wait`] the run goes on: evidence that waits on the host grows old. What was collected then goes into the
    /// spool, or stays in the queue where there is none.
    fn make_durable(&mut self) -> io::Result<()> {
        self.flush()?;
        let started = Instant::now();
        let mut state = self.0.lock();
        let wanted = state.lines_put;
        while state.lines_answered < wanted {
            state.check()?;
            let left = self.0.patience.saturating_sub(started.elapsed());
            if left.is_zero() {
                let held = state.held;
                tracing::warn!(secs = self.0.patience.as_secs(), held, "no receipt for this tier yet: the run goes on");
                self.0.overdue(&mut state);
                return Ok(());
            }
            state = self.0.moved.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    fn happened(&mut self) -> Vec<Happened> {
        std::mem::take(&mut self.0.lock().happened)
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.work.notify_one();
    }
}

/// Takes the transport checkpoints: one line with each flush.
pub struct Lines(Arc<Shared>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        state.check()?;
        state.put(Piece::Line(Bytes::copy_from_slice(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.work.notify_one();
        Ok(())
    }
}

/// Hands out what goes to the server. When it is dropped early, the writer's next call fails.
pub struct Outgoing(Arc<Shared>);

impl Outgoing {
    /// The next piece; `None` when the writer has ended. It counts as held until it is answered.
    pub async fn next(&mut self) -> Option<Piece> {
        loop {
            {
                let mut state = self.0.lock();
                if let Some(piece) = state.pieces.pop_front() {
                    return Some(piece);
                }
                if state.closed {
                    return None;
                }
            }
            self.0.work.notified().await;
        }
    }

    /// Waits until the writer has waited for too long, for a tier's receipt or for room. It is told once.
    pub async fn overdue(&self) {
        loop {
            if std::mem::take(&mut self.0.lock().is_overdue) {
                return;
            }
            self.0.overdue.notified().await;
        }
    }

    /// What was overdue is answered for.
    pub fn forget_overdue(&self) {
        self.0.lock().is_overdue = false;
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.0.lock().held
    }

    /// Something for the custody log of the bundle: it stands there with the next checkpoint.
    pub fn happened<const N: usize>(&self, event: &'static str, details: [(&str, Value); N]) {
        let details = details.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        self.0.lock().happened.push((event, details));
    }

    /// `piece` is where it survives this process: on the server, or in the spool.
    pub fn answered(&mut self, piece: &Piece) {
        let mut state = self.0.lock();
        state.held = state.held.saturating_sub(piece.len());
        state.lines_answered += u64::from(matches!(piece, Piece::Line(_)));
        self.0.moved.notify_all();
    }

    /// The upload has failed: the writer's calls fail with this from now on.
    pub fn fail(&mut self, why: &str) {
        let mut state = self.0.lock();
        state.failed.get_or_insert_with(|| why.to_owned());
        state.pieces.clear();
        self.0.moved.notify_all();
    }

    /// The most bytes that were ever held.
    pub fn held_peak(&self) -> usize {
        self.0.lock().held_peak
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.fail("the upload has ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_chunk_ends_where_the_writer_flushes_and_memory_is_bounded() {
        let (mut chunks, mut lines, mut outgoing) = queue();
        let total = 3 * HELD_BYTES_MAX;
        let writer = std::thread::spawn(move || {
            chunks.write_all(&[1; 1000]).unwrap();
            chunks.flush().unwrap();
            lines.write_all(b"line\n").unwrap();
            lines.flush().unwrap();
            chunks.write_all(&vec![2; total]).unwrap();
            chunks.flush().unwrap();
        });
        let (mut sizes, mut waiting) = (Vec::new(), Vec::new());
        while let Some(piece) = outgoing.next().await {
            sizes.push(piece.len());
            // Nothing is acknowledged before the writer can go no further.
            waiting.push(piece);
            let held: usize = waiting.iter().map(Piece::len).sum();
            if held + CHUNK_BYTES_MAX > HELD_BYTES_MAX {
                waiting.drain(..).for_each(|piece| outgoing.answered(&piece));
            }
        }
        writer.join().unwrap();
        assert_eq!(sizes[..3], [1000, 5, CHUNK_BYTES_MAX]);
        assert_eq!(sizes.iter().sum::<usize>(), 1005 + total);
        assert!(outgoing.held_peak() <= HELD_BYTES_MAX + 5, "{}", outgoing.held_peak());
        assert!(outgoing.held_peak() > HELD_BYTES_MAX / 2);
    }

    #[test]
    fn a_writer_does_not_outlive_its_upload() {
        let (mut chunks, mut lines, outgoing) = queue();
        let writer = std::thread::spawn(move || {
            let full = chunks.write_all(&vec![0; 2 * HELD_BYTES_MAX]);
            (full, lines.write_all(b"line\n"), chunks.make_durable())
        });
        drop(outgoing);
        let (full, line, durable) = writer.join().unwrap();
        for ended in [full, line, durable] {
            assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        }
    }
}
