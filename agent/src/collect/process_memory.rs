//! Memory of processes: one ELF core file per process with the chosen regions at their addresses, and one row per region.
//!
//! `select: suspect` takes what injected and unpacked code lies in: executable memory without a file, memory that is
//! writable and executable at once, and mappings of deleted files and memfds. `stack`, `heap` and `all` are the others; a
//! list takes several. A region that is not chosen has its row in `memory_maps` only.
//!
//! The form is that of core(5) because debuggers, disassemblers and YARA read it as it is, addresses included, and one
//! entry per process keeps a bundle small; a row says where in it a region lies. Pages that the process never touched, and
//! those of a file that it has not in its tables, are not read: reading would bring them in. They are segments without
//! content. (`deleted_files` keeps deleted files whole.) Gaps of less than 64 KiB are read all the same.
//!
//! The process runs on while it is read. With `freeze: true` it stands still, where it is alone in its control group, for
//! at most `freeze_ms_max` at a time: that changes the host, and stands in the custody log, the footprint and the rows.
//! Memory of more than 32 MiB is then read in several slices, and the process runs between them.
//!
//! Known limits: no registers; device memory is not read, since that may act; what the kernel swapped out is brought in
//! by being read, and counted; the agent's own memory is left out.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use bundle::item::{Kind as ItemKind, NewItem, Status, shown};
use rustix::fs::{AtFlags, StatxFlags};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::Digest as _;
use wire::{ByteSize, Sha256, Tier};

use super::per_process::{Walk, every_process, path};
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::kept::NO_ROOM;
use crate::host::Host;
use crate::host::elf_core::{Mapped, SEGMENTS_MAX, Segment, headers};
use crate::host::freezer::{Freezer, Frozen};
use crate::host::meta::Type;
use crate::host::proc::maps::Mapping;
use crate::host::proc::memory::{Lost, Memory, Page, PageMap, page_bytes};
use crate::host::proc::{Hands, Process, Reached, deleted};
use crate::host::text::in_base;
use crate::run::session::{Ended, Session, Stopped, WHOLE_BYTES_MAX};

/// Bytes of one process's maps.
const MAPS_BYTES_MAX: usize = 32 << 20;
/// The most of one region and of one process, when nothing is said.
const REGION_BYTES_MAX: u64 = 256 << 20;
const PROCESS_BYTES_MAX: u64 = 1 << 30;
/// Absent pages between two runs that are read all the same, so that a core has few segments.
const GAP_BYTES_MAX: u64 = 64 << 10;
/// Of one region's page map at most what stands for this much is read.
const SCAN_BYTES_MAX: u64 = 1 << 40;
/// What is read of a process that stands still before it runs on.
const SLICE_BYTES: usize = 32 << 20;
/// The longest that a process may be made to stand still at a time, and how long it is when nothing is said.
const FREEZE_MS_MAX: u32 = 5000;
const FREEZE_MS: u32 = 500;
/// Unreadable ranges that a row names.
const NAMED_MAX: usize = 64;

/// Arguments of `collect: process_memory`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessMemory {
    /// Lets each process stand still while it is read, where it is alone in its control group. This changes the host.
    #[serde(default)]
    freeze: bool,
    /// The longest that it stands still at a time, in milliseconds: 500 when nothing is said, 5000 at most.
    #[serde(default, deserialize_with = "freeze_ms")]
    #[schemars(with = "Option<u32>", range(min = 1, max = 5000))]
    freeze_ms_max: Option<u32>,
    /// The processes, by number; all when nothing is said, none for an empty list.
    #[serde(default)]
    pids: Option<Vec<u32>>,
    /// The most bytes of one process: 1 GiB when nothing is said.
    #[serde(default)]
    process_bytes_max: Option<ByteSize>,
    /// The most bytes of one region: 256 MiB when nothing is said.
    #[serde(default)]
    region_bytes_max: Option<ByteSize>,
    /// Which regions: `suspect` when nothing is said.
    #[serde(default)]
    select: Select,
}

fn freeze_ms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let value = Option::<u32>::deserialize(deserializer)?;
    match value {
        Some(ms) if ms == 0 || ms > FREEZE_MS_MAX => {
            Err(serde::de::Error::custom(format!("{ms} is not between 1 and {FREEZE_MS_MAX} milliseconds")))
        }
        value => Ok(value),
    }
}

/// One kind of region, or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Select {
    One(Kind),
    Several(Vec<Kind>),
}

