//! Sockets as the kernel tells them over netlink (sock_diag(7)): the other way to what `/proc/net` lists, through other
//! code (`inet_diag`, `unix_diag`, `packet_diag`, `netlink_diag`).
//!
//! Each family is answered by a module of its own, and asking for one that is not there makes the kernel load it:
//! [`Family::modules`] names what must be there before it is asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use super::netlink::{self, Dump, attributes, u16_at, u32_at};
use super::proc_net::names;

/// NETLINK_SOCK_DIAG (include/uapi/linux/netlink.h).
pub const NETLINK_SOCK_DIAG: u32 = 4;
/// The message that asks for sockets, and that tells one (SOCK_DIAG_BY_FAMILY).
pub const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// TCP states that `/proc/net/tcp` lists: all but NEW_SYN_RECV (12) and BOUND_INACTIVE (13), which the kernel only tells
/// when asked for.
const TCP_STATES: u32 = 0x0ffe;
const AF_UNIX: u8 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const AF_NETLINK: u8 = 16;
const AF_PACKET: u8 = 17;

/// A family that can be asked for, and the table of `/proc/net` with the same sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// The table, below `/proc/net`.
    pub file: &'static str,
    /// Modules that answer for it.
    pub modules: &'static [&'static str],
    domain: u8,
    protocol: u8,
}

/// All families, by their tables.
pub const FAMILIES: &[Family] = &[
    Family { file: "tcp", modules: &["inet_diag", "tcp_diag"], domain: AF_INET, protocol: 6 },
    Family { file: "tcp6", modules: &["inet_diag", "tcp_diag"], domain: AF_INET6, protocol: 6 },
    Family { file: "udp", modules: &["inet_diag", "udp_diag"], domain: AF_INET, protocol: 17 },
    Family { file: "udp6", modules: &["inet_diag", "udp_diag"], domain: AF_INET6, protocol: 17 },
    Family { file: "udplite", modules: &["inet_diag", "udp_diag"], domain: AF_INET, protocol: 136 },
    Family { file: "udplite6", modules: &["inet_diag", "udp_diag"], domain: AF_INET6, protocol: 136 },
    Family { file: "raw", modules: &["inet_diag", "raw_diag"], domain: AF_INET, protocol: 255 },
    Family { file: "raw6", modules: &["inet_diag", "raw_diag"], domain: AF_INET6, protocol: 255 },
    Family { file: "packet", modules: &["af_packet_diag"], domain: AF_PACKET, protocol: 0 },
    Family { file: "unix", modules: &["unix_diag"], domain: AF_UNIX, protocol: 0 },
    Family { file: "netlink", modules: &["netlink_diag"], domain: AF_NETLINK, protocol: 255 },
];

impl Family {
    /// Asks for all sockets of this family in the namespace of `socket`.
    pub fn ask(&self, socket: &OwnedFd, sequence: u32) -> Dump {
        netlink::dump(socket, SOCK_DIAG_BY_FAMILY, sequence, &self.request())
    }

    /// The request's own header: `inet_diag_req_v2`, `unix_diag_req`, `packet_diag_req` or `netlink_diag_req`.
    fn request(&self) -> Vec<u8> {
        let (states, rest) = match self.domain {
            AF_INET | AF_INET6 => (if self.protocol == 6 { TCP_STATES } else { u32::MAX }, 48),
            // udiag_ino, udiag_show (UDIAG_SHOW_NAME), udiag_cookie.
            AF_UNIX => (u32::MAX, 16),
            // The inode stands here, and is no filter for a dump.
            _ => (0, 12),
        };
        let mut request = vec![self.domain, self.protocol, 0, 0];
        request.extend(states.to_ne_bytes());
        let at = request.len();
        request.resize(at + rest, 0);
        if self.domain == AF_UNIX
            && let Some(show) = request.get_mut(at + 4..at + 8)
        {
            show.copy_from_slice(&1u32.to_ne_bytes());
        }
        request
    }

