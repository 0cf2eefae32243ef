//! The one way to the server: HTTPS to the first of its addresses that answers, trusting its CA alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Identity, Method, StatusCode, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::Sha256;
use wire::api::ErrorBody;

use super::proxy::Proxy;
use crate::causes::with_causes;
use crate::contain::servers::Names;

/// The longest answer that is taken into memory.
const REPLY_BYTES_MAX: usize = 4 << 20;
/// A CA file is at most this long.
const CA_BYTES_MAX: usize = 64 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A request is given this long …
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// … and a second more for each so many bytes of its body: slower lines are not served.
const SLOWEST_BYTES_PER_SEC: usize = 32 << 10;
/// Bytes that nobody acknowledges for this long mean that the line is cut, whatever the request's own time.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);
/// Idle connections live longer than a long poll, so that one connection serves them all.
const POOL_IDLE: Duration = Duration::from_secs(75);

/// What rustls says of a certificate that no trusted CA vouches for.
const UNKNOWN_CA: &str = "UnknownIssuer";
/// The commonest reason for it, and what is to be done.
const OTHER_CA: &str = " (its CA is none that this host trusts: if the server's CA was replaced while this host was off, \
    enrol it again)";

/// See [`Client::away_max`].
const AWAY_SECS_MAX: u64 = 600;
/// Names another time, for tests.
const AWAY_VARIABLE: &str = "HOLDFAST_SERVER_AWAY_SECS_MAX";

/// Why a server's answer could not be had, or was no good.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No address of the server could be reached.
    #[error("{server} cannot be reached: {why}")]
    Unreachable {
        /// The address.
        server: String,
        /// The causes, joined.
        why: String,
    },
    /// The server said no.
    #[error("{server} answered {status}: {message}")]
    Answered {
        /// The address.
        server: String,
        /// The status.
        status: StatusCode,
        /// The server's own words, made plain.
        message: String,
    },
    /// An answer that this version does not understand.
    #[error("{server} gave an answer that is none: {why}")]
    BadReply {
        /// The address.
        server: String,
        /// What is wrong.
        why: String,
    },
    /// The addresses, certificates or keys given here are no good.
    #[error("{0}")]
    Setup(String),
}

impl CallError {
    /// True when the same request may be answered better later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Answered { status, .. } => {
                status.is_server_error()
                    || matches!(
                        *status,
                        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::LOCKED
                    )
            }
            Self::BadReply { .. } | Self::Setup(_) => false,
        }
    }

    /// True when the server itself has decided, so that asking again changes nothing. Another answer may come from
    /// something in between, or end with the next certificate.
    pub fn is_final(&self) -> bool {
        matches!(
            self.status(),
            Some(
                StatusCode::BAD_REQUEST
                    | StatusCode::FORBIDDEN
                    | StatusCode::NOT_FOUND
                    | StatusCode::CONFLICT
                    | StatusCode::GONE
                    | StatusCode::PAYLOAD_TOO_LARGE
                    | StatusCode::UNPROCESSABLE_ENTITY
            )
        )
    }

    /// The status that the server answered with, if it did.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Answered { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// What is asked of the server.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    timeout: Duration,
}

impl Call {
    /// `path` begins with `/`.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: HeaderMap::new(), body: Bytes::new(), timeout: CALL_TIMEOUT }
    }

    /// The same, with a header. A value that can be none is left out: the server then says what it misses.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// The same, with a body, and the time that its length takes.
    #[must_use]
    pub fn body(mut self, kind: &'static str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.timeout += Duration::from_secs((self.body.len() / SLOWEST_BYTES_PER_SEC) as u64);
        self.header("content-type", kind)
    }

    /// The same, with a JSON body.
    #[must_use]
    pub fn json(self, body: &impl Serialize) -> Self {
        self.body("application/json", serde_json::to_vec(body).unwrap_or_default())
    }

    /// The same, with time for the server to wait before it answers.
    #[must_use]
    pub fn waiting(mut self, secs: u64) -> Self {
        self.timeout += Duration::from_secs(secs);
        self
    }
}

/// An answer of 2xx.
#[derive(Debug)]
pub struct Reply {
    server: String,
    headers: HeaderMap,
    /// At most [`REPLY_BYTES_MAX`].
    pub body: Vec<u8>,
}

impl Reply {
    /// The address that gave it.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as a `T`.
    ///
    /// # Errors
    /// [`CallError::BadReply`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_slice(&self.body).map_err(|error| self.bad(error.to_string()))
    }

    /// This answer is none, because …
    pub fn bad(&self, why: impl Into<String>) -> CallError {
        CallError::BadReply { server: self.server.clone(), why: plain(&why.into()) }
    }
}

/// What the client shows of itself.
pub enum Credential {
    /// Nothing: before enrolment.
    None,
    /// A client certificate and its key, PEM.
    Certificate(String),
    /// The secret of a ticket.
    Ticket(String),
}

