//! Login records: `struct utmp` (utmp, wtmp, btmp) and `struct lastlog`, as utmp(5) and glibc's bits/utmp.h lay them out.
//!
//! Pure functions of bytes. The layout belongs to the machine: where 64-bit programs keep the times of 32-bit ones
//! (x86-64, and most others) a record has 384 bytes; on aarch64 the session and the times are 64-bit and it has 400.
//! Nothing is left out: a record of zeros is what an intruder leaves who wiped his own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where the fields of a record are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of a `struct utmp`.
    pub record_bytes: usize,
    /// Bytes of a `struct lastlog`.
    pub lastlog_bytes: usize,
    wide: bool,
}

impl Layout {
    /// `__WORDSIZE_TIME64_COMPAT32`: 32-bit times.
    pub const NARROW: Self = Self { record_bytes: 384, lastlog_bytes: 292, wide: false };
    /// 64-bit times.
    pub const WIDE: Self = Self { record_bytes: 400, lastlog_bytes: 296, wide: true };
    /// The layout of this machine.
    pub const HERE: Self =
        if cfg!(any(target_arch = "aarch64", target_arch = "loongarch64")) { Self::WIDE } else { Self::NARROW };
}

/// One record, borrowing from the file. Strings end at their first NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// `ut_type`.
    pub kind: i16,
    /// Process of the login.
    pub pid: i32,
    /// Terminal, without `/dev/`.
    pub line: &'a [u8],
    /// Its suffix, or inittab's identifier.
    pub id: &'a [u8],
    /// User; in btmp what was typed.
    pub user: &'a [u8],
    /// Remote host; the kernel's release in records of boots.
    pub host: &'a [u8],
    /// How a process ended: signal and exit code.
    pub exit: (i16, i16),
    /// Session, for windows.
    pub session: i64,
    /// Seconds since the epoch. 32-bit times count as unsigned (glibc 2.40): nobody logged in before 1970.
    pub seconds: i64,
    /// And microseconds.
    pub microseconds: i64,
    /// Remote address; `None` for zero.
    pub address: Option<IpAddr>,
    /// True when bytes stand where a program that writes records leaves zeros: behind a string's end or in the reserve.
    /// They are what was there before, or what somebody put there.
    pub residue: bool,
}

/// The type by name (utmp(5)).
pub fn kind_name(kind: i16) -> Option<&'static str> {
    const NAMES: [&str; 10] = [
        "EMPTY",
        "RUN_LVL",
        "BOOT_TIME",
        "NEW_TIME",
        "OLD_TIME",
        "INIT_PROCESS",
        "LOGIN_PROCESS",
        "USER_PROCESS",
        "DEAD_PROCESS",
        "ACCOUNTING",
    ];
    NAMES.get(usize::try_from(kind).ok()?).copied()
}

/// Reads one record; `None` when there are fewer bytes than one has.
pub fn record(layout: Layout, bytes: &[u8]) -> Option<Record<'_>> {
    let bytes = bytes.get(..layout.record_bytes)?;
    let mut residue = false;
    let mut text = |from: usize, length: usize| {
        let field = bytes.get(from..from + length).unwrap_or_default();
        let end = field.iter().position(|&byte| byte == 0).unwrap_or(length);
        let (text, rest) = field.split_at(end);
        residue |= rest.iter().any(|&byte| byte != 0);
        text
    };
    let (line, id, user, host) = (text(8, 32), text(40, 4), text(44, 32), text(76, 256));
    let (session, seconds, microseconds, address_at) = if layout.wide {
        (i64_at(bytes, 336)?, i64_at(bytes, 344)?, i64_at(bytes, 352)?, 360)
    } else {
        (i64::from(i32_at(bytes, 336)?), i64::from(u32_at(bytes, 340)?), i64::from(i32_at(bytes, 344)?), 348)
    };
    let reserve = bytes.get(address_at + 16..).unwrap_or_default();
    residue |= reserve.iter().any(|&byte| byte != 0);
    Some(Record {
        kind: i16_at(bytes, 0)?,
        pid: i32_at(bytes, 4)?,
        line,
        id,
        user,
        host,
        exit: (i16_at(bytes, 332)?, i16_at(bytes, 334)?),
        session,
        seconds,
        microseconds,
        address: address(bytes.get(address_at..)?.first_chunk()?),
        residue,
    })
}

/// One entry of lastlog, which stands at `uid` times the record's length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastLogin<'a> {
    /// Seconds since the epoch.
    pub seconds: i64,
    /// Terminal.
    pub line: &'a [u8],
    /// Remote host.
    pub host: &'a [u8],
}

