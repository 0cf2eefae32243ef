//! Everything that is held, read and compared with what was written down of it, while the server serves.
//!
//! | what | is compared with |
//! |---|---|
//! | the custody log, from its first leaf on | the hash of each leaf, the log's state, the signed heads, the receipts |
//! | each segment of a bundle | its length and digest |
//! | a bundle's bytes | the digests in its receipts, and the one that was recorded when it was verified |
//! | a sealed bundle | itself: every signature in it (`bundle::verify`) |
//! | each alert and dead letter | its digest |
//! | each object | the records: one that none of them names is an orphan |
//!
//! Nothing is changed or removed. An orphan was never acknowledged: a server that dies between a put and a commit leaves
//! one. What came in the last hour is not judged as one, for its record may be on its way.

mod bundles;
mod custody;
mod pace;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use futures_util::stream::{self, StreamExt as _};
use serde::Serialize;
use ssh_key::PublicKey;
use wire::{Instant, Sha256};

use super::{Holding, Holdings};
use crate::objects::{FOLDERS, OBJECT_BYTES_MAX, ObjectError, Objects};
use crate::store::{Store, StoreError};
use pace::Pace;

/// Bundles that are asked for at a time.
const PAGE: u32 = 100;
/// Small objects that are read at a time.
const AT_A_TIME: usize = 8;
/// What came so late is no orphan yet.
const ORPHAN_SECS_MIN: i64 = 3600;
/// Findings that are kept; beyond them they are only counted.
const FINDINGS_MAX: usize = 10_000;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Something that was acknowledged is lost or was changed.
    Wrong,
    /// An object that no record names.
    Orphan,
    /// Worth knowing.
    Note,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about: an object's path, a leaf, a receipt.
    pub subject: String,
    /// In words.
    pub what: String,
}

/// How much was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Alerts.
    pub alerts: u64,
    /// Bundles.
    pub bundles: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Signed heads of the custody log.
    pub heads: u64,
    /// Leaves of the custody log.
    pub leaves: u64,
    /// Objects that were listed.
    pub objects: u64,
    /// Receipts.
    pub receipts: u64,
    /// Segments of bundles.
    pub segments: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// How much was looked at.
    pub checked: Checked,
    /// What was found, in the order in which it was.
    pub findings: Vec<Finding>,
    /// How many findings of each level there are, those too that are not listed.
    pub levels: BTreeMap<Level, u64>,
}

impl Report {
    /// True when nothing that was acknowledged is lost or changed.
    pub fn is_sound(&self) -> bool {
        !self.levels.contains_key(&Level::Wrong)
    }

    fn add(&mut self, level: Level, subject: impl Into<String>, what: impl Into<String>) {
        *self.levels.entry(level).or_default() += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { level, subject: subject.into(), what: what.into() });
        }
    }

    fn wrong(&mut self, subject: impl Into<String>, what: impl Into<String>) {
        self.add(Level::Wrong, subject, what);
    }
}

/// What is scrubbed.
pub struct Scrub<'a> {
    /// Where the signed heads of the custody log were written down.
    pub heads: &'a Path,
    /// The time.
    pub now: Instant,
    /// Where the objects are.
    pub objects: &'a Objects,
    /// The records.
    pub store: &'a dyn Store,
    /// The key that signed heads and receipts.
    pub signer: PublicKey,
}

/// A scrub under way.
struct Work<'a> {
    /// Names of the objects that records name, shortened.
    named: HashSet<[u8; 16]>,
    pace: Pace,
    /// States of the custody log that somebody signed: size, root, and where it stands.
    points: BTreeMap<u64, Vec<(Sha256, String)>>,
    report: Report,
    scrub: &'a Scrub<'a>,
}

