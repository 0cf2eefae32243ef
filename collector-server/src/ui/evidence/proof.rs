//! What is proven of a bundle and what is not, in three lines: sealed by which key, held since when, and what no
//! signature can say. The same three lines as `holdfast verify` prints.

use maud::{Markup, html};
use wire::api::{EvidenceState, EvidenceView, SignerTrust};

use crate::ui::parts::{badge, bytes, count, grouped, key, time};
use crate::ui::text::shown;

/// The three lines.
pub fn section(evidence: &EvidenceView) -> Markup {
    html! {
        section #proof .panel aria-labelledby="h-proof" {
            h2 #h-proof { "What is proven" }
            ol.proof {
                li { (sealed(evidence)) }
                li { (held(evidence)) }
                li {
                    (badge("idle", "not proven"))
                    div {
                        p { "That the kernel told the truth." }
                        p.quiet {
                            "Root on the host can show the agent something else, and can seal again with the same key. "
                            "What lies here since a receipt can no longer be changed from there."
                        }
                    }
                }
            }
        }
    }
}

fn sealed(evidence: &EvidenceView) -> Markup {
    let (tone, word, verb) = match evidence.state {
        EvidenceState::Sealed => ("good", "proven", "Sealed by key "),
        EvidenceState::Partial | EvidenceState::Receiving => ("warn", "in part", "Not sealed. Signed so far by key "),
        EvidenceState::Unverified => ("bad", "not proven", "Not signed. It names key "),
        EvidenceState::Rejected => ("bad", "refuted", "The content does not match its signatures. It names key "),
    };
    html! {
        (badge(tone, word))
        div {
            p {
                @match &evidence.signer {
                    Some(signer) => {
                        (verb) (key(signer))
                        @if let Some(principal) = &evidence.signer_principal {
                            " of " strong.break { (shown(principal)) }
                        }
                        "."
                    },
                    None => "It names no key.",
                }
            }
            p.quiet { (extent(evidence)) " " (trust(evidence.trust)) }
        }
    }
}

fn extent(evidence: &EvidenceView) -> Markup {
    html! {
        @if evidence.state != EvidenceState::Rejected {
            "Verified: " (grouped(evidence.verified_to)) " of " (grouped(evidence.bytes)) " bytes."
            @if evidence.verified_to < evidence.bytes {
                " The last " (grouped(evidence.bytes - evidence.verified_to)) " bytes are kept, and prove nothing."
            }
        }
    }
}

const fn trust(trust: Option<SignerTrust>) -> &'static str {
    match trust {
        Some(SignerTrust::Enrolled) => "The key is that of the enrolled agent.",
        Some(SignerTrust::Unenrolled) => {
            "The host was let in by a ticket, without enrolment: the key is on record, and nobody vouches for it."
        }
        Some(SignerTrust::Unknown) => "The server does not know this key: anybody may have made it.",
        None => "Whose key it is, is not established.",
    }
}

fn held(evidence: &EvidenceView) -> Markup {
    let first = evidence.receipts.first();
    html! {
        @match evidence.receipts.last() {
            Some(last) => {
                @if last.offset == evidence.bytes { (badge("good", "proven")) } @else { (badge("warn", "in part")) }
                div {
                    p {
                        "Held by this server since " (time(last.received_at)) ": receipt for " (bytes(last.offset))
                        " (offset " (grouped(last.offset)) ")."
                    }
                    p.quiet {
                        @if let Some(first) = first.filter(|first| first.received_at < last.received_at) {
                            "The first receipt is of " (time(first.received_at)) "; "
                            (count(evidence.receipts.len() as u64, "receipt")) " in all. "
                        }
                        "The custody log had " (grouped(last.custody.size)) " entries" " then."
                    }
                }
            },
            None => {
                (badge("warn", "not proven"))
                div {
                    p { "Held by this server, without a receipt." }
                    p.quiet {
                        "Its first bytes came at " (time(evidence.received))
                        "; nothing that this server signed says so."
                    }
                }
            },
        }
    }
}