impl Default for Select {
    fn default() -> Self {
        Self::One(Kind::Suspect)
    }
}

impl Select {
    fn has(&self, wanted: Kind) -> bool {
        match self {
            Self::One(kind) => *kind == wanted,
            Self::Several(kinds) => kinds.contains(&wanted),
        }
    }
}

/// Which regions of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// `anonymous_executable`, `rwx`, `deleted` and `memfd`.
    Suspect,
    /// Executable, and of no file.
    AnonymousExecutable,
    /// Readable, writable and executable at once.
    Rwx,
    /// Of a file that has no name any more.
    Deleted,
    /// Of a file that memfd_create(2) made.
    Memfd,
    /// The stack of the first thread.
    Stack,
    /// The heap of brk(2).
    Heap,
    /// Every region that is memory.
    All,
}

/// One region that was chosen.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct Row {
    /// Bytes that are not in memory: never touched, or of a file and not in the process's tables. They are not stored.
    absent_bytes: u64,
    /// First byte of it in the core file.
    #[serde(skip_serializing_if = "Option::is_none")]
    core_offset: Option<u64>,
    /// True when the kernel says that the file has no name any more.
    deleted: bool,
    /// Device of the file, absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<String>,
    /// First address behind it, hex.
    end: String,
    /// True when the process stood still while all of it was read.
    frozen: bool,
    /// Inode of the file, absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    /// As in `memory_maps`: file, anonymous, heap, stack, memfd …
    kind: &'static str,
    /// Why nothing of it, or not all that is in memory, is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_read: Option<String>,
    /// Offset in the file in bytes, hex, absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<String>,
    /// Path or name, without the kernel's ` (deleted)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// `r`, `w`, `x`, and `p` (private) or `s` (shared).
    perms: String,
    /// Process number.
    pid: u32,
    /// Bytes of it in the core file.
    read_bytes: u64,
    /// By which kinds it was chosen.
    selected_as: Vec<Kind>,
    /// Digest of these bytes, one range after the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    /// First address, hex.
    start: String,
    /// The entry of the bundle that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<String>,
    /// Bytes that had been swapped out.
    swapped_bytes: u64,
    /// Ranges that could not be read and stand as zeros, `[first address in hex, bytes]`, the first 64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<(String, u64)>,
}

/// A region on its way.
struct Region {
    row: Row,
    start: u64,
    end: u64,
    segments: Vec<Segment>,
    hasher: sha2::Sha256,
    lost: Lost,
}

impl Collect for ProcessMemory {
    const NAME: &'static str = "process_memory";
    const TIER: Tier = Tier::Memory;
    const SUMMARY: &'static str = "Memory of processes: chosen regions as a core file each, and where they lie.";
    const NEEDS: &'static [&'static str] = &["CAP_SYS_PTRACE"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        if !session.host().is_live() {
            let item = session.item(ItemKind::Memory, "/proc", "procfs mem", Status::Skipped);
            return Ok(session.note(item.because("only on a live host"))?);
        }
        let wanted: Option<BTreeSet<u32>> = self.pids.as_ref().map(|pids| pids.iter().copied().collect());
        let own = std::process::id();
        let mut met = BTreeSet::new();
        every_process(session, |session, walk, pid, process| {
            if wanted.as_ref().is_some_and(|wanted| !wanted.contains(&pid)) {
                return Ok(());
            }
            met.insert(pid);
            if pid == own {
                let item = session.item(ItemKind::Memory, path(pid, "mem"), "procfs mem", Status::Skipped);
                return Ok(session.note(item.because("this agent's own memory is left out"))?);
            }
            Ok(self.process(session, walk, pid, process)?)
        })?;
        for pid in wanted.iter().flatten().filter(|pid| !met.contains(pid)) {
            let item = session.item(ItemKind::Memory, path(*pid, "mem"), "procfs mem", Status::Vanished);
            session.note(item.because("there is no such process"))?;
        }
        Ok(())
    }

    fn rows() -> Vec<RowType> {
        vec![RowType::of::<Row>("process_memory", "proc_pid_maps(5), proc_pid_mem(5), proc_pid_pagemap(5), core(5)")]
    }

    fn plan(&self, _host: &Host) -> Plan {
        Plan { reads: vec!["/proc/*/mem".into()], ..Plan::default() }
    }
}

