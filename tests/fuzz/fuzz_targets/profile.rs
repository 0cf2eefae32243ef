//! Any text as a profile: it is read, or its mistakes are told, each with its line. Start from the files in `profiles/`.
#![no_main]

use agent::run::bind::bind;
use libfuzzer_sys::fuzz_target;
use wire::profile::{Text, Values, read, shipped::Shipped};

fuzz_target!(|input: &[u8]| {
    let Ok(yaml) = str::from_utf8(input) else { return };
    let text = Text { file: "site.yaml".to_owned(), yaml: yaml.to_owned() };
    match read(&text, &Shipped) {
        Ok(profile) => drop(bind(&profile, &Values::default())),
        Err(mistakes) => assert!(!mistakes.0.is_empty()),
    }
});
