//! The digest of every file that can be run or loaded, on all local file systems, with what its headers say.
//!
//! Which files: those with any execute bit; of the others those whose name says library or module (`.so`, `.so.1`,
//! `.ko`, `.ko.xz`), and, in places where anybody may write (`/tmp`, `/var/tmp`, `/dev/shm`, `/run`, homes), those that
//! begin as a program. `every_file` looks at the first bytes of all files instead, which costs an open each.
//!
//! One row each, in the order of paths within a mount. Known limits: a file that is longer than `file_bytes_max` has a
//! row without a digest; files inside archives and images are not seen.

use std::os::fd::AsFd as _;

use bundle::item::{Nanos, shown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::{ByteSize, Sha256, Tier};

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::contents::each_asked;
use crate::files::copy::note_missed;
use crate::files::digest::{digest, uncache};
use crate::files::package_database::{PackageDatabase, Wanted};
use crate::host::Host;
use crate::host::executable::{Elf, ExecutableKind, is_program, look};
use crate::host::glob::Glob;
use crate::host::meta::{Type, meta_of};
use crate::host::packages::owners::Owners;
use crate::host::sqlite::ReadAt as _;
use crate::host::walk::{Asked, Entry, Missed};
use crate::run::session::{Session, Stopped};

/// The longest file that is digested, when nobody says otherwise.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Where anybody, or one user, may write: a program there need not have its execute bit to be run or loaded.
const WRITABLE: [&[u8]; 6] = [b"/tmp/", b"/var/tmp/", b"/dev/", b"/run/", b"/home/", b"/root/"];

/// Arguments of `collect: executable_hashes`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecutableHashes {
    /// What to leave out, with all below it.
    #[serde(default)]
    exclude: Vec<Glob>,
    /// True to look at the first bytes of every file.
    #[serde(default)]
    every_file: bool,
    /// The longest file that is digested: 1 GiB when nothing is said.
    #[serde(default)]
    file_bytes_max: Option<ByteSize>,
    /// Where to look, with all below it: the whole host when nothing is said.
    #[serde(default)]
    paths: Vec<Glob>,
}

/// A file that can be run or loaded.
#[derive(Debug, Serialize, JsonSchema)]
struct Row<'a> {
    /// Birth.
    #[serde(skip_serializing_if = "Option::is_none")]
    btime_ns: Option<Nanos>,
    /// The linker's note NT_GNU_BUILD_ID, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    build_id: Option<&'a str>,
    /// Last change of its inode.
    #[serde(skip_serializing_if = "Option::is_none")]
    ctime_ns: Option<Nanos>,
    /// Its group.
    gid: u32,
    /// True when an ELF segment is writable and executable at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    has_rwx_segment: Option<bool>,
    /// False for an ELF file without section headers, as packers and droppers leave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    has_sections: Option<bool>,
    /// Inode number.
    inode: u64,
    /// The program after `#!` with its argument, or the dynamic loader.
    #[serde(skip_serializing_if = "Option::is_none")]
    interpreter: Option<String>,
    /// True for an ELF file that needs the dynamic loader or can be loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_dynamic: Option<bool>,
    /// True when any of its execute bits is set.
    is_executable: bool,
    /// True for an ELF file without a table of symbols.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_stripped: Option<bool>,
    /// True for an ELF file with the mark of the packer UPX.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_upx: Option<bool>,
    /// elf, script or other.
    kind: ExecutableKind,
    /// Machine of an ELF file: `x86_64`, `aarch64` …
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<&'a str>,
    /// `st_mode` as seven octal digits.
    mode: String,
    /// Last change of its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime_ns: Option<Nanos>,
    /// Number of hard links.
    nlink: u64,
    /// Why it has no digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_read: Option<String>,
    /// relocatable, executable, shared or core, for an ELF file.
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a str>,
    /// The package that owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<&'a str>,
    /// False when no package owns it; absent where no database of packages was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    package_owned: Option<bool>,
    /// Path on the host.
    path: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// Digest of all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    /// Size in bytes.
    size: u64,
    /// Its user.
    uid: u32,
}

