//! Whether the server lives, whether it can work, and how much it does. And its CA's certificate.

use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::app::{App, Problem, ProblemKind};

/// Seconds; a long poll has none of the first ones, an ingest of gigabytes none of the last.
const BUCKETS: [f64; 10] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0];

/// The recorder belongs to the process: it is set up once, however many servers are started in it.
static METRICS: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Begins to count.
pub fn count_from_now_on() -> Option<&'static PrometheusHandle> {
    METRICS
        .get_or_init(|| {
            let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS);
            let handle = builder.ok()?.install_recorder().ok()?;
            super::counters::describe();
            Some(handle)
        })
        .as_ref()
}

/// The CA's certificate: whoever has its digest from a ticket can check it. While a CA is replaced, those of both, and the
/// older one's word for the newer.
///
/// # Errors
/// [`ProblemKind::NotFound`] on a server without an authority.
pub async fn ca(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let in_force = app.authorities.get();
    let in_force = in_force.ok_or_else(|| Problem::new(ProblemKind::NotFound, "this server has no CA of its own"))?;
    Ok(([(CONTENT_TYPE, "application/x-pem-file")], in_force.offered_pem()).into_response())
}

/// The process answers.
pub async fn alive() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// The server can do its work: its records and its objects answer. What the operator should look at is named: 200 then,
/// and 204 when there is nothing.
///
/// # Errors
/// [`ProblemKind::Unavailable`].
pub async fn ready(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let not_ready = |what: &str| {
        Problem::new(ProblemKind::Unavailable, format!("{what} cannot be used"))
            .hint("the cause is in the server's log")
    };
    if app.stop.is_cancelled() {
        return Err(not_ready("the server stops: it"));
    }
    app.store.ping().await.map_err(|error| not_ready("the store").cause(format!("{error:?}")))?;
    app.objects.ping().await.map_err(|error| not_ready("the object store").cause(format!("{error:?}")))?;
    let warnings = app.witness.warnings();
    if warnings.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(axum::Json(serde_json::json!({ "warnings": warnings })).into_response())
}

/// The counters in Prometheus's text format.
///
/// # Errors
/// [`ProblemKind::Unavailable`] when another part of the process counts for itself.
pub async fn metrics() -> Result<Response, Problem> {
    let handle = count_from_now_on()
        .ok_or_else(|| Problem::new(ProblemKind::Unavailable, "this process does not count anything"))?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render()).into_response())
}
