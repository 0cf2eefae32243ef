//! Programs that sit at a hook without a link: cgroups are asked one by one, and so are the interfaces of every network
//! namespace for their XDP programs and for the filters of tc(8).

use std::os::fd::{AsFd as _, BorrowedFd};

use std::io;

use bundle::item::{Kind as ItemKind, Status, shown};
use schemars::JsonSchema;
use serde::Serialize;

use super::names;
use crate::collect::Failure;
use crate::host::net_census::Census;
use crate::host::netlink::{self, attributes, messages, u32_at};
use crate::host::sys::bpf;
use crate::host::{proc, rtnetlink};
use crate::run::session::{Session, Stopped};

/// Control groups that are asked.
const CGROUPS_MAX: usize = 20_000;
/// Interfaces of one network namespace that are asked.
const INTERFACES_MAX: usize = 5000;
/// How deep they nest.
const DEPTH_MAX: usize = 64;

/// A program at a hook that is no link: of a cgroup (BPF_PROG_QUERY), of a network interface (rtnetlink(7)), or behind a
/// perf event or raw tracepoint that a process holds open (BPF_TASK_FD_QUERY).
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct AttachmentRow {
    /// Address of the probed instruction, when it may be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_hex: Option<String>,
    /// The hook: cgroup_device …, xdp, tc_root, tc_ingress, tc_egress, raw_tracepoint, tracepoint, kprobe, kretprobe,
    /// uprobe, uretprobe.
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
    /// Number of the interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ifindex: Option<u32>,
    /// Name of the interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Inode of the network namespace that the interface is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<u64>,
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

const RTM_GETLINK: u16 = 18;
const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
/// Where filters hang (`tcm_parent`): the root queue, and the two sides of clsact (include/uapi/linux/pkt_sched.h).
const PARENTS: [(u32, &str); 3] = [(0, "tc_root"), (0xffff_fff2, "tc_ingress"), (0xffff_fff3, "tc_egress")];

/// Asks the interfaces of every network namespace. Which namespaces there are takes a walk over all processes, so it is
/// done only when a program of such a type is loaded.
pub fn of_interfaces(session: &mut Session) -> Result<(), Failure> {
    let host = session.host().clone();
    let census = Census::take(session)?;
    for namespace in census.namespaces.values() {
        session.go_on()?;
        let path = format!("netlink/route/{}/tfilter", namespace.inode);
        let socket = match namespace.enter(&host, netlink::open) {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) | Err(error) => {
                session.note(session.item(ItemKind::Record, path, "netlink", Status::Error).failed(&error))?;
                continue;
            }
        };
        let links = netlink::dump(&socket, RTM_GETLINK, 1, &[0; 16]);
        let links = messages(&links.bytes).filter_map(|message| {
            match rtnetlink::row(namespace.inode, message.kind, message.payload) {
                Some(rtnetlink::Row::Link(link)) => Some(link),
                _ => None,
            }
        });
        let interfaces: Vec<_> = links.collect();
        if interfaces.len() > INTERFACES_MAX {
            session.limited(format!("{path}: only the first {INTERFACES_MAX} interfaces are asked"))?;
        }
        let mut sequence = 2;
        for interface in interfaces.iter().take(INTERFACES_MAX) {
            let row = |attach_type: &str, prog_id: u32| AttachmentRow {
                attach_type: attach_type.to_owned(),
                ifindex: Some(interface.index.cast_unsigned()),
                interface: Some(interface.name.clone().into_owned()),
                netns: Some(namespace.inode),
                prog_id,
                record: "attachment",
                ..AttachmentRow::default()
            };
            for program in &interface.xdp_programs {
                session.row(&row("xdp", *program))?;
            }
            for (parent, hook) in PARENTS {
                session.go_on()?;
                // struct tcmsg: family, padding, ifindex, handle, parent, info.
                let words = [0, interface.index.cast_unsigned(), 0, parent, 0].map(u32::to_ne_bytes);
                let filters = netlink::dump(&socket, RTM_GETTFILTER, sequence, words.as_flattened());
                sequence += 1;
                for program in
                    messages(&filters.bytes).filter_map(|message| filter_program(message.kind, message.payload))
                {
                    session.row(&row(hook, program))?;
                }
                // An interface without such a queue, or one that went, has no filters there.
                if let Some(error) = filters.error.filter(|error| !is_nothing(error)) {
                    let item = session.item(ItemKind::Record, path.as_str(), "netlink", Status::Error).failed(&error);
                    session.note(item.because(format!("{hook} of interface {}", interface.name)))?;
                }
            }
        }
    }
    Ok(())
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENODEV | libc::ENOENT | libc::EOPNOTSUPP))
}

/// The program of a filter of kind `bpf`: TCA_KIND 1, TCA_OPTIONS 2 with TCA_BPF_ID 11.
fn filter_program(kind: u16, payload: &[u8]) -> Option<u32> {
    let mut all = attributes(payload.get(20..)?).filter(|_| kind == RTM_NEWTFILTER);
    let options = all.find(|(kind, _)| *kind == 2)?.1;
    let id = attributes(options).find(|(kind, _)| *kind == 11)?.1;
    u32_at(id, 0).filter(|id| *id != 0 && is_bpf(payload))
}

fn is_bpf(payload: &[u8]) -> bool {
    let mut all = attributes(payload.get(20..).unwrap_or_default());
    all.any(|(kind, value)| kind == 1 && value.strip_suffix(b"\0").unwrap_or(value) == b"bpf")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn filters_of_kind_bpf_name_their_program() {
        let id = attribute(11, &77_u32.to_ne_bytes());
        let message = |kind: &[u8]| [vec![0; 20], attribute(1, kind), attribute(2, &id)].concat();
        assert_eq!(filter_program(RTM_NEWTFILTER, &message(b"bpf\0")), Some(77));
        assert_eq!(filter_program(RTM_NEWTFILTER, &message(b"u32\0")), None);
        assert_eq!(filter_program(3, &message(b"bpf\0")), None);
        assert_eq!(filter_program(RTM_NEWTFILTER, &[0; 19]), None);
    }
}
