//! What a row learns of other rows before rules see it, as `rules/joins.yml` declares.
//!
//! A join keeps columns of some rows under a key, and puts them into the rows that name the key: `process.exe.path` in
//! a row of `sockets`. It knows no order and no time; where several rows have a key, the row gets them all, and a rule
//! holds when one of them fits.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::detection::{Selection, Wrong};
use crate::field::FieldPath;
use crate::limits::{JOINED_INTO_MAX, JOINED_PER_KEY_MAX};
use crate::rule::LogSource;

/// A file of joins.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub joins: Vec<JoinSource>,
}

/// A join as its author writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinSource {
    /// The column that the rows get.
    #[serde(rename = "as")]
    name: String,
    /// The rows that are kept.
    from: LogSource,
    /// Only those that fit this selection.
    #[serde(default)]
    r#where: Option<Value>,
    /// Their key.
    key: String,
    /// The columns of them that are kept.
    keep: Vec<String>,
    /// The rows that get them.
    into: Vec<IntoSource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IntoSource {
    service: String,
    #[serde(default)]
    category: Option<String>,
    /// The field with the key.
    by: String,
}

/// A compiled join.
#[derive(Clone, Debug)]
pub struct Join {
    name: String,
    pub from: LogSource,
    chosen: Option<Selection>,
    key: FieldPath,
    keep: Vec<String>,
    into: Vec<Into>,
}

#[derive(Clone, Debug)]
struct Into {
    service: String,
    category: Option<String>,
    by: FieldPath,
}

impl JoinSource {
    pub fn compile(self, path: &str) -> Result<Join, Wrong> {
        let chosen = self.r#where.as_ref().map(|value| Selection::compile(value, &format!("{path}.where")));
        let into = self.into.into_iter();
        Ok(Join {
            name: self.name,
            from: self.from,
            chosen: chosen.transpose()?,
            key: FieldPath::new(&self.key),
            keep: self.keep,
            into: into
                .map(|into| Into { service: into.service, category: into.category, by: FieldPath::new(&into.by) })
                .collect(),
        })
    }
}

/// What one join kept, by key.
#[derive(Debug, Default)]
pub struct Kept {
    rows: HashMap<String, Vec<Value>>,
    /// Rows that were not kept.
    pub left_out: u64,
}

impl Join {
    /// The column that rows get.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True when rows of this collector get something.
    pub fn goes_into(&self, service: &str) -> bool {
        self.into.iter().any(|into| into.service == service)
    }

    /// The rows and fields that it names itself, each with its collector and kind.
    pub fn fields(&self) -> Vec<(&str, Option<&str>, &str)> {
        let mut chosen = vec![&self.key];
        self.chosen.iter().for_each(|selection| selection.fields(&mut chosen));
        let kept = self.keep.iter().map(String::as_str);
        let from = chosen.into_iter().map(FieldPath::name).chain(kept);
        let from = from.map(|field| (self.from.service.as_str(), self.from.category.as_deref(), field));
        let into = self.into.iter();
        from.chain(into.map(|into| (into.service.as_str(), into.category.as_deref(), into.by.name()))).collect()
    }

    /// The field of its rows that stands behind `field` in rows of this kind: `process.exe` is `exe`.
    pub fn behind<'a>(&self, rows: &LogSource, field: &'a str) -> Option<&'a str> {
        let below = field.strip_prefix(self.name.as_str())?.strip_prefix('.')?;
        let goes_into =
            |into: &Into| into.service == rows.service && (into.category.is_none() || into.category == rows.category);
        let is_kept = self.keep.iter().any(|kept| below.split('.').next() == Some(kept));
        (is_kept && self.into.iter().any(goes_into)).then_some(below)
    }

    /// Keeps what it needs of a row, while `bytes_left` lasts.
    pub fn keep(&self, category: Option<&str>, row: &Value, kept: &mut Kept, bytes_left: &mut usize) {
        if !self.from.takes(&self.from.service, category)
            || self.chosen.as_ref().is_some_and(|chosen| !chosen.fits(row))
        {
            return;
        }
        let mut keys = Vec::new();
        self.key.any(row, &mut |value| {
            keys.extend(key_of(value));
            keys.len() >= JOINED_INTO_MAX
        });
        if keys.is_empty() {
            return;
        }
        let columns = self.keep.iter().filter_map(|name| Some((name.clone(), row.get(name)?.clone())));
        let columns = Value::Object(columns.collect::<Map<_, _>>());
        let bytes = columns.to_string().len();
        for key in keys {
            // The map's own entry counts as well.
            let Some(left) = bytes_left.checked_sub(bytes + 2 * key.len() + 64) else {
                kept.left_out += 1;
                continue;
            };
            let under = kept.rows.entry(key).or_default();
            if under.len() < JOINED_PER_KEY_MAX {
                under.push(columns.clone());
                *bytes_left = left;
            } else {
                kept.left_out += 1;
            }
        }
    }

    /// Puts what was kept into a row that names the key.
    pub fn put(&self, service: &str, category: Option<&str>, row: &mut Value, kept: &Kept) {
        let mut found: Vec<Value> = Vec::new();
        for into in &self.into {
            if into.service != service || into.category.as_deref().is_some_and(|wanted| category != Some(wanted)) {
                continue;
            }
            into.by.any(row, &mut |value| {
                let rows = key_of(value).and_then(|key| kept.rows.get(&key));
                found.extend(rows.into_iter().flatten().take(JOINED_INTO_MAX - found.len()).cloned());
                found.len() >= JOINED_INTO_MAX
            });
        }
        if let (Some(object), false) = (row.as_object_mut(), found.is_empty()) {
            object.insert(self.name.clone(), Value::Array(found));
        }
    }
}

fn key_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
