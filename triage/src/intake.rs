//! Bytes into records: one object, an array, lines of JSON or of a log, or an envelope around several.
//!
//! No record is lost. What is no JSON becomes one alert that holds the text; what no normaliser understands is read by
//! the generic one. Each alert carries the digest of its own bytes as they came.

mod envelope;
mod log_line;

use std::ops::Range;

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
const ENVELOPES_MAX: usize = 6;

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
    /// What is no JSON as a whole is taken line by line where it has lines of a form that is known, else as one text.
    fn unreadable(&mut self, raw: &[u8]) -> Result<(), NotTaken> {
        let lines: Vec<&[u8]> =
            raw.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).collect();
        let has_records = lines.iter().any(|line| is_json(line) || log_line::is_marked(line));
        if !has_records && !lines.iter().all(|line| log_line::read(line).is_some()) {
            return self.take(raw.trim_ascii(), unknown(&text(raw)));
        }
        lines.into_iter().try_for_each(|line| self.line(line))
    }

    fn line(&mut self, line: &[u8]) -> Result<(), NotTaken> {
        if is_json(line) {
            return self.records(line, 0);
        }
        match log_line::read(line) {
            Some(value) => self.take(line, known(&value, self.rules).unwrap_or_else(|| unknown(&value))),
            None => self.take(line, unknown(&text(line))),
        }
    }

    /// Takes `raw`, one JSON value, apart where it holds several alerts. What a normaliser knows as one alert stays one,
    /// whatever lists it has.
    fn records(&mut self, raw: &[u8], depth: usize) -> Result<(), NotTaken> {
        let raw = raw.trim_ascii();
        let Ok(value) = serde_json::from_slice::<Value>(raw) else {
            return self.take(raw, unknown(&text(raw)));
        };
        if let Some(alert) = known(&value, self.rules) {
            return self.take(raw, alert);
        }
        if depth == ENVELOPES_MAX {
            return self.take(raw, unknown(&value));
        }
        if let Some(inner) = envelope::carried(&value) {
            return self.carried(raw, &inner, depth);
        }
        if let Some(inner) = envelope::alerts_in(raw) {
            return inner.into_iter().try_for_each(|range| self.records(&raw[range], depth + 1));
        }
        self.take(raw, unknown(&value))
    }

    /// Takes what the envelope `raw` carries as `inner`. One record keeps the bytes of its envelope, as they came; of
    /// several, each has its own.
    fn carried(&mut self, raw: &[u8], inner: &[u8], depth: usize) -> Result<(), NotTaken> {
        let before = self.taken.len();
        if serde_json::from_slice::<IgnoredAny>(inner).is_ok() {
            self.records(inner, depth + 1)?;
        } else {
            self.unreadable(inner)?;
        }
        if let [one] = &mut self.taken[before..] {
            one.alert.raw_sha256 = Sha256::of(raw);
            one.raw = raw.to_vec();
        }
        Ok(())
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

fn is_json(line: &[u8]) -> bool {
    line.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(line).is_ok()
}
