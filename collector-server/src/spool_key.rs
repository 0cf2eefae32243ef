//! The key of the hosts' spools: what an agent could not send at once lies on its host, encrypted to this server, so that
//! whoever has the host cannot read it. It is transport: what analysts encrypt to themselves is encrypted below it.
//!
//! The file holds age identities, one a line. The first one's recipient is given to agents, which keep it; the others
//! still open what was encrypted to them. All replicas of a server have the same file.

use std::io::Read as _;

use age::secrecy::{ExposeSecret as _, SecretString};
use age::x25519::Identity;
use age::{DecryptError, Decryptor};
use wire::agent_api::CHUNK_BYTES_MAX;

/// Identities in the file: more rotations than a server lives through.
const IDENTITIES_MAX: usize = 16;
/// The header of a file of ours has 300 bytes. Each recipient in it costs a multiplication.
const HEADER_BYTES_MAX: usize = 4 << 10;

/// See the module. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct SpoolKey {
    /// The first is the one whose recipient is given out.
    current: Identity,
    older: Vec<Identity>,
}

impl std::fmt::Debug for SpoolKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SpoolKey(***)")
    }
}

/// A file that is no spool key.
#[derive(Debug, thiserror::Error)]
pub enum BadSpoolKey {
    /// A line of it.
    #[error("line {line} is no age identity: {why}")]
    Line {
        /// From 1.
        line: usize,
        /// Why.
        why: &'static str,
    },
    /// None at all, or too many.
    #[error("it holds {count} identities; 1 to {IDENTITIES_MAX} are wanted")]
    Count {
        /// How many.
        count: usize,
    },
}

/// Why a spooled file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    /// It is not an age file, or not to this server, or it was changed.
    #[error("{0}")]
    Age(#[from] DecryptError),
    /// Its header is longer than one of ours can be.
    #[error("it has no age header of at most {HEADER_BYTES_MAX} bytes")]
    Header,
    /// A part of it was changed or cut off.
    #[error("it was changed, or cut off")]
    Content,
    /// It holds more than a chunk.
    #[error("it holds more than {CHUNK_BYTES_MAX} bytes")]
    TooLong,
}

impl SpoolKey {
    /// A new key, and the text of its file.
    pub fn make() -> (Self, SecretString) {
        let current = Identity::generate();
        let text = format!("{}\n", current.to_string().expose_secret());
        (Self { current, older: Vec::new() }, text.into())
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`BadSpoolKey`].
    pub fn parse(text: &str) -> Result<Self, BadSpoolKey> {
        let lines = text.lines().map(str::trim).enumerate();
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let identities: Result<Vec<Identity>, BadSpoolKey> =
            lines.map(|(n, line)| line.parse().map_err(|why| BadSpoolKey::Line { line: n + 1, why })).collect();
        let identities = identities?;
        let count = identities.len();
        let mut identities = identities.into_iter();
        match identities.next() {
            Some(current) if count <= IDENTITIES_MAX => Ok(Self { current, older: identities.collect() }),
            _ => Err(BadSpoolKey::Count { count }),
        }
    }

    /// To whom agents encrypt, `age1…`.
    pub fn recipient(&self) -> String {
        self.current.to_public().to_string()
    }

    /// All who open what was spooled, that one first.
    pub fn recipients(&self) -> Vec<String> {
        std::iter::once(&self.current).chain(&self.older).map(|one| one.to_public().to_string()).collect()
    }

    /// The content of a spooled file, in memory and of at most [`CHUNK_BYTES_MAX`].
    ///
    /// # Errors
    /// [`NotOpened`].
    pub fn open(&self, file: &[u8]) -> Result<Vec<u8>, NotOpened> {
        let head = file.get(..HEADER_BYTES_MAX.min(file.len())).unwrap_or_default();
        if !head.windows(5).any(|window| window == b"\n--- ") {
            return Err(NotOpened::Header);
        }
        let decryptor = Decryptor::new_buffered(file)?;
        let identities =
            std::iter::once(&self.current).chain(&self.older).map(|identity| identity as &dyn age::Identity);
        let opened = decryptor.decrypt(identities)?;
        let mut content = Vec::with_capacity(file.len().min(CHUNK_BYTES_MAX));
        opened.take(CHUNK_BYTES_MAX as u64 + 1).read_to_end(&mut content).map_err(|_| NotOpened::Content)?;
        if content.len() > CHUNK_BYTES_MAX { Err(NotOpened::TooLong) } else { Ok(content) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(key: &SpoolKey, content: &[u8]) -> Vec<u8> {
        age::encrypt(&key.current.to_public(), content).unwrap()
    }

    #[test]
    fn what_was_encrypted_to_an_older_one_still_opens() {
        let (first, first_text) = SpoolKey::make();
        let (second, second_text) = SpoolKey::make();
        let both = format!("# rotated\n{}{}", second_text.expose_secret(), first_text.expose_secret());
        let both = SpoolKey::parse(&both).unwrap();
        assert_eq!(both.recipient(), second.recipient());
        for key in [&first, &second] {
            assert_eq!(both.open(&seal(key, b"evidence")).unwrap(), b"evidence");
        }
        assert!(matches!(first.open(&seal(&second, b"evidence")), Err(NotOpened::Age(_))));
        assert_eq!(format!("{both:?}"), "SpoolKey(***)");
        for bad in ["", "# nothing\n", "age1qqqq\n", "AGE-SECRET-KEY-1\n"] {
            assert!(SpoolKey::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_lying_file_is_refused_within_bounds() {
        let (key, _) = SpoolKey::make();
        let whole = seal(&key, &vec![7; CHUNK_BYTES_MAX]);
        assert!(whole.len() <= wire::agent_api::SPOOLED_BYTES_MAX);
        assert_eq!(key.open(&whole).unwrap().len(), CHUNK_BYTES_MAX);
        assert!(matches!(key.open(&seal(&key, &vec![7; CHUNK_BYTES_MAX + 1])), Err(NotOpened::TooLong)));
        assert!(matches!(key.open(&whole[..whole.len() - 1]), Err(NotOpened::Content)));
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        assert!(matches!(key.open(&flipped), Err(NotOpened::Content)));
        assert!(matches!(key.open(b""), Err(NotOpened::Header)));
        assert!(matches!(key.open(b"age-encryption.org/v1\n"), Err(NotOpened::Header)));
        let many = format!("age-encryption.org/v1\n{}--- x\n", "-> X25519 AAAA\nAAAA\n".repeat(1000));
        assert!(matches!(key.open(many.as_bytes()), Err(NotOpened::Header)));
        assert!(key.open(b"age-encryption.org/v1\n--- AAAA\n").is_err());
    }
}
