//! Clocks and calendars over weekends, holidays, time zones, daylight saving, month ends and leap days, with injected
//! times.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures as well")]

use std::collections::BTreeMap;

use triage::calendar::{Calendar, Span};
use triage::clocks::Facts;
use triage::{Context, Rules, triage_incident};
use wire::Instant;
use wire::assessment::Assessment;
use wire::response::{Anchor, ClockDecision, ClockState, ClockSubmission, StageState, StageStatus};

fn rules() -> &'static Rules {
    Rules::shipped().unwrap()
}

fn at(text: &str) -> Instant {
    Instant(text.parse::<jiff::Timestamp>().unwrap().as_nanosecond())
}

fn shown(at: Instant) -> String {
    at.calendar().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn calendar(name: &str) -> &'static Calendar {
    rules().calendars.get(name).unwrap()
}

fn after(name: &str, from: &str, span: &str) -> String {
    shown(calendar(name).after(at(from), Span::try_from(span.to_owned()).unwrap()))
}

/// An assessment that proposes no clock: what is told decides which are there.
fn assessment() -> Assessment {
    let alert = br#"{"event_type": "ransomware", "host": "prod-db-01", "timestamp": "2026-11-20T03:00:00Z"}"#;
    let context = Context::shipped().unwrap();
    let assessment = triage_incident(alert, at("2026-11-20T03:00:01Z"), &context).unwrap().remove(0);
    Assessment { notification_clocks: vec![], ..assessment }
}

/// What people established.
#[derive(Default)]
struct Told {
    anchors: BTreeMap<Anchor, Instant>,
    decisions: Vec<ClockDecision>,
    submissions: Vec<ClockSubmission>,
}

impl Told {
    fn anchor(mut self, anchor: Anchor, time: &str) -> Self {
        self.anchors.insert(anchor, at(time));
        self
    }

    fn decided(mut self, clock: &str, applies: bool) -> Self {
        let (by, why) = ("user:counsel".to_owned(), "we are one".to_owned());
        self.decisions.push(ClockDecision {
            applies,
            at: at("2026-01-01T00:00:00Z"),
            by,
            clock: clock.to_owned(),
            why,
        });
        self
    }

    fn submitted(mut self, clock: &str, stage: &str, time: &str) -> Self {
        let (by, receipt) = ("user:counsel".to_owned(), Some("REF-1".to_owned()));
        let (clock, stage) = (clock.to_owned(), stage.to_owned());
        self.submissions.push(ClockSubmission { at: at(time), by, clock, receipt, stage });
        self
    }

    fn clock(&self, clock: &str, now: &str) -> Option<ClockState> {
        let assessment = assessment();
        let Self { anchors, decisions, submissions } = self;
        let facts = Facts { assessment: &assessment, anchors, decisions, submissions };
        rules().clocks.of(facts, &rules().calendars, at(now)).into_iter().find(|state| state.clock == clock)
    }

    fn stage(&self, clock: &str, stage: &str, now: &str) -> StageState {
        let state = self.clock(clock, now).unwrap();
        assert!(state.guidance.contains("not legal advice"));
        state.stages.into_iter().find(|one| one.stage == stage).unwrap()
    }

    fn due(&self, clock: &str, stage: &str) -> String {
        let now = self.anchors.values().max().map_or("2026-11-20T03:00:00Z".to_owned(), |at| shown(*at));
        self.stage(clock, stage, &now).due_at.map_or("waits".to_owned(), shown)
    }
}

#[test]
fn hours_are_hours_through_nights_weekends_and_daylight_saving() {
    assert_eq!(after("eu", "2026-11-20T15:00:00Z", "72 h"), "2026-11-23T15:00:00Z");
    // Europe gains an hour on 25 October 2026 and loses one on 28 March 2027; 72 h stay 72 h.
    assert_eq!(after("eu", "2026-10-24T12:00:00Z", "72 h"), "2026-10-27T12:00:00Z");
    assert_eq!(after("eu", "2027-03-27T12:00:00Z", "24 h"), "2027-03-28T12:00:00Z");
}

#[test]
fn days_keep_the_local_time_over_daylight_saving() {
    // 13:00 in Brussels is 11:00 UTC in summer and 12:00 UTC in winter.
    assert_eq!(after("eu", "2026-10-24T11:00:00Z", "2 days"), "2026-10-26T12:00:00Z");
    assert_eq!(after("us_federal", "2027-03-13T15:00:00Z", "1 day"), "2027-03-14T14:00:00Z");
}

#[test]
fn a_time_that_is_skipped_or_comes_twice_is_read_early() {
    // 02:30 in Brussels is skipped on 28 March 2027 and comes twice on 25 October 2026.
    assert_eq!(after("eu", "2027-03-27T01:30:00Z", "1 day"), "2027-03-28T00:30:00Z");
    assert_eq!(after("eu", "2026-10-24T00:30:00Z", "1 day"), "2026-10-25T00:30:00Z");
}

