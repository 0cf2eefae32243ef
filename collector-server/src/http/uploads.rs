//! Uploads over tus 1.0.0 (<https://tus.io/protocols/resumable-upload>): creation, creation-defer-length, checksum,
//! expiration, termination. And, beside the protocol, the transport checkpoints.
//!
//! A `PATCH` with a checksum is all or nothing; one without is kept as far as it came. Terminating an upload ends it, but
//! removes nothing: what came is evidence.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::body::{Body as HttpBody, BodyDataStream};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use wire::agent_api::{CHUNK_BYTES_MAX, CheckpointsReply};
use wire::{IncidentId, Sha256, UploadId};

use super::error::answer;
use super::extract::{Body, Caller, Path, Query};
use crate::app::uploads::NewUpload;
use crate::app::uploads::append::Append;
use crate::app::{App, Problem, ProblemKind};
use crate::store::EvidenceRecord;

/// A body with a checksum is held in memory until it is checked.
const CHECKED_BYTES_MAX: usize = 2 * CHUNK_BYTES_MAX;
/// One `PATCH` without a checksum may hold a whole bundle. (What is documented; the bound is the bundle's.)
pub const PATCH_BYTES_MAX: usize = usize::MAX;
/// Some hundred lines of at most 16 KiB; a usual one has 1.2 KB.
pub const CHECKPOINTS_BYTES_MAX: usize = 1 << 20;
/// How long the next bytes of a body may take.
const PAUSE_SECS_MAX: u64 = 30;
/// `Upload-Metadata`, in bytes.
const METADATA_BYTES_MAX: usize = 4 << 10;
/// Bodies that are taken at a time: each holds up to 16 MiB of memory.
const BODIES_MAX: usize = 32;
/// How long a body waits for its turn.
const TURN_SECS_MAX: u64 = 20;
/// Not in any RFC; tus.
const CHECKSUM_MISMATCH: u16 = 460;

static TURNS: Semaphore = Semaphore::const_new(BODIES_MAX);

const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const VERSION: HeaderName = HeaderName::from_static("tus-version");
const EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
const MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
const ALGORITHM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");
const DEFER: HeaderName = HeaderName::from_static("upload-defer-length");
const METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const V1: HeaderValue = HeaderValue::from_static("1.0.0");

/// Where a person's upload belongs.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub struct To {
    /// The incident; `incident` in `Upload-Metadata` says the same.
    incident: Option<IncidentId>,
}

