//! What must survive a kill: the nonces that were taken, the order that runs, and the reports that nobody has heard yet.
//!
//! An order is in the journal, on the medium, before its run starts or its first effect; so none is run twice.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wire::agent_api::OrderReport;
use wire::containment::ContainmentOrder;
use wire::order::{Order, OrderEvent};
use wire::signed::Signed;
use wire::{BundleId, Instant, OrderId};

use super::Ordered as _;
use super::seen::{Automatic, Seen};
use crate::state::file;

const FILE: &str = "journal.json";
const RECEIPT_FILE: &str = "receipt.json";
const BYTES_MAX: u64 = 4 << 20;
/// Reports that wait for a server.
const UNTOLD_MAX: usize = 64;
/// A receipt that ends no phase is kept at most this often.
const RECEIPT_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// The order that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The bundle that it writes.
    pub bundle: BundleId,
    /// The order.
    pub order: OrderId,
    /// When it began.
    pub started: Instant,
}

/// A report that the server has not acknowledged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Untold {
    /// The order.
    pub order: OrderId,
    /// What happened.
    pub report: OrderReport,
}

/// The last receipt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// The bundle.
    pub bundle: BundleId,
    /// Bytes that the server holds.
    pub offset: u64,
    /// The receipt as the server signed it.
    pub receipt: Signed,
    /// When it came.
    pub time: Instant,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Content {
    /// Containment orders that were taken, and that the journal of containments may not know of yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    asked: Vec<OrderId>,
    running: Option<Running>,
    seen: Seen,
    untold: Vec<Untold>,
    v: u32,
}

/// See the module. Held by one process at a time.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    content: Content,
    receipt_kept: Option<std::time::Instant>,
    /// The medium holds an older state: it was full, say.
    is_behind: bool,
    /// Held until the process ends, however it ends.
    _lock: File,
}

