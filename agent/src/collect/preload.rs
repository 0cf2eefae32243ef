//! The preload list of the dynamic loader, read in three ways that do not share a way to be deceived: by its path, through
//! the detached clone of its mount, and from the block device under the file system. A library that hides the list from
//! the C library is met by none of them; a hook in the kernel's VFS by the first two only.
//!
//! Rows:
//! - `preload_source`: one per file and way, with its digest or the reason why there is none;
//! - `preload_disagreement`: ways that do not see the same, after a second look;
//! - `preload_library`: one per library that a list names, with its digest, and the processes that have it mapped.
//!
//! Known limits: the block device may be behind by half a minute after a change (`is_recent` says when that may be so);
//! file systems other than ext2, ext3 and ext4 are not read from their device; a list in another mount namespace (a
//! container's) is not looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::os::fd::AsFd as _;

use bundle::item::{Kind, Nanos, Status, shown};
use rustix::fs::StatxFlags;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::{Sha256, Tier};

use super::per_process::every_process;
use super::persistence::preloaded;
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::inspect::{Keep, inspect, last_name};
use crate::files::targets::{At, Targets};
use crate::host::Host;
use crate::host::block_file::{Device, Unread};
use crate::host::glob::Glob;
use crate::host::meta::nanoseconds;
use crate::host::proc::Hands;
use crate::host::proc::maps::Mapping;
use crate::host::regular::Links;
use crate::run::session::{Session, Stopped};

/// The longest list that is read.
const LIST_BYTES_MAX: usize = 1 << 20;
/// The most libraries of one list.
const LIBRARIES_MAX: usize = 1000;
/// The most processes that a row names.
const PIDS_MAX: usize = 1000;
/// The longest memory map that is looked through.
const MAPS_BYTES_MAX: usize = 16 << 20;
/// Libraries longer than this are not digested.
const LIBRARY_BYTES_MAX: u64 = 256 << 20;
/// A change that is younger may not be on the device yet (`dirty_expire_centisecs` of vm.rst is half a minute).
const RECENT_SECS: i64 = 60;
/// The lists: glibc's, and that of NixOS.
const LISTS: [&str; 2] = ["/etc/ld.so.preload", "/etc/ld-nix.so.preload"];
/// Where a library without a path is looked for (ld.so(8)), and what `$LIB` stands for.
const FOLDERS: [&str; 10] = [
    "/lib/x86_64-linux-gnu/",
    "/usr/lib/x86_64-linux-gnu/",
    "/lib/aarch64-linux-gnu/",
    "/usr/lib/aarch64-linux-gnu/",
    "/lib64/",
    "/usr/lib64/",
    "/lib/",
    "/usr/lib/",
    "/usr/local/lib/",
    "/usr/local/lib64/",
];

/// Arguments of `collect: preload`: none.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preload {}

/// One way of reading one list.
#[derive(Serialize, JsonSchema)]
struct SourceRow {
    /// Why it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// True when the file is there; absent when that could not be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    exists: Option<bool>,
    /// Group of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    /// What the list names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    libraries: Vec<String>,
    /// `st_mode` as seven octal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    /// Last change of its content, where the way tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime_ns: Option<Nanos>,
    /// The list.
    path: &'static str,
    /// `preload_source`.
    record: &'static str,
    /// Digest of the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    /// Length of the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    /// Owner of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    /// `path`, `mount_view` or `block_device`.
    way: &'static str,
}

/// Ways that do not see the same file.
#[derive(Serialize, JsonSchema)]
struct DisagreementRow {
    /// True when a change of the last minute, which the device may lack, can be the reason.
    is_recent: bool,
    /// Ways that do not see the file.
    not_seen_by: Vec<&'static str>,
    /// The list.
    path: &'static str,
    /// `preload_disagreement`.
    record: &'static str,
    /// Digest that each way saw.
    seen: BTreeMap<&'static str, String>,
    /// Ways that see the file.
    seen_by: Vec<&'static str>,
}

