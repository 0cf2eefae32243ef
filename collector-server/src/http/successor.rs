//! While the CA is replaced, each answer names the newer one: people's command lines follow it as agents do.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;

const HEADER: HeaderName = HeaderName::from_static("holdfast-ca");

/// Puts the digest of the newer CA into the answer.
pub async fn layer(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let in_force = app.authorities.get().filter(|in_force| in_force.before.is_some());
    let digest = in_force.and_then(|in_force| HeaderValue::from_str(&in_force.issuing.sha256().to_string()).ok());
    if let Some(digest) = digest {
        response.headers_mut().insert(HEADER, digest);
    }
    response
}
