//! Verification: one pass over the bytes, in bounded memory apart from one small record for each entry.
//!
//! Nothing in a bundle is believed before its checkpoint verified, and no bit is free: the content is hashed against
//! manifests, items and signatures, and the container is written again from the parsed values and compared. Whoever
//! wants to read a bundle needs a [`Verified`], and [`check`] is the only way to one.
//!
//! Data that ends early is not tampering: a bundle streams from a host that may be wiped at any moment. It is `Partial`
//! up to its last checkpoint. A file that ends in zeros was not cut cleanly: the length of a file can reach the medium
//! before its bytes do, and what a power cut left unwritten then reads as zeros. It *is* tampering when a transport
//! checkpoint says that the signer had come further.
//!
//! Of an encrypted file, [`check_transport`] checks without a key what its signer said of the bytes as they are, and
//! [`check_encrypted`] all of it, both layers in one pass.
//!
//! The parts of a run are checked each by itself, and then with [`check_parts`] against one another.
//!
//! Known limit: server receipts are not read.

mod book;
mod chain;
mod content;
mod custody;
mod directory;
mod envelope;
mod finding;
mod identity;
mod items;
pub mod limits;
mod lines;
mod manifest;
mod parts;
mod place;
mod read;
mod report;
mod sidecar;
mod stream;
mod table;
mod transport;
mod walk;

use std::io::Read;

pub use chain::CheckpointSummary;
pub use envelope::check_encrypted;
pub use finding::{Finding, Findings, code};
pub use identity::Identity;
pub use items::Link;
pub use parts::check_parts;
pub use read::{ReadError, read_entries};
pub use report::{Content, Envelope, NotVerified, Report, State, Transport, TransportReport, Trust, Verified};
pub use sidecar::{BadLine, Sidecar, SidecarSummary, believe_line};
pub use table::EntryRecord;
pub use transport::{Announced, check_transport};

use crate::checkpoint::{Layer, NAMESPACE};
use crate::sign::AllowedSigners;
use crate::time::Instant;
use book::Book;
use identity::BadIdentity;
use sidecar::{Expected, Seen};
use stream::Stream;
use walk::{Ended, walk};

/// What a bundle is held against, besides itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Against<'a> {
    /// The keys that are trusted, and for whom.
    pub signers: Option<&'a AllowedSigners>,
    /// The transport checkpoints that lie beside the bundle.
    pub sidecar: Option<&'a Sidecar>,
}

/// What the bytes of a file are, by its beginning.
pub fn layer_of(beginning: &[u8]) -> Layer {
    if beginning.starts_with(b"age-encryption.org/v1") { Layer::Age } else { Layer::Zip }
}

/// Verifies a bundle, whole or partial, in one pass.
///
/// # Errors
/// [`NotVerified`]: with all findings when it was changed, otherwise with the reason why there is nothing to verify.
pub fn check(bundle: impl Read, against: Against) -> Result<Verified, NotVerified> {
    let marks = against.sidecar.map(Sidecar::marks).unwrap_or_default();
    let mut stream = Stream::new(bundle, marks);
    let pass = Pass::over(&mut stream)?;
    let seen = Seen { reached: stream.reached(), held: pass.bytes, zip: None };
    pass.conclude(against, None, seen)
}

/// One pass over the ZIP, and what it found.
struct Pass {
    book: Book,
    ended: Ended,
    /// True when nothing comes after the end record.
    is_all: bool,
    bytes: u64,
    /// See [`Report::zeros_from`].
    zeros_from: Option<u64>,
}

impl Pass {
    fn over<R: Read>(stream: &mut Stream<R>) -> Result<Self, NotVerified> {
        let mut book = Book::new();
        let mut ended = walk(stream, &mut book)?;
        let read_to = stream.position();
        stream.skip(u64::MAX)?;
        let bytes = stream.position();
        if ended == Ended::Broken {
            book.blame(read_to);
        }
        let solid_to = stream.solid_to();
        let mut zeros_from = None;
        if ended != Ended::Whole
            && (1..=limits::UNWRITTEN_BYTES_MAX).contains(&(bytes - solid_to))
            && book.forgive_zeros(solid_to)
        {
            zeros_from = Some(solid_to);
            ended = Ended::Cut(None);
        }
        Ok(Self { book, ended, is_all: read_to == bytes, bytes, zeros_from })
    }

