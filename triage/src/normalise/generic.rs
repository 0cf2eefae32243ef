//! What none of the others understands: read by the usual names, the rest as words. Nothing is lost.

use serde_json::Value;

use super::plain;
use crate::Alert;
use crate::fields::{Field, capped};

/// The longest title that is made from a text.
const TITLE_CHARS_MAX: usize = 120;

/// What `record` says, as far as it can be told.
pub(super) fn read(record: &Value) -> Alert {
    let fields = Field::of(record);
    let mut alert = Alert::empty("unknown");
    if record.is_object() {
        plain::read_into(&mut alert, fields);
    }
    if alert.text.is_empty() {
        let text = fields.text().unwrap_or_else(|| record.to_string());
        alert.words(capped(&text));
    }
    let title = fields.any(&["title", "name", "rule", "message"]).text().or_else(|| alert.text.first().cloned());
    let line = title.unwrap_or_default();
    alert.title = line.lines().next().unwrap_or_default().chars().take(TITLE_CHARS_MAX).collect();
    alert.event = fields.any(&["type", "rule", "event", "category"]).text_or_empty();
    alert
}
