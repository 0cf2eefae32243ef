//! The store in one SQLite file.
//!
//! Write-ahead log with `synchronous=FULL`: a commit is on the medium before it is acknowledged, power cut or not. All
//! writing goes through one task ([`writer`]); reading has connections of its own and never waits for it.

mod access;
mod alerts;
mod change;
mod custody;
mod evidence;
mod hosts;
mod incidents;
mod intake;
mod membership;
mod orders;
mod pages;
mod value;
mod writer;

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use rustix::fs::{FlockOperation, flock};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};
use wire::api::EvidenceState;
use wire::case::Edit;
use wire::custody::HeadPoint;
use wire::finding::Found;
use wire::{AgentId, AlertId, BundleId, EditId, IncidentId, Instant, LetterId, OrderId, PageId, Sha256, UploadId};

use super::{
    AlertRecord, Change, CheckpointRecord, EvidenceRecord, FindingsRecord, HostRecord, IncidentRecord, LetterRecord,
    NewLeaf, OrderRecord, PageRecord, SessionRecord, Store, StoreError, StoredLeaf, TicketRecord, Tie, TokenRecord,
    Watch,
};
use crate::objects::Segment;
use value::backend;
use writer::Writer;

/// How long a statement waits for another process that writes.
const BUSY_WAIT: Duration = Duration::from_secs(5);
/// Connections that read at the same time.
const READERS_MAX: u32 = 4;

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its file or folder cannot be used.
    #[error("database {path}: the file cannot be made or opened\n  hint: its folder must belong to the server's user")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// SQLite refused it.
    #[error("database {path}: SQLite cannot open it\n  hint: is it a database, and is the disk full?")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// Its tables are not those of this version.
    #[error("database {path}: its tables cannot be brought to this version\n  hint: was a newer server here before?")]
    Migrate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
    /// The custody log contradicts itself.
    #[error("database {path}: its custody log was damaged or changed\n  hint: keep this file, and restore a backup")]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Sqlite {
    readers: SqlitePool,
    writer: Writer,
}

impl Sqlite {
    /// Opens the database at `path`, makes it when it is not there, and brings its tables to this version. To be called
    /// inside a runtime; the writer is a task of it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let file = |source| OpenError::File { path: path.to_owned(), source };
        make_file(path).map_err(file)?;
        // An operator's command may be the first to open a database together with the server: one of them makes the
        // tables. A file of its own, because closing the database's would end SQLite's locks on it (fcntl(2)).
        let lock = make_file(&path.with_extension("db.lock")).map_err(file)?;
        let held = tokio::task::spawn_blocking(move || flock(&lock, FlockOperation::LockExclusive).map(|()| lock));
        let lock = held.await.map_err(io::Error::other).and_then(|held| Ok(held?)).map_err(file)?;
        let database = |source| OpenError::Database { path: path.to_owned(), source };
        let options = options(path);
        let mut connection = options.connect().await.map_err(database)?;
        sqlx::migrate!("migrations/sqlite")
            .run(&mut connection)
            .await
            .map_err(|source| OpenError::Migrate { path: path.to_owned(), source })?;
        custody::check(&mut connection).await.map_err(|source| OpenError::Log { path: path.to_owned(), source })?;
        connection.close().await.map_err(database)?;
        drop(lock);
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .acquire_timeout(BUSY_WAIT)
            .connect_with(options.clone().pragma("query_only", "ON"))
            .await
            .map_err(database)?;
        Ok(Self { readers, writer: Writer::start(options) })
    }

    /// Waits until everything that was handed in is durable, and closes the file.
    pub async fn close(self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn reader(&self) -> Result<sqlx::pool::PoolConnection<sqlx::Sqlite>, StoreError> {
        self.readers.acquire().await.map_err(backend)
    }
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

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_WAIT)
        .pragma("journal_size_limit", "67108864")
        .pragma("trusted_schema", "OFF")
}

#[async_trait]
impl Store for Sqlite {
    async fn commit(&self, changes: Vec<Change>, leaves: Vec<NewLeaf>) -> Result<HeadPoint, StoreError> {
        self.writer.commit(changes, leaves).await
    }

    async fn alert(&self, alert: AlertId) -> Result<Option<AlertRecord>, StoreError> {
        alerts::by_id(&mut *self.reader().await?, alert).await
    }
    async fn alert_by_ref(&self, source_ref: &str) -> Result<Option<AlertRecord>, StoreError> {
        alerts::by_ref(&mut *self.reader().await?, source_ref).await
    }
    async fn alerts(&self, after: Option<AlertId>, limit: u32) -> Result<Vec<AlertRecord>, StoreError> {
        alerts::list(&mut *self.reader().await?, after, limit).await
    }
    async fn alerts_of(&self, incident: &IncidentId) -> Result<Vec<AlertRecord>, StoreError> {
        alerts::of_incident(&mut *self.reader().await?, incident).await
    }
    async fn alert_ids(&self, incident: &IncidentId, limit: u32) -> Result<Vec<AlertId>, StoreError> {
        alerts::ids(&mut *self.reader().await?, incident, limit).await
    }
    async fn alert_elsewhere(&self, alerts: &[AlertId], incident: &IncidentId) -> Result<Option<AlertId>, StoreError> {
        membership::elsewhere(&mut *self.reader().await?, alerts, incident).await
    }
    async fn ties(
        &self,
        keys: &BTreeSet<String>,
        happened_secs: i64,
        window_secs: i64,
    ) -> Result<Vec<Tie>, StoreError> {
        membership::ties(&mut *self.reader().await?, keys, happened_secs, window_secs).await
    }

