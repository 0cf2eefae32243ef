//! `<bundle>.stream.jsonl`: the transport checkpoints, signed over the bytes of the file from its beginning.

use std::io::{self, Read};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use ssh_key::{PublicKey, SshSig};
use wire::{BundleId, Phase, Sha256};

use super::finding::{Findings, code};
use super::limits::{SIDECAR_BYTES_MAX, SIDECAR_LINE_BYTES_MAX};
use crate::checkpoint::{Layer, NAMESPACE, StreamCheckpoint};
use crate::sign::{verifies, verifies_itself};
use crate::time::Instant;

/// The transport checkpoints as read; nothing of them is believed yet.
#[derive(Debug, Default)]
pub struct Sidecar {
    lines: Vec<Line>,
    cut_in_line: bool,
    too_long: bool,
}

#[derive(Debug)]
struct Line {
    parsed: Result<StreamCheckpoint, &'static str>,
    signed: Vec<u8>,
    signature: String,
}

/// Why a transport checkpoint is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadLine {
    /// One of [`code`].
    pub code: &'static str,
    /// What is wrong with it; holds nothing from the line that is not escaped.
    pub message: String,
}

/// The transport checkpoint in one line (without its LF), when `signer` signed it for this bundle: the rules by which a
/// whole sidecar is judged, for whoever is given it line by line. Number, offset, layer and digest are the caller's to
/// compare.
///
/// # Errors
/// [`BadLine`].
pub fn believe_line(line: &[u8], bundle: BundleId, signer: &PublicKey) -> Result<StreamCheckpoint, BadLine> {
    let line = Line::parse(line);
    let expected = Expected { bundle, signer, layer: None };
    line.believe(expected).cloned().map_err(|(code, message)| BadLine { code, message })
}

/// Whose transport checkpoints are wanted, and for which bytes.
#[derive(Clone, Copy)]
pub(super) struct Expected<'a> {
    pub bundle: BundleId,
    pub signer: &'a PublicKey,
    /// `None` for whoever has not seen the bytes.
    pub layer: Option<Layer>,
}

/// The bytes that are here.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    /// Digests at the marks.
    pub reached: &'a [(u64, Sha256)],
    pub held: u64,
    /// Of an encrypted file that was opened: the same of the ZIP inside.
    pub zip: Option<(&'a [(u64, Sha256)], u64)>,
}

/// What the transport checkpoints say, once they are held against the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SidecarSummary {
    /// The bytes before this offset are the signer's.
    pub verified_to: u64,
    /// When the signer vouched for them, by the host's clock.
    pub verified_at: Option<Instant>,
    /// The phases that are complete in them.
    pub phases: Vec<Phase>,
    /// The longest of them that hold an ordinary ZIP file, and, of an encrypted file, its length.
    pub boundary: Option<(u64, Option<u64>)>,
    /// Whole lines.
    pub lines: u64,
    /// How far the signer reached.
    pub reached: u64,
    /// True when the last of them is the signer's last word.
    pub is_final: bool,
    /// True when the last line is cut, or torn by a power cut: it is ignored.
    pub cut_in_line: bool,
}

