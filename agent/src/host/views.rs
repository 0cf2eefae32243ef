//! Views: how the files of one mount are reached so that nothing on the host changes and nothing can hang.
//!
//! On the running machine each mount is cloned (open_tree(2) with `OPEN_TREE_CLONE`, not recursive, Linux 5.2) and the
//! clone, which no path leads to, is made read-only and noatime (mount_setattr(2), Linux 5.12). Through it
//! - no access time moves, those of symbolic links and folders included: O_NOATIME has no power over readlink(2);
//! - nothing that is mounted below can be entered, so no hung mount is met and a walk needs no bounds of its own;
//! - files that are hidden under a mount are seen.
//!
//! Where the kernel or the privileges lack it, a view is plain: the mount point as it is, O_NOATIME where it is allowed.
//! [`Host::views_report`] says which way was taken, why, and whether access times may have moved.
//!
//! A clone keeps its file system busy for as long as the [`Host`] lives. nodev is no loss: devices are never opened.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use serde::Serialize;

use super::meta::Type;
use super::mounts::{self, Mount, MountTable};
use super::{Host, sys};

/// What statx(2) is asked for, everywhere.
const STATX_MASK: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME).union(StatxFlags::MNT_ID);
/// Never waits for a server, never mounts anything.
const STATX_FLAGS: AtFlags = AtFlags::SYMLINK_NOFOLLOW.union(AtFlags::STATX_DONT_SYNC).union(AtFlags::NO_AUTOMOUNT);
/// The longest target of a symbolic link that is read (PATH_MAX).
const TARGET_BYTES_MAX: usize = 4096;

/// How a mount was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A detached, read-only, noatime clone.
    Clone,
    /// The mount point itself.
    Plain,
}

/// A view that was used in this run, for the footprint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ViewReport {
    /// True when access times may have moved through it: `links_read` and `opened_with_atime` say of how many objects.
    pub atime_may_move: bool,
    /// Type of its file system.
    pub fstype: String,
    /// Symbolic links that were read.
    pub links_read: u64,
    /// How it was reached.
    pub method: Method,
    /// The mount point.
    pub mount: String,
    /// Files and folders that had to be opened without O_NOATIME (they belong to somebody else, and CAP_FOWNER is
    /// missing).
    pub opened_with_atime: u64,
    /// Why it was not cloned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One mount, opened. See the module.
pub struct View {
    mount: Mount,
    root: OwnedFd,
    root_stat: Statx,
    method: Method,
    reason: Option<String>,
    has_openat2: bool,
    links_read: AtomicU64,
    opened_with_atime: AtomicU64,
}

impl View {
    /// The mount that it shows.
    pub fn mount(&self) -> &Mount {
        &self.mount
    }

    /// How it is reached.
    pub fn method(&self) -> Method {
        self.method
    }

    /// False when an object that was found through this view lies on another mount: something that was mounted since
    /// the table was read. Before Linux 5.8 only folders can be told, by their device; btrfs gives each subvolume one of
    /// its own.
    pub fn is_own(&self, found: &Statx) -> bool {
        if self.method == Method::Clone {
            return true;
        }
        if found.stx_mask & self.root_stat.stx_mask & StatxFlags::MNT_ID.bits() != 0 {
            return found.stx_mnt_id == self.root_stat.stx_mnt_id;
        }
        let is_folder = Type::of(found.stx_mode) == Type::Folder;
        let device = |stat: &Statx| (stat.stx_dev_major, stat.stx_dev_minor);
        !is_folder || self.mount.fs_type == b"btrfs" || device(found) == device(&self.root_stat)
    }

    /// Its root: a folder, or the file that a bind mount of a file shows. Opened with O_PATH.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// What the kernel says of `name` in `folder`, or of `folder` itself when the name is empty.
    ///
    /// # Errors
    /// As statx(2).
    pub fn stat(&self, folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Statx> {
        stat(folder, name)
    }

    /// Opens the folder `name` in `folder` for listing, or `folder` itself when the name is empty. A symbolic link, or
    /// a mount that came in between, is not followed.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn open_folder(&self, folder: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
        let name = if name.is_empty() { c"." } else { name };
        self.open(folder, name, OFlags::DIRECTORY)
    }

