//! Content of an open file, in pieces: bad blocks stand as zeros and are listed, holes can be left out.

use std::os::fd::BorrowedFd;

use rustix::buffer::spare_capacity;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::run::session::{Session, Stopped, WHOLE_BYTES_MAX};

/// What a disk reports as unreadable is tried again in blocks of this size, so that a bad one costs no more than itself.
const BLOCK_BYTES: u64 = 4096;
/// More unreadable ranges than this in one file, and it is given up.
const ERROR_RANGES_MAX: usize = 1000;
/// More data extents than this in one file, and the rest is left out.
pub(super) const EXTENTS_MAX: usize = 65_536;

/// How a piece ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// As long as it was asked for.
    Full,
    /// The file ends here.
    End,
    /// An error ended it; [`Reader::error`] says which.
    Failed,
}

/// Reads one file. Positions are its own: the descriptor's is not moved.
pub(super) struct Reader<'a> {
    file: BorrowedFd<'a>,
    size: u64,
    /// Ranges that could not be read and stand as zeros: offset in the content as it is handed over, and length.
    pub(super) error_ranges: Vec<(u64, u64)>,
    /// What ended the reading.
    pub(super) error: Option<Errno>,
    handed_over: u64,
}

impl<'a> Reader<'a> {
    /// A reader of a file that had `size` bytes when it was opened.
    pub(super) fn new(file: BorrowedFd<'a>, size: u64) -> Self {
        Self { file, size, error_ranges: Vec::new(), error: None, handed_over: 0 }
    }

    /// Appends to `piece` what is at `offset`, at most `bytes` (of which one call asks for at most 1 MiB).
    pub(super) fn read(
        &mut self,
        session: &mut Session,
        offset: u64,
        bytes: u64,
        piece: &mut Vec<u8>,
    ) -> Result<Piece, Stopped> {
        let start = piece.len() as u64;
        let end = offset.saturating_add(bytes);
        piece.reserve_exact(usize::try_from(bytes.min(WHOLE_BYTES_MAX)).unwrap_or(0));
        let mut block_until = 0;
        let outcome = loop {
            let at = offset + (piece.len() as u64 - start);
            if at >= end {
                break Piece::Full;
            }
            let mut wanted = (end - at).min(WHOLE_BYTES_MAX);
            if at < block_until {
                wanted = wanted.min(BLOCK_BYTES - at % BLOCK_BYTES);
            }
            session.spend(wanted.min(self.size.saturating_sub(at)))?;
            match self.append(piece, at, wanted) {
                Ok(0) => break Piece::End,
                // On a local file system less than asked for is the end of the file, unless the size says otherwise.
                Ok(got) if got < wanted && at + got >= self.size && at >= block_until => break Piece::End,
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::IO) if at >= block_until => block_until = at + WHOLE_BYTES_MAX,
                Err(Errno::IO) if at < self.size && self.error_ranges.len() < ERROR_RANGES_MAX => {
                    let lost = wanted.min(self.size - at);
                    self.lose(self.handed_over + (piece.len() as u64 - start), lost);
                    piece.resize(piece.len() + usize::try_from(lost).unwrap_or(0), 0);
                }
                Err(error) => {
                    self.error = Some(error);
                    break Piece::Failed;
                }
            }
        };
        self.handed_over += piece.len() as u64 - start;
        Ok(outcome)
    }

    fn append(&self, piece: &mut Vec<u8>, at: u64, wanted: u64) -> rustix::io::Result<u64> {
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let before = piece.len();
        if wanted <= 4096 {
            // Not into the spare capacity, which is longer: a block that is good must not fail with the next one.
            let mut block = [0; 4096];
            let got = rustix::io::pread(self.file, &mut block[..wanted], at)?;
            piece.extend_from_slice(&block[..got]);
        } else {
            piece.reserve_exact(wanted);
            rustix::io::pread(self.file, spare_capacity(piece), at)?;
            piece.truncate(before + wanted);
        }
        Ok((piece.len() - before) as u64)
    }

    fn lose(&mut self, at: u64, bytes: u64) {
        match self.error_ranges.last_mut() {
            Some((offset, length)) if *offset + *length == at => *length += bytes,
            _ => self.error_ranges.push((at, bytes)),
        }
    }
}

/// The data extents of a file, `[offset, length]`, at most [`EXTENTS_MAX`] of them and `bytes_max` bytes; true when
/// there are more.
pub(super) fn extents(file: BorrowedFd<'_>, size: u64, bytes_max: u64) -> (Vec<(u64, u64)>, bool) {
    let mut extents = Vec::new();
    let mut total = 0;
    let mut at = 0;
    while at < size {
        // ENXIO: nothing but a hole from here on.
        let Ok(data) = rustix::fs::seek(file, SeekFrom::Data(at)) else { break };
        if data >= size {
            break;
        }
        let hole = rustix::fs::seek(file, SeekFrom::Hole(data)).unwrap_or(size).min(size);
        let length = hole.saturating_sub(data).max(1);
        if extents.len() >= EXTENTS_MAX || total >= bytes_max {
            return (extents, true);
        }
        let kept = length.min(bytes_max - total);
        extents.push((data, kept));
        total += kept;
        if kept < length {
            return (extents, true);
        }
        at = data + length;
    }
    (extents, false)
}
