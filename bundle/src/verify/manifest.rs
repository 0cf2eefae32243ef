//! A manifest, made again from the entries and compared line by line: where it differs, it says which entry does.

use std::str::FromStr as _;

use wire::Sha256;

use super::finding::{Findings, code};
use super::limits::MANIFEST_LINE_BYTES_MAX;
use super::lines::Lines;
use super::table::{EntryRecord, Table};

/// Which entries a manifest lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lists {
    /// A checkpoint's: what came since the last one, without folders, symbolic links and checkpoints.
    SinceCheckpoint,
    /// The bag's payload: `data/**`.
    Payload,
    /// The bag's tag files: everything else.
    Tags,
}

impl Lists {
    fn include(self, entry: &EntryRecord) -> bool {
        let name = entry.name();
        if entry.is_folder() {
            return false;
        }
        match self {
            Self::SinceCheckpoint => !entry.is_symlink() && !name.starts_with("checkpoints/"),
            Self::Payload => name.starts_with("data/"),
            Self::Tags => !entry.is_symlink() && !name.starts_with("data/"),
        }
    }
}

/// A manifest that is being read.
pub(super) struct ManifestCheck {
    name: String,
    offset: u64,
    lists: Lists,
    /// The record that is due next.
    next: usize,
    lines: Lines,
    count: u64,
    /// False when entries before `next` may belong to a checkpoint that is missing: then none counts as added.
    first_is_known: bool,
    wrong: bool,
}

impl ManifestCheck {
    pub fn new(name: &str, offset: u64, lists: Lists, first: usize, first_is_known: bool) -> Self {
        let lines = Lines::new(MANIFEST_LINE_BYTES_MAX);
        Self { name: name.to_owned(), offset, lists, next: first, lines, count: 0, first_is_known, wrong: false }
    }

    pub fn feed(&mut self, bytes: &[u8], table: &Table, findings: &mut Findings) {
        let mut lines = std::mem::replace(&mut self.lines, Lines::new(0));
        lines.feed(bytes, &mut |line| {
            self.count += 1;
            match line.and_then(|line| str::from_utf8(line).ok()).and_then(parse) {
                Some((digest, name)) => self.line(digest, name, table, findings),
                None => self.wrong = true,
            }
        });
        self.lines = lines;
    }

    fn line(&mut self, digest: Sha256, name: &str, table: &Table, findings: &mut Findings) {
        // What is not listed is passed once and for all: a search from the same place for every line would be quadratic.
        while table.records().get(self.next).is_some_and(|entry| !self.lists.include(entry)) {
            self.next += 1;
        }
        let due = table.records().get(self.next).filter(|entry| entry.name() == name).map(|_| self.next);
        let Some(found) = due.or_else(|| table.find(name)) else {
            let message = format!("{:?} lists it, and it is not there", self.name);
            findings.add(code::ENTRY_MISSING, name, self.offset, message);
            return;
        };
        let entry = &table.records()[found];
        if entry.sha256() != digest {
            let message =
                format!("{:?} lists it with SHA-256 {digest}, and its content has {}", self.name, entry.sha256());
            findings.add(code::CONTENT_CHANGED, name, entry.offset(), message);
        }
        if found < self.next || !self.lists.include(entry) {
            self.wrong = true;
            return;
        }
        if self.first_is_known {
            self.added(self.next..found, table, findings);
        }
        self.first_is_known = true;
        self.next = found + 1;
    }

    fn added(&self, skipped: std::ops::Range<usize>, table: &Table, findings: &mut Findings) {
        for entry in table.records()[skipped].iter().filter(|entry| self.lists.include(entry)) {
            let message = format!("{:?} does not list it", self.name);
            findings.add(code::ENTRY_ADDED, entry.name(), entry.offset(), message);
        }
    }

    /// Ends the manifest; returns its number of lines.
    pub fn finish(self, table: &Table, findings: &mut Findings) -> u64 {
        if self.first_is_known {
            self.added(self.next..table.records().len(), table, findings);
        }
        if self.wrong || self.lines.is_open() {
            let message = "its lines are not \"<digest>  <name>\" of its entries, in the order of the stream";
            findings.add(code::MANIFEST_MISMATCH, &self.name, self.offset, message);
        }
        self.count
    }
}

fn parse(line: &str) -> Option<(Sha256, &str)> {
    let (digest, name) = line.split_once("  ")?;
    Some((Sha256::from_str(digest).ok()?, name))
}
