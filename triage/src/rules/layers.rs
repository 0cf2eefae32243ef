//! A site's rules over the shipped ones, entry by entry, before any of it has a type.
//!
//! Maps merge; a key set to null is taken out. Lists of entries that have a name (one of [`NAMES`]) merge by it: what an
//! entry of the site says replaces the same keys of the shipped one, `remove: true` takes it out, and an entry of a new
//! name is added at the end. Any other list is replaced as a whole. Every value keeps the file and line that it came
//! from, so that a mistake is told where it was made.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use wire::profile::{Lines, Mistake, Text, did_you_mean, document, line_of};

/// The keys that name an entry of a list: the first that all entries have, each with another value.
const NAMES: &[&str] = &[
    "rule", "signal", "clock", "calendar", "holiday", "part", "role", "timer", "id", "name", "type", "action",
    "profile", "stage", "severity", "audience", "family",
];

/// A value of a file, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    place: Place,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Scalar(Value),
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
}

/// Where a value stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: usize,
}

/// The place of each path (`rules[0].when`).
pub(super) type Places = BTreeMap<String, Place>;

/// A file as it is written.
///
/// # Errors
/// It is no YAML, or too long.
pub(super) fn parse(text: &Text) -> Result<Node, Mistake> {
    let (value, lines) = document::<Value>(text)?;
    Ok(Node::of(value, "", &lines, &text.file))
}

impl Node {
    fn of(value: Value, path: &str, lines: &Lines, file: &str) -> Self {
        let place = Place { file: file.to_owned(), line: line_of(lines, path) };
        let kind = match value {
            Value::Array(list) => Kind::List(
                list.into_iter()
                    .enumerate()
                    .map(|(n, one)| Self::of(one, &format!("{path}[{n}]"), lines, file))
                    .collect(),
            ),
            Value::Object(map) => Kind::Map(
                map.into_iter()
                    .map(|(key, one)| (key.clone(), Self::of(one, &below(path, &key), lines, file)))
                    .collect(),
            ),
            scalar => Kind::Scalar(scalar),
        };
        Self { place, kind }
    }

