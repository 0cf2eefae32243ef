//! Where the timers and clocks of an incident stand: what people said of it and of those that it absorbed, read together.
//! Nothing is copied from one case into another, so that a merge can be taken back.

use std::collections::BTreeMap;

use triage::{Rules, clocks, timers};
use wire::Instant;
use wire::api::PageState;
use wire::case::StepOutcome;
use wire::response::{Anchor, ClockState, TimerState};

use super::message::ESCALATION;
use crate::store::{IncidentRecord, PageRecord, Watch};

/// The timer that ends when everybody on the path was paged, or nobody need be.
const PAGED: &str = "sev1_paged";

/// See the module.
pub struct Standing {
    /// The facts that start clocks, each at the earliest time that anybody gave.
    pub anchors: BTreeMap<Anchor, Instant>,
    /// The notification clocks that may apply.
    pub clocks: Vec<ClockState>,
    /// By when something is to be done.
    pub timers: Vec<TimerState>,
}

impl Standing {
    /// Of this incident and those that it absorbed, its pages and what its escalation remembers, at `now`.
    pub fn of(
        record: &IncidentRecord,
        absorbed: &[IncidentRecord],
        watch: &Watch,
        pages: &[PageRecord],
        rules: &Rules,
        now: Instant,
    ) -> Self {
        let (assessment, case) = (&record.assessment, &record.case);
        let cases = || std::iter::once(record).chain(absorbed).map(|record| &record.case);
        let mut anchors = BTreeMap::new();
        for (anchor, set) in cases().flat_map(|case| &case.anchors) {
            let at = anchors.entry(*anchor).or_insert(set.at);
            *at = set.at.min(*at);
        }
        anchors.entry(Anchor::DetectedAt).or_insert(record.opened.min(assessment.timestamp_utc));
        let mut decisions: Vec<_> = cases().flat_map(|case| case.decisions.iter().cloned()).collect();
        decisions.sort_by_key(|decision| decision.at);
        let submissions: Vec<_> = cases().flat_map(|case| case.submissions.iter().cloned()).collect();
        let of_clocks =
            clocks::Facts { assessment, anchors: &anchors, decisions: &decisions, submissions: &submissions };
        let acknowledged_at = cases().filter_map(|case| Some(case.acknowledged.as_ref()?.time)).min();
        let steps = cases().flat_map(|case| &case.steps).filter(|(_, step)| step.outcome != StepOutcome::Open);
        let mut done: BTreeMap<String, Instant> = steps.map(|(id, step)| (id.clone(), step.stamp.time)).collect();
        let paged = everybody_paged(record, pages).into_iter().chain(acknowledged_at).min();
        done.extend(paged.map(|at| (PAGED.to_owned(), at)));
        let of_timers = timers::Facts {
            severity_since: watch.since.unwrap_or(record.opened),
            acknowledged_at,
            last_update_at: cases().filter_map(|case| case.last_update).max(),
            closed_at: case.closed.as_ref().map(|closing| closing.stamp.time),
            phase: case.phase,
            done: &done,
        };
        let clocks = rules.clocks.of(of_clocks, &rules.calendars, now);
        let timers = rules.timers.of(assessment, &of_timers, rules, now);
        Self { anchors, clocks, timers }
    }
}

/// When the last role of the path was paged; nothing while one was not.
fn everybody_paged(record: &IncidentRecord, pages: &[PageRecord]) -> Option<Instant> {
    let paged = |role: &String| {
        let sent = pages.iter().filter(|page| {
            page.view.state == PageState::Sent && page.view.purpose == ESCALATION && page.view.role == *role
        });
        sent.filter_map(|page| page.view.sent).min()
    };
    let path = &record.assessment.escalation_path.escalate_to;
    path.iter().map(paged).collect::<Option<Vec<Instant>>>()?.into_iter().max()
}