impl Scrub<'_> {
    /// Reads everything, at most so many bytes a second.
    ///
    /// # Errors
    /// When the records cannot be read at all. What is wrong with what they say is in the report.
    pub async fn run(&self, bytes_per_sec: Option<u64>) -> Result<Report, StoreError> {
        let mut work = self.begin(bytes_per_sec);
        let mut after = None;
        loop {
            let records = self.store.evidence_list(None, after, PAGE).await?;
            for record in &records {
                work.bundle(record).await?;
            }
            match records.last() {
                Some(last) => after = Some(last.view.bundle),
                None => break,
            }
        }
        let mut holdings = Holdings::of_small_ones();
        while let Some(some) = holdings.next(self.store).await? {
            work.small(some).await;
        }
        work.orphans().await;
        work.custody().await?;
        work.report.checked.bytes = work.pace.bytes();
        Ok(work.report)
    }

    /// Reads the custody log and its signed heads only.
    ///
    /// # Errors
    /// As [`Scrub::run`].
    pub async fn custody(&self) -> Result<Report, StoreError> {
        let mut work = self.begin(None);
        work.custody().await?;
        Ok(work.report)
    }

    fn begin(&self, bytes_per_sec: Option<u64>) -> Work<'_> {
        Work {
            named: HashSet::new(),
            pace: Pace::new(bytes_per_sec),
            points: BTreeMap::new(),
            report: Report::default(),
            scrub: self,
        }
    }
}

impl Work<'_> {
    fn name(&mut self, path: &str) {
        self.named.insert(short(path));
    }

    /// Alerts and dead letters.
    async fn small(&mut self, some: Vec<Holding>) {
        let objects = self.scrub.objects;
        let mut reads = stream::iter(some)
            .map(async |holding| {
                let read = objects.read(&holding.path, OBJECT_BYTES_MAX).await;
                (holding, read)
            })
            .buffer_unordered(AT_A_TIME);
        while let Some((holding, read)) = reads.next().await {
            self.named.insert(short(&holding.path));
            let checked = &mut self.report.checked;
            *(if holding.path.starts_with("alerts/") { &mut checked.alerts } else { &mut checked.dead_letters }) += 1;
            match read {
                Ok(bytes) => {
                    self.pace.read(bytes.len() as u64).await;
                    if let Err(what) = holding.check(bytes.len() as u64, Sha256::of(&bytes)) {
                        self.report.wrong(holding.path, what);
                    }
                }
                Err(ObjectError::Missing(_)) if holding.may_go => {
                    self.report.add(Level::Note, holding.path, "it was replayed, and taken away");
                }
                Err(error) => self.report.wrong(holding.path, in_words(&error)),
            }
        }
    }

    async fn orphans(&mut self) {
        let now_secs = i64::try_from(self.scrub.now.0 / 1_000_000_000).unwrap_or(i64::MAX);
        for folder in FOLDERS {
            let mut listed = std::pin::pin!(self.scrub.objects.listed(folder));
            while let Some(found) = listed.next().await {
                match found {
                    Ok(found) => {
                        self.report.checked.objects += 1;
                        let is_old = found.modified_secs <= now_secs.saturating_sub(ORPHAN_SECS_MIN);
                        if is_old && !self.named.contains(&short(&found.path)) {
                            self.report.add(
                                Level::Orphan,
                                found.path,
                                format!("no record names it: {} bytes that were never acknowledged", found.bytes),
                            );
                        }
                    }
                    Err(error) => self.report.wrong(folder, in_words(&error)),
                }
            }
        }
    }
}

/// Half of a digest: no two paths have the same, and a million of them take little memory.
fn short(path: &str) -> [u8; 16] {
    let Sha256(digest) = Sha256::of(path.as_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(digest.split_at(16).0);
    half
}

/// What an object store says, for somebody who knows already which object is meant.
fn in_words(error: &ObjectError) -> String {
    match error {
        ObjectError::Missing(_) => "it is missing".to_owned(),
        ObjectError::Short { bytes, wanted, .. } => format!("it ends at byte {bytes}, and {wanted} were acknowledged"),
        ObjectError::TooLong { bytes, .. } => format!("it has {bytes} bytes, more than any object"),
        error => {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("{error}{cause}")
        }
    }
}