/// What the server understands.
pub async fn options(State(app): State<Arc<App>>) -> Response {
    let headers = [
        (RESUMABLE, V1),
        (VERSION, V1),
        (EXTENSION, HeaderValue::from_static("creation,creation-defer-length,checksum,expiration,termination")),
        (MAX_SIZE, HeaderValue::from(app.limits.bundle_bytes_max)),
        (ALGORITHM, HeaderValue::from_static("sha256")),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// The same, asked of an upload.
pub async fn options_of(state: State<Arc<App>>, _: Path<UploadId>) -> Response {
    options(state).await
}

/// Begins an upload.
pub async fn create(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Query(to): Query<To>,
    headers: HeaderMap,
) -> Response {
    let created = async {
        speaks_tus(&headers)?;
        let new = announced(&headers, to.incident)?;
        let record = app.begin_upload(&by, new).await?;
        let mut answer = status_headers(&app, &record);
        let location = format!("/api/v1/uploads/{}", record.upload);
        answer.extend(HeaderValue::from_str(&location).ok().map(|location| (LOCATION, location)));
        Ok((StatusCode::CREATED, answer))
    };
    respond(created.await)
}

/// How far an upload is.
pub async fn status(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(upload): Path<UploadId>,
    headers: HeaderMap,
) -> Response {
    let found = async {
        speaks_tus(&headers)?;
        let record = app.upload(&by, upload).await?;
        let mut answer = status_headers(&app, &record);
        answer.push((CACHE_CONTROL, HeaderValue::from_static("no-store")));
        Ok((StatusCode::OK, answer))
    };
    respond(found.await)
}

/// The next bytes.
pub async fn append(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(upload): Path<UploadId>,
    headers: HeaderMap,
    body: HttpBody,
) -> Response {
    let begun = async {
        speaks_tus(&headers)?;
        let is_right = headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/offset+octet-stream");
        if !is_right {
            return Err(Problem::new(ProblemKind::MediaType, "the bytes of an upload have a media type of their own")
                .hint("Content-Type: application/offset+octet-stream"));
        }
        let offset = number(&headers, &OFFSET)?
            .ok_or_else(|| Problem::new(ProblemKind::Input, "Upload-Offset is missing").hint("HEAD tells it"))?;
        let checksum = checksum(&headers)?;
        let length = number(&headers, &LENGTH)?;
        let turn = timeout(Duration::from_secs(TURN_SECS_MAX), TURNS.acquire()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or_else(|| {
            Problem::new(ProblemKind::Unavailable, "too many uploads at this moment").hint("send it again in a minute")
        })?;
        Ok((app.append(&by, upload, offset, length).await?, checksum, turn))
    };
    let (append, checksum, turn) = match begun.await {
        Ok(begun) => begun,
        Err(problem) => return respond(Err(problem)),
    };
    // A task of its own: when the connection drops, this handler does, and what came must still be kept.
    let kept = tokio::spawn(async move {
        let kept = keep(&app, append, body.into_data_stream(), checksum).await;
        drop(turn);
        kept
    });
    match kept.await {
        Ok(Ok(offset)) => respond(Ok((StatusCode::NO_CONTENT, vec![(OFFSET, HeaderValue::from(offset))]))),
        Ok(Err(Refused::Problem(problem))) => respond(Err(problem)),
        Ok(Err(Refused::Checksum)) => {
            let status = StatusCode::from_u16(CHECKSUM_MISMATCH).unwrap_or(StatusCode::BAD_REQUEST);
            let message = "the bytes that came do not have this checksum; none were kept".to_owned();
            let mut response = answer(status, "checksum_mismatch", message, "send them again from the same offset");
            response.headers_mut().insert(RESUMABLE, V1);
            response
        }
        Err(error) => {
            let problem = Problem::new(ProblemKind::Internal, "the bytes could not be kept").cause(error);
            respond(Err(problem.hint("ask for the offset and go on there")))
        }
    }
}

/// Ends an upload. Nothing is removed.
pub async fn end(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(upload): Path<UploadId>,
    headers: HeaderMap,
) -> Response {
    let ended = async {
        speaks_tus(&headers)?;
        app.end_upload(&by, upload).await?;
        Ok((StatusCode::NO_CONTENT, Vec::new()))
    };
    respond(ended.await)
}

/// Transport checkpoints, one a line.
///
/// # Errors
/// See [`App::add_checkpoints`].
pub async fn add_checkpoints(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(upload): Path<UploadId>,
    Body(lines): Body,
) -> Result<Answer<CheckpointsReply>, Problem> {
    if lines.trim_ascii().is_empty() {
        return Err(Problem::new(ProblemKind::Input, "there is no transport checkpoint in it: it is empty")
            .hint("send lines of the bundle's .stream.jsonl"));
    }
    // A task of its own: what was committed is told to the live page, also when the agent is gone.
    let added = tokio::spawn(async move { app.add_checkpoints(&by, upload, &lines).await });
    let failed = |error| Problem::new(ProblemKind::Internal, "the checkpoints could not be kept").cause(error);
    added.await.map_err(failed)?.map(Answer)
}

enum Refused {
    /// The bytes are others than were announced.
    Checksum,
    Problem(Problem),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// What the next step of reading a body gave.
enum Piece {
    Bytes(Bytes),
    End,
    /// The connection dropped, fell silent, or somebody else wants to write.
    Broken(&'static str),
}

async fn keep(app: &App, append: Append, body: BodyDataStream, checksum: Option<Sha256>) -> Result<u64, Refused> {
    match checksum {
        Some(checksum) => keep_checked(append, body, checksum).await,
        None => Ok(keep_as_it_comes(app, append, body).await?),
    }
}

/// All of the body, or nothing.
async fn keep_checked(mut append: Append, mut body: BodyDataStream, checksum: Sha256) -> Result<u64, Refused> {
    let mut whole = BytesMut::new();
    loop {
        match next(&append, &mut body).await {
            Piece::Bytes(piece) if whole.len() + piece.len() > CHECKED_BYTES_MAX => {
                let problem =
                    Problem::new(ProblemKind::TooLarge, "a body with a checksum is longer than is held in memory");
                return Err(problem.hint(format!("send at most {CHECKED_BYTES_MAX} bytes at once")).into());
            }
            Piece::Bytes(piece) => whole.extend_from_slice(&piece),
            Piece::End => break,
            Piece::Broken(why) => return Err(broken(why).into()),
        }
    }
    let whole = whole.freeze();
    let counted = whole.clone();
    let hashed = tokio::task::spawn_blocking(move || Sha256::of(&counted)).await;
    let hashed = hashed.map_err(|error| Problem::new(ProblemKind::Internal, "hashing failed").cause(error))?;
    if hashed != checksum {
        return Err(Refused::Checksum);
    }
    append.segment(whole).await?;
    Ok(append.offset())
}

/// In segments, as far as it comes.
async fn keep_as_it_comes(app: &App, mut append: Append, mut body: BodyDataStream) -> Result<u64, Problem> {
    let mut held = BytesMut::new();
    let ended = loop {
        let piece = tokio::select! {
            biased;
            () = app.stop.cancelled() => {
                break Err(Problem::new(ProblemKind::Unavailable, "the server stops; what came is kept")
                    .hint("ask for the offset and go on there"));
            }
            piece = next(&append, &mut body) => piece,
        };
        match piece {
            Piece::Bytes(piece) => held.extend_from_slice(&piece),
            Piece::End => break Ok(()),
            Piece::Broken(why) => break Err(broken(why)),
        }
        while held.len() >= CHUNK_BYTES_MAX {
            append.segment(held.split_to(CHUNK_BYTES_MAX).freeze()).await?;
        }
        if held.len() as u64 > append.room() {
            break Err(Problem::new(ProblemKind::TooLarge, "there are more bytes than the upload was declared with")
                .hint("the length of an upload never changes"));
        }
    };
    let room = usize::try_from(append.room()).unwrap_or(usize::MAX);
    held.truncate(room);
    append.segment(held.freeze()).await?;
    ended.map(|()| append.offset())
}

async fn next(append: &Append, body: &mut BodyDataStream) -> Piece {
    let piece = tokio::select! {
        piece = timeout(Duration::from_secs(PAUSE_SECS_MAX), body.next()) => piece,
        () = append.taken_over() => return Piece::Broken("another request took over"),
    };
    match piece {
        Ok(Some(Ok(bytes))) => Piece::Bytes(bytes),
        Ok(None) => Piece::End,
        Ok(Some(Err(_))) => Piece::Broken("the connection dropped"),
        Err(_) => Piece::Broken("no more bytes came"),
    }
}

fn broken(why: &str) -> Problem {
    Problem::new(ProblemKind::Locked, format!("the upload was broken off: {why}"))
        .hint("ask for the offset and go on there")
}

fn respond(answered: Result<(StatusCode, Vec<(HeaderName, HeaderValue)>), Problem>) -> Response {
    let mut response = match answered {
        Ok((status, headers)) => {
            let mut response = status.into_response();
            response.headers_mut().extend(headers);
            response
        }
        Err(problem) => {
            let is_other_version = problem.message == OTHER_VERSION;
            let mut response = problem.into_response();
            if is_other_version {
                *response.status_mut() = StatusCode::PRECONDITION_FAILED;
                response.headers_mut().insert(VERSION, V1);
            }
            response
        }
    };
    response.headers_mut().insert(RESUMABLE, V1);
    response
}

const OTHER_VERSION: &str = "uploads are done with tus 1.0.0";

fn speaks_tus(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.get(RESUMABLE) == Some(&V1) {
        return Ok(());
    }
    Err(Problem::new(ProblemKind::Input, OTHER_VERSION).hint("send Tus-Resumable: 1.0.0"))
}

fn status_headers(app: &App, record: &EvidenceRecord) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = vec![(OFFSET, HeaderValue::from(record.offset))];
    headers.push(match record.length {
        Some(length) => (LENGTH, HeaderValue::from(length)),
        None => (DEFER, HeaderValue::from_static("1")),
    });
    let until =
        app.continued_until(record).map(|until| until.calendar().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
    headers.extend(until.and_then(|until| HeaderValue::from_str(&until).ok()).map(|until| (EXPIRES, until)));
    headers
}

/// What the headers of a creation say.
fn announced(headers: &HeaderMap, incident: Option<IncidentId>) -> Result<NewUpload, Problem> {
    let wrong = |what: &str, hint: &str| Problem::new(ProblemKind::Input, what).hint(hint);
    let length = number(headers, &LENGTH)?;
    let is_deferred = headers.get(DEFER).is_some_and(|value| value == "1");
    if length.is_none() != is_deferred {
        return Err(wrong("the upload's length is not declared", "send Upload-Length, or Upload-Defer-Length: 1"));
    }
    let metadata = metadata(headers)?;
    let text = |key: &str| metadata.iter().find(|(there, _)| there == key).map(|(_, value)| value.clone());
    let bundle = text("bundle").and_then(|bundle| bundle.parse().ok());
    let bundle =
        bundle.ok_or_else(|| wrong("the upload names no bundle", "Upload-Metadata: bundle BASE64-OF-ITS-ID"))?;
    let order = text("order").map(|order| order.parse()).transpose();
    let order = order.map_err(|_| wrong("the upload's order is no id", "Upload-Metadata: order BASE64-OF-ITS-ID"))?;
    let named = text("incident").map(|incident| incident.parse()).transpose();
    let named = named.map_err(|_| wrong("the upload's incident is no id", "as in INC-2026-0007"))?;
    let name = text("name").or_else(|| text("filename"));
    Ok(NewUpload { bundle, incident: named.or(incident), length, name, order, signer: text("signer") })
}

/// `key base64, key base64 …`
fn metadata(headers: &HeaderMap) -> Result<Vec<(String, String)>, Problem> {
    let wrong = || {
        Problem::new(ProblemKind::Input, "Upload-Metadata cannot be read")
            .hint("pairs of a key and a value in base64, with commas between the pairs")
    };
    let Some(value) = headers.get(METADATA) else { return Ok(Vec::new()) };
    let value = value.to_str().map_err(|_| wrong())?;
    if value.len() > METADATA_BYTES_MAX {
        return Err(wrong());
    }
    let pair = |pair: &str| {
        let (key, value) = pair.trim().split_once(' ').unwrap_or((pair.trim(), ""));
        let value = BASE64_STANDARD.decode(value.trim()).ok()?;
        Some((key.to_owned(), String::from_utf8(value).ok()?))
    };
    value.split(',').filter(|text| !text.trim().is_empty()).map(pair).collect::<Option<_>>().ok_or_else(wrong)
}

fn checksum(headers: &HeaderMap) -> Result<Option<Sha256>, Problem> {
    let Some(value) = headers.get(CHECKSUM) else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(|value| {
        let digest = BASE64_STANDARD.decode(value.strip_prefix("sha256 ")?.trim()).ok()?;
        Some(Sha256(digest.try_into().ok()?))
    });
    parsed.map(Some).ok_or_else(|| {
        Problem::new(ProblemKind::Input, "Upload-Checksum cannot be read")
            .hint("sha256, a space, and the digest in base64")
    })
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let number = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = number.and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| Problem::new(ProblemKind::Input, format!("{name} is no number of bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn what_a_client_announces() {
        let id = BASE64_STANDARD.encode("019abcde-0000-7000-8000-000000000001");
        let name = BASE64_STANDARD.encode("web-1.evidence.zip");
        let text = format!("bundle {id},filename {name}, is_confidential");
        let new = announced(&headers(&[("upload-length", "7"), ("upload-metadata", &text)]), None).unwrap();
        assert_eq!((new.length, new.name.as_deref()), (Some(7), Some("web-1.evidence.zip")));
        for bad in [
            headers(&[("upload-metadata", &text)]),
            headers(&[("upload-length", "7"), ("upload-defer-length", "1"), ("upload-metadata", &text)]),
            headers(&[("upload-length", "-7"), ("upload-metadata", &text)]),
            headers(&[("upload-length", "18446744073709551616"), ("upload-metadata", &text)]),
            headers(&[("upload-length", "7")]),
            headers(&[("upload-length", "7"), ("upload-metadata", "bundle %%%")]),
        ] {
            assert!(announced(&bad, None).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn checksums_and_versions() {
        let digest = Sha256::of(b"abc");
        let value = format!("sha256 {}", BASE64_STANDARD.encode(digest.0));
        assert_eq!(checksum(&headers(&[("upload-checksum", &value)])).unwrap(), Some(digest));
        for bad in ["sha1 AAAA", "sha256", "sha256 AAAA"] {
            assert!(checksum(&headers(&[("upload-checksum", bad)])).is_err(), "{bad}");
        }
        assert!(speaks_tus(&headers(&[("tus-resumable", "0.2.2")])).is_err());
    }
}
