//! Notification clocks: which may apply, and where each stands (`data/clocks.yaml`). Guidance, not legal advice.
//!
//! A clock has its own start and never pauses. A stage ends a span after a fact that people establish (an anchor) or
//! after the submission of an earlier stage. Where two limits stand beside each other the earlier counts, and where a
//! rule can be read in two ways the data hold the reading that ends first. What is not decided runs as if it applied.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Time;
use serde::Deserialize;
use wire::Instant;
use wire::assessment::{Assessment, NotificationClock, Severity};
use wire::response::{Anchor, ClockDecision, ClockState, ClockSubmission, StageState, StageStatus};

use crate::calendar::{Calendar, Calendars, Day, Span, TimeOfDay, Zone, between};
use crate::rules::Reader;

/// What every answer about clocks says.
pub const GUIDANCE: &str = "Guidance, not legal advice: counsel decides which clocks apply.";

/// The clocks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clocks {
    /// The version of the file.
    pub version: String,
    /// A running stage is warned of when so much of its time is left.
    pub warn_percent_left: u8,
    /// In the order in which they are shown.
    pub clocks: Vec<Clock>,
}

/// One clock.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// Its name: what decisions and submissions refer to.
    pub clock: String,
    /// The regulation.
    pub regime: String,
    /// Whom it binds, in words.
    pub applies_to: String,
    /// Where it stands.
    pub source: String,
    /// All its deadlines, in words.
    pub deadline: String,
    /// From this severity upward.
    pub severity: Severity,
    /// Only for these types; empty is all.
    #[serde(default)]
    pub types: Vec<String>,
    /// Only with any of these signals; empty is always.
    #[serde(default)]
    pub data: Vec<String>,
    /// The calendar of its days.
    pub calendar: String,
    /// The time zone of its days, where it is not the calendar's.
    #[serde(default)]
    pub zone: Option<Zone>,
    /// It counts for what started on this day or later.
    #[serde(default)]
    pub valid_from: Option<Day>,
    /// It counts for what started on this day or earlier.
    #[serde(default)]
    pub valid_until: Option<Day>,
    /// False for one that is shipped switched off.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// In their order.
    pub stages: Vec<Stage>,
}

const fn yes() -> bool {
    true
}

/// One thing that is submitted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Its name within the clock.
    pub stage: String,
    /// Whom it is sent to.
    pub to: String,
    /// The time.
    pub within: Within,
    /// From when.
    pub after: Start,
    /// True when the time begins with the end of the year in which that was.
    #[serde(default)]
    pub from_year_end: bool,
    /// When the last day ends: `end_of_day` or a local time; without it, at the time of day at which it began.
    #[serde(default)]
    pub ends: Option<Ends>,
    /// True when a last day without business moves to the next with business.
    #[serde(default)]
    pub to_working_day: bool,
    /// A second limit; the earlier counts.
    #[serde(default)]
    pub at_most: Option<AtMost>,
}

/// A second limit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AtMost {
    /// The time.
    pub within: Span,
    /// From when.
    pub after: Anchor,
    /// True when it does not count for a stage that starts only after it.
    #[serde(default)]
    pub unless_started_later: bool,
}

/// How long a stage has: a [`Span`], `at once` or `no limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Within {
    /// Without undue delay: no figure, due from the start on.
    AtOnce,
    /// Whenever it is there.
    NoLimit,
    /// So long.
    Span(Span),
}

impl TryFrom<String> for Within {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "at once" => Ok(Self::AtOnce),
            "no limit" => Ok(Self::NoLimit),
            _ => Span::try_from(text).map(Self::Span),
        }
    }
}

/// What starts a stage: an anchor, or `submission of STAGE`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Start {
    /// A fact.
    Anchor(Anchor),
    /// The last submission of an earlier stage.
    Submission(String),
}

impl TryFrom<String> for Start {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.strip_prefix("submission of ") {
            Some(stage) => Ok(Self::Submission(stage.to_owned())),
            None => text.parse().map(Self::Anchor),
        }
    }
}

impl Start {
    fn name(&self) -> String {
        match self {
            Self::Anchor(anchor) => anchor.name().to_owned(),
            Self::Submission(stage) => format!("submission of {stage}"),
        }
    }
}

/// When the last day of a stage ends.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub enum Ends {
    /// With the day.
    EndOfDay,
    /// At this time of the day.
    At(Time),
}

impl TryFrom<String> for Ends {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "end_of_day" {
            return Ok(Self::EndOfDay);
        }
        TimeOfDay::try_from(text).map(|time| Self::At(time.0)).map_err(|error| format!("{error}, or end_of_day"))
    }
}

/// What people established about an incident.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What triage says: its clocks may apply.
    pub assessment: &'a Assessment,
    /// The facts that start clocks, each with its time.
    pub anchors: &'a BTreeMap<Anchor, Instant>,
    /// Which clocks apply, oldest first; the newest on a clock counts.
    pub decisions: &'a [ClockDecision],
    /// What was submitted, in any order.
    pub submissions: &'a [ClockSubmission],
}

