//! A bundle: how far it is proven, what was asked and got, what it holds, how to take it along and check it.

mod by_hand;
mod coverage;
mod findings;
mod items;
mod proof;

use bundle::coverage::Coverage;
use maud::{Markup, html};
use serde_json::Value;
use wire::api::{EvidenceState, EvidenceView, Page, SignerTrust};
use wire::finding::FindingsReport;

use super::parts::{bytes, digest, evidence_state, time};
use super::text::{clipped, shown};
use super::{Frame, Here};

pub use findings::tone as level_tone;
pub use items::{Item, Search};

/// Everything that the page shows of a bundle.
pub struct Shown<'a> {
    /// `data/coverage.json`, where the bundle goes as far.
    pub coverage: Option<&'a Coverage>,
    /// The bundle.
    pub evidence: &'a EvidenceView,
    /// What the rules made of its rows, once they were applied.
    pub findings: Option<&'a FindingsReport>,
    /// `data/footprint.json`, where the bundle goes as far.
    pub footprint: Option<&'a Value>,
    /// Records that were found and are of a form that this version does not know.
    pub unread: usize,
    /// The items that were found.
    pub items: &'a Page<Item>,
    /// What was looked for.
    pub search: &'a Search,
}

/// The page.
pub fn page(frame: Frame<'_>, shown_bundle: &Shown<'_>) -> Markup {
    let evidence = shown_bundle.evidence;
    let live = matches!(evidence.state, EvidenceState::Receiving);
    let main = html! {
        div data-live=[live.then(|| format!("/api/v1/incidents/{}/events", evidence.incident))] {
            (heading(evidence))
            (proof::section(evidence))
            @if evidence.encrypted { (encrypted()) } @else { (findings::section(evidence.state, shown_bundle.findings)) }
            div.columns {
                div {
                    @if !evidence.encrypted { (coverage::section(evidence.state, shown_bundle.coverage)) }
                    (receipts(evidence))
                }
                div {
                    (downloads(evidence))
                    (facts(evidence))
                    (coverage::footprint(shown_bundle.footprint))
                }
            }
            @if !evidence.encrypted { (items::section(shown_bundle)) }
            (by_hand::section(evidence))
        }
    };
    super::page(frame, Here::Incidents, &format!("Evidence of {} ({})", evidence.host, evidence.state.name()), &main)
}

/// What must be known before anything is concluded from a bundle in this state; none for a sealed one.
pub const fn warning(state: EvidenceState) -> Option<&'static str> {
    match state {
        EvidenceState::Sealed => None,
        EvidenceState::Receiving => Some("It is still arriving. What is missing now may yet come."),
        EvidenceState::Partial => Some(
            "The stream ended before its seal. What came up to the last checkpoint is verified; that something is \
             absent proves nothing.",
        ),
        EvidenceState::Unverified => {
            Some("Nothing in it is proven: anybody may have made or changed it. Conclude nothing from it alone.")
        }
        EvidenceState::Rejected => Some(
            "It was changed after it was signed. It is kept as it came, to be examined as a trace of whoever changed \
             it; it is no evidence of what was on the host.",
        ),
    }
}

/// What is known of a bundle that only its recipients can read.
fn encrypted() -> Markup {
    html! {
        section #encrypted .panel aria-labelledby="h-encrypted" {
            h2 #h-encrypted { "Encrypted" }
            p {
                "It was encrypted on the host, to keys that stand in the policy there or were given at its console. "
                "This server has none of them, and does not know whose they are."
            }
            p.quiet {
                "That its bytes are those that the signer uploaded is verified. What is in them is not: no coverage, no "
                "items, and no rules were applied. Whoever holds a key takes it home and opens it, as "
                a href="#by-hand" { "the commands below" } " show."
            }
        }
    }
}

const fn verdict(state: EvidenceState) -> &'static str {
    match state {
        EvidenceState::Receiving => "Arriving.",
        EvidenceState::Sealed => "Sealed.",
        EvidenceState::Partial => "Partial.",
        EvidenceState::Unverified => "Unverified.",
        EvidenceState::Rejected => "Rejected.",
    }
}

/// That nothing was changed says little where nobody knows who sealed.
pub const fn doubt(evidence: &EvidenceView) -> Option<&'static str> {
    match (evidence.state, evidence.trust) {
        (EvidenceState::Sealed | EvidenceState::Partial, None | Some(SignerTrust::Unknown)) => {
            Some("Nobody here knows the key that signed it: anybody could have made it.")
        }
        (EvidenceState::Sealed | EvidenceState::Partial, Some(SignerTrust::Unenrolled)) => Some(
            "It came from a host without an agent, by a ticket. Nobody vouches for its key: compare it at the host's \
             console.",
        ),
        _ => None,
    }
}

fn heading(evidence: &EvidenceView) -> Markup {
    html! {
        section #state class={ "glance edge-" (evidence.state.name()) } aria-labelledby="title" {
            p.over {
                a href={ "/incidents/" (evidence.incident) } { (evidence.incident) } " · evidence "
                span.id { (evidence.bundle.short()) }
            }
            h1 #title {
                (evidence_state(evidence.state)) " " (clipped(&evidence.host, 80))
                @if let Some(profile) = &evidence.profile { " · " (shown(profile)) }
            }
            p.verdict {
                strong { (verdict(evidence.state)) } " "
                (warning(evidence.state).unwrap_or(if evidence.encrypted {
                    "All of it arrived as its signer sent it. What is in it, only those can check whom it is encrypted to."
                } else {
                    "All of it arrived, and nothing in it was changed after it was signed."
                }))
            }
            @if let Some(doubt) = doubt(evidence) { p.alarm.warn { (doubt) } }
            @if !evidence.contradictions.is_empty() { (contradictions(evidence)) }
            @if !evidence.findings.is_empty() {
                h2 { "What the verification found" }
                ul.findings { @for finding in &evidence.findings { li { (clipped(finding, 300)) } } }
            }
        }
    }
}

