//! The store in a database: a SQLite file of this server's own ([`sqlite`]), or a PostgreSQL database that several servers
//! share ([`postgres`]).
//!
//! All of SQL and of what is read from its rows is written once, in the modules beside this one, for both: through
//! [`sqlx::Any`], in the part of the language that both understand, over tables of the same names. What only one of them
//! has stands in its own migrations, where `json_each` and the triggers are, and in [`Kind`].
//!
//! A commit is on the medium before it is acknowledged, power cut or not. All writing goes through one task ([`writer`]);
//! reading has connections of its own and never waits for it.

mod access;
mod alerts;
mod change;
mod containment;
pub mod copy;
mod custody;
mod evidence;
mod hosts;
mod hunts;
mod incidents;
mod intake;
mod membership;
mod orders;
mod pages;
pub mod peers;
pub mod postgres;
mod sqlite;
#[cfg(test)]
mod upgrade;
mod value;
mod writer;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions as _};
use wire::api::EvidenceState;
use wire::case::Edit;
use wire::custody::HeadPoint;
use wire::finding::Found;
use wire::{
    AgentId, AlertId, BundleId, EditId, HuntId, IncidentId, Instant, LetterId, OrderId, PageId, Sha256, UploadId,
};

use super::{
    AlertRecord, AutomationRecord, Change, CheckpointRecord, ConsoleRecord, EvidenceRecord, FindingsRecord, HostRecord,
    HuntPlace, HuntRecord, IncidentRecord, LetterRecord, NewLeaf, OrderRecord, PageRecord, SessionRecord, Store,
    StoreError, StoredLeaf, TicketRecord, Tie, TokenRecord, Watch,
};
use crate::objects::Segment;
use postgres::Address;
use value::backend;
use writer::Writer;

/// How long a reader waits for a connection, and a statement of SQLite for another process that writes.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its file or folder cannot be used.
    #[error("database {name}: the file cannot be made or opened\n  hint: its folder must belong to the server's user")]
    File {
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// It does not answer, or refused.
    #[error("database {name}: it cannot be opened\n  hint: {hint}")]
    Database {
        /// Which.
        name: String,
        /// What to look at.
        hint: &'static str,
        /// Why.
        source: sqlx::Error,
    },
    /// It would not keep what it was given.
    #[error("database {name}: its {setting} is {value:?}\n  hint: {wanted} is needed")]
    Setting {
        /// Which.
        name: String,
        /// What is set.
        setting: &'static str,
        /// To what.
        value: String,
        /// What should be.
        wanted: &'static str,
    },
    /// Its tables are not those of this version.
    #[error("database {name}: its tables cannot be brought to this version\n  hint: was a newer server here before?")]
    Migrate {
        /// Which.
        name: String,
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
    /// The custody log contradicts itself.
    #[error("database {name}: its custody log was damaged or changed\n  hint: keep it as it is, and restore a backup")]
    Log {
        /// Which.
        name: String,
        /// Why.
        source: StoreError,
    },
}

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file of one server's own.
    Sqlite,
    /// A database that servers share.
    Postgres,
}

/// How a connection is made.
#[derive(Clone)]
struct Opener {
    kind: Kind,
    options: AnyConnectOptions,
}

impl Opener {
    /// A connection that may write.
    async fn connect(&self) -> Result<AnyConnection, sqlx::Error> {
        let mut connection = self.options.connect().await?;
        self.prepare(&mut connection, false).await?;
        Ok(connection)
    }

    /// Connections that only read.
    async fn readers(&self) -> Result<AnyPool, sqlx::Error> {
        let (opener, max) = (
            self.clone(),
            match self.kind {
                Kind::Sqlite => sqlite::READERS_MAX,
                Kind::Postgres => postgres::READERS_MAX,
            },
        );
        let pool = AnyPoolOptions::new().max_connections(max).acquire_timeout(BUSY_WAIT);
        let pool = pool.after_connect(move |connection, _| {
            let opener = opener.clone();
            Box::pin(async move { opener.prepare(connection, true).await })
        });
        pool.connect_with(self.options.clone()).await
    }

    async fn prepare(&self, connection: &mut AnyConnection, is_reader: bool) -> Result<(), sqlx::Error> {
        let (all, readers) = match self.kind {
            Kind::Sqlite => (sqlite::PREPARE, sqlite::PREPARE_READER),
            Kind::Postgres => (postgres::PREPARE, postgres::PREPARE_READER),
        };
        sqlx::raw_sql(all).execute(&mut *connection).await?;
        if is_reader {
            sqlx::raw_sql(readers).execute(connection).await?;
        }
        Ok(())
    }
}

