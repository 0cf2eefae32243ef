//! The kernel's audit rules and status, as NETLINK_AUDIT tells them (include/uapi/linux/audit.h; auditctl(8) shows the
//! same): parsing, and asking.

use std::io;

use super::Host;
use super::netlink::{self, Dump, u32_at};

/// NETLINK_AUDIT.
const PROTOCOL: u32 = 9;
const AUDIT_GET: u16 = 1000;
/// Messages of this type hold a rule.
pub const AUDIT_LIST_RULES: u16 = 1013;
const AUDIT_GET_FEATURE: u16 = 1019;

/// Numbers of 32 bits in `struct audit_rule_data` before its buffer of strings.
const MASK_WORDS: usize = 64;
const FIELDS_MAX: usize = 64;
const MASK_AT: usize = 12;
const FIELDS_AT: usize = MASK_AT + 4 * MASK_WORDS;
const VALUES_AT: usize = FIELDS_AT + 4 * FIELDS_MAX;
const OPERATORS_AT: usize = VALUES_AT + 4 * FIELDS_MAX;
const BUFFER_LENGTH_AT: usize = OPERATORS_AT + 4 * FIELDS_MAX;
const BUFFER_AT: usize = BUFFER_LENGTH_AT + 4;

/// What the kernel answered. Each part may be refused by itself.
pub struct Answers {
    /// `struct audit_status`.
    pub status: io::Result<Vec<u8>>,
    /// `struct audit_features`.
    pub features: io::Result<Vec<u8>>,
    /// The rules, as messages.
    pub rules: Dump,
}

/// Asks the kernel, and changes nothing.
///
/// # Errors
/// `NotFound` when the kernel has no audit; as socket(2) else.
pub fn ask(host: &Host) -> io::Result<Answers> {
    // Asking for a protocol that the kernel does not have would make it load a module. The kernel's own sockets stand in
    // this list, with the protocol in the second column.
    let sockets = host.read("/proc/self/net/netlink", 16 << 20)?;
    let is_there = sockets.split(|byte| *byte == b'\n').any(|line| {
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        words.nth(1) == Some(b"9") && words.next() == Some(b"0")
    });
    if !is_there {
        return Err(io::Error::new(io::ErrorKind::NotFound, "this network namespace has no NETLINK_AUDIT"));
    }
    let socket = netlink::open_protocol(PROTOCOL)?;
    Ok(Answers {
        status: netlink::ask(&socket, AUDIT_GET, 1, &[]),
        features: netlink::ask(&socket, AUDIT_GET_FEATURE, 2, &[]),
        rules: netlink::dump(&socket, AUDIT_LIST_RULES, 3, &[]),
    })
}

/// A rule.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// exit, task, user, exclude, filesystem, io_uring …
    pub list: String,
    /// always, never, possible.
    pub action: String,
    /// Numbers of the system calls that it looks at; empty for one that looks at none.
    pub syscalls: Vec<u32>,
    /// True when it looks at every system call.
    pub is_for_all_syscalls: bool,
    /// What must hold.
    pub conditions: Vec<Condition>,
    /// The words that its records are marked with.
    pub keys: Vec<Vec<u8>>,
}

/// One condition of a rule.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Name of the field: path, dir, perm, auid, arch …
    pub field: String,
    /// `=`, `!=`, `<`, `>`, `<=`, `>=`, `&`, `&=`.
    pub operator: &'static str,
    /// Value: a text where the field has one, a number else; permissions as letters.
    pub value: Vec<u8>,
}

