//! Alerts.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;
use wire::AlertId;
use wire::api::{AlertView, AlertsReply, Page};
use wire::case::HumanReport;

use super::{Limit, file, id};
use crate::app::{App, Problem, ProblemKind};
use crate::http::extract::{Body, Caller, Json as JsonBody, Path, Query};

/// Who made the alert.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct From {
    /// The product, where its records do not say it: 1 to 64 of a-z, 0-9, '.', '_' and '-'.
    #[schemars(regex(pattern = r"^[a-z0-9._-]{1,64}$"))]
    source: Option<String>,
}

pub async fn receive(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Query(from): Query<From>,
    Body(raw): Body,
) -> Result<Json<AlertsReply>, Problem> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    if let Some(source) = &from.source
        && (source.is_empty() || source.len() > 64 || !source.bytes().all(is_plain))
    {
        return Err(Problem::new(ProblemKind::Input, "source is not the name of a product")
            .hint("1 to 64 of a-z, 0-9, '.', '_' and '-'"));
    }
    app.receive_alerts(&by, from.source.as_deref(), raw).await.map(Json)
}

/// Which part of the alerts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alerts {
    /// The last alert of the page before.
    after: Option<AlertId>,
    /// At most so many; 100 when absent.
    #[serde(default)]
    limit: Limit,
}

pub async fn list(
    State(app): State<Arc<App>>,
    Query(asked): Query<Alerts>,
) -> Result<Json<Page<AlertView>>, Problem> {
    app.alerts(asked.after, asked.limit.get()?).await.map(Json)
}

pub async fn report(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    JsonBody(report): JsonBody<HumanReport>,
) -> Result<Json<AlertsReply>, Problem> {
    app.report(&by, report).await.map(Json)
}

pub async fn show(State(app): State<Arc<App>>, Path(alert): Path<String>) -> Result<Json<AlertView>, Problem> {
    app.alert(id("alert id", &alert)?).await.map(Json)
}

/// As bytes to keep, never as something that a browser shows: whoever made the alert chose them.
pub async fn raw(State(app): State<Arc<App>>, Path(alert): Path<String>) -> Result<Response, Problem> {
    let alert = id("alert id", &alert)?;
    let raw = app.alert_raw(alert).await?;
    Ok(file(&format!("{alert}.alert"), "application/octet-stream", raw))
}
