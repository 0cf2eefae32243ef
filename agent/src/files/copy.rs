//! One found object into the bundle: its metadata, and its content when it is a regular file.
//!
//! Folders, FIFOs, sockets and devices are never opened for reading, and a link is its target's text. A regular file is
//! looked at before it is opened, after, and when it was read: what changed under the reading is said. A file that grows
//! is read to the size that it had when it was opened and at most 16 MiB on.

use std::collections::HashSet;
use std::os::fd::{AsFd as _, OwnedFd};

use bundle::item::{Kind, NewItem, Status};
use rustix::fs::Statx;
use wire::ByteSize;
use wire::profile::Sensitive;

use super::content::Content;
use super::digest::digest;
use super::own::OwnFiles;
use super::reader::EXTENTS_MAX;
use super::sensitive;
use crate::host::meta::{Type, add_target, add_xattrs, add_xattrs_at, inode_of, meta_of};
use crate::host::walk::{Entry, Missed};
use crate::run::session::{Session, Stopped};

/// The most bytes of one file, when nobody says otherwise.
pub const FILE_BYTES_MAX: u64 = 1 << 30;
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

    /// At most `bytes_max` bytes of a regular file, for a parser; `None` when it is sensitive and neither the order nor
    /// the caller (`with_secrets`) lets it through, or when it is no regular file any more.
    ///
    /// # Errors
    /// As open(2) and read(2).
    pub fn peek(
        &self,
        session: &Session,
        entry: &Entry<'_>,
        bytes_max: u64,
        with_secrets: bool,
    ) -> std::io::Result<Option<Vec<u8>>> {
        use std::io::Read as _;
        let (opened, before) = open(entry)?;
        if Type::of(before.stx_mode) != Type::File {
            return Ok(None);
        }
        let source = Content { opened: opened.as_fd(), before: &before, mount: Some(entry.view.mount()) };
        let classes = self.classes(session, entry.path, &source);
        if !with_secrets && classes.into_iter().flatten().any(|class| !session.is_approved(class)) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        std::fs::File::from(opened).take(bytes_max).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
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
        let mount = Some(entry.view.mount());
        let source = Content { opened: opened.as_fd(), before: &before, mount };
        // Two classes may hold at once; each must be approved.
        let mut classes = self.classes(session, entry.path, &source).into_iter().flatten();
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
    fn classes(&self, session: &Session, path: &[u8], source: &Content<'_>) -> [Option<Sensitive>; 2] {
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
        source: &Content<'_>,
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
        source: &Content<'_>,
        mut item: NewItem,
        left: u64,
    ) -> Result<(), Stopped> {
        let bytes_max = self.file_bytes_max.min(left);
        let (ranges, is_cut) = source.ranges(bytes_max);
        if source.is_long_and_sparse()
            && let Some(meta) = &mut item.meta
        {
            meta.extents = Some(ranges.clone());
        }
        let cut = is_cut.then(|| {
            if ranges.len() >= EXTENTS_MAX {
                format!("it has more than {EXTENTS_MAX} data extents")
            } else if left < self.file_bytes_max {
                "bytes_max of the step or of the run is reached".to_owned()
            } else {
                format!("longer than file_bytes_max of {}", ByteSize(self.file_bytes_max))
            }
        });
        source.hand_over(session, item, &ranges, cut.clone(), None)?;
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

fn item_of(session: &Session, entry: &Entry<'_>, method: &'static str, status: Status) -> NewItem {
    let item = session.item(Kind::File, entry.path, method, status);
    match entry.hidden_under {
        None => item,
        Some(_) => item.because("hidden under a mount"),
    }
}

/// Opens what was found, and looks at it again: it may be another object by now.
///
/// # Errors
/// As openat2(2) and statx(2).
pub fn open(entry: &Entry<'_>) -> std::io::Result<(OwnedFd, Statx)> {
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
