//! The central directory, written again from what was parsed and compared as it comes, entry by entry: it is never held.

use super::table::EntryRecord;
use crate::zip::{End, central, end};

/// A comparison of a central directory's bytes with those that the entries so far ask for.
pub(super) struct DirectoryCheck {
    /// Where the directory stands.
    offset: u64,
    /// It covers this many of the first records.
    entries: usize,
    next: usize,
    bytes: u64,
    expected: Vec<u8>,
    at: usize,
    ended: bool,
    agrees: u64,
    mismatch: Option<String>,
}

impl DirectoryCheck {
    pub fn new(offset: u64, entries: usize) -> Self {
        Self {
            offset,
            entries,
            next: 0,
            bytes: 0,
            expected: Vec::new(),
            at: 0,
            ended: false,
            agrees: 0,
            mismatch: None,
        }
    }

    /// What is expected next; empty at the end.
    pub fn expected(&mut self, records: &[EntryRecord]) -> &[u8] {
        if self.at == self.expected.len() && !self.ended {
            self.expected.clear();
            self.at = 0;
            if let Some(record) = records.get(self.next).filter(|_| self.next < self.entries) {
                let (entry, place) = record.zip_entry();
                central(&mut self.expected, &entry, &place);
                self.next += 1;
                self.bytes += self.expected.len() as u64;
            } else {
                let place = End { entries: self.next as u64, bytes: self.bytes, offset: self.offset };
                end(&mut self.expected, place);
                self.ended = true;
            }
        }
        &self.expected[self.at..]
    }

    /// Compares the next bytes.
    pub fn feed(&mut self, records: &[EntryRecord], mut bytes: &[u8]) {
        while !bytes.is_empty() && self.mismatch.is_none() {
            let expected = self.expected(records);
            let step = expected.len().min(bytes.len());
            if step == 0 {
                self.mismatch = Some("it goes on after its end".to_owned());
            } else if expected[..step] == bytes[..step] {
                self.at += step;
                self.agrees += step as u64;
                bytes = &bytes[step..];
            } else {
                self.agrees +=
                    expected.iter().zip(bytes).take_while(|(expected, byte)| expected == byte).count() as u64;
                self.mismatch =
                    Some(match self.next.checked_sub(1).and_then(|last| records.get(last)).filter(|_| !self.ended) {
                        Some(record) => {
                            format!(
                                "its record of the entry {:?} is not the one that the entry asks for",
                                record.name()
                            )
                        }
                        None => "its end record is not the one that the entries ask for".to_owned(),
                    });
            }
        }
    }

    /// What is wrong, once everything was fed.
    pub fn mismatch(mut self, records: &[EntryRecord]) -> Option<String> {
        if self.mismatch.is_none() && !self.expected(records).is_empty() {
            self.mismatch = Some("it ends too early".to_owned());
        }
        self.mismatch
    }

    /// Bytes fed before the first that differs.
    pub fn agrees(&self) -> u64 {
        self.agrees
    }

    pub fn has_mismatch(&self) -> bool {
        self.mismatch.is_some()
    }
}
