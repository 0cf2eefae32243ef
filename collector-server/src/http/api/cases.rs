//! What people do to incidents, and how it went on.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use wire::api::{Draft, Page};
use wire::case::{Action, ActionReply, TimelineEntry};

use super::{Limit, id};
use crate::app::{App, Problem};
use crate::http::extract::{Caller, Json as JsonBody, Path, Query};

/// Which part of a timeline.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entries {
    /// The number of the last entry of the page before.
    after: Option<u64>,
    /// At most so many; 100 when absent.
    #[serde(default)]
    limit: Limit,
}

pub async fn act(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(incident): Path<String>,
    JsonBody(action): JsonBody<Action>,
) -> Result<Json<ActionReply>, Problem> {
    app.act(&by, &id("incident id", &incident)?, action).await.map(Json)
}

pub async fn timeline(
    State(app): State<Arc<App>>,
    Path(incident): Path<String>,
    Query(asked): Query<Entries>,
) -> Result<Json<Page<TimelineEntry>>, Problem> {
    let from = asked.after.map_or(0, |after| after.saturating_add(1));
    app.timeline(&id("incident id", &incident)?, from, asked.limit.get()?).await.map(Json)
}

pub async fn draft(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path((incident, audience)): Path<(String, String)>,
) -> Result<Json<Draft>, Problem> {
    app.draft(&by, &id("incident id", &incident)?, id("audience", &audience)?).await.map(Json)
}
