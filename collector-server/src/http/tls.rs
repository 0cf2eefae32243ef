//! How connections are accepted: TLS under the server's own CA, with a client certificate where the client has one.
//!
//! People and agents share one port. An agent's certificate is checked against the CA here, and each request is told of
//! it; whether the host is still welcome is checked with each request, because a connection outlives a decision.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::Request;
use axum_server::accept::Accept;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::AsyncBufReadExt as _;
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::Service;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::credential::ClientCertificate;
use super::places::{Place, Places};
use super::watched::Watched;
use crate::authority::{Certified, InForce, hex};

/// A handshake takes at most this long, and the first byte after it comes within the same time again.
const HANDSHAKE_SECS_MAX: u64 = 10;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate, its key or the CA cannot be used.
    #[error("the server's certificate and key cannot be used")]
    Config(#[from] rustls::Error),
    /// They are no PEM.
    #[error("the server's certificate or key is not PEM")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// The check of client certificates cannot be set up.
    #[error("the CA cannot be used to check client certificates")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// Accepts connections. Clones share the bound, and what is put in force.
#[derive(Clone)]
pub struct Acceptor {
    current: Current,
    places: Places,
}

/// What new connections are made with.
type Current = Arc<RwLock<Terms>>;

struct Terms {
    /// The names of the CAs whose client certificates count, DER.
    issuers: Vec<Vec<u8>>,
    tls: TlsAcceptor,
}

impl Acceptor {
    /// Accepts as many connections at a time as there are places; those beyond are closed at once.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(in_force: &InForce, certified: &Certified, places: Places) -> Result<Self, TlsError> {
        let current = Arc::new(RwLock::new(terms(in_force, certified)?));
        Ok(Self { current, places })
    }

    /// From now on connections are made with these. On those that are there, certificates of a CA that is no longer in
    /// force count no more.
    ///
    /// # Errors
    /// [`TlsError`]; all stays as it was.
    pub fn put(&self, in_force: &InForce, certified: &Certified) -> Result<(), TlsError> {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = terms(in_force, certified)?;
        Ok(())
    }

    async fn shake_hands<S>(
        self,
        stream: TcpStream,
        inner: S,
    ) -> io::Result<(Watched<TlsStream<TcpStream>>, Connection<S>)> {
        let place = self.places.take(stream.peer_addr()?.ip())?;
        stream.set_nodelay(true)?;
        let patience = Duration::from_secs(HANDSHAKE_SECS_MAX);
        let tls = self.current.read().unwrap_or_else(PoisonError::into_inner).tls.clone();
        let mut stream = begun("handshake", timeout(patience, tls.accept(stream)).await)?;
        begun("first_byte", timeout(patience, stream.fill_buf()).await.map(|filled| filled.map(drop)))?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).and_then(who);
        // The HTTP layer waits without a limit for the bytes that tell HTTP/1 from HTTP/2.
        let (stream, asked) = Watched::new(stream, patience);
        Ok((stream, Connection { asked, certificate, current: self.current, inner, _place: Arc::new(place) }))
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for Acceptor {
    type Stream = Watched<TlsStream<TcpStream>>;
    type Service = Connection<S>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        Box::pin(self.clone().shake_hands(stream, service))
    }
}

/// Counts a connection that did not get as far as its first request.
fn begun<T>(step: &'static str, tried: Result<io::Result<T>, Elapsed>) -> io::Result<T> {
    let why = match &tried {
        Ok(Ok(_)) => None,
        Ok(Err(_)) => Some("broken"),
        Err(_) => Some("late"),
    };
    if let Some(why) = why {
        metrics::counter!("holdfast_connections_unused_total", "step" => step, "why" => why).increment(1);
        tracing::debug!(step, why, "a connection ended before its first request");
    }
    tried?
}

fn terms(in_force: &InForce, certified: &Certified) -> Result<Terms, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    let mut issuers = Vec::new();
    for der in in_force.ders() {
        roots.add(CertificateDer::from(der.to_vec()))?;
        issuers.extend(X509Certificate::from_der(der).ok().map(|(_, ca)| ca.subject().as_raw().to_vec()));
    }
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()?;
    let mut chain = vec![CertificateDer::from_pem_slice(certified.certificate_pem.as_bytes())?];
    for certificate in CertificateDer::pem_slice_iter(in_force.chain_pem().as_bytes()) {
        chain.push(certificate?);
    }
    let key = PrivateKeyDer::from_pem_slice(certified.key_pem.as_bytes())?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)?;
    // A session that is taken up again is not asked for its certificate again, which may have ended meanwhile.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Terms { issuers, tls: TlsAcceptor::from(Arc::new(config)) })
}

/// The agent that a verified certificate names, and the name of the CA that gave it, DER.
fn who(certificate: &CertificateDer) -> Option<(ClientCertificate, Vec<u8>)> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let agent = certificate.subject().iter_common_name().next()?.as_str().ok()?.parse().ok()?;
    let issuer = certificate.issuer().as_raw().to_vec();
    Some((ClientCertificate { agent, serial: hex(certificate.raw_serial()) }, issuer))
}

/// The service of one connection: each request is told the client's certificate. The connection counts as long as this
/// lives.
#[derive(Clone)]
pub struct Connection<S> {
    asked: Arc<AtomicBool>,
    certificate: Option<(ClientCertificate, Vec<u8>)>,
    current: Current,
    inner: S,
    _place: Arc<Place>,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Connection<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        self.asked.store(true, Ordering::Relaxed);
        if let Some((certificate, issuer)) = &self.certificate
            && self.current.read().unwrap_or_else(PoisonError::into_inner).issuers.contains(issuer)
        {
            request.extensions_mut().insert(certificate.clone());
        }
        self.inner.call(request)
    }
}
