//! What a namespace's file tells of it (ioctl_nsfs(2)), and which network namespace a socket belongs to.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::ioctl::opcode;

// The system call itself is asked, because the C libraries do not agree on the type of ioctl's second argument.

/// Number of the ioctls of nsfs (include/uapi/linux/nsfs.h).
const NSIO: u8 = 0xb7;
/// SIOCGSKNS (include/uapi/linux/sockios.h), kernel 4.10.
const SOCKET_NAMESPACE: u32 = 0x894c;

/// The user namespace that owns this namespace (NS_GET_USERNS).
///
/// # Errors
/// As ioctl_nsfs(2): `EPERM` when it lies outside of the caller's own.
pub fn owning_user_namespace(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the request takes no argument, and answers with a new descriptor.
    descriptor(unsafe { libc::syscall(libc::SYS_ioctl, namespace.as_raw_fd(), opcode::none(NSIO, 1)) })
}

/// The namespace above this one, for those that are nested: user and PID (NS_GET_PARENT).
///
/// # Errors
/// As ioctl_nsfs(2): `EPERM` when it lies outside of the caller's own, `EINVAL` for types that are not nested.
pub fn parent_namespace(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the request takes no argument, and answers with a new descriptor.
    descriptor(unsafe { libc::syscall(libc::SYS_ioctl, namespace.as_raw_fd(), opcode::none(NSIO, 2)) })
}

/// The user who made a user namespace, as a number of the caller's own (NS_GET_OWNER_UID, kernel 4.11).
///
/// # Errors
/// As ioctl_nsfs(2): `EINVAL` for other types.
pub fn owner_uid(user_namespace: BorrowedFd<'_>) -> io::Result<u32> {
    let mut uid: libc::uid_t = 0;
    // SAFETY: the pointer is to a live integer of the size that the kernel writes.
    let outcome =
        unsafe { libc::syscall(libc::SYS_ioctl, user_namespace.as_raw_fd(), opcode::none(NSIO, 4), &raw mut uid) };
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(uid) }
}

/// The network namespace that a socket belongs to (SIOCGSKNS). Needs CAP_NET_ADMIN in it.
///
/// # Errors
/// As ioctl(2).
pub fn namespace_of_socket(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the request takes no argument, and answers with a new descriptor.
    descriptor(unsafe { libc::syscall(libc::SYS_ioctl, socket.as_raw_fd(), SOCKET_NAMESPACE) })
}

fn descriptor(answer: libc::c_long) -> io::Result<OwnedFd> {
    let Some(answer) = libc::c_int::try_from(answer).ok().filter(|answer| *answer >= 0) else {
        return Err(io::Error::last_os_error());
    };
    // SAFETY: the kernel just made this descriptor for us, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(answer) })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    fn inode(file: impl std::os::fd::AsFd) -> u64 {
        rustix::fs::fstat(file).unwrap().st_ino
    }

    #[test]
    fn the_namespaces_of_this_process() {
        let open = |name: &str| std::fs::File::open(format!("/proc/self/ns/{name}")).unwrap();
        let (net, user) = (open("net"), open("user"));
        // In a container the owner may lie outside; then it is said.
        match owning_user_namespace(net.as_fd()) {
            Ok(owner) => assert!(inode(owner) > 0),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM)),
        }
        assert!(owner_uid(user.as_fd()).is_ok());
        assert_eq!(parent_namespace(net.as_fd()).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        match namespace_of_socket(socket.as_fd()) {
            Ok(found) => assert_eq!(inode(found), inode(net)),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM)),
        }
    }
}