/// A journal that cannot be used. Without it an order might be run twice, so none is run.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another daemon holds it.
    #[error("another holdfast-agent runs on {}", folder.display())]
    Held {
        /// The state folder.
        folder: PathBuf,
    },
    /// It cannot be read or written.
    #[error("{} cannot be used", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no journal.
    #[error("{} is no journal", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl Journal {
    /// Opens the journal of a state folder, or begins one.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let lock = hold(folder)?;
        let content = read(folder)?;
        Ok(Self { folder: folder.to_owned(), content, receipt_kept: None, is_behind: false, _lock: lock })
    }

    /// The orders that were taken.
    pub fn seen(&self) -> &Seen {
        &self.content.seen
    }

    /// Takes an order: from here on it never is again.
    ///
    /// # Errors
    /// As the file system has them: the order must then not be run.
    pub fn begin(&mut self, order: &Order, bundle: BundleId, now: Instant) -> io::Result<()> {
        self.all_or_nothing(|content| {
            content.seen.add(&order.common(), Some(bundle), now);
            content.running = Some(Running { bundle, order: order.order, started: now });
        })
    }

    /// Takes a containment order, whether or not a collection runs: from here on it never is again. `automatic` says
    /// what automation has applied by it.
    ///
    /// # Errors
    /// As the file system has them: nothing must then be done about the order.
    pub fn take(&mut self, order: &ContainmentOrder, automatic: Option<Automatic>, now: Instant) -> io::Result<()> {
        self.all_or_nothing(|content| {
            content.seen.add(&order.common(), None, now);
            content.asked.push(order.order);
            if let Some(one) = automatic {
                content.seen.add_automatic(one);
            }
        })
    }

    /// Containment orders that were taken and not handed over yet: nothing may have been done about them.
    pub fn asked(&self) -> &[OrderId] {
        &self.content.asked
    }

    /// The journal of containments knows of this order, or needs not to.
    ///
    /// # Errors
    /// As the file system has them.
    pub fn handed_over(&mut self, order: OrderId) -> io::Result<()> {
        self.content.asked.retain(|asked| *asked != order);
        self.write()
    }

    /// Changes what is on the medium as well, or nothing at all.
    fn all_or_nothing(&mut self, change: impl FnOnce(&mut Content)) -> io::Result<()> {
        let before = self.content.clone();
        change(&mut self.content);
        let was_behind = self.is_behind;
        self.write().inspect_err(|_| {
            self.content = before;
            self.is_behind = was_behind;
        })
    }

    /// The order that runs has ended with this; the report waits until it was told.
    ///
    /// # Errors
    /// As the file system has them.
    pub fn end(&mut self, report: OrderReport) -> io::Result<()> {
        match self.content.running.take() {
            Some(running) => self.say(running.order, report),
            None => Ok(()),
        }
    }

    /// This has happened to an order; the report waits until it was told.
    ///
    /// # Errors
    /// As the file system has them.
    pub fn say(&mut self, order: OrderId, report: OrderReport) -> io::Result<()> {
        if self.content.untold.len() >= UNTOLD_MAX {
            self.content.untold.remove(0);
        }
        self.content.untold.push(Untold { order, report });
        self.write()
    }

    /// An order that was running when the last process died, made into a report of its interruption.
    ///
    /// # Errors
    /// As the file system has them.
    pub fn interrupt(&mut self, now: Instant) -> io::Result<Option<Running>> {
        let Some(running) = self.content.running.clone() else { return Ok(None) };
        let receipted = last_receipt(&self.folder).filter(|kept| kept.bundle == running.bundle).map(|kept| kept.offset);
        let event = OrderEvent::Interrupted { bundle: Some(running.bundle), by_silence: false, receipted };
        self.end(OrderReport { event, time: now })?;
        Ok(Some(running))
    }

    /// The oldest report that may be told: not of an order that `waits`.
    pub fn untold(&self, waits: impl Fn(OrderId) -> bool) -> Option<&Untold> {
        self.content.untold.iter().find(|untold| !waits(untold.order))
    }

    /// The oldest report of this order was heard.
    ///
    /// # Errors
    /// As the file system has them.
    pub fn told(&mut self, order: OrderId) -> io::Result<()> {
        if let Some(at) = self.content.untold.iter().position(|untold| untold.order == order) {
            self.content.untold.remove(at);
        }
        self.write()
    }

    /// What waits to be told of this order is something else by now.
    ///
    /// # Errors
    /// As the file system has them.
    pub fn amend(&mut self, order: OrderId, change: impl FnOnce(OrderEvent) -> OrderEvent) -> io::Result<()> {
        let Some(untold) = self.content.untold.iter_mut().find(|untold| untold.order == order) else { return Ok(()) };
        let changed = change(untold.report.event.clone());
        if changed == untold.report.event {
            return Ok(());
        }
        untold.report.event = changed;
        self.write()
    }

    /// Keeps a receipt: each that ends a phase, and of the others one a second.
    ///
    /// # Errors
    /// As the file system has them.
    pub fn keep_receipt(&mut self, kept: &Kept, ends_phase: bool) -> io::Result<()> {
        if !ends_phase && self.receipt_kept.is_some_and(|at| at.elapsed() < RECEIPT_EVERY) {
            return Ok(());
        }
        self.receipt_kept = Some(std::time::Instant::now());
        file::put(&self.folder, RECEIPT_FILE, &serde_json::to_vec(kept).unwrap_or_default(), true)
    }

    /// True when something that has happened could not be written down. Nobody who reads the file knows of it, and a
    /// kill would bring back the state before.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Writes down what could not be written when it happened.
    ///
    /// # Errors
    /// As the file system has them.
    pub fn catch_up(&mut self) -> io::Result<()> {
        if self.is_behind { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        self.content.v = 1;
        self.is_behind = true;
        let bytes = serde_json::to_vec(&self.content).map_err(io::Error::other)?;
        file::put(&self.folder, FILE, &bytes, true)?;
        self.is_behind = false;
        Ok(())
    }
}

/// Holds `folder` as a daemon does, until the file is dropped.
///
/// # Errors
/// [`JournalError::Held`] and [`JournalError::Io`].
pub fn hold(folder: &Path) -> Result<File, JournalError> {
    let path = folder.join("lock");
    let lock = File::create(&path).map_err(|source| JournalError::Io { path, source })?;
    if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(JournalError::Held { folder: folder.to_owned() });
    }
    Ok(lock)
}

fn read(folder: &Path) -> Result<Content, JournalError> {
    let path = folder.join(FILE);
    match file::get(&path, BYTES_MAX) {
        Ok(None) => Ok(Content::default()),
        Ok(Some(text)) => serde_json::from_str(&text).map_err(|source| JournalError::Damaged { path, source }),
        Err(source) => Err(JournalError::Io { path, source }),
    }
}

/// The order that runs, by the journal of `folder`; to be asked by others than the daemon.
pub fn running(folder: &Path) -> Option<Running> {
    read(folder).ok()?.running
}

/// True while a daemon holds the journal of `folder`.
pub fn is_held(folder: &Path) -> bool {
    File::open(folder.join("lock"))
        .is_ok_and(|lock| rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockShared).is_err())
}

