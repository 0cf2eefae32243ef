//! The server's own certificate authority: it vouches for the server to agents and people, and for agents to the server.
//!
//! Nobody else's certificates are believed here, and nobody has to buy any. What a signing request asks for is ignored
//! but for its key: names, usages and validity are the authority's to give.
//!
//! **A CA is replaced** by one that it vouches for. From the roll on the newer one certifies: agents and the server. The
//! server shows, behind its certificate, the newer one's name and key in a certificate by the older one, so that whoever
//! knows only the older one can go on, and agents learn the newer one on that word. Certificates of both are accepted
//! until the older one is retired, and its key is gone.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
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
/// The word of a CA for the one that comes after it; a change that takes longer has failed.
const WORD_DAYS: u64 = 400;
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

/// The authorities in force, as long as the process lives: replaced as a whole.
#[derive(Default)]
pub struct Authorities(RwLock<Option<Arc<InForce>>>);

/// The authority that certifies, and the one before it, until that is retired.
pub struct InForce {
    /// It.
    pub issuing: Authority,
    /// The one before it.
    pub before: Option<Before>,
}

/// An authority that was replaced and is still believed.
pub struct Before {
    der: Vec<u8>,
    pem: String,
    /// Its certificate for the name and the key of the one that came after it.
    word_pem: String,
}

/// What a roll makes: the new authority's key and certificate, and the old one's word for it, all PEM.
pub struct Rolled {
    /// The new one's certificate.
    pub certificate_pem: String,
    /// Its private key, PKCS #8.
    pub key_pem: String,
    /// The old one's certificate for the new one's name and key.
    pub word_pem: String,
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

impl Authorities {
    /// Those in force; none on a server that issues no certificates.
    pub fn get(&self) -> Option<Arc<InForce>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on these are in force.
    pub fn put(&self, in_force: InForce) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(in_force));
    }
}

impl InForce {
    /// One authority.
    pub fn alone(issuing: Authority) -> Self {
        Self { issuing, before: None }
    }

    /// What followed on `before`.
    ///
    /// # Errors
    /// [`AuthorityError::Broken`].
    pub fn rolled(before: &Authority, rolled: &Rolled) -> Result<Self, AuthorityError> {
        let issuing = Authority::open(&rolled.certificate_pem, &rolled.key_pem)?;
        let word_pem = rolled.word_pem.clone();
        let before = Before { der: before.der.clone(), pem: before.pem.clone(), word_pem };
        Ok(Self { issuing, before: Some(before) })
    }

    /// Digests of their certificates, the issuing one first.
    pub fn sha256s(&self) -> Vec<Sha256> {
        let before = self.before.iter().map(|before| Sha256::of(&before.der));
        [self.issuing.sha256()].into_iter().chain(before).collect()
    }

    /// Their certificates, DER: whose client certificates are accepted.
    pub fn ders(&self) -> Vec<&[u8]> {
        [self.issuing.der()].into_iter().chain(self.before.iter().map(|before| &*before.der)).collect()
    }

    /// What stands behind the server's certificate, so that those who know only the older one can follow.
    pub fn chain_pem(&self) -> &str {
        self.before.as_ref().map_or("", |before| &before.word_pem)
    }

    /// What agents and people are offered: the issuing CA, the word for it, and the CA before it.
    pub fn offered_pem(&self) -> String {
        let before = self.before.as_ref().map(|before| format!("{}{}", before.word_pem, before.pem));
        format!("{}{}", self.issuing.pem, before.unwrap_or_default())
    }
}

impl Authority {
    /// A new authority, and its private key in PEM.
    ///
    /// # Errors
    /// [`AuthorityError::Make`], [`AuthorityError::NoRandom`].
    pub fn make(now: Instant) -> Result<(Self, String), AuthorityError> {
        let (key, params) = ca(now)?;
        let pem = params.self_signed(&key).map_err(AuthorityError::Make)?.pem();
        let key_pem = key.serialize_pem();
        Ok((Self::open(&pem, &key_pem)?, key_pem))
    }

