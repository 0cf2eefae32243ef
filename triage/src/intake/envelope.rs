//! What carries alerts: lists of them in the answers of APIs, and messages around one.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::de::IgnoredAny;
use serde_json::{Deserializer, Value};

use crate::fields::Field;

/// Where lists of alerts stand in an object, one key below the other; and a key beside the first without which such a
/// list may be anything.
const LISTS: &[(&[&str], Option<&str>)] = &[
    // GuardDuty's GetFindings, CloudTrail and Event Hubs, Alertmanager.
    (&["findings"], None),
    (&["records"], None),
    (&["alerts"], None),
    (&["events"], None),
    // Microsoft Graph and ARM.
    (&["value"], None),
    // Kubernetes: `kind: EventList`.
    (&["items"], Some("kind")),
    // Elasticsearch.
    (&["hits", "hits"], None),
    // Security Command Center, Pub/Sub.
    (&["listFindingsResults"], None),
    (&["receivedMessages"], None),
    // CloudWatch Logs.
    (&["logEvents"], None),
    // Advanced hunting.
    (&["results"], Some("schema")),
    // CrowdStrike, Sysdig.
    (&["resources"], Some("meta")),
    (&["data"], Some("page")),
    // EventBridge wraps some lists once more.
    (&["detail", "findings"], None),
    (&["detail", "records"], None),
    (&["detail", "alerts"], None),
    (&["detail", "events"], None),
];

/// Where the alerts are in an array or in an envelope; `None` when `raw` is one alert itself.
pub(super) fn alerts_in(raw: &[u8]) -> Option<Vec<Range<usize>>> {
    if raw.starts_with(b"[") {
        return members(raw).map(|members| members.into_iter().map(|(_, range)| range).collect());
    }
    let outer = members(raw)?;
    let has = |key: &str| outer.iter().any(|(other, _)| other.eq_ignore_ascii_case(key));
    let lists = LISTS.iter().filter(|(path, beside)| has(path[0]) && beside.is_none_or(has));
    lists.into_iter().find_map(|(path, _)| objects_at(raw, path))
}

/// Where the entries of the list at `path` stand, where it is one of objects.
fn objects_at(raw: &[u8], path: &[&str]) -> Option<Vec<Range<usize>>> {
    let mut list = 0..raw.len();
    for key in path {
        let inside = members(raw.get(list.clone())?)?;
        let (_, found) = inside.into_iter().find(|(other, _)| other.eq_ignore_ascii_case(key))?;
        list = list.start + found.start..list.start + found.end;
    }
    let text = raw.get(list.clone()).filter(|text| text.starts_with(b"["))?;
    let entries = members(text)?;
    let are_objects = entries.iter().all(|(_, range)| text.get(range.start) == Some(&b'{'));
    (!entries.is_empty() && are_objects)
        .then(|| entries.into_iter().map(|(_, range)| range.start + list.start..range.end + list.start).collect())
}

/// What a message carries; `None` when `value` is none.
pub(super) fn carried(value: &Value) -> Option<Vec<u8>> {
    let message = Field::of(value);
    let text = |field: Field| match field.value() {
        Some(Value::String(text)) if !text.trim().is_empty() => Some(text.clone()),
        _ => None,
    };
    let object = |field: Field| field.value().filter(|value| value.is_object()).map(ToString::to_string);
    // SNS.
    if message.key("TopicArn").holds() {
        return text(message.key("Message")).map(String::into_bytes);
    }
    // Pub/Sub, pushed and pulled.
    for one in [message.key("message"), message] {
        let is_pub_sub = one.any(&["messageId", "message_id", "publishTime", "publish_time", "attributes"]).holds()
            || message.any(&["subscription", "ackId"]).holds();
        if let Some(data) = text(one.key("data")).filter(|_| is_pub_sub) {
            return STANDARD.decode(&data).or_else(|_| URL_SAFE.decode(&data)).ok().filter(|data| !data.is_empty());
        }
    }
    // EventBridge, Elasticsearch, Splunk's HTTP event collector.
    let around = [("detail-type", "detail"), ("_index", "_source"), ("sourcetype", "event")];
    let inner = around.into_iter().find(|(beside, _)| message.key(beside).holds()).map(|(_, key)| message.key(key));
    if let Some(inner) = inner.and_then(|inner| object(inner).or_else(|| text(inner))) {
        return Some(inner.into_bytes());
    }
    // CloudWatch Logs and log shippers: a record that was a line.
    ["message", "log"].into_iter().find_map(|key| {
        let line = text(message.key(key)).filter(|line| line.trim_start().starts_with('{'))?;
        serde_json::from_str::<IgnoredAny>(&line).ok().map(|_| line.into_bytes())
    })
}

/// The entries of an array (with empty keys) or of an object, and where each value stands in `raw`.
fn members(raw: &[u8]) -> Option<Vec<(String, Range<usize>)>> {
    let is_object = match raw.first()? {
        b'{' => true,
        b'[' => false,
        _ => return None,
    };
    let mut members = Vec::new();
    let mut at = 1;
    loop {
        at = skip(raw, at, b",");
        if matches!(raw.get(at)?, b'}' | b']') {
            return Some(members);
        }
        let mut key = String::new();
        if is_object {
            let mut keys = Deserializer::from_slice(raw.get(at..)?).into_iter::<String>();
            key = keys.next()?.ok()?;
            at = skip(raw, at + keys.byte_offset(), b":");
        }
        let mut values = Deserializer::from_slice(raw.get(at..)?).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        let end = at + values.byte_offset();
        members.push((key, at..end));
        at = end;
    }
}

/// Past white space and the separator. The value was read as a whole before, so what stands there is as it must be.
fn skip(raw: &[u8], from: usize, separator: &[u8]) -> usize {
    let rest = raw.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| byte.is_ascii_whitespace() || separator.contains(byte)).count()
}
