//! Whom to call, how and by when; and who is paged next (`data/escalation.yaml`).
//!
//! A page that nobody acknowledges goes to the next in line. The schedule is a pure function of what was sent and
//! acknowledged, so that a server that was down carries on where the incident stands, and pages nobody twice for it.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde::Deserialize;
use wire::Instant;
use wire::assessment::{EscalationPath, Severity};

use crate::calendar::{Calendar, Calendars, plus};
use crate::rules::Reader;
use crate::taxonomy::IncidentType;

/// The rules of escalation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Escalation {
    /// The version of the file.
    pub version: String,
    /// The calendar of the business hours.
    pub calendar: String,
    /// One entry for each severity.
    pub severities: Vec<AtSeverity>,
    /// Who is added for a type, at SEV1 and SEV2.
    pub additions: Vec<Addition>,
    /// The signals that say that data of people are at risk.
    pub data_signals: Vec<String>,
    /// Who is added then, at any severity.
    pub data_adds: Vec<String>,
}

/// What a severity asks for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AtSeverity {
    /// Which.
    pub severity: Severity,
    /// Roles, in order.
    pub escalate_to: Vec<String>,
    /// Roles that are added when data of people are at risk.
    pub data_at_risk: Vec<String>,
    /// Where the type has no time of its own at this severity.
    pub respond_within_minutes: u32,
    /// True when a bridge call is opened.
    pub bridge_call: bool,
    /// True when a war room is opened.
    pub war_room: bool,
    /// When people are paged.
    pub hours: Hours,
    /// How long a paged role has to acknowledge before the next in line is paged.
    pub acknowledge_minutes: u32,
    /// How often the line is gone through before it is given up.
    pub rounds_max: u32,
    /// How many pages one role gets within an hour for all incidents of this severity and above.
    pub pages_per_role_per_hour_max: u32,
}

/// When people are paged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hours {
    /// At any hour.
    AroundTheClock,
    /// While business is open; windows run only then.
    Business,
}

/// Who is added for a type.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addition {
    /// Any of these.
    pub types: Vec<String>,
    /// Roles.
    pub add: Vec<String>,
}

impl Escalation {
    /// The path of an incident of this type and severity with these signals.
    pub fn path(&self, incident_type: &IncidentType, severity: Severity, signals: &BTreeSet<&str>) -> EscalationPath {
        let Some(at) = self.severities.iter().find(|at| at.severity == severity) else {
            return EscalationPath::default();
        };
        let mut roles = at.escalate_to.clone();
        if severity >= Severity::Sev2 {
            let fitting = self.additions.iter().filter(|one| one.types.contains(&incident_type.name));
            roles.extend(fitting.flat_map(|one| one.add.iter().cloned()));
        }
        if self.data_signals.iter().any(|name| signals.contains(name.as_str())) {
            roles.extend(at.data_at_risk.iter().chain(&self.data_adds).cloned());
        }
        let mut escalate_to: Vec<String> = Vec::new();
        for role in roles {
            if !escalate_to.contains(&role) {
                escalate_to.push(role);
            }
        }
        let own_time = (incident_type.severity == severity).then_some(incident_type.respond_within_minutes);
        EscalationPath {
            bridge_call: at.bridge_call,
            escalate_to,
            respond_within_minutes: own_time.unwrap_or(at.respond_within_minutes),
            war_room: at.war_room,
        }
    }
}

/// What was done so far to reach somebody about an incident.
#[derive(Clone, Debug)]
pub struct Paging<'a> {
    /// The severity that the incident has now.
    pub severity: Severity,
    /// Since when it is that high: the opening, or the last time it was raised. Lowering does not move it.
    pub since: Instant,
    /// The pages of this incident, oldest first.
    pub pages: &'a [Page],
    /// The acknowledgments of this incident, in any order.
    pub acknowledgments: &'a [Acknowledgment],
    /// The pages of other incidents within the last hour.
    pub elsewhere: &'a [Page],
}

/// A page that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// When.
    pub at: Instant,
    /// False when no channel took it: the next in line is paged at once.
    pub is_delivered: bool,
    /// To whom.
    pub role: String,
    /// The severity that the incident had then.
    pub severity: Severity,
}

/// Somebody took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgment {
    /// When.
    pub at: Instant,
    /// As which role, where that is known.
    pub role: Option<String>,
}

