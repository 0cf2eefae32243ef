//! What is known of an enrolled host beside what it says of itself: what people have set about it, and the beat by which
//! the server notices that it fell silent.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Instant;

/// Labels of one host.
pub const LABELS_MAX: usize = 32;
/// Labels that a question may name: each must be there.
pub const ASKED_LABELS_MAX: usize = 8;
const KEY_BYTES_MAX: usize = 63;
const VALUE_BYTES_MAX: usize = 128;

/// A label of a host: `env=prod`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    /// At most 63 of `a-z`, `0-9`, `.`, `_`, `/` and `-`, the first a letter or a digit.
    pub key: String,
    /// At most 128 of `A-Z`, `a-z`, `0-9`, `.`, `_`, `:`, `/`, `@`, `+` and `-`; none is a value as well.
    pub value: String,
}

impl Label {
    /// A label of this key and value.
    ///
    /// # Errors
    /// [`BadLabel`].
    pub fn new(key: &str, value: &str) -> Result<Self, BadLabel> {
        check_key(key)?;
        if value.len() > VALUE_BYTES_MAX || !value.bytes().all(is_of_value) {
            return Err(BadLabel::of(value, "a value has at most 128 of A-Z, a-z, 0-9 and ._:/@+-"));
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }

    /// True when a host with these labels has it.
    pub fn is_among(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.get(&self.key) == Some(&self.value)
    }
}

/// Whether it can be the key of a label.
///
/// # Errors
/// [`BadLabel`].
pub fn check_key(key: &str) -> Result<(), BadLabel> {
    let starts = key.bytes().next().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit());
    if starts && key.len() <= KEY_BYTES_MAX && key.bytes().all(is_of_key) {
        return Ok(());
    }
    Err(BadLabel::of(key, "a key has 1 to 63 of a-z, 0-9 and ._/-, and begins with a letter or a digit"))
}

const fn is_of_key(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'/' | b'-')
}

const fn is_of_value(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'/' | b'@' | b'+' | b'-')
}

/// What is no label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no label: {why}")]
pub struct BadLabel {
    given: String,
    why: &'static str,
}

impl BadLabel {
    fn of(given: &str, why: &'static str) -> Self {
        Self { given: given.chars().take(80).collect(), why }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

impl FromStr for Label {
    type Err = BadLabel;

    fn from_str(given: &str) -> Result<Self, BadLabel> {
        let (key, value) = given.split_once('=').ok_or_else(|| BadLabel::of(given, "write KEY=VALUE"))?;
        Self::new(key, value)
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Label {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Label".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[a-z0-9][a-z0-9._/-]{0,62}=[A-Za-z0-9._:/@+-]{0,128}$",
            "examples": ["env=prod"]
        })
    }
}

/// How much hangs on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Criticality {
    /// Little.
    Low,
    /// As much as on most.
    Medium,
    /// Much: an incident there is one severity higher.
    High,
    /// The same, and people should know it.
    Critical,
}

impl Criticality {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The name as it is serialised.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// A host that automation never isolates, and people only by two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Protection {
    /// Why.
    pub because: String,
    /// Who said so.
    pub by: String,
    /// When.
    pub since: Instant,
}

/// What people have set about a host. The host has no say in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HostMarks {
    /// How much hangs on it; triage raises the severity of what happens on a high or critical one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub criticality: Option<Criticality>,
    /// Its labels, at most [`LABELS_MAX`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// It is never isolated by automation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protected: Option<Protection>,
}

impl HostMarks {
    /// True when nobody has set anything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Changes what people have set about a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "mark", rename_all = "snake_case", deny_unknown_fields)]
pub enum HostMark {
    /// Labels that it has from now on, and keys of labels that it has no more.
    Label {
        /// Keys that go; one that is not there is no mistake.
        #[serde(default)]
        #[schemars(length(max = 32))]
        remove: Vec<String>,
        /// Labels that come, or have another value.
        #[serde(default)]
        #[schemars(length(max = 32))]
        set: Vec<Label>,
    },
    /// How much hangs on it; none takes back what was said.
    Criticality {
        /// It.
        level: Option<Criticality>,
    },
    /// Automation never isolates it.
    Protect {
        /// Why, for custody.
        #[schemars(length(min = 1, max = 255), regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"))]
        because: String,
    },
    /// It is as any other again.
    Unprotect {
        /// Why, for custody.
        #[schemars(length(min = 1, max = 255), regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"))]
        because: String,
    },
}

/// How often an agent has asked for orders since it was installed. It only ever grows: where it does not, the host's disk
/// was set back, or somebody else has the agent's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Beat {
    /// The boot in which it asked.
    pub boot_id: Option<String>,
    /// The number of this question, from 1.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_as_it_is_written() {
        for text in
            ["env=prod", "team/owner=ops@example.org", "rack=", "a=b:c/d+e-f_g.h", &format!("{}=x", "k".repeat(63))]
        {
            assert_eq!(text.parse::<Label>().unwrap().to_string(), text);
        }
        let (key, value) = (format!("{}=x", "k".repeat(64)), format!("k={}", "v".repeat(129)));
        for text in ["", "env", "=x", "Env=prod", "-a=b", "a=b,c=d", "a=b c", "a=b=c", "a=\u{202e}", &key, &value] {
            assert!(text.parse::<Label>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_nobody_has_set_takes_no_room_and_unknown_marks_are_refused() {
        assert_eq!(serde_json::to_string(&HostMarks::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<HostMarks>(r#"{"rack":"b2"}"#).unwrap(), HostMarks::default());
        for bad in [r#"{"mark":"forget"}"#, r#"{"mark":"label","sett":[]}"#, r#"{"mark":"label","set":["A=b"]}"#] {
            assert!(serde_json::from_str::<HostMark>(bad).is_err(), "{bad}");
        }
        for level in Criticality::ALL {
            assert_eq!(serde_json::to_value(level).unwrap(), level.name());
        }
    }
}
