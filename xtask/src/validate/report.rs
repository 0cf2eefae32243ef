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

/// Rows of a finding that are shown to people; the JSON has more.
const SHOWN_ROWS_MAX: usize = 4;

/// See the module.
pub struct Report(Value);

impl Report {
    /// Compares what was planted with what was found.
    pub fn new(programs: &[&Path], planted: &[Value], clean: &Value, found: &Value) -> anyhow::Result<Self> {
        let traces: Vec<Value> = planted.iter().map(|trace| judged(trace, found)).collect();
        let programs = programs.iter().map(|program| {
            let sha256 = Sha256::of(&fs::read(program)?);
            Ok(json!({"sha256": sha256, "version": version_of(program)?}))
        });
        let programs: Vec<Value> = programs.collect::<anyhow::Result<_>>()?;
        let system = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let system_name = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let system_name = system_name.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        let system_name = system_name.map(|name| name.trim_matches('"'));
        let copy = |judged: &Value| json!({"bundle": judged["bundle"], "left_out": judged["left_out"], "rows": judged["rows"], "sha256": judged["sha256"]});
        let findings = |judged: &Value| judged["findings"].as_array().cloned().unwrap_or_default();
        let is_explained = |finding: &Value| {
            let rule = &finding["rule"];
            let by_trace = |trace: &Value| trace["rules"].as_array().is_some_and(|rules| rules.contains(rule));
            traces.iter().any(by_trace) || findings(clean).iter().any(|clean| clean["rule"] == *rule)
        };
        let further: Vec<Value> = findings(found).into_iter().filter(|finding| !is_explained(finding)).collect();
        Ok(Self(json!({
            "clean_copy": copy(clean),
            "clean_findings": findings(clean),
            "date": wire::Instant(now()),
            "kernel": {"machine": text(system.machine()), "release": text(system.release()), "version": text(system.version())},
            "further_findings": further,
            "planted_copy": copy(found),
            "programs": programs,
            "rules": {"count": found["rules"], "sha256": found["rules_sha256"]},
            "system": system_name,
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
        self.0["clean_findings"].as_array().into_iter().flatten()
    }

    /// Writes `validation.json` and, for people, `validation.md`; the signature of each, and who signed.
    pub fn write(&self, folder: &Path, key: &Path) -> anyhow::Result<()> {
        let key_text = fs::read_to_string(key).with_context(|| key.display().to_string())?;
        let key = SigningKey::from_openssh(&key_text).with_context(|| key.display().to_string())?;
        for (name, text) in
            [("validation.json", serde_json::to_string_pretty(&self.0)?), ("validation.md", self.for_people())]
        {
            fs::write(folder.join(format!("{name}.sig")), key.sign(NAMESPACE, text.as_bytes())?)?;
            fs::write(folder.join(name), text)?;
        }
        fs::write(folder.join("allowed_signers"), format!("validation {}\n", key.public_line()))?;
        Ok(())
    }

    fn for_people(&self) -> String {
        let report = &self.0;
        let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut out = String::from("# Validation\n\n");
        let _ = writeln!(out, "- date: {}", word(&report["date"]));
        for program in report["programs"].as_array().into_iter().flatten() {
            let _ = writeln!(out, "- program: {}, sha256 {}", word(&program["version"]), word(&program["sha256"]));
        }
        let _ = writeln!(out, "- rules: {}, sha256 {}", report["rules"]["count"], word(&report["rules"]["sha256"]));
        let kernel = &report["kernel"];
        let _ = writeln!(out, "- system: {}", word(&report["system"]));
        let _ = writeln!(out, "- kernel: {} {}", word(&kernel["release"]), word(&kernel["version"]));
        for (name, copy) in [("clean", &report["clean_copy"]), ("planted", &report["planted_copy"])] {
            let (rows, sha256, bundle) = (&copy["rows"], word(&copy["sha256"]), word(&copy["bundle"]));
            let _ =
                writeln!(out, "- evidence of the {name} copy: bundle {bundle}, sha256 {sha256}, {rows} rows judged");
        }
        let _ = writeln!(out, "- result: {}\n", self.summary());
        out.push_str(
            "In a private copy of the machine the agent collected, then each of these traces was planted and it collected \
            again. Rules judged both bundles, which lie beside this report in `clean` and `planted`. A trace counts as \
            found only when a row of one of the rules that are meant for it names it. What is not in this table was not \
            tested; modules of the kernel that hide themselves are not planted.\n\n\
            | trace | outcome | found by | row of the bundle |\n|---|---|---|---|\n",
        );
        for trace in report["traces"].as_array().into_iter().flatten() {
            let why = trace["not_planted"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
            let (what, outcome) = (word(&trace["what"]), word(&trace["outcome"]).replace('_', " "));
            let (rule, row) = (trace["rule"].as_str().unwrap_or(""), trace["row"].as_str().unwrap_or(""));
            let _ = writeln!(out, "| {what} | {outcome}{why} | {rule} | {row} |");
        }
        out.push_str(
            "\n## Findings on the clean copy\n\nNothing was planted there: what the machine itself is like.\n\n",
        );
        list(&mut out, &report["clean_findings"]);
        out.push_str("\n## Further findings on the planted copy\n\nOf rules that no trace is meant for; most see a trace from another side.\n\n");
        list(&mut out, &report["further_findings"]);
        out.push_str("\n## The signature\n\nIt says that neither file was changed since. Compare the key with one that you know.\n\n");
        for name in ["validation.json", "validation.md"] {
            let verify = "ssh-keygen -Y verify -f allowed_signers -I validation";
            let _ = writeln!(out, "    {verify} -n {NAMESPACE} -s {name}.sig < {name}");
        }
        out
    }
}

/// Findings, each with what it may be otherwise and its first rows.
fn list(out: &mut String, findings: &Value) {
    let findings = findings.as_array().map(Vec::as_slice).unwrap_or_default();
    if findings.is_empty() {
        out.push_str("None.\n");
    }
    for finding in findings {
        let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let others = finding["false_positives"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let others = others.collect::<Vec<_>>().join("; ");
        let _ = writeln!(
            out,
            "- {}: {} ({}, rows: {}). It may be: {others}",
            text("level"),
            text("title"),
            text("rule"),
            finding["count"]
        );
        for row in finding["rows"].as_array().into_iter().flatten().take(SHOWN_ROWS_MAX) {
            let columns = row["columns"].as_object();
            let named = columns.and_then(|columns| {
                ["path", "cmdline", "process.cmdline", "name", "pid"].iter().find_map(|key| columns.get(*key))
            });
            // Texts of a host may hold anything: JSON escapes what would change the report.
            let named = named.map(Value::to_string).unwrap_or_default().replace(['`', '<', '|'], "?");
            let _ = writeln!(out, "  - {}:{} {named}", row["file"].as_str().unwrap_or_default(), row["line"]);
        }
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
