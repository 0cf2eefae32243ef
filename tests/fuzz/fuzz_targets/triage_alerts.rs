//! Any bytes as alerts: intake, every normaliser and mapping, then the assessment. Nothing panics, and what comes out
//! keeps its bounds. Start from the corpus in `triage/fixtures/`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use triage::{Alert, Context, NotTaken, assess, normalise};
use wire::{Instant, Sha256};

fuzz_target!(|input: &[u8]| {
    let context = Context::shipped().expect("the shipped rules have no mistakes");
    let taken = match normalise(input, Instant(0), context.rules) {
        Ok(taken) => taken,
        Err(NotTaken::Empty | NotTaken::TooLong(_) | NotTaken::TooMany) => return,
    };
    assert!(!taken.is_empty());
    for one in &taken {
        assert_eq!(one.alert.raw_sha256, Sha256::of(&one.raw));
        assert!(one.alert.is_bounded());
    }
    let alerts: Vec<&Alert> = taken.iter().map(|one| &one.alert).collect();
    let _ = assess(&alerts, &context);
});
