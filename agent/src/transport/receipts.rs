//! Receipts as they come back: believed only when the server's key signed them for exactly what was sent.

use std::cell::RefCell;
use std::rc::Rc;

use bundle::checkpoint::StreamCheckpoint;
use bundle::sign::{fingerprint, open_by_anybody};
use wire::receipt::{RECEIPT_TYPE, Receipt};
use wire::signed::{Signed, namespace};

/// A receipt that is none. The upload ends: what the server holds is not what was sent, or it is not the server.
#[derive(Debug, thiserror::Error)]
#[error("the receipt for transport checkpoint {seq} is none: {why}")]
pub struct BadReceipt {
    seq: u64,
    why: String,
}

/// Told of each receipt; the `bool` says that it ends a phase.
pub type Keep<'a> = Box<dyn FnMut(&Receipt, &Signed, bool) + 'a>;

/// Takes receipts.
pub struct Receipts<'a> {
    /// The server's key, `ssh-ed25519 AAAA…`. A ticket does not name it: the first one to come over a connection that
    /// the ticket's CA vouches for is then held to.
    signer: Rc<RefCell<Option<String>>>,
    keep: Keep<'a>,
}

impl<'a> Receipts<'a> {
    /// Receipts of this signer, each handed to `keep`.
    pub fn new(signer: Option<String>, keep: Keep<'a>) -> Self {
        Self { signer: Rc::new(RefCell::new(signer)), keep }
    }

    /// The same, for one of several uploads that follow on one another.
    pub fn lend(&mut self) -> Receipts<'_> {
        let Self { signer, keep } = self;
        Receipts { signer: Rc::clone(signer), keep: Box::new(|receipt, signed, ends| keep(receipt, signed, ends)) }
    }

    /// Takes the receipt for `checkpoint`.
    ///
    /// # Errors
    /// [`BadReceipt`].
    pub fn take(&mut self, signed: &Signed, checkpoint: &StreamCheckpoint) -> Result<(), BadReceipt> {
        let bad = |why: String| BadReceipt { seq: checkpoint.seq, why };
        let (message, mut key) = open_by_anybody(signed, namespace::RECEIPT).map_err(|error| bad(error.to_string()))?;
        key.set_comment("");
        let line = key.to_openssh().map_err(|error| bad(error.to_string()))?;
        let mut own = self.signer.borrow_mut();
        match own.as_ref() {
            Some(signer) if !is_same_key(signer, &line) => {
                return Err(bad(format!("{} signed it, which is not the server's key", fingerprint(&key))));
            }
            Some(_) => {}
            None => *own = Some(line),
        }
        drop(own);
        let receipt: Receipt = serde_json::from_slice(&message).map_err(|error| bad(error.to_string()))?;
        let is_for_this = receipt.kind == RECEIPT_TYPE
            && receipt.bundle == checkpoint.bundle
            && receipt.seq == checkpoint.seq
            && receipt.offset == checkpoint.offset
            && receipt.sha256 == checkpoint.sha256;
        if !is_for_this {
            return Err(bad(format!(
                "it is for {} bytes of bundle {} with digest {}, and {} with digest {} were sent",
                receipt.offset, receipt.bundle, receipt.sha256, checkpoint.offset, checkpoint.sha256
            )));
        }
        (self.keep)(&receipt, signed, checkpoint.phase_complete || checkpoint.is_final);
        Ok(())
    }
}

/// The type and the key are the same, whatever comment follows.
fn is_same_key(a: &str, b: &str) -> bool {
    a.split_whitespace().take(2).eq(b.split_whitespace().take(2))
}
