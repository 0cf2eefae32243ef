//! Each request is a span in the log and a point in the metrics. Neither holds a header, a query or a body: that is where
//! secrets are.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

/// The outermost layer.
pub async fn observe(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = match *request.method() {
        axum::http::Method::GET => "GET",
        axum::http::Method::POST => "POST",
        axum::http::Method::PUT => "PUT",
        axum::http::Method::PATCH => "PATCH",
        axum::http::Method::DELETE => "DELETE",
        axum::http::Method::HEAD => "HEAD",
        axum::http::Method::OPTIONS => "OPTIONS",
        // A method is text from anywhere: a counter for each would have no bound.
        _ => "other",
    };
    let path: String = request.uri().path().chars().take(200).collect();
    let span = tracing::info_span!("request", method, path);
    async {
        let started = Instant::now();
        let response = next.run(request).await;
        let (status, secs) = (response.status().as_u16(), started.elapsed().as_secs_f64());
        let labels = [("method", method.to_owned()), ("route", route), ("status", status.to_string())];
        metrics::counter!("holdfast_requests_total", &labels[..]).increment(1);
        metrics::histogram!("holdfast_request_seconds", &labels[..2]).record(secs);
        tracing::debug!(status, secs, "answered");
        response
    }
    .instrument(span)
    .await
}
