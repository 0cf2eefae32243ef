//! Pins: the files of every mounted bpffs, each opened to see what it is.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use bundle::item::{Kind as ItemKind, Nanos, Status, shown};
use rustix::fs::{Mode, OFlags, Statx};
use schemars::JsonSchema;
use serde::Serialize;

use super::Objects;
use super::holders::object_in;
use crate::host::meta::{Type, nanoseconds};
use crate::host::mounts::Mount;
use crate::host::proc;
use crate::host::sys::bpf::{self, Kind};
use crate::host::views::stat;
use crate::run::session::{Session, Stopped};

/// Files of all instances.
const PINS_MAX: usize = 20_000;
/// Folders in folders.
const DEPTH_MAX: usize = 32;

/// A file of a bpffs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PinRow {
    /// Owning group.
    gid: u32,
    /// Number of the object, as in the rows of its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    /// `st_mode` as seven octal digits.
    mode: String,
    /// When it was pinned.
    mtime_ns: Nanos,
    /// Its path, as the process `pid` sees it.
    path: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// A process whose mount namespace has this bpffs.
    pid: u32,
    /// `pin`.
    record: &'static str,
    /// program, map or link; absent when it could not be opened.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    /// Owner.
    uid: u32,
}

/// Walks the instances and adds where objects are pinned to `objects`.
pub fn find(
    session: &mut Session,
    instances: &BTreeMap<(u32, u32), (u32, Mount)>,
    objects: &mut Objects,
) -> Result<Vec<PinRow>, Stopped> {
    let own: Vec<Mount> = session.host().mount_table().map(|table| table.all().to_vec()).unwrap_or_default();
    let mut walk = Walk { objects, rows: Vec::new(), pid: 0 };
    for (device, (pid, mount)) in instances {
        // Through our own mount namespace it can be cloned, and no access time moves.
        let ours = own.iter().find(|own| (own.major, own.minor) == *device && own.root == mount.root);
        walk.pid = if ours.is_some() { std::process::id() } else { *pid };
        let mount = ours.unwrap_or(mount);
        let root = match ours {
            Some(ours) => session.host().view(ours).and_then(|view| view.open_folder(view.root(), c"")),
            None => open_foreign(*pid, &mount.point),
        };
        match root {
            Ok(root) => walk.folder(session, &root, &mount.point, 0)?,
            Err(error) => {
                let item = session.item(ItemKind::Record, mount.point.clone(), "bpf", Status::Error).failed(&error);
                session.note(item.because(format!("the bpffs that process {pid} sees")))?;
            }
        }
    }
    Ok(walk.rows)
}

/// The mount as a process of another mount namespace sees it.
fn open_foreign(pid: u32, point: &[u8]) -> io::Result<OwnedFd> {
    let path = [format!("/proc/{pid}/root").as_bytes(), point].concat();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(std::ffi::OsStr::from_bytes(&path), flags, Mode::empty())?)
}

struct Walk<'a> {
    objects: &'a mut Objects,
    rows: Vec<PinRow>,
    pid: u32,
}

impl Walk<'_> {
    fn folder(&mut self, session: &mut Session, folder: &OwnedFd, path: &[u8], depth: usize) -> Result<(), Stopped> {
        let names = match proc::names(folder.as_fd()) {
            Ok(names) => names,
            Err(error) => return session.unreadable(path, &error),
        };
        for name in names {
            session.go_on()?;
            let path = [path, b"/", name.to_bytes()].concat();
            if self.rows.len() >= PINS_MAX || depth >= DEPTH_MAX {
                return session.limited(format!("only {PINS_MAX} pins, {DEPTH_MAX} folders deep, are listed"));
            }
            let found = match stat(folder.as_fd(), &name) {
                Ok(found) => found,
                Err(error) => {
                    session.unreadable(path, &error)?;
                    continue;
                }
            };
            match Type::of(found.stx_mode) {
                Type::Folder => match proc::open_dir(folder.as_fd(), &name) {
                    Ok(child) => self.folder(session, &child, &path, depth + 1)?,
                    Err(error) => session.unreadable(path, &error)?,
                },
                Type::File => self.pin(session, folder, &name, &path, &found)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn pin(
        &mut self,
        session: &mut Session,
        folder: &OwnedFd,
        name: &CString,
        path: &[u8],
        found: &Statx,
    ) -> Result<(), Stopped> {
        let through = [format!("/proc/thread-self/fd/{}/", folder.as_raw_fd()).as_bytes(), name.to_bytes()].concat();
        let opened = CString::new(through).map_err(io::Error::from).and_then(|path| bpf::open_pin(&path));
        let object = match opened.and_then(|object| {
            let text = session.host().read(format!("/proc/thread-self/fdinfo/{}", object.as_raw_fd()), 4096)?;
            Ok(object_in(&text))
        }) {
            Ok(object) => object,
            Err(error) => {
                // The file is there: what it was pinned for may be gone, which the kernel says with ENOENT.
                let mut item = session.item(ItemKind::Record, path, "bpf", Status::Error).failed(&error);
                if item.status == Status::Vanished {
                    item.status = Status::Error;
                }
                session.note(item.because("BPF_OBJ_GET was refused"))?;
                None
            }
        };
        let (text, path_b64) = shown(path);
        if let Some(object) = object {
            self.objects.entry(object).or_default().pinned_at.push(text.clone());
        }
        self.rows.push(PinRow {
            gid: found.stx_gid,
            id: object.map(|(_, id)| id),
            mtime_ns: Nanos(nanoseconds(found.stx_mtime)),
            mode: format!("{:07o}", found.stx_mode),
            path: text,
            path_b64,
            pid: self.pid,
            record: "pin",
            kind: object.and_then(|(kind, _)| match kind {
                Kind::Program => Some("program"),
                Kind::Map => Some("map"),
                Kind::Link => Some("link"),
                Kind::Btf => None,
            }),
            uid: found.stx_uid,
        });
        Ok(())
    }
}
