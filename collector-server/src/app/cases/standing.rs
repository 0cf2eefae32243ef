//! Where the checklist, the clocks and the timers of an incident stand: what people said of it and of those that it
//! absorbed, read together. Nothing is copied from one case into another, so that a merge can be taken back.

use std::collections::BTreeMap;

use triage::timers;
use wire::Instant;
use wire::api::IncidentView;
use wire::response::{Anchor, ClockDecision, ClockSubmission};

use super::super::{App, Problem};
use crate::store::IncidentRecord;

/// What starts and stops clocks.
pub struct Facts {
    /// Each at the earliest time that anybody gave.
    pub anchors: BTreeMap<Anchor, Instant>,
    decisions: Vec<ClockDecision>,
    submissions: Vec<ClockSubmission>,
}

impl App {
    /// Fills in the checklist, the clocks and the timers of a view that has the alerts and the absorbed incidents already.
    pub(in super::super) async fn tell_standing(
        &self,
        view: &mut IncidentView,
        record: &IncidentRecord,
    ) -> Result<Facts, Problem> {
        let (rules, now) = (self.site.rules()?, self.now());
        let mut all = vec![record.clone()];
        for absorbed in &view.absorbed {
            all.push(self.incident_record(absorbed).await?);
        }
        let detected = view.alerts.iter().map(|alert| alert.assessment.timestamp_utc).min();
        let facts = facts(&all, detected.unwrap_or(record.opened));
        view.checklist = rules.checklists.for_type(&record.assessment.incident_type);
        let known = triage::clocks::Facts {
            assessment: &record.assessment,
            anchors: &facts.anchors,
            decisions: &facts.decisions,
            submissions: &facts.submissions,
        };
        view.clocks = rules.clocks.of(known, &rules.calendars, now);
        let cases = || all.iter().map(|record| &record.case);
        let steps = cases().flat_map(|case| &case.steps);
        let done = steps.map(|(id, state)| (id.clone(), state.stamp.time)).collect();
        let raised = self.store.watch(&record.incident).await?.and_then(|watch| watch.since);
        let course = timers::Facts {
            severity_since: raised.unwrap_or(record.opened),
            acknowledged_at: cases().filter_map(|case| Some(case.acknowledged.as_ref()?.time)).min(),
            last_update_at: cases().filter_map(|case| case.last_update).max(),
            closed_at: record.case.closed.as_ref().map(|closing| closing.stamp.time),
            phase: record.case.phase,
            done: &done,
        };
        view.timers = rules.timers.of(&record.assessment, &course, &rules, now);
        Ok(facts)
    }
}

fn facts(all: &[IncidentRecord], detected: Instant) -> Facts {
    let mut facts = Facts { anchors: BTreeMap::new(), decisions: Vec::new(), submissions: Vec::new() };
    for case in all.iter().map(|record| &record.case) {
        for (anchor, set) in &case.anchors {
            let at = facts.anchors.entry(*anchor).or_insert(set.at);
            *at = set.at.min(*at);
        }
        facts.decisions.extend(case.decisions.iter().cloned());
        facts.submissions.extend(case.submissions.iter().cloned());
    }
    facts.anchors.entry(Anchor::DetectedAt).or_insert(detected);
    facts.decisions.sort_by_key(|decision| decision.at);
    facts
}
