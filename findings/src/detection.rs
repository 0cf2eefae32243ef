//! The detection of a rule: named selections of fields and values, and the condition over them.

use serde_json::{Map, Value};

use crate::condition::Condition;
use crate::field::FieldPath;
use crate::pattern::{Anchor, Glob, Network, Number, Order, Pattern, regex, with_text};

/// See the module.
#[derive(Clone, Debug)]
pub struct Detection {
    condition: Condition,
    selections: Vec<Selection>,
}

/// What is wrong in a detection: where (`detection.selection.pid`) and what.
pub type Wrong = (String, String);

/// One named selection.
#[derive(Clone, Debug)]
pub enum Selection {
    /// All fields must fit.
    Fields(Vec<Field>),
    /// One of these must fit.
    Any(Vec<Selection>),
    /// One of these stands in any value of the row.
    Keywords(Vec<Pattern>),
}

/// A field, and what its values are held against.
#[derive(Clone, Debug)]
pub struct Field {
    path: FieldPath,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    AnyOf(Vec<Pattern>),
    AllOf(Vec<Pattern>),
    Exists(bool),
    /// Against the values of other fields of the row.
    Same {
        others: Vec<FieldPath>,
        anchor: Anchor,
        cased: bool,
    },
}

impl Detection {
    /// Compiles the `detection` of a rule.
    pub fn compile(source: &Map<String, Value>) -> Result<Self, Wrong> {
        let condition = source.get("condition").ok_or_else(|| wrong("detection", "there is no condition"))?;
        let (mut names, mut selections) = (Vec::new(), Vec::new());
        for (name, value) in source.iter().filter(|(name, _)| *name != "condition") {
            let path = format!("detection.{name}");
            if name == "timeframe" {
                return Err(wrong(&path, "a time frame needs several rows, and a rule sees one"));
            }
            selections.push(Selection::compile(value, &path)?);
            names.push(name.clone());
        }
        let at = |message: String| ("detection.condition".to_owned(), message);
        let condition = match condition {
            Value::String(text) => Condition::parse(text, &names).map_err(at)?,
            _ => return Err(at("a condition is one text".to_owned())),
        };
        let mut used = Vec::new();
        condition.selections(&mut used);
        if let Some(name) = names.iter().enumerate().find(|(place, _)| !used.contains(place)).map(|(_, name)| name) {
            return Err(wrong(&format!("detection.{name}"), "the condition does not use this selection"));
        }
        Ok(Self { condition, selections })
    }

    /// The fields that it looks at.
    pub fn fields(&self) -> Vec<&FieldPath> {
        let mut fields = Vec::new();
        self.selections.iter().for_each(|selection| selection.fields(&mut fields));
        fields
    }

    /// True when the row fits.
    pub fn fits(&self, row: &Value) -> bool {
        self.condition.holds(&mut |place| self.selections.get(place).is_some_and(|selection| selection.fits(row)))
    }
}

