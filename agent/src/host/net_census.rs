//! One walk over all processes: which network namespaces there are, and who holds which socket.
//!
//! Descriptors are read with readlink(2) and never with stat(2), which could wait for a dead network file system. Every
//! thread is asked for its namespace, because a thread may leave its process's; a process whose first thread has ended
//! shows nothing of its own, so that one of its other threads is asked for its descriptors.
//!
//! Known limit: threads that unshared their table of descriptors (CLONE_FILES) are read as their process.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use bundle::item::shown;
use rustix::fs::{Mode, OFlags, RawDir};
use schemars::JsonSchema;
use serde::ser::{Serialize, SerializeSeq as _, Serializer};

use super::netns::{Door, NetNamespace, link_inode, mounts};
use super::proc::{Processes, has_one_thread, numbers};
use super::tokens::{bracketed, decimal};
use crate::collect::Failure;
use crate::run::session::Session;

/// Sockets that are remembered: more than the kernel's default limit of files on the whole system on most hosts.
const HELD_MAX: usize = 4 << 20;
const MOUNTINFO_BYTES_MAX: u64 = 16 << 20;
const FOLDER_BYTES: usize = 32 << 10;

/// A socket that a process holds open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// The socket's inode on sockfs.
    pub inode: u64,
    /// The process.
    pub pid: u32,
    /// The descriptor's number.
    pub fd: u32,
    /// Where the process's name stands in [`Census::comms`].
    comm: u32,
}

/// One who holds a socket.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, JsonSchema)]
pub struct Holder {
    /// Name of the process, invalid UTF-8 replaced.
    pub comm: String,
    /// Number of the descriptor.
    pub fd: u32,
    /// The process.
    pub pid: u32,
}

/// What the walk found.
#[derive(Debug, Default)]
pub struct Census {
    /// By inode.
    pub namespaces: BTreeMap<u64, NetNamespace>,
    /// Sorted by inode, process and descriptor.
    pub held: Vec<Held>,
    /// Processes whose descriptors could not be read, those that ended meanwhile left out.
    pub unread: usize,
    comms: Vec<(String, Option<String>)>,
    full: bool,
}

/// The holders of one socket, serialised as a list of `{comm, comm_b64, fd, pid}`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Owners<'a> {
    held: &'a [Held],
    comms: &'a [(String, Option<String>)],
}

/// The network namespaces of the host, in the order of their inodes: those of the run's first walk, so that later
/// collectors do not walk all descriptors again.
///
/// # Errors
/// As [`Census::take`].
pub fn namespaces(session: &mut Session) -> Result<Arc<[NetNamespace]>, Failure> {
    if let Some(found) = session.net_namespaces() {
        return Ok(found);
    }
    Census::take(session)?;
    Ok(session.net_namespaces().unwrap_or_default())
}

impl Census {
    /// Walks `/proc` and the bind mounts of namespaces. What cannot be read is noted.
    ///
    /// # Errors
    /// When `/proc` itself cannot be listed, or the session ends.
    pub fn take(session: &mut Session) -> Result<Self, Failure> {
        let host = session.host().clone();
        let mut processes = Processes::of(&host).map_err(Failure::reading("/proc"))?;
        let mut census = Self::default();
        let mut buffers = Buffers::default();
        for pid in processes.pids().map_err(Failure::reading("/proc"))? {
            session.go_on()?;
            census.process(session, &mut processes, pid, &mut buffers)?;
        }
        census.mounts(session)?;
        if host.is_live()
            && let Some(own) = link_inode("/proc/thread-self/ns/net")
        {
            census.namespace(own);
        }
        census.held.sort_unstable();
        session.keep_net_namespaces(census.namespaces.values().cloned().collect());
        if census.full {
            session.limited(format!("more than {HELD_MAX} open sockets: the owners of the rest are missing"))?;
        }
        Ok(census)
    }