#[test]
fn months_end_where_the_month_ends() {
    assert_eq!(after("eu", "2026-01-31T12:00:00Z", "1 month"), "2026-02-28T12:00:00Z");
    assert_eq!(after("eu", "2028-01-31T12:00:00Z", "1 month"), "2028-02-29T12:00:00Z");
    assert_eq!(after("eu", "2028-02-29T12:00:00Z", "12 months"), "2029-02-28T12:00:00Z");
    assert_eq!(after("eu", "2026-03-15T12:00:00Z", "1 month"), "2026-04-15T11:00:00Z");
}

#[test]
fn business_hours_stop_at_night_on_weekends_and_holidays() {
    // 16:00 UTC is 17:00 in Brussels: closed. The day after is a Saturday.
    assert_eq!(after("eu", "2026-11-20T16:00:00Z", "8 business hours"), "2026-11-23T16:00:00Z");
    assert_eq!(after("eu", "2026-11-20T15:00:00Z", "2 business hours"), "2026-11-23T09:00:00Z");
    // Good Friday and Easter Monday 2027 are 26 and 29 March; summer time begins between them.
    assert_eq!(after("eu", "2027-03-25T15:00:00Z", "2 business hours"), "2027-03-30T08:00:00Z");
    assert_eq!(shown(calendar("eu").opening(at("2026-12-25T12:00:00Z"))), "2026-12-28T08:00:00Z");
    assert_eq!(shown(calendar("eu").opening(at("2026-11-20T09:00:00Z"))), "2026-11-20T09:00:00Z");
}

#[test]
fn holidays_are_those_of_the_published_lists() {
    let of = |name: &str, year| -> Vec<String> {
        calendar(name).holidays_of(year).keys().map(|day| day.strftime("%m-%d").to_string()).collect()
    };
    assert_eq!(
        of("us_federal", 2026),
        ["01-01", "01-19", "02-16", "05-25", "06-19", "07-03", "09-07", "10-12", "11-11", "11-26", "12-25"]
    );
    // Juneteenth was none before 2021; 4 July 2021 was a Sunday, 25 December 2021 a Saturday.
    assert_eq!(
        of("us_federal", 2020),
        ["01-01", "01-20", "02-17", "05-25", "07-03", "09-07", "10-12", "11-11", "11-26", "12-25"]
    );
    assert_eq!(of("uk", 2026), ["01-01", "04-03", "04-06", "05-04", "05-25", "08-31", "12-25", "12-28"]);
    // Christmas on a Saturday, then on a Sunday.
    assert_eq!(of("uk", 2027)[6..], ["12-27".to_owned(), "12-28".to_owned()]);
    assert_eq!(of("uk", 2022)[6..], ["12-26".to_owned(), "12-27".to_owned()]);
    assert_eq!(of("eu", 2027), ["01-01", "03-26", "03-29", "05-01", "12-25", "12-26"]);
    // 1 January 2028 is a Saturday: kept on the last day of 2027.
    assert!(!calendar("us_federal").is_working_day(jiff::civil::date(2027, 12, 31)));
    assert!(calendar("uk").is_working_day(jiff::civil::date(2027, 12, 31)));
}

#[test]
fn easter_is_where_the_tables_have_it() {
    for (year, month, day) in [(1961, 4, 2), (2000, 4, 23), (2008, 3, 23), (2024, 3, 31), (2025, 4, 20), (2038, 4, 25)]
    {
        let monday = jiff::civil::date(year, month, day).tomorrow().unwrap();
        assert_eq!(calendar("eu").holidays_of(year).get(&monday), Some(&"Easter Monday"), "{year}");
    }
}

#[test]
fn sec_counts_business_days_to_the_close_of_edgar() {
    let due = |time| Told::default().anchor(Anchor::MaterialDeterminedAt, time).decided("sec_8k_1_05", true);
    let due = |time| due(time).due("sec_8k_1_05", "form_8k");
    // Wednesday; Thanksgiving is the next day: Friday, Monday, Tuesday, Wednesday.
    assert_eq!(due("2026-11-25T18:00:00Z"), "2026-12-02T22:30:00Z");
    // A Saturday and the Friday before it give the same day; in summer 17:30 is 21:30 UTC.
    assert_eq!(due("2026-07-11T12:00:00Z"), "2026-07-16T21:30:00Z");
    assert_eq!(due("2026-07-10T12:00:00Z"), "2026-07-16T21:30:00Z");
    // 23:00 Eastern on Sunday is Monday in UTC, and still Sunday for the SEC.
    assert_eq!(due("2026-07-13T03:00:00Z"), "2026-07-16T21:30:00Z");
    // Over the new year of 2028, which is kept on Friday, 31 December.
    assert_eq!(due("2027-12-29T15:00:00Z"), "2028-01-05T22:30:00Z");
}

