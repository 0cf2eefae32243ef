//! Signs that an alert may be none (`data/false_positives.yaml`). A sign names whom to ask; it closes nothing.

use serde::Deserialize;
use wire::assessment::FalsePositiveIndicator;

use crate::Alert;
use crate::matching::glob;

/// The rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FalsePositives {
    /// The version of the file.
    pub version: String,
    /// All are tried on each alert.
    pub rules: Vec<FalsePositiveRule>,
}

/// One rule, about one field.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FalsePositiveRule {
    /// Its name.
    pub rule: String,
    /// The family it belongs to.
    pub family: String,
    /// The field, by the names of [`Alert::set`].
    pub field: String,
    /// Globs over the whole field.
    pub values: Vec<String>,
    /// Whom to ask.
    pub owner: String,
    /// Why it is often harmless.
    pub why: String,
    /// From this day on it holds no longer, so that somebody looks at it again.
    #[serde(deserialize_with = "date")]
    pub expires: jiff::civil::Date,
    /// Types about which it says nothing.
    pub not_types: Vec<String>,
}

fn date<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<jiff::civil::Date, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

impl FalsePositives {
    /// The signs in an alert of an incident of this type, on the day of the alert.
    pub fn signs(&self, alert: &Alert, incident_type: &str) -> Vec<FalsePositiveIndicator> {
        let day = alert.received.calendar().to_zoned(jiff::tz::TimeZone::UTC).date();
        let holds =
            |rule: &&FalsePositiveRule| day < rule.expires && !rule.not_types.iter().any(|one| one == incident_type);
        let sign = |rule: &FalsePositiveRule| {
            let value = alert.fields.get(&rule.field)?;
            rule.values.iter().find(|pattern| glob(pattern, value))?;
            Some(FalsePositiveIndicator {
                field: rule.field.clone(),
                owner: rule.owner.clone(),
                rule: rule.rule.clone(),
                value: value.clone(),
            })
        };
        self.rules.iter().filter(holds).filter_map(sign).collect()
    }
}
