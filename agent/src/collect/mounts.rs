//! Mounts of every mount namespace: one row per mount, sorted by namespace and then in the kernel's order.
//!
//! Each namespace is read through one of its processes, so a mount that only an intruder's processes see is here, and so
//! is one that covers a `/proc/PID`. Nothing is asked of a mounted file system: statfs(2) blocks on one that hangs.
//!
//! Known limits: a namespace that no process is in (kept by a bind mount of its nsfs file, or by a descriptor) is not
//! read; a process in a chroot sees only what is mounted below it, so one whose root is `/` is preferred.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd as _;

use bundle::item::shown;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use super::per_process::every_process;
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::Host;
use crate::host::mounts::{self, Mount};
use crate::host::proc::{Hands, Pages, Piece, Processes, bracketed};
use crate::run::session::Session;

/// The longest list that is read, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 20;
/// How many processes of one namespace are tried before it is given up.
const TRIES_MAX: usize = 8;

/// `collect: mounts`; it takes no arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mounts {}

/// One mount. Texts are from `/proc/PID/mountinfo` (proc_pid_mountinfo(5)), octal escapes undone; `…_b64` holds the
/// exact bytes of one that is not UTF-8.
#[derive(Debug, JsonSchema, Serialize)]
struct Row {
    /// Device of the file system, `major:minor` (field 3).
    dev: String,
    /// Type of the file system (field 9).
    fs_type: String,
    /// Number of the mount (field 1).
    mount_id: u64,
    /// Where it is mounted, as seen from the root of `pid` (field 5).
    mount_point: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    mount_point_b64: Option<String>,
    /// Inode number of the mount namespace (`/proc/PID/ns/mnt`).
    namespace: u64,
    /// Options of the mount (field 6).
    options: String,
    /// Number of the mount that it is mounted on (field 2).
    parent_id: u64,
    /// The process whose list it is from.
    pid: u32,
    /// Zero or more of shared:N, master:N, propagate_from:N, unbindable (field 7).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    propagation: Vec<String>,
    /// The part of the file system that is mounted: not `/` for a bind mount (field 4).
    root: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    root_b64: Option<String>,
    /// What the file system was made from (field 10).
    source: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    source_b64: Option<String>,
    /// Options of the file system (field 11).
    super_options: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    super_options_b64: Option<String>,
}

impl Row {
    fn new(mount: &Mount, namespace: u64, pid: u32) -> Self {
        let (mount_point, mount_point_b64) = shown(&mount.point);
        let (root, root_b64) = shown(&mount.root);
        let (source, source_b64) = shown(&mount.source);
        let (super_options, super_options_b64) = shown(&mount.super_options);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            dev: format!("{}:{}", mount.major, mount.minor),
            fs_type: text(&mount.fs_type),
            mount_id: mount.id,
            mount_point,
            mount_point_b64,
            namespace,
            options: text(&mount.options),
            parent_id: mount.parent,
            pid,
            propagation: mount.propagation.iter().map(|field| text(field)).collect(),
            root,
            root_b64,
            source,
            source_b64,
            super_options,
            super_options_b64,
        }
    }
}

impl Collect for Mounts {
    const NAME: &'static str = "mounts";
    const TIER: Tier = Tier::System;
    const NEEDS_LIVE_HOST: bool = true;
    const SUMMARY: &'static str = "Mounts of every mount namespace, from mountinfo.";
    const NEEDS: &'static [&'static str] = &["CAP_SYS_PTRACE"];

    fn rows() -> Vec<RowType> {
        vec![RowType::of::<Row>(Self::NAME, "proc_pid_mountinfo(5)")]
    }

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let host = std::sync::Arc::clone(session.host());
        let mut processes = Processes::of(&host).map_err(Failure::reading("/proc"))?;
        let mut pages = Pages::default();
        for (namespace, pids) in namespaces(session)? {
            session.go_on()?;
            let mut last = None;
            for pid in pids {
                pages.clear();
                match read(&mut processes, &mut pages, pid) {
                    Ok(text) if !pages.get(text).is_empty() => {
                        hand_over(session, namespace, pid, pages.get(text).to_vec(), text.cut)?;
                        last = None;
                        break;
                    }
                    Ok(_) => {}
                    Err(error) => last = Some((pid, error)),
                }
            }
            if let Some((pid, error)) = last {
                session.unreadable(format!("/proc/{pid}/mountinfo"), &error)?;
            }
        }
        Ok(())
    }

    fn plan(&self, _host: &Host) -> Plan {
        Plan { reads: vec!["/proc/PID/ns/mnt".to_owned(), "/proc/PID/mountinfo".to_owned()], ..Plan::default() }
    }
}

fn read(processes: &mut Processes, pages: &mut Pages, pid: u32) -> io::Result<Piece> {
    let process = processes.open(pid)?;
    pages.read(process.dir.as_fd(), c"mountinfo", Hands::InPieces, TEXT_BYTES_MAX)
}

