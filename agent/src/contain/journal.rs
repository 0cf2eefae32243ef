//! The containments of this host on its disk: `<state>/contain/journal/ID.json` while one is under way or holds,
//! `<state>/contain/done/ID.json` afterwards, until all of it was told.
//!
//! Each change is written by rename and fsync before the effect that it speaks of. Every change is made under
//! `<state>/contain/lock`, by the daemon, the console and the keeper alike; reading needs no lock.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::containment::{Action, ContainmentEvent, Endpoint, ReleaseCause};
use wire::{Instant, OrderId};

use super::lease::Lease;
use crate::state::file;

/// Containments that are under way at the same time.
pub const LIVE_MAX: usize = 64;
/// Those that are over and still remembered.
const DONE_MAX: usize = 64;
const ENTRY_BYTES_MAX: u64 = 4 << 20;
/// Events of one containment that wait to be told; the oldest but the first ones go.
const UNTOLD_MAX: usize = 256;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wish {
    /// What.
    pub action: Action,
    /// By whom.
    pub by: By,
    /// For how long, in seconds.
    pub lease_secs: u64,
    /// When it turns out not to hold.
    #[serde(default)]
    pub on_invalid: Otherwise,
    /// When the lease ends.
    #[serde(default)]
    pub on_lease_end: Otherwise,
    /// What policy says that this host is for others: goes into the preview.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Every address of the servers that this host is enrolled at, resolved beforehand; none where it is not enrolled.
    #[serde(default)]
    pub servers: Vec<Endpoint>,
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// An order; the containment's id is the order's.
    Order,
    /// Root at the host; the containment's id was made there.
    Console,
}

/// What happens when a containment may not or does not hold any longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// The host is as before.
    #[default]
    Restore,
    /// The host stays contained until somebody releases it.
    StayClosed,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing is planned yet.
    Asked,
    /// Planned; effects have begun, or may have.
    Applying,
    /// It holds.
    Applied,
    /// It is being taken back.
    Releasing,
    /// Over: taken back.
    Released,
    /// Over: it could not be done, and was taken back as far as it was done.
    Failed,
}

impl Phase {
    /// Nothing happens any more.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Released | Self::Failed)
    }
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Nothing was done.
    Planned,
    /// It may be done, or half of it.
    Applying,
    /// Done.
    Applied,
    /// It may be taken back, or half of it.
    Undoing,
    /// Taken back.
    Undone,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The action's own: what to do, and how to undo it.
    pub data: Value,
    /// How far it is.
    pub state: StepState,
}

/// Something that the server is to be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Untold {
    /// What.
    pub event: ContainmentEvent,
    /// When.
    pub time: Instant,
}

/// One containment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was applied first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Instant>,
    /// Why it is being taken back, once it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<ReleaseCause>,
    /// Why it could not be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// See [`super::Plan::fallbacks`].
    #[serde(default)]
    pub fallbacks: Vec<String>,
    /// Whether it held when it was last looked at; `None` before.
    #[serde(default)]
    pub holds: Option<bool>,
    /// Its id.
    pub id: OrderId,
    /// What somebody changed meanwhile and was left so.
    #[serde(default)]
    pub left: Vec<String>,
    /// The lease is over, and the host stays closed as policy says.
    #[serde(default)]
    pub is_overdue: bool,
    /// From applying on.
    #[serde(default)]
    pub lease: Option<Lease>,
    /// How far it is.
    pub phase: Phase,
    /// What is done, in order.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// What happened and was not yet heard, in order.
    #[serde(default)]
    pub untold: Vec<Untold>,
    /// 1.
    pub v: u32,
    /// What was asked for.
    pub wish: Wish,
}

impl Entry {
    /// One of which only the wish is known.
    pub fn new(id: OrderId, wish: Wish) -> Self {
        Self {
            applied: None,
            cause: None,
            failure: None,
            fallbacks: Vec::new(),
            holds: None,
            id,
            is_overdue: false,
            left: Vec::new(),
            lease: None,
            phase: Phase::Asked,
            steps: Vec::new(),
            untold: Vec::new(),
            v: 1,
            wish,
        }
    }