impl ProcessMemory {
    fn process(&self, session: &mut Session, walk: &mut Walk, pid: u32, process: &Process) -> Result<(), Stopped> {
        if process.reached == Reached::MountOnly {
            return Ok(());
        }
        walk.bare = true;
        let dir = process.dir.as_fd();
        let Some(found) = self.regions(session, walk, (pid, dir))?.filter(|found| !found.regions.is_empty()) else {
            return Ok(());
        };
        let freezer = self.freeze.then(|| {
            let cap = Duration::from_millis(self.freeze_ms_max.unwrap_or(FREEZE_MS).into());
            Freezer::of(session.host(), dir, pid, cap)
        });
        let mut still = Still::of(freezer);
        still.begin();
        // What was mapped a moment ago may be elsewhere by now.
        let found = if still.holds() { self.regions(session, walk, (pid, dir))?.unwrap_or_default() } else { found };
        let read = self.core(session, walk, (pid, dir), found, &mut still);
        still.end();
        if let Some(what) = still.told(pid) {
            session.changed_host(what)?;
        }
        read
    }

    /// The regions of a process that were chosen, and the files that it has mapped.
    fn regions(
        &self,
        session: &mut Session,
        walk: &mut Walk,
        (pid, dir): (u32, BorrowedFd<'_>),
    ) -> Result<Option<Regions>, Stopped> {
        let Some(piece) = walk.read(session, (pid, dir), c"maps", Hands::InPieces, MAPS_BYTES_MAX)? else {
            return Ok(None);
        };
        let mut found = Regions::default();
        for mapping in walk.pages.get(piece).split(|byte| *byte == b'\n').filter_map(Mapping::parse) {
            let hex = |text: &str| in_base(text.as_bytes(), 16).unwrap_or(0);
            let (start, end) = (hex(mapping.start), hex(mapping.end));
            if start >= end {
                continue;
            }
            if mapping.inode != 0 && mapping.path.starts_with(b"/") {
                let offset = hex(mapping.offset);
                found.files.push(Mapped { start, end, offset, path: mapping.path.to_vec() });
            }
            let selected_as = self.selects(&mapping);
            if selected_as.is_empty() {
                continue;
            }
            let (name, deleted) = deleted(mapping.path);
            let (path, path_b64) = shown(name);
            let is_of_file = mapping.inode != 0;
            let row = Row {
                deleted,
                dev: is_of_file.then(|| format!("{}:{}", mapping.dev.major, mapping.dev.minor)),
                end: mapping.end.to_owned(),
                inode: is_of_file.then_some(mapping.inode),
                kind: mapping.kind(),
                not_read: not_memory(dir, &mapping, (start, end)).map(str::to_owned),
                offset: is_of_file.then(|| mapping.offset.to_owned()),
                path: (!name.is_empty()).then_some(path),
                path_b64,
                perms: mapping.perms.to_owned(),
                pid,
                selected_as,
                start: mapping.start.to_owned(),
                ..Row::default()
            };
            let (segments, hasher, lost) = (Vec::new(), sha2::Sha256::new(), Lost::default());
            found.regions.push(Region { row, start, end, segments, hasher, lost });
        }
        Ok(Some(found))
    }

    fn selects(&self, mapping: &Mapping<'_>) -> Vec<Kind> {
        let kind = mapping.kind();
        let executable = mapping.perms.as_bytes().get(2) == Some(&b'x');
        let is_of_no_file = matches!(kind, "anonymous" | "heap" | "stack" | "shared_anonymous" | "sysv_shm");
        let is_suspect = [
            (Kind::AnonymousExecutable, executable && is_of_no_file),
            (Kind::Rwx, mapping.perms.starts_with("rwx")),
            (Kind::Deleted, kind == "file" && mapping.inode != 0 && deleted(mapping.path).1),
            (Kind::Memfd, kind == "memfd"),
        ];
        let others = [(Kind::Stack, kind == "stack"), (Kind::Heap, kind == "heap"), (Kind::All, true)];
        let suspects = is_suspect.iter().filter(|(name, _)| self.select.has(*name) || self.select.has(Kind::Suspect));
        let others = others.iter().filter(|(name, _)| self.select.has(*name));
        suspects.chain(others).filter(|(_, is_it)| *is_it).map(|(name, _)| *name).collect()
    }

    /// Decides which pages are read: what is suspect first, until a bound is reached.
    fn choose(&self, session: &mut Session, pages: Option<&PageMap>, regions: &mut [Region]) -> Result<(), Stopped> {
        let of_region = self.region_bytes_max.map_or(REGION_BYTES_MAX, |size| size.0);
        let of_process = self.process_bytes_max.map_or(PROCESS_BYTES_MAX, |size| size.0);
        let mut left = of_process.min(session.content_bytes_left());
        let room_is_last = left < of_process;
        let mut segments_left = SEGMENTS_MAX;
        let mut order: Vec<usize> = (0..regions.len()).collect();
        order.sort_by_key(|n| regions.get(*n).map(|region| (region.row.selected_as.first().copied(), region.start)));
        for n in order {
            session.go_on()?;
            let Some(region) = regions.get_mut(n).filter(|region| region.row.not_read.is_none()) else { continue };
            let bytes_max = of_region.min(left);
            let cut = region.choose(pages, bytes_max, &mut segments_left);
            left -= region.row.read_bytes;
            let Some(cut) = cut else { continue };
            let rule = match cut {
                Cut::Bytes if bytes_max == of_region => {
                    format!("longer than region_bytes_max of {}", ByteSize(of_region))
                }
                Cut::Bytes if room_is_last => NO_ROOM.to_owned(),
                Cut::Bytes => format!("the process has more than process_bytes_max of {}", ByteSize(of_process)),
                Cut::Segments => format!("the process has more than {SEGMENTS_MAX} separate ranges"),
                Cut::Scan => format!("longer than {}: its end was not looked at", ByteSize(SCAN_BYTES_MAX)),
            };
            region.row.not_read = Some(rule.clone());
            session.limited(rule)?;
        }
        Ok(())
    }

    /// Reads the regions into one core file, and hands over their rows.
    fn core(
        &self,
        session: &mut Session,
        walk: &mut Walk,
        (pid, dir): (u32, BorrowedFd<'_>),
        found: Regions,
        still: &mut Still,
    ) -> Result<(), Stopped> {
        let Regions { mut regions, files } = found;
        let mut item = session.item(ItemKind::Memory, path(pid, "mem"), "procfs mem", Status::Ok);
        let memory = match Memory::open(dir, pid) {
            Ok(memory) => memory,
            Err(error) => {
                still.end();
                for mut region in regions {
                    region.row.not_read = Some(error.to_string());
                    session.row(&region.row)?;
                }
                return session.note(item.failed(&error));
            }
        };
        item.method = memory.method();
        let pages = PageMap::open(dir);
        if let Err(error) = &pages {
            session.unreadable(path(pid, "pagemap"), error)?;
        }
        self.choose(session, pages.as_ref().ok(), &mut regions)?;
        let mut segments: Vec<Segment> = regions.iter().flat_map(|region| region.segments.iter().copied()).collect();
        segments.sort_by_key(|segment| segment.address);
        if !segments.iter().any(|segment| segment.stored) {
            still.end();
            for region in &mut regions {
                region.row.not_read.get_or_insert_with(|| "no page of it is in memory".to_owned());
                session.row(&region.row)?;
            }
            return Ok(());
        }
        let auxv = walk.pages.read(dir, c"auxv", Hands::InPieces, 64 << 10);
        let auxv = auxv.map(|piece| walk.pages.get(piece)).unwrap_or_default();
        let head = headers(&segments, &files, auxv, page_bytes());
        let stored = session.take_name(&format!("data/{}/{}/{pid}.core", Self::TIER, Self::NAME));
        if let Some(why) = &still.refused {
            item = item.because(format!("not frozen: {why}"));
        }
        let item = Some(item.stored_as(stored.as_str()));
        let (at, held) = (head.len() as u64, vec![head]);
        let mut core = Core { still, memory: &memory, item, at, held, lost: Lost::default(), error: None };
        for region in &mut regions {
            region.row.stored = Some(stored.clone());
            core.region(session, region)?;
        }
        core.still.end();
        core.flush(session)?;
        let expired = core.still.expired;
        let mut ended = Ended::with(Status::Ok);
        if regions.iter().any(|region| region.row.not_read.is_some() && region.row.read_bytes > 0) {
            ended.status = Status::Truncated;
            ended.reason = regions.iter().find_map(|region| region.row.not_read.clone());
        }
        if !core.lost.0.is_empty() || core.error.is_some() {
            ended.status = Status::Error;
        }
        ended.error = core.error.take();
        ended.error_ranges = std::mem::take(&mut core.lost.0);
        session.end(ended)?;
        for region in &mut regions {
            region.row.frozen &= !expired;
            region.conclude();
            session.row(&region.row)?;
        }
        Ok(())
    }
}

/// The chosen regions of a process by address, and the files that it has mapped.
#[derive(Default)]
struct Regions {
    regions: Vec<Region>,
    files: Vec<Mapped>,
}

/// Why a part of a region that is in memory is left out.
enum Cut {
    Bytes,
    Segments,
    Scan,
}

impl Region {
    /// Chooses the pages of this region; says why some of those in memory are left out.
    fn choose(&mut self, pages: Option<&PageMap>, bytes_max: u64, segments_left: &mut usize) -> Option<Cut> {
        let flags = self.row.perms.bytes().zip([(b'r', 4), (b'w', 2), (b'x', 1)]);
        let flags = flags.filter(|(is, (wanted, _))| is == wanted).map(|(_, (_, bit))| bit).sum();
        let end = self.end.min(self.start.saturating_add(SCAN_BYTES_MAX));
        let mut runs: Vec<(u64, u64)> = Vec::new();
        let (mut absent, mut swapped, mut is_full) = (self.end - end, 0, false);
        let scanned = pages.map(|pages| {
            pages.runs(self.start, end, |page, address, bytes| {
                match page {
                    Page::Absent => absent += bytes,
                    Page::Present | Page::Swapped => {
                        swapped += if page == Page::Swapped { bytes } else { 0 };
                        let has_room = (runs.len() + 1) * 2 + 1 < *segments_left;
                        match runs.last_mut() {
                            Some((from, length)) if address - (*from + *length) < GAP_BYTES_MAX => {
                                *length = address + bytes - *from;
                            }
                            // Two more: itself and the gap before it.
                            _ if has_room => runs.push((address, bytes)),
                            _ => is_full = true,
                        }
                    }
                }
                !is_full
            })
        });
        if !matches!(scanned, Some(Ok(()))) {
            // Without a page map all of it counts as there.
            (runs, absent, swapped) = (vec![(self.start, self.end - self.start)], 0, 0);
        }
        let wanted: u64 = runs.iter().map(|run| run.1).sum();
        let (mut at, mut left) = (self.start, bytes_max / page_bytes() * page_bytes());
        for (address, bytes) in runs {
            let kept = bytes.min(left);
            left -= kept;
            if kept == 0 {
                break;
            }
            self.gap(at, address, flags);
            self.segments.push(Segment { address, bytes: kept, stored: true, flags });
            at = address + kept;
        }
        self.gap(at, self.end, flags);
        self.row.read_bytes = self.segments.iter().filter(|segment| segment.stored).map(|segment| segment.bytes).sum();
        self.row.absent_bytes = absent;
        self.row.swapped_bytes = swapped;
        *segments_left = segments_left.saturating_sub(self.segments.len());
        if wanted > self.row.read_bytes {
            Some(Cut::Bytes)
        } else if is_full {
            Some(Cut::Segments)
        } else {
            (end < self.end).then_some(Cut::Scan)
        }
    }

    fn gap(&mut self, from: u64, to: u64, flags: u32) {
        if from < to {
            self.segments.push(Segment { address: from, bytes: to - from, stored: false, flags });
        }
    }

    fn conclude(&mut self) {
        if self.row.read_bytes > 0 {
            self.row.sha256 = Some(Sha256::so_far(&self.hasher));
        } else {
            self.row.stored = None;
            self.row.not_read.get_or_insert_with(|| "no page of it is in memory".to_owned());
        }
        let lost = self.lost.0.iter().take(NAMED_MAX);
        self.row.unreadable = lost.map(|(address, bytes)| (format!("{address:x}"), *bytes)).collect();
    }
}

/// Why a region cannot be read as memory, if it cannot. Reading device memory may act on the device.
fn not_memory(dir: BorrowedFd<'_>, mapping: &Mapping<'_>, (start, end): (u64, u64)) -> Option<&'static str> {
    match mapping.kind() {
        "vvar" | "vsyscall" => return Some("of the kernel's own, not readable as memory"),
        "anon_inode" | "socket" | "special" => return Some("it may be memory of a device"),
        _ if mapping.inode == 0 => return None,
        _ => {}
    }
    let is_memory = |path: &[u8]| path.starts_with(b"/dev/shm/") || path.starts_with(b"/dev/zero");
    let of_devices = [&b"/dev/"[..], b"/sys/", b"/proc/"];
    if of_devices.iter().any(|folder| mapping.path.starts_with(folder)) && !is_memory(mapping.path) {
        return Some("it may be memory of a device");
    }
    // A device under another name, where the kernel lets us look.
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    let stat = rustix::fs::statx(dir, format!("map_files/{start:x}-{end:x}"), flags, StatxFlags::TYPE);
    let is_file = stat.map_or(true, |stat| Type::of(stat.stx_mode) == Type::File);
    (!is_file && mapping.kind() == "file").then_some("it may be memory of a device")
}

/// The process made to stand still, slice by slice, if that was asked for.
#[derive(Default)]
struct Still {
    freezer: Option<Freezer>,
    /// Why it runs on.
    refused: Option<String>,
    frozen: Option<Frozen>,
    /// Bytes that may still be read in this slice.
    room: usize,
    slices: u32,
    took: Duration,
    expired: bool,
}

impl Still {
    fn of(freezer: Option<Result<Freezer, String>>) -> Self {
        match freezer {
            None => Self::default(),
            Some(Ok(freezer)) => Self { freezer: Some(freezer), ..Self::default() },
            Some(Err(why)) => Self { refused: Some(why), ..Self::default() },
        }
    }

