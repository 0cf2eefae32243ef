//! "Changed since": a moment, or a length of time before now.

use std::fmt;

use bundle::time::Instant;
use rustix::fs::Statx;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::host::meta::nanoseconds;

/// A moment before which nothing is wanted: RFC 3339 (`2026-11-07T00:00:00Z`), a date (its midnight in UTC), or a
/// length of time before now in seconds, minutes, hours, days or weeks (`90m`, `14d`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// This moment.
    At(Instant),
    /// This many seconds before now.
    Ago(u64),
}

const UNITS: [(char, u64); 5] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400), ('w', 604_800)];

impl Since {
    /// Reads one.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Some(Self::At(Instant(at.as_nanosecond())));
        }
        if let Ok(date) = text.parse::<jiff::civil::Date>()
            && !text.contains(['T', ' ', '['])
        {
            let midnight = jiff::tz::Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?;
            return Some(Self::At(Instant(midnight.as_nanosecond())));
        }
        let (unit, seconds) = UNITS.iter().find(|(unit, _)| text.ends_with(*unit))?;
        let number: u64 = text.strip_suffix(*unit)?.parse().ok()?;
        number.checked_mul(*seconds).map(Self::Ago)
    }

    /// The moment, seen from `now`.
    pub fn moment(self, now: Instant) -> Instant {
        match self {
            Self::At(at) => at,
            Self::Ago(seconds) => Instant(now.0 - i128::from(seconds) * 1_000_000_000),
        }
    }
}

/// True when content or inode changed at `moment` or later.
pub fn is_changed_since(stat: &Statx, moment: Instant) -> bool {
    nanoseconds(stat.stx_mtime).max(nanoseconds(stat.stx_ctime)) >= moment.0
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at) => at.fmt(f),
            Self::Ago(seconds) => write!(f, "{seconds}s"),
        }
    }
}

impl Serialize for Since {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Since {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            let text: String = text.chars().take(40).collect();
            de::Error::custom(format!("{text:?} is no moment: write 14d, 36h or a time such as 2026-11-07T00:00:00Z"))
        })
    }
}

impl schemars::JsonSchema for Since {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Since".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A length of time before now (90m, 36h, 14d, 2w), a date, or an RFC 3339 time.",
            "type": "string",
            "examples": ["14d", "2026-11-07", "2026-11-07T00:00:00Z"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_three_ways() {
        let now = Instant(1_000_000 * 1_000_000_000);
        for (text, seconds) in [("10s", 999_990), ("2h", 992_800), ("1d", 913_600), ("1w", 395_200)] {
            assert_eq!(Since::parse(text).unwrap().moment(now).unix_seconds(), seconds, "{text}");
        }
        for text in ["1970-01-02T00:00:00Z", "1970-01-02", "1970-01-02T01:00:00+01:00"] {
            assert_eq!(Since::parse(text).unwrap().moment(now).unix_seconds(), 86_400, "{text}");
        }
        for text in ["", "d", "14", "14 d", "-1d", "99999999999999999999d", "999999999999999999w", "yesterday"] {
            assert_eq!(Since::parse(text), None, "{text}");
        }
    }
}
