//! What each process is, beside what it says it is: the facts that rules about processes stand on.
//!
//! One row per process, ascending by number: the kernel's word on the image (deleted, in a memfd, where it lies) beside
//! the process's own words (name, arguments), whether it looks like a thread of the kernel and is none, who traces it,
//! what its environment makes the loader do, memory that is writable and executable or whose file is gone, its
//! privileges by name, and what its standard streams are. A row states facts and judges nothing: a package that was
//! upgraded leaves `exe_deleted` behind as an intruder does, and a JIT compiler has anonymous executable memory.
//!
//! `processes`, `memory_maps` and `open_files` hold the same sources in full. `/proc/PID/maps` is read here once more:
//! each step of a run stands alone, and keeping the first reading would cost more memory than the second one time.
//!
//! Known limits: names, arguments and environment are the process's own claims. A process in another mount namespace
//! shows paths as its own tree has them. Threads are read for their names only: those with an image or credentials of
//! their own are not looked for (the image belongs to the process; credentials of threads differ only by setting them
//! below the C library).

mod environment;
mod maps;
mod row;

use std::collections::HashMap;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, Statx};
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::Deserialize;
use wire::Tier;

use self::environment::Environment;
use self::maps::MapFacts;
use self::row::Row;
use super::per_process::{Booted, Walk, every_process, is_alive};
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::mounts::{self, Class, MountTable};
use crate::host::proc::stat::Stat;
use crate::host::proc::status::Status;
use crate::host::proc::{self, Hands, Piece, Process, Processes, Reached};
use crate::host::text::{decimal, in_base};
use crate::host::{Host, cgroup};
use crate::run::session::{Session, Stopped};

/// Bytes of arguments and environment of one process; the kernel allows both together 6 MiB.
const ARGUMENT_BYTES_MAX: usize = 256 << 10;
/// Bytes of any other small file: many times what the kernel writes.
const FILE_BYTES_MAX: usize = 64 << 10;
/// Bytes of maps: more than the 65,530 mappings that the kernel allows by default (max_map_count).
const MAPS_BYTES_MAX: usize = 32 << 20;
/// Bytes of one list of mounts; about 40,000 of them.
const MOUNTINFO_BYTES_MAX: usize = 8 << 20;
/// Threads of one process whose names are read.
const THREADS_MAX: usize = 4096;
/// Different names of threads that a row has.
const THREAD_NAMES_MAX: usize = 16;

/// Takes no arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessIdentity {}

impl Collect for ProcessIdentity {
    const NAME: &'static str = "process_identity";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str =
        "What each process is beside what it claims: image, name, loader, memory, privileges, tracer";
    const NEEDS: &'static [&'static str] = &["CAP_SYS_PTRACE", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let mut reader = Reader::begin(session.host())?;
        every_process(session, |session, walk, pid, process| reader.process(session, walk, pid, process))
    }

    fn rows() -> Vec<RowType> {
        vec![RowType::of::<Row>(
            Self::NAME,
            "proc_pid_stat(5), proc_pid_status(5), proc_pid_exe(5), proc_pid_maps(5), proc_pid_environ(5), capabilities(7)",
        )]
    }

    fn plan(&self, _host: &Host) -> Plan {
        Plan {
            reads: vec![
                "/proc/*/{stat,status,cmdline,environ,maps,cgroup,loginuid,sessionid,mountinfo}".into(),
                "/proc/*/{exe,cwd,root,ns/*,fd/{0,1,2}} (link text)".into(),
                "/proc/*/task/*/comm".into(),
            ],
            ..Plan::default()
        }
    }
}

/// What others' rows say of a process: its name and image.
#[derive(Clone, Default)]
struct Known {
    comm: Option<String>,
    exe: Option<String>,
}

/// Everything read of one process.
#[derive(Default)]
struct Facts {
    cgroup: Option<Piece>,
    cmdline: Option<Piece>,
    cwd: Option<Piece>,
    environment: Option<Environment>,
    exe: Option<Piece>,
    exe_mount: Option<(String, String)>,
    exe_replaced: Option<bool>,
    exe_stat: Option<Box<Statx>>,
    is_remote: bool,
    loginuid: Option<u64>,
    maps: Option<MapFacts>,
    mntns: Option<u64>,
    netns: Option<u64>,
    parent: Known,
    pidns: Option<u64>,
    root: Option<Piece>,
    sessionid: Option<u64>,
    standard: [Option<Piece>; 3],
    status: Option<Piece>,
    thread_names: Vec<String>,
    tracer: Known,
}

/// The state of one collection.
struct Reader {
    booted: Booted,
    /// Bits of all capabilities that this kernel has.
    all_capabilities: Option<u64>,
    mounts: HashMap<u64, Option<MountTable>>,
    known: HashMap<u64, Known>,
    others: Processes,
    tids: Vec<u32>,
}

