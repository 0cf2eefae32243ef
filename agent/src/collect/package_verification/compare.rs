//! What differs between a file and what its database says of it.

use bundle::item::Meta;
use rustix::fs::Statx;
use sha1::Digest as _;
use wire::Sha256;

use crate::host::file_capabilities::FileCapabilities;
use crate::host::meta::{Type, add_capability_at};
use crate::host::packages::{Algorithm, Digest, FileKind, PackageFile};
use crate::host::walk::Entry;

/// One way to differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Differs {
    Capabilities,
    Content,
    Group,
    Link,
    Missing,
    Mode,
    Type,
    User,
}

impl Differs {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Capabilities => "capabilities",
            Self::Content => "content",
            Self::Group => "group",
            Self::Link => "link",
            Self::Missing => "missing",
            Self::Mode => "mode",
            Self::Type => "type",
            Self::User => "user",
        }
    }
}

/// What was found in place of a file.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) stat: Option<Statx>,
    pub(super) target: Option<Vec<u8>>,
    pub(super) sha256: Option<Sha256>,
    pub(super) found: Option<Digest>,
    /// False for a link whose target is still to come.
    pub(super) is_done: bool,
}

impl Seen {
    pub(super) fn of(entry: &Entry<'_>) -> Self {
        Self { stat: Some(*entry.stat), ..Self::default() }
    }
}

/// True when the database digests the text of a link, as apk does, and it is this one's.
pub(super) fn is_link_by_digest(file: &PackageFile, seen: &Seen) -> bool {
    let (Some(expected), Some(target)) = (&file.digest, &seen.target) else { return false };
    file.kind == FileKind::Unknown
        && match expected.algorithm {
            Algorithm::Sha1 => *expected.bytes == *sha1::Sha1::digest(target).as_slice(),
            Algorithm::Sha256 => *expected.bytes == *sha2::Sha256::digest(target).as_slice(),
            _ => false,
        }
}

/// What differs without a look at the content. `was_link` when a link led here, which a package did not bring.
pub(super) fn metadata(file: &PackageFile, seen: &Seen, was_link: bool) -> Vec<Differs> {
    let mut differs = Vec::new();
    let Some(stat) = &seen.stat else { return differs };
    let found = Type::of(stat.stx_mode);
    let is_kind = match file.kind {
        FileKind::File => found == Type::File,
        FileKind::Folder => found == Type::Folder,
        FileKind::Link => found == Type::Link,
        // Without a kind, a digest is that of a file, or of a link's text.
        FileKind::Unknown if file.digest.is_some() => found == Type::File || is_link_by_digest(file, seen),
        FileKind::Unknown => true,
    };
    // Configuration is often kept elsewhere, and a link put in its place.
    if !is_kind || was_link && !file.is_config {
        differs.push(Differs::Type);
    }
    if !is_kind {
        return differs;
    }
    if found != Type::Link && file.mode.is_some_and(|mode| mode != stat.stx_mode & 0o7777) {
        differs.push(Differs::Mode);
    }
    if file.uid.is_some_and(|uid| uid != stat.stx_uid) {
        differs.push(Differs::User);
    }
    if file.gid.is_some_and(|gid| gid != stat.stx_gid) {
        differs.push(Differs::Group);
    }
    if found == Type::Link && file.target.is_some() && file.target.as_deref() != seen.target.as_deref() {
        differs.push(Differs::Link);
    }
    differs
}

/// Compares file capabilities, where the database keeps them: rpm does, as text, when any file of the package has some.
pub(super) fn capabilities(file: &PackageFile, entry: &Entry<'_>, differs: &mut Vec<Differs>) {
    let Some(expected) = &file.capabilities else { return };
    let mut meta = Meta::default();
    add_capability_at(&mut meta, entry.folder, entry.name);
    let found = FileCapabilities::of(&meta).map(|found| found.to_string()).unwrap_or_default();
    // Older versions of libcap write `= cap_x+ep`.
    let plain = |text: &str| text.trim_start_matches(['=', ' ']).replace('+', "=");
    if plain(expected) != plain(&found) {
        differs.push(Differs::Capabilities);
    }
}
