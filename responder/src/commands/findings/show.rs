//! Findings, for people and for machines. Whatever a host supplied is escaped before a screen.

use std::fmt::Write as _;

use serde_json::Value;
use wire::finding::{Finding, FindingsReport, Level};

use crate::escape::shown;
use crate::show::{Look, counted, wrapped};

/// One JSON object with sorted keys.
pub fn json(report: &FindingsReport, trusted: Option<bool>) -> String {
    let mut object = serde_json::to_value(report).unwrap_or_default();
    if let (Some(object), Some(trusted)) = (object.as_object_mut(), trusted) {
        object.insert("trusted".to_owned(), Value::Bool(trusted));
    }
    format!("{object}\n")
}

/// Lines for people, the worst first.
pub fn text(report: &FindingsReport, host: Option<&str>, trusted: Option<bool>, look: Look) -> String {
    let mut out = String::new();
    let whole = if report.partial { "partial: what is not found here may have been in the rest" } else { "sealed" };
    let of_host = host.map(|host| format!(" of host {}", shown(host))).unwrap_or_default();
    let _ = writeln!(out, "bundle:  {}{of_host}, {whole}", report.bundle);
    match trusted {
        Some(false) => out.push_str("signer:  nobody here vouches for the key: give --signers\n"),
        Some(true) => out.push_str("signer:  trusted\n"),
        None => {}
    }
    let version = report.rules_sha256.to_string();
    let version = version.get(..12).unwrap_or_default();
    let (rules, rows) = (counted(report.rules.into(), "rule"), counted(report.rows, "row"));
    let _ = writeln!(out, "rules:   {rules} (version {version}) over {rows}");
    for what in &report.left_out {
        let _ = writeln!(out, "left out: {}", shown(what));
    }
    if report.findings.is_empty() {
        out.push_str("findings: none\n");
    }
    for finding in &report.findings {
        out.push('\n');
        one(&mut out, finding, look);
    }
    out
}

fn one(out: &mut String, finding: &Finding, look: Look) {
    let level = look.paint(sgr(finding.level), finding.level.name());
    let _ = writeln!(out, "{level}  {}  [{}]", look.heading(&shown(&finding.title)), shown(&finding.rule));
    for technique in &finding.techniques {
        let _ = writeln!(out, "  {} {}", shown(&technique.id), shown(&technique.name));
    }
    out.push_str(&wrapped(&finding.description, "  "));
    for row in &finding.rows {
        let columns: Vec<String> =
            row.columns.iter().map(|(name, value)| format!("{}={}", shown(name), plain(value))).collect();
        let _ = writeln!(out, "  - {}:{}  {}", shown(&row.file), row.line, columns.join(" "));
    }
    let more = finding.count.saturating_sub(finding.rows.len() as u64);
    if more > 0 {
        let _ = writeln!(out, "  - and {}", counted(more, "more row"));
    }
    if !finding.false_positives.is_empty() {
        let may_be = format!("May also be: {}.", finding.false_positives.join("; "));
        out.push_str(&wrapped(&may_be, "  "));
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() || text.contains(char::is_whitespace) => format!("\"{}\"", shown(text)),
        Value::String(text) => shown(text),
        Value::Array(list) => format!("[{}]", list.iter().map(plain).collect::<Vec<_>>().join(", ")),
        other => shown(&other.to_string()),
    }
}

const fn sgr(level: Level) -> &'static str {
    match level {
        Level::Critical => "1;97;41",
        Level::High => "1;31",
        Level::Medium => "33",
        Level::Low | Level::Informational => "2",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wire::Sha256;
    use wire::assessment::Technique;
    use wire::finding::FoundRow;

    use super::*;

    fn report() -> FindingsReport {
        let columns = json!({"exe": "/tmp/\u{1b}[31m", "pids": [1, "a b"]});
        FindingsReport {
            bundle: "018f0000-0000-7000-8000-000000000000".parse().unwrap(),
            findings: vec![Finding {
                count: 3,
                description: "It runs.".to_owned(),
                false_positives: vec!["an upgrade".to_owned()],
                level: Level::High,
                rows: vec![FoundRow {
                    columns: columns.as_object().unwrap().clone(),
                    file: "data/volatile/processes.jsonl".to_owned(),
                    line: 7,
                }],
                rule: "deleted-image".to_owned(),
                techniques: vec![Technique {
                    id: "T1070.004".to_owned(),
                    name: "File Deletion".to_owned(),
                    retired_id: None,
                    tactic: String::new(),
                }],
                title: "A deleted image".to_owned(),
            }],
            left_out: vec!["2 rows that are no JSON".to_owned()],
            partial: true,
            rows: 9,
            rules: 1,
            rules_sha256: Sha256::of(b""),
            v: 1,
        }
    }

    #[test]
    fn people_see_the_rows_and_no_escape_sequence() {
        let text = text(&report(), Some("web\u{7}1"), Some(false), Look::PLAIN);
        assert_eq!(
            text,
            "bundle:  018f0000-0000-7000-8000-000000000000 of host web\\u{7}1, partial: what is not found here may have \
             been in the rest\n\
             signer:  nobody here vouches for the key: give --signers\n\
             rules:   1 rule (version e3b0c44298fc) over 9 rows\n\
             left out: 2 rows that are no JSON\n\
             \n\
             high  A deleted image  [deleted-image]\n  T1070.004 File Deletion\n  It runs.\n  \
             - data/volatile/processes.jsonl:7  exe=/tmp/\\u{1b}[31m pids=[1, \"a b\"]\n  - and 2 more rows\n  \
             May also be: an upgrade.\n"
        );
    }

    #[test]
    fn machines_see_the_same() {
        let value: Value = serde_json::from_str(&json(&report(), Some(true))).unwrap();
        assert_eq!((&value["trusted"], &value["findings"][0]["level"]), (&json!(true), &json!("high")));
        assert_eq!(serde_json::from_value::<FindingsReport>(value).unwrap(), report());
    }
}