impl Selection {
    /// Compiles a selection: a mapping, a list of mappings, or a list of keywords.
    pub fn compile(value: &Value, path: &str) -> Result<Self, Wrong> {
        match value {
            Value::Object(fields) if fields.is_empty() => Err(wrong(path, "an empty selection fits everything")),
            Value::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| Field::compile(name, value, path));
                Ok(Self::Fields(fields.collect::<Result<_, _>>()?))
            }
            Value::Array(list) if list.is_empty() => Err(wrong(path, "an empty list fits nothing")),
            Value::Array(list) if list.iter().all(Value::is_object) => {
                let any = list.iter().enumerate().map(|(n, value)| Self::compile(value, &format!("{path}[{n}]")));
                Ok(Self::Any(any.collect::<Result<_, _>>()?))
            }
            Value::Array(list) if !list.iter().any(Value::is_object) => {
                let modifiers = Modifiers { anchor: Anchor::Anywhere, ..Modifiers::default() };
                let keywords = list.iter().map(|value| modifiers.pattern(value).map_err(|error| wrong(path, &error)));
                Ok(Self::Keywords(keywords.collect::<Result<_, _>>()?))
            }
            _ => Err(wrong(path, "a selection is a mapping, a list of mappings or a list of keywords")),
        }
    }

    /// The fields that it looks at.
    pub fn fields<'a>(&'a self, into: &mut Vec<&'a FieldPath>) {
        match self {
            Self::Fields(fields) => {
                for Field { path, test } in fields {
                    into.push(path);
                    if let Test::Same { others, .. } = test {
                        into.extend(others);
                    }
                }
            }
            Self::Any(any) => any.iter().for_each(|one| one.fields(into)),
            Self::Keywords(_) => {}
        }
    }

    /// True when the row fits.
    pub fn fits(&self, row: &Value) -> bool {
        match self {
            Self::Fields(fields) => fields.iter().all(|field| field.fits(row)),
            Self::Any(any) => any.iter().any(|one| one.fits(row)),
            Self::Keywords(keywords) => any_value(row, &|value| keywords.iter().any(|keyword| keyword.fits(value))),
        }
    }
}

fn any_value(value: &Value, test: &dyn Fn(&Value) -> bool) -> bool {
    match value {
        Value::Array(list) => list.iter().any(|one| any_value(one, test)),
        Value::Object(object) => object.values().any(|one| any_value(one, test)),
        value => test(value),
    }
}

impl Field {
    fn compile(name: &str, value: &Value, path: &str) -> Result<Self, Wrong> {
        let path = format!("{path}.{name}");
        let mut words = name.split('|');
        let field = FieldPath::new(words.next().unwrap_or_default());
        let modifiers = Modifiers::read(words).map_err(|error| wrong(&path, &error))?;
        let test = modifiers.test(value).map_err(|error| wrong(&path, &error))?;
        Ok(Self { path: field, test })
    }

    fn fits(&self, row: &Value) -> bool {
        let fits = |pattern: &Pattern| match pattern {
            Pattern::Nothing => !self.path.is_there(row),
            pattern => self.path.any(row, &mut |value| pattern.fits(value)),
        };
        match &self.test {
            Test::AnyOf(patterns) => patterns.iter().any(fits),
            Test::AllOf(patterns) => patterns.iter().all(fits),
            Test::Exists(wanted) => self.path.is_there(row) == *wanted,
            Test::Same { others, anchor, cased } => self.path.any(row, &mut |value| {
                others.iter().any(|other| other.any(row, &mut |other| is_same(value, other, *anchor, *cased)))
            }),
        }
    }
}

fn is_same(value: &Value, other: &Value, anchor: Anchor, cased: bool) -> bool {
    if let (Some(value), Some(other), Anchor::Whole) = (value.as_i64(), other.as_i64(), anchor) {
        return value == other;
    }
    with_text(value, |value| {
        with_text(other, |other| {
            let (value, other) =
                if cased { (value.to_owned(), other.to_owned()) } else { (value.to_lowercase(), other.to_lowercase()) };
            match anchor {
                Anchor::Whole => value == other,
                Anchor::Start => value.starts_with(&other),
                Anchor::End => value.ends_with(&other),
                Anchor::Anywhere => value.contains(&other),
            }
        })
    })
}

/// What stands behind a field's name: `|endswith|all`.
#[derive(Default)]
struct Modifiers {
    anchor: Anchor,
    kind: Kind,
    all: bool,
    cased: bool,
    flags: String,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Plain,
    Regex,
    Network,
    Exists,
    Same,
    Compare(Order),
}

/// Those that are known, for the hint.
const MODIFIERS: [&str; 16] = [
    "all",
    "cased",
    "cidr",
    "contains",
    "endswith",
    "exists",
    "fieldref",
    "gt",
    "gte",
    "i",
    "lt",
    "lte",
    "m",
    "re",
    "s",
    "startswith",
];

