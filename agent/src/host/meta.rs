//! What a file system says of an object, as it stands in records.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fmt::Write as _;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bundle::item::{Meta, Nanos, shown};
use rustix::fs::{Statx, StatxAttributes, StatxFlags, StatxTimestamp};

use super::mounts::Mount;

/// The most extended attributes of one object that are kept; more are said to be there by the flag `xattrs_cut`.
const XATTRS_MAX: usize = 256;
/// The kernel's bound on a list of names and on a value (XATTR_LIST_MAX, XATTR_SIZE_MAX).
const XATTR_BYTES_MAX: usize = 64 << 10;
/// Most lists and values are far shorter than the bound: the first try is on the stack.
const XATTR_BYTES_USUAL: usize = 512;
/// The flag that says that more extended attributes are there than were kept.
const XATTRS_CUT: &str = "xattrs_cut";

/// Types of objects, from `st_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// Something that stat(2) has no name for.
    Odd,
}

impl Type {
    /// The type in a mode.
    pub fn of(mode: u16) -> Self {
        match mode & 0o170_000 {
            0o100_000 => Self::File,
            0o040_000 => Self::Folder,
            0o120_000 => Self::Link,
            0o010_000 => Self::Fifo,
            0o140_000 => Self::Socket,
            0o020_000 => Self::Char,
            0o060_000 => Self::Block,
            _ => Self::Odd,
        }
    }

    /// The name that stands in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "dir",
            Self::Link => "symlink",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::Char => "char",
            Self::Block => "block",
            Self::Odd => "odd",
        }
    }
}

/// The record of what statx(2) said, without extended attributes and target. The device is statx's own: on btrfs and
/// overlay it is not the one of the mount table.
pub fn meta_of(stat: &Statx, mount: Option<&Mount>) -> Meta {
    let file_type = Type::of(stat.stx_mode);
    let has = |field: StatxFlags| stat.stx_mask & field.bits() != 0;
    let time = |field, at| has(field).then(|| Nanos(nanoseconds(at)));
    let is_device = matches!(file_type, Type::Char | Type::Block);
    Meta {
        atime_ns: time(StatxFlags::ATIME, stat.stx_atime),
        blocks512: stat.stx_blocks,
        btime_ns: time(StatxFlags::BTIME, stat.stx_btime),
        ctime_ns: time(StatxFlags::CTIME, stat.stx_ctime),
        dev: format!("{}:{}", stat.stx_dev_major, stat.stx_dev_minor),
        extents: None,
        flags: flags_of(stat),
        gid: stat.stx_gid,
        ino: stat.stx_ino,
        mode: format!("{:07o}", stat.stx_mode),
        mount: mount.map(|mount| shown(&mount.point).0),
        mtime_ns: time(StatxFlags::MTIME, stat.stx_mtime),
        nlink: u64::from(stat.stx_nlink),
        rdev: is_device.then(|| format!("{}:{}", stat.stx_rdev_major, stat.stx_rdev_minor)),
        size: stat.stx_size,
        sparse: is_sparse(stat),
        target: None,
        target_b64: None,
        file_type: file_type.name().to_owned(),
        uid: stat.stx_uid,
        xattrs_b64: BTreeMap::new(),
    }
}

/// True when fewer blocks are allocated than the size asks for.
pub fn is_sparse(stat: &Statx) -> bool {
    Type::of(stat.stx_mode) == Type::File && stat.stx_blocks.saturating_mul(512) < stat.stx_size
}

/// Nanoseconds since the epoch.
pub fn nanoseconds(at: StatxTimestamp) -> i128 {
    i128::from(at.tv_sec) * 1_000_000_000 + i128::from(at.tv_nsec)
}

/// Device and inode, the device as glibc's makedev(3) packs it.
pub fn inode_of(stat: &Statx) -> (u64, u64) {
    (rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor), stat.stx_ino)
}

/// The names of the attributes that are set, as chattr(1) calls them.
fn flags_of(stat: &Statx) -> Vec<String> {
    const NAMES: [(StatxAttributes, &str); 7] = [
        (StatxAttributes::APPEND, "append"),
        (StatxAttributes::COMPRESSED, "compressed"),
        (StatxAttributes::DAX, "dax"),
        (StatxAttributes::ENCRYPTED, "encrypted"),
        (StatxAttributes::IMMUTABLE, "immutable"),
        (StatxAttributes::NODUMP, "nodump"),
        (StatxAttributes::VERITY, "verity"),
    ];
    let set = stat.stx_attributes;
    let named = NAMES.iter().filter(|(flag, _)| set.contains(*flag));
    named.map(|(_, name)| (*name).to_owned()).collect()
}

/// Adds where a symbolic link points.
pub fn add_target(meta: &mut Meta, target: &[u8]) {
    let (text, exact) = shown(target);
    meta.target = Some(text);
    meta.target_b64 = exact;
}