/// The last receipt that was kept in `folder`.
pub fn last_receipt(folder: &Path) -> Option<Kept> {
    let text = file::get(&folder.join(RECEIPT_FILE), BYTES_MAX).ok()??;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::check::tests::{NOW, order};
    use crate::orders::seen::NONCES_MAX;

    fn begun(journal: &mut Journal, nonce: u64, secs: i128) -> Order {
        let mut order = order();
        order.nonce = format!("{nonce:032x}");
        order.order = OrderId::new(nonce, [0; 10]);
        order.expires = Instant(NOW.0 + secs * 1_000_000_000);
        journal.begin(&order, BundleId::new(nonce, [1; 10]), NOW).unwrap();
        order
    }

    #[test]
    fn a_run_that_was_killed_is_reported_once_and_never_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        let order = begun(&mut journal, 7, 60);
        let bundle = BundleId::new(7, [1; 10]);
        let receipt = Signed { principal: "server".into(), sig_ssh: String::new(), signed_b64: String::new() };
        let kept = Kept { bundle, offset: 42, receipt, time: NOW };
        journal.keep_receipt(&kept, true).unwrap();
        journal.keep_receipt(&Kept { offset: 43, ..kept.clone() }, false).unwrap();
        assert!(matches!(Journal::open(folder.path()), Err(JournalError::Held { .. })));
        // A kill leaves what is on the disk, and the kernel lets go of the lock.
        drop(journal);
        let mut journal = Journal::open(folder.path()).unwrap();
        assert!(journal.seen().holds(&order.common()).is_some());
        assert_eq!(running(folder.path()).unwrap().bundle, bundle);
        assert_eq!(journal.interrupt(NOW).unwrap().unwrap().order, order.order);
        assert_eq!(journal.interrupt(NOW).unwrap(), None);
        drop(journal);
        let mut journal = Journal::open(folder.path()).unwrap();
        let event = OrderEvent::Interrupted { bundle: Some(bundle), by_silence: false, receipted: Some(42) };
        assert_eq!(journal.untold(|_| false).unwrap().report.event, event);
        // While its evidence waits, nothing is told of it; what is told then may be another thing.
        assert!(journal.untold(|waits| waits == order.order).is_none());
        journal.amend(order.order, |_| OrderEvent::Failed { message: "x".into() }).unwrap();
        drop(journal);
        let mut journal = Journal::open(folder.path()).unwrap();
        assert!(matches!(journal.untold(|_| false).unwrap().report.event, OrderEvent::Failed { .. }));
        journal.told(order.order).unwrap();
        assert!(journal.untold(|_| false).is_none());
    }

    #[test]
    fn what_is_forgotten_is_refused_unseen() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        let old = begun(&mut journal, 1, -2 * 24 * 3600);
        assert_eq!(journal.seen().nonces.len(), 0);
        assert!(journal.seen().holds(&old.common()).unwrap().contains("forgotten"));
        let (first, second) = (begun(&mut journal, 2, 1), begun(&mut journal, 3, 2));
        for n in 0..NONCES_MAX as u64 - 1 {
            let order =
                Order { nonce: format!("{:032x}", n + 10), order: OrderId::new(n + 10, [0; 10]), ..second.clone() };
            let order = Order { expires: Instant(NOW.0 + 3_000_000_000), ..order };
            journal.content.seen.add(&order.common(), None, NOW);
        }
        assert_eq!(journal.seen().nonces.len(), NONCES_MAX);
        assert!(journal.seen().holds(&first.common()).unwrap().contains("forgotten"));
        assert!(journal.seen().holds(&second.common()).unwrap().contains("taken before"));
    }

    #[test]
    fn what_a_full_disk_did_not_take_is_written_later() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        begun(&mut journal, 7, 60);
        let event = OrderEvent::Failed { message: "x".to_owned() };
        // A folder that is gone takes no file, whoever asks.
        let (away, there) = (folder.path().join("away"), folder.path().to_owned());
        journal.folder = away;
        journal.end(OrderReport { event, time: NOW }).unwrap_err();
        assert!(journal.is_behind() && journal.untold(|_| false).is_some());
        journal.catch_up().unwrap_err();
        journal.folder = there;
        assert!(running(folder.path()).is_some(), "others still read that it runs");
        journal.catch_up().unwrap();
        assert!(!journal.is_behind() && running(folder.path()).is_none());
    }

    #[test]
    fn a_damaged_journal_is_an_error_and_not_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(matches!(Journal::open(folder.path()), Err(JournalError::Damaged { .. })));
    }
}