    /// The verdict, with the transport checkpoints held against the bytes that were `seen`.
    fn conclude(self, against: Against, envelope: Option<Envelope>, seen: Seen) -> Result<Verified, NotVerified> {
        let Self { mut book, ended, is_all, bytes, zeros_from } = self;
        let Some(header) = book.header.clone() else { return Err(without_header(book, ended, bytes, envelope)) };
        let layer = Some(if envelope.is_some() { Layer::Age } else { Layer::Zip });
        let expected = Expected { bundle: header.bundle, signer: &header.signer, layer };
        let sidecar = against.sidecar.map(|sidecar| sidecar.judge(expected, seen, &mut book.findings));
        let is_sealed = ended == Ended::Whole && is_all && book.findings.is_empty();
        let state = match (is_sealed, book.checkpoints.is_empty()) {
            (true, _) => State::Sealed,
            (false, false) => State::Partial,
            (false, true) => State::Unverified,
        };
        if is_sealed {
            book.progress.entries = book.table.records().len();
            book.progress.verified_to = bytes;
            book.progress.boundary = Some(bytes);
        }
        let mut report = report(&book, state, ended, bytes);
        report.envelope = envelope;
        report.sidecar = sidecar;
        report.zeros_from = zeros_from;
        report.trust = trust(&header, &report, against.signers);
        report.header = Some(header.clone());
        if !report.findings.is_empty() {
            Err(NotVerified::Rejected(Box::new(report)))
        } else if state == State::Unverified {
            Err(NotVerified::Unverified(Box::new(report)))
        } else {
            Ok(Verified::of_content(report, header, book.table.into_records()))
        }
    }
}

/// Without a readable bundle.json there is no signer to hold anything against.
fn without_header(book: Book, ended: Ended, bytes: u64, envelope: Option<Envelope>) -> NotVerified {
    let began_as_a_bundle = book.table.records().first().is_none_or(|entry| entry.name() == "bagit.txt");
    let was_changed = book.findings.names(code::CONTENT_CHANGED, "bundle.json");
    match book.bad_header {
        Some(BadIdentity::Unsupported(why)) if !was_changed => return NotVerified::Unsupported(why),
        Some(BadIdentity::Unreadable(why)) if !was_changed => {
            return NotVerified::NotABundle(format!("its bundle.json cannot be used: {why}"));
        }
        _ => {}
    }
    let is_bad = book.bad_header.is_some();
    let report = Report { envelope, ..report(&book, State::Unverified, ended, bytes) };
    match report.cut_in {
        _ if is_bad => NotVerified::Rejected(Box::new(report)),
        _ if !began_as_a_bundle => NotVerified::NotABundle("it is a ZIP file without a bundle.json".to_owned()),
        _ if !report.findings.is_empty() => NotVerified::Rejected(Box::new(report)),
        _ => NotVerified::Unverified(Box::new(report)),
    }
}

fn report(book: &Book, state: State, ended: Ended, bytes: u64) -> Report {
    Report {
        header: None,
        state,
        trust: Trust::Unknown,
        bytes,
        verified_to: book.progress.verified_to,
        boundary: book.progress.boundary,
        entries: book.progress.entries as u64,
        items: book.progress.items.by_status.clone(),
        custody_events: book.progress.custody_events,
        checkpoints: book.checkpoints.clone(),
        cut_in: if let Ended::Cut(inside) = ended { inside } else { None },
        envelope: None,
        sidecar: None,
        links: book.links.get(..book.progress.links).unwrap_or_default().to_vec(),
        next_part: book.progress.next_part,
        zeros_from: None,
        findings: book.findings.clone(),
    }
}

/// The key must have been valid at the last signature, by the host's clock, or where the header says how far that is from
/// the server's, by the server's: who vouches for keys goes by that one. Both are the signer's word.
fn trust(header: &Identity, report: &Report, signers: Option<&AllowedSigners>) -> Trust {
    let at = report.checkpoints.last().map_or(header.started, |checkpoint| checkpoint.time);
    let at = Instant(at.0.saturating_add(header.server_offset_ns.unwrap_or(0)));
    let trusted = signers.is_some_and(|signers| signers.allow(&header.signer, &header.principal, NAMESPACE, at));
    if trusted { Trust::Trusted { principal: header.principal.clone() } } else { Trust::Unknown }
}
