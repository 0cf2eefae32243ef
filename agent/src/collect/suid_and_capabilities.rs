//! Files and folders whose attributes give away rights: set-user-ID, set-group-ID, file capabilities, immutable and
//! append-only flags, writable by everybody, owned by nobody whom the host knows.
//!
//! One row for each object that has at least one of these, over all local file systems. Regular files have their digest
//! and their package. A program that runs with more rights than its caller and is a copy of one of the system's programs
//! (a shell, an interpreter) says of which: those of its size are digested and compared.
//!
//! Known limits: flags come from statx(2), which not every file system fills; users and groups of a directory service
//! are not known; links, which have no mode of their own, are not looked at; of devices and sockets only what is odd for
//! their place (a device outside `/dev`, an owner that is not known).

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd as _;

use bundle::item::{Kind, Meta, Nanos, Status, shown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::{ByteSize, Sha256, Tier};

use super::file_timeline::{asked_of, plan_of};
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::contents::{each_asked, each_object};
use crate::files::copy::note_missed;
use crate::files::digest::{digest, uncache};
use crate::files::package_database::{PackageDatabase, Wanted};
use crate::host::Host;
use crate::host::file_capabilities::{self, FileCapabilities};
use crate::host::glob::Glob;
use crate::host::ids::Ids;
use crate::host::meta::{Type, add_capability_at, inode_of, meta_of};
use crate::host::packages::owners::Owners;
use crate::host::walk::{Entry, Missed};
use crate::run::session::{Session, Stopped};

/// The longest file that is digested, when nobody says otherwise.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// The most rows of objects that have nothing but an owner who is not known, or are writable by everybody: a file system
/// of another host has nothing else.
const COMMON_ROWS_MAX: u64 = 20_000;
/// The most programs that a copy is compared with.
const CANDIDATES_MAX: usize = 64;

const SUID: u16 = 0o4000;
const SGID: u16 = 0o2000;
const STICKY: u16 = 0o1000;

/// Arguments of `collect: suid_and_capabilities`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SuidAndCapabilities {
    /// What to leave out, with all below it.
    #[serde(default)]
    exclude: Vec<Glob>,
    /// The longest file that is digested: 256 MiB when nothing is said.
    #[serde(default)]
    file_bytes_max: Option<ByteSize>,
    /// Where to look, with all below it: the whole host when nothing is said.
    #[serde(default)]
    paths: Vec<Glob>,
}

/// An object whose attributes give away rights.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "one column for each fact, as rules want them")]
struct Row<'a> {
    /// Birth.
    #[serde(skip_serializing_if = "Option::is_none")]
    btime_ns: Option<Nanos>,
    /// File capabilities in the words of cap_to_text(3): `cap_setuid=ep`; `malformed` when they cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<String>,
    /// The bytes of `security.capability`.
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities_b64: Option<&'a str>,
    /// The user who is root of the user namespace that the capabilities count in.
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities_root_uid: Option<u32>,
    /// Last change of its inode.
    #[serde(skip_serializing_if = "Option::is_none")]
    ctime_ns: Option<Nanos>,
    /// Owning group.
    gid: u32,
    /// False when no group of the host has that number; absent when they are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    has_known_group: Option<bool>,
    /// False when no account of the host has that number; absent when they are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    has_known_user: Option<bool>,
    /// Inode number.
    inode: u64,
    /// True when it can only be appended to (`chattr +a`).
    is_append_only: bool,
    /// True for a device node outside `/dev`.
    is_device_outside_dev: bool,
    /// True when it cannot be changed (`chattr +i`).
    is_immutable: bool,
    /// True for a file that is set-group-ID and executable by its group.
    is_setgid: bool,
    /// True for a file that is set-user-ID.
    is_setuid: bool,
    /// True for a folder that everybody may write to and whose sticky bit does not keep one from the files of another.
    is_unsticky_folder: bool,
    /// True when everybody may write to it.
    is_writable_by_others: bool,
    /// `st_mode` as seven octal digits.
    mode: String,
    /// The mount point that it was found on.
    mount: String,
    /// True when its mount ignores set-user-ID bits and capabilities.
    mount_is_nosuid: bool,
    /// Last change of its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime_ns: Option<Nanos>,
    /// Number of hard links.
    nlink: u64,
    /// Why it has no digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_read: Option<String>,
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
    /// Another of the system's programs with the same content, for a file that gives rights.
    #[serde(skip_serializing_if = "Option::is_none")]
    same_content_as: Option<String>,
    /// Digest of a regular file.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    /// Size in bytes.
    size: u64,
    /// file, dir, symlink, fifo, socket, char or block.
    #[serde(rename = "type")]
    file_type: &'static str,
    /// Owning user.
    uid: u32,
}

