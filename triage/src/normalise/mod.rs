//! From a record to an alert: the normalisers that are code, the mappings of the rules, and what takes the rest.
//!
//! A source whose records a mapping can tell ([`crate::mapping`]) needs no code. One that it cannot tell is one file
//! here and one line of [`NORMALISERS`].

use serde_json::Value;

use crate::{Alert, Rules};

mod falco;
mod generic;
mod guardduty;
mod plain;
mod relay;
mod splunk;
mod suricata;

pub(crate) use plain::kind_of;
pub(crate) use suricata::is_ours;

/// Reads the records of one product.
pub trait Normaliser: Sync {
    /// What `record` says; `None` when it is not this product's.
    fn read(&self, record: &Value) -> Option<Alert>;
}

/// Those that are code, by the name that their alerts carry as `source`, the most particular first.
const NORMALISERS: &[(&str, &dyn Normaliser)] =
    &[("guardduty", &guardduty::GuardDuty), ("falco", &falco::Falco), ("suricata", &suricata::Suricata)];

/// Those that take what is left.
pub(crate) const LAST_SOURCES: &[&str] = &["plain", "unknown"];

/// What `record` says, where it is of a form that something here knows.
pub(crate) fn known(record: &Value, rules: &Rules) -> Option<Alert> {
    relay::read(record, rules).or_else(|| direct(record, rules)).or_else(|| plain::Plain.read(record))
}

/// What `record` says, where a product writes it that something here knows.
fn direct(record: &Value, rules: &Rules) -> Option<Alert> {
    let unfolded = splunk::unfolded(record);
    let mapped = unfolded.as_ref().unwrap_or(record);
    NORMALISERS
        .iter()
        .find_map(|(_, normaliser)| normaliser.read(record))
        .or_else(|| rules.sources.iter().find_map(|mapping| mapping.read(mapped)))
}

/// What `record`, which nothing knows, says.
pub(crate) fn unknown(record: &Value) -> Alert {
    generic::read(record)
}

/// True when alerts may carry `name` as their source whatever the mappings are.
pub(crate) fn is_code(name: &str) -> bool {
    NORMALISERS.iter().any(|(source, _)| *source == name) || LAST_SOURCES.contains(&name)
}