#[test]
fn dora_takes_the_earlier_of_two_limits_and_chains_its_reports() {
    let told = Told::default().decided("dora_art_19", true).anchor(Anchor::AwareAt, "2026-11-20T03:00:00Z");
    let waiting = told.stage("dora_art_19", "initial", "2026-11-20T04:00:00Z");
    assert_eq!((waiting.state, waiting.due_at), (StageStatus::NotStarted, None));
    assert_eq!(waiting.waits_for, ["classified_major_at"]);
    assert!(waiting.reckoning[0].contains("2026-11-21T03:00:00Z"), "{:?}", waiting.reckoning);

    let classified = |time| {
        let told = Told::default().decided("dora_art_19", true).anchor(Anchor::AwareAt, "2026-11-20T03:00:00Z");
        told.anchor(Anchor::ClassifiedMajorAt, time)
    };
    assert_eq!(classified("2026-11-20T05:00:00Z").due("dora_art_19", "initial"), "2026-11-20T09:00:00Z");
    assert_eq!(classified("2026-11-21T01:00:00Z").due("dora_art_19", "initial"), "2026-11-21T03:00:00Z");
    // Classified only after the 24 h: four hours from then.
    assert_eq!(classified("2026-11-22T01:00:00Z").due("dora_art_19", "initial"), "2026-11-22T05:00:00Z");

    let told = classified("2026-11-20T05:00:00Z").submitted("dora_art_19", "initial", "2026-11-20T08:00:00Z");
    assert_eq!(told.due("dora_art_19", "intermediate"), "2026-11-23T08:00:00Z");
    assert_eq!(told.stage("dora_art_19", "final", "2026-11-23T08:00:00Z").waits_for, ["submission of intermediate"]);
    // The last update of the intermediate report starts the final one: a month on, at the end of the day in Brussels.
    let told = told.submitted("dora_art_19", "intermediate", "2026-11-22T08:00:00Z");
    assert_eq!(told.due("dora_art_19", "final"), "2026-12-22T22:59:59Z");
    let told = told.submitted("dora_art_19", "intermediate", "2026-11-30T23:30:00Z");
    assert_eq!(told.due("dora_art_19", "final"), "2027-01-01T22:59:59Z", "it was 1 December in Brussels");
}

#[test]
fn a_last_day_without_business_moves_on_where_the_law_says_so() {
    let told = Told::default().anchor(Anchor::AwareAt, "2026-11-24T10:00:00Z");
    let told = told.submitted("nis2_art_23", "notification", "2026-11-25T10:00:00Z");
    // 25 December 2026 is a Friday and a holiday, so is the 26th; Monday is the 28th.
    assert_eq!(told.due("nis2_art_23", "final_report"), "2026-12-28T22:59:59Z");
    // HIPAA's sixty days end on a Saturday, and stay there.
    let told = Told::default().decided("hipaa_individuals", true).anchor(Anchor::AwareAt, "2026-11-24T10:00:00Z");
    assert_eq!(told.due("hipaa_individuals", "individuals"), "2027-01-24T04:59:59Z");
}

#[test]
fn sixty_days_after_the_year_end_on_the_first_of_march_but_for_leap_years() {
    let due = |time| Told::default().decided("hipaa_hhs_annual", true).anchor(Anchor::AwareAt, time);
    assert_eq!(due("2026-05-05T10:00:00Z").due("hipaa_hhs_annual", "secretary"), "2027-03-02T04:59:59Z");
    assert_eq!(due("2027-05-05T10:00:00Z").due("hipaa_hhs_annual", "secretary"), "2028-03-01T04:59:59Z");
}

#[test]
fn days_are_those_of_the_authority() {
    // 17:00 UTC is already the next day in Singapore.
    let told =
        Told::default().decided("singapore_pdpa", true).anchor(Anchor::ConfirmedBreachAt, "2026-11-20T17:00:00Z");
    assert_eq!(told.due("singapore_pdpa", "commission"), "2026-11-24T15:59:59Z");
    let told = Told::default().decided("california_1798_82", true).anchor(Anchor::AwareAt, "2026-10-15T05:00:00Z");
    assert_eq!(told.due("california_1798_82", "individuals"), "2026-11-14T07:59:59Z");
}