impl Collect for SuidAndCapabilities {
    const NAME: &'static str = "suid_and_capabilities";
    const TIER: Tier = Tier::Files;
    const SUMMARY: &'static str =
        "Set-ID bits, file capabilities, immutable flags, what everybody may write to, what nobody known owns.";
    const NEEDS: &'static [&'static str] = &["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let owners = PackageDatabase::read(session, Wanted::Owners)?.owners;
        let (ids, failed) = session.host().ids();
        for (path, error) in failed {
            let item = session.item(Kind::File, path, "read", Status::Error).failed(&error);
            session.note(item.because("which owners are known is not known"))?;
        }
        let of_step = session.file_bytes_max().unwrap_or(u64::MAX);
        let file_bytes_max = self.file_bytes_max.map_or(FILE_BYTES_MAX, |size| size.0).min(of_step);
        let mut search = Search { owners, ids, file_bytes_max, programs: programs(session)?, common: 0 };
        let asked = asked_of(session.host(), &self.paths, &self.exclude);
        each_asked(session, &asked, |session, entry, _| search.one(session, entry))?;
        Ok(())
    }

    fn rows() -> Vec<RowType> {
        vec![RowType::of::<Row<'static>>(Self::NAME, "inode(7), capabilities(7), statx(2), chattr(1)")]
    }

    fn plan(&self, host: &Host) -> Plan {
        plan_of(host, &self.paths)
    }
}

/// The programs of the system, by size: paths and inodes.
type Programs = HashMap<u64, Vec<(Vec<u8>, (u64, u64))>>;

fn programs(session: &mut Session) -> Result<Programs, Stopped> {
    let mut programs = Programs::new();
    let mut seen = HashSet::new();
    let globs = ["/{bin,sbin,usr/bin,usr/sbin,usr/local/bin,usr/libexec}/*"];
    each_object(session, &globs, |_, entry, _| {
        let size = entry.stat.stx_size;
        let is_program = entry.file_type() == Type::File && size > 0;
        if is_program && seen.insert(inode_of(entry.stat)) {
            let of_size = programs.entry(size).or_default();
            if of_size.len() < CANDIDATES_MAX {
                of_size.push((entry.path.to_vec(), inode_of(entry.stat)));
            }
        }
        Ok(())
    })?;
    Ok(programs)
}

struct Search {
    owners: Owners,
    ids: Ids,
    file_bytes_max: u64,
    programs: Programs,
    common: u64,
}

impl Search {
    fn one(&mut self, session: &mut Session, entry: &Entry<'_>) -> Result<(), Stopped> {
        let kind = entry.file_type();
        if kind == Type::Link {
            return Ok(());
        }
        let mode = entry.stat.stx_mode;
        let is_file = kind == Type::File;
        let mut meta = meta_of(entry.stat, Some(entry.view.mount()));
        if is_file && mode & 0o111 != 0 {
            add_capability_at(&mut meta, entry.folder, entry.name);
        }
        let has_flag = |flag: &str| meta.flags.iter().any(|known| known == flag);
        let row = Row {
            capabilities: capabilities(&meta),
            capabilities_b64: meta.xattrs_b64.get(file_capabilities::NAME).map(String::as_str),
            capabilities_root_uid: FileCapabilities::of(&meta).and_then(|found| found.root_uid),
            has_known_group: self.ids.has_gid(meta.gid),
            has_known_user: self.ids.has_uid(meta.uid),
            is_append_only: has_flag("append"),
            is_device_outside_dev: matches!(kind, Type::Char | Type::Block) && !entry.path.starts_with(b"/dev/"),
            is_immutable: has_flag("immutable"),
            // Without the group's execute bit the bit meant mandatory locking, and means nothing now (inode(7)).
            is_setgid: is_file && mode & SGID != 0 && mode & 0o010 != 0,
            is_setuid: is_file && mode & SUID != 0,
            is_unsticky_folder: kind == Type::Folder && mode & 0o002 != 0 && mode & STICKY == 0,
            is_writable_by_others: mode & 0o002 != 0 && matches!(kind, Type::File | Type::Folder),
            btime_ns: meta.btime_ns,
            ctime_ns: meta.ctime_ns,
            file_type: kind.name(),
            gid: meta.gid,
            inode: meta.ino,
            mode: meta.mode.clone(),
            mount: meta.mount.clone().unwrap_or_default(),
            mount_is_nosuid: entry.view.mount().options.split(|byte| *byte == b',').any(|option| option == b"nosuid"),
            mtime_ns: meta.mtime_ns,
            nlink: meta.nlink,
            not_read: None,
            package: None,
            package_owned: None,
            path: String::new(),
            path_b64: None,
            same_content_as: None,
            sha256: None,
            size: meta.size,
            uid: meta.uid,
        };
        let gives_rights = row.is_setuid || row.is_setgid || row.capabilities.is_some();
        let is_rare = gives_rights || row.is_append_only || row.is_immutable || row.is_device_outside_dev;
        // A sticky folder that everybody may write to is what /tmp is, and still worth its one row.
        let is_common =
            row.is_writable_by_others || row.has_known_user == Some(false) || row.has_known_group == Some(false);
        if !is_rare && !is_common {
            return Ok(());
        }
        if !is_rare {
            self.common += 1;
            if self.common == COMMON_ROWS_MAX {
                session.limited(format!(
                    "more than {COMMON_ROWS_MAX} objects that everybody may write to or nobody owns"
                ))?;
            }
            if self.common > COMMON_ROWS_MAX {
                return session.go_on();
            }
        }
        self.write(session, entry, row, gives_rights)
    }

