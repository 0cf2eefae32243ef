//! Private keys that open a bundle: age's own, and OpenSSH's Ed25519 keys.

use std::fmt;

use age::secrecy::SecretString;
use age::ssh::{Identity as SshIdentity, Recipient as SshRecipient};

/// A file of keys is at most this long.
pub const KEYS_BYTES_MAX: usize = 64 << 10;

/// Keys of an analyst. Their `Debug` shows nothing of them.
pub struct Keys(Vec<Box<dyn age::Identity>>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

/// A file that holds no key that could be used. Nothing of it is repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// It begins as no key does.
    #[error("line {0} is no age private key (AGE-SECRET-KEY-1…), and the file is no OpenSSH private key")]
    Unknown(usize),
    /// There is no key in it.
    #[error("there is no key in it")]
    Empty,
    /// The file is an age file itself.
    #[error("the file of keys is itself encrypted with age: decrypt it first, with age -d")]
    Encrypted,
    /// A key of another kind.
    #[error("it is an SSH key of another kind than Ed25519, or on a security key: neither opens a bundle")]
    Kind,
    /// It is protected, and no passphrase was given.
    #[error("the key is protected with a passphrase, and none was given")]
    NoPassphrase,
    /// It is protected, and the passphrase is another.
    #[error("the passphrase does not open the key")]
    Passphrase,
    /// It is damaged, or longer than [`KEYS_BYTES_MAX`].
    #[error("the OpenSSH private key cannot be read")]
    Damaged,
}

impl Keys {
    /// Reads a file of keys, as `age -d -i` takes it. `passphrase` is asked when a key is protected.
    ///
    /// # Errors
    /// [`BadKeys`].
    pub fn parse(text: &str, passphrase: impl FnOnce() -> Option<String>) -> Result<Self, BadKeys> {
        if text.len() > KEYS_BYTES_MAX {
            return Err(BadKeys::Damaged);
        }
        if text.starts_with("age-encryption.org/v1") || text.starts_with("-----BEGIN AGE ENCRYPTED FILE") {
            return Err(BadKeys::Encrypted);
        }
        if text.trim_start().starts_with("-----BEGIN ") {
            return Ok(Self(vec![ssh(text.trim_start(), passphrase)?]));
        }
        let mut keys: Vec<Box<dyn age::Identity>> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key: age::x25519::Identity = line.parse().map_err(|_| BadKeys::Unknown(number + 1))?;
            keys.push(Box::new(key));
        }
        if keys.is_empty() { Err(BadKeys::Empty) } else { Ok(Self(keys)) }
    }

    /// The keys of both.
    #[must_use]
    pub fn and(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    pub(super) fn as_age(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.0.iter().map(|key| &**key)
    }
}

fn ssh(text: &str, passphrase: impl FnOnce() -> Option<String>) -> Result<Box<dyn age::Identity>, BadKeys> {
    let key = SshIdentity::from_buffer(text.as_bytes(), None).map_err(|_| BadKeys::Damaged)?;
    match SshRecipient::try_from(key.clone()) {
        Ok(SshRecipient::SshEd25519(..)) => {}
        _ => return Err(BadKeys::Kind),
    }
    let SshIdentity::Encrypted(key) = key else { return Ok(Box::new(key)) };
    let passphrase = SecretString::from(passphrase().ok_or(BadKeys::NoPassphrase)?);
    let opened = key.decrypt(passphrase).map_err(|_| BadKeys::Passphrase)?;
    Ok(Box::new(SshIdentity::from(opened)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";

    #[test]
    fn keys_are_read_as_age_reads_them() {
        let key = crate::sign::SigningKey::from_seed(&[9; 32]).to_openssh().unwrap();
        for text in [AGE, &format!("# created: now\n# public key: age1…\n{AGE}\n"), &key] {
            let keys = Keys::parse(text, || None).unwrap();
            assert_eq!(format!("{keys:?}"), "Keys(1)");
        }
        let both = Keys::parse(AGE, || None).unwrap().and(Keys::parse(&key, || None).unwrap());
        assert_eq!(both.as_age().count(), 2);
    }

    #[test]
    fn what_is_no_key_is_said_and_never_repeated() {
        for (text, wanted) in [
            ("", BadKeys::Empty),
            ("# nothing\n", BadKeys::Empty),
            ("# one\nage1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa\n", BadKeys::Unknown(2)),
            ("AGE-SECRET-KEY-1SHORT", BadKeys::Unknown(1)),
            ("age-encryption.org/v1\n-> scrypt", BadKeys::Encrypted),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", BadKeys::Damaged),
        ] {
            assert_eq!(Keys::parse(text, || None).unwrap_err(), wanted, "{text}");
        }
    }
}
