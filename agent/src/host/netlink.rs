//! A netlink socket that dumps, and the walk over what comes back (netlink(7), rtnetlink(7)).
//!
//! Everything here is bounded: a dump in bytes, each wait by a timeout, each message and attribute by what really
//! arrived. The parsers are pure functions of bytes; what does not fit ends the walk and never panics.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, sendto, socket_with,
    sockopt,
};

/// NETLINK_XFRM: IPsec.
pub const XFRM: u32 = 6;
/// NETLINK_NETFILTER.
pub const NETFILTER: u32 = 12;
/// NETLINK_GENERIC.
pub const GENERIC: u32 = 16;

/// A dump is kept up to here: about 100,000 routes.
pub const DUMP_BYTES_MAX: usize = 16 << 20;
/// The kernel answers at once; longer than this means that it never will.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// The kernel fills at most 32 KiB of a reader's buffer (netlink_dump).
const DATAGRAM_BYTES_MAX: usize = 64 << 10;

const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x01;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
const HEADER_BYTES: usize = 16;

/// What a dump gave.
#[derive(Debug, Default)]
pub struct Dump {
    /// The messages as they came, the closing one included.
    pub bytes: Vec<u8>,
    /// The kernel said that something changed while it was listing (NLM_F_DUMP_INTR): entries may be missing or double.
    pub interrupted: bool,
    /// More than [`DUMP_BYTES_MAX`] would have come.
    pub truncated: bool,
    /// What ended the dump before its end; what came before is in `bytes`.
    pub error: Option<io::Error>,
}

/// Opens a NETLINK_ROUTE socket in the network namespace of the calling thread; it stays bound to it.
///
/// # Errors
/// As socket(2).
pub fn open() -> io::Result<OwnedFd> {
    open_protocol(0)
}

/// The same for another protocol (NETLINK_*). The kernel may load a module for one that nobody has registered: ask
/// [`super::kernel_part`] first.
///
/// # Errors
/// As socket(2).
pub fn open_protocol(protocol: u32) -> io::Result<OwnedFd> {
    let protocol = NonZeroU32::new(protocol).map(Protocol::from_raw);
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(WAIT_MAX))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(WAIT_MAX))?;
    bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    Ok(socket)
}

/// NLM_F_ACK: the kernel answers also when it went well.
pub const ACK: u16 = 0x04;
/// NLM_F_CREATE.
pub const CREATE: u16 = 0x400;
/// NLM_F_EXCL: an error when it is there already.
pub const EXCL: u16 = 0x200;
/// NLM_F_APPEND: behind what is there.
pub const APPEND: u16 = 0x800;

/// A request: header and the family's own header, `body`.
pub fn request(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_BYTES + body.len()).unwrap_or(0);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend(body);
    bytes
}

/// Asks for a dump and takes it all. An error stands in the answer, beside what came before it.
pub fn dump(socket: &OwnedFd, kind: u16, sequence: u32, body: &[u8]) -> Dump {
    let mut dump = Dump::default();
    if let Err(error) = take(socket, &request(kind, NLM_F_DUMP, sequence, body), sequence, Answer::UntilDone, &mut dump)
    {
        dump.error = Some(error);
    }
    dump
}

/// Asks for one thing and takes the payload of the one message that answers.
///
/// # Errors
/// As sendto(2) and recvfrom(2), or what the kernel answered.
pub fn ask(socket: &OwnedFd, kind: u16, sequence: u32, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut dump = Dump::default();
    take(socket, &request(kind, 0, sequence, body), sequence, Answer::One, &mut dump)?;
    messages(&dump.bytes).next().map(|message| message.payload.to_vec()).ok_or_else(|| Errno::PROTO.into())
}

