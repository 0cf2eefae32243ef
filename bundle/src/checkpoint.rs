//! What is signed: checkpoints inside the bundle, and transport checkpoints beside it.
//!
//! Fields are declared in the order of their names, because serialised keys are sorted.

use serde::{Deserialize, Serialize};
use wire::{BundleId, Phase, Sha256};

use crate::time::Instant;

/// The SSHSIG namespace of everything that an agent signs in a bundle.
pub const NAMESPACE: &str = wire::signed::namespace::BUNDLE;
/// Transport checkpoints come at least this often in the stream, at multiples of it.
pub const CHUNK_BYTES: u64 = 8 << 20;

/// `checkpoints/NNNNNN/checkpoint.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Nanoseconds since boot: a clock that cannot be set.
    pub boottime_ns: String,
    /// The bundle.
    pub bundle: BundleId,
    /// Digest of the last custody line, its LF included: the head of the chain so far.
    pub custody_sha256: Sha256,
    /// True for the last one.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// The host's name.
    pub host: String,
    /// Item lines in this checkpoint's set.
    pub items: u64,
    /// The manifest of the entries since the last checkpoint.
    pub manifest: Manifest,
    /// The tree over all item lines so far.
    pub merkle: Merkle,
    /// Where the run stood.
    pub phase: Phase,
    /// Digest of the previous checkpoint.json; null for the first.
    pub prev_sha256: Option<Sha256>,
    /// From 1.
    pub seq: u64,
    /// All bytes before this entry's own local header.
    pub stream: Stream,
    /// Wall clock.
    pub time: Instant,
    /// `evidence-checkpoint`.
    #[serde(rename = "type")]
    pub kind: String,
    /// 1.
    pub v: u32,
}

/// Where a checkpoint's manifest stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Number of lines.
    pub lines: u64,
    /// The entry.
    pub path: String,
    /// Its digest.
    pub sha256: Sha256,
}

/// A Merkle tree's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merkle {
    /// `rfc6962-sha256`.
    pub alg: String,
    /// See RFC 6962.
    pub root: Sha256,
    /// Number of leaves.
    pub size: u64,
}

/// A prefix of the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Its length in bytes.
    pub offset: u64,
    /// Its digest.
    pub sha256: Sha256,
}

/// The layer whose bytes a transport checkpoint covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// The ZIP itself.
    Zip,
    /// The ZIP encrypted with age.
    Age,
}

/// A transport checkpoint: signed over the uploaded bytes, whatever they hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamCheckpoint {
    /// The bundle.
    pub bundle: BundleId,
    /// True for the last one: nothing comes after.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// What the bytes are.
    pub layer: Layer,
    /// Bytes covered, from the beginning.
    pub offset: u64,
    /// Where the run stood.
    pub phase: Phase,
    /// True when the phase was complete at this offset.
    pub phase_complete: bool,
    /// From 1.
    pub seq: u64,
    /// Digest of the bytes `[0, offset)`.
    pub sha256: Sha256,
    /// Wall clock.
    pub time: Instant,
    /// `evidence-stream-checkpoint`.
    #[serde(rename = "type")]
    pub kind: String,
    /// 1.
    pub v: u32,
    /// True when the bytes up to here are an ordinary ZIP file.
    pub zip_boundary: bool,
    /// Encrypted layer only: the length of the ZIP inside, up to here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zip_offset: Option<u64>,
    /// Encrypted layer only: its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zip_sha256: Option<Sha256>,
}

/// One line of `<bundle>.stream.jsonl`: the fields of the checkpoint for people, the exact signed bytes, the signature.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StreamLine {
    /// The checkpoint, for reading at a glance; `signed_b64` is what counts.
    #[serde(flatten)]
    pub checkpoint: StreamCheckpoint,
    /// SSHSIG, armoured.
    pub sig_ssh: String,
    /// The signed bytes in base64.
    pub signed_b64: String,
}

/// Serialises with sorted keys and without spaces. The types of this crate declare their fields sorted, so one pass is
/// enough for them; what is flattened or foreign goes through a [`serde_json::Value`], whose maps are sorted.
pub fn to_sorted_json(value: &impl Serialize) -> String {
    serde_json::to_value(value).map(|value| value.to_string()).unwrap_or_default()
}