impl Collect for ExecutableHashes {
    const NAME: &'static str = "executable_hashes";
    const TIER: Tier = Tier::Files;
    const SUMMARY: &'static str = "Digests and headers of every program and library on the local file systems.";
    const NEEDS: &'static [&'static str] = &["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let owners = PackageDatabase::read(session, Wanted::Owners)?.owners;
        let asked = self.asked(session.host());
        let of_step = session.file_bytes_max().unwrap_or(u64::MAX);
        let bytes_max = self.file_bytes_max.map_or(FILE_BYTES_MAX, |size| size.0).min(of_step);
        each_asked(session, &asked, |session, entry, _| {
            if entry.file_type() != Type::File || !self.wants(session, entry)? {
                return Ok(());
            }
            one(session, entry, &owners, bytes_max)
        })?;
        Ok(())
    }

    fn rows() -> Vec<RowType> {
        vec![RowType::of::<Row<'static>>(Self::NAME, "elf(5), execve(2), statx(2)")]
    }

    fn plan(&self, host: &Host) -> Plan {
        super::file_timeline::plan_of(host, &self.paths)
    }
}

impl ExecutableHashes {
    fn asked(&self, host: &Host) -> Asked {
        super::file_timeline::asked_of(host, &self.paths, &self.exclude)
    }

    fn wants(&self, session: &mut Session, entry: &Entry<'_>) -> Result<bool, Stopped> {
        if entry.stat.stx_mode & 0o111 != 0 || is_library(entry.name.to_bytes()) {
            return Ok(true);
        }
        let is_in_writable = WRITABLE.iter().any(|folder| entry.path.starts_with(folder));
        if entry.stat.stx_size < 2 || !self.every_file && !is_in_writable {
            return Ok(false);
        }
        session.spend(4)?;
        let mut head = [0; 4];
        let length = usize::try_from(entry.stat.stx_size).unwrap_or(4).min(4);
        let read = entry.open_regular().and_then(|(file, _)| file.fill(&mut head[..length], 0));
        // Whoever cannot read it is told by the collectors whose row it would be: here it is not even known to be one.
        Ok(read.is_ok() && is_program(&head[..length]))
    }
}

/// True for the name of a library or a module of the kernel.
fn is_library(name: &[u8]) -> bool {
    let mut parts = name.split(|byte| *byte == b'.').skip(1);
    parts.any(|part| part == b"so" || part == b"ko")
}

