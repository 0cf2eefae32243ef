//! Pages for browsers: each handler asks `app/` and renders with `ui/`.
//!
//! A page is changed by its forms alone ([`actions`], [`forms`]). What browsers need beyond them (the way to the sign-in page, errors as pages, the headers that
//! keep foreign texts harmless) is in [`browser`].

pub mod actions;
pub mod browser;
mod forms;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use bundle::item::Status;
use maud::Markup;
use serde::Deserialize;
use serde::de::value::{Error as DeserializeError, StrDeserializer};
use wire::api::{EvidenceState, Me, Page};
use wire::response::Audience;
use wire::{AgentId, BundleId, HuntId, IncidentId};

use super::api::hosts::labels;
use super::credential::{self, Who};
use super::extract::{Caller, Path, Query};
use super::session::own_path;
use crate::app::inside::{ItemsAsked, Summary};

use crate::app::{Actor, App, Problem, ProblemKind};
use crate::ui::evidence::{Item, Search, Shown};
use crate::ui::{self, Asset, Frame, SCRIPT, STYLE};

/// Rows of a page.
const ROWS: u32 = 100;
/// Entries of the timeline on an incident's page.
const TIMELINE_SHOWN: u32 = 100;
const Q_CHARS_MAX: usize = 200;

/// All pages, each but the sign-in behind its credential check.
pub fn router(app: &Arc<App>) -> Router<Arc<App>> {
    let pages = Router::new()
        .route("/", get(board))
        .route("/incidents/{incident}", get(incident))
        .route("/incidents/{incident}/drafts/{audience}", get(draft))
        .route("/escalation", get(escalation))
        .route("/report", get(report))
        .route("/evidence/{bundle}", get(evidence))
        .route("/hosts", get(hosts))
        .route("/hosts/{agent}", get(host))
        .route("/hunts", get(hunts))
        .route("/hunts/{hunt}", get(hunt))
        .route("/custody", get(custody))
        .route_layer(from_fn_with_state((Arc::clone(app), Who::Analyst), credential::check));
    pages
        .route("/sign-in", get(sign_in))
        .route(&STYLE.path, get(async || asset(&STYLE)))
        .route(&SCRIPT.path, get(async || asset(&SCRIPT)))
}

fn asset(asset: &Asset) -> Response {
    let headers = [(CONTENT_TYPE, asset.media_type), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, asset.body).into_response()
}

/// Who looks at a page.
fn viewer(app: &App, actor: &Actor) -> Result<Me, Problem> {
    let Actor::User { name, role, .. } = actor else {
        return Err(Problem::new(ProblemKind::Forbidden, "these pages are for people"));
    };
    Ok(Me { name: name.clone(), role: *role, server_signer: app.signer.public_line(), server_time: app.now() })
}

const fn frame(me: &Me) -> Frame<'_> {
    Frame { me: Some(me), now: me.server_time }
}

/// Where a list goes on.
#[derive(Deserialize)]
struct From<T> {
    after: Option<T>,
}

async fn board(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Query(from): Query<From<IncidentId>>,
) -> Result<Markup, Problem> {
    let me = viewer(&app, &by)?;
    let incidents = app.incidents(from.after.as_ref(), ROWS).await?;
    let origin = app.reach.servers.first().map_or("https://SERVER", String::as_str);
    let consoles = app.consoles().await?.into_iter().filter(|console| console.is_in_force).collect();
    let contained = ui::board::Contained { consoles, orders: app.orders_in_force().await? };
    Ok(ui::board::page(frame(&me), &incidents, &contained, origin, from.after.is_some()))
}

async fn incident(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(incident): Path<IncidentId>,
) -> Result<Markup, Problem> {
    let me = viewer(&app, &by)?;
    let view = app.incident(&incident).await?;
    let entries = app.timeline_end(&incident, TIMELINE_SHOWN).await?;
    Ok(ui::incident::page(frame(&me), &view, &entries))
}

async fn draft(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path((incident, audience)): Path<(IncidentId, Audience)>,
) -> Result<Markup, Problem> {
    let me = viewer(&app, &by)?;
    let draft = app.draft(&by, &incident, audience).await?;
    Ok(ui::draft::page(frame(&me), &incident, &draft))
}

async fn report(State(app): State<Arc<App>>, Caller(by): Caller) -> Result<Markup, Problem> {
    let me = viewer(&app, &by)?;
    let rules = app.site.rules()?;
    let types: Vec<&str> = rules.taxonomy.types.iter().map(|one| one.name.as_str()).collect();
    Ok(ui::report::page(frame(&me), &types))
}

async fn escalation(State(app): State<Arc<App>>, Caller(by): Caller) -> Result<Markup, Problem> {
    let me = viewer(&app, &by)?;
    Ok(ui::escalation::page(frame(&me), &app.escalation_status().await?))
}

