//! Sources without code: what a record of a product says, as a YAML file tells it (`data/sources/*.yaml`).
//!
//! The words of the format are the keys of [`Mapping`]; paths and templates are [`path::Path`] and
//! [`path::Expression`]. A record is the first mapping's whose `detect` holds. Nothing here can fail on a record: what is
//! not there, or of another type than was meant, is left out.

mod apply;
pub mod path;

use std::collections::BTreeMap;

use serde::Deserialize;
use wire::assessment::HostRole;

use crate::alert::{HostIdKind, Level, Marker};
pub(crate) use apply::technique_ids;
use path::{Expression, Path};

/// How the records of one source are read. Lists of expressions without further words: the first that holds counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The version of the file.
    pub version: String,
    /// The source's name. Recognitions name it; the product, unless [`Mapping::product`] says otherwise.
    pub source: String,
    /// The record is this source's when any of these holds.
    pub detect: Vec<Condition>,
    /// Texts that hold JSON, read as if the JSON stood there. Before anything else is looked at.
    #[serde(default)]
    pub parsed: Vec<Path>,
    /// Texts that stand for nothing, e.g. `-` or `N/A`.
    #[serde(default)]
    pub nothing: Vec<String>,
    /// The product that detected it.
    #[serde(default)]
    pub product: Vec<Expression>,
    /// The product's own name for what happened.
    #[serde(default)]
    pub event: Vec<Expression>,
    /// One line for people; else the event.
    #[serde(default)]
    pub title: Vec<Expression>,
    /// The product's own id of the record.
    #[serde(default, rename = "ref")]
    pub reference: Vec<Expression>,
    /// When it happened.
    #[serde(default)]
    pub occurred_at: Vec<Expression>,
    /// The first time it was seen.
    #[serde(default)]
    pub first_seen: Vec<Expression>,
    /// The last time.
    #[serde(default)]
    pub last_seen: Vec<Expression>,
    /// Hours between them, where the product counts them.
    #[serde(default)]
    pub dwell_hours: Vec<Expression>,
    /// An incident type that the sender declares.
    #[serde(default, rename = "type")]
    pub incident_type: Vec<Expression>,
    /// How bad the product thinks it is: the first that comes to a level.
    #[serde(default)]
    pub severity: Vec<Scale>,
    /// Every one of them.
    #[serde(default)]
    pub hosts: Vec<HostMapping>,
    /// The two ends of the traffic, where the product does not say which of them is ours.
    #[serde(default)]
    pub ends: Option<Ends>,
    /// Every one of them.
    #[serde(default)]
    pub ids: Vec<IdMapping>,
    /// Accounts: all of every one. The first is the fact `actor.user` where [`Mapping::fields`] does not say it.
    #[serde(default)]
    pub accounts: Vec<Expression>,
    /// All of every one.
    #[serde(default)]
    pub indicators: Vec<IndicatorMapping>,
    /// Texts with ATT&CK ids: all that stand in every one.
    #[serde(default)]
    pub techniques: Vec<Expression>,
    /// Names of techniques, of products that give no ids: all of every one. What ATT&CK does not know is not shown.
    #[serde(default)]
    pub technique_names: Vec<Expression>,
    /// All of every one.
    #[serde(default)]
    pub labels: Vec<Expression>,
    /// Texts in which phrases are looked for: all of every one.
    #[serde(default)]
    pub words: Vec<Expression>,
    /// Escalation triggers that the sender names: all of every one.
    #[serde(default)]
    pub triggers: Vec<Expression>,
    /// Facts, by the names of [`crate::Alert::set`].
    #[serde(default)]
    pub fields: BTreeMap<String, Vec<Expression>>,
    /// What the product says of the alert's worth.
    #[serde(default)]
    pub markers: Vec<MarkerMapping>,
}

/// Holds when everything that it names holds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Something is there.
    #[serde(default)]
    pub has: Vec<Path>,
    /// Nothing is there.
    #[serde(default)]
    pub lacks: Vec<Path>,
    /// A text there fits any glob, in any case of its letters.
    #[serde(default)]
    pub equals: BTreeMap<Path, Vec<Glob>>,
    /// No text there fits any of the globs.
    #[serde(default)]
    pub unequal: BTreeMap<Path, Vec<Glob>>,
    /// Both name one host, with its domain or without; or one of them names none.
    #[serde(default)]
    pub same_host: BTreeMap<Path, Path>,
    /// They name two hosts.
    #[serde(default)]
    pub other_host: BTreeMap<Path, Path>,
}

/// A pattern. YAML reads `5` and `true` as what they are; in a record they may be texts.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "GlobText")]
pub struct Glob(String);

#[derive(Deserialize)]
#[serde(untagged)]
enum GlobText {
    Text(String),
    Number(i64),
    Truth(bool),
}

impl From<GlobText> for Glob {
    fn from(text: GlobText) -> Self {
        Self(match text {
            GlobText::Text(text) => text,
            GlobText::Number(number) => number.to_string(),
            GlobText::Truth(truth) => truth.to_string(),
        })
    }
}

/// A severity, and what it comes to on our scale.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "ScaleText")]
pub struct Scale {
    path: Expression,
    /// The scale's name.
    name: String,
    levels: Levels,
}

