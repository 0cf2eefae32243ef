//! Uploads over tus 1.0.0 (<https://tus.io/protocols/resumable-upload>): creation, creation-defer-length, checksum,
//! expiration, termination. And, beside the protocol, the transport checkpoints.
//!
//! A `PATCH` with a checksum is all or nothing; one without is kept as far as it came. Terminating an upload ends it, but
//! removes nothing: what came is evidence.

use std::sync::Arc;

use axum::Json as Answer;
use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use wire::agent_api::{CheckpointsReply, SPOOLED_BYTES_MAX};
use wire::{IncidentId, UploadId};

mod body;
mod headers;
mod turns;

use super::error::answer;
use super::extract::{Body, Caller, Path, Query};
use crate::app::{App, Problem, ProblemKind};
use crate::store::EvidenceRecord;
use body::Refused;
use headers::{
    ALGORITHM, DEFER, EXPIRES, EXTENSION, LENGTH, MAX_SIZE, OFFSET, OTHER_VERSION, RESUMABLE, V1, VERSION, announced,
    checksum, number, speaks_tus,
};

/// One `PATCH` without a checksum may hold a whole bundle. (What is documented; the bound is the bundle's.)
pub const PATCH_BYTES_MAX: usize = usize::MAX;
/// Some hundred lines of at most 16 KiB; a usual one has 1.2 KB.
pub const CHECKPOINTS_BYTES_MAX: usize = 1 << 20;
/// Not in any RFC; tus.
const CHECKSUM_MISMATCH: u16 = 460;

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
        let offset = offset(&headers)?;
        let checksum = checksum(&headers)?;
        let length = number(&headers, &LENGTH)?;
        let turn = turns::wait(&by.to_string()).await?;
        Ok((app.append(&by, upload, offset, length).await?, checksum, turn))
    };
    let (append, checksum, turn) = match begun.await {
        Ok(begun) => begun,
        Err(problem) => return respond(Err(problem)),
    };
    // A task of its own: when the connection drops, this handler does, and what came must still be kept.
    let kept = tokio::spawn(async move {
        let kept = body::keep(&app, append, body.into_data_stream(), checksum).await;
        drop(turn);
        kept.map(|record| status_headers(&app, &record))
    });
    match kept.await {
        Ok(Ok(headers)) => respond(Ok((StatusCode::NO_CONTENT, headers))),
        Ok(Err(Refused::Problem(problem))) => respond(Err(problem)),
        Ok(Err(Refused::Checksum)) => {
            let status = StatusCode::from_u16(CHECKSUM_MISMATCH).unwrap_or(StatusCode::BAD_REQUEST);
            let message = "the bytes that came do not have this checksum; none were kept".to_owned();
            let mut response = answer(status, "checksum_mismatch", message, "send them again from the same offset");
            response.headers_mut().insert(RESUMABLE, V1);
            response
        }
        Err(error) => respond(Err(not_kept(error))),
    }
}

fn offset(headers: &HeaderMap) -> Result<u64, Problem> {
    number(headers, &OFFSET)?
        .ok_or_else(|| Problem::new(ProblemKind::Input, "Upload-Offset is missing").hint("HEAD tells it"))
}

fn not_kept(error: tokio::task::JoinError) -> Problem {
    Problem::new(ProblemKind::Internal, "the bytes could not be kept")
        .cause(error)
        .hint("ask for the offset and go on there")
}

/// Bytes that waited on the host, encrypted to this server. What is there of them already changes nothing.
pub async fn append_spooled(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(upload): Path<UploadId>,
    headers: HeaderMap,
    body: HttpBody,
) -> Response {
    let begun = async {
        speaks_tus(&headers)?;
        let offset = offset(&headers)?;
        Ok((offset, turns::wait(&by.to_string()).await?))
    };
    let (offset, turn) = match begun.await {
        Ok(begun) => begun,
        Err(problem) => return respond(Err(problem)),
    };
    // As in `append`.
    let kept = tokio::spawn(async move {
        let file = body::whole(body.into_data_stream(), SPOOLED_BYTES_MAX).await?;
        let record = app.append_spooled(&by, upload, offset, file).await?;
        drop(turn);
        Ok((StatusCode::NO_CONTENT, status_headers(&app, &record)))
    });
    respond(kept.await.unwrap_or_else(|error| Err(not_kept(error))))
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
