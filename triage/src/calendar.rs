//! Calendars: time zones, business hours, weekends, holidays, and the arithmetic of deadlines (`data/calendars.yaml`).
//!
//! The time zones are compiled in: a bare host may have none, and two hosts must not differ. Where local time is
//! skipped or repeated (daylight saving), the earlier reading counts: a deadline that is met too early harms nobody.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use jiff::civil::{Date, DateTime, Time, Weekday, date};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp, Zoned};
use serde::Deserialize;
use wire::Instant;

use crate::rules::Reader;

/// How many days a search for working days looks ahead: beyond it a calendar has none.
const DAYS_MAX: u32 = 2000;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The calendars.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calendars {
    /// The version of the file.
    pub version: String,
    /// Each with its own name.
    pub calendars: Vec<Calendar>,
}

impl Calendars {
    /// The calendar of this name.
    pub fn get(&self, name: &str) -> Option<&Calendar> {
        self.calendars.iter().find(|one| one.calendar == name)
    }

    pub(crate) fn check(&self, reader: &mut Reader) {
        const FILE: &str = "calendars.yaml";
        for (n, one) in self.calendars.iter().enumerate() {
            let path = format!("calendars[{n}]");
            let has_business = one.opens.0 < one.closes.0
                && Weekday::Monday.cycle_forward().take(7).any(|day| !one.weekend.contains(&DayOfWeek(day)));
            reader.known("business hours of", &one.calendar, has_business, FILE, &path);
            for (m, holiday) in one.holidays.iter().enumerate() {
                let path = format!("{path}.holidays[{m}]");
                reader.known("one rule of", &holiday.holiday, holiday.has_one_rule(), FILE, &path);
            }
        }
    }
}

/// A calendar.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calendar {
    /// Its name.
    pub calendar: String,
    /// Where it comes from.
    pub source: String,
    /// The time zone of its days.
    pub zone: Zone,
    /// Days without business.
    pub weekend: Vec<DayOfWeek>,
    /// When business opens, local time.
    pub opens: TimeOfDay,
    /// When it closes, local time.
    pub closes: TimeOfDay,
    /// Days without business in a year.
    pub holidays: Vec<Holiday>,
}

/// A holiday: a day of the year by exactly one of `fixed`, `nth`, `easter`, `on`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holiday {
    /// Its name.
    pub holiday: String,
    /// On a day of the year.
    #[serde(default)]
    pub fixed: Option<MonthDay>,
    /// On a weekday of a month.
    #[serde(default)]
    pub nth: Option<NthWeekday>,
    /// Days after Easter Sunday (Gregorian); before it when negative.
    #[serde(default)]
    pub easter: Option<i16>,
    /// Once.
    #[serde(default)]
    pub on: Option<Day>,
    /// What happens when it falls on a weekend.
    #[serde(default)]
    pub observed: Observed,
    /// Since this year.
    #[serde(default)]
    pub from_year: Option<i16>,
}

/// What happens to a holiday that falls on a weekend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed {
    /// It is lost.
    #[default]
    OnTheDay,
    /// Saturday goes to Friday, Sunday to Monday (US federal).
    NearestWeekday,
    /// It goes to the next day that is neither weekend nor holiday (UK substitute days).
    NextFreeDay,
}

/// A value of the data that is text there and checked when it is read.
macro_rules! parsed {
    ($(#[$doc:meta])* $type:ident($inner:ty), $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $type(pub $inner);

        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                let parse: fn(&str) -> Result<$inner, String> = $parse;
                parse(&text).map(Self)
            }
        }
    };
}
parsed!(
    /// A time zone of the IANA database, e.g. `Europe/Brussels`.
    Zone(TimeZone),
    |text| ZONES.get(text).map_err(|_| format!("{text:?} is no time zone of the IANA database"))
);
parsed!(
    /// A local time, e.g. `17:30`.
    TimeOfDay(Time),
    |text| text.parse().map_err(|_| format!("{text:?} is no time of day: HH:MM is wanted"))
);
parsed!(
    /// A date, e.g. `2026-12-31`.
    Day(Date),
    |text| text.parse().map_err(|_| format!("{text:?} is no date: YYYY-MM-DD is wanted"))
);
parsed!(
    /// A day of every year, e.g. `12-25`: month and day.
    MonthDay((i8, i8)),
    |text| {
        let (month, day) = text.split_once('-').unwrap_or_default();
        let parsed = month.parse().ok().zip(day.parse().ok());
        // In a leap year, so that 02-29 is one.
        let fits = |(month, day): &(i8, i8)| Date::new(2024, *month, *day).is_ok();
        parsed.filter(fits).ok_or_else(|| format!("{text:?} is no day of the year: MM-DD is wanted"))
    }
);
parsed!(
    /// A weekday, e.g. `saturday`.
    DayOfWeek(Weekday),
    weekday
);
parsed!(
    /// A weekday of a month: month (1–12), which (1–4; -1 is the last), weekday. E.g. `3 monday 1`, `last monday 5`.
    NthWeekday((i8, i8, Weekday)),
    |text| {
        let words: Vec<&str> = text.split(' ').collect();
        let wrong = || format!("{text:?} is no weekday of a month: \"3 monday 1\" or \"last monday 5\" is wanted");
        let [which, day, month] = words[..] else { return Err(wrong()) };
        let nth = if which == "last" { Some(-1) } else { which.parse().ok().filter(|nth| (1..=4).contains(nth)) };
        let month = month.parse().ok().filter(|month| (1..=12).contains(month));
        Ok((month.ok_or_else(wrong)?, nth.ok_or_else(wrong)?, weekday(day)?))
    }
);

