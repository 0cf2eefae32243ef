//! Mounts as the kernel lists them (`/proc/PID/mountinfo`, proc_pid_mountinfo(5)), and which of them covers a path.
//!
//! This list is all that is asked before a mount is touched: statfs(2), or stat(2) of a mount point, can block for ever
//! on a network or FUSE mount whose server does not answer.

use std::collections::HashMap;

/// More mounts than this in one list are not read. The kernel's own limit is `fs.mount-max`, 100,000 by default.
pub const MOUNTS_MAX: usize = 100_000;
/// The longest list that is read, in bytes.
pub const TEXT_BYTES_MAX: u64 = 64 << 20;

/// One line of mountinfo. Texts are the kernel's bytes with its octal escapes undone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// Field 1: unique while the mount lives, then used again.
    pub id: u64,
    /// Field 2: the mount that this one is mounted on.
    pub parent: u64,
    /// Field 3: the device of the file system. stat(2) may show another one (btrfs, overlay).
    pub major: u32,
    /// See `major`.
    pub minor: u32,
    /// Field 4: the folder or file of the file system that is the root of this mount; not `/` for a bind mount.
    pub root: Vec<u8>,
    /// Field 5: where it is mounted, as seen from the root of the process whose list it is.
    pub point: Vec<u8>,
    /// Field 6: options of this mount.
    pub options: Vec<u8>,
    /// Field 7: zero or more `shared:N`, `master:N`, `propagate_from:N`, `unbindable`.
    pub propagation: Vec<Vec<u8>>,
    /// Field 9: type, with the subtype after a dot (`fuse.sshfs`).
    pub fs_type: Vec<u8>,
    /// Field 10: what the file system was made from; any text.
    pub source: Vec<u8>,
    /// Field 11: options of the file system.
    pub super_options: Vec<u8>,
}

/// How a type of file system may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// On a disk or in memory of this machine: reading it does not wait for anybody else.
    Local,
    /// Answered by a server, a user's process or an automounter: not entered unless named.
    Remote,
    /// The kernel's own interfaces: not files, and reading one may change something.
    Kernel,
    /// Not known to us: treated as remote.
    Unknown,
}

/// Types that live on block devices or in memory. devtmpfs is one of them: it is a tmpfs whose nodes are never opened,
/// and regular files under `/dev` are an old hiding place.
const LOCAL: &[&str] = &[
    "adfs", "affs", "apfs", "aufs", "bcachefs", "befs", "bfs", "btrfs", "cramfs", "devtmpfs", "efs", "erofs", "exfat",
    "ext2", "ext3", "ext4", "f2fs", "hfs", "hfsplus", "hpfs", "iso9660", "jffs2", "jfs", "minix", "msdos", "nilfs2",
    "ntfs", "ntfs3", "omfs", "overlay", "qnx4", "qnx6", "ramfs", "reiserfs", "romfs", "rootfs", "shiftfs", "squashfs",
    "sysv", "tmpfs", "ubifs", "udf", "ufs", "v7", "vfat", "xfs", "zfs", "zonefs",
];

/// Types that somebody else answers. `fuse` stands for `fuse.*` too.
const REMOTE: &[&str] = &[
    "9p",
    "afs",
    "autofs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "fuse",
    "fuseblk",
    "gfs2",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "orangefs",
    "pvfs2",
    "smb3",
    "smbfs",
    "vboxsf",
    "virtiofs",
    "vmhgfs",
];

/// Interfaces of the kernel.
const KERNEL: &[&str] = &[
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "cpuset",
    "debugfs",
    "devpts",
    "efivarfs",
    "fusectl",
    "functionfs",
    "hugetlbfs",
    "mqueue",
    "nfsd",
    "nsfs",
    "oprofilefs",
    "pipefs",
    "proc",
    "pstore",
    "resctrl",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "sockfs",
    "sysfs",
    "tracefs",
    "usbfs",
    "xenfs",
];

impl Mount {
    /// How it may be read.
    pub fn class(&self) -> Class {
        let family = self.fs_type.split(|byte| *byte == b'.').next().unwrap_or_default();
        let is_in = |list: &[&str]| list.iter().any(|known| known.as_bytes() == family);
        if is_in(LOCAL) {
            Class::Local
        } else if is_in(REMOTE) {
            Class::Remote
        } else if is_in(KERNEL) {
            Class::Kernel
        } else {
            Class::Unknown
        }
    }

