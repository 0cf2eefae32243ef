//! The server's own certificate authority: it vouches for the server to agents and people, and for agents to the server.
//!
//! Nobody else's certificates are believed here, and nobody has to buy any. What a signing request asks for is ignored
//! but for its key: names, usages and validity are the authority's to give.

use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use wire::{AgentId, Instant, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The CA's certificate.
const CA_DAYS: u64 = 3650;
/// The server's certificate; browsers refuse longer ones.
const SERVER_DAYS: u64 = 397;
/// It is made anew when it has less than this left.
const SERVER_LEFT_DAYS_MIN: u64 = 60;
/// An agent's certificate; the agent renews it by itself.
const CLIENT_DAYS: u64 = 30;
/// Certificates begin a little before they were made: the other side's clock may be behind.
const BACKDATED_SECS: u64 = 3600;
/// A signing request for an elliptic key has about 500 bytes.
const CSR_BYTES_MAX: usize = 8 << 10;

const DAY_SECS: u64 = 24 * 3600;

/// See the module.
pub struct Authority {
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A key and the certificate for it, both PEM.
pub struct Certified {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key, PKCS #8.
    pub key_pem: String,
}

/// A certificate for an agent.
#[derive(Debug)]
pub struct ClientCertified {
    /// The certificate.
    pub certificate_pem: String,
    /// When it ends.
    pub expires: Instant,
    /// Its serial number, lower-case hex.
    pub serial: String,
}

/// What the authority cannot do.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The CA's files cannot be used.
    #[error("the CA's certificate and key cannot be used")]
    Broken(#[source] rcgen::Error),
    /// A certificate could not be made.
    #[error("a certificate could not be made")]
    Make(#[source] rcgen::Error),
    /// The kernel gave no random bytes.
    #[error("the system gives no random numbers")]
    NoRandom,
    /// The signing request is not one, or its own signature does not hold.
    #[error("the certificate signing request cannot be used: {0}")]
    Request(String),
}

impl Authority {
    /// A new authority, and its private key in PEM.
    ///
    /// # Errors
    /// [`AuthorityError::Make`], [`AuthorityError::NoRandom`].
    pub fn make(now: Instant) -> Result<(Self, String), AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Make)?;
        let serial = serial()?;
        let mut params = params(now, CA_DAYS, &serial);
        // Two authorities never share a name: an old one's certificates cannot be mistaken for this one's.
        params.distinguished_name = named(&format!("Holdfast CA {}", hex(&serial[..4])));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).map_err(AuthorityError::Make)?.pem();
        let key_pem = key.serialize_pem();
        Ok((Self::open(&pem, &key_pem)?, key_pem))
    }

    /// The authority with this certificate and private key.
    ///
    /// # Errors
    /// [`AuthorityError::Broken`].
    pub fn open(pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key_pem).map_err(AuthorityError::Broken)?;
        let broken = || AuthorityError::Broken(rcgen::Error::CouldNotParseCertificate);
        let der = der_of(pem).ok_or_else(broken)?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| broken())?;
        if certificate.public_key().raw != rcgen::PublicKeyData::subject_public_key_info(&key) {
            return Err(broken());
        }
        let issuer = Issuer::from_ca_cert_pem(pem, key).map_err(AuthorityError::Broken)?;
        Ok(Self { der, issuer, pem: pem.to_owned() })
    }

    /// Digest of the certificate in this PEM, as tickets pin it.
    pub fn digest_of(pem: &str) -> Option<Sha256> {
        der_of(pem).map(|der| Sha256::of(&der))
    }

    /// The CA's certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The CA's certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Digest of the CA's certificate in DER: what tickets pin.
    pub fn sha256(&self) -> Sha256 {
        Sha256::of(&self.der)
    }

    /// A key and a certificate for the server under these names (host names and addresses).
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn certify_server(&self, names: &[String], now: Instant) -> Result<Certified, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Make)?;
        let mut params = params(now, SERVER_DAYS, &serial()?);
        params.distinguished_name = named("holdfast-server");
        params.subject_alt_names =
            CertificateParams::new(names.to_vec()).map_err(AuthorityError::Make)?.subject_alt_names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer).map_err(AuthorityError::Make)?;
        Ok(Certified { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// True when this certificate is of this authority, for exactly these names, and has time left.
    pub fn still_serves(&self, certificate_pem: &str, names: &[String], now: Instant) -> bool {
        let (Some(der), Ok((_, ca))) = (der_of(certificate_pem), X509Certificate::from_der(&self.der)) else {
            return false;
        };
        let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return false };
        let left = certificate.validity().not_after.timestamp() - now.unix_seconds();
        let mut there = names_of(&certificate);
        let mut wanted = names.to_vec();
        there.sort();
        wanted.sort();
        certificate.issuer() == ca.subject()
            && there == wanted
            && left >= i64::try_from(SERVER_LEFT_DAYS_MIN * DAY_SECS).unwrap_or(i64::MAX)
    }

    /// A client certificate for the key of this signing request, in the name of `agent`.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn certify_agent(
        &self,
        csr_pem: &str,
        agent: &AgentId,
        now: Instant,
    ) -> Result<ClientCertified, AuthorityError> {
        if csr_pem.len() > CSR_BYTES_MAX {
            return Err(AuthorityError::Request(format!("it is longer than {CSR_BYTES_MAX} bytes")));
        }
        let request = CertificateSigningRequestParams::from_pem(csr_pem)
            .map_err(|error| AuthorityError::Request(error.to_string()))?;
        let algorithm = request.public_key.algorithm();
        if ![&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519].contains(&algorithm)
        {
            return Err(AuthorityError::Request("an ECDSA (P-256, P-384) or Ed25519 key is wanted".into()));
        }
        let serial = serial()?;
        let mut params = params(now, CLIENT_DAYS, &serial);
        params.distinguished_name = named(agent.as_str());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let request = CertificateSigningRequestParams { params, public_key: request.public_key };
        let certificate = request.signed_by(&self.issuer).map_err(AuthorityError::Make)?;
        let expires = Instant(now.0 + i128::from(CLIENT_DAYS * DAY_SECS) * 1_000_000_000);
        Ok(ClientCertified { certificate_pem: certificate.pem(), expires, serial: hex(&serial) })
    }
}

