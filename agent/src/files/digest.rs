//! The digest of an open file that is not kept.

use std::os::fd::BorrowedFd;

use sha2::Digest as _;
use wire::Sha256;

use super::reader::{Piece, Reader};
use crate::run::session::{Session, Stopped, WHOLE_BYTES_MAX};

/// What was read.
#[derive(Clone, Copy, Debug)]
pub struct Digested {
    /// Digest of all of it; `None` when a part could not be read, or a limit left one out.
    pub sha256: Option<Sha256>,
    /// Bytes that were read.
    pub size: u64,
    /// What ended the reading early.
    pub error: Option<rustix::io::Errno>,
}

/// Reads a file that has `size` bytes, at most `bytes_max` of them, and only digests them.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn digest(session: &mut Session, file: BorrowedFd<'_>, size: u64, bytes_max: u64) -> Result<Digested, Stopped> {
    let mut reader = Reader::new(file, size);
    let mut hasher = sha2::Sha256::new();
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
    Ok(Digested { sha256: is_whole.then(|| Sha256(hasher.finalize().into())), size: done, error: reader.error })
}