async fn evidence(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(bundle): Path<BundleId>,
    Query(search): Query<Search>,
) -> Result<Markup, Problem> {
    let me = viewer(&app, &by)?;
    let view = app.evidence(bundle).await?;
    let asked = asked(&search)?;
    let mut summary = Summary { coverage: None, footprint: None };
    let mut found = Page { items: Vec::new(), next: None };
    // Nothing is shown of what is inside the others: it is not verified.
    if matches!(view.state, EvidenceState::Sealed | EvidenceState::Partial) {
        summary = or_nothing(app.evidence_summary(bundle).await)?.unwrap_or(summary);
        found = or_nothing(app.items(bundle, asked).await)?.unwrap_or(found);
    }
    let findings = or_nothing(app.bundle_findings(bundle).await)?;
    let read = found.items.len();
    let items: Vec<Item> = found.items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect();
    let shown = Shown {
        coverage: summary.coverage.as_ref(),
        evidence: &view,
        findings: findings.as_ref(),
        footprint: summary.footprint.as_ref(),
        unread: read - items.len(),
        items: &Page { items, next: found.next },
        search: &search,
    };
    Ok(ui::evidence::page(frame(&me), &shown))
}

/// A partial bundle may have nothing that can be looked into, and one that is too large is still a page.
fn or_nothing<T>(looked: Result<T, Problem>) -> Result<Option<T>, Problem> {
    match looked {
        Ok(found) => Ok(Some(found)),
        Err(problem) if matches!(problem.kind, ProblemKind::Conflict | ProblemKind::TooLarge) => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// The form sends its empty fields too.
fn asked(search: &Search) -> Result<ItemsAsked, Problem> {
    let wrong = |what: &str| Problem::new(ProblemKind::Input, format!("{what} cannot be looked for"));
    if search.q.chars().count() > Q_CHARS_MAX {
        return Err(wrong("a text of more than 200 characters"));
    }
    let after = match search.after.as_str() {
        "" => 0,
        after => after.parse().map_err(|_| wrong("an item with that number"))?,
    };
    let status = match search.status.as_str() {
        "" => None,
        status => {
            let status = Status::deserialize(StrDeserializer::<DeserializeError>::new(status));
            Some(status.map_err(|_| wrong("a status of that name"))?)
        }
    };
    Ok(ItemsAsked { after, limit: ROWS, q: Some(search.q.clone()).filter(|q| !q.is_empty()), status })
}

/// Which part of the hosts.
#[derive(Deserialize)]
struct Hosts {
    after: Option<AgentId>,
    #[serde(default)]
    label: String,
}

async fn hosts(State(app): State<Arc<App>>, Caller(by): Caller, Query(asked): Query<Hosts>) -> Result<Markup, Problem> {
    let me = viewer(&app, &by)?;
    let hosts = app.hosts(&labels(&asked.label)?, asked.after.as_ref(), ROWS).await?;
    Ok(ui::hosts::page(frame(&me), &hosts, &asked.label, asked.after.is_some()))
}

async fn host(State(app): State<Arc<App>>, Caller(by): Caller, Path(agent): Path<AgentId>) -> Result<Markup, Problem> {
    let me = viewer(&app, &by)?;
    Ok(ui::host::page(frame(&me), &app.host(&agent).await?))
}

async fn hunts(State(app): State<Arc<App>>, Caller(by): Caller) -> Result<Markup, Problem> {
    let me = viewer(&app, &by)?;
    Ok(ui::hunts::list(frame(&me), &app.hunts(ROWS).await?))
}

async fn hunt(State(app): State<Arc<App>>, Caller(by): Caller, Path(hunt): Path<HuntId>) -> Result<Markup, Problem> {
    let me = viewer(&app, &by)?;
    Ok(ui::hunts::page(frame(&me), &app.hunt(hunt).await?))
}

/// Which part of the custody log.
#[derive(Deserialize)]
struct Leaves {
    after: Option<u64>,
    incident: Option<IncidentId>,
}

async fn custody(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Query(asked): Query<Leaves>,
) -> Result<Markup, Problem> {
    let me = viewer(&app, &by)?;
    let from = asked.after.map_or(0, |after| after.saturating_add(1));
    let leaves = app.custody(asked.incident.as_ref(), from, ROWS).await?;
    let head = app.store.head().await?;
    Ok(ui::custody::page(frame(&me), &leaves, head, asked.incident.as_ref(), asked.after.is_some()))
}

/// Where to go after signing in.
#[derive(Deserialize)]
struct Back {
    #[serde(default)]
    back: String,
}

async fn sign_in(
    State(app): State<Arc<App>>,
    Query(Back { back }): Query<Back>,
    request: Parts,
) -> Result<Response, Problem> {
    let back = own_path(&back);
    match credential::authenticate(&app, &request).await {
        Ok(Some(Actor::User { .. })) => Ok(Redirect::to(back).into_response()),
        _ => Ok((StatusCode::OK, ui::sign_in::page(app.now(), back, None)).into_response()),
    }
}
