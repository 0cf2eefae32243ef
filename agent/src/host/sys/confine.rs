//! What a thread gives up for itself and for all that it starts: seccomp(2) and landlock(7).

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use libc::{sock_filter, sock_fprog};

/// `SECCOMP_SET_MODE_FILTER` (include/uapi/linux/seccomp.h).
const SET_MODE_FILTER: libc::c_uint = 1;
/// `LANDLOCK_CREATE_RULESET_VERSION` (include/uapi/linux/landlock.h).
const CREATE_RULESET_VERSION: libc::c_uint = 1;

/// `struct landlock_ruleset_attr`, all that version 6 has. Older kernels take it as long as what they do not know is zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// `handled_access_fs`
    pub files: u64,
    /// `handled_access_net`
    pub network: u64,
    /// `scoped`
    pub scopes: u64,
}

/// Puts a filter on this thread's system calls. It must have no_new_privs set.
///
/// # Errors
/// As seccomp(2).
pub fn set_filter(program: &[sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: `program` points to `len` instructions that live across the call; the kernel copies them and writes nothing.
    let outcome = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, 0, &raw const program) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The version of Landlock that the kernel has.
///
/// # Errors
/// As landlock_create_ruleset(2).
pub fn landlock_version() -> io::Result<u32> {
    let none = std::ptr::null::<Rights>();
    // SAFETY: with this flag the call takes no memory of ours: a null pointer and a length of zero.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0, CREATE_RULESET_VERSION) };
    u32::try_from(version).map_err(|_| io::Error::last_os_error())
}

/// Takes these rights from this thread everywhere: the rule set has no exceptions. It must have no_new_privs set.
///
/// # Errors
/// As landlock_create_ruleset(2) and landlock_restrict_self(2).
pub fn landlock(rights: Rights) -> io::Result<()> {
    // SAFETY: the pointer is to a live structure as long as the length that is passed; the kernel only reads it.
    let ruleset =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const rights, size_of::<Rights>(), 0) };
    let ruleset = i32::try_from(ruleset).ok().filter(|number| *number >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has it.
    let ruleset = unsafe { OwnedFd::from_raw_fd(ruleset) };
    // SAFETY: the call takes two integers, of which one is a descriptor that is open for the length of the call.
    let outcome = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
