//! What a collector sees of a run: the host, and a way to hand over evidence.
//!
//! The collector runs on a worker thread; what it hands over goes through a bounded channel to the thread that owns the
//! bundle. When that thread gives a step up, the channel closes and every call here answers [`Stopped`].

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as Monotonic};

use bundle::item::{Kind, NewItem, Status};
use bundle::time::Instant;
use bundle::timeline::Event;
pub use bundle::write::Ended;
use serde::Serialize;
use wire::Sha256;
use wire::profile::{Limits, Sensitive};

use super::limits::Limiter;
use crate::host::Host;
use crate::host::netns::NetNamespace;

/// Content of at most this many bytes is handed over in one piece; longer content is streamed.
pub const WHOLE_BYTES_MAX: u64 = 1 << 20;
/// Rows are handed over in batches of about this many bytes.
const BATCH_BYTES: usize = 64 << 10;

/// Evidence on its way from a worker to the bundle.
#[derive(Debug)]
pub enum Message {
    /// Complete JSON lines of the step's collector.
    Rows(Vec<u8>),
    /// A thing without content.
    Item(Box<NewItem>),
    /// A thing with all its content.
    Whole(Box<NewItem>, Vec<u8>),
    /// A thing whose content follows in [`Message::Chunk`]s and ends with [`Message::End`].
    Begin(Box<NewItem>),
    /// The next bytes.
    Chunk(Vec<u8>),
    /// The end of the content.
    End(Ended),
    /// Raw bytes that stand behind records: stored as `data/raw/<collector>/<name>`.
    Raw(Box<NewItem>, String, Vec<u8>),
    /// A moment for the timeline.
    Event(Event),
    /// Complete bodyfile lines.
    Bodyfile(String),
    /// The step changed something on the host: what, and for how long.
    Changed(String),
    /// The step met one of its limits and left something out.
    Limited(String),
    /// The step's condition does not hold.
    Skipped(String),
    /// The collector returned.
    Done(Result<(), String>),
}

/// The session is over: the step's time ran out, the run was interrupted, or a limit is full.
#[derive(Debug, thiserror::Error)]
#[error("the step was stopped")]
pub struct Stopped;

/// What has been handed over and found out in this run, so that nothing is stored or walked twice. Shared by all
/// sessions of a run.
#[derive(Debug, Default)]
pub struct Seen {
    /// Digests of paths, cut to 128 bits: a tree of a million files costs 16 MB and not its names.
    paths: Mutex<HashSet<[u8; 16]>>,
    inodes: Mutex<HashSet<(u64, u64)>>,
    net_namespaces: Mutex<Option<Arc<[NetNamespace]>>>,
    kept: Mutex<Kept>,
}

/// Files without a name that are in the bundle: a deleted image is found by several collectors.
#[derive(Debug, Default)]
struct Kept {
    by_inode: HashMap<(u64, u64), KeptFile>,
    sizes: HashSet<u64>,
}

/// A file without a name whose content is in the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFile {
    /// Digest of the whole file, when all of it is stored.
    pub sha256: Option<Sha256>,
    /// Its size when it was read.
    pub size: u64,
    /// The entry that holds it.
    pub stored: String,
}

/// What a step is at, so that one which hangs can say on what, and one which only works long is told from it.
#[derive(Clone, Debug, Default)]
pub struct Current(Arc<At>);

#[derive(Debug, Default)]
struct At {
    path: Mutex<Option<Vec<u8>>>,
    beats: AtomicU64,
}

impl Current {
    fn set(&self, path: &[u8]) {
        *self.0.path.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.to_vec());
    }

    /// The path of the last thing that was begun.
    pub fn take(&self) -> Option<Vec<u8>> {
        self.0.path.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Grows as long as the step is alive.
    pub fn beats(&self) -> u64 {
        self.0.beats.load(Ordering::Relaxed)
    }
}

