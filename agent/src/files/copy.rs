//! One found object into the bundle: its metadata, and its content when it is a regular file.
//!
//! Folders, FIFOs, sockets and devices are never opened for reading, and a link is its target's text. A regular file is
//! looked at before it is opened, after, and when it was read: what changed under the reading is said. A file that grows
//! is read to the size that it had when it was opened and at most [`GROWTH_BYTES_MAX`] on.

use std::collections::HashSet;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use bundle::item::{Kind, Meta, NewItem, Status};
use rustix::fs::{Advice, Statx};
use wire::ByteSize;
use wire::profile::Sensitive;

use super::digest::digest;
use super::own::OwnFiles;
use super::reader::{EXTENTS_MAX, Piece, Reader, extents};
use super::sensitive;
use crate::host::meta::{Type, add_target, add_xattrs, add_xattrs_at, inode_of, is_sparse, meta_of};
use crate::host::walk::{Entry, Missed};
use crate::run::session::{Ended, Session, Stopped, WHOLE_BYTES_MAX};

/// The most bytes of one file, when nobody says otherwise.
pub const FILE_BYTES_MAX: u64 = 1 << 30;
/// How far a file that grows is read past the size that it had.
pub const GROWTH_BYTES_MAX: u64 = 16 << 20;
/// Of a sparse file that is longer than this, only the data extents are read.
pub const SPARSE_BYTES_MIN: u64 = 1 << 30;
/// Files longer than this leave the page cache when they were read. DONTNEED drops what others may want to read again,
/// and what was there before us cannot be told cheaply: for small files, that many programs share, it is not worth it.
const UNCACHE_BYTES_MIN: u64 = 128 << 10;

/// The files whose other names are as sensitive as their own.
const SHADOWS: [&[u8]; 4] = [b"/etc/shadow", b"/etc/gshadow", b"/etc/shadow-", b"/etc/gshadow-"];

/// Hands over objects of one step.
pub struct Copier {
    file_bytes_max: u64,
    shadows: HashSet<(u64, u64)>,
    told_limits: HashSet<String>,
    own: OwnFiles,
}

