//! The agent's state folder: its signing key, made at first use and never leaving the host, and its id.

pub mod file;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use bundle::sign::SigningKey;
use wire::{AgentId, Sha256};

const KEY_FILE: &str = "agent_key";
const ID_FILE: &str = "agent_id";

/// Who this agent is.
pub struct Identity {
    /// Signs what it collects.
    pub key: SigningKey,
    /// Its id.
    pub id: AgentId,
    /// False when the state folder could not be written: the key is then gone with this run.
    pub kept: bool,
}

/// The state folder cannot be trusted or used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The key may have been read or replaced by somebody else.
    #[error("{} may be read or changed by others (owner {uid}, mode {mode:o})", path.display())]
    Exposed {
        /// The file or folder.
        path: PathBuf,
        /// Its owner.
        uid: u32,
        /// Its permissions.
        mode: u32,
    },
    /// The key is there but is no key.
    #[error("{} is no signing key", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: bundle::sign::SignError,
    },
    /// The kernel gave no random bytes.
    #[error("the kernel gave no random bytes")]
    NoRandom,
}

/// The state folder: `$HOLDFAST_STATE_DIR`, `/var/lib/holdfast` for root, else the user's own.
pub fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("HOLDFAST_STATE_DIR") {
        return folder.into();
    }
    if rustix::process::geteuid().is_root() {
        return "/var/lib/holdfast".into();
    }
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/state"));
    std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(home)
        .unwrap_or_else(|| "/tmp".into())
        .join("holdfast")
}

/// This agent's identity, made at first use. On a file system that cannot be written the identity lasts for this
/// process: evidence matters more than a stable key.
///
/// # Errors
/// [`StateError`].
pub fn identity(folder: &Path, host_name: &str) -> Result<Identity, StateError> {
    match load(folder)? {
        Some((key, id)) => Ok(Identity { key, id, kept: true }),
        None => make(folder, host_name),
    }
}

fn id_for(host_name: &str, key: &SigningKey) -> AgentId {
    AgentId::of_host(host_name, Sha256::of(key.public_line().as_bytes()))
}

fn load(folder: &Path) -> Result<Option<(SigningKey, AgentId)>, StateError> {
    let path = folder.join(KEY_FILE);
    let Ok(meta) = fs::symlink_metadata(&path) else { return Ok(None) };
    for (path, meta) in [(&path, Ok(meta)), (&folder.to_owned(), fs::symlink_metadata(folder))] {
        let Ok(meta) = meta else { return Ok(None) };
        let mode = meta.mode() & 0o7777;
        if meta.uid() != rustix::process::geteuid().as_raw() || mode & 0o077 != 0 || meta.is_symlink() {
            return Err(StateError::Exposed { path: path.clone(), uid: meta.uid(), mode });
        }
    }
    let text = fs::read_to_string(&path).unwrap_or_default();
    let key = SigningKey::from_openssh(&text).map_err(|source| StateError::BadKey { path, source })?;
    let id = fs::read_to_string(folder.join(ID_FILE)).ok().and_then(|text| text.trim().parse().ok());
    // The id can be made again from the key; the host's name of that day cannot, and does not matter.
    let id = id.unwrap_or_else(|| id_for("", &key));
    Ok(Some((key, id)))
}

fn make(folder: &Path, host_name: &str) -> Result<Identity, StateError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| StateError::NoRandom)?;
    let key = SigningKey::from_seed(&seed);
    seed.fill(0);
    let id = id_for(host_name, &key);
    match keep(folder, &key, &id) {
        Ok(()) => Ok(Identity { key, id, kept: true }),
        // Another agent was faster: its key is the host's.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match load(folder)? {
            Some((key, id)) => Ok(Identity { key, id, kept: true }),
            None => Ok(Identity { key, id, kept: false }),
        },
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "the state folder cannot be written: the signing key lasts for this run only");
            Ok(Identity { key, id, kept: false })
        }
    }
}

/// Key and id on disk; the key last, under its name only when it is whole.
fn keep(folder: &Path, key: &SigningKey, id: &AgentId) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let write = |path: &Path, text: &str| -> io::Result<()> {
        let _ = fs::remove_file(path);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    let text = key.to_openssh().map_err(io::Error::other)?;
    let draft = folder.join(format!("{KEY_FILE}.{}", std::process::id()));
    write(&draft, &text)?;
    let linked = fs::hard_link(&draft, folder.join(KEY_FILE));
    fs::remove_file(&draft)?;
    linked?;
    write(&folder.join(ID_FILE), &format!("{id}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn an_identity_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("state");
        let first = identity(&folder, "Web_1.example").unwrap();
        let second = identity(&folder, "renamed").unwrap();
        assert!(first.kept && second.kept);
        assert!(first.id.as_str().starts_with("web-1-example-"));
        assert_eq!(first.id, second.id);
        assert_eq!(first.key.public_line(), second.key.public_line());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("state");
        identity(&folder, "h").unwrap();
        fs::set_permissions(folder.join(KEY_FILE), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(identity(&folder, "h"), Err(StateError::Exposed { .. })));
    }

    #[test]
    fn a_folder_that_cannot_be_written_costs_the_key_not_the_evidence() {
        let identity = identity(Path::new("/proc/nonexistent/state"), "h").unwrap();
        assert!(!identity.kept);
    }
}
