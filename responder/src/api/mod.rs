//! The server's API, as a person asks it: one origin, known by its CA, with a token. Each wait and each answer has a
//! bound; what the server refuses comes back with its own words and hint.

pub mod events;
mod failure;
#[cfg(test)]
pub mod fake;
mod successor;

use std::io::Read as _;
use std::sync::Once;
use std::time::Duration;

use anyhow::anyhow;
use reqwest::blocking::{Client, ClientBuilder, RequestBuilder, Response};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Method, Url, redirect};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::commands::{Failure, INPUT, IO, UNAVAILABLE, USAGE};
use crate::config::{Config, not_logged_in};
use crate::secret::Secret;

pub use failure::no_answer;
use successor::Successor;

/// The longest answer that is taken into memory.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Rows of a list; what lies beyond is for a narrower question.
const ROWS_MAX: usize = 10_000;
/// As many as the server gives at once.
const PAGE_ROWS: u32 = 500;
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// Tries after the first of what may be asked again, and the pauses before them.
const TRIES_MAX: u32 = 6;
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// For each answer, and for each piece of a long one.
const WAIT: Duration = Duration::from_mins(1);

/// A server, and the right to ask it.
pub struct Api {
    client: Client,
    server: String,
    /// What follows the server's CA when that is replaced; none where it is not kept.
    successor: Option<Successor>,
    token: Secret,
}

impl Api {
    /// The server of the login.
    pub fn of(config: &Config) -> Result<Self, Failure> {
        let server = config.settings.server.as_deref().ok_or_else(not_logged_in)?;
        let ca_pem = config.read("ca.pem")?.ok_or_else(not_logged_in)?;
        let api = Self::new(server, &ca_pem, config.token()?)?;
        Ok(Self { successor: Some(Successor::of(config, ca_pem)), ..api })
    }

    /// A server that is known by these CAs and no other.
    pub fn new(server: &str, ca_pem: &str, token: Secret) -> Result<Self, Failure> {
        let cas = Certificate::from_pem_bundle(ca_pem.as_bytes()).map_err(|error| {
            Failure::new(INPUT, anyhow::Error::new(error).context("the CA's certificate cannot be read"))
                .hint("log in again")
        })?;
        let client = built(builder(server).tls_certs_only(cas).https_only(true))?;
        Ok(Self { client, server: server.to_owned(), successor: None, token })
    }

