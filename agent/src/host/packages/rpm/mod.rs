//! rpm's database: a store of headers (`rpmdb.sqlite`, `Packages.db` or `Packages`), and the headers themselves
//! (rpm's docs/manual/format.md and tags.md).

pub mod bdb;
pub mod ndb;

use super::{Algorithm, Digest, FileKind, Manager, Package, PackageFile, lossy, seconds};

/// The most entries in the index of one header; rpm's own limit is as high.
const ENTRIES_MAX: usize = 0x000f_ffff;
/// The longest header; rpm's own limit (HEADER_DATA_MAX).
pub const HEADER_BYTES_MAX: usize = 256 << 20;

/// rpmFileAttrs.
const CONFIG: u64 = 1;
const MISSING_OK: u64 = 1 << 3;
const GHOST: u64 = 1 << 6;
/// rpmVerifyAttrs: what rpm itself does not compare of a file.
const VERIFY_DIGEST: u64 = 1;
const VERIFY_LINK: u64 = 1 << 2;
const VERIFY_USER: u64 = 1 << 3;
const VERIFY_GROUP: u64 = 1 << 4;
const VERIFY_MODE: u64 = 1 << 6;

mod tag {
    pub(super) const SIGNATURES: [u32; 4] = [259, 262, 267, 268];
    pub(super) const NAME: u32 = 1000;
    pub(super) const VERSION: u32 = 1001;
    pub(super) const RELEASE: u32 = 1002;
    pub(super) const EPOCH: u32 = 1003;
    pub(super) const INSTALL_TIME: u32 = 1008;
    pub(super) const VENDOR: u32 = 1011;
    pub(super) const PACKAGER: u32 = 1015;
    pub(super) const ARCH: u32 = 1022;
    pub(super) const OLD_NAMES: u32 = 1027;
    pub(super) const STATES: u32 = 1029;
    pub(super) const MODES: u32 = 1030;
    pub(super) const DIGESTS: u32 = 1035;
    pub(super) const LINKS: u32 = 1036;
    pub(super) const FLAGS: u32 = 1037;
    pub(super) const USERS: u32 = 1039;
    pub(super) const GROUPS: u32 = 1040;
    pub(super) const SOURCE: u32 = 1044;
    pub(super) const VERIFY_FLAGS: u32 = 1045;
    pub(super) const DIR_INDEXES: u32 = 1116;
    pub(super) const BASE_NAMES: u32 = 1117;
    pub(super) const DIR_NAMES: u32 = 1118;
    pub(super) const CAPABILITIES: u32 = 5010;
    pub(super) const DIGEST_ALGORITHM: u32 = 5011;
}

/// A header as it lies in a database: index and data, without the magic that stands before it in a package.
pub struct Header<'a> {
    index: &'a [u8],
    content: &'a [u8],
}

