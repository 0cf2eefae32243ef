//! What is known of the bundle so far, and what each entry adds to it.

use std::sync::Arc;

use wire::{BundleId, Sha256};

use super::chain::{Before, Chain, CheckpointSummary, check_signature};
use super::content::Content;
use super::custody::Custody;
use super::directory::DirectoryCheck;
use super::finding::{Findings, code};
use super::identity::{BadIdentity, Identity, is_canonical_line};
use super::items::{Items, Link};
use super::limits::{
    HEADER_BYTES_MAX, KNOWN_BYTES_MAX, LINE_BYTES_MAX, LINKS_MAX, PAD_BYTES_MAX, SET_BYTES_MAX, SMALL_BYTES_MAX,
    TAG_MANIFEST_BYTES_MAX,
};
use super::lines::Lines;
use super::manifest::{Lists, ManifestCheck};
use super::place::{OPENING, Part, Place, is_always_stored, of_name, parent};
use super::table::{EntryRecord, MODE_FOLDER, MODE_PLAIN, Table};
use crate::name::ROOT;
use crate::zip::{Method, Parsed, Stamp};

/// The content of `bagit.txt` (RFC 8493, section 2.1.1).
const BAG_DECLARATION: &[u8] = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";

/// How far the order of entries has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Body,
    BagInfo,
    Payload,
    FinalCheckpoint,
    TagManifest,
    Sealed,
}

/// What had been verified at the last good checkpoint.
#[derive(Clone, Default)]
pub(super) struct Progress {
    pub entries: usize,
    pub items: Items,
    pub custody_events: u64,
    pub links: usize,
    pub next_part: Option<BundleId>,
    pub verified_to: u64,
    pub boundary: Option<u64>,
}

pub(super) struct Book {
    pub findings: Findings,
    pub table: Table,
    pub header: Option<Identity>,
    pub bad_header: Option<BadIdentity>,
    pub stage: Stage,
    pub checkpoints: Vec<CheckpointSummary>,
    pub progress: Progress,
    pub chain: Chain,
    /// What the first finding is about lies before this offset.
    blamed: Option<u64>,
    /// What items say of earlier parts.
    pub links: Vec<Link>,
    items: Items,
    custody: Custody,
    tag_manifest: Vec<u8>,
}

/// An entry that is being read: what its content is for.
pub(super) struct Reading {
    name: Arc<str>,
    offset: u64,
    place: Option<Place>,
    /// Digest of the stream before its header.
    stream_sha256: Sha256,
    role: Role,
    bytes: u64,
}

enum Role {
    Hash,
    Hold { bytes: Vec<u8>, bytes_max: usize },
    Items(Lines),
    Custody(Lines),
    Manifest { check: ManifestCheck, held: bool },
    Index(DirectoryCheck),
    Zeros { only: bool },
}

impl Book {
    pub fn new() -> Self {
        Self {
            findings: Findings::default(),
            table: Table::default(),
            header: None,
            bad_header: None,
            stage: Stage::Body,
            checkpoints: Vec::new(),
            progress: Progress::default(),
            chain: Chain::new(),
            blamed: None,
            links: Vec::new(),
            items: Items::default(),
            custody: Custody::new(),
            tag_manifest: Vec::new(),
        }
    }

    /// Whatever was found until now is about bytes before `offset`.
    pub fn blame(&mut self, offset: u64) {
        if !self.findings.is_empty() {
            self.blamed.get_or_insert(offset);
        }
    }

    /// Forgets what was found when it comes from the zeros that the file ends with, from `solid_to` on; true when it was
    /// so. The progress never went past a finding: nothing that these bytes could have changed is believed.
    pub fn forgive_zeros(&mut self, solid_to: u64) -> bool {
        let is_bounded = !self.findings.has(code::LIMIT);
        let is_torn = is_bounded && !self.findings.is_empty() && self.blamed.is_none_or(|blamed| solid_to < blamed);
        if is_torn {
            self.findings = Findings::default();
            self.bad_header = None;
            self.table.forget_past(solid_to);
        }
        is_torn
    }

