//! Any text as a site's rule, and any text as a row: the rule is taken or its mistakes are told; one that is taken can be
//! held against any row of a bundle. The text ends at the first NUL, what follows is the row.
#![no_main]

use std::io::Cursor;

use bundle::verify::{Against, Verified, check};
use findings::{Rules, Text, of_bundle};
use libfuzzer_sys::fuzz_target;

const GOOD: &[u8] = include_bytes!("../../../bundle/vectors/good.evidence.zip");

fn good() -> Verified {
    check(GOOD, Against::default()).expect("the vector is good")
}

fuzz_target!(|input: &[u8]| {
    let Ok(yaml) = str::from_utf8(input) else { return };
    let text = Text { file: "site/ours.yml".to_owned(), yaml: yaml.to_owned() };
    match Rules::with_site(&[text]) {
        Ok(rules) => drop(of_bundle(&rules, &good(), || Ok(Cursor::new(GOOD)))),
        Err(mistakes) => assert!(!mistakes.0.is_empty()),
    }
});