fn weekday(text: &str) -> Result<Weekday, String> {
    const NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let found = NAMES.iter().zip(Weekday::Monday.cycle_forward()).find(|(name, _)| **name == text);
    found.map(|(_, weekday)| weekday).ok_or_else(|| format!("{text:?} is no weekday: one of {}", NAMES.join(", ")))
}

/// A span of time as rules write it: `72 h`, `8 business hours`, `30 days`, `4 business days`, `1 month`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Span {
    /// Elapsed time; daylight saving does not change it.
    Hours(u32),
    /// Time while business is open.
    BusinessHours(u32),
    /// Days of the calendar.
    Days(u32),
    /// Days with business; the day of the event does not count.
    BusinessDays(u32),
    /// The same day of a later month, else that month's last.
    Months(u32),
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no span: \"72 h\", \"8 business hours\", \"30 days\", \"4 business days\" or \"1 month\" \
                 is wanted, at most 1000 of them"
            )
        };
        let (count, unit) = text.split_once(' ').ok_or_else(wrong)?;
        let count = count.parse().ok().filter(|count| (1..=1000).contains(count)).ok_or_else(wrong)?;
        match unit {
            "h" => Ok(Self::Hours(count)),
            "business hours" => Ok(Self::BusinessHours(count)),
            "day" | "days" => Ok(Self::Days(count)),
            "business day" | "business days" => Ok(Self::BusinessDays(count)),
            "month" | "months" => Ok(Self::Months(count)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = match self {
            Self::Hours(count) => return write!(f, "{count} h"),
            Self::BusinessHours(count) => (count, "business hour"),
            Self::Days(count) => (count, "day"),
            Self::BusinessDays(count) => (count, "business day"),
            Self::Months(count) => (count, "month"),
        };
        write!(f, "{count} {unit}{}", if *count == 1 { "" } else { "s" })
    }
}

impl Calendar {
    /// True when there is business on that day.
    pub fn is_working_day(&self, day: Date) -> bool {
        // A holiday of the next year may be observed in this one: 1 January on a Saturday.
        !self.is_weekend(day)
            && ![day.year(), day.year() + 1].iter().any(|year| self.holidays_of(*year).contains_key(&day))
    }

    /// The days on which the holidays of that year are kept, with their names.
    pub fn holidays_of(&self, year: i16) -> BTreeMap<Date, &str> {
        let named = self.holidays.iter().filter_map(|holiday| Some((holiday.day_in(year)?, holiday)));
        let named: Vec<(Date, &Holiday)> = named.collect();
        let mut kept: BTreeMap<Date, &str> = BTreeMap::new();
        for (day, holiday) in &named {
            let is_taken = |day: &Date| kept.contains_key(day) || named.iter().any(|(other, _)| other == day);
            let moved = match (holiday.observed, self.is_weekend(*day)) {
                (Observed::NearestWeekday, true) if day.weekday() == Weekday::Saturday => day.yesterday().ok(),
                (Observed::NearestWeekday, true) => day.tomorrow().ok(),
                (Observed::NextFreeDay, true) => days_from(*day).find(|day| !self.is_weekend(*day) && !is_taken(day)),
                (Observed::OnTheDay, _) | (_, false) => Some(*day),
            };
            if let Some(moved) = moved {
                kept.insert(moved, &holiday.holiday);
            }
        }
        kept
    }

    /// The end of a span that begins at `from`; held to the bounds of time.
    pub fn after(&self, from: Instant, span: Span) -> Instant {
        let there = self.local(from);
        let on = |day: Option<Date>| day.map_or(from, |day| self.instant(day.to_datetime(there.time())));
        match span {
            Span::Hours(count) => plus(from, SignedDuration::from_hours(count.into())),
            Span::BusinessHours(count) => self.after_business_hours(from, SignedDuration::from_hours(count.into())),
            Span::Days(count) => on(there.date().checked_add(jiff::Span::new().days(count)).ok()),
            Span::Months(count) => on(there.date().checked_add(jiff::Span::new().months(count)).ok()),
            Span::BusinessDays(count) => {
                on(self.working_days_after(there.date()).nth(count.saturating_sub(1) as usize))
            }
        }
    }

    /// The same day at this local time.
    pub fn at_time(&self, at: Instant, time: Time) -> Instant {
        self.instant(self.local(at).date().to_datetime(time))
    }

