//! Enrolled hosts.

use sqlx::AnyConnection;
use wire::host::Beat;
use wire::{AgentId, Instant};

use super::super::{HostRecord, StoreError};
use super::value::{self, Columns, Sql, count, instant, instant_or_null, json, text};

fn read(row: &Columns<'_>) -> Result<HostRecord, StoreError> {
    Ok(HostRecord {
        agent: row.parsed("agent")?,
        beat: row.json_or_null("beat")?,
        certificate_expires: row.instant("certificate_expires")?,
        certificate_serials: row.json("certificate_serials")?,
        enrolled: row.instant("enrolled")?,
        facts: row.json("facts")?,
        gone: row.instant_or_null("gone")?,
        last_seen: row.instant_or_null("last_seen")?,
        marks: row.json("marks")?,
        revoked: row.instant_or_null("revoked")?,
        signer: row.text("signer")?,
        silent: row.instant_or_null("silent")?,
        version: row.count("version")?,
        went_back: row.instant_or_null("went_back")?,
    })
}

fn bind<'q>(sql: &'static str, host: &'q HostRecord) -> Result<Sql<'q>, StoreError> {
    Ok(sqlx::query(sql)
        .bind(host.agent.as_str())
        .bind(text(&host.signer))
        .bind(instant(host.enrolled)?)
        .bind(instant(host.certificate_expires)?)
        .bind(json(&host.certificate_serials)?)
        .bind(instant_or_null(host.revoked)?)
        .bind(instant_or_null(host.gone)?)
        .bind(json(&host.facts)?)
        .bind(json(&host.marks)?)
        .bind(count(host.version)?))
}

pub(super) async fn add(connection: &mut AnyConnection, host: &HostRecord) -> Result<(), StoreError> {
    let sql = "INSERT INTO hosts (agent, signer, enrolled, certificate_expires, certificate_serials, revoked, gone, \
               facts, marks, version, last_seen, beat, silent, went_back) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    let sql = bind(sql, host)?
        .bind(instant_or_null(host.last_seen)?)
        .bind(host.beat.as_ref().map(json).transpose()?)
        .bind(instant_or_null(host.silent)?)
        .bind(instant_or_null(host.went_back)?);
    value::add(connection, sql, || format!("host {}", host.agent)).await
}

pub(super) async fn put(connection: &mut AnyConnection, host: &HostRecord) -> Result<(), StoreError> {
    let sql = "UPDATE hosts SET signer = $2, enrolled = $3, certificate_expires = $4, certificate_serials = $5, \
               revoked = $6, gone = $7, facts = $8, marks = $9, version = $10 WHERE agent = $1 AND version = $10 - 1";
    let conflict = || format!("host {} is not there, or not in the version before {}", host.agent, host.version);
    value::change_one(connection, bind(sql, host)?, conflict).await
}

pub(super) async fn seen(
    connection: &mut AnyConnection,
    agent: &AgentId,
    at: Instant,
    beat: Option<&Beat>,
) -> Result<(), StoreError> {
    let sql = sqlx::query(
        "UPDATE hosts SET last_seen = CASE WHEN last_seen > $2 THEN last_seen ELSE $2 END, beat = COALESCE($3, beat) \
         WHERE agent = $1",
    )
    .bind(agent.as_str())
    .bind(instant(at)?)
    .bind(beat.map(json).transpose()?);
    value::change_one(connection, sql, || format!("host {agent} is not there")).await
}

pub(super) async fn silent(
    connection: &mut AnyConnection,
    agent: &AgentId,
    at: Instant,
    last_seen: Instant,
) -> Result<(), StoreError> {
    let sql = sqlx::query(
        "UPDATE hosts SET silent = $2 WHERE agent = $1 AND last_seen = $3 AND silent IS NULL AND revoked IS NULL \
         AND gone IS NULL",
    )
    .bind(agent.as_str())
    .bind(instant(at)?)
    .bind(instant(last_seen)?);
    value::change_one(connection, sql, || format!("host {agent} was heard, or was found silent before")).await
}

pub(super) async fn back(connection: &mut AnyConnection, agent: &AgentId, silent: Instant) -> Result<(), StoreError> {
    let sql = sqlx::query("UPDATE hosts SET silent = NULL WHERE agent = $1 AND silent = $2")
        .bind(agent.as_str())
        .bind(instant(silent)?);
    value::change_one(connection, sql, || format!("host {agent} was not found silent then")).await
}

pub(super) async fn went_back(
    connection: &mut AnyConnection,
    agent: &AgentId,
    at: Instant,
    before: Option<Instant>,
) -> Result<(), StoreError> {
    let sql = sqlx::query("UPDATE hosts SET went_back = $2 WHERE agent = $1 AND COALESCE(went_back, -1) = $3")
        .bind(agent.as_str())
        .bind(instant(at)?)
        .bind(instant_or_null(before)?.unwrap_or(-1));
    value::change_one(connection, sql, || format!("it was said of host {agent} before")).await
}

pub(super) async fn by_id(connection: &mut AnyConnection, agent: &AgentId) -> Result<Option<HostRecord>, StoreError> {
    let sql = sqlx::query("SELECT * FROM hosts WHERE agent = $1").bind(agent.as_str());
    value::one(connection, sql, read).await
}

pub(super) async fn list(
    connection: &mut AnyConnection,
    after: Option<&AgentId>,
    limit: u32,
) -> Result<Vec<HostRecord>, StoreError> {
    // No id is empty, so all come after it.
    let after = after.map_or("", AgentId::as_str);
    let sql =
        sqlx::query("SELECT * FROM hosts WHERE agent > $1 ORDER BY agent LIMIT $2").bind(after).bind(i64::from(limit));
    value::many(connection, sql, read).await
}

pub(super) async fn marked(
    connection: &mut AnyConnection,
    after: Option<&AgentId>,
    limit: u32,
) -> Result<Vec<HostRecord>, StoreError> {
    let after = after.map_or("", AgentId::as_str);
    let sql = sqlx::query("SELECT * FROM hosts WHERE marks <> '{}' AND agent > $1 ORDER BY agent LIMIT $2")
        .bind(after)
        .bind(i64::from(limit));
    value::many(connection, sql, read).await
}

pub(super) async fn unheard(
    connection: &mut AnyConnection,
    before: Instant,
    limit: u32,
) -> Result<Vec<HostRecord>, StoreError> {
    let sql = sqlx::query(
        "SELECT * FROM hosts WHERE last_seen < $1 AND silent IS NULL AND revoked IS NULL AND gone IS NULL \
         ORDER BY agent LIMIT $2",
    )
    .bind(instant(before)?)
    .bind(i64::from(limit));
    value::many(connection, sql, read).await
}

pub(super) async fn troubled(
    connection: &mut AnyConnection,
    since: Instant,
    limit: u32,
) -> Result<Vec<HostRecord>, StoreError> {
    let sql =
        sqlx::query("SELECT * FROM hosts WHERE silent >= $1 OR went_back >= $1 OR gone >= $1 ORDER BY agent LIMIT $2")
            .bind(instant(since)?)
            .bind(i64::from(limit));
    value::many(connection, sql, read).await
}
