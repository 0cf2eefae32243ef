//! One file as a row: what the file system says of it, its digest, and what it is. Shared by the collectors that list
//! files for a reason of their own.

use std::os::fd::AsFd as _;

use bundle::item::{Nanos, shown};
use rustix::fs::{Statx, StatxAttributes, StatxFlags};
use schemars::JsonSchema;
use serde::Serialize;
use wire::Sha256;

use super::copy;
use super::digest::digest;
use crate::host::magic::{HEAD_BYTES, interpreter, magic};
use crate::host::meta::{Type, nanoseconds};
use crate::host::script_tokens::{longest_line_bytes, tokens_in};
use crate::host::walk::Entry;
use crate::run::session::{Session, Stopped};

/// A file of at most this many bytes is read once, for its digest and its words.
const WHOLE_BYTES_MAX: u64 = 1 << 20;

/// A file.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column, a fact of its own")]
pub struct FileRow {
    /// Last access.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub atime_ns: Option<Nanos>,
    /// Birth, where the file system keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub btime_ns: Option<Nanos>,
    /// Last change of the inode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ctime_ns: Option<Nanos>,
    /// Ending of the name, in lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension: Option<String>,
    /// Owning group.
    pub gid: u32,
    /// The mount point that hides it, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden_under: Option<String>,
    /// Inode.
    pub inode: u64,
    /// Program that `#!` names, with its argument.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    /// True when one of the execute bits is set.
    pub is_executable: bool,
    /// True when its name, or that of a folder on the way to it, begins with a dot.
    pub is_hidden: bool,
    /// True when chattr(1) made it immutable.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_immutable: bool,
    /// True when its name is made to mislead: only dots and blanks, blanks at an end, control characters, no UTF-8.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_oddly_named: bool,
    /// True when it has the set-group-id bit and may be executed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_setgid: bool,
    /// True when it has the set-user-id bit.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_setuid: bool,
    /// True when everybody may write to it.
    pub is_writable_by_others: bool,
    /// Its longest line, for scripts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_line_bytes: Option<u64>,
    /// What its first bytes say that it is: `elf`, `script`, `php`, `zip` …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub magic: Option<&'static str>,
    /// `st_mode`, seven octal digits.
    pub mode: String,
    /// Last change of the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtime_ns: Option<Nanos>,
    /// Names of the inode.
    pub nlink: u64,
    /// Path.
    pub path: String,
    /// Exact bytes of a path that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_b64: Option<String>,
    /// Which kind of row this is.
    pub record: &'static str,
    /// Digest of the content; absent for what is longer than the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// Length.
    pub size_bytes: u64,
    /// Where a symbolic link points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Words that the content holds, of those that tell what a script can do (`eval`, `shell_exec` …).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<&'static str>>,
    /// `file`, `dir`, `symlink`, `fifo`, `socket`, `char`, `block`.
    #[serde(rename = "type")]
    pub file_type: &'static str,
    /// Owner.
    pub uid: u32,
}

/// How closely a file is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Files of at most this many bytes are digested.
    pub digest_bytes_max: u64,
    /// Looks for words in every file, not only in scripts.
    pub is_text_searched: bool,
}

impl FileRow {
    /// What the file system says; nothing is opened.
    pub fn of(record: &'static str, entry: &Entry<'_>) -> Self {
        let stat = entry.stat;
        let (path, path_b64) = shown(entry.path);
        let name = entry.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let mode = u32::from(stat.stx_mode);
        let has = |field: StatxFlags| stat.stx_mask & field.bits() != 0;
        // Some file systems claim to keep a birth that they do not keep.
        let time = |field, at| has(field).then(|| Nanos(nanoseconds(at))).filter(|at| at.0 != 0);
        Self {
            atime_ns: time(StatxFlags::ATIME, stat.stx_atime),
            btime_ns: time(StatxFlags::BTIME, stat.stx_btime),
            ctime_ns: time(StatxFlags::CTIME, stat.stx_ctime),
            extension: extension(name),
            gid: stat.stx_gid,
            hidden_under: entry.hidden_under.map(|point| shown(point).0),
            inode: stat.stx_ino,
            is_executable: entry.file_type() == Type::File && mode & 0o111 != 0,
            is_hidden: entry.path.split(|byte| *byte == b'/').any(|name| name.starts_with(b".")),
            is_immutable: stat.stx_attributes.contains(StatxAttributes::IMMUTABLE),
            is_oddly_named: is_odd(name),
            is_setgid: mode & 0o2000 != 0 && mode & 0o010 != 0 && entry.file_type() == Type::File,
            is_setuid: mode & 0o4000 != 0,
            is_writable_by_others: mode & 0o002 != 0 && entry.file_type() != Type::Link,
            mode: format!("{mode:07o}"),
            mtime_ns: time(StatxFlags::MTIME, stat.stx_mtime),
            nlink: u64::from(stat.stx_nlink),
            path,
            path_b64,
            record,
            size_bytes: stat.stx_size,
            target: target(entry),
            file_type: entry.file_type().name(),
            uid: stat.stx_uid,
            ..Self::default()
        }
    }

