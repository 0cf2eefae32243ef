//! Who is told of incidents.

use sqlx::AnyConnection;
use wire::assessment::Severity;
use wire::{IncidentId, Instant, PageId};

use super::super::{PageRecord, StoreError};
use super::value::{self, Columns, count, instant, json, word};

fn read(row: &Columns<'_>) -> Result<PageRecord, StoreError> {
    let channel = row.count("channel")?;
    Ok(PageRecord {
        channel: u32::try_from(channel).map_err(|_| value::unstorable("the channel", channel))?,
        due: row.instant("due")?,
        is_held: row.count("is_held")? != 0,
        severity: row.parsed_or_null("severity")?,
        version: row.count("version")?,
        view: row.json("view")?,
    })
}

pub(super) async fn add(connection: &mut AnyConnection, page: &PageRecord) -> Result<(), StoreError> {
    let sql = sqlx::query(
        "INSERT INTO pages (page, incident, state, channel, severity, is_held, created, due, version, view) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(page.view.page.to_string())
    .bind(page.view.incident.as_ref().map(IncidentId::as_str))
    .bind(word(&page.view.state)?)
    .bind(i64::from(page.channel))
    .bind(page.severity.map(Severity::name))
    .bind(i64::from(page.is_held))
    .bind(instant(page.view.created)?)
    .bind(instant(page.due)?)
    .bind(count(page.version)?)
    .bind(json(&page.view)?);
    value::add(connection, sql, || format!("page {}", page.view.page)).await
}

pub(super) async fn put(connection: &mut AnyConnection, page: &PageRecord) -> Result<(), StoreError> {
    let sql = sqlx::query(
        "UPDATE pages SET state = $2, due = $3, is_held = $4, version = $5, view = $6 \
         WHERE page = $1 AND version = $5 - 1",
    )
    .bind(page.view.page.to_string())
    .bind(word(&page.view.state)?)
    .bind(instant(page.due)?)
    .bind(i64::from(page.is_held))
    .bind(count(page.version)?)
    .bind(json(&page.view)?);
    value::change_one(connection, sql, || format!("page {} was changed meanwhile", page.view.page)).await
}

pub(super) async fn by_id(connection: &mut AnyConnection, page: PageId) -> Result<Option<PageRecord>, StoreError> {
    let sql = sqlx::query("SELECT * FROM pages WHERE page = $1").bind(page.to_string());
    value::one(connection, sql, read).await
}

pub(super) async fn due(
    connection: &mut AnyConnection,
    now: Instant,
    limit: u32,
) -> Result<Vec<PageRecord>, StoreError> {
    let sql = "SELECT * FROM pages WHERE state = 'queued' AND due <= $1 ORDER BY due, page LIMIT $2";
    value::many(connection, sqlx::query(sql).bind(instant(now)?).bind(i64::from(limit)), read).await
}

pub(super) async fn of_incident(
    connection: &mut AnyConnection,
    incident: &IncidentId,
) -> Result<Vec<PageRecord>, StoreError> {
    let sql = "SELECT * FROM pages WHERE incident = $1 ORDER BY created DESC, page DESC LIMIT 1000";
    value::many(connection, sqlx::query(sql).bind(incident.as_str()), read).await
}

pub(super) async fn since(
    connection: &mut AnyConnection,
    since: Instant,
    limit: u32,
) -> Result<Vec<PageRecord>, StoreError> {
    let sql = "SELECT * FROM pages WHERE created >= $1 ORDER BY created DESC, page DESC LIMIT $2";
    value::many(connection, sqlx::query(sql).bind(instant(since)?).bind(i64::from(limit)), read).await
}