/// What a collector works with. See the module.
pub struct Session {
    host: Arc<Host>,
    messages: SyncSender<Message>,
    rows: Vec<u8>,
    seen: Arc<Seen>,
    limiter: Limiter,
    stop: Arc<AtomicBool>,
    deadline: Monotonic,
    file_bytes_max: Option<u64>,
    sensitive: Option<Sensitive>,
    allowed: Arc<Allowed>,
    current: Current,
}

/// What a run may take that is not for everybody.
#[derive(Debug, Default)]
pub struct Allowed {
    /// Sensitive classes whose content is taken.
    pub sensitive: Vec<Sensitive>,
    /// Variables of processes whose values are taken, `*` at the end standing for anything: all, where it does not say.
    pub environment: Option<Vec<String>>,
}

impl Session {
    /// A session that hands over to `messages` until `stop` is set or `wall` has gone by.
    pub fn new(
        host: Arc<Host>,
        messages: SyncSender<Message>,
        seen: Arc<Seen>,
        limiter: Limiter,
        stop: Arc<AtomicBool>,
        wall: Duration,
    ) -> Self {
        let deadline = Monotonic::now() + wall;
        Self {
            host,
            messages,
            rows: Vec::with_capacity(BATCH_BYTES),
            seen,
            limiter,
            stop,
            deadline,
            file_bytes_max: None,
            sensitive: None,
            allowed: Arc::default(),
            current: Current::default(),
        }
    }

    /// Binds what the profile says of this step.
    pub fn bind(&mut self, limits: &Limits, sensitive: Option<Sensitive>, current: Current) {
        self.file_bytes_max = limits.file_bytes_max.map(|size| size.0);
        self.sensitive = sensitive;
        self.current = current;
    }

    /// Lets this through, and no more: the order approves it, and this host's policy lets it.
    pub fn allow(&mut self, allowed: Arc<Allowed>) {
        self.allowed = allowed;
    }

    /// True when content of this class may be taken.
    pub fn is_approved(&self, class: Sensitive) -> bool {
        self.allowed.sensitive.contains(&class)
    }

    /// True when some variables of processes must not be taken with their values.
    pub fn withholds_values(&self) -> bool {
        self.allowed.environment.is_some()
    }

