//! A database as each version made it opens in this one, with everything that it held.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use sqlx::any::{AnyConnectOptions, AnyRow};
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AnyConnection, AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};
use wire::host::HostMarks;

use super::Database;
use super::postgres::{Address, server::Postgres};
use crate::store::{AlertRecord, HostRecord, IncidentRecord, OrderRecord, Store, TokenRecord, conformance};

/// What PostgreSQL's own tables begin with.
const FIRST_ON_POSTGRES: i64 = 6;

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// Column by column, the kind of each.
type Columns = BTreeMap<String, String>;

async fn rows(connection: &mut AnyConnection, sql: String) -> Vec<AnyRow> {
    sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await.unwrap()
}

/// The tables and their columns, in either database.
async fn tables(connection: &mut AnyConnection) -> BTreeMap<String, Columns> {
    let sql = match connection.backend_name() {
        "SQLite" => {
            "SELECT t.name AS name, c.name AS part, c.type AS kind FROM sqlite_schema AS t, pragma_table_info(t.name) AS c \
             WHERE t.type = 'table'"
        }
        _ => {
            "SELECT table_name::text AS name, column_name::text AS part, data_type::text AS kind \
             FROM information_schema.columns WHERE table_schema = 'public'"
        }
    };
    let mut tables: BTreeMap<String, Columns> = BTreeMap::new();
    for row in rows(connection, sql.to_owned()).await {
        let [name, part, kind]: [String; 3] = ["name", "part", "kind"].map(|column| row.get(column));
        // The migrations' own books.
        if name.starts_with('_') || name.starts_with("sqlite") {
            continue;
        }
        let kind = match kind.to_uppercase().as_str() {
            "INTEGER" | "BIGINT" => "integer",
            "TEXT" => "text",
            "BLOB" | "BYTEA" => "bytes",
            other => panic!("{name}.{part} is {other}"),
        };
        tables.entry(name).or_default().insert(part, kind.to_owned());
    }
    tables
}

/// Whatever of these rows an older version could hold.
async fn copy(from: &mut AnyConnection, to: &mut AnyConnection) {
    for (table, columns) in tables(to).await {
        let names: Vec<&str> = columns.keys().map(String::as_str).collect();
        let list = names.join(", ");
        let places: Vec<String> = (1..=names.len()).map(|n| format!("${n}")).collect();
        let insert = format!("INSERT INTO {table} ({list}) VALUES ({})", places.join(", "));
        sqlx::query(AssertSqlSafe(format!("DELETE FROM {table}"))).execute(&mut *to).await.unwrap();
        let mut transaction = to.begin().await.unwrap();
        for row in rows(from, format!("SELECT {list} FROM {table}")).await {
            let mut sql = sqlx::query(AssertSqlSafe(insert.clone()));
            for (name, kind) in &columns {
                let name = name.as_str();
                sql = match kind.as_str() {
                    "integer" => sql.bind(row.get::<Option<i64>, _>(name)),
                    "text" => sql.bind(row.get::<Option<String>, _>(name)),
                    _ => sql.bind(row.get::<Option<Vec<u8>>, _>(name)),
                };
            }
            sql.execute(&mut *transaction).await.unwrap();
        }
        transaction.commit().await.unwrap();
    }
}

async fn sqlite(path: &Path) -> AnyConnection {
    sqlx::any::install_default_drivers();
    let options = SqliteConnectOptions::new().filename(path);
    // Made first, because an address cannot say so; and rows come in any order.
    options.clone().create_if_missing(true).connect().await.unwrap().close().await.unwrap();
    let mut connection = AnyConnectOptions::from_url(&options.to_url_lossy()).unwrap().connect().await.unwrap();
    sqlx::raw_sql("PRAGMA foreign_keys = OFF").execute(&mut connection).await.unwrap();
    connection
}

