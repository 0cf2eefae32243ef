//! How a failed request is answered: one text for the caller, another for the log.

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use wire::api::ErrorBody;

use crate::app::{Problem, ProblemKind};

/// The status and the word for machines.
pub const fn status(kind: ProblemKind) -> (StatusCode, &'static str) {
    match kind {
        ProblemKind::Input => (StatusCode::BAD_REQUEST, "bad_request"),
        ProblemKind::Credentials => (StatusCode::UNAUTHORIZED, "unauthorized"),
        ProblemKind::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
        ProblemKind::NotFound => (StatusCode::NOT_FOUND, "not_found"),
        ProblemKind::Conflict => (StatusCode::CONFLICT, "conflict"),
        ProblemKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        ProblemKind::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
        ProblemKind::Range => (StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable"),
        ProblemKind::Locked => (StatusCode::LOCKED, "locked"),
        ProblemKind::Full => (StatusCode::INSUFFICIENT_STORAGE, "insufficient_storage"),
        ProblemKind::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"),
        ProblemKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        ProblemKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

/// An error that is nobody's decision but the protocol's.
pub fn answer(status: StatusCode, code: &str, message: String, hint: &str) -> Response {
    told(status, ErrorBody { code: code.to_owned(), hint: Some(hint.to_owned()), message })
}

/// The error as JSON, and beside it for whoever shows it as a page.
fn told(status: StatusCode, error: ErrorBody) -> Response {
    (status, Extension(error.clone()), Json(error)).into_response()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code) = status(self.kind);
        match &self.cause {
            Some(cause) if status.is_server_error() => tracing::error!(code, message = self.message, cause),
            Some(cause) => tracing::debug!(code, message = self.message, cause),
            None => tracing::debug!(code, message = self.message),
        }
        let mut response = told(status, ErrorBody { code: code.into(), hint: self.hint, message: self.message });
        if let Some(secs) = self.retry_secs {
            response.headers_mut().insert(RETRY_AFTER, secs.into());
        }
        response
    }
}
