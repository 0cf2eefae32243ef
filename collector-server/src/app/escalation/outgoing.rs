//! How HTTP goes out: TLS by Mozilla's roots and the site's own CA, no redirects, no proxy, and bounds on everything.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::channels::NotSent;
use super::message::clean;

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 4 << 10;
/// Characters of it that are told.
const ANSWER_CHARS_MAX: usize = 200;

/// See the module.
pub struct Outgoing {
    client: Client,
    /// The site's own CA, PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// For one request, from the look-up of the name to the last byte of the answer.
    pub wait: Duration,
}

impl Outgoing {
    /// With this CA (PEM) beside Mozilla's, and so long for each request.
    ///
    /// # Errors
    /// What is wrong with the CA's certificate, in words.
    pub fn new(ca_pem: Option<&[u8]>, wait: Duration) -> Result<Self, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let publicly = roots.len();
        for certificate in ca_pem.into_iter().flat_map(CertificateDer::pem_slice_iter) {
            let certificate = certificate.map_err(|error| format!("the ca_file is not PEM: {error}"))?;
            roots.add(certificate).map_err(|error| format!("the ca_file holds no CA: {error}"))?;
        }
        if ca_pem.is_some() && roots.len() == publicly {
            return Err("the ca_file holds no certificate".to_owned());
        }
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(config)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(wait)
            .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { client, ca_pem: ca_pem.map(<[u8]>::to_vec), wait })
    }

    /// Posts JSON. `secret` is struck out of what the other side answers.
    ///
    /// # Errors
    /// [`NotSent`]; no address stands in it.
    pub async fn post(&self, url: &Url, headers: HeaderMap, body: Vec<u8>, secret: &str) -> Result<(), NotSent> {
        let request = self.client.post(url.clone()).headers(headers).body(body);
        let request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let response = request.send().await.map_err(|error| NotSent::for_now(self.in_words(error)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let said = beginning(response).await.replace(secret, "***");
        let why = format!("it answered {status}: {}", clean(&said, ANSWER_CHARS_MAX));
        let why = why.trim_end_matches([' ', ':']).to_owned();
        // The same again gives the same answer, but for these.
        let is_passing = status.is_server_error()
            || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS].contains(&status);
        Err(NotSent { is_final: !is_passing, why })
    }

    /// Posts bytes of one kind and takes the answer, which must be of the other kind and no longer than this.
    ///
    /// # Errors
    /// [`NotSent`]; no address stands in it.
    pub async fn exchange(
        &self,
        url: &Url,
        (kind, wanted): (&'static str, &str),
        body: Vec<u8>,
        bytes_max: usize,
    ) -> Result<Vec<u8>, NotSent> {
        let request = self.client.post(url.clone()).header(CONTENT_TYPE, HeaderValue::from_static(kind)).body(body);
        let mut response = request.send().await.map_err(|error| NotSent::for_now(self.in_words(error)))?;
        let status = response.status();
        if !status.is_success() {
            return Err(NotSent::for_now(format!("it answered {status}")));
        }
        let found = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !found.split(';').next().is_some_and(|found| found.trim().eq_ignore_ascii_case(wanted)) {
            return Err(NotSent::for_now(format!("it answered with no {wanted}")));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| NotSent::for_now(self.in_words(error)))? {
            if bytes.len() + chunk.len() > bytes_max {
                return Err(NotSent::for_now(format!("its answer is longer than {bytes_max} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// The error without the address.
    fn in_words(&self, error: reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("no answer within {} seconds", self.wait.as_secs());
        }
        with_causes(&error.without_url())
    }
}

/// The error and its causes.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    clean(&text, ANSWER_CHARS_MAX)
}

async fn beginning(mut response: Response) -> String {
    let mut bytes = Vec::new();
    // What breaks off is told as far as it came.
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES_MAX - bytes.len())]);
        if bytes.len() >= ANSWER_BYTES_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
