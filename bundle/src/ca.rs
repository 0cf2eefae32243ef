//! CA certificates that somebody trusts, and how they change: a CA vouches for the one that comes after it.
//!
//! Whoever knows a server by its CA believes a newer CA only on the older one's word: a certificate of the newer one's
//! name and key, signed by a CA that is trusted already. What a connection says is not enough, for the key of a server's
//! connections is less well kept than that of its CA.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use wire::{Instant, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;

/// CAs that are trusted at a time: one, and for the time of a change the one before it. A few more do no harm.
const TRUSTED_MAX: usize = 4;
/// Certificates of one text.
const CERTIFICATES_MAX: usize = 16;

/// A newer CA that is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotVouched {
    /// The text holds no CA certificate.
    #[error("what is offered is no certificate of a CA")]
    NoCa,
    /// Nobody who is trusted has signed for it.
    #[error("no CA that is trusted here vouches for the one that is offered")]
    Nobody,
    /// There are too many already.
    #[error("{TRUSTED_MAX} CAs are trusted already")]
    TooMany,
}

/// The certificates in a PEM text, DER; what is none is left out.
pub fn certificates(pem: &str) -> Vec<Vec<u8>> {
    let blocks = Pem::iter_from_buffer(pem.as_bytes()).filter_map(Result::ok);
    blocks.filter(|block| block.label == "CERTIFICATE").map(|block| block.contents).take(CERTIFICATES_MAX).collect()
}

/// The digests of the certificates in a PEM text: by these they are named everywhere.
pub fn digests(pem: &str) -> Vec<Sha256> {
    certificates(pem).iter().map(|der| Sha256::of(der)).collect()
}

/// A certificate as PEM.
pub fn to_pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// Those of the certificates in a PEM text that have one of these digests.
pub fn keep(pem: &str, digests: &[Sha256]) -> String {
    let kept = certificates(pem).into_iter().filter(|der| digests.contains(&Sha256::of(der)));
    kept.map(|der| to_pem(&der)).collect()
}

/// What is trusted from now on: the CA that comes first in `offered`, and behind it those in `trusted`, when one of these
/// vouches for it by a certificate that stands in `offered` too.
///
/// # Errors
/// [`NotVouched`].
pub fn follow(trusted: &str, offered: &str, now: Instant) -> Result<String, NotVouched> {
    let offered = certificates(offered);
    let (der, words) = offered.split_first().ok_or(NotVouched::NoCa)?;
    let known = certificates(trusted);
    if known.contains(der) {
        return Ok(known.iter().map(|der| to_pem(der)).collect());
    }
    let ca = parse(der, now).ok_or(NotVouched::NoCa)?;
    ca.verify_signature(None).map_err(|_| NotVouched::NoCa)?;
    let vouches = |trusted: &X509Certificate, word: &X509Certificate| {
        word.subject().as_raw() == ca.subject().as_raw()
            && word.public_key().raw == ca.public_key().raw
            && word.issuer().as_raw() == trusted.subject().as_raw()
            && word.verify_signature(Some(trusted.public_key())).is_ok()
    };
    let words: Vec<_> = words.iter().filter_map(|der| parse(der, now)).collect();
    let is_vouched =
        known.iter().filter_map(|der| parse(der, now)).any(|known| words.iter().any(|word| vouches(&known, word)));
    if !is_vouched {
        return Err(NotVouched::Nobody);
    }
    if known.len() >= TRUSTED_MAX {
        return Err(NotVouched::TooMany);
    }
    Ok([der].into_iter().chain(&known).map(|der| to_pem(der)).collect())
}

/// A certificate that is a CA's, and in force.
fn parse(der: &[u8], now: Instant) -> Option<X509Certificate<'_>> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    let (from, until) = (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
    let may_sign = certificate.key_usage().ok()?.is_some_and(|usage| usage.value.key_cert_sign());
    let is_in_force = (from..=until).contains(&now.unix_seconds());
    (rest.is_empty() && certificate.is_ca() && may_sign && is_in_force).then_some(certificate)
}
