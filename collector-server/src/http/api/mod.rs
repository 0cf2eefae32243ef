//! What people and machines ask below `/api/v1`: each handler reads a request, asks `app/`, and answers.

pub mod alerts;
pub mod cases;
pub mod custody;
pub mod escalation;
pub mod events;
pub mod evidence;
pub mod hosts;
pub mod hunts;
pub mod incidents;
pub mod letters;
pub mod orders;
pub mod triage;

use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::app::{Problem, ProblemKind};

/// Entries of a list in one answer.
pub const LIMIT_MAX: u32 = 500;
const LIMIT_DEFAULT: u32 = 100;

/// How many entries an answer holds. (Its schema is held to the bounds that [`Limit::get`] checks.)
#[derive(Clone, Copy, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Limit(#[schemars(range(min = 1, max = 500))] Option<u32>);

impl Limit {
    /// The number.
    ///
    /// # Errors
    /// [`ProblemKind::Input`].
    pub fn get(self) -> Result<u32, Problem> {
        match self.0 {
            None => Ok(LIMIT_DEFAULT),
            Some(limit @ 1..=LIMIT_MAX) => Ok(limit),
            Some(limit) => Err(Problem::new(ProblemKind::Input, format!("the limit cannot be {limit}"))
                .hint(format!("1 to {LIMIT_MAX}; the answer's `next` asks for more"))),
        }
    }
}

/// Parses a parameter that is an id.
fn id<T: std::str::FromStr<Err: std::fmt::Display>>(what: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error: T::Err| {
        let shown: String = text.chars().take(80).collect();
        Problem::new(ProblemKind::Input, format!("{shown:?} is no {what}")).hint(error.to_string())
    })
}

/// A file for the browser to keep. The name is plain already.
fn file(name: &str, media_type: &'static str, body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    response
}