    /// The sockets in an answer. A message that is too short is left out.
    pub fn sockets<'a>(&self, dump: &'a Dump) -> impl Iterator<Item = DiagSocket<'a>> {
        let family = *self;
        netlink::messages(&dump.bytes)
            .filter(|message| message.kind == SOCK_DIAG_BY_FAMILY)
            .filter_map(move |message| family.socket(message.payload))
    }

    fn socket<'a>(&self, payload: &'a [u8]) -> Option<DiagSocket<'a>> {
        match self.domain {
            AF_INET | AF_INET6 => self.inet(payload),
            AF_UNIX => {
                let name = attributes(payload.get(16..)?).find(|(kind, _)| *kind == 0).map(|(_, name)| name);
                Some(DiagSocket { inode: u32_at(payload, 4)?, name, ..DiagSocket::default() })
            }
            AF_PACKET => Some(DiagSocket { inode: u32_at(payload, 4)?, ..DiagSocket::default() }),
            _ => Some(DiagSocket {
                inode: u32_at(payload, 16)?,
                is_kernel: u32_at(payload, 4)? == 0,
                ..DiagSocket::default()
            }),
        }
    }

    /// `struct inet_diag_msg`: four bytes, the socket's ends, then counters.
    fn inet<'a>(&self, payload: &'a [u8]) -> Option<DiagSocket<'a>> {
        let port = |at| u16_at(payload, at).map(u16::from_be);
        let address = |at: usize| {
            let bytes: [u8; 16] = *payload.get(at..)?.first_chunk()?;
            if self.domain == AF_INET {
                let four: [u8; 4] = *bytes.first_chunk()?;
                return Some(IpAddr::from(Ipv4Addr::from(four)));
            }
            Some(Ipv6Addr::from(bytes).to_canonical())
        };
        Some(DiagSocket {
            inode: u32_at(payload, 68)?,
            local: Some((address(8)?, port(4)?)),
            remote: Some((address(24)?, port(6)?)),
            state: names::tcp_state(u64::from(*payload.get(1)?)),
            uid: Some(u32_at(payload, 64)?),
            ..DiagSocket::default()
        })
    }
}

/// A socket, as the kernel tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiagSocket<'a> {
    /// Inode on sockfs; 0 for one without a file.
    pub inode: u32,
    /// Netlink: true for the kernel's own end.
    pub is_kernel: bool,
    /// Local address and port.
    pub local: Option<(IpAddr, u16)>,
    /// Unix: its name; an abstract one begins with a zero byte.
    pub name: Option<&'a [u8]>,
    /// Remote address and port.
    pub remote: Option<(IpAddr, u16)>,
    /// By name.
    pub state: Option<&'static str>,
    /// Who made it.
    pub uid: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_each_family() {
        let tcp = FAMILIES[0];
        let mut message = vec![2, 10, 0, 0, 0x7a, 0x69, 0, 0, 127, 0, 0, 1];
        message.resize(64, 0);
        message.extend(1000u32.to_ne_bytes());
        message.extend(77u32.to_ne_bytes());
        let socket = tcp.socket(&message).unwrap();
        assert_eq!(socket.local, Some((IpAddr::from([127, 0, 0, 1]), 31337)));
        assert_eq!((socket.inode, socket.state, socket.uid), (77, Some("LISTEN"), Some(1000)));
        for length in 0..message.len() {
            assert_eq!(tcp.socket(&message[..length]), None, "{length}");
        }

        let unix = FAMILIES.iter().find(|family| family.file == "unix").unwrap();
        let mut message = vec![1, 1, 10, 0];
        message.extend(9u32.to_ne_bytes());
        message.extend([0; 8]);
        message.extend([9, 0, 0, 0, 0, b'f', b'x', b'-', b'1', 0, 0, 0]);
        let socket = unix.socket(&message).unwrap();
        assert_eq!((socket.inode, socket.name), (9, Some(&b"\0fx-1"[..])));
    }

    #[test]
    fn requests_have_the_size_of_their_structures() {
        let sizes: Vec<_> = FAMILIES.iter().map(|family| family.request().len()).collect();
        assert_eq!(sizes, [56, 56, 56, 56, 56, 56, 56, 56, 20, 24, 20]);
    }

    #[test]
    fn a_listener_of_this_process_is_told() {
        if std::fs::metadata("/proc/modules").is_ok() && std::fs::metadata("/sys/module/tcp_diag").is_err() {
            println!("skipped: asking could load tcp_diag here");
            return;
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = netlink::open_protocol(NETLINK_SOCK_DIAG).unwrap();
        let dump = FAMILIES[0].ask(&socket, 1);
        if let Some(error) = dump.error {
            println!("skipped: {error}");
            return;
        }
        let address = listener.local_addr().unwrap();
        let found = FAMILIES[0].sockets(&dump).find(|socket| socket.local == Some((address.ip(), address.port())));
        assert_eq!(found.unwrap().state, Some("LISTEN"));
    }
}
