//! What browser forms send, as what the API takes: one JSON object, read by the type that the API reads.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::app::{Problem, ProblemKind};

/// Fields that are lists: a form repeats their name.
const LISTS: [&str; 1] = ["alerts"];
/// Fields that are true or false.
const TRUTHS: [&str; 2] = ["applies", "update"];
/// Fields that are moments; a form sends them without a zone, and says that they are UTC.
const MOMENTS: [&str; 2] = ["at", "seen_at"];
/// Fields of which an empty one means something.
const MAY_BE_EMPTY: [&str; 1] = ["person"];

/// Reads a form as `T`. Fields that were left empty are as if they were not there.
///
/// # Errors
/// [`ProblemKind::Input`], with what is missing or wrong.
pub fn read<T: DeserializeOwned>(fields: Vec<(String, String)>) -> Result<T, Problem> {
    let mut map = Map::new();
    for (name, value) in fields {
        let key = name.as_str();
        if value.trim().is_empty() && !MAY_BE_EMPTY.contains(&key) {
            continue;
        }
        if LISTS.contains(&key) {
            if let Value::Array(list) = map.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
                list.push(Value::String(value));
            }
            continue;
        }
        let value = match key {
            _ if TRUTHS.contains(&key) => Value::Bool(value == "true"),
            _ if MOMENTS.contains(&key) => Value::String(moment(&value)),
            _ => Value::String(value),
        };
        map.insert(name, value);
    }
    serde_json::from_value(Value::Object(map)).map_err(|error| {
        Problem::new(ProblemKind::Input, "the form is not filled in as it must be").hint(error.to_string())
    })
}

/// `2026-11-22T01:02` and `2026-11-22T01:02:03` are UTC.
fn moment(text: &str) -> String {
    match text.len() {
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use wire::case::{Action, StepOutcome};

    use super::*;

    fn form(fields: &[(&str, &str)]) -> Result<Action, Problem> {
        read(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn forms_become_actions() {
        let note = form(&[("do", "note"), ("text", "looked at it"), ("update", "true")]).unwrap();
        assert_eq!(note, Action::Note { text: "looked at it".into(), update: true });
        let step = form(&[("do", "step"), ("step", "a.b"), ("outcome", "done"), ("note", "")]).unwrap();
        assert_eq!(step, Action::Step { note: String::new(), outcome: StepOutcome::Done, step: "a.b".into() });
        let back = form(&[("do", "assign"), ("role", "scribe"), ("person", "")]).unwrap();
        assert_eq!(back, Action::Assign { person: String::new(), role: "scribe".into() });
        let set =
            form(&[("do", "anchor"), ("anchor", "aware_at"), ("at", "2026-11-22T01:02"), ("reason", "x")]).unwrap();
        let Action::Anchor { at: Some(at), .. } = set else { panic!("{set:?}") };
        assert_eq!(at.to_string(), "2026-11-22T01:02:00.000000000Z");
        let one = "019c0000-0000-7000-8000-000000000001";
        let two = "019c0000-0000-7000-8000-000000000002";
        let split = form(&[("alerts", one), ("alerts", two), ("reason", "x"), ("to", ""), ("do", "split")]).unwrap();
        assert_eq!(
            split,
            Action::Split { alerts: vec![one.parse().unwrap(), two.parse().unwrap()], reason: "x".into() }
        );
    }

    #[test]
    fn what_is_missing_or_unknown_is_said() {
        for (fields, said) in [
            (&[("do", "close"), ("reason", "x")][..], "disposition"),
            (&[("do", "explode")], "explode"),
            (&[("do", "note"), ("text", "x"), ("more", "y")], "more"),
            (&[("text", "x")], "do"),
            (&[("do", "anchor"), ("anchor", "aware_at"), ("at", "yesterday"), ("reason", "x")], "year"),
        ] {
            let problem = form(fields).unwrap_err();
            assert!(problem.hint.as_deref().unwrap_or_default().contains(said), "{fields:?} {problem:?}");
        }
    }
}