/// A change that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("the kernel refused it")]
pub struct Refused {
    /// The message of the batch that it refused; `None` when the batch never got so far.
    pub sequence: Option<u32>,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Sends messages that change something, and waits for the kernel's word on the one with the sequence `last`, which must
/// ask for it ([`ACK`]).
///
/// # Errors
/// The first refusal. A batch of nf_tables has then changed nothing.
pub fn change(socket: &OwnedFd, messages: &[u8], last: u32) -> Result<(), Refused> {
    let io = |error: Errno| Refused { sequence: None, source: error.into() };
    sendto(socket, messages, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).map_err(io)?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let mut refused = None;
    for _ in 0..100_000 {
        let (length, from) = match recvfrom(socket, buffer.as_mut_slice(), RecvFlags::TRUNC) {
            Ok((_, length, from)) => (length, from),
            Err(Errno::INTR) => continue,
            // After a refusal of the whole batch nothing more comes.
            Err(Errno::AGAIN) => return Err(refused.unwrap_or_else(|| io(Errno::TIMEDOUT))),
            Err(error) => return Err(refused.unwrap_or_else(|| io(error))),
        };
        let sender = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
        let Some(datagram) = buffer.get(..length).filter(|_| sender.is_some_and(|sender| sender.pid() == 0)) else {
            continue;
        };
        for message in self::messages(datagram).filter(|message| message.kind == NLMSG_ERROR) {
            if i32_at(message.payload, 0) != Some(0) && refused.is_none() {
                refused = Some(Refused { sequence: Some(message.sequence), source: error_in(message.payload) });
            }
            if message.sequence == last || (message.sequence == 0 && refused.is_some()) {
                return refused.map_or(Ok(()), Err);
            }
        }
    }
    Err(io(Errno::PROTO))
}

/// How many messages answer a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    One,
    UntilDone,
}

fn take(socket: &OwnedFd, request: &[u8], sequence: u32, answer: Answer, dump: &mut Dump) -> io::Result<()> {
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(socket, request, SendFlags::empty(), &kernel)?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    // Datagrams that are not for this dump are dropped, but not for ever.
    let mut strangers = 0;
    while strangers < 1000 {
        let (length, from) = match recvfrom(socket, buffer.as_mut_slice(), RecvFlags::TRUNC) {
            Ok((_, length, from)) => (length, from),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => return Err(Errno::TIMEDOUT.into()),
            Err(error) => return Err(error.into()),
        };
        // Root on the host may send to this socket too; the kernel's port is zero.
        let sender = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
        if sender.is_none_or(|sender| sender.pid() != 0) {
            strangers += 1;
            continue;
        }
        let Some(datagram) = buffer.get(..length) else {
            return Err(Errno::MSGSIZE.into());
        };
        match take_datagram(datagram, sequence, dump)? {
            Came::Nothing => strangers += 1,
            Came::More if answer == Answer::UntilDone => {}
            Came::More | Came::End => return Ok(()),
        }
    }
    Err(Errno::PROTO.into())
}

enum Came {
    Nothing,
    More,
    End,
}

/// Looks through one datagram and keeps its messages.
fn take_datagram(datagram: &[u8], sequence: u32, dump: &mut Dump) -> io::Result<Came> {
    let mut came = Came::Nothing;
    for message in messages(datagram) {
        if message.sequence != sequence || message.kind == NLMSG_NOOP {
            continue;
        }
        dump.interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
        if message.kind == NLMSG_ERROR {
            return Err(error_in(message.payload));
        }
        if dump.bytes.len() + message.bytes.len() > DUMP_BYTES_MAX {
            dump.truncated = true;
            return Ok(Came::End);
        }
        dump.bytes.extend_from_slice(message.bytes);
        if message.kind == NLMSG_DONE {
            // A dump that failed halfway says so here: a negative errno.
            return match i32_at(message.payload, 0) {
                Some(code) if code < 0 => Err(io::Error::from_raw_os_error(-code)),
                _ => Ok(Came::End),
            };
        }
        came = Came::More;
    }
    Ok(came)
}

/// The errno of an NLMSG_ERROR, which stands negated.
fn error_in(payload: &[u8]) -> io::Error {
    match i32_at(payload, 0).and_then(i32::checked_neg) {
        Some(errno) if errno > 0 => io::Error::from_raw_os_error(errno),
        _ => io::Error::from(Errno::PROTO),
    }
}

/// One message of a dump.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    flags: u16,
    sequence: u32,
    /// What stands after the header.
    pub payload: &'a [u8],
    /// Header, payload and padding.
    bytes: &'a [u8],
}

