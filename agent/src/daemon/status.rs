//! What `holdfast-agent status` reads: a small file, written when the server was asked. It is a note, not a record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant as Monotonic};

use serde::{Deserialize, Serialize};
use wire::Instant;

use crate::state::file;
use crate::transport::client::CallError;

const FILE: &str = "status.json";
const BYTES_MAX: u64 = 64 << 10;
/// The file is written at most this often while nothing changes: an idle host's disk is left alone.
const WRITE_EVERY: Duration = Duration::from_mins(1);

/// The content of the file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Note {
    /// The last thing that went wrong since the last contact.
    pub error: Option<String>,
    /// When the server last answered.
    pub last_contact: Option<Instant>,
    /// Addresses of the server in whose place another one answered, and why.
    #[serde(default)]
    pub passed_over: BTreeMap<String, String>,
    /// The daemon's process.
    pub pid: u32,
    /// The address that answered last.
    pub server: String,
    v: u32,
}

impl Note {
    /// The note in `folder`, if there is one.
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_str(&file::get(&folder.join(FILE), BYTES_MAX).ok()??).ok()
    }
}

/// Keeps the note.
#[derive(Debug)]
pub struct Status {
    folder: PathBuf,
    note: Note,
    written: Option<Monotonic>,
}

impl Status {
    /// A note of a daemon that has asked nobody yet.
    pub fn new(folder: &Path, server: &str) -> Self {
        let last_contact = Note::read(folder).and_then(|note| note.last_contact);
        let (pid, server) = (std::process::id(), server.to_owned());
        let note = Note { error: None, last_contact, passed_over: BTreeMap::new(), pid, server, v: 1 };
        let mut status = Self { folder: folder.to_owned(), note, written: None };
        status.write();
        status
    }

    /// The server answered, at this address, and those were passed over.
    pub fn reached(&mut self, server: &str, passed_over: BTreeMap<String, String>, now: Instant) {
        let is_news = self.note.error.take().is_some()
            || self.note.server != server
            || self.note.passed_over != passed_over
            || self.note.last_contact.is_none();
        server.clone_into(&mut self.note.server);
        self.note.passed_over = passed_over;
        self.note.last_contact = Some(now);
        if is_news || self.written.is_none_or(|at| at.elapsed() >= WRITE_EVERY) {
            self.write();
        }
    }

    /// It did not.
    pub fn failed(&mut self, error: &CallError) {
        let text = Some(error.to_string());
        if self.note.error != text {
            self.note.error = text;
            self.write();
        }
    }

    /// What could not be written, on a full disk, is written when the server answers next.
    fn write(&mut self) {
        let bytes = serde_json::to_vec(&self.note).unwrap_or_default();
        self.written = match file::put(&self.folder, FILE, &bytes, false) {
            Ok(()) => Some(Monotonic::now()),
            Err(error) => {
                tracing::warn!(%error, "the status cannot be written");
                None
            }
        };
    }
}