    fn begin(&mut self) {
        self.room = SLICE_BYTES;
        if let Some(freezer) = self.freezer.as_ref().filter(|_| self.frozen.is_none()) {
            match freezer.freeze() {
                Ok(frozen) => {
                    self.frozen = Some(frozen);
                    self.slices += 1;
                }
                Err(why) => self.refused = Some(why),
            }
        }
    }

    fn holds(&self) -> bool {
        self.frozen.is_some()
    }

    fn end(&mut self) {
        if let Some(frozen) = self.frozen.take() {
            let thawed = frozen.thaw();
            self.took += thawed.took;
            self.expired |= thawed.expired;
        }
    }

    /// What was done to the process, for the custody log.
    fn told(&self, pid: u32) -> Option<String> {
        let freezer = self.freezer.as_ref().filter(|_| self.slices > 0)?;
        let end = if self.expired { "; the cap ended it" } else { "" };
        let (ms, slices, group) = (self.took.as_millis(), self.slices, &freezer.group);
        Some(format!("process {pid} was frozen in its control group {group} for {ms} ms in {slices} slices{end}"))
    }
}

/// A core file on its way: what is read of a process that stands still is held back until it runs on, so that nothing
/// waits for the bundle while it stands.
struct Core<'a> {
    still: &'a mut Still,
    memory: &'a Memory,
    /// Not yet begun.
    item: Option<NewItem>,
    /// Bytes of the file so far.
    at: u64,
    held: Vec<Vec<u8>>,
    lost: Lost,
    error: Option<(i32, String)>,
}

