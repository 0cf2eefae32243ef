//! Any bytes as a bundle, and any bytes as its transport checkpoints: the verifier answers, and never with a panic.
//!
//! The first two bytes give the length of the transport checkpoints; start from the corpus in `bundle/vectors/`.
#![no_main]

use bundle::verify::{Against, Sidecar, check, read_entries};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = check(input, Against::default());
    let Some((length, rest)) = input.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (stream, bundle) = rest.split_at(length);
    let Ok(sidecar) = Sidecar::read(stream) else { return };
    if let Ok(verified) = check(bundle, Against { signers: None, sidecar: Some(&sidecar) }) {
        let sink = |_: &[u8]| Ok(());
        read_entries(&verified, bundle, |_| Ok(Some(sink))).expect("what was verified can be read");
    }
});
