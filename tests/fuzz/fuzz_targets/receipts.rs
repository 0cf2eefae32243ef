//! Any bytes as what a server answers to a checkpoint: as an envelope, and as what the server's own key signed. The agent
//! believes it or ends the upload. The first byte says which, the rest up to the first NUL is the checkpoint.
#![no_main]

use std::sync::LazyLock;

use agent::transport::receipts::Receipts;
use bundle::checkpoint::StreamCheckpoint;
use bundle::sign::SigningKey;
use libfuzzer_sys::fuzz_target;
use wire::signed::namespace;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_seed(&[7; 32]));

fuzz_target!(|input: &[u8]| {
    let Some((which, bytes)) = input.split_first() else { return };
    let (checkpoint, answer) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    let answer = answer.get(1..).unwrap_or_default();
    let Ok(checkpoint) = serde_json::from_slice::<StreamCheckpoint>(checkpoint) else { return };
    let envelope = if which % 2 == 0 {
        serde_json::from_slice(answer).ok()
    } else {
        KEY.envelope("server", namespace::RECEIPT, answer).ok()
    };
    let Some(envelope) = envelope else { return };
    let signer = (which % 4 > 1).then(|| KEY.public_line());
    let mut receipts =
        Receipts::new(signer, Box::new(|receipt, _, _| assert_eq!(receipt.kind, wire::receipt::RECEIPT_TYPE)));
    let _ = receipts.take(&envelope, &checkpoint);
});
