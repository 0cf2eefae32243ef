//! SSHSIG signatures (OpenSSH PROTOCOL.sshsig) and `allowed_signers` files (ssh-keygen(1)).

use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};

use wire::signed::Signed;

use crate::time::Instant;

/// An Ed25519 key that signs bundles. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct SigningKey(PrivateKey);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(***)")
    }
}

/// A key or a signature that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key could not be read, or is not Ed25519.
    #[error("not an unencrypted Ed25519 key in OpenSSH's format")]
    Key(#[source] Option<ssh_key::Error>),
    /// Signing failed.
    #[error("signing failed")]
    Sign(#[source] ssh_key::Error),
}

impl SigningKey {
    /// The key with this secret seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let keypair = Ed25519Keypair::from(Ed25519PrivateKey::from_bytes(seed));
        // A key made of Ed25519 data always has a consistent public half: `new` cannot fail on it.
        Self(PrivateKey::from(keypair))
    }

    /// Reads a private key as ssh-keygen writes it.
    ///
    /// # Errors
    /// [`SignError::Key`].
    pub fn from_openssh(text: &str) -> Result<Self, SignError> {
        let key = PrivateKey::from_openssh(text).map_err(|error| SignError::Key(Some(error)))?;
        match key.key_data() {
            KeypairData::Ed25519(_) => Ok(Self(key)),
            _ => Err(SignError::Key(None)),
        }
    }

    /// The private key as ssh-keygen writes it.
    ///
    /// # Errors
    /// [`SignError::Key`].
    pub fn to_openssh(&self) -> Result<String, SignError> {
        let text = self.0.to_openssh(LineEnding::LF).map_err(|error| SignError::Key(Some(error)))?;
        Ok((*text).clone())
    }

    /// The public half as `ssh-ed25519 AAAA…`, without a comment.
    pub fn public_line(&self) -> String {
        let mut public = self.0.public_key().clone();
        public.set_comment("");
        public.to_openssh().unwrap_or_default()
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.0.public_key().clone()
    }

    /// An armoured SSHSIG over `message`.
    ///
    /// # Errors
    /// [`SignError::Sign`].
    pub fn sign(&self, namespace: &str, message: &[u8]) -> Result<String, SignError> {
        let signature = SshSig::sign(&self.0, namespace, HashAlg::Sha512, message).map_err(SignError::Sign)?;
        signature.to_pem(LineEnding::LF).map_err(SignError::Sign)
    }

    /// An envelope around `message`, signed as `principal`.
    ///
    /// # Errors
    /// [`SignError::Sign`].
    pub fn envelope(&self, principal: &str, namespace: &str, message: &[u8]) -> Result<Signed, SignError> {
        Ok(Signed::new(principal, message, self.sign(namespace, message)?))
    }
}

/// Why an envelope is not believed. One variant for each thing that is recorded of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// There is no signature in it.
    #[error("it carries no signature")]
    Unsigned,
    /// The envelope or the signature cannot be read, or the signature is not of these bytes.
    #[error("its signature is not of these bytes")]
    Bad,
    /// Nobody here vouches for the key.
    #[error("its signer is not among the allowed signers for this purpose and time")]
    Unknown,
}

/// The message in an envelope, when one of `signers` signed it as the envelope's principal in this namespace, with a key
/// that is valid at the time `at`.
///
/// # Errors
/// [`NotSigned`].
pub fn open(envelope: &Signed, signers: &AllowedSigners, namespace: &str, at: Instant) -> Result<Vec<u8>, NotSigned> {
    let (message, key) = open_by_anybody(envelope, namespace)?;
    if signers.allow(&key, &envelope.principal, namespace, at) { Ok(message) } else { Err(NotSigned::Unknown) }
}

/// The message in an envelope and the key that signed it, whoever holds it: for those who only keep or pass it on.
///
/// # Errors
/// [`NotSigned`], but never [`NotSigned::Unknown`].
pub fn open_by_anybody(envelope: &Signed, namespace: &str) -> Result<(Vec<u8>, PublicKey), NotSigned> {
    if envelope.sig_ssh.trim().is_empty() {
        return Err(NotSigned::Unsigned);
    }
    let message = envelope.message().map_err(|_| NotSigned::Bad)?;
    let signature = SshSig::from_pem(envelope.sig_ssh.as_bytes()).map_err(|_| NotSigned::Bad)?;
    let key = PublicKey::from(signature.public_key().clone());
    if verifies(&key, namespace, &message, envelope.sig_ssh.as_bytes()) {
        Ok((message, key))
    } else {
        Err(NotSigned::Bad)
    }
}

