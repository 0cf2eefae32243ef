//! Splunk: rows of a search, in the form that `data/sources/splunk.yaml` reads.
//!
//! A webhook posts `{result, search_name, sid, …}`; a notable of Enterprise Security comes as its row alone, and half of
//! its fields stand in `_raw` only, as `key="value"` pairs.

use serde_json::{Map, Value};

use crate::fields::Field;

/// The most pairs that are read from one `_raw`.
const PAIRS_MAX: usize = 256;

/// The row of a Splunk alert.
pub(super) fn row(record: Field) -> Option<Field> {
    let result = record.key("result");
    let posted =
        result.value().is_some_and(Value::is_object) && record.any(&["sid", "search_name", "results_link"]).holds();
    let has_raw =
        record.key("_raw").holds() && record.any(&["splunk_server", "_sourcetype", "_bkt", "_cd", "_serial"]).holds();
    let is_indexed = record.key("index").text().is_some_and(|index| index == "notable");
    let is_notable = (is_indexed || record.key("event_id").holds())
        && record.any(&["security_domain", "urgency", "rule_title"]).holds();
    if posted { Some(result) } else { (has_raw || is_notable).then_some(record) }
}

/// `record` with its row in `result`, and in the row what `_raw` says beyond it. `None` when it is not Splunk's.
pub(super) fn unfolded(record: &Value) -> Option<Value> {
    let record = Field::of(record);
    let row = row(record)?;
    let mut fields = row.value()?.as_object()?.clone();
    if let Some(raw) = row.key("_raw").text() {
        let pairs = pairs(&raw);
        if pairs.iter().any(|(key, _)| *key == "search_name") {
            fields.remove("_raw");
            add(&mut fields, pairs);
        } else if let Some(message) = message(&raw, row.key("process").text()) {
            fields.insert("_message".to_owned(), message.into());
        }
    }
    let outer =
        record.value()?.as_object()?.iter().filter(|(key, _)| ["sid", "search_name", "app"].contains(&key.as_str()));
    let mut unfolded: Map<String, Value> = outer.map(|(key, value)| (key.clone(), value.clone())).collect();
    unfolded.insert("splunk_row".to_owned(), true.into());
    unfolded.insert("result".to_owned(), fields.into());
    Some(Value::Object(unfolded))
}

/// What the row has itself counts; a key that `_raw` has several times is a list.
fn add(fields: &mut Map<String, Value>, pairs: Vec<(&str, String)>) {
    let own: Vec<String> = fields.keys().cloned().collect();
    for (key, value) in pairs {
        if own.iter().any(|one| one == key) {
            continue;
        }
        match fields.get_mut(key) {
            None => {
                fields.insert(key.to_owned(), value.into());
            }
            Some(Value::Array(list)) => list.push(value.into()),
            Some(one) => *one = Value::Array(vec![one.take(), value.into()]),
        }
    }
}

/// `a=b, c="d, e"`.
fn pairs(text: &str) -> Vec<(&str, String)> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        let key = before.rsplit([' ', ',', '\t', '\n']).next().unwrap_or_default();
        let end = if after.starts_with('"') {
            quoted(after)
        } else {
            after.find([' ', ',', '\t', '\n']).unwrap_or(after.len())
        };
        let (value, left) = after.split_at(end);
        if !key.is_empty() && pairs.len() < PAIRS_MAX {
            pairs.push((key, unquoted(value)));
        }
        rest = left;
    }
    pairs
}

/// Where the quoted value at the start of `text` ends.
fn quoted(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn unquoted(value: &str) -> String {
    let inside = value.strip_prefix('"').map(|value| value.strip_suffix('"').unwrap_or(value));
    inside.map_or_else(|| value.to_owned(), |inside| inside.replace("\\\"", "\""))
}

/// What a program wrote, without the header that syslog put before it.
fn message(raw: &str, program: Option<String>) -> Option<String> {
    let (_, rest) = raw.split_once(&format!(" {}", program?))?;
    let rest = rest.strip_prefix(':').or_else(|| rest.strip_prefix('[')?.split_once("]:").map(|(_, rest)| rest))?;
    Some(rest.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pairs_of_a_notable() {
        let text = r#"1739168412, search_name="Access - X, Y - Rule", a=1, t="x", t="\"y\"", empty="", last="open"#;
        let wanted = [
            ("search_name", "Access - X, Y - Rule"),
            ("a", "1"),
            ("t", "x"),
            ("t", "\"y\""),
            ("empty", ""),
            ("last", "open"),
        ];
        assert_eq!(pairs(text), wanted.map(|(key, value)| (key, value.to_owned())));
        assert!(pairs("no pairs at all").is_empty());
        assert_eq!(pairs(&"a=b ".repeat(1000)).len(), PAIRS_MAX);
    }

    #[test]
    fn rows_and_what_is_none() {
        let notable = json!({ "_raw": "1, search_name=\"A\", src=\"b\", t=\"1\", t=\"2\"", "_bkt": "n", "src": "own" });
        let unfolded = unfolded(&notable).unwrap();
        assert_eq!(unfolded["result"]["src"], "own");
        assert_eq!(unfolded["result"]["t"], json!(["1", "2"]));
        let line = json!({ "result": { "_raw": "Jan  4 11:14:32 h sudo[7]: pam_unix: closed", "process": "sudo" }, "sid": "1" });
        assert_eq!(super::unfolded(&line).unwrap()["result"]["_message"], "pam_unix: closed");
        for other in [json!({ "result": "ok", "sid": "1" }), json!({ "_raw": "x" }), json!([]), json!(null)] {
            assert!(super::unfolded(&other).is_none(), "{other}");
        }
    }
}
