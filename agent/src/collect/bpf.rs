//! Every BPF program, map and link that the kernel has, by bpf(2): what it is, who holds it, where it is pinned, where
//! it hooks, and the instructions themselves.
//!
//! Row types: `program`, `map`, `link`, then `attachment` (a program at a hook of a cgroup or of a network interface, or
//! behind a perf event or a raw tracepoint of a process: none of these is a link) and `pin` (a file of a mounted bpffs).
//! The translated instructions, which are what the kernel runs after its verifier, are kept as
//! `raw/bpf/translated/SHA256.bin`, each digest once.
//!
//! Opening a program or a map by its number takes a reference for a moment and changes nothing. A pin is opened through
//! a noatime clone of its mount where that can be had: BPF_OBJ_GET moves the access time else.
//!
//! Known limits: actions of tc(8), and programs attached to sockets, are shown as programs without where they are used;
//! addresses inside of the instructions are zero unless the kernel lets this process see them (kptr_restrict, CAP_SYSLOG); a program that hooks
//! bpf(2) itself can hide from it, but not from `/proc/PID/fdinfo`, and a number that only a holder tells is noted.

mod holders;
mod hooks;
mod names;
mod pins;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd as _;

use bundle::item::{Kind as ItemKind, Nanos, Status, shown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::{Sha256, Tier};

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::netlink::{u32_at, u64_at};
use crate::host::sys::bpf::{self, Kind};
use crate::host::text::hex;
use crate::host::{Host, btf};
use crate::run::session::{Session, Stopped};

/// Objects of one kind that are described.
const OBJECTS_MAX: usize = 20_000;
/// Instructions of one program: the kernel's own bound is a million of eight bytes.
const TRANSLATED_BYTES_MAX: usize = 8 << 20;
/// Instructions of all programs together.
const TRANSLATED_TOTAL_BYTES_MAX: usize = 64 << 20;
/// Maps of one program (MAX_USED_MAPS is 64).
const MAPS_MAX: usize = 1024;
/// Type information of the kernel: some 6 MiB.
const BTF_BYTES_MAX: u64 = 64 << 20;
/// Where the kernel shows its own type information.
const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// Takes no arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bpf {}

/// A program (`struct bpf_prog_info`).
#[derive(Debug, Serialize, JsonSchema)]
struct ProgramRow {
    /// Number of the kernel's type that it is attached to; 0 when it is to none.
    attach_btf_id: u32,
    /// The function that it traces, replaces or guards (`attach_btf_id` by name, of the kernel itself only).
    #[serde(skip_serializing_if = "Option::is_none")]
    attach_target: Option<String>,
    /// Number of its type information; 0 for none.
    btf_id: u32,
    /// True when its licence lets it call the kernel's GPL functions.
    gpl_compatible: bool,
    /// Processes that hold it open (`prog_id` in `/proc/PID/fdinfo`).
    held_by: Vec<u32>,
    /// Its number.
    id: u32,
    /// Interface of the hardware that it was handed to; 0 for none.
    ifindex: u32,
    /// Length of its machine code; 0 when it is interpreted or may not be told.
    jited_bytes: u32,
    /// When it was loaded, since the boot.
    loaded_boottime_ns: Nanos,
    /// When it was loaded, since the epoch: the same against the clocks as they are now.
    loaded_ns: Nanos,
    /// Numbers of the maps that it uses.
    map_ids: Vec<u32>,
    /// Its name, at most 15 bytes; empty when it was given none.
    name: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    name_b64: Option<String>,
    /// Files of a bpffs that it is pinned as.
    pinned_at: Vec<String>,
    /// `program`.
    record: &'static str,
    /// How often it ran; counted only while `kernel.bpf_stats_enabled` is set.
    run_count: u64,
    /// How long it ran; as above.
    run_ns: Nanos,
    /// The kernel's digest of the instructions as they were loaded.
    tag: String,
    /// Length of its instructions after the verifier.
    translated_bytes: u32,
    /// Digest of these instructions, when all of them were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    translated_sha256: Option<Sha256>,
    /// Its type: socket_filter, kprobe, tracing, xdp, lsm …
    #[serde(rename = "type")]
    kind: String,
    /// User that loaded it.
    uid: u32,
}

/// A map (`struct bpf_map_info`). Its content is not read.
#[derive(Debug, Serialize, JsonSchema)]
struct MapRow {
    /// Flags that it was made with (BPF_F_*).
    flags: u32,
    /// Processes that hold it open.
    held_by: Vec<u32>,
    /// Its number.
    id: u32,
    /// Length of a key.
    key_bytes: u32,
    /// Entries that it has room for.
    max_entries: u32,
    /// Its name, at most 15 bytes.
    name: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    name_b64: Option<String>,
    /// Files of a bpffs that it is pinned as.
    pinned_at: Vec<String>,
    /// `map`.
    record: &'static str,
    /// Its type: hash, array, ringbuf …
    #[serde(rename = "type")]
    kind: String,
    /// Length of a value.
    value_bytes: u32,
}

/// A link: a program at its hook, kept there by a descriptor or a pin (`struct bpf_link_info`, 5.7).
#[derive(Debug, Default, Serialize, JsonSchema)]
struct LinkRow {
    /// Address of the probed instruction, when it may be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    address_hex: Option<String>,
    /// The hook: cgroup_inet_ingress, trace_fentry, lsm_mac …
    #[serde(skip_serializing_if = "Option::is_none")]
    attach_type: Option<String>,
    /// The cgroup that it is attached to.
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup_id: Option<u64>,
    /// How many functions it probes (kprobe_multi, uprobe_multi).
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    /// Processes that hold it open.
    held_by: Vec<u32>,
    /// Its number.
    id: u32,
    /// The interface that it is attached to.
    #[serde(skip_serializing_if = "Option::is_none")]
    ifindex: Option<u32>,
    /// The map that it is made of or attached to.
    #[serde(skip_serializing_if = "Option::is_none")]
    map_id: Option<u32>,
    /// Inode of the network namespace that it is attached to.
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<u32>,
    /// Offset from the function, or in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u32>,
    /// The only process that is probed (uprobe_multi).
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    /// Files of a bpffs that it is pinned as.
    pinned_at: Vec<String>,
    /// What a perf event is: kprobe, kretprobe, uprobe, uretprobe, tracepoint, event (6.6).
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<String>,
    /// The program; 0 for a struct_ops.
    prog_id: u32,
    /// `link`.
    record: &'static str,
    /// Tracepoint, probed function, traced function, file, or target of an iterator.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_b64: Option<String>,
    /// Number of the traced function in the type information.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_btf_id: Option<u32>,
    /// Its type: raw_tracepoint, tracing, cgroup, xdp, perf_event, kprobe_multi …
    #[serde(rename = "type")]
    kind: String,
}

/// What is known of an object from the outside.
#[derive(Debug, Default)]
struct Known {
    held_by: Vec<u32>,
    pinned_at: Vec<String>,
}

/// By kind and number.
type Objects = BTreeMap<(Kind, u32), Known>;

impl Collect for Bpf {
    const NAME: &'static str = "bpf";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str = "BPF programs, maps and links: holders, pins, hooks and translated instructions";
    const NEEDS: &'static [&'static str] = &["CAP_SYS_ADMIN", "CAP_SYS_PTRACE"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        if !session.host().is_live() {
            let item = session.item(ItemKind::Record, *b"bpf", "bpf", Status::Skipped);
            return Ok(session.note(item.because("only a live kernel has programs"))?);
        }
        let mut objects = Objects::new();
        let held = holders::find(session, &mut objects)?;
        let pins = pins::find(session, &held.bpffs, &mut objects)?;
        let programs = programs(session, &mut objects)?;
        maps(session, &mut objects)?;
        links(session, &mut objects)?;
        for row in &held.probes {
            session.row(row)?;
        }
        if programs.has_cgroup {
            hooks::of_cgroups(session)?;
        }
        if programs.has_network {
            hooks::of_interfaces(session)?;
        }
        for row in &pins {
            session.row(row)?;
        }
        // What a process holds, or a pin keeps, and the kernel's list does not have.
        for (kind, id) in objects.into_keys() {
            let item = session.item(ItemKind::Record, format!("bpf/{}/{id}", list(kind)), "bpf", Status::Vanished);
            session.note(item.because("a process or a pin holds it, and the kernel does not list it"))?;
        }
        Ok(())
    }

    fn rows() -> Vec<RowType> {
        let source = "bpf(2), /usr/include/linux/bpf.h";
        vec![
            RowType::of::<ProgramRow>("program", source),
            RowType::of::<MapRow>("map", source),
            RowType::of::<LinkRow>("link", source),
            RowType::of::<hooks::AttachmentRow>("attachment", source),
            RowType::of::<pins::PinRow>("pin", "bpf(2), Documentation/bpf/maps.rst"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        let reads = ["bpf(2)", "/proc/*/fdinfo/*", "/proc/*/mountinfo", "/sys/fs/bpf/**", "/sys/fs/cgroup/**"];
        Plan { reads: reads.iter().map(|path| (*path).to_owned()).collect(), ..Plan::default() }
    }
}

/// The kernel's list of objects of this kind, as items name it.
fn list(kind: Kind) -> &'static str {
    match kind {
        Kind::Program => "programs",
        Kind::Map => "maps",
        Kind::Link => "links",
        Kind::Btf => "btf",
    }
}

/// Goes through the objects of a kind, in the order of their numbers. One that goes meanwhile is passed over.
fn every(
    session: &mut Session,
    kind: Kind,
    mut visit: impl FnMut(&mut Session, u32, std::os::fd::BorrowedFd<'_>) -> Result<io::Result<()>, Stopped>,
) -> Result<(), Stopped> {
    let mut last = 0;
    for _ in 0..OBJECTS_MAX {
        session.go_on()?;
        last = match bpf::next_id(kind, last) {
            Ok(Some(id)) => id,
            Ok(None) => return Ok(()),
            Err(error) => return refused(session, kind, &error),
        };
        let outcome = match bpf::open_id(kind, last) {
            Ok(object) => visit(session, last, object.as_fd())?,
            Err(error) => Err(error),
        };
        match outcome {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let path = format!("bpf/{}/{last}", list(kind));
                let item = session.item(ItemKind::Record, path, "bpf", Status::Error).failed(&error);
                session.note(item)?;
            }
            _ => {}
        }
    }
    session.limited(format!("only the first {OBJECTS_MAX} of bpf/{} are described", list(kind)))
}

/// A kernel without bpf(2), or without links (before 5.7), has none of them; else it was not allowed.
fn refused(session: &mut Session, kind: Kind, error: &io::Error) -> Result<(), Stopped> {
    let item = session.item(ItemKind::Record, format!("bpf/{}", list(kind)), "bpf", Status::Error).failed(error);
    match error.raw_os_error() {
        Some(libc::EINVAL | libc::ENOSYS) => {
            let mut item = item.because("this kernel does not have them");
            item.status = Status::Skipped;
            session.note(item)
        }
        _ => session.note(item.because("without CAP_SYS_ADMIN the kernel lists none")),
    }
}

/// What the programs said of themselves that other steps need.
#[derive(Default)]
struct Programs {
    has_cgroup: bool,
    has_network: bool,
}

fn programs(session: &mut Session, objects: &mut Objects) -> Result<Programs, Stopped> {
    let mut rows = Vec::new();
    let mut left = TRANSLATED_TOTAL_BYTES_MAX;
    let boot = session.now().0 - i128::from(session.host().clock().boottime_ns());
    let mut kept = std::collections::BTreeSet::new();
    every(session, Kind::Program, |session, id, program| {
        let bytes_max = TRANSLATED_BYTES_MAX.min(left);
        let found = match bpf::program_info(program, bytes_max, MAPS_MAX) {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let mut row = program_row(id, &found, boot);
        let known = objects.remove(&(Kind::Program, id)).unwrap_or_default();
        (row.held_by, row.pinned_at) = (known.held_by, known.pinned_at);
        let all_bytes = usize::try_from(row.translated_bytes).unwrap_or(usize::MAX);
        if !found.translated.is_empty() && found.translated.len() == all_bytes {
            let digest = Sha256::of(&found.translated);
            row.translated_sha256 = Some(digest);
            left -= found.translated.len();
            if kept.insert(digest.0) {
                let name = format!("translated/{digest}.bin");
                session.raw(format!("bpf/programs/{id}"), "bpf", name, found.translated)?;
            }
        } else if all_bytes > bytes_max {
            session.limited(format!("instructions of BPF programs beyond {TRANSLATED_TOTAL_BYTES_MAX} bytes"))?;
        }
        rows.push(row);
        Ok(Ok(()))
    })?;
    let targets: Vec<u32> = rows.iter().map(|row| row.attach_btf_id).filter(|id| *id != 0).collect();
    let btf = if targets.is_empty() { Vec::new() } else { type_information(session)? };
    let names = btf::names(&btf, &targets);
    let mut programs = Programs::default();
    for mut row in rows {
        programs.has_cgroup |= row.kind.contains("cgroup") || matches!(row.kind.as_str(), "sock_ops" | "lsm");
        programs.has_network |= matches!(row.kind.as_str(), "xdp" | "sched_cls" | "sched_act");
        let target = names.get(&row.attach_btf_id).filter(|name| !name.is_empty());
        row.attach_target = target.map(|name| String::from_utf8_lossy(name).into_owned());
        session.row(&row)?;
    }
    Ok(programs)
}

fn type_information(session: &mut Session) -> Result<Vec<u8>, Stopped> {
    match session.host().read(BTF_PATH, BTF_BYTES_MAX) {
        Ok(btf) => Ok(btf),
        Err(error) => session.unreadable(BTF_PATH, &error).map(|()| Vec::new()),
    }
}

/// Texts of fixed length end at the first zero.
fn named(bytes: Option<&[u8]>) -> (String, Option<String>) {
    shown(bytes.unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default())
}

fn program_row(id: u32, found: &bpf::ProgramInfo, boot: i128) -> ProgramRow {
    let info = &found.info;
    let number = |at| u32_at(info, at).unwrap_or(0);
    let long = |at| u64_at(info, at).unwrap_or(0);
    let (name, name_b64) = named(info.get(64..80));
    let loaded = i128::from(long(40));
    ProgramRow {
        attach_btf_id: number(224),
        attach_target: None,
        btf_id: number(128),
        gpl_compatible: number(84) & 1 != 0,
        held_by: Vec::new(),
        id,
        ifindex: number(80),
        jited_bytes: number(16),
        loaded_boottime_ns: Nanos(loaded),
        loaded_ns: Nanos(boot + loaded),
        map_ids: found.map_ids.clone(),
        name,
        name_b64,
        pinned_at: Vec::new(),
        record: "program",
        run_count: long(200),
        run_ns: Nanos(long(192).into()),
        tag: hex(info.get(8..16).unwrap_or_default()),
        translated_bytes: number(20),
        translated_sha256: None,
        kind: names::program(number(0)),
        uid: number(48),
    }
}

fn maps(session: &mut Session, objects: &mut Objects) -> Result<(), Stopped> {
    every(session, Kind::Map, |session, id, map| {
        let info = match bpf::plain_info(map) {
            Ok(info) => info,
            Err(error) => return Ok(Err(error)),
        };
        let number = |at| u32_at(&info, at).unwrap_or(0);
        let (name, name_b64) = named(info.get(24..40));
        let known = objects.remove(&(Kind::Map, id)).unwrap_or_default();
        session.row(&MapRow {
            flags: number(20),
            held_by: known.held_by,
            id,
            key_bytes: number(8),
            max_entries: number(16),
            name,
            name_b64,
            pinned_at: known.pinned_at,
            record: "map",
            kind: names::map(number(0)),
            value_bytes: number(12),
        })?;
        Ok(Ok(()))
    })
}

fn links(session: &mut Session, objects: &mut Objects) -> Result<(), Stopped> {
    let mut rows = Vec::new();
    every(session, Kind::Link, |_, id, link| {
        Ok(bpf::link_info(link).map(|(info, name)| {
            let known = objects.remove(&(Kind::Link, id)).unwrap_or_default();
            let row = link_row(id, &info, &name);
            rows.push(LinkRow { held_by: known.held_by, pinned_at: known.pinned_at, ..row });
        }))
    })?;
    let targets: Vec<u32> = rows.iter().filter_map(|row| row.target_btf_id).collect();
    let btf = if targets.is_empty() { Vec::new() } else { type_information(session)? };
    let names = btf::names(&btf, &targets);
    for mut row in rows {
        if let Some(name) = row.target_btf_id.and_then(|id| names.get(&id)).filter(|name| !name.is_empty()) {
            row.target = Some(String::from_utf8_lossy(name).into_owned());
        }
        session.row(&row)?;
    }
    Ok(())
}

/// `struct bpf_link_info`: type 0, id 4, prog_id 8, and from 16 on what the type says.
fn link_row(id: u32, info: &[u8], name: &[u8]) -> LinkRow {
    let number = |at| u32_at(info, at).unwrap_or(0);
    let address = |at| u64_at(info, at).filter(|address| *address != 0).map(|address| format!("{address:x}"));
    let mut row =
        LinkRow { id, kind: names::link(number(0)), prog_id: number(8), record: "link", ..LinkRow::default() };
    let hook = |at| Some(names::hook(number(at)));
    match number(0) {
        2 => {
            row.attach_type = hook(16);
            // The object is a program for an extension, and type information else; whose names are the kernel's own
            // when it is the first one, which is vmlinux.
            row.target_btf_id = Some(number(24)).filter(|id| *id != 0);
        }
        3 => {
            row.cgroup_id = u64_at(info, 16);
            row.attach_type = hook(24);
        }
        4 => row.map_id = Some(number(28)).filter(|id| *id != 0),
        5 => {
            row.netns = Some(number(16));
            row.attach_type = hook(20);
        }
        6 => row.ifindex = Some(number(16)),
        7 => {
            row.probe = Some(names::perf_event(number(16)));
            if matches!(number(16), 1..=4) {
                row.offset = Some(number(36));
            }
            if matches!(number(16), 3 | 4) {
                row.address_hex = address(40);
            }
        }
        8 => row.count = Some(number(24)),
        9 => row.map_id = Some(number(16)),
        11 | 13 => {
            row.ifindex = Some(number(16));
            row.attach_type = hook(20);
        }
        12 => {
            row.count = Some(number(52));
            row.pid = Some(number(60)).filter(|pid| *pid != 0);
        }
        14 => {
            row.map_id = Some(number(16));
            row.attach_type = hook(20);
        }
        _ => {}
    }
    if !name.is_empty() {
        let (target, target_b64) = shown(name);
        (row.target, row.target_b64) = (Some(target), target_b64);
    }
    row
}

#[cfg(test)]
mod tests;
