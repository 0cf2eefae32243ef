//! What a backup says of itself. It is written last: a folder without it is no backup.
//!
//! ```text
//! DIR/objects/…                       every object of every backup, once: they never change
//! DIR/snapshots/<time>/manifest.json  this
//!                      objects.jsonl  path, length and digest of each object that belongs to it
//!                      records.db     the records, whatever database they came from
//!                      files/         keys and custody heads, for their owner's eyes only
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use wire::custody::HeadPoint;
use wire::{Instant, Sha256};

/// The manifest's name.
pub const MANIFEST: &str = "manifest.json";
/// The list of objects.
pub const OBJECTS: &str = "objects.jsonl";
/// The records.
pub const RECORDS: &str = "records.db";
/// The folder of the files that the data directory keeps.
pub const FILES: &str = "files";
const MANIFEST_BYTES_MAX: u64 = 1 << 20;
const LINE_BYTES_MAX: usize = 1024;

/// A backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// The custody log's state in it.
    pub custody: HeadPoint,
    /// Its files, by their paths in its folder.
    pub files: BTreeMap<String, Content>,
    /// When it was begun.
    pub made: Instant,
    /// Its objects.
    pub objects: Objects,
    /// Its tables: rows, and a digest over them.
    pub tables: BTreeMap<String, Rows>,
    /// 1.
    pub v: u32,
    /// The version of the server that made it.
    pub version: String,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Its length.
    pub bytes: u64,
    /// Its digest.
    pub sha256: Sha256,
}

/// How many objects.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Objects {
    /// Their length together.
    pub bytes: u64,
    /// How many.
    pub count: u64,
}

/// What is in a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// How many.
    pub rows: u64,
    /// Digest over them.
    pub sha256: Sha256,
}

/// A line of the list of objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its length.
    pub bytes: u64,
    /// Its path.
    pub path: String,
    /// Its digest.
    pub sha256: Sha256,
}

/// The backups in a folder, the oldest first.
///
/// # Errors
/// When it cannot be read.
pub fn snapshots(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    match std::fs::read_dir(folder.join("snapshots")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => {
            for entry in entries? {
                let path = entry?.path();
                let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
                if !is_hidden && path.join(MANIFEST).is_file() {
                    found.push(path);
                }
            }
        }
    }
    found.sort();
    Ok(found)
}

impl Manifest {
    /// The manifest of this backup.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub fn read(snapshot: &Path) -> io::Result<Self> {
        let mut text = String::new();
        File::open(snapshot.join(MANIFEST))?.take(MANIFEST_BYTES_MAX).read_to_string(&mut text)?;
        let manifest: Self = serde_json::from_str(&text)?;
        if manifest.v != 1 {
            return Err(io::Error::other(format!("a backup of version {} is for a newer server", manifest.v)));
        }
        Ok(manifest)
    }
}

/// The length and the digest of a file.
///
/// # Errors
/// When it cannot be read.
pub fn content(path: &Path) -> io::Result<Content> {
    let (mut file, mut hasher, mut bytes) = (File::open(path)?, sha2::Sha256::new(), 0);
    let mut piece = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(Content { bytes, sha256: Sha256(hasher.finalize().into()) });
        }
        hasher.update(piece.get(..read).unwrap_or_default());
        bytes += read as u64;
    }
}

/// The list of objects of a backup.
///
/// # Errors
/// When it cannot be read, or a line is none.
pub fn listed(snapshot: &Path) -> io::Result<impl Iterator<Item = io::Result<Listed>> + use<>> {
    let mut lines = BufReader::new(File::open(snapshot.join(OBJECTS))?);
    Ok(std::iter::from_fn(move || {
        let mut line = Vec::new();
        match (&mut lines).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_slice(&line).map_err(io::Error::from)),
            Err(error) => Some(Err(error)),
        }
    }))
}
