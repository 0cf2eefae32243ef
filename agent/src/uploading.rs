//! A collection that goes up to the server while it is being made: the bundle on a thread of its own, the network here.

use std::io;

use bundle::name::of_part;
use bundle::write::{PartLimits, WriteError};
use tokio::sync::{mpsc, oneshot};
use wire::{BundleId, OrderId};

use crate::collection::Collection;
use crate::run::Finished;
use crate::run::parts::Outputs;
use crate::run::progress::Progress;
use crate::transport::client::{CallError, Client};
use crate::transport::queue::{Chunks, Lines, Outgoing, queue};
use crate::transport::receipts::Receipts;
use crate::transport::sending::{Otherwise, upload};
use crate::transport::upload::{Subject, UploadError};

/// Why there is no sealed bundle, neither on the server nor on its way there. What arrived stays there as a partial one.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The upload ended first.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The bundle could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// There was no thread for it.
    #[error("the collection's thread could not be started")]
    Thread(#[source] io::Error),
    /// Its thread ended without a word.
    #[error("the collection's thread ended without a word; the agent's log says where")]
    Died,
}

/// Runs `collection` and uploads it; `signer` is the public key that signs it. The collection begins at once, and the
/// upload when `may_begin` says so: the server takes it from an agent that has told what it is for. What cannot be sent
/// goes where `otherwise` says; the bundle may then be sealed before all of it is on the server.
///
/// # Errors
/// [`Failure`].
pub async fn run(
    collection: Collection,
    client: &Client,
    (order, signer): (Option<OrderId>, String),
    mut receipts: Receipts<'_>,
    may_begin: impl Future<Output = Result<(), CallError>>,
    otherwise: Otherwise,
    mut progress: impl Progress + Send + 'static,
) -> Result<Finished, Failure> {
    let (belongs_to, bundle, name) = (collection.belongs_to(), collection.bundle, collection.name.clone());
    let subject = Subject { belongs_to, bundle, continues: None, name, order, signer };
    let (chunks, lines, outgoing) = queue();
    let (next, mut parts) = mpsc::unbounded_channel();
    let mut outputs = Uploads { first: subject.clone(), next };
    let (tell, told) = oneshot::channel();
    std::thread::Builder::new()
        .name("collection".to_owned())
        .spawn(move || {
            let _ = tell.send(collection.run(chunks, lines, &mut outputs, &mut progress));
        })
        .map_err(Failure::Thread)?;
    let mut uploaded = upload(client, subject, outgoing, receipts.lend(), may_begin, otherwise.clone()).await;
    // One after the other: the writer of the next part waits when its queue is full.
    while uploaded.is_ok()
        && let Some((subject, outgoing)) = parts.recv().await
    {
        let at_once = std::future::ready(Ok(()));
        uploaded = upload(client, subject, outgoing, receipts.lend(), at_once, otherwise.clone()).await;
    }
    // What waits for an upload that will not come must not be waited for.
    drop(parts);
    // The writer has ended, or its next call fails: it does not stay away for long.
    let written = told.await.map_err(|_| Failure::Died)?;
    match (written, uploaded) {
        (Ok(finished), Ok(_)) => Ok(finished),
        // The writer's own failure is the cause of an upload that ended without a seal, and else the other way round.
        (Err(error), Err(UploadError::Unsealed { .. }) | Ok(_)) => Err(error.into()),
        (_, Err(error)) => Err(error.into()),
    }
}

/// Each part of a run is an upload of its own.
struct Uploads {
    first: Subject,
    next: mpsc::UnboundedSender<(Subject, Outgoing)>,
}

impl Outputs<Chunks, Lines> for Uploads {
    fn limits(&self) -> Option<PartLimits> {
        Some(PartLimits::default())
    }

    fn open(&mut self, part: u32, bundle: BundleId, before: BundleId) -> io::Result<(Chunks, Lines)> {
        let (chunks, lines, outgoing) = queue();
        let name = of_part(&self.first.name, part);
        let subject = Subject { bundle, continues: Some(before), name, ..self.first.clone() };
        self.next.send((subject, outgoing)).map_err(|_| io::Error::from(io::ErrorKind::ConnectionAborted))?;
        Ok((chunks, lines))
    }
}

#[cfg(test)]
mod tests;
