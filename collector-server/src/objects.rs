//! The object store: what never changes once it is written. Evidence in segments, alerts as they came.
//!
//! | object | path |
//! |---|---|
//! | a segment of a bundle | `evidence/<bundle>/<offset as 20 digits>` |
//! | an alert as it came | `alerts/<alert>` |
//! | a request that could not be taken in | `dead-letters/<letter>` |
//!
//! What was put is durable when the call returns: the file, its name and its folder have been synced. A put that is
//! broken off leaves at most a file with a `#` in its name, which no list shows.

mod range;
mod reader;

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutPayload};
use wire::{AlertId, BundleId, LetterId};

pub use reader::SegmentReader;

/// What is taken into memory at a time when segments are read.
pub const PIECE_BYTES_MAX: u64 = 1 << 20;

/// The folders at the top. They are made at the start, so that no put has to make them durable.
const FOLDERS: [&str; 3] = ["alerts", "dead-letters", "evidence"];

/// Why an object could not be put or read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// Another object has this path. It was not touched.
    #[error("object {0}: another one has this path already")]
    AlreadyExists(String),
    /// There is none.
    #[error("object {0} is not there")]
    Missing(String),
    /// It is longer than the reader takes.
    #[error("object {path} has {bytes} bytes; at most {bytes_max} are taken")]
    TooLong {
        /// The object.
        path: String,
        /// Its length.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// It ends before the records say so.
    #[error("object {path} ends at byte {bytes}, and {wanted} were acknowledged")]
    Short {
        /// The object.
        path: String,
        /// How far it goes.
        bytes: u64,
        /// How far it should go.
        wanted: u64,
    },
    /// The segments leave out a byte of the range that was asked for.
    #[error("no segment of bundle {bundle} holds byte {offset}")]
    Gap {
        /// The bundle.
        bundle: BundleId,
        /// The first byte that is not there.
        offset: u64,
    },
    /// The backend failed.
    #[error("object {path}: the object store failed")]
    Backend {
        /// The object.
        path: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The path of the segment of `bundle` that begins at `offset`.
pub fn segment_path(bundle: BundleId, offset: u64) -> String {
    format!("evidence/{bundle}/{offset:020}")
}

/// The path of an alert's bytes.
pub fn alert_path(alert: AlertId) -> String {
    format!("alerts/{alert}")
}

/// The path of a dead letter.
pub fn letter_path(letter: LetterId) -> String {
    format!("dead-letters/{letter}")
}

/// See the module. Clones share one store.
#[derive(Clone, Debug)]
pub struct Objects {
    /// The folder, of the local backend.
    root: PathBuf,
    store: Arc<dyn ObjectStore>,
}

impl Objects {
    /// The objects in this folder, which is made when it is not there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn in_folder(root: &Path) -> io::Result<Self> {
        for folder in FOLDERS {
            DirBuilder::new().recursive(true).mode(0o700).create(root.join(folder))?;
        }
        // An earlier process may have been killed between making a name and syncing its folder: what a list shows from
        // here on is durable.
        rustix::fs::syncfs(File::open(root)?)?;
        // Since 0.14 the local backend can sync each file before it gets its name, and then the folder.
        let store = LocalFileSystem::new_with_prefix(root).map_err(io::Error::other)?.with_fsync(true);
        Ok(Self { root: root.to_owned(), store: Arc::new(store) })
    }

    /// Bytes that are free where the objects lie, for somebody who is not root (statvfs(3)).
    ///
    /// # Errors
    /// What the file system says.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let there = rustix::fs::statvfs(&self.root)?;
        Ok(there.f_bavail.saturating_mul(there.f_frsize))
    }

    /// Puts a new object, durably. The same bytes again are no error, so that a put can be repeated after a crash.
    ///
    /// # Errors
    /// [`ObjectError::AlreadyExists`] when other bytes lie there, [`ObjectError::Backend`].
    pub async fn put_new(&self, path: &str, bytes: Bytes) -> Result<(), ObjectError> {
        match self.put(path, bytes.clone(), PutMode::Create).await {
            Err(ObjectError::AlreadyExists(_)) => {}
            done => return done,
        }
        match self.read(path, bytes.len() as u64).await {
            Ok(there) if there == bytes => {}
            Ok(_) | Err(ObjectError::TooLong { .. }) => return Err(ObjectError::AlreadyExists(path.to_owned())),
            Err(error) => return Err(error),
        }
        // Who put it may still be about to sync the folder.
        self.sync_folder_of(path).await
    }

    /// Puts an object in the place of one that **nobody was told of**: a segment that begins where the record of its
    /// bundle ends. A server that dies between the put and the commit leaves one, and the client may then cut its bytes
    /// elsewhere. The caller holds the upload's lock and has just read the record.
    ///
    /// # Errors
    /// [`ObjectError::Backend`].
    pub async fn put_over_unacknowledged(&self, path: &str, bytes: Bytes) -> Result<(), ObjectError> {
        self.put(path, bytes, PutMode::Overwrite).await
    }

    /// All bytes of an object.
    ///
    /// # Errors
    /// [`ObjectError::Missing`], [`ObjectError::TooLong`], [`ObjectError::Backend`].
    pub async fn read(&self, path: &str, bytes_max: u64) -> Result<Bytes, ObjectError> {
        let found = self.store.get(&ObjectPath::from(path)).await.map_err(|error| failure(path, error))?;
        let bytes = found.meta.size;
        if bytes > bytes_max {
            return Err(ObjectError::TooLong { path: path.to_owned(), bytes, bytes_max });
        }
        found.bytes().await.map_err(|error| failure(path, error))
    }

    /// Takes a dead letter away, whose alerts lie elsewhere by now. Of one that is not there nothing is said.
    ///
    /// # Errors
    /// [`ObjectError::Backend`].
    pub async fn remove_letter(&self, letter: LetterId) -> Result<(), ObjectError> {
        let path = letter_path(letter);
        match self.store.delete(&ObjectPath::from(path.as_str())).await.map_err(|error| failure(&path, error)) {
            Err(ObjectError::Missing(_)) => Ok(()),
            done => done,
        }
    }

    /// The paths and lengths of the objects below `folder`, in no order.
    pub fn list(&self, folder: &str) -> impl Stream<Item = Result<(String, u64), ObjectError>> + Send + use<> {
        let folder = ObjectPath::from(folder);
        let name = folder.to_string();
        self.store.list(Some(&folder)).map(move |found| match found {
            Ok(meta) => Ok((meta.location.to_string(), meta.size)),
            Err(error) => Err(failure(&name, error)),
        })
    }

    async fn put(&self, path: &str, bytes: Bytes, mode: PutMode) -> Result<(), ObjectError> {
        let put = self.store.put_opts(&ObjectPath::from(path), PutPayload::from_bytes(bytes), mode.into()).await;
        put.map(|_| ()).map_err(|error| failure(path, error))
    }

    async fn sync_folder_of(&self, path: &str) -> Result<(), ObjectError> {
        let file = self.root.join(path);
        let synced = tokio::task::spawn_blocking(move || match file.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        });
        let backend = |source| ObjectError::Backend { path: path.to_owned(), source };
        synced.await.map_err(|error| backend(error.into()))?.map_err(|error| backend(error.into()))
    }
}

