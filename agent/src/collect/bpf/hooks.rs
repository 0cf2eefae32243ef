//! Programs that sit at a hook without a link: cgroups are asked one by one.

use std::os::fd::{AsFd as _, BorrowedFd};

use bundle::item::{Kind as ItemKind, Status, shown};
use schemars::JsonSchema;
use serde::Serialize;

use super::names;
use crate::host::proc;
use crate::host::sys::bpf;
use crate::run::session::{Session, Stopped};

/// Control groups that are asked.
const CGROUPS_MAX: usize = 20_000;
/// How deep they nest.
const DEPTH_MAX: usize = 64;

/// A program at a hook that is no link: of a cgroup (BPF_PROG_QUERY), or behind a perf event or raw tracepoint that a
/// process holds open (BPF_TASK_FD_QUERY).
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct AttachmentRow {
    /// Address of the probed instruction, when it may be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_hex: Option<String>,
    /// The hook: cgroup_device …, raw_tracepoint, tracepoint, kprobe, kretprobe, uprobe, uretprobe.
    pub attach_type: String,
    /// Path of the cgroup below its mount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_b64: Option<String>,
    /// Number of the cgroup, as links name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_id: Option<u64>,
    /// Descriptor that keeps it there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fd: Option<u32>,
    /// Offset from the function, or in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Process that holds the descriptor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The program.
    pub prog_id: u32,
    /// `attachment`.
    pub record: &'static str,
    /// Tracepoint, probed function or file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_b64: Option<String>,
}

/// Asks every cgroup of the first cgroup2 mount for the programs at each of its hooks.
pub fn of_cgroups(session: &mut Session) -> Result<(), Stopped> {
    let host = session.host().clone();
    let table = match host.mount_table() {
        Ok(table) => table,
        Err(error) => return session.unreadable("/proc/thread-self/mountinfo", &error),
    };
    let Some(mount) = table.all().iter().find(|mount| mount.fs_type == b"cgroup2") else {
        let item = session.item(ItemKind::Record, *b"cgroup2", "bpf", Status::Skipped);
        return session.note(item.because("no cgroup2 is mounted: its programs have no hooks here"));
    };
    let root = host.view(mount).and_then(|view| view.open_folder(view.root(), c""));
    match root {
        Ok(root) => Asking { hooks: names::CGROUP_HOOKS.to_vec(), asked: 0 }.walk(session, root.as_fd(), b"", 0),
        Err(error) => session.unreadable(mount.point.clone(), &error),
    }
}

struct Asking {
    hooks: Vec<u32>,
    asked: usize,
}

impl Asking {
    fn walk(
        &mut self,
        session: &mut Session,
        cgroup: BorrowedFd<'_>,
        path: &[u8],
        depth: usize,
    ) -> Result<(), Stopped> {
        session.go_on()?;
        if self.asked >= CGROUPS_MAX || depth >= DEPTH_MAX {
            return session.limited(format!("only {CGROUPS_MAX} cgroups, {DEPTH_MAX} deep, are asked for programs"));
        }
        self.asked += 1;
        self.ask(session, cgroup, path)?;
        for name in proc::names(cgroup).unwrap_or_default() {
            // Files of a cgroup are `controller.name`; only folders open.
            if let Ok(child) = proc::open_dir(cgroup, &name) {
                self.walk(session, child.as_fd(), &[path, b"/", name.to_bytes()].concat(), depth + 1)?;
            }
        }
        Ok(())
    }

    fn ask(&mut self, session: &mut Session, cgroup: BorrowedFd<'_>, path: &[u8]) -> Result<(), Stopped> {
        let mut known = Vec::with_capacity(self.hooks.len());
        for hook in std::mem::take(&mut self.hooks) {
            let found = match bpf::programs_at(cgroup, hook) {
                Ok(found) => found,
                // A hook that this kernel does not have.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => continue,
                Err(error) => {
                    let item = session.item(ItemKind::Record, *b"cgroup2", "bpf", Status::Error).failed(&error);
                    session.note(item.because(format!("hook {}", names::hook(hook))))?;
                    continue;
                }
            };
            known.push(hook);
            for program in found {
                let (cgroup_path, cgroup_b64) = shown(if path.is_empty() { b"/" } else { path });
                session.row(&AttachmentRow {
                    attach_type: names::hook(hook),
                    cgroup: Some(cgroup_path),
                    cgroup_b64,
                    cgroup_id: rustix::fs::fstat(cgroup).ok().map(|stat| stat.st_ino),
                    prog_id: program,
                    record: "attachment",
                    ..AttachmentRow::default()
                })?;
            }
        }
        self.hooks = known;
        Ok(())
    }
}