impl Reader {
    fn begin(host: &Host) -> Result<Self, Failure> {
        let last = host.read("/proc/sys/kernel/cap_last_cap", 32).ok().and_then(|text| decimal(text.trim_ascii()));
        Ok(Self {
            booted: Booted::of(host),
            all_capabilities: last.filter(|last| *last < 63).map(|last| (1 << (last + 1)) - 1),
            mounts: HashMap::new(),
            known: HashMap::new(),
            others: Processes::of(host).map_err(Failure::reading("/proc"))?,
            tids: Vec::new(),
        })
    }

    fn process(&mut self, session: &mut Session, walk: &mut Walk, pid: u32, process: &Process) -> Result<(), Failure> {
        if process.reached == Reached::MountOnly {
            return Ok(()); // The rows of `hidden_processes` say so; what lies on top is no evidence.
        }
        if process.reached == Reached::BehindMount && !is_alive(process.dir.as_fd()) {
            return Ok(());
        }
        let at = (pid, process.dir.as_fd());
        let Some(line) = walk.read(session, at, c"stat", Hands::AtOnce, FILE_BYTES_MAX)? else {
            return Ok(());
        };
        let Some(stat) = Stat::parse(walk.pages.get(line)) else {
            return Ok(()); // An item of `processes` says so.
        };
        walk.bare = stat.is_kernel_thread() || stat.is_dead();
        let (ppid, threads) = (stat.ppid().unwrap_or(0), stat.threads().unwrap_or(1));
        let comm = stat.comm.to_vec();
        let mut facts = self.files(session, walk, at)?;
        facts.parent = self.known(ppid, &mut walk.pages);
        let tracer = facts.status.map(|status| Status::parse(walk.pages.get(status)).tracer_pid);
        if let Some(tracer) = tracer.flatten().and_then(crate::host::text::Number::unsigned).filter(|pid| *pid != 0) {
            facts.tracer = self.known(tracer, &mut walk.pages);
        }
        if threads > 1 {
            facts.thread_names = self.thread_names(walk, at, &comm);
        }
        let Some(stat) = Stat::parse(walk.pages.get(line)) else {
            return Ok(());
        };
        let start = stat.starttime_ticks().map(|ticks| self.booted.start(ticks));
        let row = Row::of(pid, &stat, &facts, &walk.pages, self.all_capabilities);
        let row = Row { start, unhidden: process.reached == Reached::BehindMount, vanished: walk.gone, ..row };
        self.known.insert(u64::from(pid), Known { comm: Some(row.comm.clone()), exe: row.exe.clone() });
        Ok(session.row(&row)?)
    }