    /// As one value, with the place of everything in it.
    pub(super) fn flat(self, path: &str, places: &mut Places) -> Value {
        places.insert(path.to_owned(), self.place);
        match self.kind {
            Kind::Scalar(value) => value,
            Kind::List(list) => {
                list.into_iter().enumerate().map(|(n, one)| one.flat(&format!("{path}[{n}]"), places)).collect()
            }
            Kind::Map(map) => Value::Object(
                map.into_iter()
                    .map(|(key, one)| (key.clone(), one.flat(&below(path, &key), places)))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// This, with what `site` says over it.
    pub(super) fn under(self, site: Self, mistakes: &mut Vec<Mistake>) -> Self {
        let Self { place, kind } = site;
        let kind = match (self.kind, kind) {
            (Kind::Map(mut base), Kind::Map(site)) => {
                for (key, one) in site {
                    let merged = match base.remove(&key) {
                        _ if matches!(one.kind, Kind::Scalar(Value::Null)) => continue,
                        Some(shipped) => shipped.under(one, mistakes),
                        None => one,
                    };
                    base.insert(key, merged);
                }
                Kind::Map(base)
            }
            (Kind::List(base), Kind::List(site)) => match common_name(&base, &site) {
                Some(name) => Kind::List(merged(base, site, name, mistakes)),
                None => Kind::List(site),
            },
            (_, kind) => kind,
        };
        Self { place, kind }
    }

    /// The version of a file that a site changed without saying its own.
    pub(super) fn mark_changed(&mut self, shipped: &Value) {
        if let Kind::Map(map) = &mut self.kind
            && let Some(version) = map.get_mut("version")
            && let Kind::Scalar(value) = &mut version.kind
            && value == shipped
            && let Some(text) = value.as_str()
        {
            *value = Value::String(format!("{text}+site"));
        }
    }

    /// What stands under `key`, where it is no list and no map.
    pub(super) fn scalar(&self, key: &str) -> Option<&Value> {
        match &self.kind {
            Kind::Map(map) => map.get(key).and_then(|node| match &node.kind {
                Kind::Scalar(value) => Some(value),
                _ => None,
            }),
            _ => None,
        }
    }

    fn name(&self, key: &str) -> Option<String> {
        match self.scalar(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The key by which both lists' entries are told apart.
fn common_name(base: &[Node], site: &[Node]) -> Option<&'static str> {
    let tells_apart = |list: &[Node], key: &str| {
        let names: Vec<Option<String>> = list.iter().map(|one| one.name(key)).collect();
        names.iter().enumerate().all(|(n, name)| name.is_some() && !names[..n].contains(name))
    };
    // In a site's list one name may stand twice by mistake; that is told, not taken for another kind of list.
    let all_have = |key: &str| site.iter().all(|one| one.name(key).is_some());
    NAMES.iter().find(|key| !site.is_empty() && tells_apart(base, key) && all_have(key)).copied()
}

fn merged(mut base: Vec<Node>, site: Vec<Node>, key: &str, mistakes: &mut Vec<Mistake>) -> Vec<Node> {
    let mut seen: Vec<String> = Vec::new();
    for mut one in site {
        let name = one.name(key).unwrap_or_default();
        let place = one.place.clone();
        let mut mistake = |message: String, hint: Option<String>| {
            mistakes.push(Mistake { file: place.file.clone(), line: place.line, message, hint });
        };
        if seen.contains(&name) {
            mistake(format!("{key} `{name}` stands there twice"), None);
            continue;
        }
        let at = base.iter().position(|shipped| shipped.name(key).as_ref() == Some(&name));
        let removes = match &mut one.kind {
            Kind::Map(map) => {
                map.remove("remove").is_some_and(|node| matches!(node.kind, Kind::Scalar(Value::Bool(true))))
            }
            _ => false,
        };
        match (at, removes) {
            (Some(at), true) => drop(base.remove(at)),
            (Some(at), false) => {
                let shipped = base.remove(at);
                base.insert(at, shipped.under(one, mistakes));
            }
            (None, false) => base.push(one),
            (None, true) => {
                let names: Vec<String> = base.iter().filter_map(|one| one.name(key)).collect();
                let hint = did_you_mean(&name, names.iter().map(String::as_str));
                mistake(format!("there is no {key} `{name}` that could be removed"), Some(hint));
            }
        }
        seen.push(name);
    }
    base
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merge(shipped: &str, site: &str) -> (Value, Places, Vec<Mistake>) {
        let node = |file: &str, yaml: &str| parse(&Text { file: file.to_owned(), yaml: yaml.to_owned() }).unwrap();
        let (mut mistakes, mut places) = (Vec::new(), Places::new());
        let value = node("shipped", shipped).under(node("site", site), &mut mistakes).flat("", &mut places);
        (value, places, mistakes)
    }

    const SHIPPED: &str = "version: v\nmap: { a: 1, b: 2 }\nlist: [x, y]\nrules:\n  - rule: one\n    when: { host: a, user: b }\n    types: [p, q]\n  - { rule: two, owner: soc }\n";

    #[test]
    fn entries_merge_by_name_and_lists_of_words_are_replaced() {
        let site = "map: { b: ~, c: 3 }\nlist: [z]\nrules:\n  - { rule: three, owner: us }\n  - rule: one\n    when: { user: c }\n    types: []\n  - { rule: two, remove: true }\n";
        let (value, places, mistakes) = merge(SHIPPED, site);
        assert_eq!(mistakes, []);
        assert_eq!(
            value,
            json!({
                "version": "v", "map": { "a": 1, "c": 3 }, "list": ["z"],
                "rules": [
                    { "rule": "one", "when": { "host": "a", "user": "c" }, "types": [] },
                    { "rule": "three", "owner": "us" },
                ],
            })
        );
        for (path, file, line) in [
            ("rules[0].when.host", "shipped", 6),
            ("rules[0].when.user", "site", 6),
            ("rules[1]", "site", 4),
            ("map.a", "shipped", 2),
        ] {
            let place = &places[path];
            assert_eq!((place.file.as_str(), place.line), (file, line), "{path}");
        }
    }

    #[test]
    fn mistakes_of_a_site_name_its_file_and_line() {
        let (_, _, mistakes) = merge(SHIPPED, "rules:\n  - { rule: tow, remove: true }\n");
        assert_eq!(
            mistakes[0].to_string(),
            "site:2: there is no rule `tow` that could be removed\n  hint: did you mean `two`?"
        );
        let (_, _, mistakes) = merge(SHIPPED, "rules:\n  - { rule: one }\n  - { rule: one }\n");
        assert_eq!(mistakes[0].to_string(), "site:3: rule `one` stands there twice");
    }

    #[test]
    fn nothing_said_changes_nothing() {
        let alone = merge(SHIPPED, "map: {}\n").0;
        assert_eq!(alone, merge(SHIPPED, "rules: [{ rule: two }]\n").0);
        assert_eq!(merge(SHIPPED, "rules: [plain]\n").0["rules"], json!(["plain"]), "told when it is given its type");
    }
}
