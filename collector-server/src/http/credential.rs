//! Who asks: a token, a browser's session, an agent's certificate, or an upload ticket. Checked in one place, [`check`],
//! before the body of a request is read.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use wire::AgentId;
use wire::api::Role;
use wire::ticket::TicketKind;

use crate::app::sessions::SESSION_SECS;
use crate::app::{Actor, App, Problem, ProblemKind, tickets, tokens};

/// The session's cookie. `__Host-` makes browsers insist on TLS, on `Path=/` and on this very host.
const COOKIE_NAME: &str = "__Host-holdfast";

/// The client certificate of a connection, put into each request's extensions by whoever accepts connections. The TLS
/// layer has checked it against the server's CA; whether the host is still welcome is checked with each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its common name.
    pub agent: AgentId,
    /// Its serial number, lower-case hex.
    pub serial: String,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Anybody at all.
    Open,
    /// Anybody, from a page of this server.
    Browser,
    /// Whoever holds a token.
    Person,
    /// A source of alerts, or a responder.
    Source,
    /// An analyst, or a responder.
    Analyst,
    /// A responder.
    Responder,
    /// An enrolled agent.
    Agent,
    /// An enrolled agent, the holder of an upload ticket, or a responder.
    Upload,
    /// A source that signs its requests: the handler checks that, for it needs the body.
    Signature,
}

impl Who {
    /// In words, for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Open => "anybody",
            Self::Browser => "anybody, from a page of this server",
            Self::Person => "any token",
            Self::Source => "a source or a responder",
            Self::Analyst => "an analyst or a responder",
            Self::Responder => "a responder",
            Self::Agent => "an enrolled agent",
            Self::Upload => "an enrolled agent, the holder of an upload ticket, or a responder",
            Self::Signature => "a source that signs its requests",
        }
    }

    /// Whether this one is among them.
    pub const fn lets_in(self, actor: &Actor) -> bool {
        matches!(
            (self, actor),
            (Self::Open | Self::Browser | Self::Signature, _)
                | (Self::Person, Actor::User { .. })
                | (Self::Source, Actor::User { role: Role::Source | Role::Responder, .. })
                | (Self::Analyst, Actor::User { role: Role::Analyst | Role::Responder, .. })
                | (Self::Responder | Self::Upload, Actor::User { role: Role::Responder, .. })
                | (Self::Agent | Self::Upload, Actor::Agent { .. })
                | (Self::Upload, Actor::Ticket { .. })
        )
    }
}

