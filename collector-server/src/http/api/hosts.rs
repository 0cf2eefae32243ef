//! Hosts with an agent, and how one gets in.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use wire::AgentId;
use wire::api::{HostView, Page, RevokeRequest, TicketReply, TicketRequest};
use wire::host::{ASKED_LABELS_MAX, HostMark, Label};

use super::{Limit, id};
use crate::app::{App, Problem, ProblemKind};
use crate::http::extract::{Caller, Json as JsonBody, Path, Query};

/// Which part of the hosts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hosts {
    /// The last host of the page before.
    after: Option<AgentId>,
    /// Only those with all of these labels: KEY=VALUE, with commas between them.
    #[serde(default)]
    label: String,
    /// At most so many; 100 when absent.
    #[serde(default)]
    limit: Limit,
}

/// Labels with commas between them; none of them holds one.
pub fn labels(text: &str) -> Result<Vec<Label>, Problem> {
    let labels: Result<Vec<Label>, _> =
        text.split(',').map(str::trim).filter(|label| !label.is_empty()).map(str::parse).collect();
    let labels = labels.map_err(|error| {
        Problem::new(ProblemKind::Input, error.to_string()).hint("label=env=prod,tier=db asks for hosts that have both")
    })?;
    if labels.len() > ASKED_LABELS_MAX {
        return Err(Problem::new(
            ProblemKind::Input,
            format!("at most {ASKED_LABELS_MAX} labels are asked for at once"),
        ));
    }
    Ok(labels)
}

pub async fn list(State(app): State<Arc<App>>, Query(asked): Query<Hosts>) -> Result<Json<Page<HostView>>, Problem> {
    app.hosts(&labels(&asked.label)?, asked.after.as_ref(), asked.limit.get()?).await.map(Json)
}

pub async fn show(State(app): State<Arc<App>>, Path(agent): Path<String>) -> Result<Json<HostView>, Problem> {
    app.host(&id("agent id", &agent)?).await.map(Json)
}

pub async fn mark(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(agent): Path<String>,
    JsonBody(mark): JsonBody<HostMark>,
) -> Result<Json<HostView>, Problem> {
    app.mark_host(&by, &id("agent id", &agent)?, mark).await.map(Json)
}

pub async fn revoke(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(agent): Path<String>,
    JsonBody(request): JsonBody<RevokeRequest>,
) -> Result<Json<HostView>, Problem> {
    app.revoke_host(&by, &id("agent id", &agent)?, &request.reason).await.map(Json)
}

pub async fn make_ticket(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    JsonBody(request): JsonBody<TicketRequest>,
) -> Result<Json<TicketReply>, Problem> {
    app.make_ticket(&by, None, request).await.map(Json)
}
