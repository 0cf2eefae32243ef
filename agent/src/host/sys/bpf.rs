//! bpf(2), reading alone: what is loaded, what it is, what is pinned or attached where.
//!
//! Each function fills the kernel's `union bpf_attr` or an info structure (include/uapi/linux/bpf.h) as bytes: the
//! structures grow with every kernel, and the call takes any length whose unknown rest is zero. A descriptor that is
//! opened here keeps its object alive until it is dropped, which is at once.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// Longer than any info structure of 6.18; the kernel takes it as long as the rest is zero.
const INFO_BYTES: usize = 256;
/// `union bpf_attr` as far as the commands below use it.
const ATTR_BYTES: usize = 64;
/// Names of functions and tracepoints that links and probes tell: KSYM_NAME_LEN; a path is longer and is cut.
const NAME_BYTES: usize = 512;
/// Programs of one hook: BPF_CGROUP_MAX_PROGS is 64.
const HOOK_PROGRAMS_MAX: usize = 64;

const BPF_OBJ_GET: libc::c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_TASK_FD_QUERY: libc::c_int = 20;
const BPF_F_RDONLY: u32 = 1 << 3;

/// The kinds of objects that bpf(2) numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A program.
    Program,
    /// A map.
    Map,
    /// A link: what holds a program at its hook (5.7).
    Link,
    /// Type information.
    Btf,
}

/// Bytes that stand for a structure; every pointer in it is passed by the function that fills it.
struct Attr([u8; ATTR_BYTES]);

impl Attr {
    fn new() -> Self {
        Self([0; ATTR_BYTES])
    }

    fn u32(mut self, at: usize, value: u32) -> Self {
        put(&mut self.0, at, &value.to_ne_bytes());
        self
    }

    fn pointer(mut self, at: usize, pointer: *const u8) -> Self {
        put(&mut self.0, at, &address(pointer));
        self
    }

    fn get(&self, at: usize) -> u32 {
        get(&self.0, at)
    }

    fn fd(self, at: usize, fd: BorrowedFd<'_>) -> Self {
        self.u32(at, fd.as_raw_fd().cast_unsigned())
    }

    /// bpf(2) itself.
    ///
    /// # Safety
    /// Every pointer that `command` reads from these bytes must be null, or point to memory that lives across the call
    /// and is at least as long as the length beside it says; writable where the command writes.
    unsafe fn call(&mut self, command: libc::c_int) -> io::Result<libc::c_int> {
        // SAFETY: the attribute is a live buffer of the length that is passed; the caller answers for what it points to.
        let outcome = unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), ATTR_BYTES) };
        if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(libc::c_int::try_from(outcome).unwrap_or(-1)) }
    }
}

/// A pointer as the kernel takes it: always 64 bits.
fn address(pointer: *const u8) -> [u8; 8] {
    (pointer.expose_provenance() as u64).to_ne_bytes()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

fn get(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |chunk| u32::from_ne_bytes(*chunk))
}

