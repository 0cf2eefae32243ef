//! The file systems through which the kernel shows its state: tracefs, debugfs, securityfs, selinuxfs, binfmt_misc.
//!
//! On the running machine each is reached through a read-only mount of our own that is attached nowhere (fsopen(2),
//! Linux 5.2, CAP_SYS_ADMIN). These file systems have one instance however often they are mounted, so that it shows what
//! the kernel has even where nobody mounted it, where something was mounted over it, or where an entry was made and the
//! mount was taken away again; and no automount is set off by a walk into it. Where that cannot be had, the place where
//! it is mounted by the table is opened.
//!
//! A type that the kernel does not have yet is not asked for: fsopen(2) would load its module.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::Host;

const FILESYSTEMS_BYTES_MAX: u64 = 64 << 10;

impl Host {
    /// The root of the kernel's file system `kind`, opened for listing; `usual` is where a tree that stands for a host
    /// has it.
    ///
    /// # Errors
    /// `NotFound` when the kernel has no such file system or it is mounted nowhere and cannot be mounted by us; as
    /// open(2) else.
    pub fn kernel_fs(&self, kind: &str, usual: &str) -> io::Result<OwnedFd> {
        if !self.is_live() {
            return self.dir(usual);
        }
        let known = self.read_text("/proc/filesystems", FILESYSTEMS_BYTES_MAX)?;
        if !known.lines().any(|line| line.split('\t').nth(1) == Some(kind)) {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("this kernel has no {kind}")));
        }
        detached(kind).or_else(|_| self.attached(kind))
    }

    fn attached(&self, kind: &str) -> io::Result<OwnedFd> {
        let table = self.mount_table()?;
        let mut mounts = table.all().iter().filter(|mount| mount.fs_type == kind.as_bytes() && mount.root == b"/");
        let Some(mount) = mounts.next() else {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{kind} is not mounted")));
        };
        self.dir(std::ffi::OsStr::from_bytes(&mount.point))
    }
}

fn detached(kind: &str) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_NOATIME;
    let root = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(root.as_fd(), c".", flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_the_kernel_lacks_is_not_loaded() {
        let error = Host::live().kernel_fs("no_such_fs", "/none").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_live_kernel_shows_its_debugging_or_says_why_not() {
        match Host::live().kernel_fs("debugfs", "/sys/kernel/debug") {
            Ok(root) => assert!(!crate::host::proc::names(root.as_fd()).unwrap().is_empty()),
            Err(error) => println!("no debugfs here: {error}"),
        }
    }
}
