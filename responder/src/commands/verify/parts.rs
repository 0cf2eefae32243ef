//! The parts of one run: each by itself, and then whether they are the parts of one run and all of them.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use bundle::verify::{Findings, State, Trust, Verified, check_parts, code};
use serde_json::json;

use super::Verify;
use crate::commands::{Failure, INPUT, IO, USAGE};
use crate::escape::shown;

impl Verify {
    /// Prints the verdict on each part, then that on the run. With `--json` one object a line, the run's last.
    pub(super) fn run_parts(&self) -> Result<u8, Failure> {
        let paths: Vec<&Path> = [&self.bundle].into_iter().chain(&self.parts).map(AsRef::as_ref).collect();
        if paths.iter().any(|path| path.as_os_str() == "-") {
            let error = anyhow::anyhow!("standard input holds one bundle, and parts are several");
            return Err(Failure::new(USAGE, error).hint("save them to files first"));
        }
        let mut verified = Vec::new();
        let mut worst = 0;
        for path in &paths {
            if !self.json {
                write(&format!("{}\n", shown(&path.to_string_lossy())))?;
            }
            let (code, part) = self.alone(path).run_one()?;
            worst = worse(worst, code);
            verified.extend(part);
            if !self.json {
                write("\n")?;
            }
        }
        // What is not consistent by itself is a part of nothing.
        let findings = check_parts(&verified.iter().collect::<Vec<&Verified>>());
        let (state, code) = verdict(&verified, verified.len() == paths.len(), &findings, worst);
        if self.json { run_json(&verified, &findings, state) } else { run_text(&verified, &findings, state) }?;
        Ok(code)
    }

    fn alone(&self, path: &Path) -> Self {
        Self {
            bundle: path.to_owned(),
            parts: Vec::new(),
            signers: self.signers.clone(),
            server_key: self.server_key.clone(),
            json: self.json,
            stream: None,
            receipts: None,
            extract: None,
            identity: self.identity.clone(),
            output: None,
        }
    }
}

fn run_json(verified: &[Verified], findings: &Findings, state: &str) -> Result<(), Failure> {
    let (items, bytes) = sums(verified);
    let parts: Vec<_> = sorted(verified).iter().map(|part| part.header().bundle).collect();
    let found: Vec<_> = findings
        .kept()
        .iter()
        .map(|finding| json!({"code": finding.code, "message": finding.message, "subject": finding.subject}))
        .collect();
    let run = json!({"bytes": bytes, "findings": found, "items": items, "parts": parts, "state": state,
        "type": "run", "v": 1});
    write(&format!("{run}\n"))
}

fn sorted(verified: &[Verified]) -> Vec<&Verified> {
    let mut parts: Vec<&Verified> = verified.iter().collect();
    parts.sort_by_key(|part| part.header().part);
    parts
}

fn sums(verified: &[Verified]) -> (u64, u64) {
    let reports = || verified.iter().map(|part: &Verified| part.report());
    (reports().flat_map(|report| report.items.values()).sum(), reports().map(|report| report.bytes).sum())
}

fn run_text(verified: &[Verified], findings: &Findings, state: &str) -> Result<(), Failure> {
    let (items, bytes) = sums(verified);
    let mut text = format!("run:         {state}, {} parts, {items} items, {bytes} bytes\n", verified.len());
    for part in sorted(verified) {
        let _ = writeln!(text, "part {:<7} bundle {}", format!("{}:", part.header().part), part.header().bundle);
    }
    for finding in findings.kept() {
        let (subject, message) = (shown(&finding.subject), shown(&finding.message));
        let _ = writeln!(text, "finding:     {}: {subject}: {message}", finding.code);
    }
    write(&text)
}

/// The run is sealed when all its parts are here, sealed, and follow from one another; what is missing makes it partial.
fn verdict(verified: &[Verified], all: bool, findings: &Findings, worst: u8) -> (&'static str, u8) {
    let only_missing = findings.counts().keys().all(|name| *name == code::PART_MISSING);
    if !only_missing || worst == 1 {
        return ("tampered", 1);
    }
    if !all {
        return ("unverified", INPUT);
    }
    let is_trusted = verified.iter().all(|part| matches!(part.trust(), Trust::Trusted { .. }));
    let is_whole = findings.is_empty() && verified.iter().all(|part| part.state() == State::Sealed);
    match (is_whole, is_trusted) {
        (true, true) => ("sealed", 0),
        (true, false) => ("sealed", 4),
        (false, true) => ("partial", 3),
        (false, false) => ("partial", 4),
    }
}

fn worse(a: u8, b: u8) -> u8 {
    let rank = |code: u8| match code {
        1 => 4,
        INPUT => 3,
        4 => 2,
        3 => 1,
        _ => 0,
    };
    if rank(b) > rank(a) { b } else { a }
}

fn write(text: &str) -> Result<(), Failure> {
    match io::Write::write_all(&mut io::stdout().lock(), text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(IO, error)),
        _ => Ok(()),
    }
}
