//! Hashing and compressing on all cores. Jobs are answered each on its own channel, so the writer takes the answers in
//! the order in which it asked.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use flate2::{Compress, Compression, FlushCompress};
use libdeflater::{CompressionLvl, Compressor};
use wire::Sha256;

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
    Whole(Vec<u8>, SyncSender<Packed>),
    Piece(Vec<u8>, SyncSender<Piece>),
}

/// The threads.
pub(super) struct Pool {
    jobs: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    pub(super) fn new() -> Self {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(THREADS_MAX);
        let (jobs, queue) = sync_channel(2 * THREADS_MAX);
        let queue = Arc::new(Mutex::new(queue));
        let threads = (0..count)
            .filter_map(|_| {
                let queue = Arc::clone(&queue);
                std::thread::Builder::new().name("pack".into()).spawn(move || work(&queue)).ok()
            })
            .collect();
        Self { jobs: Some(jobs), threads }
    }

    /// Has `content` packed.
    pub(super) fn whole(&self, content: Vec<u8>) -> Receiver<Packed> {
        let (answer, packed) = sync_channel(1);
        self.submit(Job::Whole(content, answer));
        packed
    }

    /// Has a piece of a longer content packed.
    pub(super) fn piece(&self, content: Vec<u8>) -> Receiver<Piece> {
        let (answer, piece) = sync_channel(1);
        self.submit(Job::Piece(content, answer));
        piece
    }

    /// With no thread to be had the work is done here, so that a host at its limit of threads still yields evidence.
    fn submit(&self, job: Job) {
        match &self.jobs {
            Some(jobs) if !self.threads.is_empty() => {
                let _ = jobs.send(job);
            }
            _ => run(job, &mut compressor(), &mut deflater()),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    let (mut compressor, mut deflater) = (compressor(), deflater());
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => run(job, &mut compressor, &mut deflater),
            Err(_) => return,
        }
    }
}

fn compressor() -> Compressor {
    // `CompressionLvl::fastest()` is level 0, which only stores.
    Compressor::new(CompressionLvl::new(1).unwrap_or_default())
}

fn deflater() -> Compress {
    Compress::new(Compression::fast(), false)
}

fn run(job: Job, compressor: &mut Compressor, deflater: &mut Compress) {
    match job {
        Job::Whole(content, answer) => {
            let _ = answer.send(pack(content, compressor));
        }
        Job::Piece(content, answer) => {
            let _ = answer.send(Piece { bytes: deflate_piece(&content, deflater), crc: crc_of(&content) });
        }
    }
}

fn crc_of(content: &[u8]) -> crc32fast::Hasher {
    let mut crc = crc32fast::Hasher::new();
    crc.update(content);
    crc
}

/// Deflated where that is shorter, as it is otherwise.
fn pack(content: Vec<u8>, compressor: &mut Compressor) -> Packed {
    let stored = stored(content);
    let content = &stored.bytes;
    // A room of the content's own size: what does not fit is not shorter, and libdeflate says so at once.
    let mut deflated = vec![0; content.len()];
    match compressor.deflate_compress(content, &mut deflated) {
        Ok(length) if length < content.len() => {
            deflated.truncate(length);
            Packed { bytes: deflated, method: Method::Deflate, ..stored }
        }
        _ => stored,
    }
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

    #[test]
    fn pieces_that_were_packed_apart_are_one_stream() {
        let pool = Pool::new();
        let text: Vec<u8> = (0..200_000u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
        let pieces: Vec<_> = text.chunks(100_001).map(|piece| pool.piece(piece.to_vec())).collect();
        let mut stream = Vec::new();
        let mut crc = crc32fast::Hasher::new();
        for piece in pieces {
            let piece = piece.recv().unwrap();
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
    fn what_does_not_shrink_is_stored() {
        let pool = Pool::new();
        let packed = pool.whole(vec![b'a'; 5000]).recv().unwrap();
        assert_eq!((packed.method, packed.size), (Method::Deflate, 5000));
        assert!(packed.bytes.len() < 100);
        let packed = pool.whole(b"{\"pid\":1}\n".repeat(90_000)).recv().unwrap();
        assert_eq!((packed.method, packed.size), (Method::Deflate, 900_000));
        let packed = pool.whole(b"ab".to_vec()).recv().unwrap();
        assert_eq!((packed.method, &packed.bytes[..]), (Method::Stored, &b"ab"[..]));
    }
}