    /// Notes what happened.
    pub fn tell(&mut self, event: ContainmentEvent, time: Instant) {
        if self.untold.len() >= UNTOLD_MAX {
            // How it began stays; of what repeats, the oldest goes.
            self.untold.remove(UNTOLD_MAX / 2);
        }
        self.untold.push(Untold { event, time });
    }
}

/// A journal that cannot be used. Nothing is done then: it could not be undone.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file of it cannot be read or written.
    #[error("{} cannot be used", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of it is damaged.
    #[error("{} is no containment", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// There is no such containment.
    #[error("there is no containment {0} on this host")]
    Unknown(OrderId),
    /// There is one of this id already.
    #[error("there is a containment {0} on this host already")]
    Double(OrderId),
    /// Too many at the same time.
    #[error("{LIVE_MAX} containments are under way on this host, and no more are taken")]
    Full,
}

/// The journal of a state folder.
pub struct Journal {
    folder: PathBuf,
    /// Called before and after each write: where a test ends the process.
    pub(super) seam: Box<dyn Fn() + Send + Sync>,
}

/// Held around every change, until it is dropped.
#[must_use]
pub struct Held(#[expect(dead_code, reason = "the kernel lets go of the lock when it is closed")] File);

impl Journal {
    /// Opens the journal, with its folders made.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn open(state: &Path) -> Result<Self, JournalError> {
        let folder = state.join("contain");
        for part in ["journal", "done"] {
            let path = folder.join(part);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            let is_ours = made.and_then(|()| check_ours(&folder)).and_then(|()| check_ours(&path));
            is_ours.map_err(|source| JournalError::Io { path, source })?;
        }
        Ok(Self { folder, seam: seam() })
    }

    /// The folder of those that are under way.
    pub fn live(&self) -> PathBuf {
        self.folder.join("journal")
    }

    fn done(&self) -> PathBuf {
        self.folder.join("done")
    }

    /// Waits until nobody else changes anything.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn hold(&self) -> Result<Held, JournalError> {
        let path = self.folder.join("lock");
        let locked = File::create(&path).and_then(|lock| {
            flock(&lock, FlockOperation::LockExclusive)?;
            Ok(lock)
        });
        locked.map(Held).map_err(|source| JournalError::Io { path, source })
    }

    /// Begins one. Under [`Journal::hold`].
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn begin(&self, entry: &Entry, _held: &Held) -> Result<(), JournalError> {
        if ids(&self.live())?.len() >= LIVE_MAX {
            return Err(JournalError::Full);
        }
        if self.find(entry.id)?.is_some() {
            return Err(JournalError::Double(entry.id));
        }
        self.put(&self.live(), entry)
    }

    /// Writes one that is under way; one that is over leaves the folder of those that are. Under [`Journal::hold`].
    ///
    /// # Errors
    /// [`JournalError::Io`]: the medium then holds the state before.
    pub fn write(&self, entry: &Entry, held: &Held) -> Result<(), JournalError> {
        let name = file_name(entry.id);
        if self.done().join(&name).exists() {
            return self.put(&self.done(), entry);
        }
        self.put(&self.live(), entry)?;
        self.settle(entry, held)
    }

    /// Takes one that is over out of the folder of those that are under way, where a kill left it there. Under
    /// [`Journal::hold`].
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn settle(&self, entry: &Entry, _held: &Held) -> Result<(), JournalError> {
        let name = file_name(entry.id);
        let (from, to) = (self.live().join(&name), self.done().join(&name));
        if entry.phase.is_over() && from.exists() {
            let moved = fs::rename(&from, &to).and_then(|()| File::open(self.done())?.sync_all());
            moved.map_err(|source| JournalError::Io { path: from, source })?;
            self.forget();
        }
        Ok(())
    }

    fn put(&self, folder: &Path, entry: &Entry) -> Result<(), JournalError> {
        let name = file_name(entry.id);
        (self.seam)();
        let bytes = serde_json::to_vec(entry).map_err(io::Error::other);
        let put = bytes.and_then(|bytes| file::put(folder, &name, &bytes, true));
        put.map_err(|source| JournalError::Io { path: folder.join(name), source })?;
        (self.seam)();
        Ok(())
    }

    /// The one of that id, whether it is over or not.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn find(&self, id: OrderId) -> Result<Option<Entry>, JournalError> {
        // Those under way first: one that ends between the two looks is then found among those that are over.
        for folder in [self.live(), self.done()] {
            if let Some(entry) = read(&folder.join(file_name(id)))? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Those that are under way, in the order of their ids. One that cannot be read is an error beside the others.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn under_way(&self) -> Result<Vec<Result<Entry, JournalError>>, JournalError> {
        Ok(Self::all_in(&self.live())?.collect())
    }

    /// Those that are over and not forgotten.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn over(&self) -> Result<Vec<Entry>, JournalError> {
        Ok(Self::all_in(&self.done())?.filter_map(Result::ok).collect())
    }

    fn all_in(folder: &Path) -> Result<impl Iterator<Item = Result<Entry, JournalError>>, JournalError> {
        let ids = ids(folder)?;
        let folder = folder.to_owned();
        Ok(ids.into_iter().filter_map(move |id| read(&folder.join(file_name(id))).transpose()))
    }

    /// Of those that are over: first what is told, then the oldest.
    fn forget(&self) {
        let Ok(mut over) = self.over() else { return };
        over.sort_by_key(|entry| (!entry.untold.is_empty(), entry.id));
        for entry in over.iter().take(over.len().saturating_sub(DONE_MAX)) {
            let _ = fs::remove_file(self.done().join(file_name(entry.id)));
        }
    }
}

