//! The custody log: its leaves, and the frontier of the tree over them in a row of its own.

use bundle::merkle::{Tree, leaf_hash};
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;
use wire::IncidentId;
use wire::custody::{HeadPoint, LEAF_BYTES_MAX, Leaf};

use super::super::{NewLeaf, StoreError, StoredLeaf};
use super::value::{self, Columns, backend, count, unstorable};

#[derive(Debug, thiserror::Error)]
#[error("the custody log's state is not that of its leaves")]
struct Damaged;

pub(super) fn point(tree: &Tree) -> HeadPoint {
    HeadPoint { root: tree.root(), size: tree.size() }
}

/// The tree as it was saved.
pub(super) async fn load(connection: &mut SqliteConnection) -> Result<Tree, StoreError> {
    let row = sqlx::query("SELECT size, frontier FROM custody WHERE id = 1").fetch_one(connection).await;
    let row = row.map_err(backend)?;
    let frontier: Vec<u8> = row.try_get("frontier").map_err(backend)?;
    Tree::from_frontier(Columns(&row).count("size")?, &frontier).ok_or_else(|| backend(Damaged))
}

/// Compares the tree's state with the last leaves: a backup that was put together of two must not go on.
pub(super) async fn check(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let tree = load(connection).await?;
    let sql = sqlx::query("SELECT COALESCE(MAX(seq) + 1, 0) AS size FROM leaves");
    let size = value::one(connection, sql, |row| row.count("size")).await?;
    if size == Some(tree.size()) { Ok(()) } else { Err(backend(Damaged)) }
}

pub(super) async fn save(connection: &mut SqliteConnection, tree: &Tree) -> Result<(), StoreError> {
    let sql = sqlx::query("UPDATE custody SET size = $1, frontier = $2 WHERE id = 1");
    let sql = sql.bind(count(tree.size())?).bind(tree.frontier());
    sql.execute(connection).await.map_err(backend).map(|_| ())
}

/// Gives each leaf its place.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    tree: &mut Tree,
    leaves: Vec<NewLeaf>,
) -> Result<(), StoreError> {
    for leaf in leaves {
        let leaf = Leaf {
            actor: leaf.actor,
            details: leaf.details,
            event: leaf.event.to_owned(),
            incident: leaf.incident,
            seq: tree.size(),
            subject: leaf.subject,
            time: leaf.time,
            v: 1,
        };
        let text = value::json(&leaf)?;
        if text.len() > LEAF_BYTES_MAX {
            return Err(unstorable("a custody leaf's length", text.len()));
        }
        let sql = sqlx::query("INSERT INTO leaves (seq, incident, hash, text) VALUES ($1, $2, $3, $4)")
            .bind(count(leaf.seq)?)
            .bind(leaf.incident.as_ref().map(IncidentId::as_str))
            .bind(leaf_hash(text.as_bytes()).to_string())
            .bind(&text);
        sql.execute(&mut *connection).await.map_err(backend)?;
        tree.push(text.as_bytes());
    }
    Ok(())
}

pub(super) async fn leaves(
    connection: &mut SqliteConnection,
    incident: Option<&IncidentId>,
    from: u64,
    limit: u32,
) -> Result<Vec<StoredLeaf>, StoreError> {
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    let sql = match incident {
        None => {
            sqlx::query("SELECT hash, text FROM leaves WHERE seq >= $1 ORDER BY seq LIMIT $2").bind(from).bind(limit)
        }
        Some(incident) => {
            let sql = "SELECT hash, text FROM leaves WHERE incident = $3 AND seq >= $1 ORDER BY seq LIMIT $2";
            sqlx::query(sql).bind(from).bind(limit).bind(incident.as_str())
        }
    };
    value::many(connection, sql, stored).await
}

pub(super) async fn last_leaves(
    connection: &mut SqliteConnection,
    incident: &IncidentId,
    limit: u32,
) -> Result<Vec<StoredLeaf>, StoreError> {
    let sql = "SELECT hash, text FROM leaves WHERE incident = $1 ORDER BY seq DESC LIMIT $2";
    value::many(connection, sqlx::query(sql).bind(incident.as_str()).bind(limit), stored).await
}

fn stored(row: &Columns<'_>) -> Result<StoredLeaf, StoreError> {
    Ok(StoredLeaf { hash: row.parsed("hash")?, leaf: row.json("text")?, text: row.text("text")? })
}
