//! Texts from alerts, hosts and bundles on their way into a page. maud escapes markup; this makes visible what a
//! browser would obey or hide instead of showing: control characters, characters that turn the direction of what
//! follows, and piles of combining marks. [`is_shell_word`] keeps all of it out of commands that people copy.

use std::fmt::Write as _;

use maud::{Markup, html};

/// More combining marks than this on one base are no writing, but paint over the lines around.
const MARKS_IN_A_ROW_MAX: usize = 3;
/// RFC 1123, section 2.1: as long as a host name can be.
const HOST_CHARS_MAX: usize = 253;

/// The text in a `<bdi>`: its own direction ends with it. What does not simply show stands there as `\u{…}`.
pub fn shown(text: &str) -> Markup {
    html! {
        bdi {
            @for piece in pieces(text) {
                @match piece {
                    Piece::Shows(text) => (text),
                    Piece::Hidden(character) => span.unseen { (character.escape_debug().to_string()) },
                }
            }
        }
    }
}

/// The same without markup, for attributes and the title of a page.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Shows(text) => out.push_str(text),
            Piece::Hidden(character) => out.extend(character.escape_debug()),
        }
    }
    out
}

/// The first `chars_max` characters; the whole unfolds behind them.
pub fn clipped(text: &str, chars_max: usize) -> Markup {
    match text.char_indices().nth(chars_max) {
        None => shown(text),
        Some((end, _)) => html! {
            details.clip {
                summary { (shown(text.get(..end).unwrap_or_default())) "…" }
                (shown(text))
            }
        },
    }
}

/// A text of several lines, for `<pre>`: its line breaks stay, all else is as in [`shown`].
pub fn lines(text: &str) -> Markup {
    html! { @for line in text.lines() { (shown(line)) "\n" } }
}

/// `snake_case` as words.
pub fn words(text: &str) -> Markup {
    shown(&text.replace('_', " "))
}

/// A word that a shell takes as it stands, and no program as an option: the only kind that gets into a command.
pub fn is_shell_word(text: &str) -> bool {
    text.len() <= HOST_CHARS_MAX
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:@".contains(&byte))
}

/// A query string: each value percent-encoded.
pub fn query(pairs: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (key, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        out.push(if out.is_empty() { '?' } else { '&' });
        out.push_str(key);
        out.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"._-~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

enum Piece<'a> {
    Shows(&'a str),
    Hidden(char),
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut from = 0;
    let mut marks = 0;
    for (at, character) in text.char_indices() {
        let shows = match kind(character) {
            Kind::Letter => {
                marks = 0;
                true
            }
            Kind::Mark => {
                marks += 1;
                marks <= MARKS_IN_A_ROW_MAX
            }
            Kind::Unseen => false,
        };
        if !shows {
            pieces.extend(text.get(from..at).filter(|text| !text.is_empty()).map(Piece::Shows));
            pieces.push(Piece::Hidden(character));
            from = at + character.len_utf8();
        }
    }
    pieces.extend(text.get(from..).filter(|text| !text.is_empty()).map(Piece::Shows));
    pieces
}

enum Kind {
    Letter,
    Mark,
    Unseen,
}

/// `char::escape_debug` escapes marks and what does not show; `str::escape_debug` lets marks stand behind a base.
fn kind(character: char) -> Kind {
    if matches!(character, ' '..='~') || character.escape_debug().len() == 1 {
        return Kind::Letter;
    }
    let behind_a_base: String = ['a', character].iter().collect();
    if behind_a_base.escape_debug().count() == 2 { Kind::Mark } else { Kind::Unseen }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_would_obey_is_visible() {
        assert_eq!(shown("<b>&\"'\\ ü e\u{301} 漢").into_string(), "<bdi>&lt;b&gt;&amp;&quot;'\\ ü e\u{301} 漢</bdi>");
        assert_eq!(plain("a\n\u{1b}[2J\u{202e}b\u{200b}\u{feff}"), "a\\n\\u{1b}[2J\\u{202e}b\\u{200b}\\u{feff}");
        let pile: String = std::iter::once('o').chain(std::iter::repeat_n('\u{301}', 5)).collect();
        assert_eq!(plain(&pile), "o\u{301}\u{301}\u{301}\\u{301}\\u{301}");
    }

    #[test]
    fn long_texts_unfold() {
        assert_eq!(clipped("four", 4).into_string(), "<bdi>four</bdi>");
        let five = clipped("f<our", 4).into_string();
        assert!(five.starts_with("<details class=\"clip\"><summary><bdi>f&lt;ou</bdi>…</summary>"), "{five}");
        assert!(five.contains("<bdi>f&lt;our</bdi>"));
    }

    #[test]
    fn only_plain_words_get_into_commands() {
        for good in ["web-1", "db.example.com", "i-0abc", "10.0.0.7", "fe80::1"] {
            assert!(is_shell_word(good), "{good}");
        }
        for bad in ["", "-rf", "a b", "$(id)", "a;b", "a'b", "a\u{202e}b", "web-1\n", &"a".repeat(254)] {
            assert!(!is_shell_word(bad), "{bad:?}");
        }
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(query(&[("q", "a&b=c/ü"), ("status", ""), ("after", "7")]), "?q=a%26b%3Dc%2F%C3%BC&after=7");
    }
}