    /// Opens the regular file `name` in `folder` for reading, or `folder` itself when the name is empty. Does not wait
    /// for the other end of a FIFO and does not follow a symbolic link. The caller has looked at its type, and looks
    /// again at what it got.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn open_file(&self, folder: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        if !name.is_empty() {
            return self.open(folder, name, flags);
        }
        // The root of a bind-mounted file has no name and no folder: it is opened through its descriptor.
        let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC;
        self.quietly(|atime| rustix::fs::open(path.as_str(), flags | atime, Mode::empty()))
    }

    /// Where the symbolic link `name` in `folder` points.
    ///
    /// # Errors
    /// As readlinkat(2).
    pub fn read_link(&self, folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Vec<u8>> {
        self.links_read.fetch_add(1, Ordering::Relaxed);
        let mut target = rustix::fs::readlinkat(folder, name, Vec::with_capacity(256))?.into_bytes();
        target.truncate(TARGET_BYTES_MAX);
        Ok(target)
    }

    fn open(&self, folder: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV | ResolveFlags::BENEATH;
        self.quietly(|atime| {
            if self.has_openat2 {
                rustix::fs::openat2(folder, name, flags | atime, Mode::empty(), resolve)
            } else {
                rustix::fs::openat(folder, name, flags | atime, Mode::empty())
            }
        })
    }

    /// O_NOATIME is for the owner and for CAP_FOWNER: others are refused and must do without. A clone needs none.
    fn quietly(&self, open: impl Fn(OFlags) -> rustix::io::Result<OwnedFd>) -> io::Result<OwnedFd> {
        if self.method == Method::Clone {
            return Ok(open(OFlags::empty())?);
        }
        match open(OFlags::NOATIME) {
            Err(Errno::PERM) => {
                let opened = open(OFlags::empty())?;
                self.opened_with_atime.fetch_add(1, Ordering::Relaxed);
                Ok(opened)
            }
            outcome => Ok(outcome?),
        }
    }

    fn report(&self) -> ViewReport {
        let links_read = self.links_read.load(Ordering::Relaxed);
        let opened_with_atime = self.opened_with_atime.load(Ordering::Relaxed);
        let is_quiet = self.method == Method::Clone || self.mount.keeps_access_times();
        ViewReport {
            atime_may_move: !is_quiet && links_read + opened_with_atime > 0,
            fstype: String::from_utf8_lossy(&self.mount.fs_type).into_owned(),
            links_read,
            method: self.method,
            mount: String::from_utf8_lossy(&self.mount.point).into_owned(),
            opened_with_atime,
            reason: self.reason.clone(),
        }
    }
}

