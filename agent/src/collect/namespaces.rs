//! Every namespace of every type: who lives in it, what else keeps it alive, who owns it, and the container that it
//! belongs to.
//!
//! Namespaces are found through the links of every process and thread, open descriptors, bind mounts of nsfs, and as
//! parents and owners of those. Rows: `namespace`, by type and inode, and `container`, one for each container that the
//! control groups of processes name, with its namespaces and those that it shares with the first process of the host.
//!
//! The name of the host inside a UTS namespace is asked on a thread that enters it and ends; nothing is changed by that.
//!
//! Known limits: a container without processes has no row here; its state on disk is another collector's. Of threads
//! the namespaces that a thread can leave alone are read: cgroup, ipc, mnt, net, time, uts. A namespace that only
//! sockets keep alive shows in `hidden_sockets`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use bundle::item::{Kind, Status, shown};
use rustix::io::Errno;
use rustix::thread::LinkNameSpaceType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use super::per_process::{Walk, every_process, path};
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::cgroup::{self, Container};
use crate::host::namespaces::{self, named};
use crate::host::proc::{self, Hands, Process, Reached};
use crate::host::sys::namespaces as ask;
use crate::host::{Host, mounts};
use crate::run::session::{Session, Stopped};

/// Namespaces that are told.
const NAMESPACES_MAX: usize = 1 << 16;
/// Processes that a row names.
const PIDS_MAX: usize = 64;
/// Descriptors, mounts and containers that a row names.
const NAMED_MAX: usize = 8;
/// Threads of all processes whose links are read.
const THREADS_MAX: usize = 1 << 16;
/// Descriptors of one process that are looked at.
const DESCRIPTORS_MAX: usize = 64 << 10;
const FILE_BYTES_MAX: usize = 64 << 10;
const MOUNTINFO_BYTES_MAX: u64 = 64 << 20;

/// The links of a process, and the type of what each names.
const LINKS: [(&CStr, &str); 10] = [
    (c"ns/cgroup", "cgroup"),
    (c"ns/ipc", "ipc"),
    (c"ns/mnt", "mnt"),
    (c"ns/net", "net"),
    (c"ns/pid", "pid"),
    (c"ns/pid_for_children", "pid"),
    (c"ns/time", "time"),
    (c"ns/time_for_children", "time"),
    (c"ns/user", "user"),
    (c"ns/uts", "uts"),
];
/// Those that one thread may leave alone.
const OF_THREADS: [&str; 6] = ["cgroup", "ipc", "mnt", "net", "time", "uts"];

/// The collector `namespaces`; it has no arguments.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Namespaces {}

/// A namespace.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct NamespaceRow {
    /// Ids of containers that its processes belong to, at most eight; absent for none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<String>,
    /// Descriptors on it that processes hold open, at most eight: `/proc/PID/fd/N`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    descriptors: Vec<String>,
    /// Name of the process with the lowest number.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_comm: Option<String>,
    /// The lowest number of a process in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_pid: Option<u32>,
    /// What led to it: process, children (a process's children will live in it), thread, descriptor, mount, parent (of
    /// another), owner (of another).
    found_by: Vec<&'static str>,
    /// Name of the host inside (UTS).
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    /// Its inode on nsfs, which names it.
    inode: u64,
    /// True for that of process 1.
    is_of_first_process: bool,
    /// Bind mounts of it, at most eight.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<String>,
    /// The user who made it (user namespaces).
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_uid: Option<u32>,
    /// Inode of the one above it (PID and user).
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<u64>,
    /// Its processes, ascending, at most 64.
    pids: Vec<u32>,
    /// How many processes live in it.
    processes: u32,
    /// `namespace`.
    record: &'static str,
    /// Root folder of the first process (mnt), as seen from ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    /// Threads in it whose process lives in another one.
    threads: u32,
    /// cgroup, ipc, mnt, net, pid, time, user, uts.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Inode of the user namespace that owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_namespace: Option<u64>,
}

