//! Which alerts belong to which incident: what ties them, and how that was changed.

use std::collections::BTreeSet;

use sqlx::AnyConnection;
use wire::case::{Edit, Stamp};
use wire::{AlertId, EditId, IncidentId};

use super::super::{AlertRecord, StoreError, TIES_MAX, Tie};
use super::value::{self, Columns, backend, instant, json, texts_json};

/// The keys of these alerts (`$1`, a JSON list), one row each.
macro_rules! keys_of_alerts {
    () => {
        "SELECT k.value AS key, a.happened AS happened, a.alert AS alert FROM json_each($1) AS i \
         CROSS JOIN alerts AS a CROSS JOIN json_each(a.keys) AS k WHERE a.alert = i.value"
    };
}

/// Writes down under which keys a new alert is found.
pub(super) async fn add_keys(connection: &mut AnyConnection, alert: &AlertRecord) -> Result<(), StoreError> {
    let Some(incident) = alert.incident.as_ref().filter(|_| !alert.keys.is_empty()) else { return Ok(()) };
    let keys = texts_json(&alert.keys)?;
    let each = "INSERT INTO alert_keys (key, incident, happened, alert) SELECT value, $2, $3, $4 FROM json_each($1)";
    let each = sqlx::query(each).bind(&keys).bind(incident.as_str()).bind(alert.happened_secs);
    each.bind(alert.alert.to_string()).execute(&mut *connection).await.map_err(backend)?;
    let ends = "INSERT INTO incident_keys (key, incident, first, last) SELECT value, $2, $3, $3 FROM json_each($1) WHERE TRUE \
                ON CONFLICT (key, incident) DO UPDATE SET \
                first = CASE WHEN $3 < incident_keys.first THEN $3 ELSE incident_keys.first END, \
                last = CASE WHEN $3 > incident_keys.last THEN $3 ELSE incident_keys.last END \
                WHERE $3 NOT BETWEEN incident_keys.first AND incident_keys.last";
    let ends = sqlx::query(ends).bind(&keys).bind(incident.as_str()).bind(alert.happened_secs);
    ends.execute(connection).await.map_err(backend).map(|_| ())
}

pub(super) async fn ties(
    connection: &mut AnyConnection,
    keys: &BTreeSet<String>,
    happened_secs: i64,
    window_secs: i64,
) -> Result<Vec<Tie>, StoreError> {
    // The nearest before and the nearest after; the incident's own ends say at once whether there can be one.
    let sql = "SELECT key, incident, CASE WHEN after IS NULL OR $2 - before <= after - $2 THEN before ELSE after END AS nearest \
               FROM (SELECT e.key AS key, e.incident AS incident, e.last AS last, \
                     (SELECT MAX(happened) FROM alert_keys AS a WHERE a.key = e.key AND a.incident = e.incident \
                      AND a.happened BETWEEN $3 AND $2) AS before, \
                     (SELECT MIN(happened) FROM alert_keys AS a WHERE a.key = e.key AND a.incident = e.incident \
                      AND a.happened BETWEEN $2 AND $4) AS after \
                     FROM json_each($1) AS s CROSS JOIN incident_keys AS e \
                     WHERE e.key = s.value AND e.last >= $3 AND e.first <= $4) AS near \
               WHERE before IS NOT NULL OR after IS NOT NULL ORDER BY last DESC, incident, key LIMIT $5";
    let sql = sqlx::query(sql)
        .bind(texts_json(keys)?)
        .bind(happened_secs)
        .bind(happened_secs.saturating_sub(window_secs))
        .bind(happened_secs.saturating_add(window_secs))
        .bind(i64::from(TIES_MAX));
    let read = |row: &Columns<'_>| {
        Ok(Tie { happened_secs: row.seconds("nearest")?, incident: row.parsed("incident")?, key: row.text("key")? })
    };
    value::many(connection, sql, read).await
}

