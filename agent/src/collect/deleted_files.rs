//! Files that have no name any more and live on because a process holds them: running images, open descriptors, mappings
//! and memfds. One row per file, with its content in the bundle: exact, whole, each inode and each content once.
//!
//! They are read through what holds them (`/proc/PID/exe`, `/proc/PID/fd/N`, `/proc/PID/map_files/…`), which leads to the
//! file itself, also in another mount namespace. Where the kernel refuses `map_files` (it wants CAP_SYS_ADMIN, or
//! CAP_CHECKPOINT_RESTORE since 5.9), what the process has mapped of the file is read from its memory instead, and the
//! ranges are named: that is not the whole file, and pages that the process wrote to are its own.
//!
//! Of a sparse file of more than 1 GiB only the data extents are stored, and named in the item; it has no digest then.
//! A file that is written to while it is read is `changed`, `grew` or `shrank` in `status`. Left out: what the kernel
//! maps on its own behalf (System V and shared anonymous memory: memory of processes), and files on network and FUSE
//! mounts, whose server may not answer.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use bundle::item::{Kind, Nanos, NewItem, Status, shown};
use rustix::fs::{AtFlags, Mode, OFlags, Statx, StatxFlags};
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::{Sha256, Tier};

use super::mount_rules::MountRules;
use super::per_process::{Walk, every_process};
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::kept::{NO_ROOM, Outcome, inode_name, keep};
use crate::host::Host;
use crate::host::meta::{Type, inode_of, meta_of};
use crate::host::proc::maps::Mapping;
use crate::host::proc::memory::{Lost, Memory};
use crate::host::proc::{self, Hands, Process, Processes, Reached, deleted};
use crate::host::text::in_base;
use crate::run::session::{Ended, Session, Stopped, WHOLE_BYTES_MAX};

/// Bytes of one process's maps.
const MAPS_BYTES_MAX: usize = 32 << 20;
/// Descriptors of one process that are looked at.
const DESCRIPTORS_MAX: usize = 256 << 10;
/// Files that are told apart.
const FILES_MAX: usize = 65_536;
/// Other paths, and holders, that a row names.
const NAMED_MAX: usize = 64;

/// Takes no arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeletedFiles {}

/// One file without a name. What is not said otherwise is from statx(2) of what holds it.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct Row {
    /// Birth, nanoseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    btime_ns: Option<Nanos>,
    /// Last change of the inode, nanoseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    ctime_ns: Option<Nanos>,
    /// Device, `major:minor`; of the mapping where the file itself could not be reached.
    dev: String,
    /// The open descriptors that hold it, the first 64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fds: Vec<Descriptor>,
    /// Owning group.
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    /// How it is held: `exe`, `fd`, `map`.
    held_by: Vec<&'static str>,
    /// Inode number.
    inode: u64,
    /// The mappings that hold it, the first 64, `/proc/PID/maps`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    maps: Vec<Held>,
    /// True when it was made by memfd_create(2).
    memfd: bool,
    /// `st_mode` as seven octal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    /// Last change of the content, nanoseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime_ns: Option<Nanos>,
    /// Number of hard links: more than 0 when only this name of several was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    nlink: Option<u64>,
    /// Why not all of it is in the bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_read: Option<String>,
    /// Other texts of links to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_paths: Vec<String>,
    /// The text of a link to it, without the kernel's ` (deleted)`.
    path: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// The processes that hold it, ascending.
    pids: Vec<u32>,
    /// Ranges of the file that are stored one after the other, `[offset, bytes]`, where they were read from memory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ranges: Vec<(u64, u64)>,
    /// Digest of the whole file.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    /// Size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Data extents that are stored one after the other, where the holes of a long sparse file were left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    sparse_extents: Option<usize>,
    /// What was seen while it was read: ok, grew, shrank, changed, truncated, skipped, redacted, error.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    /// The entry of the bundle that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<String>,
    /// Owning user.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
}

/// An open descriptor.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Descriptor {
    /// Its number.
    fd: u32,
    /// The process that has it.
    pid: u32,
}

/// A mapping of a file.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Held {
    /// First address behind it, hex.
    end: String,
    /// Offset in the file in bytes, hex.
    offset: String,
    /// `r`, `w`, `x`, and `p` (private) or `s` (shared).
    perms: String,
    /// The process that has it.
    pid: u32,
    /// First address, hex.
    start: String,
}

