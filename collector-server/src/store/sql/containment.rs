//! What automation does about hosts, and what consoles told.

use sqlx::AnyConnection;
use wire::{AgentId, IncidentId, OrderId};

use super::super::{AutomationRecord, ConsoleRecord, StoreError};
use super::value::{self, Columns, count, instant, instant_or_null, json};

fn read(row: &Columns<'_>) -> Result<AutomationRecord, StoreError> {
    Ok(AutomationRecord {
        agent: row.parsed("agent")?,
        due: row.instant_or_null("due")?,
        incident: row.parsed("incident")?,
        stands: row.json("stands")?,
        version: row.count("version")?,
    })
}

fn read_console(row: &Columns<'_>) -> Result<ConsoleRecord, StoreError> {
    Ok(ConsoleRecord {
        agent: row.parsed("agent")?,
        id: row.parsed("id")?,
        is_in_force: row.count("is_in_force")? != 0,
        told: row.instant("told")?,
        version: row.count("version")?,
        view: row.json("view")?,
    })
}

pub(super) async fn add(connection: &mut AnyConnection, record: &AutomationRecord) -> Result<(), StoreError> {
    let sql =
        sqlx::query("INSERT INTO automations (incident, agent, due, version, stands) VALUES ($1, $2, $3, $4, $5)")
            .bind(record.incident.as_str())
            .bind(record.agent.as_str())
            .bind(instant_or_null(record.due)?)
            .bind(count(record.version)?)
            .bind(json(&record.stands)?);
    value::add(connection, sql, || format!("automation for {} in {}", record.agent, record.incident)).await
}

pub(super) async fn put(connection: &mut AnyConnection, record: &AutomationRecord) -> Result<(), StoreError> {
    let sql = sqlx::query(
        "UPDATE automations SET due = $3, version = $4, stands = $5 \
         WHERE incident = $1 AND agent = $2 AND version = $4 - 1",
    )
    .bind(record.incident.as_str())
    .bind(record.agent.as_str())
    .bind(instant_or_null(record.due)?)
    .bind(count(record.version)?)
    .bind(json(&record.stands)?);
    let changed = || format!("automation for {} in {} was changed meanwhile", record.agent, record.incident);
    value::change_one(connection, sql, changed).await
}

pub(super) async fn of_incident(
    connection: &mut AnyConnection,
    incident: &IncidentId,
) -> Result<Vec<AutomationRecord>, StoreError> {
    let sql = "SELECT * FROM automations WHERE incident = $1 ORDER BY agent LIMIT 1000";
    value::many(connection, sqlx::query(sql).bind(incident.as_str()), read).await
}

pub(super) async fn open(connection: &mut AnyConnection, limit: u32) -> Result<Vec<AutomationRecord>, StoreError> {
    let sql = "SELECT * FROM automations WHERE due IS NOT NULL ORDER BY due, incident, agent LIMIT $1";
    value::many(connection, sqlx::query(sql).bind(i64::from(limit)), read).await
}

pub(super) async fn put_console(connection: &mut AnyConnection, record: &ConsoleRecord) -> Result<(), StoreError> {
    if record.version == 1 {
        let sql = sqlx::query(
            "INSERT INTO consoles (agent, id, is_in_force, told, version, view) VALUES ($1, $2, $3, $4, 1, $5)",
        )
        .bind(record.agent.as_str())
        .bind(record.id.to_string())
        .bind(i64::from(record.is_in_force))
        .bind(instant(record.told)?)
        .bind(json(&record.view)?);
        return value::add(connection, sql, || format!("containment {} of {}", record.id, record.agent)).await;
    }
    let sql = sqlx::query(
        "UPDATE consoles SET is_in_force = $3, told = $4, version = $5, view = $6 \
         WHERE agent = $1 AND id = $2 AND version = $5 - 1",
    )
    .bind(record.agent.as_str())
    .bind(record.id.to_string())
    .bind(i64::from(record.is_in_force))
    .bind(instant(record.told)?)
    .bind(count(record.version)?)
    .bind(json(&record.view)?);
    value::change_one(connection, sql, || format!("containment {} of {} changed meanwhile", record.id, record.agent))
        .await
}

pub(super) async fn console(
    connection: &mut AnyConnection,
    agent: &AgentId,
    id: OrderId,
) -> Result<Option<ConsoleRecord>, StoreError> {
    let sql =
        sqlx::query("SELECT * FROM consoles WHERE agent = $1 AND id = $2").bind(agent.as_str()).bind(id.to_string());
    value::one(connection, sql, read_console).await
}

pub(super) async fn consoles(connection: &mut AnyConnection, limit: u32) -> Result<Vec<ConsoleRecord>, StoreError> {
    let sql = "SELECT * FROM consoles ORDER BY is_in_force DESC, told DESC, agent, id LIMIT $1";
    value::many(connection, sqlx::query(sql).bind(i64::from(limit)), read_console).await
}
