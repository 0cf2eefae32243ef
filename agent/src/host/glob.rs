//! Globs over paths of the host, split into components so that a walk knows at each folder what can still match below.
//!
//! `?`, `*` and `[…]` match within one name, `**` as a whole name matches any number of folders (also none), `{a,b}`
//! either of its parts, `\` takes the next character as it is. Names are bytes. Braces are expanded here, because their
//! parts may hold slashes; single names are matched by globset.

use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest text of a glob.
const TEXT_BYTES_MAX: usize = 4096;
/// The most alternatives that the braces of one glob may make.
const ALTERNATIVES_MAX: usize = 256;

/// A glob that was checked: absolute, or below every home (`~/`).
#[derive(Clone, Debug)]
pub struct Glob {
    text: String,
    alternatives: Vec<Alternative>,
}

/// One step of a path that is asked for.
#[derive(Clone, Debug)]
pub enum Component {
    /// This name.
    Name(Vec<u8>),
    /// Names that match.
    Names(Arc<Names>),
    /// `**`.
    Deep,
    /// `..`, which only the target of a symbolic link may hold.
    Parent,
}

/// A pattern for one name.
pub struct Names {
    text: String,
    matcher: globset::GlobMatcher,
}

impl Names {
    /// True when `name` matches.
    pub fn holds(&self, name: &[u8]) -> bool {
        self.text == "*" || self.matcher.is_match(Path::new(std::ffi::OsStr::from_bytes(name)))
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Component {
    /// As it would be written, for comparing.
    pub fn text(&self) -> &[u8] {
        match self {
            Self::Name(name) => name,
            Self::Names(names) => names.text.as_bytes(),
            Self::Deep => b"**",
            Self::Parent => b"..",
        }
    }
}

/// Why a text is not a glob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAGlob(String);

impl Glob {
    /// Reads a glob.
    ///
    /// # Errors
    /// When it is neither absolute nor below `~/`, holds `..`, or does not parse.
    pub fn parse(text: &str) -> Result<Self, NotAGlob> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(NotAGlob(format!("a glob has at most {TEXT_BYTES_MAX} bytes")));
        }
        let alternatives = expand(text)?.iter().map(|text| Alternative::parse(text)).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), alternatives })
    }

    /// `path` as a text of a glob that asks for this path only.
    pub fn escape(path: &str) -> String {
        let mut text = String::with_capacity(path.len());
        for character in path.chars() {
            if "*?[]{}\\".contains(character) {
                text.push('\\');
            }
            text.push(character);
        }
        text
    }

    /// The globs of a table of ours: what does not parse is left out, and a test counts.
    pub fn table(texts: &[&str]) -> Vec<Self> {
        texts.iter().filter_map(|text| Self::parse(text).ok()).collect()
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The paths that it asks for, with `~` put for every one of `homes`.
    pub fn below(&self, homes: &[Vec<u8>]) -> Vec<Vec<Component>> {
        let mut asked = Vec::new();
        for alternative in &self.alternatives {
            if !alternative.is_of_homes {
                asked.push(alternative.components.clone());
                continue;
            }
            // Some service accounts have `/` as their home: `~/.ssh` there is one folder, `~/**` the whole machine.
            let is_open = !matches!(alternative.components.first(), Some(Component::Name(_)));
            for home in homes {
                let home: Vec<Component> = names(home).collect();
                if !(home.is_empty() && is_open) {
                    asked.push(home.iter().chain(&alternative.components).cloned().collect());
                }
            }
        }
        asked
    }

    /// True when it names paths below every home.
    pub fn is_of_homes(&self) -> bool {
        self.alternatives.iter().any(|alternative| alternative.is_of_homes)
    }
}

/// A glob without braces.
#[derive(Clone, Debug)]
struct Alternative {
    is_of_homes: bool,
    components: Vec<Component>,
}