fn get64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |chunk| u64::from_ne_bytes(*chunk))
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// The number after `after` among the objects of this kind, `None` at the end (BPF_*_GET_NEXT_ID).
///
/// # Errors
/// As bpf(2): `EPERM` without CAP_SYS_ADMIN, `EINVAL` where the kernel does not know the kind.
pub fn next_id(kind: Kind, after: u32) -> io::Result<Option<u32>> {
    let command = match kind {
        Kind::Program => 11,
        Kind::Map => 12,
        Kind::Btf => 23,
        Kind::Link => 31,
    };
    let mut attr = Attr::new().u32(0, after);
    // SAFETY: these commands read and write integers of the attribute alone.
    match unsafe { attr.call(command) } {
        Ok(_) => Ok(Some(attr.get(4))),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens the object of this kind with the number `id` (BPF_*_GET_FD_BY_ID); a map for reading only.
///
/// # Errors
/// As bpf(2): `NotFound` when it has gone.
pub fn open_id(kind: Kind, id: u32) -> io::Result<OwnedFd> {
    let (command, flags) = match kind {
        Kind::Program => (13, 0),
        Kind::Map => (14, BPF_F_RDONLY),
        Kind::Btf => (19, 0),
        Kind::Link => (30, 0),
    };
    let mut attr = Attr::new().u32(0, id).u32(8, flags);
    // SAFETY: these commands read integers of the attribute alone.
    let opened = unsafe { attr.call(command) }?;
    // SAFETY: the call has just opened this descriptor for us, with O_CLOEXEC, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(opened) })
}

/// Opens what is pinned at `path` (BPF_OBJ_GET), for reading only where the kernel has that (maps).
///
/// # Errors
/// As bpf(2).
pub fn open_pin(path: &CStr) -> io::Result<OwnedFd> {
    let open = |flags: u32| {
        let mut attr = Attr::new().pointer(0, path.as_ptr().cast()).u32(12, flags);
        // SAFETY: the command reads a C string that lives across the call, and integers.
        unsafe { attr.call(BPF_OBJ_GET) }
    };
    let opened = match open(BPF_F_RDONLY) {
        // Programs and links know no reading only.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => open(0),
        opened => opened,
    }?;
    // SAFETY: the call has just opened this descriptor for us, with O_CLOEXEC, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(opened) })
}

/// `BPF_OBJ_GET_INFO_BY_FD` with an info structure that is ready.
///
/// # Safety
/// Every pointer in `info` must be null, or point to writable memory that lives across the call and is at least as long
/// as the count beside it says, for the kind of object that `fd` is.
unsafe fn info_by_fd(fd: BorrowedFd<'_>, info: &mut [u8; INFO_BYTES]) -> io::Result<()> {
    let mut attr = Attr::new().fd(0, fd).u32(4, length(info)).pointer(8, info.as_mut_ptr());
    // SAFETY: the attribute points to `info` and says how long it is; what `info` points to is the caller's promise.
    unsafe { attr.call(BPF_OBJ_GET_INFO_BY_FD) }.map(|_| ())
}

/// The info structure of a map or of type information, of which nothing but numbers and names inside it is asked for.
///
/// # Errors
/// As bpf(2).
pub fn plain_info(fd: BorrowedFd<'_>) -> io::Result<[u8; INFO_BYTES]> {
    let mut info = [0; INFO_BYTES];
    // SAFETY: all pointers are null: the kernel then tells counts only, whatever kind of object it is.
    unsafe { info_by_fd(fd, &mut info) }?;
    Ok(info)
}

/// What [`program_info`] asks for.
#[derive(Debug)]
pub struct ProgramInfo {
    /// `struct bpf_prog_info`; its pointers mean nothing any more.
    pub info: [u8; INFO_BYTES],
    /// Its instructions after the verifier, at most as many bytes as were asked for.
    pub translated: Vec<u8>,
    /// The maps that it uses.
    pub map_ids: Vec<u32>,
}

/// `struct bpf_prog_info` of the program that `fd` is, with at most `translated_bytes_max` of its instructions and at
/// most `maps_max` of its maps.
///
/// # Errors
/// As bpf(2); `InvalidInput` when `fd` is no program.
pub fn program_info(fd: BorrowedFd<'_>, translated_bytes_max: usize, maps_max: usize) -> io::Result<ProgramInfo> {
    if !is_kind(fd, b"bpf-prog") {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let counts = plain_info(fd)?;
    // struct bpf_prog_info: xlated_prog_len 20, xlated_prog_insns 32, nr_map_ids 52, map_ids 56.
    let wanted = |at: usize, max: usize| usize::try_from(get(&counts, at)).map_or(max, |count| count.min(max));
    let mut translated = vec![0_u8; wanted(20, translated_bytes_max)];
    let mut map_ids = vec![0_u32; wanted(52, maps_max)];
    let mut info = [0; INFO_BYTES];
    put(&mut info, 20, &length(&translated).to_ne_bytes());
    put(&mut info, 52, &u32::try_from(map_ids.len()).unwrap_or(0).to_ne_bytes());
    if !translated.is_empty() {
        put(&mut info, 32, &address(translated.as_mut_ptr()));
    }
    if !map_ids.is_empty() {
        put(&mut info, 56, &address(map_ids.as_mut_ptr().cast()));
    }
    // SAFETY: `fd` is a program, so `info` is a bpf_prog_info: two pointers that are not null, each to a live vector
    // whose length stands beside it (in bytes; in 32-bit numbers).
    unsafe { info_by_fd(fd, &mut info) }?;
    // The kernel fills no more than it has; a program whose instructions may not be shown has none (pointer made null).
    if get64(&info, 32) == 0 {
        translated.clear();
    }
    map_ids.truncate(usize::try_from(get(&info, 52)).unwrap_or(0));
    for at in [24, 32, 56, 112, 120, 136, 152, 160, 184] {
        put(&mut info, at, &[0; 8]);
    }
    Ok(ProgramInfo { info, translated, map_ids })
}

/// `struct bpf_link_info` of the link that `fd` is, and the name or the path that its kind tells: a tracepoint, a
/// function, the target of an iterator, the file of a uprobe.
///
/// # Errors
/// As bpf(2); `InvalidInput` when `fd` is no link.
pub fn link_info(fd: BorrowedFd<'_>) -> io::Result<([u8; INFO_BYTES], Vec<u8>)> {
    if !is_kind(fd, b"bpf_link") && !is_kind(fd, b"bpf-link") {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let info = plain_info(fd)?;
    // Where a pointer to the name and its length stand, by type of link; for perf events all variants but
    // BPF_PERF_EVENT_EVENT agree.
    let (pointer_at, length_at) = match (get(&info, 0), get(&info, 16)) {
        (1 | 4, _) => (16, 24),
        (7, 1..=5) => (24, 32),
        (12, _) => (16, 48),
        _ => return Ok((info, Vec::new())),
    };
    let mut name = vec![0_u8; NAME_BYTES];
    let mut named = [0; INFO_BYTES];
    put(&mut named, pointer_at, &address(name.as_mut_ptr()));
    put(&mut named, length_at, &length(&name).to_ne_bytes());
    // SAFETY: `fd` is a link, whose type cannot change, so `named` is a bpf_link_info of this variant: its one pointer
    // that is not null leads to a live vector whose length in bytes stands beside it.
    match unsafe { info_by_fd(fd, &mut named) } {
        // A longer name is cut, and the kernel says so.
        Err(error) if error.raw_os_error() != Some(libc::ENOSPC) => Ok((info, Vec::new())),
        _ => Ok((info, name.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())),
    }
}

/// True when the descriptor is an anonymous inode of this name.
fn is_kind(fd: BorrowedFd<'_>, name: &[u8]) -> bool {
    let link = rustix::fs::readlink(format!("/proc/thread-self/fd/{}", fd.as_raw_fd()), Vec::new());
    link.is_ok_and(|link| link.as_bytes().strip_prefix(b"anon_inode:").is_some_and(|found| found == name))
}

/// The programs at the hook `attach_type` of a cgroup, a network namespace or another object that `target` is
/// (BPF_PROG_QUERY): those attached to it itself, not those that it inherits.
///
/// # Errors
/// As bpf(2).
pub fn programs_at(target: BorrowedFd<'_>, attach_type: u32) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; HOOK_PROGRAMS_MAX];
    let mut attr = Attr::new()
        .fd(0, target)
        .u32(4, attach_type)
        .pointer(16, ids.as_mut_ptr().cast())
        .u32(24, u32::try_from(ids.len()).unwrap_or(0));
    // SAFETY: prog_ids points to a live array, and prog_cnt says how many numbers it has room for; the arrays that later
    // kernels can fill as well are null.
    unsafe { attr.call(BPF_PROG_QUERY) }?;
    let count = usize::try_from(attr.get(24)).unwrap_or(0);
    Ok(ids.get(..count.min(ids.len())).unwrap_or_default().to_vec())
}

/// What a descriptor of a process hooks (BPF_TASK_FD_QUERY).
#[derive(Debug, PartialEq, Eq)]
pub struct Probe {
    /// The program.
    pub program: u32,
    /// BPF_FD_TYPE_*: 0 raw tracepoint, 1 tracepoint, 2 kprobe, 3 kretprobe, 4 uprobe, 5 uretprobe.
    pub kind: u32,
    /// Offset from the function or in the file.
    pub offset: u64,
    /// Address, 0 when it is not told.
    pub address: u64,
    /// Tracepoint, function or file.
    pub name: Vec<u8>,
}

/// Which program the perf event or raw tracepoint with number `fd` of process `pid` runs, and where (Linux 4.17).
///
/// # Errors
/// As bpf(2): `ENOTSUPP` (524) or `ENOENT` when it runs none.
pub fn probe_of(pid: u32, fd: u32) -> io::Result<Probe> {
    let mut name = vec![0_u8; NAME_BYTES];
    let mut attr = Attr::new().u32(0, pid).u32(4, fd).u32(12, length(&name)).pointer(16, name.as_mut_ptr());
    // SAFETY: buf points to a live vector whose length is buf_len.
    let outcome = unsafe { attr.call(BPF_TASK_FD_QUERY) };
    match outcome {
        // A longer name is cut, and the rest is told.
        Err(error) if error.raw_os_error() != Some(libc::ENOSPC) => return Err(error),
        _ => {}
    }
    Ok(Probe {
        program: attr.get(24),
        kind: attr.get(28),
        offset: get64(&attr.0, 32),
        address: get64(&attr.0, 40),
        name: name.split(|byte| *byte == 0).next().unwrap_or_default().to_vec(),
    })
}

#[cfg(test)]
/// What tests need to have something to find.
pub mod testing {
    use super::*;

    /// Loads a socket filter of two instructions, attached to nothing.
    pub fn filter(name: &[u8]) -> io::Result<OwnedFd> {
        // BPF_ALU64|BPF_MOV|BPF_K r0 = 0, then BPF_JMP|BPF_EXIT.
        let code: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
        // BPF_PROG_LOAD: prog_type, insn_cnt, insns, license; prog_name at 48.
        let mut attr = Attr::new().u32(0, 1).u32(4, 2).pointer(8, code.as_ptr()).pointer(16, c"GPL".as_ptr().cast());
        put(&mut attr.0, 48, name);
        // SAFETY: insns and license point to what lives across the call, two instructions of eight bytes.
        let loaded = unsafe { attr.call(5) }?;
        // SAFETY: the call has just opened this descriptor for us.
        Ok(unsafe { OwnedFd::from_raw_fd(loaded) })
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn what_is_no_bpf_object_is_refused() {
        let file = std::fs::File::open("/proc/self/status").unwrap();
        assert_eq!(program_info(file.as_fd(), 8, 8).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(link_info(file.as_fd()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(plain_info(file.as_fd()).is_err());
        assert!(open_pin(c"/proc/self/status").is_err());
        assert!(programs_at(file.as_fd(), 0).is_err());
    }
}
