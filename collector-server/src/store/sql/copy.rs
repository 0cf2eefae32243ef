//! All rows of one database into another: what a backup, a restore and a migration do.
//!
//! The tables stand in one list; their columns are asked of the databases, so that a new column needs nothing here. A
//! table that is not in the list is refused. The rows come out of one snapshot, however long it takes and whoever writes
//! meanwhile, and what lies in the other database is read again and compared with them before it is committed.

use sha2::Digest as _;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Row as _};
use wire::Sha256;

use super::value::backend;
use super::{Database, Kind};
use crate::store::StoreError;

/// A table.
struct Table {
    name: &'static str,
    /// What its rows are sorted by.
    key: &'static [&'static str],
    /// A column that names another row of the same table: it is filled in when all of them are there.
    late: Option<&'static str>,
}

const fn table(name: &'static str, key: &'static [&'static str]) -> Table {
    Table { name, key, late: None }
}

/// In this order each row finds what it names.
const TABLES: [Table; 24] = [
    Table { name: "incidents", key: &["incident"], late: Some("merged_into") },
    table("alerts", &["alert"]),
    table("alert_keys", &["key", "incident", "happened", "alert"]),
    table("incident_keys", &["key", "incident"]),
    table("edits", &["edit"]),
    table("hosts", &["agent"]),
    table("orders", &["order_id"]),
    table("automations", &["incident", "agent"]),
    table("consoles", &["agent", "id"]),
    table("hunts", &["hunt"]),
    table("hunt_orders", &["order_id"]),
    table("evidence", &["bundle"]),
    table("segments", &["bundle", "byte_offset"]),
    table("checkpoints", &["bundle", "seq"]),
    table("findings", &["bundle"]),
    table("pages", &["page"]),
    table("dead_letters", &["letter"]),
    table("tickets", &["ticket"]),
    table("tokens", &["token"]),
    table("sessions", &["session"]),
    table("identities", &["name"]),
    table("leaves", &["seq"]),
    table("custody", &["id"]),
    table("rules", &["id"]),
];
/// One row is in each from the first migration on.
const MADE_WITH_A_ROW: [&str; 2] = ["custody", "rules"];
/// What the migrations keep their own books in.
const NOT_COPIED: [&str; 1] = ["_sqlx_migrations"];
/// Rows that are read at a time.
const PAGE: u32 = 1000;
/// Values of one statement: SQLite takes 32,766, PostgreSQL 65,535.
const VALUES_MAX: usize = 4000;

/// What was copied of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Rows.
    pub rows: u64,
    /// Digest over all values, in the order of the rows' keys and of the columns' names.
    pub sha256: Sha256,
    /// The table.
    pub table: &'static str,
}

/// Why it was not copied. Nothing was.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Something is there already.
    #[error("the database {database} is not empty: there are rows in {table}")]
    NotEmpty {
        /// Which database.
        database: String,
        /// The first table with rows in it.
        table: &'static str,
    },
    /// The two are not of one version.
    #[error("{what} is not the same in both databases, or this version does not know it")]
    Shape {
        /// A table.
        what: String,
    },
    /// What was written is not what was read.
    #[error("the rows of {table} in the copy are not those that were copied")]
    Differs {
        /// The table.
        table: &'static str,
    },
    /// A database failed.
    #[error("the records could not be copied")]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for CopyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(backend(error))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Bytes,
    Integer,
    Text,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Bytes(Option<Vec<u8>>),
    Integer(Option<i64>),
    Text(Option<String>),
}

type Row = Vec<Value>;

/// A table and its columns, in the order of their names.
struct Shape {
    columns: Vec<(String, Type)>,
    table: &'static Table,
}

impl Database {
    /// Copies everything into an empty database, while others may write to this one.
    ///
    /// # Errors
    /// [`CopyError`].
    pub async fn copy_to(&self, to: &Database) -> Result<Vec<Copied>, CopyError> {
        let (mut source, mut target) = (self.opener.connect().await?, to.opener.connect().await?);
        let copied = copy_over((&mut source, self), (&mut target, to)).await;
        // A connection that is only dropped ends some time later, and SQLite brings what it wrote into the file of the
        // database when the last one ends: whoever closes the databases after this must find no connection of ours.
        let closed = source.close().await.and(target.close().await);
        let copied = copied?;
        closed?;
        Ok(copied)
    }
}

