//! The custody log, and the keys that its readers need.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt as _;
use schemars::JsonSchema;
use serde::Deserialize;
use wire::IncidentId;
use wire::api::Page;
use wire::custody::Leaf;

use super::{Limit, file};
use crate::app::{App, Problem};
use crate::http::extract::{Caller, Query};

/// Which leaves.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Leaves {
    /// The number of the last leaf of the page before.
    after: Option<u64>,
    /// Those of one incident.
    incident: Option<IncidentId>,
    /// At most so many; 100 when absent.
    #[serde(default)]
    limit: Limit,
}

pub async fn list(State(app): State<Arc<App>>, Query(asked): Query<Leaves>) -> Result<Json<Page<Leaf>>, Problem> {
    let from = asked.after.map_or(0, |after| after.saturating_add(1));
    app.custody(asked.incident.as_ref(), from, asked.limit.get()?).await.map(Json)
}

pub async fn export(State(app): State<Arc<App>>, Caller(by): Caller) -> Result<Response, Problem> {
    let lines = app.custody_export(&by).await?;
    // The status is sent already: the connection breaks off, and there is no head.
    let lines = lines.map_err(|problem| std::io::Error::other(format!("{problem:?}")));
    Ok(file("custody.jsonl", "application/x-ndjson", Body::from_stream(lines)))
}

pub async fn signers(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let lines = app.signers().await?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], lines).into_response())
}
