//! Transport checkpoints: what the agent signed about its bytes is held against ours, and answered with a receipt.

use std::sync::Arc;

use bundle::checkpoint::StreamCheckpoint;
use bundle::verify::believe_line;
use serde_json::json;
use ssh_key::PublicKey;
use wire::agent_api::CheckpointsReply;
use wire::api::{Contradiction, EvidenceState, EvidenceView, LiveEvent};
use wire::custody::HeadPoint;
use wire::receipt::{RECEIPT_TYPE, Receipt};
use wire::signed::{Signed, namespace};
use wire::{BundleId, Instant, Phase, Sha256, Tier, UploadId};

use super::tally::Tally;
use crate::app::custody::SERVER_PRINCIPAL;
use crate::app::{Actor, App, Problem, ProblemKind, details};
use crate::store::{Change, CheckpointRecord, EvidenceRecord, NewLeaf};

/// Lines of one request.
pub const LINES_MAX: usize = 256;
/// Lines of one bundle: one for each 8 MiB of the longest, and one for each piece of a tier.
const CHECKPOINTS_MAX: usize = 65_536;

/// Contradictions of a signer that are recorded of one bundle: those that come after them prove nothing more, and a log
/// that is kept for ever must not be filled by one host.
const CONTRADICTIONS_MAX: usize = 8;
/// Another checkpoint under a number that has a receipt, or behind the last one.
const EQUIVOCATION: &str = "equivocation";
/// A checkpoint for other bytes than those that came.
const MISMATCH: &str = "checkpoint_mismatch";

/// What is known before the next line.
struct Known {
    checkpoints: Vec<CheckpointRecord>,
    head: HeadPoint,
    record: EvidenceRecord,
    signer: PublicKey,
    tally: Tally,
}

/// What a request changes.
#[derive(Default)]
struct Answer {
    changes: Vec<Change>,
    contradicted: bool,
    leaves: Vec<NewLeaf>,
    receipts: Vec<Signed>,
    told: Vec<Receipt>,
}

impl App {
    /// Takes transport checkpoints, one a line, and answers each with a receipt; one that was there is answered with the
    /// receipt that it was given. The first line that does not hold ends it; those before it are kept.
    ///
    /// # Errors
    /// [`ProblemKind::Input`] for what is no checkpoint of this bundle by its signer; [`ProblemKind::Conflict`] for one
    /// that does not follow, or that is about other bytes than those that came.
    pub async fn add_checkpoints(
        self: &Arc<Self>,
        by: &Actor,
        upload: UploadId,
        lines: &[u8],
    ) -> Result<CheckpointsReply, Problem> {
        let bundle = self.upload(by, upload).await?.view.bundle;
        let slot = self.uploads.slot(bundle);
        let _view = slot.view.lock().await;
        let record = self.upload(by, upload).await?;
        let mut known = Known {
            checkpoints: self.store.checkpoints(bundle).await?,
            head: self.store.head().await?,
            signer: signer_of(&record)?,
            tally: self.tally(&slot, &record).await?,
            record,
        };
        let (mut answer, mut refused) = (Answer::default(), None);
        let lines: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        if lines.len() > LINES_MAX {
            return Err(Problem::new(
                ProblemKind::TooLarge,
                format!("{} lines are more than {LINES_MAX}", lines.len()),
            )
            .hint("send them in several requests, in order"));
        }
        for line in lines {
            if let Err(problem) = self.take_line(by, line, &mut known, &mut answer) {
                refused = Some(problem);
                break;
            }
        }
        self.keep(&known, &mut answer).await?;
        refused.map_or(Ok(CheckpointsReply { receipts: answer.receipts }), Err)
    }

