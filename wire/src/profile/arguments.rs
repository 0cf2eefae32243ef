//! JSON into a type, with mistakes that say where they are and what was meant.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::did_you_mean;

/// A value that does not fit its type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ArgumentError {
    /// Where in the value: `paths[0]`, empty for the whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// The next step.
    pub hint: Option<String>,
}

/// Reads `value` as a `T`.
///
/// # Errors
/// The first thing that does not fit, with its path and, for an unknown word, the nearest known one.
pub fn arguments<T: DeserializeOwned>(value: Value) -> Result<T, ArgumentError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let mut path = error.path().to_string();
        if path == "." {
            path.clear();
        }
        let whole = error.into_inner().to_string();
        let (message, hint) = explain(&whole);
        ArgumentError { path, message, hint }
    })
}

/// serde says "unknown field `x`, expected one of `a`, `b`"; people are better served by the one that was meant.
fn explain(whole: &str) -> (String, Option<String>) {
    if let Some((message, expected)) = whole.split_once(", expected ")
        && (message.starts_with("unknown field") || message.starts_with("unknown variant"))
    {
        let word = message.split('`').nth(1).unwrap_or_default();
        let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        return (message.to_owned(), Some(did_you_mean(word, known.iter().copied())));
    }
    if let Some(message) = whole.strip_suffix(", there are no fields") {
        return (message.to_owned(), Some("it takes no arguments".to_owned()));
    }
    (whole.to_owned(), None)
}