/// What statx(2) says of `name` in `folder`, or of `folder` itself when the name is empty. A link is not followed.
///
/// # Errors
/// As statx(2).
pub fn stat(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Statx> {
    let flags = if name.is_empty() { STATX_FLAGS | AtFlags::EMPTY_PATH } else { STATX_FLAGS };
    Ok(rustix::fs::statx(folder, name, flags, STATX_MASK)?)
}

/// What names a view among those that were opened: an id of a mount is used again once the mount is gone.
type Key = (u64, Vec<u8>, (u32, u32), Vec<u8>);

/// The views that a host has opened so far.
#[derive(Default)]
pub(super) struct Views {
    opened: Mutex<BTreeMap<Key, Arc<View>>>,
}

impl Host {
    /// The mounts as they are now. A tree that stands for a host is one mount; an image is what is mounted at its root
    /// and below, as if that were the root.
    ///
    /// # Errors
    /// When `/proc/thread-self/mountinfo` cannot be read.
    pub fn mount_table(&self) -> io::Result<MountTable> {
        if self.is_live() {
            let text = self.read("/proc/thread-self/mountinfo", mounts::TEXT_BYTES_MAX)?;
            return Ok(MountTable::new(mounts::parse(&text).mounts));
        }
        if self.is_image() {
            let here = Self::live().mount_table()?;
            return Ok(MountTable::new(here.below(self.root.as_os_str().as_bytes())));
        }
        Ok(MountTable::new(vec![Mount {
            id: 1,
            root: b"/".to_vec(),
            point: b"/".to_vec(),
            fs_type: b"tmpfs".to_vec(),
            ..Mount::default()
        }]))
    }

    /// The view of `mount`, opened once. Whether the mount may be entered at all is the caller's decision, made from
    /// the mount table.
    ///
    /// # Errors
    /// When the mount point cannot be opened, or is another mount by now.
    pub fn view(&self, mount: &Mount) -> io::Result<Arc<View>> {
        let device = (mount.major, mount.minor);
        let key = (mount.id, mount.point.clone(), device, mount.root.clone());
        let opened = || self.views.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = opened().get(&key) {
            return Ok(Arc::clone(view));
        }
        // Not under the lock: opening a named network mount may hang, and the next step must get past it.
        let view = Arc::new(self.open_view(mount)?);
        Ok(Arc::clone(opened().entry(key).or_insert(view)))
    }

    /// Every view that was opened so far, by mount point.
    pub fn views_report(&self) -> Vec<ViewReport> {
        let opened = self.views.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reports: Vec<_> = opened.values().map(|view| view.report()).collect();
        reports.sort_by(|a, b| a.mount.cmp(&b.mount));
        reports
    }

    fn open_view(&self, mount: &Mount) -> io::Result<View> {
        let point = self.mount_point(mount)?;
        let (root, method, reason) = if self.is_live() || self.is_image() {
            match clone_quietly(point.as_fd()) {
                Ok(clone) => (clone, Method::Clone, None),
                Err(reason) => (point, Method::Plain, Some(reason)),
            }
        } else {
            let reason = "a tree that stands for a host is not cloned".to_owned();
            (point, Method::Plain, Some(reason))
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let probe = rustix::fs::openat2(&root, c".", flags, Mode::empty(), ResolveFlags::BENEATH);
        Ok(View {
            mount: mount.clone(),
            root_stat: stat(root.as_fd(), c"")?,
            root,
            method,
            reason,
            // A seccomp filter that is older than the call answers EPERM.
            has_openat2: !matches!(probe, Err(Errno::NOSYS | Errno::PERM)),
            links_read: AtomicU64::new(0),
            opened_with_atime: AtomicU64::new(0),
        })
    }

    /// The mount point, opened without following anything, and still the mount of the table.
    fn mount_point(&self, mount: &Mount) -> io::Result<OwnedFd> {
        let path = self.path(Path::new(OsStr::from_bytes(&mount.point)));
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let is_tree = !self.is_live() && !self.is_image();
        let resolve = if is_tree { ResolveFlags::empty() } else { ResolveFlags::NO_SYMLINKS };
        let point = match rustix::fs::openat2(CWD, &path, flags, Mode::empty(), resolve) {
            Err(Errno::NOSYS | Errno::PERM) => rustix::fs::open(&path, flags, Mode::empty())?,
            outcome => outcome?,
        };
        if self.is_live() || self.is_image() {
            let found = stat(point.as_fd(), c"")?;
            if found.stx_mask & StatxFlags::MNT_ID.bits() != 0 && found.stx_mnt_id != mount.id {
                return Err(io::Error::other("another mount is there now"));
            }
        }
        Ok(point)
    }
}

/// A clone through which nothing moves, or why there is none.
fn clone_quietly(point: BorrowedFd<'_>) -> Result<OwnedFd, String> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let clone = open_tree(point, c"", flags).map_err(|error| format!("open_tree: {error}"))?;
    sys::make_quiet(clone.as_fd()).map_err(|error| format!("mount_setattr: {error}"))?;
    Ok(clone)
}
