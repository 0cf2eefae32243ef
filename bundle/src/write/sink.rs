//! The ZIP on its way out: counted and hashed as it is, then as it stands or through age, to the [`Outlet`].
//!
//! age encrypts blocks of 64 KiB and holds a full one back until the next byte comes (its last block is another than the
//! rest). So the end of an index has left only when a byte beyond its block was written: its transport checkpoint waits
//! for that, and at a tier's end a `pad` brings it about.

use std::io::Write;

use serde_json::{Map, Value};
use wire::{BundleId, Phase};

use super::WriteError;
use super::outlet::{Outlet, Prefix, Running, Says, Standing};
use crate::encryption::{AgeStream, BLOCK_BYTES};
use crate::header::Encryption;
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

    /// What happened to the bytes on their way, for the custody log: asked before each checkpoint, each told once.
    fn happened(&mut self) -> Vec<Happened> {
        Vec::new()
    }
}

/// An event of the custody log and its details.
pub type Happened = (&'static str, Map<String, Value>);

impl Output for Vec<u8> {}
impl Output for std::io::Sink {}
impl Output for std::io::Stdout {}

impl Output for std::fs::File {
    fn make_durable(&mut self) -> std::io::Result<()> {
        self.sync_data()
    }
}

/// See the module.
pub(super) struct Sink<W, S> {
    outlet: Outlet<W, S>,
    age: Option<Box<Age>>,
    /// The phase that the next transport checkpoint names.
    pub(super) phase: Phase,
    /// The time that it names: set by the writer, which holds the clock.
    pub(super) time: Instant,
}

/// A stream that is encrypted.
struct Age {
    /// `None` after its end.
    stream: Option<AgeStream>,
    zip: Running,
    /// What has left as ciphertext: whole blocks.
    left: Prefix,
    /// The end of an index that has not left yet.
    boundary: Option<Boundary>,
}

struct Boundary {
    zip: Prefix,
    phase: Phase,
    phase_complete: bool,
}

impl<W: Output, S: Write> Sink<W, S> {
    pub(super) fn new(
        (out, sidecar): (W, S),
        bundle: BundleId,
        encryption: Option<&Encryption>,
        key: SigningKey,
        time: Instant,
    ) -> Result<Self, WriteError> {
        let age = encryption.map(Age::to).transpose()?.map(Box::new);
        Ok(Self { outlet: Outlet::new(out, sidecar, bundle, key), age, phase: Phase::Start, time })
    }

    /// Bytes of the ZIP so far.
    pub(super) fn offset(&self) -> u64 {
        self.zip().offset()
    }

    /// The ZIP so far.
    pub(super) fn prefix(&self) -> Prefix {
        self.zip().prefix()
    }

    /// What was written so far, encrypted where it is.
    pub(super) fn written(&self) -> Prefix {
        self.outlet.left().prefix()
    }

    fn zip(&self) -> &Running {
        self.age.as_ref().map_or_else(|| self.outlet.left(), |age| &age.zip)
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), WriteError> {
        let Some(age) = &mut self.age else {
            let standing = Standing { phase: self.phase, time: self.time, zip: None };
            return self.outlet.write(bytes, standing);
        };
        while !bytes.is_empty() {
            let full = age.zip.offset().is_multiple_of(BLOCK_BYTES).then(|| age.zip.prefix());
            let to_block = BLOCK_BYTES - age.zip.offset() % BLOCK_BYTES;
            let now = bytes.len().min(usize::try_from(to_block).unwrap_or(usize::MAX));
            let (piece, rest) = bytes.split_at(now);
            age.zip.update(piece);
            let standing = Standing { phase: self.phase, time: self.time, zip: Some(age.left) };
            if let Some(stream) = &mut age.stream {
                let ready = stream.push(piece).map_err(WriteError::Output)?;
                self.outlet.write(ready, standing)?;
            }
            // The first byte of a block has sent the one before it away.
            age.left = full.unwrap_or(age.left);
            if let Some(boundary) = age.boundary.take_if(|boundary| boundary.zip.offset <= age.left.offset) {
                let says = Says { zip_boundary: true, phase_complete: boundary.phase_complete, is_final: false };
                let standing = Standing { phase: boundary.phase, zip: Some(boundary.zip), ..standing };
                self.outlet.vouch(says, standing)?;
            }
            bytes = rest;
        }
        Ok(())
    }

    /// The ZIP so far is one of its own: a transport checkpoint says so, once it has left.
    pub(super) fn boundary(&mut self, phase_complete: bool) -> Result<(), WriteError> {
        let phase = self.phase;
        if let Some(age) = &mut self.age {
            age.boundary = Some(Boundary { zip: age.zip.prefix(), phase, phase_complete });
            return Ok(());
        }
        let says = Says { zip_boundary: true, phase_complete, is_final: false };
        self.outlet.vouch(says, Standing { phase, time: self.time, zip: None })
    }

    /// How many zeros the entry `pad`, whose header has so many bytes, needs for all before it to leave; `None` where
    /// nothing is held back. It ends one byte beyond the block.
    pub(super) fn pad(&self, header_bytes: u64) -> Option<u64> {
        let age = self.age.as_ref()?;
        let offset = age.zip.offset();
        let beyond = offset.next_multiple_of(BLOCK_BYTES) + 1;
        Some(beyond.saturating_sub(offset + header_bytes))
    }

    /// The ZIP has ended: the last bytes leave, and the last transport checkpoint.
    pub(super) fn seal(&mut self) -> Result<(), WriteError> {
        let mut standing = Standing { phase: self.phase, time: self.time, zip: None };
        if let Some(age) = &mut self.age {
            let rest = age.stream.take().map(AgeStream::finish).transpose().map_err(WriteError::Output)?;
            standing.zip = Some(age.left);
            self.outlet.write(&rest.unwrap_or_default(), standing)?;
            standing.zip = Some(age.zip.prefix());
        }
        self.outlet.vouch(Says { zip_boundary: true, phase_complete: true, is_final: true }, standing)
    }

    pub(super) fn make_durable(&mut self) -> Result<(), WriteError> {
        self.outlet.make_durable()
    }

    /// See [`Output::happened`].
    pub(super) fn happened(&mut self) -> Vec<Happened> {
        self.outlet.happened()
    }

    /// The output and the sidecar.
    pub(super) fn into_parts(self) -> (W, S) {
        self.outlet.into_parts()
    }
}

impl Age {
    fn to(encryption: &Encryption) -> Result<Self, WriteError> {
        let zip = Running::default();
        let left = zip.prefix();
        Ok(Self { stream: Some(AgeStream::to(encryption)?), zip, left, boundary: None })
    }
}
