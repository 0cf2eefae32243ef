//! Any bytes as transport checkpoints: as they lie beside a bundle, as one line that somebody sends, and as what a trusted
//! key signed. The first byte says which. Start from the `.stream.jsonl` in `bundle/vectors/`.
#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bundle::checkpoint::NAMESPACE;
use bundle::sign::SigningKey;
use bundle::verify::{Sidecar, believe_line};
use libfuzzer_sys::fuzz_target;
use wire::BundleId;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_seed(&[7; 32]));

fuzz_target!(|input: &[u8]| {
    let Some((which, bytes)) = input.split_first() else { return };
    let (bundle, key) = (BundleId::new(1, [2; 10]), KEY.public());
    match which % 3 {
        0 => drop(Sidecar::read(bytes)),
        1 => drop(believe_line(bytes, bundle, &key)),
        _ => {
            let sig_ssh = KEY.sign(NAMESPACE, bytes).expect("anything can be signed");
            let mut line: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
            if let Some(line) = line.as_object_mut() {
                line.insert("sig_ssh".to_owned(), sig_ssh.into());
                line.insert("signed_b64".to_owned(), BASE64_STANDARD.encode(bytes).into());
                let _ = believe_line(line_text(line).as_bytes(), bundle, &key);
            }
        }
    }
});

fn line_text(line: &serde_json::Map<String, serde_json::Value>) -> String {
    serde_json::to_string(line).expect("it was JSON before")
}