/// The copy, over a connection to each.
async fn copy_over(
    (source, from): (&mut AnyConnection, &Database),
    (target, to): (&mut AnyConnection, &Database),
) -> Result<Vec<Copied>, CopyError> {
    let (kind, kind_there) = (from.opener.kind, to.opener.kind);
    let mut shapes = Vec::with_capacity(TABLES.len());
    for table in &TABLES {
        let (here, there) = (shape(source, kind, table).await?, shape(target, kind_there, table).await?);
        if here.columns != there.columns || here.columns.is_empty() {
            return Err(CopyError::Shape { what: format!("the table {}", table.name) });
        }
        shapes.push(here);
    }
    only_known_tables(source, kind).await?;
    only_known_tables(target, kind_there).await?;
    let snapshot = match kind {
        Kind::Sqlite => "BEGIN",
        Kind::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    };
    let mut source = source.begin_with(snapshot).await?;
    let mut target = target
        .begin_with(match kind_there {
            Kind::Sqlite => "BEGIN IMMEDIATE",
            Kind::Postgres => "BEGIN",
        })
        .await?;
    for shape in &shapes {
        make_empty(&mut target, shape, &to.to_string()).await?;
    }
    let mut copied = Vec::with_capacity(shapes.len());
    for shape in &shapes {
        copied.push(copy_table(&mut source, &mut target, shape).await?);
    }
    for (shape, wanted) in shapes.iter().zip(&copied) {
        if count_rows(&mut target, shape).await? != *wanted {
            return Err(CopyError::Differs { table: wanted.table });
        }
    }
    target.commit().await?;
    source.rollback().await?;
    Ok(copied)
}

impl Database {
    /// Refuses a database with something in it, before anything else is done for a copy.
    ///
    /// # Errors
    /// [`CopyError::NotEmpty`], or that it cannot be read.
    pub async fn check_empty(&self) -> Result<(), CopyError> {
        let mut connection = self.opener.connect().await?;
        for table in &TABLES {
            let sql = format!("SELECT COUNT(*) AS count FROM {}", table.name);
            let there: i64 = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut connection).await?.try_get("count")?;
            if there > i64::from(MADE_WITH_A_ROW.contains(&table.name)) {
                return Err(CopyError::NotEmpty { database: self.to_string(), table: table.name });
            }
        }
        Ok(())
    }
}

async fn only_known_tables(connection: &mut AnyConnection, kind: Kind) -> Result<(), CopyError> {
    let sql = match kind {
        Kind::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
        Kind::Postgres => {
            "SELECT table_name::text AS name FROM information_schema.tables WHERE table_schema = current_schema() \
             AND table_type = 'BASE TABLE'"
        }
    };
    for row in sqlx::query(sql).fetch_all(connection).await? {
        let name: String = row.try_get("name")?;
        if !TABLES.iter().any(|table| table.name == name) && !NOT_COPIED.contains(&name.as_str()) {
            return Err(CopyError::Shape { what: format!("the table {name}") });
        }
    }
    Ok(())
}

async fn shape(connection: &mut AnyConnection, kind: Kind, table: &'static Table) -> Result<Shape, CopyError> {
    let sql = match kind {
        Kind::Sqlite => "SELECT name, type FROM pragma_table_info($1)",
        Kind::Postgres => {
            "SELECT column_name::text AS name, data_type::text AS type FROM information_schema.columns \
             WHERE table_schema = current_schema() AND table_name = $1"
        }
    };
    let mut columns = Vec::new();
    for row in sqlx::query(sql).bind(table.name).fetch_all(connection).await? {
        let (name, kind): (String, String) = (row.try_get("name")?, row.try_get("type")?);
        let kind = match kind.to_ascii_lowercase().as_str() {
            "integer" | "bigint" => Type::Integer,
            "text" => Type::Text,
            "blob" | "bytea" => Type::Bytes,
            _ => return Err(CopyError::Shape { what: format!("the column {name} of {}", table.name) }),
        };
        columns.push((name, kind));
    }
    columns.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(Shape { columns, table })
}