impl Clocks {
    /// The clocks that may apply to an incident of this type and severity with these signals, seen at `at`.
    pub fn that_may_apply(
        &self,
        name: &str,
        severity: Severity,
        signals: &BTreeSet<&str>,
        at: Instant,
    ) -> Vec<NotificationClock> {
        let applies = |clock: &&Clock| {
            clock.enabled
                && severity >= clock.severity
                && clock.is_valid(at)
                && (clock.types.is_empty() || clock.types.iter().any(|one| one == name))
                && (clock.data.is_empty() || clock.data.iter().any(|one| signals.contains(one.as_str())))
        };
        let shown = |clock: &Clock| NotificationClock {
            anchor: clock.stages.first().map(|stage| stage.after.name()).unwrap_or_default(),
            deadline: clock.deadline.clone(),
            regime: clock.regime.clone(),
        };
        self.clocks.iter().filter(applies).map(shown).collect()
    }

    /// Where each clock stands at `now`: those that may apply, and those on which people decided or acted (also one
    /// that is switched off), in the order of the file.
    pub fn of(&self, facts: Facts, calendars: &Calendars, now: Instant) -> Vec<ClockState> {
        let concerns = |clock: &&Clock| {
            facts.assessment.notification_clocks.iter().any(|one| one.regime == clock.regime)
                || facts.decisions.iter().any(|one| one.clock == clock.clock)
                || facts.submissions.iter().any(|one| one.clock == clock.clock)
        };
        let state = |clock: &Clock| {
            let calendar = calendars.get(&clock.calendar)?;
            let zone = clock.zone.clone().unwrap_or_else(|| calendar.zone.clone());
            let calendar = Calendar { zone, ..calendar.clone() };
            let decision = facts.decisions.iter().rfind(|one| one.clock == clock.clock);
            let reckoning = Reckoning { clock, calendar, facts, decision, now, warn_percent: self.warn_percent_left };
            clock.is_valid(reckoning.began()).then(|| ClockState {
                applies_to: clock.applies_to.clone(),
                clock: clock.clock.clone(),
                decision: decision.cloned(),
                guidance: GUIDANCE.to_owned(),
                regime: clock.regime.clone(),
                source: clock.source.clone(),
                stages: clock.stages.iter().map(|stage| reckoning.stage(stage)).collect(),
                version: self.version.clone(),
            })
        };
        self.clocks.iter().filter(concerns).filter_map(state).collect()
    }

    pub(crate) fn check(&self, calendars: &Calendars, reader: &mut Reader) {
        const FILE: &str = "clocks.yaml";
        for (n, clock) in self.clocks.iter().enumerate() {
            let path = format!("clocks[{n}]");
            reader.known("calendar", &clock.calendar, calendars.get(&clock.calendar).is_some(), FILE, &path);
            let is_once = |other: &&Clock| other.clock == clock.clock || other.regime == clock.regime;
            reader.known(
                "name of its own of",
                &clock.clock,
                self.clocks.iter().filter(is_once).count() == 1,
                FILE,
                &path,
            );
            let starts = matches!(clock.stages.first(), Some(Stage { after: Start::Anchor(_), .. }));
            reader.known("first stage that starts at an anchor of", &clock.clock, starts, FILE, &path);
            for (m, stage) in clock.stages.iter().enumerate() {
                let path = format!("{path}.stages[{m}]");
                let earlier = || clock.stages.iter().take(m);
                let is_new = !earlier().any(|other| other.stage == stage.stage);
                reader.known("name of its own of stage", &stage.stage, is_new, FILE, &path);
                if let Start::Submission(name) = &stage.after {
                    reader.known("earlier stage", name, earlier().any(|other| other.stage == *name), FILE, &path);
                }
            }
        }
    }
}

impl Clock {
    fn is_valid(&self, at: Instant) -> bool {
        let day = at.calendar().to_zoned(jiff::tz::TimeZone::UTC).date();
        self.valid_from.as_ref().is_none_or(|first| first.0 <= day)
            && self.valid_until.as_ref().is_none_or(|last| day <= last.0)
    }
}

/// One clock of one incident.
struct Reckoning<'a> {
    clock: &'a Clock,
    calendar: Calendar,
    facts: Facts<'a>,
    decision: Option<&'a ClockDecision>,
    now: Instant,
    warn_percent: u8,
}

impl<'a> Reckoning<'a> {
    /// When the clock began; now, while it has not.
    fn began(&self) -> Instant {
        self.clock.stages.first().and_then(|stage| self.start(&stage.after)).unwrap_or(self.now)
    }

    fn start(&self, start: &Start) -> Option<Instant> {
        match start {
            Start::Anchor(anchor) => self.facts.anchors.get(anchor).copied(),
            // A later update of a stage starts what follows it again ("one month after the last intermediate report").
            Start::Submission(stage) => self.submissions(stage).map(|submission| submission.at).max(),
        }
    }

