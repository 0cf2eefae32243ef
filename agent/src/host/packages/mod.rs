//! What the databases of package managers say: which packages are installed, which files they brought, and what those
//! files were. Parsers of bytes; who reads the files is [`crate::files::package_database`].
//!
//! Nothing here vouches for a database: it is a file like others, and who has root may have changed it.

pub mod apk;
pub mod dpkg;
pub mod owners;
pub mod pacman;
pub mod rpm;

use std::fmt;

use bundle::item::Nanos;
use schemars::JsonSchema;
use serde::Serialize;

/// Who installed a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Manager {
    /// Alpine's apk.
    Apk,
    /// Rust's cargo, `cargo install`.
    Cargo,
    /// Debian's dpkg.
    Dpkg,
    /// Flatpak.
    Flatpak,
    /// Ruby's gem.
    Gem,
    /// Node's npm, packages of the host or of a user, not of a project.
    Npm,
    /// Arch's pacman.
    Pacman,
    /// Python's pip, and whatever else leaves a `.dist-info`.
    Pip,
    /// rpm, under dnf, yum, zypper or tdnf.
    Rpm,
    /// Snap.
    Snap,
}

/// A package.
#[derive(Clone, Debug)]
pub struct Package {
    /// Architecture.
    pub arch: Option<String>,
    /// When the digests of its files were last changed, where they are a file of their own.
    pub digests_mtime: Option<Nanos>,
    /// When it was installed, or last upgraded.
    pub installed_at: Option<Nanos>,
    /// True when its database entry carries a signature.
    pub is_signed: Option<bool>,
    /// Who maintains it, or packed it.
    pub maintainer: Option<String>,
    /// Who installed it.
    pub manager: Manager,
    /// Its name.
    pub name: String,
    /// The source package, or where it came from.
    pub source: Option<String>,
    /// The state in the manager's words.
    pub state: Option<String>,
    /// Who offers it.
    pub vendor: Option<String>,
    /// Version, with epoch and release as the manager writes them.
    pub version: String,
}

impl Package {
    /// A package of that manager about which nothing is known yet.
    pub fn of(manager: Manager) -> Self {
        Self {
            arch: None,
            digests_mtime: None,
            installed_at: None,
            is_signed: None,
            maintainer: None,
            manager,
            name: String::new(),
            source: None,
            state: None,
            vendor: None,
            version: String::new(),
        }
    }
}

/// The digest of a file, as a database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// How it was made.
    pub algorithm: Algorithm,
    /// Its bytes.
    pub bytes: Box<[u8]>,
}

/// A digest's algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// MD5: dpkg, old rpm, pacman's backup list.
    Md5,
    /// SHA-1: apk.
    Sha1,
    /// SHA-256: rpm, pacman.
    Sha256,
    /// SHA-512: rpm, rarely.
    Sha512,
}

impl Digest {
    /// The digest that is written in hexadecimal digits.
    pub fn parse(algorithm: Algorithm, digits: &[u8]) -> Option<Self> {
        let pairs = digits.chunks_exact(2);
        if !pairs.remainder().is_empty() || digits.len() != algorithm.bytes() * 2 {
            return None;
        }
        let bytes = pairs.map(|pair| super::text::in_base(pair, 16).and_then(|byte| u8::try_from(byte).ok()));
        Some(Self { algorithm, bytes: bytes.collect::<Option<_>>()? })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.algorithm.name())?;
        self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Digest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Digest".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "description": "A digest after its algorithm's name and a colon.", "type": "string" })
    }
}

impl Algorithm {
    /// How many bytes its digests have.
    pub fn bytes(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Its name, as it stands before a digest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

/// What a file is by its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// The database does not say.
    Unknown,
}

/// A file that a package brought, and what is known of it.
#[derive(Clone, Debug)]
pub struct PackageFile {
    /// Its capabilities in the words of cap_to_text(3); `None` when the database keeps none for any file.
    pub capabilities: Option<Box<str>>,
    /// Its digest.
    pub digest: Option<Digest>,
    /// Its owning group.
    pub gid: Option<u32>,
    /// True for configuration, which may be changed.
    pub is_config: bool,
    /// True when it need not be there.
    pub is_optional: bool,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits, the upper three included.
    pub mode: Option<u16>,
    /// Number of its package in the list of packages.
    pub package: u32,
    /// Its path, from the root of the host.
    pub path: Box<[u8]>,
    /// Where it points, for a link.
    pub target: Option<Box<[u8]>>,
    /// Its owning user.
    pub uid: Option<u32>,
}

impl PackageFile {
    /// A file of that package about which nothing else is known.
    pub fn of(package: u32, path: impl Into<Box<[u8]>>) -> Self {
        Self {
            capabilities: None,
            digest: None,
            gid: None,
            is_config: false,
            is_optional: false,
            kind: FileKind::Unknown,
            mode: None,
            package,
            path: path.into(),
            target: None,
            uid: None,
        }
    }
}

/// Bytes of a database as text, invalid UTF-8 replaced.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Seconds since the epoch as nanoseconds.
fn seconds(seconds: u64) -> Nanos {
    Nanos(i128::from(seconds) * 1_000_000_000)
}
