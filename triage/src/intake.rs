//! Bytes into records: one object, an array, lines, or an envelope around several.
//!
//! No record is lost. What is no JSON becomes one alert that holds the text; what no normaliser understands is read by
//! the generic one. Each alert carries the digest of its own bytes as they came.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use serde_json::{Deserializer, Value};
use wire::{Instant, Sha256};

use crate::normalise::{known, unknown};
use crate::{Alert, Rules};

/// The most bytes that are taken in at once.
pub const BYTES_MAX: usize = 1 << 20;
/// The most records that are taken in at once.
pub const RECORDS_MAX: usize = 1000;
/// How deep envelopes may be nested. JSON itself may be nested 127 deep, which `serde_json` sees to.
const ENVELOPES_MAX: usize = 4;

/// Keys under which products send lists of alerts: GuardDuty's GetFindings, CloudTrail and SNS, Alertmanager, Microsoft
/// Graph, CrowdStrike, Elasticsearch, Security Command Center.
const LISTS: &[&str] =
    &["findings", "records", "alerts", "events", "items", "value", "resources", "hits", "listFindingsResults"];
/// Keys of objects that hold such a list: EventBridge, Elasticsearch.
const WRAPPERS: &[&str] = &["detail", "hits"];

/// One record: its bytes as they came, and what they say.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// What it says.
    pub alert: Alert,
    /// Its bytes.
    pub raw: Vec<u8>,
}

/// Bytes that are not taken in at all.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Nothing but white space.
    #[error("there is no alert in it: it is empty")]
    Empty,
    /// Longer than [`BYTES_MAX`].
    #[error("{0} bytes, of which {BYTES_MAX} are taken at once")]
    TooLong(usize),
    /// More records than [`RECORDS_MAX`].
    #[error("more than {RECORDS_MAX} records at once")]
    TooMany,
}

/// The alerts in `raw`, in their order, at least one.
///
/// # Errors
/// [`NotTaken`]: the whole is over a bound, and nothing of it was taken.
pub fn normalise(raw: &[u8], received: Instant, rules: &Rules) -> Result<Vec<Parsed>, NotTaken> {
    if raw.len() > BYTES_MAX {
        return Err(NotTaken::TooLong(raw.len()));
    }
    if raw.iter().all(u8::is_ascii_whitespace) {
        return Err(NotTaken::Empty);
    }
    let mut intake = Intake { received, rules, taken: Vec::new() };
    match top_level(raw) {
        Some(ranges) => {
            for range in ranges {
                intake.records(&raw[range], 0)?;
            }
        }
        None => intake.unreadable(raw)?,
    }
    // An empty list, as a poll for findings returns it.
    if intake.taken.is_empty() { Err(NotTaken::Empty) } else { Ok(intake.taken) }
}

struct Intake<'a> {
    received: Instant,
    rules: &'a Rules,
    taken: Vec<Parsed>,
}

impl Intake<'_> {
    /// What is no JSON as a whole is taken line by line where it has lines of JSON, else as one text.
    fn unreadable(&mut self, raw: &[u8]) -> Result<(), NotTaken> {
        let mut lines = raw.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
        if !lines.clone().any(|line| line.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(line).is_ok()) {
            return self.take(raw.trim_ascii(), unknown(&text(raw)));
        }
        lines.try_for_each(|line| match serde_json::from_slice::<IgnoredAny>(line) {
            Ok(_) => self.records(line, 0),
            Err(_) => self.take(line, unknown(&text(line))),
        })
    }

    /// Takes `raw`, one JSON value, apart where it holds several alerts. What a normaliser knows as one alert stays one,
    /// whatever lists it has.
    fn records(&mut self, raw: &[u8], depth: usize) -> Result<(), NotTaken> {
        let raw = raw.trim_ascii();
        let Ok(value) = serde_json::from_slice::<Value>(raw) else {
            return self.take(raw, unknown(&text(raw)));
        };
        let value = unwrapped(value);
        if let Some(alert) = known(&value, self.rules) {
            return self.take(raw, alert);
        }
        if depth < ENVELOPES_MAX
            && let Some(inner) = alerts_in(raw)
        {
            return inner.into_iter().try_for_each(|range| self.records(&raw[range], depth + 1));
        }
        self.take(raw, unknown(&value))
    }

    fn take(&mut self, raw: &[u8], mut alert: Alert) -> Result<(), NotTaken> {
        if self.taken.len() == RECORDS_MAX {
            return Err(NotTaken::TooMany);
        }
        alert.raw_sha256 = Sha256::of(raw);
        alert.received = self.received;
        self.taken.push(Parsed { alert, raw: raw.to_vec() });
        Ok(())
    }
}

/// The values that follow each other in `raw` (one, or NDJSON); `None` when a part of it is no JSON.
fn top_level(raw: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut stream = Deserializer::from_slice(raw).into_iter::<IgnoredAny>();
    let mut ranges = Vec::new();
    let mut from = 0;
    while let Some(value) = stream.next() {
        value.ok()?;
        ranges.push(from..stream.byte_offset());
        from = stream.byte_offset();
    }
    Some(ranges)
}

fn text(raw: &[u8]) -> Value {
    Value::String(String::from_utf8_lossy(raw).into_owned())
}

/// Where the alerts are in an array or in an envelope; `None` when `raw` is one alert itself.
fn alerts_in(raw: &[u8]) -> Option<Vec<Range<usize>>> {
    let members = members(raw)?;
    if raw.starts_with(b"[") {
        return Some(members.into_iter().map(|(_, range)| range).collect());
    }
    let found = |members: &[(String, Range<usize>)], wanted: &[&str], start: usize, opening: u8| {
        let is_wanted = |key: &str| wanted.iter().any(|one| one.eq_ignore_ascii_case(key));
        let is_open = |range: &Range<usize>| raw.get(start + range.start) == Some(&opening);
        let range = members.iter().find(|(key, range)| is_wanted(key) && is_open(range)).map(|(_, range)| range)?;
        Some(start + range.start..start + range.end)
    };
    let list = match found(&members, LISTS, 0, b'[') {
        Some(list) => list,
        None => {
            let wrapper = found(&members, WRAPPERS, 0, b'{')?;
            let below = self::members(raw.get(wrapper.clone())?)?;
            found(&below, LISTS, wrapper.start, b'[')?
        }
    };
    let entries = self::members(raw.get(list.clone())?)?;
    let is_object = |(_, range): &(String, Range<usize>)| raw.get(list.start + range.start) == Some(&b'{');
    (!entries.is_empty() && entries.iter().all(is_object))
        .then(|| entries.into_iter().map(|(_, range)| range.start + list.start..range.end + list.start).collect())
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

/// The alert that something else delivers within its own object: SNS as a text, Pub/Sub in base64, Elasticsearch beside
/// the index that it is in.
fn unwrapped(mut value: Value) -> Value {
    let parsed = |text: &[u8]| serde_json::from_slice::<Value>(text).ok().filter(Value::is_object);
    let text = |path: &str| value.pointer(path).and_then(Value::as_str);
    let inner = if text("/TopicArn").is_some() {
        text("/Message").and_then(|text| parsed(text.as_bytes()))
    } else if text("/subscription").or(text("/message/messageId")).or(text("/messageId")).is_some() {
        let data = text("/message/data").or(text("/data"));
        data.and_then(|data| STANDARD.decode(data.trim()).ok()).and_then(|bytes| parsed(&bytes))
    } else if text("/_index").is_some() {
        value.get_mut("_source").map(Value::take).filter(Value::is_object)
    } else {
        None
    };
    inner.unwrap_or(value)
}
