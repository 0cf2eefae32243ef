//! Encryption to analysts: the whole stream through age v1, so that not even the server can read it.
//!
//! The recipients are those that stand in `bundle.json`; whoever pins them is the host's own business. RSA keys are
//! refused: age wraps its file key with them by a padding of another age, and everybody who has one can make a better
//! one.

mod decrypt;
mod keys;
mod recipients;
mod stream;

pub(crate) use decrypt::Ending;
pub use decrypt::{DecryptError, Decrypted, decrypt};
pub use keys::{BadKeys, KEYS_BYTES_MAX, Keys};
pub use recipients::{BadRecipient, RECIPIENTS_MAX, Recipient, read_recipients};
pub(crate) use stream::AgeStream;

use crate::header::Encryption;

/// The only scheme.
pub const SCHEME: &str = "age-v1";
/// age encrypts this much at a time; a block leaves its writer when the first byte of the next one comes.
pub const BLOCK_BYTES: u64 = 64 << 10;

impl Encryption {
    /// What stands in `bundle.json` when the stream is encrypted to these; `None` for nobody.
    pub fn to(recipients: &[Recipient]) -> Option<Self> {
        let lines = recipients.iter().map(ToString::to_string).collect::<Vec<_>>();
        (!lines.is_empty()).then(|| Self { recipients: lines, scheme: SCHEME.to_owned() })
    }
}

/// Why a stream cannot be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum EncryptError {
    /// Another scheme than [`SCHEME`].
    #[error("the encryption scheme {0:?} is not known: {SCHEME} is")]
    Scheme(String),
    /// A recipient that cannot be used.
    #[error(transparent)]
    Recipient(#[from] BadRecipient),
    /// age itself refused.
    #[error("age cannot encrypt to these recipients")]
    Age(#[source] std::io::Error),
}