/// Refuses a table with rows in it; the one row that the migrations make goes.
async fn make_empty(connection: &mut AnyConnection, shape: &Shape, database: &str) -> Result<(), CopyError> {
    let name = shape.table.name;
    let is_made_with_a_row = MADE_WITH_A_ROW.contains(&name);
    let there = count_rows(connection, shape).await?.rows;
    if there > u64::from(is_made_with_a_row) {
        return Err(CopyError::NotEmpty { database: database.to_owned(), table: name });
    }
    if is_made_with_a_row {
        sqlx::query(AssertSqlSafe(format!("DELETE FROM {name}"))).execute(connection).await?;
    }
    Ok(())
}

async fn copy_table(
    source: &mut AnyConnection,
    target: &mut AnyConnection,
    shape: &Shape,
) -> Result<Copied, CopyError> {
    let (mut tally, mut last) = (Tally::default(), None);
    let late = shape.table.late.map(|late| shape.place(late)).transpose()?;
    loop {
        let mut rows = page(source, shape, last.as_ref()).await?;
        let Some(end) = rows.last().cloned() else { break };
        tally.add(&rows);
        if let Some(late) = late {
            for row in &mut rows {
                if let Some(value) = row.get_mut(late) {
                    *value = Value::Text(None);
                }
            }
        }
        insert(target, shape, &rows).await?;
        last = Some(end);
    }
    if let Some(late) = late {
        fill_in(source, target, shape, late).await?;
    }
    Ok(tally.end(shape.table.name))
}

/// Fills a column in that names other rows of its table.
async fn fill_in(
    source: &mut AnyConnection,
    target: &mut AnyConnection,
    shape: &Shape,
    late: usize,
) -> Result<(), CopyError> {
    let ([key], Some((column, _))) = (shape.table.key, shape.columns.get(late)) else {
        return Err(CopyError::Shape { what: shape.table.name.to_owned() });
    };
    let at = shape.place(key)?;
    let sql = format!("UPDATE {} SET {column} = $1 WHERE {key} = $2", shape.table.name);
    let mut last = None;
    loop {
        let rows = page(source, shape, last.as_ref()).await?;
        let Some(end) = rows.last().cloned() else { return Ok(()) };
        for row in &rows {
            if let (Some(value @ Value::Text(Some(_))), Some(id)) = (row.get(late), row.get(at)) {
                bind(bind(sqlx::query(AssertSqlSafe(sql.clone())), value), id).execute(&mut *target).await?;
            }
        }
        last = Some(end);
    }
}

