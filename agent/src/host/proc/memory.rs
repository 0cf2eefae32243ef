//! Memory of another process: `/proc/PID/mem` and `/proc/PID/pagemap` (proc_pid_mem(5), proc_pid_pagemap(5)).
//!
//! The file is opened under the folder of the process, so a number that is given to another process meanwhile cannot
//! show another one's memory; the process is neither stopped nor attached to. Where the file is refused,
//! process_vm_readv(2) is tried, which goes by number and reads only what the process itself can.
//!
//! Reading a page that the process never touched would make the kernel give it one, and reading one of a file would read
//! the disk: the page map says beforehand which pages there are.

use std::io::{self, IoSliceMut};
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// More unreadable ranges than this, and they are told as one.
const LOST_RANGES_MAX: usize = 4096;
/// Entries of the page map that are read at once: 512 KiB, which stand for 256 MiB.
const ENTRIES_AT_ONCE: usize = 64 << 10;
/// Bits 63 and 62 of an entry.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;

/// The memory of one process.
pub struct Memory {
    source: Source,
}

enum Source {
    File(OwnedFd),
    Calls(nix::unistd::Pid),
}

impl Memory {
    /// Opens the memory of the process whose folder is `process`.
    ///
    /// # Errors
    /// As openat(2) of `mem`, when process_vm_readv(2) is refused as well.
    pub fn open(process: BorrowedFd<'_>, pid: u32) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::openat(process, c"mem", flags, Mode::empty()) {
            Ok(file) => Ok(Self { source: Source::File(file) }),
            Err(error) => {
                let calls = Source::Calls(nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX)));
                let memory = Self { source: calls };
                // Address 0 is mapped nowhere: EFAULT means that the call was let through.
                match memory.read(0, &mut [0]) {
                    Err(refused) if refused.raw_os_error() != Some(libc::EFAULT) => Err(error.into()),
                    _ => Ok(memory),
                }
            }
        }
    }

    /// How it is read, as records say it.
    pub fn method(&self) -> &'static str {
        match self.source {
            Source::File(_) => "procfs mem",
            Source::Calls(_) => "process_vm_readv",
        }
    }

    /// Reads at most as much as `into` has room for.
    ///
    /// # Errors
    /// As pread(2) and process_vm_readv(2).
    pub fn read(&self, address: u64, into: &mut [u8]) -> io::Result<usize> {
        match &self.source {
            // An empty read: the process has ended and left its memory.
            Source::File(file) => match rustix::io::pread(file, &mut *into, address)? {
                0 if !into.is_empty() => Err(Errno::SRCH.into()),
                got => Ok(got),
            },
            Source::Calls(pid) => {
                let base = usize::try_from(address).map_err(|_| io::Error::from(Errno::FAULT))?;
                let remote = RemoteIoVec { base, len: into.len() };
                Ok(process_vm_readv(*pid, &mut [IoSliceMut::new(into)], &[remote]).map_err(io::Error::from)?)
            }
        }
    }

    /// Fills `into` with what is at `address`, as [`fill`].
    ///
    /// # Errors
    /// `ESRCH` when the process has no memory any more.
    pub fn fill(&self, address: u64, into: &mut [u8], lost: impl FnMut(u64, u64)) -> io::Result<()> {
        fill(|at, rest| self.read(at, rest), address, into, lost)
    }
}

/// Fills `into` by `read`: pages that cannot be read stand as zeros, and `lost` is called with the place in `into` and
/// the length of each of them.
///
/// # Errors
/// `ESRCH` when `read` says that there is nothing more at all.
pub fn fill(
    read: impl Fn(u64, &mut [u8]) -> io::Result<usize>,
    address: u64,
    into: &mut [u8],
    mut lost: impl FnMut(u64, u64),
) -> io::Result<()> {
    let page = page_bytes();
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = address + done as u64;
        match read(at, rest) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Err(error),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(got) if got > 0 => done += got.min(rest.len()),
            _ => {
                let to_next_page = usize::try_from(page - at % page).unwrap_or(4096).min(rest.len());
                rest.iter_mut().take(to_next_page).for_each(|byte| *byte = 0);
                lost(done as u64, to_next_page as u64);
                done += to_next_page;
            }
        }
    }
    Ok(())
}

/// Ranges that could not be read, joined where they touch.
#[derive(Clone, Debug, Default)]
pub struct Lost(pub Vec<(u64, u64)>);

