//! Writing a bundle: to anything that is [`Write`], in constant memory but for one line of the directory per entry.
//!
//! Everything goes through one queue in the order of the calls, so that content is hashed and compressed on all cores
//! while ids, offsets and the stream's digest stay in order. The signed pieces (checkpoints, seal) wait for the queue to
//! be empty.

mod case;
mod emit;
mod index;
mod names;
mod outlet;
mod parts;
mod pool;
mod queue;
mod seal;
mod set;
mod sink;

use std::collections::HashMap;
use std::io::Write;

use serde_json::{Map, Value, json};
use wire::{Phase, Sha256, Tier};

use crate::checkpoint::to_sorted_json;
use crate::coverage::{Coverage, Outcome};
use crate::encryption::EncryptError;
use crate::header::{FORMAT, Header};
use crate::item::{Kind, NewItem, Status};
use crate::sign::{SignError, SigningKey};
use crate::time::{Clock, Instant};
use crate::timeline::Event;
use crate::zip::{Entry, Method, Stamp};
use case::Head;
use emit::Streaming;
use index::Index;
use names::Names;
pub use parts::PartLimits;
use pool::Pool;
use queue::{Content, Queue, Queued};
use set::Set;
use sink::Sink;
pub use sink::{Happened, Output};

/// Content of at most this length is an entry of known size; longer content is streamed.
pub const WHOLE_BYTES_MAX: usize = 1 << 20;
/// A checkpoint comes at the latest after this many bytes of stream …
const CHECKPOINT_BYTES: u64 = 64 << 20;
/// … or items …
const CHECKPOINT_ITEMS: u64 = 5_000;
/// … or this much time.
const CHECKPOINT_NS: u64 = 15_000_000_000;
/// … or bytes of item, bodyfile and timeline lines that wait for it.
const SET_BYTES_MAX: usize = 8 << 20;
/// An interim index is written when the stream grew by this many times its size since the last one.
const INDEX_EVERY: u64 = 16;

const MODE_FILE: u32 = 0o100_644;
const MODE_FOLDER: u32 = 0o040_755;
const MODE_SYMLINK: u32 = 0o120_777;

