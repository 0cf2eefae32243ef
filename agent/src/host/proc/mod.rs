//! Reading procfs: processes by number, small files into one buffer that is used again and again.
//!
//! A process is read through one folder descriptor: a number that is given to another process meanwhile cannot mix two
//! processes in one row, and no path is walked twice. The descriptor is opened with `O_PATH`, so that a file system
//! that somebody mounted over `/proc/PID` is not asked anything by being looked at.
//!
//! Mounting something over `/proc/PID` is the cheapest way to hide a process from every tool. The mount is seen by
//! its number, and the process is then read through a procfs mount of our own, which is attached nowhere.

pub mod fdinfo;
pub mod maps;
pub mod memory;
pub mod remote;
pub mod stat;
pub mod status;
pub mod usage;

use std::ffi::{CStr, CString};
use std::fmt::Write as _;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, Statx, StatxFlags};
use rustix::io::Errno;
use rustix::path::DecInt;

use super::Host;
use super::text::decimal;

/// Entries of one folder of procfs that are listed at most; the kernel's own bound is 4,194,304 processes (pid_max),
/// and 1,048,576 descriptors (nr_open) unless root raised it.
pub const ENTRIES_MAX: usize = 1 << 22;

/// Bytes that a symbolic link of procfs can have: one page (d_path).
const LINK_BYTES: usize = 4096;
/// Room for a read: more than the kernel hands over at once for every file but those of `single_open`.
const READ_BYTES: usize = 64 << 10;

/// The processes of a host.
pub struct Processes {
    proc: OwnedFd,
    place: Place,
    live: bool,
    own_mount: Option<io::Result<OwnedFd>>,
}

/// Where a folder lies: the device of its file system, and its mount where the kernel tells it (5.8).
type Place = (u32, u32, u64);

/// How a process's folder was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// By its path, as everybody reaches it.
    Openly,
    /// Something is mounted over its path; it was reached through a procfs mount of our own.
    BehindMount,
    /// Something is mounted over its path, and what is read is what lies on top: it is no evidence of the process.
    MountOnly,
}

/// The folder of one process.
pub struct Process {
    /// The descriptor of `/proc/PID`.
    pub dir: OwnedFd,
    /// How it was reached.
    pub reached: Reached,
}

impl Processes {
    /// Opens `/proc` of `host`.
    ///
    /// # Errors
    /// As openat(2) and statx(2).
    pub fn of(host: &Host) -> io::Result<Self> {
        let proc = host.dir("/proc")?;
        let place = place(proc.as_fd())?;
        Ok(Self { proc, place, live: host.is_live(), own_mount: None })
    }

    /// The numbers of all processes, ascending.
    ///
    /// # Errors
    /// As getdents64(2).
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        let mut pids = Vec::with_capacity(1024);
        let listing = open_dir(self.proc.as_fd(), c".")?;
        numbers(listing.as_fd(), &mut pids)?;
        Ok(pids)
    }

    /// The descriptor of `/proc`.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.proc.as_fd()
    }

    /// A procfs mount of our own, made at the first call: nothing can be mounted over what it shows.
    ///
    /// # Errors
    /// As fsopen(2): before kernel 5.2, without CAP_SYS_ADMIN, or when `/proc` shows another PID namespace than ours.
    pub fn fresh(&mut self) -> io::Result<BorrowedFd<'_>> {
        match &*self.own_mount.get_or_insert_with(|| own_mount(self.proc.as_fd())) {
            Ok(own) => Ok(own.as_fd()),
            Err(error) => Err(error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)),
        }
    }

    /// True when the numbers in this `/proc` are those of our own PID namespace, which system calls mean.
    pub fn shows_own_namespace(&self) -> bool {
        let link = rustix::fs::readlinkat(&self.proc, c"self", Vec::new());
        link.is_ok_and(|link| decimal(link.to_bytes()) == Some(u64::from(std::process::id())))
    }

    /// Opens the folder of process `pid`.
    ///
    /// # Errors
    /// As openat(2): `NotFound` when it has ended.
    pub fn open(&mut self, pid: u32) -> io::Result<Process> {
        let dir = open_path(self.proc.as_fd(), pid)?;
        if place(dir.as_fd())? == self.place {
            return Ok(Process { dir, reached: Reached::Openly });
        }
        if self.live
            && let Ok(own) = self.own_mount.get_or_insert_with(|| own_mount(self.proc.as_fd()))
        {
            return Ok(Process { dir: open_path(own.as_fd(), pid)?, reached: Reached::BehindMount });
        }
        Ok(Process { dir, reached: Reached::MountOnly })
    }
}