    /// An entry's header was read: its name, its place and its form are checked.
    pub fn begin(&mut self, header: &Parsed, offset: u64, stream_sha256: Sha256) -> Reading {
        let name: Arc<str> = Arc::from(header.entry.name.as_str());
        let place = match of_name(&name) {
            Ok(place) => Some(place),
            Err(why) => {
                self.findings.add(code::NAME_FORBIDDEN, &name, offset, why);
                None
            }
        };
        if self.table.is_taken(&name) {
            self.findings.add(code::DUPLICATE_NAME, &name, offset, "an earlier entry has this name");
        }
        if let Some(parent) = parent(&name)
            && self.table.find(parent).is_none()
        {
            self.findings.add(code::PARENT_MISSING, &name, offset, "its folder has no earlier entry of its own");
        }
        if let Some(why) = form(header, place) {
            self.findings.add(code::NON_CANONICAL, &name, offset, why);
        }
        self.order(&name, place, offset);
        let role = self.role(&name, place, offset + header.length as u64, offset);
        Reading { name, offset, place, stream_sha256, role, bytes: 0 }
    }

    /// Holds the entry's place against the order of the format.
    fn order(&mut self, name: &str, place: Option<Place>, offset: u64) {
        let number = self.table.records().len();
        if let Some(due) = OPENING.get(number)
            && *due != name
        {
            let message = format!("the entry {due:?} must be number {} in the file", number + 1);
            self.findings.add(code::OUT_OF_ORDER, due, offset, message);
        }
        match place {
            Some(Place::Checkpoint(seq, part)) => self.chain.part(seq, part, offset, &mut self.findings),
            _ => self.chain.interrupt(offset, &mut self.findings),
        }
        let next = match (self.stage, place) {
            (Stage::Body, Some(Place::BagInfo)) => Stage::BagInfo,
            (Stage::BagInfo, Some(Place::PayloadManifest)) => Stage::Payload,
            (Stage::FinalCheckpoint, Some(Place::TagManifest)) => Stage::TagManifest,
            (Stage::TagManifest, Some(Place::TagSignature)) => Stage::Sealed,
            (Stage::FinalCheckpoint, Some(Place::Checkpoint(_, Part::Signature))) => Stage::FinalCheckpoint,
            (stage, _) if stage >= Stage::FinalCheckpoint => {
                self.findings.add(code::ENTRY_ADDED, name, offset, "it comes after the final checkpoint");
                self.stage
            }
            (Stage::Payload, Some(Place::Checkpoint(..) | Place::Folder)) => Stage::Payload,
            (_, Some(Place::BagInfo | Place::PayloadManifest | Place::TagManifest | Place::TagSignature)) => {
                self.findings.add(code::OUT_OF_ORDER, name, offset, "it may only come at the end, in its order");
                self.stage
            }
            (stage, _) if stage >= Stage::BagInfo => {
                self.findings.add(code::OUT_OF_ORDER, name, offset, "it comes after the bag's manifest was begun");
                self.stage
            }
            (stage, _) => stage,
        };
        self.stage = next;
    }