    /// `https://host:port`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// A request with the token. `path` begins with a slash and holds nothing but checked ids and plain words.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let bearer = format!("Bearer {}", self.token.reveal());
        self.client.request(method, format!("{}{path}", self.server)).header(AUTHORIZATION, bearer)
    }

    /// Sends a request; an answer of 4xx or 5xx is a failure.
    pub fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().map_err(|error| no_answer(&self.server, error))?;
        if let Some(successor) = &self.successor {
            successor.follow(&self.client, &self.server, response.headers());
        }
        if response.status().is_success() { Ok(response) } else { Err(failure::of_answer(&self.server, response)) }
    }

    /// The answer to a GET, as JSON.
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        self.json(self.send(self.request(Method::GET, path))?)
    }

    /// The answer to a GET, as text.
    pub fn text(&self, path: &str) -> Result<String, Failure> {
        let bytes = self.bytes(self.send(self.request(Method::GET, path))?)?;
        String::from_utf8(bytes).map_err(|_| not_understood(&self.server, "it is not UTF-8"))
    }

    /// The answer to a POST.
    pub fn post(&self, path: &str, content_type: &str, body: Vec<u8>) -> Result<Value, Failure> {
        let request = self.request(Method::POST, path).header(CONTENT_TYPE, content_type).body(body);
        self.json(self.send(request)?)
    }

    /// The answer to a POST, as text; it may be empty.
    pub fn post_for_text(&self, path: &str, content_type: &str, body: Vec<u8>) -> Result<String, Failure> {
        let request = self.request(Method::POST, path).header(CONTENT_TYPE, content_type).body(body);
        let bytes = self.bytes(self.send(request)?)?;
        String::from_utf8(bytes).map_err(|_| not_understood(&self.server, "it is not UTF-8"))
    }

    /// The answer to a POST that changes nothing when it comes twice. A server that is full, or that wants this sender to
    /// slow down, is asked again, after as long as it says.
    pub fn post_patiently(&self, path: &str, content_type: &str, body: &[u8]) -> Result<Value, Failure> {
        for tried in 0_u32.. {
            let request = self.request(Method::POST, path).header(CONTENT_TYPE, content_type).body(body.to_vec());
            let response = request.send().map_err(|error| no_answer(&self.server, error))?;
            if response.status().is_success() {
                return self.json(response);
            }
            if tried == TRIES_MAX || !matches!(response.status().as_u16(), 429 | 503) {
                return Err(failure::of_answer(&self.server, response));
            }
            std::thread::sleep(pause(tried, response.headers()));
        }
        Err(not_understood(&self.server, "it always asks to be asked again"))
    }

    /// All rows of a list, page by page, as one page.
    pub fn list(&self, path: &str) -> Result<Value, Failure> {
        let mut rows: Vec<Value> = Vec::new();
        let mut next: Option<String> = None;
        let joint = if path.contains('?') { '&' } else { '?' };
        loop {
            let mut asked = format!("{path}{joint}limit={PAGE_ROWS}");
            if let Some(after) = &next {
                asked.push_str("&after=");
                asked.push_str(&percent_encoded(after));
            }
            let mut page = self.get(&asked)?;
            let after = page.get("next").and_then(Value::as_str).map(str::to_owned);
            let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) else {
                return Err(not_understood(&self.server, "a list without items"));
            };
            let is_empty = items.is_empty();
            rows.extend(items);
            // A page that is empty, or that names itself, would go on for ever.
            if after.is_none() || is_empty || after == next || rows.len() >= ROWS_MAX {
                let more = if rows.len() >= ROWS_MAX { after } else { None };
                return Ok(serde_json::json!({"items": rows, "next": more}));
            }
            next = after;
        }
    }

    /// The body of an answer, as JSON.
    fn json(&self, response: Response) -> Result<Value, Failure> {
        let bytes = self.bytes(response)?;
        serde_json::from_slice(&bytes).map_err(|_| not_understood(&self.server, "it is not JSON"))
    }

    fn bytes(&self, response: Response) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        response.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| {
            let error = anyhow::Error::new(error).context(format!("the answer of {} breaks off", self.server));
            Failure::new(UNAVAILABLE, error).hint("try again")
        })?;
        if bytes.len() as u64 > ANSWER_BYTES_MAX {
            return Err(not_understood(&self.server, "it is longer than this version takes"));
        }
        Ok(bytes)
    }

    #[cfg(test)]
    pub fn of_test(server: &str) -> Self {
        let client = built(builder(server)).unwrap();
        Self { client, server: server.to_owned(), successor: None, token: Secret::new("t0ken") }
    }
}

/// How long to wait: as long as the server says, and twice as long each time where that is longer.
fn pause(tried: u32, headers: &HeaderMap) -> Duration {
    let said = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let doubled = PAUSE_MIN * 2_u32.saturating_pow(tried);
    Duration::from_secs(said.unwrap_or(0)).max(doubled).min(PAUSE_MAX)
}

/// Reads an answer as what the contract says it is.
pub fn read<T: DeserializeOwned>(server: &str, value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|error| not_understood(server, &error.to_string()))
}

/// The address as it is kept: `https://host:port`.
pub fn origin(text: &str) -> Result<String, Failure> {
    let wrong = |what: &str| {
        Failure::new(USAGE, anyhow!("{text:?} is no address of a server: {what}")).hint("write https://HOST:PORT")
    };
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if url.scheme() != "https" {
        return Err(wrong("a token goes over https only"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return Err(wrong("nothing may follow the port"));
    }
    Ok(url.origin().ascii_serialization())
}

/// The CA's certificate (PEM) as the server shows it. Nothing vouches for it: the caller must know its digest, and no
/// token goes this way.
pub fn ca_unverified(server: &str) -> Result<String, Failure> {
    const PEM_BYTES_MAX: u64 = 64 << 10;
    let client = built(builder(server).tls_danger_accept_invalid_certs(true).https_only(true))?;
    let response = client.get(format!("{server}/ca.pem")).send().map_err(|error| no_answer(server, error))?;
    if !response.status().is_success() {
        return Err(failure::of_answer(server, response));
    }
    let mut text = String::new();
    response
        .take(PEM_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|_| not_understood(server, "its /ca.pem is no text"))?;
    Ok(text)
}

/// What goes into a query: everything but letters, digits and `-._~` as `%XX`.
pub fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
        out
    })
}

