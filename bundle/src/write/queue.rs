//! What waits to be written, in order: entries whose content is being packed, folders, notes.

use std::collections::VecDeque;

use sha2::{Digest as _, Sha256 as Hasher};
use wire::Sha256;

use super::Ended;
use super::pool::{Answer, Done, Packed, Piece, Pool, stored};
use crate::item::NewItem;
use crate::zip::Entry;

/// Content that waits is held to this many bytes: enough to keep every core busy.
const BYTES_MAX: usize = 8 << 20;
/// And to this many things.
const THINGS_MAX: usize = 2_000;

/// An entry with content, on its way.
pub(super) struct Content {
    pub(super) entry: Entry,
    pub(super) mode: u32,
    pub(super) item: Option<Box<NewItem>>,
}

/// One thing in the queue.
pub(super) enum Queued {
    Folder(String),
    Note(Box<NewItem>),
    Whole(Content, Answer),
    Begin(Content),
    Piece(Answer),
    End(Ended, Sha256, u64),
}

/// See the module.
pub(super) struct Queue {
    pool: Pool,
    waiting: VecDeque<Queued>,
    bytes: usize,
    /// Digest and length of the content that is being streamed.
    stream: Option<(Hasher, u64)>,
}

impl Queue {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, waiting: VecDeque::new(), bytes: 0, stream: None }
    }

    /// Has content packed; `as_it_is` where compressing is out of the question.
    pub(super) fn pack(&mut self, content: Vec<u8>, as_it_is: bool) -> Answer {
        if as_it_is { Answer::Ready(Done::Whole(stored(content))) } else { self.pool.whole(content) }
    }

    /// Waits for packed content. `None` when the thread that packed it is gone.
    pub(super) fn packed(&mut self, answer: Answer) -> Option<Packed> {
        match self.pool.take(answer) {
            Some(Done::Whole(packed)) => Some(packed),
            _ => None,
        }
    }

    /// Waits for a packed piece. `None` when the thread that packed it is gone.
    pub(super) fn piece(&mut self, answer: Answer) -> Option<Piece> {
        match self.pool.take(answer) {
            Some(Done::Piece(piece)) => Some(piece),
            _ => None,
        }
    }

    pub(super) fn push(&mut self, queued: Queued) {
        self.bytes += bytes_of(&queued);
        self.waiting.push_back(queued);
    }

    pub(super) fn begin(&mut self, content: Content) {
        self.stream = Some((Hasher::new(), 0));
        self.push(Queued::Begin(content));
    }

    pub(super) fn chunk(&mut self, bytes: Vec<u8>) {
        let Some((hasher, size)) = &mut self.stream else { return };
        if bytes.is_empty() {
            return;
        }
        hasher.update(&bytes);
        *size += bytes.len() as u64;
        let answer = self.pool.piece(bytes);
        self.push(Queued::Piece(answer));
    }

    pub(super) fn end(&mut self, ended: Ended) {
        if let Some((hasher, size)) = self.stream.take() {
            self.push(Queued::End(ended, Sha256::so_far(&hasher), size));
        }
    }

    pub(super) fn is_streaming(&self) -> bool {
        self.stream.is_some()
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes > BYTES_MAX || self.waiting.len() > THINGS_MAX
    }

    /// A full queue is emptied by half, so that this thread and those that pack take turns rarely.
    pub(super) fn is_half_empty(&self) -> bool {
        self.bytes <= BYTES_MAX / 2 && self.waiting.len() <= THINGS_MAX / 2
    }

    /// Bytes of content that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Things that wait.
    pub(super) fn len(&self) -> u64 {
        self.waiting.len() as u64
    }

    pub(super) fn pop(&mut self) -> Option<Queued> {
        let queued = self.waiting.pop_front()?;
        self.bytes -= bytes_of(&queued);
        Some(queued)
    }
}

/// Bytes of content that a thing in the queue keeps in memory.
fn bytes_of(queued: &Queued) -> usize {
    match queued {
        Queued::Whole(_, Answer::Waiting(ticket)) | Queued::Piece(Answer::Waiting(ticket)) => ticket.bytes(),
        _ => 0,
    }
}
