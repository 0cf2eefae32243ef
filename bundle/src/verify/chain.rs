//! The checkpoints: each signed, each naming the one before it, none left out.

use wire::{Phase, Sha256};

use super::finding::{Findings, code};
use super::identity::{Identity, is_canonical_line};
use super::items::Items;
use super::place::Part;
use crate::checkpoint::{Checkpoint, NAMESPACE};
use crate::sign::{verifies, verifies_itself};
use crate::time::Instant;

/// A checkpoint that verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointSummary {
    /// From 1.
    pub seq: u64,
    /// Where the run stood.
    pub phase: Phase,
    /// When, by the host's clock.
    pub time: Instant,
    /// Digest of checkpoint.json: the head of the chain.
    pub sha256: Sha256,
    /// Bytes of the file that it covers.
    pub covers: u64,
}

/// The chain so far.
pub(super) struct Chain {
    last_seq: u64,
    head: Option<Sha256>,
    phase: Phase,
    /// The first entry that no checkpoint covers yet.
    pub since: usize,
    /// True when numbers were left out before the block that is open.
    pub gap: bool,
    block: Option<Block>,
    /// The final checkpoint was met.
    pub is_final: bool,
    stream_differs: bool,
}

/// A checkpoint whose entries are being read.
struct Block {
    seq: u64,
    part: Part,
    manifest: Option<Manifest>,
    json: Option<(Vec<u8>, Option<Checkpoint>)>,
}

struct Manifest {
    sha256: Sha256,
    lines: u64,
}

/// What a checkpoint is held against: the state of the bundle before its checkpoint.json.
pub(super) struct Before<'a> {
    pub header: Option<&'a Identity>,
    pub items: &'a Items,
    pub custody: Sha256,
    pub stream_offset: u64,
    pub stream_sha256: Sha256,
}

impl Chain {
    pub fn new() -> Self {
        Self {
            last_seq: 0,
            head: None,
            phase: Phase::Start,
            since: 0,
            gap: false,
            block: None,
            is_final: false,
            stream_differs: false,
        }
    }

    /// The number of the set and checkpoint that is due.
    pub fn due(&self) -> u64 {
        self.last_seq + 1
    }

    /// An entry that is no part of a checkpoint: the one before it must be whole.
    pub fn interrupt(&mut self, offset: u64, findings: &mut Findings) {
        if let Some(block) = self.block.take()
            && block.part < Part::Signature
        {
            let message = "it has no checkpoint.json with a signature";
            findings.add(code::CHECKPOINT_MISSING, &subject(block.seq), offset, message);
        }
    }

    /// A part of a checkpoint begins.
    pub fn part(&mut self, seq: u64, part: Part, offset: u64, findings: &mut Findings) {
        if self.block.as_ref().is_none_or(|block| block.seq != seq) {
            self.interrupt(offset, findings);
            self.open(seq, part, offset, findings);
            return;
        }
        let Some(block) = &mut self.block else { return };
        let in_order = match (block.part, part) {
            (Part::Folder, Part::Manifest) | (Part::Manifest, Part::Json) | (Part::Json, Part::Signature) => true,
            (before @ (Part::Signature | Part::Index), part) => part > before,
            _ => false,
        };
        if !in_order {
            let message = if part > block.part { "a part of it is missing" } else { "its parts are not in order" };
            findings.add(code::CHECKPOINT_MISSING, &subject(seq), offset, message);
        }
        block.part = part;
    }

    fn open(&mut self, seq: u64, part: Part, offset: u64, findings: &mut Findings) {
        let due = self.due();
        self.gap = seq != due;
        if seq > due {
            let message = if seq - due > 1 {
                format!("and all up to {} are not there", seq - 1)
            } else {
                "it is not there".into()
            };
            findings.add(code::CHECKPOINT_MISSING, &subject(due), offset, message);
        } else if seq < due {
            findings.add(code::OUT_OF_ORDER, &subject(seq), offset, format!("it comes after checkpoint {}", due - 1));
        }
        if part != Part::Folder {
            findings.add(code::CHECKPOINT_MISSING, &subject(seq), offset, "a part of it is missing");
        }
        self.last_seq = self.last_seq.max(seq);
        self.block = Some(Block { seq, part, manifest: None, json: None });
    }

    pub fn manifest(&mut self, sha256: Sha256, lines: u64) {
        if let Some(block) = &mut self.block {
            block.manifest = Some(Manifest { sha256, lines });
        }
    }

