//! The host under examination: the running machine, or a tree that stands for one.
//!
//! Collectors name paths as the host knows them (`/etc/passwd`); [`Host`] knows where that is. Everything that comes
//! from here is bytes that an intruder may have chosen.

pub mod capabilities;
mod clock;
pub mod glob;
pub mod homes;
pub mod identity;
pub mod login_row;
pub mod meta;
pub mod mounts;
pub mod net_census;
pub mod net_sysctl;
pub mod netlink;
pub mod netns;
pub mod proc;
pub mod proc_net;
pub mod proc_net_state;
mod read;
pub mod regular;
pub mod rtnetlink;
pub mod sys;
pub mod text;
pub mod tokens;
pub mod utmp;
pub mod views;
pub mod walk;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use bundle::time::{Clock, Instant};
use rustix::fs::{Mode, OFlags};

pub use clock::{FixedClock, SystemClock};

/// A host. See the module.
pub struct Host {
    root: PathBuf,
    live: bool,
    clock: Box<dyn Clock + Send + Sync>,
    views: views::Views,
}

impl Host {
    /// The running machine.
    pub fn live() -> Self {
        Self { root: PathBuf::from("/"), live: true, clock: Box::new(SystemClock), views: views::Views::default() }
    }

    /// A tree that stands for a host, with a clock of its own.
    pub fn at(root: impl Into<PathBuf>, clock: impl Clock + Send + Sync + 'static) -> Self {
        Self { root: root.into(), live: false, clock: Box::new(clock), views: views::Views::default() }
    }

    /// True for the running machine: only then do system calls about processes and namespaces mean anything.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// The wall clock.
    pub fn now(&self) -> Instant {
        self.clock.realtime()
    }

    /// The clock of this host.
    pub fn clock(&self) -> &(dyn Clock + Send + Sync) {
        &*self.clock
    }

    /// Where a path of the host lies for this process.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        if self.live { path.to_owned() } else { self.root.join(path.strip_prefix("/").unwrap_or(path)) }
    }

    /// Opens a folder of the host.
    ///
    /// # Errors
    /// As open(2).
    pub fn dir(&self, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(rustix::fs::open(self.path(path), flags, Mode::empty())?)
    }

    /// Reads a small file of the kernel (`/proc`, `/sys`) or a small configuration file: at most `bytes_max` of it.
    /// Never blocks on a FIFO.
    ///
    /// # Errors
    /// As open(2) and read(2); `FileTooLarge` when there is more.
    pub fn read(&self, path: impl AsRef<Path>, bytes_max: u64) -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(rustix::fs::open(self.path(path), flags, Mode::empty())?);
        let mut bytes = Vec::new();
        file.take(bytes_max + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    /// The same as trimmed text, invalid UTF-8 replaced.
    ///
    /// # Errors
    /// As [`Host::read`].
    pub fn read_text(&self, path: impl AsRef<Path>, bytes_max: u64) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&self.read(path, bytes_max)?).trim_end().to_owned())
    }
}
