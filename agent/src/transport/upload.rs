//! A bundle on its way up over the tus 1.0 protocol: one request after the other. What is sent when is decided in
//! [`super::sending`].
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
use super::receipts::{BadReceipt, Receipts};
use super::spool::{Entry, Kind, NoRoom, Waiting};

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
    /// The part of the run before this one.
    pub continues: Option<BundleId>,
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
    /// A file of the spool cannot be read by the server.
    #[error("what waited in {file} cannot be sent: the server holds {offset} bytes, and the rest is lost")]
    Spooled {
        /// The file's name in the bundle's folder of the spool.
        file: String,
        /// Bytes on the server.
        offset: u64,
        /// What it said.
        #[source]
        source: CallError,
    },
    /// The spool cannot be read by this host either.
    #[error("the spool cannot be read")]
    Unreadable(#[source] std::io::Error),
    /// Neither the server nor the spool takes any more.
    #[error("the server stayed away, and no more fits on this host: {waits} bytes of the bundle wait")]
    NoRoom {
        /// Bytes of the bundle in the spool.
        waits: u64,
        /// Why.
        #[source]
        source: NoRoom,
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

/// What came of sending a piece of the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is on the server.
    Sent,
    /// There was none.
    Nothing,
}

/// An upload under way.
pub struct Upload<'a> {
    /// The bundle that goes up.
    pub subject: Subject,
    client: &'a Client,
    /// None before it was begun.
    location: Option<String>,
    /// Bytes that the server has acknowledged.
    offset: u64,
    /// The offset is what the server said last: nothing went wrong since.
    is_certain: bool,
    /// Answers in a row that moved nothing forward.
    fruitless: u32,
    receipts: Receipts<'a>,
    /// The offset of the last receipt.
    receipted: Option<u64>,
    /// A server that stays away for longer than this ends one attempt.
    pub away_max: Duration,
}

impl<'a> Upload<'a> {
    /// An upload of which the server has heard nothing from this process.
    pub fn new(client: &'a Client, subject: Subject, receipts: Receipts<'a>, away_max: Duration) -> Self {
        let (location, offset, is_certain, fruitless, receipted) = (None, 0, false, 0, None);
        Self { subject, client, location, offset, is_certain, fruitless, receipts, receipted, away_max }
    }

    /// Bytes that the server has acknowledged.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The offset of the last receipt, if there was one.
    pub fn receipted(&self) -> Option<u64> {
        self.receipted
    }

    /// Something went wrong, or was broken off: the server is asked for its offset before anything else.
    pub fn doubt(&mut self) {
        self.is_certain = false;
    }