/// What the signer said beside what this server has receipted.
fn contradictions(evidence: &EvidenceView) -> Markup {
    html! {
        div #contradictions .alarm role="alert" {
            p {
                strong { "Its signer contradicts itself." }
                " Somebody who holds the key signed something else than what this server had a receipt for. Both are "
                "kept; what lies here is what came first. Whoever has root on the host can do this, and nobody else "
                "should be able to."
            }
            ul.findings {
                @for there in &evidence.contradictions {
                    li {
                        (time(there.time)) ": " (shown(&there.what.replace('_', " "))) " of checkpoint " (there.seq) ", "
                        (super::parts::grouped(there.offset)) " bytes: signed "
                        (super::parts::short_digest(there.signed_sha256)) ", held "
                        (super::parts::short_digest(there.ours_sha256))
                    }
                }
            }
        }
    }
}

fn facts(evidence: &EvidenceView) -> Markup {
    html! {
        section aria-labelledby="h-facts" {
            h2 #h-facts { "About it" }
            dl.facts {
                dt { "Bundle" } dd { code.break { (evidence.bundle) } }
                @if let Some(sha256) = evidence.sha256 { dt { "SHA-256" } dd { (digest(sha256)) } }
                dt { "Length" } dd { (bytes(evidence.bytes)) " (" (evidence.bytes) " bytes)" }
                dt { "Received" } dd { (time(evidence.received)) }
                dt { "Brought by" } dd { (shown(&evidence.brought_by)) }
                @if let Some(order) = evidence.order { dt { "Order" } dd { code.break { (order) } } }
                @if let Some(part) = &evidence.part {
                    dt { "Part" }
                    dd {
                        @if part.number > 0 { (part.number) " of a run in parts" } @else { "of a run in parts" }
                        @if let Some(before) = part.continues {
                            "; it goes on from " a href={ "/evidence/" (before) } { code { (before.short()) } }
                        }
                        @if let Some(next) = part.next {
                            "; it goes on in " a href={ "/evidence/" (next) } { code { (next.short()) } }
                        }
                    }
                }
                dt { "Tiers" }
                dd {
                    @if evidence.tiers.is_empty() { "none is complete" }
                    @for (at, tier) in evidence.tiers.iter().enumerate() { @if at > 0 { ", " } (tier) }
                }
            }
        }
    }
}

fn downloads(evidence: &EvidenceView) -> Markup {
    let of = |what: &str| format!("/api/v1/evidence/{}/{what}", evidence.bundle);
    html! {
        section aria-labelledby="h-downloads" {
            h2 #h-downloads { "Downloads" }
            ul.downloads {
                @if matches!(evidence.state, EvidenceState::Rejected | EvidenceState::Unverified) {
                    li { a href=(of("content")) download { "The bytes as they came" } ", " (bytes(evidence.bytes)) }
                } @else {
                    li { a.button href=(of("content")) download { "Bundle" } " " (bytes(evidence.bytes)) }
                }
                @if evidence.state == EvidenceState::Partial && !evidence.encrypted {
                    li {
                        a href=(of("content?view=bounded")) download { "Bounded view" }
                        " – an ordinary ZIP file: the verified part up to its last boundary"
                    }
                }
                li { a href=(of("stream")) download { "stream.jsonl" } " – the agent's transport checkpoints" }
                li { a href=(of("receipts")) download { "receipts" } " – what this server signed" }
                li {
                    a href="/api/v1/signers" download="allowed_signers" { "allowed_signers" }
                    " – the keys as this server knows them"
                }
            }
            p.quiet { "Each download of its bytes is recorded in custody." }
        }
    }
}

fn receipts(evidence: &EvidenceView) -> Markup {
    html! {
        section aria-labelledby="h-receipts" {
            h2 #h-receipts { "Receipts" }
            @if evidence.receipts.is_empty() {
                p { "This server signed no receipt for it." }
            } @else {
                (super::parts::scroll("Receipts", &html! {
                    table.dense {
                        caption.unseen-label { "Receipts, the oldest first" }
                        thead { tr {
                            th.right scope="col" { "No." } th scope="col" { "Phase" }
                            th.right scope="col" { "Bytes from the beginning" }
                            th scope="col" { "Held since" } th scope="col" { "SHA-256 of them" }
                        } }
                        tbody { @for receipt in &evidence.receipts { tr {
                            td.right { (receipt.seq) }
                            th scope="row" {
                                (receipt.phase) @if !receipt.phase_complete { span.quiet { " (under way)" } }
                            }
                            td.right { (super::parts::grouped(receipt.offset)) }
                            td.nowrap { (time(receipt.received_at)) }
                            td { (super::parts::short_digest(receipt.sha256)) }
                        } } }
                    }
                }))
            }
        }
    }
}
