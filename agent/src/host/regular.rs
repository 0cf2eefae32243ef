//! Opening regular files without waking anything up.
//!
//! A log's name may have been given to a FIFO, to `/dev/watchdog` or to a tape: opening those for reading waits or acts.
//! So the name is first taken with `O_PATH`, which opens nothing, looked at, and only a regular file is then opened,
//! through the descriptor, so that nobody can exchange it in between (open(2), `O_PATH`).

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::Host;

/// What to do when the last component of a path is a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// Go where it points.
    Follow,
    /// Refuse with `ELOOP`.
    Refuse,
}

impl Host {
    /// Opens a regular file for reading, its access time left alone where the kernel allows it, and says what
    /// fstat(2) says of it.
    ///
    /// # Errors
    /// As open(2); `ELOOP` for a link that is refused; `InvalidInput` for what is not a regular file.
    pub fn open_regular(&self, path: impl AsRef<Path>, links: Links) -> io::Result<(File, Stat)> {
        let mut flags = OFlags::PATH;
        if links == Links::Refuse {
            flags |= OFlags::NOFOLLOW;
        }
        let found = self.open(path, flags)?;
        let stat = rustix::fs::fstat(&found)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Symlink => return Err(Errno::LOOP.into()),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
        }
        let again = fd_path(&found);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match rustix::fs::open(&again, flags | OFlags::NOATIME, Mode::empty()) {
            // Only the owner and CAP_FOWNER may leave the access time alone.
            Err(Errno::PERM) => rustix::fs::open(&again, flags, Mode::empty())?,
            opened => opened?,
        };
        Ok((File::from(file), stat))
    }
}

/// The name under which this process may open again what it already holds.
pub(crate) fn fd_path(held: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", held.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FixedClock;
    use bundle::time::Instant;
    use std::io::Read as _;

    #[test]
    fn only_regular_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", folder.path().join("link")).unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let host = Host::at(folder.path(), FixedClock(Instant(0)));

        let mut text = String::new();
        let (mut file, stat) = host.open_regular("/link", Links::Follow).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), stat.st_size), ("text", 4));
        let refused = host.open_regular("/link", Links::Refuse).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::LOOP.raw_os_error()));
        assert_eq!(host.open_regular("/fifo", Links::Refuse).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        // A link of an image leads nowhere outside of it.
        std::os::unix::fs::symlink(folder.path().join("file"), folder.path().join("out")).unwrap();
        assert_eq!(host.open_regular("/out", Links::Follow).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::os::unix::fs::symlink("/../../file", folder.path().join("in")).unwrap();
        assert_eq!(host.open_regular("/in", Links::Follow).unwrap().1.st_size, 4);
        assert_eq!(host.read_link("/in").unwrap(), b"/../../file");
        assert_eq!(host.open_regular("/none", Links::Refuse).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
