//! The report: one JSON object, the same for people, and a signature over the first.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use bundle::sign::SigningKey;
use serde_json::{Value, json};
use wire::Sha256;

use super::version_of;

/// What the signature is for (`ssh-keygen -Y verify -n`).
const NAMESPACE: &str = "holdfast-validation";

/// See the module.
pub struct Report(Value);

impl Report {
    /// Compares what was planted with what was found.
    pub fn new(agent: &Path, planted: &[Value], clean: &Value, found: &Value) -> anyhow::Result<Self> {
        let traces: Vec<Value> = planted.iter().map(|trace| judged(trace, found)).collect();
        let system = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let false_findings: Vec<&Value> = clean["findings"].as_array().into_iter().flatten().collect();
        Ok(Self(json!({
            "agent": {"sha256": Sha256::of(&fs::read(agent)?), "version": version_of(agent)?},
            "clean_copy": {"bundle": clean["bundle"], "findings": false_findings},
            "date": wire::Instant(now()),
            "kernel": {"machine": text(system.machine()), "release": text(system.release()), "version": text(system.version())},
            "planted_copy": {"bundle": found["bundle"], "rows": found["rows"]},
            "rules": {"count": found["rules"], "sha256": found["rules_sha256"]},
            "traces": traces,
            "type": "holdfast-validation",
            "v": 1,
        })))
    }

    fn with(&self, outcome: &str) -> impl Iterator<Item = &Value> {
        let outcome = outcome.to_owned();
        self.0["traces"].as_array().into_iter().flatten().filter(move |trace| trace["outcome"] == outcome.as_str())
    }

    /// How many traces were planted and not found.
    pub fn missed(&self) -> usize {
        self.with("missed").count()
    }

    /// Three numbers.
    pub fn summary(&self) -> String {
        let (found, missed) = (self.with("found").count(), self.missed());
        let (not_planted, clean) = (self.with("not_planted").count(), self.clean().count());
        format!(
            "{found} found, {missed} missed, {not_planted} could not be planted here; {clean} findings on the clean copy"
        )
    }

    fn clean(&self) -> impl Iterator<Item = &Value> {
        self.0["clean_copy"]["findings"].as_array().into_iter().flatten()
    }

    /// Writes `validation.json`, its signature, who signed, and `validation.md`.
    pub fn write(&self, folder: &Path, key: &Path) -> anyhow::Result<()> {
        let key_text = fs::read_to_string(key).with_context(|| key.display().to_string())?;
        let key = SigningKey::from_openssh(&key_text).with_context(|| key.display().to_string())?;
        let text = serde_json::to_string_pretty(&self.0)?;
        fs::write(folder.join("validation.json.sig"), key.sign(NAMESPACE, text.as_bytes())?)?;
        fs::write(folder.join("validation.json"), text)?;
        fs::write(folder.join("allowed_signers"), format!("validation {}\n", key.public_line()))?;
        fs::write(folder.join("validation.md"), self.for_people())?;
        Ok(())
    }

    fn for_people(&self) -> String {
        let report = &self.0;
        let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut out = String::from("# Validation\n\n");
        let _ = writeln!(out, "- date: {}", word(&report["date"]));
        let _ =
            writeln!(out, "- tool: {}, sha256 {}", word(&report["agent"]["version"]), word(&report["agent"]["sha256"]));
        let _ = writeln!(out, "- rules: {}, sha256 {}", report["rules"]["count"], word(&report["rules"]["sha256"]));
        let _ =
            writeln!(out, "- kernel: {} {}", word(&report["kernel"]["release"]), word(&report["kernel"]["version"]));
        let _ = writeln!(out, "- result: {}\n", self.summary());
        out.push_str(
            "In a private copy of the machine, each of these traces was planted, then the agent collected and the \
            rules were applied.\n\n| trace | outcome | found by | row |\n|---|---|---|---|\n",
        );
        for trace in report["traces"].as_array().into_iter().flatten() {
            let why = trace["not_planted"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
            let (what, outcome) = (word(&trace["what"]), word(&trace["outcome"]).replace('_', " "));
            let (rule, row) = (trace["rule"].as_str().unwrap_or(""), trace["row"].as_str().unwrap_or(""));
            let _ = writeln!(out, "| {what} | {outcome}{why} | {rule} | {row} |");
        }
        out.push_str("\n## Findings on the clean copy\n\n");
        for finding in self.clean() {
            let _ =
                writeln!(out, "- {}: {} ({} rows)", word(&finding["level"]), word(&finding["title"]), finding["count"]);
        }
        let verify = format!(
            "ssh-keygen -Y verify -f allowed_signers -I validation -n {NAMESPACE} -s validation.json.sig < validation.json"
        );
        let _ = writeln!(out, "\n## The signature\n\n    {verify}");
        out
    }
}

/// A trace, and the row of a finding that it is in.
fn judged(trace: &Value, found: &Value) -> Value {
    let mut judged = trace.clone();
    let mark = trace["mark"].as_str();
    let of_rules = |finding: &&Value| {
        trace["rules"].as_array().is_some_and(|rules| rules.iter().any(|rule| *rule == finding["rule"]))
    };
    let row = mark.and_then(|mark| {
        let findings = found["findings"].as_array().into_iter().flatten().filter(of_rules);
        let mut rows = findings.flat_map(|finding| {
            finding["rows"].as_array().into_iter().flatten().map(move |row| (&finding["rule"], row))
        });
        rows.find(|(_, row)| row["columns"].as_object().is_some_and(|row| row.values().any(|value| holds(value, mark))))
    });
    judged["outcome"] = json!(match (mark, row) {
        (None, _) => "not_planted",
        (Some(_), Some(_)) => "found",
        (Some(_), None) => "missed",
    });
    if let Some((rule, row)) = row {
        judged["rule"] = rule.clone();
        judged["row"] = json!(format!("{}:{}", row["file"].as_str().unwrap_or_default(), row["line"]));
    }
    judged
}

fn holds(value: &Value, mark: &str) -> bool {
    match value {
        Value::String(text) => text == mark || text.split_whitespace().any(|word| word == mark),
        Value::Array(list) => list.iter().any(|value| holds(value, mark)),
        Value::Number(number) => number.to_string() == mark,
        _ => false,
    }
}

fn now() -> i128 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since.as_nanos()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_found_by_its_own_row_of_a_rule_that_is_meant() {
        let found = json!({"findings": [
            {"rule": "a", "rows": [{"columns": {"pid": 12}, "file": "f", "line": 3}]},
            {"rule": "b", "rows": [{"columns": {"path": "/x", "pids": [7]}, "file": "g", "line": 1}]},
        ]});
        let outcome = |mark: Option<&str>, rules: Value| judged(&json!({"mark": mark, "rules": rules}), &found);
        assert_eq!(outcome(Some("12"), json!(["a"]))["row"], "f:3");
        assert_eq!(outcome(Some("7"), json!(["a", "b"]))["rule"], "b");
        assert_eq!(outcome(Some("1"), json!(["a"]))["outcome"], "missed", "12 is not 1");
        assert_eq!(outcome(Some("12"), json!(["b"]))["outcome"], "missed", "another rule");
        assert_eq!(outcome(None, json!(["a"]))["outcome"], "not_planted");
    }
}
