//! What an incident knows, and the variables by which a profile narrows itself to it.
//!
//! `"${incident.from|14d}"` stands for a whole text of a profile's `with:`. A variable that has one value replaces the
//! text; one that has many is spliced into the list around it, or is the list. Where the incident knows nothing, the
//! text after `|` is used, and without one the text, or the key whose value it is, is left out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Instant;

/// Values of one variable that are taken.
pub const VALUES_MAX: usize = 256;
/// A value is at most this long, in bytes.
pub const VALUE_BYTES_MAX: usize = 4096;

/// What is known of an incident when a collection is ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Values {
    /// Accounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<String>,
    /// Addresses of peers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// When it began, as far as is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Instant>,
    /// Digests of files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hashes: Vec<String>,
    /// Paths of files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Processes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pids: Vec<u32>,
    /// When it ended, where it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Instant>,
}

/// A value that is not taken.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct NotAValue {
    /// What is wrong with it.
    pub message: String,
    /// The next step.
    pub hint: Option<String>,
}

/// A variable, as profiles and conditions name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Variable {
    /// [`Values::accounts`].
    Accounts,
    /// [`Values::addresses`].
    Addresses,
    /// [`Values::from`].
    From,
    /// [`Values::hashes`].
    Hashes,
    /// [`Values::paths`].
    Paths,
    /// [`Values::pids`].
    Pids,
    /// [`Values::until`].
    Until,
}

impl Variable {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Accounts, Self::Addresses, Self::From, Self::Hashes, Self::Paths, Self::Pids, Self::Until];

    /// The name behind `incident.`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Addresses => "addresses",
            Self::From => "from",
            Self::Hashes => "hashes",
            Self::Paths => "paths",
            Self::Pids => "pids",
            Self::Until => "until",
        }
    }

    /// The variable of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variable| variable.name() == name)
    }
}

impl Values {
    /// True when nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// True when there is a value for `variable`.
    pub fn has(&self, variable: Variable) -> bool {
        !matches!(&self.get(variable), Known::Many(values) if values.is_empty())
            && !matches!(self.get(variable), Known::One(None))
    }

    /// Adds a value, as people write it: a time for `from` and `until`, a number for `pids`.
    ///
    /// # Errors
    /// [`NotAValue`].
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), NotAValue> {
        let Some(variable) = Variable::named(name.strip_prefix("incident.").unwrap_or(name)) else {
            let hint = super::did_you_mean(name, Variable::ALL.into_iter().map(Variable::name));
            return Err(NotAValue { message: format!("an incident has no `{name}`"), hint: Some(hint) });
        };
        if text.is_empty() || text.len() > VALUE_BYTES_MAX {
            let message = format!("`{name}` needs a value of 1 to {VALUE_BYTES_MAX} bytes");
            return Err(NotAValue { message, hint: None });
        }
        let time = || {
            text.parse::<jiff::Timestamp>().map(|at| Instant(at.as_nanosecond())).map_err(|_| NotAValue {
                message: format!("{text:?} is no time"),
                hint: Some("write it as 2026-11-07T00:00:00Z".into()),
            })
        };
        let list = match variable {
            Variable::From => return time().map(|at| self.from = Some(at)),
            Variable::Until => return time().map(|at| self.until = Some(at)),
            Variable::Pids => {
                let pid = text
                    .parse()
                    .map_err(|_| NotAValue { message: format!("{text:?} is no number of a process"), hint: None })?;
                if self.pids.len() < VALUES_MAX && !self.pids.contains(&pid) {
                    self.pids.push(pid);
                }
                return Ok(());
            }
            Variable::Accounts => &mut self.accounts,
            Variable::Addresses => &mut self.addresses,
            Variable::Hashes => &mut self.hashes,
            Variable::Paths => &mut self.paths,
        };
        if list.len() < VALUES_MAX && !list.iter().any(|known| known == text) {
            list.push(text.to_owned());
        }
        Ok(())
    }

    fn get(&self, variable: Variable) -> Known {
        let texts = |values: &[String]| Known::Many(values.iter().map(|text| Value::String(text.clone())).collect());
        let time = |at: Option<Instant>| Known::One(at.map(|at| Value::String(at.to_string())));
        match variable {
            Variable::Accounts => texts(&self.accounts),
            Variable::Addresses => texts(&self.addresses),
            Variable::From => time(self.from),
            Variable::Hashes => texts(&self.hashes),
            Variable::Paths => texts(&self.paths),
            Variable::Pids => Known::Many(self.pids.iter().map(|pid| Value::Number((*pid).into())).collect()),
            Variable::Until => time(self.until),
        }
    }

    /// The arguments of a step with every variable replaced.
    pub fn replace_in(&self, with: &Map<String, Value>) -> Map<String, Value> {
        with.iter()
            .filter_map(|(key, value)| match self.replaced(value) {
                Replaced::Value(value) => Some((key.clone(), value)),
                Replaced::Spliced(values) if values.is_empty() => None,
                Replaced::Spliced(values) => Some((key.clone(), Value::Array(values))),
            })
            .collect()
    }

    fn replaced(&self, value: &Value) -> Replaced {
        match value {
            Value::Array(list) => {
                let mut values = Vec::with_capacity(list.len());
                for value in list {
                    match self.replaced(value) {
                        Replaced::Value(value) => values.push(value),
                        Replaced::Spliced(more) => values.extend(more),
                    }
                }
                Replaced::Value(Value::Array(values))
            }
            Value::Object(map) => Replaced::Value(Value::Object(self.replace_in(map))),
            Value::String(text) => match Reference::parse(text) {
                Some(Ok(reference)) => {
                    let default = || reference.default.map(|text| Value::String(text.to_owned()));
                    match self.get(reference.variable) {
                        Known::One(one) => match one.or_else(default) {
                            Some(value) => Replaced::Value(value),
                            None => Replaced::Spliced(Vec::new()),
                        },
                        Known::Many(many) if many.is_empty() => Replaced::Spliced(default().into_iter().collect()),
                        Known::Many(many) => Replaced::Spliced(many),
                    }
                }
                _ => Replaced::Value(value.clone()),
            },
            _ => Replaced::Value(value.clone()),
        }
    }
}