/// A library that a list names.
#[derive(Serialize, JsonSchema)]
struct LibraryRow {
    /// True when there is a file at its path; absent when that could not be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    exists: Option<bool>,
    /// True when others than owner and group may write it.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_writable_by_others: Option<bool>,
    /// Number of the line in the list.
    line: u64,
    /// The list that names it.
    listed_in: &'static str,
    /// How many processes have it mapped.
    mapped_by_count: u64,
    /// `st_mode` as seven octal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    /// Last change of its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime_ns: Option<Nanos>,
    /// As the list names it.
    name: String,
    /// Where it is, links followed; where it should be, when it is not there.
    path: String,
    /// Its exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// The processes that have it mapped, the first 1000.
    pids: Vec<u32>,
    /// `preload_library`.
    record: &'static str,
    /// The ways by which the list names it.
    seen_by: Vec<&'static str>,
    /// Digest of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    /// Length of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    /// Owner of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
}

/// By list and name of the library: the line, and the ways that saw it.
type Named = BTreeMap<(&'static str, Vec<u8>), (usize, Vec<&'static str>)>;

/// What one way saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    exists: Option<bool>,
    content: Vec<u8>,
    mode: Option<u16>,
    owner: Option<(u32, u32)>,
    mtime_ns: Option<i128>,
    error: Option<String>,
}

impl Seen {
    fn absent() -> Self {
        Self { exists: Some(false), ..Self::default() }
    }

    fn failed(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::absent(),
            _ => Self { error: Some(error.to_string()), ..Self::default() },
        }
    }

    /// The digest of what is there.
    fn digest(&self) -> Option<Sha256> {
        (self.exists == Some(true)).then(|| Sha256::of(&self.content))
    }
}

