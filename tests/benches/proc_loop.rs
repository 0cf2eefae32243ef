//! The baseline of the volatile tier: a bare loop over the files of procfs that the volatile collectors read.
//!
//! Each file is opened, read to its end and forgotten: nothing is parsed, kept, hashed or written. One thread, one
//! buffer. Prints one JSON line with the wall time in nanoseconds. A thread of the kernel has no memory and no image,
//! so of it only what it has is read, as the collectors do.

#![expect(clippy::print_stdout, reason = "a program for cargo xtask bench")]

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, StatxFlags, openat, readlinkat_raw, statx};

/// Of every process. The files of collect/processes.rs and collect/memory_maps.rs.
const FILES: [&CStr; 13] = [
    c"stat",
    c"status",
    c"statm",
    c"cgroup",
    c"limits",
    c"io",
    c"loginuid",
    c"sessionid",
    c"oom_score_adj",
    c"wchan",
    c"stack",
    c"attr/current",
    c"maps",
];
const LINKS: [&CStr; 12] = [
    c"cwd",
    c"root",
    c"ns/cgroup",
    c"ns/ipc",
    c"ns/mnt",
    c"ns/net",
    c"ns/pid",
    c"ns/pid_for_children",
    c"ns/time",
    c"ns/time_for_children",
    c"ns/user",
    c"ns/uts",
];
/// Of every process that has memory.
const FILES_OF_PROGRAMS: [&CStr; 2] = [c"cmdline", c"environ"];
/// Of the network namespace: collect/sockets.rs.
const TABLES: [&str; 12] =
    ["tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "packet", "unix", "netlink", "ptype"];

struct Loop {
    buffer: Vec<u8>,
    files: u64,
    bytes: u64,
}

impl Loop {
    fn file(&mut self, folder: BorrowedFd<'_>, name: &CStr) {
        let Ok(file) = openat(folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else { return };
        self.files += 1;
        while let Ok(length @ 1..) = rustix::io::read(&file, &mut self.buffer[..]) {
            self.bytes += length as u64;
        }
    }

    fn link(&mut self, folder: BorrowedFd<'_>, name: &CStr) -> bool {
        let mut target = [MaybeUninit::uninit(); 4096];
        let read = readlinkat_raw(folder, name, &mut target[..]);
        self.files += 1;
        read.map(|(target, _)| self.bytes += target.len() as u64).is_ok()
    }

    fn process(&mut self, process: BorrowedFd<'_>) {
        for name in FILES {
            self.file(process, name);
        }
        for name in LINKS {
            self.link(process, name);
        }
        if self.link(process, c"exe") {
            let _ = statx(process, c"exe", AtFlags::empty(), StatxFlags::BASIC_STATS);
            for name in FILES_OF_PROGRAMS {
                self.file(process, name);
            }
        }
        each(process, c"task", |task, thread| {
            let Ok(thread) = folder(task, thread) else { return };
            self.file(thread.as_fd(), c"stat");
            self.file(thread.as_fd(), c"children");
            self.link(thread.as_fd(), c"ns/net");
        });
        let mut numbers = Vec::new();
        each(process, c"fd", |fds, number| {
            self.link(fds, number);
            numbers.push(number.to_owned());
        });
        if let Ok(fdinfo) = folder(process, c"fdinfo") {
            for number in &numbers {
                self.file(fdinfo.as_fd(), number);
            }
        }
    }
}

fn folder(at: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Every entry of a folder whose name is a number.
fn each(at: BorrowedFd<'_>, name: &CStr, mut visit: impl FnMut(BorrowedFd<'_>, &CStr)) {
    let Ok(folder) = folder(at, name) else { return };
    let mut room = [MaybeUninit::uninit(); 16 << 10];
    let mut listing = RawDir::new(&folder, &mut room);
    while let Some(Ok(entry)) = listing.next() {
        let is_number = entry.file_name().to_bytes().iter().all(u8::is_ascii_digit);
        if is_number && entry.file_type() != FileType::Unknown {
            visit(folder.as_fd(), entry.file_name());
        }
    }
}

fn main() {
    let mut bare = Loop { buffer: vec![0; 64 << 10], files: 0, bytes: 0 };
    let mut processes = 0;
    let started = Instant::now();
    each(CWD, c"/proc", |proc, pid| {
        if let Ok(process) = folder(proc, pid) {
            processes += 1;
            bare.process(process.as_fd());
        }
    });
    if let Ok(net) = folder(CWD, c"/proc/self/net") {
        for table in TABLES {
            if let Ok(table) = std::ffi::CString::new(table) {
                bare.file(net.as_fd(), &table);
            }
        }
    }
    let took = started.elapsed().as_nanos();
    println!("{{\"bytes\":{},\"files\":{},\"ns\":{took},\"processes\":{processes}}}", bare.bytes, bare.files);
}
