//! The server's custody log: every decision is a leaf of one append-only Merkle tree (RFC 6962), from the first.
//!
//! A leaf is one line of JSON; its bytes are what is hashed. Heads are signed in the namespace `holdfast-custody`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{IncidentId, Instant, Sha256};

/// `type` of a signed head.
pub const HEAD_TYPE: &str = "holdfast-custody-head";
/// The text of a leaf is at most this long.
pub const LEAF_BYTES_MAX: usize = 256 << 10;

/// A leaf. Details are kept as they are; readers ignore what they do not know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Leaf {
    /// Who did it: `user:<name>`, `agent:<id>`, `source:<name>`, `ticket:<id>` or `server`.
    pub actor: String,
    /// More about it.
    pub details: Map<String, Value>,
    /// What was done, e.g. `alert_received`, `order_issued`, `evidence_downloaded`.
    pub event: String,
    /// The incident that it belongs to, where it belongs to one.
    pub incident: Option<IncidentId>,
    /// From 0: the leaf's place in the tree.
    pub seq: u64,
    /// What it was done to, e.g. `bundle:<id>`.
    pub subject: String,
    /// When.
    pub time: Instant,
    /// 1.
    pub v: u32,
}

/// A state of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeadPoint {
    /// Root hash.
    pub root: Sha256,
    /// Number of leaves.
    pub size: u64,
}

/// What the server signs about its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Head {
    /// The state.
    #[serde(flatten)]
    pub point: HeadPoint,
    /// When it was signed.
    pub time: Instant,
    /// [`HEAD_TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// 1.
    pub v: u32,
}
