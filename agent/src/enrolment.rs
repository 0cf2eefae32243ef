//! What makes this host known to a server: the CA it trusts, its client certificate, the server's key for receipts.

use std::io;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use reqwest::Method;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use wire::agent_api::{EnrollReply, EnrollRequest, HostFacts, RenewReply, RenewRequest};
use wire::signed::namespace;
use wire::ticket::Ticket;
use wire::{AgentId, Instant, Sha256};

use crate::state::{Identity, file};
use crate::transport::client::{Call, CallError, Client, Credential};
use crate::transport::proxy::Proxy;

const FILE: &str = "enrolment.json";
/// Certificate and key in one file: they are replaced together.
const TLS_FILE: &str = "tls.pem";
const BYTES_MAX: u64 = 1 << 20;

/// The enrolment, as it lies in the state folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Enrolment {
    /// This agent.
    pub agent: AgentId,
    /// The server's CA, PEM, and behind it, while a CA is replaced, the one before it. No other is trusted.
    pub ca_pem: String,
    /// What every connection to the server goes through, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// The key under which the server signs receipts, `ssh-ed25519 AAAA…`.
    pub server_signer: String,
    /// `https://host:port`, tried in order.
    pub servers: Vec<String>,
    /// To whom is encrypted what waits on this host while the server is away, `age1…`. It stays until this host is
    /// enrolled again: who could replace it could read what waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool_recipient: Option<String>,
    v: u32,
}

/// The client certificate and its key, PEM. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct TlsIdentity(String);

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsIdentity(***)")
    }
}

/// This host cannot be enrolled, or its enrolment cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    /// There is none.
    #[error("this host is not enrolled")]
    Missing,
    /// A file of it cannot be read or written.
    #[error("{} cannot be used", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of it is damaged.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// No TLS key could be made.
    #[error("no TLS key could be made")]
    Key(#[source] rcgen::Error),
    /// The proof could not be signed.
    #[error(transparent)]
    Sign(#[from] bundle::sign::SignError),
    /// The server gave what cannot be used.
    #[error("the server's answer cannot be used: {0}")]
    Answer(String),
    /// The server could not be asked, or said no.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl TlsIdentity {
    /// For a client.
    pub fn credential(&self) -> Credential {
        Credential::Certificate(self.0.clone())
    }

    /// When the certificate begins and ends.
    ///
    /// # Errors
    /// A sentence, when it is none.
    pub fn validity(&self) -> Result<(Instant, Instant), String> {
        let der =
            CertificateDer::from_pem_slice(self.0.as_bytes()).map_err(|_| "it holds no certificate".to_owned())?;
        let (_, certificate) =
            x509_parser::parse_x509_certificate(&der).map_err(|_| "its certificate cannot be read".to_owned())?;
        let validity = certificate.validity();
        let at = |time: x509_parser::time::ASN1Time| Instant(i128::from(time.timestamp()) * 1_000_000_000);
        Ok((at(validity.not_before), at(validity.not_after)))
    }

    /// True when only a third of the certificate's life is left.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| now > due)
    }

    /// When only a third of the certificate's life is left.
    pub fn due(&self) -> Option<Instant> {
        self.validity().ok().map(|(from, until)| Instant(until.0 - (until.0 - from.0) / 3))
    }
}

impl Enrolment {
    /// Enrols this host with a ticket whose CA was fetched and checked. Nothing is stored yet.
    ///
    /// # Errors
    /// [`EnrolmentError`].
    pub async fn ask(
        ticket: &Ticket,
        ca_pem: String,
        me: &Identity,
        host: HostFacts,
        proxy: Option<Proxy>,
    ) -> Result<(Self, TlsIdentity), EnrolmentError> {
        let client = Client::new(&ticket.servers, &ca_pem, Credential::None, proxy.as_ref())?;
        let (key, csr_pem) = new_key(&me.id)?;
        let proof_ssh = me.key.sign(namespace::ENROLL, csr_pem.as_bytes())?;
        let signer = me.key.public_line();
        let request = EnrollRequest { csr_pem, host, proof_ssh, secret: ticket.secret.clone(), signer };
        let reply: EnrollReply =
            client.call(&Call::new(Method::POST, "/agent/v1/enroll").json(&request)).await?.json()?;
        if reply.agent != me.id {
            return Err(EnrolmentError::Answer(format!("it enrolled {}, and this is {}", reply.agent, me.id)));
        }
        if bundle::sign::AllowedSigners::parse(&format!("server {}", reply.server_signer)).is_err() {
            return Err(EnrolmentError::Answer("its key for receipts is none".to_owned()));
        }
        if let Some(recipient) = &reply.spool_recipient {
            check_recipient(recipient)?;
        }
        let enrolment = Self {
            agent: reply.agent,
            ca_pem,
            proxy,
            server_signer: reply.server_signer,
            servers: ticket.servers.clone(),
            spool_recipient: reply.spool_recipient,
            v: 1,
        };
        let tls = enrolment.accept(&reply.certificate_pem, &key)?;
        Ok((enrolment, tls))
    }

