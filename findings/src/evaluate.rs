//! The two passes over the rows of a bundle.

use std::collections::BTreeMap;
use std::io::{self, Read};

use bundle::verify::{EntryRecord, ReadError, State, Verified, read_entries};
use serde_json::{Map, Value};
use wire::Instant;
use wire::finding::{Finding, FindingsReport, FoundRow};

use crate::joins::Kept;
use crate::limits::{FOUND_ROWS_MAX, JOINED_BYTES_MAX, ROW_BYTES_MAX, SHOWN_CHARACTERS_MAX, SHOWN_ELEMENTS_MAX};
use crate::pattern::Number;
use crate::rule::Rule;
use crate::rules::Rules;

/// Applies the rules to a verified bundle. `open` gives its bytes; it is called twice.
///
/// # Errors
/// [`ReadError`]: the bundle cannot be read, or is no longer the one that was verified.
pub fn of_bundle<R: Read>(
    rules: &Rules,
    verified: &Verified,
    open: impl Fn() -> io::Result<R>,
) -> Result<FindingsReport, ReadError> {
    let mut context = Context::new(rules);
    every_row(verified, open()?, |place| rules.joins_keep(place.service), |place, line| context.row(&place, line))?;
    let mut evaluation = Evaluation::new(rules, context, verified.header().started);
    every_row(verified, open()?, |place| rules.look_at(place.service), |place, line| evaluation.row(&place, line))?;
    Ok(evaluation.report(verified))
}

/// Where a row stands.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The collector, or `items`.
    pub service: &'a str,
    /// The entry of the bundle.
    pub file: &'a str,
    /// From 1.
    pub line: u64,
}

impl<'a> Place<'a> {
    /// Of an entry that holds rows: `data/<tier>/<collector>[.N].jsonl`, `data/items/NNNNNN.jsonl`.
    fn of_entry(file: &'a str) -> Option<Self> {
        let (tier, name) = file.strip_prefix("data/")?.strip_suffix(".jsonl")?.split_once('/')?;
        let service = match tier {
            "items" => "items",
            "volatile" | "memory" | "system" | "logs" | "files" => match name.rsplit_once('.') {
                Some((service, segment)) if segment.bytes().all(|byte| byte.is_ascii_digit()) => service,
                _ => name,
            },
            _ => return None,
        };
        (!service.contains('/')).then_some(Self { service, file, line: 0 })
    }
}

/// A line, or that there was one that is too long.
type Line<'a> = Option<&'a [u8]>;

/// Gives the rows of the wanted entries, line by line. A line that does not end is one as well: a partial bundle ends
/// anywhere, but only whole entries are verified.
fn every_row(
    verified: &Verified,
    bundle: impl Read,
    is_wanted: impl Fn(&Place) -> bool,
    row: impl FnMut(Place, Line),
) -> Result<(), ReadError> {
    let row = std::cell::RefCell::new(row);
    read_entries(verified, bundle, |entry: &EntryRecord| {
        let name = entry.name().to_owned();
        if !Place::of_entry(&name).is_some_and(|place| is_wanted(&place)) {
            return Ok(None);
        }
        let (mut held, mut line, mut too_long, row) = (Vec::new(), 0, false, &row);
        Ok(Some(move |bytes: &[u8]| {
            let Some(place) = Place::of_entry(&name) else { return Ok(()) };
            let mut give = |held: &mut Vec<u8>, too_long: &mut bool| {
                line += 1;
                let content = (!*too_long).then_some(held.as_slice());
                (row.borrow_mut())(Place { line, ..place }, content);
                held.clear();
                *too_long = false;
            };
            // The empty piece stands at the end.
            if bytes.is_empty() && (!held.is_empty() || too_long) {
                give(&mut held, &mut too_long);
            }
            for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
                let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
                if too_long || held.len() + text.len() > ROW_BYTES_MAX {
                    too_long = true;
                    held.clear();
                } else {
                    held.extend_from_slice(text);
                }
                if ends {
                    give(&mut held, &mut too_long);
                }
            }
            Ok(())
        }))
    })
}

/// The kind of a row: its `record`; of an item its `kind`.
fn category<'a>(service: &str, row: &'a Value) -> Option<&'a str> {
    row.get(if service == "items" { "kind" } else { "record" })?.as_str()
}

/// The first pass: what joins keep.
#[derive(Debug)]
pub struct Context<'r> {
    rules: &'r Rules,
    kept: Vec<Kept>,
    bytes_left: usize,
}

impl<'r> Context<'r> {
    /// Nothing kept yet.
    pub fn new(rules: &'r Rules) -> Self {
        let kept = rules.joins.iter().map(|_| Kept::default()).collect();
        Self { rules, kept, bytes_left: JOINED_BYTES_MAX }
    }

    /// Takes a row in. What is no JSON is counted in the second pass.
    pub fn row(&mut self, place: &Place, line: Line) {
        let Some(row) = line.and_then(|line| serde_json::from_slice::<Value>(line).ok()) else { return };
        let category = category(place.service, &row);
        for (join, kept) in self.rules.joins.iter().zip(&mut self.kept) {
            if join.from.service == place.service {
                join.keep(category, &row, kept, &mut self.bytes_left);
            }
        }
    }
}

/// The second pass: the rules.
#[derive(Debug)]
pub struct Evaluation<'r> {
    context: Context<'r>,
    found: Vec<(u64, Vec<FoundRow>)>,
    rows: u64,
    started: Instant,
    unreadable: u64,
    too_long: u64,
}

