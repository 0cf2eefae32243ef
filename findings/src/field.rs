//! Where a rule's field is in a row: `exe.path`, through objects and through the elements of lists.

use serde_json::Value;

/// The way to a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath {
    name: String,
    parts: Vec<String>,
}

impl FieldPath {
    /// From `a.b.c`.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), parts: name.split('.').map(str::to_owned).collect() }
    }

    /// As the rule has it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True when `test` holds for a value there. A list is each of its elements; null and an empty list are nothing.
    pub fn any(&self, row: &Value, test: &mut dyn FnMut(&Value) -> bool) -> bool {
        any(row, &self.parts, test)
    }

    /// True when there is a value.
    pub fn is_there(&self, row: &Value) -> bool {
        self.any(row, &mut |_| true)
    }
}

// The recursion is bounded: serde_json reads nothing that nests deeper than 128.
fn any(value: &Value, parts: &[String], test: &mut dyn FnMut(&Value) -> bool) -> bool {
    match (value, parts) {
        (Value::Array(list), _) => list.iter().any(|one| any(one, parts, test)),
        (Value::Object(object), [first, rest @ ..]) => object.get(first).is_some_and(|below| any(below, rest, test)),
        (Value::Null, _) | (_, [_, ..]) => false,
        (value, []) => test(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_each_of_their_elements() {
        let row = json!({"a": [{"b": [1, 2]}, {"b": 3}, 7], "n": null, "e": []});
        let path = FieldPath::new("a.b");
        let mut seen = Vec::new();
        path.any(&row, &mut |value| {
            seen.push(value.clone());
            false
        });
        assert_eq!(seen, [json!(1), json!(2), json!(3)]);
        for nothing in ["a.c", "n", "e", "a.b.c", "x", ""] {
            assert!(!FieldPath::new(nothing).is_there(&row), "{nothing}");
        }
        assert!(FieldPath::new("a").is_there(&row));
    }
}