    async fn incident(&self, incident: &IncidentId) -> Result<Option<IncidentRecord>, StoreError> {
        incidents::by_id(&mut *self.reader().await?, incident).await
    }
    async fn incidents(&self, after: Option<&IncidentId>, limit: u32) -> Result<Vec<IncidentRecord>, StoreError> {
        incidents::list(&mut *self.reader().await?, after, limit).await
    }
    async fn absorbed(&self, incident: &IncidentId) -> Result<Vec<IncidentId>, StoreError> {
        incidents::absorbed(&mut *self.reader().await?, incident).await
    }
    async fn edit(&self, edit: EditId) -> Result<Option<Edit>, StoreError> {
        membership::edit(&mut *self.reader().await?, edit).await
    }
    async fn edits_of(&self, incident: &IncidentId, limit: u32) -> Result<Vec<Edit>, StoreError> {
        membership::edits_of(&mut *self.reader().await?, incident, limit).await
    }
    async fn is_edited_by_people(&self, incident: &IncidentId) -> Result<bool, StoreError> {
        membership::is_edited_by_people(&mut *self.reader().await?, incident).await
    }
    async fn last_incident_number(&self, year: i16) -> Result<u32, StoreError> {
        incidents::last_number(&mut *self.reader().await?, year).await
    }
    async fn counts(&self, incident: &IncidentId) -> Result<(u64, u64), StoreError> {
        incidents::counts(&mut *self.reader().await?, incident).await
    }

    async fn watch(&self, incident: &IncidentId) -> Result<Watch, StoreError> {
        incidents::watch(&mut *self.reader().await?, incident).await
    }
    async fn incidents_to_look_at(&self, now: Instant, limit: u32) -> Result<Vec<(IncidentRecord, Watch)>, StoreError> {
        incidents::to_look_at(&mut *self.reader().await?, now, limit).await
    }
    async fn pages_due(&self, now: Instant, limit: u32) -> Result<Vec<PageRecord>, StoreError> {
        pages::due(&mut *self.reader().await?, now, limit).await
    }
    async fn pages_of(&self, incident: &IncidentId) -> Result<Vec<PageRecord>, StoreError> {
        pages::of_incident(&mut *self.reader().await?, incident).await
    }
    async fn pages_since(&self, since: Instant, limit: u32) -> Result<Vec<PageRecord>, StoreError> {
        pages::since(&mut *self.reader().await?, since, limit).await
    }
    async fn page(&self, page: PageId) -> Result<Option<PageRecord>, StoreError> {
        pages::by_id(&mut *self.reader().await?, page).await
    }

    async fn host(&self, agent: &AgentId) -> Result<Option<HostRecord>, StoreError> {
        hosts::by_id(&mut *self.reader().await?, agent).await
    }
    async fn hosts(&self, after: Option<&AgentId>, limit: u32) -> Result<Vec<HostRecord>, StoreError> {
        hosts::list(&mut *self.reader().await?, after, limit).await
    }

    async fn order(&self, order: OrderId) -> Result<Option<OrderRecord>, StoreError> {
        orders::by_id(&mut *self.reader().await?, order).await
    }
    async fn orders_of(&self, incident: &IncidentId) -> Result<Vec<OrderRecord>, StoreError> {
        orders::of_incident(&mut *self.reader().await?, incident).await
    }
    async fn orders_waiting(&self, agent: &AgentId) -> Result<Vec<OrderRecord>, StoreError> {
        orders::waiting(&mut *self.reader().await?, agent).await
    }

