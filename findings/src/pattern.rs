//! What a value is held against: texts with wildcards, numbers, networks, regular expressions.
//!
//! Texts are compared without regard to case, as the Sigma specification asks, unless the rule says `cased`.

use std::cmp::Ordering;
use std::net::IpAddr;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use crate::limits::{PATTERN_BYTES_MAX, REGEX_BYTES_MAX};

/// One value of a rule.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// The field is not there.
    Nothing,
    Truth(bool),
    Number(Number),
    Text(Glob),
    Regex(Regex),
    Network(Network),
    Compare(Order, Number),
}

/// `gt`, `gte`, `lt`, `lte`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// Where a text must stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anchor {
    #[default]
    Whole,
    Start,
    End,
    Anywhere,
}

impl Pattern {
    /// True when this value fits. [`Pattern::Nothing`] is never a value.
    pub fn fits(&self, value: &Value) -> bool {
        match self {
            Self::Nothing => false,
            Self::Truth(wanted) => value.as_bool() == Some(*wanted),
            Self::Number(wanted) => Number::of(value).is_some_and(|number| number.cmp(wanted) == Some(Ordering::Equal)),
            Self::Text(glob) => with_text(value, |text| glob.fits(text)),
            Self::Regex(regex) => with_text(value, |text| regex.is_match(text)),
            Self::Network(network) => value.as_str().is_some_and(|text| network.holds(text)),
            Self::Compare(order, bound) => {
                Number::of(value).and_then(|number| number.cmp(bound)).is_some_and(|found| match order {
                    Order::Above => found.is_gt(),
                    Order::AtLeast => found.is_ge(),
                    Order::Below => found.is_lt(),
                    Order::AtMost => found.is_le(),
                })
            }
        }
    }
}

/// Numbers and truth values have a text as well: rules of other authors write them in quotes.
pub fn with_text(value: &Value, test: impl FnOnce(&str) -> bool) -> bool {
    match value {
        Value::String(text) => test(text),
        Value::Number(number) => test(&number.to_string()),
        Value::Bool(truth) => test(if *truth { "true" } else { "false" }),
        _ => false,
    }
}

/// A regular expression. Matching takes time in proportion to the text; compiling is bounded.
pub fn regex(text: &str, flags: &str) -> Result<Regex, String> {
    if text.len() > PATTERN_BYTES_MAX {
        return Err(format!("{} bytes, of which {PATTERN_BYTES_MAX} are allowed", text.len()));
    }
    RegexBuilder::new(text)
        .case_insensitive(flags.contains('i'))
        .multi_line(flags.contains('m'))
        .dot_matches_new_line(flags.contains('s'))
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|error| format!("not a regular expression: {error}"))
}

/// A whole number exactly, another one nearly. Nanoseconds are decimal strings in rows, so texts count as well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Whole(i128),
    Real(f64),
}

impl Number {
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => number
                .as_i64()
                .map(|whole| Self::Whole(whole.into()))
                .or_else(|| number.as_u64().map(|whole| Self::Whole(whole.into())))
                .or_else(|| number.as_f64().map(Self::Real)),
            Value::String(text) => Self::parse(text),
            _ => None,
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        if !text.starts_with(|first: char| first.is_ascii_digit() || first == '-') {
            return None;
        }
        text.parse().map(Self::Whole).ok().or_else(|| text.parse().map(Self::Real).ok())
    }

    fn cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => Some(a.cmp(b)),
            _ => self.real().partial_cmp(&other.real()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a comparison with a number that is not whole is not exact")]
    fn real(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
        }
    }
}

/// `10.0.0.0/8`, `fe80::/10`, or an address alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: u128,
    bits: u32,
    is_v4: bool,
}

impl Network {
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let (address, is_v4) = number(address)?;
        let width = if is_v4 { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        (bits <= width).then_some(Self { address, bits, is_v4 })
    }

    fn holds(&self, text: &str) -> bool {
        let Some((address, is_v4)) = number(text) else { return false };
        let shift = if is_v4 { 32 } else { 128 } - self.bits.min(if is_v4 { 32 } else { 128 });
        is_v4 == self.is_v4 && (address ^ self.address).checked_shr(shift).unwrap_or(0) == 0
    }
}

/// An IPv4 address in the clothes of IPv6 is one of IPv4.
fn number(text: &str) -> Option<(u128, bool)> {
    Some(match text.parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V4(address) => (u128::from(address.to_bits()), true),
        IpAddr::V6(address) => (address.to_bits(), false),
    })
}

/// A text in which `*` is any characters and `?` is one; `\` takes the meaning from either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    pieces: Vec<Piece>,
    cased: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Many,
    One,
    Text(String),
}

impl Glob {
    pub fn new(text: &str, anchor: Anchor, cased: bool) -> Self {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        if matches!(anchor, Anchor::End | Anchor::Anywhere) {
            pieces.push(Piece::Many);
        }
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            let special = match character {
                '*' => Some(Piece::Many),
                '?' => Some(Piece::One),
                _ => None,
            };
            match special {
                Some(piece) => {
                    push(&mut pieces, &mut literal);
                    if piece != Piece::Many || pieces.last() != Some(&Piece::Many) {
                        pieces.push(piece);
                    }
                }
                None if character == '\\' => {
                    // A backslash before anything else is itself.
                    literal.push(characters.next_if(|next| matches!(next, '*' | '?' | '\\')).unwrap_or('\\'));
                }
                None if cased => literal.push(character),
                None => literal.extend(character.to_lowercase()),
            }
        }
        push(&mut pieces, &mut literal);
        if matches!(anchor, Anchor::Start | Anchor::Anywhere) && pieces.last() != Some(&Piece::Many) {
            pieces.push(Piece::Many);
        }
        Self { pieces, cased }
    }

    pub fn fits(&self, text: &str) -> bool {
        if self.cased {
            return fits(&self.pieces, text);
        }
        fits(&self.pieces, &text.to_lowercase())
    }
}

