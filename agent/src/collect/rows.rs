//! What a row of a collector holds, told by its type: for the documentation (`docs/records.md`) and for those who write
//! rules over rows.

use schemars::{JsonSchema, Schema};
use serde_json::Value;

/// A type of row.
pub struct RowType {
    /// The value of its field `record`; the collector's name where all rows of a collector are of one type.
    pub record: &'static str,
    /// Where the kernel or the file format documents it: man pages, kernel files, formats.
    pub source: &'static str,
    /// The type's JSON Schema; the descriptions are the docs of its fields.
    pub schema: Schema,
}

impl RowType {
    /// The type `T`.
    pub fn of<T: JsonSchema>(record: &'static str, source: &'static str) -> Self {
        Self { record, source, schema: schemars::schema_for!(T) }
    }

    /// What one row stands for: the docs of its type.
    pub fn summary(&self) -> String {
        text(self.schema.as_value())
    }

    /// The columns, sorted by name.
    pub fn columns(&self) -> Vec<Column> {
        let root = self.schema.as_value();
        let mut columns = Vec::new();
        collect(root, root, &mut columns);
        columns.sort_by(|a, b| a.name.cmp(&b.name));
        columns.dedup_by(|a, b| a.name == b.name);
        columns
    }
}

/// A column of a row.
pub struct Column {
    /// The key.
    pub name: String,
    /// JSON's type: text, number, true or false, list, object.
    pub kind: String,
    /// The unit, where the name has one as its last word.
    pub unit: &'static str,
    /// True when every row has it.
    pub is_always_there: bool,
    /// What it means.
    pub meaning: String,
}

/// The last word of a column's name says its unit.
const UNITS: [(&str, &str); 13] = [
    ("_ns", "nanoseconds, decimal text"),
    ("_us", "microseconds"),
    ("_ms", "milliseconds"),
    ("_secs", "seconds"),
    ("_ticks", "clock ticks (sysconf _SC_CLK_TCK)"),
    ("_kib", "kibibytes"),
    ("_bytes", "bytes"),
    ("_days", "days since the epoch"),
    ("_pages", "pages"),
    ("_b64", "base64"),
    ("_percent", "percent"),
    ("_hex", "hexadecimal"),
    ("sha256", "64 hexadecimal digits"),
];

fn text(schema: &Value) -> String {
    schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// A schema may point at another one (`$ref`).
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
    target.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
}

fn collect(root: &Value, schema: &Value, columns: &mut Vec<Column>) {
    let schema = resolved(root, schema);
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        columns.push(Column {
            kind: kind(root, property),
            unit: UNITS.iter().find(|(end, _)| name.ends_with(end)).map_or("", |(_, unit)| unit),
            is_always_there: required.contains(&name.as_str()),
            meaning: meaning(root, property),
            name: name.clone(),
        });
    }
    // What serde flattens, and the variants of an enum.
    for key in ["allOf", "anyOf", "oneOf"] {
        for part in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
            collect(root, part, columns);
        }
    }
}

fn meaning(root: &Value, property: &Value) -> String {
    let own = text(property);
    if own.is_empty() { text(resolved(root, property)) } else { own }
}

