//! Alerts.

use sqlx::AnyConnection;
use wire::{AlertId, IncidentId};

use super::super::{AlertRecord, StoreError};
use super::membership;
use super::value::{self, Columns, instant, json, text, text_or_null, texts_json};

fn read(row: &Columns<'_>) -> Result<AlertRecord, StoreError> {
    Ok(AlertRecord {
        alert: row.parsed("alert")?,
        assessment: row.json("assessment")?,
        correlated: row.text_or_null("correlated")?,
        happened_secs: row.seconds("happened")?,
        incident: row.parsed_or_null("incident")?,
        keys: row.texts_json("keys")?,
        normalised: row.json("normalised")?,
        raw_sha256: row.parsed("raw_sha256")?,
        received: row.instant("received")?,
        sent_by: row.text("sent_by")?,
        source_ref: row.text("source_ref")?,
        title: row.text("title")?,
    })
}

pub(super) async fn add(connection: &mut AnyConnection, alert: &AlertRecord) -> Result<(), StoreError> {
    let sql = sqlx::query(
        "INSERT INTO alerts (alert, source_ref, incident, received, sent_by, title, correlated, raw_sha256, \
         assessment, normalised, happened, keys) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(alert.alert.to_string())
    .bind(text(&alert.source_ref))
    .bind(alert.incident.as_ref().map(IncidentId::as_str))
    .bind(instant(alert.received)?)
    .bind(text(&alert.sent_by))
    .bind(text(&alert.title))
    .bind(text_or_null(alert.correlated.as_ref()))
    .bind(alert.raw_sha256.to_string())
    .bind(json(&alert.assessment)?)
    .bind(json(&alert.normalised)?)
    .bind(alert.happened_secs)
    .bind(texts_json(&alert.keys)?);
    value::add(&mut *connection, sql, || format!("alert {} or its source_ref", alert.alert)).await?;
    membership::add_keys(connection, alert).await
}

pub(super) async fn by_id(connection: &mut AnyConnection, alert: AlertId) -> Result<Option<AlertRecord>, StoreError> {
    let sql = sqlx::query("SELECT * FROM alerts WHERE alert = $1").bind(alert.to_string());
    value::one(connection, sql, read).await
}

pub(super) async fn by_ref(
    connection: &mut AnyConnection,
    source_ref: &str,
) -> Result<Option<AlertRecord>, StoreError> {
    let sql = sqlx::query("SELECT * FROM alerts WHERE source_ref = $1").bind(text(source_ref));
    value::one(connection, sql, read).await
}

pub(super) async fn list(
    connection: &mut AnyConnection,
    after: Option<AlertId>,
    limit: u32,
) -> Result<Vec<AlertRecord>, StoreError> {
    let sql = match after {
        None => sqlx::query("SELECT * FROM alerts ORDER BY received DESC, alert DESC LIMIT $1").bind(i64::from(limit)),
        Some(after) => {
            let sql = "SELECT * FROM alerts WHERE (received, alert) < (SELECT received, alert FROM alerts WHERE alert = $2) \
                       ORDER BY received DESC, alert DESC LIMIT $1";
            sqlx::query(sql).bind(i64::from(limit)).bind(after.to_string())
        }
    };
    value::many(connection, sql, read).await
}

pub(super) async fn of_incident(
    connection: &mut AnyConnection,
    incident: &IncidentId,
) -> Result<Vec<AlertRecord>, StoreError> {
    let sql = "SELECT * FROM alerts WHERE incident = $1 ORDER BY received, alert LIMIT 1000";
    value::many(connection, sqlx::query(sql).bind(incident.as_str()), read).await
}

pub(super) async fn ids(
    connection: &mut AnyConnection,
    incident: &IncidentId,
    limit: u32,
) -> Result<Vec<AlertId>, StoreError> {
    let sql = "SELECT alert FROM alerts WHERE incident = $1 ORDER BY received, alert LIMIT $2";
    value::many(connection, sqlx::query(sql).bind(incident.as_str()).bind(i64::from(limit)), |row| row.parsed("alert"))
        .await
}
