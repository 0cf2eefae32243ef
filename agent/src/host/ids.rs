//! The numbers of the host's users and groups, from its `/etc/passwd` and `/etc/group` (passwd(5), group(5)). What a
//! directory service adds is not there.

use std::collections::{HashMap, HashSet};
use std::io;

use super::Host;
use super::text::decimal;

/// The longest of the two files that is read.
const TEXT_BYTES_MAX: u64 = 64 << 20;

/// Names and numbers. A file that could not be read leaves its half empty.
#[derive(Debug, Default)]
pub struct Ids {
    users: HashMap<Vec<u8>, u32>,
    groups: HashMap<Vec<u8>, u32>,
    uids: HashSet<u32>,
    gids: HashSet<u32>,
}

impl Ids {
    /// From the texts of the two files.
    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        let (users, groups) = (numbers(passwd), numbers(group));
        Self { uids: users.values().copied().collect(), gids: groups.values().copied().collect(), users, groups }
    }

    /// The number of a user, or, with true, of a group.
    pub fn number(&self, name: &[u8], is_group: bool) -> Option<u32> {
        let names = if is_group { &self.groups } else { &self.users };
        names.get(name).copied()
    }

    /// Whether an account has that number; `None` when the accounts are not known.
    pub fn has_uid(&self, uid: u32) -> Option<bool> {
        (!self.uids.is_empty()).then(|| self.uids.contains(&uid))
    }

    /// Whether a group has that number; `None` when the groups are not known.
    pub fn has_gid(&self, gid: u32) -> Option<bool> {
        (!self.gids.is_empty()).then(|| self.gids.contains(&gid))
    }
}

impl Host {
    /// The numbers of users and groups, and what could not be read.
    pub fn ids(&self) -> (Ids, Vec<(&'static str, io::Error)>) {
        let mut failed = Vec::new();
        let mut read = |path: &'static str| match self.read_file(path.as_bytes(), TEXT_BYTES_MAX) {
            Ok(text) => text,
            Err(error) => {
                failed.push((path, error));
                Vec::new()
            }
        };
        let ids = Ids::parse(&read("/etc/passwd"), &read("/etc/group"));
        (ids, failed)
    }
}

fn numbers(text: &[u8]) -> HashMap<Vec<u8>, u32> {
    let mut numbers = HashMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        let (Some(name), Some(number)) = (fields.next(), fields.nth(1)) else { continue };
        if let Some(number) = decimal(number).and_then(|number| u32::try_from(number).ok()) {
            // The first entry of a name is the one that getpwnam(3) finds.
            numbers.entry(name.to_vec()).or_insert(number);
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let ids = Ids::parse(b"root:x:0:0::/:\nroot:x:9:9::/:\nbad:x:-1:0\nshort\n", b"");
        assert_eq!(
            (ids.number(b"root", false), ids.number(b"bad", false), ids.number(b"root", true)),
            (Some(0), None, None)
        );
        assert_eq!((ids.has_uid(0), ids.has_uid(1), ids.has_gid(0)), (Some(true), Some(false), None));
    }
}