fn ids(folder: &Path) -> Result<Vec<OrderId>, JournalError> {
    let io = |source| JournalError::Io { path: folder.to_owned(), source };
    let mut ids = Vec::new();
    for found in fs::read_dir(folder).map_err(io)? {
        let name = found.map_err(io)?.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(".json"));
        ids.extend(id.and_then(|id| id.parse::<OrderId>().ok()));
    }
    ids.sort_unstable();
    Ok(ids)
}

/// Whoever could write here could have root do what it likes.
fn check_ours(folder: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(folder)?;
    let (uid, mode) = (meta.uid(), meta.mode() & 0o7777);
    if meta.is_dir() && uid == rustix::process::geteuid().as_raw() && mode & 0o022 == 0 {
        return Ok(());
    }
    let what = format!("others may change it (owner {uid}, mode {mode:o})");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
}

fn file_name(id: OrderId) -> String {
    format!("{id}.json")
}

fn read(path: &Path) -> Result<Option<Entry>, JournalError> {
    let text = file::get(path, ENTRY_BYTES_MAX);
    let text = text.map_err(|source| JournalError::Io { path: path.to_owned(), source })?;
    let entry = text.map(|text| serde_json::from_str(&text)).transpose();
    entry.map_err(|source| JournalError::Damaged { path: path.to_owned(), source })
}

/// In a debug build, `HOLDFAST_TEST_DIE_AT=N` kills the process at the Nth point: before the first write, after it,
/// before the second …
#[cfg(debug_assertions)]
fn seam() -> Box<dyn Fn() + Send + Sync> {
    use std::sync::atomic::{AtomicU64, Ordering};
    let wanted = std::env::var("HOLDFAST_TEST_DIE_AT").ok().and_then(|text| text.parse::<u64>().ok());
    let Some(wanted) = wanted else { return Box::new(|| ()) };
    let points = AtomicU64::new(0);
    Box::new(move || {
        if points.fetch_add(1, Ordering::SeqCst) + 1 == wanted {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    })
}

#[cfg(not(debug_assertions))]
fn seam() -> Box<dyn Fn() + Send + Sync> {
    Box::new(|| ())
}