/// Reads `struct audit_rule_data`; what does not fit ends the list of conditions.
pub fn rule(bytes: &[u8]) -> Option<Rule> {
    let flags = u32_at(bytes, 0)?;
    let action = u32_at(bytes, 4)?;
    let count = usize::try_from(u32_at(bytes, 8)?).ok()?.min(FIELDS_MAX);
    let buffer_length = usize::try_from(u32_at(bytes, BUFFER_LENGTH_AT)?).ok()?;
    let buffer = bytes.get(BUFFER_AT..)?;
    let mut buffer = buffer.get(..buffer_length.min(buffer.len())).unwrap_or_default();
    let words: Vec<u32> = (0..MASK_WORDS).filter_map(|word| u32_at(bytes, MASK_AT + 4 * word)).collect();
    let mut rule = Rule {
        list: list(flags & 0xf),
        action: named(&["never", "possible", "always"], action, "action"),
        // auditctl sets all bits for -S all, the kernel keeps the last word for classes of calls.
        is_for_all_syscalls: words.iter().take(MASK_WORDS - 1).all(|word| *word == u32::MAX),
        ..Rule::default()
    };
    if !rule.is_for_all_syscalls {
        let numbers = (0_u32..).step_by(32).zip(&words);
        rule.syscalls = numbers
            .flat_map(|(base, word)| (0..32).filter(move |bit| word >> bit & 1 == 1).map(move |bit| base + bit))
            .collect();
    }
    for index in 0..count {
        let at = 4 * index;
        let (field, value) = (u32_at(bytes, FIELDS_AT + at)?, u32_at(bytes, VALUES_AT + at)?);
        let operator = operator(u32_at(bytes, OPERATORS_AT + at)?);
        let value = if is_text(field) {
            let length = usize::try_from(value).ok()?;
            let text = buffer.get(..length)?;
            buffer = buffer.get(length..)?;
            text.to_vec()
        } else {
            shown(field, value).into_bytes()
        };
        match field {
            // Several keys are parted by a byte 1.
            210 => rule.keys.extend(value.split(|byte| *byte == 1).map(<[u8]>::to_vec)),
            _ => rule.conditions.push(Condition { field: field_name(field), operator, value }),
        }
    }
    Some(rule)
}

fn named(names: &[&str], number: u32, what: &str) -> String {
    let name = usize::try_from(number).ok().and_then(|number| names.get(number));
    name.map_or_else(|| format!("{what}_{number}"), |name| (*name).to_owned())
}

fn list(number: u32) -> String {
    named(&["user", "task", "entry", "watch", "exit", "exclude", "filesystem", "io_uring"], number, "list")
}

/// Fields whose value is a text in the buffer, and whose number is its length.
fn is_text(field: u32) -> bool {
    matches!(field, 13..=17 | 19..=23 | 105 | 107 | 112 | 210)
}

const FIELDS: [(u32, &str); 52] = [
    (0, "pid"),
    (1, "uid"),
    (2, "euid"),
    (3, "suid"),
    (4, "fsuid"),
    (5, "gid"),
    (6, "egid"),
    (7, "sgid"),
    (8, "fsgid"),
    (9, "auid"),
    (10, "pers"),
    (11, "arch"),
    (12, "msgtype"),
    (13, "subj_user"),
    (14, "subj_role"),
    (15, "subj_type"),
    (16, "subj_sen"),
    (17, "subj_clr"),
    (18, "ppid"),
    (19, "obj_user"),
    (20, "obj_role"),
    (21, "obj_type"),
    (22, "obj_lev_low"),
    (23, "obj_lev_high"),
    (24, "auid_set"),
    (25, "sessionid"),
    (26, "fstype"),
    (100, "devmajor"),
    (101, "devminor"),
    (102, "inode"),
    (103, "exit"),
    (104, "success"),
    (105, "path"),
    (106, "perm"),
    (107, "dir"),
    (108, "filetype"),
    (109, "obj_uid"),
    (110, "obj_gid"),
    (111, "field_compare"),
    (112, "exe"),
    (113, "saddr_fam"),
    (200, "a0"),
    (201, "a1"),
    (202, "a2"),
    (203, "a3"),
    (210, "key"),
    (1000, "subj_user"),
    (1001, "subj_role"),
    (1002, "subj_type"),
    (1003, "obj_user"),
    (1004, "obj_role"),
    (1005, "obj_type"),
];

fn field_name(field: u32) -> String {
    let found = FIELDS.iter().find(|(number, _)| *number == field);
    found.map_or_else(|| format!("field_{field}"), |(_, name)| (*name).to_owned())
}

fn operator(flags: u32) -> &'static str {
    match flags & 0x7800_0000 {
        0x1000_0000 => "<",
        0x2000_0000 => ">",
        0x3000_0000 => "!=",
        0x0800_0000 => "&",
        0x4800_0000 => "&=",
        0x5000_0000 => "<=",
        0x6000_0000 => ">=",
        _ => "=",
    }
}

