//! `/proc/PID/fdinfo/N`: position and flags of a descriptor, then lines of its kind (proc_pid_fdinfo(5)).

use serde::Serialize;
use serde::ser::{SerializeSeq as _, Serializer};

use super::super::text::{Number, decimal, in_base, key_value};

/// Flags of open(2) as fdinfo shows them on x86-64 and most others (asm-generic/fcntl.h), and as fcntl(2) sets them.
const GENERIC: [(u64, &str); 16] = [
    (0o100, "O_CREAT"),
    (0o200, "O_EXCL"),
    (0o400, "O_NOCTTY"),
    (0o1000, "O_TRUNC"),
    (0o2000, "O_APPEND"),
    (0o4000, "O_NONBLOCK"),
    (0o10000, "O_DSYNC"),
    (0o20000, "FASYNC"),
    (DIRECT, "O_DIRECT"),
    (LARGEFILE, "O_LARGEFILE"),
    (DIRECTORY, "O_DIRECTORY"),
    (NOFOLLOW, "O_NOFOLLOW"),
    (0o1_000_000, "O_NOATIME"),
    (0o2_000_000, "O_CLOEXEC"),
    (0o4_010_000, "O_SYNC"),
    (0o10_000_000, "O_PATH"),
];

/// Four flags have other bits on ARM (arch/arm64/include/uapi/asm/fcntl.h).
const ARM: bool = cfg!(any(target_arch = "aarch64", target_arch = "arm"));
const DIRECT: u64 = if ARM { 0o200_000 } else { 0o40_000 };
const LARGEFILE: u64 = if ARM { 0o400_000 } else { 0o100_000 };
const DIRECTORY: u64 = if ARM { 0o40_000 } else { 0o200_000 };
const NOFOLLOW: u64 = if ARM { 0o100_000 } else { 0o400_000 };
/// `O_TMPFILE` is this bit with `O_DIRECTORY`.
const TMPFILE: u64 = 0o20_000_000;

/// The file, parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FdInfo<'a> {
    /// Position in bytes.
    pub pos: Option<Number>,
    /// Flags, octal, as written.
    pub flags: Option<&'a [u8]>,
    /// Number of the mount.
    pub mnt_id: Option<u64>,
    /// Inode (5.14).
    pub ino: Option<u64>,
    /// The lines after those.
    pub more: &'a [u8],
}

impl<'a> FdInfo<'a> {
    /// Parses the file: its first lines, as far as they are known ones, and the rest as it is.
    pub fn parse(file: &'a [u8]) -> Self {
        let mut info = Self { more: file, ..Self::default() };
        while !info.more.is_empty() {
            let end = info.more.iter().position(|byte| *byte == b'\n').unwrap_or(info.more.len());
            let (line, after) = info.more.split_at(end);
            let known = match key_value(line) {
                Some((b"pos", value)) if info.pos.is_none() => {
                    info.pos = Number::parse(value);
                    info.pos.is_some()
                }
                Some((b"flags", value)) if info.flags.is_none() => {
                    info.flags = in_base(value, 8).map(|_| value);
                    info.flags.is_some()
                }
                Some((b"mnt_id", value)) if info.mnt_id.is_none() => {
                    info.mnt_id = decimal(value);
                    info.mnt_id.is_some()
                }
                Some((b"ino", value)) if info.ino.is_none() => {
                    info.ino = decimal(value);
                    info.ino.is_some()
                }
                _ => false,
            };
            if !known {
                break;
            }
            info.more = after.get(1..).unwrap_or_default();
        }
        info
    }

    /// The flags by name.
    pub fn flag_names(&self) -> Option<FlagNames> {
        in_base(self.flags?, 8).map(FlagNames)
    }
}

/// Flags, serialised as their names; bits without a name are left to the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlagNames(pub u64);

impl Serialize for FlagNames {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        list.serialize_element(match self.0 & 3 {
            0 => "O_RDONLY",
            1 => "O_WRONLY",
            2 => "O_RDWR",
            _ => "O_ACCMODE",
        })?;
        let has = |bits: u64| self.0 & bits == bits;
        for (bits, name) in GENERIC {
            // O_SYNC holds the bit of O_DSYNC; only the stronger one is meant.
            let is_shadowed = name == "O_DSYNC" && has(0o4_010_000);
            if has(bits) && !is_shadowed {
                list.serialize_element(name)?;
            }
        }
        if has(TMPFILE | DIRECTORY) {
            list.serialize_element("O_TMPFILE")?;
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_lines_first_and_the_rest_as_it_is() {
        let file = b"pos:\t7\nflags:\t02104002\nmnt_id:\t15\nino:\t1033\ntfd:        5 events:       19\ntfd: 6\n";
        let info = FdInfo::parse(file);
        assert_eq!((info.pos, info.mnt_id, info.ino), (Some(Number::Unsigned(7)), Some(15), Some(1033)));
        assert_eq!(info.more, b"tfd:        5 events:       19\ntfd: 6\n");
        assert_eq!(FdInfo::parse(b"").more, b"");
        let odd = FdInfo::parse(b"pos:\tx\nflags:\t9\n");
        assert_eq!((odd.pos, odd.more), (None, &b"pos:\tx\nflags:\t9\n"[..]));
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn flags_by_name() {
        let names = |flags| serde_json::to_string(&FlagNames(flags)).unwrap();
        assert_eq!(names(0o2_104_002), r#"["O_RDWR","O_NONBLOCK","O_LARGEFILE","O_CLOEXEC"]"#);
        assert_eq!(names(0o4_010_001), r#"["O_WRONLY","O_SYNC"]"#);
        assert_eq!(names(0o10_001), r#"["O_WRONLY","O_DSYNC"]"#);
        assert_eq!(names(0o20_200_002), r#"["O_RDWR","O_DIRECTORY","O_TMPFILE"]"#);
    }
}