/// The layer of one endpoint: lets the request pass with its [`Actor`] in the extensions, or answers it.
pub async fn check(State((app, who)): State<(Arc<App>, Who)>, request: Request, next: Next) -> Response {
    if matches!(who, Who::Open | Who::Signature) {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    if who == Who::Browser {
        return match same_origin(&parts) {
            Ok(()) => next.run(Request::from_parts(parts, body)).await,
            Err(problem) => problem.into_response(),
        };
    }
    match authenticate(&app, &parts).await.and_then(|actor| allowed(who, actor)) {
        Ok(actor) => {
            parts.extensions.insert(actor);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => {
            let mut response = problem.into_response();
            if response.status() == StatusCode::UNAUTHORIZED {
                let challenge = HeaderValue::from_static("Bearer realm=\"holdfast\"");
                response.headers_mut().insert(axum::http::header::WWW_AUTHENTICATE, challenge);
            }
            response
        }
    }
}

fn allowed(who: Who, actor: Option<Actor>) -> Result<Actor, Problem> {
    let Some(actor) = actor else {
        return Err(Problem::new(ProblemKind::Credentials, "this request carries no credential").hint(match who {
            Who::Agent => "agents bring the client certificate that enrolment gave them",
            Who::Upload => "bring an agent's certificate, an upload ticket, or a responder's token",
            _ => "send Authorization: Bearer hf_…; the operator makes one with: holdfast-server token add NAME --role ROLE --data DIR",
        }));
    };
    if who.lets_in(&actor) {
        Ok(actor)
    } else {
        Err(Problem::new(ProblemKind::Forbidden, format!("{actor} may not do this"))
            .hint(format!("it is for {}", who.words())))
    }
}

/// Who sends this request; none, when it carries nothing that says so.
///
/// # Errors
/// A credential that is there and wrong: another one beside it is not looked at.
pub async fn authenticate(app: &App, request: &Parts) -> Result<Option<Actor>, Problem> {
    if let Some(value) = request.headers.get(AUTHORIZATION) {
        return by_authorization(app, value).await.map(Some);
    }
    if let Some(secret) = session_secret(&request.headers) {
        same_origin(request)?;
        return app.session_holder(secret).await.map(Some);
    }
    match request.extensions.get::<ClientCertificate>() {
        Some(certificate) => by_certificate(app, certificate).await.map(Some),
        None => Ok(None),
    }
}

async fn by_authorization(app: &App, value: &HeaderValue) -> Result<Actor, Problem> {
    let secret = value.to_str().ok().and_then(|value| {
        let (scheme, secret) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(secret.trim())
    });
    match secret {
        Some(secret) if secret.starts_with(tokens::PREFIX) => app.holder(secret).await,
        Some(secret) => by_ticket(app, secret).await,
        None => Err(Problem::new(ProblemKind::Credentials, "the Authorization header is not understood")
            .hint("Authorization: Bearer TOKEN is wanted")),
    }
}

/// A ticket that was used still speaks for the upload that it was used for, until it ends.
async fn by_ticket(app: &App, secret: &str) -> Result<Actor, Problem> {
    let id = tickets::id_of(secret);
    match app.store.ticket(id).await? {
        Some(ticket) if ticket.kind == TicketKind::Upload && ticket.expires > app.now() => {
            Ok(Actor::Ticket { ticket: id.to_string() })
        }
        Some(ticket) if ticket.kind == TicketKind::Upload => {
            Err(Problem::new(ProblemKind::Credentials, "this ticket has ended")
                .hint("ask a responder for another: holdfast ticket INCIDENT"))
        }
        _ => Err(Problem::new(ProblemKind::Credentials, "this is neither a token nor an upload ticket of this server")
            .hint("send Authorization: Bearer hf_…, or the secret of an upload ticket")),
    }
}

async fn by_certificate(app: &App, certificate: &ClientCertificate) -> Result<Actor, Problem> {
    let refused = |why: &str| {
        Problem::new(ProblemKind::Credentials, format!("the certificate of {} {why}", certificate.agent))
            .hint("enrol the host again, with a new ticket")
    };
    let host = app.store.host(&certificate.agent).await?.ok_or_else(|| refused("is of no enrolled host"))?;
    if host.revoked.is_some() {
        return Err(refused("is of a host that was shut out"));
    }
    if host.gone.is_some() {
        return Err(refused("is of a host whose agent told that it was removed"));
    }
    if host.certificate_expires <= app.now() {
        return Err(refused("has ended"));
    }
    if !host.certificate_serials.contains(&certificate.serial) {
        return Err(refused("is not one that this server remembers"));
    }
    Ok(Actor::Agent { agent: certificate.agent.clone(), serial: certificate.serial.clone() })
}

/// The value of the session's cookie.
pub fn session_secret(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).find_map(|cookie| {
        let (name, secret) = cookie.trim().split_once('=')?;
        (name == COOKIE_NAME).then_some(secret)
    })
}

/// The `Set-Cookie` of a session with this secret; with none, the one that makes the browser forget it.
pub fn session_cookie(secret: Option<&str>) -> String {
    let (secret, age) = secret.map_or(("", 0), |secret| (secret, SESSION_SECS));
    format!("{COOKIE_NAME}={secret}; Path=/; Max-Age={age}; HttpOnly; Secure; SameSite=Strict")
}

/// What a browser sends on its own must come from a page of this server. `SameSite=Strict` says so too; this holds where
/// another site shares the domain.
///
/// # Errors
/// [`ProblemKind::Forbidden`].
pub fn same_origin(request: &Parts) -> Result<(), Problem> {
    if request.method.is_safe() {
        return Ok(());
    }
    let text = |name| request.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    // HTTP/2 has the host in the address, HTTP/1.1 in a header.
    let host = request.uri.authority().map(axum::http::uri::Authority::as_str).or_else(|| text(HOST));
    let is_same = match (text(ORIGIN).and_then(|origin| origin.strip_prefix("https://")), host) {
        (Some(there), Some(host)) => there.eq_ignore_ascii_case(host),
        _ => false,
    };
    if is_same {
        Ok(())
    } else {
        Err(Problem::new(ProblemKind::Forbidden, "this request does not come from a page of this server")
            .hint("open the server's own page and do it there; programs send a token instead of a cookie"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let there = request("GET", "/", &[("cookie", "a=b; __Host-holdfast=s3cret; c=d")]);
        assert_eq!(session_secret(&there.headers), Some("s3cret"));
        assert_eq!(session_secret(&request("GET", "/", &[("cookie", "holdfast=s3cret")]).headers), None);
        for flag in ["HttpOnly", "Secure", "SameSite=Strict", "Path=/"] {
            assert!(session_cookie(Some("x")).contains(flag));
        }
        assert!(session_cookie(None).contains("Max-Age=0"));
    }

    #[test]
    fn writing_with_a_cookie_needs_the_same_origin() {
        let host = ("host", "server:8443");
        let from = |origin| [host, ("origin", origin)];
        assert!(same_origin(&request("GET", "/", &[])).is_ok());
        assert!(same_origin(&request("POST", "/", &from("https://server:8443"))).is_ok());
        assert!(same_origin(&request("POST", "https://server/", &[("origin", "https://server")])).is_ok());
        for origin in ["https://evil", "http://server:8443", "null", "https://server:8443.evil"] {
            assert!(same_origin(&request("POST", "/", &from(origin))).is_err(), "{origin}");
        }
        assert!(same_origin(&request("POST", "/", &[host])).is_err());
    }
}
