//! The people's half of orders.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use wire::api::OrderView;
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