fn builder(server: &str) -> ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Fails only when there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let builder = Client::builder()
        .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_WAIT)
        .timeout(WAIT)
        // A redirect would carry the token to where nobody sent it.
        .redirect(redirect::Policy::none());
    let is_loopback = Url::parse(server).ok().and_then(|url| match url.host_str() {
        Some("localhost") => Some(true),
        Some(host) => host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().ok().map(|ip| ip.is_loopback()),
        None => None,
    });
    if is_loopback == Some(true) { builder.no_proxy() } else { builder }
}

fn built(builder: ClientBuilder) -> Result<Client, Failure> {
    builder.build().map_err(|error| Failure::new(IO, anyhow::Error::new(error).context("TLS cannot be set up")))
}

/// The server said something that is not in the contract.
pub fn not_understood(server: &str, what: &str) -> Failure {
    Failure::new(UNAVAILABLE, anyhow!("the answer of {server} is not understood: {what}"))
        .hint("do holdfast and holdfast-server have the same version? holdfast --version, and GET /healthz")
}

#[cfg(test)]
mod tests {
    use super::fake::{Answer, Fake};
    use super::*;

    #[test]
    fn a_server_that_is_full_is_asked_again() {
        let mut asked = 0;
        let fake = Fake::serve(move |_| {
            asked += 1;
            match asked {
                1 => Answer::new(503, &[("retry-after", "0")], "{}"),
                2 => Answer::error(429, "{}"),
                _ => Answer::json("{}"),
            }
        });
        Api::of_test(&fake.url).post_patiently("/x", "application/json", b"[]").unwrap();
        assert_eq!(fake.requests().len(), 3);
        let fake = Fake::serve(|_| Answer::error(500, "{}"));
        Api::of_test(&fake.url).post_patiently("/x", "application/json", b"[]").unwrap_err();
        assert_eq!(fake.requests().len(), 1);
        let mut headers = HeaderMap::new();
        assert_eq!(
            (pause(0, &headers), pause(2, &headers), pause(99, &headers)),
            (PAUSE_MIN, 4 * PAUSE_MIN, PAUSE_MAX)
        );
        headers.insert(RETRY_AFTER, 7.into());
        assert_eq!(pause(0, &headers), Duration::from_secs(7));
        headers.insert(RETRY_AFTER, 1_000_000.into());
        assert_eq!(pause(0, &headers), PAUSE_MAX);
    }

    #[test]
    fn an_address_is_an_origin() {
        assert_eq!(origin("https://Collector.example:8443/").unwrap(), "https://collector.example:8443");
        assert_eq!(origin("https://127.0.0.1").unwrap(), "https://127.0.0.1");
        for bad in ["http://h", "h:1", "", "https://h/x", "https://u@h", "https://h?x", "ftp://h"] {
            assert_eq!(origin(bad).unwrap_err().code, USAGE, "{bad:?}");
        }
    }

    #[test]
    fn pages_become_one_list_and_never_go_on_for_ever() {
        let fake = Fake::serve(|request| match request.path.as_str() {
            "/l?limit=500" => Answer::json(r#"{"items":[1,2],"next":"a b"}"#),
            "/l?limit=500&after=a%20b" => Answer::json(r#"{"items":[3],"next":null}"#),
            _ => Answer::json(r#"{"items":[1],"next":"same"}"#),
        });
        let api = Api::of_test(&fake.url);
        assert_eq!(api.list("/l").unwrap().to_string(), r#"{"items":[1,2,3],"next":null}"#);
        assert_eq!(api.list("/loop?q=1").unwrap()["items"].as_array().unwrap().len(), 2);
        assert!(fake.requests().iter().all(|request| request.header("authorization") == Some("Bearer t0ken")));
    }
}
