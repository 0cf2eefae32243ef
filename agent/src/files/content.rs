//! The content of an open file into the bundle: bounded, sparse or not, and what changed under the reading is said.

use std::os::fd::BorrowedFd;

use bundle::item::{Meta, NewItem, Status};
use rustix::fs::Statx;
use rustix::io::Errno;
use sha2::Digest as _;

use super::digest::uncache;
use super::reader::{Piece, Reader, extents};
use crate::host::meta::{is_sparse, meta_of};
use crate::host::mounts::Mount;
use crate::host::views::stat;
use crate::run::session::{Ended, Session, Stopped, WHOLE_BYTES_MAX};

/// How far a file that grows is read past the size that it had.
pub const GROWTH_BYTES_MAX: u64 = 16 << 20;
/// Of a sparse file that is longer than this, only the data extents are read.
pub const SPARSE_BYTES_MIN: u64 = 1 << 30;

/// A regular file that is open.
pub struct Content<'a> {
    /// Open for reading.
    pub opened: BorrowedFd<'a>,
    /// What statx(2) said when it was opened.
    pub before: &'a Statx,
    /// The mount that it was reached through, where one is known.
    pub mount: Option<&'a Mount>,
}

/// What came of handing it over.
#[derive(Clone, Copy, Debug)]
pub struct HandedOver {
    /// Bytes that are in the bundle.
    pub bytes: u64,
    /// What stands in the item.
    pub status: Status,
    /// What ended the reading early.
    pub error: Option<Errno>,
}

impl Content<'_> {
    /// True when only its data extents are read.
    pub fn is_long_and_sparse(&self) -> bool {
        self.before.stx_size > SPARSE_BYTES_MIN && is_sparse(self.before)
    }

    /// The ranges that are read, `[offset, length]`, at most `bytes_max` of them; true when that leaves something out.
    pub fn ranges(&self, bytes_max: u64) -> (Vec<(u64, u64)>, bool) {
        let size = self.before.stx_size;
        if self.is_long_and_sparse() {
            return extents(self.opened, size, bytes_max);
        }
        let until = size.saturating_add(GROWTH_BYTES_MAX).min(bytes_max);
        (vec![(0, until)], size > bytes_max)
    }

    /// What became of it since it was opened, and its metadata when they differ.
    pub fn after(&self) -> (Status, Option<Box<Meta>>) {
        let Ok(after) = stat(self.opened, c"") else {
            return (Status::Ok, None);
        };
        let before = self.before;
        let facts = |stat: &Statx| {
            let times = [stat.stx_mtime, stat.stx_ctime].map(|time| (time.tv_sec, time.tv_nsec));
            (times, stat.stx_mode, stat.stx_uid, stat.stx_gid)
        };
        let status = if after.stx_size > before.stx_size {
            Status::Grew
        } else if after.stx_size < before.stx_size {
            Status::Shrank
        } else if facts(before) != facts(&after) {
            Status::Changed
        } else {
            return (Status::Ok, None);
        };
        (status, Some(Box::new(meta_of(&after, self.mount))))
    }

    /// Lets the page cache forget it, if it is long.
    pub fn uncache(&self) {
        uncache(self.opened, self.before.stx_size);
    }

    /// Hands over the bytes in `ranges`; `cut` is the rule that ends them early. `digest` is fed with what is handed
    /// over, for those who need it before the bundle has it.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn hand_over(
        &self,
        session: &mut Session,
        mut item: NewItem,
        ranges: &[(u64, u64)],
        cut: Option<String>,
        mut digest: Option<&mut sha2::Sha256>,
    ) -> Result<HandedOver, Stopped> {
        let size = self.before.stx_size;
        let mut reader = Reader::new(self.opened, size);
        let mut bytes = 0;
        if let [(0, until)] = ranges
            && size < WHOLE_BYTES_MAX
        {
            let mut piece = Vec::new();
            // One byte more than there should be: the read that meets the end of the file is then the only one.
            let first = (size + 1).min(*until);
            let mut ended = reader.read(session, 0, first, &mut piece)?;
            let has_more = ended == Piece::Full && first < *until;
            if has_more {
                let more = (*until).min(WHOLE_BYTES_MAX) - first;
                ended = reader.read(session, first, more, &mut piece)?;
            }
            bytes += piece.len() as u64;
            if let Some(digest) = &mut digest {
                digest.update(&piece);
            }
            let is_all = ended == Piece::End || piece.len() as u64 == *until;
            if is_all && reader.error_ranges.is_empty() {
                (item.status, item.meta_after) = self.after();
                if let Some(rule) = cut {
                    item = item.because(rule);
                    item.status = Status::Truncated;
                }
                let status = item.status;
                session.whole(item, piece)?;
                return Ok(HandedOver { bytes, status, error: None });
            }
            session.begin(item)?;
            session.chunk(piece)?;
            if ended == Piece::Full {
                bytes += stream(session, &mut reader, &[(bytes, *until - bytes)], &mut digest)?;
            }
        } else {
            session.begin(item)?;
            bytes += stream(session, &mut reader, ranges, &mut digest)?;
        }
        let (status, meta_after) = self.after();
        let mut ended = Ended { meta_after, ..Ended::with(status) };
        if cut.is_some() {
            ended.status = Status::Truncated;
            ended.reason = cut;
        }
        let error = reader.error.or((!reader.error_ranges.is_empty()).then_some(Errno::IO));
        if let Some(error) = error {
            ended.status = Status::Error;
            ended.error = Some((error.raw_os_error(), std::io::Error::from(error).to_string()));
        }
        ended.error_ranges = reader.error_ranges;
        let status = ended.status;
        session.end(ended)?;
        Ok(HandedOver { bytes, status, error })
    }
}

fn stream(
    session: &mut Session,
    reader: &mut Reader<'_>,
    ranges: &[(u64, u64)],
    digest: &mut Option<&mut sha2::Sha256>,
) -> Result<u64, Stopped> {
    let mut bytes = 0;
    for (offset, length) in ranges {
        let mut done = 0;
        while done < *length {
            let mut piece = Vec::new();
            let ended = reader.read(session, offset + done, (length - done).min(WHOLE_BYTES_MAX), &mut piece)?;
            done += piece.len() as u64;
            bytes += piece.len() as u64;
            if !piece.is_empty() {
                if let Some(digest) = digest {
                    digest.update(&piece);
                }
                session.chunk(piece)?;
            }
            match ended {
                Piece::Full => {}
                Piece::End => break,
                Piece::Failed => return Ok(bytes),
            }
        }
    }
    Ok(bytes)
}
