//! A file read from the block device under its file system, so that nothing between the two can hide or change it: the
//! kernel's VFS, where rootkits hook, is used for the device node only.
//!
//! ext2, ext3 and ext4 are read by the crate ext4-view: pure Rust without unsafe code, read-only, bounded by checked
//! arithmetic; it replays journals of today's format in memory. No crate of that quality reads XFS or btrfs: for those the reason is
//! said.
//!
//! Known limits: what was written within the last half minute may not be on the device yet; blocks of a file that the
//! device's own cache holds from before are old.

use std::error::Error;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ext4_view::{Ext4, Ext4Error, Ext4Read};
use rustix::fs::{FileType, Mode, OFlags};

use super::Host;

/// The most bytes that one look reads from a device: superblock, journal and folders included.
const DEVICE_BYTES_MAX: u64 = 256 << 20;

/// A file as the device holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockFile {
    /// Its content.
    pub content: Vec<u8>,
    /// `st_mode`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Why a file was not read from its device.
#[derive(Debug)]
pub enum Unread {
    /// There is no such file on the device.
    Absent,
    /// It cannot be read this way here; the reason.
    Unfit(String),
    /// The operating system, or the file system's structure, refused.
    Failed(io::Error),
}

impl Host {
    /// The file system under `path`, read from its device: [`Device::read`] then reads files of it.
    ///
    /// # Errors
    /// [`Unread::Unfit`] and [`Unread::Failed`].
    pub fn device_under(&self, path: &[u8]) -> Result<Device, Unread> {
        if !self.is_live() {
            return Err(Unread::Unfit("only on a live host".to_owned()));
        }
        let table = self.mount_table().map_err(Unread::Failed)?;
        let mount = table.covering(path).ok_or_else(|| Unread::Unfit("no mount covers it".to_owned()))?;
        let fs_type = String::from_utf8_lossy(&mount.fs_type).into_owned();
        if !matches!(fs_type.as_str(), "ext2" | "ext3" | "ext4") {
            return Err(Unread::Unfit(format!("it lies on {fs_type}, which is not read from its device")));
        }
        let file = self.block_device(mount.major, mount.minor)?;
        let file_system = load(&file).map_err(unread)?;
        Ok(Device { file_system, root: mount.root.clone(), point: mount.point.clone() })
    }

    /// Opens the block device of that number for reading, found by the name that the kernel gives it.
    fn block_device(&self, major: u32, minor: u32) -> Result<File, Unread> {
        let uevent = self.read(format!("/sys/dev/block/{major}:{minor}/uevent"), 4096).map_err(Unread::Failed)?;
        let name = uevent.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"DEVNAME="));
        let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
        if name.is_empty() || name.split('/').any(|part| part == "..") {
            return Err(Unread::Unfit("the kernel gives its device no name".to_owned()));
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let path = self.path(format!("/dev/{name}"));
        // Looked at before it is opened: somebody may have put another node there.
        let found = rustix::fs::stat(&path).map_err(|error| Unread::Failed(error.into()))?;
        let is_it = |stat: &rustix::fs::Stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice
                && (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) == (major, minor)
        };
        if !is_it(&found) {
            return Err(Unread::Unfit(format!("/dev/{name} is not the device {major}:{minor}")));
        }
        let opened = rustix::fs::open(&path, flags, Mode::empty()).map_err(|error| Unread::Failed(error.into()))?;
        let again = rustix::fs::fstat(&opened).map_err(|error| Unread::Failed(error.into()))?;
        if is_it(&again) { Ok(File::from(opened)) } else { Err(Unread::Unfit(format!("/dev/{name} was exchanged"))) }
    }
}