impl<'r> Evaluation<'r> {
    /// Nothing found yet, in a collection that began then.
    pub fn new(rules: &'r Rules, context: Context<'r>, started: Instant) -> Self {
        let found = rules.list.iter().map(|_| (0, Vec::new())).collect();
        Self { context, found, rows: 0, started, unreadable: 0, too_long: 0 }
    }

    /// Applies the rules to a row.
    pub fn row(&mut self, place: &Place, line: Line) {
        self.rows += 1;
        let Some(line) = line else {
            self.too_long += 1;
            return;
        };
        let Ok(mut row) = serde_json::from_slice::<Value>(line) else {
            self.unreadable += 1;
            return;
        };
        tell_ages(&mut row, self.started);
        let category = category(place.service, &row).map(str::to_owned);
        let category = category.as_deref();
        let Context { rules, kept, .. } = &self.context;
        for (join, kept) in rules.joins.iter().zip(kept) {
            if join.goes_into(place.service) {
                join.put(place.service, category, &mut row, kept);
            }
        }
        for (rule, (count, rows)) in rules.list.iter().zip(&mut self.found) {
            if !rule.source.takes(place.service, category) || !rule.detection.fits(&row) {
                continue;
            }
            *count += 1;
            if rows.len() < FOUND_ROWS_MAX {
                let columns = columns(rule, &row);
                rows.push(FoundRow { columns, file: place.file.to_owned(), line: place.line });
            }
        }
    }

    /// What came of it, the worst first.
    pub fn findings(self) -> (Vec<Finding>, Vec<String>, u64) {
        let mut left_out = Vec::new();
        let mut said = |count: u64, what: String| {
            if count > 0 {
                left_out.push(format!("{count} {what}"));
            }
        };
        said(self.unreadable, "rows that are no JSON".to_owned());
        said(self.too_long, format!("rows of more than {ROW_BYTES_MAX} bytes"));
        for (join, kept) in self.context.rules.joins.iter().zip(&self.context.kept) {
            said(kept.left_out, format!("rows that `{}` could not be joined with: too many", join.name()));
        }
        let mut findings: Vec<Finding> = self
            .context
            .rules
            .list
            .iter()
            .zip(self.found)
            .filter(|(_, (count, _))| *count > 0)
            .map(|(rule, (count, rows))| Finding {
                count,
                description: rule.description.clone(),
                false_positives: rule.false_positives.clone(),
                level: rule.level,
                rows,
                rule: rule.name.clone(),
                techniques: rule.techniques.clone(),
                title: rule.title.clone(),
            })
            .collect();
        findings.sort_by(|a, b| b.level.cmp(&a.level).then_with(|| a.rule.cmp(&b.rule)));
        (findings, left_out, self.rows)
    }

    fn report(self, verified: &Verified) -> FindingsReport {
        let rules = self.context.rules;
        let (findings, left_out, rows) = self.findings();
        FindingsReport {
            bundle: verified.header().bundle,
            findings,
            left_out,
            partial: verified.state() != State::Sealed,
            rows,
            rules: u32::try_from(rules.len()).unwrap_or(u32::MAX),
            rules_sha256: rules.sha256(),
            v: 1,
        }
    }
}

/// Times of files, and the columns that say how old they were.
pub const AGES: [(&str, &str); 3] =
    [("btime_ns", "btime_age_days"), ("ctime_ns", "ctime_age_days"), ("mtime_ns", "mtime_age_days")];

/// A rule knows no calendar: beside each time of a file stands how old it was when the collection began.
fn tell_ages(row: &mut Value, started: Instant) {
    const DAY_NS: i128 = 86_400_000_000_000;
    let Some(object) = row.as_object_mut() else { return };
    for (time, age) in AGES {
        let Some(Number::Whole(at)) = object.get(time).and_then(Number::of) else { continue };
        let days = started.0.checked_sub(at).and_then(|span| i64::try_from(span.div_euclid(DAY_NS)).ok());
        object.extend(days.map(|days| (age.to_owned(), Value::from(days))));
    }
}

/// The columns that a rule shows of a row.
fn columns(rule: &Rule, row: &Value) -> Map<String, Value> {
    let mut columns = BTreeMap::new();
    for field in &rule.fields {
        let mut values = Vec::new();
        field.any(row, &mut |value| {
            let value = cut(value);
            if !values.contains(&value) {
                values.push(value);
            }
            values.len() > SHOWN_ELEMENTS_MAX
        });
        if values.len() > SHOWN_ELEMENTS_MAX {
            values.truncate(SHOWN_ELEMENTS_MAX);
            values.push(Value::String("…".to_owned()));
        }
        match values.pop() {
            None => {}
            Some(only) if values.is_empty() => drop(columns.insert(field.name().to_owned(), only)),
            Some(last) => {
                values.push(last);
                columns.insert(field.name().to_owned(), Value::Array(values));
            }
        }
    }
    columns.into_iter().collect()
}

fn cut(value: &Value) -> Value {
    match value {
        Value::String(text) => match text.char_indices().nth(SHOWN_CHARACTERS_MAX) {
            Some((end, _)) => Value::String(format!("{}…", text.get(..end).unwrap_or_default())),
            None => value.clone(),
        },
        Value::Object(_) => Value::String("{…}".to_owned()),
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests;