impl Core<'_> {
    fn region(&mut self, session: &mut Session, region: &mut Region) -> Result<(), Stopped> {
        let slice = self.still.slices;
        let stood = self.still.holds();
        region.row.core_offset = (region.row.read_bytes > 0).then_some(self.at);
        let segments = std::mem::take(&mut region.segments);
        for segment in segments.iter().filter(|segment| segment.stored) {
            let mut done = 0;
            while done < segment.bytes {
                let length = usize::try_from((segment.bytes - done).min(WHOLE_BYTES_MAX)).unwrap_or(0);
                if !self.still.holds() || self.still.room < length {
                    self.still.end();
                    self.flush(session)?;
                    self.still.begin();
                }
                self.still.room = self.still.room.saturating_sub(length);
                self.piece(region, segment.address + done, length);
                done += length as u64;
            }
        }
        region.row.frozen = stood && self.still.holds() && self.still.slices == slice;
        Ok(())
    }

    fn piece(&mut self, region: &mut Region, address: u64, length: usize) {
        let mut piece = vec![0; length];
        let Self { at, lost, error, .. } = self;
        let mut lose = |offset: u64, bytes: u64| {
            region.lost.add(address + offset, bytes);
            lost.add(*at + offset, bytes);
        };
        if error.is_some() {
            lose(0, length as u64);
        } else if let Err(failed) = self.memory.fill(address, &mut piece, &mut lose) {
            *error = Some((failed.raw_os_error().unwrap_or(0), failed.to_string()));
            // How far it got nobody knows: none of it counts.
            piece.fill(0);
            lose(0, length as u64);
        }
        region.hasher.update(&piece);
        self.at += length as u64;
        self.held.push(piece);
    }

    fn flush(&mut self, session: &mut Session) -> Result<(), Stopped> {
        if let Some(item) = self.item.take() {
            session.begin(item)?;
        }
        for piece in self.held.drain(..) {
            session.spend(piece.len() as u64)?;
            session.chunk(piece)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