    /// Adds what the content of a regular file says. One that cannot be read is left as it is, and noted.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn look(&mut self, session: &mut Session, entry: &Entry<'_>, look: Look) -> Result<(), Stopped> {
        if entry.file_type() != Type::File {
            return Ok(());
        }
        session.at(entry.path);
        let (opened, stat) = match copy::open(entry) {
            Ok((opened, stat)) if Type::of(stat.stx_mode) == Type::File => (opened, stat),
            Ok(_) => return Ok(()),
            Err(error) => return session.unreadable(entry.path, &error),
        };
        if stat.stx_size <= WHOLE_BYTES_MAX {
            session.spend(stat.stx_size)?;
            let mut content = Vec::new();
            match read_to(&opened, &stat, &mut content) {
                Ok(is_whole) => {
                    self.sha256 = is_whole.then(|| Sha256::of(&content));
                    self.read(&content, look);
                }
                Err(error) => session.unreadable(entry.path, &error)?,
            }
            return Ok(());
        }
        let mut head = vec![0; HEAD_BYTES];
        session.spend(HEAD_BYTES as u64)?;
        let got = rustix::io::pread(&opened, &mut head[..], 0).unwrap_or(0);
        head.truncate(got);
        self.read(&head, Look { is_text_searched: false, ..look });
        if stat.stx_size <= look.digest_bytes_max {
            self.sha256 = digest(session, opened.as_fd(), stat.stx_size, look.digest_bytes_max)?.sha256;
        }
        Ok(())
    }

    fn read(&mut self, content: &[u8], look: Look) {
        let head = content.get(..HEAD_BYTES).unwrap_or(content);
        self.magic = magic(head);
        self.interpreter = interpreter(head).map(|program| shown(program).0);
        let is_script = matches!(self.magic, Some("script" | "php" | "jsp_or_asp"));
        if is_script || look.is_text_searched {
            self.tokens = Some(tokens_in(content));
            self.longest_line_bytes = Some(longest_line_bytes(content));
        }
    }

    /// True for programs and scripts, by content or by mode.
    pub fn is_program(&self) -> bool {
        self.is_executable || matches!(self.magic, Some("elf" | "script" | "php" | "pe" | "jsp_or_asp" | "java_class"))
    }
}

/// Reads the content as it was when it was opened; false when it grew or shrank under the reading.
fn read_to(file: &std::os::fd::OwnedFd, stat: &Statx, content: &mut Vec<u8>) -> std::io::Result<bool> {
    let wanted = usize::try_from(stat.stx_size).unwrap_or(0);
    content.resize(wanted, 0);
    let mut done = 0;
    while let Some(rest) = content.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(file, rest, done as u64) {
            Ok(0) => break,
            Ok(got) => done += got,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    content.truncate(done);
    Ok(done == wanted)
}

fn target(entry: &Entry<'_>) -> Option<String> {
    if entry.file_type() != Type::Link {
        return None;
    }
    entry.view.read_link(entry.folder, entry.name).ok().map(|target| shown(&target).0)
}

fn extension(name: &[u8]) -> Option<String> {
    let at = name.iter().rposition(|byte| *byte == b'.').filter(|at| *at > 0)?;
    let extension = str::from_utf8(name.get(at + 1..)?).ok()?;
    (!extension.is_empty() && extension.len() <= 16).then(|| extension.to_ascii_lowercase())
}

/// `...`, `.. `, a blank at an end, an escape code: names that nobody gives by chance.
fn is_odd(name: &[u8]) -> bool {
    let is_dots = name.len() > 2 && name.iter().all(|byte| matches!(byte, b'.' | b' '));
    let has_blank_end = name.first() == Some(&b' ') || name.last() == Some(&b' ');
    let has_control = str::from_utf8(name).map_or(true, |name| name.chars().any(char::is_control));
    is_dots || has_blank_end || has_control
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_extension_and_oddness() {
        assert_eq!(extension(b"a.tar.PHP").as_deref(), Some("php"));
        assert_eq!((extension(b".htaccess"), extension(b"x."), extension(b"x.\xff")), (None, None, None));
        for name in [&b"..."[..], b".. ", b" a", b"a ", b"a\nb", b"a\x1b[31m", b"\xff"] {
            assert!(is_odd(name), "{name:?}");
        }
        for name in [&b".bashrc"[..], b"a b", b"..", "ä".as_bytes()] {
            assert!(!is_odd(name), "{name:?}");
        }
    }
}
