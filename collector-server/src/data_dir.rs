//! The data directory: everything that a server owns, for its own eyes only, and for one server at a time.
//!
//! | name | what |
//! |---|---|
//! | `ca.pem`, `ca.key` | the certificate authority; whoever has the key can be any agent |
//! | `ca-next.pem` | while it is replaced: the key and the certificate of the next one, and this one's word for it |
//! | `ca.lock` | held while one of these is written |
//! | `server.pem`, `server.key` | the server's certificate and TLS key |
//! | `server_key` | signs receipts and custody heads (OpenSSH format) |
//! | `automation_key` | signs what automation orders: captures and isolations (OpenSSH format) |
//! | `spool_key` | opens what waited on hosts while the server was away: age identities, the one that is given out first |
//! | `holdfast.db` | what changes |
//! | `objects/` | what never changes: evidence, alerts |
//! | `custody-heads.jsonl` | signed heads of the custody log, to be copied elsewhere |
//! | `timestamps/` | those of them that a time-stamping authority signed for, with its answers |
//! | `lock` | held by the server that runs |

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret as _;
use bundle::sign::SigningKey;
use rustix::fs::{FlockOperation, flock};
use wire::Instant;

use crate::authority::{Authority, AuthorityError, Certified, InForce, Rolled};
use crate::spool_key::{BadSpoolKey, SpoolKey};

/// What a backup holds of the directory besides records and objects: without one of these, what was backed up is of no
/// use, or nobody can tell whether it is whole. Each is a file that only its owner may read; one that is not there was
/// never made.
pub const KEPT: [&str; 10] = [
    "automation_key",
    "ca.key",
    "ca.pem",
    DECIDED_FILE,
    NEXT_FILE,
    "custody-heads.jsonl",
    "server.key",
    "server.pem",
    "server_key",
    "spool_key",
];

/// Folders of files of that kind.
pub const KEPT_FOLDERS: [&str; 1] = ["timestamps"];

/// No file of the directory that is read whole is longer.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// See the module. The lock is held as long as this lives.
pub struct DataDir {
    folder: PathBuf,
    _lock: File,
}

/// The next authority's files, and its name once the change is decided.
const NEXT_FILE: &str = "ca-next.pem";
const DECIDED_FILE: &str = "ca-decided.pem";

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The authority's files are broken.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The signing key is broken.
    #[error("{} is no signing key", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: bundle::sign::SignError,
    },
    /// The keys in it may have been read or replaced by somebody else.
    #[error("{} may be read or changed by others (owner {uid}, mode {mode:o})", path.display())]
    Exposed {
        /// The file or folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// Its owner.
        uid: u32,
    },
    /// The CA is being replaced already, or is not.
    #[error("{0}")]
    Rolling(&'static str),
    /// Another server has it.
    #[error("{} is in use by another server", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The key of the hosts' spools is broken.
    #[error("{} holds no age identities", path.display())]
    BadSpoolKey {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: BadSpoolKey,
    },
    /// The operating system refused.
    #[error("{} cannot be used", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// One half of a pair is missing.
    #[error("{} is there, but its key is not", path.display())]
    LostKey {
        /// The half that is there.
        path: PathBuf,
    },
}

impl DataDirError {
    /// The next step.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Authority(_) => "restore ca.pem and ca.key from a backup; a new CA shuts out every enrolled agent",
            Self::BadKey { .. } => "restore it from a backup; hosts know the server's receipts by this key",
            Self::BadSpoolKey { .. } => {
                "restore it from a backup; what waits on hosts is encrypted to it, and can be read by nothing else"
            }
            Self::Exposed { .. } => {
                "chown it to the server's user, chmod it to 0700 (files to 0600), and think about who had access"
            }
            Self::InUse { .. } => "stop the other server first, or choose another --data",
            Self::Io { .. } => "the server's user must own the data directory and be able to write in it",
            Self::Rolling(_) => "holdfast-server ca show says where it stands",
            Self::LostKey { .. } => "restore it from a backup; a new CA shuts out every enrolled agent",
        }
    }
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    |source| DataDirError::Io { path, source }
}

