//! The bytes as they leave, encrypted or not: counted, hashed, and vouched for every 8 MiB by a transport checkpoint
//! beside the stream.

use std::io::Write;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256 as Hasher};
use wire::{BundleId, Phase, Sha256};

use super::{Happened, Output, WriteError};
use crate::checkpoint::{CHUNK_BYTES, Layer, NAMESPACE, StreamCheckpoint, StreamLine, to_sorted_json};
use crate::sign::SigningKey;
use crate::time::Instant;

/// The length and the digest of a prefix.
#[derive(Clone, Copy)]
pub(super) struct Prefix {
    pub(super) offset: u64,
    pub(super) sha256: Sha256,
}

/// Bytes that are counted and hashed as they go by.
#[derive(Default)]
pub(super) struct Running {
    hasher: Hasher,
    offset: u64,
}

impl Running {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// All that went by.
    pub(super) fn prefix(&self) -> Prefix {
        Prefix { offset: self.offset, sha256: Sha256::so_far(&self.hasher) }
    }
}

/// Where the run stands, for a transport checkpoint to say.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    pub(super) phase: Phase,
    pub(super) time: Instant,
    /// Of an encrypted stream: the ZIP that can be had from the bytes that left.
    pub(super) zip: Option<Prefix>,
}

/// What a transport checkpoint says besides.
#[derive(Clone, Copy, Default)]
pub(super) struct Says {
    pub(super) zip_boundary: bool,
    pub(super) phase_complete: bool,
    pub(super) is_final: bool,
}

/// See the module.
pub(super) struct Outlet<W, S> {
    out: W,
    sidecar: S,
    left: Running,
    /// The offset of the last transport checkpoint.
    vouched: u64,
    seq: u64,
    bundle: BundleId,
    key: SigningKey,
}

impl<W: Output, S: Write> Outlet<W, S> {
    pub(super) fn new(out: W, sidecar: S, bundle: BundleId, key: SigningKey) -> Self {
        Self { out, sidecar, left: Running::default(), vouched: 0, seq: 0, bundle, key }
    }

    /// All that was written.
    pub(super) fn left(&self) -> &Running {
        &self.left
    }

    pub(super) fn write(&mut self, mut bytes: &[u8], standing: Standing) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            // Only when more follows: a ZIP boundary that falls on a chunk's end has vouched for it already.
            let offset = self.left.offset();
            if offset.is_multiple_of(CHUNK_BYTES) && offset != self.vouched {
                self.vouch(Says::default(), standing)?;
            }
            let to_chunk = CHUNK_BYTES - offset % CHUNK_BYTES;
            let now = bytes.len().min(usize::try_from(to_chunk).unwrap_or(usize::MAX));
            let (piece, rest) = bytes.split_at(now);
            self.out.write_all(piece).map_err(WriteError::Output)?;
            self.left.update(piece);
            bytes = rest;
        }
        Ok(())
    }

    /// Writes a transport checkpoint for the bytes so far. They have been handed to the output before.
    pub(super) fn vouch(&mut self, says: Says, standing: Standing) -> Result<(), WriteError> {
        self.out.flush().map_err(WriteError::Output)?;
        let Prefix { offset, sha256 } = self.left.prefix();
        self.seq += 1;
        self.vouched = offset;
        let checkpoint = StreamCheckpoint {
            bundle: self.bundle,
            is_final: says.is_final,
            layer: if standing.zip.is_some() { Layer::Age } else { Layer::Zip },
            offset,
            phase: standing.phase,
            phase_complete: says.phase_complete,
            seq: self.seq,
            sha256,
            time: standing.time,
            kind: "evidence-stream-checkpoint".into(),
            v: 1,
            zip_boundary: says.zip_boundary,
            zip_offset: standing.zip.map(|zip| zip.offset),
            zip_sha256: standing.zip.map(|zip| zip.sha256),
        };
        let signed = to_sorted_json(&checkpoint);
        let sig_ssh = self.key.sign(NAMESPACE, signed.as_bytes())?;
        let line = StreamLine { checkpoint, sig_ssh, signed_b64: BASE64_STANDARD.encode(&signed) };
        let mut line = to_sorted_json(&line);
        line.push('\n');
        self.sidecar.write_all(line.as_bytes()).map_err(WriteError::Sidecar)?;
        self.sidecar.flush().map_err(WriteError::Sidecar)
    }

    pub(super) fn make_durable(&mut self) -> Result<(), WriteError> {
        self.out.make_durable().map_err(WriteError::Output)
    }

    /// See [`Output::happened`].
    pub(super) fn happened(&mut self) -> Vec<Happened> {
        self.out.happened()
    }

    /// The output and the sidecar.
    pub(super) fn into_parts(self) -> (W, S) {
        (self.out, self.sidecar)
    }
}
