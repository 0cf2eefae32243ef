//! The object store: what never changes once it is written. Evidence in segments, alerts as they came.
//!
//! | object | path |
//! |---|---|
//! | a segment of a bundle | `evidence/<bundle>/<offset as 20 digits>-<32 hex digits of its digest>` |
//! | an alert as it came | `alerts/<alert>` |
//! | a request that could not be taken in | `dead-letters/<letter>` |
//!
//! A segment's name holds its digest, so that two servers that take bytes of one upload never write at one path: whose
//! record is committed first has its segment, and the other's is an object that no record names (`holdfast-server scrub`
//! lists those). Segments of older versions have no digest in their names.
//!
//! They lie in a folder of this host or in a bucket ([`Bucket`]). What was put is durable when the call returns: in a folder
//! the file, its name and its folder have been synced. A put that is broken off leaves there at most a file with a `#` in
//! its name, which no list shows.

mod credentials;
mod range;
mod reader;
mod s3;

use std::fmt::{self, Display};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutPayload};
use wire::{AlertId, BundleId, LetterId, Sha256};

pub use reader::SegmentReader;
pub use s3::{Bucket, NoBucket};

/// What is taken into memory at a time when segments are read.
pub const PIECE_BYTES_MAX: u64 = 1 << 20;

/// No object is longer: a segment is what one request brings.
pub const OBJECT_BYTES_MAX: u64 = 64 << 20;

/// The folders at the top. On a disk they are made at the start, so that no put has to make them durable.
pub const FOLDERS: [&str; 3] = ["alerts", "dead-letters", "evidence"];
/// The store must answer within this time, when it is only asked whether it does.
const PING_SECS_MAX: u64 = 5;

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
    /// Two servers over this store could change what was acknowledged.
    #[error("{place} lets an object be overwritten: it does not honour If-None-Match")]
    Overwrites {
        /// The store.
        place: String,
    },
    /// The store cannot be opened.
    #[error("{place} cannot be used: {why}")]
    Unusable {
        /// The store.
        place: String,
        /// Why, with all causes: the texts of a store's errors hold those of their causes already.
        why: String,
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

/// A segment of a bundle's bytes: one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its length.
    pub bytes: u64,
    /// Where it begins.
    pub offset: u64,
    /// Its digest; none where the name does not hold it.
    pub sha256: Option<Sha256>,
}

impl Segment {
    /// The segment of these bytes.
    pub fn of(offset: u64, bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, offset, sha256: Some(Sha256::of(bytes)) }
    }

    /// The path of its object. Half of the digest tells any two apart, and no name gets too long for a file system.
    pub fn path(&self, bundle: BundleId) -> String {
        let offset = self.offset;
        match self.sha256 {
            Some(sha256) => format!("evidence/{bundle}/{offset:020}-{:.32}", sha256.to_string()),
            None => format!("evidence/{bundle}/{offset:020}"),
        }
    }
}

impl ObjectError {
    /// The next step, of a store that cannot be opened.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Overwrites { .. } => {
                Some("choose a store that does: Amazon S3, or a server that says it has conditional writes")
            }
            Self::Unusable { .. } => Some(
                "is the bucket there, and may this server list, read and write it? AWS_ENDPOINT_URL, AWS_REGION and \
                 AWS_ACCESS_KEY_ID say where and who; an endpoint without TLS also needs AWS_ALLOW_HTTP=true",
            ),
            _ => None,
        }
    }
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
    place: Place,
    store: Arc<dyn ObjectStore>,
}

#[derive(Clone, Debug)]
enum Place {
    Folder(PathBuf),
    Bucket(Bucket),
}

impl Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Folder(root) => write!(f, "{}", root.display()),
            Place::Bucket(bucket) => write!(f, "{bucket}"),
        }
    }
}

