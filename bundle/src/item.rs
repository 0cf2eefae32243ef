//! Item records: one line for each thing that was attempted, whatever came of it (FORMAT.md, "Item records").

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wire::{Sha256, Tier};

use crate::time::Instant;

/// What kind of thing an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An object of a file system.
    File,
    /// Rows that the agent made, or raw kernel output behind them.
    Record,
    /// Memory of a process or of the machine.
    Memory,
    /// A file that has no name any more, read through a process that still holds it.
    Deleted,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Read in full, unchanged while it was read.
    Ok,
    /// It grew while it was read; the content is what had been read when reading ended.
    Grew,
    /// It became shorter while it was read.
    Shrank,
    /// Its times or its mode changed while it was read.
    Changed,
    /// A limit ended the reading; `reason` names it.
    Truncated,
    /// It was there when it was listed and gone when it was read.
    Vanished,
    /// The kernel refused.
    Denied,
    /// Another error; `errno` and `error` say which.
    Error,
    /// Metadata only, by nature: a folder, a FIFO, a socket, a device.
    MetaOnly,
    /// Left out by a rule; `reason` names it.
    Skipped,
    /// Content withheld by a rule of sensitivity; `reason` names it.
    Redacted,
    /// The step's time ran out on it.
    TimedOut,
}

impl Status {
    /// The status that an error of the operating system stands for.
    pub fn of_errno(errno: i32) -> Self {
        match errno {
            1 | 13 => Self::Denied,        // EPERM, EACCES
            2 | 3 | 116 => Self::Vanished, // ENOENT, ESRCH, ESTALE
            _ => Self::Error,
        }
    }
}

/// Nanoseconds since the epoch (or a boot), as a decimal string: they do not fit the 53 bits of a JSON number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub i128);

impl schemars::JsonSchema for Nanos {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Nanos".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}

impl Serialize for Nanos {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Nanos {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// What `statx(2)`, `listxattr(2)`, `readlink(2)` and `FS_IOC_GETFLAGS` say of a file. Fields are in the order of their
/// names, because serialised keys are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Meta {
    /// Last access.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub atime_ns: Option<Nanos>,
    /// Allocated blocks of 512 bytes.
    pub blocks512: u64,
    /// Birth, where the file system keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub btime_ns: Option<Nanos>,
    /// Last change of the inode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ctime_ns: Option<Nanos>,
    /// Device of the file system, `major:minor`.
    pub dev: String,
    /// `[offset, length]` of each data extent that was stored, for a sparse file whose holes were left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extents: Option<Vec<(u64, u64)>>,
    /// Attributes such as `immutable` and `append` (`statx` stx_attributes, chattr(1)).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Owning group.
    pub gid: u32,
    /// Inode number.
    pub ino: u64,
    /// `st_mode` as seven octal digits, the type included.
    pub mode: String,
    /// The mount point that it was read through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount: Option<String>,
    /// Last change of the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtime_ns: Option<Nanos>,
    /// Number of hard links.
    pub nlink: u64,
    /// Device that a device node stands for, `major:minor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rdev: Option<String>,
    /// Apparent size in bytes.
    pub size: u64,
    /// True when fewer blocks are allocated than the size asks for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sparse: bool,
    /// Where a symbolic link points, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The exact bytes of the target when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_b64: Option<String>,
    /// file, dir, symlink, fifo, socket, char or block.
    #[serde(rename = "type")]
    pub file_type: String,
    /// Owning user.
    pub uid: u32,
    /// Extended attributes, their values in base64.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs_b64: BTreeMap<String, String>,
}

impl Meta {
    /// `st_mode` as a number.
    pub fn st_mode(&self) -> Option<u32> {
        u32::from_str_radix(&self.mode, 8).ok()
    }
}

/// The first item with an inode, which holds its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HardLink {
    /// An item of the same bundle.
    Item(u64),
    /// An item of an earlier part of the run.
    Earlier {
        /// Its id there.
        item: u64,
        /// The part's number.
        part: u32,
    },
}

/// One line of `data/items/NNNNNN.jsonl`, as it is written and read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// When reading began.
    pub collected: Instant,
    /// When reading ended.
    pub collected_end: Instant,
    /// The collector that read it.
    pub collector: String,
    /// Error number of the operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    /// Error in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// `[offset, length]` of ranges that could not be read and stand as zeros in the content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub error_ranges: Vec<(u64, u64)>,
    /// The first item with the same device and inode, which holds the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardlink_of: Option<HardLink>,
    /// From 1, without gaps.
    pub id: u64,
    /// See [`Kind`].
    pub kind: Kind,
    /// What the file system says of it, before reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Box<Meta>>,
    /// The same after reading, when it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta_after: Option<Box<Meta>>,
    /// How it was read: read, procfs, netlink, setns …
    pub method: String,
    /// The path on the host, for people.
    pub path: String,
    /// The exact bytes of the path when they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_b64: Option<String>,
    /// The rule behind skipped, truncated or redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// 128 random bits in hex, so that a neighbouring Merkle leaf cannot be guessed.
    pub salt: String,
    /// Digest of the content (of the target's bytes for a symbolic link).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// Length of the content that is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// See [`Status`].
    pub status: Status,
    /// The entry that holds the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<String>,
    /// See [`Tier`].
    pub tier: Tier,
    /// Version of this record: 1.
    pub v: u32,
}