    /// The checkpoint.json that was read.
    pub fn json(&mut self, bytes: Vec<u8>, before: &Before, findings: &mut Findings) {
        let Some(block) = &mut self.block else { return };
        let name = subject(block.seq);
        let checkpoint = serde_json::from_slice::<Checkpoint>(&bytes).ok();
        let mut wrong = |code, message: &str| findings.add(code, &name, before.stream_offset, message);
        match &checkpoint {
            None => wrong(code::CHECKPOINT_CHAIN, "its checkpoint.json is no checkpoint"),
            Some(checkpoint) => {
                if !is_canonical_line(&bytes) {
                    wrong(code::CHECKPOINT_CHAIN, "it is not one line of JSON with sorted keys and no spaces");
                }
                for (code, message) in broken_rules(checkpoint, block, self.head, self.phase, before) {
                    // After the first difference in the container every later prefix differs too.
                    let repeated = code == code::STREAM_MISMATCH && self.stream_differs;
                    self.stream_differs |= code == code::STREAM_MISMATCH;
                    if !repeated {
                        wrong(code, &message);
                    }
                }
                self.phase = self.phase.max(checkpoint.phase);
                self.is_final = checkpoint.is_final;
            }
        }
        self.head = Some(Sha256::of(&bytes));
        block.json = Some((bytes, checkpoint));
    }

    /// The signature that was read: the checkpoint, when it is signed by the bundle's signer.
    pub fn signature(
        &mut self,
        armoured: &[u8],
        header: Option<&Identity>,
        offset: u64,
        findings: &mut Findings,
    ) -> Option<CheckpointSummary> {
        let block = self.block.as_mut()?;
        let (bytes, checkpoint) = block.json.take()?;
        let name = subject(block.seq);
        check_signature(&bytes, armoured, header, &name, offset, findings).then_some(())?;
        let checkpoint = checkpoint?;
        Some(CheckpointSummary {
            seq: checkpoint.seq,
            phase: checkpoint.phase,
            time: checkpoint.time,
            sha256: Sha256::of(&bytes),
            covers: checkpoint.stream.offset,
        })
    }
}

/// Each rule that a checkpoint breaks.
fn broken_rules(
    checkpoint: &Checkpoint,
    block: &Block,
    head: Option<Sha256>,
    phase: Phase,
    before: &Before,
) -> Vec<(&'static str, String)> {
    let mut broken = Vec::new();
    let mut rule = |holds: bool, code, message: &str| {
        if !holds {
            broken.push((code, message.to_owned()));
        }
    };
    let known =
        checkpoint.v == 1 && checkpoint.kind == "evidence-checkpoint" && checkpoint.merkle.alg == "rfc6962-sha256";
    rule(known, code::CHECKPOINT_CHAIN, "its version, type or tree is another");
    rule(checkpoint.seq == block.seq, code::CHECKPOINT_CHAIN, "its number is not that of its folder");
    rule(checkpoint.prev_sha256 == head, code::CHECKPOINT_CHAIN, "it does not follow from the checkpoint before it");
    let same = before.header.is_none_or(|header| checkpoint.bundle == header.bundle && checkpoint.host == header.host);
    rule(same, code::CHECKPOINT_CHAIN, "it is of another bundle or host than bundle.json");
    let in_order = checkpoint.phase >= phase && checkpoint.is_final == (checkpoint.phase == Phase::Final);
    rule(in_order, code::CHECKPOINT_CHAIN, "its phase is before that of an earlier checkpoint");
    let custody = checkpoint.custody_sha256 == before.custody;
    rule(custody, code::CUSTODY_CHAIN, "the custody log that it signs is not the one that is here");
    let items = checkpoint.items == before.items.in_set;
    rule(items, code::ITEM_GAP, &format!("it signs {} items, its set has {}", checkpoint.items, before.items.in_set));
    let tree = &before.items.tree;
    let merkle = checkpoint.merkle.size == tree.size() && checkpoint.merkle.root == tree.root();
    rule(merkle, code::MERKLE_MISMATCH, "the item records that it signs are not those that are here");
    let manifest = block.manifest.as_ref().is_some_and(|manifest| {
        let path = format!("checkpoints/{:06}/manifest-sha256.txt", block.seq);
        checkpoint.manifest.path == path
            && checkpoint.manifest.sha256 == manifest.sha256
            && checkpoint.manifest.lines == manifest.lines
    });
    rule(manifest, code::MANIFEST_MISMATCH, "the manifest that it signs is not the one that is here");
    let stream = checkpoint.stream.offset == before.stream_offset && checkpoint.stream.sha256 == before.stream_sha256;
    let message = format!(
        "the container's first {} bytes are not those that it was signed for: the file was changed or packed again",
        checkpoint.stream.offset
    );
    rule(stream, code::STREAM_MISMATCH, &message);
    broken
}

/// True when the bundle's signer signed `bytes`; otherwise a finding says who did.
pub(super) fn check_signature(
    bytes: &[u8],
    armoured: &[u8],
    header: Option<&Identity>,
    subject: &str,
    offset: u64,
    findings: &mut Findings,
) -> bool {
    let good = header.is_some_and(|header| verifies(&header.signer, NAMESPACE, bytes, armoured));
    if !good && verifies_itself(NAMESPACE, bytes, armoured) {
        findings.add(code::SIGNER_CHANGED, subject, offset, "it is signed by another key than that of bundle.json");
    } else if !good {
        findings.add(code::SIGNATURE_BAD, subject, offset, "its signature does not verify");
    }
    good
}

fn subject(seq: u64) -> String {
    format!("checkpoint {seq}")
}