    /// A new authority that this one vouches for.
    ///
    /// # Errors
    /// [`AuthorityError::Make`], [`AuthorityError::NoRandom`].
    pub fn roll(&self, now: Instant) -> Result<Rolled, AuthorityError> {
        let (key, whole) = ca(now)?;
        let certificate_pem = whole.self_signed(&key).map_err(AuthorityError::Make)?.pem();
        let mut word = params(now, WORD_DAYS, &serial()?);
        word.distinguished_name = whole.distinguished_name;
        word.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        word.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let word_pem = word.signed_by(&key, &self.issuer).map_err(AuthorityError::Make)?.pem();
        Ok(Rolled { certificate_pem, key_pem: key.serialize_pem(), word_pem })
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

    /// A client certificate for the key of this signing request, in the name of `agent`, for so many seconds.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn certify_agent(
        &self,
        csr_pem: &str,
        agent: &AgentId,
        now: Instant,
        secs: u64,
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
        let mut params = lasting(now, secs, &serial);
        params.distinguished_name = named(agent.as_str());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let request = CertificateSigningRequestParams { params, public_key: request.public_key };
        let certificate = request.signed_by(&self.issuer).map_err(AuthorityError::Make)?;
        let expires = Instant(now.0 + i128::from(secs) * 1_000_000_000);
        Ok(ClientCertified { certificate_pem: certificate.pem(), expires, serial: hex(&serial) })
    }
}

/// The key of a new CA, and what its certificate says.
fn ca(now: Instant) -> Result<(KeyPair, CertificateParams), AuthorityError> {
    let key = KeyPair::generate().map_err(AuthorityError::Make)?;
    let serial = serial()?;
    let mut params = params(now, CA_DAYS, &serial);
    // Two authorities never share a name: an old one's certificates cannot be mistaken for this one's.
    params.distinguished_name = named(&format!("Holdfast CA {}", hex(&serial[..4])));
    // One below it: the CA that it will vouch for.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok((key, params))
}

fn params(now: Instant, days: u64, serial: &[u8]) -> CertificateParams {
    lasting(now, days * DAY_SECS, serial)
}

fn lasting(now: Instant, secs: u64, serial: &[u8]) -> CertificateParams {
    let backdated = BACKDATED_SECS.min(secs);
    let begin = Duration::from_secs(u64::try_from(now.unix_seconds()).unwrap_or(0).saturating_sub(backdated));
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + begin;
    params.not_after = params.not_before + Duration::from_secs(secs + backdated);
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
    use bundle::ca::NotVouched::{NoCa, Nobody};

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
        let issued = again.certify_agent(&csr(&key), &agent, NOW, 30 * DAY_SECS).unwrap();
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
            assert!(matches!(ca.certify_agent(bad, &agent, NOW, DAY_SECS), Err(AuthorityError::Request(_))));
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
    fn who_knows_a_ca_follows_it_to_the_one_that_it_vouches_for_and_to_no_other() {
        let (old, _) = Authority::make(NOW).unwrap();
        let (stranger, _) = Authority::make(NOW).unwrap();
        let rolled = old.roll(NOW).unwrap();
        let in_force = InForce::rolled(&old, &rolled).unwrap();
        let follow = |trusted: &str, offered: &str| bundle::ca::follow(trusted, offered, NOW);
        let trusted = follow(old.pem(), &in_force.offered_pem()).unwrap();
        assert_eq!(bundle::ca::digests(&trusted), in_force.sha256s());
        assert_eq!(follow(&trusted, &in_force.offered_pem()).unwrap(), trusted, "again");
        let kept = bundle::ca::keep(&trusted, &in_force.sha256s()[..1]);
        assert_eq!(bundle::ca::digests(&kept), [in_force.issuing.sha256()]);
        assert_eq!(follow(stranger.pem(), &in_force.offered_pem()), Err(Nobody));
        assert_eq!(follow(old.pem(), in_force.issuing.pem()), Err(Nobody), "without the word");
        // The word is for another key, or a certificate that is no CA's.
        let other = format!("{}{}", stranger.pem(), rolled.word_pem);
        assert_eq!(follow(old.pem(), &other), Err(Nobody));
        let server = old.certify_server(&["localhost".into()], NOW).unwrap().certificate_pem;
        assert_eq!(follow(old.pem(), &format!("{server}{}", rolled.word_pem)), Err(NoCa));
        assert_eq!(follow(old.pem(), &format!("{}{server}", stranger.pem())), Err(Nobody));
        assert_eq!(follow(old.pem(), ""), Err(NoCa));
        let late = Instant(NOW.0 + i128::from((WORD_DAYS + 1) * DAY_SECS) * 1_000_000_000);
        assert_eq!(bundle::ca::follow(old.pem(), &in_force.offered_pem(), late), Err(Nobody));
    }

    #[test]
    fn a_certificate_and_another_key_are_no_authority() {
        let (ca, _) = Authority::make(NOW).unwrap();
        let (_, other) = Authority::make(NOW).unwrap();
        assert!(matches!(Authority::open(ca.pem(), &other), Err(AuthorityError::Broken(_))));
    }
}
