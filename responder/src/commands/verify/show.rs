//! The verdict, for people and for machines. Both hold the same facts.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use bundle::checkpoint::Layer;
use bundle::sign::fingerprint;
use bundle::verify::{Finding, Findings, Identity, Report, SidecarSummary, Trust, code};
use serde_json::{Value, json};

use super::{Held, Outcome, Sealed};
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
    part(out, report)?;
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
    if let Some(envelope) = report.envelope {
        let to = report.header.as_ref().map_or(0, |header| header.recipients.len());
        let cut = if envelope.is_whole { "" } else { "; it is cut" };
        writeln!(out, "encrypted:   {} bytes, to {to} recipients{cut}", envelope.bytes)?;
    }
    extent(out, outcome)?;
    if let Some(last) = &outcome.last_receipt {
        let (at, custody) = (last.receipt.received_at, last.receipt.custody);
        let whose = if last.is_by_server { "the server's" } else { "which nobody here vouches for" };
        let (size, root, signer) = (custody.size, custody.root, &last.signer);
        writeln!(out, "last seen:   custody log of {size} entries, root {root}, by the receipt of {at}")?;
        writeln!(out, "             signed by key {signer}, {whose}")?;
    }
    findings(out, &report.findings, outcome.held)?;
    if let Some((path, bytes)) = outcome.opened {
        let left_out = report.bytes - bytes;
        let rest = if left_out > 0 {
            format!("; {left_out} bytes after its last boundary are left out")
        } else {
            String::new()
        };
        writeln!(out, "opened:      {bytes} bytes in {}{rest}", shown(&path.to_string_lossy()))?;
    }
    if let Some((entries, dir)) = outcome.extracted {
        writeln!(
            out,
            "extracted:   {entries} entries to {}; links are text files there",
            shown(&dir.to_string_lossy())
        )?;
    }
    proofs(out, outcome)
}

/// Its place in a run that was too much for one bundle.
fn part(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let Some(header) = report.header.as_ref().filter(|header| header.part > 1 || report.next_part.is_some()) else {
        return Ok(());
    };
    write!(out, "part:        {}", header.part)?;
    if let Some(before) = &header.continues {
        write!(out, ", after part {} (bundle {})", before.part, before.bundle)?;
    }
    if let Some(next) = report.next_part {
        write!(out, "; the run goes on in bundle {next}")?;
    }
    writeln!(out)
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
        if let Some(name) = &report.cut_in {
            write!(out, "; the data ends inside {}", shown(name))?;
        }
        if let Some(offset) = report.zeros_from {
            write!(out, "; from byte {offset} on there are only zeros, as a power cut leaves them")?;
        }
        writeln!(out)?;
    }
    match (&report.sidecar, outcome.sidecar) {
        (Some(sidecar), Some(path)) => transport(out, sidecar, path),
        _ => Ok(()),
    }
}

fn transport(out: &mut impl Write, sidecar: &SidecarSummary, path: &Path) -> io::Result<()> {
    let (path, lines) = (shown(&path.to_string_lossy()), sidecar.lines);
    write!(out, "transport:   {lines} checkpoints in {path}, up to offset {}", sidecar.reached)?;
    writeln!(
        out,
        "{}",
        if sidecar.cut_in_line { "; its last line was not written to its end and is ignored" } else { "" }
    )
}

/// Lines for people about a file that nobody looked into.
pub fn text_sealed(out: &mut impl Write, sealed: &Sealed) -> io::Result<()> {
    let report = sealed.report;
    let name = shown(&sealed.bundle.to_string_lossy());
    writeln!(out, "state:       {}; encrypted, and nobody looked inside", sealed.verdict)?;
    if let Some(bundle) = report.bundle {
        writeln!(out, "bundle:      {bundle}")?;
    }
    let phases: Vec<String> = report.sidecar.phases.iter().map(ToString::to_string).collect();
    writeln!(
        out,
        "phases:      {}",
        if phases.is_empty() { "none is complete".to_owned() } else { phases.join(", ") }
    )?;
    writeln!(out, "verified:    {} of {} bytes, as they were uploaded", report.sidecar.verified_to, report.bytes)?;
    if let Some(path) = sealed.sidecar {
        transport(out, &report.sidecar, path)?;
    }
    findings(out, &report.findings, sealed.held)?;
    let key =
        report.signer.as_ref().map_or_else(|| "an unknown key".to_owned(), |key| format!("key {}", fingerprint(key)));
    let signers = sealed.signers.map(|path| shown(&path.to_string_lossy()));
    match (&report.trust, signers) {
        _ if !report.findings.is_empty() => {
            writeln!(out, "sealed by:   nobody can say: its checkpoints name {key}, and it was changed")?;
        }
        (Trust::Trusted { principal }, Some(path)) => {
            writeln!(out, "sealed by:   {key}, trusted by {path} as {}", shown(principal))?;
        }
        (_, Some(path)) => writeln!(out, "sealed by:   {key}, which {path} does not vouch for")?,
        _ => writeln!(out, "sealed by:   {key}, which nobody here vouches for: give --signers")?,
    }
    held_line(out, sealed.held, report.bytes)?;
    writeln!(out, "not proven:  what is in it, and that the kernel told the truth")?;
    writeln!(out, "open it:     holdfast evidence open {name} --identity KEYFILE --output FILE.evidence.zip")
}

