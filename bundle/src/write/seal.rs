//! What is signed, and the end: checkpoints, interim indexes, the seal.

use std::io::Write;

use serde_json::{Value, json};
use wire::{Phase, Sha256};

use super::case::{Head, graph};
use super::index::Index;
use super::set::manifest_line;
use super::{Ended, INDEX_EVERY, Output, Sealed, WriteError, Writer};
use crate::checkpoint::{Checkpoint, Manifest, Merkle, NAMESPACE, Stream, to_sorted_json};
use crate::item::Status;

/// A local header without its name (APPNOTE 4.3.7).
const LOCAL_BYTES: u64 = 30;

impl<W: Output, S: Write> Writer<W, S> {
    pub(super) fn checkpoint(&mut self, phase: Phase, phase_complete: bool) -> Result<(), WriteError> {
        self.drain()?;
        self.sink.phase = phase;
        self.sink.time = self.world.clock.realtime();
        self.custody_of_the_way();
        self.custody("checkpoint", [("phase", json!(phase)), ("seq", json!(self.seq + 1))]);
        let items = self.write_set()?;
        self.write_checkpoint(phase, items, false)?;
        self.checkpoint_at = (self.sink.offset(), self.world.clock.boottime_ns());
        let grown = self.sink.offset() - self.index_at;
        if phase_complete || grown >= INDEX_EVERY * self.index.bytes() {
            self.write_index()?;
            self.sink.boundary(phase_complete)?;
        }
        if phase_complete { self.write_pad() } else { Ok(()) }
    }

    /// Brings what was written out of the block that age holds back.
    fn write_pad(&mut self) -> Result<(), WriteError> {
        let name = format!("checkpoints/{:06}/pad", self.seq);
        let Some(zeros) = self.sink.pad(LOCAL_BYTES + name.len() as u64) else { return Ok(()) };
        let zeros = vec![0; usize::try_from(zeros).unwrap_or(0)];
        self.write_stored(name, &[&zeros])
    }

    /// The lines that wait, under the number of the checkpoint that follows; answers how many of them are items.
    fn write_set(&mut self) -> Result<u64, WriteError> {
        let seq = self.seq + 1;
        let items = self.set.items_held;
        for (folder, extension, lines) in self.set.take() {
            if !lines.is_empty() {
                self.control(&format!("data/{folder}/{seq:06}.{extension}"), lines.into_bytes())?;
            }
        }
        self.drain()?;
        Ok(items)
    }

    /// The manifest of what came since the last checkpoint, and the signed checkpoint.
    fn write_checkpoint(&mut self, phase: Phase, items: u64, is_final: bool) -> Result<(), WriteError> {
        self.seq += 1;
        let folder = format!("checkpoints/{:06}/", self.seq);
        let path = format!("{folder}manifest-sha256.txt");
        let manifest = std::mem::take(&mut self.manifest);
        let lines = std::mem::take(&mut self.manifest_lines);
        let sha256 = Sha256::of(manifest.as_bytes());
        self.control(&path, manifest.into_bytes())?;
        self.drain()?;
        let checkpoint = Checkpoint {
            boottime_ns: self.world.clock.boottime_ns().to_string(),
            bundle: self.header.bundle,
            custody_sha256: self.set.custody_head(),
            is_final,
            host: self.header.host.name.clone(),
            items,
            manifest: Manifest { lines, path, sha256 },
            merkle: Merkle { alg: "rfc6962-sha256".into(), root: self.set.tree.root(), size: self.set.tree.size() },
            phase,
            prev_sha256: self.prev_sha256,
            seq: self.seq,
            stream: Stream { offset: self.sink.offset(), sha256: self.sink.prefix().sha256 },
            time: self.sink.time,
            kind: "evidence-checkpoint".into(),
            v: 1,
        };
        let text = to_sorted_json(&checkpoint) + "\n";
        let signature = self.world.key.sign(NAMESPACE, text.as_bytes())?;
        let sha256 = Sha256::of(text.as_bytes());
        self.prev_sha256 = Some(sha256);
        if self.heads.len() >= super::case::CHECKPOINTS_MAX {
            self.heads.remove(0);
        }
        self.heads.push(Head { seq: self.seq, phase, sha256, time: self.sink.time });
        self.write_stored(format!("{folder}checkpoint.json"), &[text.as_bytes()])?;
        self.write_stored(format!("{folder}checkpoint.json.sig"), &[signature.as_bytes()])
    }

