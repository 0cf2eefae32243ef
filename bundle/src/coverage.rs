//! `data/coverage.json`: what was asked, what was got, what was refused, for each collector.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::Tier;

use crate::item::{Kind, Status};
use crate::time::Instant;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The collector went through everything it was asked for.
    Completed,
    /// It left something out because of a limit.
    Limited,
    /// Its time ran out.
    TimedOut,
    /// It could not go on.
    Failed,
    /// The run was interrupted.
    Interrupted,
    /// It never began.
    NotRun,
    /// It goes on in the next part of the run.
    Continues,
    /// It has nothing to do here: its condition does not hold, or it needs a host that runs.
    Skipped,
}

/// The content of `data/coverage.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// One for each step, in the order in which they ran.
    pub collectors: Vec<Collected>,
    /// `evidence-coverage`.
    #[serde(rename = "type")]
    pub kind: String,
    /// 1.
    pub v: u32,
}

impl Default for Coverage {
    fn default() -> Self {
        Self { collectors: Vec::new(), kind: "evidence-coverage".into(), v: 1 }
    }
}

/// What one step asked and got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// Things attempted: rows, and items that are not the files which hold rows.
    pub asked: u64,
    /// Items by status.
    pub by_status: BTreeMap<Status, u64>,
    /// Bytes of content and rows stored.
    pub bytes: u64,
    /// The collector.
    pub collector: String,
    /// Things that the kernel refused.
    pub denied: u64,
    /// When the step ended.
    pub ended: Instant,
    /// Rows, and things that were read, or whose metadata was taken where that is all there is.
    pub got: u64,
    /// See [`Outcome`].
    pub outcome: Outcome,
    /// Why it did not complete.
    pub reason: Option<String>,
    /// Rows that the collector made.
    pub rows: u64,
    /// When the step began.
    pub started: Instant,
    /// See [`Tier`].
    pub tier: Tier,
    /// Things on which the step's time ran out.
    pub timed_out: u64,
    /// Things that were gone when they were read.
    pub vanished: u64,
}

impl Coverage {
    /// Begins a step.
    pub(crate) fn begin(&mut self, tier: Tier, collector: &str, now: Instant) {
        self.collectors.push(Collected {
            asked: 0,
            by_status: BTreeMap::new(),
            bytes: 0,
            collector: collector.to_owned(),
            denied: 0,
            ended: now,
            got: 0,
            outcome: Outcome::Completed,
            reason: None,
            rows: 0,
            started: now,
            tier,
            timed_out: 0,
            vanished: 0,
        });
    }

    /// Counts rows of the step under way.
    pub(crate) fn rows(&mut self, rows: u64) {
        if let Some(step) = self.collectors.last_mut() {
            step.rows += rows;
            step.asked += rows;
            step.got += rows;
        }
    }

    /// Counts an item of the step under way.
    pub(crate) fn item(&mut self, kind: Kind, status: Status, bytes: u64) {
        let Some(step) = self.collectors.last_mut() else { return };
        step.bytes += bytes;
        *step.by_status.entry(status).or_default() += 1;
        if kind == Kind::Record && status == Status::Ok {
            return;
        }
        step.asked += 1;
        match status {
            Status::Ok | Status::Grew | Status::Shrank | Status::Changed | Status::Truncated | Status::MetaOnly => {
                step.got += 1;
            }
            Status::Denied => step.denied += 1,
            Status::Vanished => step.vanished += 1,
            Status::TimedOut => step.timed_out += 1,
            Status::Error | Status::Skipped | Status::Redacted => {}
        }
    }

    /// What stands in a part that ends while a step is under way.
    pub(crate) fn so_far(&self, now: Instant) -> Self {
        let mut coverage = self.clone();
        if let Some(step) = coverage.collectors.last_mut() {
            step.outcome = Outcome::Continues;
            step.reason = Some("it goes on in the next part".to_owned());
            step.ended = now;
        }
        coverage
    }

    /// Ends the step under way; answers how many items it made.
    pub(crate) fn end(&mut self, outcome: Outcome, reason: Option<String>, now: Instant) -> u64 {
        let Some(step) = self.collectors.last_mut() else { return 0 };
        step.outcome = outcome;
        step.reason = reason;
        step.ended = now;
        step.by_status.values().sum()
    }
}