    fn write(&self, session: &mut Session, entry: &Entry<'_>, row: Row<'_>, gives_rights: bool) -> Result<(), Stopped> {
        let (path, path_b64) = shown(entry.path);
        let mut row = Row { path, path_b64, ..row };
        if entry.file_type() == Type::File {
            session.at(entry.path);
            match sha256(session, entry, self.file_bytes_max)? {
                Ok(found) => row.sha256 = Some(found),
                Err(why) => row.not_read = Some(why),
            }
            let package = self.owners.owner(entry.path);
            row.package_owned = (!self.owners.is_empty()).then_some(package.is_some());
            row.package = package;
        }
        if let (true, Some(digest)) = (gives_rights, row.sha256) {
            row.same_content_as = self.twin(session, entry, digest)?;
        }
        session.row(&row)
    }

    /// A program of the system with the same content, another inode.
    fn twin(&self, session: &mut Session, entry: &Entry<'_>, digest: Sha256) -> Result<Option<String>, Stopped> {
        let own = inode_of(entry.stat);
        for (path, inode) in self.programs.get(&entry.stat.stx_size).into_iter().flatten() {
            if *inode == own {
                continue;
            }
            let Ok((file, stat)) = session.host().open_file(path) else { continue };
            let found = self::digest(session, file.as_fd(), stat.stx_size, self.file_bytes_max)?;
            if found.sha256 == Some(digest) {
                return Ok(Some(shown(path).0));
            }
        }
        Ok(None)
    }
}

fn capabilities(meta: &Meta) -> Option<String> {
    meta.xattrs_b64.get(file_capabilities::NAME)?;
    Some(FileCapabilities::of(meta).map_or_else(|| "malformed".to_owned(), |found| found.to_string()))
}

