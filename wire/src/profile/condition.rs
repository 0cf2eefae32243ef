//! `when:` of a step: typed conditions on the host and on the incident.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{Values, Variable};
use crate::ByteSize;

/// How deep conditions may be nested.
pub const DEPTH_MAX: usize = 8;

/// When a step runs. One that does not hold is recorded in the coverage with its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Condition {
    /// Something lies at this path of the host; `*` and `{a,b}` as in paths of `files`.
    Exists(String),
    /// The incident knows a value of this variable.
    Incident(Variable),
    /// The host runs (true), or is a mounted image (false).
    Live(bool),
    /// The host has at most this much memory.
    MemoryBytesMax(ByteSize),
    /// The host's distribution (`ID` or `ID_LIKE` of os-release(5)) is one of these.
    Os(Vec<String>),
    /// All of these hold.
    All(Vec<Condition>),
    /// At least one of these holds.
    Any(Vec<Condition>),
    /// This does not hold.
    Not(Box<Condition>),
}

impl Condition {
    /// What the incident alone says: `None` when the host must be asked.
    pub fn by_incident(&self, values: &Values) -> Option<bool> {
        match self {
            Self::Incident(variable) => Some(values.has(*variable)),
            Self::Exists(_) | Self::Live(_) | Self::MemoryBytesMax(_) | Self::Os(_) => None,
            Self::All(all) => {
                let each: Vec<_> = all.iter().map(|condition| condition.by_incident(values)).collect();
                if each.contains(&Some(false)) { Some(false) } else { each.iter().all(Option::is_some).then_some(true) }
            }
            Self::Any(any) => {
                let each: Vec<_> = any.iter().map(|condition| condition.by_incident(values)).collect();
                if each.contains(&Some(true)) { Some(true) } else { each.iter().all(Option::is_some).then_some(false) }
            }
            Self::Not(not) => not.by_incident(values).map(|holds| !holds),
        }
    }

    /// What is wrong with it, in a sentence.
    pub(super) fn mistake(&self) -> Option<String> {
        self.mistake_at(0)
    }

    fn mistake_at(&self, depth: usize) -> Option<String> {
        if depth > DEPTH_MAX {
            return Some(format!("conditions are nested deeper than {DEPTH_MAX}"));
        }
        match self {
            Self::Exists(path) if !path.starts_with('/') && !path.starts_with("~/") => {
                Some(format!("`exists: {path}` is no path from the root"))
            }
            Self::Os(names) if names.is_empty() => Some("`os` names nothing, so it can never hold".to_owned()),
            Self::All(of) | Self::Any(of) if of.is_empty() => Some("`all` and `any` need conditions".to_owned()),
            Self::All(of) | Self::Any(of) => of.iter().find_map(|condition| condition.mistake_at(depth + 1)),
            Self::Not(not) => not.mistake_at(depth + 1),
            _ => None,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let several = |f: &mut fmt::Formatter<'_>, of: &[Self], word: &str| {
            for (n, condition) in of.iter().enumerate() {
                if n > 0 {
                    write!(f, " {word} ")?;
                }
                match condition {
                    Self::All(_) | Self::Any(_) => write!(f, "({condition})")?,
                    _ => write!(f, "{condition}")?,
                }
            }
            Ok(())
        };
        match self {
            Self::Exists(path) => write!(f, "{path} exists"),
            Self::Incident(variable) => write!(f, "the incident knows {}", variable.name()),
            Self::Live(true) => f.write_str("the host runs"),
            Self::Live(false) => f.write_str("the host is an image"),
            Self::MemoryBytesMax(size) => write!(f, "the host has at most {size} of memory"),
            Self::Os(names) => write!(f, "the host is {}", names.join(" or ")),
            Self::All(all) => several(f, all, "and"),
            Self::Any(any) => several(f, any, "or"),
            Self::Not(not) => write!(f, "not ({not})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn condition(value: serde_json::Value) -> Condition {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_incident_decides_what_it_can() {
        let mut values = Values::default();
        let pids = condition(json!({"incident": "pids"}));
        let docker = json!({"exists": "/var/lib/docker"});
        let both = condition(json!({"all": [{"incident": "pids"}, docker]}));
        let either = condition(json!({"any": [{"incident": "pids"}, docker]}));
        assert_eq!(pids.by_incident(&values), Some(false));
        assert_eq!(both.by_incident(&values), Some(false));
        assert_eq!(either.by_incident(&values), None);
        values.add("pids", "1").unwrap();
        assert_eq!(pids.by_incident(&values), Some(true));
        assert_eq!(both.by_incident(&values), None);
        assert_eq!(either.by_incident(&values), Some(true));
        let not = condition(json!({"not": {"incident": "pids"}}));
        assert_eq!(
            (not.by_incident(&values), not.to_string().as_str()),
            (Some(false), "not (the incident knows pids)")
        );
        assert_eq!(both.to_string(), "the incident knows pids and /var/lib/docker exists");
    }

    #[test]
    fn what_can_never_hold_is_a_mistake() {
        for (value, wanted) in [
            (json!({"exists": "docker"}), "`exists: docker` is no path from the root"),
            (json!({"not": {"os": []}}), "`os` names nothing, so it can never hold"),
            (json!({"any": []}), "`all` and `any` need conditions"),
        ] {
            assert_eq!(condition(value).mistake().unwrap(), wanted);
        }
        let mut deep = json!({"live": true});
        for _ in 0..20 {
            deep = json!({"not": deep});
        }
        assert!(condition(deep).mistake().unwrap().contains("deeper"));
        assert_eq!(condition(json!({"memory_bytes_max": "256GiB"})).mistake(), None);
    }
}
