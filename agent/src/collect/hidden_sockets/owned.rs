//! What a socket says of itself, asked through a copy of its owner's descriptor.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, SocketType, getpeername, getsockname, sockopt};
use rustix::process::{ForeignRawFd, Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::host::net_census::Held;
use crate::host::regular::fd_path;
use crate::host::sys::namespaces::namespace_of_socket;
use crate::host::tokens::bracketed;

/// What the socket said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Local address and port.
    pub local: Option<(IpAddr, u16)>,
    /// Inode of its network namespace.
    pub netns: Option<u64>,
    /// Unix: its name.
    pub path: Option<String>,
    /// The table where it would be listed, or the numbers of its family and protocol.
    pub protocol: String,
    /// Remote address and port.
    pub remote: Option<(IpAddr, u16)>,
    /// True when the kernel lists such a socket: one that is bound, listens or is connected, and those that are listed
    /// from their making.
    pub should_be_listed: bool,
}

/// Asks the socket that `held` names; `None` when it is not held any more, or cannot be copied (before kernel 5.6,
/// without CAP_SYS_PTRACE).
pub fn ask(held: &Held) -> Option<Answer> {
    let pid = i32::try_from(held.pid).ok().and_then(Pid::from_raw)?;
    let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let fd = ForeignRawFd::try_from(held.fd).ok()?;
    let socket = pidfd_getfd(process, fd, PidfdGetfdFlags::empty()).ok()?;
    let link = rustix::fs::readlink(fd_path(&socket), Vec::new()).ok()?;
    if bracketed(link.to_bytes(), b"socket") != Some(held.inode) {
        return None;
    }
    answer(&socket)
}

fn answer(socket: &OwnedFd) -> Option<Answer> {
    let family = sockopt::socket_domain(socket).ok()?;
    let protocol = sockopt::socket_protocol(socket).ok().flatten().map_or(0, |protocol| protocol.as_raw().get());
    let kind = sockopt::socket_type(socket).ok()?;
    let listens = sockopt::socket_acceptconn(socket).unwrap_or(false);
    let name: Option<SocketAddrAny> = getsockname(socket).ok();
    let peer = getpeername(socket).ok().flatten();
    let end = |name: Option<SocketAddrAny>| {
        let address = SocketAddr::try_from(name?).ok()?;
        Some((address.ip().to_canonical(), address.port()))
    };
    let path = name.clone().and_then(|name| SocketAddrUnix::try_from(name).ok()).and_then(|name| unix_name(&name));
    let (local, remote) = (end(name), end(peer));
    let is_bound = local.is_some_and(|(_, port)| port != 0);
    let (table, should_be_listed) = match (family, kind, protocol) {
        (AddressFamily::INET | AddressFamily::INET6, SocketType::STREAM, 6) => {
            (Some("tcp"), is_bound && (listens || remote.is_some()))
        }
        (AddressFamily::INET | AddressFamily::INET6, SocketType::DGRAM, 17) => (Some("udp"), is_bound),
        (AddressFamily::INET | AddressFamily::INET6, SocketType::RAW, _) => (Some("raw"), true),
        (AddressFamily::UNIX, ..) => (Some("unix"), true),
        (AddressFamily::PACKET, ..) => (Some("packet"), true),
        _ => (None, false),
    };
    let six = if family == AddressFamily::INET6 { "6" } else { "" };
    let protocol = table.map_or_else(|| format!("{}/{protocol}", family.as_raw()), |table| format!("{table}{six}"));
    let netns = namespace_of_socket(socket.as_fd()).ok().and_then(|found| rustix::fs::fstat(found).ok());
    Some(Answer { local, netns: netns.map(|found| found.st_ino), path, protocol, remote, should_be_listed })
}

fn unix_name(name: &SocketAddrUnix) -> Option<String> {
    if let Some(path) = name.path() {
        return Some(path.to_string_lossy().into_owned()).filter(|path| !path.is_empty());
    }
    name.abstract_name().map(|name| format!("@{}", String::from_utf8_lossy(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_tell_where_they_are_bound() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let said = answer(&OwnedFd::from(listener)).unwrap();
        assert_eq!((said.protocol.as_str(), said.should_be_listed), ("tcp", true));
        assert_eq!(said.local, Some((IpAddr::from([127, 0, 0, 1]), port)));
        let unbound = rustix::net::socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
        let said = answer(&unbound).unwrap();
        assert_eq!((said.protocol.as_str(), said.should_be_listed), ("tcp6", false));
        let (pair, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
        assert!(answer(&OwnedFd::from(pair)).unwrap().should_be_listed);
    }
}
