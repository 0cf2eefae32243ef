//! Network namespaces: the ways into one, and how to open its `/proc/net` files and its netlink socket.
//!
//! A namespace is known by the inode of `/proc/PID/ns/net`. A process of it is the cheapest way in: `/proc/PID/net` shows
//! its tables to anybody who may look at the process. A namespace without processes lives on as a bind mount
//! (`ip netns add`, container runtimes) or as an open descriptor, and only setns(2) leads in. That changes the calling
//! thread for good, so it happens on a thread that ends afterwards: what was opened inside stays bound to the namespace
//! (proc(5), network_namespaces(7)).
//!
//! Known limit: a namespace that only sockets keep alive has no way in here; its sockets are then `unlisted`.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::LinkNameSpaceType;

use super::Host;
use super::namespaces;
use super::tokens::{Words, bracketed, lines};

/// Ways into one namespace that are kept: more than one, because a process may end before it is used.
const DOORS_MAX: usize = 8;

/// A way into a network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// A thread that lives in it.
    Task {
        /// Its process.
        pid: u32,
        /// Itself; equal to `pid` for the first thread.
        tid: u32,
    },
    /// A descriptor on it that a process holds open.
    Descriptor {
        /// The process.
        pid: u32,
        /// The descriptor's number.
        fd: u32,
    },
    /// A bind mount of it: the path, as this process reaches it.
    Mount(Vec<u8>),
}

impl Door {
    /// The path of the namespace's link or mount.
    pub fn path(&self) -> Vec<u8> {
        match self {
            Self::Task { pid, tid } if pid == tid => format!("/proc/{pid}/ns/net").into_bytes(),
            Self::Task { pid, tid } => format!("/proc/{pid}/task/{tid}/ns/net").into_bytes(),
            Self::Descriptor { pid, fd } => format!("/proc/{pid}/fd/{fd}").into_bytes(),
            Self::Mount(path) => path.clone(),
        }
    }

    /// What kind of door it is: `task`, `descriptor` or `mount`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Task { .. } => "task",
            Self::Descriptor { .. } => "descriptor",
            Self::Mount(_) => "mount",
        }
    }
}

/// A network namespace and how it was found.
#[derive(Clone, Debug)]
pub struct NetNamespace {
    /// The inode of its link, which names it.
    pub inode: u64,
    /// How many processes live in it.
    pub processes: u32,
    /// Ways in, the cheapest first, at most eight.
    pub doors: Vec<Door>,
}

impl NetNamespace {
    /// A namespace that nobody was seen in yet.
    pub fn new(inode: u64) -> Self {
        Self { inode, processes: 0, doors: Vec::new() }
    }

    /// Remembers a way in, as long as there is room.
    pub fn add(&mut self, door: Door) {
        if self.doors.len() < DOORS_MAX {
            self.doors.push(door);
        }
    }

