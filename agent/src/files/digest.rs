//! The digest of an open file that is not kept.

use std::os::fd::BorrowedFd;

use rustix::fs::Advice;
use rustix::io::Errno;
use wire::Sha256;

use super::reader::{Piece, Reader};
use crate::host::packages::{self, Algorithm};
use crate::run::session::{Session, Stopped, WHOLE_BYTES_MAX};

/// Files longer than this leave the page cache when they were read. DONTNEED drops what others may want to read again,
/// and what was there before us cannot be told cheaply: for small files, that many programs share, it is not worth it.
const UNCACHE_BYTES_MIN: u64 = 128 << 10;

/// The bytes of a digest.
type Bytes = Box<[u8]>;

/// What was read.
#[derive(Clone, Copy, Debug)]
pub struct Digested {
    /// Digest of all of it; `None` when a part could not be read, or a limit left one out.
    pub sha256: Option<Sha256>,
    /// Bytes that were read.
    pub size: u64,
    /// What ended the reading early.
    pub error: Option<Errno>,
}

/// Reads a file that has `size` bytes, at most `bytes_max` of them, and only digests them.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn digest(session: &mut Session, file: BorrowedFd<'_>, size: u64, bytes_max: u64) -> Result<Digested, Stopped> {
    let mut reader = Reader::new(file, size);
    let (bytes, size) = read::<sha2::Sha256>(session, &mut reader, size, bytes_max)?;
    let sha256 = bytes.and_then(|bytes| Some(Sha256(<[u8; 32]>::try_from(&*bytes).ok()?)));
    Ok(Digested { sha256, size, error: reader.error })
}

/// The digest by another algorithm, as the database of a package has it; `None` when a part could not be read, or a
/// limit left one out.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn digest_by(
    session: &mut Session,
    file: BorrowedFd<'_>,
    size: u64,
    bytes_max: u64,
    algorithm: Algorithm,
) -> Result<(Option<packages::Digest>, Option<Errno>), Stopped> {
    let mut reader = Reader::new(file, size);
    let (bytes, _) = match algorithm {
        Algorithm::Md5 => read::<md5::Md5>(session, &mut reader, size, bytes_max),
        Algorithm::Sha1 => read::<sha1::Sha1>(session, &mut reader, size, bytes_max),
        Algorithm::Sha256 => read::<sha2::Sha256>(session, &mut reader, size, bytes_max),
        Algorithm::Sha512 => read::<sha2::Sha512>(session, &mut reader, size, bytes_max),
    }?;
    Ok((bytes.map(|bytes| packages::Digest { algorithm, bytes }), reader.error))
}

/// The digest of all of it, if all could be read, and how much was.
fn read<D: sha2::Digest>(
    session: &mut Session,
    reader: &mut Reader<'_>,
    size: u64,
    bytes_max: u64,
) -> Result<(Option<Bytes>, u64), Stopped> {
    let mut hasher = D::new();
    let mut piece = Vec::new();
    let mut done = 0;
    let until = size.min(bytes_max);
    while done < until {
        let ended = reader.read(session, done, (until - done).min(WHOLE_BYTES_MAX), &mut piece)?;
        hasher.update(&piece);
        done += piece.len() as u64;
        piece.clear();
        if ended != Piece::Full {
            break;
        }
    }
    let is_whole = reader.error.is_none() && reader.error_ranges.is_empty() && until == size;
    Ok((is_whole.then(|| hasher.finalize().as_slice().into()), done))
}

/// Lets a file that was read leave the page cache, if it is long: a walk over all programs would fill it with what
/// nobody asked for. Pages that somebody maps stay.
pub fn uncache(file: BorrowedFd<'_>, size: u64) {
    if size > UNCACHE_BYTES_MIN {
        let _ = rustix::fs::fadvise(file, 0, None, Advice::DontNeed);
    }
}