/// A container with processes.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct ContainerRow {
    /// Control group of its first process.
    cgroup: String,
    /// Name of the process with the lowest number.
    first_comm: String,
    /// The lowest number of its processes.
    first_pid: u32,
    /// Name of the host inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    /// Its id; its name for LXC and systemd-nspawn.
    id: String,
    /// Inodes of the namespaces of its first process, by type.
    namespaces: BTreeMap<&'static str, u64>,
    /// Its processes, ascending, at most 64.
    pids: Vec<u32>,
    /// uid of its pod in Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_uid: Option<String>,
    /// How many processes it has.
    processes: u32,
    /// `container`.
    record: &'static str,
    /// Root folder of its first process, as seen from ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    /// docker, podman, containerd, crio, lxc, nspawn, nerdctl, or `unknown` when only the id is told.
    runtime: &'static str,
    /// Types of namespaces that its first process shares with process 1: `pid` and `net` mean the host's own.
    shared_with_first_process: Vec<&'static str>,
}

impl Collect for Namespaces {
    const NAME: &'static str = "namespaces";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str = "Every namespace with its processes, owner and container; containers with processes";
    const NEEDS: &'static [&'static str] = &["CAP_SYS_PTRACE", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let mut found = Found::default();
        every_process(session, |session, walk, pid, process| found.process(session, walk, pid, process))?;
        let host = session.host().clone();
        found.mounts(session, &host)?;
        if host.is_live() {
            found.relations(session)?;
        } else {
            let item = session.item(Kind::Record, *b"/proc/1/ns", "ioctl", Status::Skipped);
            session.note(item.because("owners, parents and host names are told by a live host only"))?;
        }
        found.finish(session)
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<NamespaceRow>("namespace", "namespaces(7), ioctl_nsfs(2), proc_pid_ns(5)"),
            RowType::of::<ContainerRow>("container", "cgroups(7), proc_pid_cgroup(5)"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        Plan {
            reads: vec![
                "/proc/*/ns/*, /proc/*/task/*/ns/* (link text)".into(),
                "/proc/*/{comm,cgroup}, /proc/*/{root,fd/*} (link text)".into(),
                "/proc/{self,1}/mountinfo".into(),
                "ioctl_nsfs: parent, owner; setns: name of the host".into(),
            ],
            ..Plan::default()
        }
    }
}

