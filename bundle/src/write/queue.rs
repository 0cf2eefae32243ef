//! What waits to be written, in order: entries whose content is being packed, folders, notes.

use std::collections::VecDeque;
use std::sync::mpsc::Receiver;

use sha2::{Digest as _, Sha256 as Hasher};
use wire::Sha256;

use super::Ended;
use super::pool::{Packed, Piece, Pool};
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

/// Packed content, or the promise of it.
pub(super) enum Answer<T> {
    Ready(T),
    Waiting(Receiver<T>, usize),
}

impl<T> Answer<T> {
    /// Waits for it. `None` when the thread that packed it is gone.
    pub(super) fn take(self) -> Option<T> {
        match self {
            Self::Ready(packed) => Some(packed),
            Self::Waiting(answer, _) => answer.recv().ok(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Ready(_) => 0,
            Self::Waiting(_, bytes) => *bytes,
        }
    }
}

/// One thing in the queue.
pub(super) enum Queued {
    Folder(String),
    Note(Box<NewItem>),
    Whole(Content, Answer<Packed>),
    Begin(Content),
    Piece(Answer<Piece>),
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

    pub(super) fn pack(&self, content: Vec<u8>) -> Answer<Packed> {
        let bytes = content.len();
        Answer::Waiting(self.pool.whole(content), bytes)
    }

    pub(super) fn push(&mut self, queued: Queued) {
        self.bytes += match &queued {
            Queued::Whole(_, answer) => answer.bytes(),
            Queued::Piece(answer) => answer.bytes(),
            _ => 0,
        };
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
        let length = bytes.len();
        let answer = Answer::Waiting(self.pool.piece(bytes), length);
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

    /// Things that wait.
    pub(super) fn len(&self) -> u64 {
        self.waiting.len() as u64
    }

    pub(super) fn pop(&mut self) -> Option<Queued> {
        let queued = self.waiting.pop_front()?;
        self.bytes -= match &queued {
            Queued::Whole(_, answer) => answer.bytes(),
            Queued::Piece(answer) => answer.bytes(),
            _ => 0,
        };
        Some(queued)
    }
}
