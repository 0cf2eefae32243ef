//! The people's half of orders.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use wire::api::{CancelRequest, OrderView};
use wire::containment::Approval;
use wire::signed::Signed;

use super::id;
use crate::app::{App, Problem};
use crate::http::extract::{Caller, Json as JsonBody, Path};

pub async fn dispatch(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    JsonBody(envelope): JsonBody<Signed>,
) -> Result<Json<OrderView>, Problem> {
    app.dispatch(&by, envelope).await.map(Json)
}

pub async fn show(State(app): State<Arc<App>>, Path(order): Path<String>) -> Result<Json<OrderView>, Problem> {
    app.order(id("order id", &order)?).await.map(Json)
}

pub async fn signed(State(app): State<Arc<App>>, Path(order): Path<String>) -> Result<Json<Signed>, Problem> {
    app.signed_order(id("order id", &order)?).await.map(Json)
}

pub async fn approve(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(order): Path<String>,
    JsonBody(approval): JsonBody<Approval>,
) -> Result<Json<OrderView>, Problem> {
    app.approve(&by, id("order id", &order)?, approval).await.map(Json)
}

pub async fn cancel(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(order): Path<String>,
    JsonBody(asked): JsonBody<CancelRequest>,
) -> Result<Json<OrderView>, Problem> {
    app.cancel(&by, id("order id", &order)?, &asked.reason).await.map(Json)
}
