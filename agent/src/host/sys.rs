//! The system calls that no crate wraps safely: one call per wrapper.
//!
//! Architecture invariant: this is the only module of the agent with unsafe code.
#![expect(unsafe_code, reason = "system calls without a safe wrapper in rustix or nix")]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

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