    /// Who holds the socket with this inode; nobody holds inode 0, which the kernel shows for sockets without a file.
    pub fn owners(&self, inode: u64) -> Owners<'_> {
        Owners { held: self.held_of(inode), comms: &self.comms }
    }

    /// The same by name, at most so many.
    pub fn holders(&self, inode: u64, most: usize) -> Vec<Holder> {
        let name = |held: &Held| self.comms.get(held.comm as usize).map_or_else(String::new, |(text, _)| text.clone());
        let held = self.held_of(inode).iter().take(most);
        held.map(|held| Holder { comm: name(held), fd: held.fd, pid: held.pid }).collect()
    }

    fn held_of(&self, inode: u64) -> &[Held] {
        let from = self.held.partition_point(|held| held.inode < inode);
        let held = self.held.get(from..).unwrap_or_default();
        let count = if inode == 0 { 0 } else { held.partition_point(|held| held.inode == inode) };
        held.get(..count).unwrap_or_default()
    }

    fn namespace(&mut self, inode: u64) -> &mut NetNamespace {
        self.namespaces.entry(inode).or_insert_with(|| NetNamespace::new(inode))
    }

    fn process(
        &mut self,
        session: &mut Session,
        processes: &mut Processes,
        pid: u32,
        buffers: &mut Buffers,
    ) -> Result<(), Failure> {
        // Something mounted over the folder is stepped behind, where that can be done.
        let folder = match processes.open(pid) {
            Ok(process) => process.dir,
            Err(error) => return Ok(session.unreadable(format!("/proc/{pid}"), &error)?),
        };
        let own = match net_link(folder.as_fd(), "ns/net", &mut buffers.link) {
            Ok(inode) => inode,
            Err(error) if leader_ended(&error) => None,
            Err(error) => {
                session.unreadable(format!("/proc/{pid}/ns/net"), &error)?;
                None
            }
        };
        if let Some(inode) = own {
            let namespace = self.namespace(inode);
            namespace.processes += 1;
            namespace.add(Door::Task { pid, tid: pid });
        }
        let read = openat_folder(folder.as_fd(), "fd")
            .and_then(|fds| self.descriptors(folder.as_fd(), fds.as_fd(), pid, buffers));
        let others = self.threads(session, folder.as_fd(), pid, own, buffers)?;
        let Err(error) = read else { return Ok(()) };
        // The first thread has ended; the table of descriptors lives on with the others.
        let mut refused = error;
        if leader_ended(&refused) {
            for tid in others {
                let fds = openat_folder(folder.as_fd(), &format!("task/{tid}/fd"));
                match fds.and_then(|fds| self.descriptors(folder.as_fd(), fds.as_fd(), pid, buffers)) {
                    Ok(()) => return Ok(()),
                    Err(error) => refused = error,
                }
            }
        }
        self.unread += usize::from(!leader_ended(&refused));
        Ok(session.unreadable(format!("/proc/{pid}/fd"), &refused)?)
    }

    /// Looks at the threads of a process that has more than one, and returns those that are not its first.
    fn threads(
        &mut self,
        session: &mut Session,
        folder: BorrowedFd<'_>,
        pid: u32,
        own: Option<u64>,
        buffers: &mut Buffers,
    ) -> Result<Vec<u32>, Failure> {
        let mut tids = Vec::new();
        if has_one_thread(folder) {
            return Ok(tids);
        }
        let listed = openat_folder(folder, "task").and_then(|tasks| numbers(tasks.as_fd(), &mut tids));
        if let Err(error) = listed {
            session.unreadable(format!("/proc/{pid}/task"), &error)?;
        }
        tids.retain(|&tid| tid != pid);
        let mut seen_in_it = own;
        for &tid in &tids {
            // A thread that ended meanwhile is in no namespace; a refusal was noted for the process already.
            let Ok(Some(inode)) = net_link(folder, &format!("task/{tid}/ns/net"), &mut buffers.link) else {
                continue;
            };
            if own == Some(inode) {
                continue;
            }
            let namespace = self.namespace(inode);
            if seen_in_it != Some(inode) {
                namespace.processes += 1;
                seen_in_it = Some(inode);
            }
            namespace.add(Door::Task { pid, tid });
        }
        Ok(tids)
    }

    fn descriptors(
        &mut self,
        process: BorrowedFd<'_>,
        fds: BorrowedFd<'_>,
        pid: u32,
        buffers: &mut Buffers,
    ) -> io::Result<()> {
        let Buffers { folder, link } = buffers;
        let mut comm = None;
        let mut entries = RawDir::new(fds, folder);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let Some(fd) = small(entry.file_name().to_bytes()) else {
                continue;
            };
            // Closed since it was listed: then it is no longer held.
            let Ok((target, _)) = rustix::fs::readlinkat_raw(fds, entry.file_name(), &mut link[..]) else {
                continue;
            };
            if let Some(inode) = bracketed(target, b"socket") {
                if self.held.len() >= HELD_MAX {
                    self.full = true;
                    continue;
                }
                let comm = *comm.get_or_insert_with(|| self.comm(process));
                self.held.push(Held { inode, pid, fd, comm });
            } else if let Some(inode) = bracketed(target, b"net") {
                self.namespace(inode).add(Door::Descriptor { pid, fd });
            }
        }
        Ok(())
    }

    /// Reads the name of a process and says where it now stands in `comms`.
    fn comm(&mut self, process: BorrowedFd<'_>) -> u32 {
        let mut bytes = [0; 64];
        let read = rustix::fs::openat(process, "comm", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .and_then(|file| rustix::io::read(file, &mut bytes))
            .unwrap_or(0);
        let name = bytes.get(..read).unwrap_or_default();
        self.comms.push(shown(name.strip_suffix(b"\n").unwrap_or(name)));
        u32::try_from(self.comms.len() - 1).unwrap_or(u32::MAX)
    }

    /// The bind mounts in the agent's own mount namespace, and in that of the first process when that is another one
    /// (an agent in a container).
    fn mounts(&mut self, session: &mut Session) -> Result<(), Failure> {
        let host = session.host().clone();
        let mount_namespace = |path: &str| rustix::fs::readlink(host.path(path), Vec::new()).ok();
        let mut views = vec![("/proc/self/mountinfo", "")];
        if host.is_live() && mount_namespace("/proc/1/ns/mnt") != mount_namespace("/proc/self/ns/mnt") {
            views.push(("/proc/1/mountinfo", "/proc/1/root"));
        }
        for (mountinfo, root) in views {
            match host.read(mountinfo, MOUNTINFO_BYTES_MAX) {
                Ok(text) => {
                    for (inode, point) in mounts(&text) {
                        let path = [root.as_bytes(), &point].concat();
                        self.namespace(inode).add(Door::Mount(path));
                    }
                }
                Err(error) => session.unreadable(mountinfo, &error)?,
            }
        }
        Ok(())
    }
}

