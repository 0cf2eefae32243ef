//! The records in a PostgreSQL database, which several servers may share.

use std::fmt;
use std::str::FromStr;

use sqlx::any::AnyConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AnyConnection, ConnectOptions as _, Connection as _, Row as _};

use super::{Kind, OpenError, Opener, custody};

/// Connections that read at the same time.
pub(super) const READERS_MAX: u32 = 8;
/// A commit waits for the disk, whatever the database's default is; and a server that vanished in the middle of one does
/// not keep the others from writing for long: without this, the kernel would wait for it for hours.
pub(super) const PREPARE: &str = "SELECT set_config('synchronous_commit', 'on', false) \
                                  WHERE current_setting('synchronous_commit') = 'off'; \
                                  SET idle_in_transaction_session_timeout = '30s'; SET tcp_keepalives_idle = 5; \
                                  SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3";
pub(super) const PREPARE_READER: &str = "SET default_transaction_read_only = on";
const HINT: &str = "does it run, and may this user in? The password comes from ~/.pgpass, from $PGPASSFILE, or with \
                    $HOLDFAST_DATABASE_URL";

/// Where the database is: `postgres://user@host/database`, with the parameters of libpq. It is shown without its password.
#[derive(Clone)]
pub struct Address(AnyConnectOptions);

/// Not where a database can be.
#[derive(Debug, thiserror::Error)]
#[error("an address is wanted that begins with postgres://")]
pub struct NoAddress;

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let options = AnyConnectOptions::from_str(text).map_err(|_| NoAddress)?;
        match options.database_url.scheme() {
            "postgres" | "postgresql" => Ok(Self(options)),
            _ => Err(NoAddress),
        }
    }
}

impl Address {
    /// True when a password stands in it.
    pub fn has_password(&self) -> bool {
        let url = &self.0.database_url;
        url.password().is_some() || url.query_pairs().any(|(key, _)| key == "password")
    }