    /// Opens files of this namespace's `/proc/net`, in the order of `names`, through the first door that opens. What
    /// is opened stays bound to the namespace, whatever becomes of the door.
    ///
    /// # Errors
    /// The error of the last door that was tried.
    pub fn open_files(&self, host: &Host, names: &[&str]) -> io::Result<(Vec<u8>, Vec<io::Result<OwnedFd>>)> {
        let mut refused = io::Error::from(Errno::SRCH);
        for door in &self.doors {
            let opened = match door {
                Door::Task { pid, tid } => {
                    let folder = format!("/proc/{pid}/task/{tid}");
                    open_through_task(host, &folder, self.inode, names).map(|files| (format!("{folder}/net"), files))
                }
                _ => self
                    .inside(host, door, || open_all("/proc/thread-self/net".as_ref(), names))
                    .and_then(|files| Ok(("/proc/thread-self/net".to_owned(), files?))),
            };
            match opened {
                Ok((folder, files)) => return Ok((folder.into_bytes(), files)),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// Runs `work` on a thread of its own that has entered this namespace through any of its doors, or on the calling
    /// thread when that lives there already. `work` should open what it needs and leave the reading to the caller.
    ///
    /// # Errors
    /// As setns(2), for the last door that was tried.
    pub fn enter<T: Send>(&self, host: &Host, work: impl Fn() -> T + Send + Sync) -> io::Result<T> {
        if !host.is_live() {
            return Err(Errno::OPNOTSUPP.into());
        }
        if link_inode("/proc/thread-self/ns/net") == Some(self.inode) {
            return Ok(work());
        }
        let mut refused = io::Error::from(Errno::SRCH);
        for door in &self.doors {
            match self.inside(host, door, &work) {
                Ok(result) => return Ok(result),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn inside<T: Send>(&self, host: &Host, door: &Door, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        if !host.is_live() {
            return Err(Errno::OPNOTSUPP.into());
        }
        let namespace = namespaces::open(&door.path(), self.inode)?;
        namespaces::inside(&namespace, LinkNameSpaceType::Network, work)
    }
}

/// The inode that a link under `ns/` names.
pub fn link_inode(path: &str) -> Option<u64> {
    let link = rustix::fs::readlink(path, Vec::new()).ok()?;
    bracketed(link.as_bytes(), b"net")
}

/// Opens the files and then looks whether the task is still in the namespace: if so, they are that namespace's.
fn open_through_task(host: &Host, folder: &str, inode: u64, names: &[&str]) -> io::Result<Vec<io::Result<OwnedFd>>> {
    let task = host.path(folder);
    let files = open_all(&task.join("net"), names)?;
    let link = rustix::fs::readlink(task.join("ns/net"), Vec::new())?;
    if bracketed(link.as_bytes(), b"net") == Some(inode) { Ok(files) } else { Err(Errno::STALE.into()) }
}

fn open_all(folder: &std::path::Path, names: &[&str]) -> io::Result<Vec<io::Result<OwnedFd>>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let folder = rustix::fs::openat(CWD, folder, flags | OFlags::DIRECTORY, Mode::empty())?;
    let open = |name: &&str| Ok(rustix::fs::openat(&folder, *name, flags, Mode::empty())?);
    Ok(names.iter().map(open).collect())
}

/// The bind mounts of network namespaces in a `mountinfo`: inode and mount point (proc_pid_mountinfo(5): the fourth
/// field is the root, `net:[inode]`, the fifth the mount point, the one after ` - ` the type, `nsfs`).
pub fn mounts(mountinfo: &[u8]) -> Vec<(u64, Vec<u8>)> {
    lines(mountinfo)
        .filter_map(|line| {
            let mut words = Words::of(line);
            let inode = bracketed(words.nth(3)?, b"net")?;
            let point = words.next()?;
            let kind = words.skip_while(|&word| word != b"-").nth(1)?;
            (kind == b"nsfs").then(|| (inode, unescaped(point)))
        })
        .collect()
}

/// Undoes the octal escapes `\040` of mountinfo.
fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&first, after)) = rest.split_first() {
        let octal = |&digit: &u8| matches!(digit, b'0'..=b'7').then(|| u32::from(digit - b'0'));
        let code = match (first, after) {
            (b'\\', [a, b, c, ..]) => octal(a).zip(octal(b)).zip(octal(c)).map(|((a, b), c)| a * 64 + b * 8 + c),
            _ => None,
        };
        match code.and_then(|code| u8::try_from(code).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

/// A namespace for the tests of the collectors.
#[cfg(test)]
pub mod testing {
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;

    /// A new namespace that nothing but the descriptor keeps alive, and a listener in it; `None` without the privilege.
    ///
    /// # Panics
    /// When the thread that makes it does.
    pub fn held_namespace() -> Option<(OwnedFd, TcpListener)> {
        let made = std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).ok()?;
            let held = std::fs::File::open("/proc/thread-self/ns/net").ok()?;
            Some((held.into(), TcpListener::bind("0.0.0.0:0").ok()?))
        });
        made.join().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bind_mounts_of_namespaces() {
        let text = b"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
            120 28 0:4 net:[4026532281] /run/netns/bl\\040ue rw shared:63 - nsfs nsfs rw\n\
            121 28 0:4 mnt:[4026532282] /run/snapd/ns/x.mnt rw - nsfs nsfs rw\n\
            122 28 0:5 net:[1] /tmp/forged rw - tmpfs net:[1] rw\n\
            short line\n";
        assert_eq!(mounts(text), [(4_026_532_281, b"/run/netns/bl ue".to_vec())]);
    }

    #[test]
    fn escapes_at_the_end_are_kept() {
        assert_eq!(unescaped(b"a\\134b\\04"), b"a\\b\\04");
        assert_eq!(unescaped(b"\\777"), b"\\777");
    }

    #[test]
    fn the_doors_are_bounded() {
        let mut namespace = NetNamespace::new(1);
        for pid in 0..100 {
            namespace.add(Door::Task { pid, tid: pid });
        }
        assert_eq!(namespace.doors.len(), DOORS_MAX);
    }

    #[test]
    fn a_namespace_is_entered_only_where_its_inode_is_right() {
        let host = Host::live();
        let own = link_inode("/proc/self/ns/net").unwrap();
        let pid = std::process::id();
        let mut namespace = NetNamespace::new(own);
        namespace.add(Door::Task { pid, tid: pid });
        assert_eq!(namespace.enter(&host, || 7).unwrap(), 7);
        assert!(namespace.open_files(&host, &["tcp", "none"]).unwrap().1[0].is_ok());

        namespace.inode += 1;
        assert_eq!(namespace.enter(&host, || 7).unwrap_err().raw_os_error(), Some(Errno::STALE.raw_os_error()));
        assert!(namespace.open_files(&host, &["tcp"]).is_err());
    }
}