/// Reads one entry of lastlog; `None` when there are fewer bytes than one has.
pub fn last_login(layout: Layout, bytes: &[u8]) -> Option<LastLogin<'_>> {
    let bytes = bytes.get(..layout.lastlog_bytes)?;
    let (seconds, text) = if layout.wide {
        (i64_at(bytes, 0)?, bytes.get(8..)?)
    } else {
        (i64::from(u32_at(bytes, 0)?), bytes.get(4..)?)
    };
    let until_nul = |field: &'_ [u8]| field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    let (line, host) = text.split_at_checked(32)?;
    let host = host.get(..256)?;
    Some(LastLogin { seconds, line: line.get(..until_nul(line))?, host: host.get(..until_nul(host))? })
}

/// `ut_addr_v6`: in network order; an IPv4 address stands in the first word and leaves the others zero.
fn address(bytes: &[u8; 16]) -> Option<IpAddr> {
    match bytes {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] => None,
        &[a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] => Some(Ipv4Addr::new(a, b, c, d).into()),
        bytes => Some(Ipv6Addr::from(*bytes).into()),
    }
}

fn i16_at(bytes: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    Some(i64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Records for the tests of this file and of the collectors.
#[cfg(test)]
pub mod testing {
    use super::Layout;

    /// A record of [`Layout::HERE`] with these fields and zeros otherwise.
    pub fn written(kind: i16, pid: i32, line: &str, user: &str, host: &str, seconds: u32, address: [u8; 4]) -> Vec<u8> {
        let layout = Layout::HERE;
        let mut bytes = vec![0; layout.record_bytes];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &kind.to_ne_bytes());
        put(4, &pid.to_ne_bytes());
        put(8, line.as_bytes());
        put(44, user.as_bytes());
        put(76, host.as_bytes());
        if layout.wide {
            put(344, &i64::from(seconds).to_ne_bytes());
            put(352, &7i64.to_ne_bytes());
            put(360, &address);
        } else {
            put(340, &seconds.to_ne_bytes());
            put(344, &7i32.to_ne_bytes());
            put(348, &address);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login() {
        let bytes = testing::written(7, 4242, "pts/0", "ana", "198.51.100.7", 4_000_000_000, [198, 51, 100, 7]);
        let record = record(Layout::HERE, &bytes).unwrap();
        assert_eq!(
            (record.kind, record.pid, record.line, record.user),
            (7, 4242, b"pts/0".as_slice(), b"ana".as_slice())
        );
        assert_eq!((record.seconds, record.microseconds), (4_000_000_000, 7));
        assert_eq!(record.address, Some(IpAddr::from([198, 51, 100, 7])));
        assert!(!record.residue);
    }

    #[test]
    fn the_wide_layout() {
        let mut bytes = vec![0; 400];
        bytes[0] = 8;
        bytes[336..344].copy_from_slice(&9i64.to_ne_bytes());
        bytes[344..352].copy_from_slice(&5_000_000_000i64.to_ne_bytes());
        bytes[360..376].copy_from_slice(&Ipv6Addr::LOCALHOST.octets());
        let read = record(Layout::WIDE, &bytes).unwrap();
        assert_eq!((read.kind, read.session, read.seconds), (8, 9, 5_000_000_000));
        assert_eq!(read.address, Some(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(record(Layout::WIDE, &bytes[..399]), None);
    }

    #[test]
    fn what_was_there_before_shows() {
        let mut bytes = testing::written(7, 1, "tty1", "root", "", 1, [0; 4]);
        bytes[44 + 10] = b'x';
        assert!(record(Layout::HERE, &bytes).unwrap().residue);
        bytes[44 + 10] = 0;
        bytes[Layout::HERE.record_bytes - 1] = 1;
        assert!(record(Layout::HERE, &bytes).unwrap().residue);
    }

    #[test]
    fn a_field_without_an_end_is_taken_whole() {
        let mut bytes = vec![0xff; 292];
        let entry = last_login(Layout::NARROW, &bytes).unwrap();
        assert_eq!((entry.line.len(), entry.host.len(), entry.seconds), (32, 256, i64::from(u32::MAX)));
        bytes.pop();
        assert_eq!(last_login(Layout::NARROW, &bytes), None);
    }

    #[test]
    fn damaged_records_never_panic() {
        let mut state = 3u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap()
        };
        for _ in 0..20_000 {
            let mut bytes = testing::written(7, 1, "pts/1", "u", "h", 5, [1, 2, 3, 4]);
            let at = next() % bytes.len();
            bytes[at] ^= 1 << (next() % 8);
            bytes.truncate(next() % (bytes.len() + 200));
            for layout in [Layout::NARROW, Layout::WIDE] {
                assert_eq!(record(layout, &bytes).is_some(), bytes.len() >= layout.record_bytes);
                assert_eq!(last_login(layout, &bytes).is_some(), bytes.len() >= layout.lastlog_bytes);
            }
        }
    }
}
