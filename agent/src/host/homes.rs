//! The homes of the host's accounts, read from its `/etc/passwd` (passwd(5)). What a directory service adds is not there.

use std::collections::BTreeSet;
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
    fn ten_thousand_homes_are_the_end() {
        let lines: Vec<String> = (0..=HOMES_MAX).map(|n| format!("u:x:1:1::/h/{n}:/x")).collect();
        assert_eq!(homes_in(lines.join("\n").as_bytes()).len(), HOMES_MAX);
    }
}
