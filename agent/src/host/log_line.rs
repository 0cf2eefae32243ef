//! A line of a text log as syslog daemons write it: time, host, program, process, message.
//!
//! Two forms: RFC 3164's `Nov 30 14:21:07 web-1 sshd[811]: …`, which has neither year nor zone, and the one that begins
//! with an RFC 3339 time (Debian since 12, and rsyslog's `RSYSLOG_FileFormat`). A `<priority>` before either is dropped.

use bundle::time::Instant;
use jiff::civil;
use jiff::tz::TimeZone;

use super::Host;
use super::text::decimal;

/// The longest `/etc/localtime` that is read.
const ZONE_BYTES_MAX: u64 = 1 << 20;
/// A line may be this much later than the file's last change: clocks of other hosts, and lines that are buffered.
const SLACK_NS: i128 = 86_400 * 1_000_000_000;
const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// What is needed to read times that lack year and zone.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: TimeZone,
    /// Lines are not later than this: the last change of the file, and a day.
    latest: Instant,
}

impl Calendar {
    /// For a file that was last changed at `changed`, on a host in `zone`.
    pub fn new(zone: &TimeZone, changed: Instant) -> Self {
        Self { zone: zone.clone(), latest: Instant(changed.0 + SLACK_NS) }
    }

    /// The moment of a local time without a year: the latest that is not after the file's last change.
    fn moment(&self, month: u8, day: u8, time: civil::Time) -> Option<Instant> {
        let latest = jiff::Timestamp::from_nanosecond(self.latest.0).ok()?;
        let year = latest.to_zoned(self.zone.clone()).year();
        // 29 February may be four years back, and eight around 2100.
        (0..=8).find_map(|back| {
            let date = civil::Date::new(year - back, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
            self.local(date.to_datetime(time)).filter(|at| at.0 <= self.latest.0)
        })
    }

    /// The moment of a local time.
    pub fn local(&self, at: civil::DateTime) -> Option<Instant> {
        let at = self.zone.to_ambiguous_timestamp(at).compatible().ok()?;
        Some(Instant(at.as_nanosecond()))
    }
}

impl Host {
    /// The time zone of `/etc/localtime` (localtime(5)); UTC, and the reason, when it cannot be read.
    pub fn time_zone(&self) -> (TimeZone, Option<String>) {
        let zone = self.read_file(b"/etc/localtime", ZONE_BYTES_MAX).map_err(|error| error.to_string());
        match zone.and_then(|bytes| TimeZone::tzif("local", &bytes).map_err(|error| error.to_string())) {
            Ok(zone) => (zone, None),
            Err(why) => (TimeZone::UTC, Some(format!("/etc/localtime: {why}; local times are read as UTC"))),
        }
    }
}

/// A line, in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// When.
    pub at: Instant,
    /// True when the line has no year and the file's last change gave it.
    pub is_year_inferred: bool,
    /// The host that it names.
    pub host: &'a [u8],
    /// The program.
    pub program: &'a [u8],
    /// Its process.
    pub pid: Option<u64>,
    /// What it said.
    pub message: &'a [u8],
}

impl<'a> LogLine<'a> {
    /// The parts of a line; `None` for what is no line of a syslog daemon.
    pub fn parse(line: &'a [u8], calendar: &Calendar) -> Option<Self> {
        let line = without_priority(line);
        let (at, is_year_inferred, rest) = match rfc3339(line) {
            Some((at, rest)) => (at, false, rest),
            None => rfc3164(line, calendar).map(|(at, rest)| (at, true, rest))?,
        };
        let (host, rest) = word(rest)?;
        let (tag, message) = match rest.windows(2).position(|pair| pair == b": ") {
            Some(end) if is_tag(rest.get(..end)?) => (rest.get(..end)?, rest.get(end + 2..)?),
            _ => match rest.strip_suffix(b":") {
                Some(tag) if is_tag(tag) => (tag, &[][..]),
                _ => (&[][..], rest),
            },
        };
        let (program, pid) = split_tag(tag);
        Some(Self { at, is_year_inferred, host, program, pid, message })
    }
}

fn without_priority(line: &[u8]) -> &[u8] {
    let inside = line.strip_prefix(b"<").and_then(|rest| {
        let end = rest.iter().take(4).position(|byte| *byte == b'>')?;
        decimal(rest.get(..end)?)?;
        rest.get(end + 1..)
    });
    inside.unwrap_or(line)
}

/// The time that begins the line, and what comes after it and a space.
pub fn rfc3339(line: &[u8]) -> Option<(Instant, &[u8])> {
    if !line.first()?.is_ascii_digit() {
        return None;
    }
    let (time, rest) = word(line)?;
    if time.len() < 20 || time.len() > 40 {
        return None;
    }
    let at: jiff::Timestamp = str::from_utf8(time).ok()?.parse().ok()?;
    Some((Instant(at.as_nanosecond()), rest))
}

