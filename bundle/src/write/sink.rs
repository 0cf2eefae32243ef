//! The bytes on their way out: counted, hashed, and vouched for every 8 MiB by a transport checkpoint beside the stream.

use std::io::Write;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256 as Hasher};
use wire::{BundleId, Phase, Sha256};

use super::WriteError;
use crate::checkpoint::{CHUNK_BYTES, Layer, NAMESPACE, StreamCheckpoint, StreamLine, to_sorted_json};
use crate::sign::SigningKey;
use crate::time::Instant;

/// Where the bytes of a bundle go.
pub trait Output: Write {
    /// Called at each ZIP boundary of a tier's end: what was written until now should survive a power cut.
    ///
    /// # Errors
    /// As the medium has them; the bundle then ends as partial.
    fn make_durable(&mut self) -> std::io::Result<()> {
        self.flush()
    }
}

impl Output for Vec<u8> {}
impl Output for std::io::Sink {}
impl Output for std::io::Stdout {}

impl Output for std::fs::File {
    fn make_durable(&mut self) -> std::io::Result<()> {
        self.sync_data()
    }
}

/// An output that is hashed as it is written.
pub(super) struct Sink<W, S> {
    out: W,
    sidecar: S,
    hasher: Hasher,
    offset: u64,
    /// The offset of the last transport checkpoint.
    vouched: u64,
    seq: u64,
    bundle: BundleId,
    key: SigningKey,
    /// The phase that the next transport checkpoint names.
    pub(super) phase: Phase,
    /// The time that it names: set by the writer, which holds the clock.
    pub(super) time: Instant,
}

impl<W: Output, S: Write> Sink<W, S> {
    pub(super) fn new(out: W, sidecar: S, bundle: BundleId, key: SigningKey, time: Instant) -> Self {
        Self {
            out,
            sidecar,
            hasher: Hasher::new(),
            offset: 0,
            vouched: 0,
            seq: 0,
            bundle,
            key,
            phase: Phase::Start,
            time,
        }
    }

    /// Bytes written so far.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Their digest.
    pub(super) fn digest(&self) -> Sha256 {
        Sha256::so_far(&self.hasher)
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            // Only when more follows: a ZIP boundary that falls on a chunk's end has vouched for it already.
            if self.offset.is_multiple_of(CHUNK_BYTES) && self.offset != self.vouched {
                self.vouch(false, false, false)?;
            }
            let to_chunk = CHUNK_BYTES - self.offset % CHUNK_BYTES;
            let now = bytes.len().min(usize::try_from(to_chunk).unwrap_or(usize::MAX));
            let (piece, rest) = bytes.split_at(now);
            self.out.write_all(piece).map_err(WriteError::Output)?;
            self.hasher.update(piece);
            self.offset += now as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// Writes a transport checkpoint for the bytes so far. They have been handed to the output before.
    pub(super) fn vouch(&mut self, zip_boundary: bool, phase_complete: bool, is_final: bool) -> Result<(), WriteError> {
        self.out.flush().map_err(WriteError::Output)?;
        self.seq += 1;
        self.vouched = self.offset;
        let checkpoint = StreamCheckpoint {
            bundle: self.bundle,
            is_final,
            layer: Layer::Zip,
            offset: self.offset,
            phase: self.phase,
            phase_complete,
            seq: self.seq,
            sha256: self.digest(),
            time: self.time,
            kind: "evidence-stream-checkpoint".into(),
            v: 1,
            zip_boundary,
            zip_offset: None,
            zip_sha256: None,
        };
        let signed = to_sorted_json(&checkpoint);
        let sig_ssh = self.key.sign(NAMESPACE, signed.as_bytes())?;
        let line = StreamLine { checkpoint, sig_ssh, signed_b64: BASE64_STANDARD.encode(&signed) };
        let mut line = to_sorted_json(&line);
        line.push('\n');
        self.sidecar.write_all(line.as_bytes()).map_err(WriteError::Sidecar)?;
        self.sidecar.flush().map_err(WriteError::Sidecar)
    }

    /// The output and the sidecar.
    pub(super) fn into_parts(self) -> (W, S) {
        (self.out, self.sidecar)
    }

    pub(super) fn make_durable(&mut self) -> Result<(), WriteError> {
        self.out.make_durable().map_err(WriteError::Output)
    }
}
