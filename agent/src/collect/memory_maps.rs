//! Every mapping of every process, as the kernel lists it: where code was injected, unpacked or kept after its file
//! was deleted, it shows here first.
//!
//! One row per mapping, by process and address. `start`, `end` and `offset` are hex without `0x`, as in the file; a
//! newline in a path is `\012`, as the kernel writes it, so a backslash in a path is not unambiguous
//! (proc_pid_maps(5)). Threads of the kernel and zombies have no mappings and no rows.

use std::os::fd::AsFd as _;

use bundle::item::{Kind, Status};
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use super::per_process::{Walk, every_process, is_alive, path};
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::Host;
use crate::host::proc::maps::Mapping;
use crate::host::proc::{self, Hands, Process, Reached};
use crate::host::text::{Device, Exact, Text};
use crate::run::session::{Session, Stopped};

/// Bytes of one process's file: more than the 65,530 mappings that the kernel allows by default (max_map_count).
const MAPS_BYTES_MAX: usize = 32 << 20;

/// Takes no arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryMaps {}

/// One mapping.
#[derive(JsonSchema, Serialize)]
struct Row<'a> {
    /// True when the kernel says that the file has no name any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    /// Device of the file, absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<Device>,
    /// First address behind it, hex.
    end: &'a str,
    /// Inode of the file, absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    /// file, anonymous, shared_anonymous, heap, stack, vdso, vvar, vsyscall, memfd, sysv_shm, anon_inode, socket, special.
    kind: &'static str,
    /// Offset in the file in bytes, hex, absent for 0.
    #[serde(skip_serializing_if = "is_zero")]
    offset: &'a str,
    /// Path or name, without the kernel's ` (deleted)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Text<'a>>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<Exact<'a>>,
    /// `r`, `w`, `x`, and `p` (private) or `s` (shared).
    perms: &'a str,
    /// Process number.
    pid: u32,
    /// First address, hex.
    start: &'a str,
}

fn is_zero(hex: &str) -> bool {
    hex.bytes().all(|digit| digit == b'0')
}

impl Collect for MemoryMaps {
    const NAME: &'static str = "memory_maps";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str = "Every mapping of every process: addresses, permissions, file, deleted or not";
    const NEEDS: &'static [&'static str] = &["CAP_SYS_PTRACE"];

    fn rows() -> Vec<RowType> {
        vec![RowType::of::<Row<'_>>(Self::NAME, "proc_pid_maps(5)")]
    }

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        every_process(session, mappings)
    }

    fn plan(&self, _host: &Host) -> Plan {
        Plan { reads: vec!["/proc/*/maps".into()], ..Plan::default() }
    }
}

fn mappings(session: &mut Session, walk: &mut Walk, pid: u32, process: &Process) -> Result<(), Failure> {
    if process.reached == Reached::MountOnly {
        return Ok(()); // The rows and items of `processes` say so; what lies on top is no evidence.
    }
    let dir = process.dir.as_fd();
    let piece = match walk.pages.read(dir, c"maps", Hands::InPieces, MAPS_BYTES_MAX) {
        Ok(piece) => piece,
        // Since 6.16 the kernel answers ESRCH for a process without memory: a thread of the kernel, a zombie.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) && is_alive(dir) => return Ok(()),
        Err(error) => return Ok(walk.failed(session, (pid, dir), c"maps", &error)?),
    };
    if piece.cut {
        let rule = format!("only the first {MAPS_BYTES_MAX} bytes of /proc/PID/maps are taken");
        walk.left_out(session, pid, "maps", rule)?;
    }
    let lines = walk.pages.get(piece).split(|byte| *byte == b'\n');
    for line in lines.filter(|line| !line.is_empty()) {
        match Mapping::parse(line) {
            Some(mapping) => hand_over(session, pid, &mapping)?,
            None if piece.cut => {}
            None => {
                let item = session.item(Kind::Record, path(pid, "maps"), "procfs", Status::Error);
                let line: String = String::from_utf8_lossy(line).chars().take(200).collect();
                session.note(item.because(format!("it has a line that the kernel does not write: {line:?}")))?;
            }
        }
    }
    Ok(())
}

fn hand_over(session: &mut Session, pid: u32, mapping: &Mapping<'_>) -> Result<(), Stopped> {
    let (name, deleted) = proc::deleted(mapping.path);
    session.row(&Row {
        deleted,
        dev: (mapping.inode != 0).then_some(mapping.dev),
        end: mapping.end,
        inode: (mapping.inode != 0).then_some(mapping.inode),
        kind: mapping.kind(),
        offset: mapping.offset,
        path: (!name.is_empty()).then_some(Text(name)),
        path_b64: Exact::of(name),
        perms: mapping.perms,
        pid,
        start: mapping.start,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bundle::time::Instant;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::testing;

    #[test]
    fn a_tree() {
        let tree = tempfile::tempdir().unwrap();
        let dir = tree.path().join("proc/7");
        std::fs::create_dir_all(&dir).unwrap();
        let maps = b"1000-2000 r-xp 00001000 fd:01 9                          /tmp/x\xff (deleted)\n\
2000-3000 rwxp 00000000 00:00 0 \nnot a line\n";
        std::fs::write(dir.join("maps"), maps).unwrap();
        std::fs::create_dir_all(tree.path().join("proc/8")).unwrap();
        let messages = testing::collect(&MemoryMaps {}, Arc::new(Host::at(tree.path(), FixedClock(Instant(0)))));
        assert_eq!(
            testing::rows(&messages),
            [
                serde_json::json!({"deleted": true, "dev": "253:1", "end": "2000", "inode": 9, "kind": "file",
                    "offset": "00001000", "path": "/tmp/x\u{fffd}", "path_b64": "L3RtcC94/w==", "perms": "r-xp",
                    "pid": 7, "start": "1000"}),
                serde_json::json!({"end": "3000", "kind": "anonymous", "perms": "rwxp", "pid": 7, "start": "2000"}),
            ]
        );
        let items = testing::items(&messages);
        assert_eq!(items.len(), 2);
        assert!(items[0].reason.as_ref().unwrap().contains("not a line"));
        assert_eq!((items[1].path.as_slice(), items[1].status), (&b"/proc/8"[..], Status::Vanished));
    }

    #[test]
    fn this_process_on_the_live_host() {
        let messages = testing::collect(&MemoryMaps {}, Arc::new(Host::live()));
        let rows = testing::rows(&messages);
        let exe = std::env::current_exe().unwrap();
        let mine = |row: &&serde_json::Value| row["pid"] == std::process::id();
        assert!(rows.iter().filter(mine).any(|row| row["path"] == exe.to_str().unwrap() && row["kind"] == "file"));
        assert!(rows.iter().filter(mine).any(|row| row["kind"] == "stack"));
    }
}