/// Opens the folder of process `pid` below a procfs, whatever lies there.
///
/// # Errors
/// As openat(2).
pub fn open_path(proc: BorrowedFd<'_>, pid: u32) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(proc, DecInt::new(pid), flags, Mode::empty())?)
}

fn place(dir: BorrowedFd<'_>) -> io::Result<Place> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let found = rustix::fs::statx(dir, c"", flags, StatxFlags::TYPE | StatxFlags::MNT_ID)?;
    let mount = if found.stx_mask & StatxFlags::MNT_ID.bits() == 0 { 0 } else { found.stx_mnt_id };
    Ok((found.stx_dev_major, found.stx_dev_minor, mount))
}

/// A procfs of our own, read-only and attached nowhere (fsopen(2), kernel 5.2, CAP_SYS_ADMIN). It shows our own PID
/// namespace; when `/proc` shows another one, the numbers mean other processes and it is of no use.
fn own_mount(proc: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
    let context = rustix::mount::fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(&context)?;
    let own = rustix::mount::fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC,
    )?;
    let myself = |proc: BorrowedFd<'_>| rustix::fs::readlinkat(proc, c"self", Vec::new());
    if myself(proc)? == myself(own.as_fd())? { Ok(own) } else { Err(io::ErrorKind::Unsupported.into()) }
}

/// True when the process of that folder has no thread beside its first, without listing them: the kernel counts them
/// among the links of the folder `task` (fs/proc/base.c, proc_task_getattr).
pub fn has_one_thread(process: BorrowedFd<'_>) -> bool {
    let links = rustix::fs::statx(process, c"task", AtFlags::STATX_DONT_SYNC, StatxFlags::NLINK);
    links.is_ok_and(|links| links.stx_nlink <= 3)
}

/// Opens a folder under `dir` for listing.
///
/// # Errors
/// As openat(2).
pub fn open_dir(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
}

/// Puts the entries of `dir` whose names are numbers into `into`, ascending; at most [`ENTRIES_MAX`] of them. Returns
/// how many entries with other names there are, `.` and `..` left out.
///
/// # Errors
/// As getdents64(2).
pub fn numbers(dir: BorrowedFd<'_>, into: &mut Vec<u32>) -> io::Result<usize> {
    into.clear();
    let mut others = 0;
    let mut room = [MaybeUninit::uninit(); 16 << 10];
    let mut entries = RawDir::new(dir, &mut room);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        match decimal(name).and_then(|number| u32::try_from(number).ok()) {
            Some(number) if into.len() < ENTRIES_MAX => into.push(number),
            _ if name == b"." || name == b".." => {}
            _ => others += 1,
        }
    }
    into.sort_unstable();
    Ok(others)
}

/// The names in `dir`, sorted, `.` and `..` left out; at most [`ENTRIES_MAX`] of them.
///
/// # Errors
/// As getdents64(2).
pub fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    let mut room = [MaybeUninit::uninit(); 16 << 10];
    let mut entries = RawDir::new(dir, &mut room);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." && names.len() < ENTRIES_MAX {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What `statx(2)` says of the file at the end of a magic link, from what the kernel already has: no server of a
/// network file system and no FUSE daemon is asked for attributes.
///
/// # Errors
/// As statx(2).
pub fn statx_behind(dir: BorrowedFd<'_>, link: &CStr) -> io::Result<Statx> {
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    Ok(rustix::fs::statx(dir, link, flags, StatxFlags::BASIC_STATS)?)
}

/// A piece of a [`Pages`]: what one file or link said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    start: usize,
    end: usize,
    /// True when there was more than the bound allowed.
    pub cut: bool,
}

/// How a file of procfs hands over its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hands {
    /// All in one read(2), if the room suffices: files of `single_open` (stat, status, limits, fdinfo …) and those
    /// that print one value. A short read is then the end, and a second system call is saved.
    AtOnce,
    /// In as many reads as it likes; only an empty one is the end.
    InPieces,
}

/// The buffer that answers of the kernel are read into, one after the other; cleared for each process.
pub struct Pages {
    bytes: Vec<u8>,
    path: String,
}