/// Options may hold a password.
impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Database {
    name: String,
    opener: Opener,
    readers: AnyPool,
    writer: Writer,
}

impl Database {
    /// Opens the SQLite file at `path`, makes it when it is not there, and brings its tables to this version. To be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn in_file(path: &Path) -> Result<Self, OpenError> {
        let opener = sqlite::open(path).await?;
        Self::over(opener, path.display().to_string()).await
    }

    /// Opens a database of PostgreSQL, and brings its tables to this version. To be called within a tokio runtime.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn at(address: &Address) -> Result<Self, OpenError> {
        let opener = postgres::open(address).await?;
        Self::over(opener, address.to_string()).await
    }

    async fn over(opener: Opener, name: String) -> Result<Self, OpenError> {
        let hint = "too many open files, or too many connections?";
        match opener.readers().await {
            Ok(readers) => Ok(Self { name, opener: opener.clone(), readers, writer: Writer::start(opener) }),
            Err(source) => Err(OpenError::Database { name, hint, source }),
        }
    }

    /// Waits until everything that was handed in is durable, and closes the database.
    pub async fn close(self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// The number of the last migration.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn schema(&self) -> Result<u64, StoreError> {
        let sql = sqlx::query("SELECT MAX(version) AS version FROM _sqlx_migrations");
        let found = value::one(&mut *self.reader().await?, sql, |row| row.count("version")).await?;
        Ok(found.unwrap_or(0))
    }

    async fn reader(&self) -> Result<PoolConnection<Any>, StoreError> {
        self.readers.acquire().await.map_err(backend)
    }
}

/// Its name, without a password.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[async_trait]
impl Store for Database {
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
    async fn hosts_marked(&self, after: Option<&AgentId>, limit: u32) -> Result<Vec<HostRecord>, StoreError> {
        hosts::marked(&mut *self.reader().await?, after, limit).await
    }
    async fn hosts_unheard(&self, before: Instant, limit: u32) -> Result<Vec<HostRecord>, StoreError> {
        hosts::unheard(&mut *self.reader().await?, before, limit).await
    }
    async fn hosts_troubled(&self, since: Instant, limit: u32) -> Result<Vec<HostRecord>, StoreError> {
        hosts::troubled(&mut *self.reader().await?, since, limit).await
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
    async fn orders_overdue(&self, by: Instant, limit: u32) -> Result<Vec<OrderRecord>, StoreError> {
        orders::overdue(&mut *self.reader().await?, by, limit).await
    }
    async fn containment_orders(&self, limit: u32) -> Result<Vec<OrderRecord>, StoreError> {
        orders::of_containment(&mut *self.reader().await?, limit).await
    }

    async fn automations_of(&self, incident: &IncidentId) -> Result<Vec<AutomationRecord>, StoreError> {
        containment::of_incident(&mut *self.reader().await?, incident).await
    }
    async fn automations(&self, limit: u32) -> Result<Vec<AutomationRecord>, StoreError> {
        containment::open(&mut *self.reader().await?, limit).await
    }
    async fn console(&self, agent: &AgentId, id: OrderId) -> Result<Option<ConsoleRecord>, StoreError> {
        containment::console(&mut *self.reader().await?, agent, id).await
    }
    async fn consoles(&self, limit: u32) -> Result<Vec<ConsoleRecord>, StoreError> {
        containment::consoles(&mut *self.reader().await?, limit).await
    }

    async fn hunt(&self, hunt: HuntId) -> Result<Option<HuntRecord>, StoreError> {
        hunts::by_id(&mut *self.reader().await?, hunt).await
    }
    async fn hunts(&self, limit: u32) -> Result<Vec<HuntRecord>, StoreError> {
        hunts::newest(&mut *self.reader().await?, limit).await
    }
    async fn hunts_open(&self, limit: u32) -> Result<Vec<HuntRecord>, StoreError> {
        hunts::open(&mut *self.reader().await?, limit).await
    }
    async fn hunt_orders(&self, hunt: HuntId) -> Result<Vec<HuntPlace>, StoreError> {
        hunts::places(&mut *self.reader().await?, hunt).await
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

    async fn identity(&self, name: &str) -> Result<Option<String>, StoreError> {
        access::identity(&mut *self.reader().await?, name).await
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