    /// True when the variable of this name may be taken with its value.
    pub fn shows_variable(&self, name: &[u8]) -> bool {
        self.allowed.environment.as_ref().is_none_or(|shown| {
            shown.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(start) => name.starts_with(start.as_bytes()),
                None => name == pattern.as_bytes(),
            })
        })
    }

    /// The longest content of one file that the profile allows this step.
    pub fn file_bytes_max(&self) -> Option<u64> {
        self.file_bytes_max
    }

    /// The class of sensitive content that the profile says this step's paths hold.
    pub fn sensitive(&self) -> Option<Sensitive> {
        self.sensitive
    }

    /// The host under examination.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The wall clock, for `collected` and `collected_end`.
    pub fn now(&self) -> Instant {
        self.host.now()
    }

    /// To be called in every loop that reads without handing anything over.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn go_on(&self) -> Result<(), Stopped> {
        self.current.0.beats.fetch_add(1, Ordering::Relaxed);
        if self.stop.load(Ordering::Relaxed) || Monotonic::now() >= self.deadline { Err(Stopped) } else { Ok(()) }
    }

    /// Counts `bytes` as about to be read from a disk, and waits as long as the run's limits ask for.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn spend(&mut self, bytes: u64) -> Result<(), Stopped> {
        let Self { limiter, stop, deadline, current, .. } = self;
        limiter.spend(bytes, || {
            current.0.beats.fetch_add(1, Ordering::Relaxed);
            !stop.load(Ordering::Relaxed) && Monotonic::now() < *deadline
        });
        self.go_on()
    }

    /// How many bytes of content this step may still hand over.
    pub fn content_bytes_left(&self) -> u64 {
        self.limiter.content_bytes_left()
    }

    /// Hands over one row: a value that serialises to a JSON object with its keys in alphabetical order.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn row(&mut self, row: &impl Serialize) -> Result<(), Stopped> {
        let start = self.rows.len();
        if let Err(error) = serde_json::to_writer(&mut self.rows, row) {
            self.rows.truncate(start);
            tracing::error!(%error, "a row could not be serialised");
            return Ok(());
        }
        self.rows.push(b'\n');
        if self.rows.len() >= BATCH_BYTES {
            self.flush_rows()?;
        }
        Ok(())
    }

    /// The same for a row that holds what serde flattens: its keys are put in order here.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn flattened_row(&mut self, row: &impl Serialize) -> Result<(), Stopped> {
        match serde_json::to_value(row) {
            Ok(row) => self.row(&row),
            Err(error) => {
                tracing::error!(%error, "a row could not be serialised");
                Ok(())
            }
        }
    }

    fn flush_rows(&mut self) -> Result<(), Stopped> {
        if self.rows.is_empty() {
            return self.go_on();
        }
        let rows = std::mem::replace(&mut self.rows, Vec::with_capacity(BATCH_BYTES));
        self.send(Message::Rows(rows))
    }

    /// A thing of this kind at `path`, attempted now; to be completed and handed over.
    pub fn item(&self, kind: Kind, path: impl Into<Vec<u8>>, method: &'static str, status: Status) -> NewItem {
        let path = path.into();
        self.current.set(&path);
        NewItem::new(kind, path, method, status, self.now())
    }

    /// Hands over a thing without content: denied, vanished, skipped, metadata only.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn note(&mut self, mut item: NewItem) -> Result<(), Stopped> {
        item.collected_end = self.now();
        self.send(Message::Item(Box::new(item)))
    }

    /// Notes that `path` (a kernel file behind a record) could not be read. A file that was never there is `skipped`;
    /// one of a process, whose folder was there a moment ago, has `vanished`.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn unreadable(&mut self, path: impl Into<Vec<u8>>, error: &std::io::Error) -> Result<(), Stopped> {
        let mut item = self.item(Kind::Record, path, "procfs", Status::Error).failed(error);
        let of_process =
            item.path.strip_prefix(b"/proc/").is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit));
        // A reader of our own says NotFound without a number, in words of its own.
        if error.kind() == std::io::ErrorKind::NotFound && !of_process {
            item.status = Status::Skipped;
            item = match item.errno {
                Some(_) => item.because("there is no such file"),
                None => item.because(error.to_string()),
            };
        }
        self.note(item)
    }

    /// Hands over a thing with all its content: at most [`WHOLE_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn whole(&mut self, mut item: NewItem, content: Vec<u8>) -> Result<(), Stopped> {
        self.limiter.count_content(content.len() as u64);
        item.collected_end = self.now();
        self.send(Message::Whole(Box::new(item), content))
    }

    /// Begins a thing whose content follows by [`Session::chunk`] and ends by [`Session::end`]. Between the two nothing
    /// else may be handed over.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn begin(&mut self, item: NewItem) -> Result<(), Stopped> {
        self.send(Message::Begin(Box::new(item)))
    }

    /// The next bytes of the thing begun, at most [`WHOLE_BYTES_MAX`] of them.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn chunk(&mut self, bytes: Vec<u8>) -> Result<(), Stopped> {
        self.limiter.count_content(bytes.len() as u64);
        self.send(Message::Chunk(bytes))
    }

    /// Ends the thing begun.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn end(&mut self, ended: Ended) -> Result<(), Stopped> {
        self.send(Message::End(ended))
    }

    /// Hands over raw bytes that stand behind records, read from `path` by `method`; stored as
    /// `data/raw/<collector>/<name>`.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn raw(
        &mut self,
        path: impl Into<Vec<u8>>,
        method: &'static str,
        name: impl Into<String>,
        bytes: Vec<u8>,
    ) -> Result<(), Stopped> {
        let item = self.item(Kind::Record, path, method, Status::Ok);
        self.send(Message::Raw(Box::new(item), name.into(), bytes))
    }

    /// Hands over a moment for the timeline.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn event(&mut self, event: Event) -> Result<(), Stopped> {
        self.send(Message::Event(event))
    }

    /// Hands over complete bodyfile lines.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn bodyfile(&mut self, lines: String) -> Result<(), Stopped> {
        self.send(Message::Bodyfile(lines))
    }

    /// Says that a limit made this step leave something out: the run then ends with exit code 3.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn limited(&mut self, rule: impl Into<String>) -> Result<(), Stopped> {
        self.send(Message::Limited(rule.into()))
    }

    /// Says that the step's condition does not hold: nothing is collected.
    pub(super) fn skip(&mut self, condition: String) {
        // A closed channel has nobody who waits for the reason.
        let _ = self.send(Message::Skipped(condition));
    }

    /// Says that the step changed something on the host, which only an argument of the profile lets it: it then stands in
    /// the custody log, in the footprint and in the agent's log.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn changed_host(&mut self, what: impl Into<String>) -> Result<(), Stopped> {
        self.send(Message::Changed(what.into()))
    }

    /// Says what the step is at, for the case that it does not come back from it. An item says so by itself.
    pub fn at(&self, path: &[u8]) {
        self.current.set(path);
    }

    /// The network namespaces that the first walk of this run found, when there was one.
    pub fn net_namespaces(&self) -> Option<Arc<[NetNamespace]>> {
        self.seen.net_namespaces.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the network namespaces for the collectors that come after.
    pub fn keep_net_namespaces(&self, namespaces: Arc<[NetNamespace]>) {
        *self.seen.net_namespaces.lock().unwrap_or_else(PoisonError::into_inner) = Some(namespaces);
    }

    /// True the first time that `path` is named in this run: later times it is already in the bundle.
    pub fn is_new_path(&self, path: &[u8]) -> bool {
        let mut digest = [0; 16];
        digest.copy_from_slice(&Sha256::of(path).0[..16]);
        self.seen.paths.lock().unwrap_or_else(PoisonError::into_inner).insert(digest)
    }

    /// True the first time that this device and inode are named in this run.
    pub fn is_new_inode(&self, inode: (u64, u64)) -> bool {
        self.seen.inodes.lock().unwrap_or_else(PoisonError::into_inner).insert(inode)
    }

    /// Takes a name for an entry that no other step of this run has taken: `name`, or `name.2`, `name.3` …
    pub fn take_name(&self, name: &str) -> String {
        let mut taken = name.to_owned();
        let mut n = 1;
        while !self.is_new_path(taken.as_bytes()) {
            n += 1;
            taken = format!("{name}.{n}");
        }
        taken
    }

    /// The file without a name of this device and inode, if its content is in the bundle.
    pub fn kept(&self, inode: (u64, u64)) -> Option<KeptFile> {
        self.seen.kept.lock().unwrap_or_else(PoisonError::into_inner).by_inode.get(&inode).cloned()
    }

    /// True when a file without a name of this size is in the bundle: another one may have the same content.
    pub fn has_kept_of_size(&self, size: u64) -> bool {
        self.seen.kept.lock().unwrap_or_else(PoisonError::into_inner).sizes.contains(&size)
    }

    /// The entry that holds a file without a name with this content.
    pub fn kept_content(&self, sha256: Sha256) -> Option<KeptFile> {
        let kept = self.seen.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.by_inode.values().find(|file| file.sha256 == Some(sha256)).cloned()
    }

    /// Remembers that a file without a name is in the bundle.
    pub fn keep(&self, inode: (u64, u64), file: KeptFile) {
        let mut kept = self.seen.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.sizes.insert(file.size);
        kept.by_inode.insert(inode, file);
    }

    fn send(&mut self, message: Message) -> Result<(), Stopped> {
        if !matches!(message, Message::Rows(_)) && !self.rows.is_empty() {
            self.flush_rows()?;
        }
        self.messages.send(message).map_err(|_| Stopped)?;
        self.go_on()
    }

    /// Hands over what is still held back and says how the collector ended.
    pub(super) fn done(mut self, outcome: Result<(), String>) {
        let rows = std::mem::take(&mut self.rows);
        if !rows.is_empty() {
            let _ = self.messages.send(Message::Rows(rows));
        }
        let _ = self.messages.send(Message::Done(outcome));
    }
}