/// All that was there at this version, as text to compare, read by this one.
async fn held(store: &Database, of: &Database, version: i64) -> String {
    let mut text = String::new();
    let mut say = |what: &dyn std::fmt::Debug| writeln!(text, "{what:?}").unwrap();
    for incident in of.incidents(None, 1_000).await.unwrap() {
        let id = incident.incident;
        let record: IncidentRecord = store.incident(&id).await.unwrap().unwrap();
        let case = if version < 2 { wire::case::Case::default() } else { record.case.clone() };
        say(&IncidentRecord { case, ..record });
        for alert in store.alerts_of(&id).await.unwrap() {
            let (happened_secs, keys) =
                if version < 4 { (0, BTreeSet::new()) } else { (alert.happened_secs, alert.keys.clone()) };
            say(&AlertRecord { happened_secs, keys, ..alert });
        }
        for order in store.orders_of(&id).await.unwrap() {
            let new = version >= 9;
            let (approvals, approvers) = if new { (order.approvals.clone(), order.approvers) } else { (Vec::new(), 1) };
            let directive = order.directive.clone().filter(|_| new);
            say(&OrderRecord { approvals, approvers, directive, ..order });
        }
        if version >= 9 {
            say(&store.automations_of(&id).await.unwrap());
        }
        if version >= 3 {
            say(&store.pages_of(&id).await.unwrap());
        }
        if version >= 4 {
            say(&store.edits_of(&id, 1_000).await.unwrap());
        }
    }
    for record in store.evidence_list(None, None, 1_000).await.unwrap() {
        let bundle = record.view.bundle;
        for segment in store.segments(bundle).await.unwrap() {
            let sha256 = segment.sha256.filter(|_| version >= 7);
            say(&crate::objects::Segment { sha256, ..segment });
        }
        say(&store.checkpoints(bundle).await.unwrap());
        if version >= 6 {
            say(&store.findings(bundle).await.unwrap());
        }
        say(&record);
    }
    for host in store.hosts(None, 1_000).await.unwrap() {
        say(&if version < 10 {
            HostRecord {
                beat: None,
                gone: None,
                marks: HostMarks::default(),
                silent: None,
                version: 1,
                went_back: None,
                ..host
            }
        } else {
            host
        });
    }
    for token in store.tokens().await.unwrap() {
        let signature = token.signature.clone().filter(|_| version >= 5);
        say(&TokenRecord { signature, ..token });
    }
    if version >= 9 {
        say(&store.consoles(1_000).await.unwrap());
    }
    if version >= 5 {
        say(&store.letters(None, 1_000).await.unwrap());
    }
    say(&store.head().await.unwrap());
    say(&store.leaves(None, 0, u32::MAX).await.unwrap());
    text
}

#[tokio::test]
async fn a_database_of_every_version_opens_with_what_it_held() {
    let folder = tempfile::tempdir().unwrap();
    let full = folder.path().join("full.db");
    let newest = Database::in_file(&full).await.unwrap();
    conformance::run(&newest).await;
    let everything = conformance::everything(&newest).await;
    let mut from = sqlite(&full).await;
    let mut opened = Vec::new();
    for version in SQLITE.iter().map(|migration| migration.version) {
        let path = folder.path().join(format!("{version}.db"));
        let mut old = sqlite(&path).await;
        SQLITE.run_to(version, &mut old).await.unwrap();
        copy(&mut from, &mut old).await;
        old.close().await.unwrap();
        opened.push((version, Database::in_file(&path).await.unwrap()));
    }
    if let Some(postgres) = Postgres::shared() {
        for version in POSTGRES.iter().map(|migration| migration.version) {
            let address = postgres.database();
            let mut old = address.parse::<AnyConnectOptions>().unwrap().connect().await.unwrap();
            sqlx::raw_sql("SET session_replication_role = replica").execute(&mut old).await.unwrap();
            POSTGRES.run_to(version, &mut old).await.unwrap();
            copy(&mut from, &mut old).await;
            old.close().await.unwrap();
            opened.push((version, Database::at(&address.parse::<Address>().unwrap()).await.unwrap()));
        }
    }
    let last = SQLITE.iter().last().unwrap().version;
    for (version, store) in opened {
        assert!(held(&store, &newest, version).await == held(&newest, &newest, version).await, "of version {version}");
        if version == last {
            assert!(conformance::everything(&store).await == everything);
        }
        // And it goes on.
        store.ping().await.unwrap();
        store.close().await;
    }
}

#[tokio::test]
async fn both_databases_have_the_same_tables_and_versions() {
    let Some(postgres) = Postgres::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut one = sqlite(&folder.path().join("one.db")).await;
    let mut other = postgres.database().parse::<AnyConnectOptions>().unwrap().connect().await.unwrap();
    for version in FIRST_ON_POSTGRES..=SQLITE.iter().last().unwrap().version {
        SQLITE.run_to(version, &mut one).await.unwrap();
        POSTGRES.run_to(version, &mut other).await.unwrap();
        assert_eq!(tables(&mut one).await, tables(&mut other).await, "at version {version}");
    }
    let versions = |migrator: &Migrator| migrator.iter().map(|migration| migration.version).collect::<Vec<_>>();
    let both = versions(&SQLITE).into_iter().filter(|version| *version >= FIRST_ON_POSTGRES).collect::<Vec<_>>();
    assert_eq!(both, versions(&POSTGRES), "each change is one file in each of the two folders");
}
