//! The verdict, for people and for machines. Both hold the same facts.

use std::io::{self, Write};

use bundle::sign::fingerprint;
use bundle::verify::{Finding, Identity, Trust, code};
use serde_json::{Value, json};

use super::{Held, Outcome};
use crate::escape::shown;

/// Lines for people. Whatever a host supplied is escaped.
pub fn text(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let report = outcome.report;
    writeln!(out, "state:       {}", outcome.verdict)?;
    if let Some(header) = &report.header {
        writeln!(out, "bundle:      {}", header.bundle)?;
        writeln!(out, "host:        {}", shown(&header.host))?;
        writeln!(out, "incident:    {}", shown(header.incident.as_deref().unwrap_or("none")))?;
        writeln!(out, "started:     {}", header.started)?;
        writeln!(out, "profile:     {}", shown(header.profile.as_deref().unwrap_or("none")))?;
    }
    let by_status: Vec<String> =
        report.items.iter().map(|(status, count)| format!("{} {count}", status_name(status))).collect();
    writeln!(out, "items:       {} ({})", report.items.values().sum::<u64>(), by_status.join(", "))?;
    match report.checkpoints.last() {
        Some(last) => {
            writeln!(
                out,
                "checkpoints: {}, the last at {} in phase {}",
                report.checkpoints.len(),
                last.time,
                last.phase
            )?;
        }
        None => writeln!(out, "checkpoints: none")?,
    }
    writeln!(out, "verified:    {} of {} bytes, {} entries", report.verified_to, report.bytes, report.entries)?;
    extent(out, outcome)?;
    if let Some(last) = &outcome.last_receipt {
        let (at, custody) = (last.receipt.received_at, last.receipt.custody);
        let whose = if last.is_by_server { "the server's" } else { "which nobody here vouches for" };
        let (size, root, signer) = (custody.size, custody.root, &last.signer);
        writeln!(out, "last seen:   custody log of {size} entries, root {root}, by the receipt of {at}")?;
        writeln!(out, "             signed by key {signer}, {whose}")?;
    }
    findings(out, outcome)?;
    if let Some((entries, dir)) = outcome.extracted {
        writeln!(
            out,
            "extracted:   {entries} entries to {}; links are text files there",
            shown(&dir.to_string_lossy())
        )?;
    }
    proofs(out, outcome)
}

/// Where the data ends, what can be used of it, and what the transport checkpoints say.
fn extent(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let report = outcome.report;
    if outcome.verdict == "partial" {
        match report.boundary {
            Some(boundary) => writeln!(out, "usable:      head -c {boundary} is an ordinary ZIP file")?,
            None => writeln!(out, "usable:      no prefix is an ordinary ZIP file yet")?,
        }
    }
    if report.bytes > report.verified_to && report.findings.is_empty() {
        write!(out, "beyond:      {} bytes that nothing signs yet", report.bytes - report.verified_to)?;
        match &report.cut_in {
            Some(name) => writeln!(out, "; the data ends inside {}", shown(name))?,
            None => writeln!(out)?,
        }
    }
    if let (Some(sidecar), Some(path)) = (&report.sidecar, outcome.sidecar) {
        let (path, lines) = (shown(&path.to_string_lossy()), sidecar.lines);
        write!(out, "transport:   {lines} checkpoints in {path}, up to offset {}", sidecar.reached)?;
        writeln!(out, "{}", if sidecar.cut_in_line { "; its last line is cut and ignored" } else { "" })?;
    }
    Ok(())
}

fn findings(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let report = outcome.report;
    // What is wrong with the evidence first; that the container differs follows from it, or is all there is.
    let of_container = |finding: &&Finding| matches!(finding.code, code::NON_CANONICAL | code::STREAM_MISMATCH);
    let (container, evidence): (Vec<_>, Vec<_>) = report.findings.kept().iter().partition(of_container);
    let receipt = outcome.held.and_then(|held| held.finding.as_ref());
    for finding in receipt.into_iter().chain(evidence).chain(container) {
        let (subject, message) = (shown(&finding.subject), shown(&finding.message));
        writeln!(out, "finding:     {} at byte {}: {subject}: {message}", finding.code, finding.offset)?;
    }
    for (code, count) in report.findings.counts() {
        let kept = report.findings.kept().iter().filter(|finding| finding.code == *code).count() as u64;
        if *count > kept {
            writeln!(out, "finding:     {code}: {} more", count - kept)?;
        }
    }
    Ok(())
}