    fn files(&mut self, session: &mut Session, walk: &mut Walk, at: (u32, BorrowedFd<'_>)) -> Result<Facts, Stopped> {
        let has_memory = !walk.bare;
        let mut facts =
            Facts { status: walk.read(session, at, c"status", Hands::AtOnce, FILE_BYTES_MAX)?, ..Facts::default() };
        facts.cgroup = walk.read(session, at, c"cgroup", Hands::AtOnce, FILE_BYTES_MAX)?;
        if !has_memory {
            return Ok(facts);
        }
        // What the process holds of its own memory comes first: it goes when the process does.
        facts.exe = walk.link(session, at, c"exe")?;
        facts.cmdline = walk.read(session, at, c"cmdline", Hands::InPieces, ARGUMENT_BYTES_MAX)?;
        if let Some(environ) = walk.read(session, at, c"environ", Hands::InPieces, ARGUMENT_BYTES_MAX)? {
            let mut environment = Environment::of(walk.pages.get(environ));
            environment.withhold(|name| session.shows_variable(name));
            facts.environment = Some(environment);
        }
        if let Some(maps) = walk.read(session, at, c"maps", Hands::InPieces, MAPS_BYTES_MAX)? {
            facts.maps = Some(MapFacts::of(walk.pages.get(maps)));
        }
        facts.cwd = walk.link(session, at, c"cwd")?;
        facts.root = walk.link(session, at, c"root")?;
        for (piece, name) in facts.standard.iter_mut().zip([c"fd/0", c"fd/1", c"fd/2"]) {
            // A stream that is closed is no news, and a refusal is said for `exe` already.
            *piece = walk.pages.link(at.1, name).ok();
        }
        for (number, name) in
            [(&mut facts.mntns, c"ns/mnt"), (&mut facts.netns, c"ns/net"), (&mut facts.pidns, c"ns/pid")]
        {
            let link = walk.pages.link(at.1, name).ok();
            *number = link.and_then(|link| proc::bracketed(walk.pages.get(link)));
        }
        for (number, name) in [(&mut facts.loginuid, c"loginuid"), (&mut facts.sessionid, c"sessionid")] {
            let read = walk.read(session, at, name, Hands::AtOnce, 64)?;
            *number = read.and_then(|piece| decimal(walk.pages.get(piece).trim_ascii_end()));
        }
        self.image(session, walk, at, &mut facts)?;
        Ok(facts)
    }

    /// Where the image lies, and what the kernel still knows of its file. Nothing is asked of a file system that
    /// answers from elsewhere.
    fn image(
        &mut self,
        session: &mut Session,
        walk: &mut Walk,
        (pid, dir): (u32, BorrowedFd<'_>),
        facts: &mut Facts,
    ) -> Result<(), Stopped> {
        let Some(exe) = facts.exe else { return Ok(()) };
        let target = walk.pages.get(exe).to_vec();
        let (path, is_deleted) = proc::deleted(&target);
        let is_named = path.starts_with(b"/") && !path.starts_with(b"/memfd:");
        if is_named && let Some(namespace) = facts.mntns {
            let table = self.mounts.entry(namespace).or_insert_with(|| {
                let read = walk.pages.read(dir, c"mountinfo", Hands::InPieces, MOUNTINFO_BYTES_MAX).ok()?;
                Some(MountTable::new(mounts::parse(walk.pages.get(read)).mounts))
            });
            if let Some(mount) = table.as_ref().and_then(|table| table.covering(path)) {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                facts.exe_mount = Some((text(&mount.point), text(&mount.fs_type)));
                facts.is_remote = matches!(mount.class(), Class::Remote | Class::Unknown) && mount.point != b"/";
            }
        }
        // In a fixture the link leads out of the tree, to a file of the machine that runs the test.
        if facts.is_remote || !session.host().is_live() {
            return Ok(());
        }
        match proc::statx_behind(dir, c"exe") {
            Ok(found) => facts.exe_stat = Some(Box::new(found)),
            Err(error) => walk.failed(session, (pid, dir), c"exe", &error)?,
        }
        if is_deleted && is_named {
            facts.exe_replaced = exists_below_root(dir, path);
        }
        Ok(())
    }

    /// Name and image of another process: of its row if that was handed over already, else read now.
    fn known(&mut self, pid: u64, pages: &mut proc::Pages) -> Known {
        if let Some(known) = self.known.get(&pid) {
            return known.clone();
        }
        let Some(process) = u32::try_from(pid).ok().filter(|pid| *pid != 0).and_then(|pid| self.others.open(pid).ok())
        else {
            return Known::default();
        };
        let dir = process.dir.as_fd();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let comm = pages.read(dir, c"comm", Hands::AtOnce, 256).ok();
        let comm = comm.map(|comm| pages.get(comm)).map(|comm| text(comm.strip_suffix(b"\n").unwrap_or(comm)));
        let exe = pages.link(dir, c"exe").ok().map(|exe| text(proc::deleted(pages.get(exe)).0));
        let known = Known { comm, exe };
        self.known.insert(pid, known.clone());
        known
    }

    /// Names of threads that are not the process's own, sorted.
    fn thread_names(&mut self, walk: &mut Walk, (_, dir): (u32, BorrowedFd<'_>), own: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        // A process that ended meanwhile is noted by what is read after this.
        let Ok(task) = proc::open_dir(dir, c"task") else { return names };
        if proc::numbers(task.as_fd(), &mut self.tids).is_err() {
            return names;
        }
        for &tid in self.tids.iter().take(THREADS_MAX) {
            let read = walk.pages.read_under(task.as_fd(), ("", tid, "/comm"), Hands::AtOnce, 256);
            let Ok(piece) = read else { continue };
            let name = walk.pages.get(piece);
            let name = name.strip_suffix(b"\n").unwrap_or(name);
            if name != own {
                let name = String::from_utf8_lossy(name).into_owned();
                if let Err(place) = names.binary_search(&name) {
                    names.insert(place, name);
                    names.truncate(THREAD_NAMES_MAX);
                }
            }
        }
        names
    }
}

/// True when there is something at `path` below the root of the process; the links of no path are followed. `None`
/// when it cannot be told (before kernel 5.6, or refused).
fn exists_below_root(process: BorrowedFd<'_>, path: &[u8]) -> Option<bool> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::openat(process, c"root", flags | OFlags::DIRECTORY, Mode::empty()).ok()?;
    let below = path.strip_prefix(b"/")?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(root, below, flags | OFlags::NOFOLLOW, Mode::empty(), resolve) {
        Ok(_) => Some(true),
        Err(Errno::NOENT | Errno::NOTDIR) => Some(false),
        Err(_) => None,
    }
}

/// A mask that the kernel writes in hex.
fn mask(text: Option<crate::host::text::Text<'_>>) -> Option<u64> {
    in_base(text?.0, 16)
}

/// The group and the container of a process.
fn group(cgroup: &[u8]) -> (Option<String>, Option<cgroup::Container>) {
    let chief = cgroup::chief(cgroup).map(|path| String::from_utf8_lossy(path).into_owned());
    (chief, cgroup::container_of(cgroup))
}

#[cfg(test)]
mod tests;