/// Reads the superblock and what belongs to it.
///
/// The crate replays journals of today's format only. Those of ext3, and of ext4 without checksums of metadata, are passed
/// over: while a file system is mounted, its metadata are read from the same pages of the device's cache that the kernel
/// changes, so they are not older than the journal.
fn load(device: &File) -> Result<Ext4, Ext4Error> {
    let left = Arc::new(AtomicU64::new(DEVICE_BYTES_MAX));
    let reader = |passes_over_journal| -> Result<Box<Bounded>, Ext4Error> {
        let file = device.try_clone().map_err(|error| Ext4Error::Io(error.into()))?;
        Ok(Box::new(Bounded { file, left: Arc::clone(&left), passes_over_journal }))
    };
    match Ext4::load(reader(false)?) {
        // With checksums the changed superblock is refused: then the first reason counts.
        Err(first @ Ext4Error::Incompatible(_)) => Ext4::load(reader(true)?).map_err(|_| first),
        outcome => outcome,
    }
}

/// A file system that is read from its device.
pub struct Device {
    file_system: Ext4,
    root: Vec<u8>,
    point: Vec<u8>,
}

impl Device {
    /// The regular file at `path` of the host, links followed within the file system; at most `bytes_max` of it.
    ///
    /// # Errors
    /// [`Unread::Absent`] when there is none.
    pub fn read(&self, path: &[u8], bytes_max: usize) -> Result<BlockFile, Unread> {
        let below = path.strip_prefix(self.point.as_slice()).unwrap_or(path);
        let inner = [self.root.as_slice(), b"/", below].concat();
        let unfit = |_| Unread::Unfit("no path of ext4".to_owned());
        let inner = ext4_view::Path::try_from(inner.as_slice()).map_err(unfit)?;
        let mut file = self.file_system.open(inner).map_err(unread)?;
        let metadata = file.metadata();
        let (mode, uid, gid) = (metadata.mode(), metadata.uid(), metadata.gid());
        let mut content = Vec::new();
        let mut piece = [0; 4096];
        while content.len() < bytes_max {
            let got = file.read_bytes(&mut piece).map_err(unread)?;
            if got == 0 {
                break;
            }
            content.extend_from_slice(piece.get(..got).unwrap_or_default());
        }
        content.truncate(bytes_max);
        Ok(BlockFile { content, mode: mode | 0o100_000, uid, gid })
    }
}

fn unread(error: Ext4Error) -> Unread {
    match error {
        Ext4Error::NotFound | Ext4Error::NotADirectory => Unread::Absent,
        Ext4Error::Incompatible(reason) => Unread::Unfit(format!("a feature that is not read: {reason}")),
        other => Unread::Failed(io::Error::other(other.to_string())),
    }
}

/// A device of which no more than a bound is read.
struct Bounded {
    file: File,
    left: Arc<AtomicU64>,
    passes_over_journal: bool,
}

/// Where the superblock keeps its compatible and incompatible features (`s_feature_compat`, `s_feature_incompat`), and the
/// bit in both that is about the journal: that there is one (`HAS_JOURNAL`), that it must be replayed (`RECOVER`).
const FEATURES_AT: [u64; 2] = [1024 + 0x5c, 1024 + 0x60];
const OF_JOURNAL: u8 = 0x4;