impl Default for Pages {
    fn default() -> Self {
        Self { bytes: Vec::with_capacity(4 * READ_BYTES), path: String::new() }
    }
}

impl Pages {
    /// Forgets everything that was read.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// What was read.
    pub fn get(&self, piece: Piece) -> &[u8] {
        self.bytes.get(piece.start..piece.end).unwrap_or_default()
    }

    /// Takes the values out of a list of `NAME=value` that zero bytes end, but of those variables that are `shown`; the
    /// names stay, without `=`. Answers what is left, and how many values are not.
    pub fn without_values(&mut self, piece: Piece, shown: impl Fn(&[u8]) -> bool) -> (Piece, u64) {
        let Some(bytes) = self.bytes.get_mut(piece.start..piece.end) else { return (piece, 0) };
        let (mut from, mut to, mut withheld) = (0, 0, 0);
        while from < bytes.len() {
            let rest = bytes.get(from..).unwrap_or_default();
            let end = from + rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
            let part = bytes.get(from..end).unwrap_or_default();
            // What has no `=` is no variable, and may hold anything: only its presence is told.
            let equals = part.iter().position(|byte| *byte == b'=').unwrap_or(0);
            let is_shown = part.is_empty() || (equals > 0 && part.get(..equals).is_some_and(&shown));
            let kept = if is_shown { end } else { from + equals };
            withheld += u64::from(!is_shown);
            bytes.copy_within(from..kept, to);
            to += kept - from;
            if let Some(zero) = bytes.get_mut(to).filter(|_| end < piece.end - piece.start) {
                *zero = 0;
                to += 1;
            }
            from = end + 1;
        }
        (Piece { end: piece.start + to, ..piece }, withheld)
    }

    /// Reads at most `bytes_max` bytes of the file `name` under `dir`. Never waits for a FIFO, never follows a link.
    ///
    /// # Errors
    /// As openat(2) and read(2).
    pub fn read(&mut self, dir: BorrowedFd<'_>, name: &CStr, hands: Hands, bytes_max: usize) -> io::Result<Piece> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
        self.read_open(file.as_fd(), hands, bytes_max)
    }

    /// The same for a file whose name is a number.
    ///
    /// # Errors
    /// As openat(2) and read(2).
    pub fn read_number(&mut self, dir: BorrowedFd<'_>, name: u32, bytes_max: usize) -> io::Result<Piece> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(dir, DecInt::new(name), flags, Mode::empty())?;
        self.read_open(file.as_fd(), Hands::AtOnce, bytes_max)
    }

    /// The same for a path of three parts, the middle one a number: `task/`, 7, `/stat`.
    ///
    /// # Errors
    /// As openat(2) and read(2).
    pub fn read_under(
        &mut self,
        dir: BorrowedFd<'_>,
        (before, number, after): (&str, u32, &str),
        hands: Hands,
        bytes_max: usize,
    ) -> io::Result<Piece> {
        self.path.clear();
        let _ = write!(self.path, "{before}{number}{after}");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(dir, self.path.as_str(), flags, Mode::empty())?;
        self.read_open(file.as_fd(), hands, bytes_max)
    }

    fn read_open(&mut self, file: BorrowedFd<'_>, hands: Hands, bytes_max: usize) -> io::Result<Piece> {
        let start = self.bytes.len();
        loop {
            self.bytes.reserve(READ_BYTES);
            let room = self.bytes.capacity() - self.bytes.len();
            let got = match rustix::io::read(file, spare_capacity(&mut self.bytes)) {
                Ok(got) => got,
                Err(Errno::INTR) => continue,
                Err(error) => {
                    self.bytes.truncate(start);
                    return Err(error.into());
                }
            };
            let end = self.bytes.len();
            if end - start > bytes_max {
                self.bytes.truncate(start + bytes_max);
                let end = start + bytes_max;
                return Ok(Piece { start, end, cut: true });
            }
            if got == 0 || (hands == Hands::AtOnce && got < room) {
                return Ok(Piece { start, end, cut: false });
            }
        }
    }

