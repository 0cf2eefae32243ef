//! The images that processes run: one row per image, with its digest and the processes that run it.
//!
//! An image is read through `/proc/PID/exe`, which leads to the file itself, whatever lies at its path by now. Images
//! that have no name any more (deleted, memfd) exist only as long as their processes: they come first, and are kept
//! whole. An image on a network or FUSE mount is not read: its server may not answer.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use bundle::item::{Kind, Nanos, Status, shown};
use rustix::fs::{Mode, OFlags, Statx};
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::{ByteSize, Sha256, Tier};

use super::mount_rules::MountRules;
use super::per_process::every_process;
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::copy::FILE_BYTES_MAX;
use crate::files::digest::{Digested, digest};
use crate::files::kept::{Outcome, inode_name, keep};
use crate::host::Host;
use crate::host::meta::{inode_of, meta_of, nanoseconds};
use crate::host::proc::{Processes, deleted};
use crate::host::views::stat;
use crate::run::session::Session;

/// How many other paths of one image are named.
const OTHER_PATHS_MAX: usize = 16;

/// Arguments of `collect: process_images`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessImages {
    /// The most bytes of one image: 1 GiB when nothing is said.
    #[serde(default)]
    file_bytes_max: Option<ByteSize>,
}

/// One image. What is not said otherwise is from statx(2) of what `/proc/PID/exe` leads to.
#[derive(Debug, JsonSchema, Serialize)]
struct Row {
    /// Birth, nanoseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    btime_ns: Option<Nanos>,
    /// Last change of the inode, nanoseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    ctime_ns: Option<Nanos>,
    /// True when no name leads to it: the link's text ends in ` (deleted)`, or it has no links.
    deleted: bool,
    /// Device, `major:minor`.
    dev: String,
    /// Owning group.
    gid: u32,
    /// Inode number.
    ino: u64,
    /// True when it was made by memfd_create(2).
    memfd: bool,
    /// `st_mode` as seven octal digits.
    mode: String,
    /// Last change of the content, nanoseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime_ns: Option<Nanos>,
    /// Number of hard links.
    nlink: u64,
    /// Why it was not digested.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_read: Option<String>,
    /// Other texts of the link, in other processes (hard links, other mount namespaces).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_paths: Vec<String>,
    /// The text of the link `/proc/PID/exe`, proc_pid_exe(5), in the first of `pids`.
    path: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// The processes that run it, ascending.
    pids: Vec<u32>,
    /// Digest of the whole image.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    /// Size in bytes.
    size: u64,
    /// The entry of the bundle that holds a deleted one.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<String>,
    /// Owning user.
    uid: u32,
}

/// An image on a mount that is not entered: nothing but the link's text is known.
#[derive(Debug, JsonSchema, Serialize)]
struct RemoteRow {
    /// The rule that kept it from being read.
    not_read: String,
    /// See [`Row::path`].
    path: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// See [`Row::pids`].
    pids: Vec<u32>,
}

/// An image and who runs it.
struct Image {
    paths: Vec<Vec<u8>>,
    pids: Vec<u32>,
    stat: Statx,
}

impl Image {
    fn path(&self) -> &[u8] {
        self.paths.first().map_or(b"", Vec::as_slice)
    }

    fn is_deleted(&self) -> bool {
        self.stat.stx_nlink == 0 || self.paths.iter().all(|path| deleted(path).1)
    }

    fn row(&self) -> Row {
        let meta = meta_of(&self.stat, None);
        let (path, path_b64) = shown(self.path());
        Row {
            btime_ns: meta.btime_ns,
            ctime_ns: meta.ctime_ns,
            deleted: self.is_deleted(),
            dev: meta.dev,
            gid: meta.gid,
            ino: meta.ino,
            memfd: self.path().starts_with(b"/memfd:") && self.is_deleted(),
            mode: meta.mode,
            mtime_ns: meta.mtime_ns,
            nlink: meta.nlink,
            not_read: None,
            other_paths: self.paths.iter().skip(1).map(|path| shown(path).0).collect(),
            path,
            path_b64,
            pids: self.pids.clone(),
            sha256: None,
            size: meta.size,
            stored: None,
            uid: meta.uid,
        }
    }
}

/// What runs on this host.
#[derive(Default)]
struct Found {
    images: HashMap<(u64, u64), Image>,
    remote: BTreeMap<(Vec<u8>, String), Vec<u32>>,
}

