//! Files that are replaced or put back with all that is known of them: owner, mode, times, extended attributes (ACLs,
//! SELinux' label, capabilities among them). Everything goes by descriptors: the folders may be an intruder's.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::host::Host;

/// Attributes of one file, and bytes of each: what the kernel allows at most (xattr(7)).
const XATTR_BYTES_MAX: usize = 64 << 10;

/// What a file is beside its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    gid: u32,
    mode: u32,
    /// Of the last access and of the last change; without them the file is as new as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<[(i64, i64); 2]>,
    uid: u32,
    /// Names and values, in base64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    xattrs: Vec<(String, String)>,
}

impl Meta {
    /// Of an open file.
    ///
    /// # Errors
    /// As fstat(2) and flistxattr(2).
    pub fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self {
            gid: meta.gid(),
            mode: meta.mode() & 0o7777,
            times: Some([(meta.atime(), meta.atime_nsec()), (meta.mtime(), meta.mtime_nsec())]),
            uid: meta.uid(),
            xattrs: xattrs(file)?,
        })
    }

    /// The same of a file that is changed now, and says so.
    #[must_use]
    pub fn changed(&self) -> Self {
        Self { times: None, ..self.clone() }
    }

    /// Gives it to another file; what its file system cannot hold is an error.
    ///
    /// # Errors
    /// As the system calls.
    pub fn give(&self, file: &File) -> io::Result<()> {
        // The owner first: changing it takes capabilities and set-user-ID bits away.
        rustix::fs::fchown(file, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))?;
        let own: Vec<(String, String)> = xattrs(file)?;
        for (name, _) in own.iter().filter(|(name, _)| !self.xattrs.iter().any(|(wanted, _)| wanted == name)) {
            // A label that the system gave and the other file had not: SELinux lets nobody take it away.
            let _ = rustix::fs::fremovexattr(file, decoded(name)?.as_slice());
        }
        for (name, value) in self.xattrs.iter().filter(|one| !own.contains(one)) {
            rustix::fs::fsetxattr(file, decoded(name)?.as_slice(), &decoded(value)?, XattrFlags::empty())?;
        }
        rustix::fs::fchmod(file, Mode::from_bits_truncate(self.mode))?;
        let Some([access, change]) = self.times else { return Ok(()) };
        let at = |(secs, nanos): (i64, i64)| Timespec { tv_sec: secs, tv_nsec: nanos };
        Ok(rustix::fs::futimens(file, &Timestamps { last_access: at(access), last_modification: at(change) })?)
    }
}

fn decoded(text: &str) -> io::Result<Vec<u8>> {
    BASE64_STANDARD.decode(text).map_err(io::Error::other)
}

fn xattrs(file: &File) -> io::Result<Vec<(String, String)>> {
    let mut buffer = vec![0; XATTR_BYTES_MAX];
    let length = match rustix::fs::flistxattr(file, buffer.as_mut_slice()) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        length => length?,
    };
    let names: Vec<Vec<u8>> = buffer
        .get(..length)
        .unwrap_or_default()
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    let mut found = Vec::new();
    for name in names {
        let length = match rustix::fs::fgetxattr(file, name.as_slice(), buffer.as_mut_slice()) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => continue,
            length => length?,
        };
        let value = buffer.get(..length).unwrap_or_default();
        found.push((BASE64_STANDARD.encode(&name), BASE64_STANDARD.encode(value)));
    }
    found.sort();
    Ok(found)
}

/// The folder of `path` and the last name in it, gone to from `from` name by name: no link is followed on the way.
///
/// # Errors
/// As openat(2): `NotADirectory` where a link stands in the way. `InvalidInput` for a path that is none.
pub fn folder_below(from: OwnedFd, path: &Path) -> io::Result<(OwnedFd, &OsStr)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut at = from;
    for part in folder.components() {
        match part {
            Component::RootDir => {}
            Component::Normal(part) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
                at = rustix::fs::openat(&at, part, flags, Mode::empty())?;
            }
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    Ok((at, name))
}

/// The same from the host's root.
///
/// # Errors
/// As [`folder_below`].
pub fn folder_of<'a>(host: &Host, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
    folder_below(host.dir("/")?, path)
}

