//! What `holdfast` keeps between two calls: which server, as whom, by which CA, and which key signs orders.
//!
//! One folder, 0700, of files that only their owner reads: `config.toml`, `token`, `ca.pem`, `order_key`,
//! `custody_head.json`. `$HOLDFAST_CONFIG_DIR`, else `$XDG_CONFIG_HOME/holdfast`, else `~/.config/holdfast`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Serialize};

use crate::commands::{Failure, INPUT, IO, REFUSED, USAGE};
use crate::secret::Secret;

/// More than any of the files holds.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The folder, and what its `config.toml` says.
#[derive(Debug)]
pub struct Config {
    dir: PathBuf,
    /// The parts of `config.toml`.
    pub settings: Settings,
}

/// `config.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `https://host:port`, without a slash at its end.
    pub server: Option<String>,
    /// The server's key for receipts and custody heads, `ssh-ed25519 AAAA…`, as it was at login.
    pub server_signer: Option<String>,
    /// The name that goes with the token.
    pub user: Option<String>,
    /// The key that signs orders.
    pub key: Option<KeyChoice>,
}

/// Which key signs orders, and under which name agents know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyChoice {
    /// The fingerprint of a key in ssh-agent(1), `SHA256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The file of a private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The name in the agents' `allowed_signers`.
    pub principal: String,
}

impl Config {
    /// The configuration of whoever runs this.
    pub fn load() -> Result<Self, Failure> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let dir = set("HOLDFAST_CONFIG_DIR")
            .or_else(|| set("XDG_CONFIG_HOME").map(|dir| dir.join("holdfast")))
            .or_else(|| set("HOME").map(|home| home.join(".config/holdfast")))
            .ok_or_else(|| {
                Failure::new(USAGE, anyhow!("there is no folder for the configuration: HOME is not set"))
                    .hint("set HOLDFAST_CONFIG_DIR to a folder of your own")
            })?;
        Self::at(dir)
    }

    /// The configuration in this folder, which need not be there yet.
    pub fn at(dir: impl Into<PathBuf>) -> Result<Self, Failure> {
        let mut config = Self { dir: dir.into(), settings: Settings::default() };
        if let Some(text) = config.read("config.toml")? {
            config.settings = toml::from_str(&text)
                .with_context(|| format!("{} cannot be used", config.path("config.toml").display()))
                .map_err(|error| Failure::new(INPUT, error).hint("correct it, or remove it and log in again"))?;
        }
        Ok(config)
    }

    /// The path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The next step of whoever has not chosen a key that signs orders.
    pub fn key_hint(&self) -> String {
        let made = self.path("order_key");
        if made.exists() {
            format!("holdfast keys use {} --principal NAME", made.display())
        } else {
            "holdfast keys new, then holdfast keys use FILE --principal NAME".to_owned()
        }
    }

    /// Writes `config.toml`.
    pub fn save(&self) -> Result<(), Failure> {
        let text = toml::to_string(&self.settings).map_err(|error| Failure::new(IO, error))?;
        self.write("config.toml", &text)
    }

    /// The token of the login. A file that others can read is refused, as ssh(1) does it with keys.
    pub fn token(&self) -> Result<Secret, Failure> {
        let path = self.path("token");
        match fs::metadata(&path) {
            Ok(found) if found.mode() & 0o077 != 0 => {
                return Err(Failure::new(REFUSED, anyhow!("{} can be read by others", path.display())).hint(format!(
                    "have the token withdrawn, log in with a new one, and keep the file to yourself: chmod 600 {}",
                    path.display()
                )));
            }
            _ => {}
        }
        let text = self.read("token")?.ok_or_else(not_logged_in)?;
        Ok(Secret::new(text.trim()))
    }

    /// The text of a file in the folder; `None` when it is not there.
    pub fn read(&self, name: &str) -> Result<Option<String>, Failure> {
        let path = self.path(name);
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
        match read {
            Ok(_) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let error = anyhow::Error::new(error).context(format!("{} cannot be read", path.display()));
                Err(Failure::new(IO, error))
            }
        }
    }

    /// Writes a file in the folder, whole or not at all, for its owner's eyes.
    pub fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .and_then(|()| write_whole(&self.path(name), text.as_bytes(), 0o600))
            .with_context(|| format!("{} cannot be written", self.path(name).display()))
            .map_err(|error| Failure::new(IO, error).hint("HOLDFAST_CONFIG_DIR names another folder"))
    }
}

/// There is no server yet.
pub fn not_logged_in() -> Failure {
    Failure::new(USAGE, anyhow!("you are not logged in to a server"))
        .hint("holdfast login https://HOST:PORT --ca-sha256 HEX; `holdfast-server ca show` prints the digest")
}

/// Replaces a file by one with these bytes: a reader sees the old ones or the new ones, and a link is not followed.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_the_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::at(dir.path().join("a/holdfast")).unwrap();
        config.settings.server = Some("https://127.0.0.1:8443".into());
        config.settings.key =
            Some(KeyChoice { agent: None, file: Some("/k".into()), principal: "ada@example.org".into() });
        config.save().unwrap();
        config.write("token", "s3cret\n").unwrap();
        let mode = |name: &str| fs::metadata(config.path(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("token"), mode("config.toml"), mode(".")), (0o600, 0o600, 0o700));
        assert_eq!(fs::read_dir(config.path(".")).unwrap().count(), 2, "nothing is left over");
        let again = Config::at(config.path(".")).unwrap();
        assert_eq!(again.settings, config.settings);
        assert_eq!(again.token().unwrap().reveal(), "s3cret");
    }

    #[test]
    fn a_token_that_others_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::at(dir.path()).unwrap();
        config.write("token", "s3cret").unwrap();
        fs::set_permissions(config.path("token"), fs::Permissions::from_mode(0o640)).unwrap();
        let failure = config.token().unwrap_err();
        assert_eq!(failure.code, REFUSED);
        assert!(!failure.error.to_string().contains("s3cret"));
    }

    #[test]
    fn a_wrong_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.toml"), "srever = 1\n").unwrap();
        let failure = Config::at(dir.path()).unwrap_err();
        assert_eq!(failure.code, INPUT);
        assert!(failure.error.to_string().ends_with("config.toml cannot be used"));
    }
}
