//! What the verifier takes into memory at most. A bundle is hostile until it is verified: each number stands before an
//! allocation or a loop.

/// Entries of one bundle; one small record is kept for each.
pub const ENTRIES_MAX: usize = 10_000_000;
/// Entries before `bundle.json` must have been seen; a ZIP that does not have it by then is no bundle.
pub const ENTRIES_BEFORE_HEADER_MAX: usize = 16;
/// `bundle.json`.
pub const HEADER_BYTES_MAX: usize = 1 << 20;
/// `checkpoint.json`, a signature, `bagit.txt`, `uac.log`.
pub const SMALL_BYTES_MAX: usize = 64 << 10;
/// One line of the items or of the custody log, its LF not counted.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// One line of a manifest: a digest, two spaces, a name.
pub const MANIFEST_LINE_BYTES_MAX: usize = 66 + crate::name::NAME_BYTES_MAX;
/// Items whose content an earlier part holds, as far as they are held against that part.
pub const LINKS_MAX: usize = 1_000_000;
/// One set of items or custody, or one manifest, uncompressed.
pub const SET_BYTES_MAX: u64 = 1 << 30;
/// The transport checkpoints beside a bundle: at 8 MiB a line they reach over 300 GiB.
pub const SIDECAR_BYTES_MAX: u64 = 64 << 20;
/// One line of them.
pub const SIDECAR_LINE_BYTES_MAX: usize = 16 << 10;
/// Findings that are kept in words; the rest is counted.
pub const FINDINGS_MAX: usize = 100;
/// Findings of one code that are kept in words.
pub const FINDINGS_PER_CODE_MAX: usize = 12;
/// Headers that are not canonical: another program that packs a bundle again changes every one of them.
pub const NON_CANONICAL_MAX: usize = 3;
/// Content that is written with known sizes; what is longer is streamed with a descriptor (FORMAT.md, "ZIP profile").
pub const KNOWN_BYTES_MAX: u64 = 1 << 20;
/// `pad`: what is missing to the byte behind the next 64 KiB boundary.
pub const PAD_BYTES_MAX: u64 = 64 << 10;
/// `tagmanifest-sha256.txt`: held, because its signature is over all of it.
pub const TAG_MANIFEST_BYTES_MAX: usize = 256 << 20;
/// Zeros at a file's end that a power cut can have left: writers to files sync more often than this.
pub const UNWRITTEN_BYTES_MAX: u64 = 64 << 20;
