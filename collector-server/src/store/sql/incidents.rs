//! Incidents.

use sqlx::AnyConnection;
use wire::assessment::Severity;
use wire::{IncidentId, Instant};

use super::super::{ABSORBED_MAX, IncidentRecord, StoreError, Watch};
use super::value::{self, Columns, backend, count, instant, instant_or_null, json, text};

fn read(row: &Columns<'_>) -> Result<IncidentRecord, StoreError> {
    Ok(IncidentRecord {
        assessment: row.json("assessment")?,
        case: row.json("case_file")?,
        incident: row.parsed("incident")?,
        opened: row.instant("opened")?,
        title: row.text("title")?,
        updated: row.instant("updated")?,
        version: row.count("version")?,
    })
}

/// The greatest is the worst.
fn rank(severity: Severity) -> i64 {
    match severity {
        Severity::Sev1 => 4,
        Severity::Sev2 => 3,
        Severity::Sev3 => 2,
        Severity::Sev4 => 1,
    }
}

/// Year and number of `INC-<year>-<number>`.
fn number(incident: &IncidentId) -> Option<(i64, i64)> {
    let (year, number) = incident.as_str().strip_prefix("INC-")?.split_once('-')?;
    let (year, number): (i16, u32) = (year.parse().ok()?, number.parse().ok()?);
    Some((year.into(), number.into()))
}

pub(super) async fn add(connection: &mut AnyConnection, incident: &IncidentRecord) -> Result<(), StoreError> {
    let (year, number) = number(&incident.incident).unzip();
    let sql = sqlx::query(
        "INSERT INTO incidents (incident, severity, opened, updated, version, title, assessment, case_file, year, \
         number, merged_into, watch_due) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0)",
    )
    .bind(incident.incident.as_str())
    .bind(rank(incident.assessment.severity))
    .bind(instant(incident.opened)?)
    .bind(instant(incident.updated)?)
    .bind(count(incident.version)?)
    .bind(text(&incident.title))
    .bind(json(&incident.assessment)?)
    .bind(json(&incident.case)?)
    .bind(year)
    .bind(number)
    .bind(incident.case.merged_into.as_ref().map(IncidentId::as_str));
    value::add(connection, sql, || format!("incident {}", incident.incident)).await
}

pub(super) async fn put(connection: &mut AnyConnection, incident: &IncidentRecord) -> Result<(), StoreError> {
    let sql = sqlx::query(
        "UPDATE incidents SET severity = $2, opened = $3, updated = $4, version = $5, title = $6, assessment = $7, \
         case_file = $8, merged_into = $9, watch_due = 0 WHERE incident = $1 AND version = $5 - 1",
    )
    .bind(incident.incident.as_str())
    .bind(rank(incident.assessment.severity))
    .bind(instant(incident.opened)?)
    .bind(instant(incident.updated)?)
    .bind(count(incident.version)?)
    .bind(text(&incident.title))
    .bind(json(&incident.assessment)?)
    .bind(json(&incident.case)?)
    .bind(incident.case.merged_into.as_ref().map(IncidentId::as_str));
    value::change_one(connection, sql, || format!("incident {} was changed meanwhile", incident.incident)).await
}

pub(super) async fn touch(
    connection: &mut AnyConnection,
    incident: &IncidentId,
    at: Instant,
) -> Result<(), StoreError> {
    // UNION, not UNION ALL: it ends whatever stands in the column.
    let sql = "WITH RECURSIVE up (incident) AS (SELECT incident FROM incidents WHERE incident = $1 \
               UNION SELECT i.merged_into FROM incidents AS i \
               JOIN up ON i.incident = up.incident WHERE i.merged_into IS NOT NULL) \
               UPDATE incidents SET updated = CASE WHEN updated < $2 THEN $2 ELSE updated END \
               WHERE incident IN (SELECT incident FROM up)";
    let sql = sqlx::query(sql).bind(incident.as_str()).bind(instant(at)?);
    match sql.execute(connection).await.map_err(backend)?.rows_affected() {
        0 => Err(StoreError::Conflict(format!("incident {incident} is not there"))),
        _ => Ok(()),
    }
}

pub(super) async fn by_id(
    connection: &mut AnyConnection,
    incident: &IncidentId,
) -> Result<Option<IncidentRecord>, StoreError> {
    let sql = sqlx::query("SELECT * FROM incidents WHERE incident = $1").bind(incident.as_str());
    value::one(connection, sql, read).await
}

