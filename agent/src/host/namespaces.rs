//! Namespaces of every type (namespaces(7)): their links, how one is opened, and how something is done inside.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::regular::fd_path;
use super::tokens::bracketed;

/// The types, as their links are called.
pub const TYPES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// Type and inode of what a link of a namespace says: `uts:[4026531838]`.
pub fn named(link: &[u8]) -> Option<(&'static str, u64)> {
    TYPES.iter().find_map(|kind| bracketed(link, kind.as_bytes()).map(|inode| (*kind, inode)))
}

/// Opens the namespace with that inode at `path`: a link of procfs or a bind mount. The name is first taken with
/// `O_PATH`, so that nothing else is opened when something was put in its place. A bind mount's descriptor shows the
/// mount point and not the namespace, so that the file system and the inode decide; inodes of nsfs are given once.
///
/// # Errors
/// As open(2); `ESTALE` when there is another namespace, or something else.
pub fn open(path: &[u8], inode: u64) -> io::Result<OwnedFd> {
    let found = rustix::fs::open(std::ffi::OsStr::from_bytes(path), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    // A FUSE daemon or a server is not asked for what may have been mounted there.
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let is = rustix::fs::statx(&found, c"", flags, StatxFlags::INO)?;
    let nsfs = rustix::fs::statx(CWD, c"/proc/self/ns/mnt", AtFlags::STATX_DONT_SYNC, StatxFlags::INO)?;
    if (is.stx_dev_major, is.stx_dev_minor, is.stx_ino) != (nsfs.stx_dev_major, nsfs.stx_dev_minor, inode) {
        return Err(Errno::STALE.into());
    }
    Ok(rustix::fs::open(fd_path(&found), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Runs `work` on a thread of its own that has entered `namespace` (setns(2)). Entering changes a thread for good, and
/// so it ends afterwards; what was opened inside stays bound to the namespace.
///
/// # Errors
/// As setns(2).
pub fn inside<T: Send>(namespace: &OwnedFd, kind: LinkNameSpaceType, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("namespace".to_owned());
        let thread = thread.spawn_scoped(scope, move || {
            move_into_link_name_space(namespace.as_fd(), Some(kind))?;
            Ok(work())
        })?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace failed")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_namespaces() {
        assert_eq!(named(b"uts:[4026531838]"), Some(("uts", 4_026_531_838)));
        for other in [&b"socket:[7]"[..], b"/tmp/uts:[7]", b"uts:[x]", b"time_for_children:[7]", b""] {
            assert_eq!(named(other), None);
        }
    }

    #[test]
    fn only_the_namespace_that_was_meant_is_opened() {
        let link = rustix::fs::readlink("/proc/self/ns/uts", Vec::new()).unwrap();
        let (_, inode) = named(link.as_bytes()).unwrap();
        assert!(open(b"/proc/self/ns/uts", inode).is_ok());
        let stale = open(b"/proc/self/ns/uts", inode + 1).unwrap_err();
        assert_eq!(stale.raw_os_error(), Some(Errno::STALE.raw_os_error()));
        assert!(open(b"/proc/self/ns/net", inode).is_err());
        // A file with the right inode on another file system is none.
        let file = tempfile::NamedTempFile::new().unwrap();
        let inode = rustix::fs::fstat(file.as_file()).unwrap().st_ino;
        assert!(open(file.path().as_os_str().as_bytes(), inode).is_err());
    }
}