impl<'a> Header<'a> {
    /// Reads the lengths. `None` when they do not fit the bytes.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let entries = usize::try_from(word(bytes, 0)?).ok().filter(|entries| *entries <= ENTRIES_MAX)?;
        let length = usize::try_from(word(bytes, 4)?).ok().filter(|length| *length <= HEADER_BYTES_MAX)?;
        let (index, content) = bytes.get(8..)?.split_at_checked(entries.checked_mul(16)?)?;
        Some(Self { index, content: content.get(..length)? })
    }

    /// Type, count and data from the start of a tag on.
    fn entry(&self, tag: u32) -> Option<(u32, usize, &'a [u8])> {
        let entry = self.index.chunks_exact(16).find(|entry| word(entry, 0) == Some(tag))?;
        let start = usize::try_from(word(entry, 8)?).ok()?;
        Some((word(entry, 4)?, usize::try_from(word(entry, 12)?).ok()?, self.content.get(start..)?))
    }

    fn has(&self, tag: u32) -> bool {
        self.entry(tag).is_some()
    }

    /// The strings of a tag: one, or an array of them.
    fn strings(&self, tag: u32) -> Vec<&'a [u8]> {
        let Some((6 | 8 | 9, count, bytes)) = self.entry(tag) else { return Vec::new() };
        let mut parts = bytes.split(|byte| *byte == 0);
        // Each takes a byte at least: a count that cannot be ends with the data.
        parts.by_ref().take(count.min(bytes.len())).collect()
    }

    fn string(&self, tag: u32) -> Option<String> {
        self.strings(tag).first().map(|text| lossy(text))
    }

    /// The integers of a tag, of whatever width.
    fn integers(&self, tag: u32) -> Vec<u64> {
        let Some((kind, count, bytes)) = self.entry(tag) else { return Vec::new() };
        let width = match kind {
            1 | 2 => 1,
            3 => 2,
            4 => 4,
            5 => 8,
            _ => return Vec::new(),
        };
        let numbers = bytes.chunks_exact(width).take(count);
        numbers.map(|number| number.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))).collect()
    }

    fn integer(&self, tag: u32) -> Option<u64> {
        self.integers(tag).first().copied()
    }

    /// The package; `None` for a header without a name.
    pub fn package(&self) -> Option<Package> {
        let name = self.string(tag::NAME)?;
        let mut version = self.string(tag::VERSION).unwrap_or_default();
        if let Some(release) = self.string(tag::RELEASE) {
            version = format!("{version}-{release}");
        }
        if let Some(epoch) = self.integer(tag::EPOCH) {
            version = format!("{epoch}:{version}");
        }
        Some(Package {
            arch: self.string(tag::ARCH),
            installed_at: self.integer(tag::INSTALL_TIME).map(seconds),
            is_signed: Some(tag::SIGNATURES.iter().any(|tag| self.has(*tag))),
            maintainer: self.string(tag::PACKAGER),
            name,
            source: self.string(tag::SOURCE),
            vendor: self.string(tag::VENDOR),
            version,
            ..Package::of(Manager::Rpm)
        })
    }

    /// The files that the package brought, those left out when it was installed excepted. `ids` says the number of a
    /// user or, with true, of a group.
    pub fn files(&self, package: u32, ids: impl Fn(&[u8], bool) -> Option<u32>) -> Vec<PackageFile> {
        let algorithm = match self.integer(tag::DIGEST_ALGORITHM) {
            None | Some(1) => Some(Algorithm::Md5),
            Some(2) => Some(Algorithm::Sha1),
            Some(8) => Some(Algorithm::Sha256),
            Some(10) => Some(Algorithm::Sha512),
            Some(_) => None,
        };
        let (modes, flags, states) = (self.integers(tag::MODES), self.integers(tag::FLAGS), self.integers(tag::STATES));
        let (digests, links) = (self.strings(tag::DIGESTS), self.strings(tag::LINKS));
        let (users, groups) = (self.strings(tag::USERS), self.strings(tag::GROUPS));
        let (capabilities, verify) = (self.strings(tag::CAPABILITIES), self.integers(tag::VERIFY_FLAGS));
        let paths = self.paths();
        let mut files = Vec::with_capacity(paths.len());
        for (n, path) in paths.into_iter().enumerate() {
            // RPMFILE_STATE_NORMAL is 0: others were replaced by another package's, are for another colour, or were not
            // wanted (no docs).
            if states.get(n).is_some_and(|state| *state != 0) || path.contains(&0) {
                continue;
            }
            let flags = flags.get(n).copied().unwrap_or(0);
            let verifies = |what| verify.get(n).is_none_or(|verify| verify & what != 0);
            let mode = modes.get(n).and_then(|mode| u16::try_from(mode & 0xffff).ok());
            let mut file = PackageFile::of(package, path);
            file.is_config = flags & CONFIG != 0;
            file.is_optional = flags & (MISSING_OK | GHOST) != 0;
            file.kind = match mode.map(|mode| mode & 0o170_000) {
                Some(0o100_000) => FileKind::File,
                Some(0o040_000) => FileKind::Folder,
                Some(0o120_000) => FileKind::Link,
                _ => FileKind::Unknown,
            };
            // What a %ghost was is only a name: rpm verifies nothing else of it.
            if flags & GHOST != 0 {
                file.kind = FileKind::Unknown;
                files.push(file);
                continue;
            }
            file.mode = mode.filter(|_| verifies(VERIFY_MODE)).map(|mode| mode & 0o7777);
            if let (FileKind::File, Some(algorithm), true) = (file.kind, algorithm, verifies(VERIFY_DIGEST)) {
                file.digest = digests.get(n).and_then(|digits| Digest::parse(algorithm, digits));
            }
            if file.kind == FileKind::Link {
                file.target = links.get(n).filter(|_| verifies(VERIFY_LINK)).map(|target| (*target).into());
                file.mode = None;
            }
            file.uid = users.get(n).filter(|_| verifies(VERIFY_USER)).and_then(|name| ids(name, false));
            file.gid = groups.get(n).filter(|_| verifies(VERIFY_GROUP)).and_then(|name| ids(name, true));
            file.capabilities = capabilities.get(n).map(|text| lossy(text).into());
            files.push(file);
        }
        files
    }

    fn paths(&self) -> Vec<Vec<u8>> {
        let bases = self.strings(tag::BASE_NAMES);
        if bases.is_empty() {
            return self.strings(tag::OLD_NAMES).into_iter().map(<[u8]>::to_vec).collect();
        }
        let folders = self.strings(tag::DIR_NAMES);
        let numbers = self.integers(tag::DIR_INDEXES);
        let pairs = bases.iter().zip(numbers);
        pairs
            .map(|(base, number)| {
                let folder = usize::try_from(number).ok().and_then(|number| folders.get(number)).copied();
                [folder.unwrap_or_default(), base].concat()
            })
            .collect()
    }
}

