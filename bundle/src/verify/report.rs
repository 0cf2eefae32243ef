//! What a verification found out, and the one type that stands for a bundle that nobody changed.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use super::chain::CheckpointSummary;
use super::finding::Findings;
use super::identity::Identity;
use super::sidecar::SidecarSummary;
use super::table::EntryRecord;
use crate::item::Status;

/// How far a bundle goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The final checkpoint, the seal and the end of the file are there.
    Sealed,
    /// At least one checkpoint is there; the data ends before the seal.
    Partial,
    /// The data ends before the first checkpoint: nothing is signed.
    Unverified,
}

/// Whether somebody here vouches for the signing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The allowed signers that were given name the key for this principal.
    Trusted {
        /// `agent:<agent id>`.
        principal: String,
    },
    /// They do not, or none were given.
    Unknown,
}

/// Everything that a verification found out. Texts in it come from the bundle: escape them before a screen.
#[derive(Clone, Debug)]
pub struct Report {
    /// `bundle.json`, when it could be read.
    pub header: Option<Identity>,
    /// How far the bundle goes; only believable without findings.
    pub state: State,
    /// Whether the signer is trusted.
    pub trust: Trust,
    /// Length of the data.
    pub bytes: u64,
    /// The bytes before this offset are verified.
    pub verified_to: u64,
    /// The longest verified prefix that is an ordinary ZIP file (`head -c`).
    pub boundary: Option<u64>,
    /// Entries within the verified bytes.
    pub entries: u64,
    /// Item records within the verified bytes, by status.
    pub items: BTreeMap<Status, u64>,
    /// Custody events within the verified bytes.
    pub custody_events: u64,
    /// The checkpoints that verified, in order.
    pub checkpoints: Vec<CheckpointSummary>,
    /// The entry in which the data ends, when it ends inside one.
    pub cut_in: Option<String>,
    /// What the transport checkpoints say, when they were given.
    pub sidecar: Option<SidecarSummary>,
    /// What is wrong.
    pub findings: Findings,
}

/// The whole content was checked: every entry, checkpoint and signature. (A server that has only seen the transport
/// checkpoints of an encrypted upload knows less, and will say so with another marker.)
#[derive(Clone, Copy, Debug)]
pub enum Content {}

/// A bundle, or the part of one that arrived, in which nothing was changed after it was signed. There is no other way to
/// one than [`super::check`].
#[derive(Clone, Debug)]
pub struct Verified<What = Content> {
    report: Report,
    header: Identity,
    entries: Vec<EntryRecord>,
    what: PhantomData<What>,
}

impl<What> Verified<What> {
    pub(super) fn new(report: Report, header: Identity, mut entries: Vec<EntryRecord>) -> Self {
        entries.truncate(usize::try_from(report.entries).unwrap_or(usize::MAX));
        Self { report, header, entries, what: PhantomData }
    }

    /// `bundle.json`.
    pub fn header(&self) -> &Identity {
        &self.header
    }

    /// Sealed or partial.
    pub fn state(&self) -> State {
        self.report.state
    }

    /// Whether somebody here vouches for the signing key.
    pub fn trust(&self) -> &Trust {
        &self.report.trust
    }

    /// Everything else that the verification found out.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The verified entries, in the order of the stream.
    pub fn entries(&self) -> &[EntryRecord] {
        &self.entries
    }
}

/// Why there is no [`Verified`]. One variant for each thing that a caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum NotVerified {
    /// Something else was given.
    #[error("not an evidence bundle: {0}")]
    NotABundle(String),
    /// It must be decrypted first.
    #[error("the bundle is encrypted with age, which this version does not decrypt")]
    Encrypted,
    /// A later version of the format, or a kind of key that is not known here.
    #[error("the bundle is not supported by this version: {0}")]
    Unsupported(String),
    /// The data could not be read to its end.
    #[error("the bundle could not be read")]
    Io(#[from] std::io::Error),
    /// Somebody or something changed it.
    #[error("the bundle was changed after it was signed")]
    Rejected(Box<Report>),
    /// It ends before its first checkpoint.
    #[error("the bundle ends before its first checkpoint: nothing in it is signed")]
    Unverified(Box<Report>),
}
