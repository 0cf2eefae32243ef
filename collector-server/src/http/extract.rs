//! What handlers take out of a request. Every refusal is a [`Problem`] with a hint: axum's own are bare text.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Form as AxumForm, FromRequest, FromRequestParts, Path as AxumPath, Query as AxumQuery, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::app::{Actor, Problem, ProblemKind};

/// A body comes in full within this time. Those of uploads have limits of their own.
const BODY_SECS_MAX: u64 = 30;
/// Bodies of callers without a credential that are held at a time: strangers must not fill the memory.
const STRANGERS_MAX: usize = 64;

static STRANGERS: Semaphore = Semaphore::const_new(STRANGERS_MAX);

/// Reads a body, with a deadline; a stranger's only while there are not too many of them.
async fn within<T>(request: Request, read: impl AsyncFnOnce(Request) -> Result<T, Problem>) -> Result<T, Problem> {
    let is_stranger = request.extensions().get::<Actor>().is_none();
    let busy =
        || Problem::new(ProblemKind::Unavailable, "too many requests at this moment").hint("send it again").retry(1);
    let _held = if is_stranger { Some(STRANGERS.try_acquire().map_err(|_| busy())?) } else { None };
    let read = timeout(Duration::from_secs(BODY_SECS_MAX), read(request)).await;
    read.unwrap_or_else(|_| {
        Err(Problem::new(ProblemKind::Input, format!("the request's body did not come within {BODY_SECS_MAX} s")))
    })
}

/// Who asks: [`super::credential::check`] has put it there.
pub struct Caller(pub Actor);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let actor = parts.extensions.get::<Actor>().cloned();
        actor.map(Self).ok_or_else(|| Problem::new(ProblemKind::Credentials, "this request carries no credential"))
    }
}

/// The parameters in the path.
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match AxumPath::from_request_parts(parts, state).await {
            Ok(AxumPath(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::new(ProblemKind::Input, "the address names nothing that could be here")
                .hint(rejection.body_text())),
        }
    }
}

/// The parameters after the question mark.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match AxumQuery::from_request_parts(parts, state).await {
            Ok(AxumQuery(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::new(ProblemKind::Input, "a parameter after the question mark is wrong")
                .hint(rejection.body_text())),
        }
    }
}

/// The body, within the limit of its endpoint.
pub struct Body(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let read = async |request| Bytes::from_request(request, state).await.map_err(|rejection| unread(&rejection));
        within(request, read).await.map(Self)
    }
}

fn unread(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(ProblemKind::TooLarge, "the request's body is longer than this endpoint takes")
            .hint("send less at once; the limit stands in /api/v1/openapi.json");
    }
    Problem::new(ProblemKind::Input, "the request's body did not come in full").cause(rejection)
}

/// The body as JSON.
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(ProblemKind::MediaType, "the request's body is not declared as JSON")
                .hint("send Content-Type: application/json"));
        }
        let Body(bytes) = Body::from_request(request, state).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            Problem::new(ProblemKind::Input, "the request's body is not what this endpoint takes")
                .hint(error.to_string())
        })
    }
}

/// The body as a browser's form.
pub struct Form<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let read = async |request| {
            AxumForm::from_request(request, state).await.map_err(|rejection| {
                Problem::new(ProblemKind::Input, "the form cannot be read").hint(rejection.body_text())
            })
        };
        within(request, read).await.map(|AxumForm(value)| Self(value))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}