fn one(session: &mut Session, entry: &Entry<'_>, owners: &Owners, bytes_max: u64) -> Result<(), Stopped> {
    session.at(entry.path);
    let opened = entry.open_regular().and_then(|(file, stat)| {
        let found = look(&file, stat.stx_size)?;
        Ok((file, stat, found))
    });
    let (file, stat, found) = match opened {
        Ok(opened) => opened,
        Err(error) => return note_missed(session, entry.path, Missed::Error(error)),
    };
    let size = stat.stx_size;
    let digested = digest(session, file.as_fd(), size, bytes_max)?;
    uncache(file.as_fd(), size);
    let not_read = match digested.error {
        Some(error) => Some(std::io::Error::from(error).to_string()),
        None if size > bytes_max => Some(format!("longer than {}", ByteSize(bytes_max))),
        None if digested.sha256.is_none() => Some("parts of it could not be read".to_owned()),
        None => None,
    };
    let meta = meta_of(&stat, None);
    let (path, path_b64) = shown(entry.path);
    let package = owners.owner(entry.path);
    let elf = found.elf.as_ref();
    let is = |fact: fn(&Elf) -> bool| elf.map(fact);
    session.row(&Row {
        btime_ns: meta.btime_ns,
        build_id: elf.and_then(|elf| elf.build_id.as_deref()),
        ctime_ns: meta.ctime_ns,
        gid: meta.gid,
        has_rwx_segment: is(|elf| elf.has_rwx_segment),
        has_sections: is(|elf| elf.has_sections),
        inode: meta.ino,
        interpreter: found.interpreter.as_ref().map(|interpreter| shown(interpreter).0),
        is_dynamic: is(|elf| elf.is_dynamic),
        is_executable: stat.stx_mode & 0o111 != 0,
        is_stripped: is(|elf| elf.is_stripped),
        is_upx: is(|elf| elf.is_upx),
        kind: found.kind,
        machine: elf.map(|elf| elf.machine.as_str()),
        mode: meta.mode,
        mtime_ns: meta.mtime_ns,
        nlink: meta.nlink,
        not_read,
        object: elf.map(|elf| elf.object.as_str()),
        package,
        package_owned: (!owners.is_empty()).then_some(package.is_some()),
        path,
        path_b64,
        sha256: digested.sha256,
        size: meta.size,
        uid: meta.uid,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use bundle::time::Instant;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::testing::{assert_keys_sorted, collect, items, rows};

    #[test]
    fn what_can_be_run_or_loaded_has_a_row() {
        let tree = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &[u8], mode: u32| {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        };
        write("usr/bin/script", b"#!/bin/sh -e\n", 0o755);
        write("usr/bin/notes", b"#!/bin/sh -e\n", 0o644);
        write("usr/bin/empty", b"", 0o755);
        write("usr/lib/x.so.1", b"\x7fELF", 0o644);
        write("usr/lib/x.ko.xz", b"packed", 0o644);
        write("usr/lib/also", b"x", 0o644);
        write("tmp/dropped", b"\x7fELF", 0o600);
        write("tmp/text", b"text", 0o600);
        write("var/lib/dpkg/status", b"Package: a\nStatus: install ok installed\nVersion: 1\n", 0o644);
        write("var/lib/dpkg/info/a.list", b"/usr/bin/script\n", 0o644);
        let fifo = tree.path().join("tmp/fifo");
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, rustix::fs::Mode::from_raw_mode(0o777), 0).unwrap();
        let host = Arc::new(Host::at(tree.path(), FixedClock(Instant(0))));
        let messages = collect(&ExecutableHashes::default(), Arc::clone(&host));
        assert_keys_sorted(&messages);
        let found = rows(&messages);
        let paths: Vec<_> = found.iter().map(|row| row["path"].as_str().unwrap()).collect();
        let expected = ["/tmp/dropped", "/usr/bin/empty", "/usr/bin/script", "/usr/lib/x.ko.xz", "/usr/lib/x.so.1"];
        assert_eq!(paths, expected, "{:?}", items(&messages));
        let script = &found[2];
        assert_eq!(script["sha256"], Sha256::of(b"#!/bin/sh -e\n").to_string());
        assert_eq!((&script["interpreter"], &script["package"]), (&"/bin/sh -e".into(), &"a".into()));
        assert_eq!((&found[0]["package_owned"], &found[0]["is_executable"]), (&false.into(), &false.into()));
        let every = ExecutableHashes { every_file: true, ..ExecutableHashes::default() };
        assert_eq!(rows(&collect(&every, Arc::clone(&host))).len(), 6);
        let short = ExecutableHashes { file_bytes_max: Some(ByteSize(4)), ..ExecutableHashes::default() };
        let row = &rows(&collect(&short, host))[2];
        assert_eq!((&row["sha256"], &row["not_read"]), (&serde_json::Value::Null, &"longer than 4 B".into()));
    }

    #[test]
    fn this_host_has_a_shell() {
        let shell = std::fs::canonicalize("/bin/sh").unwrap();
        let glob = Glob::parse(shell.to_str().unwrap()).unwrap();
        let rows = rows(&collect(
            &ExecutableHashes { paths: vec![glob], ..ExecutableHashes::default() },
            Arc::new(Host::live()),
        ));
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0]["sha256"], Sha256::of(&std::fs::read(&shell).unwrap()).to_string());
    }
}