fn hand_over(session: &mut Session, namespace: u64, pid: u32, text: Vec<u8>, is_cut: bool) -> Result<(), Failure> {
    let path = format!("/proc/{pid}/mountinfo");
    let parsed = mounts::parse(&text);
    for mount in &parsed.mounts {
        session.row(&Row::new(mount, namespace, pid))?;
    }
    if parsed.odd_lines > 0 {
        let error = io::Error::other(format!("{} lines are no mounts; see the raw text", parsed.odd_lines));
        session.unreadable(path.as_str(), &error)?;
    }
    if parsed.has_more || is_cut {
        session.limited(format!("more than {} mounts or {TEXT_BYTES_MAX} bytes of mounts", mounts::MOUNTS_MAX))?;
    }
    session.raw(path, "procfs", format!("mountinfo-{namespace}"), text)?;
    Ok(())
}

/// The mount namespaces that processes are in, each with up to [`TRIES_MAX`] of them: those whose root is `/` first.
fn namespaces(session: &mut Session) -> Result<BTreeMap<u64, Vec<u32>>, Failure> {
    let mut found: BTreeMap<u64, (Vec<u32>, Vec<u32>)> = BTreeMap::new();
    every_process(session, |session, walk, pid, process| {
        let at = (pid, process.dir.as_fd());
        // A zombie is in no namespace any more.
        walk.bare = true;
        let Some(link) = walk.link(session, at, c"ns/mnt")? else { return Ok(()) };
        let namespace = bracketed(walk.pages.get(link)).unwrap_or(0);
        let (whole, chrooted) = found.entry(namespace).or_default();
        if whole.len() < TRIES_MAX {
            let root = walk.pages.link(process.dir.as_fd(), c"root");
            if root.is_ok_and(|root| walk.pages.get(root) == b"/") {
                whole.push(pid);
            } else if chrooted.len() < TRIES_MAX {
                chrooted.push(pid);
            }
        }
        Ok(())
    })?;
    let in_order = |(whole, chrooted): (Vec<u32>, Vec<u32>)| whole.into_iter().chain(chrooted).collect();
    Ok(found.into_iter().map(|(namespace, pids)| (namespace, in_order(pids))).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bundle::item::Status;
    use bundle::time::Instant;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::session::Message;
    use crate::run::testing::{collect, items, rows};

    #[test]
    fn each_namespace_is_read_once() {
        let tree = tempfile::tempdir().unwrap();
        let text = b"1 0 0:1 / / rw - tmpfs a\\040b rw\n2 1 0:2 / /x\xff rw shared:3 - nfs4 h:/x rw\nodd\n";
        for (pid, namespace) in [(1, 10), (2, 10), (30, 11), (31, 12)] {
            let process = tree.path().join(format!("proc/{pid}/ns"));
            std::fs::create_dir_all(&process).unwrap();
            std::os::unix::fs::symlink(format!("mnt:[{namespace}]"), process.join("mnt")).unwrap();
        }
        std::os::unix::fs::symlink("/", tree.path().join("proc/2/root")).unwrap();
        for pid in [1, 2, 30] {
            std::fs::write(tree.path().join(format!("proc/{pid}/mountinfo")), text).unwrap();
        }
        let host = Arc::new(Host::at(tree.path(), FixedClock(Instant(0))));
        let messages = collect(&Mounts {}, host);
        let rows = rows(&messages);
        let at: Vec<_> = rows.iter().map(|row| (row["namespace"].as_u64(), row["pid"].as_u64())).collect();
        assert_eq!(at, [(10, 2), (10, 2), (11, 30), (11, 30)].map(|(n, p)| (Some(n), Some(p))));
        assert_eq!(rows[0]["source"], "a b");
        assert_eq!(rows[1]["mount_point_b64"], "L3j/");
        assert_eq!(rows[1]["propagation"][0], "shared:3");
        let raw = messages.iter().filter(|message| matches!(message, Message::Raw(_, _, raw) if raw == text));
        assert_eq!(raw.count(), 2);
        let failed = items(&messages).into_iter().find(|item| item.path == b"/proc/31/mountinfo").unwrap();
        assert_eq!(failed.status, Status::Vanished);
    }

    #[test]
    fn the_live_host_has_a_root_mount() {
        let messages = collect(&Mounts {}, Arc::new(Host::live()));
        assert!(rows(&messages).iter().any(|row| row["mount_point"] == "/"));
        for row in messages.iter().filter_map(|message| match message {
            Message::Rows(rows) => Some(rows),
            _ => None,
        }) {
            for line in row.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let value: serde_json::Value = serde_json::from_slice(line).unwrap();
                assert_eq!(value.to_string().as_bytes(), line, "keys are sorted");
            }
        }
    }
}
