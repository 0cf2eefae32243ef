//! Response timers: by when somebody answers, people are told, and the marks of a SEV1 are reached
//! (`data/timers.yaml`).

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Deserialize;
use wire::Instant;
use wire::assessment::{Assessment, Severity};
use wire::response::{Phase, TimerState, TimerStatus};

use crate::calendar::{between, plus};
use crate::escalation::Hours;
use crate::rules::{Reader, Rules};

/// The timers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timers {
    /// The version of the file.
    pub version: String,
    /// A timer warns when so much of its time is left.
    pub warn_percent_left: u8,
    /// Somebody answers.
    pub respond: Respond,
    /// How often people are told; a severity without an entry asks for no updates.
    pub updates: Vec<Update>,
    /// The marks, in the order in which they are shown.
    pub timers: Vec<Timer>,
}

/// The timer that the first answer meets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    /// What is to be done.
    pub what: String,
    /// The role that sees to it.
    pub owner: String,
}

/// How often people are told where it stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// At which severity.
    pub severity: Severity,
    /// Until it is contained.
    pub every_minutes: u32,
    /// From then on.
    pub contained_minutes: u32,
    /// The role that sees to it.
    pub owner: String,
    /// What is to be done.
    pub what: String,
}

/// A mark that is to be reached.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timer {
    /// Its name.
    pub timer: String,
    /// At which severity.
    pub severity: Severity,
    /// After the severity was reached.
    pub minutes: u32,
    /// The role that sees to it.
    pub owner: String,
    /// What is to be done.
    pub what: String,
    /// The steps of the checklist that meet it, all of them that the type has.
    pub met_by: Vec<String>,
}

/// What is known of an incident's course.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Since when it has its severity: the opening, or the last time it was raised.
    pub severity_since: Instant,
    /// When somebody took it.
    pub acknowledged_at: Option<Instant>,
    /// When people were last told where it stands.
    pub last_update_at: Option<Instant>,
    /// When it was closed: what was not met by then is no longer asked for.
    pub closed_at: Option<Instant>,
    /// Where the work stands.
    pub phase: Phase,
    /// The names of timers and of steps of the checklist (done or waived), each with its time.
    pub done: &'a BTreeMap<String, Instant>,
}

impl Timers {
    /// Where each timer stands at `now`, in the order in which they are due.
    pub fn of(&self, assessment: &Assessment, facts: &Facts, rules: &Rules, now: Instant) -> Vec<TimerState> {
        let run = Run { assessment, facts, rules, now, warn_percent: self.warn_percent_left };
        let severity = assessment.severity;
        let respond_minutes = assessment.escalation_path.respond_within_minutes;
        let respond = Course { started: facts.severity_since, minutes: respond_minutes, met_at: facts.acknowledged_at };
        let respond = run.state("respond", &self.respond.owner, &self.respond.what, &respond);
        let update = self.updates.iter().find(|one| one.severity == severity).map(|one| {
            let is_contained = facts.phase >= Phase::Eradication;
            let minutes = if is_contained { one.contained_minutes } else { one.every_minutes };
            let told = facts.last_update_at.map_or(facts.severity_since, |told| told.max(facts.severity_since));
            run.state("update", &one.owner, &one.what, &Course { started: told, minutes, met_at: None })
        });
        let marks = self.timers.iter().filter(|timer| timer.severity == severity).map(|timer| {
            let (started, minutes) = (facts.severity_since, timer.minutes);
            run.state(&timer.timer, &timer.owner, &timer.what, &Course { started, minutes, met_at: run.met_at(timer) })
        });
        let mut states: Vec<TimerState> = std::iter::once(respond).chain(update).chain(marks).collect();
        states.retain(|state| facts.closed_at.is_none() || state.met_at.is_some());
        states.sort_by(|a, b| (a.due_at, &a.timer).cmp(&(b.due_at, &b.timer)));
        states
    }