    /// Asks for a new certificate over a new key, and stores both. A CA that comes with it is trusted from now on too, if
    /// one that is trusted already vouches for it.
    ///
    /// # Errors
    /// [`EnrolmentError`]; the old certificate is then still there.
    pub async fn renew(
        &self,
        client: &Client,
        folder: &Path,
        now: Instant,
    ) -> Result<(Self, TlsIdentity), EnrolmentError> {
        let (key, csr_pem) = new_key(&self.agent)?;
        let call = Call::new(Method::POST, "/agent/v1/renew").json(&RenewRequest { csr_pem });
        let reply: RenewReply = client.call(&call).await?.json()?;
        let ca_pem = match &reply.ca_pem {
            Some(offered) => bundle::ca::follow(&self.ca_pem, offered, now)
                .map_err(|error| EnrolmentError::Answer(error.to_string()))?,
            None => self.ca_pem.clone(),
        };
        let renewed = Self { ca_pem, ..self.clone() };
        let tls = renewed.accept(&reply.certificate_pem, &key)?;
        renewed.store(folder, &tls)?;
        Ok((renewed, tls))
    }

    /// The same, trusting only those of its CAs that are still in force; none when that changes nothing, or would leave
    /// none.
    pub fn forgetting(&self, in_force: &[Sha256]) -> Option<Self> {
        let ca_pem = bundle::ca::keep(&self.ca_pem, in_force);
        let is_fewer = bundle::ca::digests(&ca_pem).len() < self.cas().len();
        (is_fewer && !ca_pem.is_empty()).then(|| Self { ca_pem, ..self.clone() })
    }

    /// Digests of the CAs that are trusted.
    pub fn cas(&self) -> Vec<Sha256> {
        bundle::ca::digests(&self.ca_pem)
    }

    /// Keeps the recipient of the spool that the server names, if there was none yet; false when another one is kept.
    ///
    /// # Errors
    /// [`EnrolmentError`].
    pub fn pin_spool(&mut self, folder: &Path, named: &str) -> Result<bool, EnrolmentError> {
        if let Some(kept) = &self.spool_recipient {
            return Ok(kept == named);
        }
        check_recipient(named)?;
        let pinned = Self { spool_recipient: Some(named.to_owned()), ..self.clone() };
        pinned.put(folder)?;
        *self = pinned;
        Ok(true)
    }

    fn put(&self, folder: &Path) -> Result<(), EnrolmentError> {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        file::put(folder, FILE, &bytes, true).map_err(|source| EnrolmentError::Io { path: folder.join(FILE), source })
    }

    /// A certificate from the server, with its key; it is used in a handshake's setting first, which fails when the two
    /// do not belong together.
    fn accept(&self, certificate_pem: &str, key: &KeyPair) -> Result<TlsIdentity, EnrolmentError> {
        let tls = TlsIdentity(format!("{}\n{}", certificate_pem.trim_end(), key.serialize_pem()));
        tls.validity().map_err(EnrolmentError::Answer)?;
        self.client(&tls)?;
        Ok(tls)
    }

    /// A client with this certificate.
    ///
    /// # Errors
    /// [`CallError::Setup`].
    pub fn client(&self, tls: &TlsIdentity) -> Result<Client, CallError> {
        Client::new(&self.servers, &self.ca_pem, tls.credential(), self.proxy.as_ref())
    }

    /// Stores it.
    ///
    /// # Errors
    /// [`EnrolmentError::Io`].
    pub fn store(&self, folder: &Path, tls: &TlsIdentity) -> Result<(), EnrolmentError> {
        // First whom to trust: with more to trust than before, the old certificate still serves.
        self.put(folder)?;
        file::put(folder, TLS_FILE, tls.0.as_bytes(), true)
            .map_err(|source| EnrolmentError::Io { path: folder.join(TLS_FILE), source })
    }