/// See the module.
pub struct Client {
    /// Replaced when the certificate is renewed: requests that are under way go on with the one that they began with.
    http: RwLock<reqwest::Client>,
    servers: Vec<Url>,
    /// Which of them answered last.
    at: AtomicUsize,
    /// Addresses in whose place another one answered, and why; until they answer again.
    passed_over: Mutex<BTreeMap<String, String>>,
    bearer: Option<HeaderValue>,
    /// A server that stays away for longer than this ends an upload.
    pub away_max: Duration,
}

impl Client {
    /// A client that trusts only the CAs in `ca_pem`, and goes through `proxy` where there is one.
    ///
    /// # Errors
    /// [`CallError::Setup`].
    pub fn new(
        servers: &[String],
        ca_pem: &str,
        credential: Credential,
        proxy: Option<&Proxy>,
    ) -> Result<Self, CallError> {
        let setup = |what: &str| CallError::Setup(what.to_owned());
        let cas = Certificate::from_pem_bundle(ca_pem.as_bytes());
        let cas = cas.ok().filter(|cas| !cas.is_empty()).ok_or_else(|| setup("the server's CA is no certificate"))?;
        let mut builder = base(proxy)?.tls_certs_only(cas);
        let mut bearer = None;
        match credential {
            Credential::None => {}
            Credential::Certificate(pem) => {
                let identity = Identity::from_pem(pem.as_bytes())
                    .map_err(|_| setup("the client certificate and its key cannot be read"))?;
                builder = builder.identity(identity);
            }
            Credential::Ticket(secret) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {secret}"))
                    .map_err(|_| setup("the ticket's secret is none"))?;
                value.set_sensitive(true);
                bearer = Some(value);
            }
        }
        let http = builder.build().map_err(|error| unusable(&error))?;
        let http = RwLock::new(http);
        Ok(Self::over(http, parse_servers(servers)?, bearer))
    }

    fn over(http: RwLock<reqwest::Client>, servers: Vec<Url>, bearer: Option<HeaderValue>) -> Self {
        let (at, passed_over) = (AtomicUsize::new(0), Mutex::default());
        Self { http, servers, at, passed_over, bearer, away_max: away_max() }
    }

    /// The server's CA certificate, PEM, from the first address that has the one with this digest.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn fetch_ca(servers: &[String], ca_sha256: Sha256, proxy: Option<&Proxy>) -> Result<String, CallError> {
        // Nothing secret is sent on this connection, and nothing that comes over it is believed but for its digest.
        let http = base(proxy)?.tls_danger_accept_invalid_certs(true).build();
        let http = http.map_err(|error| unusable(&error))?;
        let mut last = None;
        for server in parse_servers(servers)? {
            let client = Self::over(RwLock::new(http.clone()), vec![server], None);
            match client.ca(ca_sha256).await {
                Ok(ca_pem) => return Ok(ca_pem),
                Err(error) if servers.len() > 1 => {
                    tracing::warn!(%error, "an address of the server is passed over");
                    last = Some(error);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(no_server))
    }

    async fn ca(&self, ca_sha256: Sha256) -> Result<String, CallError> {
        let reply = self.call(&Call::new(Method::GET, "/ca.pem")).await?;
        if reply.body.len() > CA_BYTES_MAX {
            return Err(reply.bad("its CA certificate is too long"));
        }
        for der in CertificateDer::pem_slice_iter(&reply.body).flatten() {
            if Sha256::of(&der) == ca_sha256 {
                return Ok(bundle::ca::to_pem(&der));
            }
        }
        Err(reply.bad("its CA is not the one that the ticket names: somebody may stand in between"))
    }

    /// The address that answered last.
    pub fn server(&self) -> &str {
        shown(self.url())
    }

    /// Addresses in whose place another one answered, and why.
    pub fn passed_over(&self) -> BTreeMap<String, String> {
        self.passed_over.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on asks as `other` does, with its certificate and its CAs. Nothing that is under way is broken off.
    pub fn become_like(&self, other: Self) {
        let http = other.http.into_inner().unwrap_or_else(PoisonError::into_inner);
        *self.http.write().unwrap_or_else(PoisonError::into_inner) = http;
    }

    fn http(&self) -> reqwest::Client {
        self.http.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn url(&self) -> &Url {
        &self.servers[self.at.load(Ordering::Relaxed) % self.servers.len()]
    }

    /// Asks each address in turn, beginning with the one that answered last, until one answers.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::Answered`] for everything but 2xx.
    pub async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        let mut failed = Vec::new();
        let first = self.at.load(Ordering::Relaxed);
        for at in (first..).take(self.servers.len()) {
            let Some(url) = self.servers.get(at % self.servers.len()) else { break };
            match self.ask(url, call).await {
                Err(CallError::Unreachable { server, why }) => failed.push((server, why)),
                answered => {
                    // Whoever else asks meanwhile may have found another one that answers: that serves as well.
                    let _ = self.at.compare_exchange(first, at, Ordering::Relaxed, Ordering::Relaxed);
                    self.see_passed_over(shown(url), failed);
                    return answered;
                }
            }
        }
        let last = failed.pop().map(|(server, why)| CallError::Unreachable { server, why });
        Err(last.unwrap_or_else(no_server))
    }

    /// Says of each address once why it is passed over, and forgets it when it answers.
    fn see_passed_over(&self, answered: &str, failed: Vec<(String, String)>) {
        let mut passed_over = self.passed_over.lock().unwrap_or_else(PoisonError::into_inner);
        passed_over.remove(answered);
        for (server, why) in failed {
            if passed_over.get(&server) != Some(&why) {
                tracing::warn!(server, why, answered, "an address of the server is passed over");
                passed_over.insert(server, why);
            }
        }
    }

    async fn ask(&self, at: &Url, call: &Call) -> Result<Reply, CallError> {
        let server = shown(at).to_owned();
        let unreachable = |error: reqwest::Error| {
            let why = plain(&with_causes(&error.without_url()));
            let hint = if why.contains(UNKNOWN_CA) { OTHER_CA } else { "" };
            CallError::Unreachable { server: server.clone(), why: format!("{why}{hint}") }
        };
        let url = at.join(&call.path).map_err(|_| CallError::Setup(format!("{:?} is no path", call.path)))?;
        if url.origin() != at.origin() {
            return Err(CallError::Setup(format!("{:?} leads to another server", call.path)));
        }
        let mut request = self.http().request(call.method.clone(), url);
        request = request.timeout(call.timeout).headers(call.headers.clone());
        if let Some(bearer) = &self.bearer {
            request = request.header(AUTHORIZATION, bearer);
        }
        if call.method != Method::GET && call.method != Method::HEAD {
            request = request.body(call.body.clone());
        }
        let mut answer = request.send().await.map_err(unreachable)?;
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + piece.len() > REPLY_BYTES_MAX {
                return Err(CallError::BadReply { server, why: "it is too long".to_owned() });
            }
            body.extend_from_slice(&piece);
        }
        let status = answer.status();
        if status.is_success() {
            return Ok(Reply { server, headers: answer.headers().clone(), body });
        }
        let message = match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(error) => error.message,
            Err(_) => status.canonical_reason().unwrap_or("no reason").to_owned(),
        };
        Err(CallError::Answered { server, status, message: plain(&message) })
    }
}

