//! Paths into foreign records, and the expressions that mapping files are made of.

use std::ops::Range;

use serde::Deserialize;
use serde_json::Value;

use crate::Alert;
use crate::fields::{Field, capped};
use crate::matching::glob;

/// The most names in one path: how many ways a record can spell it (see [`Path::follow`]) doubles with each.
const STEPS_MAX: usize = 12;

/// Where something stands in a record: `rule.level`, `evidence[].id`, `evidence[type=*device].id`, `columns.*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Path {
    text: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    /// Where the name stands in the path's text. Names that follow each other are one slice of it, dots included.
    name: Name,
    through: Through,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    start: usize,
    end: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Through {
    /// To what stands there.
    Value,
    /// To each entry of the list.
    Each,
    /// To each entry that has this there.
    Where { path: Path, glob: String },
}

impl TryFrom<String> for Path {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{text}` is no path: {why}");
        let mut steps = Vec::new();
        for range in split(&text).ok_or_else(|| wrong("a `[` and its `]` are wanted"))? {
            let whole = &text[range.clone()];
            let (name, through) = match whole.split_once('[') {
                None => (whole, Through::Value),
                Some((name, "]")) => (name, Through::Each),
                Some((name, rest)) => {
                    let selector = rest.strip_suffix(']').and_then(|inside| inside.split_once('='));
                    let (path, glob) = selector.ok_or_else(|| wrong("`[]` or `[name=glob]` is wanted"))?;
                    (name, Through::Where { path: Self::try_from(path.to_owned())?, glob: glob.to_owned() })
                }
            };
            if name.trim().is_empty() || name.contains(['{', '}', ']', '\'']) {
                return Err(wrong("a name is wanted between the dots"));
            }
            steps.push(Step { name: Name { start: range.start, end: range.start + name.len() }, through });
        }
        if steps.len() > STEPS_MAX {
            return Err(wrong(&format!("at most {STEPS_MAX} names are wanted")));
        }
        Ok(Self { text, steps })
    }
}

/// The parts between the dots that stand outside of brackets.
fn split(text: &str) -> Option<Vec<Range<usize>>> {
    let (mut parts, mut start, mut is_inside) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'[' if is_inside => return None,
            b'[' => is_inside = true,
            b']' if is_inside => is_inside = false,
            b'.' if !is_inside => {
                parts.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(start..text.len());
    (!is_inside).then_some(parts)
}

impl Path {
    /// What stands there and holds something, at most [`Alert::LIST_MAX`] values.
    pub fn values<'a>(&self, record: Field<'a>) -> Vec<Field<'a>> {
        let mut values = Vec::new();
        self.follow(record, 0, &mut values);
        values
    }

    /// Keys may have dots themselves (`kibana.alert.rule.name`), at any level: the longest that leads somewhere counts.
    fn follow<'a>(&self, from: Field<'a>, step: usize, values: &mut Vec<Field<'a>>) {
        let Some(first) = self.steps.get(step) else {
            if from.holds() && values.len() < Alert::LIST_MAX {
                values.push(from);
            }
            return;
        };
        let before = values.len();
        for (at, last) in self.steps.iter().enumerate().take(self.plain_until(step) + 1).skip(step).rev() {
            let name = &self.text[first.name.start..last.name.end];
            if name == "*" {
                let Some(Value::Object(map)) = from.value() else { continue };
                map.values().for_each(|value| self.enter(Field::of(value), at, values));
            } else {
                self.enter(from.key(name), at, values);
            }
            if values.len() > before {
                return;
            }
        }
    }

    /// Through what the step's name leads to.
    fn enter<'a>(&self, found: Field<'a>, step: usize, values: &mut Vec<Field<'a>>) {
        match self.steps.get(step).map(|step| &step.through) {
            _ if values.len() >= Alert::LIST_MAX || found.value().is_none() => {}
            None | Some(Through::Value) => self.follow(found, step + 1, values),
            Some(Through::Each) => found.list().iter().for_each(|one| self.follow(Field::of(one), step + 1, values)),
            Some(Through::Where { path, glob: pattern }) => {
                for entry in found.list().iter().map(Field::of) {
                    if path.values(entry).iter().filter_map(|value| value.text()).any(|text| glob(pattern, &text)) {
                        self.follow(entry, step + 1, values);
                    }
                }
            }
        }
    }

    /// The last step from `step` on that may be a part of the same key.
    fn plain_until(&self, step: usize) -> usize {
        let plain = |step: &&Step| matches!(step.through, Through::Value);
        (step + self.steps.iter().skip(step).take_while(plain).count()).min(self.steps.len().saturating_sub(1))
    }

    /// The texts there; those of a list that stands there as well.
    pub fn texts(&self, record: Field) -> Vec<String> {
        let values = self.values(record);
        values.into_iter().flat_map(Field::entries).filter_map(Field::text).take(Alert::LIST_MAX).collect()
    }

    /// Puts the JSON that a text there holds in its place.
    pub fn parse_in(&self, record: &mut Value) {
        self.parse_below(record, 0);
    }

    fn parse_below(&self, value: &mut Value, step: usize) {
        let Some(first) = self.steps.get(step) else {
            if let Value::String(text) = &*value
                && text.trim_start().starts_with(['{', '['])
                && let Ok(parsed) = serde_json::from_str(text)
            {
                *value = parsed;
            }
            return;
        };
        let Value::Object(map) = value else { return };
        for (at, last) in self.steps.iter().enumerate().take(self.plain_until(step) + 1).skip(step).rev() {
            let name = &self.text[first.name.start..last.name.end];
            let Some(key) = map.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned() else { continue };
            match (map.get_mut(&key), &last.through) {
                (Some(Value::Array(list)), Through::Each) => {
                    for entry in list {
                        self.parse_below(entry, at + 1);
                    }
                }
                (Some(found), _) => self.parse_below(found, at + 1),
                (None, _) => {}
            }
            return;
        }
    }
}

/// What gives texts: a path, a template `{name} on {host}`, or a constant `'word'`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub enum Expression {
    /// Itself.
    Constant(String),
    /// What stands there.
    Path(Path),
    /// All parts, one after the other; of a list the first entry.
    Template(Vec<Part>),
}

/// A part of a template.
#[derive(Clone, Debug)]
pub enum Part {
    /// As it is.
    Text(String),
    /// What stands there.
    Path(Path),
    /// All texts there with spaces between them: `{command|joined}`.
    Joined(Path),
    /// What stands there behind the last `/`: `{resource|last}`.
    Last(Path),
}

impl TryFrom<String> for Expression {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Some(word) = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
            return Ok(Self::Constant(word.to_owned()));
        }
        if !text.contains('{') {
            return Path::try_from(text).map(Self::Path);
        }
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (path, after) = after.split_once('}').ok_or_else(|| format!("`{text}` has a `{{` without its `}}`"))?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(match path.split_once('|') {
                Some((path, "last")) => Part::Last(Path::try_from(path.to_owned())?),
                Some((path, "joined")) => Part::Joined(Path::try_from(path.to_owned())?),
                Some((_, word)) => return Err(format!("`{text}`: `|{word}` is neither `|last` nor `|joined`")),
                None => Part::Path(Path::try_from(path.to_owned())?),
            });
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self::Template(parts))
    }
}

impl Expression {
    /// The texts that it gives, none where nothing is there. A text in `nothing` stands for none.
    pub fn texts(&self, record: Field, nothing: &[String]) -> Vec<String> {
        let of = |path: &Path| -> Vec<String> {
            let mut texts = path.texts(record);
            texts.retain(|text| !nothing.contains(text));
            texts
        };
        match self {
            Self::Constant(word) => vec![word.clone()],
            Self::Path(path) => of(path),
            Self::Template(parts) => {
                let whole: Option<String> = parts
                    .iter()
                    .map(|part| match part {
                        Part::Text(text) => Some(text.clone()),
                        Part::Path(path) => of(path).into_iter().next(),
                        Part::Joined(path) => Some(of(path).join(" ")).filter(|text| !text.is_empty()),
                        Part::Last(path) => {
                            let text = of(path).into_iter().next()?;
                            let last = text.trim_end_matches('/').rsplit('/').next()?;
                            (!last.is_empty()).then(|| last.to_owned())
                        }
                    })
                    .collect();
                whole.map(|text| capped(&text).to_owned()).into_iter().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(path: &str, record: &Value) -> Vec<String> {
        Path::try_from(path.to_owned()).unwrap().texts(Field::of(record))
    }

    #[test]
    fn paths_go_through_objects_lists_and_keys_with_dots() {
        let record = json!({
            "kibana.alert.rule": { "Name": "malware" },
            "kibana": { "alert": { "rule": { "other": "below" } } },
            "evidence": [
                { "@odata.type": "#microsoft.graph.security.deviceEvidence", "name": "pc-1" },
                { "@odata.type": "#microsoft.graph.security.userEvidence", "name": "eve" },
            ],
            "one": { "id": 7 },
            "tags": ["a", null, "", { "no": "text" }, true],
            "columns": { "pid": "1", "path": "/bin/sh" },
        });
        for (path, wanted) in [
            ("kibana.alert.rule.name", &["malware"][..]),
            ("kibana.alert.rule.other", &["below"]),
            ("evidence[].name", &["pc-1", "eve"]),
            ("evidence[@odata.type=*deviceEvidence].name", &["pc-1"]),
            ("evidence[@odata.type=*mailEvidence].name", &[]),
            ("evidence.name", &[]),
            ("one[].id", &["7"]),
            ("ONE.ID", &["7"]),
            ("tags[]", &["a", "true"]),
            ("tags", &["a", "true"]),
            ("columns.*", &["/bin/sh", "1"]),
            ("one", &[]),
            ("nowhere.at.all", &[]),
        ] {
            let mut found = texts(path, &record);
            if path.ends_with('*') {
                found.sort();
            }
            assert_eq!(found, wanted, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_told() {
        for text in ["", "a..b", ".a", "a[", "a]", "a[b]", "a[[]]", "[]", "a{b}", &["a"; STEPS_MAX + 1].join(".")] {
            assert!(Path::try_from(text.to_owned()).is_err(), "{text}");
        }
        assert!(Path::try_from(["a"; STEPS_MAX].join(".")).is_ok());
        assert!(Expression::try_from("{a".to_owned()).is_err());
        assert!(Expression::try_from("{a|first}".to_owned()).is_err());
    }

    #[test]
    fn templates_take_the_first_the_last_or_all() {
        let record = json!({ "command": ["sh", "-c", "id"], "resource": "projects/1/zones/a", "none": [] });
        for (template, wanted) in [
            ("run {command}", Some("run sh")),
            ("run {command|joined}", Some("run sh -c id")),
            ("in {resource|last}", Some("in a")),
            ("run {none|joined}", None),
        ] {
            let texts = Expression::try_from(template.to_owned()).unwrap().texts(Field::of(&record), &[]);
            assert_eq!(texts.first().map(String::as_str), wanted, "{template}");
        }
    }

    #[test]
    fn the_bounds_hold_in_wide_and_deep_records() {
        let wide = json!({ "a": vec![json!({ "b": vec!["x"; 500] }); 500] });
        assert_eq!(texts("a[].b[]", &wide).len(), Alert::LIST_MAX);
        let deep = (0..120).fold(json!("end"), |below, _| json!({ "a": below }));
        assert!(texts("a.a.a.a.a.a.a.a.a.a.a.a", &deep).is_empty());
        // Behind the first 64 there may be the one that is looked for.
        let mut list = vec![json!({ "type": "file" }); 100];
        list.push(json!({ "type": "device", "name": "pc-9" }));
        assert_eq!(texts("a[type=device].name", &json!({ "a": list })), ["pc-9"]);
    }

    #[test]
    fn json_in_texts_is_read_in_its_place() {
        let mut record = json!({ "properties": { "Extra": "{\"user\":\"eve\"}", "plain": "text" }, "l": ["[1]", "x"] });
        for path in ["properties.extra", "properties.plain", "l[]", "nowhere.x"] {
            Path::try_from(path.to_owned()).unwrap().parse_in(&mut record);
        }
        assert_eq!(record, json!({ "properties": { "Extra": { "user": "eve" }, "plain": "text" }, "l": [[1], "x"] }));
    }

    #[test]
    fn templates_hold_when_every_part_holds() {
        let record = json!({ "name": "x", "host": "-", "list": ["first", "second"] });
        let nothing = ["-".to_owned()];
        for (text, wanted) in [
            ("{name} of {list}", &["x of first"][..]),
            ("{name} on {host}", &[]),
            ("host", &[]),
            ("'name'", &["name"]),
            ("list[]", &["first", "second"]),
        ] {
            let expression = Expression::try_from(text.to_owned()).unwrap();
            assert_eq!(expression.texts(Field::of(&record), &nothing), wanted, "{text}");
        }
    }
}
