//! The host under examination: the running machine, or a tree that stands for one.
//!
//! Collectors name paths as the host knows them (`/etc/passwd`); [`Host`] knows where that is. Everything that comes
//! from here is bytes that an intruder may have chosen: a link in an image leads where it leads in the image, never to
//! the machine that examines it.

pub mod audit;
pub mod audit_log;
pub mod block_file;
pub mod btf;
pub mod capabilities;
pub mod cgroup;
mod clock;
pub mod compressed;
pub mod elf_core;
pub mod executable;
pub mod file_capabilities;
pub mod freezer;
pub mod glob;
pub mod homes;
pub mod identity;
pub mod ids;
pub mod ini;
pub mod journal;
pub mod kcore;
mod kernel_fs;
pub mod kernel_part;
pub mod lines;
pub mod log_facts;
pub mod log_line;
pub mod login_row;
pub mod magic;
pub mod meta;
pub mod modules;
pub mod mounts;
pub mod namespaces;
pub mod net_census;
pub mod net_sysctl;
pub mod netlink;
pub mod netns;
pub mod nf;
pub mod packages;
pub mod proc;
pub mod proc_net;
pub mod proc_net_state;
mod read;
pub mod regular;
pub mod rtnetlink;
pub mod script_tokens;
pub mod shell_history;
pub mod sock_diag;
pub mod sqlite;
pub mod sys;
pub mod text;
pub mod tokens;
pub mod utmp;
pub mod views;
pub mod walk;
pub mod web_config;
pub mod web_request;
pub mod wireguard;
pub mod xfrm;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use bundle::time::{Clock, Instant};
use rustix::fs::{Mode, OFlags, ResolveFlags};

pub use clock::{FixedClock, SystemClock};

/// What kind of host it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The running machine.
    Live,
    /// The file system of a machine that does not run, mounted somewhere here.
    Image,
    /// A tree that stands for a host, in a test.
    Tree,
}

/// A host. See the module.
pub struct Host {
    root: PathBuf,
    kind: Kind,
    clock: Box<dyn Clock + Send + Sync>,
    views: views::Views,
}

impl Host {
    /// The running machine.
    pub fn live() -> Self {
        Self {
            root: PathBuf::from("/"),
            kind: Kind::Live,
            clock: Box::new(SystemClock),
            views: views::Views::default(),
        }
    }

    /// A file system that is mounted at `root`, with all that is mounted below it.
    ///
    /// # Errors
    /// When `root` is no folder that can be reached.
    pub fn image(root: impl AsRef<Path>) -> io::Result<Self> {
        let root = std::fs::canonicalize(root)?;
        if !root.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { root, kind: Kind::Image, clock: Box::new(SystemClock), views: views::Views::default() })
    }

    /// A tree that stands for a host, with a clock of its own.
    pub fn at(root: impl Into<PathBuf>, clock: impl Clock + Send + Sync + 'static) -> Self {
        Self { root: root.into(), kind: Kind::Tree, clock: Box::new(clock), views: views::Views::default() }
    }

    /// True for the running machine: only then do system calls about processes and namespaces mean anything.
    pub fn is_live(&self) -> bool {
        self.kind == Kind::Live
    }

    /// True for a mounted image: a tree with mounts of its own.
    pub fn is_image(&self) -> bool {
        self.kind == Kind::Image
    }

    /// The wall clock.
    pub fn now(&self) -> Instant {
        self.clock.realtime()
    }

    /// The clock of this host.
    pub fn clock(&self) -> &(dyn Clock + Send + Sync) {
        &*self.clock
    }

    /// Where a path of the host lies for this process. For what does not follow links only: see [`Host::open`].
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        if self.is_live() { path.to_owned() } else { self.root.join(path.strip_prefix("/").unwrap_or(path)) }
    }

    /// Opens what lies at a path of the host. Links lead where they lead on the host (openat2(2), `RESOLVE_IN_ROOT`).
    ///
    /// # Errors
    /// As open(2); for what is not the running machine also as openat2(2), which came with Linux 5.6.
    pub fn open(&self, path: impl AsRef<Path>, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        if self.is_live() {
            return Ok(rustix::fs::open(path.as_ref(), flags, Mode::empty())?);
        }
        let root = rustix::fs::open(&self.root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(rustix::fs::openat2(root, path.as_ref(), flags, Mode::empty(), resolve)?)
    }

    /// Where a symbolic link of the host points, as it is written in it.
    ///
    /// # Errors
    /// As readlink(2); `EINVAL` for what is no link.
    pub fn read_link(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        let link = self.open(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        Ok(rustix::fs::readlinkat(link, c"", Vec::new())?.into_bytes())
    }

    /// Opens a folder of the host.
    ///
    /// # Errors
    /// As [`Host::open`].
    pub fn dir(&self, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK)
    }

    /// Reads a small file of the kernel (`/proc`, `/sys`) or a small configuration file: at most `bytes_max` of it.
    /// Never blocks on a FIFO.
    ///
    /// # Errors
    /// As [`Host::open`] and read(2); `FileTooLarge` when there is more.
    pub fn read(&self, path: impl AsRef<Path>, bytes_max: u64) -> io::Result<Vec<u8>> {
        let file = File::from(self.open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?);
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