    /// The same, for a connection that is PostgreSQL's own.
    pub(super) fn options(&self) -> Result<PgConnectOptions, sqlx::Error> {
        PgConnectOptions::from_url(&self.0.database_url)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.0.database_url;
        write!(f, "postgres://{}{}", url.host_str().unwrap_or_default(), url.path())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Brings the tables to this version. Of several servers that start at once, one does.
pub(super) async fn open(address: &Address) -> Result<Opener, OpenError> {
    sqlx::any::install_default_drivers();
    let name = || address.to_string();
    let database = |source| OpenError::Database { name: name(), hint: HINT, source };
    let opener = Opener { kind: Kind::Postgres, options: address.0.clone() };
    let mut connection = opener.connect().await.map_err(database)?;
    for (setting, wanted) in [("server_encoding", "UTF8"), ("fsync", "on")] {
        let value = setting_of(&mut connection, setting).await.map_err(database)?;
        if value != wanted {
            return Err(OpenError::Setting { name: name(), setting, value, wanted });
        }
    }
    let migrated = sqlx::migrate!("migrations/postgres").run(&mut connection).await;
    migrated.map_err(|source| OpenError::Migrate { name: name(), source })?;
    custody::check(&mut connection).await.map_err(|source| OpenError::Log { name: name(), source })?;
    connection.close().await.map_err(database)?;
    Ok(opener)
}

async fn setting_of(connection: &mut AnyConnection, setting: &str) -> Result<String, sqlx::Error> {
    let row = sqlx::query("SELECT current_setting($1) AS value").bind(setting).fetch_one(connection).await?;
    row.try_get("value")
}

#[cfg(test)]
#[path = "../../../../tests/harness/postgres.rs"]
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
pub(super) mod server;

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use wire::Instant;

    use super::server::Postgres;
    use super::*;
    use crate::store::sql::Database;
    use crate::store::{NewLeaf, Store, conformance};

    fn leaf() -> NewLeaf {
        let (actor, subject) = ("server".to_owned(), "server".to_owned());
        NewLeaf {
            actor,
            details: serde_json::Map::new(),
            event: "server_started",
            incident: None,
            subject,
            time: Instant(1),
        }
    }

    /// A database of its own; nothing where there is no PostgreSQL.
    fn fresh() -> Option<(&'static Postgres, Address)> {
        let postgres = Postgres::shared()?;
        Some((postgres, postgres.database().parse().unwrap()))
    }

    #[tokio::test]
    async fn it_conforms_and_keeps_all_of_it_when_it_is_opened_again() {
        let Some((_, address)) = fresh() else { return };
        let store = Database::at(&address).await.unwrap();
        conformance::run(&store).await;
        let before = conformance::everything(&store).await;
        drop(store);
        let store = Database::at(&address).await.unwrap();
        assert_eq!(conformance::everything(&store).await, before);
        store.close().await;
    }

    #[tokio::test]
    async fn servers_that_come_first_together_make_one_log_without_a_gap() {
        let Some((_, address)) = fresh() else { return };
        let stores = join_all((0..3).map(|_| Database::at(&address))).await;
        let stores: Vec<Database> = stores.into_iter().map(Result::unwrap).collect();
        let commits = (0..150).map(|n| stores[n % 3].commit(vec![], vec![leaf()]));
        let mut sizes: Vec<u64> = join_all(commits).await.into_iter().map(|head| head.unwrap().size).collect();
        sizes.sort_unstable();
        assert!(sizes.into_iter().eq(1..=150));
        let heads = join_all(stores.iter().map(Store::head)).await;
        assert!(heads.iter().all(|head| head.as_ref().unwrap().size == 150));
    }

    #[tokio::test]
    async fn what_was_acknowledged_outlives_the_database_and_the_next_commit_finds_it_again() {
        // Of its own, because it is stopped.
        let Some(postgres) = Postgres::start() else { return };
        let address: Address = postgres.database().parse().unwrap();
        let store = Database::at(&address).await.unwrap();
        assert_eq!(store.commit(vec![], vec![leaf()]).await.unwrap().size, 1);
        postgres.stop();
        assert!(store.commit(vec![], vec![leaf()]).await.is_err());
        assert!(store.head().await.is_err());
        postgres.restart();
        assert_eq!(store.head().await.unwrap().size, 1);
        assert_eq!(store.commit(vec![], vec![leaf()]).await.unwrap().size, 2);
        postgres.restart();
        assert_eq!(store.commit(vec![], vec![leaf()]).await.unwrap().size, 3);
    }

    #[tokio::test]
    async fn a_log_that_was_touched_is_not_opened() {
        let Some((_, address)) = fresh() else { return };
        let store = Database::at(&address).await.unwrap();
        store.commit(vec![], vec![leaf(), leaf()]).await.unwrap();
        store.close().await;
        let mut connection = address.0.connect().await.unwrap();
        let mut run = async |sql| sqlx::raw_sql(sql).execute(&mut connection).await.map(|_| ());
        for sql in ["DELETE FROM leaves WHERE seq = 1", "UPDATE leaves SET text = '{}'", "TRUNCATE leaves"] {
            let refused = run(sql).await.unwrap_err().to_string();
            assert!(refused.contains("append-only"), "{sql}: {refused}");
        }
        run("DROP TRIGGER leaves_are_never_removed ON leaves; DELETE FROM leaves WHERE seq = 1").await.unwrap();
        assert!(matches!(Database::at(&address).await, Err(OpenError::Log { .. })));
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        let address: Address = "postgres://ada:secret@db.example/records?sslmode=require".parse().unwrap();
        assert_eq!(format!("{address} {address:?}"), "postgres://db.example/records postgres://db.example/records");
        assert!(address.has_password());
        assert!("postgres://db/x?password=secret".parse::<Address>().unwrap().has_password());
        assert!(!"postgres://ada@db/x".parse::<Address>().unwrap().has_password());
        for other in ["", "/var/lib/x.db", "sqlite:///x", "mysql://x/y"] {
            other.parse::<Address>().unwrap_err();
        }
    }
}
