//! A bundle on its way up over the tus 1.0 protocol, while it is being written.
//!
//! Each chunk is one PATCH that ends where a transport checkpoint stands, with its checksum; the checkpoint follows when
//! its bytes are acknowledged, and is answered with a receipt. After anything that went wrong the server is asked for its
//! offset first (HEAD): no acknowledged byte is sent again, and none is lost.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bundle::checkpoint::{StreamCheckpoint, StreamLine};
use bytes::Bytes;
use reqwest::{Method, StatusCode};
use wire::agent_api::CheckpointsReply;
use wire::{BundleId, OrderId, Sha256};

use super::backoff::Backoff;
use super::client::{Call, CallError, Client, Reply};
use super::queue::{Outgoing, Piece};
use super::receipts::{BadReceipt, Receipts};
use crate::causes::with_causes;

const UPLOADS: &str = "/api/v1/uploads";
const OFFSET_TYPE: &str = "application/offset+octet-stream";
/// A server that answers but moves nothing forward is asked this often.
const FRUITLESS_MAX: u32 = 20;
/// The answer of tus to a chunk whose checksum does not fit.
const CHECKSUM_MISMATCH: u16 = 460;

/// What stands in `Upload-Metadata`.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The bundle that it stands beside, if it does.
    pub belongs_to: Option<BundleId>,
    /// The bundle.
    pub bundle: BundleId,
    /// Its file name.
    pub name: String,
    /// The order, if there was one.
    pub order: Option<OrderId>,
    /// The key that signs its transport checkpoints.
    pub signer: String,
}

/// Why a bundle is not on the server, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The server stayed away.
    #[error("the server stayed away for {secs} s")]
    Away {
        /// How long.
        secs: u64,
        /// The last attempt.
        #[source]
        source: CallError,
    },
    /// The server refused, or gave answers that are none.
    #[error("the upload was refused")]
    Refused(#[source] CallError),
    /// The server does not know what it had acknowledged.
    #[error("the server holds {held} bytes of the upload, and had acknowledged {acknowledged} of {sent}")]
    Lost {
        /// Its offset now.
        held: u64,
        /// Its highest offset before.
        acknowledged: u64,
        /// Bytes that may have reached it.
        sent: u64,
    },
    /// The server takes the bytes and does not keep them.
    #[error("the server answered {times} times without taking all of one chunk")]
    Stuck {
        /// How often.
        times: u32,
    },
    /// A receipt is not for what was sent.
    #[error(transparent)]
    Receipt(#[from] BadReceipt),
    /// The bundle ended without a seal.
    #[error("the bundle ended without a seal after {offset} bytes")]
    Unsealed {
        /// Bytes on the server.
        offset: u64,
    },
}

/// An upload under way.
pub struct Upload<'a> {
    client: &'a Client,
    subject: Subject,
    location: String,
    /// Bytes that the server has acknowledged.
    offset: u64,
    receipts: Receipts<'a>,
}

/// Uploads what comes out of `outgoing` until the seal; answers the length. `may_begin` comes before the first request.
///
/// # Errors
/// [`UploadError`]; the writer's next call then fails as well.
pub async fn upload(
    client: &Client,
    subject: Subject,
    mut outgoing: Outgoing,
    receipts: Receipts<'_>,
    may_begin: impl Future<Output = Result<(), CallError>>,
) -> Result<u64, UploadError> {
    let run = async {
        may_begin.await.map_err(|source| UploadError::Away { secs: client.away_max.as_secs(), source })?;
        let mut upload = Upload { client, subject, location: String::new(), offset: 0, receipts };
        let mut is_sealed = false;
        // At once, while the first collectors are at work: their evidence then waits for no handshake.
        upload.create().await?;
        while let Some(piece) = outgoing.next().await {
            match &piece {
                Piece::Chunk(bytes) => upload.chunk(bytes).await?,
                Piece::Line(line) => is_sealed = upload.line(line).await?,
            }
            outgoing.answered(&piece);
        }
        if !is_sealed {
            return Err(UploadError::Unsealed { offset: upload.offset });
        }
        upload.end().await?;
        Ok(upload.offset)
    };
    let ended = run.await;
    tracing::info!(held_peak = outgoing.held_peak(), "upload ended");
    if let Err(error) = &ended {
        outgoing.fail(&with_causes(error));
    }
    ended
}

