//! The parts of one run, each verified by itself, held against one another.
//!
//! Each part after the first names the one before it: its id, its number and its last checkpoint, which stands for all of
//! it. A part that is sealed and goes on names the next one in its custody log, so that a last part that is missing shows
//! as well. What is missing is no tampering with what is there; what does not fit is.

use std::collections::HashSet;

use super::Verified;
use super::finding::{Findings, code};
use super::identity::Identity;
use super::report::State;

/// Holds the parts of a run against one another, in whatever order they are given. What is wrong names the part.
pub fn check_parts(given: &[&Verified]) -> Findings {
    let mut findings = Findings::default();
    let mut parts: Vec<&Verified> = given.to_vec();
    parts.sort_by_key(|part| (part.header().part, part.header().bundle));
    let Some(first) = parts.first() else { return findings };
    if first.header().part > 1 {
        missing(1, first.header().part - 1, &mut findings);
    }
    for pair in parts.windows(2) {
        if let [before, part] = pair {
            follows(before, part, &mut findings);
        }
    }
    if let Some(last) = parts.last()
        && let Some(next) = last.report().next_part
    {
        let number = last.header().part + 1;
        let message = format!("it is not here; it is bundle {next}");
        findings.add(code::PART_MISSING, &format!("part {number}"), 0, message);
    }
    links(&parts, &mut findings);
    findings
}

fn missing(from: u32, to: u32, findings: &mut Findings) {
    let (subject, message) = match to - from {
        0 => (format!("part {from}"), "it is not here"),
        _ => (format!("parts {from} to {to}"), "they are not here"),
    };
    findings.add(code::PART_MISSING, &subject, 0, message);
}

fn follows(before: &Verified, part: &Verified, findings: &mut Findings) {
    let (was, is) = (before.header(), part.header());
    let subject = format!("part {} (bundle {})", is.part, is.bundle);
    if !is_same_run(was, is) {
        findings.add(code::PART_CHAIN, &subject, 0, format!("it is of another run than bundle {}", was.bundle));
        return;
    }
    if is.part == was.part {
        let message = if is.bundle == was.bundle { "it is given twice" } else { "there is another one of this number" };
        findings.add(code::PART_CHAIN, &subject, 0, message);
        return;
    }
    if is.part > was.part + 1 {
        missing(was.part + 1, is.part - 1, findings);
        return;
    }
    let Some(continues) = &is.continues else { return };
    let head = before.report().checkpoints.last().map(|checkpoint| checkpoint.sha256);
    if (continues.bundle, continues.part) != (was.bundle, was.part) {
        let message = format!(
            "it continues part {} of bundle {}, and part {} here is bundle {}",
            continues.part, continues.bundle, was.part, was.bundle
        );
        findings.add(code::PART_CHAIN, &subject, 0, message);
    } else if before.state() != State::Sealed {
        let message = format!("part {} is not sealed, and it had to be for this one to begin", was.part);
        findings.add(code::PART_CHAIN, &subject, 0, message);
    } else if head != Some(continues.checkpoint_sha256) {
        let message = format!("it does not name the final checkpoint of part {}", was.part);
        findings.add(code::PART_CHAIN, &subject, 0, message);
    } else if before.report().next_part != Some(is.bundle) {
        findings.add(code::PART_CHAIN, &subject, 0, format!("part {} does not name it as the next", was.part));
    }
}

fn is_same_run(a: &Identity, b: &Identity) -> bool {
    a.signer.key_data() == b.signer.key_data()
        && (&a.principal, &a.host, &a.incident, &a.order_sha256, &a.profile, &a.belongs_to)
            == (&b.principal, &b.host, &b.incident, &b.order_sha256, &b.profile, &b.belongs_to)
}

/// Each item that says an earlier part holds its content must be right about it.
fn links(parts: &[&Verified], findings: &mut Findings) {
    for there in parts {
        let number = there.header().part;
        let mut held: Option<HashSet<u64>> = None;
        for part in parts.iter().filter(|part| part.header().part > number) {
            for link in part.report().links.iter().filter(|link| link.part == number) {
                let held =
                    held.get_or_insert_with(|| there.entries().iter().filter_map(super::EntryRecord::item).collect());
                if !held.contains(&link.item) {
                    let subject = format!("part {}, item {}", part.header().part, link.from);
                    let message = format!("item {} of part {number} holds no content", link.item);
                    findings.add(code::ITEM_MISMATCH, &subject, 0, message);
                }
            }
        }
    }
}