impl DataDir {
    /// The directory, made when it is not there.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn open(folder: &Path) -> Result<Self, DataDirError> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io_at(folder))?;
        check_private(folder)?;
        let path = folder.join("lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(io_at(&path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            rustix::io::Errno::WOULDBLOCK => DataDirError::InUse { folder: folder.to_owned() },
            errno => DataDirError::Io { path, source: errno.into() },
        })?;
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the records are.
    pub fn database(&self) -> PathBuf {
        self.folder.join("holdfast.db")
    }

    /// Where the objects are.
    pub fn objects(&self) -> PathBuf {
        self.folder.join("objects")
    }

    /// A folder that another process may serve from, for its CA alone.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn beside(folder: &Path) -> Result<Self, DataDirError> {
        check_private(folder)?;
        let path = folder.join("ca.lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(io_at(&path))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|errno| DataDirError::Io { path, source: errno.into() })?;
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    /// The authorities in force. A change that was decided and not completed is completed.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn in_force(&self, now: Instant) -> Result<InForce, DataDirError> {
        self.complete()?;
        let issuing = self.authority(now)?;
        match self.read(NEXT_FILE)? {
            None => Ok(InForce::alone(issuing)),
            Some(text) => Ok(InForce::rolled(&issuing, &self.rolled(NEXT_FILE, &text)?)?),
        }
    }

    /// Begins to replace the authority: from the next start or SIGHUP on the new one certifies.
    ///
    /// # Errors
    /// [`DataDirError`]; [`DataDirError::Rolling`] when one is replaced already.
    pub fn begin_roll(&self, rolled: &Rolled) -> Result<(), DataDirError> {
        if self.read(NEXT_FILE)?.is_some() {
            return Err(DataDirError::Rolling("the CA is being replaced already"));
        }
        let Rolled { certificate_pem, key_pem, word_pem } = rolled;
        self.write(NEXT_FILE, &format!("{key_pem}{certificate_pem}{word_pem}"))
    }

    /// Ends it: the old authority's key is gone, and what it has certified counts no more.
    ///
    /// # Errors
    /// [`DataDirError`]; [`DataDirError::Rolling`] when none is replaced.
    pub fn end_roll(&self) -> Result<(), DataDirError> {
        let (next, decided) = (self.folder.join(NEXT_FILE), self.folder.join(DECIDED_FILE));
        match fs::rename(&next, &decided) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DataDirError::Rolling("no CA is being replaced"));
            }
            renamed => renamed.and_then(|()| File::open(&self.folder)?.sync_all()).map_err(io_at(&decided))?,
        }
        self.complete()
    }

    /// Two files cannot be replaced at once: from the rename on, whoever comes by completes it.
    fn complete(&self) -> Result<(), DataDirError> {
        let Some(text) = self.read(DECIDED_FILE)? else { return Ok(()) };
        let rolled = self.rolled(DECIDED_FILE, &text)?;
        self.write("ca.key", &rolled.key_pem)?;
        self.write("ca.pem", &rolled.certificate_pem)?;
        let decided = self.folder.join(DECIDED_FILE);
        fs::remove_file(&decided).map_err(io_at(&decided))
    }

    fn rolled(&self, name: &str, text: &str) -> Result<Rolled, DataDirError> {
        let damaged = || DataDirError::Io {
            path: self.folder.join(name),
            source: io::Error::new(io::ErrorKind::InvalidData, "a key and two certificates are wanted in it"),
        };
        // The blocks are ours, one behind the other.
        let at: Vec<usize> = text.match_indices("-----BEGIN ").map(|(at, _)| at).collect();
        let [key, certificate, word] = at[..] else { return Err(damaged()) };
        let part = |from: usize, to: usize| text.get(from..to).map(str::to_owned).ok_or_else(damaged);
        Ok(Rolled {
            certificate_pem: part(certificate, word)?,
            key_pem: part(key, certificate)?,
            word_pem: part(word, text.len())?,
        })
    }

    /// Where the signed heads of the custody log are appended.
    pub fn custody_heads(&self) -> PathBuf {
        self.folder.join("custody-heads.jsonl")
    }

    /// Where heads that an authority has stamped are kept, with its answers.
    pub fn timestamps(&self) -> PathBuf {
        self.folder.join("timestamps")
    }

    /// The certificate authority, made at first start.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn authority(&self, now: Instant) -> Result<Authority, DataDirError> {
        match (self.read("ca.pem")?, self.read("ca.key")?) {
            (Some(pem), Some(key)) => Ok(Authority::open(&pem, &key)?),
            (Some(_), None) => Err(DataDirError::LostKey { path: self.folder.join("ca.pem") }),
            // A key without a certificate is what a crash in the first start leaves: nobody has seen it yet.
            (None, _) => {
                let (authority, key) = Authority::make(now)?;
                self.write("ca.key", &key)?;
                self.write("ca.pem", authority.pem())?;
                Ok(authority)
            }
        }
    }

    /// The server's certificate and key, made anew when the names changed or its end is near.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn certified(&self, authority: &Authority, names: &[String], now: Instant) -> Result<Certified, DataDirError> {
        if let (Some(certificate_pem), Some(key_pem)) = (self.read("server.pem")?, self.read("server.key")?)
            && authority.still_serves(&certificate_pem, names, now)
        {
            return Ok(Certified { certificate_pem, key_pem });
        }
        let made = authority.certify_server(names, now)?;
        // Without a certificate the next start makes both anew; a new key beside an old certificate would fail it.
        let old = self.folder.join("server.pem");
        if let Err(error) = fs::remove_file(&old)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(io_at(&old)(error));
        }
        self.write("server.key", &made.key_pem)?;
        self.write("server.pem", &made.certificate_pem)?;
        Ok(made)
    }

    /// The key that signs receipts and custody heads, made at first start.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn signer(&self) -> Result<SigningKey, DataDirError> {
        self.signing_key("server_key")
    }

    /// The key that signs what automation orders, made at first start. Hosts believe it only where their policy says so.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn automation_key(&self) -> Result<SigningKey, DataDirError> {
        self.signing_key("automation_key")
    }

    fn signing_key(&self, name: &str) -> Result<SigningKey, DataDirError> {
        let path = self.folder.join(name);
        if let Some(text) = self.read(name)? {
            return SigningKey::from_openssh(&text).map_err(|source| DataDirError::BadKey { path, source });
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|_| AuthorityError::NoRandom)?;
        let key = SigningKey::from_seed(&seed);
        seed.fill(0);
        let text = key.to_openssh().map_err(|source| DataDirError::BadKey { path, source })?;
        self.write(name, &text)?;
        Ok(key)
    }

    /// The key of the hosts' spools, made at first start. To give out another, put its identity above the one that is
    /// there: what is encrypted to the old one can still be opened.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn spool_key(&self) -> Result<SpoolKey, DataDirError> {
        if let Some(text) = self.read("spool_key")? {
            let path = self.folder.join("spool_key");
            return SpoolKey::parse(&text).map_err(|source| DataDirError::BadSpoolKey { path, source });
        }
        let (key, text) = SpoolKey::make();
        self.write("spool_key", text.expose_secret())?;
        Ok(key)
    }

    /// The same key, while a server may have the directory; none is made.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn signer_in(folder: &Path) -> Result<SigningKey, DataDirError> {
        let path = folder.join("server_key");
        let text = read_private(&path)?.ok_or_else(|| io_at(&path)(io::ErrorKind::NotFound.into()))?;
        SigningKey::from_openssh(&text).map_err(|source| DataDirError::BadKey { path, source })
    }

    fn read(&self, name: &str) -> Result<Option<String>, DataDirError> {
        read_private(&self.folder.join(name))
    }

    /// Writes a file whole or not at all.
    fn write(&self, name: &str, text: &str) -> Result<(), DataDirError> {
        let (path, new) = (self.folder.join(name), self.folder.join(format!(".{name}.new")));
        let written = (|| {
            let _ = fs::remove_file(&new);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.folder)?.sync_all()
        })();
        written.map_err(io_at(&path))
    }
}