    fn role(&mut self, name: &str, place: Option<Place>, data_offset: u64, offset: u64) -> Role {
        let hold = |bytes_max| Role::Hold { bytes: Vec::new(), bytes_max };
        let manifest = |lists, first, known, held| Role::Manifest {
            check: ManifestCheck::new(name, offset, lists, first, known),
            held,
        };
        match place {
            Some(Place::Opening(2)) => hold(HEADER_BYTES_MAX),
            Some(Place::Opening(0 | 1) | Place::Checkpoint(_, Part::Json | Part::Signature) | Place::TagSignature) => {
                hold(SMALL_BYTES_MAX)
            }
            Some(Place::Items(seq) | Place::Custody(seq)) => {
                let due = self.chain.due();
                if seq > due {
                    let message = format!("the set of checkpoint {seq} comes before it");
                    self.findings.add(code::CHECKPOINT_MISSING, &format!("checkpoint {due}"), offset, message);
                } else if seq < due {
                    self.findings.add(
                        code::OUT_OF_ORDER,
                        name,
                        offset,
                        format!("it comes after checkpoint {}", due - 1),
                    );
                }
                let lines = Lines::new(LINE_BYTES_MAX);
                if matches!(place, Some(Place::Items(_))) { Role::Items(lines) } else { Role::Custody(lines) }
            }
            Some(Place::Checkpoint(_, Part::Manifest)) => {
                manifest(Lists::SinceCheckpoint, self.chain.since, !self.chain.gap, false)
            }
            Some(Place::PayloadManifest) => manifest(Lists::Payload, 0, true, false),
            Some(Place::TagManifest) => manifest(Lists::Tags, 0, true, true),
            Some(Place::Checkpoint(_, Part::Index)) => {
                Role::Index(DirectoryCheck::new(data_offset, self.table.records().len()))
            }
            Some(Place::Checkpoint(_, Part::Pad)) => Role::Zeros { only: true },
            _ => Role::Hash,
        }
    }

    /// A piece of the entry's content.
    pub fn feed(&mut self, reading: &mut Reading, bytes: &[u8]) {
        reading.bytes += bytes.len() as u64;
        let Self { findings, table, items, custody, tag_manifest, links, .. } = self;
        let (name, offset) = (&*reading.name, reading.offset);
        let is_set = matches!(reading.role, Role::Items(_) | Role::Custody(_) | Role::Manifest { .. });
        if is_set && reading.bytes > SET_BYTES_MAX {
            findings.add(code::LIMIT, name, offset, "it is longer than this version takes");
            reading.role = Role::Hash;
        }
        match &mut reading.role {
            Role::Hash => {}
            Role::Hold { bytes: held, bytes_max } => {
                if held.len() + bytes.len() > *bytes_max {
                    findings.add(code::LIMIT, name, offset, "it is longer than this version takes");
                    reading.role = Role::Hash;
                } else {
                    held.extend_from_slice(bytes);
                }
            }
            Role::Items(lines) => lines.feed(bytes, &mut |line| {
                let link = items.line(line, name, offset, table, findings);
                links.extend(link.filter(|_| links.len() < LINKS_MAX));
            }),
            Role::Custody(lines) => lines.feed(bytes, &mut |line| custody.line(line, name, offset, findings)),
            Role::Manifest { check, held } => {
                check.feed(bytes, table, findings);
                if *held && tag_manifest.len() + bytes.len() <= TAG_MANIFEST_BYTES_MAX {
                    tag_manifest.extend_from_slice(bytes);
                }
            }
            Role::Index(check) => check.feed(table.records(), bytes),
            Role::Zeros { only } => *only &= bytes.iter().all(|byte| *byte == 0),
        }
    }

