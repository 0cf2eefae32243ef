//! A backup, while the server serves.
//!
//! In this order: the files of the data directory, the records in one snapshot, then the objects that these records name.
//! Objects never change and are put before the records name them, so that copying them later is right; and no custody
//! head is newer than the log beside it. Nothing is overwritten: each backup has a folder of its own, and objects that an
//! earlier one copied are not copied again.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use wire::{Instant, Sha256};

use super::manifest::{self, Content, FILES, Listed, MANIFEST, Manifest, OBJECTS, RECORDS, Rows};
use super::transfer::{Transfer, TransferError};
use crate::data_dir::{DataDirError, KEPT, KEPT_FOLDERS, check_private};
use crate::objects::{ObjectError, Objects};
use crate::store::sql::copy::CopyError;
use crate::store::sql::{Database, OpenError};
use crate::store::{Store as _, StoreError};

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The records could not be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The folder is open to others.
    #[error(transparent)]
    Folder(#[from] DataDirError),
    /// The folder holds something else.
    #[error("{} holds something that is no backup", folder.display())]
    Foreign {
        /// It.
        folder: PathBuf,
    },
    /// Another backup is being made there.
    #[error("{} is in use by another backup", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
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
    /// The objects of the backup cannot be put.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The copy of the records cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The copy of the records cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An object is missing or damaged.
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    |source| BackupError::Io { path, source }
}

/// A backup that was made.
#[derive(Debug)]
pub struct Backup {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Digest of the manifest: whoever keeps it elsewhere can tell that the backup is the one that was made.
    pub manifest_sha256: Sha256,
    /// Objects and bytes that no earlier backup in this folder had.
    pub new: (usize, u64),
    /// Its folder.
    pub snapshot: PathBuf,
    /// Dead letters that were replayed and taken away meanwhile.
    pub went: Vec<String>,
}

/// What is backed up.
pub struct Source<'a> {
    /// The data directory.
    pub data: &'a Path,
    /// Where the objects are.
    pub objects: &'a Objects,
    /// The records.
    pub records: &'a Database,
}

impl Source<'_> {
    /// Makes a backup in this folder, which is made, is empty, or holds earlier backups.
    ///
    /// # Errors
    /// [`BackupError`]. What was begun is no backup, and is cleared away by the next one.
    pub async fn backup(&self, folder: &Path, now: Instant) -> Result<Backup, BackupError> {
        let _lock = own(folder)?;
        let earlier = manifest::snapshots(folder).map_err(at(folder))?;
        let known = earlier.last().map_or_else(|| Ok(HashMap::new()), |last| known_in(last))?;
        let name: String = now.to_string().chars().take(19).filter(|c| !"-:".contains(*c)).chain(['Z']).collect();
        let (made, snapshot) = (folder.join("snapshots/.unfinished"), folder.join("snapshots").join(name));
        if made.exists() {
            fs::remove_dir_all(&made).map_err(at(&made))?;
        }
        make_folder(&made.join(FILES))?;
        for name in kept(self.data)? {
            copy_file(&self.data.join(&name), &made.join(FILES).join(&name))?;
        }
        let copy = Database::in_file(&made.join(RECORDS)).await?;
        let tables = self.records.copy_to(&copy).await?;
        let custody = copy.head().await?;
        let objects = Objects::in_folder(&folder.join("objects")).map_err(at(folder))?;
        let moved = Transfer::all(&copy, self.objects, &objects, &known).await;
        copy.close().await;
        let moved = moved?;
        // The rows of a log that SQLite did not bring into the file of the database would be in no backup.
        let log = made.join(RECORDS).with_extension("db-wal");
        if log.exists() {
            return Err(at(&log)(io::Error::other("the copy of the records is still in use: try again")));
        }
        let lock = made.join(RECORDS).with_extension("db.lock");
        fs::remove_file(&lock).map_err(at(&lock))?;
        write_list(&made.join(OBJECTS), &moved)?;
        let tables = tables.into_iter().map(|table| {
            let rows = Rows { rows: table.rows, sha256: table.sha256 };
            (table.table.to_owned(), rows)
        });
        let manifest = Manifest {
            custody,
            files: files(&made)?,
            made: now,
            objects: manifest::Objects { bytes: moved.bytes(), count: moved.moved.len() as u64 },
            tables: tables.collect(),
            v: 1,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let text = serde_json::to_vec_pretty(&manifest).map_err(|error| at(&made)(error.into()))?;
        write_new(&made.join(MANIFEST), &text)?;
        // On this file system everything is durable before the name says that it is a backup.
        File::open(&made).and_then(|folder| Ok(rustix::fs::syncfs(folder)?)).map_err(at(&made))?;
        if snapshot.exists() {
            return Err(at(&snapshot)(io::ErrorKind::AlreadyExists.into()));
        }
        fs::rename(&made, &snapshot).map_err(at(&snapshot))?;
        let parent = folder.join("snapshots");
        File::open(&parent).and_then(|parent| parent.sync_all()).map_err(at(&parent))?;
        let new = (moved.count_new(), moved.bytes_new);
        Ok(Backup { manifest, manifest_sha256: Sha256::of(&text), new, snapshot, went: moved.went })
    }
}

