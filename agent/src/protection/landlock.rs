//! Landlock (landlock(7), Linux 5.13) for threads that parse files: nothing is opened for writing, made, removed, renamed
//! or run any more, whatever the file system and whoever owns it. Reading is not among the rights that are handled, so it
//! goes on as before, also through detached views of mounts.

use std::io;

use crate::host::sys::confine;

/// `LANDLOCK_ACCESS_FS_*` that write: EXECUTE, WRITE_FILE, REMOVE_DIR, REMOVE_FILE and MAKE_* (include/uapi/linux/landlock.h).
const FILES: u64 = 1 << 0 | 1 << 1 | 1 << 4 | 1 << 5 | 0x7f << 6;
/// REFER, from version 2 on: links and renames between folders. Version 1 denies them anyway.
const REFER: u64 = 1 << 13;
/// TRUNCATE, from version 3 on.
const TRUNCATE: u64 = 1 << 14;
/// `LANDLOCK_ACCESS_NET_*`, from version 4 on: BIND_TCP and CONNECT_TCP.
const TCP: u64 = 1 << 0 | 1 << 1;
/// `LANDLOCK_SCOPE_*`, from version 6 on: abstract sockets and signals of others.
const SCOPES: u64 = 1 << 0 | 1 << 1;

/// What is left of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    /// No TCP.
    None,
    /// All of it.
    Tcp,
}

/// Confines this thread, as far as the kernel's version of Landlock goes; which that is.
///
/// # Errors
/// As landlock_create_ruleset(2): `ENOSYS` before Linux 5.13, `EOPNOTSUPP` where it is not switched on.
pub(super) fn apply(network: Network) -> io::Result<u32> {
    let version = confine::landlock_version()?;
    rustix::thread::set_no_new_privs(true)?;
    confine::landlock(rights(version, network))?;
    Ok(version)
}

/// What a version of Landlock can take away.
fn rights(version: u32, network: Network) -> confine::Rights {
    let since = |first: u32, rights: u64| if version >= first { rights } else { 0 };
    let (tcp, scopes) = match network {
        Network::None => (since(4, TCP), since(6, SCOPES)),
        Network::Tcp => (0, since(6, SCOPES)),
    };
    confine::Rights { files: FILES | since(2, REFER) | since(3, TRUNCATE), network: tcp, scopes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_kernel_is_asked_for_what_it_knows_only() {
        let of = |version| rights(version, Network::None);
        assert_eq!(of(1), confine::Rights { files: 0x1ff3, network: 0, scopes: 0 });
        assert_eq!(of(3), confine::Rights { files: 0x7ff3, network: 0, scopes: 0 });
        assert_eq!(of(9), confine::Rights { files: 0x7ff3, network: 3, scopes: 3 });
        assert_eq!(rights(9, Network::Tcp).network, 0);
        // Reading files and folders is never asked for.
        assert_eq!(of(9).files & (1 << 2 | 1 << 3), 0);
    }
}
