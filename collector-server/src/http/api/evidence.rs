//! Evidence: lists, bytes, what lies beside them, and what is inside.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bundle::item::Status;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use wire::api::{EvidenceView, Page};
use wire::finding::FindingsReport;
use wire::{BundleId, IncidentId};

use super::{Limit, file, id};
use crate::app::evidence::Content;
use crate::app::inside::ItemsAsked;
use crate::app::{App, Problem, ProblemKind};
use crate::http::extract::{Caller, Path, Query};
use crate::http::range::{self, Asked};

const ZIP: &str = "application/zip";
const OCTETS: &str = "application/octet-stream";
const LINES: &str = "application/x-ndjson";
const Q_CHARS_MAX: usize = 200;

/// Which bundles.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bundles {
    /// The last bundle of the page before.
    after: Option<BundleId>,
    /// Those of one incident.
    incident: Option<IncidentId>,
    /// At most so many; 100 when absent.
    #[serde(default)]
    limit: Limit,
}

/// Which bytes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// `raw`, all that came, when absent.
    #[serde(default)]
    view: Content,
}

/// Which item records.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Items {
    /// The id of the last item of the page before.
    #[serde(default)]
    after: u64,
    /// At most so many; 100 when absent.
    #[serde(default)]
    limit: Limit,
    /// Stands in the path, the reason, the error, the collector or the digest, in any case.
    #[schemars(length(max = 200))]
    q: Option<String>,
    /// The status as it stands in the records, e.g. `denied`.
    #[schemars(with = "Option<StatusName>")]
    status: Option<Status>,
}

/// [`Status`], for the documentation.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum StatusName {
    Ok,
    Grew,
    Shrank,
    Changed,
    Truncated,
    Vanished,
    Denied,
    Error,
    MetaOnly,
    Skipped,
    Redacted,
    TimedOut,
}

pub async fn list(
    State(app): State<Arc<App>>,
    Query(asked): Query<Bundles>,
) -> Result<Json<Page<EvidenceView>>, Problem> {
    app.evidence_list(asked.incident.as_ref(), asked.after, asked.limit.get()?).await.map(Json)
}

pub async fn show(State(app): State<Arc<App>>, Path(bundle): Path<String>) -> Result<Json<EvidenceView>, Problem> {
    app.evidence(id("bundle id", &bundle)?).await.map(Json)
}

pub async fn findings(
    State(app): State<Arc<App>>,
    Path(bundle): Path<String>,
) -> Result<Json<FindingsReport>, Problem> {
    app.bundle_findings(id("bundle id", &bundle)?).await.map(Json)
}

pub async fn apply_rules(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(bundle): Path<String>,
) -> Result<Json<FindingsReport>, Problem> {
    app.apply_rules(&by, id("bundle id", &bundle)?).await.map(Json)
}

/// A HEAD takes nothing away, and leaves nothing in custody.
pub async fn content(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(bundle): Path<String>,
    Query(View { view }): Query<View>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let bundle: BundleId = id("bundle id", &bundle)?;
    let available = app.content(bundle, view).await?;
    let length = available.bytes;
    let header = headers.get(RANGE).and_then(|value| value.to_str().ok());
    let (status, part) = match range::read(header, length) {
        Asked::All => (StatusCode::OK, 0..length),
        Asked::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Asked::Beyond => return Ok(beyond(length)),
    };
    let bytes = part.end - part.start;
    let content_range = format!("bytes {}-{}/{length}", part.start, part.end.saturating_sub(1));
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        Body::from_stream(app.download(&by, bundle, part, view).await?)
    };
    let kind = if available.file_name.ends_with(".age") { OCTETS } else { ZIP };
    let mut response = file(&available.file_name, kind, body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(value) = HeaderValue::from_str(&content_range)
    {
        headers.insert(CONTENT_RANGE, value);
    }
    Ok(response)
}

fn beyond(length: u64) -> Response {
    let problem = Problem::new(ProblemKind::Range, "the range begins after the last byte")
        .hint(format!("there are {length} bytes"));
    let mut response = problem.into_response();
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{length}")) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    response
}

pub async fn stream(State(app): State<Arc<App>>, Path(bundle): Path<String>) -> Result<Response, Problem> {
    let (name, lines) = app.stream_file(id("bundle id", &bundle)?).await?;
    Ok(file(&name, LINES, lines))
}

pub async fn receipts(State(app): State<Arc<App>>, Path(bundle): Path<String>) -> Result<Response, Problem> {
    let (name, lines) = app.receipts_file(id("bundle id", &bundle)?).await?;
    Ok(file(&name, LINES, lines))
}

pub async fn items(
    State(app): State<Arc<App>>,
    Path(bundle): Path<String>,
    Query(asked): Query<Items>,
) -> Result<Json<Page<Value>>, Problem> {
    let Items { after, limit, q, status } = asked;
    if q.as_ref().is_some_and(|q| q.chars().count() > Q_CHARS_MAX) {
        return Err(Problem::new(ProblemKind::Input, "q is too long").hint(format!("at most {Q_CHARS_MAX} characters")));
    }
    let asked = ItemsAsked { after, limit: limit.get()?, q: q.filter(|q| !q.is_empty()), status };
    app.items(id("bundle id", &bundle)?, asked).await.map(Json)
}