    /// An entry whose data is the directory of everything before it: the prefix that ends here is an ordinary ZIP.
    fn write_index(&mut self) -> Result<(), WriteError> {
        let name = format!("checkpoints/{:06}/index.zipdir", self.seq);
        let data_at = self.sink.offset() + LOCAL_BYTES + name.len() as u64;
        let end = self.index.end_at(data_at);
        // The directory that is written does not name the entry that holds it: that one is added behind.
        let before = std::mem::take(&mut self.index);
        let pieces: Vec<&[u8]> = before.directory().chain([&end[..]]).collect();
        let written = self.write_stored(name, &pieces);
        let own = std::mem::replace(&mut self.index, before);
        self.index.append(own);
        self.index_at = self.sink.offset();
        written
    }

    /// Ends the run: its last bundle is sealed. Returns the bundle's numbers, the output and the sidecar.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn seal(mut self, footprint: &Value, log: &[u8]) -> Result<(Sealed, W, S), WriteError> {
        if self.is_streaming() {
            let reason = Some("the run ended".to_owned());
            self.end(Ended { reason, ..Ended::with(Status::Truncated) })?;
        }
        let sealed = self.end_bundle(footprint, log)?;
        let (out, sidecar) = self.sink.into_parts();
        Ok((sealed, out, sidecar))
    }

    /// Ends the bundle: footprint, coverage, the agent's log, the graph, the last set, the bag's manifests, the final
    /// checkpoint, the seal, the central directory.
    pub(super) fn end_bundle(&mut self, footprint: &Value, log: &[u8]) -> Result<Sealed, WriteError> {
        self.drain()?;
        self.sink.phase = Phase::Final;
        self.sink.time = self.world.clock.realtime();
        self.control("data/footprint.json", (footprint.to_string() + "\n").into_bytes())?;
        let coverage = match self.step {
            Some(_) => to_sorted_json(&self.coverage.so_far(self.sink.time)),
            None => to_sorted_json(&self.coverage),
        };
        self.control("data/coverage.json", (coverage + "\n").into_bytes())?;
        self.control("data/agent.log", [log, b"sealing\n"].concat())?;
        let graph = graph(&self.header, &self.heads, self.sink.time);
        self.control("data/case.jsonld", graph)?;
        self.custody_of_the_way();
        self.custody("sealing", []);
        let items = self.write_set()?;
        self.write_bag()?;
        self.write_checkpoint(Phase::Final, items, true)?;
        self.write_seal()?;
        self.finish()
    }

    /// What makes the extracted bundle a bag (RFC 8493).
    fn write_bag(&mut self) -> Result<(), WriteError> {
        let (bytes, files) = self.index.payload();
        let date = self.header.started.calendar().strftime("%Y-%m-%d");
        let bundle = self.header.bundle;
        let info = format!("Bagging-Date: {date}\nExternal-Identifier: {bundle}\nPayload-Oxum: {bytes}.{files}\n");
        self.control("bag-info.txt", info.into_bytes())?;
        let manifest = manifest_of(&self.index, |name| name.starts_with("data/"));
        self.control("manifest-sha256.txt", manifest.into_bytes())?;
        self.drain()
    }

    fn write_seal(&mut self) -> Result<(), WriteError> {
        let tags = manifest_of(&self.index, |name| !name.starts_with("data/"));
        let signature = self.world.key.sign(NAMESPACE, tags.as_bytes())?;
        self.write_stored("tagmanifest-sha256.txt".into(), &[tags.as_bytes()])?;
        self.write_stored("tagmanifest-sha256.txt.sig".into(), &[signature.as_bytes()])
    }

    fn finish(&mut self) -> Result<Sealed, WriteError> {
        let end = self.index.end_at(self.sink.offset());
        for piece in self.index.directory() {
            self.sink.write(piece)?;
        }
        self.sink.write(&end)?;
        self.sink.seal()?;
        self.sink.make_durable()?;
        let written = self.sink.written();
        Ok(Sealed {
            bytes: written.offset,
            sha256: written.sha256,
            items: self.set.tree.size(),
            entries: self.index.entries(),
            checkpoints: self.seq,
        })
    }
}

fn manifest_of(index: &Index, wanted: impl Fn(&str) -> bool) -> String {
    let mut manifest = String::new();
    for (name, digest) in index.listed().filter(|(name, _)| wanted(name)) {
        manifest_line(&mut manifest, digest, name);
    }
    manifest
}