/// In a few statements however many they are: a merge may move ten thousand.
pub(super) async fn move_alerts(
    connection: &mut AnyConnection,
    alerts: &[AlertId],
    from: &IncidentId,
    to: &IncidentId,
) -> Result<(), StoreError> {
    let ids = json(&alerts)?;
    let moved = "UPDATE alerts SET incident = $3 WHERE incident = $2 AND alert IN (SELECT value FROM json_each($1))";
    // The keys' rows are found by the alerts; then the ends of both incidents are those of the rows that are left.
    let keys = concat!(
        "UPDATE alert_keys SET incident = $3 FROM (",
        keys_of_alerts!(),
        ") AS m WHERE alert_keys.key = m.key AND alert_keys.incident = $2 AND alert_keys.happened = m.happened \
         AND alert_keys.alert = m.alert"
    );
    let forget = concat!(
        "DELETE FROM incident_keys WHERE incident IN ($2, $3) AND key IN (SELECT key FROM (",
        keys_of_alerts!(),
        ") AS m)"
    );
    let ends = concat!(
        "INSERT INTO incident_keys (key, incident, first, last) \
         SELECT key, incident, MIN(happened), MAX(happened) FROM alert_keys \
         WHERE incident IN ($2, $3) AND key IN (SELECT key FROM (",
        keys_of_alerts!(),
        ") AS m) GROUP BY key, incident"
    );
    for (n, sql) in [moved, keys, forget, ends].into_iter().enumerate() {
        let sql = sqlx::query(sql).bind(&ids).bind(from.as_str()).bind(to.as_str());
        let done = sql.execute(&mut *connection).await;
        let count = match done {
            Ok(done) => done.rows_affected(),
            Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
                return Err(StoreError::Conflict(format!("incident {to} is not there")));
            }
            Err(error) => return Err(backend(error)),
        };
        if n == 0 && count != alerts.len() as u64 {
            return Err(StoreError::Conflict(format!("not all of {} alerts are in {from}", alerts.len())));
        }
    }
    Ok(())
}

pub(super) async fn elsewhere(
    connection: &mut AnyConnection,
    alerts: &[AlertId],
    incident: &IncidentId,
) -> Result<Option<AlertId>, StoreError> {
    let sql = "SELECT i.value AS alert FROM json_each($1) AS i LEFT JOIN alerts AS a ON a.alert = i.value \
               WHERE a.incident IS DISTINCT FROM $2 LIMIT 1";
    let sql = sqlx::query(sql).bind(json(&alerts)?).bind(incident.as_str());
    value::one(connection, sql, |row| row.parsed("alert")).await
}

fn read(row: &Columns<'_>) -> Result<Edit, StoreError> {
    let undone = row.text_or_null("undone")?.is_some().then(|| row.json("undone")).transpose()?;
    Ok(Edit { undone, ..row.json("record")? })
}

pub(super) async fn add_edit(connection: &mut AnyConnection, mut edit: Edit) -> Result<(), StoreError> {
    let undone = edit.undone.take().map(|stamp| json(&stamp)).transpose()?;
    let sql = "INSERT INTO edits (edit, from_incident, to_incident, made, by_person, record, undone) \
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let sql = sqlx::query(sql)
        .bind(edit.edit.to_string())
        .bind(edit.from.as_str())
        .bind(edit.to.as_str())
        .bind(instant(edit.stamp.time)?)
        .bind(i64::from(is_person(&edit.stamp) || undone.is_some()))
        .bind(json(&edit)?)
        .bind(undone);
    value::add(connection, sql, || format!("edit {}", edit.edit)).await
}

/// Anybody but the server.
fn is_person(stamp: &Stamp) -> bool {
    stamp.by != "server"
}

pub(super) async fn undo_edit(connection: &mut AnyConnection, edit: EditId, stamp: &Stamp) -> Result<(), StoreError> {
    let sql = "UPDATE edits SET undone = $2, by_person = CASE WHEN $3 > by_person THEN $3 ELSE by_person END WHERE edit = $1 AND undone IS NULL";
    let sql = sqlx::query(sql).bind(edit.to_string()).bind(json(stamp)?).bind(i64::from(is_person(stamp)));
    value::change_one(connection, sql, || format!("edit {edit} was undone meanwhile")).await
}

pub(super) async fn edit(connection: &mut AnyConnection, edit: EditId) -> Result<Option<Edit>, StoreError> {
    let sql = sqlx::query("SELECT record, undone FROM edits WHERE edit = $1").bind(edit.to_string());
    value::one(connection, sql, read).await
}

pub(super) async fn edits_of(
    connection: &mut AnyConnection,
    incident: &IncidentId,
    limit: u32,
) -> Result<Vec<Edit>, StoreError> {
    let sql = "SELECT record, undone FROM edits WHERE from_incident = $1 OR to_incident = $1 \
               ORDER BY made DESC, edit DESC LIMIT $2";
    value::many(connection, sqlx::query(sql).bind(incident.as_str()).bind(i64::from(limit)), read).await
}

pub(super) async fn is_edited_by_people(
    connection: &mut AnyConnection,
    incident: &IncidentId,
) -> Result<bool, StoreError> {
    let sql = "SELECT COUNT(*) AS count FROM (SELECT 1 FROM edits \
               WHERE (from_incident = $1 OR to_incident = $1) AND by_person = 1 LIMIT 1) AS made";
    let count = value::one(connection, sqlx::query(sql).bind(incident.as_str()), |row| row.count("count")).await?;
    Ok(count == Some(1))
}
