//! What waits of one bundle.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wire::agent_api::SPOOLED_BYTES_MAX;
use wire::{BundleId, Instant, OrderId};

use super::{Entry, Kind};
use crate::state::file;
use crate::transport::upload::Subject;

const FILE: &str = "about.json";
const BYTES_MAX: u64 = 64 << 10;

/// Whose bytes they are and why they wait: `about.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The bundle that this one stands beside, if it does.
    pub belongs_to: Option<BundleId>,
    /// The boot in which they began to wait, and the time since it then: a clock that is set does not age them.
    boot: Option<String>,
    boottime_ns: u64,
    /// The bundle.
    pub bundle: BundleId,
    /// The part of the run before this one.
    #[serde(default)]
    pub continues: Option<BundleId>,
    /// Why no more of it fitted in, once it did not.
    pub full: Option<String>,
    /// Its file name.
    pub name: String,
    /// The order, if there was one.
    pub order: Option<OrderId>,
    /// Why they wait.
    pub reason: String,
    /// Why the server does not take them, once it said so.
    pub refused: Option<String>,
    /// The key that signs its transport checkpoints.
    pub signer: String,
    /// Since when they wait.
    pub since: Instant,
    v: u32,
}

/// A moment, by both clocks.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The boot.
    pub boot: Option<String>,
    /// Nanoseconds since it.
    pub boottime_ns: u64,
    /// The wall clock.
    pub time: Instant,
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        use bundle::time::Clock as _;
        let clock = crate::host::SystemClock;
        let boot = file::get(Path::new("/proc/sys/kernel/random/boot_id"), 64).ok().flatten();
        let boot = boot.map(|boot| boot.trim().to_owned());
        Self { boot, boottime_ns: clock.boottime_ns(), time: clock.realtime() }
    }
}

impl About {
    /// Of a bundle that begins to wait now.
    pub fn new(subject: &Subject, reason: String, now: Moment) -> Self {
        let Subject { belongs_to, bundle, continues, name, order, signer } = subject.clone();
        let Moment { boot, boottime_ns, time: since } = now;
        let (full, refused, v) = (None, None, 1);
        Self { belongs_to, boot, boottime_ns, bundle, continues, full, name, order, reason, refused, signer, since, v }
    }

    /// What is told to the server of it.
    pub fn subject(&self) -> Subject {
        let Self { belongs_to, bundle, continues, name, order, signer, .. } = self.clone();
        Subject { belongs_to, bundle, continues, name, order, signer }
    }

    /// True when it has waited for longer than this.
    pub fn is_over(&self, age_secs_max: u64, now: &Moment) -> bool {
        let age_ns = if self.boot.is_some() && self.boot == now.boot {
            i128::from(now.boottime_ns.saturating_sub(self.boottime_ns))
        } else {
            now.time.0 - self.since.0
        };
        age_ns > i128::from(age_secs_max) * 1_000_000_000
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Whose.
    pub about: About,
    folder: PathBuf,
}

impl Waiting {
    pub(super) fn of(spool: &Path, about: About) -> Self {
        Self { folder: spool.join(about.bundle.to_string()), about }
    }

    /// What lies in `folder`; `None` when it says of no bundle.
    pub(super) fn open(folder: &Path) -> io::Result<Option<Self>> {
        let Some(text) = file::get(&folder.join(FILE), BYTES_MAX)? else { return Ok(None) };
        let about: About = serde_json::from_str(&text)?;
        Ok(Some(Self { about, folder: folder.to_owned() }))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn note(&self) -> io::Result<()> {
        file::put(&self.folder, FILE, &serde_json::to_vec(&self.about)?, true)
    }

    /// Writes down that the server does not take it.
    ///
    /// # Errors
    /// As the file system has them.
    pub fn refuse(&mut self, why: String) -> io::Result<()> {
        self.about.refused = Some(why);
        self.note()
    }

    /// Its pieces, in the order of the stream. What a crash left half written is none.
    ///
    /// # Errors
    /// As the file system has them.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let listed = match fs::read_dir(&self.folder) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut entries = Vec::new();
        for listed in listed {
            entries.extend(listed?.file_name().to_str().and_then(Entry::parse));
        }
        entries.sort_unstable();
        Ok(entries)
    }

    /// The file of a piece.
    ///
    /// # Errors
    /// As the file system has them; a file that is longer than it can be is one.
    pub fn read(&self, entry: Entry) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.folder.join(entry.name()))?.take(SPOOLED_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > SPOOLED_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than a file of the spool can be"));
        }
        Ok(bytes)
    }

    /// A receipt covers everything before `offset`: it need not wait any longer.
    ///
    /// # Errors
    /// As the file system has them.
    pub fn covered(&self, offset: u64) -> io::Result<()> {
        let covered = self.entries()?.into_iter().filter(|entry| entry.end() <= offset);
        // The checkpoint last: with it alone the server is asked for its receipt again, and that is all.
        let (lines, chunks): (Vec<_>, Vec<_>) = covered.partition(|entry| entry.kind == Kind::Line);
        for entry in chunks.into_iter().chain(lines) {
            fs::remove_file(self.folder.join(entry.name()))?;
        }
        Ok(())
    }

    /// Bytes of the bundle that wait.
    pub fn bytes(&self) -> u64 {
        let entries = self.entries().unwrap_or_default();
        entries.iter().map(|entry| entry.end() - entry.offset).sum()
    }

    /// Bytes on the disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum()
    }

    /// Ends the waiting: the server has it all, or it is too old.
    ///
    /// # Errors
    /// As the file system has them.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
