//! Who holds what: descriptors of every process that are BPF objects, or that run a program (perf events, raw
//! tracepoints); and which bpffs mounts the processes' mount namespaces have.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;

use bundle::item::{Kind as ItemKind, Status, shown};
use rustix::io::Errno;

use super::hooks::AttachmentRow;
use super::{Objects, names};
use crate::collect::Failure;
use crate::collect::per_process::every_process;
use crate::host::mounts::{self, Mount};
use crate::host::proc::{self, Hands, bracketed};
use crate::host::sys::bpf::{self, Kind};
use crate::host::text::{decimal, key_value};
use crate::run::session::Session;

/// Descriptors of one process that are looked at.
const DESCRIPTORS_MAX: usize = 256 << 10;
/// Probes of all processes that are told.
const PROBES_MAX: usize = 10_000;
const MOUNTINFO_BYTES_MAX: usize = 16 << 20;
const FDINFO_BYTES_MAX: usize = 4096;

/// What the walk found.
#[derive(Default)]
pub struct Held {
    /// Programs behind perf events and raw tracepoints.
    pub probes: Vec<AttachmentRow>,
    /// The bpffs instances, by device: a process that sees one, and the mount.
    pub bpffs: BTreeMap<(u32, u32), (u32, Mount)>,
    refused: usize,
}

/// Walks all processes. What may not be read is noted once: `open_files` names each process.
pub fn find(session: &mut Session, objects: &mut Objects) -> Result<Held, Failure> {
    let mut held = Held::default();
    let mut numbers = Vec::new();
    let mut namespaces = std::collections::BTreeSet::new();
    every_process(session, |session, walk, pid, process| {
        let dir = process.dir.as_fd();
        // That it ended meanwhile, or is a zombie, is told by the collectors of processes.
        if let Ok(link) = walk.pages.link(dir, c"ns/mnt")
            && namespaces.insert(bracketed(walk.pages.get(link)).unwrap_or(0))
            && let Ok(text) = walk.pages.read(dir, c"mountinfo", Hands::InPieces, MOUNTINFO_BYTES_MAX)
        {
            held.add_mounts(pid, &mounts::parse(walk.pages.get(text)).mounts);
        }
        let fds = match proc::open_dir(dir, c"fd").and_then(|fds| proc::numbers(fds.as_fd(), &mut numbers).map(|_| fds))
        {
            Ok(fds) => fds,
            Err(error) => {
                held.refused += usize::from(matches!(Errno::from_io_error(&error), Some(Errno::ACCESS | Errno::PERM)));
                return Ok(());
            }
        };
        numbers.truncate(DESCRIPTORS_MAX);
        for fd in &numbers {
            session.go_on()?;
            walk.pages.clear();
            let Ok(link) = walk.pages.link_number(fds.as_fd(), *fd) else { continue };
            let Some(name) = walk.pages.get(link).strip_prefix(b"anon_inode:") else { continue };
            match name {
                b"bpf-prog" | b"bpf-map" | b"bpf_link" | b"bpf-link" | b"btf" => {
                    let Ok(info) = proc::open_dir(dir, c"fdinfo") else { continue };
                    let Ok(text) = walk.pages.read_number(info.as_fd(), *fd, FDINFO_BYTES_MAX) else { continue };
                    if let Some(object) = object_in(walk.pages.get(text)) {
                        let known = objects.entry(object).or_default();
                        if known.held_by.last() != Some(&pid) {
                            known.held_by.push(pid);
                        }
                    }
                }
                b"[perf_event]" | b"bpf-raw-tracepoint" if held.probes.len() < PROBES_MAX => {
                    if let Ok(probe) = bpf::probe_of(pid, *fd) {
                        held.probes.push(attachment(pid, *fd, &probe));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    })?;
    if held.refused > 0 {
        let item = session.item(ItemKind::Record, *b"/proc/*/fd", "procfs", Status::Denied);
        session.note(item.because(format!("of {} processes it may not be read who holds what", held.refused)))?;
    }
    Ok(held)
}

impl Held {
    fn add_mounts(&mut self, pid: u32, mounts: &[Mount]) {
        for mount in mounts.iter().filter(|mount| mount.fs_type == b"bpf") {
            let found = self.bpffs.entry((mount.major, mount.minor));
            // The mount that shows all of it is better than one that shows a folder.
            let best = found.or_insert_with(|| (pid, mount.clone()));
            if best.1.root != b"/" && mount.root == b"/" {
                *best = (pid, mount.clone());
            }
        }
    }
}

/// The number in the fdinfo of a BPF object. A link's tells its program too, so links are looked for first.
pub fn object_in(fdinfo: &[u8]) -> Option<(Kind, u32)> {
    let number = |wanted: &[u8]| {
        let mut lines = fdinfo.split(|byte| *byte == b'\n').filter_map(key_value);
        let value = lines.find(|(key, _)| *key == wanted)?.1;
        decimal(value).and_then(|id| u32::try_from(id).ok())
    };
    let kinds = [(Kind::Link, b"link_id".as_slice()), (Kind::Map, b"map_id"), (Kind::Program, b"prog_id")];
    kinds.into_iter().find_map(|(kind, key)| Some((kind, number(key)?)))
}

fn attachment(pid: u32, fd: u32, probe: &bpf::Probe) -> AttachmentRow {
    let (target, target_b64) = shown(&probe.name);
    AttachmentRow {
        address_hex: (probe.address != 0).then(|| format!("{:x}", probe.address)),
        attach_type: names::probe(probe.kind),
        fd: Some(fd),
        offset: Some(probe.offset),
        pid: Some(pid),
        prog_id: probe.program,
        record: "attachment",
        target: (!target.is_empty()).then_some(target),
        target_b64,
        ..AttachmentRow::default()
    }
}