/// The text of a file that only the owner may read; `None` when it is not there.
fn read_private(path: &Path) -> Result<Option<String>, DataDirError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_at(path)(error)),
        Ok(_) => check_private(path)?,
    }
    let mut text = String::new();
    let file = File::open(path).map_err(io_at(path))?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(io_at(path))?;
    Ok(Some(text))
}

pub(crate) fn check_private(path: &Path) -> Result<(), DataDirError> {
    let meta = fs::symlink_metadata(path).map_err(io_at(path))?;
    let (uid, mode) = (meta.uid(), meta.mode() & 0o7777);
    if uid != rustix::process::geteuid().as_raw() || mode & 0o077 != 0 || meta.is_symlink() {
        return Err(DataDirError::Exposed { path: path.to_owned(), mode, uid });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const NOW: Instant = Instant(1_795_283_148_000_000_000);

    #[test]
    fn a_second_start_finds_what_the_first_one_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let names = ["localhost".to_owned()];
        let open = || {
            let dir = DataDir::open(&path).unwrap();
            let ca = dir.authority(NOW).unwrap();
            let tls = dir.certified(&ca, &names, NOW).unwrap();
            let (signer, spool) = (dir.signer().unwrap().public_line(), dir.spool_key().unwrap().recipient());
            (ca.sha256(), tls.certificate_pem, tls.key_pem, signer, spool)
        };
        assert_eq!(open(), open());
        for entry in fs::read_dir(&path).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600, "{entry:?}");
        }
        let dir = DataDir::open(&path).unwrap();
        let ca = dir.authority(NOW).unwrap();
        let more = ["localhost".to_owned(), "holdfast.example".to_owned()];
        assert!(ca.still_serves(&dir.certified(&ca, &more, NOW).unwrap().certificate_pem, &more, NOW));
    }

    #[test]
    fn a_ca_is_replaced_whenever_the_power_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let dir = DataDir::open(&path).unwrap();
        let old = dir.in_force(NOW).unwrap().issuing;
        assert!(matches!(dir.end_roll(), Err(DataDirError::Rolling(_))));
        let rolled = old.roll(NOW).unwrap();
        dir.begin_roll(&rolled).unwrap();
        assert!(matches!(dir.begin_roll(&rolled), Err(DataDirError::Rolling(_))));
        let both = dir.in_force(NOW).unwrap();
        let new = both.issuing.sha256();
        assert_eq!(both.sha256s(), [new, old.sha256()]);
        // Decided, and one of the two files written.
        fs::rename(path.join(NEXT_FILE), path.join(DECIDED_FILE)).unwrap();
        dir.write("ca.key", &rolled.key_pem).unwrap();
        assert_eq!(dir.in_force(NOW).unwrap().sha256s(), [new]);
        assert!(!path.join(DECIDED_FILE).exists() && !path.join(NEXT_FILE).exists());
        assert_ne!(fs::read_to_string(path.join("ca.pem")).unwrap(), old.pem());
        let again = dir.in_force(NOW).unwrap().issuing.roll(NOW).unwrap();
        dir.begin_roll(&again).unwrap();
        dir.end_roll().unwrap();
        assert_eq!(dir.in_force(NOW).unwrap().sha256s().len(), 1);
    }

    #[test]
    fn two_servers_never_share_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let first = DataDir::open(&path).unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::InUse { .. })));
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn exposed_keys_and_half_an_authority_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let dir = DataDir::open(&path).unwrap();
        dir.authority(NOW).unwrap();
        fs::set_permissions(path.join("ca.key"), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(dir.authority(NOW), Err(DataDirError::Exposed { mode: 0o640, .. })));
        fs::remove_file(path.join("ca.key")).unwrap();
        assert!(matches!(dir.authority(NOW), Err(DataDirError::LostKey { .. })));
        fs::remove_file(path.join("ca.pem")).unwrap();
        dir.authority(NOW).unwrap();
        drop(dir);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::Exposed { .. })));
    }
}
