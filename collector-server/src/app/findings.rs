//! What the rules make of bundles. Applied in the background to whatever was verified, one bundle at a time; again, when
//! somebody asks.
//!
//! A report is an opinion: it is kept beside the evidence, may be replaced by that of other rules, and decides nothing.

use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bundle::verify::Verified;
use findings::Rules;
use serde_json::json;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use wire::BundleId;
use wire::finding::FindingsReport;

use super::evidence::sealed;
use super::ingest::Outcome;
use super::{Actor, App, Problem, ProblemKind, details};
use crate::objects::{Objects, Segment, SegmentReader};
use crate::store::{Change, EvidenceRecord, FindingsRecord, NewLeaf};

/// Bundles that are looked for at a time.
const AT_A_TIME: u32 = 32;
/// How often it is looked whether this server leads now.
const LEADS_EVERY: Duration = Duration::from_secs(1);
/// What was not heard of is found after so long.
const PAUSE: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug)]
pub struct Evaluations {
    /// Those that could not be read: not tried again before the next start, unless somebody asks.
    failed: Mutex<HashSet<(BundleId, u64)>>,
    /// One at a time: it reads a disk and keeps a core busy.
    one: Semaphore,
    wake: Notify,
}

impl Default for Evaluations {
    fn default() -> Self {
        Self { failed: Mutex::default(), one: Semaphore::new(1), wake: Notify::new() }
    }
}

impl Evaluations {
    /// There may be a bundle that was not looked at.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    fn is_failed(&self, record: &EvidenceRecord) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.contains(&(record.view.bundle, record.offset))
    }

    fn failed(&self, record: &EvidenceRecord) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.insert((record.view.bundle, record.offset));
    }
}

impl App {
    /// Applies the rules to what was verified, until the server stops. Of servers that share the records, the leader does.
    pub async fn run_findings(self: Arc<Self>) {
        while !self.stop.is_cancelled() {
            if !self.peers.leads() {
                tokio::select! {
                    () = self.stop.cancelled() => break,
                    () = tokio::time::sleep(LEADS_EVERY) => continue,
                }
            }
            let next = match self.store.evidence_without_findings(AT_A_TIME).await {
                Ok(records) => records.into_iter().find(|record| !self.findings.is_failed(record)),
                Err(error) => {
                    tracing::error!(error = format!("{error:?}"), "bundles without findings were not looked for");
                    None
                }
            };
            let Some(record) = next else {
                tokio::select! {
                    () = self.stop.cancelled() => break,
                    () = self.findings.wake.notified() => {}
                    () = tokio::time::sleep(PAUSE) => {}
                }
                continue;
            };
            if let Err(problem) = self.evaluate(&Actor::Server, &record).await {
                let (bundle, message, cause) = (record.view.bundle, problem.message, problem.cause);
                tracing::error!(%bundle, message, cause, "the rules were not applied to the bundle");
                self.findings.failed(&record);
            }
        }
    }

    /// What the rules made of a bundle the last time.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`]; [`ProblemKind::Conflict`] before they were applied.
    pub async fn bundle_findings(&self, bundle: BundleId) -> Result<FindingsReport, Problem> {
        let record = self.evidence_record(bundle).await?;
        if record.view.encrypted {
            return Err(sealed(bundle));
        }
        match self.store.findings(bundle).await? {
            Some(findings) => Ok(findings.report),
            None => Err(Problem::new(
                ProblemKind::Conflict,
                format!("the rules were not applied to bundle {bundle} yet: it is {}", record.view.state.name()),
            )
            .hint("they are, to one bundle after the other, once it was verified; what is rejected has no findings")),
        }
    }

