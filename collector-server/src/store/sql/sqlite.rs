//! The records in one SQLite file, with its write-ahead log.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use sqlx::any::AnyConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::{Kind, OpenError, Opener, custody};

/// Connections that read at the same time.
pub(super) const READERS_MAX: u32 = 4;
/// `FULL`: a commit is synced before it is acknowledged.
pub(super) const PREPARE: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                                  PRAGMA journal_size_limit = 67108864; PRAGMA trusted_schema = OFF";
pub(super) const PREPARE_READER: &str = "PRAGMA query_only = ON";
const HINT: &str = "is it a database, and is the disk full?";

/// Makes the file when it is not there, and brings its tables to this version.
pub(super) async fn open(path: &Path) -> Result<Opener, OpenError> {
    let name = || path.display().to_string();
    let file = |source| OpenError::File { name: name(), source };
    make_file(path).map_err(file)?;
    // An operator's command may be the first to open a database together with the server: one of them makes the
    // tables. A file of its own, because closing the database's would end SQLite's locks on it (fcntl(2)).
    let lock = make_file(&path.with_extension("db.lock")).map_err(file)?;
    let held = tokio::task::spawn_blocking(move || flock(&lock, FlockOperation::LockExclusive).map(|()| lock));
    let lock = held.await.map_err(io::Error::other).and_then(|held| Ok(held?)).map_err(file)?;
    let database = |source| OpenError::Database { name: name(), hint: HINT, source };
    let opener = opener(path).map_err(database)?;
    let mut connection = opener.connect().await.map_err(database)?;
    let migrated = sqlx::migrate!("migrations/sqlite").run(&mut connection).await;
    migrated.map_err(|source| OpenError::Migrate { name: name(), source })?;
    custody::check(&mut connection).await.map_err(|source| OpenError::Log { name: name(), source })?;
    connection.close().await.map_err(database)?;
    drop(lock);
    Ok(opener)
}

fn opener(path: &Path) -> Result<Opener, sqlx::Error> {
    sqlx::any::install_default_drivers();
    // Foreign keys are enforced and others that write are waited for, unless somebody says otherwise.
    let url = SqliteConnectOptions::new().filename(path).to_url_lossy();
    Ok(Opener { kind: Kind::Sqlite, options: AnyConnectOptions::from_url(&url)? })
}

/// The files that SQLite makes beside the database take its mode: nobody else may read tokens' hashes or alerts.
fn make_file(path: &Path) -> io::Result<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use wire::Instant;

    use super::*;
    use crate::store::conformance;
    use crate::store::sql::Database;
    use crate::store::{NewLeaf, Store as _};

    fn leaf() -> NewLeaf {
        let details = serde_json::json!({"b": 1, "a": {"d": "\u{7f}\u{0}", "c": null}});
        let details = details.as_object().cloned().unwrap_or_default();
        let (actor, subject) = ("server".to_owned(), "server".to_owned());
        NewLeaf { actor, details, event: "server_started", incident: None, subject, time: Instant(1) }
    }

    #[tokio::test]
    async fn it_conforms_and_keeps_all_of_it_when_it_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("holdfast.db");
        let store = Database::in_file(&path).await.unwrap();
        conformance::run(&store).await;
        let before = conformance::everything(&store).await;
        // Dropped, not closed, as when the process ends.
        drop(store);
        let store = Database::in_file(&path).await.unwrap();
        assert_eq!(conformance::everything(&store).await, before);
        store.close().await;
    }

    #[tokio::test]
    async fn nobody_else_reads_its_files_and_a_second_opening_finds_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/holdfast.db");
        let store = Database::in_file(&path).await.unwrap();
        let head = store.commit(vec![], vec![leaf()]).await.unwrap();
        for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
        }
        // A command of the operator, beside the server.
        let second = Database::in_file(&path).await.unwrap();
        assert_eq!(second.head().await.unwrap(), head);
        let grown = second.commit(vec![], vec![leaf()]).await.unwrap();
        assert_eq!((grown.size, store.head().await.unwrap()), (2, grown));
        assert_eq!(store.commit(vec![], vec![leaf()]).await.unwrap().size, 3);
        let both = (0..100).map(|n| if n % 2 == 0 { &store } else { &second });
        let commits = join_all(both.map(|store| store.commit(vec![], vec![leaf()]))).await;
        let mut sizes: Vec<u64> = commits.into_iter().map(|head| head.unwrap().size).collect();
        sizes.sort_unstable();
        assert!(sizes.into_iter().eq(4..=103));
        second.close().await;
        store.ping().await.unwrap();
        store.close().await;
    }

    #[tokio::test]
    async fn two_that_come_first_find_one_database() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("holdfast.db");
        let opened = join_all((0..4).map(|_| Database::in_file(&path))).await;
        for store in opened {
            store.unwrap().commit(vec![], vec![leaf()]).await.unwrap();
        }
        assert_eq!(Database::in_file(&path).await.unwrap().head().await.unwrap().size, 4);
    }

    #[tokio::test]
    async fn a_log_that_was_touched_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("holdfast.db");
        let store = Database::in_file(&path).await.unwrap();
        store.commit(vec![], vec![leaf(), leaf()]).await.unwrap();
        store.close().await;
        let mut connection = opener(&path).unwrap().connect().await.unwrap();
        let mut run = async |sql| sqlx::raw_sql(sql).execute(&mut connection).await.map(|_| ());
        assert!(run("DELETE FROM leaves WHERE seq = 1").await.is_err());
        assert!(run("UPDATE leaves SET text = '{}'").await.is_err());
        run("DROP TRIGGER leaves_are_never_removed; DELETE FROM leaves WHERE seq = 1").await.unwrap();
        connection.close().await.unwrap();
        assert!(matches!(Database::in_file(&path).await, Err(OpenError::Log { .. })));
        std::fs::write(&path, "no database").unwrap();
        assert!(matches!(Database::in_file(&path).await, Err(OpenError::Database { .. })));
        assert!(matches!(Database::in_file(Path::new("/proc/x/y.db")).await, Err(OpenError::File { .. })));
    }
}
