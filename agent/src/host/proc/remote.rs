//! Which executables lie on a file system that answers from elsewhere: a network server, or a process (FUSE).
//!
//! Even `statx(2)` without synchronisation makes NFS ask its server whether the file is still the same, and waits for
//! a server that is gone. So nothing behind such a path is looked at. Mounts come from `mountinfo` of each mount
//! namespace, which the kernel answers alone (proc_pid_mountinfo(5)).

use std::collections::HashMap;
use std::os::fd::BorrowedFd;

use super::{Hands, Pages};

/// Bytes of one mountinfo that are read at most; about 40,000 mounts.
const MOUNTINFO_BYTES_MAX: usize = 8 << 20;
/// File systems that answer from elsewhere, beside all whose name begins with `fuse`.
const REMOTE: [&[u8]; 14] = [
    b"9p",
    b"afs",
    b"beegfs",
    b"ceph",
    b"cifs",
    b"coda",
    b"gfs2",
    b"glusterfs",
    b"gpfs",
    b"lustre",
    b"nfs",
    b"nfs4",
    b"smb3",
    b"smbfs",
];

/// A mount point, and whether it is remote.
type Point = (Vec<u8>, bool);

/// The mounts of each mount namespace met so far; empty for one that has no remote mount.
#[derive(Default)]
pub struct RemoteMounts {
    by_namespace: HashMap<u64, Vec<Point>>,
}

impl RemoteMounts {
    /// True when `path` lies on a remote mount of the namespace `mnt`, that the process at `dir` is in. What cannot be
    /// told (no mountinfo) counts as local.
    pub fn holds(&mut self, mnt: u64, dir: BorrowedFd<'_>, pages: &mut Pages, path: &[u8]) -> bool {
        let points = self.by_namespace.entry(mnt).or_insert_with(|| {
            let read = pages.read(dir, c"mountinfo", Hands::InPieces, MOUNTINFO_BYTES_MAX);
            read.map_or_else(|_| Vec::new(), |piece| points(pages.get(piece)))
        });
        let mut deepest = (0, false);
        for (point, remote) in points {
            // Of two mounts at one point the later lies on top.
            if point.len() >= deepest.0 && is_under(path, point) {
                deepest = (point.len(), *remote);
            }
        }
        deepest.1
    }
}

fn is_under(path: &[u8], point: &[u8]) -> bool {
    point == b"/" || path.strip_prefix(point).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn points(mountinfo: &[u8]) -> Vec<Point> {
    let points: Vec<Point> = mountinfo.split(|byte| *byte == b'\n').filter_map(point).collect();
    if points.iter().any(|(_, remote)| *remote) { points } else { Vec::new() }
}

fn point(line: &[u8]) -> Option<Point> {
    let mut words = line.split(|byte| *byte == b' ');
    let point = unescaped(words.nth(4)?);
    words.find(|word| *word == b"-")?;
    let kind = words.next()?;
    Some((point, kind.starts_with(b"fuse") || REMOTE.contains(&kind)))
}

/// The kernel writes blank, tab, newline and backslash as `\040` and so on.
fn unescaped(mut text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    while let Some((first, rest)) = text.split_first() {
        let escaped = rest.first_chunk().filter(|_| *first == b'\\').and_then(|digits| octal(*digits));
        bytes.push(escaped.unwrap_or(*first));
        text = if escaped.is_some() { rest.get(3..).unwrap_or_default() } else { rest };
    }
    bytes
}

fn octal(digits: [u8; 3]) -> Option<u8> {
    digits.iter().try_fold(0_u8, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        value.checked_mul(8)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    const MOUNTINFO: &str = "\
22 1 253:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 22 0:50 / /net\\040share rw - nfs4 server:/x rw
41 40 8:1 / /net\\040share/local rw - xfs /dev/sda1 rw
42 22 0:51 / /home rw master:3 propagate_from:2 - fuse.sshfs me@there rw
";

    #[test]
    fn the_deepest_mount_decides() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::write(tree.path().join("mountinfo"), MOUNTINFO).unwrap();
        let dir = std::fs::File::open(tree.path()).unwrap();
        let (mut remote, mut pages) = (RemoteMounts::default(), Pages::default());
        let mut holds = |path: &str| remote.holds(1, dir.as_fd(), &mut pages, path.as_bytes());
        assert!(holds("/net share/bin/x"));
        assert!(holds("/home/me/x"));
        assert!(!holds("/net share/local/x"));
        assert!(!holds("/homes/x"));
        assert!(!holds("/usr/bin/x"));
    }

    #[test]
    fn escapes() {
        assert_eq!(unescaped(b"a\\040b\\134c"), b"a b\\c");
        assert_eq!(unescaped(b"a\\9\\77"), b"a\\9\\77");
    }
}