/// The messages in a buffer, up to the first that does not fit.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let message = Message {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            payload: bytes.get(HEADER_BYTES..length)?,
            bytes: bytes.get(..padded(length)).unwrap_or(bytes),
        };
        bytes = bytes.get(padded(length)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes in a buffer, type (without the flags for nesting and byte order) and value, up to the first that does
/// not fit.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const NLA_TYPE_MASK: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & NLA_TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(padded(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of that type.
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// An attribute with its header and padding, for a request.
pub fn write_attribute(into: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    into.extend(length.to_ne_bytes());
    into.extend(kind.to_ne_bytes());
    into.extend(value);
    into.resize(padded(into.len()), 0);
}

/// The 16-bit number in network order that a value begins with.
pub fn u16_be(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.first_chunk()?))
}

/// The 32-bit number in network order that a value begins with.
pub fn u32_be(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.first_chunk()?))
}

/// The 64-bit number in network order that a value begins with.
pub fn u64_be(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.first_chunk()?))
}

/// A text that ends at its first zero byte, or with the value.
pub fn text_of(value: &[u8]) -> &[u8] {
    value.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// The 16-bit number in host order at `at`.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The 32-bit number in host order at `at`.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The signed 32-bit number in host order at `at`.
pub fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The 64-bit number in host order at `at`.
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// For the tests of those who read attributes.
#[cfg(test)]
pub mod testing {
    /// Attributes one after the other.
    pub fn list(parts: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, value) in parts {
            super::write_attribute(&mut bytes, *kind, value);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = request(kind, 0, sequence, payload);
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.resize(padded(bytes.len()), 0);
        bytes
    }

    #[test]
    fn a_dump_ends_with_done_and_says_when_it_was_interrupted() {
        let mut dump = Dump::default();
        let datagram =
            [message(16, 2, 7, b"one"), message(16, 2 | NLM_F_DUMP_INTR, 7, b"two"), message(16, 2, 8, b"other")]
                .concat();
        assert!(matches!(take_datagram(&datagram, 7, &mut dump), Ok(Came::More)));
        assert!(matches!(take_datagram(&message(NLMSG_DONE, 2, 7, &0i32.to_ne_bytes()), 7, &mut dump), Ok(Came::End)));
        let payloads: Vec<_> = messages(&dump.bytes).map(|message| message.payload).collect();
        assert_eq!(payloads, [b"one".as_slice(), b"two", &[0; 4]]);
        assert!(dump.interrupted && !dump.truncated);
    }

    #[test]
    fn errors_keep_their_number() {
        let refused = message(NLMSG_ERROR, 0, 7, &(-1i32).to_ne_bytes());
        let error = take_datagram(&refused, 7, &mut Dump::default()).err().unwrap();
        assert_eq!(error.raw_os_error(), Some(1));
        let halfway = message(NLMSG_DONE, 2, 7, &(-95i32).to_ne_bytes());
        let error = take_datagram(&halfway, 7, &mut Dump::default()).err().unwrap();
        assert_eq!(error.raw_os_error(), Some(95));
        assert!(take_datagram(&message(NLMSG_ERROR, 0, 7, b""), 7, &mut Dump::default()).is_err());
    }

    #[test]
    fn a_dump_stops_at_its_bound() {
        let mut dump = Dump { bytes: vec![0; DUMP_BYTES_MAX - 20], ..Dump::default() };
        assert!(matches!(take_datagram(&message(16, 2, 7, b"four"), 7, &mut dump), Ok(Came::More)));
        assert_eq!((dump.bytes.len(), dump.truncated), (DUMP_BYTES_MAX, false));
        assert!(matches!(take_datagram(&message(16, 2, 7, b""), 7, &mut dump), Ok(Came::End)));
        assert!(dump.truncated);
    }

    #[test]
    fn attributes_that_do_not_fit_end_the_walk() {
        let bytes = [5, 0, 3, 0x80, b'a', 0, 0, 0, 4, 0, 9, 0, 200, 0, 1, 0, 1];
        let found: Vec<_> = attributes(&bytes).collect();
        assert_eq!(found, [(3, b"a".as_slice()), (9, b"")]);
        assert_eq!(attributes(&[0, 0, 1, 0]).count(), 0);
        assert_eq!(messages(&[0; 64]).count(), 0);
    }
}
