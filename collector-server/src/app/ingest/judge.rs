//! What a verification means: the state of a bundle, whose key sealed it, and whether it is what was ordered. Pure.

use std::collections::BTreeMap;

use bundle::verify::{Finding, Identity, NotVerified, Report, State, Transport, TransportReport, Verified};
use serde_json::Value;
use wire::api::{EvidenceState, EvidenceView, RunPart, SignerTrust};
use wire::{AgentId, BundleId, Phase, Sha256, Tier};

use super::Outcome;
use crate::store::{CheckpointRecord, EvidenceRecord, HostRecord, OrderRecord};

const FINDINGS_MAX: usize = 20;
const FINDING_CHARS_MAX: usize = 400;
const NAME_CHARS_MAX: usize = 255;

/// Sentences for people: bounded, and without a character that a terminal would act upon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings(pub Vec<String>);

impl Findings {
    fn add(&mut self, text: &str) {
        if self.0.len() < FINDINGS_MAX {
            self.0.push(shown(text, FINDING_CHARS_MAX));
        }
    }

    fn found(&mut self, findings: &[Finding]) {
        for finding in findings {
            self.add(&format!("{}: {}: {}", finding.code, finding.subject, finding.message));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What is kept of a verification.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// How it differs from what was ordered and announced.
    pub mismatches: Findings,
    /// What people are shown.
    pub view: EvidenceView,
}

/// The agent that the bundle names as its signer; of an encrypted one, which names nobody here, the agent that brought
/// it.
pub(super) fn agent_of(record: &EvidenceRecord, outcome: &Outcome) -> Option<AgentId> {
    let principal = match outcome {
        Outcome::Content(outcome) => &report_of(outcome).0?.header.as_ref()?.principal,
        Outcome::Transport(_) => &record.view.brought_by,
    };
    principal.strip_prefix("agent:")?.parse().ok()
}

/// The name of the custody leaf for a state.
pub(super) fn event_of(state: EvidenceState) -> &'static str {
    match state {
        EvidenceState::Receiving => "evidence_receiving",
        EvidenceState::Sealed => "evidence_sealed",
        EvidenceState::Partial => "evidence_partial",
        EvidenceState::Unverified => "evidence_unverified",
        EvidenceState::Rejected => "evidence_rejected",
    }
}

/// Holds the outcome against the records: the order that it answers, the host whose key it names.
pub(super) fn judge(
    record: &EvidenceRecord,
    checkpoints: &[CheckpointRecord],
    order: Option<&OrderRecord>,
    (host, before): (Option<&HostRecord>, Option<&EvidenceRecord>),
    outcome: &Result<Verified, NotVerified>,
    sha256: Option<Sha256>,
) -> Judged {
    let mut findings = Findings::default();
    let (report, why) = report_of(outcome);
    if let Some(why) = why {
        findings.add(&why);
    }
    let state = state_of(outcome, checkpoints, record, &mut findings);
    let mut view = EvidenceView {
        bytes: record.offset,
        encrypted: false,
        findings: Vec::new(),
        items: BTreeMap::new(),
        sha256,
        state,
        tiers: tiers(checkpoints),
        trust: None,
        verified_to: 0,
        ..record.view.clone()
    };
    let mut mismatches = Findings::default();
    if let Some(report) = report {
        findings.found(report.findings.kept());
        view.verified_to = report.verified_to;
        view.items = report.items.iter().map(|(status, count)| (word(status), *count)).collect();
        if let Some(header) = &report.header {
            mismatches = compare(header, record, order);
            if let Some(before) = before.filter(|_| header.continues.is_some()) {
                follows(header, before, &mut mismatches);
            }
            describe(&mut view, header, record, host);
            view.part = part_of(header, report, state);
        }
    }
    for mismatch in &mismatches.0 {
        findings.add(mismatch);
    }
    view.findings = findings.0;
    Judged { mismatches, view }
}

/// The same of an encrypted bundle, of which only the bytes are known.
pub(super) fn judge_sealed(
    record: &EvidenceRecord,
    checkpoints: &[CheckpointRecord],
    host: Option<&HostRecord>,
    outcome: &Result<Verified<Transport>, NotVerified<TransportReport>>,
    sha256: Option<Sha256>,
) -> Judged {
    let mut findings = Findings::default();
    let (state, report) = match outcome {
        Ok(verified) if verified.state() == State::Sealed => (EvidenceState::Sealed, Some(verified.report())),
        Ok(verified) => {
            let rest = record.offset.saturating_sub(verified.report().sidecar.verified_to);
            if rest > 0 {
                findings.add(&format!("the last {rest} bytes came without a transport checkpoint"));
            }
            (EvidenceState::Partial, Some(verified.report()))
        }
        Err(NotVerified::Rejected(report)) => (EvidenceState::Rejected, Some(&**report)),
        Err(error) => {
            findings.add(&error.to_string());
            (EvidenceState::Unverified, None)
        }
    };
    findings.found(report.map(|report| report.findings.kept()).unwrap_or_default());
    let is_enrolled = host.is_some_and(|host| record.signer.as_ref() == Some(&host.signer));
    let trust = match (is_enrolled, record.view.brought_by.starts_with("ticket:")) {
        (true, _) => SignerTrust::Enrolled,
        (false, true) => SignerTrust::Unenrolled,
        _ => SignerTrust::Unknown,
    };
    let view = EvidenceView {
        bytes: record.offset,
        encrypted: true,
        findings: findings.0,
        host: host.map_or_else(|| record.view.host.clone(), |host| shown(&host.facts.name, NAME_CHARS_MAX)),
        items: BTreeMap::new(),
        sha256,
        signer: record.signer.clone(),
        signer_principal: host.filter(|_| is_enrolled).map(|host| host.agent.principal()),
        state,
        tiers: tiers(checkpoints),
        trust: report.map(|_| trust),
        verified_to: report.map_or(0, |report| report.sidecar.verified_to),
        ..record.view.clone()
    };
    Judged { mismatches: Findings::default(), view }
}

/// What was found out, as far as there is something, and in a sentence why there is not more.
fn report_of(outcome: &Result<Verified, NotVerified>) -> (Option<&Report>, Option<String>) {
    match outcome {
        Ok(verified) => (Some(verified.report()), None),
        Err(NotVerified::Rejected(report)) => (Some(report), None),
        Err(error @ NotVerified::Unverified(report)) => (Some(report), Some(error.to_string())),
        Err(error) => (None, Some(error.to_string())),
    }
}

fn state_of(
    outcome: &Result<Verified, NotVerified>,
    checkpoints: &[CheckpointRecord],
    record: &EvidenceRecord,
    findings: &mut Findings,
) -> EvidenceState {
    let verified = match outcome {
        Ok(verified) => verified,
        Err(NotVerified::Rejected(_)) => return EvidenceState::Rejected,
        Err(_) => return EvidenceState::Unverified,
    };
    let Some(last) = checkpoints.last() else {
        findings.add("its content verifies, but no transport checkpoint came with it: nobody signed for its length");
        return EvidenceState::Unverified;
    };
    if verified.state() == State::Sealed {
        if !last.is_final() {
            findings.add("the content is sealed; the last transport checkpoint did not come");
        }
        return EvidenceState::Sealed;
    }
    if last.receipt.offset < record.offset {
        let rest = record.offset - last.receipt.offset;
        findings.add(&format!("the last {rest} bytes came without a transport checkpoint"));
    }
    EvidenceState::Partial
}

/// How the bundle differs from what was announced and ordered.
fn compare(header: &Identity, record: &EvidenceRecord, order: Option<&OrderRecord>) -> Findings {
    let mut mismatches = Findings::default();
    let view = &record.view;
    if header.bundle != view.bundle {
        mismatches.add(&format!("it says that it is bundle {}, and came as {}", header.bundle, view.bundle));
    }
    match header.incident.as_deref() {
        Some(incident) if incident != view.incident.as_str() => {
            mismatches.add(&format!("it was collected for incident {incident}, and came for {}", view.incident));
        }
        None if order.is_some() => mismatches.add("it names no incident, and the order does"),
        _ => {}
    }
    if let Some(order) = order
        && header.order_sha256 != Some(order.sha256)
    {
        mismatches.add(&format!("it does not name the order {} by its digest", order.order));
    }
    if let Some(main) = order.and_then(|order| order.bundle)
        && main != view.bundle
        && header.continues.is_none()
        && header.belongs_to != Some(main)
    {
        mismatches.add(&format!("it came beside bundle {main}, and does not say that it belongs to it"));
    }
    let announced = view.part.as_ref().and_then(|part| part.continues);
    if announced != header.continues.as_ref().map(|before| before.bundle) && (announced.is_some() || order.is_some()) {
        mismatches.add("it does not continue the bundle that it was announced to continue");
    }
    if record.signer.as_ref().is_some_and(|signer| *signer != key_line(header)) {
        mismatches.add("it is signed with another key than the one that was announced");
    }
    mismatches
}

/// The bundle that this one says it continues.
pub(super) fn continued(outcome: &Outcome) -> Option<BundleId> {
    let Outcome::Content(outcome) = outcome else { return None };
    let (report, _) = report_of(outcome);
    Some(report?.header.as_ref()?.continues.as_ref()?.bundle)
}

/// Holds a part against the one before it, as far as that is known.
fn follows(header: &Identity, before: &EvidenceRecord, mismatches: &mut Findings) {
    let (Some(continues), view) = (&header.continues, &before.view) else { return };
    if view.state == EvidenceState::Receiving {
        return;
    }
    let number = continues.part;
    let Some(part) = view.part.as_ref().filter(|_| view.state == EvidenceState::Sealed) else {
        mismatches.add(&format!("it continues bundle {}, which is not a sealed part that goes on", view.bundle));
        return;
    };
    if part.number != number || part.checkpoint_sha256 != Some(continues.checkpoint_sha256) {
        mismatches.add(&format!("it does not name the final checkpoint of part {number} as it is here"));
    } else if part.next != Some(header.bundle) {
        mismatches.add(&format!("part {number} does not name it as the next"));
    }
    if view.signer.as_deref() != Some(key_line(header).as_str()) {
        mismatches.add(&format!("it is signed with another key than part {number}"));
    }
}

fn part_of(header: &Identity, report: &Report, state: EvidenceState) -> Option<RunPart> {
    if header.part == 1 && report.next_part.is_none() {
        return None;
    }
    let sealed = report.checkpoints.last().filter(|_| state == EvidenceState::Sealed);
    Some(RunPart {
        checkpoint_sha256: sealed.map(|last| last.sha256),
        continues: header.continues.as_ref().map(|before| before.bundle),
        next: report.next_part,
        number: header.part,
    })
}

/// Who sealed it, where, and whose key that is.
fn describe(view: &mut EvidenceView, header: &Identity, record: &EvidenceRecord, host: Option<&HostRecord>) {
    let signer = key_line(header);
    let is_enrolled = host.is_some_and(|host| {
        // An agent vouches for its own bundles only.
        let brought_by_itself = view.brought_by == host.agent.principal() || !view.brought_by.starts_with("agent:");
        host.signer == signer && brought_by_itself
    });
    let is_announced = record.signer.as_ref().is_none_or(|announced| *announced == signer);
    view.trust = Some(match (is_enrolled, view.brought_by.starts_with("ticket:")) {
        (true, _) => SignerTrust::Enrolled,
        (false, true) if is_announced => SignerTrust::Unenrolled,
        _ => SignerTrust::Unknown,
    });
    view.host = shown(&header.host, NAME_CHARS_MAX);
    view.profile = header.profile.as_deref().map(|profile| shown(profile, NAME_CHARS_MAX));
    view.signer = Some(signer);
    view.signer_principal = Some(header.principal.clone());
}

fn key_line(header: &Identity) -> String {
    let mut key = header.signer.clone();
    key.set_comment("");
    key.to_openssh().unwrap_or_default()
}

fn tiers(checkpoints: &[CheckpointRecord]) -> Vec<Tier> {
    let is_complete = |tier: &Tier| {
        let phase = Phase::from(*tier);
        checkpoints.iter().any(|there| there.receipt.phase_complete && there.receipt.phase == phase)
    };
    Tier::ALL.into_iter().filter(is_complete).collect()
}

fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

fn shown(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    for character in text.chars().take(chars_max) {
        let is_bidi = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || is_bidi || matches!(character, '\u{2028}' | '\u{2029}') {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_bounded_and_harmless() {
        let mut findings = Findings::default();
        for _ in 0..100 {
            findings.add(&format!("a\x1b[31m\u{202e}\u{9b}{}", "x".repeat(9_999)));
        }
        assert_eq!(findings.0.len(), FINDINGS_MAX);
        assert!(findings.0[0].starts_with("a\\u{1b}[31m\\u{202e}\\u{9b}xxx"));
        assert!(findings.0[0].len() < 2 * FINDING_CHARS_MAX);
    }
}