    /// The rule that keeps a file collector out of it, if it is not among the `named` mount points.
    ///
    /// # Errors
    /// The rule. The root is always entered: this program lies there, and if it hangs nothing runs at all.
    pub fn may_enter(&self, named: &[Vec<u8>]) -> Result<(), String> {
        let fs_type = String::from_utf8_lossy(&self.fs_type);
        match self.class() {
            Class::Local => Ok(()),
            _ if self.point == b"/" => Ok(()),
            Class::Kernel => Err(format!("{fs_type} is an interface of the kernel, not files")),
            Class::Remote | Class::Unknown if named.contains(&self.point) => Ok(()),
            Class::Remote => Err(format!("{fs_type} mount is not entered unless named")),
            Class::Unknown => Err(format!("{fs_type} is not known to be local and is not entered unless named")),
        }
    }

    /// True when reading through the mount itself moves no access time.
    pub fn keeps_access_times(&self) -> bool {
        let has = |options: &[u8], wanted: &[u8]| options.split(|byte| *byte == b',').any(|option| option == wanted);
        has(&self.options, b"ro") || has(&self.options, b"noatime") || has(&self.super_options, b"ro")
    }
}

/// What a text of mountinfo said.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// The mounts, in the kernel's order.
    pub mounts: Vec<Mount>,
    /// Lines that are no mounts.
    pub odd_lines: usize,
    /// True when there were more than [`MOUNTS_MAX`].
    pub has_more: bool,
}

/// Reads mountinfo. What is malformed is counted and left out.
pub fn parse(text: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if parsed.mounts.len() == MOUNTS_MAX {
            parsed.has_more = true;
            break;
        }
        match parse_line(line) {
            Some(mount) => parsed.mounts.push(mount),
            None => parsed.odd_lines += 1,
        }
    }
    parsed
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let device = fields.next()?;
    let colon = device.iter().position(|byte| *byte == b':')?;
    let major = u32::try_from(number(&device[..colon])?).ok()?;
    let minor = u32::try_from(number(&device[colon + 1..])?).ok()?;
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    let options = unescape(fields.next()?);
    let mut propagation = Vec::new();
    loop {
        match fields.next()? {
            b"-" => break,
            field => propagation.push(field.to_vec()),
        }
    }
    let fs_type = unescape(fields.next()?);
    let source = unescape(fields.next()?);
    let super_options = unescape(&fields.collect::<Vec<_>>().join(&b' '));
    Some(Mount { id, parent, major, minor, root, point, options, propagation, fs_type, source, super_options })
}

fn number(digits: &[u8]) -> Option<u64> {
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Undoes the kernel's `\ooo` (mangle_path in fs/seq_file.c); what is not one stays as it is.
pub fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) = (first, after) {
            bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    bytes
}

/// Names in a folder, each with what is mounted on it.
type MountedNames = Vec<(Vec<u8>, usize)>;

/// The mounts of one mount namespace, and how they stand on each other.
#[derive(Debug, Default)]
pub struct MountTable {
    mounts: Vec<Mount>,
    root: Option<usize>,
    /// By parent and folder: what is mounted on the names in that folder.
    in_folder: HashMap<(u64, Vec<u8>), MountedNames>,
    /// By parent: what is mounted on the parent's own root, and hides it.
    on_top: HashMap<u64, usize>,
}

/// How many mounts deep a path may lead; a list that says more is a forged or a broken one.
const NESTING_MAX: usize = 4096;

impl MountTable {
    /// The table of these mounts.
    pub fn new(mounts: Vec<Mount>) -> Self {
        let by_id: HashMap<u64, usize> = mounts.iter().enumerate().map(|(n, mount)| (mount.id, n)).collect();
        let mut table = Self::default();
        for (n, mount) in mounts.iter().enumerate() {
            let parent = by_id.get(&mount.parent).filter(|parent| **parent != n);
            if let Some(parent) = parent.and_then(|parent| mounts.get(*parent))
                && parent.point == mount.point
            {
                table.on_top.insert(parent.id, n);
            } else if mount.point == b"/" {
                // The namespace's root mount has a parent outside of the list. Later in the list is later mounted.
                table.root = Some(n);
            } else if let Some((folder, name)) = split(&mount.point) {
                let key = (mount.parent, folder.to_vec());
                table.in_folder.entry(key).or_default().push((name.to_vec(), n));
            }
        }
        table.mounts = mounts;
        table
    }

    /// The mount at `/`.
    pub fn root(&self) -> Option<&Mount> {
        self.root.map(|root| self.top(root))
    }

