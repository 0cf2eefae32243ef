//! Text from a host, made fit for a terminal: it may hold escape sequences, line breaks, or characters that turn the
//! direction of what follows.

/// The text with each character that does not simply show written as `\u{…}`, `\n` and the like.
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' | '\\' => out.push(character),
            // Combining characters are escaped as well: one without a base would sit on our own text.
            other => out.extend(other.escape_debug()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_reaches_the_terminal_but_text() {
        assert_eq!(super::shown("it's \"ü\""), "it's \"ü\"");
        assert_eq!(super::shown("a\u{1b}[31m\n\u{9b}\u{202e}b"), "a\\u{1b}[31m\\n\\u{9b}\\u{202e}b");
    }
}
