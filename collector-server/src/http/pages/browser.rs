//! What browsers need beyond pages: who is not signed in is shown the way, errors are pages, and every answer carries
//! the headers that keep foreign texts harmless.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use wire::api::ErrorBody;

use super::{frame, viewer};
use crate::app::App;
use crate::http::credential;
use crate::http::session::own_path;
use crate::ui::text::query;
use crate::ui::{self, Frame};

/// Nothing is loaded but from this server, nothing is inline, nobody may frame it.
pub const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
    img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Put on every answer that does not say otherwise. (`same-origin`, not `no-referrer`: with that, browsers send
/// `Origin: null` with our own forms.)
const HEADERS: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (CACHE_CONTROL, "no-store"),
];

/// The layer around all of the server.
pub async fn layer(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let asked = wants_page(&parts).then(|| parts.clone());
    let mut response = next.run(Request::from_parts(parts, body)).await;
    let error = response.extensions_mut().remove::<ErrorBody>();
    if let (Some(asked), Some(error)) = (asked, error) {
        response = as_page(&app, &asked, response.status(), error).await;
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Programs ask for JSON, or for anything.
fn wants_page(request: &Parts) -> bool {
    let accept = request.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accept.into_iter().any(|value| value.contains("text/html"))
}

async fn as_page(app: &App, request: &Parts, status: StatusCode, error: ErrorBody) -> Response {
    let now = app.now();
    let stranger = Frame { me: None, now };
    let path = request.uri.path();
    if path == "/sign-in" {
        let pairs = request.uri.query().unwrap_or_default();
        let back = axum::extract::Query::<super::Back>::try_from_uri(&request.uri).map(|asked| asked.0.back);
        let back = back.ok().filter(|_| !pairs.is_empty()).unwrap_or_default();
        let problem = [Some(error.message), error.hint].into_iter().flatten().collect::<Vec<_>>().join(": ");
        return (status, ui::sign_in::page(now, own_path(&back), Some(&problem))).into_response();
    }
    if status == StatusCode::UNAUTHORIZED && request.method == Method::GET {
        let to = own_path(request.uri.path_and_query().map_or("/", |address| address.as_str()));
        // `SameSite=Strict` keeps the cookie out of what other sites cause, also a link in a chat. For pages, which only
        // read, one step of our own brings it back; what is below /api/ leaves traces in custody and stays closed.
        if is_caused_by_another_site(request) && !path.starts_with("/api/") {
            return ui::problem::pass_on(stranger, to).into_response();
        }
        return Redirect::to(&format!("/sign-in{}", query(&[("back", to)]))).into_response();
    }
    let me = match credential::authenticate(app, request).await {
        Ok(Some(actor)) => viewer(app, &actor).ok(),
        _ => None,
    };
    let mut response = (status, ui::problem::page(me.as_ref().map_or(stranger, frame), &error)).into_response();
    response.headers_mut().remove(WWW_AUTHENTICATE);
    response
}

/// Fetch Metadata, which a page cannot forge (W3C, Sec-Fetch-Site).
fn is_caused_by_another_site(request: &Parts) -> bool {
    let site = request.headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    matches!(site, Some("cross-site" | "same-site"))
}