enum Known {
    One(Option<Value>),
    Many(Vec<Value>),
}

enum Replaced {
    Value(Value),
    Spliced(Vec<Value>),
}

struct Reference<'a> {
    variable: Variable,
    default: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// `None` for a text that is none; the name for one that names nothing.
    fn parse(text: &'a str) -> Option<Result<Self, &'a str>> {
        let inner = text.strip_prefix("${")?.strip_suffix('}')?;
        let (name, default) = inner.split_once('|').map_or((inner, None), |(name, default)| (name, Some(default)));
        let variable = name.strip_prefix("incident.").and_then(Variable::named);
        Some(variable.map(|variable| Self { variable, default }).ok_or(name))
    }
}

/// The texts in `with` that look like a variable and are none: the path of each, and the name.
pub(super) fn unknown(with: &Map<String, Value>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (key, value) in with {
        search(value, key, &mut found);
    }
    found
}

fn search(value: &Value, path: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Array(list) => {
            for (n, value) in list.iter().enumerate() {
                search(value, &format!("{path}[{n}]"), found);
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                search(value, &format!("{path}.{key}"), found);
            }
        }
        Value::String(text) => match Reference::parse(text) {
            Some(Err(name)) => found.push((path.to_owned(), name.to_owned())),
            // In the middle of a text nothing is replaced: it would be taken literally, in silence.
            None if text.contains("${") => found.push((path.to_owned(), text.clone())),
            _ => {}
        },
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn variables_are_replaced_spliced_or_left_out() {
        let with = object(&json!({
            "changed_since": "${incident.from|14d}", "until": "${incident.until}",
            "pids": "${incident.pids}", "paths": ["/etc/**", "${incident.paths}"], "n": 5,
            "more": { "accounts": ["${incident.accounts|root}"] },
        }));
        assert_eq!(
            Value::Object(Values::default().replace_in(&with)),
            json!({"changed_since": "14d", "paths": ["/etc/**"], "n": 5, "more": {"accounts": ["root"]}})
        );
        let mut values = Values::default();
        for (name, text) in [
            ("from", "2026-11-07T00:00:00Z"),
            ("pids", "7"),
            ("pids", "8"),
            ("pids", "7"),
            ("incident.paths", "/tmp/x"),
            ("accounts", "eve"),
        ] {
            values.add(name, text).unwrap();
        }
        assert_eq!(
            Value::Object(values.replace_in(&with)),
            json!({"changed_since": "2026-11-07T00:00:00.000000000Z", "pids": [7, 8], "paths": ["/etc/**", "/tmp/x"],
                "n": 5, "more": {"accounts": ["eve"]}})
        );
        assert!(values.has(Variable::Pids) && values.has(Variable::From) && !values.has(Variable::Until));
        let again: Values = serde_json::from_value(serde_json::to_value(&values).unwrap()).unwrap();
        assert_eq!(again, values);
    }

    #[test]
    fn what_is_no_value_is_said() {
        let mut values = Values::default();
        for (name, text, wanted) in [
            ("pid", "7", "an incident has no `pid`"),
            ("pids", "x", "\"x\" is no number of a process"),
            ("from", "yesterday", "\"yesterday\" is no time"),
            ("paths", "", "`paths` needs a value of 1 to 4096 bytes"),
        ] {
            assert_eq!(values.add(name, text).unwrap_err().to_string(), wanted);
        }
        for number in 0..1000 {
            values.add("pids", &number.to_string()).unwrap();
        }
        assert_eq!(values.pids.len(), VALUES_MAX);
    }

    #[test]
    fn what_looks_like_a_variable_and_is_none_is_found() {
        let with = object(&json!({"a": ["${incident.pid}"], "b": "x${incident.pids}", "c": "${incident.pids}"}));
        let found = unknown(&with);
        assert_eq!(found, [("a[0]".to_owned(), "incident.pid".to_owned()), ("b".into(), "x${incident.pids}".into())]);
    }
}
