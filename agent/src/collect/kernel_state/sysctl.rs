//! Everything under `/proc/sys` that can be read without doing anything by it.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use bundle::item::shown;
use rustix::fs::{AtFlags, FileType, StatxFlags};
use schemars::JsonSchema;
use serde::Serialize;

use crate::host::proc::{self, Hands, Pages};
use crate::run::session::{Session, Stopped};

/// Settings that are read.
const SETTINGS_MAX: usize = 20_000;
/// Folders in folders.
const DEPTH_MAX: usize = 12;
/// Bytes of one value.
const VALUE_BYTES_MAX: usize = 64 << 10;
/// What is left out: reading acts or makes something up, a mount of its own, or rows of another collector.
const LEFT_OUT: [&str; 8] = [
    "fs/binfmt_misc",
    "kernel/random/uuid",
    "net/ipv4/conf",
    "net/ipv4/neigh",
    "net/ipv6/conf",
    "net/ipv6/neigh",
    "vm/compact_memory",
    "vm/stat_refresh",
];

/// A setting of the kernel.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SysctlRow {
    /// Its name as sysctl(8) writes it: `kernel.randomize_va_space`.
    name: String,
    /// Its file.
    path: String,
    /// `sysctl`.
    record: &'static str,
    /// Its text without the line's end.
    value: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    value_b64: Option<String>,
}

/// Hands over every setting, by name.
pub fn collect(session: &mut Session) -> Result<(), Stopped> {
    match session.host().dir("/proc/sys") {
        Ok(root) => Walk::default().folder(session, &root, "", 0),
        Err(error) => session.unreadable("/proc/sys", &error),
    }
}

#[derive(Default)]
struct Walk {
    pages: Pages,
    settings: usize,
}

impl Walk {
    fn folder(&mut self, session: &mut Session, folder: &OwnedFd, path: &str, depth: usize) -> Result<(), Stopped> {
        let names = match proc::names(folder.as_fd()) {
            Ok(names) => names,
            Err(error) => return session.unreadable(format!("/proc/sys/{path}"), &error),
        };
        for name in names {
            session.go_on()?;
            let part = name.to_string_lossy();
            let path = if path.is_empty() { part.into_owned() } else { format!("{path}/{part}") };
            if LEFT_OUT.contains(&path.as_str()) {
                continue;
            }
            if self.settings >= SETTINGS_MAX || depth >= DEPTH_MAX {
                return session.limited(format!("only {SETTINGS_MAX} settings, {DEPTH_MAX} folders deep, are read"));
            }
            let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
            let Ok(found) = rustix::fs::statx(folder, &name, flags, StatxFlags::BASIC_STATS) else { continue };
            match FileType::from_raw_mode(u32::from(found.stx_mode)) {
                FileType::Directory => match proc::open_dir(folder.as_fd(), &name) {
                    Ok(child) => self.folder(session, &child, &path, depth + 1)?,
                    Err(error) => session.unreadable(format!("/proc/sys/{path}"), &error)?,
                },
                // One that nobody may read only takes orders.
                FileType::RegularFile if found.stx_mode & 0o444 != 0 => self.setting(session, folder, &name, &path)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn setting(&mut self, session: &mut Session, folder: &OwnedFd, name: &CString, path: &str) -> Result<(), Stopped> {
        self.settings += 1;
        self.pages.clear();
        match self.pages.read(folder.as_fd(), name, Hands::InPieces, VALUE_BYTES_MAX) {
            Ok(piece) => {
                let (value, value_b64) = shown(self.pages.get(piece).trim_ascii_end());
                session.row(&SysctlRow {
                    // An interface's name may have a dot, which sysctl(8) writes as a slash.
                    name: path.replace('.', "\0").replace('/', ".").replace('\0', "/"),
                    path: format!("/proc/sys/{path}"),
                    record: "sysctl",
                    value,
                    value_b64,
                })
            }
            // Settings of hardware or of features that are not there answer with an error of their own.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => Ok(()),
            Err(error) => session.unreadable(format!("/proc/sys/{path}"), &error),
        }
    }
}