impl Sidecar {
    /// Reads the lines; whether they hold is for the verification to say.
    ///
    /// # Errors
    /// When reading fails.
    pub fn read(source: impl Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        source.take(SIDECAR_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        let mut sidecar = Self { too_long: bytes.len() as u64 > SIDECAR_BYTES_MAX, ..Self::default() };
        let mut pieces = bytes.split_inclusive(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            let has_end = text.len() < piece.len();
            if pieces.peek().is_none() && is_torn(text, has_end) {
                sidecar.cut_in_line = true;
            } else {
                sidecar.lines.push(Line::parse(text));
            }
        }
        Ok(sidecar)
    }

    /// The offsets at which the digest of the bytes is wanted, increasing.
    pub(super) fn marks(&self) -> Vec<u64> {
        self.marks_of(|checkpoint| Some(checkpoint.offset))
    }

    /// The same of the ZIP in an encrypted file.
    pub(super) fn zip_marks(&self) -> Vec<u64> {
        self.marks_of(|checkpoint| checkpoint.zip_offset)
    }

    fn marks_of(&self, of: impl Fn(&StreamCheckpoint) -> Option<u64>) -> Vec<u64> {
        let parsed = self.lines.iter().filter_map(|line| line.parsed.as_ref().ok());
        let mut marks: Vec<u64> = parsed.filter_map(of).collect();
        marks.sort_unstable();
        marks.dedup();
        marks
    }

    /// The bundle and the signer that the first line names, for whoever knows neither.
    pub(super) fn names(&self) -> Option<(BundleId, PublicKey)> {
        let first = self.lines.first()?;
        let signature = SshSig::from_pem(first.signature.as_bytes()).ok()?;
        Some((first.parsed.as_ref().ok()?.bundle, PublicKey::from(signature.public_key().clone())))
    }

    /// True when there is no whole line in it.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Holds every line against the signer and the bytes.
    pub(super) fn judge(&self, expected: Expected, seen: Seen, findings: &mut Findings) -> SidecarSummary {
        let mut summary = SidecarSummary {
            lines: self.lines.len() as u64,
            cut_in_line: self.cut_in_line,
            ..SidecarSummary::default()
        };
        if self.too_long {
            findings.add(code::LIMIT, "transport checkpoints", 0, "they are longer than this version takes");
        }
        let (mut differs, mut zip_reached) = (false, 0);
        for (number, line) in self.lines.iter().enumerate() {
            let subject = format!("transport checkpoint {}", number + 1);
            let checkpoint = match line.believe(expected) {
                Ok(checkpoint) => checkpoint,
                Err((code, message)) => {
                    findings.add(code, &subject, 0, message);
                    continue;
                }
            };
            let (offset, zip_offset) = (checkpoint.offset, checkpoint.zip_offset.unwrap_or(0));
            let follows = checkpoint.seq == number as u64 + 1 && offset > summary.reached && zip_offset >= zip_reached;
            if summary.is_final || !follows {
                let message = "its number or offset does not follow from the line before it";
                findings.add(code::SIDECAR_MISMATCH, &subject, offset, message);
            }
            summary.reached = summary.reached.max(offset);
            zip_reached = zip_reached.max(zip_offset);
            summary.is_final |= checkpoint.is_final;
            match seen.differs(checkpoint) {
                Some(message) if !differs => {
                    differs = true;
                    findings.add(code::TRANSPORT_MISMATCH, &subject, offset, message);
                }
                None if !differs && offset <= seen.held => summary.verify(checkpoint),
                _ => {}
            }
        }
        let held = seen.held;
        if summary.reached > held {
            let message = format!("the signer reached offset {}, you hold {held}", summary.reached);
            findings.add(code::TRUNCATED, "the file", held, message);
        } else if summary.is_final && summary.reached < held {
            let message =
                format!("the signer ended at offset {}; {} bytes more", summary.reached, held - summary.reached);
            findings.add(code::TRAILING_BYTES, "the file", summary.reached, message);
        }
        summary
    }
}

impl SidecarSummary {
    /// The bytes up to this checkpoint are those that it was signed for.
    fn verify(&mut self, checkpoint: &StreamCheckpoint) {
        self.verified_to = checkpoint.offset;
        self.verified_at = Some(checkpoint.time);
        if checkpoint.phase_complete && !self.phases.contains(&checkpoint.phase) {
            self.phases.push(checkpoint.phase);
        }
        if checkpoint.zip_boundary {
            self.boundary = Some((checkpoint.offset, checkpoint.zip_offset));
        }
    }
}

impl Seen<'_> {
    /// How the bytes differ from those that the checkpoint was signed for, where they are here.
    fn differs(&self, checkpoint: &StreamCheckpoint) -> Option<String> {
        let at = |reached: &[(u64, Sha256)], offset: u64| {
            reached.binary_search_by_key(&offset, |(there, _)| *there).ok().and_then(|at| Some(reached.get(at)?.1))
        };
        let offset = checkpoint.offset;
        if at(self.reached, offset).is_some_and(|found| found != checkpoint.sha256) {
            return Some(format!("the first {offset} bytes are not those that it was signed for"));
        }
        let ((reached, length), zip_offset, zip_sha256) = (self.zip?, checkpoint.zip_offset?, checkpoint.zip_sha256?);
        if offset > self.held || zip_offset == 0 {
            return None;
        }
        let holds = zip_offset <= length && at(reached, zip_offset).is_none_or(|found| found == zip_sha256);
        (!holds).then(|| format!("the first {zip_offset} bytes of the ZIP inside are not those that it was signed for"))
    }
}

