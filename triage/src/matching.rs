//! How rules match texts: globs over one field, phrases within one sentence. Never a part of a word by accident: "dev"
//! is not in "device", nor "cron" in "micron".

use std::collections::BTreeMap;

use crate::Alert;

/// Which alerts a rule is about: those for which all that it names holds.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Any of these normalisers.
    pub sources: &'a [String],
    /// The event fits any of these globs.
    pub events: &'a [String],
    /// A label fits any of these globs.
    pub labels: &'a [String],
    /// Each field fits any of its globs.
    pub fields: &'a BTreeMap<String, Vec<String>>,
}

impl<'a> Scope<'a> {
    /// What of the alert it looked at, by name; `None` where it does not hold.
    pub fn holds(self, alert: &Alert) -> Option<Vec<(&'a str, String)>> {
        if !self.sources.is_empty() && !self.sources.contains(&alert.source) {
            return None;
        }
        let mut found = Vec::new();
        if !self.events.is_empty() {
            self.events.iter().find(|pattern| glob(pattern, &alert.event))?;
            found.push(("event", alert.event.clone()));
        }
        if !self.labels.is_empty() {
            let fits = |label: &&String| self.labels.iter().any(|pattern| glob(pattern, label));
            found.push(("label", alert.labels.iter().find(fits)?.clone()));
        }
        for (name, patterns) in self.fields {
            let value = alert.fields.get(name)?;
            patterns.iter().find(|pattern| glob(pattern, value))?;
            found.push((name, value.clone()));
        }
        Some(found)
    }
}

/// True when `text` fits `pattern` in any case of ASCII letters: `*` is anything, also nothing. `\*` alone is a `*`
/// itself, which Kubernetes and IAM write for "everything".
pub fn glob(pattern: &str, text: &str) -> bool {
    if pattern == r"\*" {
        return text == "*";
    }
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the last `*` stands, and what of the text it has taken so far.
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if byte.eq_ignore_ascii_case(&text[t]) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, t) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// The sentences of a text, in lower case, with `-` and `_` as spaces.
pub fn sentences(text: &str) -> Vec<String> {
    let plain: String = text.chars().map(|c| if c == '_' || c == '-' { ' ' } else { c }).collect();
    let mut sentences = vec![String::new()];
    let mut characters = plain.chars().peekable();
    while let Some(character) = characters.next() {
        let ends = matches!(character, ';' | '\n' | '!' | '?')
            || (character == '.' && characters.peek().is_none_or(|next| next.is_whitespace()));
        if ends {
            sentences.push(String::new());
        } else if let Some(sentence) = sentences.last_mut() {
            sentence.extend(character.to_lowercase());
        }
    }
    sentences.retain(|sentence| !sentence.trim().is_empty());
    sentences
}

/// True when the words of `phrase` stand in `sentence`, whole; a final `*` leaves the last one open.
pub fn says(sentence: &str, phrase: &str) -> bool {
    let (words, is_open) = match phrase.strip_suffix('*') {
        Some(words) => (words, true),
        None => (phrase, false),
    };
    let is_border = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    sentence.match_indices(words).any(|(at, _)| {
        let (before, after) = (&sentence[..at], &sentence[at + words.len()..]);
        is_border(before.chars().next_back()) && (is_open || is_border(after.chars().next()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_are_anchored() {
        for (pattern, text) in [
            ("Backdoor:*/C&CActivity*", "Backdoor:EC2/C&CActivity.B!DNS"),
            ("*reverse shell*", "A Reverse Shell here"),
            ("a*a", "aa"),
            ("*", ""),
            ("root", "ROOT"),
            ("*.b.*", "a.b.c"),
        ] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("test-*", "contest-1"), ("a*a", "a"), ("root", "rooted"), ("dev-*", "device"), ("", "x"), ("*ab*b", "ab")]
        {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn phrases_are_whole_words_of_one_sentence() {
        let text = "Multiple failed logins followed by successful root login. README_DECRYPT.txt was found; ok";
        let sentences = sentences(text);
        assert_eq!(sentences.len(), 3);
        assert!(says(&sentences[0], "failed login*"));
        assert!(!says(&sentences[0], "failed login"));
        assert!(says(&sentences[1], "readme decrypt*"));
        assert!(!says("an unsuccessful login", "successful"));
        assert!(!says("microns", "cron"));
    }
}
