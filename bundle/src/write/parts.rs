//! A run that is too much for one bundle goes on in another: each part is a bundle of its own, sealed before the next one
//! begins, and the next one names it.
//!
//! The caller says when, between two things that it hands over, and where the next part goes; what a step has done so far
//! and the inodes that were seen go over into it.

use std::io::Write;

use serde_json::{Value, json};
use wire::{BundleId, Phase};

use super::{Index, Names, Output, Sealed, Set, Sink, WriteError, Writer};
use crate::header::Continues;

/// What the seal of a part adds beyond what its entries say of themselves.
const ENDING_BYTES: u64 = 256 << 10;

/// When a part is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartLimits {
    /// Entries of one bundle. Below 65,535, where a ZIP needs records that not every reader knows.
    pub entries_max: u64,
    /// Bytes of one bundle. One that holds a single thing which is longer is longer too: nothing is split.
    pub bytes_max: Option<u64>,
}

impl Default for PartLimits {
    fn default() -> Self {
        Self { entries_max: 50_000, bytes_max: None }
    }
}

impl<W: Output, S: Write> Writer<W, S> {
    /// True when the part must end before a thing of `coming_bytes` is handed over. Never inside a thing, and never
    /// before the first one.
    pub fn is_full(&self, limits: PartLimits, coming_bytes: u64) -> bool {
        if self.is_streaming() || (self.set.next_id() == 1 && self.queue.len() == 0) {
            return false;
        }
        self.index.entries() + self.queue.len() >= limits.entries_max
            || limits.bytes_max.is_some_and(|max| self.bytes_when_sealed().saturating_add(coming_bytes) > max)
    }

    /// Bytes of the part if it were sealed now; too many rather than too few.
    fn bytes_when_sealed(&self) -> u64 {
        let rows = self.step.as_ref().map_or(0, |step| step.rows.len());
        let waiting = self.queue.bytes() + self.set.held_bytes() + self.manifest.len() + rows;
        // The bag's two manifests and the directory name every entry once more.
        let zip = self.sink.offset() + waiting as u64 + 3 * self.index.bytes() + ENDING_BYTES;
        // age adds 16 bytes to each 64 KiB.
        zip + zip / 2048
    }

    /// The part that is being written.
    pub fn part(&self) -> u32 {
        self.header.part
    }

    /// The bundle that is being written.
    pub fn bundle(&self) -> BundleId {
        self.header.bundle
    }

    /// An id for the next part.
    pub fn next_bundle(&mut self) -> BundleId {
        let mut bytes = [0; 10];
        (self.world.random)(&mut bytes);
        let now = self.world.clock.realtime();
        BundleId::new(u64::try_from(now.0 / 1_000_000).unwrap_or(0), bytes)
    }

    /// Seals this part and goes on in the bundle `next`. Returns the part's numbers, its output and sidecar.
    ///
    /// # Errors
    /// [`WriteError`]; the part at hand is then a partial bundle, or the next one has not begun.
    pub fn next_part(
        &mut self,
        next: BundleId,
        output: (W, S),
        footprint: &Value,
        log: &[u8],
    ) -> Result<(Sealed, W, S), WriteError> {
        self.flush_rows()?;
        self.drain()?;
        let part = self.header.part + 1;
        self.custody("part_ended", [("next", json!(next)), ("next_part", json!(part))]);
        let sealed = self.end_bundle(footprint, log)?;
        let Some(checkpoint_sha256) = self.prev_sha256.take() else {
            return Err(WriteError::Output(std::io::Error::other("the part has no checkpoint")));
        };
        let continues = Continues { bundle: self.header.bundle, checkpoint_sha256, part: self.header.part };
        let now = self.world.clock.realtime();
        self.header.bundle = next;
        self.header.part = part;
        self.header.started = now;
        self.header.clock.realtime_ns = now.0.to_string();
        self.header.clock.boottime_ns = self.world.clock.boottime_ns().to_string();
        self.header.continues = Some(continues.clone());
        let sink = Sink::new(output, next, self.header.encryption.as_ref(), self.world.key.clone(), now)?;
        let (out, sidecar) = std::mem::replace(&mut self.sink, sink).into_parts();
        self.names = Names::default();
        self.index = Index::default();
        self.set = Set::new(self.header.host.name.clone());
        self.manifest.clear();
        self.manifest_lines = 0;
        self.heads.clear();
        self.seq = 0;
        self.checkpoint_at = (0, self.world.clock.boottime_ns());
        self.index_at = 0;
        self.write_first_entries()?;
        self.custody(
            "part_begun",
            [
                ("bundle", json!(next)),
                ("continues", json!(continues.bundle)),
                ("continues_checkpoint_sha256", json!(continues.checkpoint_sha256)),
                ("part", json!(part)),
            ],
        );
        self.checkpoint(Phase::Start, false)?;
        if let Some(step) = &self.step {
            self.sink.phase = step.tier.into();
        }
        Ok((sealed, out, sidecar))
    }
}
