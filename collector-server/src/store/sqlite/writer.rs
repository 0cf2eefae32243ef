//! The one task that writes. It takes all commits that wait and makes them durable with one sync of the disk, each
//! under a savepoint of its own: one that conflicts leaves the others alone. Nobody hears of a commit before that sync.

use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use wire::custody::HeadPoint;

use super::super::{Change, NewLeaf, StoreError};
use super::value::backend;
use super::{change, custody};

/// Commits that wait; who comes after waits for room.
const WAITING_MAX: usize = 1024;
/// Commits that share a sync of the disk.
const BATCH_MAX: usize = 64;

type Outcome = Result<HeadPoint, StoreError>;

/// A commit and who waits for it.
#[derive(Debug)]
struct Work {
    changes: Vec<Change>,
    leaves: Vec<NewLeaf>,
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

/// One failure of the database, told to all whose commits were in it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the database could not be written")]
struct BatchFailed(#[source] Arc<sqlx::Error>);

impl Writer {
    pub fn start(options: SqliteConnectOptions) -> Self {
        let (works, waiting) = mpsc::channel(WAITING_MAX);
        Self { task: tokio::spawn(run(options, waiting)), works }
    }

    /// A caller that stops waiting does not stop its commit.
    pub async fn commit(&self, changes: Vec<Change>, leaves: Vec<NewLeaf>) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        self.works.send(Work { changes, leaves, reply }).await.map_err(|_| backend(Ended))?;
        outcome.await.map_err(|_| backend(Ended))?
    }

    pub async fn close(self) {
        drop(self.works);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task that writes to the database failed");
        }
    }
}

async fn run(options: SqliteConnectOptions, mut waiting: mpsc::Receiver<Work>) {
    let mut connection = None;
    let mut works = Vec::with_capacity(BATCH_MAX);
    while waiting.recv_many(&mut works, BATCH_MAX).await > 0 {
        let (mut jobs, mut replies) = (Vec::new(), Vec::new());
        for work in works.drain(..) {
            jobs.push((work.changes, work.leaves));
            replies.push(work.reply);
        }
        // After a failure nobody knows what state the connection is in (a full disk ends the transaction by itself).
        let outcomes = match batch(connection.take(), &options, jobs).await {
            Ok((outcomes, used)) => {
                connection = Some(used);
                outcomes
            }
            Err(error) => {
                tracing::error!(%error, commits = replies.len(), "the database could not be written");
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

/// Makes all jobs durable in one transaction. An error means that none of them is.
async fn batch(
    connection: Option<SqliteConnection>,
    options: &SqliteConnectOptions,
    jobs: Vec<(Vec<Change>, Vec<NewLeaf>)>,
) -> Result<(Vec<Outcome>, SqliteConnection), sqlx::Error> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => options.connect().await?,
    };
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    // Read each time: a command of the operator may have written through a process of its own.
    let mut tree = custody::load(&mut transaction).await.map_err(sqlx_error)?;
    let size_before = tree.size();
    let mut outcomes = Vec::with_capacity(jobs.len());
    for (changes, leaves) in jobs {
        let mut savepoint = transaction.begin().await?;
        let mut grown = tree.clone();
        let mut done = change::make(&mut savepoint, changes).await;
        if done.is_ok() {
            done = custody::append(&mut savepoint, &mut grown, leaves).await;
        }
        match done {
            Ok(()) => {
                savepoint.commit().await?;
                outcomes.push(Ok(custody::point(&grown)));
                tree = grown;
            }
            Err(error) => {
                savepoint.rollback().await?;
                outcomes.push(Err(error));
            }
        }
    }
    if tree.size() > size_before {
        custody::save(&mut transaction, &tree).await.map_err(sqlx_error)?;
    }
    transaction.commit().await?;
    Ok((outcomes, connection))
}

fn sqlx_error(error: StoreError) -> sqlx::Error {
    sqlx::Error::Encode(error.into())
}