    /// Removes what lets this host in at its server.
    ///
    /// # Errors
    /// [`EnrolmentError::Io`].
    pub fn forget(folder: &Path) -> Result<(), EnrolmentError> {
        let remove = |path: PathBuf| match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(EnrolmentError::Io { path, source }),
            _ => Ok(()),
        };
        [TLS_FILE, FILE].into_iter().try_for_each(|name| remove(folder.join(name)))
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`EnrolmentError`].
    pub fn load(folder: &Path) -> Result<(Self, TlsIdentity), EnrolmentError> {
        let read = |name: &str| {
            let path = folder.join(name);
            match file::get_private(&path, BYTES_MAX) {
                Ok(Some(text)) => Ok(text),
                Ok(None) => Err(EnrolmentError::Missing),
                Err(source) => Err(EnrolmentError::Io { path, source }),
            }
        };
        let damaged = |name: &str, why: String| EnrolmentError::Damaged { path: folder.join(name), why };
        let enrolment: Self = serde_json::from_str(&read(FILE)?).map_err(|error| damaged(FILE, error.to_string()))?;
        let tls = TlsIdentity(read(TLS_FILE)?);
        tls.validity().map_err(|why| damaged(TLS_FILE, why))?;
        Ok((enrolment, tls))
    }
}

fn check_recipient(recipient: &str) -> Result<(), EnrolmentError> {
    match recipient.parse::<age::x25519::Recipient>() {
        Ok(_) => Ok(()),
        Err(why) => Err(EnrolmentError::Answer(format!("its recipient for the spool is none: {why}"))),
    }
}

/// A new key, and the request for its certificate. The server decides what stands in that.
fn new_key(agent: &AgentId) -> Result<(KeyPair, String), EnrolmentError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(EnrolmentError::Key)?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, agent.as_str());
    let csr = params.serialize_request(&key).and_then(|csr| csr.pem()).map_err(EnrolmentError::Key)?;
    Ok((key, csr))
}

/// What this host says of itself. Which CAs it trusts, and how its clock goes, is added by those who know.
pub fn facts(host: &crate::host::Host) -> HostFacts {
    let who = crate::host::identity::identity(host);
    HostFacts {
        agent_version: env!("CARGO_PKG_VERSION").into(),
        arch: who.arch,
        cas: Vec::new(),
        clock_offset_ns: None,
        boot_id: who.boot_id,
        kernel: who.kernel,
        machine_id: who.machine_id,
        name: who.name,
        os_id: who.os_id,
        profiles: crate::profiles::names(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_due_when_a_third_of_its_life_is_left() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 1, 31);
        let certificate = params.self_signed(&key).unwrap();
        let tls = TlsIdentity(format!("{}{}", certificate.pem(), key.serialize_pem()));
        let at = |text: &str| Instant(text.parse::<jiff::Timestamp>().unwrap().as_nanosecond());
        assert!(!tls.is_due(at("2026-01-20T23:00:00Z")));
        assert!(tls.is_due(at("2026-01-21T01:00:00Z")));
        assert_eq!(format!("{tls:?}"), "TlsIdentity(***)");
    }

    #[test]
    fn the_recipient_of_the_spool_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        // As an agent wrote it before there were a spool and proxies.
        let old = r#"{"agent":"web-1","ca_pem":"","server_signer":"","servers":[],"v":1}"#;
        let mut enrolment: Enrolment = serde_json::from_str(old).unwrap();
        let [first, second] = [1, 2].map(|_| age::x25519::Identity::generate().to_public().to_string());
        assert!(matches!(enrolment.pin_spool(folder.path(), "age1qqqq"), Err(EnrolmentError::Answer(_))));
        assert!(enrolment.pin_spool(folder.path(), &first).unwrap());
        assert!(enrolment.pin_spool(folder.path(), &first).unwrap());
        assert!(!enrolment.pin_spool(folder.path(), &second).unwrap());
        let kept: Enrolment =
            serde_json::from_str(&std::fs::read_to_string(folder.path().join(FILE)).unwrap()).unwrap();
        assert_eq!(kept.spool_recipient, Some(first));
    }

    #[test]
    fn a_key_without_its_certificate_is_refused() {
        crate::transport::client::install_provider();
        let (key, csr) = new_key(&"web-1".parse().unwrap()).unwrap();
        assert!(csr.starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
        let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_pem = params.self_signed(&other).unwrap().pem();
        let enrolment = Enrolment {
            agent: "web-1".parse().unwrap(),
            ca_pem: ca_pem.clone(),
            proxy: None,
            server_signer: String::new(),
            servers: vec!["https://127.0.0.1:1".into()],
            spool_recipient: None,
            v: 1,
        };
        assert!(enrolment.accept(&ca_pem, &other).is_ok());
        assert!(matches!(enrolment.accept(&ca_pem, &key), Err(EnrolmentError::Call(CallError::Setup(_)))));
        assert!(matches!(enrolment.accept("", &key), Err(EnrolmentError::Answer(_))));
    }
}