/// One JSON object with sorted keys, as of [`json`] as far as anything is known.
pub fn json_sealed(out: &mut impl Write, sealed: &Sealed) -> io::Result<()> {
    let report = sealed.report;
    let (counts, findings) = found(&report.findings, sealed.held);
    let object = json!({
        "bundle": report.bundle,
        "bytes": report.bytes,
        "file_bytes": report.bytes,
        "finding_counts": counts,
        "findings": findings,
        "held": held_json(sealed.held),
        "key": report.signer.as_ref().map(fingerprint),
        "layer": report.layer,
        "not_proven": "what is in it, and that the kernel told the truth",
        "phases": report.sidecar.phases,
        "receipts": sealed.held.map_or(0, |held| held.count),
        "state": sealed.verdict,
        "transport": transport_json(&report.sidecar),
        "trusted": matches!(report.trust, Trust::Trusted { .. }),
        "v": 1,
        "verified_to": report.sidecar.verified_to,
    });
    writeln!(out, "{object}")
}

fn findings(out: &mut impl Write, found: &Findings, held: Option<&Held>) -> io::Result<()> {
    // What is wrong with the evidence first; that the container differs follows from it, or is all there is.
    let of_container = |finding: &&Finding| matches!(finding.code, code::NON_CANONICAL | code::STREAM_MISMATCH);
    let (container, evidence): (Vec<_>, Vec<_>) = found.kept().iter().partition(of_container);
    let receipt = held.and_then(|held| held.finding.as_ref());
    for finding in receipt.into_iter().chain(evidence).chain(container) {
        let (subject, message) = (shown(&finding.subject), shown(&finding.message));
        writeln!(out, "finding:     {} at byte {}: {subject}: {message}", finding.code, finding.offset)?;
    }
    for (code, count) in found.counts() {
        let kept = found.kept().iter().filter(|finding| finding.code == *code).count() as u64;
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
    held_line(out, outcome.held, report.file_bytes())?;
    writeln!(out, "not proven:  that the kernel told the truth")
}

fn held_line(out: &mut impl Write, held: Option<&Held>, bytes: u64) -> io::Result<()> {
    match held {
        Some(held) => writeln!(out, "held by:     {}", held_by(held, bytes)),
        None => writeln!(out, "held by:     nobody but you, as far as this shows: no receipt given"),
    }
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
    let (counts, findings) = found(&report.findings, outcome.held);
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
        "continues": header.and_then(|header| header.continues.as_ref()),
        "custody_events": report.custody_events,
        "cut_in": report.cut_in,
        "entries": report.entries,
        "file_bytes": report.file_bytes(),
        "extracted": outcome.extracted.map(|(count, _)| count),
        "finding_counts": counts,
        "findings": findings,
        "held": held_json(outcome.held),
        "host": header.map(|header| &header.host),
        "incident": header.and_then(|header| header.incident.as_ref()),
        "items": items,
        "key": header.map(|header| fingerprint(&header.signer)),
        "last_receipt": outcome.last_receipt.as_ref().map(|last| {
            json!({"custody": last.receipt.custody, "key": last.signer, "received_at": last.receipt.received_at,
                "trusted": last.is_by_server})
        }),
        "layer": if report.envelope.is_some() { Layer::Age } else { Layer::Zip },
        "not_proven": "that the kernel told the truth",
        "next_part": report.next_part,
        "opened": outcome.opened.map(|(path, bytes)| json!({"bytes": bytes, "path": path})),
        "part": header.map(|header| header.part),
        "principal": header.map(|header| &header.principal),
        "profile": header.and_then(|header| header.profile.as_ref()),
        "recipients": header.map(|header| &header.recipients),
        "receipts": outcome.held.map_or(0, |held| held.count),
        "started": header.map(|header| header.started),
        "state": outcome.verdict,
        "transport": report.sidecar.as_ref().map(transport_json),
        "trusted": matches!(report.trust, Trust::Trusted { .. }),
        "v": 1,
        "verified_to": report.verified_to,
        "zeros_from": report.zeros_from,
    });
    writeln!(out, "{object}")
}

/// How often each code was found, and the findings that are kept in words.
fn found(findings: &Findings, held: Option<&Held>) -> (BTreeMap<&'static str, u64>, Vec<Value>) {
    let receipt = held.and_then(|held| held.finding.as_ref());
    let mut counts = findings.counts().clone();
    if let Some(finding) = receipt {
        *counts.entry(finding.code).or_default() += 1;
    }
    let words = findings.kept().iter().chain(receipt).map(|finding| {
        json!({"code": finding.code, "message": finding.message, "offset": finding.offset, "subject": finding.subject})
    });
    (counts, words.collect())
}

fn held_json(held: Option<&Held>) -> Option<Value> {
    let held = held?;
    Some(json!({"bytes": held.highest.offset, "key": held.server, "since": held.highest.received_at}))
}

fn transport_json(sidecar: &SidecarSummary) -> Value {
    json!({"cut_in_line": sidecar.cut_in_line, "final": sidecar.is_final, "lines": sidecar.lines,
        "reached": sidecar.reached})
}

fn status_name(status: &impl serde::Serialize) -> String {
    serde_json::to_value(status).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}
