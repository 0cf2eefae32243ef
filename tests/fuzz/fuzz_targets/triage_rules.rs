//! Any text as a site's mapping: it is read or its mistakes are told; one that is read takes any alert. The text ends at
//! the first NUL, what follows is the alert. Start from the corpus in `triage/data/sources/`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use triage::{Rules, SiteFile, normalise};
use wire::Instant;
use wire::profile::Text;

fuzz_target!(|input: &[u8]| {
    let (yaml, alert) = input.split_at(input.iter().position(|byte| *byte == 0).unwrap_or(input.len()));
    let Ok(yaml) = str::from_utf8(yaml) else { return };
    let text = Text { file: "site.yaml".to_owned(), yaml: yaml.to_owned() };
    if let Ok(rules) = Rules::with_site(&[SiteFile { name: "sources/site.yaml".to_owned(), text }]) {
        for one in normalise(alert, Instant(0), &rules).unwrap_or_default() {
            assert!(one.alert.is_bounded());
        }
    }
});