impl Copier {
    /// For a step that takes at most `file_bytes_max` of a file; the limit that the profile sets the step may be lower.
    pub fn new(session: &Session, file_bytes_max: Option<u64>) -> Self {
        let of_step = session.file_bytes_max();
        let file_bytes_max = match (file_bytes_max, of_step) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b).unwrap_or(FILE_BYTES_MAX),
        };
        let host = session.host();
        let shadows = SHADOWS.iter().filter_map(|path| host.inode_at(path)).collect();
        Self { file_bytes_max, shadows, told_limits: HashSet::new(), own: OwnFiles::default() }
    }

    /// Hands an object over, once: a path that is in the bundle is passed over.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn hand_over(&mut self, session: &mut Session, entry: &Entry<'_>) -> Result<(), Stopped> {
        let is_new = match entry.hidden_under {
            None => session.is_new_path(entry.path),
            // A hidden object and the one that hides it have the same path and are two things.
            Some(point) => session.is_new_path(&[entry.path, b"\0", point].concat()),
        };
        if !is_new {
            return Ok(());
        }
        match entry.file_type() {
            Type::File => self.file(session, entry),
            Type::Link => link(session, entry),
            _ => {
                let mut item = item_of(session, entry, "stat", Status::MetaOnly);
                let mut meta = meta_of(entry.stat, Some(entry.view.mount()));
                add_xattrs_at(&mut meta, entry.folder, entry.name);
                item.meta = Some(Box::new(meta));
                session.note(item)
            }
        }
    }

    fn file(&mut self, session: &mut Session, entry: &Entry<'_>) -> Result<(), Stopped> {
        let item = item_of(session, entry, "read", Status::Ok);
        if self.own.holds(entry.stat, item.collected) {
            let mut item = item.with_meta(meta_of(entry.stat, Some(entry.view.mount()))).because("this run writes it");
            item.status = Status::Skipped;
            return session.note(item);
        }
        let left = session.content_bytes_left();
        if left == 0 && entry.stat.stx_size > 0 {
            let mut meta = meta_of(entry.stat, Some(entry.view.mount()));
            add_xattrs_at(&mut meta, entry.folder, entry.name);
            let rule = "bytes_max of the step or of the run is reached";
            let mut item = item.with_meta(meta).because(rule);
            item.status = Status::Skipped;
            session.note(item)?;
            return self.tell_limit(session, rule);
        }
        let opened = match open(entry) {
            Ok(opened) => opened,
            Err(error) => {
                let meta = meta_of(entry.stat, Some(entry.view.mount()));
                return session.note(item.with_meta(meta).failed(&error));
            }
        };
        let (opened, before) = opened;
        if Type::of(before.stx_mode) != Type::File {
            let mut item = item.because("it was replaced by something that is no regular file");
            item.status = Status::Vanished;
            return session.note(item);
        }
        let mut meta = meta_of(&before, Some(entry.view.mount()));
        add_xattrs(&mut meta, opened.as_fd());
        let source = Source { entry, opened: opened.as_fd(), before: &before };
        // Two classes may hold at once; each must be approved.
        let mut classes = self.classes(session, &source).into_iter().flatten();
        let mut item = item.with_meta(meta);
        if let Some(class) = classes.clone().find(|class| !session.is_approved(*class)) {
            return self.withhold(session, &source, item, class);
        }
        if let Some(class) = classes.next() {
            item = item.because(format!("sensitive: {}, approved by the order", class.name()));
        }
        if before.stx_nlink > 1 {
            item.inode = Some(inode_of(&before));
            if !session.is_new_inode(inode_of(&before)) {
                return session.note(item);
            }
        }
        self.content(session, &source, item, left)?;
        source.uncache();
        Ok(())
    }

    /// The classes that the content is of: by itself, and by what the profile says of the step.
    fn classes(&self, session: &Session, source: &Source<'_>) -> [Option<Sensitive>; 2] {
        let path = source.entry.path;
        let is_shadow = source.before.stx_nlink > 1 && self.shadows.contains(&inode_of(source.before));
        let by_place = if is_shadow { Some(Sensitive::PasswordHashes) } else { sensitive::by_path(path) };
        let by_itself = by_place.or_else(|| {
            let mut head = [0; sensitive::HEAD_BYTES];
            let length = if sensitive::needs_head(path) {
                rustix::io::pread(source.opened, &mut head[..], 0).unwrap_or(0)
            } else {
                0
            };
            sensitive::by_head(&head[..length])
        });
        [by_itself, session.sensitive()]
    }

    /// Leaves the content where it is and hands over its digest.
    fn withhold(
        &mut self,
        session: &mut Session,
        source: &Source<'_>,
        item: NewItem,
        class: Sensitive,
    ) -> Result<(), Stopped> {
        let mut item = item.because(format!("sensitive: {}", class.name()));
        item.status = Status::Redacted;
        let size = source.before.stx_size;
        if size > self.file_bytes_max {
            item = item.because(format!("sensitive: {}; longer than file_bytes_max, so not hashed", class.name()));
            return session.note(item);
        }
        let digested = digest(session, source.opened, size, size)?;
        if let Some(error) = digested.error {
            item.errno = Some(error.raw_os_error());
            item.error = Some(std::io::Error::from(error).to_string());
        } else if digested.sha256.is_some() {
            item.sha256 = digested.sha256;
            item.size = Some(digested.size);
        }
        source.uncache();
        session.note(item)
    }

    fn content(
        &mut self,
        session: &mut Session,
        source: &Source<'_>,
        mut item: NewItem,
        left: u64,
    ) -> Result<(), Stopped> {
        let size = source.before.stx_size;
        let bytes_max = self.file_bytes_max.min(left);
        let is_long_and_sparse = size > SPARSE_BYTES_MIN && is_sparse(source.before);
        let (ranges, is_cut) = if is_long_and_sparse {
            let (ranges, is_cut) = extents(source.opened, size, bytes_max);
            if let Some(meta) = &mut item.meta {
                meta.extents = Some(ranges.clone());
            }
            (ranges, is_cut)
        } else {
            let until = size.saturating_add(GROWTH_BYTES_MAX).min(bytes_max);
            (vec![(0, until)], size > bytes_max)
        };
        let cut = is_cut.then(|| {
            if ranges.len() >= EXTENTS_MAX {
                format!("it has more than {EXTENTS_MAX} data extents")
            } else if left < self.file_bytes_max {
                "bytes_max of the step or of the run is reached".to_owned()
            } else {
                format!("longer than file_bytes_max of {}", ByteSize(self.file_bytes_max))
            }
        });
        hand_over_content(session, source, item, &ranges, cut.clone())?;
        match cut {
            Some(rule) => self.tell_limit(session, &rule),
            None => Ok(()),
        }
    }

    fn tell_limit(&mut self, session: &mut Session, rule: &str) -> Result<(), Stopped> {
        if self.told_limits.insert(rule.to_owned()) {
            session.limited(rule)?;
        }
        Ok(())
    }
}