impl Collect for ProcessImages {
    const NAME: &'static str = "process_images";
    const TIER: Tier = Tier::Memory;
    const SUMMARY: &'static str = "Digests of all running images; deleted and memfd ones first, with their content.";
    const NEEDS: &'static [&'static str] = &["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"];

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<Row>("process_image", "proc_pid_exe(5), statx(2)"),
            RowType::of::<RemoteRow>("process_image_on_remote_mount", "proc_pid_exe(5)"),
        ]
    }

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let found = find(session)?;
        let host = std::sync::Arc::clone(session.host());
        let mut processes = Processes::of(&host).map_err(Failure::reading("/proc"))?;
        let mut images: Vec<Image> = found.images.into_values().collect();
        images.sort_by(|a, b| {
            let order = |image: &Image| (!image.is_deleted(), image.pids.first().copied());
            order(a).cmp(&order(b)).then_with(|| a.path().cmp(b.path()))
        });
        for image in &images {
            session.go_on()?;
            self.image(session, &mut processes, image)?;
        }
        for ((path, rule), pids) in found.remote {
            let item = session.item(Kind::Record, path.as_slice(), "procfs exe", Status::Skipped);
            session.note(item.because(rule.as_str()))?;
            let (path, path_b64) = shown(&path);
            session.row(&RemoteRow { not_read: rule, path, path_b64, pids })?;
        }
        Ok(())
    }

    fn plan(&self, _host: &Host) -> Plan {
        Plan { reads: vec!["/proc/PID/exe".to_owned()], ..Plan::default() }
    }
}

impl ProcessImages {
    fn image(&self, session: &mut Session, processes: &mut Processes, image: &Image) -> Result<(), Failure> {
        let mut row = image.row();
        let of_step = session.file_bytes_max().unwrap_or(FILE_BYTES_MAX);
        let bytes_max = self.file_bytes_max.map_or(FILE_BYTES_MAX, |size| size.0).min(of_step);
        let kind = if image.is_deleted() { Kind::Deleted } else { Kind::File };
        let item = session.item(kind, image.path(), "procfs exe", Status::Ok);
        let item = item.with_meta(meta_of(&image.stat, None));
        let opened = match open(processes, image) {
            Ok(opened) => opened,
            Err(error) => {
                row.not_read = Some(error.to_string());
                session.note(item.failed(&error))?;
                return Ok(session.row(&row)?);
            }
        };
        let size = image.stat.stx_size;
        if image.is_deleted() {
            let outcome = match session.kept(inode_of(&image.stat)) {
                // `deleted_files` was here before.
                Some(kept) => Outcome::of(kept),
                None => {
                    let name = format!("data/{}/{}/{}.bin", Self::TIER, Self::NAME, inode_name(&image.stat));
                    keep(session, &opened, &image.stat, bytes_max, (item, &name))?
                }
            };
            (row.sha256, row.not_read, row.stored) = (outcome.sha256, outcome.not_read, outcome.stored);
            return Ok(session.row(&row)?);
        }
        let digested = digest(session, opened.as_fd(), size, bytes_max)?;
        row.sha256 = digested.sha256;
        row.not_read = not_read(&digested, size, bytes_max);
        Ok(session.row(&row)?)
    }
}

fn not_read(digested: &Digested, size: u64, bytes_max: u64) -> Option<String> {
    match digested {
        Digested { sha256: Some(_), .. } => None,
        Digested { error: Some(error), .. } => Some(io::Error::from(*error).to_string()),
        _ if size > bytes_max => Some(format!("longer than {}", ByteSize(bytes_max))),
        _ => Some("parts of it could not be read".to_owned()),
    }
}

/// Looks at every process's image without reading it.
fn find(session: &mut Session) -> Result<Found, Failure> {
    let mut found = Found::default();
    let mut rules = MountRules::default();
    every_process(session, |session, walk, pid, process| {
        let at = (pid, process.dir.as_fd());
        // Threads of the kernel and zombies run no image.
        walk.bare = true;
        let Some(link) = walk.link(session, at, c"exe")? else { return Ok(()) };
        let path = walk.pages.get(link).to_vec();
        if let Some(rule) = rules.of_path(session, walk, at, &path)? {
            found.remote.entry((path, rule)).or_default().push(pid);
            return Ok(());
        }
        session.at(&path);
        match look(process.dir.as_fd()) {
            Ok(stat) => {
                let image = found.images.entry(inode_of(&stat));
                let image = image.or_insert_with(|| Image { paths: Vec::new(), pids: Vec::new(), stat });
                image.pids.push(pid);
                if !image.paths.contains(&path) && image.paths.len() <= OTHER_PATHS_MAX {
                    image.paths.push(path);
                }
            }
            Err(error) => walk.failed(session, at, c"exe", &error)?,
        }
        Ok(())
    })?;
    Ok(found)
}