/// `SHA256:…`, as ssh-keygen -l shows it.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// True when `armoured` is the signature of `message` by `key` in `namespace`, written exactly as ssh-keygen writes it:
/// an armour with other line breaks would be bytes that nobody signed.
pub fn verifies(key: &PublicKey, namespace: &str, message: &[u8], armoured: &[u8]) -> bool {
    let Ok(signature) = SshSig::from_pem(armoured) else { return false };
    signature.to_pem(LineEnding::LF).is_ok_and(|again| again.as_bytes() == armoured)
        && key.verify(namespace, message, &signature).is_ok()
}

/// True when `armoured` is a signature of `message` by whatever key it names: it tells another signer from damage.
pub fn verifies_itself(namespace: &str, message: &[u8], armoured: &[u8]) -> bool {
    SshSig::from_pem(armoured)
        .is_ok_and(|signature| verifies(&PublicKey::from(signature.public_key().clone()), namespace, message, armoured))
}

/// The keys that somebody trusts, from an `allowed_signers` file.
#[derive(Clone, Debug, Default)]
pub struct AllowedSigners(Vec<AllowedSigner>);

#[derive(Clone, Debug)]
struct AllowedSigner {
    principals: String,
    namespaces: Option<String>,
    valid_after: Option<Instant>,
    valid_before: Option<Instant>,
    key: PublicKey,
}

/// A line of an `allowed_signers` file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the allowed signers: {what}")]
pub struct BadSigners {
    line: usize,
    what: String,
}

impl AllowedSigners {
    /// Reads the text of an `allowed_signers` file.
    ///
    /// # Errors
    /// [`BadSigners`] for the first line that cannot be read: half a trust file is no trust file.
    pub fn parse(text: &str) -> Result<Self, BadSigners> {
        let mut signers = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let signer = AllowedSigner::parse(line).map_err(|what| BadSigners { line: number + 1, what })?;
            signers.push(signer);
        }
        Ok(Self(signers))
    }

    /// True when `key` may sign as `principal` in `namespace` at the time `at`.
    pub fn allow(&self, key: &PublicKey, principal: &str, namespace: &str, at: Instant) -> bool {
        self.of(key, namespace, at).any(|signer| matches(&signer.principals, principal))
    }

    /// The patterns of the names as which `key` may sign in `namespace` at the time `at`: of the first line that lets it.
    pub fn principals_of(&self, key: &PublicKey, namespace: &str, at: Instant) -> Option<&str> {
        self.of(key, namespace, at).next().map(|signer| signer.principals.as_str())
    }

    fn of(&self, key: &PublicKey, namespace: &str, at: Instant) -> impl Iterator<Item = &AllowedSigner> {
        self.0.iter().filter(move |signer| {
            signer.key.key_data() == key.key_data()
                && signer.namespaces.as_deref().is_none_or(|patterns| matches(patterns, namespace))
                && signer.valid_after.is_none_or(|after| at >= after)
                && signer.valid_before.is_none_or(|before| at < before)
        })
    }
}

impl AllowedSigner {
    fn parse(line: &str) -> Result<Self, String> {
        let (principals, rest) = line.split_once(char::is_whitespace).ok_or("only one word")?;
        let (mut namespaces, mut valid_after, mut valid_before) = (None, None, None);
        let mut rest = rest.trim_start();
        if !is_key_type(rest) {
            let end = end_of_options(rest).ok_or("a quoted option does not end")?;
            for option in split_options(&rest[..end]) {
                let (name, value) = option.split_once('=').unwrap_or((option, ""));
                let value = value.trim_matches('"');
                match name.to_ascii_lowercase().as_str() {
                    "namespaces" => namespaces = Some(value.to_owned()),
                    "valid-after" => valid_after = Some(date(value)?),
                    "valid-before" => valid_before = Some(date(value)?),
                    "cert-authority" => return Err("certificate authorities are not supported here".into()),
                    other => return Err(format!("unknown option {other:?}")),
                }
            }
            rest = rest[end..].trim_start();
        }
        let key = PublicKey::from_openssh(rest).map_err(|error| format!("the key: {error}"))?;
        let principals = principals.trim_matches('"').to_owned();
        Ok(Self { principals, namespaces, valid_after, valid_before, key })
    }
}

fn is_key_type(text: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"].iter().any(|start| text.starts_with(start))
}

