//! What the rules make of a bundle's rows, the worst first, each with the rows that it stands on.

use maud::{Markup, html};
use serde_json::Value;
use wire::api::EvidenceState;
use wire::finding::{Finding, FindingsReport, FoundRow, Level};

use crate::ui::parts::{badge, count, grouped};
use crate::ui::text::{clipped, shown};

/// Rows that are open to the eye; the others unfold.
const ROWS_SHOWN: usize = 5;
const VALUE_CHARS_MAX: usize = 160;

/// The section; nothing for a bundle that nobody may conclude anything from.
pub fn section(state: EvidenceState, report: Option<&FindingsReport>) -> Markup {
    html! {
        @if matches!(state, EvidenceState::Sealed | EvidenceState::Partial) {
            section #findings aria-labelledby="h-findings" {
                h2 #h-findings { "Findings" }
                @match report {
                    None => p.quiet { "The rules were not applied to it yet." },
                    Some(report) => (found(report)),
                }
            }
        }
    }
}

fn found(report: &FindingsReport) -> Markup {
    let version = report.rules_sha256.to_string();
    html! {
        @if report.findings.is_empty() {
            p {
                "No rule found anything."
                @if report.partial { " The bundle is partial: that proves nothing." }
            }
        }
        ul.entries { @for finding in &report.findings { li { (one(finding)) } } }
        @for what in &report.left_out { p.alarm.warn { "Not looked at: " (clipped(what, VALUE_CHARS_MAX)) } }
        p.quiet {
            (count(report.rules.into(), "rule")) " of version " code { (version.get(..12).unwrap_or_default()) }
            " over " (count(report.rows, "row")) ". A finding is an opinion about the evidence, not evidence."
        }
    }
}

fn one(finding: &Finding) -> Markup {
    let (first, rest) = finding.rows.split_at(finding.rows.len().min(ROWS_SHOWN));
    let unlisted = finding.count.saturating_sub(finding.rows.len() as u64);
    html! {
        div.line {
            (badge(tone(finding.level), finding.level.name())) " "
            strong { (shown(&finding.title)) } " "
            @for technique in &finding.techniques {
                span.quiet { (shown(&technique.id)) " " (shown(&technique.name)) } " "
            }
        }
        p { (shown(&finding.description)) }
        ul.findings { @for found in first { (row(found)) } }
        @if !rest.is_empty() || unlisted > 0 {
            details {
                summary { (grouped(rest.len() as u64 + unlisted)) " more" }
                ul.findings { @for found in rest { (row(found)) } }
                @if unlisted > 0 { p.quiet { (grouped(unlisted)) " of them are not listed." } }
            }
        }
        @if !finding.false_positives.is_empty() {
            p.quiet { "May also be: " (shown(&finding.false_positives.join("; "))) "." }
        }
        p.quiet { "Rule " code { (shown(&finding.rule)) } }
    }
}

fn row(found: &FoundRow) -> Markup {
    html! {
        li {
            @for (name, value) in &found.columns {
                span.nowrap { (shown(name)) "=" } code { (clipped(&text(value), VALUE_CHARS_MAX)) } " "
            }
            span.quiet { (shown(&found.file)) ":" (found.line) }
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// The colour of a level.
pub const fn tone(level: Level) -> &'static str {
    match level {
        Level::Critical | Level::High => "bad",
        Level::Medium => "warn",
        Level::Low | Level::Informational => "idle",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn findings_show_their_rows_and_nothing_of_them_is_markup() {
        let rows: Vec<_> = (1..8)
            .map(|line| json!({"columns": {"exe": "<b>/tmp"}, "file": "data/volatile/processes.jsonl", "line": line}))
            .collect();
        let report: FindingsReport = serde_json::from_value(json!({
            "bundle": "01980000-0000-7000-8000-000000000000", "left_out": ["2 rows that are no JSON"], "partial": false,
            "rows": 9, "rules": 2, "rules_sha256": "0".repeat(64), "v": 1,
            "findings": [{"count": 60, "description": "Look.", "false_positives": ["an upgrade"], "level": "high",
                "rows": rows, "rule": "deleted-image", "techniques": [], "title": "A deleted image"}]
        }))
        .unwrap();
        let page = section(EvidenceState::Sealed, Some(&report)).into_string();
        for wanted in ["A deleted image", "&lt;b&gt;/tmp", ":7", "55 more", "53 of them", "an upgrade", "no JSON"] {
            assert!(page.contains(wanted), "{wanted} is not in {page}");
        }
        assert!(section(EvidenceState::Sealed, None).into_string().contains("not applied"));
        assert_eq!(section(EvidenceState::Rejected, Some(&report)).into_string(), "");
    }
}
