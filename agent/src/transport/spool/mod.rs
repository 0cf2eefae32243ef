//! What cannot be sent now waits on this host's disk: encrypted to the server, bounded, the oldest first.
//!
//! `<state>/spool/<bundle>/` holds `about.json` and the pieces of the bundle's stream ([`Entry`]). Only ciphertext, signed
//! digests and what the server is told anyway come to lie there: this host cannot read its own evidence back, and has no
//! key that could. A piece has its name when all of it is on the medium, and loses it when a receipt covers it.
//!
//! Nothing that is kept makes room for what comes later: the first evidence is worth most.

mod entry;
mod waiting;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use age::x25519::Recipient;
use wire::ByteSize;

use crate::state::file;
pub use entry::{Entry, Kind};
pub use waiting::{About, Moment, Waiting};

/// A server that stays away for longer than this has what is collected go into the spool: a restart is shorter.
const AFTER_SECS: u64 = 10;
/// Names another time, for tests.
const AFTER_VARIABLE: &str = "HOLDFAST_SPOOL_AFTER_SECS";
/// In the state folder.
const FOLDER: &str = "spool";
/// Without a word from the policy, the spool takes this much …
const BYTES_MAX: u64 = 2 << 30;
/// … and no more than this part of what is free on its disk.
const FREE_PART: u64 = 10;
/// age adds 16 bytes to each 64 KiB.
const AGE_PART: usize = (64 << 10) / 16;
/// What a transport checkpoint takes, and age's header: each chunk leaves room for its own checkpoint, which is let in
/// whatever is there.
const LINE_BYTES: u64 = 4 << 10;

/// See the module. Written by one run at a time, which may make two bundles.
#[derive(Debug)]
pub struct Spool {
    /// How long the server may stay away before anything is put here.
    pub after: Duration,
    folder: PathBuf,
    recipient: Recipient,
    bytes_max: Option<u64>,
    writing: Mutex<()>,
}

/// A piece that the spool does not take.
#[derive(Debug, thiserror::Error)]
pub enum NoRoom {
    /// What is there leaves no room for it.
    #[error("the spool is full: it holds {held} of at most {max}")]
    Full {
        /// Bytes in it.
        held: ByteSize,
        /// Its bound.
        max: ByteSize,
    },
    /// The disk is full, or broken.
    #[error("the spool cannot be written")]
    Io(#[from] io::Error),
}

impl Spool {
    /// The spool in a state folder, to this recipient (`age1…`). `bytes_max` is what the policy says; without a word from
    /// it, 2 GiB or a tenth of what is free, whichever is less.
    ///
    /// # Errors
    /// A sentence, for a recipient that is none.
    pub fn new(state: &Path, recipient: &str, bytes_max: Option<u64>) -> Result<Self, &'static str> {
        let recipient = recipient.parse()?;
        let named = std::env::var(AFTER_VARIABLE).ok().and_then(|secs| secs.parse().ok());
        let after = Duration::from_secs(named.unwrap_or(AFTER_SECS));
        Ok(Self { after, folder: state.join(FOLDER), recipient, bytes_max, writing: Mutex::default() })
    }

    /// Keeps a piece of a bundle. It is on the medium when this returns.
    ///
    /// # Errors
    /// [`NoRoom`]; nothing of it is there then.
    pub fn put(&self, about: &About, entry: Entry, content: &[u8]) -> Result<(), NoRoom> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = Waiting::of(&self.folder, about.clone());
        self.begin(&waiting)?;
        let sealed;
        let bytes = match entry.kind {
            Kind::Line => content,
            Kind::Chunk { .. } => {
                self.check_room((content.len() + content.len() / AGE_PART) as u64 + LINE_BYTES)?;
                sealed = age::encrypt(&self.recipient, content).map_err(io::Error::other)?;
                &sealed
            }
        };
        Ok(file::put(waiting.folder(), &entry.name(), bytes, true)?)
    }

    /// Writes down that no more fitted in, or that it does again.
    ///
    /// # Errors
    /// As the file system has them.
    pub fn note(&self, about: &About) -> io::Result<()> {
        let waiting = Waiting::of(&self.folder, about.clone());
        if waiting.folder().is_dir() { waiting.note() } else { Ok(()) }
    }

    /// What waits of this bundle.
    pub fn waiting(&self, about: &About) -> Waiting {
        Waiting::of(&self.folder, about.clone())
    }

    fn begin(&self, waiting: &Waiting) -> io::Result<()> {
        if waiting.folder().is_dir() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(waiting.folder())?;
        waiting.note()?;
        fs::File::open(&self.folder)?.sync_all()
    }

    fn check_room(&self, more: u64) -> Result<(), NoRoom> {
        let held: u64 = all(&self.folder)?.iter().map(Waiting::disk_bytes).sum();
        let max = match self.bytes_max {
            Some(max) => max,
            None => {
                let there = rustix::fs::statvfs(&self.folder).map_err(io::Error::from)?;
                let free = there.f_bavail.saturating_mul(there.f_frsize);
                BYTES_MAX.min(free.saturating_add(held) / FREE_PART)
            }
        };
        if held.saturating_add(more) > max {
            return Err(NoRoom::Full { held: ByteSize(held), max: ByteSize(max) });
        }
        Ok(())
    }
}

/// Everything that waits in a state folder, the oldest first. What is no spool of ours is left alone.
pub fn waiting_in(state: &Path) -> Vec<Waiting> {
    match all(&state.join(FOLDER)) {
        Ok(waiting) => waiting,
        Err(error) => {
            tracing::error!(%error, "the spool cannot be read");
            Vec::new()
        }
    }
}

fn all(folder: &Path) -> io::Result<Vec<Waiting>> {
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut waiting = Vec::new();
    for folder in listed {
        let folder = folder?.path();
        match Waiting::open(&folder) {
            Ok(Some(there)) => waiting.push(there),
            Ok(None) => {}
            Err(error) => tracing::error!(folder = %folder.display(), %error, "this part of the spool cannot be read"),
        }
    }
    waiting.sort_by_key(|waiting| (waiting.about.since, waiting.about.bundle));
    Ok(waiting)
}

#[cfg(test)]
mod tests;
