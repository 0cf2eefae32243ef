//! The bundle under way, and the parts of the run before it: when one is full, it is sealed and the next one begins.
//!
//! Architecture invariant: nothing is lost for want of a next part. When its output cannot be opened, the run goes on in
//! the part at hand and says so.

use std::io::{self, Write};

use bundle::write::{Output, PartLimits, Sealed, WriteError, Writer};
use serde_json::{Value, json};
use wire::BundleId;

/// Where the parts of a run go.
pub trait Outputs<W, S> {
    /// When a part is full; `None` for an output that takes one bundle, however large.
    fn limits(&self) -> Option<PartLimits>;

    /// Opens the output of part `part`, which is this bundle and goes on from the bundle `before`.
    ///
    /// # Errors
    /// As the medium has them.
    fn open(&mut self, part: u32, bundle: BundleId, before: BundleId) -> io::Result<(W, S)>;
}

/// An output that takes one bundle.
#[derive(Debug)]
pub struct One;

impl<W, S> Outputs<W, S> for One {
    fn limits(&self) -> Option<PartLimits> {
        None
    }

    fn open(&mut self, _: u32, _: BundleId, _: BundleId) -> io::Result<(W, S)> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this output takes one bundle"))
    }
}

/// A part that was sealed before the run went on in another.
#[derive(Clone, Copy, Debug)]
pub struct SealedPart {
    /// Its bundle.
    pub bundle: BundleId,
    /// Its numbers.
    pub sealed: Sealed,
}

/// Footprint and log of the run so far.
pub(super) type Ending<'a> = &'a dyn Fn() -> (Value, Vec<u8>);

/// See the module.
pub(super) struct Going<'a, W, S> {
    pub(super) writer: Writer<W, S>,
    outputs: &'a mut dyn Outputs<W, S>,
    limits: Option<PartLimits>,
    ending: Ending<'a>,
    sealed: Vec<SealedPart>,
}

impl<'a, W: Output, S: Write> Going<'a, W, S> {
    pub(super) fn new(writer: Writer<W, S>, outputs: &'a mut dyn Outputs<W, S>, ending: Ending<'a>) -> Self {
        let limits = outputs.limits();
        Self { writer, outputs, limits, ending, sealed: Vec::new() }
    }

    /// Items of the run so far.
    pub(super) fn items(&self) -> u64 {
        self.sealed.iter().map(|part| part.sealed.items).sum::<u64>() + self.writer.items()
    }

    /// Bytes of the run so far.
    pub(super) fn bytes(&self) -> u64 {
        self.sealed.iter().map(|part| part.sealed.bytes).sum::<u64>() + self.writer.bytes()
    }

    /// Goes on in the next part when this one has no room for a thing of `coming` bytes.
    pub(super) fn make_room(&mut self, coming: u64) -> Result<(), WriteError> {
        let Some(limits) = self.limits.filter(|limits| self.writer.is_full(*limits, coming)) else { return Ok(()) };
        let (before, part, next) = (self.writer.bundle(), self.writer.part() + 1, self.writer.next_bundle());
        let output = match self.outputs.open(part, next, before) {
            Ok(output) => output,
            Err(error) => {
                tracing::error!(%error, part, "the next part cannot be begun: the run goes on in this one");
                self.writer.custody("part_not_begun", [("part", json!(part)), ("reason", json!(error.to_string()))]);
                self.limits = None;
                return Ok(());
            }
        };
        tracing::info!(%before, %next, part, entries_max = limits.entries_max, "the run goes on in the next part");
        let (footprint, log) = (self.ending)();
        let (sealed, ..) = self.writer.next_part(next, output, &footprint, &log)?;
        self.sealed.push(SealedPart { bundle: before, sealed });
        Ok(())
    }

    /// Seals the last part. Returns its numbers, and the parts before it.
    pub(super) fn seal(self) -> Result<(SealedPart, Vec<SealedPart>), WriteError> {
        let (footprint, log) = (self.ending)();
        let bundle = self.writer.bundle();
        let (sealed, ..) = self.writer.seal(&footprint, &log)?;
        Ok((SealedPart { bundle, sealed }, self.sealed))
    }
}
