//! The server's key for receipts and custody heads: the one of the login, or one that was handed over.

use std::fs::File;
use std::io::Read as _;

use anyhow::{Context as _, anyhow};
use ssh_key::PublicKey;

use crate::commands::{Failure, INPUT, IO};
use crate::config::Config;

/// More than any file with one key.
const BYTES_MAX: u64 = 64 << 10;

/// The key that was given, `ssh-ed25519 AAAA…` or a file that holds it; else that of the login; else none.
pub fn server_key(given: Option<&str>) -> Result<Option<PublicKey>, Failure> {
    let Some(given) = given else {
        // Offline verification must not fail over a folder that is not needed: without HOME there is no login.
        let signer = Config::load().ok().and_then(|config| config.settings.server_signer);
        return signer.map(|line| parse(&line).ok_or_else(|| no_key("config.toml"))).transpose();
    };
    if given.starts_with("ssh-") {
        return parse(given).map(Some).ok_or_else(|| no_key("--server-key"));
    }
    let mut text = String::new();
    File::open(given)
        .and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text))
        .with_context(|| format!("{given} cannot be read"))
        .map_err(|error| {
            Failure::new(IO, error).hint("give the key itself, ssh-ed25519 AAAA…, or a file that holds it")
        })?;
    parse(&text).map(Some).ok_or_else(|| no_key(given))
}

/// The key in a line that may be one of an `allowed_signers` file.
fn parse(text: &str) -> Option<PublicKey> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|word| word.starts_with("ssh-"))?;
    PublicKey::from_openssh(&format!("{} {}", words[at], words.get(at + 1)?)).ok()
}

fn no_key(what: &str) -> Failure {
    Failure::new(INPUT, anyhow!("{what} holds no key"))
        .hint("ssh-ed25519 AAAA… is wanted, as `holdfast-server` has it in GET /api/v1/me")
}

#[cfg(test)]
mod tests {
    use bundle::sign::SigningKey;

    use super::*;

    #[test]
    fn a_key_comes_as_itself_or_in_a_file() {
        let line = SigningKey::from_seed(&[1; 32]).public_line();
        let wanted = parse(&line).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("k");
        for text in [line.clone(), format!("# x\n\nserver namespaces=\"holdfast-receipt\" {line} comment\n")] {
            std::fs::write(&file, &text).unwrap();
            let read = server_key(file.to_str()).unwrap().unwrap();
            assert_eq!(read.key_data(), wanted.key_data());
        }
        assert_eq!(server_key(Some(&line)).unwrap().unwrap().key_data(), wanted.key_data());
        std::fs::write(&file, "nothing").unwrap();
        assert_eq!(server_key(file.to_str()).unwrap_err().code, INPUT);
        assert_eq!(server_key(Some("ssh-ed25519 AAAA")).unwrap_err().code, INPUT);
        assert_eq!(server_key(Some("/nowhere")).unwrap_err().code, IO);
    }
}
