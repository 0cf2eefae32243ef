//! Incidents and their tickets.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use wire::IncidentId;
use wire::api::{IncidentSummary, IncidentView, Me, Page, RevokeRequest, TicketReply, TicketRequest};

use super::{Limit, id};
use crate::app::{Actor, App, Problem, ProblemKind};
use crate::http::extract::{Caller, Json as JsonBody, Path, Query};

/// Which part of the incidents.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Incidents {
    /// The last incident of the page before.
    after: Option<IncidentId>,
    /// At most so many; 100 when absent.
    #[serde(default)]
    limit: Limit,
}

pub async fn me(State(app): State<Arc<App>>, Caller(by): Caller) -> Result<Json<Me>, Problem> {
    let Actor::User { name, role, .. } = by else {
        return Err(Problem::new(ProblemKind::Forbidden, "this credential is not a person's"));
    };
    Ok(Json(Me { name, role, server_signer: app.signer.public_line(), server_time: app.now() }))
}

pub async fn list(
    State(app): State<Arc<App>>,
    Query(asked): Query<Incidents>,
) -> Result<Json<Page<IncidentSummary>>, Problem> {
    app.incidents(asked.after.as_ref(), asked.limit.get()?).await.map(Json)
}

pub async fn show(State(app): State<Arc<App>>, Path(incident): Path<String>) -> Result<Json<IncidentView>, Problem> {
    app.incident(&id("incident id", &incident)?).await.map(Json)
}

pub async fn make_ticket(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(incident): Path<String>,
    JsonBody(request): JsonBody<TicketRequest>,
) -> Result<Json<TicketReply>, Problem> {
    app.make_ticket(&by, Some(id("incident id", &incident)?), request).await.map(Json)
}

pub async fn revoke_ticket(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(ticket): Path<String>,
    JsonBody(request): JsonBody<RevokeRequest>,
) -> Result<StatusCode, Problem> {
    // Whatever is no id is the id of no ticket: a ticket itself is a secret, and is not said again.
    let ticket = ticket.parse().map_err(|_| Problem::new(ProblemKind::NotFound, "there is no ticket of this id"))?;
    app.revoke_ticket(&by, ticket, &request.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}