type Key = (&'static str, u64);

/// What was found.
#[derive(Default)]
struct Found {
    namespaces: BTreeMap<Key, NamespaceRow>,
    /// Where each can be opened.
    doors: BTreeMap<Key, Vec<u8>>,
    containers: BTreeMap<Container, ContainerRow>,
    of_first_process: BTreeSet<Key>,
    fds: Vec<u32>,
    tids: Vec<u32>,
    threads: usize,
    is_full: bool,
}

impl Found {
    fn process(&mut self, session: &mut Session, walk: &mut Walk, pid: u32, process: &Process) -> Result<(), Failure> {
        if process.reached == Reached::MountOnly {
            return Ok(());
        }
        let dir = process.dir.as_fd();
        let text = |bytes: &[u8]| shown(bytes).0;
        let comm = walk.pages.read(dir, c"comm", Hands::AtOnce, 256).ok();
        let comm = comm.map(|comm| walk.pages.get(comm)).map(|comm| text(comm.strip_suffix(b"\n").unwrap_or(comm)));
        let comm = comm.unwrap_or_default();
        let root = walk.pages.link(dir, c"root").ok().map(|root| text(walk.pages.get(root)));
        let cgroup = walk.pages.read(dir, c"cgroup", Hands::AtOnce, FILE_BYTES_MAX).ok();
        let cgroup = cgroup.map(|cgroup| walk.pages.get(cgroup).to_vec()).unwrap_or_default();
        let container = cgroup::container_of(&cgroup);
        let mut own = BTreeMap::new();
        for (name, kind) in LINKS {
            let link = match walk.pages.link(dir, name) {
                Ok(link) => link,
                // This kernel has no such type; or the process has ended, or is a zombie, which lives nowhere.
                Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::SRCH)) => continue,
                Err(error) => {
                    // What is refused for one is refused for all: one item says it.
                    walk.failed(session, (pid, dir), c"ns", &error)?;
                    break;
                }
            };
            let Some(key) = named(walk.pages.get(link)).filter(|(found, _)| *found == kind) else { continue };
            let is_for_children = name.to_bytes().ends_with(b"_for_children");
            if is_for_children && own.get(kind) == Some(&key.1) {
                continue;
            }
            let door = path(pid, name.to_str().unwrap_or_default());
            let Some(row) = self.namespace(key, if is_for_children { "children" } else { "process" }, || door) else {
                continue;
            };
            if is_for_children {
                continue;
            }
            own.insert(kind, key.1);
            row.processes += 1;
            if row.first_pid.is_none() {
                row.first_pid = Some(pid);
                row.first_comm = Some(comm.clone());
                row.root = if kind == "mnt" { root.clone() } else { None };
            }
            if row.pids.len() < PIDS_MAX {
                row.pids.push(pid);
            }
            if let Some(container) = &container
                && row.containers.len() < NAMED_MAX
                && !row.containers.contains(&container.id)
            {
                row.containers.push(container.id.clone());
            }
        }
        if pid == 1 {
            self.of_first_process.extend(own.iter().map(|(kind, inode)| (*kind, *inode)));
        }
        if let Some(container) = container {
            let row = self.containers.entry(container.clone()).or_insert_with(|| ContainerRow {
                cgroup: text(cgroup::chief(&cgroup).unwrap_or_default()),
                first_comm: comm,
                first_pid: pid,
                id: container.id,
                namespaces: own.clone(),
                pod_uid: container.pod_uid,
                record: "container",
                root,
                runtime: container.runtime,
                ..ContainerRow::default()
            });
            row.processes += 1;
            if row.pids.len() < PIDS_MAX {
                row.pids.push(pid);
            }
        }
        self.threads(walk, pid, dir, &own);
        self.descriptors(walk, pid, dir);
        Ok(())
    }

    /// The row of a namespace, made when it is new.
    fn namespace(
        &mut self,
        (kind, inode): Key,
        found_by: &'static str,
        door: impl FnOnce() -> Vec<u8>,
    ) -> Option<&mut NamespaceRow> {
        if self.namespaces.len() >= NAMESPACES_MAX && !self.namespaces.contains_key(&(kind, inode)) {
            self.is_full = true;
            return None;
        }
        self.doors.entry((kind, inode)).or_insert_with(door);
        let row = self.namespaces.entry((kind, inode)).or_insert_with(|| NamespaceRow {
            inode,
            kind,
            record: "namespace",
            ..NamespaceRow::default()
        });
        if !row.found_by.contains(&found_by) {
            row.found_by.push(found_by);
        }
        Some(row)
    }

    /// Threads that live elsewhere than their process.
    fn threads(&mut self, walk: &mut Walk, pid: u32, dir: BorrowedFd<'_>, own: &BTreeMap<&'static str, u64>) {
        if self.threads >= THREADS_MAX || proc::has_one_thread(dir) {
            return;
        }
        // A process that has ended meanwhile has no threads.
        let Ok(task) = proc::open_dir(dir, c"task") else { return };
        let mut tids = std::mem::take(&mut self.tids);
        if proc::numbers(task.as_fd(), &mut tids).is_ok() {
            for tid in tids.iter().copied().filter(|tid| *tid != pid) {
                self.threads += 1;
                for kind in OF_THREADS {
                    let Ok(name) = CString::new(format!("{tid}/ns/{kind}")) else { continue };
                    let Ok(link) = walk.pages.link(task.as_fd(), &name) else { continue };
                    let Some(key) = named(walk.pages.get(link)) else { continue };
                    if own.get(kind) != Some(&key.1)
                        && let Some(row) = self.namespace(key, "thread", || path(pid, &format!("task/{tid}/ns/{kind}")))
                    {
                        row.threads += 1;
                    }
                }
                walk.pages.clear();
            }
        }
        self.tids = tids;
    }

    /// Descriptors on namespaces. Refusals are items of `open_files`.
    fn descriptors(&mut self, walk: &mut Walk, pid: u32, dir: BorrowedFd<'_>) {
        let Ok(folder) = proc::open_dir(dir, c"fd") else { return };
        let mut fds = std::mem::take(&mut self.fds);
        if proc::numbers(folder.as_fd(), &mut fds).is_ok() {
            for fd in fds.iter().take(DESCRIPTORS_MAX) {
                walk.pages.clear();
                let Ok(link) = walk.pages.link_number(folder.as_fd(), *fd) else { continue };
                let Some(key) = named(walk.pages.get(link)) else { continue };
                let door = path(pid, &format!("fd/{fd}"));
                if let Some(row) = self.namespace(key, "descriptor", || door.clone())
                    && row.descriptors.len() < NAMED_MAX
                {
                    row.descriptors.push(shown(&door).0);
                }
            }
        }
        self.fds = fds;
    }

    /// Bind mounts, in the agent's own mount namespace and in that of the first process when that is another one.
    fn mounts(&mut self, session: &mut Session, host: &Host) -> Result<(), Stopped> {
        let namespace = |pid: &str| rustix::fs::readlink(host.path(format!("/proc/{pid}/ns/mnt")), Vec::new()).ok();
        let mut views = vec![("/proc/self/mountinfo", "")];
        if host.is_live() && namespace("1") != namespace("self") {
            views.push(("/proc/1/mountinfo", "/proc/1/root"));
        }
        for (view, root) in views {
            let text = match host.read(view, MOUNTINFO_BYTES_MAX) {
                Ok(text) => text,
                Err(error) => {
                    session.unreadable(view, &error)?;
                    continue;
                }
            };
            for mount in mounts::parse(&text).mounts.iter().filter(|mount| mount.fs_type == b"nsfs") {
                let Some(key) = named(&mount.root) else { continue };
                let door = [root.as_bytes(), &mount.point].concat();
                if let Some(row) = self.namespace(key, "mount", || door)
                    && row.mounts.len() < NAMED_MAX
                {
                    row.mounts.push(shown(&mount.point).0);
                }
            }
        }
        Ok(())
    }

    /// Asks each namespace for its owner and for the one above it, and those in turn.
    fn relations(&mut self, session: &mut Session) -> Result<(), Stopped> {
        let mut todo: Vec<(Key, Option<OwnedFd>)> = self.doors.keys().map(|key| (*key, None)).collect();
        while let Some((key, held)) = todo.pop() {
            session.go_on()?;
            let (kind, inode) = key;
            let opened = match held {
                Some(held) => held,
                None => {
                    let Some(door) = self.doors.get(&key) else { continue };
                    match namespaces::open(door, inode) {
                        Ok(opened) => opened,
                        // Its process has ended.
                        Err(error) => {
                            let door = door.clone();
                            session.unreadable(door, &error)?;
                            continue;
                        }
                    }
                }
            };
            let fd = opened.as_fd();
            let mut relate = |found: &mut Self, other: std::io::Result<OwnedFd>, kind, found_by| {
                // EPERM: it lies outside of what the agent may see.
                let other = other.ok()?;
                let inode = rustix::fs::fstat(&other).ok()?.st_ino;
                let is_new = !found.namespaces.contains_key(&(kind, inode));
                found.namespace((kind, inode), found_by, Vec::new)?;
                if is_new {
                    todo.push(((kind, inode), Some(other)));
                }
                Some(inode)
            };
            let parent = if matches!(kind, "pid" | "user") {
                relate(self, ask::parent_namespace(fd), kind, "parent")
            } else {
                None
            };
            let owner =
                if kind == "user" { None } else { relate(self, ask::owning_user_namespace(fd), "user", "owner") };
            let hostname = if kind == "uts" { hostname(&opened) } else { None };
            let owner_uid = if kind == "user" { ask::owner_uid(fd).ok() } else { None };
            if let Some(row) = self.namespaces.get_mut(&key) {
                (row.parent, row.user_namespace) = (parent, owner);
                (row.hostname, row.owner_uid) = (hostname, owner_uid);
            }
        }
        Ok(())
    }

    fn finish(mut self, session: &mut Session) -> Result<(), Failure> {
        for (key, row) in &mut self.namespaces {
            row.is_of_first_process = self.of_first_process.contains(key);
            session.row(row)?;
        }
        for row in self.containers.values_mut() {
            let uts = row.namespaces.get("uts").and_then(|inode| self.namespaces.get(&("uts", *inode)));
            row.hostname = uts.and_then(|uts| uts.hostname.clone());
            let shared = row.namespaces.iter().map(|(kind, inode)| (*kind, *inode));
            row.shared_with_first_process =
                shared.filter(|key| self.of_first_process.contains(key)).map(|(kind, _)| kind).collect();
            session.row(row)?;
        }
        if self.is_full {
            session.limited(format!("more than {NAMESPACES_MAX} namespaces"))?;
        }
        if self.threads >= THREADS_MAX {
            session.limited(format!("only the first {THREADS_MAX} threads are looked at"))?;
        }
        Ok(())
    }
}