fn params(now: Instant, days: u64, serial: &[u8]) -> CertificateParams {
    let begin = Duration::from_secs(u64::try_from(now.unix_seconds()).unwrap_or(0).saturating_sub(BACKDATED_SECS));
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + begin;
    params.not_after = params.not_before + Duration::from_secs(days * DAY_SECS + BACKDATED_SECS);
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params.use_authority_key_identifier_extension = true;
    params
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// 126 random bits: positive, and always 16 bytes long.
fn serial() -> Result<[u8; 16], AuthorityError> {
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(|_| AuthorityError::NoRandom)?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}

/// Bytes as lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn der_of(pem: &str) -> Option<Vec<u8>> {
    x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok().map(|(_, pem)| pem.contents)
}

fn names_of(certificate: &X509Certificate) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let one = |name: &GeneralName| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    };
    names.value.general_names.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant(1_795_283_148_000_000_000);

    fn csr(key: &KeyPair) -> String {
        let mut params = CertificateParams::new(vec!["evil.example".into()]).unwrap();
        params.distinguished_name = named("root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.serialize_request(key).unwrap().pem().unwrap()
    }

    #[test]
    fn an_agent_gets_a_client_certificate_and_nothing_that_it_asked_for() {
        let (ca, key_pem) = Authority::make(NOW).unwrap();
        let again = Authority::open(ca.pem(), &key_pem).unwrap();
        assert_eq!(again.sha256(), ca.sha256());
        let agent: AgentId = "web-1-0a1b2c3d".parse().unwrap();
        let key = KeyPair::generate().unwrap();
        let issued = again.certify_agent(&csr(&key), &agent, NOW).unwrap();
        let der = der_of(&issued.certificate_pem).unwrap();
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(certificate.subject().to_string(), "CN=web-1-0a1b2c3d");
        assert!(names_of(&certificate).is_empty() && !certificate.is_ca());
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth && !usage.any);
        assert_eq!(hex(certificate.raw_serial()), issued.serial);
        let days = (certificate.validity().not_after.timestamp() - NOW.unix_seconds()) / 86_400;
        assert_eq!(days, 30);
    }

    #[test]
    fn requests_that_prove_nothing_are_refused() {
        let (ca, _) = Authority::make(NOW).unwrap();
        let agent: AgentId = "web-1".parse().unwrap();
        let good = csr(&KeyPair::generate().unwrap());
        let mut changed = good.clone().into_bytes();
        let at = changed.len() / 2;
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        for bad in ["", "-----BEGIN CERTIFICATE REQUEST-----", &changed, &"x".repeat(CSR_BYTES_MAX + 1)] {
            assert!(matches!(ca.certify_agent(bad, &agent, NOW), Err(AuthorityError::Request(_))));
        }
    }

    #[test]
    fn the_servers_certificate_lasts_until_its_names_or_its_time_change() {
        let (ca, _) = Authority::make(NOW).unwrap();
        let names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        let made = ca.certify_server(&names, NOW).unwrap();
        assert!(ca.still_serves(&made.certificate_pem, &names, NOW));
        assert!(!ca.still_serves(&made.certificate_pem, &names[..2], NOW));
        let late = Instant(NOW.0 + 340 * 86_400 * 1_000_000_000);
        assert!(!ca.still_serves(&made.certificate_pem, &names, late));
        assert!(!Authority::make(NOW).unwrap().0.still_serves(&made.certificate_pem, &names, NOW));
        assert!(!ca.still_serves("", &names, NOW));
    }

    #[test]
    fn a_certificate_and_another_key_are_no_authority() {
        let (ca, _) = Authority::make(NOW).unwrap();
        let (_, other) = Authority::make(NOW).unwrap();
        assert!(matches!(Authority::open(ca.pem(), &other), Err(AuthorityError::Broken(_))));
    }
}