    /// The entry's content was read to its end, and the stream stands at `end`.
    pub fn end(&mut self, reading: Reading, header: &Parsed, content: &Content, end: u64) {
        let Reading { name, offset, place, stream_sha256, role, .. } = reading;
        self.check_content(&name, offset, header, content);
        if let Role::Items(lines) | Role::Custody(lines) = &role
            && lines.is_too_long()
        {
            self.findings.add(code::LIMIT, &name, offset, "its last line is longer than this version takes");
        }
        match role {
            Role::Hold { bytes, .. } => self.held(&name, place, bytes, offset, stream_sha256),
            Role::Items(lines) if lines.is_open() => {
                self.findings.add(code::ITEM_MISMATCH, &name, offset, "its last line does not end");
            }
            Role::Custody(lines) if lines.is_open() => {
                self.findings.add(code::CUSTODY_CHAIN, &name, offset, "its last line does not end");
            }
            Role::Hash | Role::Items(_) | Role::Custody(_) => {}
            Role::Manifest { check, .. } => {
                let lines = check.finish(&self.table, &mut self.findings);
                self.chain.manifest(content.sha256, lines);
            }
            Role::Index(check) => {
                if let Some(why) = check.mismatch(self.table.records()) {
                    self.findings.add(code::NON_CANONICAL, &name, offset, why);
                }
            }
            Role::Zeros { only } => {
                let is_encrypted = self.header.as_ref().is_some_and(|header| !header.recipients.is_empty());
                if !only || content.size >= PAD_BYTES_MAX {
                    self.findings.add(code::NON_CANONICAL, &name, offset, "it is not fewer than 65536 zeros");
                } else if !is_encrypted {
                    self.findings.add(code::NON_CANONICAL, &name, offset, "only an encrypted bundle has one");
                }
            }
        }
        // The directory is held against the header, which says what was written; the content was held against it above.
        let (crc32, size) =
            if header.entry.streamed { (content.crc32, content.size) } else { (header.crc32, header.size) };
        let mode = if header.entry.name.ends_with('/') { MODE_FOLDER } else { MODE_PLAIN };
        self.table.push(EntryRecord {
            name,
            method: header.entry.method,
            streamed: header.entry.streamed,
            stamp: header.entry.stamp,
            offset,
            data_offset: offset + header.length as u64,
            crc32,
            compressed: content.compressed,
            size,
            sha256: content.sha256,
            mode,
            item: 0,
        });
        match place {
            Some(Place::Checkpoint(_, Part::Signature)) => self.advance(end),
            Some(Place::Checkpoint(_, Part::Index | Part::Pad)) if self.findings.is_empty() => {
                self.progress.entries = self.table.records().len();
                self.progress.verified_to = end;
                if matches!(place, Some(Place::Checkpoint(_, Part::Index))) {
                    self.progress.boundary = Some(end);
                }
            }
            _ => {}
        }
    }

    fn check_content(&mut self, name: &str, offset: u64, header: &Parsed, content: &Content) {
        let known = !header.entry.streamed;
        if let Some(why) = content.damage {
            self.findings.add(code::CONTENT_CHANGED, name, offset, why);
        } else if known && (content.crc32, content.size) != (header.crc32, header.size) {
            let message = format!(
                "its header says {} bytes with CRC-32 {:08x}, its content has {} with {:08x}",
                header.size, header.crc32, content.size, content.crc32
            );
            self.findings.add(code::CONTENT_CHANGED, name, offset, message);
        }
    }

    /// A small entry that was held whole.
    fn held(&mut self, name: &str, place: Option<Place>, bytes: Vec<u8>, offset: u64, stream_sha256: Sha256) {
        match place {
            Some(Place::Opening(0)) if bytes != BAG_DECLARATION => {
                self.findings.add(code::CONTENT_CHANGED, name, offset, "it is not the bag declaration");
            }
            Some(Place::Opening(1)) if bytes.iter().position(|byte| *byte == b'\n') != bytes.len().checked_sub(1) => {
                self.findings.add(code::CONTENT_CHANGED, name, offset, "it is not one line");
            }
            Some(Place::Opening(2)) => match Identity::parse(&bytes) {
                _ if self.header.is_some() => {}
                Ok(header) => {
                    if !is_canonical_line(&bytes) {
                        let message = "it is not one line of JSON with sorted keys and no spaces";
                        self.findings.add(code::NON_CANONICAL, name, offset, message);
                    }
                    self.items.part = header.part;
                    self.header = Some(header);
                }
                Err(error) => self.bad_header = Some(error),
            },
            Some(Place::Checkpoint(seq, Part::Json)) => self.checkpoint(seq, bytes, offset, stream_sha256),
            Some(Place::Checkpoint(_, Part::Signature)) => {
                let verified = self.chain.signature(&bytes, self.header.as_ref(), offset, &mut self.findings);
                if let Some(checkpoint) = verified.filter(|_| self.findings.is_empty()) {
                    self.checkpoints.push(checkpoint);
                }
            }
            Some(Place::TagSignature) => {
                let signed = std::mem::take(&mut self.tag_manifest);
                let header = self.header.as_ref();
                if !check_signature(&signed, &bytes, header, "the seal", offset, &mut self.findings) {
                    let message = "tagmanifest-sha256.txt is not signed by the bundle's signer";
                    self.findings.add(code::SEAL_BAD, "the seal", offset, message);
                }
            }
            _ => {}
        }
    }