    /// Begins the upload, or finds it again: the same bundle gives the same upload.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn begin(&mut self) -> Result<(), UploadError> {
        if self.location.is_none() {
            self.create().await?;
        }
        Ok(())
    }

    async fn create(&mut self) -> Result<(), UploadError> {
        let Subject { belongs_to, bundle, continues, name, order, signer } = &self.subject;
        let mut pairs = vec![("bundle", bundle.to_string()), ("name", name.clone())];
        pairs.extend(belongs_to.map(|main| ("belongs_to", main.to_string())));
        pairs.extend(continues.map(|before| ("continues", before.to_string())));
        pairs.extend(order.map(|order| ("order", order.to_string())));
        pairs.push(("signer", signer.clone()));
        let pairs: Vec<String> =
            pairs.iter().map(|(key, value)| format!("{key} {}", BASE64_STANDARD.encode(value))).collect();
        let call =
            tus(Method::POST, UPLOADS).header("upload-defer-length", "1").header("upload-metadata", pairs.join(","));
        let reply = self.patience().ask(self.client, &call).await?;
        let location = reply.header("location").unwrap_or_default();
        // A path, or a whole address of the same server; the client goes nowhere else.
        let path = location.strip_prefix(reply.server()).unwrap_or(location);
        if !path.starts_with('/') || path.starts_with("//") {
            return Err(UploadError::Refused(reply.bad("it names no place for the upload")));
        }
        self.location = Some(path.trim_end_matches('/').to_owned());
        Ok(())
    }

    fn patience(&self) -> Patience {
        Patience::new(self.away_max)
    }

    fn place(&self, below: &str) -> String {
        format!("{}{below}", self.location.as_deref().unwrap_or(UPLOADS))
    }

    /// Sends `bytes`, which stand at the offset that was acknowledged.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn chunk(&mut self, bytes: &Bytes) -> Result<(), UploadError> {
        let start = self.offset;
        let end = start + bytes.len() as u64;
        let mut patience = self.patience();
        while self.offset < end {
            let rest = bytes.slice(usize::try_from(self.offset - start).unwrap_or(0)..);
            let checksum = BASE64_STANDARD.encode(Sha256::of(&rest).0);
            let call = tus(Method::PATCH, &self.place(""))
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
        offset_of(&patience.ask(self.client, &tus(Method::HEAD, &self.place(""))).await?)
    }

    /// Sends a transport checkpoint; answers whether it is the last.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn line(&mut self, line: &Bytes) -> Result<bool, UploadError> {
        let checkpoint = checkpoint(line);
        let call = Call::new(Method::POST, self.place("/checkpoints")).body("application/x-ndjson", line.clone());
        let reply = self.patience().ask(self.client, &call).await?;
        let receipts = reply.json::<CheckpointsReply>().map_err(UploadError::Refused)?.receipts;
        let Some(checkpoint) = checkpoint else { return Ok(false) };
        // The answer to a line that was told before may be empty: its first answer was lost on the way.
        if receipts.is_empty() {
            tracing::warn!(seq = checkpoint.seq, "the server holds this checkpoint and gave no receipt");
        }
        for receipt in &receipts {
            self.receipts.take(receipt, &checkpoint)?;
            self.receipted = Some(checkpoint.offset);
        }
        Ok(checkpoint.is_final)
    }

    /// Sends the oldest piece that waits in the spool. It loses its place there when a receipt covers it.
    ///
    /// # Errors
    /// [`UploadError`]; after [`UploadError::Away`] the same piece is the oldest still.
    pub async fn oldest(&mut self, waiting: &Waiting) -> Result<Step, UploadError> {
        self.begin().await?;
        if !self.is_certain {
            self.offset = self.head(&mut self.patience()).await?;
            self.is_certain = true;
        }
        let entries = waiting.entries().map_err(UploadError::Unreadable)?;
        // Bytes that the server has acknowledged wait for their checkpoint's receipt, and are not sent again.
        let is_there = |entry: &&Entry| entry.kind != Kind::Line && entry.end() <= self.offset;
        let Some(entry) = entries.iter().find(|entry| !is_there(entry)).copied() else { return Ok(Step::Nothing) };
        let content = Bytes::from(waiting.read(entry).map_err(UploadError::Unreadable)?);
        match entry.kind {
            Kind::Line => {
                self.line(&content).await?;
                waiting.covered(entry.offset).map_err(UploadError::Unreadable)?;
            }
            Kind::Chunk { .. } => self.spooled(entry, content).await?,
        }
        Ok(Step::Sent)
    }

    /// Sends a file of the spool, which begins at the server's offset or before it.
    async fn spooled(&mut self, entry: Entry, file: Bytes) -> Result<(), UploadError> {
        let lost = |held| UploadError::Lost { held, acknowledged: entry.offset, sent: entry.end() };
        if entry.offset > self.offset {
            return Err(lost(self.offset));
        }
        let call = tus(Method::PATCH, &self.place("/spooled"))
            .header("upload-offset", entry.offset.to_string())
            .body("application/octet-stream", file);
        match self.client.call(&call).await {
            Ok(reply) => {
                let held = offset_of(&reply)?;
                if held < entry.end() {
                    return Err(lost(held));
                }
                (self.offset, self.fruitless) = (held, 0);
                Ok(())
            }
            Err(source) => {
                self.is_certain = false;
                let is_moved = source.status() == Some(StatusCode::CONFLICT) && self.fruitless < FRUITLESS_MAX;
                self.fruitless += u32::from(is_moved);
                if source.status() == Some(StatusCode::BAD_REQUEST) {
                    return Err(UploadError::Spooled { file: entry.name(), offset: self.offset, source });
                }
                if is_moved || source.may_pass() {
                    return Err(UploadError::Away { secs: 0, source });
                }
                Err(UploadError::Refused(source))
            }
        }
    }

    /// Says how long the upload is, now that it is known.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn end(&mut self) -> Result<(), UploadError> {
        let offset = self.offset.to_string();
        let call = tus(Method::PATCH, &self.place(""))
            .header("upload-offset", &offset)
            .header("upload-length", &offset)
            .body(OFFSET_TYPE, Bytes::new());
        let mut patience = self.patience();
        loop {
            let Err(error) = self.client.call(&call).await else { return Ok(()) };
            patience.after(error).await?;
            // The answer may have been lost, and not the request.
            let held = patience.ask(self.client, &tus(Method::HEAD, &self.place(""))).await?;
            if held.header("upload-length") == Some(offset.as_str()) {
                return Ok(());
            }
        }
    }
}

/// What a line of transport checkpoints says. It is this agent's own word: nothing is checked.
pub fn checkpoint(line: &[u8]) -> Option<StreamCheckpoint> {
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
    fn new(away_max: Duration) -> Self {
        Self { backoff: Backoff::upload(), since: Instant::now(), away_max, fruitless: 0 }
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
