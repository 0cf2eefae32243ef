//! Triage for those who ask.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use wire::api::{ReplayReply, ReplayRequest};
use wire::assessment::{Assessment, ForensicsPlan, Severity};

use super::alerts::Admitted;
use crate::app::{App, Problem};
use crate::http::extract::{Body, Json as JsonBody, Query};

/// What a plan is for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// How bad it is; the type's default when absent.
    severity: Option<Severity>,
    /// The host.
    target: Option<String>,
    /// The incident type, or another word for one.
    #[serde(rename = "type")]
    incident_type: String,
}

pub async fn assess(
    State(app): State<Arc<App>>,
    Admitted(room): Admitted,
    Body(raw): Body,
) -> Result<Json<Vec<Assessment>>, Problem> {
    app.triage(raw, room).await.map(Json)
}

pub async fn plan(State(app): State<Arc<App>>, Query(asked): Query<Plan>) -> Result<Json<ForensicsPlan>, Problem> {
    app.forensics_plan(&asked.incident_type, asked.target.as_deref(), asked.severity).map(Json)
}

pub async fn replay(
    State(app): State<Arc<App>>,
    JsonBody(asked): JsonBody<ReplayRequest>,
) -> Result<Json<ReplayReply>, Problem> {
    app.replay(asked).await.map(Json)
}
