//! How a failed request is answered: one text for the caller, another for the log.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use wire::api::ErrorBody;

use crate::app::{Problem, ProblemKind};

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code) = match self.kind {
            ProblemKind::Input => (StatusCode::BAD_REQUEST, "bad_request"),
            ProblemKind::Credentials => (StatusCode::UNAUTHORIZED, "unauthorized"),
            ProblemKind::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            ProblemKind::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            ProblemKind::Conflict => (StatusCode::CONFLICT, "conflict"),
            ProblemKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            ProblemKind::Locked => (StatusCode::LOCKED, "locked"),
            ProblemKind::Full => (StatusCode::INSUFFICIENT_STORAGE, "insufficient_storage"),
            ProblemKind::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"),
            ProblemKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            ProblemKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        match &self.cause {
            Some(cause) if status.is_server_error() => tracing::error!(code, message = self.message, cause),
            Some(cause) => tracing::debug!(code, message = self.message, cause),
            None => tracing::debug!(code, message = self.message),
        }
        let body = ErrorBody { code: code.into(), hint: self.hint, message: self.message };
        (status, Json(body)).into_response()
    }
}