/// A number as auditctl(8) shows it.
fn shown(field: u32, value: u32) -> String {
    match field {
        106 => [(4, 'r'), (2, 'w'), (1, 'x'), (8, 'a')]
            .iter()
            .filter(|(bit, _)| value & bit != 0)
            .map(|(_, letter)| *letter)
            .collect(),
        // AUDIT_ARCH_*: machine of elf(5), with bits for 64 bits and little endian.
        11 => match value {
            0xc000_003e => "x86_64".to_owned(),
            0x4000_0003 => "i386".to_owned(),
            0xc000_00b7 => "aarch64".to_owned(),
            0x4000_0028 => "arm".to_owned(),
            _ => format!("{value:x}"),
        },
        // Unset is the highest number; exit codes are negative.
        1..=9 | 109 | 110 if value == u32::MAX => "unset".to_owned(),
        103 => value.cast_signed().to_string(),
        _ => value.to_string(),
    }
}

/// What tests need.
#[cfg(test)]
pub mod testing {
    use super::*;

    /// A rule as the kernel hands it over: fields with their operators, and values or texts.
    ///
    /// # Panics
    /// When there are more fields than the structure has room for.
    pub fn rule_bytes(list: u32, syscalls: &[usize], fields: &[(u32, u32, &[u8], u32)]) -> Vec<u8> {
        let mut bytes = vec![0; BUFFER_AT];
        let mut put = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        put(0, list);
        put(4, 2);
        put(8, u32::try_from(fields.len()).unwrap());
        let mut words = [0_u32; MASK_WORDS];
        for number in syscalls {
            words[number / 32] |= 1 << (number % 32);
        }
        for (word, value) in words.iter().enumerate() {
            put(MASK_AT + 4 * word, *value);
        }
        let mut buffer = Vec::new();
        for (index, (field, operator, text, value)) in fields.iter().enumerate() {
            put(FIELDS_AT + 4 * index, *field);
            put(OPERATORS_AT + 4 * index, *operator);
            put(VALUES_AT + 4 * index, if text.is_empty() { *value } else { u32::try_from(text.len()).unwrap() });
            buffer.extend_from_slice(text);
        }
        put(BUFFER_LENGTH_AT, u32::try_from(buffer.len()).unwrap());
        bytes.extend(buffer);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::testing::rule_bytes;
    use super::*;

    const EQUAL: u32 = 0x4000_0000;

    #[test]
    fn a_watch_of_a_file() {
        let bytes = rule_bytes(
            4,
            &[59, 322],
            &[(105, EQUAL, b"/etc/passwd", 0), (106, EQUAL, b"", 2 | 8), (210, EQUAL, b"id\x01x", 0)],
        );
        let rule = rule(&bytes).unwrap();
        assert_eq!(
            (rule.list.as_str(), rule.action.as_str(), rule.syscalls.as_slice()),
            ("exit", "always", &[59, 322][..])
        );
        assert_eq!(rule.keys, [b"id".to_vec(), b"x".to_vec()]);
        let told: Vec<_> = rule.conditions.iter().map(|c| (c.field.as_str(), c.operator, c.value.as_slice())).collect();
        assert_eq!(told, [("path", "=", b"/etc/passwd".as_slice()), ("perm", "=", b"wa")]);
    }

    #[test]
    fn numbers_and_comparisons() {
        let bytes = rule_bytes(
            0,
            &[],
            &[
                (9, 0x6000_0000, b"", 1000),
                (9, 0x3000_0000, b"", u32::MAX),
                (103, EQUAL, b"", (-13_i32).cast_unsigned()),
                (11, EQUAL, b"", 0xc000_003e),
                (999, 0x0800_0000, b"", 7),
            ],
        );
        let rule = rule(&bytes).unwrap();
        let told: Vec<_> = rule
            .conditions
            .iter()
            .map(|c| format!("{}{}{}", c.field, c.operator, String::from_utf8_lossy(&c.value)))
            .collect();
        assert_eq!(told, ["auid>=1000", "auid!=unset", "exit=-13", "arch=x86_64", "field_999&7"]);
        assert_eq!(rule.list, "user");
    }

    #[test]
    fn foreign_bytes_give_nothing() {
        assert_eq!(rule(b""), None);
        assert_eq!(rule(&[0xff; 100]), None);
        let mut bytes = rule_bytes(4, &[], &[(105, EQUAL, b"/etc/passwd", 0)]);
        bytes.truncate(bytes.len() - 4);
        assert_eq!(rule(&bytes), None);
        let odd = rule(&[0xff; BUFFER_AT]).unwrap();
        assert_eq!((odd.conditions.len(), odd.conditions[0].field.as_str()), (64, "field_4294967295"));
    }
}