/// The name of the host inside a UTS namespace.
fn hostname(namespace: &OwnedFd) -> Option<String> {
    let inside = LinkNameSpaceType::HostNameAndNISDomainName;
    let name = namespaces::inside(namespace, inside, || shown(rustix::system::uname().nodename().to_bytes()).0);
    name.ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::Arc;

    use bundle::time::Instant;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::testing;

    #[test]
    fn a_tree_with_a_container_and_a_namespace_that_a_descriptor_holds() {
        let id = "ab".repeat(32);
        let tree = tempfile::tempdir().unwrap();
        for (pid, net, group) in [(1, 10, "0::/init.scope".to_owned()), (40, 20, format!("0::/docker/{id}"))] {
            let dir = tree.path().join(format!("proc/{pid}"));
            for folder in ["ns", "fd", "task/1"] {
                std::fs::create_dir_all(dir.join(folder)).unwrap();
            }
            std::fs::write(dir.join("comm"), format!("p{pid}\n")).unwrap();
            std::fs::write(dir.join("cgroup"), group).unwrap();
            symlink(format!("net:[{net}]"), dir.join("ns/net")).unwrap();
            symlink("uts:[5]", dir.join("ns/uts")).unwrap();
            symlink(format!("pid:[{net}]"), dir.join("ns/pid")).unwrap();
            symlink("pid:[99]", dir.join("ns/pid_for_children")).unwrap();
        }
        symlink("mnt:[7]", tree.path().join("proc/40/fd/3")).unwrap();
        std::fs::create_dir_all(tree.path().join("proc/self")).unwrap();
        std::fs::write(tree.path().join("proc/self/mountinfo"), "9 1 0:4 net:[33] /run/netns/blue rw - nsfs nsfs rw\n")
            .unwrap();
        let messages = testing::collect(&Namespaces {}, Arc::new(Host::at(tree.path(), FixedClock(Instant(0)))));
        testing::assert_keys_sorted(&messages);
        let rows = testing::rows(&messages);
        let told: Vec<_> = rows
            .iter()
            .filter(|row| row["record"] == "namespace")
            .map(|row| {
                (row["type"].as_str().unwrap(), row["inode"].as_u64().unwrap(), row["processes"].as_u64().unwrap())
            })
            .collect();
        let expected = [
            ("mnt", 7, 0),
            ("net", 10, 1),
            ("net", 20, 1),
            ("net", 33, 0),
            ("pid", 10, 1),
            ("pid", 20, 1),
            ("pid", 99, 0),
            ("uts", 5, 2),
        ];
        assert_eq!(told, expected);
        assert_eq!(rows[0]["descriptors"], serde_json::json!(["/proc/40/fd/3"]));
        assert_eq!((&rows[1]["is_of_first_process"], &rows[2]["containers"]), (&true.into(), &serde_json::json!([id])));
        assert_eq!(rows[3]["mounts"], serde_json::json!(["/run/netns/blue"]));
        assert_eq!(rows[6]["found_by"], serde_json::json!(["children"]));
        let container = rows.last().unwrap();
        assert_eq!((&container["id"], &container["runtime"]), (&id.into(), &"docker".into()));
        assert_eq!(container["shared_with_first_process"], serde_json::json!(["uts"]));
        assert_eq!((&container["first_pid"], &container["first_comm"]), (&40.into(), &"p40".into()));
    }

    #[test]
    fn the_namespaces_of_this_process() {
        let messages = testing::collect(&Namespaces {}, Arc::new(Host::live()));
        testing::assert_keys_sorted(&messages);
        let rows = testing::rows(&messages);
        for kind in ["mnt", "net", "pid", "user", "uts"] {
            let link = rustix::fs::readlink(format!("/proc/self/ns/{kind}"), Vec::new()).unwrap();
            let (_, inode) = named(link.as_bytes()).unwrap();
            let row = rows.iter().find(|row| row["type"] == kind && row["inode"] == inode).unwrap();
            assert!(row["processes"].as_u64().unwrap() >= 1, "{kind}");
        }
        let uts = rows.iter().find(|row| row["type"] == "uts" && row["hostname"].is_string());
        assert!(uts.is_some() || !rustix::process::geteuid().is_root());
        assert!(matches!(messages.last(), Some(crate::run::session::Message::Done(Ok(())))));
    }
}
