//! What people type, as it is kept: bounded, without control characters. What shows it escapes it all the same.

use wire::case::{NAME_BYTES_MAX, TEXT_BYTES_MAX};

use super::super::{Problem, ProblemKind};

/// A text that may have lines, or nothing. `what` names it in errors.
pub fn text(what: &str, text: &str) -> Result<String, Problem> {
    let text = text.replace("\r\n", "\n");
    checked(what, text.trim(), TEXT_BYTES_MAX, |c| c.is_control() && !matches!(c, '\n' | '\t'))
}

/// A text that must say something.
pub fn said(what: &str, words: &str) -> Result<String, Problem> {
    let words = text(what, words)?;
    if words.is_empty() { Err(empty(what)) } else { Ok(words) }
}

/// One line that names something.
pub fn name(what: &str, text: &str) -> Result<String, Problem> {
    line(what, text, NAME_BYTES_MAX)
}

/// One line of at most so many bytes.
pub fn line(what: &str, text: &str, bytes_max: usize) -> Result<String, Problem> {
    let text = checked(what, text.trim(), bytes_max, char::is_control)?;
    if text.is_empty() { Err(empty(what)) } else { Ok(text) }
}

fn empty(what: &str) -> Problem {
    Problem::new(ProblemKind::Input, format!("{what} is empty")).hint("say it in a sentence: others rely on it later")
}

fn checked(what: &str, text: &str, bytes_max: usize, is_refused: fn(char) -> bool) -> Result<String, Problem> {
    if text.len() > bytes_max {
        let message = format!("{what} has {} bytes, and at most {bytes_max} are kept", text.len());
        return Err(Problem::new(ProblemKind::Input, message).hint("put the rest into the evidence, or another note"));
    }
    match text.chars().find(|c| is_refused(*c)) {
        None => Ok(text.to_owned()),
        Some(refused) => {
            let message = format!("{what} holds the control character {}", refused.escape_unicode());
            Err(Problem::new(ProblemKind::Input, message).hint("a terminal would obey it: leave it out"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_a_bound_and_no_control_characters() {
        assert_eq!(text("note", " a\r\nb\t ").unwrap(), "a\nb");
        assert_eq!(text("note", "").unwrap(), "");
        assert!(text("note", &"é".repeat(TEXT_BYTES_MAX / 2)).is_ok());
        assert!(text("note", &"x".repeat(TEXT_BYTES_MAX + 1)).is_err());
        for bad in ["\u{1b}[31m", "a\0", "a\rb", "\u{9b}"] {
            assert!(text("note", bad).unwrap_err().message.contains("control character"), "{bad:?}");
        }
        assert!(said("note", " \n").is_err());
        assert!(name("role", "a\nb").is_err() && name("role", " ").is_err());
        assert!(name("role", &"x".repeat(NAME_BYTES_MAX)).is_ok() && name("role", &"x".repeat(129)).is_err());
    }
}