/// A file and who holds it.
#[derive(Default)]
struct File {
    paths: Vec<Vec<u8>>,
    pids: Vec<u32>,
    images: Vec<u32>,
    fds: Vec<Descriptor>,
    maps: Vec<Held>,
    /// Absent when it was only seen in a process's maps.
    stat: Option<Statx>,
}

impl File {
    fn path(&self) -> &[u8] {
        self.paths.first().map_or(b"", Vec::as_slice)
    }

    fn is_memfd(&self) -> bool {
        self.path().starts_with(b"/memfd:")
    }

    /// Payloads before data, and both in the order of their processes.
    fn order(&self) -> (bool, bool, Option<u32>, u32) {
        let first_fd = self.fds.first().map_or(u32::MAX, |fd| fd.fd);
        (self.images.is_empty(), self.maps.is_empty() && !self.is_memfd(), self.pids.first().copied(), first_fd)
    }

    fn hold(&mut self, path: &[u8], pid: u32) {
        if self.pids.last() != Some(&pid) {
            self.pids.push(pid);
        }
        if self.paths.len() <= NAMED_MAX && !self.paths.iter().any(|known| known == path) {
            self.paths.push(path.to_vec());
        }
    }

    fn row(&self, (dev, inode): (u64, u64)) -> Row {
        let meta = self.stat.as_ref().map(|stat| meta_of(stat, None));
        let (path, path_b64) = shown(deleted(self.path()).0);
        let held = [("exe", self.images.is_empty()), ("fd", self.fds.is_empty()), ("map", self.maps.is_empty())];
        let row = Row {
            dev: format!("{}:{}", rustix::fs::major(dev), rustix::fs::minor(dev)),
            fds: self.fds.iter().take(NAMED_MAX).cloned().collect(),
            held_by: held.iter().filter(|(_, is_empty)| !is_empty).map(|(how, _)| *how).collect(),
            inode,
            maps: self.maps.iter().take(NAMED_MAX).cloned().collect(),
            memfd: self.is_memfd(),
            other_paths: self.paths.iter().skip(1).map(|path| shown(deleted(path).0).0).collect(),
            path,
            path_b64,
            pids: self.pids.clone(),
            ..Row::default()
        };
        match meta {
            None => row,
            Some(meta) => Row {
                btime_ns: meta.btime_ns,
                ctime_ns: meta.ctime_ns,
                gid: Some(meta.gid),
                mode: Some(meta.mode),
                mtime_ns: meta.mtime_ns,
                nlink: Some(meta.nlink),
                size: Some(meta.size),
                uid: Some(meta.uid),
                ..row
            },
        }
    }
}

/// What has no name on this host.
#[derive(Default)]
struct Found {
    files: HashMap<(u64, u64), File>,
    /// Path and rule of what is not entered.
    remote: BTreeMap<(Vec<u8>, String), Vec<u32>>,
    rules: MountRules,
    /// Device of the file system that the kernel keeps for itself: of memfds, and of what is no file.
    internal: Option<u64>,
    numbers: Vec<u32>,
    is_full: bool,
}

impl Collect for DeletedFiles {
    const NAME: &'static str = "deleted_files";
    const TIER: Tier = Tier::Memory;
    const SUMMARY: &'static str = "Deleted and memfd files that processes hold (image, descriptor, mapping), whole.";
    const NEEDS: &'static [&'static str] = &["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let mut found = Found { internal: internal_device(), ..Found::default() };
        every_process(session, |session, walk, pid, process| {
            if process.reached == Reached::MountOnly {
                return Ok(());
            }
            // Threads of the kernel and zombies hold nothing.
            walk.bare = true;
            found.image(session, walk, (pid, process))?;
            found.descriptors(session, walk, (pid, process))?;
            Ok(found.mappings(session, walk, (pid, process))?)
        })?;
        if found.is_full {
            session.limited(format!("only the first {FILES_MAX} files without a name are taken"))?;
        }
        let host = std::sync::Arc::clone(session.host());
        let mut processes = Processes::of(&host).map_err(Failure::reading("/proc"))?;
        let mut files: Vec<((u64, u64), File)> = found.files.into_iter().collect();
        files.sort_by(|(a_inode, a), (b_inode, b)| a.order().cmp(&b.order()).then(a_inode.cmp(b_inode)));
        for (inode, file) in &files {
            session.go_on()?;
            take(session, &mut processes, &found.rules, *inode, file)?;
        }
        for ((path, rule), pids) in found.remote {
            let item = session.item(Kind::Deleted, path.as_slice(), "procfs", Status::Skipped);
            session.note(item.because(rule.as_str()))?;
            let (path, path_b64) = shown(deleted(&path).0);
            session.row(&Row { not_read: Some(rule), path, path_b64, pids, ..Row::default() })?;
        }
        Ok(())
    }

    fn rows() -> Vec<RowType> {
        vec![RowType::of::<Row>(
            "deleted_files",
            "proc_pid_exe(5), proc_pid_fd(5), proc_pid_map_files(5), memfd_create(2)",
        )]
    }

    fn plan(&self, _host: &Host) -> Plan {
        let reads = ["/proc/*/exe", "/proc/*/fd/*", "/proc/*/map_files/*"].map(|path| format!("{path} (deleted)"));
        Plan { reads: reads.into(), ..Plan::default() }
    }
}

