//! Hashing and compressing on all cores.
//!
//! Each worker answers in the order in which it was asked, and each job remembers its worker: so the writer takes the
//! answers in the order of its questions, without a lock and without a channel for each of them.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use flate2::{Compress, Compression, FlushCompress};
use libdeflater::{CompressionLvl, Compressor};
use wire::Sha256;

use super::WHOLE_BYTES_MAX;
use crate::zip::Method;

/// No machine gains from more: the thread that hashes the stream is then the bound.
const THREADS_MAX: usize = 8;

/// Content that was hashed and compressed.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    pub(super) method: Method,
    pub(super) crc32: u32,
    pub(super) sha256: Sha256,
    pub(super) size: u64,
}

/// A piece of a longer content: raw deflate, ending on a byte without a final block.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    pub(super) crc: crc32fast::Hasher,
}

enum Job {
    Whole(Vec<u8>),
    Piece(Vec<u8>),
}

/// The answer to a job.
pub(super) enum Done {
    Whole(Packed),
    Piece(Piece),
}

/// A job that was handed in: which worker has it, and how much it is.
pub(super) struct Ticket {
    worker: usize,
    bytes: usize,
}

impl Ticket {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// An answer, or the right to one.
pub(super) enum Answer {
    Ready(Done),
    Waiting(Ticket),
}

struct Worker {
    jobs: Option<Sender<Job>>,
    answers: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
    /// Bytes of the jobs that were not taken back.
    bytes: usize,
}

/// The workers.
pub(super) struct Pool {
    workers: Vec<Worker>,
}

impl Pool {
    pub(super) fn new() -> Self {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(THREADS_MAX);
        Self { workers: (0..count).filter_map(|_| Worker::start()).collect() }
    }

    /// Has `content` packed.
    pub(super) fn whole(&mut self, content: Vec<u8>) -> Answer {
        let bytes = content.len();
        self.submit(Job::Whole(content), bytes)
    }

    /// Has a piece of a longer content packed.
    pub(super) fn piece(&mut self, content: Vec<u8>) -> Answer {
        let bytes = content.len();
        self.submit(Job::Piece(content), bytes)
    }

    /// The worker with the least to do gets it. With no thread to be had the work is done here, so that a host at its
    /// limit of threads still yields evidence.
    fn submit(&mut self, job: Job, bytes: usize) -> Answer {
        let idlest = self.workers.iter_mut().enumerate().min_by_key(|(_, worker)| worker.bytes);
        let Some((worker, there)) = idlest else { return Answer::Ready(Packer::new().run(job)) };
        there.bytes += bytes;
        if let Some(jobs) = &there.jobs {
            // A worker that is gone does not answer either: the writer then learns it.
            let _ = jobs.send(job);
        }
        Answer::Waiting(Ticket { worker, bytes })
    }

