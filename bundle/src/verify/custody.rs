//! The custody log: each line names the digest of the line before it.

use serde::Deserialize;
use wire::{BundleId, Sha256};

use super::finding::{Findings, code};

/// The chain so far.
pub(super) struct Custody {
    /// Digest of the last line with its LF; 64 zeros before the first.
    pub head: Sha256,
    /// Number of lines.
    pub events: u64,
    /// The last line's event.
    pub last_event: String,
    /// The bundle that the run goes on in.
    pub next_part: Option<BundleId>,
}

#[derive(Deserialize)]
struct Line {
    event: String,
    /// Of any type: it says something in `part_ended` only.
    #[serde(default)]
    next: serde_json::Value,
    prev_sha256: Sha256,
    seq: u64,
}

impl Custody {
    pub fn new() -> Self {
        Self { head: Sha256([0; 32]), events: 0, last_event: String::new(), next_part: None }
    }

    /// Takes one line of the set `set`; `None` stands for one that is too long.
    pub fn line(&mut self, line: Option<&[u8]>, set: &str, offset: u64, findings: &mut Findings) {
        self.events += 1;
        let subject = format!("{set}, event {}", self.events);
        let bytes = [line.unwrap_or_default(), b"\n"].concat();
        let parsed = super::identity::is_canonical_line(&bytes).then(|| serde_json::from_slice::<Line>(&bytes));
        if let Some(Ok(event)) = parsed {
            if event.prev_sha256 != self.head {
                let message = "it does not name the digest of the line before it";
                findings.add(code::CUSTODY_CHAIN, &subject, offset, message);
            }
            if event.seq != self.events {
                findings.add(code::CUSTODY_CHAIN, &subject, offset, format!("its number is {}", event.seq));
            }
            if event.event == "part_ended" {
                self.next_part = event.next.as_str().and_then(|next| next.parse().ok());
            }
            self.last_event = event.event;
        } else {
            let message = "it is no custody event: one line of JSON with sorted keys, event, prev_sha256 and seq";
            findings.add(code::CUSTODY_CHAIN, &subject, offset, message);
        }
        self.head = Sha256::of(&bytes);
    }
}
