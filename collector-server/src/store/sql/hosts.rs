//! Enrolled hosts.

use sqlx::AnyConnection;
use wire::{AgentId, Instant};

use super::super::{HostRecord, StoreError};
use super::value::{self, Columns, Sql, instant, instant_or_null, json, text};

fn read(row: &Columns<'_>) -> Result<HostRecord, StoreError> {
    Ok(HostRecord {
        agent: row.parsed("agent")?,
        certificate_expires: row.instant("certificate_expires")?,
        certificate_serials: row.json("certificate_serials")?,
        enrolled: row.instant("enrolled")?,
        facts: row.json("facts")?,
        last_seen: row.instant_or_null("last_seen")?,
        revoked: row.instant_or_null("revoked")?,
        signer: row.text("signer")?,
    })
}

fn bind<'q>(sql: &'static str, host: &'q HostRecord) -> Result<Sql<'q>, StoreError> {
    Ok(sqlx::query(sql)
        .bind(host.agent.as_str())
        .bind(text(&host.signer))
        .bind(instant(host.enrolled)?)
        .bind(instant(host.certificate_expires)?)
        .bind(json(&host.certificate_serials)?)
        .bind(instant_or_null(host.last_seen)?)
        .bind(instant_or_null(host.revoked)?)
        .bind(json(&host.facts)?))
}

pub(super) async fn add(connection: &mut AnyConnection, host: &HostRecord) -> Result<(), StoreError> {
    let sql = "INSERT INTO hosts (agent, signer, enrolled, certificate_expires, certificate_serials, last_seen, \
               revoked, facts) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    value::add(connection, bind(sql, host)?, || format!("host {}", host.agent)).await
}

pub(super) async fn put(connection: &mut AnyConnection, host: &HostRecord) -> Result<(), StoreError> {
    let sql = "UPDATE hosts SET signer = $2, enrolled = $3, certificate_expires = $4, certificate_serials = $5, \
               last_seen = $6, revoked = $7, facts = $8 WHERE agent = $1";
    value::change_one(connection, bind(sql, host)?, || format!("host {} is not there", host.agent)).await
}

pub(super) async fn seen(connection: &mut AnyConnection, agent: &AgentId, at: Instant) -> Result<(), StoreError> {
    let sql = sqlx::query("UPDATE hosts SET last_seen = $2 WHERE agent = $1").bind(agent.as_str()).bind(instant(at)?);
    value::change_one(connection, sql, || format!("host {agent} is not there")).await
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