impl Ext4Read for Bounded {
    fn read(&mut self, start_byte: u64, dst: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync + 'static>> {
        let length = dst.len() as u64;
        let left = self.left.load(Ordering::Relaxed);
        if length > left {
            return Err(format!("more than {DEVICE_BYTES_MAX} bytes of the device").into());
        }
        self.left.store(left - length, Ordering::Relaxed);
        self.file.read_exact_at(dst, start_byte)?;
        for at in FEATURES_AT.into_iter().filter(|_| self.passes_over_journal) {
            let position = at.checked_sub(start_byte).and_then(|position| usize::try_from(position).ok());
            if let Some(byte) = position.and_then(|position| dst.get_mut(position)) {
                *byte &= !OF_JOURNAL;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_is_no_file_system_is_an_error() {
        for fill in [0, 0xff] {
            let mut image = tempfile::tempfile().unwrap();
            image.write_all(&vec![fill; 1 << 20]).unwrap();
            assert!(load(&image).is_err());
        }
        let image = tempfile::tempfile().unwrap();
        image.set_len(1 << 20).unwrap();
        let left = Arc::new(AtomicU64::new(10));
        let mut bounded = Bounded { file: image, left, passes_over_journal: false };
        assert!(Ext4Read::read(&mut bounded, 0, &mut [0; 10]).is_ok());
        assert!(Ext4Read::read(&mut bounded, 0, &mut [0; 1]).is_err(), "past the bound");
    }

    /// `mkfs.ext4 -b 1024 -J size=1 -d TREE` made it: `/etc/ld.so.preload`, the same below `/sub`, and a link to it.
    const IMAGE: &[u8] = include_bytes!("fixtures/ext4.img.gz");
    /// The same with `-O ^metadata_csum,^64bit`, as it was made until 2016.
    const OLD_IMAGE: &[u8] = include_bytes!("fixtures/ext4_old.img.gz");

    fn image(packed: &[u8]) -> File {
        let mut image = tempfile::tempfile().unwrap();
        io::copy(&mut flate2::read::GzDecoder::new(packed), &mut image).unwrap();
        image
    }

    fn device(image: &File) -> Result<Device, Unread> {
        let file_system = load(image).map_err(unread)?;
        Ok(Device { file_system, root: b"/".to_vec(), point: b"/".to_vec() })
    }

    /// While a file system is mounted, its superblock says that the journal must be replayed.
    #[test]
    fn a_journal_of_an_old_format_is_passed_over() {
        for packed in [OLD_IMAGE, IMAGE] {
            let file = image(packed);
            let mut feature = [0];
            file.read_exact_at(&mut feature, FEATURES_AT[1]).unwrap();
            if packed == OLD_IMAGE {
                file.write_all_at(&[feature[0] | OF_JOURNAL], FEATURES_AT[1]).unwrap();
            }
            let list = device(&file).unwrap().read(b"/etc/ld.so.preload", 1 << 20).unwrap();
            assert_eq!(list.content, b"/usr/lib/libfxh.so\n");
        }
    }

    #[test]
    fn a_file_system_with_a_journal_is_read() {
        let mut device = device(&image(IMAGE)).unwrap();
        let list = device.read(b"/etc/ld.so.preload", 1 << 20).unwrap();
        assert_eq!(list.content, b"/usr/lib/libfxh.so\n");
        assert_eq!((list.mode, list.uid, list.gid), (0o100_644, 0, 0));
        assert_eq!(device.read(b"/link", 1 << 20).unwrap(), list);
        assert_eq!(device.read(b"/link", 4).unwrap().content, b"/usr", "at most what was asked for");
        for absent in [&b"/etc/none"[..], b"/etc/ld.so.preload/x"] {
            assert!(matches!(device.read(absent, 1), Err(Unread::Absent)));
        }
        assert!(matches!(device.read(b"/etc", 1), Err(Unread::Failed(_))));
        (device.root, device.point) = (b"/sub".to_vec(), b"/mnt".to_vec());
        assert_eq!(device.read(b"/mnt/etc/ld.so.preload", 9).unwrap().content, b"x", "a bind mount of a folder");
    }

    #[test]
    fn flipped_bytes_are_errors_and_no_panics() {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut flate2::read::GzDecoder::new(IMAGE), &mut bytes).unwrap();
        for at in (1024..200_000).step_by(2503) {
            let mut forged = bytes.clone();
            forged[at] ^= 0xff;
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&forged).unwrap();
            if let Ok(device) = device(&file) {
                let _ = device.read(b"/etc/ld.so.preload", 1 << 20);
            }
        }
    }

    #[test]
    fn the_live_host_s_passwd_is_the_same_from_below() {
        let host = Host::live();
        match host.device_under(b"/etc/passwd").and_then(|device| device.read(b"/etc/passwd", 1 << 20)) {
            Ok(below) => {
                assert_eq!(below.content, std::fs::read("/etc/passwd").unwrap());
                assert_eq!(below.uid, 0);
            }
            Err(reason) => println!("not read from its device here: {reason:?}"),
        }
    }
}