impl Alternative {
    fn parse(text: &str) -> Result<Self, NotAGlob> {
        let below_home = text.strip_prefix("~/");
        if below_home.is_none() && !text.starts_with('/') {
            let why = format!("{text:?} is not absolute: begin it with / or, for every home, with ~/");
            return Err(NotAGlob(why));
        }
        let components = components(below_home.unwrap_or(text))?;
        Ok(Self { is_of_homes: below_home.is_some(), components })
    }
}

/// The components of a path that is not a pattern.
pub fn names(path: &[u8]) -> impl Iterator<Item = Component> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(|name| if name == b".." { Component::Parent } else { Component::Name(name.to_vec()) })
}

fn components(text: &str) -> Result<Vec<Component>, NotAGlob> {
    let mut components = Vec::new();
    for name in text.split('/').filter(|name| !name.is_empty() && *name != ".") {
        let component = match name {
            ".." => return Err(NotAGlob("`..` in a glob: write the path that is meant".to_owned())),
            "**" if matches!(components.last(), Some(Component::Deep)) => continue,
            "**" => Component::Deep,
            _ if name.contains(['*', '?', '[']) => Component::Names(Arc::new(pattern(name)?)),
            _ => Component::Name(plain(name).into_bytes()),
        };
        components.push(component);
    }
    Ok(components)
}

fn pattern(name: &str) -> Result<Names, NotAGlob> {
    let matcher = globset::GlobBuilder::new(name)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|error| NotAGlob(format!("in {name:?}: {}", error.kind())))?
        .compile_matcher();
    Ok(Names { text: name.to_owned(), matcher })
}

/// A name without its escapes.
fn plain(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut characters = name.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => characters.next().unwrap_or('\\'),
            other => other,
        });
    }
    text
}

/// The alternatives that braces stand for; nested ones too.
fn expand(text: &str) -> Result<Vec<String>, NotAGlob> {
    let mut waiting = vec![text.to_owned()];
    let mut done = Vec::new();
    while let Some(text) = waiting.pop() {
        match first_braces(&text)? {
            None => done.push(text),
            Some((open, parts, close)) => {
                // The last goes on the stack first, so that the alternatives come out in their order.
                for part in parts.iter().rev() {
                    waiting.push(format!("{}{part}{}", &text[..open], &text[close + 1..]));
                }
            }
        }
        if waiting.len() + done.len() > ALTERNATIVES_MAX {
            return Err(NotAGlob(format!("braces make more than {ALTERNATIVES_MAX} alternatives")));
        }
    }
    Ok(done)
}

/// The first braces of a text: where they open, their parts, where they close.
fn first_braces(text: &str) -> Result<Option<(usize, Vec<String>, usize)>, NotAGlob> {
    let mut depth = 0_usize;
    let mut open = 0;
    let mut start = 0;
    let mut parts = Vec::new();
    let mut is_escaped = false;
    let mut class_at = None;
    for (at, character) in text.char_indices() {
        if std::mem::take(&mut is_escaped) {
            continue;
        }
        if class_at.is_some() && !matches!(character, '\\' | ']') {
            continue;
        }
        match (character, class_at) {
            ('\\', _) => is_escaped = true,
            // `]` right after `[`, `[!` or `[^` is a member of the class.
            (']', Some(begin)) if !matches!(&text[begin + 1..at], "" | "!" | "^") => class_at = None,
            ('[', None) => class_at = Some(at),
            ('{', None) => {
                if depth == 0 {
                    (open, start) = (at, at + 1);
                }
                depth += 1;
            }
            (',', None) if depth == 1 => {
                parts.push(text[start..at].to_owned());
                start = at + 1;
            }
            ('}', None) => match depth {
                0 => return Err(NotAGlob(format!("in {text:?}: `}}` without `{{`"))),
                1 => {
                    parts.push(text[start..at].to_owned());
                    return Ok(Some((open, parts, at)));
                }
                _ => depth -= 1,
            },
            _ => {}
        }
    }
    if is_escaped {
        return Err(NotAGlob(format!("in {text:?}: nothing follows the last backslash")));
    }
    if class_at.is_some() {
        return Err(NotAGlob(format!("in {text:?}: `[` without `]`")));
    }
    if depth > 0 {
        return Err(NotAGlob(format!("in {text:?}: `{{` without `}}`")));
    }
    Ok(None)
}