impl Owners<'_> {
    /// True for a socket that no process holds.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

impl Serialize for Owners<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.held.len()))?;
        for held in self.held {
            let comm = self.comms.get(held.comm as usize);
            list.serialize_element(&Owner {
                comm: comm.map_or("", |(text, _)| text),
                comm_b64: comm.and_then(|(_, exact)| exact.as_deref()),
                fd: held.fd,
                pid: held.pid,
            })?;
        }
        list.end()
    }
}

/// One holder of a socket.
#[derive(serde::Serialize, schemars::JsonSchema)]
pub struct Owner<'a> {
    /// The name of the process.
    comm: &'a str,
    /// Its exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    comm_b64: Option<&'a str>,
    /// The descriptor.
    fd: u32,
    /// The process.
    pid: u32,
}

struct Buffers {
    folder: Vec<MaybeUninit<u8>>,
    link: [MaybeUninit<u8>; 64],
}

impl Default for Buffers {
    fn default() -> Self {
        Self { folder: vec![MaybeUninit::uninit(); FOLDER_BYTES], link: [MaybeUninit::uninit(); 64] }
    }
}

fn small(digits: &[u8]) -> Option<u32> {
    decimal(digits).and_then(|number| u32::try_from(number).ok())
}

fn openat_folder(folder: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(rustix::fs::openat(folder, name, flags, Mode::empty())?)
}

fn net_link(folder: BorrowedFd<'_>, name: &str, buffer: &mut [MaybeUninit<u8>]) -> io::Result<Option<u64>> {
    let (target, _) = rustix::fs::readlinkat_raw(folder, name, buffer)?;
    Ok(bracketed(target, b"net"))
}

/// Zombies, and processes whose first thread has ended, have no namespaces and no descriptors: ENOENT or ESRCH.
fn leader_ended(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(2 | 3))
}
