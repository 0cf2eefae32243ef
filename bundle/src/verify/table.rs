//! One small record for each entry that was met.

use std::collections::HashMap;
use std::sync::Arc;

use wire::Sha256;

use crate::name::ROOT;
use crate::zip::{Entry, EntryPlace, Method, Stamp};

/// The mode of a folder's entry.
pub(super) const MODE_FOLDER: u32 = 0o040_755;
/// The mode of every entry that is neither a folder nor a file of the host.
pub(super) const MODE_PLAIN: u32 = 0o100_644;
/// The mode of a symbolic link's entry.
pub(super) const MODE_SYMLINK: u32 = 0o120_777;

/// An entry of a bundle: where it stands and what it holds.
#[derive(Clone, Debug)]
pub struct EntryRecord {
    pub(super) name: Arc<str>,
    pub(super) method: Method,
    pub(super) streamed: bool,
    pub(super) stamp: Option<Stamp>,
    pub(super) offset: u64,
    pub(super) data_offset: u64,
    pub(super) crc32: u32,
    pub(super) compressed: u64,
    pub(super) size: u64,
    pub(super) sha256: Sha256,
    pub(super) mode: u32,
    /// The item that describes it; 0 when there is none.
    pub(super) item: u64,
}

impl EntryRecord {
    /// The name. It comes from a host: escape it before a screen.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Digest of the content.
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// Length of the content in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where its local header stands.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The id of the item record that describes it.
    pub fn item(&self) -> Option<u64> {
        (self.item != 0).then_some(self.item)
    }

    /// True for a folder.
    pub fn is_folder(&self) -> bool {
        self.name.ends_with('/')
    }

    /// True for a symbolic link of the host; the content is its target.
    pub fn is_symlink(&self) -> bool {
        self.mode & 0o170_000 == 0o120_000
    }

    /// True for original bytes of the host.
    pub fn is_root_file(&self) -> bool {
        self.name.starts_with(ROOT) && !self.is_folder()
    }

    pub(super) fn zip_entry(&self) -> (Entry, EntryPlace) {
        let Self { offset, crc32, compressed, size, mode, .. } = *self;
        let entry =
            Entry { name: (*self.name).to_owned(), method: self.method, streamed: self.streamed, stamp: self.stamp };
        (entry, EntryPlace { offset, crc32, compressed, size, mode })
    }
}

/// The entries in stream order, and by name.
#[derive(Debug, Default)]
pub(super) struct Table {
    records: Vec<EntryRecord>,
    /// By name without the slash at a folder's end: a file and a folder of one name cannot both be extracted.
    places: HashMap<Arc<str>, u32>,
}

impl Table {
    /// True when the name is taken already.
    pub fn is_taken(&self, name: &str) -> bool {
        self.places.contains_key(name.strip_suffix('/').unwrap_or(name))
    }

    /// Where the entry with exactly this name stands.
    pub fn find(&self, name: &str) -> Option<usize> {
        let place = *self.places.get(name.strip_suffix('/').unwrap_or(name))? as usize;
        (self.records.get(place)?.name() == name).then_some(place)
    }

    pub fn push(&mut self, record: EntryRecord) {
        let key = match record.name.strip_suffix('/') {
            Some(folder) => Arc::from(folder),
            None => Arc::clone(&record.name),
        };
        if let Ok(place) = u32::try_from(self.records.len()) {
            self.places.entry(key).or_insert(place);
        }
        self.records.push(record);
    }

    /// Forgets the last entry when it reaches past `offset`.
    pub fn forget_past(&mut self, offset: u64) {
        self.records.pop_if(|last| last.data_offset + last.compressed > offset);
    }

    pub fn records(&self) -> &[EntryRecord] {
        &self.records
    }

    pub fn get_mut(&mut self, place: usize) -> Option<&mut EntryRecord> {
        self.records.get_mut(place)
    }

    pub fn into_records(self) -> Vec<EntryRecord> {
        self.records
    }
}