    /// All mounts, in the kernel's order.
    pub fn all(&self) -> &[Mount] {
        &self.mounts
    }

    /// The mounts on names in `folder` of the mount `parent`: the name and what is there to be seen.
    pub fn in_folder<'a>(&'a self, parent: u64, folder: &[u8]) -> impl Iterator<Item = (&'a [u8], &'a Mount)> {
        self.in_folder
            .get(&(parent, folder.to_vec()))
            .into_iter()
            .flatten()
            .map(|(name, n)| (name.as_slice(), self.top(*n)))
    }

    /// The mount that a path leads to: at each step the nearest to the root, and what is mounted on top of it last.
    pub fn covering(&self, path: &[u8]) -> Option<&Mount> {
        let mut current = self.root()?;
        let mut start = 1;
        while start < path.len() {
            let end = path[start..].iter().position(|byte| *byte == b'/').map_or(path.len(), |length| start + length);
            if let Some((folder, name)) = split(&path[..end])
                && let Some((_, mount)) = self.in_folder(current.id, folder).filter(|(at, _)| *at == name).last()
            {
                current = mount;
            }
            start = end + 1;
        }
        Some(current)
    }

    /// The mounts at and below the folder `root`, which need not be a mount point, as if it were the root of all.
    pub fn below(&self, root: &[u8]) -> Vec<Mount> {
        let root = root.strip_suffix(b"/").unwrap_or(root);
        let Some(covering) = self.covering(root) else { return Vec::new() };
        let inside = root.strip_prefix(covering.point.as_slice()).unwrap_or_default();
        let inside = inside.strip_prefix(b"/").unwrap_or(inside);
        let mut top = Mount { point: b"/".to_vec(), ..covering.clone() };
        if !inside.is_empty() {
            if !top.root.ends_with(b"/") {
                top.root.push(b'/');
            }
            top.root.extend_from_slice(inside);
        }
        let below = self.mounts.iter().filter_map(|mount| {
            let point = mount.point.strip_prefix(root)?;
            // What is mounted there but hidden by a later mount leads nowhere.
            let is_seen = point.len() > 1 && point.starts_with(b"/") && self.covering(&mount.point)?.id == mount.id;
            is_seen.then(|| Mount { point: point.to_vec(), ..mount.clone() })
        });
        std::iter::once(top).chain(below).collect()
    }

    /// The first other mount that shows all of what a bind mount shows, and more: of two that show the same, the
    /// earlier is the one that counts.
    pub fn shown_by(&self, mount: &Mount) -> Option<&Mount> {
        let is_below = |root: &[u8]| {
            let rest = mount.root.strip_prefix(root);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || root == b"/")
        };
        let position = self.mounts.iter().position(|other| other.id == mount.id)?;
        self.mounts.iter().enumerate().find_map(|(n, other)| {
            let is_same_device = (other.major, other.minor) == (mount.major, mount.minor);
            let shows_more = other.root.len() < mount.root.len() || n < position;
            let is_candidate = n != position && is_same_device && shows_more && is_below(&other.root);
            // One that is hidden itself shows nothing.
            (is_candidate && self.covering(&other.point).is_some_and(|seen| seen.id == other.id)).then_some(other)
        })
    }

    fn top(&self, mut n: usize) -> &Mount {
        for _ in 0..NESTING_MAX {
            match self.mounts.get(n).and_then(|mount| self.on_top.get(&mount.id)) {
                Some(above) => n = *above,
                None => break,
            }
        }
        &self.mounts[n]
    }
}

