//! YAML into JSON, keeping the line of every key and list entry.
//!
//! Anchors, aliases and tags are refused: a profile needs none, and a hostile one could make them explode.

use std::collections::BTreeMap;

use marked_yaml::types::MarkedScalarNode;
use marked_yaml::{LoaderOptions, Node};
use serde_json::{Map, Number, Value};

/// How deep the nesting may go.
const DEPTH_MAX: usize = 16;

/// The value, and the line (from 1) of each path in it; or the line of a mistake and what it is.
pub(super) fn parse(text: &str) -> Result<(Value, BTreeMap<String, usize>), (usize, String)> {
    let options = LoaderOptions::default().error_on_duplicate_keys(true).prevent_coercion(true);
    let node = marked_yaml::parse_yaml_with_options(0, text, options).map_err(|error| {
        let text = error.to_string();
        (line_in(&text), format!("not YAML of the kind that is read here: {text}"))
    })?;
    let mut lines = BTreeMap::new();
    let value = convert(&node, "", &mut lines, 0)?;
    Ok((value, lines))
}

/// One document of YAML that is no profile, as JSON: anchors, aliases, tags and double keys are refused here too, and
/// nesting deeper than a profile's. For foreign bytes: more than `LEVELS_MAX` open brackets or columns of indentation
/// are refused before anything is built, so that no stack is needed to take it apart.
///
/// # Errors
/// What is wrong with it.
pub fn document(text: &str) -> Result<Value, String> {
    const LEVELS_MAX: usize = 2000;
    const INDENT_MAX: usize = 200;
    let brackets = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    let indent = |line: &str| line.bytes().take_while(|byte| matches!(byte, b' ' | b'-' | b'?' | b':' | b'\t')).count();
    if brackets > LEVELS_MAX || text.lines().any(|line| indent(line) > INDENT_MAX) {
        return Err("nested deeper than is read here".to_owned());
    }
    parse(text).map(|(value, _)| value).map_err(|(line, message)| format!("line {line}: {message}"))
}

/// marked-yaml's errors carry the line in their text: `... at line 3 column 5`, `3:5: ...`.
fn line_in(text: &str) -> usize {
    text.split(|c: char| !c.is_ascii_digit()).find_map(|digits| digits.parse().ok()).unwrap_or(0)
}

fn convert(
    node: &Node,
    path: &str,
    lines: &mut BTreeMap<String, usize>,
    depth: usize,
) -> Result<Value, (usize, String)> {
    let line = node.span().start().map_or(0, marked_yaml::Marker::line);
    if depth > DEPTH_MAX {
        return Err((line, format!("nested deeper than {DEPTH_MAX}")));
    }
    lines.entry(path.to_owned()).or_insert(line);
    Ok(match node {
        Node::Scalar(scalar) => scalar_value(scalar),
        Node::Sequence(sequence) => Value::Array(
            sequence
                .iter()
                .enumerate()
                .map(|(n, node)| convert(node, &format!("{path}[{n}]"), lines, depth + 1))
                .collect::<Result<_, _>>()?,
        ),
        Node::Mapping(mapping) => {
            let mut map = Map::new();
            for (key, node) in mapping.iter() {
                let below = if path.is_empty() { key.as_str().to_owned() } else { format!("{path}.{}", key.as_str()) };
                if let Some(mark) = key.span().start() {
                    lines.insert(below.clone(), mark.line());
                }
                map.insert(key.as_str().to_owned(), convert(node, &below, lines, depth + 1)?);
            }
            Value::Object(map)
        }
    })
}

/// A plain scalar is null, a truth value or a whole number where it looks like one (YAML 1.2 core schema); a quoted
/// scalar is text.
fn scalar_value(scalar: &MarkedScalarNode) -> Value {
    let text = scalar.as_str();
    if !scalar.may_coerce() {
        return Value::String(text.to_owned());
    }
    match text {
        "" | "null" | "~" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => text.parse::<i64>().map_or_else(|_| Value::String(text.to_owned()), |n| Value::Number(Number::from(n))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_make_a_text_of_anything_and_no_key_stands_twice() {
        let (value, lines) = parse("a: 5\nb: \"5\"\nc: ['true', true, ~]\n").unwrap();
        assert_eq!(value, serde_json::json!({ "a": 5, "b": "5", "c": ["true", true, null] }));
        assert_eq!((lines["b"], lines["c[1]"]), (2, 3));
        let (line, message) = parse("a: 1\nb: 2\na: 3\n").unwrap_err();
        assert!(line > 0 && message.contains('a'), "{line}: {message}");
    }
}