/// The end of the options: the first blank outside quotes.
fn end_of_options(text: &str) -> Option<usize> {
    let mut quoted = false;
    for (at, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

fn split_options(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |character| {
        quoted ^= character == '"';
        character == ',' && !quoted
    })
}

/// `YYYYMMDD[HHMM[SS]][Z]`, read as UTC: ssh-keygen reads one without `Z` in the local zone, which nobody can verify
/// elsewhere.
fn date(text: &str) -> Result<Instant, String> {
    let digits = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let padded = match digits.len() {
        8 => format!("{digits}000000"),
        12 => format!("{digits}00"),
        _ => digits.to_owned(),
    };
    jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", padded)
        .and_then(|there| there.to_zoned(jiff::tz::TimeZone::UTC))
        .map(|there| Instant(there.timestamp().as_nanosecond()))
        .map_err(|_| format!("{text:?} is not a date: YYYYMMDD[HHMM[SS]][Z] is wanted"))
}

/// A list of patterns as in ssh_config(5): `*`, `?`, and `!` for a refusal that wins.
fn matches(patterns: &str, text: &str) -> bool {
    let mut matched = false;
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(refused) if matches_one(refused.as_bytes(), text.as_bytes()) => return false,
            Some(_) => {}
            None => matched |= matches_one(pattern.as_bytes(), text.as_bytes()),
        }
    }
    matched
}

fn matches_one(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NS: &str = "holdfast-bundle";

    #[test]
    fn a_signature_verifies_and_no_other_bytes_do() {
        let key = SigningKey::from_seed(&[7; 32]);
        let signature = key.sign(NS, b"evidence").unwrap();
        assert!(verifies(&key.public(), NS, b"evidence", signature.as_bytes()));
        assert!(!verifies(&key.public(), NS, b"evidencE", signature.as_bytes()));
        assert!(!verifies(&key.public(), "file", b"evidence", signature.as_bytes()));
        for at in 0..signature.len() {
            let mut flipped = signature.clone().into_bytes();
            flipped[at] ^= 1;
            assert!(!verifies(&key.public(), NS, b"evidence", &flipped), "byte {at}");
        }
        assert!(!verifies(&key.public(), NS, b"evidence", format!("{signature}\n").as_bytes()));
    }

    #[test]
    fn a_key_survives_its_file() {
        let key = SigningKey::from_seed(&[7; 32]);
        let again = SigningKey::from_openssh(&key.to_openssh().unwrap()).unwrap();
        assert_eq!(again.public_line(), key.public_line());
        assert_eq!(format!("{key:?}"), "SigningKey(***)");
    }

    #[test]
    fn allowed_signers_hold_to_principal_namespace_and_validity() {
        let key = SigningKey::from_seed(&[1; 32]);
        let other = SigningKey::from_seed(&[2; 32]);
        let text = format!(
            "# fleet\nagent:web-*,!agent:web-9 namespaces=\"holdfast-bundle,x\",valid-after=\"20260101\",valid-before=\"20270101Z\" {} comment\n",
            key.public_line()
        );
        let signers = AllowedSigners::parse(&text).unwrap();
        let at = |text: &str| date(text).unwrap();
        assert!(signers.allow(&key.public(), "agent:web-1", NS, at("20260601")));
        assert!(!signers.allow(&other.public(), "agent:web-1", NS, at("20260601")));
        assert!(!signers.allow(&key.public(), "agent:web-9", NS, at("20260601")));
        assert!(!signers.allow(&key.public(), "agent:db-1", NS, at("20260601")));
        assert!(!signers.allow(&key.public(), "agent:web-1", "file", at("20260601")));
        assert!(!signers.allow(&key.public(), "agent:web-1", NS, at("20251231235959")));
        assert!(!signers.allow(&key.public(), "agent:web-1", NS, at("20270101")));
    }

    #[test]
    fn an_envelope_opens_for_those_who_allow_its_signer() {
        let (key, other) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        let signers = AllowedSigners::parse(&format!("ada namespaces=\"{NS}\" {}\n", key.public_line())).unwrap();
        let now = date("20260601").unwrap();
        let envelope = key.envelope("ada", NS, b"order").unwrap();
        assert_eq!(open(&envelope, &signers, NS, now).unwrap(), b"order");
        assert_eq!(open(&envelope, &signers, "file", now), Err(NotSigned::Bad));
        let by_other = other.envelope("ada", NS, b"order").unwrap();
        assert_eq!(open(&by_other, &signers, NS, now), Err(NotSigned::Unknown));
        let as_other = Signed { principal: "eve".into(), ..envelope.clone() };
        assert_eq!(open(&as_other, &signers, NS, now), Err(NotSigned::Unknown));
        let altered = Signed::new("ada", b"Order", envelope.sig_ssh.clone());
        assert_eq!(open(&altered, &signers, NS, now), Err(NotSigned::Bad));
        let unsigned = Signed { sig_ssh: String::new(), ..envelope };
        assert_eq!(open(&unsigned, &signers, NS, now), Err(NotSigned::Unsigned));
    }

    #[test]
    fn a_bad_line_spoils_the_file() {
        for bad in [
            "agent:x",
            "agent:x frobnicate=1 ssh-ed25519 AAAA",
            "agent:x ssh-ed25519 AAAA",
            "agent:x valid-after=\"soon\" ssh-ed25519 A",
        ] {
            assert!(AllowedSigners::parse(bad).is_err(), "{bad}");
        }
    }
}