/// Notes what a walk did not walk.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn note_missed(session: &mut Session, path: &[u8], why: Missed) -> Result<(), Stopped> {
    let item = session.item(Kind::File, path, "walk", Status::Skipped);
    let item = match why {
        Missed::Error(error) => item.failed(&error),
        Missed::Rule(rule) => item.because(rule),
    };
    session.note(item)
}

/// A regular file that is open.
struct Source<'a> {
    entry: &'a Entry<'a>,
    opened: BorrowedFd<'a>,
    before: &'a Statx,
}

impl Source<'_> {
    /// What became of it since it was opened, and its metadata when they differ.
    fn after(&self) -> (Status, Option<Box<Meta>>) {
        let Ok(after) = self.entry.view.stat(self.opened, c"") else {
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
        (status, Some(Box::new(meta_of(&after, Some(self.entry.view.mount())))))
    }

    fn uncache(&self) {
        if self.before.stx_size > UNCACHE_BYTES_MIN {
            let _ = rustix::fs::fadvise(self.opened, 0, None, Advice::DontNeed);
        }
    }
}

fn item_of(session: &Session, entry: &Entry<'_>, method: &'static str, status: Status) -> NewItem {
    let item = session.item(Kind::File, entry.path, method, status);
    match entry.hidden_under {
        None => item,
        Some(_) => item.because("hidden under a mount"),
    }
}

fn open(entry: &Entry<'_>) -> std::io::Result<(OwnedFd, Statx)> {
    let opened = entry.view.open_file(entry.folder, entry.name)?;
    let before = entry.view.stat(opened.as_fd(), c"")?;
    Ok((opened, before))
}

fn link(session: &mut Session, entry: &Entry<'_>) -> Result<(), Stopped> {
    let item = item_of(session, entry, "readlink", Status::Ok);
    let mut meta = meta_of(entry.stat, Some(entry.view.mount()));
    add_xattrs_at(&mut meta, entry.folder, entry.name);
    match entry.view.read_link(entry.folder, entry.name) {
        Ok(target) => {
            add_target(&mut meta, &target);
            session.note(item.with_meta(meta))
        }
        Err(error) => session.note(item.with_meta(meta).failed(&error)),
    }
}

/// Hands over the bytes in `ranges`; `cut` is the rule that ends them early.
fn hand_over_content(
    session: &mut Session,
    source: &Source<'_>,
    mut item: NewItem,
    ranges: &[(u64, u64)],
    cut: Option<String>,
) -> Result<(), Stopped> {
    let size = source.before.stx_size;
    let mut reader = Reader::new(source.opened, size);
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
        let is_all = ended == Piece::End || piece.len() as u64 == *until;
        if is_all && reader.error_ranges.is_empty() {
            (item.status, item.meta_after) = source.after();
            if let Some(rule) = cut {
                item = item.because(rule);
                item.status = Status::Truncated;
            }
            return session.whole(item, piece);
        }
        session.begin(item)?;
        if ended == Piece::Full {
            let at = piece.len() as u64;
            session.chunk(piece)?;
            stream(session, &mut reader, &[(at, *until - at)])?;
        } else {
            session.chunk(piece)?;
        }
    } else {
        session.begin(item)?;
        stream(session, &mut reader, ranges)?;
    }
    let (status, meta_after) = source.after();
    let mut ended = Ended { meta_after, ..Ended::with(status) };
    if cut.is_some() {
        ended.status = Status::Truncated;
        ended.reason = cut;
    }
    if let Some(error) = reader.error {
        ended.status = Status::Error;
        ended.error = Some((error.raw_os_error(), std::io::Error::from(error).to_string()));
    } else if !reader.error_ranges.is_empty() {
        let eio = rustix::io::Errno::IO;
        ended.status = Status::Error;
        ended.error = Some((eio.raw_os_error(), std::io::Error::from(eio).to_string()));
    }
    ended.error_ranges = reader.error_ranges;
    session.end(ended)
}

fn stream(session: &mut Session, reader: &mut Reader<'_>, ranges: &[(u64, u64)]) -> Result<(), Stopped> {
    for (offset, length) in ranges {
        let mut done = 0;
        while done < *length {
            let mut piece = Vec::new();
            let ended = reader.read(session, offset + done, (length - done).min(WHOLE_BYTES_MAX), &mut piece)?;
            done += piece.len() as u64;
            if !piece.is_empty() {
                session.chunk(piece)?;
            }
            match ended {
                Piece::Full => {}
                Piece::End => break,
                Piece::Failed => return Ok(()),
            }
        }
    }
    Ok(())
}