fn failure(path: &str, error: object_store::Error) -> ObjectError {
    let path = path.to_owned();
    match error {
        object_store::Error::AlreadyExists { .. } => ObjectError::AlreadyExists(path),
        object_store::Error::NotFound { .. } => ObjectError::Missing(path),
        error => ObjectError::Backend { path, source: error.into() },
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;

    use super::*;

    #[tokio::test]
    async fn an_object_is_put_once_and_never_changed() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::in_folder(&folder.path().join("objects")).unwrap();
        let path = alert_path(AlertId::new(1, [2; 10]));
        let first = Bytes::from_static(b"first");
        objects.put_new(&path, first.clone()).await.unwrap();
        objects.put_new(&path, first.clone()).await.unwrap();
        for other in [&b"fir"[..], b"other", b"first and more", b""] {
            let refused = objects.put_new(&path, Bytes::from_static(other)).await;
            assert!(matches!(refused, Err(ObjectError::AlreadyExists(_))), "{refused:?}");
        }
        assert_eq!(objects.read(&path, 5).await.unwrap(), first);
        assert!(matches!(objects.read(&path, 4).await, Err(ObjectError::TooLong { bytes: 5, .. })));
        assert!(matches!(objects.read("alerts/none", 4).await, Err(ObjectError::Missing(_))));
        let listed: Vec<_> = objects.list("alerts").try_collect().await.unwrap();
        assert_eq!(listed, [(path.clone(), 5)]);
        objects.put_over_unacknowledged(&path, Bytes::from_static(b"2nd")).await.unwrap();
        assert_eq!(objects.read(&path, 5).await.unwrap(), Bytes::from_static(b"2nd"));
    }

    #[tokio::test]
    async fn of_many_that_put_at_one_path_one_wins() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::in_folder(folder.path()).unwrap();
        let path = segment_path(BundleId::new(1, [2; 10]), 0);
        assert!(path.ends_with("/00000000000000000000"), "{path}");
        let puts = (0..16_u8).map(|n| {
            let (objects, path) = (objects.clone(), path.clone());
            tokio::spawn(async move { objects.put_new(&path, Bytes::from(vec![n / 4; 4096])).await })
        });
        let mut puts_done = Vec::new();
        for put in puts.collect::<Vec<_>>() {
            puts_done.push(put.await.unwrap().is_ok());
        }
        let there = objects.read(&path, 4096).await.unwrap();
        for (n, put) in puts_done.into_iter().enumerate() {
            assert_eq!(put, usize::from(there[0]) == n / 4);
        }
    }
}
