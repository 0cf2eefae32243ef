//! The doors: TLS, credentials, limits, routes.

pub mod agent;
mod api;
mod counters;
pub mod credential;
pub mod drain;
pub mod endpoint;
pub mod endpoints;
pub mod error;
pub mod extract;
pub mod health;
pub mod observe;
pub mod openapi;
pub mod pages;
pub mod places;
pub mod range;
pub mod session;
mod successor;
pub mod tls;
pub mod uploads;
mod watched;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::{App, Problem, ProblemKind, panic_text};

/// All endpoints, each behind its credential check and its body limit, and the pages.
pub fn router(app: &Arc<App>) -> Router {
    let mut router = Router::new();
    for endpoint in endpoints::ENDPOINTS {
        let guard = from_fn_with_state((Arc::clone(app), endpoint.who), credential::check);
        let limit = DefaultBodyLimit::max(endpoint.body_bytes_max);
        router = router.route(endpoint.path, endpoint.route().route_layer(limit).route_layer(guard));
    }
    let browsers = from_fn_with_state(Arc::clone(app), pages::browser::layer);
    router = router.merge(pages::router(app));
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_so)
        .layer(CatchPanicLayer::custom(fell_over))
        .layer(browsers)
        .layer(from_fn_with_state(Arc::clone(app), successor::layer))
        .layer(from_fn(drain::layer))
        .layer(from_fn(observe::observe))
        .with_state(Arc::clone(app))
}

/// A panic in one request is that request's alone. Its text is for the log: it may hold anything.
#[expect(clippy::needless_pass_by_value, reason = "the layer gives it away")]
fn fell_over(panic: Box<dyn std::any::Any + Send>) -> Response {
    Problem::new(ProblemKind::Internal, "the server failed on this request")
        .hint("the operator finds the cause in the server's log")
        .cause(panic_text(&*panic))
        .into_response()
}

async fn nothing_here(uri: Uri) -> Response {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(ProblemKind::NotFound, format!("there is nothing at {path}"))
        .hint("what there is stands in /api/v1/openapi.json")
        .into_response()
}

/// The router adds the `Allow` header.
async fn not_so(method: Method) -> Response {
    let message = format!("{method} is not possible here");
    error::answer(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message, "see the Allow header")
}
