//! A browser signs in with a token and out again.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::credential::{session_cookie, session_secret};
use super::extract::Form;
use crate::app::{App, Problem};

/// What the form of the sign-in page sends.
#[derive(Deserialize, schemars::JsonSchema)]
pub struct SignIn {
    /// Where to go afterwards: a path of this server.
    #[serde(default)]
    back: String,
    /// The token.
    token: String,
}

/// `POST /sign-in`: to the page that was asked for, with a session; or an error.
///
/// # Errors
/// As [`App::open_session`].
pub async fn sign_in(State(app): State<Arc<App>>, Form(form): Form<SignIn>) -> Result<Response, Problem> {
    let session = app.open_session(form.token.trim()).await?;
    Ok(to(own_path(&form.back), &session_cookie(Some(&session.secret))))
}

/// `POST /sign-out`: to the sign-in page, without a session.
///
/// # Errors
/// When the store fails.
pub async fn sign_out(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    if let Some(secret) = session_secret(&headers) {
        app.end_session(secret).await?;
    }
    Ok(to("/sign-in", &session_cookie(None)))
}

fn to(path: &str, cookie: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, path), (SET_COOKIE, cookie)]).into_response()
}

/// The path, when it is one of this server: `//host` and `/\host` are addresses of others.
pub fn own_path(back: &str) -> &str {
    let is_own = back.starts_with('/')
        && !back[1..].starts_with(['/', '\\'])
        && back.bytes().all(|byte| byte.is_ascii_graphic())
        && back.len() <= 1024;
    if is_own { back } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::own_path;

    #[test]
    fn nobody_is_sent_to_another_site() {
        assert_eq!(own_path("/incidents/INC-2026-0007"), "/incidents/INC-2026-0007");
        for bad in ["", "https://evil/", "//evil/", "/\\evil", "/a\r\nSet-Cookie: x", "incidents", "/é"] {
            assert_eq!(own_path(bad), "/", "{bad:?}");
        }
    }
}