impl Lost {
    /// `bytes` at `offset` could not be read.
    pub fn add(&mut self, offset: u64, bytes: u64) {
        let is_full = self.0.len() >= LOST_RANGES_MAX;
        match self.0.last_mut() {
            Some((at, length)) if is_full || *at + *length == offset => *length = offset + bytes - *at,
            _ => self.0.push((offset, bytes)),
        }
    }
}

/// Whether a page has content that is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// In memory.
    Present,
    /// On a swap device.
    Swapped,
    /// Never touched, or of a file and not in the process's tables.
    Absent,
}

/// The page map of one process.
pub struct PageMap(OwnedFd);

impl PageMap {
    /// Opens it.
    ///
    /// # Errors
    /// As openat(2).
    pub fn open(process: BorrowedFd<'_>) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(Self(rustix::fs::openat(process, c"pagemap", flags, Mode::empty())?))
    }

    /// Calls `each` with the runs of equal pages from `start` to `end`, in order: what they are, address, bytes. It ends
    /// early when `each` answers false.
    ///
    /// # Errors
    /// As pread(2).
    pub fn runs(&self, start: u64, end: u64, mut each: impl FnMut(Page, u64, u64) -> bool) -> io::Result<()> {
        let page = page_bytes();
        let mut entries = vec![0; ENTRIES_AT_ONCE * 8];
        let mut run: Option<(Page, u64, u64)> = None;
        let mut at = start;
        while at < end {
            let wanted = usize::try_from((end - at).div_ceil(page)).unwrap_or(usize::MAX).min(ENTRIES_AT_ONCE) * 8;
            let room = entries.get_mut(..wanted).unwrap_or_default();
            let got = rustix::io::pread(&self.0, room, at / page * 8)?;
            if got < 8 {
                return Err(Errno::SRCH.into());
            }
            for entry in entries.get(..got).unwrap_or_default().chunks_exact(8) {
                let bits = u64::from_ne_bytes(entry.try_into().unwrap_or_default());
                let what = match bits {
                    bits if bits & PRESENT != 0 => Page::Present,
                    bits if bits & SWAPPED != 0 => Page::Swapped,
                    _ => Page::Absent,
                };
                let bytes = page.min(end - at);
                match &mut run {
                    Some((same, _, length)) if *same == what => *length += bytes,
                    Some((before, from, length)) => {
                        if !each(*before, *from, *length) {
                            return Ok(());
                        }
                        run = Some((what, at, bytes));
                    }
                    None => run = Some((what, at, bytes)),
                }
                at += bytes;
                if at >= end {
                    break;
                }
            }
        }
        if let Some((what, from, length)) = run {
            each(what, from, length);
        }
        Ok(())
    }
}

/// The size of a page.
pub fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn what_is_there_is_read_and_what_is_not_stands_as_zeros() {
        let process = std::fs::File::open("/proc/self").unwrap();
        let memory = Memory::open(process.as_fd(), std::process::id()).unwrap();
        let text = *b"something to be found";
        let mut read = [0; 21];
        memory.fill(text.as_ptr() as u64, &mut read, |_, _| panic!("it is there")).unwrap();
        assert_eq!(read, text);
        let mut lost = Lost::default();
        let mut none = [1; 6000];
        memory.fill(page_bytes() + 100, &mut none, |at, bytes| lost.add(at, bytes)).unwrap();
        assert_eq!((lost.0, none), (vec![(0, 6000)], [0; 6000]));
    }

    #[test]
    fn a_page_that_was_never_touched_is_absent() {
        let pages = 64;
        let length = pages * rustix::param::page_size();
        let room: Vec<u8> = Vec::with_capacity(length + 2 * rustix::param::page_size());
        let process = std::fs::File::open("/proc/self").unwrap();
        let map = PageMap::open(process.as_fd()).unwrap();
        let text = [7_u8; 10];
        let here = text.as_ptr() as u64 / page_bytes() * page_bytes();
        let mut runs = Vec::new();
        map.runs(here, here + page_bytes(), |what, at, bytes| {
            runs.push((what, at, bytes));
            true
        })
        .unwrap();
        assert_eq!(runs, [(Page::Present, here, page_bytes())]);
        drop(room);
        runs.clear();
        map.runs(0, 64 * page_bytes(), |what, at, bytes| {
            runs.push((what, at, bytes));
            true
        })
        .unwrap();
        assert_eq!(runs, [(Page::Absent, 0, 64 * page_bytes())]);
    }
}
