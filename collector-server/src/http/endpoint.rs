//! What one endpoint is: everything that the router, the documentation and the tests need to know of it.

use std::sync::Arc;

use axum::routing::{MethodFilter, MethodRouter};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::credential::Who;
use crate::app::App;

/// A request without a body, or with one of a few lines.
const BODY_BYTES_MAX: usize = 16 << 10;

/// Makes the schema of a type, or a reference to it.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The schema itself, not a reference to it: of parameters after the question mark.
pub fn properties<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

/// See [`SchemaOf`].
pub fn json<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// And HEAD.
    Get,
    /// `HEAD` alone.
    Head,
    /// `OPTIONS`.
    Options,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
    /// `DELETE`.
    Delete,
}

impl Verb {
    /// As in a request.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Head => MethodFilter::HEAD,
            Self::Options => MethodFilter::OPTIONS,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// What a request holds after its head.
#[derive(Clone, Copy)]
pub enum Body {
    /// Nothing.
    None,
    /// JSON of this schema.
    Json(SchemaOf),
    /// A browser form of this schema.
    Form(SchemaOf),
    /// Text of any of these media types, not only white space.
    Text(&'static [&'static str]),
    /// Bytes of this media type.
    Bytes(&'static str),
}

/// What an answer holds when all went well.
#[derive(Clone, Copy)]
pub enum Answer {
    /// 204, or a status of its own.
    Nothing(u16),
    /// 200 and JSON of this schema.
    Json(SchemaOf),
    /// 200 and bytes of this media type.
    Bytes(&'static str),
    /// 200, and bytes of this media type; 206 for a part of them.
    Ranges(&'static [&'static str]),
}

/// A header that a request may or must have.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// What it says.
    pub description: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it looks like.
    pub pattern: &'static str,
    /// True when a request without it is refused.
    pub required: bool,
}

/// One line of [`super::endpoints::ENDPOINTS`].
#[derive(Clone, Copy)]
pub struct Endpoint {
    /// What it answers.
    pub answer: Answer,
    /// What it takes.
    pub body: Body,
    /// The longest body that it takes.
    pub body_bytes_max: usize,
    /// Statuses of errors that only it has.
    pub errors: &'static [u16],
    /// Headers with a meaning of their own.
    pub headers: &'static [Header],
    /// Its handler, for a method.
    pub mount: fn(MethodFilter) -> MethodRouter<Arc<App>>,
    /// Its path, parameters in braces.
    pub path: &'static str,
    /// The parameters after the question mark: the properties of this schema.
    pub query: Option<SchemaOf>,
    /// What it does, one sentence.
    pub summary: &'static str,
    /// The method.
    pub verb: Verb,
    /// Who may ask.
    pub who: Who,
}

impl Endpoint {
    /// An endpoint that takes nothing and answers nothing, until more is said of it.
    pub const fn new(
        verb: Verb,
        path: &'static str,
        who: Who,
        mount: fn(MethodFilter) -> MethodRouter<Arc<App>>,
        summary: &'static str,
    ) -> Self {
        let (answer, body, query) = (Answer::Nothing(204), Body::None, None);
        let body_bytes_max = BODY_BYTES_MAX;
        Self { answer, body, body_bytes_max, errors: &[], headers: &[], mount, path, query, summary, verb, who }
    }

    /// The same, with these parameters after the question mark.
    #[must_use]
    pub const fn query(mut self, query: SchemaOf) -> Self {
        self.query = Some(query);
        self
    }

    /// The same, with a body of at most so many bytes.
    #[must_use]
    pub const fn takes(mut self, body: Body, bytes_max: usize) -> Self {
        self.body = body;
        self.body_bytes_max = bytes_max;
        self
    }

    /// The same, with headers that have a meaning, and the statuses of their errors.
    #[must_use]
    pub const fn headers(mut self, headers: &'static [Header], errors: &'static [u16]) -> Self {
        self.headers = headers;
        self.errors = errors;
        self
    }

    /// The same, with an answer.
    #[must_use]
    pub const fn answers(mut self, answer: Answer) -> Self {
        self.answer = answer;
        self
    }

    /// The route, unguarded: see [`super::router`].
    pub fn route(&self) -> MethodRouter<Arc<App>> {
        (self.mount)(self.verb.filter())
    }

    /// The names of the parameters in the path.
    pub fn path_parameters(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}
