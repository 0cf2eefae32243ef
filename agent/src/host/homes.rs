//! The homes of the host's accounts, read from its `/etc/passwd` (passwd(5)). What a directory service adds is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::Host;

/// The longest `/etc/passwd` that is read.
const PASSWD_BYTES_MAX: u64 = 64 << 20;
/// The most homes that are taken.
const HOMES_MAX: usize = 10_000;

impl Host {
    /// Every home, sorted, each once: those of service accounts and `/root` included. `/root` is also there when
    /// `/etc/passwd` cannot be read, and then the error is given as well.
    pub fn homes(&self) -> (Vec<Vec<u8>>, Option<io::Error>) {
        match self.read_file(b"/etc/passwd", PASSWD_BYTES_MAX) {
            Ok(passwd) => (homes_in(&passwd), None),
            Err(error) => (vec![b"/root".to_vec()], Some(error)),
        }
    }
}

impl Host {
    /// The account whose home is each of the homes of `/etc/passwd`: of several the first.
    pub fn owners_of_homes(&self) -> BTreeMap<Vec<u8>, String> {
        let passwd = self.read_file(b"/etc/passwd", PASSWD_BYTES_MAX).unwrap_or_default();
        let mut owners = BTreeMap::new();
        for line in passwd.split(|byte| *byte == b'\n').take(HOMES_MAX) {
            let mut fields = line.split(|byte| *byte == b':');
            if let (Some(name), Some(home)) = (fields.next(), fields.nth(4))
                && home.starts_with(b"/")
            {
                owners.entry(tidy(home)).or_insert_with(|| bundle::item::shown(name).0);
            }
        }
        owners
    }
}

/// The account in whose home `path` lies.
pub fn owner_of<'a>(owners: &'a BTreeMap<Vec<u8>, String>, path: &[u8]) -> Option<&'a str> {
    let mut folder = path;
    while let Some(at) = folder.iter().rposition(|byte| *byte == b'/').filter(|at| *at > 0) {
        folder = folder.get(..at)?;
        if let Some(owner) = owners.get(folder) {
            return Some(owner);
        }
    }
    None
}

fn homes_in(passwd: &[u8]) -> Vec<Vec<u8>> {
    let mut homes = BTreeSet::from([b"/root".to_vec()]);
    for line in passwd.split(|byte| *byte == b'\n') {
        let Some(home) = line.split(|byte| *byte == b':').nth(5) else { continue };
        let is_path = home.starts_with(b"/") && !home.contains(&0);
        if is_path && !home.split(|byte| *byte == b'/').any(|name| name == b"..") {
            homes.insert(tidy(home));
        }
        if homes.len() >= HOMES_MAX {
            break;
        }
    }
    homes.into_iter().collect()
}

/// Without a slash at the end.
fn tidy(home: &[u8]) -> Vec<u8> {
    let end = home.iter().rposition(|byte| *byte != b'/').map_or(1, |at| at + 1);
    home[..end].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_are_absolute_and_there_once() {
        let passwd = b"root:x:0:0::/root:/bin/sh\n\
            a:x:1:1::/home/a/:/bin/sh\nb:x:2:2::/home/a:/bin/sh\nhalt:x:3:3::/:/x\n\
            odd:x:4:4::/home/\xff:/x\nrel:x:5:5::home:/x\nup:x:6:6::/home/../etc:/x\nshort:x\n\n";
        let homes: [&[u8]; 4] = [b"/", b"/home/a", b"/home/\xff", b"/root"];
        assert_eq!(homes_in(passwd), homes);
    }

    #[test]
    fn a_path_belongs_to_the_home_that_holds_it() {
        let owners = BTreeMap::from([(b"/home/a".to_vec(), "a".to_owned()), (b"/home/a/b".to_vec(), "b".to_owned())]);
        assert_eq!(owner_of(&owners, b"/home/a/b/.x/y"), Some("b"));
        assert_eq!(owner_of(&owners, b"/home/a/.bash_history"), Some("a"));
        assert_eq!((owner_of(&owners, b"/home/ab/x"), owner_of(&owners, b"/")), (None, None));
    }

    #[test]
    fn ten_thousand_homes_are_the_end() {
        let lines: Vec<String> = (0..=HOMES_MAX).map(|n| format!("u:x:1:1::/h/{n}:/x")).collect();
        assert_eq!(homes_in(lines.join("\n").as_bytes()).len(), HOMES_MAX);
    }
}
