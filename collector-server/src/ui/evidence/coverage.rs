//! What each collector asked and got, and what the run cost the host.

use bundle::coverage::{Collected, Coverage, Outcome};
use maud::{Markup, html};
use serde_json::Value;
use wire::api::EvidenceState;

use crate::ui::parts::{badge, grouped, scroll, short_bytes};
use crate::ui::text::{clipped, shown};

const REASON_CHARS_MAX: usize = 160;

/// One row for each collector.
pub fn section(state: EvidenceState, coverage: Option<&Coverage>) -> Markup {
    html! {
        section #coverage aria-labelledby="h-coverage" {
            h2 #h-coverage { "Coverage" }
            @match coverage {
                Some(coverage) => (scroll("Coverage of each collector", &table(coverage))),
                None if state == EvidenceState::Sealed => p { "It could not be read out of the bundle." },
                None if matches!(state, EvidenceState::Rejected | EvidenceState::Unverified) => p {
                    "Nothing in it is verified, so what it says of its own run is not shown."
                },
                None => p {
                    "The agent writes it at the end of a run, and this bundle does not go as far. "
                    "The items below say what was read."
                },
            }
        }
    }
}

fn table(coverage: &Coverage) -> Markup {
    html! {
        table.dense {
            caption.unseen-label { "Coverage of each collector, in the order in which they ran" }
            thead { tr {
                th scope="col" { "Collector" } th scope="col" { "Outcome" }
                th.right scope="col" { "Asked" } th.right scope="col" { "Got" } th.right scope="col" { "Denied" }
                th.right scope="col" { "Vanished" } th.right scope="col" { "Timed out" }
                th.right scope="col" { "Bytes" }
                th.right scope="col" { "Took" }
            } }
            tbody { @for step in &coverage.collectors { (row(step)) } }
        }
    }
}

fn row(step: &Collected) -> Markup {
    let (tone, word) = match step.outcome {
        Outcome::Completed => ("good", "completed"),
        Outcome::Limited => ("warn", "limited"),
        Outcome::TimedOut => ("warn", "timed out"),
        Outcome::Interrupted => ("warn", "interrupted"),
        Outcome::NotRun => ("warn", "not run"),
        Outcome::Continues => ("idle", "goes on"),
        Outcome::Skipped => ("idle", "skipped"),
        Outcome::Failed => ("bad", "failed"),
    };
    html! {
        tr {
            th scope="row" { (shown(&step.collector)) div.quiet { (step.tier) } }
            td {
                (badge(tone, word))
                @if let Some(reason) = &step.reason { div.quiet { (clipped(reason, REASON_CHARS_MAX)) } }
            }
            td.right { (grouped(step.asked)) }
            td.right { (grouped(step.got)) }
            (loss(step.denied))
            td.right { (grouped(step.vanished)) }
            (loss(step.timed_out))
            td.right.nowrap { (short_bytes(step.bytes)) }
            td.right.nowrap { (took(step.ended.0.saturating_sub(step.started.0))) }
        }
    }
}

/// Nothing lost is quiet; anything lost is not.
fn loss(number: u64) -> Markup {
    html! { @if number == 0 { td.right.quiet { "0" } } @else { td.right.loss { (grouped(number)) } } }
}

fn took(nanoseconds: i128) -> String {
    let ms = nanoseconds.max(0) / 1_000_000;
    if ms < 1000 { format!("{ms} ms") } else { format!("{}.{} s", ms / 1000, ms % 1000 / 100) }
}

/// The footprint statement, by the names that people know.
pub fn footprint(footprint: Option<&Value>) -> Markup {
    let Some(footprint) = footprint else { return html! {} };
    let number = |key: &str| footprint.get(key).and_then(Value::as_u64);
    let size = |key: &str| number(key).map(short_bytes);
    let ms = |key: &str| number(key).map(|ms| took(i128::from(ms) * 1_000_000));
    let facts = [
        ("Wall time", ms("wall_ms")),
        ("CPU time", ms("cpu_ms")),
        ("Peak memory", size("memory_peak_bytes")),
        ("Read from disk", size("bytes_read_from_disk")),
        ("Written to disk", size("bytes_written_to_disk")),
        ("Read in all", size("bytes_read_in_all")),
        ("Page cache before", size("page_cache_before_bytes")),
        ("Page cache after", size("page_cache_after_bytes")),
    ];
    html! {
        section aria-labelledby="h-footprint" {
            h2 #h-footprint { "Footprint on the host" }
            dl.facts {
                @for (name, value) in &facts { @if let Some(value) = value { dt { (name) } dd { (value) } } }
                @if let Some(tiers) = footprint.get("tiers_wall_ms").and_then(Value::as_object) {
                    dt { "Per tier" }
                    dd { @for tier in wire::Tier::ALL {
                        @if let Some(ms) = tiers.get(tier.name()).and_then(Value::as_u64) {
                            span.nowrap { (tier) " " (took(i128::from(ms) * 1_000_000)) } " "
                        }
                    } }
                }
            }
            details {
                summary { "The whole statement" }
                pre tabindex="0" { (crate::ui::text::lines(&format!("{footprint:#}"))) }
            }
        }
    }
}