fn push(pieces: &mut Vec<Piece>, literal: &mut String) {
    if !literal.is_empty() {
        pieces.push(Piece::Text(std::mem::take(literal)));
    }
}

/// The greedy way: after each `*` what follows is looked for at its first place; only the last `*` is ever tried again.
fn fits(pieces: &[Piece], text: &str) -> bool {
    let (mut at, mut rest) = (0, text);
    let mut again: Option<(usize, &str)> = None;
    loop {
        match pieces.get(at) {
            Some(Piece::Many) => {
                let Some(next) = pieces.get(at + 1) else { return true };
                if let (Piece::Text(wanted), None) = (next, pieces.get(at + 2)) {
                    return rest.ends_with(wanted.as_str());
                }
                if let Piece::Text(wanted) = next {
                    let Some(found) = rest.find(wanted.as_str()) else { return false };
                    rest = rest.get(found..).unwrap_or_default();
                }
                again = Some((at, rest));
                at += 1;
            }
            Some(Piece::Text(wanted)) => match rest.strip_prefix(wanted.as_str()) {
                Some(after) => (at, rest) = (at + 1, after),
                None if retry(&mut again, &mut at, &mut rest) => {}
                None => return false,
            },
            Some(Piece::One) => match tail(rest) {
                Some(after) => (at, rest) = (at + 1, after),
                None => return false,
            },
            None if rest.is_empty() => return true,
            None if retry(&mut again, &mut at, &mut rest) => {}
            None => return false,
        }
    }
}

/// Lets the last `*` take one character more.
fn retry<'a>(again: &mut Option<(usize, &'a str)>, at: &mut usize, rest: &mut &'a str) -> bool {
    let Some((many, from)) = *again else { return false };
    let Some(shorter) = tail(from) else { return false };
    (*at, *rest, *again) = (many, shorter, None);
    true
}

fn tail(text: &str) -> Option<&str> {
    let mut characters = text.chars();
    characters.next().map(|_| characters.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wildcards_and_what_takes_their_meaning() {
        let glob = |text: &str| Glob::new(text, Anchor::Whole, false);
        for (pattern, fitting, other) in [
            ("/TMP/*", "/tmp/x", "/var/tmp/x"),
            ("*.sh", "a.SH", "a.sh.bak"),
            ("a?c", "abc", "ac"),
            ("a*b*c", "a-b-b-c", "a-c-b"),
            ("*ab?d", "xabxabcd", "xabxabc"),
            ("*ab*cd*", "zabzcdz", "zcdzab"),
            (r"a\*", "a*", "ab"),
            (r"a\\*", r"a\b", "ab"),
            (r"c:\x", r"C:\X", "c:x"),
            ("", "", "x"),
            ("ü*", "Üx", "ux"),
            ("*ab?", "abab1", "abab"),
        ] {
            assert!(glob(pattern).fits(fitting), "{pattern} {fitting}");
            assert!(!glob(pattern).fits(other), "{pattern} {other}");
        }
        assert!(!Glob::new("A", Anchor::Whole, true).fits("a"));
        for (anchor, fitting, other) in
            [(Anchor::Start, "abx", "xab"), (Anchor::End, "xab", "abx"), (Anchor::Anywhere, "xabx", "xax")]
        {
            let glob = Glob::new("ab", anchor, false);
            assert!(glob.fits(fitting) && !glob.fits(other), "{anchor:?}");
        }
    }

    #[test]
    fn a_text_that_an_attacker_chose_takes_no_time() {
        let text = "a".repeat(1 << 20);
        assert!(!Glob::new("*a*a*a*a*a*a*ab?", Anchor::Whole, false).fits(&text));
        assert!(!regex("(a+)+b", "").unwrap().is_match(&text));
        assert!(regex("(x{1000}){1000}", "").is_err());
    }

    #[test]
    fn numbers_are_exact_and_may_be_texts() {
        let above = Pattern::Compare(Order::Above, Number::Whole(9_007_199_254_740_993));
        assert!(above.fits(&json!("9007199254740994")));
        assert!(!above.fits(&json!(9_007_199_254_740_993_u64)));
        assert!(!above.fits(&json!("nothing")));
        assert!(Pattern::Number(Number::Whole(4)).fits(&json!(4.0)));
        assert!(!Pattern::Number(Number::Whole(1)).fits(&json!(true)));
        assert!(Pattern::Compare(Order::AtMost, Number::Real(0.5)).fits(&json!(0.5)));
    }

    #[test]
    fn networks_know_both_families() {
        let holds = |network: &str, address: &str| Network::parse(network).unwrap().holds(address);
        assert!(holds("10.0.0.0/8", "10.1.2.3") && !holds("10.0.0.0/8", "11.0.0.0"));
        assert!(holds("10.0.0.0/8", "::ffff:10.1.2.3") && !holds("10.0.0.0/8", "fe80::1"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && holds("::/0", "fe80::1") && !holds("::/0", "1.2.3.4"));
        assert!(holds("::1", "::1") && !holds("fe80::/10", "::1") && holds("127.0.0.1/32", "127.0.0.1"));
        for bad in ["10.0.0.0/33", "x", "10.0.0.0/", "fe80::/129"] {
            assert!(Network::parse(bad).is_none(), "{bad}");
        }
    }
}