    fn take_line(&self, by: &Actor, line: &[u8], known: &mut Known, answer: &mut Answer) -> Result<(), Problem> {
        let bundle = known.record.view.bundle;
        let checkpoint = believe_line(line, bundle, &known.signer).map_err(|bad| {
            Problem::new(ProblemKind::Input, format!("a transport checkpoint of bundle {bundle}: {bad}"))
                .hint("the lines of <bundle>.stream.jsonl are wanted, unchanged and in order")
        })?;
        if let Some(there) = known.checkpoints.iter().find(|there| there.receipt.seq == checkpoint.seq) {
            if there.line.as_bytes() == line {
                answer.receipts.push(there.envelope.clone());
                return Ok(());
            }
            let ours = there.receipt.sha256;
            if (there.receipt.offset, ours) != (checkpoint.offset, checkpoint.sha256) {
                self.contradicts(EQUIVOCATION, by, line, (&checkpoint, ours), known, answer);
            }
            let seq = checkpoint.seq;
            return Err(Problem::new(ProblemKind::Conflict, format!("bundle {bundle} has another checkpoint {seq}"))
                .hint("the signer said two things under one number; both are kept"));
        }
        let ours = self.follows(by, line, &checkpoint, known, answer)?;
        let receipt = Receipt {
            agent_certificate_serial: known.record.certificate_serial.clone(),
            bundle,
            custody: known.head,
            offset: checkpoint.offset,
            phase: checkpoint.phase,
            phase_complete: checkpoint.phase_complete,
            received_at: self.now(),
            seq: checkpoint.seq,
            sha256: ours,
            kind: RECEIPT_TYPE.to_owned(),
            v: 1,
        };
        let envelope = self.signed_receipt(&receipt)?;
        let line = String::from_utf8_lossy(line).into_owned();
        let record = CheckpointRecord { bundle, envelope: envelope.clone(), line, receipt: receipt.clone() };
        answer.changes.push(Change::AddCheckpoint(Box::new(record.clone())));
        answer.receipts.push(envelope);
        if checkpoint.phase_complete || checkpoint.is_final {
            answer.leaves.push(receipted(by, &receipt, &known.record.view, self.now()));
            note_tier(&mut known.record.view, checkpoint.phase);
        }
        answer.told.push(receipt);
        known.checkpoints.push(record);
        Ok(())
    }

    /// Our digest at the checkpoint's offset, when the checkpoint follows from the one before it and is about our bytes.
    fn follows(
        &self,
        by: &Actor,
        line: &[u8],
        checkpoint: &StreamCheckpoint,
        known: &mut Known,
        answer: &mut Answer,
    ) -> Result<Sha256, Problem> {
        let (bundle, offset) = (known.record.view.bundle, checkpoint.offset);
        let conflict = |message: String, hint: &str| Err(Problem::new(ProblemKind::Conflict, message).hint(hint));
        let last = known.checkpoints.last().map_or((0, 0), |last| (last.receipt.seq, last.receipt.offset));
        if let Some(seal) = known.checkpoints.last().filter(|last| last.is_final()) {
            // The signer has said that this is all; whoever says more has its key and another bundle.
            let ours = seal.receipt.sha256;
            self.contradicts(EQUIVOCATION, by, line, (checkpoint, ours), known, answer);
            return conflict(format!("bundle {bundle} has its final checkpoint"), "nothing comes after the seal");
        }
        if checkpoint.seq != last.0 + 1 || offset <= last.1 {
            let message = format!(
                "checkpoint {} at byte {offset} does not follow checkpoint {} at byte {}",
                checkpoint.seq, last.0, last.1
            );
            return conflict(message, "send the lines in order, none left out");
        }
        if known.checkpoints.len() >= CHECKPOINTS_MAX {
            return conflict(format!("bundle {bundle} has {CHECKPOINTS_MAX} checkpoints"), "no more are taken");
        }
        if offset > known.record.offset {
            let message =
                format!("checkpoint {} is about {offset} bytes; {} came", checkpoint.seq, known.record.offset);
            return conflict(message, "send the bytes first");
        }
        let Some(ours) = known.tally.sha256_at(offset) else {
            let message = format!("checkpoint {} ends at byte {offset}, where no PATCH ended", checkpoint.seq);
            return conflict(message, "end a PATCH at each checkpoint");
        };
        if ours != checkpoint.sha256 {
            self.contradicts(MISMATCH, by, line, (checkpoint, ours), known, answer);
            let message =
                format!("checkpoint {} was signed for other bytes than the {offset} that came", checkpoint.seq);
            return conflict(message, "something changed them on their way; collect again");
        }
        Ok(ours)
    }

    /// Keeps what the signer said beside what it had said, or beside what came, and raises it: a leaf with the whole line,
    /// the bundle's view, and a look at the incident, which tells somebody. Said again, it changes nothing.
    fn contradicts(
        &self,
        what: &'static str,
        by: &Actor,
        line: &[u8],
        (checkpoint, ours): (&StreamCheckpoint, Sha256),
        known: &mut Known,
        answer: &mut Answer,
    ) {
        let (bundle, seq, time) = (known.record.view.bundle, checkpoint.seq, self.now());
        let new = Contradiction {
            offset: checkpoint.offset,
            ours_sha256: ours,
            seq,
            signed_sha256: checkpoint.sha256,
            time,
            what: what.to_owned(),
        };
        tracing::warn!(%bundle, seq, what, "the signer contradicts itself, or what came");
        let contradictions = &mut known.record.view.contradictions;
        let is_known = contradictions.iter().any(|there| *there == Contradiction { time: there.time, ..new.clone() });
        if is_known || contradictions.len() >= CONTRADICTIONS_MAX {
            return;
        }
        metrics::counter!("holdfast_contradictions_total", "what" => what).increment(1);
        contradictions.push(new);
        answer.contradicted = true;
        answer.leaves.push(tamper_leaf(by, what, line, checkpoint, known, ours, time));
    }