#[test]
fn a_clock_waits_runs_warns_and_is_overdue_and_nothing_pauses_it() {
    let told = Told::default().decided("gdpr_art_33", true);
    let stage = told.stage("gdpr_art_33", "notification", "2026-11-20T03:00:00Z");
    assert_eq!((stage.state, stage.remaining_seconds), (StageStatus::NotStarted, None));
    assert_eq!(stage.waits_for, ["aware_at"]);
    let told = told.anchor(Anchor::AwareAt, "2026-11-20T03:00:00Z");
    for (now, state, left) in [
        ("2026-11-20T03:00:00Z", StageStatus::Running, 72 * 3600),
        ("2026-11-22T08:59:59Z", StageStatus::Running, 18 * 3600 + 1),
        ("2026-11-22T09:00:00Z", StageStatus::Warned, 18 * 3600),
        ("2026-11-23T03:00:00Z", StageStatus::Warned, 0),
        ("2026-11-23T03:00:01Z", StageStatus::Overdue, -1),
    ] {
        let stage = told.stage("gdpr_art_33", "notification", now);
        assert_eq!((stage.state, stage.remaining_seconds), (state, Some(left)), "{now}");
    }
}

#[test]
fn a_submission_is_in_time_to_the_second_and_the_first_one_counts() {
    let told = |time| {
        let told = Told::default().anchor(Anchor::AwareAt, "2026-11-20T03:00:00Z");
        told.submitted("gdpr_art_33", "notification", time)
    };
    let stage = told("2026-11-23T03:00:00Z").stage("gdpr_art_33", "notification", "2026-11-30T00:00:00Z");
    assert_eq!((stage.state, stage.remaining_seconds), (StageStatus::Submitted, None));
    assert_eq!(stage.submission.and_then(|one| one.receipt).as_deref(), Some("REF-1"));
    let late = told("2026-11-23T03:00:01Z");
    assert_eq!(late.stage("gdpr_art_33", "notification", "2026-11-30T00:00:00Z").state, StageStatus::SubmittedLate);
    let twice = late.submitted("gdpr_art_33", "notification", "2026-11-22T00:00:00Z");
    assert_eq!(twice.stage("gdpr_art_33", "notification", "2026-11-30T00:00:00Z").state, StageStatus::Submitted);
}

#[test]
fn people_decide_and_the_newest_decision_counts() {
    let told = Told::default().anchor(Anchor::AwareAt, "2026-11-20T03:00:00Z").decided("nis2_art_23", false);
    let state = told.clock("nis2_art_23", "2026-11-30T00:00:00Z").unwrap();
    assert!(state.stages.iter().all(|stage| stage.state == StageStatus::NotApplicable));
    assert_eq!(state.decision.unwrap().why, "we are one");
    let told = told.decided("nis2_art_23", true);
    assert_eq!(told.stage("nis2_art_23", "early_warning", "2026-11-30T00:00:00Z").state, StageStatus::Overdue);
}

#[test]
fn at_once_has_no_time_and_is_due_from_the_start() {
    let told = Told::default().decided("gdpr_art_34", true).anchor(Anchor::AwareAt, "2026-11-20T03:00:00Z");
    let stage = told.stage("gdpr_art_34", "individuals", "2026-11-20T03:00:00Z");
    assert_eq!((stage.state, stage.due_at), (StageStatus::Warned, None));
}

#[test]
fn rules_are_dated_and_some_are_off() {
    let told = |time| Told::default().decided("cra_art_14_vulnerability", true).anchor(Anchor::AwareAt, time);
    let now = "2026-12-01T00:00:00Z";
    assert!(told("2026-09-10T12:00:00Z").clock("cra_art_14_vulnerability", now).is_none());
    assert!(told("2026-09-11T12:00:00Z").clock("cra_art_14_vulnerability", now).is_some());
    // CIRCIA is not proposed; a decision that it applies shows it all the same.
    assert!(Told::default().clock("circia", now).is_none());
    let told = Told::default().decided("circia", true).anchor(Anchor::ReasonableBeliefAt, "2026-11-20T03:00:00Z");
    assert_eq!(told.due("circia", "report"), "2026-11-23T03:00:00Z");
}

#[test]
fn the_short_form_proposes_clocks_and_each_is_found_by_it() {
    let alert = br#"{"event_type": "ransomware", "host": "prod-db-01", "timestamp": "2026-11-20T03:00:00Z"}"#;
    let context = Context::shipped().unwrap();
    let assessment = triage_incident(alert, at("2026-11-20T03:00:01Z"), &context).unwrap().remove(0);
    let proposed = assessment.notification_clocks.len();
    assert!(proposed >= 6 && !assessment.notification_clocks.iter().any(|clock| clock.regime.starts_with("CIRCIA")));
    let facts = Facts { assessment: &assessment, anchors: &BTreeMap::new(), decisions: &[], submissions: &[] };
    let states = rules().clocks.of(facts, &rules().calendars, at("2026-11-20T03:00:01Z"));
    assert_eq!(states.len(), proposed);
    assert!(states.iter().flat_map(|state| &state.stages).all(|stage| stage.state == StageStatus::NotStarted));
}