    /// Reads the link `name` under `dir`: the text alone, nothing behind it is touched.
    ///
    /// # Errors
    /// As readlinkat(2).
    pub fn link(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Piece> {
        self.link_of(dir, name)
    }

    /// The same for a link whose name is a number.
    ///
    /// # Errors
    /// As readlinkat(2).
    pub fn link_number(&mut self, dir: BorrowedFd<'_>, name: u32) -> io::Result<Piece> {
        self.link_of(dir, DecInt::new(name))
    }

    fn link_of(&mut self, dir: BorrowedFd<'_>, name: impl rustix::path::Arg) -> io::Result<Piece> {
        let start = self.bytes.len();
        self.bytes.reserve(LINK_BYTES);
        rustix::fs::readlinkat_raw(dir, name, spare_capacity(&mut self.bytes))?;
        let end = self.bytes.len();
        Ok(Piece { start, end, cut: false })
    }
}

/// The text of a link to a file, and whether the kernel says that the file has no name any more. A file whose name
/// ends in ` (deleted)` looks the same: the number of links (statx) then tells the two apart.
pub fn deleted(target: &[u8]) -> (&[u8], bool) {
    match target.strip_suffix(b" (deleted)") {
        Some(name) => (name, true),
        None => (target, false),
    }
}

/// The number in `socket:[123]`, `pipe:[123]`, `net:[4026531840]`.
pub fn bracketed(target: &[u8]) -> Option<u64> {
    let open = target.iter().position(|byte| *byte == b'[')?;
    decimal(target.get(open + 1..)?.strip_suffix(b"]")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FixedClock;
    use bundle::time::Instant;

    #[test]
    fn numbers_are_sorted_and_others_counted() {
        let tree = tempfile::tempdir().unwrap();
        for name in ["10", "9", "self", "4294967296"] {
            std::fs::create_dir_all(tree.path().join("proc").join(name)).unwrap();
        }
        let host = Host::at(tree.path(), FixedClock(Instant(0)));
        let mut found = Vec::new();
        let dir = host.dir("/proc").unwrap();
        assert_eq!(numbers(dir.as_fd(), &mut found).unwrap(), 2);
        assert_eq!(found, [9, 10]);
        assert_eq!(Processes::of(&host).unwrap().pids().unwrap(), [9, 10]);
    }

    #[test]
    fn a_file_is_read_up_to_its_bound_and_not_past_it() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::write(tree.path().join("f"), vec![b'x'; 200_000]).unwrap();
        let dir = rustix::fs::open(tree.path(), OFlags::RDONLY, Mode::empty()).unwrap();
        for hands in [Hands::AtOnce, Hands::InPieces] {
            let mut pages = Pages::default();
            let whole = pages.read(dir.as_fd(), c"f", hands, 200_000).unwrap();
            assert_eq!((pages.get(whole).len(), whole.cut), (200_000, false));
            let cut = pages.read(dir.as_fd(), c"f", hands, 199_999).unwrap();
            assert_eq!((pages.get(cut).len(), cut.cut), (199_999, true));
            assert_eq!(pages.get(whole).len(), 200_000, "an earlier piece stays");
        }
    }

    #[test]
    fn values_are_withheld_and_names_stay() {
        let mut pages = Pages::default();
        for (environ, left, withheld) in [
            (&b"PATH=/bin\0TOKEN=abc\0E=\0odd\0=x\0\0LD_X=1\0"[..], &b"PATH=/bin\0TOKEN\0E\0\0\0\0LD_X=1\0"[..], 4),
            (b"TOKEN=abc", b"TOKEN", 1),
            (b"PATH=a=b", b"PATH=a=b", 0),
            (b"", b"", 0),
        ] {
            pages.clear();
            pages.bytes.extend_from_slice(environ);
            let piece = Piece { start: 0, end: environ.len(), cut: false };
            let (piece, count) = pages.without_values(piece, |name| name == b"PATH" || name.starts_with(b"LD_"));
            assert_eq!((pages.get(piece), count), (left, withheld), "{environ:?}");
        }
    }

    #[test]
    fn link_texts() {
        assert_eq!(deleted(b"/tmp/x (deleted)"), (&b"/tmp/x"[..], true));
        assert_eq!(deleted(b"/tmp/x"), (&b"/tmp/x"[..], false));
        assert_eq!(bracketed(b"socket:[77]"), Some(77));
        assert_eq!(bracketed(b"anon_inode:[eventfd]"), None);
        assert_eq!(bracketed(b"socket:[77"), None);
    }
}