/// Why a bundle could not be written to its end.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output failed: what it holds until then is a partial bundle.
    #[error("the output cannot be written")]
    Output(#[source] std::io::Error),
    /// The file of transport checkpoints failed.
    #[error("the transport checkpoints cannot be written")]
    Sidecar(#[source] std::io::Error),
    /// Signing failed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// It cannot be encrypted as its header says; nothing was written.
    #[error("the bundle cannot be encrypted")]
    Encrypt(#[from] EncryptError),
}

/// Fills a buffer with random bytes.
pub type Random = Box<dyn FnMut(&mut [u8]) + Send>;

/// What a writer needs of the world.
pub struct World {
    /// Signs checkpoints and seal.
    pub key: SigningKey,
    /// Stamps them.
    pub clock: Box<dyn Clock + Send>,
    /// For the items' salts.
    pub random: Random,
}

/// How content that was streamed ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What came of it.
    pub status: Status,
    /// The rule, if one cut it short.
    pub reason: Option<String>,
    /// Number and words of the error that ended it, if one did.
    pub error: Option<(i32, String)>,
    /// Ranges that stand as zeros.
    pub error_ranges: Vec<(u64, u64)>,
    /// Metadata after reading, when it differs.
    pub meta_after: Option<Box<crate::item::Meta>>,
}

impl Ended {
    /// It was read with this outcome, and there is nothing to add.
    pub fn with(status: Status) -> Self {
        Self { status, reason: None, error: None, error_ranges: Vec::new(), meta_after: None }
    }
}

/// A sealed bundle, in numbers.
#[derive(Clone, Copy, Debug)]
pub struct Sealed {
    /// Length of the file, as it was written: encrypted where it is.
    pub bytes: u64,
    /// Its digest.
    pub sha256: Sha256,
    /// Item records.
    pub items: u64,
    /// Entries.
    pub entries: u64,
    /// Checkpoints, the final one included.
    pub checkpoints: u64,
}

/// A step under way.
struct Step {
    tier: Tier,
    collector: String,
    rows: Vec<u8>,
}

/// What a collector has stored in all its steps: a profile may name one twice.
#[derive(Default)]
struct Count {
    segments: u32,
    blobs: u32,
}

/// A bundle being written. [`Writer::seal`] consumes it: nothing can follow the seal.
pub struct Writer<W, S> {
    sink: Sink<W, S>,
    world: World,
    header: Header,
    queue: Queue,
    names: Names,
    index: Index,
    set: Set,
    coverage: Coverage,
    /// Manifest lines since the last checkpoint.
    manifest: String,
    manifest_lines: u64,
    /// Part and item that hold an inode's content.
    hardlinks: HashMap<(u64, u64), (u32, u64)>,
    /// The last checkpoints.
    heads: Vec<Head>,
    step: Option<Step>,
    counts: HashMap<(Tier, String), Count>,
    /// The entry whose content is being written piece by piece.
    streaming: Option<Streaming>,
    /// Room for headers.
    head: Vec<u8>,
    /// Number of the last checkpoint.
    seq: u64,
    prev_sha256: Option<Sha256>,
    /// Offset and boot time of the last checkpoint.
    checkpoint_at: (u64, u64),
    /// Offset of the end of the last interim index.
    index_at: u64,
}

impl<W: Output, S: Write> Writer<W, S> {
    /// Begins a bundle: its first entries and the start checkpoint. It is encrypted to those whom its header names.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn start(out: W, sidecar: S, header: Header, world: World) -> Result<Self, WriteError> {
        let now = world.clock.realtime();
        let sink = Sink::new((out, sidecar), header.bundle, header.encryption.as_ref(), world.key.clone(), now)?;
        let set = Set::new(header.host.name.clone());
        let mut writer = Self {
            sink,
            queue: Queue::new(Pool::new()),
            names: Names::default(),
            index: Index::default(),
            set,
            coverage: Coverage::default(),
            manifest: String::new(),
            manifest_lines: 0,
            hardlinks: HashMap::new(),
            heads: Vec::new(),
            step: None,
            counts: HashMap::new(),
            streaming: None,
            head: Vec::with_capacity(256),
            seq: 0,
            prev_sha256: None,
            checkpoint_at: (0, world.clock.boottime_ns()),
            index_at: 0,
            world,
            header,
        };
        writer.write_first_entries()?;
        let details = [("bundle", json!(writer.header.bundle)), ("profile", json!(writer.header.profile.name))];
        writer.custody("collection_started", details);
        writer.checkpoint(Phase::Start, false)?;
        Ok(writer)
    }

    fn write_first_entries(&mut self) -> Result<(), WriteError> {
        let header = to_sorted_json(&self.header) + "\n";
        let uac = format!("{FORMAT} {}: opened by loaders that know the layout of UAC\n", self.header.bundle);
        self.control("bagit.txt", b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n".to_vec())?;
        self.control("uac.log", uac.into_bytes())?;
        self.control("bundle.json", header.into_bytes())?;
        for folder in ["[root]/", "[root]/etc/", "[root]/run/", "[root]/var/"] {
            self.names.folders_for(&format!("{folder}x"), |folder| self.queue.push(Queued::Folder(folder)));
        }
        self.drain()
    }

    /// A custody line of the agent, to go out with the next checkpoint.
    pub fn custody<const N: usize>(&mut self, event: &str, details: [(&str, Value); N]) {
        self.custody_line(event, details.into_iter().map(|(key, value)| (key.to_owned(), value)).collect());
    }

    fn custody_line(&mut self, event: &str, details: Map<String, Value>) {
        let now = self.world.clock.realtime();
        self.set.custody(now, event, &self.header.signer_principal.clone(), details);
    }

    /// Custody lines of what happened to the bytes on their way.
    fn custody_of_the_way(&mut self) {
        for (event, details) in self.sink.happened() {
            self.custody_line(event, details);
        }
    }

    /// Begins a collector's step, which started at this time. What comes until [`Writer::end_step`] is its evidence.
    pub fn begin_step(&mut self, tier: Tier, collector: &str, started: Instant) {
        self.coverage.begin(tier, collector, started);
        // The step before was drained: what goes out from here on belongs to this one's tier.
        self.sink.phase = tier.into();
        self.step = Some(Step { tier, collector: collector.to_owned(), rows: Vec::new() });
    }

    /// Complete JSON lines, stored in segments of about a mebibyte.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn rows(&mut self, lines: &[u8]) -> Result<(), WriteError> {
        let Some(step) = &mut self.step else { return Ok(()) };
        if step.rows.len() + lines.len() > WHOLE_BYTES_MAX {
            self.flush_rows()?;
        }
        if let Some(step) = &mut self.step {
            step.rows.extend_from_slice(lines);
        }
        self.advance()
    }

    fn flush_rows(&mut self) -> Result<(), WriteError> {
        let Some(step) = self.step.as_mut().filter(|step| !step.rows.is_empty()) else { return Ok(()) };
        let count = self.counts.entry((step.tier, step.collector.clone())).or_default();
        count.segments += 1;
        let name = match count.segments {
            1 => format!("data/{}/{}.jsonl", step.tier, step.collector),
            n => format!("data/{}/{}.{n}.jsonl", step.tier, step.collector),
        };
        let rows = std::mem::take(&mut step.rows);
        let lines = rows.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.coverage.rows(lines);
        let now = self.world.clock.realtime();
        let item = NewItem::new(Kind::Record, name.clone(), "agent", Status::Ok, now);
        self.put(name, None, MODE_FILE, Some(item), rows)
    }

    /// A thing without content.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn note(&mut self, mut item: NewItem) -> Result<(), WriteError> {
        let target =
            item.meta.as_deref().filter(|meta| meta.file_type == "symlink").map(|meta| match &meta.target_b64 {
                Some(exact) => base64::Engine::decode(&base64::prelude::BASE64_STANDARD, exact).unwrap_or_default(),
                None => meta.target.clone().unwrap_or_default().into_bytes(),
            });
        match target {
            Some(target) if item.status == Status::Ok || item.status == Status::MetaOnly => {
                item.status = Status::Ok;
                let name = self.place(&item);
                let mode = if name.starts_with(crate::name::ROOT) { MODE_SYMLINK } else { MODE_FILE };
                self.put(name, stamp_of(&item), mode, Some(item), target)?;
            }
            _ => self.queue.push(Queued::Note(Box::new(item))),
        }
        self.advance()
    }

    /// A thing with all its content.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn whole(&mut self, item: NewItem, content: Vec<u8>) -> Result<(), WriteError> {
        let name = self.place(&item);
        let mode = mode_of(&item, &name);
        self.put(name, stamp_of(&item), mode, Some(item), content)?;
        self.advance()
    }

    /// Raw bytes that stand behind records: `data/raw/<collector>/<name>`.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn raw(&mut self, item: NewItem, name: &str, content: Vec<u8>) -> Result<(), WriteError> {
        let Some(step) = &self.step else { return Ok(()) };
        let mut path = format!("data/raw/{}/", step.collector);
        crate::name::escape(name.as_bytes(), &mut path);
        let name = self.names.unique(path);
        self.put(name, None, MODE_FILE, Some(item), content)?;
        self.advance()
    }

    /// Begins a thing whose content comes in [`Writer::chunk`]s until [`Writer::end`].
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn begin(&mut self, item: NewItem) -> Result<(), WriteError> {
        let name = self.place(&item);
        let mode = mode_of(&item, &name);
        let stamp = if name.starts_with(crate::name::ROOT) { stamp_of(&item) } else { None };
        self.open_folders(&name);
        let entry = Entry { name, method: Method::Deflate, streamed: true, stamp };
        self.queue.begin(Content { entry, mode, item: Some(Box::new(item)) });
        self.advance()
    }

    /// The next bytes of the thing begun.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn chunk(&mut self, bytes: Vec<u8>) -> Result<(), WriteError> {
        self.queue.chunk(bytes);
        self.advance()
    }

    /// Ends the thing begun.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn end(&mut self, ended: Ended) -> Result<(), WriteError> {
        self.queue.end(ended);
        self.advance()
    }

    /// True between [`Writer::begin`] and [`Writer::end`].
    pub fn is_streaming(&self) -> bool {
        self.queue.is_streaming()
    }

    /// A moment for the timeline.
    pub fn event(&mut self, event: &Event) {
        self.set.event(event);
    }

    /// Complete bodyfile lines.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn bodyfile(&mut self, lines: &str) -> Result<(), WriteError> {
        self.set.bodyfile.push_str(lines);
        self.advance()
    }

    /// Ends the step. `reason` says why it did not end by itself.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn end_step(&mut self, outcome: Outcome, reason: Option<&str>) -> Result<(), WriteError> {
        self.flush_rows()?;
        self.drain()?;
        if let Some(step) = self.step.take() {
            let now = self.world.clock.realtime();
            let collector = json!(step.collector);
            let got = self.coverage.end(outcome, reason.map(str::to_owned), now);
            self.custody(
                "collected",
                [
                    ("collector", collector),
                    ("items", json!(got)),
                    ("outcome", json!(outcome)),
                    ("reason", json!(reason)),
                ],
            );
        }
        Ok(())
    }

    /// A step that never began: recorded with its reason, as [`Outcome::NotRun`] or [`Outcome::Skipped`].
    pub fn not_run(&mut self, tier: Tier, collector: &str, outcome: Outcome, reason: &str) {
        let now = self.world.clock.realtime();
        self.coverage.begin(tier, collector, now);
        self.coverage.end(outcome, Some(reason.to_owned()), now);
        self.custody("not_collected", [("collector", json!(collector)), ("reason", json!(reason))]);
    }

    /// A checkpoint after a group of volatile collectors.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn group_end(&mut self, tier: Tier) -> Result<(), WriteError> {
        self.checkpoint(tier.into(), false)
    }

    /// The end of a tier: checkpoint, index, and everything on the medium before the next tier starts.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn tier_end(&mut self, tier: Tier) -> Result<(), WriteError> {
        self.custody("tier_completed", [("tier", json!(tier))]);
        self.checkpoint(tier.into(), true)?;
        self.sink.make_durable()
    }

    /// Bytes of the ZIP so far.
    pub fn bytes(&self) -> u64 {
        self.sink.offset()
    }

    /// Items of this part so far.
    pub fn items(&self) -> u64 {
        self.set.next_id() - 1
    }

    /// What was asked and got so far.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// The name under which an item's content is stored.
    fn place(&mut self, item: &NewItem) -> String {
        if let Some(entry) = &item.entry {
            let mut name = String::with_capacity(entry.len());
            crate::name::escape(entry.as_bytes(), &mut name);
            return self.names.unique(name);
        }
        if item.kind == Kind::File
            && let Some(name) = crate::name::of_path(&item.path)
            && let Some(name) = self.names.place(name)
        {
            return name;
        }
        let name = match (&mut self.step, item.kind) {
            (Some(step), Kind::Memory | Kind::Deleted) => {
                let count = self.counts.entry((step.tier, step.collector.clone())).or_default();
                count.blobs += 1;
                format!("data/{}/{}/{:06}.bin", step.tier, step.collector, count.blobs)
            }
            _ => {
                let collector = self.step.as_ref().map_or("", |step| step.collector.as_str());
                let digest = Sha256::of(&item.path).to_string();
                format!("data/raw/{collector}/displaced-{}", &digest[..32])
            }
        };
        self.names.unique(name)
    }

    fn open_folders(&mut self, name: &str) {
        let Self { names, queue, .. } = self;
        names.folders_for(name, |folder| queue.push(Queued::Folder(folder)));
    }

    /// Queues an entry with its whole content, streamed where it is long.
    fn put(
        &mut self,
        name: String,
        stamp: Option<Stamp>,
        mode: u32,
        item: Option<NewItem>,
        content: Vec<u8>,
    ) -> Result<(), WriteError> {
        self.open_folders(&name);
        let stamp = stamp.filter(|_| name.starts_with(crate::name::ROOT));
        let mut entry = Entry { name, method: Method::Stored, streamed: false, stamp };
        let item = item.map(Box::new);
        if content.len() > WHOLE_BYTES_MAX {
            entry.method = Method::Deflate;
            entry.streamed = true;
            let status = item.as_ref().map_or(Status::Ok, |item| item.status);
            self.queue.begin(Content { entry, mode, item });
            for piece in content.chunks(WHOLE_BYTES_MAX) {
                self.queue.chunk(piece.to_vec());
                self.make_room()?;
            }
            self.queue.end(Ended::with(status));
            return self.make_room();
        }
        let as_it_is = content.is_empty() || mode == MODE_SYMLINK;
        let answer = self.queue.pack(content, as_it_is);
        self.queue.push(Queued::Whole(Content { entry, mode, item }, answer));
        self.make_room()
    }

    /// An entry of the format's own, compressed where it is worth it.
    fn control(&mut self, name: &str, content: Vec<u8>) -> Result<(), WriteError> {
        self.names.unique(name.to_owned());
        self.put(name.to_owned(), None, MODE_FILE, None, content)
    }

    /// Takes from the queue what must go for it to hold to its bound.
    fn make_room(&mut self) -> Result<(), WriteError> {
        if self.queue.is_full() {
            while !self.queue.is_half_empty() && self.emit_next()? {}
        }
        Ok(())
    }

    /// Ends a call from outside: makes room, and checkpoints when one is due. Never called on the way to a checkpoint.
    fn advance(&mut self) -> Result<(), WriteError> {
        self.make_room()?;
        let (offset, time) = self.checkpoint_at;
        let due = self.sink.offset() - offset >= CHECKPOINT_BYTES
            || self.set.items_held + self.queue.len() >= CHECKPOINT_ITEMS
            || self.set.held_bytes() >= SET_BYTES_MAX
            || self.world.clock.boottime_ns().saturating_sub(time) >= CHECKPOINT_NS;
        match &self.step {
            Some(step) if due && !self.is_streaming() => {
                let phase = step.tier.into();
                self.checkpoint(phase, false)
            }
            _ => Ok(()),
        }
    }
}

/// The stamp of an entry that stands for a file of the host.
fn stamp_of(item: &NewItem) -> Option<Stamp> {
    let meta = item.meta.as_deref()?;
    let mtime = meta.mtime_ns.map_or(0, |at| at.0.div_euclid(1_000_000_000));
    Some(Stamp::new(i64::try_from(mtime).unwrap_or(0), meta.uid, meta.gid))
}

/// `st_mode` for an entry under `[root]`; a plain file's for every other.
fn mode_of(item: &NewItem, name: &str) -> u32 {
    item.meta
        .as_deref()
        .filter(|_| name.starts_with(crate::name::ROOT))
        .and_then(crate::item::Meta::st_mode)
        .filter(|mode| mode >> 16 == 0)
        .unwrap_or(MODE_FILE)
}
