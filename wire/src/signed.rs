//! Signed messages: the exact bytes, and an SSHSIG over them. What was signed is never serialised again.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Sha256;

/// The longest message that is taken out of an envelope.
pub const SIGNED_BYTES_MAX: usize = 256 << 10;

/// The SSHSIG namespaces (OpenSSH PROTOCOL.sshsig): a signature made for one purpose is worth nothing for another.
pub mod namespace {
    /// Bundles and their checkpoints, by agents.
    pub const BUNDLE: &str = "holdfast-bundle";
    /// Collection orders, by responders.
    pub const COLLECT: &str = "holdfast-collect";
    /// Containment orders and their approvals, by responders.
    pub const CONTAIN: &str = "holdfast-contain";
    /// The proof that an agent holds its signing key, at enrolment.
    pub const ENROLL: &str = "holdfast-enroll";
    /// Receipts, by the server.
    pub const RECEIPT: &str = "holdfast-receipt";
    /// Heads of the custody log, by the server.
    pub const CUSTODY: &str = "holdfast-custody";
}

/// A message and its signature. Nothing in it is believed before the signature is checked against a key that is trusted
/// for `principal`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Signed {
    /// Who says to have signed, as in an `allowed_signers` file.
    pub principal: String,
    /// SSHSIG, armoured.
    pub sig_ssh: String,
    /// The signed bytes in base64.
    pub signed_b64: String,
}

impl Signed {
    /// An envelope around `message`.
    pub fn new(principal: impl Into<String>, message: &[u8], sig_ssh: String) -> Self {
        Self { principal: principal.into(), sig_ssh, signed_b64: BASE64_STANDARD.encode(message) }
    }

    /// The signed bytes.
    ///
    /// # Errors
    /// A sentence, when they are not base64 or longer than [`SIGNED_BYTES_MAX`].
    pub fn message(&self) -> Result<Vec<u8>, &'static str> {
        if self.signed_b64.len() > SIGNED_BYTES_MAX.div_ceil(3) * 4 {
            return Err("the signed message is longer than this version takes");
        }
        BASE64_STANDARD.decode(&self.signed_b64).map_err(|_| "the signed message is not base64")
    }

    /// The digest of the signed bytes, by which others name this message.
    ///
    /// # Errors
    /// As [`Signed::message`].
    pub fn sha256(&self) -> Result<Sha256, &'static str> {
        self.message().map(|message| Sha256::of(&message))
    }
}
