//! Alerts.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;
use wire::AlertId;
use wire::api::{AlertView, AlertsReply, Page};
use wire::case::HumanReport;

use super::{Limit, file, id};
use crate::app::alerts::doors::Room;
use crate::app::alerts::{ALERTS_BYTES_MAX, Delivery};
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

impl From {
    /// The product.
    pub fn product(&self) -> Result<Option<&str>, Problem> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        match self.source.as_deref() {
            Some(source) if source.is_empty() || source.len() > 64 || !source.bytes().all(is_plain) => {
                Err(Problem::new(ProblemKind::Input, "source is not the name of a product")
                    .hint("1 to 64 of a-z, 0-9, '.', '_' and '-'"))
            }
            source => Ok(source),
        }
    }
}

/// Room for the body, taken before it is read: as much as it declares, or as much as it may be.
pub struct Admitted(pub Room);

impl FromRequestParts<Arc<App>> for Admitted {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Caller(by) = Caller::from_request_parts(parts, app).await?;
        let declared = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        app.room_for(&by, declared.unwrap_or(ALERTS_BYTES_MAX).min(ALERTS_BYTES_MAX)).map(Self)
    }
}

pub async fn receive(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Query(from): Query<From>,
    Admitted(room): Admitted,
    Body(raw): Body,
) -> Result<Json<AlertsReply>, Problem> {
    app.take_in(Delivery::new(&by, from.product()?, raw, room)).await.map(Json)
}

/// A request without a credential, whose body is signed. Nothing of it is looked at before its signature was.
pub async fn receive_signed(
    State(app): State<Arc<App>>,
    Path(token): Path<String>,
    Query(from): Query<From>,
    headers: HeaderMap,
    Body(raw): Body,
) -> Result<Json<AlertsReply>, Problem> {
    // Of a header that is there twice nobody knows which one was meant.
    let header = |name: &str| {
        let mut values = headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok())
    };
    let product = from.product()?;
    let (by, request) = app.signer_of(&token, &header, &raw).await?;
    let taken = app.receive_alerts(&by, product, raw).await;
    if taken.is_err() {
        app.intake.seen.forget(request);
    }
    taken.map(Json)
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

pub async fn list(State(app): State<Arc<App>>, Query(asked): Query<Alerts>) -> Result<Json<Page<AlertView>>, Problem> {
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
