//! What browser forms do: the same as the API, and then back to the page.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use wire::case::{Action, HumanReport};
use wire::{IncidentId, api::EscalationTest};

use super::{forms, frame, viewer};
use crate::app::{App, Problem};
use crate::http::extract::{Caller, Form, Path};
use crate::ui;

type Fields = Form<Vec<(String, String)>>;

/// `POST /incidents/{incident}/actions`: an [`Action`]; then the incident that it was done to. What it did not prevent is
/// a page of its own.
///
/// # Errors
/// As [`App::act`].
pub async fn act(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Path(incident): Path<IncidentId>,
    Form(fields): Fields,
) -> Result<Response, Problem> {
    let action: Action = forms::read(fields)?;
    let reply = app.act(&by, &incident, action).await?;
    if reply.warnings.is_empty() {
        return Ok(to(&format!("/incidents/{}", reply.incident)));
    }
    let me = viewer(&app, &by)?;
    Ok(ui::incident::done(frame(&me), &reply).into_response())
}

/// `POST /report`: a [`HumanReport`]; then the incident that it belongs to.
///
/// # Errors
/// As [`App::report`].
pub async fn report(
    State(app): State<Arc<App>>,
    Caller(by): Caller,
    Form(fields): Fields,
) -> Result<Response, Problem> {
    let report: HumanReport = forms::read(fields)?;
    let reply = app.report(&by, report).await?;
    let incident = reply.alerts.iter().find_map(|alert| alert.incident.as_ref());
    Ok(to(&incident.map_or_else(|| "/".to_owned(), |incident| format!("/incidents/{incident}"))))
}

/// `POST /escalation/test`: an [`EscalationTest`]; then the page that shows how it went.
///
/// # Errors
/// As [`App::test_escalation`].
pub async fn test(State(app): State<Arc<App>>, Caller(by): Caller, Form(fields): Fields) -> Result<Response, Problem> {
    let test: EscalationTest = forms::read(fields)?;
    app.test_escalation(&by, &test).await?;
    Ok(to("/escalation"))
}

fn to(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, path)]).into_response()
}