/// Adds the extended attributes of an open file. A file system without them is none of our business.
pub fn add_xattrs(meta: &mut Meta, file: BorrowedFd<'_>) {
    let list = read_xattr(|buffer| rustix::fs::flistxattr(file, buffer));
    add_listed(meta, list.as_deref(), |name, buffer| rustix::fs::fgetxattr(file, name, buffer));
}

/// Adds the extended attributes of `name` in `folder` (of `folder` itself when the name is empty) without opening it.
pub fn add_xattrs_at(meta: &mut Meta, folder: BorrowedFd<'_>, name: &CStr) {
    let path = path_at(folder, name);
    // An empty name means the folder's own descriptor, which is a magic link and is to be followed.
    let is_link_kept = !name.is_empty();
    let list = read_xattr(|buffer| {
        if is_link_kept {
            rustix::fs::llistxattr(path.as_slice(), buffer)
        } else {
            rustix::fs::listxattr(path.as_slice(), buffer)
        }
    });
    add_listed(meta, list.as_deref(), |name, buffer| {
        if is_link_kept {
            rustix::fs::lgetxattr(path.as_slice(), name, buffer)
        } else {
            rustix::fs::getxattr(path.as_slice(), name, buffer)
        }
    });
}

/// Adds the file capabilities (capabilities(7), `security.capability`) of `name` in `folder`: one system call.
pub fn add_capability_at(meta: &mut Meta, folder: BorrowedFd<'_>, name: &CStr) {
    let path = path_at(folder, name);
    let mut buffer = [0; XATTR_BYTES_USUAL];
    if let Ok(length) = rustix::fs::lgetxattr(path.as_slice(), c"security.capability", &mut buffer[..]) {
        let value = BASE64_STANDARD.encode(&buffer[..length]);
        meta.xattrs_b64.insert("security.capability".to_owned(), value);
    }
}

/// Linux before 6.13 has no `…xattrat` calls: the folder's descriptor stands in the path.
fn path_at(folder: BorrowedFd<'_>, name: &CStr) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}", folder.as_raw_fd()).into_bytes();
    if !name.is_empty() {
        path.push(b'/');
        path.extend_from_slice(name.to_bytes());
    }
    path
}

fn add_listed(meta: &mut Meta, list: Option<&[u8]>, value: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>) {
    let Some(list) = list else { return };
    for (n, name) in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()).enumerate() {
        if n == XATTRS_MAX {
            meta.flags.push(XATTRS_CUT.to_owned());
            break;
        }
        if let Some(value) = read_xattr(|buffer| value(name, buffer)) {
            meta.xattrs_b64.insert(key(name), BASE64_STANDARD.encode(value));
        }
    }
}

/// Calls once with a small buffer and, when that was too small, once with the kernel's bound.
fn read_xattr(read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> Option<Vec<u8>> {
    let mut usual = [0; XATTR_BYTES_USUAL];
    match read(&mut usual) {
        Ok(0) => None,
        Ok(length) => Some(usual[..length].to_vec()),
        Err(rustix::io::Errno::RANGE) => {
            let mut most = vec![0; XATTR_BYTES_MAX];
            let length = read(&mut most).ok()?;
            most.truncate(length);
            Some(most)
        }
        Err(_) => None,
    }
}

/// The name as a key; bytes that are no UTF-8 as `\xHH`.
fn key(name: &[u8]) -> String {
    let mut key = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        key.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(key, "\\x{byte:02x}");
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;
    use crate::host::views::stat;

    #[test]
    fn a_file_is_described_in_full() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd\n");
        std::fs::write(&path, b"content").unwrap();
        rustix::fs::setxattr(&path, "user.long", &[7; 600], rustix::fs::XattrFlags::empty()).unwrap();
        rustix::fs::setxattr(&path, "user.a", b"1", rustix::fs::XattrFlags::empty()).unwrap();
        std::os::unix::fs::symlink("target", folder.path().join("link")).unwrap();
        let opened = std::fs::File::open(folder.path()).unwrap();
        let found = stat(opened.as_fd(), c"odd\n").unwrap();
        let mut meta = meta_of(&found, None);
        assert_eq!((meta.file_type.as_str(), meta.size, meta.mode.len()), ("file", 7, 7));
        assert!(meta.mtime_ns.is_some() && meta.dev.contains(':'));
        add_xattrs_at(&mut meta, opened.as_fd(), c"odd\n");
        assert_eq!(meta.xattrs_b64["user.a"], "MQ==");
        assert_eq!(meta.xattrs_b64["user.long"].len(), 800);
        let by_path = meta.xattrs_b64.clone();
        meta.xattrs_b64.clear();
        add_xattrs(&mut meta, std::fs::File::open(&path).unwrap().as_fd());
        assert_eq!(meta.xattrs_b64, by_path);
        let link = meta_of(&stat(opened.as_fd(), c"link").unwrap(), None);
        assert_eq!((link.file_type.as_str(), &link.mode), ("symlink", &"0120777".to_owned()));
    }
}