    fn signed_receipt(&self, receipt: &Receipt) -> Result<Signed, Problem> {
        let failed = |error: &dyn std::fmt::Display| {
            Problem::new(ProblemKind::Internal, "the receipt could not be signed").cause(error)
        };
        let message = serde_json::to_vec(receipt).map_err(|error| failed(&error))?;
        self.signer.envelope(SERVER_PRINCIPAL, namespace::RECEIPT, &message).map_err(|error| failed(&error))
    }

    /// Commits what the lines changed. A bundle that was verified before is verified again with them.
    async fn keep(&self, known: &Known, answer: &mut Answer) -> Result<(), Problem> {
        let view = &known.record.view;
        let is_whole = known.record.length == Some(known.record.offset);
        let is_final = !answer.told.is_empty() && known.checkpoints.last().is_some_and(CheckpointRecord::is_final);
        let was_verified = view.state != EvidenceState::Receiving;
        let mut changes = std::mem::take(&mut answer.changes);
        if changes.is_empty() && answer.leaves.is_empty() {
            return Ok(());
        }
        if !answer.told.is_empty() && (was_verified || !answer.leaves.is_empty()) {
            let view = EvidenceView { bytes: known.record.offset, state: EvidenceState::Receiving, ..view.clone() };
            changes.push(Change::PutEvidenceView(Box::new(view)));
        } else if answer.contradicted {
            changes.push(Change::PutEvidenceView(Box::new(view.clone())));
        }
        if answer.contradicted {
            changes.push(Change::LookNow(view.incident.clone()));
        }
        if is_final && known.record.length.is_none() {
            changes.push(Change::Length(view.bundle, known.record.offset));
        }
        self.store.commit(changes, std::mem::take(&mut answer.leaves)).await?;
        if answer.contradicted {
            self.tell_evidence(view);
        }
        for receipt in answer.told.drain(..) {
            self.live.tell(&view.incident, LiveEvent::Receipt { receipt });
        }
        if is_final || (was_verified && is_whole) {
            self.ingest.now(view.bundle);
        }
        Ok(())
    }
}

impl CheckpointRecord {
    /// True for the signer's last word. The line was believed before it was kept.
    pub fn is_final(&self) -> bool {
        serde_json::from_str::<StreamCheckpoint>(&self.line).is_ok_and(|checkpoint| checkpoint.is_final)
    }
}

fn signer_of(record: &EvidenceRecord) -> Result<PublicKey, Problem> {
    let key = record.signer.as_deref().and_then(|line| PublicKey::from_openssh(line).ok());
    key.ok_or_else(|| {
        let message = format!("the upload of bundle {} named no signer", record.view.bundle);
        Problem::new(ProblemKind::Conflict, message)
            .hint("name the signing key in Upload-Metadata when the upload begins")
    })
}

/// The tiers that are complete, by the signer's word and our receipt.
fn note_tier(view: &mut EvidenceView, phase: Phase) {
    if let Some(tier) = Tier::ALL.into_iter().find(|tier| Phase::from(*tier) == phase)
        && !view.tiers.contains(&tier)
    {
        view.tiers.push(tier);
    }
}

fn receipted(by: &Actor, receipt: &Receipt, view: &EvidenceView, now: Instant) -> NewLeaf {
    NewLeaf {
        actor: by.to_string(),
        details: details([
            ("offset", json!(receipt.offset)),
            ("phase", json!(receipt.phase)),
            ("seq", json!(receipt.seq)),
            ("sha256", json!(receipt.sha256)),
        ]),
        event: "receipted",
        incident: Some(view.incident.clone()),
        subject: subject(view.bundle),
        time: now,
    }
}

/// What somebody with the signer's key said and what we hold: kept in full, since it is evidence of its own.
fn tamper_leaf(
    by: &Actor,
    event: &'static str,
    line: &[u8],
    checkpoint: &StreamCheckpoint,
    known: &Known,
    ours: Sha256,
    now: Instant,
) -> NewLeaf {
    NewLeaf {
        actor: by.to_string(),
        details: details([
            ("line", json!(String::from_utf8_lossy(line))),
            ("offset", json!(checkpoint.offset)),
            ("ours_sha256", json!(ours)),
            ("seq", json!(checkpoint.seq)),
            ("signed_sha256", json!(checkpoint.sha256)),
        ]),
        event,
        incident: Some(known.record.view.incident.clone()),
        subject: subject(known.record.view.bundle),
        time: now,
    }
}

fn subject(bundle: BundleId) -> String {
    format!("bundle:{bundle}")
}