/// A path's folder (`/` for one at the top) and its last name.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    let folder = if slash == 0 { &path[..1] } else { &path[..slash] };
    Some((folder, &path[slash + 1..])).filter(|(_, name)| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"\
22 27 0:21 / /proc rw,relatime shared:5 - proc proc rw
27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard
40 27 0:40 / /tmp/with\\040space\\134n rw - fuse.sshfs user@host:/\\012x rw,user_id=0
41 27 0:41 / /a rw - tmpfs  rw
42 41 0:42 / /a rw - tmpfs second rw
43 42 0:43 / /a/b rw - xfs /dev/sdb rw
44 41 0:44 / /a/b rw - nfs4 server:/x rw
45 27 8:1 /etc/hosts /etc/hosts ro,noatime - ext4 /dev/sda1 rw
not a mount
50 27 0:5 / /odd\xff rw - newfs none rw
";

    #[test]
    fn a_folder_stands_for_the_root() {
        let table = MountTable::new(
            parse(
                b"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / /mnt/image ro - ext4 /dev/b ro\n3 2 8:3 / /mnt/image/var ro - xfs /dev/c ro\n4 1 0:5 / /mnt/imagery rw - tmpfs t rw\n",
            )
            .mounts,
        );
        let points = |root: &[u8]| -> Vec<(u64, String, String)> {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            table.below(root).iter().map(|mount| (mount.id, text(&mount.point), text(&mount.root))).collect()
        };
        let at = |id, point: &str, root: &str| (id, point.to_owned(), root.to_owned());
        assert_eq!(points(b"/mnt/image"), [at(2, "/", "/"), at(3, "/var", "/")]);
        assert_eq!(points(b"/srv/tree"), [at(1, "/", "/srv/tree")]);
        assert_eq!(points(b"/mnt/image/etc/"), [at(2, "/", "/etc")]);
        assert!(MountTable::new(table.below(b"/mnt/image")).covering(b"/var/log").is_some_and(|mount| mount.id == 3));
    }

    #[test]
    fn every_field_is_kept_and_escapes_are_undone() {
        let parsed = parse(TEXT);
        assert_eq!((parsed.mounts.len(), parsed.odd_lines, parsed.has_more), (9, 1, false));
        let root = &parsed.mounts[1];
        assert_eq!((root.id, root.parent, root.major, root.minor), (27, 1, 254, 0));
        assert_eq!(root.propagation, [b"shared:1".to_vec(), b"master:2".to_vec()]);
        assert_eq!(root.super_options, b"rw,discard");
        let fuse = &parsed.mounts[2];
        assert_eq!(fuse.point, b"/tmp/with space\\n");
        assert_eq!(fuse.source, b"user@host:/\nx");
        assert_eq!(fuse.class(), Class::Remote);
        assert_eq!(parsed.mounts[3].source, b"");
        assert_eq!(parsed.mounts[8].point, b"/odd\xff");
        assert_eq!(parsed.mounts[8].class(), Class::Unknown);
        assert!(parsed.mounts[7].keeps_access_times() && !root.keeps_access_times());
    }

    #[test]
    fn the_topmost_mount_covers_a_path() {
        let table = MountTable::new(parse(TEXT).mounts);
        let at = |path: &[u8]| table.covering(path).unwrap().id;
        assert_eq!(at(b"/"), 27);
        assert_eq!(at(b"/etc/passwd"), 27);
        assert_eq!(at(b"/etc/hosts"), 45);
        assert_eq!(at(b"/a"), 42, "the second tmpfs hides the first");
        assert_eq!(at(b"/a/b/c"), 43, "and with it the nfs that was mounted on the first");
        assert_eq!(at(b"/ab"), 27, "a prefix of the name is no prefix of the path");
        assert_eq!(at(b"/proc/1/maps"), 22);
    }

    #[test]
    fn a_bind_mount_is_shown_by_what_it_was_made_from() {
        let text = b"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:1 /srv/x /mnt rw - ext4 /dev/a rw\n\
            3 1 8:2 /@home /home rw - btrfs /dev/b rw\n4 1 8:2 /@ /top rw - btrfs /dev/b rw\n\
            5 1 8:2 /@ /again rw - btrfs /dev/b rw\n";
        let table = MountTable::new(parse(text).mounts);
        let by: Vec<_> = table.all().iter().map(|mount| table.shown_by(mount).map(|other| other.id)).collect();
        assert_eq!(by, [None, Some(1), None, None, Some(4)]);
    }

    #[test]
    fn a_list_that_bites_its_tail_ends() {
        let text = b"1 2 0:1 / /x rw - tmpfs a rw\n2 1 0:2 / /x rw - tmpfs b rw\n3 3 0:3 / / rw - tmpfs c rw\n";
        let table = MountTable::new(parse(text).mounts);
        assert_eq!(table.covering(b"/x/y").unwrap().id, 3);
        assert!(MountTable::new(Vec::new()).covering(b"/").is_none());
    }

    #[test]
    fn a_hundred_thousand_mounts_are_the_end() {
        let line = b"1 2 0:1 / /x rw - tmpfs a rw\n";
        let at_bound = parse(&line.repeat(MOUNTS_MAX));
        assert!(at_bound.mounts.len() == MOUNTS_MAX && !at_bound.has_more);
        let past = parse(&line.repeat(MOUNTS_MAX + 1));
        assert!(past.mounts.len() == MOUNTS_MAX && past.has_more);
    }
}