/// A thing that was attempted, before the writer gives it its number and its place.
#[derive(Clone, Debug)]
pub struct NewItem {
    /// See [`Kind`].
    pub kind: Kind,
    /// The path on the host: bytes, not text.
    pub path: Vec<u8>,
    /// How it was read.
    pub method: &'static str,
    /// What came of it. For streamed content the end of the stream has the last word.
    pub status: Status,
    /// Error number of the operating system.
    pub errno: Option<i32>,
    /// Error in words; set from `errno` by [`NewItem::failed`].
    pub error: Option<String>,
    /// The rule behind skipped, truncated or redacted.
    pub reason: Option<String>,
    /// When reading began.
    pub collected: Instant,
    /// When reading ended, for a thing without content.
    pub collected_end: Instant,
    /// What the file system says of it.
    pub meta: Option<Box<Meta>>,
    /// The same after reading, when it differs.
    pub meta_after: Option<Box<Meta>>,
    /// The name of the entry for the content, where the collector gives it one that says more than a number; escaped
    /// and made unique as every name is.
    pub entry: Option<String>,
    /// Device and inode of a file with more than one link, so that its content is stored once.
    pub inode: Option<(u64, u64)>,
    /// Digest of content that was read and withheld.
    pub sha256: Option<Sha256>,
    /// Length of content that was read and withheld.
    pub size: Option<u64>,
}

impl NewItem {
    /// A thing at `path` with a status and nothing else, attempted at `now`.
    pub fn new(kind: Kind, path: impl Into<Vec<u8>>, method: &'static str, status: Status, now: Instant) -> Self {
        Self {
            kind,
            path: path.into(),
            method,
            status,
            errno: None,
            error: None,
            reason: None,
            collected: now,
            collected_end: now,
            meta: None,
            meta_after: None,
            entry: None,
            inode: None,
            sha256: None,
            size: None,
        }
    }

    /// The same, its content to be stored as the entry `name`.
    #[must_use]
    pub fn stored_as(mut self, name: impl Into<String>) -> Self {
        self.entry = Some(name.into());
        self
    }

    /// The same, refused by the operating system with `error`.
    #[must_use]
    pub fn failed(mut self, error: &std::io::Error) -> Self {
        self.errno = error.raw_os_error();
        self.status = self.errno.map_or(Status::Error, Status::of_errno);
        self.error = Some(error.to_string());
        self
    }

    /// The same, with the rule that left it out or cut it short.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// The same, with what the file system says of it.
    #[must_use]
    pub fn with_meta(mut self, meta: Meta) -> Self {
        self.meta = Some(Box::new(meta));
        self
    }
}

/// A path as records show it: text, and the exact bytes in base64 when the text is not exact.
pub fn shown(path: &[u8]) -> (String, Option<String>) {
    match str::from_utf8(path) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (String::from_utf8_lossy(path).into_owned(), Some(BASE64_STANDARD.encode(path))),
    }
}
