//! System calls that have no safe wrapper elsewhere: one in each function, with what makes it sound.
//!
//! Architecture invariant: this module and its parts are the only ones of the agent with unsafe code.
#![expect(unsafe_code, reason = "the one module for system calls without a safe wrapper")]

pub mod bpf;
pub mod confine;
pub mod namespaces;
pub mod net;
pub mod tasks;
pub mod write_later;

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// What the kernel knows of the discipline of its clock (adjtimex(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockDiscipline {
    /// TIME_OK (0), TIME_INS, TIME_DEL, TIME_OOP, TIME_WAIT, TIME_ERROR (5): the last is also "not synchronised".
    pub state: i32,
    /// STA_* bits.
    pub status: i32,
    /// Estimated error in microseconds.
    pub estimated_error_us: i64,
    /// Bound of the error in microseconds.
    pub maximum_error_us: i64,
    /// TAI minus UTC in seconds; 0 when nobody set it.
    pub tai_offset_secs: i32,
}

impl ClockDiscipline {
    /// True unless the kernel says that nothing disciplines the clock.
    pub fn is_synchronised(&self) -> bool {
        self.status & libc::STA_UNSYNC == 0
    }
}

/// Asks the kernel for the discipline of its clock, and changes nothing.
///
/// # Errors
/// As adjtimex(2).
pub fn clock_discipline() -> io::Result<ClockDiscipline> {
    // SAFETY: timex is plain integers, for which all zeros is a valid value.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // Without a bit in modes the call only reads, and asks for no privilege.
    timex.modes = 0;
    // SAFETY: the pointer is to a live timex that nobody else uses during the call.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(ClockDiscipline {
        state,
        status: timex.status,
        estimated_error_us: timex.esterror,
        maximum_error_us: timex.maxerror,
        tai_offset_secs: timex.tai,
    })
}

/// Closes every descriptor but the three standard ones (close_range(2), Linux 5.9): those that were inherited may hold
/// locks of whoever started this process. Only at the start, when nothing of this process's own is open.
///
/// # Errors
/// As close_range(2): `ENOSYS` before Linux 5.9.
pub fn close_inherited() -> io::Result<()> {
    // SAFETY: the call takes three integers and touches no memory of ours. No descriptor above the third is owned by
    // anything in this process yet, which is what the caller promises.
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Puts this thread's disk reading into the idle class (ioprio_set(2)): whoever else wants the disk comes first.
///
/// # Errors
/// As ioprio_set(2).
pub fn read_when_idle() -> io::Result<()> {
    /// IOPRIO_WHO_PROCESS, which with 0 means the calling thread; IOPRIO_CLASS_IDLE (include/uapi/linux/ioprio.h).
    const WHO_PROCESS: libc::c_int = 1;
    const CLASS_IDLE: libc::c_int = 3 << 13;
    // SAFETY: the call takes three integers and touches no memory of ours.
    let outcome = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, CLASS_IDLE) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `struct mount_attr` of mount_setattr(2), its first version (32 bytes).
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// mount_setattr(2) (Linux 5.12) on the mount that `mount` itself is: makes it read-only, without devices, without
/// set-user-ID, and lets no access time move through it.
///
/// # Errors
/// As mount_setattr(2): `ENOSYS` before Linux 5.12, `EPERM` without CAP_SYS_ADMIN.
pub(super) fn make_quiet(mount: BorrowedFd<'_>) -> io::Result<()> {
    // The access-time setting is a field of bits and not a flag: to set it, all of it must be cleared as well.
    let attr = MountAttr {
        attr_set: libc::MOUNT_ATTR_RDONLY
            | libc::MOUNT_ATTR_NOSUID
            | libc::MOUNT_ATTR_NODEV
            | libc::MOUNT_ATTR_NOATIME
            | libc::MOUNT_ATTR_NODIRATIME,
        attr_clr: libc::MOUNT_ATTR__ATIME,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the descriptor is open for the length of the call, the path is an empty C string, and `attr` lives across
    // the call and is as long as the size that is passed. The kernel only reads it.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_thread_may_always_step_back() {
        std::thread::spawn(|| super::read_when_idle().unwrap()).join().unwrap();
    }

    #[test]
    fn the_kernel_answers() {
        let discipline = super::clock_discipline().unwrap();
        assert!((0..=5).contains(&discipline.state));
        assert!(discipline.maximum_error_us >= 0);
    }
}
