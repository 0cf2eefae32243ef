//! Files that have no name any more, kept once whoever finds them: a deleted image is held by its process, by an open
//! descriptor and by mappings, and the same payload often lies in several memfds.
//!
//! What is read through one holder and is in the bundle is not read again through another. A file of the size of one
//! that is in the bundle is digested first, and stored only when its content is another.

use std::os::fd::{AsFd as _, OwnedFd};

use bundle::item::{NewItem, Status};
use rustix::fs::Statx;
use wire::{ByteSize, Sha256};

use super::content::Content;
use super::digest::digest;
use super::reader::EXTENTS_MAX;
use super::sensitive;
use crate::host::meta::inode_of;
use crate::run::session::{KeptFile, Session, Stopped};

/// The rule of a run whose content is all used up.
pub const NO_ROOM: &str = "bytes_max of the step or of the run is reached";

/// What came of a file without a name.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Data extents that are stored, where holes were left out.
    pub extents: Option<usize>,
    /// Why all of it is not in the bundle.
    pub not_read: Option<String>,
    /// Digest of the whole file.
    pub sha256: Option<Sha256>,
    /// What was seen of it while it was read.
    pub status: Status,
    /// The entry that holds it.
    pub stored: Option<String>,
}

impl Outcome {
    /// What is in the bundle already.
    pub fn of(kept: KeptFile) -> Self {
        let not_read = kept.sha256.is_none().then(|| "not all of it is stored; its item says why".to_owned());
        Self { extents: None, not_read, sha256: kept.sha256, status: Status::Ok, stored: Some(kept.stored) }
    }
}

/// A file in a name that sorts and cannot be chosen by whoever made it: device and inode.
pub fn inode_name(stat: &Statx) -> String {
    format!("{}-{}-{}", stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino)
}

/// Hands over what `opened` is, as `item` and into the entry `name`, unless the bundle has it.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn keep(
    session: &mut Session,
    opened: &OwnedFd,
    stat: &Statx,
    bytes_max: u64,
    (mut item, name): (NewItem, &str),
) -> Result<Outcome, Stopped> {
    let (inode, size) = (inode_of(stat), stat.stx_size);
    let content = Content { opened: opened.as_fd(), before: stat, mount: None };
    let left = session.content_bytes_left();
    let class = class_of(session, &item.path, &content);
    if let Some(class) = class.filter(|class| !session.is_approved(*class)) {
        let rule = format!("sensitive: {}", class.name());
        return only_digest(session, &content, bytes_max, item.because(rule.as_str()), Status::Redacted, rule);
    }
    if session.has_kept_of_size(size) && !content.is_long_and_sparse() && size <= bytes_max {
        let digested = digest(session, content.opened, size, bytes_max)?;
        if let Some(kept) = digested.sha256.and_then(|sha256| session.kept_content(sha256)) {
            let (sha256, stored) = (kept.sha256, kept.stored.clone());
            (item.sha256, item.size) = (sha256, Some(size));
            let item = item.because(format!("the same content is stored as {stored}"));
            session.note(item)?;
            session.keep(inode, kept);
            return Ok(Outcome { extents: None, not_read: None, sha256, status: Status::Ok, stored: Some(stored) });
        }
    }
    let (ranges, is_cut) = content.ranges(bytes_max);
    let wanted =
        if content.is_long_and_sparse() { ranges.iter().map(|range| range.1).sum() } else { size.min(bytes_max) };
    if wanted > left {
        session.limited(NO_ROOM)?;
        return only_digest(session, &content, bytes_max, item.because(NO_ROOM), Status::Skipped, NO_ROOM.to_owned());
    }
    let are_extents = content.is_long_and_sparse();
    if are_extents && let Some(meta) = &mut item.meta {
        meta.extents = Some(ranges.clone());
    }
    let cut = is_cut.then(|| {
        if ranges.len() >= EXTENTS_MAX {
            format!("it has more than {EXTENTS_MAX} data extents")
        } else {
            format!("longer than {}", ByteSize(bytes_max))
        }
    });
    if let Some(rule) = &cut {
        session.limited(rule.as_str())?;
    }
    let stored = session.take_name(name);
    let mut hasher = sha2::Sha256::default();
    let item = item.stored_as(stored.as_str());
    let handed = content.hand_over(session, item, &ranges, cut.clone(), Some(&mut hasher))?;
    let is_whole = !are_extents && cut.is_none() && handed.error.is_none();
    let sha256 = is_whole.then(|| Sha256::so_far(&hasher));
    session.keep(inode, KeptFile { sha256, size: handed.bytes, stored: stored.clone() });
    let not_read = cut.or_else(|| handed.error.map(|error| std::io::Error::from(error).to_string()));
    let extents = are_extents.then_some(ranges.len());
    Ok(Outcome { extents, not_read, sha256, status: handed.status, stored: Some(stored) })
}

fn class_of(session: &Session, path: &[u8], content: &Content<'_>) -> Option<wire::profile::Sensitive> {
    let name = crate::host::proc::deleted(path).0;
    let by_itself = sensitive::by_path(name).or_else(|| {
        let mut head = [0; sensitive::HEAD_BYTES];
        let length = if sensitive::needs_head(name) {
            rustix::io::pread(content.opened, &mut head[..], 0).unwrap_or(0)
        } else {
            0
        };
        sensitive::by_head(&head[..length])
    });
    by_itself.or_else(|| session.sensitive())
}

/// Leaves the content where it is, and hands over its digest.
fn only_digest(
    session: &mut Session,
    content: &Content<'_>,
    bytes_max: u64,
    mut item: NewItem,
    status: Status,
    rule: String,
) -> Result<Outcome, Stopped> {
    let size = content.before.stx_size;
    item.status = status;
    if !content.is_long_and_sparse() && size <= bytes_max {
        let digested = digest(session, content.opened, size, size)?;
        (item.sha256, item.size) = (digested.sha256, digested.sha256.map(|_| digested.size));
    }
    let sha256 = item.sha256;
    session.note(item)?;
    Ok(Outcome { extents: None, not_read: Some(rule), sha256, status, stored: None })
}
