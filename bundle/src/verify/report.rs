//! What a verification found out, and the one type that stands for a bundle that nobody changed.

use std::collections::BTreeMap;

use ssh_key::PublicKey;
use wire::BundleId;

use super::chain::CheckpointSummary;
use super::finding::Findings;
use super::identity::Identity;
use super::items::Link;
use super::sidecar::SidecarSummary;
use super::table::EntryRecord;
use crate::checkpoint::Layer;
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
    /// The age file around it, when it was opened on the way. All other numbers are of the ZIP inside.
    pub envelope: Option<Envelope>,
    /// What items say of earlier parts of the run.
    pub links: Vec<Link>,
    /// The bundle in which the run goes on, where it does.
    pub next_part: Option<BundleId>,
    /// From here on there are only zeros, in which no entry of the format can stand: what a power cut leaves.
    pub zeros_from: Option<u64>,
    /// What the transport checkpoints say, when they were given.
    pub sidecar: Option<SidecarSummary>,
    /// What is wrong.
    pub findings: Findings,
}

/// An encrypted file, as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Its length.
    pub bytes: u64,
    /// True when its last block is there.
    pub is_whole: bool,
}

impl Report {
    /// Length of the file, encrypted or not.
    pub fn file_bytes(&self) -> u64 {
        self.envelope.map_or(self.bytes, |envelope| envelope.bytes)
    }
}

/// What the transport checkpoints alone show of a file.
#[derive(Clone, Debug)]
pub struct TransportReport {
    /// The bundle that they are of.
    pub bundle: Option<BundleId>,
    /// The key that signed them.
    pub signer: Option<PublicKey>,
    /// What the file is.
    pub layer: Layer,
    /// How far it goes; only believable without findings.
    pub state: State,
    /// Whether the signer is trusted.
    pub trust: Trust,
    /// Length of the data.
    pub bytes: u64,
    /// What the transport checkpoints say.
    pub sidecar: SidecarSummary,
    /// What is wrong.
    pub findings: Findings,
}

/// The whole content was checked: every entry, checkpoint and signature.
#[derive(Clone, Debug)]
pub struct Content {
    report: Report,
    header: Identity,
    entries: Vec<EntryRecord>,
}

/// The bytes are those that their signer uploaded; what is in them was not looked at. It is all that whoever has no key
/// can know of an encrypted bundle.
#[derive(Clone, Debug)]
pub struct Transport {
    report: TransportReport,
}

/// A bundle, or the part of one that arrived, in which nothing was changed after it was signed. There is no other way to
/// one than [`super::check`], [`super::check_encrypted`] and [`super::check_transport`].
#[derive(Clone, Debug)]
pub struct Verified<What = Content> {
    what: What,
}

impl Verified<Content> {
    pub(super) fn of_content(report: Report, header: Identity, mut entries: Vec<EntryRecord>) -> Self {
        entries.truncate(usize::try_from(report.entries).unwrap_or(usize::MAX));
        Self { what: Content { report, header, entries } }
    }

    /// `bundle.json`.
    pub fn header(&self) -> &Identity {
        &self.what.header
    }

    /// Sealed or partial.
    pub fn state(&self) -> State {
        self.what.report.state
    }

    /// Whether somebody here vouches for the signing key.
    pub fn trust(&self) -> &Trust {
        &self.what.report.trust
    }

    /// Everything else that the verification found out.
    pub fn report(&self) -> &Report {
        &self.what.report
    }

    /// The verified entries, in the order of the stream.
    pub fn entries(&self) -> &[EntryRecord] {
        &self.what.entries
    }
}

impl Verified<Transport> {
    pub(super) fn of_transport(report: TransportReport) -> Self {
        Self { what: Transport { report } }
    }

    /// Sealed: to the signer's last word. Partial: to one before it.
    pub fn state(&self) -> State {
        self.what.report.state
    }

    /// Whether somebody here vouches for the signing key.
    pub fn trust(&self) -> &Trust {
        &self.what.report.trust
    }

    /// Everything else that the verification found out.
    pub fn report(&self) -> &TransportReport {
        &self.what.report
    }
}

/// Why there is no [`Verified`]. One variant for each thing that a caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum NotVerified<R: std::fmt::Debug = Report> {
    /// Something else was given.
    #[error("not an evidence bundle: {0}")]
    NotABundle(String),
    /// It must be decrypted first.
    #[error("the bundle is encrypted with age")]
    Encrypted,
    /// It is encrypted to others.
    #[error("the bundle is encrypted to others: none of the keys opens it")]
    NoKey,
    /// A later version of the format, or a kind of key that is not known here.
    #[error("the bundle is not supported by this version: {0}")]
    Unsupported(String),
    /// The data could not be read to its end.
    #[error("the bundle could not be read")]
    Io(#[from] std::io::Error),
    /// Somebody or something changed it.
    #[error("the bundle was changed after it was signed")]
    Rejected(Box<R>),
    /// It ends before its first checkpoint.
    #[error("the bundle ends before its first checkpoint: nothing in it is signed")]
    Unverified(Box<R>),
}
