//! Times as they stand in bundles, orders and answers: RFC 3339, UTC, nine fractional digits.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment in nanoseconds since the epoch. Serialised as `2026-11-21T17:45:48.000000001Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, schemars::JsonSchema)]
#[schemars(with = "String", extend("format" = "date-time"))]
pub struct Instant(pub i128);

impl Instant {
    /// The moment in whole seconds since the epoch.
    pub fn unix_seconds(self) -> i64 {
        i64::try_from(self.0.div_euclid(1_000_000_000)).unwrap_or(i64::MAX)
    }

    /// As a timestamp of the calendar, held to its bounds (years -9999 to 9999).
    pub fn calendar(self) -> jiff::Timestamp {
        jiff::Timestamp::from_nanosecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        })
    }

    /// `yyyymmddThhmmssZ`, as in a bundle's file name.
    pub fn compact(self) -> String {
        self.calendar().strftime("%Y%m%dT%H%M%SZ").to_string()
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.9}", self.calendar())
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let timestamp: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(timestamp.as_nanosecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::Instant;

    #[test]
    fn nine_digits_and_a_z() {
        assert_eq!(Instant(1).to_string(), "1970-01-01T00:00:00.000000001Z");
        assert_eq!(Instant(1_795_283_148_000_000_000).compact().len(), 16);
        let there: Instant = serde_json::from_str("\"1970-01-01T00:00:00.000000001Z\"").unwrap();
        assert_eq!(there, Instant(1));
        assert!(Instant(i128::MAX).to_string().starts_with("9999-"));
    }
}
