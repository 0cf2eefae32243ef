//! Bytes that waited on their host while the server was away: opened, and then appended as if they had come in the clear.
//!
//! What they are worth is said by the same transport checkpoints: the host could have spooled anything.

use std::sync::Arc;

use bytes::Bytes;
use wire::UploadId;

use crate::app::{Actor, App, Problem, ProblemKind};
use crate::store::EvidenceRecord;

impl App {
    /// Appends the content of an age file to the spool's recipient, which begins at `offset` of the upload. What is there
    /// of it already is left as it is: the answer to it was lost.
    ///
    /// # Errors
    /// [`ProblemKind::Input`] for a file that cannot be opened, [`ProblemKind::Conflict`] when bytes before it are
    /// missing, and as [`App::append`].
    pub async fn append_spooled(
        self: &Arc<Self>,
        by: &Actor,
        upload: UploadId,
        offset: u64,
        file: Bytes,
    ) -> Result<EvidenceRecord, Problem> {
        let Some(key) = self.spool.clone() else {
            return Err(Problem::new(ProblemKind::Unavailable, "this server has no spool key"));
        };
        let bundle = self.upload(by, upload).await?.view.bundle;
        let opened = tokio::task::spawn_blocking(move || key.open(&file)).await;
        let opened = opened.map_err(|error| {
            Problem::new(ProblemKind::Internal, "the spooled file could not be opened").cause(error)
        })?;
        let content = opened.map_err(|why| {
            count("refused");
            tracing::warn!(%bundle, offset, %by, %why, "a spooled file cannot be opened");
            Problem::new(ProblemKind::Input, format!("the spooled file at byte {offset} of bundle {bundle}: {why}"))
                .hint("what came before it is kept; what comes after it cannot follow")
        })?;
        let record = self.upload(by, upload).await?;
        let there = record.offset.saturating_sub(offset);
        if there >= content.len() as u64 {
            count("there");
            return Ok(record);
        }
        // At the later of the two: before it, the appending says where the upload stands.
        let mut append = self.append(by, upload, record.offset.max(offset), None).await?;
        append.segment(Bytes::from(content).slice(usize::try_from(there).unwrap_or(0)..)).await?;
        count("taken");
        Ok(append.into_record())
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("holdfast_spooled_files_total", "outcome" => outcome).increment(1);
}