/// Four bytes in network order.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Why a store of headers cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error(transparent)]
    Read(#[from] std::io::Error),
    /// It does not hold what it must.
    #[error("{0}")]
    Malformed(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sqlite::Database;

    /// `rpmdb.sqlite` of rpm 4.18 with two packages of our own: what its table `Packages` holds, and nothing else.
    const SQLITE: &[u8] = include_bytes!("rpmdb.sqlite");

    fn headers() -> Vec<Vec<u8>> {
        let database = Database::open((SQLITE.to_vec(), SQLITE.len() as u64), None::<(Vec<u8>, u64)>).unwrap();
        let table = database.table("Packages").unwrap();
        let mut headers = Vec::new();
        database
            .rows(&table, |_, row| {
                headers.push(table.get(&row, "blob").unwrap().bytes().unwrap().to_vec());
                true
            })
            .unwrap();
        headers
    }

    fn ids(name: &[u8], _is_group: bool) -> Option<u32> {
        (name == b"root").then_some(0)
    }

    #[test]
    fn a_header_tells_of_package_and_files() {
        let headers = headers();
        assert_eq!(headers.len(), 2);
        let header = Header::parse(&headers[0]).unwrap();
        let package = header.package().unwrap();
        assert_eq!((package.name.as_str(), package.version.as_str()), ("fx-tool", "2:1.4-3"));
        assert_eq!((package.vendor.as_deref(), package.arch.as_deref()), (Some("Example Vendor"), Some("noarch")));
        assert_eq!((package.is_signed, package.installed_at.is_some()), (Some(false), true));
        let files = header.files(4, ids);
        let file = |path: &str| files.iter().find(|file| *file.path == *path.as_bytes()).unwrap();
        let tool = file("/usr/bin/fx");
        assert_eq!((tool.mode, tool.uid, tool.gid, tool.package), (Some(0o4755), Some(0), Some(0), 4));
        // sha256 of "#!/bin/sh\n".
        let digest = "sha256:a8076d3d28d21e02012b20eaf7dbf75409a6277134439025f282e368e3305abf";
        assert_eq!(tool.digest.as_ref().unwrap().to_string(), digest);
        assert_eq!(file("/usr/bin/fx-link").target.as_deref(), Some(b"fx".as_slice()));
        assert!(file("/etc/fx/fx.conf").is_config && file("/var/log/fx.log").is_optional);
        assert_eq!(file("/etc/fx").kind, FileKind::Folder);
        let many = Header::parse(&headers[1]).unwrap().files(0, ids);
        assert_eq!(many.len(), 61);
    }

    #[test]
    fn no_header_makes_it_panic() {
        let whole = headers().swap_remove(0);
        for cut in (0..whole.len()).step_by(7) {
            assert!(Header::parse(&whole[..cut]).is_none(), "{cut}");
        }
        let mut state = 7_u32;
        for _ in 0..2000 {
            let mut bytes = whole.clone();
            for _ in 0..6 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = state as usize % bytes.len();
                bytes[at] = (state >> 24) as u8;
            }
            if let Some(header) = Header::parse(&bytes) {
                let _ = (header.package(), header.files(0, ids));
            }
        }
        assert!(Header::parse(&[0xff; 64]).is_none());
    }
}
