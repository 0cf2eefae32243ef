//! The one task of this server that writes. Commits that wait at the same time share one transaction, and so one sync of
//! the disk: that is what makes a flood of small commits fast. Each is a savepoint of its own, so one that conflicts
//! leaves the others alone.

use std::sync::Arc;
use std::time::Duration;

use bundle::merkle::Tree;
use sqlx::{Any, AnyConnection, Connection as _, Transaction};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wire::custody::HeadPoint;

use super::super::{Change, NewLeaf, StoreError};
use super::value::backend;
use super::{Opener, change, custody};

/// Commits that wait; who comes after waits for room.
const WAITING_MAX: usize = 1024;
/// Commits that share a sync of the disk.
const BATCH_MAX: usize = 64;
/// A database that does not answer for so long while it is written to is given up, and asked anew with the next commit.
const BATCH_SECS_MAX: Duration = Duration::from_secs(30);

type Outcome = Result<HeadPoint, StoreError>;
type Job = (Vec<Change>, Vec<NewLeaf>);

/// A commit and who waits for it.
#[derive(Debug)]
struct Work {
    job: Job,
    reply: oneshot::Sender<Outcome>,
}

/// The way to the task.
#[derive(Debug)]
pub(super) struct Writer {
    task: JoinHandle<()>,
    works: mpsc::Sender<Work>,
}

#[derive(Debug, thiserror::Error)]
#[error("the task that writes has ended")]
struct Ended;

#[derive(Debug, thiserror::Error)]
#[error("the database did not answer in time")]
struct Silent;

/// One failure of the database, told to all whose commits were in it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the database could not be written")]
struct BatchFailed(#[source] Arc<StoreError>);

impl Writer {
    pub fn start(opener: Opener) -> Self {
        let (works, waiting) = mpsc::channel(WAITING_MAX);
        Self { task: tokio::spawn(run(opener, waiting)), works }
    }

    /// A caller that stops waiting does not stop its commit.
    pub async fn commit(&self, changes: Vec<Change>, leaves: Vec<NewLeaf>) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        self.works.send(Work { job: (changes, leaves), reply }).await.map_err(|_| backend(Ended))?;
        outcome.await.map_err(|_| backend(Ended))?
    }

    pub async fn close(self) {
        drop(self.works);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task that writes to the database failed");
        }
    }
}

async fn run(opener: Opener, mut waiting: mpsc::Receiver<Work>) {
    let mut connection = None;
    let mut works = Vec::with_capacity(BATCH_MAX);
    while waiting.recv_many(&mut works, BATCH_MAX).await > 0 {
        let (jobs, replies): (Vec<_>, Vec<_>) = works.drain(..).map(|work| (work.job, work.reply)).unzip();
        // After a failure nobody knows what state the connection is in (a full disk ends the transaction by itself), nor,
        // when it failed at the very end, whether all of it stands or none. Nothing is tried twice: who asked looks.
        let batch = timeout(BATCH_SECS_MAX, batch(connection.take(), &opener, jobs));
        let outcomes = match batch.await.unwrap_or_else(|_| Err(backend(Silent))) {
            Ok((outcomes, used)) => {
                connection = Some(used);
                outcomes
            }
            Err(error) => {
                tracing::error!(?error, commits = replies.len(), "the database could not be written");
                let failed = BatchFailed(Arc::new(error));
                replies.iter().map(|_| Err(backend(failed.clone()))).collect()
            }
        };
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            // Who asked may have gone; the commit stands all the same.
            let _ = reply.send(outcome);
        }
    }
    if let Some(connection) = connection
        && let Err(error) = connection.close().await
    {
        tracing::warn!(%error, "the database was not closed cleanly");
    }
}

/// Makes all jobs durable in one transaction. An error means that none of them is, unless it is that of the last step.
async fn batch(
    kept: Option<AnyConnection>,
    opener: &Opener,
    jobs: Vec<Job>,
) -> Result<(Vec<Outcome>, AnyConnection), StoreError> {
    let mut connection = open(kept, opener).await?;
    let begin = match opener.kind {
        super::Kind::Sqlite => "BEGIN IMMEDIATE",
        super::Kind::Postgres => "BEGIN",
    };
    let mut transaction = connection.begin_with(begin).await.map_err(backend)?;
    // Read each time: another server may have written, or a command of the operator through a process of its own.
    let before = custody::load_to_grow(&mut transaction, opener.kind).await?;
    let (outcomes, tree) = make(&mut transaction, before.clone(), jobs).await?;
    if tree.size() > before.size() {
        custody::save(&mut transaction, &tree).await?;
    }
    transaction.commit().await.map_err(backend)?;
    Ok((outcomes, connection))
}

/// The connection that was kept, unless the database has gone meanwhile, or another.
async fn open(kept: Option<AnyConnection>, opener: &Opener) -> Result<AnyConnection, StoreError> {
    if let Some(mut kept) = kept
        && kept.ping().await.is_ok()
    {
        return Ok(kept);
    }
    opener.connect().await.map_err(backend)
}

/// Makes each job in a savepoint of its own, which is kept or taken back.
async fn make(
    transaction: &mut Transaction<'_, Any>,
    mut tree: Tree,
    jobs: Vec<Job>,
) -> Result<(Vec<Outcome>, Tree), StoreError> {
    let mut outcomes = Vec::with_capacity(jobs.len());
    for (changes, leaves) in jobs {
        let mut savepoint = transaction.begin().await.map_err(backend)?;
        let mut grown = tree.clone();
        let mut done = change::make(&mut savepoint, changes).await;
        if done.is_ok() {
            done = custody::append(&mut savepoint, &mut grown, leaves).await;
        }
        match done {
            Ok(()) => {
                savepoint.commit().await.map_err(backend)?;
                outcomes.push(Ok(custody::point(&grown)));
                tree = grown;
            }
            Err(error) => {
                savepoint.rollback().await.map_err(backend)?;
                outcomes.push(Err(error));
            }
        }
    }
    Ok((outcomes, tree))
}