impl Serialize for Glob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl schemars::JsonSchema for Glob {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Glob".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A path of the host with ?, *, **, [..] and {a,b}: absolute, or below every home with ~/.",
            "type": "string",
            "pattern": "^(/|~/|[{])",
            "maxLength": TEXT_BYTES_MAX
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let glob = Glob::parse(text).unwrap();
        let asked = glob.below(&[b"/root".to_vec(), b"/".to_vec()]);
        asked
            .iter()
            .map(|path| {
                path.iter().fold(String::new(), |text, component| {
                    format!("{text}/{}", String::from_utf8_lossy(component.text()))
                })
            })
            .collect()
    }

    #[test]
    fn braces_homes_and_slashes() {
        assert_eq!(shown("/etc//./cron.d/**/**"), ["/etc/cron.d/**"]);
        assert_eq!(shown("/a/{b,c/d,{e,f}g}/x"), ["/a/b/x", "/a/c/d/x", "/a/eg/x", "/a/fg/x"]);
        assert_eq!(shown("~/.ssh/{id_*,*.pem}"), ["/root/.ssh/id_*", "/.ssh/id_*", "/root/.ssh/*.pem", "/.ssh/*.pem"]);
        assert_eq!(shown("{/lib,~/lib}/x"), ["/lib/x", "/root/lib/x", "/lib/x"]);
        assert_eq!(shown("~/**"), ["/root/**"], "the home of `/` is not the whole machine");
        assert_eq!(shown("/a\\{b/[{,}]x"), ["/a{b/[{,}]x"]);
    }

    #[test]
    fn an_escaped_path_asks_for_itself() {
        let path = "/a*b/{c,d}/[e]/f?/g\\h";
        let asked = Glob::parse(&Glob::escape(path)).unwrap().below(&[]);
        assert_eq!(asked.len(), 1);
        let names: Vec<&[u8]> = asked[0].iter().map(Component::text).collect();
        let is_met = |at: usize, name: &[u8]| match &asked[0][at] {
            Component::Name(wanted) => wanted == name,
            Component::Names(wanted) => wanted.holds(name),
            _ => false,
        };
        assert!(is_met(0, b"a*b") && is_met(1, b"{c,d}") && is_met(2, b"[e]") && is_met(4, b"g\\h"), "{names:?}");
    }

    #[test]
    fn names_match_as_bytes() {
        let holds = |pattern: &str, name: &[u8]| super::pattern(pattern).unwrap().holds(name);
        assert!(holds("bad*", b"bad\xffutf8") && holds("new*line", b"new\nline") && holds("*", b".hidden"));
        assert!(holds("?at", b"\xffat") && holds("[!a-c]x", b"dx") && !holds("[!a-c]x", b"ax"));
        assert!(!holds("*.pem", b"pem") && !holds("id_?", b"id_"));
    }

    #[test]
    fn what_is_no_glob_says_why() {
        for (text, why) in [
            ("etc/passwd", "is not absolute"),
            ("{/etc,lib}/x", "\"lib/x\" is not absolute"),
            ("/etc/../x", "`..`"),
            ("/etc/[a", "without `]`"),
            ("/etc/{a,b", "without `}`"),
            ("/etc/a}", "without `{`"),
            ("/etc/a\\", "backslash"),
            ("/etc/[z-a]", "in \"[z-a]\""),
            ("/{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}", "more than 256"),
        ] {
            let error = Glob::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(Glob::parse("/{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}").is_ok());
        assert!(Glob::parse(&format!("/{}", "a".repeat(TEXT_BYTES_MAX))).is_err());
    }
}