    fn submissions(&self, stage: &str) -> impl Iterator<Item = &'a ClockSubmission> {
        let all = self.facts.submissions.iter();
        all.filter(move |one| one.clock == self.clock.clock && one.stage == stage)
    }

    fn stage(&self, stage: &Stage) -> StageState {
        let started = self.start(&stage.after);
        let submission = self.submissions(&stage.stage).min_by_key(|one| one.at);
        let mut reckoning = Vec::new();
        let own = started.and_then(|start| self.own_limit(stage, start, &mut reckoning));
        let second = self.second_limit(stage, started, &mut reckoning);
        let due_at = started.and_then(|_| own.into_iter().chain(second).min());
        let state = self.status(stage, started, due_at, submission);
        let runs = matches!(state, StageStatus::Running | StageStatus::Warned | StageStatus::Overdue);
        StageState {
            deadline: stage.words(),
            due_at,
            reckoning,
            remaining_seconds: due_at.filter(|_| runs).map(|due| between(self.now, due).as_secs()),
            stage: stage.stage.clone(),
            state,
            submission: submission.cloned(),
            to: stage.to.clone(),
            waits_for: if started.is_none() && submission.is_none() { vec![stage.after.name()] } else { Vec::new() },
        }
    }

    fn own_limit(&self, stage: &Stage, started: Instant, reckoning: &mut Vec<String>) -> Option<Instant> {
        let Within::Span(span) = stage.within else { return None };
        let from = if stage.from_year_end { self.calendar.end_of_year(started) } else { started };
        let mut due = self.calendar.after(from, span);
        let mut how = format!("{} ({})", stage.words(), shown(started));
        if stage.to_working_day {
            let moved = self.calendar.on_working_day(due);
            if moved != due {
                how.push_str("; moved to the next working day");
            }
            due = moved;
        }
        match &stage.ends {
            None => {}
            Some(Ends::EndOfDay) => {
                due = self.calendar.end_of_day(due);
                how.push_str("; to the end of that day");
            }
            Some(Ends::At(time)) => {
                due = self.calendar.at_time(due, *time);
                how = format!("{how}; at {}", time.strftime("%H:%M"));
            }
        }
        let zone = self.calendar.zone.0.iana_name().unwrap_or("UTC");
        reckoning.push(format!("{how}: {} (days of {}, {zone})", shown(due), self.clock.calendar));
        Some(due)
    }

    fn second_limit(&self, stage: &Stage, started: Option<Instant>, reckoning: &mut Vec<String>) -> Option<Instant> {
        let limit = stage.at_most.as_ref()?;
        let from = self.facts.anchors.get(&limit.after)?;
        let due = self.calendar.after(*from, limit.within);
        let words = format!("at most {} after {} ({}): {}", limit.within, limit.after, shown(*from), shown(due));
        if limit.unless_started_later && started.is_some_and(|start| start > due) {
            reckoning.push(format!("{words}; does not count, the start came later"));
            return None;
        }
        reckoning.push(words);
        Some(due)
    }

    fn status(
        &self,
        stage: &Stage,
        started: Option<Instant>,
        due_at: Option<Instant>,
        submission: Option<&ClockSubmission>,
    ) -> StageStatus {
        if let Some(submission) = submission {
            let is_late = due_at.is_some_and(|due| submission.at > due);
            return if is_late { StageStatus::SubmittedLate } else { StageStatus::Submitted };
        }
        if self.decision.is_some_and(|decision| !decision.applies) {
            return StageStatus::NotApplicable;
        }
        match (started, due_at) {
            (None, _) => StageStatus::NotStarted,
            (Some(_), None) if stage.within == Within::AtOnce => StageStatus::Warned,
            (Some(_), None) => StageStatus::Running,
            (Some(_), Some(due)) if due < self.now => StageStatus::Overdue,
            (Some(start), Some(due)) => {
                let whole = between(start, due).as_nanos();
                let left = between(self.now, due).as_nanos();
                let is_near = left.saturating_mul(100) <= whole.saturating_mul(self.warn_percent.into());
                if is_near { StageStatus::Warned } else { StageStatus::Running }
            }
        }
    }
}

impl Stage {
    /// Its deadline in words, e.g. `4 h after classified_major_at, at most 24 h after aware_at`.
    fn words(&self) -> String {
        let start = self.after.name();
        let start = if self.from_year_end { format!("the year of {start}") } else { start };
        let mut words = match self.within {
            Within::AtOnce => format!("at once after {start}"),
            Within::NoLimit => format!("any time after {start}"),
            Within::Span(span) => format!("{span} after {start}"),
        };
        if let Some(limit) = &self.at_most {
            words = format!("{words}, at most {} after {}", limit.within, limit.after);
        }
        words
    }
}

fn shown(at: Instant) -> String {
    at.calendar().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
