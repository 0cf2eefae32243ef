//! `/proc/PID/maps`: one mapping a line (proc_pid_maps(5)).

use super::super::text::{Device, decimal, in_base};

/// One line, in the kernel's own words where they are exact: addresses and offset are hex without `0x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// First address, hex.
    pub start: &'a str,
    /// First address behind it, hex.
    pub end: &'a str,
    /// `rwx`, and `p` (private) or `s` (shared).
    pub perms: &'a str,
    /// Offset in the file in bytes, hex.
    pub offset: &'a str,
    /// Device of the file; 0:0 for none.
    pub dev: Device,
    /// Inode of the file; 0 for none.
    pub inode: u64,
    /// Path or name, with newlines as `\012`; empty for anonymous memory.
    pub path: &'a [u8],
}

impl<'a> Mapping<'a> {
    /// Parses a line; `None` when it is not one of the kernel's.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let mut rest = line;
        let mut word = || {
            let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            str::from_utf8(word).ok()
        };
        let (start, end) = word()?.split_once('-')?;
        let (perms, offset) = (word()?, word()?);
        let (major, minor) = word()?.split_once(':')?;
        let inode = decimal(word()?.as_bytes())?;
        let hex = |text: &str| in_base(text.as_bytes(), 16);
        hex(start)?;
        hex(end)?;
        hex(offset)?;
        if perms.len() != 4 {
            return None;
        }
        let device = |text: &str| hex(text).and_then(|number| u32::try_from(number).ok());
        Some(Self {
            start,
            end,
            perms,
            offset,
            dev: Device { major: device(major)?, minor: device(minor)? },
            inode,
            // The kernel pads with blanks to a column; a path begins with `/`, a name with `[`.
            path: rest.trim_ascii_start(),
        })
    }

    /// What kind of memory it is, by its name.
    pub fn kind(&self) -> &'static str {
        match self.path {
            b"" => "anonymous",
            b"[heap]" => "heap",
            b"[vdso]" => "vdso",
            b"[vsyscall]" => "vsyscall",
            path if path.starts_with(b"[stack") => "stack",
            path if path.starts_with(b"[vvar") => "vvar",
            path if path.starts_with(b"[anon:") || path.starts_with(b"[anon_shmem:") => "anonymous",
            path if path.starts_with(b"/memfd:") => "memfd",
            path if path.starts_with(b"/SYSV") && self.perms.ends_with('s') => "sysv_shm",
            b"/dev/zero (deleted)" | b"/anon_hugepage (deleted)" => "shared_anonymous",
            path if path.starts_with(b"anon_inode:") || path.starts_with(b"/[aio]") => "anon_inode",
            path if path.starts_with(b"socket:") => "socket",
            path if path.starts_with(b"[") => "special",
            _ => "file",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel() {
        let line =
            b"7f0a1c000000-7f0a1c021000 r-xp 00002000 fd:01 1835037                    /tmp/a b\\012c\xff (deleted)";
        let mapping = Mapping::parse(line).unwrap();
        assert_eq!((mapping.start, mapping.end), ("7f0a1c000000", "7f0a1c021000"));
        assert_eq!((mapping.perms, mapping.offset, mapping.inode), ("r-xp", "00002000", 1_835_037));
        assert_eq!((mapping.dev.major, mapping.dev.minor), (253, 1));
        assert_eq!(mapping.path, b"/tmp/a b\\012c\xff (deleted)");
        assert_eq!(mapping.kind(), "file");
        let bare = Mapping::parse(b"7ffc0000-7ffd0000 rw-p 00000000 00:00 0 ").unwrap();
        assert_eq!((bare.path, bare.kind()), (&b""[..], "anonymous"));
    }

    #[test]
    fn kinds() {
        for (name, kind) in [
            ("[heap]", "heap"),
            ("[stack]", "stack"),
            ("[vdso]", "vdso"),
            ("[vvar_vclock]", "vvar"),
            ("[anon:glibc: malloc]", "anonymous"),
            ("[uprobes]", "special"),
            ("/memfd:x (deleted)", "memfd"),
            ("/SYSV00000000 (deleted)", "file"),
            ("/dev/zero (deleted)", "shared_anonymous"),
            ("anon_inode:[perf_event]", "anon_inode"),
            ("/usr/bin/cat", "file"),
        ] {
            let line = format!("1000-2000 rw-p 00000000 00:01 7 {name}");
            assert_eq!(Mapping::parse(line.as_bytes()).unwrap().kind(), kind, "{name}");
        }
    }

    #[test]
    fn lines_that_are_no_mapping() {
        for bad in ["", "1000", "1000-2000", "1000-2000 rw-p 0 00:00", "xyz-2000 rw-p 0 00:00 0", "1-2 rw 0 00:00 0"] {
            assert!(Mapping::parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }
}
