//! Public keys that a bundle is encrypted to.

use std::fmt;
use std::str::FromStr;

use ssh_key::PublicKey;

/// Recipients of one bundle: the header of an age file is read before anything in it can be believed.
pub const RECIPIENTS_MAX: usize = 64;

/// A public key: X25519 (`age1…`) or `ssh-ed25519 AAAA…`.
#[derive(Clone)]
pub struct Recipient {
    line: String,
    key: Key,
}

#[derive(Clone)]
enum Key {
    X25519(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

/// A text that is no recipient. It is not repeated: somebody may have given the private half by mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecipient {
    /// The private half of a key.
    #[error("this is a private key: give its public half, which begins with age1 or ssh-ed25519")]
    Private,
    /// A kind of SSH key that nothing is encrypted to.
    #[error("a recipient is an `{0}` key: only age1… (age-keygen) and ssh-ed25519 keys are taken")]
    Kind(String),
    /// Something else.
    #[error("a recipient is neither an age public key (age1…) nor an ssh-ed25519 public key, or it is damaged")]
    Unknown,
    /// More than [`RECIPIENTS_MAX`].
    #[error("more than {RECIPIENTS_MAX} recipients")]
    TooMany,
    /// Something in a file of them.
    #[error("line {line}: {source}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        source: Box<BadRecipient>,
    },
}

impl FromStr for Recipient {
    type Err = BadRecipient;

    fn from_str(text: &str) -> Result<Self, BadRecipient> {
        let text = text.trim();
        if text.starts_with("AGE-SECRET-KEY-") || text.starts_with("-----BEGIN") {
            return Err(BadRecipient::Private);
        }
        if text.starts_with("age1") {
            let key: age::x25519::Recipient = text.parse().map_err(|_| BadRecipient::Unknown)?;
            return Ok(Self { line: key.to_string(), key: Key::X25519(key) });
        }
        let kind = text.split_whitespace().next().unwrap_or_default();
        if kind != "ssh-ed25519" {
            let is_ssh = ["ssh-", "ecdsa-", "sk-"].iter().any(|start| kind.starts_with(start));
            let is_plain = kind.bytes().all(|byte| byte.is_ascii_graphic()) && kind.len() <= 64;
            let error = if is_ssh && is_plain { BadRecipient::Kind(kind.to_owned()) } else { BadRecipient::Unknown };
            return Err(error);
        }
        // The one reader takes what follows the key for a comment, whatever it is; the other reads it all.
        let mut public = PublicKey::from_openssh(text).map_err(|_| BadRecipient::Unknown)?;
        public.set_comment("");
        let line = public.to_openssh().map_err(|_| BadRecipient::Unknown)?.trim_end().to_owned();
        let key = line.parse().map_err(|_| BadRecipient::Unknown)?;
        Ok(Self { line, key: Key::Ssh(key) })
    }
}

/// Without a comment, as it stands in `bundle.json`.
impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({})", self.line)
    }
}

impl PartialEq for Recipient {
    fn eq(&self, other: &Self) -> bool {
        self.line == other.line
    }
}

impl Eq for Recipient {}

impl Recipient {
    pub(super) fn as_age(&self) -> &dyn age::Recipient {
        match &self.key {
            Key::X25519(key) => key,
            Key::Ssh(key) => key,
        }
    }
}

/// A file of recipients, as `age -R` takes it: one a line, empty lines and comments aside.
///
/// # Errors
/// [`BadRecipient::Line`] for the first one that is none: evidence that one of those who were meant cannot read is a
/// mistake to be seen at once.
pub fn read_recipients(text: &str) -> Result<Vec<Recipient>, BadRecipient> {
    let mut recipients = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let recipient =
            line.parse().map_err(|source| BadRecipient::Line { line: number + 1, source: Box::new(source) })?;
        recipients.push(recipient);
        if recipients.len() > RECIPIENTS_MAX {
            return Err(BadRecipient::TooMany);
        }
    }
    Ok(recipients)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    const SSH: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";

    #[test]
    fn keys_are_taken_without_their_comments() {
        assert_eq!(AGE.parse::<Recipient>().unwrap().to_string(), AGE);
        assert_eq!(format!(" {SSH} alice@rust\n").parse::<Recipient>().unwrap().to_string(), SSH);
        let file = format!("# the team\n\n{AGE}\n{SSH} alice\n");
        assert_eq!(read_recipients(&file).unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_recipient_is_said_and_never_repeated() {
        let secret = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
        assert_eq!(secret.parse::<Recipient>(), Err(BadRecipient::Private));
        assert_eq!("-----BEGIN OPENSSH PRIVATE KEY-----".parse::<Recipient>(), Err(BadRecipient::Private));
        for (text, kind) in
            [("ssh-rsa AAAAB3", "ssh-rsa"), ("sk-ssh-ed25519@openssh.com A", "sk-ssh-ed25519@openssh.com")]
        {
            let error = text.parse::<Recipient>().unwrap_err();
            assert_eq!(error, BadRecipient::Kind(kind.to_owned()));
            assert!(error.to_string().contains("only age1"), "{error}");
        }
        for text in ["", "age1x", "ssh-ed25519 AAAA", "root", "age1pq1qqqq", "ssh-ed25519"] {
            assert_eq!(text.parse::<Recipient>(), Err(BadRecipient::Unknown), "{text}");
        }
        let error = read_recipients(&format!("{AGE}\nssh-rsa AAAA\n")).unwrap_err().to_string();
        assert!(error.starts_with("line 2: a recipient is an `ssh-rsa` key"), "{error}");
        assert_eq!(read_recipients(&format!("{AGE}\n").repeat(RECIPIENTS_MAX + 1)), Err(BadRecipient::TooMany));
    }
}