/// Opens a regular file in a folder, and no other thing; nothing waits for a FIFO.
///
/// # Errors
/// As openat(2): `ELOOP` for a link; `InvalidInput` for what is no regular file.
pub fn open_regular(folder: BorrowedFd<'_>, name: &OsStr) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = match rustix::fs::openat(folder, name, flags | OFlags::NOATIME, Mode::empty()) {
        // Only its owner and root may read without a trace.
        Err(Errno::PERM) => rustix::fs::openat(folder, name, flags, Mode::empty()),
        opened => opened,
    };
    let file = File::from(opened?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(file)
}

/// The content of an open file, of at most `bytes_max`.
///
/// # Errors
/// As read(2); `FileTooLarge`.
pub fn content(file: &File, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// Puts `bytes` where `name` is, with what `meta` says, on the medium when this returns. Whoever reads sees the one or the
/// other whole. `draft` is a name in the same folder that is ours.
///
/// # Errors
/// As the system calls; the old file is then still there, unless the draft was exchanged by somebody in the last moment,
/// which is said.
pub fn put(folder: BorrowedFd<'_>, name: &OsStr, draft: &str, bytes: &[u8], meta: &Meta) -> io::Result<()> {
    let file = drafted(folder, draft)?;
    let put = (|| {
        (&file).write_all(bytes)?;
        meta.give(&file)?;
        file.sync_all()?;
        rustix::fs::renameat(folder, draft, folder, name)?;
        is_at(folder, name, &file)?;
        Ok(rustix::fs::fsync(folder)?)
    })();
    if put.is_err() {
        let _ = rustix::fs::unlinkat(folder, draft, AtFlags::empty());
    }
    put
}

/// A new file of ours, that nobody else may open yet.
///
/// # Errors
/// As openat(2).
pub fn drafted(folder: BorrowedFd<'_>, draft: &str) -> io::Result<File> {
    let _ = rustix::fs::unlinkat(folder, draft, AtFlags::empty());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(folder, draft, flags, Mode::RUSR | Mode::WUSR)?))
}

/// That this file is what bears the name: the folder's owner may have exchanged it.
///
/// # Errors
/// As statx(2); a sentence when it is another one.
pub fn is_at(folder: BorrowedFd<'_>, name: &OsStr, file: &File) -> io::Result<()> {
    let there = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let ours = rustix::fs::fstat(file)?;
    if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino) {
        return Ok(());
    }
    Err(io::Error::other("somebody exchanged the file while it was replaced"))
}

/// Gives a file another name in its folder, and takes nobody else's.
///
/// # Errors
/// As renameat2(2): `AlreadyExists`.
pub fn rename_to_free(folder: BorrowedFd<'_>, from: &OsStr, to: &OsStr) -> io::Result<()> {
    match rustix::fs::renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE) {
        // A file system without it: a second name, and then the first one goes.
        Err(Errno::INVAL | Errno::NOSYS) => {
            rustix::fs::linkat(folder, from, folder, to, AtFlags::empty())?;
            rustix::fs::unlinkat(folder, from, AtFlags::empty())?;
        }
        renamed => renamed?,
    }
    Ok(rustix::fs::fsync(folder.as_fd())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_all_that_it_is() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        std::fs::write(&path, "old").unwrap();
        rustix::fs::setxattr(&path, "user.note", b"x", XattrFlags::empty())
            .unwrap_or_else(|error| println!("not tested: extended attributes: {error}"));
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o4751)).unwrap();
        let before = Meta::of(&File::open(&path).unwrap()).unwrap();
        let folder = rustix::fs::open(root.path(), OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
        put(folder.as_fd(), OsStr::new("f"), ".draft", b"new", &before).unwrap();
        assert_eq!(Meta::of(&File::open(&path).unwrap()).unwrap(), before);
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn no_link_is_followed() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("real")).unwrap();
        std::fs::write(root.path().join("real/f"), "x").unwrap();
        std::os::unix::fs::symlink("real", root.path().join("link")).unwrap();
        std::os::unix::fs::symlink("f", root.path().join("real/g")).unwrap();
        let dir = || rustix::fs::open(root.path(), OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
        assert!(folder_below(dir(), Path::new("link/f")).is_err());
        assert!(folder_below(dir(), Path::new("real/../real/f")).is_err());
        let (folder, name) = folder_below(dir(), Path::new("/real/f")).unwrap();
        open_regular(folder.as_fd(), name).unwrap();
        assert!(open_regular(folder.as_fd(), OsStr::new("g")).is_err());
    }
}
