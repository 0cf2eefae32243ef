//! The facts as a template sees them: what is missing says so, and what goes outward names nobody inside.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, Value};
use serde_json::Value as Json;

use super::DraftFacts;

/// Entries of a list that a template sees; the last ones of a longer list.
const LIST_MAX: usize = 500;

pub(super) fn json(facts: &DraftFacts) -> Json {
    serde_json::to_value(facts).unwrap_or_default()
}

/// The facts without hosts, accounts and indicators, and with their names taken out of every text.
pub(super) fn without_names(facts: &DraftFacts) -> Json {
    let mut names: Vec<(String, &str)> = Vec::new();
    for host in facts.hosts.iter().map(|host| &host.name).chain(facts.evidence.iter().map(|item| &item.host)) {
        names.push((host.to_lowercase(), "[system]"));
        if host.parse::<IpAddr>().is_err()
            && let Some((short, _)) = host.split_once('.')
        {
            names.push((short.to_lowercase(), "[system]"));
        }
    }
    names.extend(facts.accounts.iter().map(|account| (account.to_lowercase(), "[account]")));
    names.retain(|(name, _)| !name.is_empty());
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let outward = DraftFacts {
        accounts: Vec::new(),
        evidence: Vec::new(),
        hosts: Vec::new(),
        indicators: Vec::new(),
        severity_explanation: Vec::new(),
        // An alert's own words.
        title: String::new(),
        ..facts.clone()
    };
    let mut json = json(&outward);
    take_out(&mut json, &names);
    json
}

fn take_out(json: &mut Json, names: &[(String, &str)]) {
    match json {
        Json::String(text) => *text = scrubbed(text, names),
        Json::Array(list) => list.iter_mut().for_each(|one| take_out(one, names)),
        Json::Object(map) => map.values_mut().for_each(|one| take_out(one, names)),
        _ => {}
    }
}

/// The text without the names and without addresses, wherever they stand as words, in any case.
fn scrubbed(text: &str, names: &[(String, &str)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let starts_word = !out.chars().next_back().is_some_and(char::is_alphanumeric);
        let found = if starts_word { name_at(rest, names).or_else(|| address_at(rest)) } else { None };
        match found {
            Some((length, instead)) => {
                out.push_str(instead);
                rest = rest.get(length..).unwrap_or("");
            }
            None => {
                out.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or("");
            }
        }
    }
    out
}

/// The longest name that the text begins with, as a whole word: its length and what stands instead.
fn name_at<'a>(text: &str, names: &[(String, &'a str)]) -> Option<(usize, &'a str)> {
    names.iter().find_map(|(name, instead)| {
        let mut length = 0;
        let mut wanted = name.chars();
        let mut next = wanted.next();
        for c in text.chars() {
            for lower in c.to_lowercase() {
                if next != Some(lower) {
                    return None;
                }
                next = wanted.next();
            }
            length += c.len_utf8();
            if next.is_none() {
                let after = text.get(length..).and_then(|rest| rest.chars().next());
                return (!after.is_some_and(char::is_alphanumeric)).then_some((length, *instead));
            }
        }
        None
    })
}

/// An address of version 4 or 6 that the text begins with.
fn address_at(text: &str) -> Option<(usize, &'static str)> {
    let end = text.find(|c: char| !(c.is_ascii_hexdigit() || c == '.' || c == ':')).unwrap_or(text.len());
    let word = text.get(..end)?.trim_end_matches(['.', ':']);
    // 1.2.3.4:443 and a sentence's end are no part of it.
    let host = word.rsplit_once(':').map_or(word, |(host, _)| host);
    [word, host].into_iter().find(|one| one.parse::<IpAddr>().is_ok()).map(|one| (one.len(), "[address]"))
}

/// For the template: of a map, what is not there or empty text is [`Unknown`] under its name.
pub(super) fn value(json: Json) -> Value {
    named(json, "")
}

fn named(json: Json, name: &str) -> Value {
    match json {
        Json::Null => Value::from_object(Unknown(name.to_owned())),
        Json::String(text) if text.is_empty() => Value::from_object(Unknown(name.to_owned())),
        Json::Array(mut list) => {
            list.drain(..list.len().saturating_sub(LIST_MAX));
            list.into_iter().map(|one| named(one, name)).collect()
        }
        Json::Object(map) => {
            let fields = map.into_iter().map(|(key, one)| (key.clone(), named(one, &key))).collect();
            Value::from_object(Fields(fields))
        }
        Json::Bool(is_so) => Value::from(is_so),
        Json::Number(number) => number.as_i64().map_or_else(|| Value::from(number.as_f64()), Value::from),
        Json::String(text) => Value::from(text),
    }
}

/// A map in which nothing is missing without saying so.
#[derive(Debug)]
struct Fields(BTreeMap<String, Value>);

impl Object for Fields {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        Some(self.0.get(key).cloned().unwrap_or_else(|| Value::from_object(Unknown(key.to_owned()))))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(|key| Value::from(key.as_str())).collect())
    }
}

/// Something that is not known: false where it is asked for, and visible where it is written.
#[derive(Debug)]
struct Unknown(String);

impl Object for Unknown {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        false
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(Value::from_object(Self(format!("{}.{key}", self.0))))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[not known yet: {}]", self.0.replace('_', " "))
    }
}

/// Whatever a template asks for is there, and is a list of one: so that every branch and loop is reached once.
#[derive(Debug)]
pub(super) struct Anything;

impl Object for Anything {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, _: &Value) -> Option<Value> {
        Some(Value::from_object(Self))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(vec![Value::from_object(Self)])
    }
    // Written out as a list it would have no end.
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }
}
