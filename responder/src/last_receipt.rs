//! The last receipt that an agent had when it began a bundle: it stands in the bundle's header, signed by the server, and
//! names a state of the custody log. A server that went back behind it is caught by its own signature.

use bundle::sign::{fingerprint, open_by_anybody};
use bundle::verify::Identity;
use ssh_key::PublicKey;
use wire::receipt::{RECEIPT_TYPE, Receipt};
use wire::signed::{Signed, namespace};

/// A receipt whose signature holds.
#[derive(Clone, Debug)]
pub struct LastReceipt {
    /// What it says.
    pub receipt: Receipt,
    /// Fingerprint of the key that signed it.
    pub signer: String,
    /// True when that is the server's key, as far as it is known here.
    pub is_by_server: bool,
}

impl LastReceipt {
    /// That of a bundle's header. What is none is none: a header says nothing for the server.
    pub fn of(header: &Identity, server_key: Option<&PublicKey>) -> Option<Self> {
        Self::open(header.last_receipt.as_ref()?, server_key)
    }

    fn open(signed: &Signed, server_key: Option<&PublicKey>) -> Option<Self> {
        let (message, signer) = open_by_anybody(signed, namespace::RECEIPT).ok()?;
        let receipt: Receipt = serde_json::from_slice(&message).ok()?;
        let is_by_server = server_key.is_some_and(|key| key.key_data() == signer.key_data());
        (receipt.kind == RECEIPT_TYPE).then(|| Self { receipt, signer: fingerprint(&signer), is_by_server })
    }
}
