//! A backup is brought back, into an empty place only.
//!
//! Every file and every object is compared with the digest that the backup wrote down before it counts. The records come
//! last: a restore that was broken off leaves no server that could start.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;

use super::Holding;
use super::backup::{BackupError, copy_file, kept, make_folder};
use super::manifest::{self, FILES, Manifest, RECORDS};
use super::transfer::{Transfer, TransferError};
use crate::data_dir::DataDir;
use crate::objects::{FOLDERS, ObjectError, Objects};
use crate::store::Store as _;
use crate::store::sql::Database;
use crate::store::sql::copy::CopyError;

/// Objects that are looked at together.
const AT_A_TIME: usize = 500;

/// Why it was not brought back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// As when a backup is made.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The records could not be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The backup is not what was written.
    #[error("{} is not what the backup's manifest says", path.display())]
    Damaged {
        /// A file of it.
        path: PathBuf,
    },
    /// The backup cannot be read.
    #[error("{} cannot be read", path.display())]
    Io {
        /// A file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something is there already.
    #[error("{place} is not empty: there is {what}")]
    NotEmpty {
        /// The place.
        place: String,
        /// The first thing there.
        what: String,
    },
    /// The object store cannot be read.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// An object is missing or damaged.
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    let path = path.to_owned();
    |source| RestoreError::Io { path, source }
}

/// The manifest of a backup all of whose files are as they were written.
///
/// # Errors
/// [`RestoreError::Damaged`], [`RestoreError::Io`].
pub fn check(snapshot: &Path) -> Result<Manifest, RestoreError> {
    let manifest = Manifest::read(snapshot).map_err(at(snapshot))?;
    for (name, wanted) in &manifest.files {
        let path = snapshot.join(name);
        if manifest::content(&path).map_err(at(&path))? != *wanted {
            return Err(RestoreError::Damaged { path });
        }
    }
    for name in kept(&snapshot.join(FILES))? {
        if !manifest.files.contains_key(&format!("{FILES}/{name}")) {
            return Err(RestoreError::Damaged { path: snapshot.join(FILES).join(name) });
        }
    }
    Ok(manifest)
}

/// Refuses a place with objects in it.
///
/// # Errors
/// [`RestoreError::NotEmpty`].
pub async fn no_objects(objects: &Objects) -> Result<(), RestoreError> {
    for folder in FOLDERS {
        let mut listed = std::pin::pin!(objects.list(folder));
        if let Some(found) = listed.next().await {
            return Err(RestoreError::NotEmpty { place: objects.to_string(), what: found?.0 });
        }
    }
    Ok(())
}

/// Brings it back. The folder of the backup is the one above its snapshots.
///
/// # Errors
/// [`RestoreError`].
pub async fn restore(
    folder: &Path,
    (snapshot, manifest): (&Path, &Manifest),
    dir: &DataDir,
    records: &Database,
    objects: &Objects,
) -> Result<Transfer, RestoreError> {
    records.check_empty().await?;
    no_objects(objects).await?;
    let before = folder.join("objects");
    let source = Objects::to_read(&before).map_err(at(&before))?;
    let (mut moved, mut some) = (Transfer::default(), Vec::with_capacity(AT_A_TIME));
    let known = HashMap::new();
    for line in manifest::listed(snapshot).map_err(at(snapshot))? {
        let line = line.map_err(at(snapshot))?;
        let holding = Holding { bytes: Some(line.bytes), may_go: false, path: line.path, sha256: Some(line.sha256) };
        some.push(holding);
        if some.len() == AT_A_TIME {
            moved.add(std::mem::take(&mut some), &source, objects, &known).await?;
        }
    }
    moved.add(some, &source, objects, &known).await?;
    for name in kept(&snapshot.join(FILES))? {
        copy_file(&snapshot.join(FILES).join(&name), &dir.folder().join(&name))?;
    }
    // SQLite writes beside a file that it reads, and a backup is not written to.
    let at_work = dir.folder().join(".restore");
    make_folder(&at_work)?;
    let file = at_work.join(RECORDS);
    copy_file(&snapshot.join(RECORDS), &file)?;
    let copy = Database::in_file(&file).await.map_err(BackupError::from)?;
    let is_whole = copy.head().await.map_err(BackupError::from).map(|head| head == manifest.custody);
    let copied = copy.copy_to(records).await;
    copy.close().await;
    fs::remove_dir_all(&at_work).map_err(at(&at_work))?;
    copied?;
    if !is_whole? {
        return Err(RestoreError::Damaged { path: snapshot.join(RECORDS) });
    }
    Ok(moved)
}
