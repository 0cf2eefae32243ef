//! Receipts: the server's signature under what it holds. What root on a host cannot do is change what already lies
//! elsewhere.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::custody::HeadPoint;
use crate::{BundleId, Instant, Phase, Sha256};

/// `type` of a receipt.
pub const RECEIPT_TYPE: &str = "holdfast-receipt";

/// A receipt for the bytes `[0, offset)` of a bundle; signed in the namespace `holdfast-receipt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// Serial number of the certificate under which they came, lower-case hex; null when they came with a ticket.
    pub agent_certificate_serial: Option<String>,
    /// The bundle.
    pub bundle: BundleId,
    /// The custody log when they had come.
    pub custody: HeadPoint,
    /// Bytes held, from the beginning.
    pub offset: u64,
    /// The phase of the transport checkpoint that this receipt answers.
    pub phase: Phase,
    /// True when that phase was complete.
    pub phase_complete: bool,
    /// When they were durable.
    pub received_at: Instant,
    /// The number of the transport checkpoint.
    pub seq: u64,
    /// Digest of the bytes `[0, offset)`.
    pub sha256: Sha256,
    /// [`RECEIPT_TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// 1.
    pub v: u32,
}
