//! Reading foreign JSON: any key case, any type where a text is meant, everything capped.

use serde_json::Value;
use wire::Instant;

/// The longest text that is kept; the rest is in the raw bytes.
pub const TEXT_BYTES_MAX: usize = 4096;

/// A place in a foreign record, which may not be there.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a>(Option<&'a Value>);

impl<'a> Field<'a> {
    /// The whole record.
    pub const fn of(record: &'a Value) -> Self {
        Self(Some(record))
    }

    /// What stands under `key`, in any case of its letters; the exact one goes first.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        Self(self.0.and_then(Value::as_object).and_then(|map| {
            map.get(key)
                .or_else(|| map.iter().find(|(other, _)| other.eq_ignore_ascii_case(key)).map(|(_, value)| value))
        }))
    }

    /// What stands under these keys, one below the other.
    #[must_use]
    pub fn at(self, path: &[&str]) -> Self {
        path.iter().fold(self, |field, key| field.key(key))
    }

    /// The first of these keys that holds something.
    #[must_use]
    pub fn any(self, keys: &[&str]) -> Self {
        keys.iter().map(|key| self.key(key)).find(|field| field.holds()).unwrap_or(Self(None))
    }

    /// True when something other than null and emptiness is there.
    pub fn holds(self) -> bool {
        match self.0 {
            None | Some(Value::Null) => false,
            Some(Value::String(text)) => !text.trim().is_empty(),
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::Object(map)) => !map.is_empty(),
            Some(_) => true,
        }
    }

    /// The value itself.
    pub const fn value(self) -> Option<&'a Value> {
        self.0
    }

    /// A text, a number or a truth value as text, at most [`TEXT_BYTES_MAX`] long; `None` when it is empty.
    pub fn text(self) -> Option<String> {
        let text = match self.0? {
            Value::String(text) => capped(text.trim()).to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            _ => return None,
        };
        (!text.is_empty()).then_some(text)
    }

    /// The same, empty where there is none.
    pub fn text_or_empty(self) -> String {
        self.text().unwrap_or_default()
    }

    /// True for `true` and for the text of it.
    pub fn is_true(self) -> bool {
        match self.0 {
            Some(Value::Bool(truth)) => *truth,
            Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
            _ => false,
        }
    }

    /// A number, or the text of one.
    pub fn number(self) -> Option<f64> {
        match self.0? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
        .filter(|number: &f64| number.is_finite())
    }

    /// The entries of a list, however many; of a single value the value itself.
    pub fn list(self) -> &'a [Value] {
        match self.0 {
            None | Some(Value::Null) => &[],
            Some(Value::Array(list)) => list,
            Some(one) => std::slice::from_ref(one),
        }
    }

    /// The first [`crate::Alert::LIST_MAX`] of them.
    pub fn entries(self) -> impl Iterator<Item = Field<'a>> {
        self.list().iter().take(crate::Alert::LIST_MAX).map(Field::of)
    }

    /// A time: RFC 3339, the same without an offset (taken as UTC), seconds, milliseconds or nanoseconds since the epoch,
    /// or as CEF and `asctime` write it.
    pub fn time(self) -> Option<Instant> {
        match self.0? {
            Value::Number(number) => time(&number.to_string()),
            Value::String(text) => time(text.trim()),
            _ => None,
        }
    }
}

/// `Nov 21 2026 17:45:48.120`, as CEF and LEEF write it.
const CEF_TIME: &str = "%b %d %Y %H:%M:%S%.f";
/// `Sat Nov 21 17:45:48 2026`, as C's `asctime` does.
const C_TIME: &str = "%a %b %d %H:%M:%S %Y";

fn time(text: &str) -> Option<Instant> {
    // Parts of a unit are left out: `1795283148.25`.
    let whole = text.split_once('.').filter(|(_, part)| part.bytes().all(|byte| byte.is_ascii_digit()));
    if let Ok(number) = whole.map_or(text, |(whole, _)| whole).parse::<i64>() {
        return since_epoch(number);
    }
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Some(Instant(timestamp.as_nanosecond()));
    }
    let civil =
        |format| jiff::civil::DateTime::strptime(format, text.trim_end_matches(" UTC").trim_end_matches(" GMT"));
    let civil = text.parse().or_else(|_| civil(CEF_TIME)).or_else(|_| civil(C_TIME)).ok()?;
    let zoned = jiff::civil::DateTime::to_zoned(civil, jiff::tz::TimeZone::UTC).ok()?;
    Some(Instant(zoned.timestamp().as_nanosecond()))
}

/// Which unit is meant shows in the size: a second count of today has ten digits.
fn since_epoch(number: i64) -> Option<Instant> {
    let per_unit: i128 = match number {
        ..0 => return None,
        0..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    Some(Instant(i128::from(number) * per_unit))
}

/// The text, cut at a character's border where it is too long.
pub fn capped(text: &str) -> &str {
    if text.len() <= TEXT_BYTES_MAX {
        return text;
    }
    let end = (0..=TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_in_the_forms_that_products_use() {
        for form in [
            json!("2026-11-21T17:45:48Z"),
            json!("2026-11-21T18:45:48+01:00"),
            json!("2026-11-21 17:45:48.000"),
            json!("2026-11-21T17:45:48"),
            json!(1_795_283_148),
            json!("1795283148"),
            json!("1795283148.250"),
            json!(1_795_283_148.5),
            json!("2026-11-21T17:45:48.123+0000"),
            json!("Nov 21 2026 17:45:48"),
            json!("Nov 21 2026 17:45:48.120 UTC"),
            json!("Sat Nov 21 17:45:48 2026 UTC"),
            json!(1_795_283_148_000_i64),
            json!(1_795_283_148_000_000_000_i64),
        ] {
            let read = Field::of(&form).time().map(Instant::unix_seconds);
            assert_eq!(read, Some(1_795_283_148), "{form}");
        }
        for form in [json!("yesterday"), json!(-1), json!(null), json!({}), json!("")] {
            assert_eq!(Field::of(&form).time(), None, "{form}");
        }
    }

    #[test]
    fn texts_are_cut_at_the_bound_and_keys_have_any_case() {
        let record = json!({ "Title": "é".repeat(TEXT_BYTES_MAX / 2), "x": "é".repeat(TEXT_BYTES_MAX) });
        assert_eq!(Field::of(&record).key("title").text().map(|text| text.len()), Some(TEXT_BYTES_MAX));
        assert_eq!(Field::of(&record).key("X").text().map(|text| text.len()), Some(TEXT_BYTES_MAX));
        assert!(!Field::of(&record).at(&["title", "below"]).holds());
    }
}
