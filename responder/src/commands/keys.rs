//! `holdfast keys`: the key that signs a responder's orders. Hosts obey keys, not servers.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use bundle::sign::{SigningKey, fingerprint};
use clap::Subcommand;

use super::{Failure, IO, USAGE};
use crate::config::{Config, KeyChoice};
use crate::order_key::OrderKey;
use crate::show::{print, remark};

/// Make, choose or show the key that signs your orders.
#[derive(clap::Args)]
pub struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make an Ed25519 key in OpenSSH's format. Nothing is ever overwritten.
    New {
        /// Where to; by default `order_key` in the configuration's folder.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Choose the key that signs orders: a file, or one that ssh-agent holds, also in hardware.
    Use {
        /// FILE, or agent:SHA256:… as `ssh-add -l` shows it.
        key: String,
        /// The name under which agents know the key.
        #[arg(long, value_name = "NAME")]
        principal: Option<String>,
    },
    /// Print the allowed_signers line that hosts must hold to take your orders.
    Show,
}

impl Keys {
    /// Runs the sub-command.
    pub fn run(self) -> Result<u8, Failure> {
        let config = Config::load()?;
        match self.command {
            Command::New { file } => new(&config, file)?,
            Command::Use { key, principal } => choose(config, &key, principal)?,
            Command::Show => show(&config)?,
        }
        Ok(0)
    }
}

fn new(config: &Config, file: Option<PathBuf>) -> Result<(), Failure> {
    let path = match file {
        Some(path) => path,
        None => {
            // Makes the folder, where it is not there yet.
            config.save()?;
            config.path("order_key")
        }
    };
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| Failure::new(IO, anyhow!("the system has no randomness: {error}")))?;
    let key = SigningKey::from_seed(&seed);
    let text = key.to_openssh().map_err(|error| Failure::new(IO, error))?;
    create(&path, &text, 0o600)?;
    let mut public = path.clone().into_os_string();
    public.push(".pub");
    create(Path::new(&public), &format!("{}\n", key.public_line()), 0o644)?;
    print(&format!("{}\n", path.display()))?;
    remark(&format!("made the key {}", fingerprint(&key.public())));
    remark(&format!("hint: choose it with holdfast keys use {} --principal NAME", path.display()));
    Ok(())
}

fn create(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::new(USAGE, anyhow!("{} is there already", path.display()))
                .hint("holdfast keys use chooses a key that exists; --file FILE makes another one"),
            _ => Failure::new(IO, anyhow::Error::new(error).context(format!("{} cannot be written", path.display()))),
        })
}

fn choose(mut config: Config, key: &str, principal: Option<String>) -> Result<(), Failure> {
    let kept = config.settings.key.as_ref().map(|key| key.principal.clone());
    let principal = principal.or(kept).or_else(|| config.settings.user.clone()).ok_or_else(|| {
        Failure::new(USAGE, anyhow!("nobody says under which name agents know the key")).hint("add --principal NAME")
    })?;
    check_principal(&principal)?;
    let (agent, file) = match key.strip_prefix("agent:") {
        Some(print) if print.starts_with("SHA256:") => (Some(print.to_owned()), None),
        Some(print) => (Some(format!("SHA256:{print}")), None),
        None => {
            let path = std::path::absolute(key)
                .with_context(|| format!("{key} cannot be read"))
                .map_err(|error| Failure::new(IO, error))?;
            (None, Some(path))
        }
    };
    let choice = KeyChoice { agent, file, principal };
    // A choice that does not open would be found out at three in the morning.
    let opened = OrderKey::open(&choice)?;
    config.settings.key = Some(choice);
    config.save()?;
    remark(&format!("orders are signed with {}", fingerprint(&opened.public())));
    remark(
        "hint: hosts must know it: holdfast keys show > signers, then on each host: holdfast-agent enroll --signers",
    );
    Ok(())
}

/// A name that means itself in an `allowed_signers` file, and nothing else.
fn check_principal(name: &str) -> Result<(), Failure> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-:".contains(&byte);
    if (1..=128).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Failure::new(USAGE, anyhow!("{name:?} is no name for allowed_signers"))
        .hint("1 to 128 letters, digits and . _ @ + - : are wanted, as in ada@example.org"))
}

fn show(config: &Config) -> Result<(), Failure> {
    let key = OrderKey::configured(config)?;
    print(&format!("{}\n", key.allowed_signers_line()))?;
    remark("hint: agents take it with holdfast-agent enroll --signers FILE, or from configuration management");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_that_is_there_only_wants_to_be_chosen() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::at(dir.path().join("c")).unwrap();
        assert!(config.key_hint().starts_with("holdfast keys new, then"));
        new(&config, None).unwrap();
        assert!(config.key_hint().starts_with(&format!("holdfast keys use {}", config.path("order_key").display())));
    }

    #[test]
    fn a_key_is_made_once_chosen_and_shown() {
        let dir = tempfile::tempdir().unwrap();
        let config = || Config::at(dir.path().join("c")).unwrap();
        new(&config(), None).unwrap();
        let path = config().path("order_key");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let again = new(&config(), None).unwrap_err();
        assert_eq!((again.code, again.error.to_string()), (USAGE, format!("{} is there already", path.display())));
        assert_eq!(OrderKey::configured(&config()).err().unwrap().code, USAGE);
        choose(config(), path.to_str().unwrap(), Some("ada@example.org".into())).unwrap();
        let key = OrderKey::configured(&config()).unwrap();
        let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        let line = format!("ada@example.org namespaces=\"holdfast-collect,holdfast-contain\" {}", public.trim_end());
        assert_eq!(key.allowed_signers_line(), line);
        assert!(bundle::sign::AllowedSigners::parse(&line).is_ok());
    }

    #[test]
    fn a_name_cannot_stand_for_others() {
        for bad in ["", "*", "ada,eve", "ada eve", "a\"b", "a\nb", "!ada", &"a".repeat(129)] {
            assert_eq!(check_principal(bad).unwrap_err().code, USAGE, "{bad:?}");
        }
        assert!(check_principal("ada@example.org").is_ok());
    }
}