pub(super) async fn list(
    connection: &mut AnyConnection,
    after: Option<&IncidentId>,
    limit: u32,
) -> Result<Vec<IncidentRecord>, StoreError> {
    let sql = match after {
        None => {
            let sql = "SELECT * FROM incidents WHERE merged_into IS NULL ORDER BY severity DESC, updated DESC, incident DESC LIMIT $1";
            sqlx::query(sql).bind(i64::from(limit))
        }
        Some(after) => {
            let sql = "SELECT * FROM incidents WHERE (severity, updated, incident) < \
                       (SELECT severity, updated, incident FROM incidents WHERE incident = $2) \
                       AND merged_into IS NULL ORDER BY severity DESC, updated DESC, incident DESC LIMIT $1";
            sqlx::query(sql).bind(i64::from(limit)).bind(after.as_str())
        }
    };
    value::many(connection, sql, read).await
}

pub(super) async fn absorbed(
    connection: &mut AnyConnection,
    incident: &IncidentId,
) -> Result<Vec<IncidentId>, StoreError> {
    let sql = "WITH RECURSIVE down (incident) AS (SELECT incident FROM incidents WHERE merged_into = $1 \
               UNION SELECT i.incident FROM incidents AS i JOIN down ON i.merged_into = down.incident) \
               SELECT incident FROM down WHERE incident <> $1 ORDER BY incident LIMIT $2";
    let sql = sqlx::query(sql).bind(incident.as_str()).bind(i64::from(ABSORBED_MAX));
    value::many(connection, sql, |row| row.parsed("incident")).await
}

pub(super) async fn last_number(connection: &mut AnyConnection, year: i16) -> Result<u32, StoreError> {
    let sql =
        sqlx::query("SELECT COALESCE(MAX(number), 0) AS number FROM incidents WHERE year = $1").bind(i64::from(year));
    let number = value::one(connection, sql, |row| row.count("number")).await?.unwrap_or(0);
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

pub(super) async fn counts(connection: &mut AnyConnection, incident: &IncidentId) -> Result<(u64, u64), StoreError> {
    let sql = "SELECT (SELECT COUNT(*) FROM alerts WHERE incident = $1) AS alerts, \
               (SELECT COUNT(*) FROM evidence WHERE incident = $1) AS evidence";
    let sql = sqlx::query(sql).bind(incident.as_str());
    let counts = value::one(connection, sql, |row| Ok((row.count("alerts")?, row.count("evidence")?))).await?;
    Ok(counts.unwrap_or_default())
}

pub(super) async fn to_look_at(
    connection: &mut AnyConnection,
    now: Instant,
    limit: u32,
) -> Result<Vec<(IncidentRecord, Watch)>, StoreError> {
    let sql = "SELECT * FROM incidents WHERE watch_due <= $1 ORDER BY watch_due, incident LIMIT $2";
    let sql = sqlx::query(sql).bind(instant(now)?).bind(i64::from(limit));
    value::many(connection, sql, |row| Ok((read(row)?, row.json("watch")?))).await
}

pub(super) async fn watch(connection: &mut AnyConnection, incident: &IncidentId) -> Result<Watch, StoreError> {
    let sql = sqlx::query("SELECT watch FROM incidents WHERE incident = $1").bind(incident.as_str());
    Ok(value::one(connection, sql, |row| row.json("watch")).await?.unwrap_or_default())
}

pub(super) async fn put_watch(
    connection: &mut AnyConnection,
    incident: &IncidentId,
    version: u64,
    watch: &Watch,
    due: Option<Instant>,
) -> Result<(), StoreError> {
    let sql = sqlx::query("UPDATE incidents SET watch = $3, watch_due = $4 WHERE incident = $1 AND version = $2")
        .bind(incident.as_str())
        .bind(count(version)?)
        .bind(json(watch)?)
        .bind(instant_or_null(due)?);
    value::change_one(connection, sql, || format!("incident {incident} was changed meanwhile")).await
}

pub(super) async fn look_now(connection: &mut AnyConnection, incident: &IncidentId) -> Result<(), StoreError> {
    let sql = sqlx::query("UPDATE incidents SET watch_due = 0 WHERE incident = $1").bind(incident.as_str());
    value::change_one(connection, sql, || format!("incident {incident} is not there")).await
}