/// What the schedule asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Page this role now.
    Page {
        /// Whom.
        role: String,
        /// The page's number since the severity was reached, from 0.
        step: u32,
    },
    /// Nothing before this time; then ask again.
    Wait {
        /// When.
        until: Instant,
    },
    /// Somebody acknowledged.
    Done,
    /// Everybody was paged as often as the rules say, and the last one's time is over. Also for an empty path.
    Exhausted,
}

impl Escalation {
    pub(crate) fn check(&self, calendars: &Calendars, reader: &mut Reader) {
        const FILE: &str = "escalation.yaml";
        reader.known("calendar", &self.calendar, calendars.get(&self.calendar).is_some(), FILE, "calendar");
        for (n, at) in self.severities.iter().enumerate() {
            let numbers = [at.acknowledge_minutes, at.rounds_max, at.pages_per_role_per_hour_max];
            let are_sane = numbers.iter().all(|number| (1..=10_000).contains(number));
            reader.known("schedule of", at.severity.name(), are_sane, FILE, &format!("severities[{n}]"));
        }
    }

    /// What is to be done at `now` for an incident with this path.
    ///
    /// An acknowledgment counts for the severity at which it was given: a raise starts the line anew. Then those who
    /// were paged before and let their time pass are left out of the first round, so that the raise costs no time.
    pub fn next_step(&self, path: &EscalationPath, paging: &Paging, calendars: &Calendars, now: Instant) -> Action {
        let Some(at) = self.severities.iter().find(|at| at.severity == paging.severity) else {
            return Action::Exhausted;
        };
        if paging.acknowledgments.iter().any(|acknowledged| acknowledged.at >= paging.since) {
            return Action::Done;
        }
        let window = Window { at, calendar: calendars.get(&self.calendar) };
        let sent: Vec<&Page> = paging.pages.iter().filter(|page| page.at >= paging.since).collect();
        let first_round = first_round(path, paging, &window);
        let rounds_max = usize::try_from(at.rounds_max).unwrap_or(usize::MAX);
        let later_rounds = path.escalate_to.len().saturating_mul(rounds_max.saturating_sub(1));
        let starts_round = sent.len() >= first_round.len()
            && (sent.len() - first_round.len()).checked_rem(path.escalate_to.len()) == Some(0);
        let due = match sent.last() {
            None => window.opening(paging.since),
            // Where no channel works, the rounds still keep their distance.
            Some(last) if !last.is_delivered && !starts_round => window.opening(last.at),
            Some(last) => window.end(last.at),
        };
        if due > now {
            return Action::Wait { until: due };
        }
        let next = match sent.len().checked_sub(first_round.len()) {
            None => first_round.get(sent.len()).copied(),
            Some(beyond) if beyond < later_rounds => path.escalate_to.get(beyond % path.escalate_to.len()),
            Some(_) => None,
        };
        let Some(role) = next else { return Action::Exhausted };
        match held_until(role, at, paging, now) {
            Some(until) if until > now => Action::Wait { until },
            _ => Action::Page { role: role.clone(), step: u32::try_from(sent.len()).unwrap_or(u32::MAX) },
        }
    }
}

/// The time that a paged role has.
struct Window<'a> {
    at: &'a AtSeverity,
    calendar: Option<&'a Calendar>,
}

impl Window<'_> {
    fn business(&self) -> Option<&Calendar> {
        self.calendar.filter(|_| self.at.hours == Hours::Business)
    }

    fn opening(&self, at: Instant) -> Instant {
        self.business().map_or(at, |calendar| calendar.opening(at))
    }

    fn end(&self, paged: Instant) -> Instant {
        let length = SignedDuration::from_mins(self.at.acknowledge_minutes.into());
        match self.business() {
            Some(calendar) => calendar.after_business_hours(paged, length),
            None => plus(paged, length),
        }
    }
}

/// The path without those who were paged before the severity was reached and let their time pass; all, if that leaves
/// nobody.
fn first_round<'a>(path: &'a EscalationPath, paging: &Paging, window: &Window) -> Vec<&'a String> {
    let is_silent = |role: &&String| {
        let mut before = paging.pages.iter().filter(|page| page.at < paging.since && page.role == **role);
        let answered = |page: &Page| {
            let by = |given: &Acknowledgment| given.role.as_deref().is_none_or(|by| by == page.role);
            paging.acknowledgments.iter().any(|given| given.at >= page.at && by(given))
        };
        before.any(|page| window.end(page.at) <= paging.since && !answered(page))
    };
    let awake: Vec<&String> = path.escalate_to.iter().filter(|role| !is_silent(role)).collect();
    if awake.is_empty() { path.escalate_to.iter().collect() } else { awake }
}

