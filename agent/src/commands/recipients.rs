//! Who can read what is collected: the recipients of this host's policy, and those on the command line.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use bundle::encryption::{BadRecipient, RECIPIENTS_MAX, Recipient, read_recipients};
use clap::Args;

use super::{Refusal, exit};
use crate::state;
use crate::trust::{SITE_FOLDER, load_policy};

/// A file of recipients is at most this long.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// See the module.
#[derive(Args)]
pub struct Recipients {
    /// Encrypt the bundle to this key (again for more): age1… or an ssh-ed25519 public key. Those of this host's policy
    /// are always among them
    #[arg(long, value_name = "KEY")]
    recipient: Vec<String>,
    /// Encrypt the bundle to the keys in this file, one a line
    #[arg(long, value_name = "FILE")]
    recipients_file: Vec<PathBuf>,
}

impl Recipients {
    /// All of them, each once; none where the bundle is not encrypted.
    pub(super) fn all(&self) -> Result<Vec<Recipient>, Refusal> {
        let policy = load_policy(Path::new(SITE_FOLDER), &state::folder()).map_err(|error| {
            Refusal::new(exit::INPUT, &error)
                .hint("it may say that bundles are encrypted: correct it, or run as somebody who can read it")
        })?;
        let mut recipients = policy.encryption.recipients();
        for key in &self.recipient {
            recipients.push(key.parse().map_err(|error| refuse("--recipient", &error))?);
        }
        for path in &self.recipients_file {
            recipients.extend(read_file(path)?);
        }
        let mut seen = Vec::new();
        recipients.retain(|recipient| {
            let is_new = !seen.contains(recipient);
            seen.extend(is_new.then(|| recipient.clone()));
            is_new
        });
        if recipients.len() > RECIPIENTS_MAX {
            return Err(refuse("recipients", &BadRecipient::TooMany));
        }
        Ok(recipients)
    }
}

fn read_file(path: &Path) -> Result<Vec<Recipient>, Refusal> {
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
    if let Err(error) = read {
        let message = format!("{} cannot be read: {error}", path.display());
        return Err(Refusal {
            code: exit::INPUT,
            message,
            hint: Some("give a file of public keys, one a line".into()),
        });
    }
    let recipients = read_recipients(&text).map_err(|error| refuse(&path.display().to_string(), &error))?;
    if recipients.is_empty() {
        let message = format!("{} lists nobody", path.display());
        return Err(Refusal { code: exit::INPUT, message, hint: Some("one public key a line".into()) });
    }
    Ok(recipients)
}

fn refuse(what: &str, error: &BadRecipient) -> Refusal {
    let hint = match error {
        BadRecipient::Private => "whoever holds it can read the evidence: keep it, and make a new one if others saw it",
        _ => "age-keygen, or ssh-keygen -t ed25519, makes a key that serves",
    };
    Refusal { code: exit::USAGE, message: format!("{what}: {error}"), hint: Some(hint.into()) }
}
