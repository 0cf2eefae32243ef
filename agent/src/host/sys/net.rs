//! System calls on sockets: the tables of iptables, and packets with all that the kernel says of them.
#![expect(unsafe_code, reason = "part of the one module for system calls without a safe wrapper")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

/// What may be asked of the tables of iptables (include/uapi/linux/netfilter_ipv4/ip_tables.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XtablesOption {
    /// IPT_SO_GET_INFO: the buffer begins with the table's name and is an `ipt_getinfo`.
    Info = 64,
    /// IPT_SO_GET_ENTRIES: the buffer is an `ipt_get_entries` with room for the entries.
    Entries = 65,
}

/// Asks for a table of iptables (of ip6tables with `is_ipv6`) on any socket of its family.
///
/// # Errors
/// As getsockopt(2): `EPERM` without CAP_NET_ADMIN, `ENOENT` for a table that is not there, `EAGAIN` when it changed.
pub fn xtables(socket: impl AsFd, is_ipv6: bool, option: XtablesOption, buffer: &mut [u8]) -> io::Result<()> {
    let level = if is_ipv6 { libc::IPPROTO_IPV6 } else { libc::IPPROTO_IP };
    let mut length = libc::socklen_t::try_from(buffer.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel reads and writes at most `length` bytes of the buffer for these two options, and the buffer,
    // which is initialised and nobody else's, has that many.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option as libc::c_int,
            buffer.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Packets that were seen and that found no room (`struct tpacket_stats`); the kernel's counters start again at zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketStatistics {
    /// All that passed the filter, those dropped included.
    pub packets: u32,
    /// Of them, those for which the socket's buffer had no room.
    pub drops: u32,
}

/// Asks a packet socket for its counters (PACKET_STATISTICS of packet(7)).
///
/// # Errors
/// As getsockopt(2).
pub fn packet_statistics(socket: BorrowedFd<'_>) -> io::Result<PacketStatistics> {
    let mut counters = [0_u32; 2];
    let mut length = libc::socklen_t::try_from(size_of_val(&counters)).unwrap_or(0);
    // SAFETY: the kernel writes at most `length` bytes, the size of the array.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            counters.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let [packets, drops] = counters;
    if outcome == 0 { Ok(PacketStatistics { packets, drops }) } else { Err(io::Error::last_os_error()) }
}

/// Options of a packet socket that are one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketOption {
    /// SO_TIMESTAMPNS: the time with each packet, in nanoseconds.
    Timestamps,
    /// PACKET_AUXDATA: the VLAN tag that the card took off, with each packet.
    AuxiliaryData,
    /// SO_RCVBUFFORCE: room for packets that wait, past the host's limit.
    BufferBeyondLimit,
    /// SO_RCVBUF: the same within the host's limit.
    Buffer,
}