/// When the role may be paged again, if it had too many pages within the hour. Pages of a lower severity do not count:
/// a flood of them must not hold back a higher one.
fn held_until(role: &str, at: &AtSeverity, paging: &Paging, now: Instant) -> Option<Instant> {
    let hour = SignedDuration::from_hours(1);
    let counts = |page: &&Page| page.role == role && page.severity >= at.severity && plus(page.at, hour) > now;
    let mut times: Vec<Instant> =
        paging.pages.iter().chain(paging.elsewhere).filter(counts).map(|page| page.at).collect();
    times.sort_unstable();
    let limit = usize::try_from(at.pages_per_role_per_hour_max).unwrap_or(usize::MAX).max(1);
    let oldest = times.len().checked_sub(limit)?;
    times.get(oldest).map(|sent| plus(*sent, hour))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rules;

    const SECOND: i128 = 1_000_000_000;

    fn at(text: &str) -> Instant {
        Instant(text.parse::<jiff::Timestamp>().unwrap().as_nanosecond())
    }

    struct Case {
        severity: Severity,
        since: Instant,
        pages: Vec<Page>,
        acknowledgments: Vec<Acknowledgment>,
        elsewhere: Vec<Page>,
        roles: &'static [&'static str],
    }

    impl Case {
        fn new(severity: Severity, since: &str, roles: &'static [&'static str]) -> Self {
            let (pages, acknowledgments, elsewhere) = (Vec::new(), Vec::new(), Vec::new());
            Self { severity, since: at(since), pages, acknowledgments, elsewhere, roles }
        }

        fn next(&self, now: Instant) -> Action {
            let rules = Rules::shipped().unwrap();
            let path = EscalationPath {
                escalate_to: self.roles.iter().map(|role| (*role).to_owned()).collect(),
                ..EscalationPath::default()
            };
            let paging = Paging {
                severity: self.severity,
                since: self.since,
                pages: &self.pages,
                acknowledgments: &self.acknowledgments,
                elsewhere: &self.elsewhere,
            };
            rules.escalation.next_step(&path, &paging, &rules.calendars, now)
        }

        /// Pages and waits until `end`; what was paged when, as `MINUTE role`, and the last action.
        fn run(&mut self, start: Instant, end: Instant, is_delivered: bool) -> (Vec<String>, Action) {
            let (mut now, mut told) = (start, Vec::new());
            for _ in 0..1000 {
                match self.next(now) {
                    Action::Page { role, step } => {
                        assert_eq!(step as usize, self.pages.iter().filter(|page| page.at >= self.since).count());
                        told.push(format!("{} {role}", (now.0 - self.since.0) / SECOND / 60));
                        self.pages.push(Page { at: now, is_delivered, role, severity: self.severity });
                    }
                    Action::Wait { until } if until <= end => {
                        assert!(until > now, "a wait goes forward");
                        now = until;
                    }
                    other => return (told, other),
                }
            }
            unreachable!("the schedule ends")
        }
    }

    #[test]
    fn a_page_nobody_acknowledges_goes_to_the_next_in_line() {
        let mut case = Case::new(Severity::Sev1, "2026-11-21T03:00:00Z", &["SOC lead", "CISO", "CEO"]);
        let (told, last) = case.run(case.since, at("2026-11-21T03:16:00Z"), true);
        assert_eq!(told, ["0 SOC lead", "5 CISO", "10 CEO", "15 SOC lead"]);
        assert_eq!(last, Action::Wait { until: at("2026-11-21T03:20:00Z") });
        case.acknowledgments.push(Acknowledgment { at: at("2026-11-21T03:17:00Z"), role: Some("CISO".to_owned()) });
        assert_eq!(case.next(at("2026-11-21T03:20:00Z")), Action::Done);
    }

    #[test]
    fn the_schedule_ends_and_says_so() {
        let mut case = Case::new(Severity::Sev2, "2026-11-21T03:00:00Z", &["SOC lead", "CISO"]);
        let (told, last) = case.run(case.since, at("2026-11-22T03:00:00Z"), true);
        assert_eq!(told.len(), 8);
        assert_eq!(last, Action::Exhausted);
        assert_eq!(Case::new(Severity::Sev2, "2026-11-21T03:00:00Z", &[]).next(case.since), Action::Exhausted);
    }

    #[test]
    fn a_server_that_was_down_carries_on_and_floods_nobody() {
        let mut case = Case::new(Severity::Sev1, "2026-11-21T03:00:00Z", &["SOC lead", "CISO", "CEO"]);
        let (told, _) = case.run(at("2026-11-21T06:00:00Z"), at("2026-11-21T06:07:00Z"), true);
        assert_eq!(told, ["180 SOC lead", "185 CISO"]);
    }

    #[test]
    fn what_no_channel_takes_goes_on_at_once_but_rounds_keep_their_distance() {
        let mut case = Case::new(Severity::Sev1, "2026-11-21T03:00:00Z", &["SOC lead", "CISO"]);
        let (told, _) = case.run(case.since, at("2026-11-21T03:06:00Z"), false);
        assert_eq!(told, ["0 SOC lead", "0 CISO", "5 SOC lead", "5 CISO"]);
    }

    #[test]
    fn medium_waits_for_the_morning_of_a_working_day() {
        // Saturday 03:00; the site opens Monday 09:00 UTC and closes at 17:00.
        let mut case = Case::new(Severity::Sev3, "2026-11-21T03:00:00Z", &["SOC lead", "security manager"]);
        let (_, first) = case.run(case.since, case.since, true);
        assert_eq!(first, Action::Wait { until: at("2026-11-23T09:00:00Z") });
        case.since = at("2026-11-23T16:30:00Z");
        let (told, last) = case.run(case.since, at("2026-11-23T20:00:00Z"), true);
        assert_eq!(told, ["0 SOC lead"]);
        assert_eq!(last, Action::Wait { until: at("2026-11-24T09:30:00Z") });
    }

    #[test]
    fn a_raise_needs_a_new_acknowledgment_and_leaves_out_who_is_silent() {
        let mut case = Case::new(Severity::Sev2, "2026-11-21T03:00:00Z", &["SOC lead", "CISO", "CEO"]);
        let (told, _) = case.run(case.since, at("2026-11-21T03:16:00Z"), true);
        assert_eq!(told, ["0 SOC lead", "15 CISO"]);
        // SOC lead let his time pass, the CISO was paged a minute ago: the line goes on with the CISO.
        (case.severity, case.since) = (Severity::Sev1, at("2026-11-21T03:16:00Z"));
        let (told, _) = case.clone_run(at("2026-11-21T03:27:00Z"));
        assert_eq!(told, ["0 CISO", "5 CEO", "10 SOC lead"]);
        // Had he acknowledged at SEV2, he is the first who hears that it is SEV1.
        case.acknowledgments.push(Acknowledgment { at: at("2026-11-21T03:10:00Z"), role: Some("SOC lead".to_owned()) });
        let (told, _) = case.clone_run(at("2026-11-21T03:17:00Z"));
        assert_eq!(told, ["0 SOC lead"]);
    }

    impl Case {
        fn clone_run(&self, end: Instant) -> (Vec<String>, Action) {
            let mut other = Self {
                pages: self.pages.clone(),
                acknowledgments: self.acknowledgments.clone(),
                elsewhere: self.elsewhere.clone(),
                ..*self
            };
            other.run(self.since, end, true)
        }
    }

    #[test]
    fn a_role_is_not_flooded_and_low_pages_do_not_hold_back_high_ones() {
        let mut case = Case::new(Severity::Sev2, "2026-11-21T03:00:00Z", &["SOC lead"]);
        let other =
            |severity| Page { at: at("2026-11-21T02:30:00Z"), is_delivered: true, role: "SOC lead".into(), severity };
        case.elsewhere = vec![other(Severity::Sev3); 100];
        assert!(matches!(case.next(case.since), Action::Page { .. }));
        case.elsewhere = vec![other(Severity::Sev1); 100];
        assert_eq!(case.next(case.since), Action::Wait { until: at("2026-11-21T03:30:00Z") });
        assert!(matches!(case.next(at("2026-11-21T03:30:00Z")), Action::Page { .. }));
    }
}