#[derive(Clone, Debug)]
enum Levels {
    /// Words, in lower case.
    Words(BTreeMap<String, Level>),
    /// Numbers of so much or more, the greatest first.
    AtLeast(Vec<(f64, Level)>),
    /// Numbers of so much or less, the least first: 0 or 1 is the worst.
    AtMost(Vec<(f64, Level)>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScaleText {
    path: Expression,
    scale: String,
    #[serde(default)]
    levels: BTreeMap<String, Level>,
    #[serde(default)]
    at_least: BTreeMap<String, Level>,
    #[serde(default)]
    at_most: BTreeMap<String, Level>,
}

impl TryFrom<ScaleText> for Scale {
    type Error = String;

    fn try_from(text: ScaleText) -> Result<Self, String> {
        let ScaleText { path, scale, levels, at_least, at_most } = text;
        let levels = match (levels.is_empty(), at_least.is_empty(), at_most.is_empty()) {
            (false, true, true) => {
                Levels::Words(levels.into_iter().map(|(word, level)| (word.to_lowercase(), level)).collect())
            }
            (true, false, true) => {
                let mut bounds = bounds(at_least)?;
                bounds.reverse();
                Levels::AtLeast(bounds)
            }
            (true, true, false) => Levels::AtMost(bounds(at_most)?),
            _ => return Err("a severity has one of `levels`, `at_least`, `at_most`".to_owned()),
        };
        Ok(Self { path, name: scale, levels })
    }
}

/// In rising order.
fn bounds(levels: BTreeMap<String, Level>) -> Result<Vec<(f64, Level)>, String> {
    let number = |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite());
    let mut bounds = levels
        .into_iter()
        .map(|(text, level)| number(&text).map(|bound| (bound, level)).ok_or(format!("`{text}` is no number")))
        .collect::<Result<Vec<_>, _>>()?;
    bounds.sort_by(|one, other| one.0.total_cmp(&other.0));
    Ok(bounds)
}

/// Hosts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostMapping {
    /// Where each host's own record stands; all else is looked up from there.
    #[serde(default)]
    pub each: Option<Path>,
    /// The names: of a path with several values, each is a host.
    pub names: Vec<Expression>,
    /// Other names of it, where there is one.
    #[serde(default)]
    pub also: Vec<Expression>,
    /// Its part.
    pub role: HostRole,
    /// Only then.
    #[serde(default)]
    pub when: Option<Condition>,
}

/// The two ends of the traffic. What goes from a private address to one that is not leaves us: the victim is the end
/// that is ours, whatever the product calls the destination.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ends {
    /// The address that is ours, if one is.
    pub ours: Vec<Expression>,
    /// The address of the other end.
    pub other: Vec<Expression>,
}

/// Exact ids.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdMapping {
    /// Where each host's own record stands; all else is looked up from there.
    #[serde(default)]
    pub each: Option<Path>,
    /// Which kind. A name is an FQDN only when it has a dot and is no address.
    pub kind: HostIdKind,
    /// All of every one.
    pub paths: Vec<Expression>,
    /// Only then.
    #[serde(default)]
    pub when: Option<Condition>,
}

/// Indicators.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndicatorMapping {
    /// `ip`, `domain`, `sha256` …; `auto`: what it looks like.
    #[serde(rename = "type")]
    pub kind: String,
    /// All of every one.
    pub paths: Vec<Expression>,
    /// Only then.
    #[serde(default)]
    pub when: Option<Condition>,
}

/// A marker and when it holds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkerMapping {
    /// Which.
    pub marker: Marker,
    /// When.
    pub when: Condition,
}

impl Mapping {
    /// What is wrong with it beyond its form: where, and what.
    pub fn mistakes(&self) -> Vec<(String, &'static str)> {
        const EMPTY: &str = "a condition without words always holds: `has`, `lacks`, `equals`, `unequal`, `same_host` or `other_host` is wanted";
        let mut mistakes = Vec::new();
        let mut condition = |at: String, condition: Option<&Condition>| {
            if condition.is_some_and(Condition::is_empty) {
                mistakes.push((at, EMPTY));
            }
        };
        self.detect.iter().enumerate().for_each(|(n, one)| condition(format!("detect[{n}]"), Some(one)));
        self.hosts.iter().enumerate().for_each(|(n, one)| condition(format!("hosts[{n}].when"), one.when.as_ref()));
        self.ids.iter().enumerate().for_each(|(n, one)| condition(format!("ids[{n}].when"), one.when.as_ref()));
        let indicators = self.indicators.iter().enumerate();
        indicators.for_each(|(n, one)| condition(format!("indicators[{n}].when"), one.when.as_ref()));
        let markers = self.markers.iter().enumerate();
        markers.for_each(|(n, one)| condition(format!("markers[{n}].when"), Some(&one.when)));
        if self.detect.is_empty() {
            mistakes.push(("detect".to_owned(), "nothing is detected: one condition at least is wanted"));
        }
        if self.source.is_empty() || self.source.chars().any(|c| c.is_whitespace() || c.is_uppercase()) {
            mistakes.push(("source".to_owned(), "a source's name is one word in lower case"));
        }
        mistakes
    }
}

impl Condition {
    fn is_empty(&self) -> bool {
        self.has.is_empty()
            && self.lacks.is_empty()
            && self.equals.is_empty()
            && self.unequal.is_empty()
            && self.same_host.is_empty()
            && self.other_host.is_empty()
    }
}

#[cfg(test)]
mod tests;
