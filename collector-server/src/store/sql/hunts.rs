//! Hunts, and the orders that wait in them for their turn.

use sqlx::AnyConnection;
use wire::{HuntId, Instant, OrderId};

use super::super::{HuntPlace, HuntRecord, StoreError};
use super::value::{self, Columns, count, instant, json};

fn read(row: &Columns<'_>) -> Result<HuntRecord, StoreError> {
    row.json("record")
}

fn place(row: &Columns<'_>) -> Result<HuntPlace, StoreError> {
    Ok(HuntPlace {
        agent: row.parsed("agent")?,
        bundle: row.parsed_or_null("bundle")?,
        order: row.parsed("order_id")?,
        released: row.instant_or_null("released")?,
        state: row.word("state")?,
        wave: u32::try_from(row.count("wave")?).unwrap_or(u32::MAX),
    })
}

pub(super) async fn add(connection: &mut AnyConnection, hunt: &HuntRecord) -> Result<(), StoreError> {
    let sql = sqlx::query(
        "INSERT INTO hunts (hunt, incident, is_open, created, version, record) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(hunt.hunt.to_string())
    .bind(hunt.incident.as_str())
    .bind(i64::from(hunt.state.is_open()))
    .bind(instant(hunt.created)?)
    .bind(count(hunt.version)?)
    .bind(json(hunt)?);
    value::add(connection, sql, || format!("hunt {}", hunt.hunt)).await
}

pub(super) async fn put(connection: &mut AnyConnection, hunt: &HuntRecord) -> Result<(), StoreError> {
    let sql =
        sqlx::query("UPDATE hunts SET is_open = $2, version = $3, record = $4 WHERE hunt = $1 AND version = $3 - 1")
            .bind(hunt.hunt.to_string())
            .bind(i64::from(hunt.state.is_open()))
            .bind(count(hunt.version)?)
            .bind(json(hunt)?);
    value::change_one(connection, sql, || format!("hunt {} is not in the version before", hunt.hunt)).await
}

pub(super) async fn hold(
    connection: &mut AnyConnection,
    hunt: HuntId,
    order: OrderId,
    wave: u32,
) -> Result<(), StoreError> {
    let sql = sqlx::query("INSERT INTO hunt_orders (order_id, hunt, wave) VALUES ($1, $2, $3)")
        .bind(order.to_string())
        .bind(hunt.to_string())
        .bind(i64::from(wave));
    value::add(connection, sql, || format!("order {order} in hunt {hunt}")).await
}

pub(super) async fn release(connection: &mut AnyConnection, order: OrderId, at: Instant) -> Result<(), StoreError> {
    let sql = sqlx::query("UPDATE hunt_orders SET released = $2 WHERE order_id = $1 AND released IS NULL")
        .bind(order.to_string())
        .bind(instant(at)?);
    value::change_one(connection, sql, || format!("order {order} does not wait for its turn")).await
}

pub(super) async fn by_id(connection: &mut AnyConnection, hunt: HuntId) -> Result<Option<HuntRecord>, StoreError> {
    let sql = sqlx::query("SELECT record FROM hunts WHERE hunt = $1").bind(hunt.to_string());
    value::one(connection, sql, read).await
}

pub(super) async fn newest(connection: &mut AnyConnection, limit: u32) -> Result<Vec<HuntRecord>, StoreError> {
    let sql = sqlx::query("SELECT record FROM hunts ORDER BY created DESC, hunt DESC LIMIT $1").bind(i64::from(limit));
    value::many(connection, sql, read).await
}

pub(super) async fn open(connection: &mut AnyConnection, limit: u32) -> Result<Vec<HuntRecord>, StoreError> {
    let sql = sqlx::query("SELECT record FROM hunts WHERE is_open = 1 ORDER BY created, hunt LIMIT $1");
    value::many(connection, sql.bind(i64::from(limit)), read).await
}

pub(super) async fn places(connection: &mut AnyConnection, hunt: HuntId) -> Result<Vec<HuntPlace>, StoreError> {
    let sql = sqlx::query(
        "SELECT h.order_id, h.wave, h.released, o.agent, o.state, o.bundle FROM hunt_orders h \
         JOIN orders o ON o.order_id = h.order_id WHERE h.hunt = $1 ORDER BY h.wave, h.order_id",
    )
    .bind(hunt.to_string());
    value::many(connection, sql, place).await
}