/// Sets an option of a packet socket.
///
/// # Errors
/// As setsockopt(2).
pub fn set_packet_option(socket: BorrowedFd<'_>, option: PacketOption, value: i32) -> io::Result<()> {
    let (level, name) = match option {
        PacketOption::Timestamps => (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
        PacketOption::AuxiliaryData => (libc::SOL_PACKET, libc::PACKET_AUXDATA),
        PacketOption::BufferBeyondLimit => (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE),
        PacketOption::Buffer => (libc::SOL_SOCKET, libc::SO_RCVBUF),
    };
    let length = libc::socklen_t::try_from(size_of::<i32>()).unwrap_or(0);
    // SAFETY: all of these take one int; the kernel reads its four bytes.
    let outcome = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// One instruction of a classic BPF program (`struct sock_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// Instructions to skip when a comparison holds.
    pub jump_true: u8,
    /// Instructions to skip when it does not.
    pub jump_false: u8,
    /// Its operand.
    pub operand: u32,
}

/// Puts a filter on a socket: packets for which the program answers 0 are not queued (SO_ATTACH_FILTER of socket(7)).
///
/// # Errors
/// As setsockopt(2): `EINVAL` for a program that the kernel's checker refuses.
pub fn attach_filter(socket: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    let mut filters: Vec<libc::sock_filter> = program
        .iter()
        .map(|one| libc::sock_filter { code: one.code, jt: one.jump_true, jf: one.jump_false, k: one.operand })
        .collect();
    let len = u16::try_from(filters.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len, filter: filters.as_mut_ptr() };
    let length = libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).unwrap_or(0);
    // SAFETY: `program` points at `len` instructions that live across the call; the kernel copies them.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            length,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Binds a packet socket: from now on it gets all packets of that interface, or of all of them for 0 (packet(7)).
///
/// # Errors
/// As bind(2).
pub fn bind_packet(socket: BorrowedFd<'_>, interface: i32) -> io::Result<()> {
    // SAFETY: sockaddr_ll is plain integers, for which all zeros is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or(0);
    address.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or(0).to_be();
    address.sll_ifindex = interface;
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or(0);
    // SAFETY: the address is a live sockaddr_ll of that length.
    let outcome = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What the kernel says of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Its length on the wire; more than the buffer when it was cut.
    pub length: usize,
    /// Index of the interface.
    pub interface: i32,
    /// ARPHRD_* of the interface.
    pub hardware: u16,
    /// PACKET_HOST, PACKET_OUTGOING …
    pub kind: u8,
    /// Time since the epoch: seconds and nanoseconds.
    pub time: Option<(i64, i64)>,
    /// VLAN tag (TCI) and its EtherType, where the card took it off.
    pub vlan: Option<(u16, u16)>,
}

/// Room for the control messages of one packet: a timespec and a tpacket_auxdata, with headers and padding.
#[repr(align(8))]
struct Control([u8; 128]);

/// `struct tpacket_auxdata` (include/uapi/linux/if_packet.h).
#[repr(C)]
#[derive(Clone, Copy)]
struct Auxiliary {
    status: u32,
    length: u32,
    captured: u32,
    mac: u16,
    net: u16,
    vlan_tag: u16,
    vlan_type: u16,
}

/// Takes one packet, waiting as long as the socket's timeout says.
///
/// # Errors
/// As recvmsg(2): `EAGAIN` when none came.
pub fn receive_packet(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    const VLAN_VALID: u32 = 1 << 4;
    const VLAN_TYPE_VALID: u32 = 1 << 6;
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control([0; 128]);
    // SAFETY: sockaddr_ll and msghdr are plain integers and pointers, for which all zeros is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_name = (&raw mut address).cast();
    message.msg_namelen = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or(0);
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = 128;
    // SAFETY: every pointer of the message is to live memory of the length that stands beside it. MSG_TRUNC makes the
    // call answer the packet's whole length; it writes no more than the buffer holds.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_TRUNC) };
    if length < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut received = Received {
        length: length.cast_unsigned(),
        interface: address.sll_ifindex,
        hardware: address.sll_hatype,
        kind: address.sll_pkttype,
        ..Received::default()
    };
    // SAFETY: the kernel filled the control messages and their length; CMSG_FIRSTHDR and CMSG_NXTHDR stay within them.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: not null, so a whole header lies there.
        let one = unsafe { header.read() };
        // SAFETY: the data of a header lies behind it.
        let data = unsafe { libc::CMSG_DATA(header) };
        let room = |bytes: usize| {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            // SAFETY: pure arithmetic.
            one.cmsg_len as usize >= unsafe { libc::CMSG_LEN(bytes) } as usize
        };
        match (one.cmsg_level, one.cmsg_type) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) if room(size_of::<libc::timespec>()) => {
                // SAFETY: the kernel put a timespec there, and there is room for one.
                let time: libc::timespec = unsafe { data.cast::<libc::timespec>().read_unaligned() };
                received.time = Some((time.tv_sec, time.tv_nsec));
            }
            (libc::SOL_PACKET, libc::PACKET_AUXDATA) if room(size_of::<Auxiliary>()) => {
                // SAFETY: the kernel put a tpacket_auxdata there, and there is room for one.
                let auxiliary: Auxiliary = unsafe { data.cast::<Auxiliary>().read_unaligned() };
                if auxiliary.status & VLAN_VALID != 0 {
                    let of = if auxiliary.status & VLAN_TYPE_VALID != 0 { auxiliary.vlan_type } else { 0x8100 };
                    received.vlan = Some((auxiliary.vlan_tag, of));
                }
            }
            _ => {}
        }
        // SAFETY: as for CMSG_FIRSTHDR.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    Ok(received)
}