fn look(process: BorrowedFd<'_>) -> io::Result<Statx> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let image = rustix::fs::openat(process, c"exe", flags, Mode::empty())?;
    stat(image.as_fd(), c"")
}

/// Opens an image through the first of its processes that still runs it.
fn open(processes: &mut Processes, image: &Image) -> io::Result<OwnedFd> {
    let mut last = io::Error::from(Errno::SRCH);
    for pid in &image.pids {
        match open_of(processes, *pid, &image.stat) {
            Ok(opened) => return Ok(opened),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn open_of(processes: &mut Processes, pid: u32, wanted: &Statx) -> io::Result<OwnedFd> {
    let process = processes.open(pid)?;
    let found = look(process.dir.as_fd())?;
    let is_same = inode_of(&found) == inode_of(wanted) && nanoseconds(found.stx_ctime) == nanoseconds(wanted.stx_ctime);
    // Another image may lie on another mount, which nobody has looked at.
    if !is_same {
        return Err(Errno::SRCH.into());
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = |flags| rustix::fs::openat(&process.dir, c"exe", flags, Mode::empty());
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => Ok(open(flags)?),
        outcome => Ok(outcome?),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    use std::process::{Child, Command, Stdio};
    use std::sync::Arc;

    use super::*;
    use crate::run::session::Message;
    use crate::run::testing::{collect, items, rows};

    /// A child that runs until its input ends.
    struct Running(Child);

    impl Running {
        fn of(program: impl AsRef<std::ffi::OsStr>) -> Self {
            Self(Command::new(program).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            drop(self.0.stdin.take());
            self.0.wait().unwrap();
        }
    }

    #[test]
    fn deleted_images_come_first_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sleeper");
        let cat = std::fs::read("/bin/cat").unwrap();
        std::fs::copy("/bin/cat", &path).unwrap();
        let on_disk = Running::of("/bin/cat");
        let removed = Running::of(&path);
        std::fs::remove_file(&path).unwrap();
        let memory = rustix::fs::memfd_create("payload", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        std::fs::File::from(memory.try_clone().unwrap()).write_all(&cat).unwrap();
        let in_memory = Running::of(format!("/proc/self/fd/{}", memory.as_raw_fd()));
        let messages = collect(&ProcessImages::default(), Arc::new(Host::live()));
        let rows = rows(&messages);
        let digest = Sha256::of(&cat).to_string();
        let row = |child: &Running| {
            let pid = serde_json::Value::from(child.0.id());
            let is_its = |row: &&serde_json::Value| row["pids"].as_array().unwrap().contains(&pid);
            rows.iter().position(|row| is_its(&row)).unwrap()
        };
        for (child, is_deleted, is_memfd) in
            [(&removed, true, false), (&in_memory, true, true), (&on_disk, false, false)]
        {
            let row = &rows[row(child)];
            assert_eq!((&row["deleted"], &row["memfd"]), (&is_deleted.into(), &is_memfd.into()), "{row}");
            assert_eq!(row["sha256"], digest.as_str());
        }
        assert!(row(&removed) < row(&on_disk) && row(&in_memory) < row(&on_disk));
        let kept: Vec<_> = messages
            .iter()
            .filter_map(|message| match message {
                Message::Whole(item, content) if *content == cat => Some((item.kind, item.entry.clone().unwrap())),
                _ => None,
            })
            .collect();
        assert_eq!(kept.len(), 1, "one content, stored once: {:?}", items(&messages));
        assert_eq!(kept[0].0, Kind::Deleted);
        for child in [&removed, &in_memory] {
            assert_eq!(rows[row(child)]["stored"], kept[0].1.as_str());
        }
        assert!(rows[row(&on_disk)].get("stored").is_none());
    }
}
