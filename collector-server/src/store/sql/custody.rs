//! The custody log: its leaves, and the frontier of the tree over them in a row of its own.

use bundle::merkle::{Tree, leaf_hash};
use sqlx::AnyConnection;
use sqlx::Row as _;
use wire::IncidentId;
use wire::custody::{HeadPoint, LEAF_BYTES_MAX, Leaf};

use super::super::{NewLeaf, StoreError, StoredLeaf};
use super::Kind;
use super::value::{self, Columns, backend, count, unstorable};

#[derive(Debug, thiserror::Error)]
#[error("the custody log's state is not that of its leaves")]
struct Damaged;

pub(super) fn point(tree: &Tree) -> HeadPoint {
    HeadPoint { root: tree.root(), size: tree.size() }
}

/// The tree as it was saved.
pub(super) async fn load(connection: &mut AnyConnection) -> Result<Tree, StoreError> {
    tree(connection, "SELECT size, frontier FROM custody WHERE id = 1").await
}

/// The same, and until the transaction ends nobody else gets it so: servers that share a database write one after the
/// other. In SQLite the transaction itself began with the right to write.
pub(super) async fn load_to_grow(connection: &mut AnyConnection, kind: Kind) -> Result<Tree, StoreError> {
    match kind {
        Kind::Sqlite => load(connection).await,
        Kind::Postgres => tree(connection, "SELECT size, frontier FROM custody WHERE id = 1 FOR UPDATE").await,
    }
}

async fn tree(connection: &mut AnyConnection, sql: &'static str) -> Result<Tree, StoreError> {
    let row = sqlx::query(sql).fetch_one(connection).await.map_err(backend)?;
    let frontier: Vec<u8> = row.try_get("frontier").map_err(backend)?;
    Tree::from_frontier(Columns(&row).count("size")?, &frontier).ok_or_else(|| backend(Damaged))
}

/// Compares the tree's state with the last leaves: a backup that was put together of two must not go on.
pub(super) async fn check(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let sql = "SELECT custody.size AS size, (SELECT COALESCE(MAX(seq) + 1, 0) FROM leaves) AS leaves \
               FROM custody WHERE id = 1";
    let read = |row: &Columns<'_>| Ok((row.count("size")?, row.count("leaves")?));
    // In one statement: another server may be writing.
    let both = value::one(connection, sqlx::query(sql), read).await?;
    load(connection).await?;
    if both.is_some_and(|(size, leaves)| size == leaves) { Ok(()) } else { Err(backend(Damaged)) }
}

pub(super) async fn save(connection: &mut AnyConnection, tree: &Tree) -> Result<(), StoreError> {
    let sql = sqlx::query("UPDATE custody SET size = $1, frontier = $2 WHERE id = 1");
    let sql = sql.bind(count(tree.size())?).bind(tree.frontier());
    sql.execute(connection).await.map_err(backend).map(|_| ())
}

/// Gives each leaf its place.
pub(super) async fn append(
    connection: &mut AnyConnection,
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
    connection: &mut AnyConnection,
    incident: Option<&IncidentId>,
    from: u64,
    limit: u32,
) -> Result<Vec<StoredLeaf>, StoreError> {
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    let sql = match incident {
        None => {
            let sql = "SELECT hash, text FROM leaves WHERE seq >= $1 ORDER BY seq LIMIT $2";
            sqlx::query(sql).bind(from).bind(i64::from(limit))
        }
        Some(incident) => {
            let sql = "SELECT hash, text FROM leaves WHERE incident = $3 AND seq >= $1 ORDER BY seq LIMIT $2";
            sqlx::query(sql).bind(from).bind(i64::from(limit)).bind(incident.as_str())
        }
    };
    value::many(connection, sql, stored).await
}

pub(super) async fn last_leaves(
    connection: &mut AnyConnection,
    incident: &IncidentId,
    limit: u32,
) -> Result<Vec<StoredLeaf>, StoreError> {
    let sql = "SELECT hash, text FROM leaves WHERE incident = $1 ORDER BY seq DESC LIMIT $2";
    value::many(connection, sqlx::query(sql).bind(incident.as_str()).bind(i64::from(limit)), stored).await
}

fn stored(row: &Columns<'_>) -> Result<StoredLeaf, StoreError> {
    Ok(StoredLeaf { hash: row.parsed("hash")?, leaf: row.json("text")?, text: row.verbatim("text")? })
}
