//! One profile over many hosts.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use wire::HuntId;
use wire::api::{OrderView, Page, RevokeRequest};
use wire::hunt::{HuntRequest, HuntView};
use wire::signed::Signed;

use super::Limit;
use crate::app::{App, Problem};
use crate::http::extract::{Caller, Json as JsonBody, Path, Query};

/// Which of the hunts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hunts {
    /// At most so many; 100 when absent.
    #[serde(default)]
    limit: Limit,
}

/// Where an order stands in its hunt.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wave {
    /// 1 for what is gone first, 2 for the rest.
    #[schemars(range(min = 1, max = 2))]
    wave: u32,
}

pub async fn begin(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    JsonBody(request): JsonBody<HuntRequest>,
) -> Result<Json<HuntView>, Problem> {
    app.begin_hunt(&by, request).await.map(Json)
}

pub async fn list(State(app): State<Arc<App>>, Query(asked): Query<Hunts>) -> Result<Json<Page<HuntView>>, Problem> {
    app.hunts(asked.limit.get()?).await.map(Json)
}

pub async fn show(State(app): State<Arc<App>>, Path(hunt): Path<HuntId>) -> Result<Json<HuntView>, Problem> {
    app.hunt(hunt).await.map(Json)
}

pub async fn add_order(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(hunt): Path<HuntId>,
    Query(asked): Query<Wave>,
    JsonBody(envelope): JsonBody<Signed>,
) -> Result<Json<OrderView>, Problem> {
    app.add_to_hunt(&by, hunt, asked.wave, envelope).await.map(Json)
}

pub async fn start(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(hunt): Path<HuntId>,
) -> Result<Json<HuntView>, Problem> {
    app.start_hunt(&by, hunt).await.map(Json)
}

pub async fn cancel(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(hunt): Path<HuntId>,
    JsonBody(request): JsonBody<RevokeRequest>,
) -> Result<Json<HuntView>, Problem> {
    app.cancel_hunt(&by, hunt, &request.reason).await.map(Json)
}