impl Upload<'_> {
    async fn create(&mut self) -> Result<(), UploadError> {
        let Subject { belongs_to, bundle, name, order, signer } = &self.subject;
        let mut pairs = vec![("bundle", bundle.to_string()), ("name", name.clone())];
        pairs.extend(belongs_to.map(|main| ("belongs_to", main.to_string())));
        pairs.extend(order.map(|order| ("order", order.to_string())));
        pairs.push(("signer", signer.clone()));
        let pairs: Vec<String> =
            pairs.iter().map(|(key, value)| format!("{key} {}", BASE64_STANDARD.encode(value))).collect();
        let call =
            tus(Method::POST, UPLOADS).header("upload-defer-length", "1").header("upload-metadata", pairs.join(","));
        let reply = Patience::new(self.client).ask(self.client, &call).await?;
        let location = reply.header("location").unwrap_or_default();
        // A path, or a whole address of the same server; the client goes nowhere else.
        let path = location.strip_prefix(self.client.server()).unwrap_or(location);
        if !path.starts_with('/') || path.starts_with("//") {
            return Err(UploadError::Refused(reply.bad("it names no place for the upload")));
        }
        path.trim_end_matches('/').clone_into(&mut self.location);
        Ok(())
    }

    /// Sends `bytes`, which stand at the offset that was acknowledged.
    async fn chunk(&mut self, bytes: &Bytes) -> Result<(), UploadError> {
        let start = self.offset;
        let end = start + bytes.len() as u64;
        let mut patience = Patience::new(self.client);
        while self.offset < end {
            let rest = bytes.slice(usize::try_from(self.offset - start).unwrap_or(0)..);
            let checksum = BASE64_STANDARD.encode(Sha256::of(&rest).0);
            let call = tus(Method::PATCH, &self.location)
                .header("upload-offset", self.offset.to_string())
                .header("upload-checksum", format!("sha256 {checksum}"))
                .body(OFFSET_TYPE, rest);
            let held = match self.client.call(&call).await {
                Ok(reply) => {
                    let held = offset_of(&reply)?;
                    // A server that takes a byte at a time, or none, could have the same bytes sent for ever.
                    if held < end {
                        patience.little_by_little()?;
                    }
                    held
                }
                Err(error) => {
                    patience.after(error).await?;
                    self.head(&mut patience).await?
                }
            };
            if held < self.offset || held > end {
                return Err(UploadError::Lost { held, acknowledged: self.offset, sent: end });
            }
            if held > self.offset {
                patience.moved_on();
            }
            self.offset = held;
        }
        Ok(())
    }

    async fn head(&self, patience: &mut Patience) -> Result<u64, UploadError> {
        offset_of(&patience.ask(self.client, &tus(Method::HEAD, &self.location)).await?)
    }

    /// Sends a transport checkpoint; answers whether it is the last.
    async fn line(&mut self, line: &Bytes) -> Result<bool, UploadError> {
        let checkpoint = checkpoint(line);
        let call = Call::new(Method::POST, format!("{}/checkpoints", self.location))
            .body("application/x-ndjson", line.clone());
        let reply = Patience::new(self.client).ask(self.client, &call).await?;
        let receipts = reply.json::<CheckpointsReply>().map_err(UploadError::Refused)?.receipts;
        let Some(checkpoint) = checkpoint else { return Ok(false) };
        // The answer to a line that was told before may be empty: its first answer was lost on the way.
        if receipts.is_empty() {
            tracing::warn!(seq = checkpoint.seq, "the server holds this checkpoint and gave no receipt");
        }
        for receipt in &receipts {
            self.receipts.take(receipt, &checkpoint)?;
        }
        Ok(checkpoint.is_final)
    }

    /// Says how long the upload is, now that it is known.
    async fn end(&mut self) -> Result<(), UploadError> {
        let offset = self.offset.to_string();
        let call = tus(Method::PATCH, &self.location)
            .header("upload-offset", &offset)
            .header("upload-length", &offset)
            .body(OFFSET_TYPE, Bytes::new());
        let mut patience = Patience::new(self.client);
        loop {
            let Err(error) = self.client.call(&call).await else { return Ok(()) };
            patience.after(error).await?;
            // The answer may have been lost, and not the request.
            let held = patience.ask(self.client, &tus(Method::HEAD, &self.location)).await?;
            if held.header("upload-length") == Some(offset.as_str()) {
                return Ok(());
            }
        }
    }
}

fn checkpoint(line: &[u8]) -> Option<StreamCheckpoint> {
    serde_json::from_slice::<StreamLine>(line).ok().map(|line| line.checkpoint)
}

fn tus(method: Method, path: &str) -> Call {
    Call::new(method, path).header("tus-resumable", "1.0.0")
}

fn offset_of(reply: &Reply) -> Result<u64, UploadError> {
    let offset = reply.header("upload-offset").and_then(|offset| offset.parse().ok());
    offset.ok_or_else(|| UploadError::Refused(reply.bad("it names no Upload-Offset")))
}

/// How long one thing is tried: until the server has stayed away for too long, or has answered too often without
/// moving on.
struct Patience {
    backoff: Backoff,
    since: Instant,
    away_max: Duration,
    fruitless: u32,
}

impl Patience {
    fn new(client: &Client) -> Self {
        Self { backoff: Backoff::upload(), since: Instant::now(), away_max: client.away_max, fruitless: 0 }
    }

    /// Waits after a failure, or gives up.
    async fn after(&mut self, error: CallError) -> Result<(), UploadError> {
        let is_tus =
            error.status().is_some_and(|status| status == StatusCode::CONFLICT || status.as_u16() == CHECKSUM_MISMATCH);
        if is_tus {
            self.fruitless += 1;
        }
        if !(error.may_pass() || is_tus) || self.fruitless > FRUITLESS_MAX {
            return Err(UploadError::Refused(error));
        }
        let left = self.away_max.saturating_sub(self.since.elapsed());
        if left.is_zero() {
            return Err(UploadError::Away { secs: self.away_max.as_secs(), source: error });
        }
        tracing::info!(%error, "the upload waits");
        tokio::time::sleep(self.backoff.wait().min(left)).await;
        Ok(())
    }

    /// The server holds more than before.
    fn moved_on(&mut self) {
        self.backoff = Backoff::upload();
        self.since = Instant::now();
    }

    /// The server answered, and did not take all that it was sent.
    fn little_by_little(&mut self) -> Result<(), UploadError> {
        self.fruitless += 1;
        if self.fruitless > FRUITLESS_MAX {
            return Err(UploadError::Stuck { times: self.fruitless });
        }
        Ok(())
    }

    /// Asks until there is an answer; a conflict is one here.
    async fn ask(&mut self, client: &Client, call: &Call) -> Result<Reply, UploadError> {
        loop {
            match client.call(call).await {
                Ok(reply) => return Ok(reply),
                Err(error) if error.may_pass() => self.after(error).await?,
                Err(error) => return Err(UploadError::Refused(error)),
            }
        }
    }
}