fn kind(root: &Value, property: &Value) -> String {
    let property = resolved(root, property);
    let parts = |key| property.get(key).and_then(Value::as_array);
    if let Some(parts) = parts("anyOf").or_else(|| parts("oneOf")) {
        let mut kinds: Vec<String> =
            parts.iter().map(|part| kind(root, part)).filter(|kind| !kind.is_empty()).collect();
        kinds.sort();
        kinds.dedup();
        return kinds.join(" or ");
    }
    let types = match property.get("type") {
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one.as_str()],
        _ if property.get("enum").or(property.get("const")).is_some() => vec!["string"],
        _ => vec!["any"],
    };
    let name = |json: &str| match json {
        "string" => "text".to_owned(),
        "integer" | "number" => "number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "array" => match property.get("items").map(|items| kind(root, items)) {
            Some(items) => format!("list of {items}"),
            None => "list".to_owned(),
        },
        "null" => String::new(),
        other => other.to_owned(),
    };
    types.into_iter().map(name).filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bundle::item::Nanos;
    use serde::Serialize;

    use super::*;
    use crate::host::text::{List, Text};

    /// True when rows of this type can have a value at the end of the way `owners.pid`.
    fn has(row: &RowType, field: &str) -> bool {
        fn below(root: &Value, schema: &Value, parts: &[&str]) -> bool {
            let schema = resolved(root, schema);
            let list = |key| schema.get(key).and_then(Value::as_array).into_iter().flatten();
            let here = match parts {
                [] => schema.get("properties").is_none(),
                [first, rest @ ..] => {
                    let named = schema.get("properties").and_then(|properties| properties.get(first));
                    let any = schema.get("additionalProperties").filter(|any| any.is_object());
                    named.or(any).is_some_and(|property| below(root, property, rest))
                }
            };
            let is_list = schema.get("items").is_some();
            (here && !is_list)
                || schema.get("items").is_some_and(|items| below(root, items, parts))
                || ["allOf", "anyOf", "oneOf"].into_iter().flat_map(list).any(|part| below(root, part, parts))
        }
        let parts: Vec<&str> = field.split('.').collect();
        below(row.schema.as_value(), row.schema.as_value(), &parts)
    }

    #[test]
    fn rules_and_joins_name_only_columns_that_rows_have() {
        let rules = findings::Rules::shipped().unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let read = rules.columns();
        assert!(read.len() > 500, "only {} columns", read.len());
        let mut wrong = std::collections::BTreeSet::new();
        for findings::ColumnRead { by, category, field, service } in read {
            let Some(collector) = crate::collect::Collector::named(&service) else {
                wrong.insert(format!("{by}: there is no collector `{service}`"));
                continue;
            };
            let mut rows = (collector.rows)();
            if let Some(category) = &category {
                // The category is what a row says of itself.
                rows.retain(|row| row.record == category && has(row, "record"));
            }
            if rows.is_empty() {
                wrong.insert(format!("{by}: `{service}` has no rows `{}`", category.as_deref().unwrap_or_default()));
            } else if !rows.iter().any(|row| has(row, &field)) {
                let category = category.map(|category| format!(" {category}")).unwrap_or_default();
                wrong.insert(format!("{by}: rows `{service}`{category} have no `{field}`"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
    }

    /// A thing
    /// of two lines.
    #[derive(Serialize, JsonSchema)]
    struct Row<'a> {
        /// Words.
        args: List<'a>,
        /// When.
        #[serde(skip_serializing_if = "Option::is_none")]
        mtime_ns: Option<Nanos>,
        /// What it is called.
        name: Text<'a>,
        /// Values.
        values: BTreeMap<String, u64>,
        #[serde(flatten)]
        more: More,
    }

    #[derive(Serialize, JsonSchema)]
    struct More {
        /// Size of it.
        stack_bytes: u32,
        /// Digests.
        sha256: Option<wire::Sha256>,
    }

    #[test]
    fn columns_have_names_types_units_and_meanings() {
        let row = RowType::of::<Row<'_>>("thing", "thing(5)");
        assert_eq!(row.summary(), "A thing of two lines.");
        let told: Vec<String> = row
            .columns()
            .iter()
            .map(|c| format!("{} | {} | {} | {} | {}", c.name, c.kind, c.unit, c.is_always_there, c.meaning))
            .collect();
        assert_eq!(
            told,
            [
                "args | list of text |  | true | Words.",
                "mtime_ns | text | nanoseconds, decimal text | false | When.",
                "name | text |  | true | What it is called.",
                "sha256 | text | 64 hexadecimal digits | false | Digests.",
                "stack_bytes | number | bytes | true | Size of it.",
                "values | object |  | true | Values.",
            ]
        );
    }

    #[test]
    fn every_row_of_every_collector_is_documented() {
        let mut silent = Vec::new();
        for collector in crate::collect::COLLECTORS {
            let rows = (collector.rows)();
            // These two hand over files, each of which has an item record.
            if rows.is_empty() && !matches!(collector.name, "files" | "logs") {
                silent.push(collector.name.to_owned());
            }
            for row in rows {
                let name = format!("{}/{}", collector.name, row.record);
                if row.summary().is_empty() || row.source.is_empty() {
                    silent.push(name.clone());
                }
                silent.extend(
                    row.columns().iter().filter(|c| c.meaning.is_empty()).map(|c| format!("{name}: {}", c.name)),
                );
            }
        }
        assert!(silent.is_empty(), "without a word: {}", silent.join(", "));
    }
}