/// What a bundle can prove and what it cannot: always these three lines.
fn proofs(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let report = outcome.report;
    let key = report.header.as_ref().map_or_else(|| "an unknown key".to_owned(), key_of);
    let signers = outcome.signers.map(|path| shown(&path.to_string_lossy()));
    match (&report.trust, signers) {
        _ if !report.findings.is_empty() => {
            writeln!(out, "sealed by:   nobody can say: the bundle names {key}, and it was changed")?;
        }
        (Trust::Trusted { .. }, Some(path)) => writeln!(out, "sealed by:   {key}, trusted by {path}")?,
        (_, Some(path)) => writeln!(out, "sealed by:   {key}, which {path} does not vouch for")?,
        _ => writeln!(out, "sealed by:   {key}, which nobody here vouches for: give --signers")?,
    }
    match outcome.held {
        Some(held) => writeln!(out, "held by:     {}", held_by(held, report.bytes))?,
        None => writeln!(out, "held by:     nobody but you, as far as this shows: no receipt given")?,
    }
    writeln!(out, "not proven:  that the kernel told the truth")
}

fn held_by(held: &Held, bytes: u64) -> String {
    let (offset, since) = (held.highest.offset, held.highest.received_at);
    let what = match &held.finding {
        Some(finding) if finding.code == code::TRUNCATED => format!("{offset} bytes, of which {bytes} are here,"),
        Some(_) => format!("{offset} other bytes"),
        None if offset == bytes => format!("all {bytes} bytes"),
        None => format!("the first {offset} of {bytes} bytes"),
    };
    format!("server key {}: {what} since {since}", held.server)
}

fn key_of(header: &Identity) -> String {
    format!("key {} ({})", fingerprint(&header.signer), shown(&header.principal))
}

/// One JSON object with sorted keys. Strings are as the bundle has them: whoever shows them escapes them.
pub fn json(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let report = outcome.report;
    let header = report.header.as_ref();
    let mut counts = report.findings.counts().clone();
    if let Some(finding) = outcome.held.and_then(|held| held.finding.as_ref()) {
        *counts.entry(finding.code).or_default() += 1;
    }
    let findings: Vec<Value> = report
        .findings
        .kept()
        .iter()
        .chain(outcome.held.and_then(|held| held.finding.as_ref()))
        .map(|finding| {
            json!({"code": finding.code, "message": finding.message, "offset": finding.offset, "subject": finding.subject})
        })
        .collect();
    let items: serde_json::Map<String, Value> =
        report.items.iter().map(|(status, count)| (status_name(status), json!(count))).collect();
    let checkpoints: Vec<Value> = report
        .checkpoints
        .iter()
        .map(|checkpoint| {
            json!({"covers": checkpoint.covers, "phase": checkpoint.phase, "seq": checkpoint.seq,
                "sha256": checkpoint.sha256, "time": checkpoint.time})
        })
        .collect();
    let object = json!({
        "boundary": report.boundary,
        "bundle": header.map(|header| header.bundle),
        "bytes": report.bytes,
        "checkpoints": checkpoints,
        "custody_events": report.custody_events,
        "cut_in": report.cut_in,
        "entries": report.entries,
        "extracted": outcome.extracted.map(|(count, _)| count),
        "finding_counts": counts,
        "findings": findings,
        "held": outcome.held.map(|held| {
            json!({"bytes": held.highest.offset, "key": held.server, "since": held.highest.received_at})
        }),
        "host": header.map(|header| &header.host),
        "incident": header.and_then(|header| header.incident.as_ref()),
        "items": items,
        "key": header.map(|header| fingerprint(&header.signer)),
        "last_receipt": outcome.last_receipt.as_ref().map(|last| {
            json!({"custody": last.receipt.custody, "key": last.signer, "received_at": last.receipt.received_at,
                "trusted": last.is_by_server})
        }),
        "not_proven": "that the kernel told the truth",
        "part": header.map(|header| header.part),
        "principal": header.map(|header| &header.principal),
        "profile": header.and_then(|header| header.profile.as_ref()),
        "receipts": outcome.held.map_or(0, |held| held.count),
        "started": header.map(|header| header.started),
        "state": outcome.verdict,
        "transport": report.sidecar.as_ref().map(|sidecar| {
            json!({"cut_in_line": sidecar.cut_in_line, "final": sidecar.is_final, "lines": sidecar.lines,
                "reached": sidecar.reached})
        }),
        "trusted": matches!(report.trust, Trust::Trusted { .. }),
        "v": 1,
        "verified_to": report.verified_to,
    });
    writeln!(out, "{object}")
}

fn status_name(status: &impl serde::Serialize) -> String {
    serde_json::to_value(status).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}