impl Modifiers {
    fn read<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut read = Self::default();
        for word in words {
            match word {
                "all" => read.all = true,
                "cased" => read.cased = true,
                "contains" => read.anchor = Anchor::Anywhere,
                "startswith" => read.anchor = Anchor::Start,
                "endswith" => read.anchor = Anchor::End,
                "re" => read.kind = Kind::Regex,
                "i" | "m" | "s" if read.kind == Kind::Regex => read.flags.push_str(word),
                "cidr" => read.kind = Kind::Network,
                "exists" => read.kind = Kind::Exists,
                "fieldref" => read.kind = Kind::Same,
                "gt" => read.kind = Kind::Compare(Order::Above),
                "gte" => read.kind = Kind::Compare(Order::AtLeast),
                "lt" => read.kind = Kind::Compare(Order::Below),
                "lte" => read.kind = Kind::Compare(Order::AtMost),
                other => {
                    let hint = wire::suggest::nearest(other, MODIFIERS);
                    let hint = hint.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                    return Err(format!("the modifier `{other}` is not known here{hint}"));
                }
            }
        }
        if read.anchor != Anchor::Whole && !matches!(read.kind, Kind::Plain | Kind::Same) {
            return Err("contains, startswith and endswith do not go with re, cidr, exists or an order".to_owned());
        }
        Ok(read)
    }

    fn test(&self, value: &Value) -> Result<Test, String> {
        let values = match value {
            Value::Array(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        match self.kind {
            _ if values.is_empty() => Err("an empty list fits nothing".to_owned()),
            Kind::Exists => match value {
                Value::Bool(wanted) => Ok(Test::Exists(*wanted)),
                _ => Err("exists is true or false".to_owned()),
            },
            Kind::Same => {
                let others = values.iter().map(|value| value.as_str().map(FieldPath::new));
                let others = others.collect::<Option<_>>().ok_or("fieldref names a field")?;
                Ok(Test::Same { others, anchor: self.anchor, cased: self.cased })
            }
            _ => {
                let patterns = values.iter().map(|value| self.pattern(value)).collect::<Result<_, _>>()?;
                Ok(if self.all { Test::AllOf(patterns) } else { Test::AnyOf(patterns) })
            }
        }
    }

    fn pattern(&self, value: &Value) -> Result<Pattern, String> {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            Value::Null => String::new(),
            _ => return Err("a value is a text, a number, true, false or null".to_owned()),
        };
        match self.kind {
            Kind::Regex => regex(&text, &self.flags).map(Pattern::Regex),
            Kind::Network => Network::parse(&text).map(Pattern::Network).ok_or_else(|| format!("no network: `{text}`")),
            Kind::Compare(order) => Number::parse(&text)
                .map(|bound| Pattern::Compare(order, bound))
                .ok_or_else(|| format!("no number: `{text}`")),
            _ => Ok(match value {
                Value::Null => Pattern::Nothing,
                Value::Bool(truth) if self.anchor == Anchor::Whole => Pattern::Truth(*truth),
                Value::Number(_) if self.anchor == Anchor::Whole => {
                    Number::of(value).map_or(Pattern::Nothing, Pattern::Number)
                }
                _ if text.len() > crate::limits::PATTERN_BYTES_MAX => return Err("the pattern is too long".to_owned()),
                _ => Pattern::Text(Glob::new(&text, self.anchor, self.cased)),
            }),
        }
    }
}

