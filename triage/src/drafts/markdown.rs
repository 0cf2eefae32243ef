//! Values as Markdown text: nothing in them is markup, a link or a new line.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, Output, State};

/// The longest value within a draft, in characters.
const VALUE_CHARS_MAX: usize = 4000;

/// Writes a value: texts escaped, also those that a template calls safe.
pub(super) fn write(out: &mut Output, _: &mut State, value: &Value) -> Result<(), Error> {
    let text = match value.kind() {
        ValueKind::Undefined | ValueKind::None => "[not known yet]".to_owned(),
        // Plain is what is not known: it says so itself.
        ValueKind::Bool | ValueKind::Number | ValueKind::Plain => value.to_string(),
        _ => escaped(&value.to_string()),
    };
    out.write_str(&text).map_err(Error::from)
}

/// `2026-11-20T03:00:00.000000000Z` as `2026-11-20 03:00:00 UTC`; anything else as it is.
pub(super) fn utc(value: Value) -> Value {
    let told = value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    told.map_or(value, |at| Value::from(at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()))
}

/// `data_exfiltration` as `data exfiltration`; what is no text as it is.
pub(super) fn words(value: Value) -> Value {
    let told = value.as_str().map(|text| text.replace('_', " "));
    told.map_or(value, Value::from)
}

/// The text with everything escaped that Markdown (CommonMark, GitHub's autolinks, HTML) would read as more than text.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    for n in 0..VALUE_CHARS_MAX {
        let Some(c) = chars.next() else { return out };
        match c {
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '<' | '>' | '#' | '|' | '~' | '&' | '!' | '@' => {
                out.push('\\');
                out.push(c);
            }
            // At the beginning of a line these make lists and headings.
            '-' | '+' | '=' if n == 0 => {
                out.push('\\');
                out.push(c);
            }
            '.' | ')' if out.chars().all(|before| before.is_ascii_digit()) => {
                out.push('\\');
                out.push(c);
            }
            // No address becomes a link: https://, and www.
            ':' if chars.peek() == Some(&'/') => out.push_str("\\:"),
            '.' if out.len() >= 3 && out.as_bytes().to_ascii_lowercase().ends_with(b"www") => out.push_str("\\."),
            c if c.is_control() || is_invisible(c) => out.push(' '),
            c => out.push(c),
        }
    }
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

/// Marks of direction, separators of lines, characters without width: they make a text read otherwise than it is.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