    fn checkpoint(&mut self, seq: u64, bytes: Vec<u8>, offset: u64, stream_sha256: Sha256) {
        for entry in self.table.records().get(self.chain.since..).unwrap_or_default() {
            if entry.is_root_file() && entry.item().is_none() {
                let message = "no item record describes it";
                self.findings.add(code::ITEM_MISMATCH, entry.name(), entry.offset(), message);
            }
        }
        let before = Before {
            header: self.header.as_ref(),
            items: &self.items,
            custody: self.custody.head,
            stream_offset: offset,
            stream_sha256,
        };
        self.chain.json(bytes, &before, &mut self.findings);
        self.items.in_set = 0;
        if self.chain.is_final {
            if self.stage != Stage::Payload {
                let message = "the bag's manifest is not there before it";
                self.findings.add(code::SEAL_BAD, &format!("checkpoint {seq}"), offset, message);
            }
            if self.custody.last_event != "sealing" {
                let message = "the custody log does not end with the event \"sealing\"";
                self.findings.add(code::SEAL_BAD, "custody log", offset, message);
            }
            self.stage = self.stage.max(Stage::FinalCheckpoint);
        } else if self.stage == Stage::Payload {
            let message = "a checkpoint that is not the final one comes after the bag's manifest";
            self.findings.add(code::SEAL_BAD, &format!("checkpoint {seq}"), offset, message);
        }
    }

    /// A checkpoint is whole: what it covers is verified, as long as nothing was wrong.
    fn advance(&mut self, end: u64) {
        self.chain.since = self.table.records().len();
        if self.findings.is_empty() {
            self.progress.entries = self.table.records().len();
            self.progress.items = self.items.clone();
            self.progress.custody_events = self.custody.events;
            self.progress.links = self.links.len();
            self.progress.next_part = self.custody.next_part;
            self.progress.verified_to = end;
        }
    }

    /// The file ends here, as a ZIP: it must be sealed.
    pub fn ends(&mut self, offset: u64) {
        self.chain.interrupt(offset, &mut self.findings);
        if self.stage != Stage::Sealed {
            let message = "the ZIP ends without the final checkpoint and the signed tag manifest";
            self.findings.add(code::SEAL_BAD, "the seal", offset, message);
        }
    }
}

/// Why an entry's header is not the one that the format writes.
fn form(header: &Parsed, place: Option<Place>) -> Option<&'static str> {
    let entry = &header.entry;
    let is_folder = entry.name.ends_with('/');
    if !header.canonical {
        return Some("its header is not as the format writes it");
    }
    if is_folder && (header.crc32, header.compressed, header.size) != (0, 0, 0) {
        return Some("a folder holds nothing");
    }
    if (is_folder || is_always_stored(place)) && (entry.method != Method::Stored || entry.streamed) {
        return Some("it must be stored, with known sizes");
    }
    if !entry.streamed {
        let fits = match entry.method {
            Method::Stored => header.compressed == header.size,
            Method::Deflate => header.compressed < header.size,
        };
        if !fits {
            return Some("its sizes do not fit its method");
        }
        if header.size > KNOWN_BYTES_MAX && !is_always_stored(place) {
            return Some("content of more than 1 MiB is written with a descriptor");
        }
    }
    let is_root_file = entry.name.starts_with(ROOT) && !is_folder;
    if entry.stamp.is_some() && !is_root_file {
        return Some("only entries under [root] that stand for files carry times and owners");
    }
    let dos_follows = entry.stamp.is_none_or(|stamp| {
        stamp.mtime.is_none_or(|mtime| Stamp::new(i64::from(mtime), stamp.uid, stamp.gid).dos == stamp.dos)
    });
    (!dos_follows).then_some("its two times differ")
}
