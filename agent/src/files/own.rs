//! The files that this process writes: its bundle, its stream of checkpoints. A run that took its own bundle into its
//! bundle would feed itself.
//!
//! They are asked of our own descriptors rather than of whoever opened them, so that none can be forgotten.

use std::collections::HashSet;
use std::os::fd::{AsFd as _, BorrowedFd};

use bundle::time::Instant;
use rustix::fs::{Mode, OFlags, Statx};

use crate::host::meta::{Type, inode_of, nanoseconds};
use crate::host::proc::numbers;
use crate::host::views::stat;

/// Knows the inodes that this process has open for writing.
#[derive(Debug, Default)]
pub(super) struct OwnFiles {
    inodes: HashSet<(u64, u64)>,
    asked_at: Option<Instant>,
}

impl OwnFiles {
    /// True when this process writes the file. Only a file that changed since our descriptors were asked last can be a
    /// new one of ours, so they are asked again only for those.
    pub(super) fn holds(&mut self, found: &Statx, now: Instant) -> bool {
        let changed = nanoseconds(found.stx_mtime).max(nanoseconds(found.stx_ctime));
        if self.asked_at.is_none_or(|asked_at| changed >= asked_at.0) {
            self.inodes = written();
            // The times of files are those of the last tick, up to 10 ms ago.
            self.asked_at = Some(Instant(now.0 - 1_000_000_000));
        }
        self.inodes.contains(&inode_of(found))
    }
}

fn written() -> HashSet<(u64, u64)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(folder) = rustix::fs::open("/proc/self/fd", flags, Mode::empty()) else { return HashSet::new() };
    let mut open = Vec::new();
    let _ = numbers(folder.as_fd(), &mut open);
    open.iter().filter_map(|number| inode_written(folder.as_fd(), *number)).collect()
}

/// The inode behind a descriptor, if it is a regular file that is open for writing. `fdinfo` would say so too; the
/// permissions of the link are one call: `w` stands for write (proc_pid_fd(5)).
fn inode_written(folder: BorrowedFd<'_>, number: u32) -> Option<(u64, u64)> {
    let name = std::ffi::CString::new(number.to_string()).ok()?;
    let link = stat(folder, &name).ok()?;
    if link.stx_mode & 0o200 == 0 {
        return None;
    }
    let target = crate::host::proc::statx_behind(folder, &name).ok()?;
    (Type::of(target.stx_mode) == Type::File).then(|| inode_of(&target))
}
