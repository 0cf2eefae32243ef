//! The digest of an open file, and its content into the bundle at the same time when it is to be kept.

use std::os::fd::BorrowedFd;

use bundle::item::{NewItem, Status};
use sha2::Digest as _;
use wire::{ByteSize, Sha256};

use super::reader::{Piece, Reader};
use crate::run::session::{Ended, Session, Stopped, WHOLE_BYTES_MAX};

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
    read(session, file, size, bytes_max, |_, piece| {
        piece.clear();
        Ok(())
    })
}

/// The same, and hands the content over as `item`.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn keep(
    session: &mut Session,
    file: BorrowedFd<'_>,
    size: u64,
    bytes_max: u64,
    mut item: NewItem,
) -> Result<Digested, Stopped> {
    let reason = (size > bytes_max).then(|| format!("longer than {}", ByteSize(bytes_max)));
    if size <= WHOLE_BYTES_MAX && reason.is_none() {
        let mut content = Vec::new();
        let digested = read(session, file, size, bytes_max, |_, piece| {
            content.append(piece);
            Ok(())
        })?;
        if let Some(error) = digested.error {
            item = item.failed(&error.into());
        } else if digested.sha256.is_none() {
            item = item.failed(&rustix::io::Errno::IO.into());
        }
        session.whole(item, content)?;
        return Ok(digested);
    }
    session.begin(item)?;
    let digested = read(session, file, size, bytes_max, |session, piece| session.chunk(std::mem::take(piece)))?;
    let mut ended = Ended::with(if reason.is_some() { Status::Truncated } else { Status::Ok });
    ended.reason = reason;
    if let Some(error) = digested.error {
        ended.status = Status::Error;
        ended.error = Some((error.raw_os_error(), std::io::Error::from(error).to_string()));
    }
    session.end(ended)?;
    Ok(digested)
}

fn read(
    session: &mut Session,
    file: BorrowedFd<'_>,
    size: u64,
    bytes_max: u64,
    mut take: impl FnMut(&mut Session, &mut Vec<u8>) -> Result<(), Stopped>,
) -> Result<Digested, Stopped> {
    let mut reader = Reader::new(file, size);
    let mut hasher = sha2::Sha256::new();
    let mut piece = Vec::new();
    let mut done = 0;
    let until = size.min(bytes_max);
    while done < until {
        let ended = reader.read(session, done, (until - done).min(WHOLE_BYTES_MAX), &mut piece)?;
        hasher.update(&piece);
        done += piece.len() as u64;
        if !piece.is_empty() {
            take(session, &mut piece)?;
        }
        if ended != Piece::Full {
            break;
        }
    }
    let is_whole = reader.error.is_none() && reader.error_ranges.is_empty() && until == size;
    Ok(Digested { sha256: is_whole.then(|| Sha256(hasher.finalize().into())), size: done, error: reader.error })
}