    /// Waits for an answer. They must be taken in the order in which they were asked for. `None` when the worker is gone.
    pub(super) fn take(&mut self, answer: Answer) -> Option<Done> {
        match answer {
            Answer::Ready(done) => Some(done),
            Answer::Waiting(ticket) => {
                let worker = self.workers.get_mut(ticket.worker)?;
                worker.bytes = worker.bytes.saturating_sub(ticket.bytes);
                worker.answers.recv().ok()
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.jobs = None;
        }
        for worker in &mut self.workers {
            let _ = worker.thread.take().map(JoinHandle::join);
        }
    }
}

impl Worker {
    fn start() -> Option<Self> {
        let (jobs, inbox) = channel();
        let (outbox, answers) = channel();
        let work = move || {
            let mut packer = Packer::new();
            while let Ok(job) = inbox.recv() {
                if outbox.send(packer.run(job)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("pack".into()).spawn(work).ok()?;
        Some(Self { jobs: Some(jobs), answers, thread: Some(thread), bytes: 0 })
    }
}

/// What a worker works with.
struct Packer {
    compressor: Compressor,
    deflater: Compress,
    /// Compressed bytes on their way: their length is known only afterwards, and touching new memory costs more than
    /// copying them.
    room: Vec<u8>,
}

impl Packer {
    fn new() -> Self {
        Self {
            // `CompressionLvl::fastest()` is level 0, which only stores.
            compressor: Compressor::new(CompressionLvl::new(1).unwrap_or_default()),
            deflater: Compress::new(Compression::fast(), false),
            room: vec![0; WHOLE_BYTES_MAX],
        }
    }

    fn run(&mut self, job: Job) -> Done {
        match job {
            Job::Whole(content) => Done::Whole(self.pack(content)),
            Job::Piece(content) => {
                let crc = crc_of(&content);
                let shrinks = self.shrinks(&content);
                let bytes = if shrinks { deflate_piece(&content, &mut self.deflater) } else { as_it_is(&content) };
                Done::Piece(Piece { bytes, crc })
            }
        }
    }

    /// Deflated where that is shorter, as it is otherwise.
    fn pack(&mut self, content: Vec<u8>) -> Packed {
        let stored = stored(content);
        // A room of the content's own size: what does not fit is not shorter, and libdeflate says so at once.
        let length = stored.bytes.len().min(self.room.len());
        match self.compressor.deflate_compress(&stored.bytes, &mut self.room[..length]) {
            Ok(length) if length < stored.bytes.len() => {
                Packed { bytes: self.room[..length].to_vec(), method: Method::Deflate, ..stored }
            }
            _ => stored,
        }
    }

    /// True when a piece is worth compressing, judged by a sample from its middle: archives, media and ciphertext are
    /// not, and cost zlib the most time.
    fn shrinks(&mut self, content: &[u8]) -> bool {
        const SAMPLE_BYTES: usize = 32 << 10;
        let start = content.len().saturating_sub(SAMPLE_BYTES) / 2;
        let sample = &content[start..content.len().min(start + SAMPLE_BYTES)];
        let room = &mut self.room[..sample.len() - sample.len() / 32];
        self.compressor.deflate_compress(sample, room).is_ok()
    }
}

fn crc_of(content: &[u8]) -> crc32fast::Hasher {
    let mut crc = crc32fast::Hasher::new();
    crc.update(content);
    crc
}

/// Content that is stored as it is.
pub(super) fn stored(content: Vec<u8>) -> Packed {
    Packed {
        method: Method::Stored,
        crc32: crc_of(&content).finalize(),
        sha256: Sha256::of(&content),
        size: content.len() as u64,
        bytes: content,
    }
}

/// Stored blocks (RFC 1951, 3.2.4), none of them final. They begin on a byte, as every piece does.
fn as_it_is(content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(content.len() + content.len() / 0xffff * 5 + 5);
    for block in content.chunks(0xffff) {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        bytes.push(0);
        bytes.extend(length.to_le_bytes());
        bytes.extend((!length).to_le_bytes());
        bytes.extend(block);
    }
    bytes
}

/// Blocks that end on a byte (`Z_SYNC_FLUSH`), so that the pieces of one content, compressed apart, are one stream when
/// they stand one behind the other. The last piece is followed by [`LAST_BLOCK`].
fn deflate_piece(content: &[u8], deflater: &mut Compress) -> Vec<u8> {
    deflater.reset();
    let mut bytes = Vec::with_capacity(content.len() / 2 + 1024);
    loop {
        let read = usize::try_from(deflater.total_in()).unwrap_or(usize::MAX);
        let rest = content.get(read..).unwrap_or_default();
        let room = bytes.capacity() - bytes.len();
        let _ = deflater.compress_vec(rest, &mut bytes, FlushCompress::Sync);
        // Room left over means that everything, the flush included, is out.
        if bytes.len() < bytes.capacity() && deflater.total_in() == content.len() as u64 {
            return bytes;
        }
        bytes.reserve(room.max(64 << 10));
    }
}

/// An empty final block of fixed Huffman codes: BFINAL 1, BTYPE 01, end of block.
pub(super) const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn whole(pool: &mut Pool, content: &[u8]) -> Packed {
        let answer = pool.whole(content.to_vec());
        match pool.take(answer) {
            Some(Done::Whole(packed)) => packed,
            _ => panic!("no answer"),
        }
    }

    fn piece(pool: &mut Pool, content: &[u8]) -> Piece {
        let answer = pool.piece(content.to_vec());
        match pool.take(answer) {
            Some(Done::Piece(piece)) => piece,
            _ => panic!("no answer"),
        }
    }

    #[test]
    fn pieces_that_were_packed_apart_are_one_stream() {
        let mut pool = Pool::new();
        let text: Vec<u8> = (0..200_000u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
        let pieces: Vec<_> = text.chunks(100_001).map(|piece| pool.piece(piece.to_vec())).collect();
        let mut stream = Vec::new();
        let mut crc = crc32fast::Hasher::new();
        for piece in pieces {
            let Some(Done::Piece(piece)) = pool.take(piece) else { panic!("no answer") };
            stream.extend(piece.bytes);
            crc.combine(&piece.crc);
        }
        stream.extend(LAST_BLOCK);
        let mut again = Vec::new();
        flate2::read::DeflateDecoder::new(&stream[..]).read_to_end(&mut again).unwrap();
        assert_eq!(again, text);
        assert_eq!(crc.finalize(), crc32fast::hash(&text));
    }

    #[test]
    fn pieces_that_do_not_shrink_are_stored_in_the_stream() {
        let mut pool = Pool::new();
        // A linear congruential generator: bytes that no compressor shortens.
        let noise: Vec<u8> = (0..300_000)
            .scan(1u32, |state, _| {
                *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                Some(state.to_be_bytes()[0])
            })
            .collect();
        let text = b"evidence ".repeat(10_000);
        let mut stream = piece(&mut pool, &noise).bytes;
        assert_eq!(stream.len(), noise.len() + 5 * 5);
        stream.extend(piece(&mut pool, &text).bytes);
        stream.extend(LAST_BLOCK);
        let mut again = Vec::new();
        flate2::read::DeflateDecoder::new(&stream[..]).read_to_end(&mut again).unwrap();
        assert_eq!(again, [noise, text].concat());
    }

    #[test]
    fn what_does_not_shrink_is_stored() {
        let mut pool = Pool::new();
        let packed = whole(&mut pool, &[b'a'; 5000]);
        assert_eq!((packed.method, packed.size), (Method::Deflate, 5000));
        assert!(packed.bytes.len() < 100);
        let packed = whole(&mut pool, &b"{\"pid\":1}\n".repeat(90_000));
        assert_eq!((packed.method, packed.size), (Method::Deflate, 900_000));
        let packed = whole(&mut pool, b"ab");
        assert_eq!((packed.method, &packed.bytes[..]), (Method::Stored, &b"ab"[..]));
    }
}