    /// The last second of that day.
    pub fn end_of_day(&self, at: Instant) -> Instant {
        let next = self.local(at).date().tomorrow();
        next.map_or(at, |next| plus(self.instant(next.at(0, 0, 0, 0)), SignedDuration::from_secs(-1)))
    }

    /// The same time on the next working day; the time itself on a working day.
    pub fn on_working_day(&self, at: Instant) -> Instant {
        let there = self.local(at);
        if self.is_working_day(there.date()) {
            return at;
        }
        let next = self.working_days_after(there.date()).next();
        next.map_or(at, |day| self.instant(day.to_datetime(there.time())))
    }

    /// The end of the year.
    pub fn end_of_year(&self, at: Instant) -> Instant {
        let last = date(self.local(at).year(), 12, 31);
        self.end_of_day(self.instant(last.at(12, 0, 0, 0)))
    }

    /// The time itself while business is open, else when it opens next.
    pub fn opening(&self, at: Instant) -> Instant {
        self.openings(at).next().map_or(at, |(opens, _)| opens.max(at))
    }

    /// The end of so much time while business is open.
    pub fn after_business_hours(&self, from: Instant, mut left: SignedDuration) -> Instant {
        let mut at = from;
        for (opens, closes) in self.openings(from) {
            let opens = opens.max(from);
            let open_for = between(opens, closes);
            if left <= open_for {
                return plus(opens, left);
            }
            left -= open_for;
            at = closes;
        }
        at
    }

    /// When business opens and closes, from the first that closes after `from`; at most [`DAYS_MAX`] days ahead.
    fn openings(&self, from: Instant) -> impl Iterator<Item = (Instant, Instant)> {
        let days = days_from(self.local(from).date()).filter(|day| self.is_working_day(*day));
        let hours =
            |day: Date| (self.instant(day.to_datetime(self.opens.0)), self.instant(day.to_datetime(self.closes.0)));
        days.map(hours).filter(move |(_, closes)| *closes > from)
    }

    fn working_days_after(&self, day: Date) -> impl Iterator<Item = Date> {
        days_from(day).skip(1).filter(|day| self.is_working_day(*day))
    }

    fn is_weekend(&self, day: Date) -> bool {
        self.weekend.iter().any(|one| one.0 == day.weekday())
    }

    fn local(&self, at: Instant) -> Zoned {
        at.calendar().to_zoned(self.zone.0.clone())
    }

    fn instant(&self, local: DateTime) -> Instant {
        let earlier = self.zone.0.to_ambiguous_timestamp(local).earlier();
        Instant(earlier.unwrap_or(Timestamp::MAX).as_nanosecond())
    }
}

impl Holiday {
    /// True when it is a day by exactly one rule.
    fn has_one_rule(&self) -> bool {
        let rules = [self.fixed.is_some(), self.nth.is_some(), self.easter.is_some(), self.on.is_some()];
        rules.iter().filter(|is_there| **is_there).count() == 1
    }

    fn day_in(&self, year: i16) -> Option<Date> {
        if self.from_year.is_some_and(|first| year < first) {
            return None;
        }
        if let Some(MonthDay((month, day))) = self.fixed {
            return Date::new(year, month, day).ok();
        }
        if let Some(NthWeekday((month, nth, weekday))) = self.nth {
            return Date::new(year, month, 1).ok()?.nth_weekday_of_month(nth, weekday).ok();
        }
        if let Some(days) = self.easter {
            return easter(year)?.checked_add(jiff::Span::new().days(days)).ok();
        }
        self.on.as_ref().map(|day| day.0).filter(|day| day.year() == year)
    }
}

/// Easter Sunday of the Gregorian calendar ("Meeus/Jones/Butcher").
fn easter(year: i16) -> Option<Date> {
    let y = i32::from(year);
    let (a, b, c) = (y.rem_euclid(19), y.div_euclid(100), y.rem_euclid(100));
    let (d, e) = (b / 4, b % 4);
    let g = (8 * b + 13) / 25;
    let h = (19 * a + b - d - g + 15) % 30;
    let (i, k) = (c / 4, c % 4);
    let l = (32 + 2 * e + 2 * i - h - k) % 7;
    let m = (a + 11 * h + 22 * l) / 451;
    let sum = h + l - 7 * m + 114;
    Date::new(year, i8::try_from(sum / 31).ok()?, i8::try_from(sum % 31 + 1).ok()?).ok()
}

/// That day and those after it, [`DAYS_MAX`] of them.
fn days_from(day: Date) -> impl Iterator<Item = Date> {
    (0..DAYS_MAX).map_while(move |days| day.checked_add(jiff::Span::new().days(days)).ok())
}

/// A later moment; an earlier one when `duration` is negative.
pub(crate) fn plus(at: Instant, duration: SignedDuration) -> Instant {
    Instant(at.0.saturating_add(duration.as_nanos()))
}

/// From `start` to `end`; negative when `end` is the earlier.
pub(crate) fn between(start: Instant, end: Instant) -> SignedDuration {
    end.calendar().duration_since(start.calendar())
}