    async fn evidence(&self, bundle: BundleId) -> Result<Option<EvidenceRecord>, StoreError> {
        evidence::by_id(&mut *self.reader().await?, bundle).await
    }
    async fn evidence_by_upload(&self, upload: UploadId) -> Result<Option<EvidenceRecord>, StoreError> {
        evidence::by_upload(&mut *self.reader().await?, upload).await
    }
    async fn evidence_list(
        &self,
        incident: Option<&IncidentId>,
        after: Option<BundleId>,
        limit: u32,
    ) -> Result<Vec<EvidenceRecord>, StoreError> {
        evidence::list(&mut *self.reader().await?, incident, after, limit).await
    }
    async fn evidence_in(&self, state: EvidenceState) -> Result<Vec<EvidenceRecord>, StoreError> {
        evidence::in_state(&mut *self.reader().await?, state).await
    }
    async fn segments(&self, bundle: BundleId) -> Result<Vec<Segment>, StoreError> {
        evidence::segments(&mut *self.reader().await?, bundle).await
    }
    async fn checkpoints(&self, bundle: BundleId) -> Result<Vec<CheckpointRecord>, StoreError> {
        evidence::checkpoints(&mut *self.reader().await?, bundle).await
    }
    async fn findings(&self, bundle: BundleId) -> Result<Option<FindingsRecord>, StoreError> {
        evidence::findings(&mut *self.reader().await?, bundle).await
    }
    async fn found(&self, bundle: BundleId) -> Result<Option<Found>, StoreError> {
        evidence::found(&mut *self.reader().await?, bundle).await
    }
    async fn evidence_without_findings(&self, limit: u32) -> Result<Vec<EvidenceRecord>, StoreError> {
        evidence::without_findings(&mut *self.reader().await?, limit).await
    }

    async fn letter(&self, letter: LetterId) -> Result<Option<LetterRecord>, StoreError> {
        intake::by_id(&mut *self.reader().await?, letter).await
    }
    async fn letters(&self, after: Option<LetterId>, limit: u32) -> Result<Vec<LetterRecord>, StoreError> {
        intake::list(&mut *self.reader().await?, after, limit).await
    }

    async fn ticket(&self, ticket: Sha256) -> Result<Option<TicketRecord>, StoreError> {
        access::ticket(&mut *self.reader().await?, ticket).await
    }
    async fn token(&self, token: &str) -> Result<Option<TokenRecord>, StoreError> {
        access::token(&mut *self.reader().await?, token).await
    }
    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        access::tokens(&mut *self.reader().await?).await
    }
    async fn session(&self, session: Sha256) -> Result<Option<SessionRecord>, StoreError> {
        access::session(&mut *self.reader().await?, session).await
    }

    async fn head(&self) -> Result<HeadPoint, StoreError> {
        Ok(custody::point(&custody::load(&mut *self.reader().await?).await?))
    }
    async fn leaves(
        &self,
        incident: Option<&IncidentId>,
        from: u64,
        limit: u32,
    ) -> Result<Vec<StoredLeaf>, StoreError> {
        custody::leaves(&mut *self.reader().await?, incident, from, limit).await
    }

    async fn last_leaves(&self, incident: &IncidentId, limit: u32) -> Result<Vec<StoredLeaf>, StoreError> {
        custody::last_leaves(&mut *self.reader().await?, incident, limit).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // Through the writer: a store that only reads does not answer.
        self.commit(Vec::new(), Vec::new()).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::store::conformance;

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
        let store = Sqlite::open(&path).await.unwrap();
        conformance::run(&store).await;
        let before = conformance::everything(&store).await;
        // Dropped, not closed, as when the process ends.
        drop(store);
        let store = Sqlite::open(&path).await.unwrap();
        assert_eq!(conformance::everything(&store).await, before);
        store.close().await;
    }

    #[tokio::test]
    async fn nobody_else_reads_its_files_and_a_second_opening_finds_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/holdfast.db");
        let store = Sqlite::open(&path).await.unwrap();
        let head = store.commit(vec![], vec![leaf()]).await.unwrap();
        for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
        }
        // A command of the operator, beside the server.
        let second = Sqlite::open(&path).await.unwrap();
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
        let opened = join_all((0..4).map(|_| Sqlite::open(&path))).await;
        for store in opened {
            store.unwrap().commit(vec![], vec![leaf()]).await.unwrap();
        }
        assert_eq!(Sqlite::open(&path).await.unwrap().head().await.unwrap().size, 4);
    }

    #[tokio::test]
    async fn a_log_that_was_touched_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("holdfast.db");
        let store = Sqlite::open(&path).await.unwrap();
        store.commit(vec![], vec![leaf(), leaf()]).await.unwrap();
        store.close().await;
        let mut connection = options(&path).connect().await.unwrap();
        let mut run = async |sql| sqlx::raw_sql(sql).execute(&mut connection).await.map(|_| ());
        assert!(run("DELETE FROM leaves WHERE seq = 1").await.is_err());
        assert!(run("UPDATE leaves SET text = '{}'").await.is_err());
        run("DROP TRIGGER leaves_are_never_removed; DELETE FROM leaves WHERE seq = 1").await.unwrap();
        connection.close().await.unwrap();
        assert!(matches!(Sqlite::open(&path).await, Err(OpenError::Log { .. })));
        std::fs::write(&path, "no database").unwrap();
        assert!(matches!(Sqlite::open(&path).await, Err(OpenError::Database { .. })));
        assert!(matches!(Sqlite::open(Path::new("/proc/x/y.db")).await, Err(OpenError::File { .. })));
    }
}