    /// Applies the rules as they are now.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`]; [`ProblemKind::Conflict`] when nothing of the bundle is verified.
    pub async fn apply_rules(self: &Arc<Self>, by: &Actor, bundle: BundleId) -> Result<FindingsReport, Problem> {
        let record = self.evidence_record(bundle).await?;
        self.bounded(&record).await?;
        let (app, by) = (Arc::clone(self), by.clone());
        // Whoever asked may go away; what was begun is finished and kept.
        let evaluated = tokio::spawn(async move { app.evaluate(&by, &record).await });
        let ended = |error| Problem::new(ProblemKind::Internal, "the rules could not be applied").cause(error);
        match evaluated.await.map_err(ended)?? {
            Some(report) => Ok(report),
            None => Err(Problem::new(ProblemKind::Unavailable, "the server stops").retry(10)),
        }
    }

    /// `None` when the server stops meanwhile.
    async fn evaluate(&self, by: &Actor, record: &EvidenceRecord) -> Result<Option<FindingsReport>, Problem> {
        let bundle = record.view.bundle;
        let rules = self.site.finding_rules()?;
        let failed = |error: String| {
            Problem::new(ProblemKind::Internal, format!("bundle {bundle} could not be looked through")).cause(error)
        };
        let Ok(_one) = self.findings.one.acquire().await else { return Ok(None) };
        let started = std::time::Instant::now();
        let checkpoints = self.store.checkpoints(bundle).await?;
        let Some((outcome, _)) = self.verify(record, &checkpoints).await? else { return Ok(None) };
        let verified = match outcome {
            Outcome::Content(checked) => checked.map_err(|error| failed(error.to_string()))?,
            Outcome::Transport(_) => return Err(sealed(bundle)),
        };
        let source = Source {
            bundle,
            objects: self.objects.clone(),
            offset: record.offset,
            segments: self.store.segments(bundle).await?,
            stop: self.stop.clone(),
        };
        let applied = tokio::task::spawn_blocking(move || source.apply(&rules, &verified)).await;
        if self.stop.is_cancelled() {
            return Ok(None);
        }
        let report =
            applied.map_err(|panic| failed(panic.to_string()))?.map_err(|error| failed(format!("{error:?}")))?;
        let secs = started.elapsed().as_secs_f64();
        tracing::info!(%bundle, findings = report.findings.len(), rows = report.rows, secs, "rules applied");
        metrics::histogram!("holdfast_findings_seconds").record(secs);
        self.keep_findings(by, record, report).await.map(Some)
    }

    async fn keep_findings(
        &self,
        by: &Actor,
        record: &EvidenceRecord,
        report: FindingsReport,
    ) -> Result<FindingsReport, Problem> {
        let (now, incident) = (self.now(), record.view.incident.clone());
        let leaf = NewLeaf {
            actor: by.to_string(),
            details: details([
                ("bytes", json!(record.offset)),
                ("levels", json!(report.levels())),
                ("rules", json!(report.rules)),
                ("rules_sha256", json!(report.rules_sha256)),
            ]),
            event: "findings_evaluated",
            incident: Some(incident.clone()),
            subject: format!("bundle:{}", report.bundle),
            time: now,
        };
        let findings = FindingsRecord { evaluated: now, offset: record.offset, report: report.clone() };
        let changes = vec![Change::PutFindings(Box::new(findings)), Change::Touch(incident, now)];
        self.store.commit(changes, vec![leaf]).await?;
        self.tell_evidence(&record.view);
        Ok(report)
    }
}

/// The bytes of a bundle, for a thread that may block.
struct Source {
    bundle: BundleId,
    objects: Objects,
    offset: u64,
    segments: Vec<Segment>,
    stop: CancellationToken,
}

impl Source {
    fn apply(&self, rules: &Rules, verified: &Verified) -> Result<FindingsReport, bundle::verify::ReadError> {
        findings::of_bundle(rules, verified, || {
            let reader = self.objects.reader(self.bundle, self.segments.clone(), self.offset);
            Ok(Stoppable { reader, stop: self.stop.clone() })
        })
    }
}

/// Ends when the server does.
struct Stoppable {
    reader: SegmentReader,
    stop: CancellationToken,
}

impl Read for Stoppable {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_cancelled() {
            return Err(io::Error::other("the server stops"));
        }
        self.reader.read(buffer)
    }
}
