//! Signs that an alert may be none (`data/false_positives.yaml`).
//!
//! A sign names whom to ask. By itself it closes nothing; a rule says so where it may do more: `closes` for an event
//! that is known as routine, `lowers` for a benign program that sets off this very detection, `tests` for a tool that
//! security tests are made with. None of them outranks what makes an incident critical.
//!
//! Every field of a rule is matched as a whole, never a part of the event: "defender" in the name of a product, "cron"
//! in a path or "test" in a victim's name are no signs.

use std::collections::BTreeMap;

use serde::Deserialize;
use wire::assessment::FalsePositiveIndicator;

use crate::Alert;
use crate::matching::Scope;

/// The rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FalsePositives {
    /// The version of the file.
    pub version: String,
    /// All are tried on each alert.
    pub rules: Vec<FalsePositiveRule>,
}

/// One rule. It holds when all that it names holds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FalsePositiveRule {
    /// Its name.
    pub rule: String,
    /// The family it belongs to.
    pub family: String,
    /// Any of these normalisers.
    #[serde(default)]
    pub sources: Vec<String>,
    /// The event fits any of these globs.
    #[serde(default)]
    pub events: Vec<String>,
    /// A label fits any of these globs.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Each field, by the names of [`Alert::set`], fits any of its globs.
    #[serde(default)]
    pub fields: BTreeMap<String, Vec<String>>,
    /// Whom to ask.
    pub owner: String,
    /// Why it is often harmless.
    pub why: String,
    /// From this day on it holds no longer, so that somebody looks at it again.
    #[serde(deserialize_with = "date")]
    pub expires: jiff::civil::Date,
    /// Types about which it says nothing.
    #[serde(default)]
    pub not_types: Vec<String>,
    /// True for a routine event: an incident of nothing else is closed as benign, unless anything in it is critical or
    /// shows an effect.
    #[serde(default)]
    pub closes: bool,
    /// True for a benign cause of this very detection: the severity is one lower, and an analyst closes it.
    #[serde(default)]
    pub lowers: bool,
    /// True for the tool of a security test: it is called a test, and an analyst closes it unless [`Self::closes`].
    #[serde(default)]
    pub tests: bool,
}

fn date<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<jiff::civil::Date, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// A rule that holds for an alert.
#[derive(Clone, Debug)]
pub struct Sign<'a> {
    /// The rule.
    pub rule: &'a FalsePositiveRule,
    /// The fields that it looked at, and what stood there.
    pub found: Vec<(&'a str, String)>,
}

impl FalsePositives {
    /// The signs in an alert of this type, on the day on which it came.
    pub fn signs(&self, alert: &Alert, incident_type: &str) -> Vec<Sign<'_>> {
        let day = alert.received.calendar().to_zoned(jiff::tz::TimeZone::UTC).date();
        let rules = self.rules.iter().filter(|rule| day < rule.expires && rule.speaks_of(incident_type));
        rules.filter_map(|rule| Some(Sign { rule, found: rule.scope().holds(alert)? })).collect()
    }
}

impl FalsePositiveRule {
    /// False for a type about which it says nothing.
    pub fn speaks_of(&self, incident_type: &str) -> bool {
        !self.not_types.iter().any(|one| one == incident_type)
    }

    /// Which alerts it is about.
    pub fn scope(&self) -> Scope<'_> {
        Scope { sources: &self.sources, events: &self.events, labels: &self.labels, fields: &self.fields }
    }
}

impl Sign<'_> {
    /// As people see it.
    pub fn indicator(&self) -> FalsePositiveIndicator {
        let joined = |part: fn(&(&str, String)) -> String| self.found.iter().map(part).collect::<Vec<_>>().join(", ");
        FalsePositiveIndicator {
            field: joined(|(name, _)| (*name).to_owned()),
            owner: self.rule.owner.clone(),
            rule: self.rule.rule.clone(),
            value: joined(|(_, value)| value.clone()),
        }
    }

    /// What it looked at, for an explanation.
    pub fn input(&self) -> String {
        self.found.iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", ")
    }
}