fn sha256(session: &mut Session, entry: &Entry<'_>, bytes_max: u64) -> Result<Result<Sha256, String>, Stopped> {
    let (file, stat) = match entry.open_regular() {
        Ok(opened) => opened,
        Err(error) => {
            let why = error.to_string();
            note_missed(session, entry.path, Missed::Error(error))?;
            return Ok(Err(why));
        }
    };
    let size = stat.stx_size;
    // What everybody may write to may be as long as a disk (a sparse file of a terabyte): it is not even begun.
    if size > bytes_max {
        return Ok(Err(format!("longer than {}", ByteSize(bytes_max))));
    }
    let found = digest(session, file.as_fd(), size, bytes_max)?;
    uncache(file.as_fd(), size);
    Ok(found.sha256.ok_or_else(|| match found.error {
        Some(error) => std::io::Error::from(error).to_string(),
        None => "parts of it could not be read".to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use bundle::time::Instant;
    use rustix::fs::{CWD, FileType, Gid, Mode, Uid, XattrFlags, mknodat, setxattr};

    use super::*;
    use crate::host::FixedClock;
    use crate::run::testing::{assert_keys_sorted, collect, rows};

    #[test]
    fn what_gives_rights_has_a_row() {
        let tree = tempfile::tempdir().unwrap();
        let at = |path: &str| tree.path().join(path);
        let write = |path: &str, content: &[u8], mode: u32| {
            std::fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            std::fs::write(at(path), content).unwrap();
            std::fs::set_permissions(at(path), PermissionsExt::from_mode(mode)).unwrap();
        };
        let own = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        write("etc/passwd", format!("me:x:{}:{}::/:\n", own.0, own.1).as_bytes(), 0o644);
        write("etc/group", format!("us:x:{}:\n", own.1).as_bytes(), 0o644);
        write("usr/bin/dash", b"a shell", 0o755);
        write("usr/bin/same", b"another", 0o755);
        write("usr/bin/su", b"su", 0o4755);
        write("usr/bin/plain", b"plain", 0o755);
        write("usr/bin/locks", b"x", 0o2644);
        write("usr/bin/wall", b"wall", 0o2755);
        write("opt/.suid", b"a shell", 0o4755);
        write("opt/log", b"", 0o666);
        for (path, mode) in [("tmp", 0o1777), ("opt/open", 0o777)] {
            std::fs::create_dir_all(at(path)).unwrap();
            std::fs::set_permissions(at(path), PermissionsExt::from_mode(mode)).unwrap();
        }
        std::os::unix::fs::symlink("/x", at("opt/link")).unwrap();
        write("var/lib/dpkg/status", b"Package: a\nStatus: install ok installed\nVersion: 1\n", 0o644);
        write("var/lib/dpkg/info/a.list", b"/usr/bin/su\n", 0o644);
        write("opt/capped", b"python", 0o755);
        write("opt/lost", b"", 0o644);
        let value = [1, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let is_root = setxattr(at("opt/capped"), file_capabilities::NAME, &value, XattrFlags::empty()).is_ok()
            && rustix::fs::chown(at("opt/lost"), Some(Uid::from_raw(4711)), Some(Gid::from_raw(4712))).is_ok();
        let fifo = at("opt/fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();

        let host = Arc::new(Host::at(tree.path(), FixedClock(Instant(0))));
        let messages = collect(&SuidAndCapabilities::default(), host);
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        let row =
            |path: &str| rows.iter().find(|row| row["path"] == path).unwrap_or_else(|| panic!("{path}: {rows:?}"));
        let copied = row("/opt/.suid");
        assert_eq!((&copied["is_setuid"], &copied["same_content_as"]), (&true.into(), &"/usr/bin/dash".into()));
        assert_eq!(
            (&copied["package_owned"], &copied["sha256"]),
            (&false.into(), &Sha256::of(b"a shell").to_string().into())
        );
        assert_eq!(
            (&row("/usr/bin/su")["package"], &row("/usr/bin/su")["same_content_as"]),
            (&"a".into(), &serde_json::Value::Null)
        );
        assert_eq!(
            (&row("/usr/bin/wall")["is_setgid"], &row("/opt/log")["is_writable_by_others"]),
            (&true.into(), &true.into())
        );
        assert_eq!(
            (&row("/tmp")["is_unsticky_folder"], &row("/opt/open")["is_unsticky_folder"]),
            (&false.into(), &true.into())
        );
        let mut paths: Vec<_> = rows.iter().map(|row| row["path"].as_str().unwrap()).collect();
        if is_root {
            let capped = row("/opt/capped");
            assert_eq!((&capped["capabilities"], &capped["is_setuid"]), (&"cap_setuid=ep".into(), &false.into()));
            let lost = row("/opt/lost");
            assert_eq!((&lost["has_known_user"], &lost["has_known_group"]), (&false.into(), &false.into()));
            paths.retain(|path| !matches!(*path, "/opt/capped" | "/opt/lost"));
        }
        let expected = ["/opt/.suid", "/opt/log", "/opt/open", "/tmp", "/usr/bin/su", "/usr/bin/wall"];
        assert_eq!(paths, expected);
    }

    #[test]
    fn this_host_has_a_folder_for_everybody() {
        let glob = Glob::parse("/tmp").unwrap();
        let only = SuidAndCapabilities { paths: vec![glob], ..SuidAndCapabilities::default() };
        let rows = rows(&collect(&only, Arc::new(Host::live())));
        let row = rows.iter().find(|row| row["path"] == "/tmp");
        let mode = std::fs::metadata("/tmp").unwrap().permissions().mode();
        assert_eq!(row.is_some(), mode & 0o002 != 0);
    }
}