type Ways = [(&'static str, Seen); 3];

fn look(host: &Host, path: &'static str, device: Result<&Device, &str>) -> Ways {
    let below = match device {
        Err(reason) => Seen { error: Some(reason.to_owned()), ..Seen::default() },
        Ok(device) => match device.read(path.as_bytes(), LIST_BYTES_MAX) {
            Ok(file) => Seen {
                exists: Some(true),
                content: file.content,
                mode: Some(file.mode),
                owner: Some((file.uid, file.gid)),
                ..Seen::default()
            },
            Err(Unread::Absent) => Seen::absent(),
            Err(Unread::Unfit(reason)) => Seen { error: Some(reason), ..Seen::default() },
            Err(Unread::Failed(error)) => Seen { error: Some(error.to_string()), ..Seen::default() },
        },
    };
    [("path", by_path(host, path)), ("mount_view", by_view(host, path)), ("block_device", below)]
}

fn by_path(host: &Host, path: &str) -> Seen {
    // A link of an image would lead out of it.
    let links = if host.is_live() { Links::Follow } else { Links::Refuse };
    let (file, _) = match host.open_regular(path, links) {
        Ok(opened) => opened,
        Err(error) => return Seen::failed(&error),
    };
    let mut seen = Seen { exists: Some(true), ..Seen::default() };
    if let Ok(stat) = crate::host::views::stat(file.as_fd(), c"") {
        seen.mode = Some(stat.stx_mode);
        seen.owner = Some((stat.stx_uid, stat.stx_gid));
        seen.mtime_ns = (stat.stx_mask & StatxFlags::MTIME.bits() != 0).then(|| nanoseconds(stat.stx_mtime));
    }
    match file.take(LIST_BYTES_MAX as u64).read_to_end(&mut seen.content) {
        Ok(_) => seen,
        Err(error) => Seen::failed(&error),
    }
}

fn by_view(host: &Host, path: &str) -> Seen {
    match host.read_file(path.as_bytes(), LIST_BYTES_MAX as u64) {
        Ok(content) => Seen { exists: Some(true), content, ..Seen::default() },
        Err(error) => Seen::failed(&error),
    }
}

fn agree(ways: &Ways) -> bool {
    // A way that told nothing disagrees with nobody.
    let told = ways.iter().filter(|(_, seen)| seen.exists.is_some());
    told.map(|(_, seen)| seen.digest()).collect::<BTreeSet<_>>().len() <= 1
}

impl Collect for Preload {
    const NAME: &'static str = "preload";
    const TIER: Tier = Tier::System;
    const SUMMARY: &'static str =
        "ld.so.preload by path, through a mount view and from the block device; its libraries and who has them mapped.";
    const NEEDS: &'static [&'static str] = &["root", "CAP_SYS_PTRACE"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let host = std::sync::Arc::clone(session.host());
        let mut named = Named::new();
        let mut device = device(&host);
        for path in LISTS {
            session.go_on()?;
            session.at(path.as_bytes());
            let as_read = |device: &Result<Device, String>| look(&host, path, device.as_ref().map_err(String::as_str));
            let mut ways = as_read(&device);
            if !agree(&ways) {
                // Somebody may have written it between two looks; what the device holds is read anew from its superblock.
                device = self::device(&host);
                ways = as_read(&device);
            }
            for (way, seen) in &ways {
                for (line, name) in preloaded(&seen.content).into_iter().take(LIBRARIES_MAX) {
                    named.entry((path, name)).or_insert((line, Vec::new())).1.push(way);
                }
            }
            hand_over(session, path, &ways)?;
        }
        libraries(session, named)
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<SourceRow>("preload_source", "ld.so(8)"),
            RowType::of::<DisagreementRow>("preload_disagreement", "ld.so(8)"),
            RowType::of::<LibraryRow>("preload_library", "ld.so(8), proc_pid_maps(5)"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        let more = ["the block device under /etc (ext2, ext3, ext4)", "/proc/PID/maps"];
        Plan { reads: LISTS.iter().chain(&more).map(|path| (*path).to_owned()).collect(), ..Plan::default() }
    }
}

fn device(host: &Host) -> Result<Device, String> {
    host.device_under(b"/etc/ld.so.preload").map_err(|unread| match unread {
        Unread::Unfit(reason) => reason,
        Unread::Failed(error) => error.to_string(),
        Unread::Absent => "there is nothing on the device".to_owned(),
    })
}

fn hand_over(session: &mut Session, path: &'static str, ways: &Ways) -> Result<(), Stopped> {
    for (way, seen) in ways {
        let exists = seen.exists == Some(true);
        let names = preloaded(&seen.content).into_iter().take(LIBRARIES_MAX);
        session.row(&SourceRow {
            error: seen.error.clone(),
            exists: seen.exists,
            gid: seen.owner.map(|(_, gid)| gid),
            libraries: names.map(|(_, name)| String::from_utf8_lossy(&name).into_owned()).collect(),
            mode: seen.mode.map(|mode| format!("{mode:07o}")),
            mtime_ns: seen.mtime_ns.map(Nanos),
            path,
            record: "preload_source",
            sha256: seen.digest(),
            size_bytes: exists.then_some(seen.content.len() as u64),
            uid: seen.owner.map(|(uid, _)| uid),
            way,
        })?;
        if let Some(error) = &seen.error {
            let item = session.item(Kind::File, path, way, Status::Skipped);
            session.note(item.because(error.clone()))?;
        }
    }
    if !agree(ways) {
        let now = session.now().0;
        let newest = ways.iter().filter_map(|(_, seen)| seen.mtime_ns).max();
        let with = |wanted: bool| {
            ways.iter().filter(move |(_, seen)| seen.exists == Some(wanted)).map(|(way, _)| *way).collect::<Vec<_>>()
        };
        let digests = ways.iter().filter_map(|(way, seen)| Some((*way, seen.digest()?.to_string())));
        session.row(&DisagreementRow {
            is_recent: newest.is_some_and(|at| now - at < i128::from(RECENT_SECS) * 1_000_000_000),
            not_seen_by: with(false),
            path,
            record: "preload_disagreement",
            seen: digests.collect(),
            seen_by: with(true),
        })?;
    }
    // What one way alone saw is kept as it was seen; the file itself is handed over with the libraries.
    for (way, seen) in ways.iter().filter(|(_, seen)| seen.exists == Some(true)) {
        let name = format!("{}.{way}", path.trim_start_matches("/etc/"));
        session.raw(path, way, name, seen.content.clone())?;
    }
    Ok(())
}

/// The places where a library of that name is looked for.
fn candidates(name: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(name);
    if name.starts_with(b"/") && !name.contains(&b'$') {
        return vec![name.to_vec()];
    }
    if text.contains("$LIB") || text.contains("${LIB}") {
        let folders = ["lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "lib64", "lib"];
        return folders.iter().map(|lib| text.replace("${LIB}", lib).replace("$LIB", lib).into_bytes()).collect();
    }
    if name.contains(&b'/') || name.contains(&b'$') {
        return vec![name.to_vec()];
    }
    FOLDERS.iter().map(|folder| [folder.as_bytes(), name].concat()).collect()
}

fn libraries(session: &mut Session, named: Named) -> Result<(), Failure> {
    if named.is_empty() {
        return Ok(());
    }
    let mut targets = Targets::new(LIBRARY_BYTES_MAX);
    let places: Vec<Vec<u8>> = named.keys().flat_map(|(_, name)| candidates(name)).collect();
    targets.look(session, places.iter().map(Vec::as_slice))?;
    let globs: Vec<Glob> =
        places.iter().map(Vec::as_slice).chain(LISTS.map(str::as_bytes)).filter_map(glob_of).collect();
    inspect(session, &globs, &[], Keep::Files)?;
    let mut rows = Vec::new();
    for ((listed_in, name), (line, seen_by)) in named {
        let candidates = candidates(&name);
        let found = candidates.iter().find_map(|place| match targets.at(place) {
            At::Found(object) => Some(object),
            _ => None,
        });
        let is_unknown = candidates.iter().any(|place| matches!(targets.at(place), At::Unknown));
        let place =
            found.as_ref().map_or_else(|| candidates.first().cloned().unwrap_or_default(), |found| found.path.clone());
        let (path, path_b64) = shown(&place);
        let stat = found.as_ref().map(|found| &found.stat);
        let row = LibraryRow {
            exists: if found.is_some() { Some(true) } else { (!is_unknown).then_some(false) },
            is_writable_by_others: stat.map(|stat| stat.stx_mode & 0o002 != 0),
            line: line as u64,
            listed_in,
            mapped_by_count: 0,
            mode: stat.map(|stat| format!("{:07o}", stat.stx_mode)),
            mtime_ns: stat.map(|stat| Nanos(nanoseconds(stat.stx_mtime))),
            name: String::from_utf8_lossy(&name).into_owned(),
            path,
            path_b64,
            pids: Vec::new(),
            record: "preload_library",
            seen_by,
            sha256: found.as_ref().and_then(|found| found.sha256),
            size_bytes: stat.map(|stat| stat.stx_size),
            uid: stat.map(|stat| stat.stx_uid),
        };
        // A path of the list may be another name of the file that is mapped.
        let names: BTreeSet<Vec<u8>> = candidates.into_iter().chain([place, name]).collect();
        rows.push((names, row));
    }
    mapped(session, &mut rows)?;
    for (_, row) in rows {
        session.row(&row)?;
    }
    Ok(())
}

fn glob_of(path: &[u8]) -> Option<Glob> {
    let path = str::from_utf8(path).ok()?;
    Glob::parse(&Glob::escape(path)).ok()
}

/// Adds the processes that have each library mapped.
fn mapped(session: &mut Session, rows: &mut [(BTreeSet<Vec<u8>>, LibraryRow)]) -> Result<(), Failure> {
    if session.host().is_image() {
        let item = session.item(Kind::Record, "/proc", "procfs", Status::Skipped);
        return Ok(session.note(item.because("only on a live host: who has the libraries mapped"))?);
    }
    every_process(session, |session, walk, pid, process| {
        let at = (pid, process.dir.as_fd());
        // A thread of the kernel has no maps.
        walk.bare = true;
        let Some(maps) = walk.read(session, at, c"maps", Hands::InPieces, MAPS_BYTES_MAX)? else { return Ok(()) };
        let mut paths = BTreeSet::new();
        for line in walk.pages.get(maps).split(|byte| *byte == b'\n') {
            if let Some(mapping) = Mapping::parse(line) {
                paths.insert(mapping.path.strip_suffix(b" (deleted)").unwrap_or(mapping.path));
            }
        }
        for (names, row) in rows.iter_mut() {
            let is_name_only = |name: &[u8]| !name.contains(&b'/');
            let is_mapped = paths.iter().any(|path| {
                names.iter().any(|name| name == path || is_name_only(name) && last_name(path) == name.as_slice())
            });
            if is_mapped {
                row.mapped_by_count += 1;
                if row.pids.len() < PIDS_MAX {
                    row.pids.push(pid);
                }
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bundle::time::Instant;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::testing::{assert_keys_sorted, collect, items, rows};

    #[test]
    fn a_list_and_its_libraries() {
        let tree = tempfile::tempdir().unwrap();
        let put = |path: &str, content: &[u8]| {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        put("etc/ld.so.preload", b"# c\n/usr/lib/libx.so:libbare.so /gone\xff.so\n");
        put("usr/lib/libx.so", b"library");
        put("lib64/libbare.so", b"bare");
        put("proc/7/maps", b"00400000-00401000 r-xp 00000000 08:01 5      /usr/lib/libx.so (deleted)\n");
        put("proc/7/stat", b"");
        put("proc/8/maps", b"00400000-00401000 r-xp 00000000 08:01 5      /opt/libbare.so\n");
        put("proc/8/stat", b"");
        let host = Arc::new(Host::at(tree.path(), FixedClock(Instant(0))));
        let messages = collect(&Preload {}, host);
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        let sources: Vec<_> = rows.iter().filter(|row| row["record"] == "preload_source").collect();
        assert_eq!(sources.len(), 6, "three ways for each of the two lists");
        assert_eq!((&sources[0]["way"], &sources[0]["exists"]), (&"path".into(), &true.into()));
        assert_eq!(sources[0]["sha256"], sources[1]["sha256"]);
        assert_eq!(sources[2]["error"], "only on a live host");
        assert!(!rows.iter().any(|row| row["record"] == "preload_disagreement"));
        let libraries: Vec<_> = rows.iter().filter(|row| row["record"] == "preload_library").collect();
        let named = |name: &str| *libraries.iter().find(|row| row["name"] == name).unwrap();
        let x = named("/usr/lib/libx.so");
        assert_eq!((&x["exists"], &x["mapped_by_count"], &x["pids"][0]), (&true.into(), &1.into(), &7.into()));
        assert_eq!(x["sha256"], Sha256::of(b"library").to_string());
        assert_eq!(
            (&named("libbare.so")["path"], &named("libbare.so")["pids"][0]),
            (&"/lib64/libbare.so".into(), &8.into())
        );
        assert_eq!(libraries.iter().filter(|row| row["exists"] == false).count(), 1);
        let items = items(&messages);
        assert!(items.iter().any(|item| item.path == b"/usr/lib/libx.so" && item.status == Status::Ok));
    }

    #[test]
    fn what_one_way_hides_is_a_disagreement() {
        let there = Seen { exists: Some(true), content: b"/x.so".to_vec(), ..Seen::default() };
        let unknown = Seen { error: Some("xfs".to_owned()), ..Seen::default() };
        let ways = |a: &Seen, b: &Seen, c: &Seen| {
            [("path", a.clone()), ("mount_view", b.clone()), ("block_device", c.clone())]
        };
        assert!(agree(&ways(&there, &there, &unknown)));
        assert!(!agree(&ways(&Seen::absent(), &Seen::absent(), &there)));
        assert!(agree(&ways(&Seen::absent(), &Seen::absent(), &Seen::absent())));
        let other = Seen { content: b"/y.so".to_vec(), ..there.clone() };
        assert!(!agree(&ways(&there, &other, &unknown)));
    }

    #[test]
    fn the_live_host_is_looked_at_in_three_ways() {
        let messages = collect(&Preload {}, Arc::new(Host::live()));
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        for way in ["path", "mount_view", "block_device"] {
            let of_way = rows.iter().filter(|row| row["way"] == way && row["path"] == LISTS[0]).count();
            assert_eq!(of_way, 1, "{way}");
        }
        for row in rows.iter().filter(|row| row["record"] == "preload_source") {
            println!("{row}");
            assert!(row["exists"].is_boolean() || row["error"].is_string());
        }
    }
}