/// The folder, for one backup at a time.
fn own(folder: &Path) -> Result<File, BackupError> {
    make_folder(folder)?;
    check_private(folder)?;
    let lock = folder.join("lock");
    let is_empty = || Ok(fs::read_dir(folder)?.next().is_none());
    if !lock.is_file() && !is_empty().map_err(at(folder))? {
        return Err(BackupError::Foreign { folder: folder.to_owned() });
    }
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock);
    let file = file.map_err(at(&lock))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(BackupError::InUse { folder: folder.to_owned() }),
        Err(errno) => Err(at(&lock)(errno.into())),
    }
}

pub(super) fn make_folder(folder: &Path) -> Result<(), BackupError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))
}

pub(super) fn write_new(path: &Path, content: &[u8]) -> Result<(), BackupError> {
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.map_err(at(path))
}

/// The files of a data directory that a backup has, those that are there.
pub(super) fn kept(data: &Path) -> Result<Vec<String>, BackupError> {
    let mut found: Vec<String> =
        KEPT.iter().filter(|name| data.join(name).is_file()).map(|name| (*name).to_owned()).collect();
    for folder in KEPT_FOLDERS {
        let path = data.join(folder);
        if !path.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&path).map_err(at(&path))? {
            let name = entry.map_err(at(&path))?.file_name();
            // The server names them; what others put there is not its own.
            if let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) {
                found.push(format!("{folder}/{name}"));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Copies a file for its owner's eyes only.
pub(super) fn copy_file(from: &Path, to: &Path) -> Result<(), BackupError> {
    if let Some(folder) = to.parent() {
        make_folder(folder)?;
    }
    let mut source = File::open(from).map_err(at(from))?;
    let copied = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).and_then(|mut target| {
        io::copy(&mut source, &mut target)?;
        target.sync_all()
    });
    copied.map_err(at(to))
}

/// Lengths and digests of the objects of an earlier backup.
fn known_in(snapshot: &Path) -> Result<HashMap<String, (u64, Sha256)>, BackupError> {
    let lines = manifest::listed(snapshot).map_err(at(snapshot))?;
    let known = lines.map(|line| line.map(|line| (line.path, (line.bytes, line.sha256))));
    known.collect::<io::Result<_>>().map_err(at(snapshot))
}

fn write_list(path: &Path, moved: &Transfer) -> Result<(), BackupError> {
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|file| {
        let mut file = BufWriter::new(file);
        for one in &moved.moved {
            let line = Listed { bytes: one.bytes, path: one.path.clone(), sha256: one.sha256 };
            serde_json::to_writer(&mut file, &line)?;
            file.write_all(b"\n")?;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    });
    written.map_err(at(path))
}

fn files(snapshot: &Path) -> Result<BTreeMap<String, Content>, BackupError> {
    let mut found = BTreeMap::new();
    let named = kept(&snapshot.join(FILES))?.into_iter().map(|name| format!("{FILES}/{name}"));
    for name in named.chain([OBJECTS.to_owned(), RECORDS.to_owned()]) {
        let path = snapshot.join(&name);
        found.insert(name, manifest::content(&path).map_err(at(&path))?);
    }
    Ok(found)
}
