//! Whom this host obeys, and how far: `allowed_signers` and `policy.toml`, in `/etc/holdfast` or else as enrolled.
//!
//! The server writes neither. They are read anew for each order, so that a change holds at once.

use std::io;
use std::path::{Path, PathBuf};

use bundle::sign::{AllowedSigners, BadSigners};

use crate::policy::{self, Policy, PolicyError};
use crate::state::file;

/// Where packages and configuration management put them.
pub const SITE_FOLDER: &str = "/etc/holdfast";
/// Who may order (ssh-keygen(1), ALLOWED SIGNERS).
pub const SIGNERS_FILE: &str = "allowed_signers";
/// How far.
pub const POLICY_FILE: &str = "policy.toml";
const SIGNERS_BYTES_MAX: u64 = 1 << 20;

/// Both, read and valid.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Who may order.
    pub signers: AllowedSigners,
    /// How far.
    pub policy: Policy,
}

/// A file of trust that cannot be used. Nothing is ordered without it.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Nobody is allowed anything.
    #[error("no allowed_signers, neither in {SITE_FOLDER} nor enrolled")]
    NoSigners,
    /// It cannot be read, or others may change it.
    #[error("{} cannot be trusted", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no file of signers.
    #[error("{}", path.display())]
    Signers {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: BadSigners,
    },
    /// It lists nobody.
    #[error("{} lists nobody", path.display())]
    Nobody {
        /// The file.
        path: PathBuf,
    },
    /// It is no policy.
    #[error("{}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: PolicyError,
    },
}

impl Trust {
    /// What holds on this host: the site's file where there is one, else the enrolled one in `state`.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn load(site: &Path, state: &Path) -> Result<Self, TrustError> {
        let (path, text) = first(site, state, SIGNERS_FILE, SIGNERS_BYTES_MAX)?.ok_or(TrustError::NoSigners)?;
        let signers = parse_signers(&path, &text)?;
        Ok(Self { signers, policy: load_policy(site, state)? })
    }
}

/// The policy alone: part of it holds for what is collected at the console, too.
///
/// # Errors
/// [`TrustError`]: a policy that cannot be read may say that bundles are encrypted.
pub fn load_policy(site: &Path, state: &Path) -> Result<Policy, TrustError> {
    match first(site, state, POLICY_FILE, policy::TEXT_BYTES_MAX)? {
        Some((path, text)) => parse_policy(&path, &text),
        None => Ok(Policy::default()),
    }
}

/// The site's file, else the enrolled one.
fn first(site: &Path, state: &Path, name: &str, bytes_max: u64) -> Result<Option<(PathBuf, String)>, TrustError> {
    for folder in [site, state] {
        let path = folder.join(name);
        match file::get_trusted(&path, bytes_max) {
            Ok(None) => {}
            Ok(Some(text)) => return Ok(Some((path, text))),
            Err(source) => return Err(TrustError::File { path, source }),
        }
    }
    Ok(None)
}

/// Texts that a person gave, read and valid, to be stored.
#[derive(Clone, Debug)]
pub struct Given {
    /// `allowed_signers`.
    pub signers: String,
    /// `policy.toml`, if one was given.
    pub policy: Option<String>,
}

impl Given {
    /// Reads and checks both.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn read(signers: &Path, policy: Option<&Path>) -> Result<Self, TrustError> {
        let read = |path: &Path, bytes_max: u64| {
            let missing = || Err(io::ErrorKind::NotFound.into());
            file::get(path, bytes_max)
                .and_then(|text| text.map_or_else(missing, Ok))
                .map_err(|source| TrustError::File { path: path.to_owned(), source })
        };
        let text = read(signers, SIGNERS_BYTES_MAX)?;
        parse_signers(signers, &text)?;
        let policy = match policy {
            Some(path) => {
                let text = read(path, policy::TEXT_BYTES_MAX)?;
                parse_policy(path, &text)?;
                Some(text)
            }
            None => None,
        };
        Ok(Self { signers: text, policy })
    }
}

fn parse_signers(path: &Path, text: &str) -> Result<AllowedSigners, TrustError> {
    let is_nobody = text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#'));
    if is_nobody {
        return Err(TrustError::Nobody { path: path.to_owned() });
    }
    AllowedSigners::parse(text).map_err(|source| TrustError::Signers { path: path.to_owned(), source })
}

fn parse_policy(path: &Path, text: &str) -> Result<Policy, TrustError> {
    Policy::parse(text).map_err(|source| TrustError::Policy { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle::sign::SigningKey;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_sites_files_come_first_and_nobody_else_may_write_them() {
        let (site, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let load = || Trust::load(site.path(), state.path());
        assert!(matches!(load(), Err(TrustError::NoSigners)));
        let line = format!("ada {}\n", SigningKey::from_seed(&[1; 32]).public_line());
        std::fs::write(state.path().join(SIGNERS_FILE), &line).unwrap();
        assert_eq!(load().unwrap().policy, Policy::default());
        std::fs::write(state.path().join(POLICY_FILE), "[orders]\nvalid_secs_max = 1\n").unwrap();
        assert_eq!(load().unwrap().policy.orders.valid_secs_max, 1);
        std::fs::write(site.path().join(POLICY_FILE), "[orders]\nvalid_secs_max = 2\n").unwrap();
        assert_eq!(load().unwrap().policy.orders.valid_secs_max, 2);
        std::fs::write(site.path().join(SIGNERS_FILE), "# nobody\n").unwrap();
        assert!(matches!(load(), Err(TrustError::Nobody { .. })));
        std::fs::write(site.path().join(SIGNERS_FILE), line).unwrap();
        std::fs::set_permissions(site.path().join(SIGNERS_FILE), std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(load(), Err(TrustError::File { .. })));
    }
}