impl Shape {
    fn place(&self, column: &str) -> Result<usize, CopyError> {
        let place = self.columns.iter().position(|(name, _)| name == column);
        place.ok_or_else(|| CopyError::Shape { what: format!("the column {column} of {}", self.table.name) })
    }

    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

async fn count_rows(connection: &mut AnyConnection, shape: &Shape) -> Result<Copied, CopyError> {
    let (mut tally, mut last) = (Tally::default(), None);
    loop {
        let mut rows = page(connection, shape, last.as_ref()).await?;
        tally.add(&rows);
        match rows.pop() {
            Some(end) => last = Some(end),
            None => return Ok(tally.end(shape.table.name)),
        }
    }
}

/// The rows after this one, in the order of their keys.
async fn page(connection: &mut AnyConnection, shape: &Shape, after: Option<&Row>) -> Result<Vec<Row>, CopyError> {
    let key = shape.table.key.join(", ");
    let places: Vec<String> = (1..=shape.table.key.len()).map(|place| format!("${place}")).collect();
    let from = if after.is_some() { format!("WHERE ({key}) > ({})", places.join(", ")) } else { String::new() };
    let sql = format!("SELECT {} FROM {} {from} ORDER BY {key} LIMIT {PAGE}", shape.names(), shape.table.name);
    let mut query = sqlx::query(AssertSqlSafe(sql));
    if let Some(after) = after {
        for column in shape.table.key {
            if let Some(value) = after.get(shape.place(column)?) {
                query = bind(query, value);
            }
        }
    }
    let mut rows = Vec::new();
    for row in query.fetch_all(connection).await? {
        let mut values = Vec::with_capacity(shape.columns.len());
        for (place, (_, kind)) in shape.columns.iter().enumerate() {
            values.push(match kind {
                Type::Bytes => Value::Bytes(row.try_get(place)?),
                Type::Integer => Value::Integer(row.try_get(place)?),
                // What was written before texts were marked may have a NUL, which PostgreSQL does not take.
                Type::Text => Value::Text(row.try_get::<Option<String>, _>(place)?.map(super::value::without_nul)),
            });
        }
        rows.push(values);
    }
    Ok(rows)
}

async fn insert(connection: &mut AnyConnection, shape: &Shape, rows: &[Row]) -> Result<(), CopyError> {
    let width = shape.columns.len();
    for some in rows.chunks((VALUES_MAX / width).max(1)) {
        let row = |n: usize| (1..=width).map(|place| format!("${}", n * width + place)).collect::<Vec<_>>().join(", ");
        let values = (0..some.len()).map(|n| format!("({})", row(n))).collect::<Vec<_>>().join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES {values}", shape.table.name, shape.names());
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for value in some.iter().flatten() {
            query = bind(query, value);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

fn bind<'q>(sql: super::value::Sql<'q>, value: &Value) -> super::value::Sql<'q> {
    match value.clone() {
        Value::Bytes(value) => sql.bind(value),
        Value::Integer(value) => sql.bind(value),
        Value::Text(value) => sql.bind(value),
    }
}

#[derive(Default)]
struct Tally {
    hasher: sha2::Sha256,
    rows: u64,
}

impl Tally {
    fn add(&mut self, rows: &[Row]) {
        for value in rows.iter().flatten() {
            let (kind, bytes): (u8, Option<std::borrow::Cow<'_, [u8]>>) = match value {
                Value::Bytes(value) => (b'b', value.as_deref().map(Into::into)),
                Value::Integer(value) => (b'i', value.map(|value| value.to_be_bytes().to_vec().into())),
                Value::Text(value) => (b't', value.as_ref().map(|value| value.as_bytes().into())),
            };
            match bytes {
                None => self.hasher.update([kind, b'0']),
                Some(bytes) => {
                    self.hasher.update([kind, b'1']);
                    self.hasher.update((bytes.len() as u64).to_be_bytes());
                    self.hasher.update(bytes);
                }
            }
        }
        self.rows += rows.len() as u64;
    }

    fn end(self, table: &'static str) -> Copied {
        Copied { rows: self.rows, sha256: Sha256(self.hasher.finalize().into()), table }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;

    #[tokio::test]
    async fn a_copy_has_everything_and_nothing_is_copied_over_it() {
        let folder = tempfile::tempdir().unwrap();
        let open = async |name: &str| Database::in_file(&folder.path().join(name)).await.unwrap();
        let source = open("source.db").await;
        conformance::run(&source).await;
        let copy = open("copy.db").await;
        let copied = source.copy_to(&copy).await.unwrap();
        // Tables without a row would prove nothing.
        let empty: Vec<_> = copied.iter().filter(|table| table.rows == 0).map(|table| table.table).collect();
        assert_eq!(empty, [""; 0], "the conformance suite leaves a row in every table");
        assert_eq!(conformance::everything(&copy).await, conformance::everything(&source).await);
        assert!(copy.check_empty().await.is_err());
        let again = source.copy_to(&copy).await;
        assert!(matches!(again, Err(CopyError::NotEmpty { table: "incidents", .. })), "{again:?}");
        // The copy goes on by itself, and a copy of it is the same.
        let third = open("third.db").await;
        assert_eq!(copy.copy_to(&third).await.unwrap(), copied);
        for store in [source, copy, third] {
            store.close().await;
        }
    }

    #[tokio::test]
    async fn a_copy_that_was_closed_is_whole_in_its_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let source = Database::in_file(&folder.path().join("source.db")).await.unwrap();
        conformance::run(&source).await;
        for n in 0..4 {
            let copy = Database::in_file(&folder.path().join(format!("{n}.db"))).await.unwrap();
            source.copy_to(&copy).await.unwrap();
            copy.close().await;
            assert!(!folder.path().join(format!("{n}.db-wal")).exists(), "copy {n}");
        }
        source.close().await;
    }

    #[tokio::test]
    async fn a_table_that_is_not_in_the_list_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = async |name: &str| Database::in_file(&folder.path().join(name)).await.unwrap();
        let (source, copy) = (open("source.db").await, open("copy.db").await);
        copy.check_empty().await.unwrap();
        let mut connection = source.opener.connect().await.unwrap();
        sqlx::raw_sql("CREATE TABLE more (id TEXT) STRICT").execute(&mut connection).await.unwrap();
        let refused = source.copy_to(&copy).await;
        assert!(matches!(refused, Err(CopyError::Shape { ref what }) if what == "the table more"), "{refused:?}");
    }
}