/// An object as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its length.
    pub bytes: u64,
    /// When it was put, in seconds since the epoch, by the clock of the store.
    pub modified_secs: i64,
    /// Its path.
    pub path: String,
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
        Ok(Self { place: Place::Folder(root.to_owned()), store: Arc::new(store) })
    }

    /// The objects in a folder that is only read; nothing is made in it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn to_read(root: &Path) -> io::Result<Self> {
        let store = LocalFileSystem::new_with_prefix(root).map_err(io::Error::other)?;
        Ok(Self { place: Place::Folder(root.to_owned()), store: Arc::new(store) })
    }

    /// The objects in this bucket, with what these variables say of it (`AWS_…`).
    ///
    /// # Errors
    /// [`ObjectError::Unusable`], [`ObjectError::Overwrites`].
    pub async fn in_bucket(
        bucket: &Bucket,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ObjectError> {
        Ok(Self { place: Place::Bucket(bucket.clone()), store: s3::open(bucket, variables).await? })
    }

    /// Bytes that are free where the objects lie, for somebody who is not root (statvfs(3)). A bucket has no such number.
    ///
    /// # Errors
    /// What the file system says.
    pub fn free_bytes(&self) -> io::Result<Option<u64>> {
        let Place::Folder(root) = &self.place else { return Ok(None) };
        let there = rustix::fs::statvfs(root)?;
        Ok(Some(there.f_bavail.saturating_mul(there.f_frsize)))
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// [`ObjectError::Unusable`].
    pub async fn ping(&self) -> Result<(), ObjectError> {
        let unusable = |why: &dyn Display| ObjectError::Unusable { place: self.to_string(), why: why.to_string() };
        match &self.place {
            Place::Folder(_) => self.free_bytes().map(|_| ()).map_err(|error| unusable(&error)),
            Place::Bucket(_) => {
                // Dead letters are few: one page of a list.
                let mut letters = std::pin::pin!(self.list("dead-letters"));
                let asked = tokio::time::timeout(Duration::from_secs(PING_SECS_MAX), letters.next());
                let answer = asked.await.map_err(|late| unusable(&late))?;
                answer.transpose().map(|_| ()).map_err(|error| unusable(&format!("{error:?}")))
            }
        }
    }

    /// Puts a new object, durably. The same bytes again are no error, so that a put can be repeated after a crash.
    ///
    /// # Errors
    /// [`ObjectError::AlreadyExists`] when other bytes lie there, [`ObjectError::Backend`].
    pub async fn put_new(&self, path: &str, bytes: Bytes) -> Result<(), ObjectError> {
        match self.create(path, bytes.clone()).await {
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

    /// The length of an object, when it is there.
    ///
    /// # Errors
    /// [`ObjectError::Backend`].
    pub async fn length(&self, path: &str) -> Result<Option<u64>, ObjectError> {
        match self.store.head(&ObjectPath::from(path)).await.map_err(|error| failure(path, error)) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(ObjectError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The objects below `folder`, in no order.
    pub fn listed(&self, folder: &str) -> impl Stream<Item = Result<Listed, ObjectError>> + Send + use<> {
        let folder = ObjectPath::from(folder);
        let name = folder.to_string();
        self.store.list(Some(&folder)).map(move |found| match found {
            Ok(meta) => Ok(Listed {
                bytes: meta.size,
                modified_secs: meta.last_modified.timestamp(),
                path: meta.location.to_string(),
            }),
            Err(error) => Err(failure(&name, error)),
        })
    }

    /// The paths and lengths of the objects below `folder`, in no order.
    pub fn list(&self, folder: &str) -> impl Stream<Item = Result<(String, u64), ObjectError>> + Send + use<> {
        self.listed(folder).map(|found| found.map(|listed| (listed.path, listed.bytes)))
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), ObjectError> {
        let mode = PutMode::Create.into();
        let put = self.store.put_opts(&ObjectPath::from(path), PutPayload::from_bytes(bytes), mode).await;
        put.map(|_| ()).map_err(|error| failure(path, error))
    }

    async fn sync_folder_of(&self, path: &str) -> Result<(), ObjectError> {
        // A bucket answers when an object is durable, for whoever put it.
        let Place::Folder(root) = &self.place else { return Ok(()) };
        let file = root.join(path);
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
    }

    #[test]
    fn a_segment_of_other_bytes_lies_elsewhere() {
        let bundle = BundleId::new(1, [2; 10]);
        let (one, other) = (Segment::of(7, b"evidence").path(bundle), Segment::of(7, b"evidencf").path(bundle));
        let sha256 = Sha256::of(b"evidence").to_string();
        assert_eq!(one, format!("evidence/{bundle}/00000000000000000007-{}", &sha256[..32]));
        assert_ne!(one, other);
        let old = Segment { bytes: 8, offset: 7, sha256: None };
        assert_eq!(old.path(bundle), format!("evidence/{bundle}/00000000000000000007"));
    }

    #[tokio::test]
    async fn of_many_that_put_at_one_path_one_wins() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::in_folder(folder.path()).unwrap();
        let path = letter_path(LetterId::new(1, [2; 10]));
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