fn wrong(path: &str, message: &str) -> Wrong {
    (path.to_owned(), message.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fits(selection: &Value, row: &Value) -> bool {
        let source = json!({"s": selection, "condition": "s"});
        Detection::compile(source.as_object().unwrap()).unwrap().fits(row)
    }

    #[test]
    fn every_modifier_does_what_the_specification_says() {
        let row = json!({
            "path": "/tmp/X.sh", "uid": 0, "argv": ["/bin/sh", "-c", "id"], "deleted": true, "address": "10.0.0.7",
            "exe": {"path": "/tmp/x.sh"}, "empty": "", "null": null, "time_ns": "1700000000000000001", "port": 4444
        });
        for (selection, expected) in [
            (json!({"path": "/TMP/x.sh"}), true),
            (json!({"path|cased": "/TMP/x.sh"}), false),
            (json!({"path": "/tmp/*.SH"}), true),
            (json!({"path|startswith": ["/var", "/tmp"]}), true),
            (json!({"path|endswith": ".sh"}), true),
            (json!({"path|contains": "mp/x"}), true),
            (json!({"path|re": "^/tmp/x"}), false),
            (json!({"path|re|i": "^/tmp/x"}), true),
            (json!({"argv|contains": "id"}), true),
            (json!({"argv|contains|all": ["id", "-c"]}), true),
            (json!({"argv|contains|all": ["id", "-x"]}), false),
            (json!({"address|cidr": ["192.168.0.0/16", "10.0.0.0/8"]}), true),
            (json!({"uid": 0}), true),
            (json!({"uid": "0"}), true),
            (json!({"uid|gt": 0}), false),
            (json!({"uid|gte": 0}), true),
            (json!({"uid|lt": 1}), true),
            (json!({"uid|lte": -1}), false),
            (json!({"time_ns|gt": "1700000000000000000"}), true),
            (json!({"deleted": true}), true),
            (json!({"deleted": false}), false),
            (json!({"missing": null}), true),
            (json!({"null": null}), true),
            (json!({"uid": null}), false),
            (json!({"empty": ""}), true),
            (json!({"missing": ""}), false),
            (json!({"missing|exists": false}), true),
            (json!({"exe.path|exists": true}), true),
            (json!({"path|fieldref": "exe.path"}), true),
            (json!({"path|cased|fieldref": "exe.path"}), false),
            (json!({"path|endswith|fieldref": "argv"}), false),
            (json!({"port": [22, 4444]}), true),
            (json!([{"uid": 1}, {"port": 4444}]), true),
            (json!({"uid": 0, "port": 1}), false),
            (json!(["x.sh"]), true),
            (json!(["nowhere"]), false),
        ] {
            assert_eq!(fits(&selection, &row), expected, "{selection}");
        }
    }

    #[test]
    fn mistakes_name_their_place() {
        for (detection, place, part) in [
            (json!({"s": {"a": 1}}), "detection", "no condition"),
            (json!({"s": {"a|contain": 1}, "condition": "s"}), "detection.s.a|contain", "did you mean `contains`?"),
            (json!({"s": {"a|re": "("}, "condition": "s"}), "detection.s.a|re", "not a regular expression"),
            (json!({"s": {"a|cidr": "x"}, "condition": "s"}), "detection.s.a|cidr", "no network"),
            (json!({"s": {"a|gt": "x"}, "condition": "s"}), "detection.s.a|gt", "no number"),
            (json!({"s": {"a|base64": "x"}, "condition": "s"}), "detection.s.a|base64", "not known"),
            (json!({"s": {}, "condition": "s"}), "detection.s", "everything"),
            (json!({"s": {"a": 1}, "t": {"a": 1}, "condition": "s"}), "detection.t", "does not use"),
            (json!({"s": {"a": {"b": 1}}, "condition": "s"}), "detection.s.a", "a value is"),
            (json!({"s": [{"a": 1}, "x"], "condition": "s"}), "detection.s", "a selection is"),
            (json!({"s": {"a": 1}, "timeframe": "5m", "condition": "s"}), "detection.timeframe", "time frame"),
        ] {
            let (path, message) = Detection::compile(detection.as_object().unwrap()).unwrap_err();
            assert_eq!(path, place);
            assert!(message.contains(part), "{message}");
        }
    }
}