impl Line {
    fn parse(text: &[u8]) -> Self {
        match Self::try_parse(text) {
            Ok((checkpoint, signed, signature)) => Self { parsed: Ok(checkpoint), signed, signature },
            Err(why) => Self { parsed: Err(why), signed: Vec::new(), signature: String::new() },
        }
    }

    fn try_parse(text: &[u8]) -> Result<(StreamCheckpoint, Vec<u8>, String), &'static str> {
        const NO_LINE: &str = "it is no transport checkpoint";
        if text.len() > SIDECAR_LINE_BYTES_MAX {
            return Err("it is longer than this version takes");
        }
        let line: Value = serde_json::from_slice(text).map_err(|_| NO_LINE)?;
        let field = |name| line.get(name).and_then(Value::as_str).ok_or(NO_LINE);
        let (signature, signed_b64) = (field("sig_ssh")?.to_owned(), field("signed_b64")?.to_owned());
        let signed = BASE64_STANDARD.decode(&signed_b64).map_err(|_| NO_LINE)?;
        let value: Value = serde_json::from_slice(&signed).map_err(|_| NO_LINE)?;
        // The line is the signed object with the two fields added, sorted: what people read is what was signed.
        let mut shown = value.clone();
        let fields = shown.as_object_mut().ok_or(NO_LINE)?;
        fields.insert("sig_ssh".to_owned(), signature.clone().into());
        fields.insert("signed_b64".to_owned(), signed_b64.into());
        if value.to_string().as_bytes() != signed || shown.to_string().as_bytes() != text {
            return Err("what it shows is not what it signs");
        }
        let checkpoint: StreamCheckpoint = serde_json::from_value(value).map_err(|_| NO_LINE)?;
        Ok((checkpoint, signed, signature))
    }

    /// The checkpoint, when the bundle's signer signed it for this bundle.
    fn believe(&self, expected: Expected) -> Result<&StreamCheckpoint, (&'static str, String)> {
        let Expected { bundle, signer, layer } = expected;
        let checkpoint = self.parsed.as_ref().map_err(|why| (code::SIDECAR_MISMATCH, (*why).to_owned()))?;
        if (checkpoint.v, checkpoint.kind.as_str()) != (1, "evidence-stream-checkpoint") {
            return Err((code::SIDECAR_MISMATCH, "its type or version is another".to_owned()));
        }
        if checkpoint.bundle != bundle {
            let message = format!("transport checkpoints of another bundle, {}", checkpoint.bundle);
            return Err((code::SIDECAR_MISMATCH, message));
        }
        if layer.is_some_and(|layer| checkpoint.layer != layer) {
            let message = match checkpoint.layer {
                Layer::Age => "it is for the encrypted file, and this one is not",
                Layer::Zip => "it is for a file that is not encrypted, and this one is",
            };
            return Err((code::SIDECAR_MISMATCH, message.to_owned()));
        }
        let zip = checkpoint.zip_offset.zip(checkpoint.zip_sha256);
        if checkpoint.layer == Layer::Age && zip.is_none_or(|(offset, _)| offset > checkpoint.offset) {
            return Err((code::SIDECAR_MISMATCH, "it does not say how much of the ZIP inside it is for".to_owned()));
        }
        let signature = self.signature.as_bytes();
        if verifies(signer, NAMESPACE, &self.signed, signature) {
            Ok(checkpoint)
        } else if verifies_itself(NAMESPACE, &self.signed, signature) {
            Err((code::SIGNER_CHANGED, "it is signed by another key than the bundle's".to_owned()))
        } else {
            Err((code::SIGNATURE_BAD, "its signature does not verify".to_owned()))
        }
    }
}

/// True when the last line was not written to its end: without an LF it is the beginning of a line, or a power cut left
/// zeros in it, which JSON never holds.
fn is_torn(text: &[u8], has_end: bool) -> bool {
    text.contains(&0) || (!has_end && serde_json::from_slice::<Value>(text).is_err_and(|error| error.is_eof()))
}
