//! Who can be told of incidents.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use wire::api::{EscalationStatus, EscalationTest, EscalationTestReply};

use crate::app::{App, Problem};
use crate::http::extract::{Caller, Json as JsonBody};

pub async fn status(State(app): State<Arc<App>>) -> Result<Json<EscalationStatus>, Problem> {
    app.escalation_status().await.map(Json)
}

pub async fn test(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    JsonBody(asked): JsonBody<EscalationTest>,
) -> Result<Json<EscalationTestReply>, Problem> {
    app.test_escalation(&by, &asked).await.map(Json)
}