    pub(crate) fn check(&self, rules: &Rules, reader: &mut Reader) {
        const FILE: &str = "timers.yaml";
        let mut owners = vec![("respond".to_owned(), &self.respond.owner)];
        owners.extend(self.updates.iter().enumerate().map(|(n, update)| (format!("updates[{n}]"), &update.owner)));
        owners.extend(self.timers.iter().enumerate().map(|(n, timer)| (format!("timers[{n}]"), &timer.owner)));
        for (path, owner) in owners {
            reader.known("role", owner, rules.roles.get(owner).is_some(), FILE, &path);
        }
        for (n, timer) in self.timers.iter().enumerate() {
            for step in &timer.met_by {
                reader.known("step", step, rules.checklists.has(step), FILE, &format!("timers[{n}]"));
            }
        }
    }
}

struct Course {
    started: Instant,
    minutes: u32,
    met_at: Option<Instant>,
}

struct Run<'a> {
    assessment: &'a Assessment,
    facts: &'a Facts<'a>,
    rules: &'a Rules,
    now: Instant,
    warn_percent: u8,
}

impl Run<'_> {
    fn state(&self, timer: &str, owner: &str, what: &str, course: &Course) -> TimerState {
        let Course { started, minutes, met_at } = *course;
        let due_at = self.due(started, minutes);
        let left = between(self.now, due_at);
        let whole = between(started, due_at).as_nanos();
        let is_near = left.as_nanos().saturating_mul(100) <= whole.saturating_mul(self.warn_percent.into());
        let state = match met_at {
            Some(met) if met > due_at => TimerStatus::MetLate,
            Some(_) => TimerStatus::Met,
            None if due_at < self.now => TimerStatus::Overdue,
            None if is_near => TimerStatus::Warn,
            None => TimerStatus::Ok,
        };
        TimerState {
            due_at,
            met_at,
            owner: owner.to_owned(),
            remaining_seconds: met_at.is_none().then_some(left.as_secs()),
            state,
            timer: timer.to_owned(),
            what: what.to_owned(),
        }
    }

    fn due(&self, started: Instant, minutes: u32) -> Instant {
        let length = SignedDuration::from_mins(minutes.into());
        let escalation = &self.rules.escalation;
        let at = escalation.severities.iter().find(|at| at.severity == self.assessment.severity);
        let is_business = at.is_some_and(|at| at.hours == Hours::Business);
        match self.rules.calendars.get(&escalation.calendar).filter(|_| is_business) {
            Some(calendar) => calendar.after_business_hours(started, length),
            None => plus(started, length),
        }
    }

    /// When the timer was met: by its own name, or by the last of its steps.
    fn met_at(&self, timer: &Timer) -> Option<Instant> {
        let done = self.facts.done;
        let steps = self.rules.checklists.for_type(&self.assessment.incident_type);
        let asked: Vec<&String> = timer.met_by.iter().filter(|id| steps.iter().any(|step| step.id == **id)).collect();
        let by_steps = || asked.iter().map(|id| done.get(*id).copied()).collect::<Option<Vec<Instant>>>();
        done.get(&timer.timer).copied().or_else(|| by_steps()?.into_iter().max())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, triage_incident};

    fn at(text: &str) -> Instant {
        Instant(text.parse::<jiff::Timestamp>().unwrap().as_nanosecond())
    }

    fn states(severity: Severity, change: impl FnOnce(&mut Facts), now: &str) -> BTreeMap<String, TimerState> {
        states_of(&BTreeMap::new(), severity, change, now)
    }

    /// A ransomware incident that has this severity since Friday, 16:00 UTC.
    fn states_of(
        done: &BTreeMap<String, Instant>,
        severity: Severity,
        change: impl FnOnce(&mut Facts),
        now: &str,
    ) -> BTreeMap<String, TimerState> {
        let alert = br#"{"event_type": "ransomware", "host": "prod-db-01"}"#;
        let context = Context::shipped().unwrap();
        let mut assessment = triage_incident(alert, at("2026-11-20T16:00:00Z"), &context).unwrap().remove(0);
        assessment.severity = severity;
        assessment.escalation_path.respond_within_minutes = if severity == Severity::Sev1 { 15 } else { 240 };
        let mut facts = Facts {
            severity_since: at("2026-11-20T16:00:00Z"),
            acknowledged_at: None,
            last_update_at: None,
            closed_at: None,
            phase: Phase::DetectionAndAnalysis,
            done,
        };
        change(&mut facts);
        let states = context.rules.timers.of(&assessment, &facts, context.rules, at(now));
        states.into_iter().map(|state| (state.timer.clone(), state)).collect()
    }

    #[test]
    fn somebody_answers_in_time_or_late() {
        let respond = |acknowledged: Option<&str>, now: &str| {
            let states = states(Severity::Sev1, |facts| facts.acknowledged_at = acknowledged.map(at), now);
            (states["respond"].state, states["respond"].remaining_seconds)
        };
        assert_eq!(respond(None, "2026-11-20T16:05:00Z"), (TimerStatus::Ok, Some(600)));
        assert_eq!(respond(None, "2026-11-20T16:12:00Z"), (TimerStatus::Warn, Some(180)));
        assert_eq!(respond(None, "2026-11-20T16:15:01Z"), (TimerStatus::Overdue, Some(-1)));
        assert_eq!(respond(Some("2026-11-20T16:15:00Z"), "2026-11-20T17:00:00Z"), (TimerStatus::Met, None));
        assert_eq!(respond(Some("2026-11-20T16:16:00Z"), "2026-11-20T17:00:00Z"), (TimerStatus::MetLate, None));
    }

    #[test]
    fn a_medium_one_counts_business_hours() {
        // Friday 16:00 + 4 h of a site that opens from 9 to 17: one hour on Friday, three on Monday.
        let states = states(Severity::Sev3, |_| {}, "2026-11-21T12:00:00Z");
        assert_eq!(states["respond"].due_at, at("2026-11-23T12:00:00Z"));
        assert_eq!(states["update"].due_at, at("2026-11-23T16:00:00Z"));
        assert!(!states.keys().any(|timer| timer.starts_with("sev1")));
    }

    #[test]
    fn updates_start_again_and_slow_down_once_it_is_contained() {
        let due = |told: Option<&str>, phase| {
            let change = |facts: &mut Facts| (facts.last_update_at, facts.phase) = (told.map(at), phase);
            states(Severity::Sev1, change, "2026-11-20T16:00:00Z")["update"].due_at
        };
        assert_eq!(due(None, Phase::Containment), at("2026-11-20T16:15:00Z"));
        assert_eq!(due(Some("2026-11-20T16:10:00Z"), Phase::Containment), at("2026-11-20T16:25:00Z"));
        // What was told before it was raised does not count.
        assert_eq!(due(Some("2026-11-20T15:00:00Z"), Phase::Containment), at("2026-11-20T16:15:00Z"));
        assert_eq!(due(Some("2026-11-20T16:10:00Z"), Phase::Eradication), at("2026-11-20T20:10:00Z"));
    }

    #[test]
    fn a_mark_is_met_by_all_its_steps_or_by_its_name() {
        let done = |names: &[(&str, &str)]| -> BTreeMap<String, Instant> {
            names.iter().map(|(name, time)| ((*name).to_owned(), at(time))).collect()
        };
        let contained = |names: &[(&str, &str)]| {
            let done = done(names);
            let states = states_of(&done, Severity::Sev1, |_| {}, "2026-11-20T16:50:00Z");
            (states["sev1_contained"].state, states["sev1_contained"].met_at)
        };
        let one = ("contain.host", "2026-11-20T16:30:00Z");
        assert_eq!(contained(&[one]), (TimerStatus::Overdue, None));
        let both = contained(&[one, ("identity.lock", "2026-11-20T16:44:00Z")]);
        assert_eq!(both, (TimerStatus::Met, Some(at("2026-11-20T16:44:00Z"))));
        assert_eq!(contained(&[("sev1_contained", "2026-11-20T16:46:00Z")]).0, TimerStatus::MetLate);
        // A mark without steps is met by its name only.
        assert_eq!(states(Severity::Sev1, |_| {}, "2026-11-20T16:11:00Z")["sev1_paged"].state, TimerStatus::Overdue);
    }

    #[test]
    fn nothing_more_is_asked_of_a_closed_incident() {
        let change = |facts: &mut Facts| {
            facts.closed_at = Some(at("2026-11-20T16:10:00Z"));
            facts.acknowledged_at = Some(at("2026-11-20T16:05:00Z"));
        };
        let states = states(Severity::Sev1, change, "2026-11-21T00:00:00Z");
        assert_eq!(states.keys().collect::<Vec<_>>(), ["respond"]);
    }
}
