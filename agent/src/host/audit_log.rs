//! Records of the kernel's audit subsystem as auditd writes them: `type=SYSCALL msg=audit(1764500000.123:456): a=b …`
//! (auditd.conf(5), ausearch(8); the record types of `linux/audit.h`).
//!
//! A value that holds blanks, quotes or control characters is written in hexadecimal and without quotes; which fields may
//! be is fixed ([`ENCODED`]), and only those are decoded. After the byte 0x1D come the same facts with names instead of
//! numbers (`log_format = ENRICHED`), whose keys are in capitals.

use bundle::time::Instant;

use super::text::decimal;

/// Fields that may be in hexadecimal (`audit_log_untrustedstring` in the kernel, and auditd's own records).
const ENCODED: [&[u8]; 17] = [
    b"acct",
    b"cmd",
    b"comm",
    b"cwd",
    b"data",
    b"dir",
    b"exe",
    b"file",
    b"grp",
    b"key",
    b"name",
    b"new",
    b"old",
    b"path",
    b"proctitle",
    b"vm",
    b"watch",
];

/// One record: a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// `SYSCALL`, `EXECVE`, `USER_LOGIN` …
    pub kind: &'a [u8],
    /// When.
    pub at: Instant,
    /// Number of the event: records with the same time and number belong together.
    pub serial: u64,
    /// Host, where auditd writes it (`name_format`).
    pub node: Option<&'a [u8]>,
    body: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record in a line.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let (node, line) = match line.strip_prefix(b"node=") {
            Some(rest) => {
                let (node, rest) = split(rest, b' ')?;
                (Some(node), rest)
            }
            None => (None, line),
        };
        let (kind, rest) = split(line.strip_prefix(b"type=")?, b' ')?;
        let rest = rest.strip_prefix(b"msg=audit(")?;
        let (stamp, body) = split(rest, b')')?;
        let (time, serial) = split(stamp, b':')?;
        let (seconds, milliseconds) = split(time, b'.')?;
        let millis = i128::from(decimal(seconds)?) * 1000 + i128::from(decimal(milliseconds)?.min(999));
        let body = body.strip_prefix(b":").unwrap_or(body);
        Some(Self { kind, at: Instant(millis * 1_000_000), serial: decimal(serial)?, node, body })
    }

    /// The value of a field, decoded. Fields of the enriched part are named in capitals. What user space wrote is within
    /// `msg='…'`, and looked for there as well.
    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let (value, is_quoted) = self.raw(key)?;
        if value == b"(null)" || value == b"(none)" || value == b"?" {
            return None;
        }
        let is_argument = key.first() == Some(&b'a') && key.get(1).is_some_and(u8::is_ascii_digit);
        let may_be_encoded = is_argument && self.kind == b"EXECVE" || ENCODED.contains(&key);
        let decoded = (!is_quoted && may_be_encoded).then(|| unhex(value)).flatten();
        Some(decoded.unwrap_or_else(|| value.to_vec()))
    }

    /// The same as a number.
    pub fn number(&self, key: &[u8]) -> Option<u64> {
        decimal(self.raw(key)?.0)
    }

    /// The value as it stands, and whether it is in quotes.
    fn raw(&self, key: &[u8]) -> Option<(&'a [u8], bool)> {
        let mut from = 0;
        while let Some(at) = find(self.body.get(from..)?, key) {
            let start = from + at;
            let end = start + key.len();
            let is_start = start == 0 || matches!(self.body.get(start - 1), Some(b' ' | b'\'' | 0x1d | b'"'));
            if is_start && self.body.get(end) == Some(&b'=') {
                let rest = self.body.get(end + 1..)?;
                if let Some(quoted) = rest.strip_prefix(b"\"") {
                    let length = quoted.iter().position(|byte| *byte == b'"').unwrap_or(quoted.len());
                    return Some((quoted.get(..length)?, true));
                }
                let is_end = |byte: &u8| matches!(byte, b' ' | b'\'' | 0x1d);
                let length = rest.iter().position(is_end).unwrap_or(rest.len());
                return Some((rest.get(..length)?, false));
            }
            from = end;
        }
        None
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn split(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == at)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.chunks_exact(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

/// The name of a system call, for those that rules ask for; others keep their number (`asm/unistd_64.h`).
pub fn syscall_name(arch: &[u8], number: u64) -> Option<&'static str> {
    let names: &[(u64, &str)] = match arch {
        b"c000003e" => &X86_64,
        b"c00000b7" => &AARCH64,
        _ => return None,
    };
    names.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

const X86_64: [(u64, &str); 48] = [
    (2, "open"),
    (41, "socket"),
    (42, "connect"),
    (43, "accept"),
    (49, "bind"),
    (50, "listen"),
    (56, "clone"),
    (57, "fork"),
    (58, "vfork"),
    (59, "execve"),
    (62, "kill"),
    (76, "truncate"),
    (77, "ftruncate"),
    (82, "rename"),
    (83, "mkdir"),
    (84, "rmdir"),
    (85, "creat"),
    (86, "link"),
    (87, "unlink"),
    (88, "symlink"),
    (90, "chmod"),
    (91, "fchmod"),
    (92, "chown"),
    (93, "fchown"),
    (94, "lchown"),
    (101, "ptrace"),
    (105, "setuid"),
    (106, "setgid"),
    (113, "setreuid"),
    (117, "setresuid"),
    (155, "pivot_root"),
    (161, "chroot"),
    (165, "mount"),
    (166, "umount2"),
    (169, "reboot"),
    (175, "init_module"),
    (176, "delete_module"),
    (188, "setxattr"),
    (246, "kexec_load"),
    (257, "openat"),
    (263, "unlinkat"),
    (264, "renameat"),
    (268, "fchmodat"),
    (288, "accept4"),
    (310, "process_vm_readv"),
    (313, "finit_module"),
    (319, "memfd_create"),
    (322, "execveat"),
];

const AARCH64: [(u64, &str); 24] = [
    (5, "setxattr"),
    (35, "unlinkat"),
    (38, "renameat"),
    (40, "mount"),
    (51, "chroot"),
    (53, "fchmodat"),
    (56, "openat"),
    (104, "kexec_load"),
    (105, "init_module"),
    (106, "delete_module"),
    (117, "ptrace"),
    (129, "kill"),
    (142, "reboot"),
    (146, "setuid"),
    (147, "setresuid"),
    (198, "socket"),
    (200, "bind"),
    (203, "connect"),
    (220, "clone"),
    (221, "execve"),
    (273, "finit_module"),
    (279, "memfd_create"),
    (280, "bpf"),
    (281, "execveat"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_and_decoded() {
        let line = b"node=web-1 type=SYSCALL msg=audit(1764500000.123:456): arch=c000003e syscall=59 success=yes \
            a0=55 comm=\"sh\" exe=2F746D702F6120622F78 key=(null)\x1dARCH=x86_64 SYSCALL=execve AUID=\"alice\"";
        let record = Record::parse(line).unwrap();
        assert_eq!((record.kind, record.serial, record.node), (&b"SYSCALL"[..], 456, Some(&b"web-1"[..])));
        assert_eq!(record.at, Instant(1_764_500_000_123_000_000));
        assert_eq!(record.get(b"exe").unwrap(), b"/tmp/a b/x");
        assert_eq!(record.get(b"comm").unwrap(), b"sh");
        assert_eq!(record.get(b"a0").unwrap(), b"55", "an argument of a system call is a number");
        assert_eq!((record.get(b"key"), record.number(b"syscall")), (None, Some(59)));
        assert_eq!(
            (record.get(b"SYSCALL").unwrap(), record.get(b"AUID").unwrap()),
            (b"execve".to_vec(), b"alice".to_vec())
        );
        assert_eq!(syscall_name(b"c000003e", 59), Some("execve"));
    }

    #[test]
    fn what_user_space_wrote_is_found_within_its_quotes() {
        let line = b"type=USER_LOGIN msg=audit(1.2:3): pid=1 uid=0 auid=1000 ses=5 msg='op=login acct=\"root\" exe=\"/usr/sbin/sshd\" hostname=? addr=192.0.2.7 terminal=ssh res=success'";
        let record = Record::parse(line).unwrap();
        assert_eq!(record.get(b"op").unwrap(), b"login");
        assert_eq!((record.get(b"hostname"), record.get(b"res").unwrap()), (None, b"success".to_vec()));
        assert_eq!(record.get(b"addr").unwrap(), b"192.0.2.7");
        assert_eq!(
            Record::parse(b"type=EXECVE msg=audit(1.2:3): argc=2 a0=\"sh\" a1=6964206F").unwrap().get(b"a1").unwrap(),
            b"id o"
        );
    }

    #[test]
    fn damaged_lines_are_none() {
        for line in
            [&b""[..], b"type=", b"type=X msg=audit(", b"type=X msg=audit(1:2)", b"type=X msg=audit(1.2:x):", b"node=x"]
        {
            assert_eq!(Record::parse(line), None, "{line:?}");
        }
        let record = Record::parse(b"type=X msg=audit(1.2:3): exe=\"open key=").unwrap();
        assert_eq!((record.get(b"exe").unwrap(), record.get(b"key").unwrap()), (b"open key=".to_vec(), Vec::new()));
    }
}