fn shown(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

fn no_server() -> CallError {
    CallError::Setup("no server is named".to_owned())
}

fn away_max() -> Duration {
    let named = std::env::var(AWAY_VARIABLE).ok().and_then(|secs| secs.parse().ok());
    Duration::from_secs(named.unwrap_or(AWAY_SECS_MAX))
}

fn unusable(error: &reqwest::Error) -> CallError {
    CallError::Setup(plain(&with_causes(error)))
}

fn base(proxy: Option<&Proxy>) -> Result<reqwest::ClientBuilder, CallError> {
    // Either way the environment's proxies are not believed.
    let builder = match proxy {
        Some(proxy) => reqwest::Client::builder().proxy(proxy.to_reqwest().map_err(|error| unusable(&error))?),
        None => reqwest::Client::builder().no_proxy(),
    };
    let builder = builder
        // When the host is cut off, no resolver can be asked.
        .dns_resolver(Arc::new(Names::of(crate::state::folder())))
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        // Retries are ours: they count, wait and look at the server's offset first.
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE)
        // One for the upload and one for what is told of it; the second closes when nothing is collected.
        .pool_max_idle_per_host(2)
        .tcp_nodelay(true)
        .tcp_keepalive(UNACKNOWLEDGED)
        .tcp_user_timeout(UNACKNOWLEDGED);
    Ok(builder)
}

/// The addresses of servers, of which there is at least one.
pub(crate) fn parse_servers(servers: &[String]) -> Result<Vec<Url>, CallError> {
    let urls: Result<Vec<Url>, CallError> = servers
        .iter()
        .map(|server| {
            let bad = || {
                CallError::Setup(format!("{:?} is no address of a server: https://host:port is wanted", plain(server)))
            };
            let url = Url::parse(server).map_err(|_| bad())?;
            let is_test = cfg!(test) && url.scheme() == "http" && url.host_str() == Some("127.0.0.1");
            if url.scheme() == "https" || is_test { Ok(url) } else { Err(bad()) }
        })
        .collect();
    match urls {
        Ok(urls) if urls.is_empty() => Err(no_server()),
        other => other,
    }
}

/// What came over the network, for a terminal: capped, without control characters.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

/// Makes ring the cryptography of this process's TLS. To be called before the first [`Client`]; again, it does nothing.
pub fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_server_decided_is_final() {
        let answered = |status| CallError::Answered { server: String::new(), status, message: String::new() };
        for status in [400, 403, 404, 409] {
            assert!(answered(StatusCode::from_u16(status).unwrap()).is_final(), "{status}");
        }
        for status in [302, 401, 407, 408, 423, 429, 500, 503] {
            assert!(!answered(StatusCode::from_u16(status).unwrap()).is_final(), "{status}");
        }
        assert!(!CallError::Unreachable { server: String::new(), why: String::new() }.is_final());
    }
}