fn rfc3164<'a>(line: &'a [u8], calendar: &Calendar) -> Option<(Instant, &'a [u8])> {
    let (month, rest) = word(line)?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let (day, rest) = word(rest.strip_prefix(b" ").unwrap_or(rest))?;
    let (time, rest) = word(rest)?;
    let day = u8::try_from(decimal(day)?).ok()?;
    let at = calendar.moment(u8::try_from(month).ok()?, day, clock(time)?)?;
    Some((at, rest))
}

/// `14:21:07`, also with a fraction.
pub fn clock(text: &[u8]) -> Option<civil::Time> {
    let time = text.split(|byte| *byte == b'.').next()?;
    let mut parts = time.split(|byte| *byte == b':');
    let mut part = || i8::try_from(decimal(parts.next()?)?).ok();
    let time = civil::Time::new(part()?, part()?, part()?.min(59), 0).ok()?;
    parts.next().is_none().then_some(time)
}

/// The number of a month by its English name.
pub fn month(name: &[u8]) -> Option<i8> {
    MONTHS.iter().position(|known| *known == name).and_then(|at| i8::try_from(at + 1).ok())
}

fn word(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b' ')?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

/// A program and its process: no blanks but in what cron and others write as their name.
fn is_tag(tag: &[u8]) -> bool {
    !tag.is_empty() && tag.len() <= 128 && !tag.contains(&b' ')
}

fn split_tag(tag: &[u8]) -> (&[u8], Option<u64>) {
    let split = tag.strip_suffix(b"]").and_then(|inside| {
        let open = inside.iter().rposition(|byte| *byte == b'[')?;
        Some((inside.get(..open)?, decimal(inside.get(open + 1..)?)?))
    });
    split.map_or((tag, None), |(program, pid)| (program, Some(pid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(changed: &str, zone: &TimeZone) -> Calendar {
        let changed: jiff::Timestamp = changed.parse().unwrap();
        Calendar::new(zone, Instant(changed.as_nanosecond()))
    }

    fn parse(line: &[u8]) -> Option<LogLine<'_>> {
        LogLine::parse(line, &calendar("2026-01-02T00:00:00Z", &TimeZone::UTC))
    }

    #[test]
    fn both_forms_are_read() {
        let old = parse(b"<86>Dec  3 04:05:06 web-1 sshd[811]: Accepted: yes").unwrap();
        assert_eq!(old.at.to_string(), "2025-12-03T04:05:06.000000000Z");
        assert!(old.is_year_inferred);
        assert_eq!((old.host, old.program, old.pid), (&b"web-1"[..], &b"sshd"[..], Some(811)));
        assert_eq!(old.message, b"Accepted: yes");
        let new = parse(b"2026-01-01T10:00:00.123456+02:00 web-1 CRON[7]: (root) CMD (x)").unwrap();
        assert_eq!(new.at.to_string(), "2026-01-01T08:00:00.123456000Z");
        assert!(!new.is_year_inferred && new.program == b"CRON");
        let plain = parse(b"Jan  1 00:00:00 h last message repeated 2 times").unwrap();
        assert_eq!((plain.program, plain.message), (&b""[..], &b"last message repeated 2 times"[..]));
    }

    #[test]
    fn a_line_without_a_year_is_never_from_after_the_files_last_change() {
        assert_eq!(parse(b"Jan  2 10:00:00 h p: m").unwrap().at.to_string(), "2026-01-02T10:00:00.000000000Z");
        assert_eq!(parse(b"Jan  4 10:00:00 h p: m").unwrap().at.to_string(), "2025-01-04T10:00:00.000000000Z");
        assert_eq!(parse(b"Feb 29 10:00:00 h p: m").unwrap().at.to_string(), "2024-02-29T10:00:00.000000000Z");
    }

    #[test]
    fn local_times_are_of_the_hosts_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(-5));
        let calendar = calendar("2026-06-01T00:00:00Z", &zone);
        let line = LogLine::parse(b"May  1 20:00:00 h p: m", &calendar).unwrap();
        assert_eq!(line.at.to_string(), "2026-05-02T01:00:00.000000000Z");
    }

    #[test]
    fn what_is_no_log_line_is_none() {
        for line in [&b""[..], b"Foo 1 00:00:00 h p: m", b"Jan 32 00:00:00 h p: m", b"Jan 1", b"9", b"\xff\xff", b"<"] {
            assert_eq!(parse(line), None, "{line:?}");
        }
    }
}
