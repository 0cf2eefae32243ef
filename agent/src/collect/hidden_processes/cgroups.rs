//! Which processes the control groups name, in every hierarchy that is mounted.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use bundle::item::{Kind, Status, shown};
use rustix::fs::{FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::host::mounts::MountTable;
use crate::host::proc::{Hands, Pages};
use crate::host::text::decimal;
use crate::run::session::{Session, Stopped};

/// Control groups that are read, of all hierarchies together.
const GROUPS_MAX: usize = 16 << 10;
/// How deep they are nested.
const DEPTH_MAX: usize = 64;
/// Bytes of one cgroup.procs.
const PROCS_BYTES_MAX: usize = 32 << 20;
/// Groups of one process that a row has.
const NAMED_MAX: usize = 16;

/// The control groups, and who is in them.
#[derive(Default)]
pub struct Groups {
    /// How many were read.
    pub read: usize,
    paths: Vec<Vec<u8>>,
    members: BTreeMap<u32, Vec<usize>>,
}

impl Groups {
    /// Reads cgroup.procs of every group of every hierarchy that is mounted and not covered. The numbers are those of
    /// our own PID namespace; the kernel writes 0 for processes outside of it.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn read(session: &mut Session, table: &MountTable) -> Result<Self, Stopped> {
        let mut groups = Self::default();
        let mut pages = Pages::default();
        for mount in table.all() {
            let is_cgroup = matches!(mount.fs_type.as_slice(), b"cgroup" | b"cgroup2");
            let is_seen = || table.covering(&mount.point).is_some_and(|seen| seen.id == mount.id);
            if is_cgroup && is_seen() {
                groups.hierarchy(session, &mount.point, &mut pages)?;
            }
        }
        Ok(groups)
    }

    fn hierarchy(&mut self, session: &mut Session, point: &[u8], pages: &mut Pages) -> Result<(), Stopped> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let root = match rustix::fs::open(std::ffi::OsStr::from_bytes(point), flags, Mode::empty()) {
            Ok(root) => root,
            Err(error) => return session.unreadable(point, &error.into()),
        };
        let mut todo: Vec<(OwnedFd, Vec<u8>, usize)> = vec![(root, point.to_vec(), 0)];
        while let Some((folder, path, depth)) = todo.pop() {
            session.go_on()?;
            if self.paths.len() == GROUPS_MAX {
                let rule = format!("only the first {GROUPS_MAX} control groups are read");
                let item = session.item(Kind::Record, path, "procfs", Status::Truncated);
                session.note(item.because(rule.as_str()))?;
                return session.limited(rule);
            }
            pages.clear();
            match pages.read(folder.as_fd(), c"cgroup.procs", Hands::InPieces, PROCS_BYTES_MAX) {
                Ok(piece) => self.add(path.clone(), pages.get(piece)),
                // Removed meanwhile; or it holds threads only, and its domain lists the processes.
                Err(error)
                    if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP)) => {
                }
                Err(error) => session.unreadable([path.as_slice(), b"/cgroup.procs"].concat(), &error)?,
            }
            if depth == DEPTH_MAX {
                continue;
            }
            for name in folders(&folder) {
                if let Ok(below) = rustix::fs::openat(&folder, name.as_c_str(), flags, Mode::empty()) {
                    todo.push((below, [path.as_slice(), b"/", name.to_bytes()].concat(), depth + 1));
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, path: Vec<u8>, procs: &[u8]) {
        self.read += 1;
        let place = self.paths.len();
        self.paths.push(path);
        for pid in numbers(procs) {
            self.members.entry(pid).or_default().push(place);
        }
    }

    /// Reads the groups of these processes again: one that left its group meanwhile is no longer in it.
    pub fn read_again(&mut self, pids: impl Iterator<Item = u32>, pages: &mut Pages) {
        for pid in pids {
            let Some(places) = self.members.get_mut(&pid) else { continue };
            places.retain(|place| {
                let Some(path) = self.paths.get(*place) else { return false };
                let Ok(folder) =
                    rustix::fs::open(std::ffi::OsStr::from_bytes(path), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                else {
                    return false;
                };
                pages.clear();
                let read = pages.read(folder.as_fd(), c"cgroup.procs", Hands::InPieces, PROCS_BYTES_MAX);
                read.is_ok_and(|piece| numbers(pages.get(piece)).any(|found| found == pid))
            });
            if places.is_empty() {
                self.members.remove(&pid);
            }
        }
    }

    /// Whether some group names the process; `None` when no group could be read.
    pub fn has(&self, pid: u32) -> Option<bool> {
        (self.read > 0).then(|| self.members.contains_key(&pid))
    }

    /// The processes that are named.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.members.keys().copied()
    }

    /// The groups that name a process.
    pub fn of(&self, pid: u32) -> Vec<String> {
        let places = self.members.get(&pid).into_iter().flatten().take(NAMED_MAX);
        places.filter_map(|place| self.paths.get(*place)).map(|path| shown(path).0).collect()
    }
}

fn numbers(procs: &[u8]) -> impl Iterator<Item = u32> {
    let lines = procs.split(|byte| *byte == b'\n');
    lines.filter_map(decimal).filter_map(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0)
}

/// The folders in a folder. One that cannot be listed was removed meanwhile.
fn folders(folder: &OwnedFd) -> Vec<CString> {
    let mut names = Vec::new();
    let mut room = [MaybeUninit::uninit(); 16 << 10];
    let mut entries = RawDir::new(folder, &mut room);
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    names
}
