//! Where the timers and clocks of an incident stand.

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
    /// The notification clocks that may apply.
    pub clocks: Vec<ClockState>,
    /// By when something is to be done.
    pub timers: Vec<TimerState>,
}

impl Standing {
    /// Of this incident, its pages and what its escalation remembers, at `now`.
    pub fn of(record: &IncidentRecord, watch: &Watch, pages: &[PageRecord], rules: &Rules, now: Instant) -> Self {
        let (assessment, case) = (&record.assessment, &record.case);
        let mut anchors: BTreeMap<Anchor, Instant> = case.anchors.iter().map(|(name, set)| (*name, set.at)).collect();
        anchors.entry(Anchor::DetectedAt).or_insert(record.opened.min(assessment.timestamp_utc));
        let of_clocks =
            clocks::Facts { assessment, anchors: &anchors, decisions: &case.decisions, submissions: &case.submissions };
        let acknowledged_at = case.acknowledged.as_ref().map(|stamp| stamp.time);
        let steps = case.steps.iter().filter(|(_, step)| step.outcome != StepOutcome::Open);
        let mut done: BTreeMap<String, Instant> = steps.map(|(id, step)| (id.clone(), step.stamp.time)).collect();
        let paged = everybody_paged(record, pages).into_iter().chain(acknowledged_at).min();
        done.extend(paged.map(|at| (PAGED.to_owned(), at)));
        let of_timers = timers::Facts {
            severity_since: watch.since.unwrap_or(record.opened),
            acknowledged_at,
            last_update_at: case.last_update,
            closed_at: case.closed.as_ref().map(|closing| closing.stamp.time),
            phase: case.phase,
            done: &done,
        };
        Self {
            clocks: rules.clocks.of(of_clocks, &rules.calendars, now),
            timers: rules.timers.of(assessment, &of_timers, rules, now),
        }
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