impl Found {
    /// The file of that inode, as this process names it; `None` when it is not to be entered or there are too many.
    fn file(
        &mut self,
        session: &mut Session,
        walk: &mut Walk,
        (pid, dir): (u32, BorrowedFd<'_>),
        path: &[u8],
        look: impl FnOnce() -> io::Result<(Option<Statx>, (u64, u64))>,
    ) -> Result<io::Result<Option<&mut File>>, Stopped> {
        if let Some(rule) = self.rules.of_path(session, walk, (pid, dir), path)? {
            let pids = self.remote.entry((path.to_vec(), rule)).or_default();
            if pids.last() != Some(&pid) {
                pids.push(pid);
            }
            return Ok(Ok(None));
        }
        session.at(path);
        let (stat, inode) = match look() {
            Ok(looked) => looked,
            Err(error) => return Ok(Err(error)),
        };
        if stat.as_ref().is_some_and(|stat| Type::of(stat.stx_mode) != Type::File) {
            return Ok(Ok(None));
        }
        if self.files.len() >= FILES_MAX && !self.files.contains_key(&inode) {
            self.is_full = true;
            return Ok(Ok(None));
        }
        let file = self.files.entry(inode).or_default();
        if file.stat.is_none() {
            file.stat = stat;
        }
        file.hold(path, pid);
        Ok(Ok(Some(file)))
    }

    fn image(
        &mut self,
        session: &mut Session,
        walk: &mut Walk,
        (pid, process): (u32, &Process),
    ) -> Result<(), Failure> {
        let at = (pid, process.dir.as_fd());
        let Some(link) = walk.link(session, at, c"exe")? else { return Ok(()) };
        let path = walk.pages.get(link).to_vec();
        if !deleted(&path).1 {
            return Ok(());
        }
        let look = || looked(proc::statx_behind(at.1, c"exe"));
        match self.file(session, walk, at, &path, look)? {
            Ok(Some(file)) => file.images.push(pid),
            Ok(None) => {}
            Err(error) => walk.failed(session, at, c"exe", &error)?,
        }
        Ok(())
    }

    fn descriptors(
        &mut self,
        session: &mut Session,
        walk: &mut Walk,
        (pid, process): (u32, &Process),
    ) -> Result<(), Failure> {
        let at = (pid, process.dir.as_fd());
        let mut numbers = std::mem::take(&mut self.numbers);
        let listed = proc::open_dir(at.1, c"fd").and_then(|fd| proc::numbers(fd.as_fd(), &mut numbers).map(|_| fd));
        let fd = match listed {
            Ok(fd) => fd,
            Err(error) => return Ok(walk.failed(session, at, c"fd", &error)?),
        };
        if numbers.len() > DESCRIPTORS_MAX {
            numbers.truncate(DESCRIPTORS_MAX);
            let rule = format!("only the first {DESCRIPTORS_MAX} descriptors of a process are looked at");
            walk.left_out(session, pid, "fd", rule)?;
        }
        for number in &numbers {
            walk.pages.clear();
            // A refusal of all of them is an item of `open_files`, and one that was closed is none.
            let Ok(link) = walk.pages.link_number(fd.as_fd(), *number) else { continue };
            let text = walk.pages.get(link);
            if !text.starts_with(b"/") || !deleted(text).1 {
                continue;
            }
            let path = text.to_vec();
            let look = || looked(statx_of(fd.as_fd(), &number.to_string()));
            match self.file(session, walk, at, &path, look)? {
                Ok(Some(file)) => file.fds.push(Descriptor { fd: *number, pid }),
                Ok(None) => {}
                Err(error) => session.unreadable(format!("/proc/{pid}/fd/{number}"), &error)?,
            }
        }
        self.numbers = numbers;
        Ok(())
    }

    fn mappings(
        &mut self,
        session: &mut Session,
        walk: &mut Walk,
        (pid, process): (u32, &Process),
    ) -> Result<(), Stopped> {
        let at = (pid, process.dir.as_fd());
        walk.pages.clear();
        let Some(piece) = walk.read(session, at, c"maps", Hands::InPieces, MAPS_BYTES_MAX)? else { return Ok(()) };
        // The lines are kept apart: looking for the mount reads into the same pages.
        let lines: Vec<Vec<u8>> = walk
            .pages
            .get(piece)
            .split(|byte| *byte == b'\n')
            .filter(|line| line.ends_with(b" (deleted)"))
            .map(<[u8]>::to_vec)
            .collect();
        for mapping in lines.iter().filter_map(|line| Mapping::parse(line)) {
            let dev = rustix::fs::makedev(mapping.dev.major, mapping.dev.minor);
            if mapping.inode == 0 || (self.internal == Some(dev) && mapping.kind() != "memfd") {
                continue;
            }
            let held = Held {
                end: mapping.end.to_owned(),
                offset: mapping.offset.to_owned(),
                perms: mapping.perms.to_owned(),
                pid,
                start: mapping.start.to_owned(),
            };
            let name = held.link();
            // Refused: the mapping itself says device and inode, as far as it goes.
            let look = || match statx_of(at.1, &name) {
                Ok(stat) => Ok((Some(stat), inode_of(&stat))),
                Err(_) => Ok((None, (dev, mapping.inode))),
            };
            if let Ok(Some(file)) = self.file(session, walk, at, mapping.path, look)? {
                file.maps.push(held);
            }
        }
        Ok(())
    }
}

impl Held {
    /// Its link under `/proc/PID`: addresses without leading zeros.
    fn link(&self) -> String {
        let hex = |text: &str| in_base(text.as_bytes(), 16).unwrap_or(0);
        format!("map_files/{:x}-{:x}", hex(&self.start), hex(&self.end))
    }
}

fn looked(stat: io::Result<Statx>) -> io::Result<(Option<Statx>, (u64, u64))> {
    stat.map(|stat| (Some(stat), inode_of(&stat)))
}

/// See [`proc::statx_behind`].
fn statx_of(dir: BorrowedFd<'_>, link: &str) -> io::Result<Statx> {
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    Ok(rustix::fs::statx(dir, link, flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME)?)
}

/// The device of the kernel's own tmpfs, which no mount shows: an empty memfd lies on it.
fn internal_device() -> Option<u64> {
    let memfd = rustix::fs::memfd_create("holdfast", rustix::fs::MemfdFlags::CLOEXEC).ok()?;
    rustix::fs::fstat(&memfd).ok().map(|stat| stat.st_dev)
}

/// One file into the bundle, and its row.
fn take(
    session: &mut Session,
    processes: &mut Processes,
    rules: &MountRules,
    inode: (u64, u64),
    file: &File,
) -> Result<(), Failure> {
    let mut row = file.row(inode);
    let item = session.item(Kind::Deleted, file.path(), "procfs", Status::Ok);
    let Some(stat) = &file.stat else {
        from_memory(session, processes, file, &mut row, item)?;
        return Ok(session.row(&row)?);
    };
    let item = item.with_meta(meta_of(stat, None));
    if let Some(rule) = rules.of_device(stat) {
        row.not_read = Some(rule.to_owned());
        let mut item = item.because(rule);
        item.status = Status::Skipped;
        session.note(item)?;
        return Ok(session.row(&row)?);
    }
    let outcome = match session.kept(inode) {
        Some(kept) => Outcome::of(kept),
        None => match open(processes, file, inode) {
            Ok((opened, stat)) => {
                let name = format!("data/{}/{}/{}.bin", DeletedFiles::TIER, DeletedFiles::NAME, inode_name(&stat));
                let item = item.with_meta(meta_of(&stat, None));
                keep(session, &opened, &stat, u64::MAX, (item, &name))?
            }
            Err(error) => {
                row.not_read = Some(error.to_string());
                session.note(item.failed(&error))?;
                return Ok(session.row(&row)?);
            }
        },
    };
    row.not_read = outcome.not_read;
    row.sha256 = outcome.sha256;
    row.sparse_extents = outcome.extents;
    row.status = Some(outcome.status);
    row.stored = outcome.stored;
    Ok(session.row(&row)?)
}

/// Opens a file through the first of its holders that still has it.
fn open(processes: &mut Processes, file: &File, inode: (u64, u64)) -> io::Result<(OwnedFd, Statx)> {
    let images = file.images.iter().map(|pid| (*pid, "exe".to_owned()));
    let fds = file.fds.iter().map(|fd| (fd.pid, format!("fd/{}", fd.fd)));
    let maps = file.maps.iter().map(|map| (map.pid, map.link()));
    let mut last = io::Error::from(Errno::SRCH);
    for (pid, link) in images.chain(fds).chain(maps) {
        match processes.open(pid).and_then(|process| open_link(&process, &link, inode)) {
            Ok(opened) => return Ok(opened),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn open_link(process: &Process, link: &str, inode: (u64, u64)) -> io::Result<(OwnedFd, Statx)> {
    // Another file may lie on another mount, which nobody has looked at.
    let is_same = |stat: &Statx| inode_of(stat) == inode && Type::of(stat.stx_mode) == Type::File;
    if !is_same(&statx_of(process.dir.as_fd(), link)?) {
        return Err(Errno::SRCH.into());
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = |flags| rustix::fs::openat(&process.dir, link, flags, Mode::empty());
    let opened = match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags)?,
        outcome => outcome?,
    };
    let stat = crate::host::views::stat(opened.as_fd(), c"")?;
    if is_same(&stat) { Ok((opened, stat)) } else { Err(Errno::SRCH.into()) }
}

/// What a process has mapped of a file that itself is out of reach.
fn from_memory(
    session: &mut Session,
    processes: &mut Processes,
    file: &File,
    row: &mut Row,
    mut item: NewItem,
) -> Result<(), Stopped> {
    let Some(pid) = file.maps.first().map(|map| map.pid) else { return Ok(()) };
    let hex = |text: &str| in_base(text.as_bytes(), 16).unwrap_or(0);
    let mut ranges: Vec<(u64, u64, u64)> = file
        .maps
        .iter()
        .filter(|map| map.pid == pid)
        .map(|map| (hex(&map.offset), hex(&map.end).saturating_sub(hex(&map.start)), hex(&map.start)))
        .collect();
    ranges.sort_unstable();
    ranges.dedup_by_key(|range| (range.0, range.1));
    let total: u64 = ranges.iter().map(|range| range.1).sum();
    let rule = "map_files is refused: what a process has mapped of it, from its memory";
    row.not_read = Some(rule.to_owned());
    item = item.because(rule);
    let memory = match processes.open(pid).and_then(|process| Memory::open(process.dir.as_fd(), pid)) {
        Ok(memory) => memory,
        Err(error) => return session.note(item.failed(&error)),
    };
    if total > session.content_bytes_left() {
        item.status = Status::Skipped;
        session.note(item.because(NO_ROOM))?;
        return session.limited(NO_ROOM);
    }
    let name = format!("data/{}/{}/mapped-{pid}-{}.bin", DeletedFiles::TIER, DeletedFiles::NAME, row.inode);
    let stored = session.take_name(&name);
    item.method = memory.method();
    session.begin(item.stored_as(stored.as_str()))?;
    let (mut lost, mut done) = (Lost::default(), 0);
    let mut error = None;
    'ranges: for (_, bytes, start) in &ranges {
        let mut at = 0;
        while at < *bytes {
            let mut piece = vec![0; usize::try_from((bytes - at).min(WHOLE_BYTES_MAX)).unwrap_or(0)];
            session.spend(piece.len() as u64)?;
            if let Err(failed) = memory.fill(start + at, &mut piece, |offset, bytes| lost.add(done + offset, bytes)) {
                error = Some((failed.raw_os_error().unwrap_or(0), failed.to_string()));
                break 'ranges;
            }
            at += piece.len() as u64;
            done += piece.len() as u64;
            session.chunk(piece)?;
        }
    }
    row.ranges = ranges.iter().map(|range| (range.0, range.1)).collect();
    row.stored = Some(stored);
    row.status = Some(Status::Truncated);
    let ended = Ended { reason: Some(rule.to_owned()), error, error_ranges: lost.0, ..Ended::with(Status::Truncated) };
    session.end(ended)
}

#[cfg(test)]
mod tests;
