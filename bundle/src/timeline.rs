//! Timeline lines in Timesketch's columns, and bodyfile lines of The Sleuth Kit 3.

use std::fmt::Write as _;

use serde::Serialize;

use crate::item::{Meta, Nanos};
use crate::time::Instant;

/// Something that happened at a known time on the host: one line of `data/timeline/NNNNNN.jsonl`.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it happened.
    pub at: Instant,
    /// What the time is: `Content Modification Time`, `Login Time` …
    pub desc: &'static str,
    /// One sentence for people.
    pub message: String,
    /// What the line was made from, in colon-separated words: `fs:stat`, `linux:utmp:login`.
    pub data_type: &'static str,
}

#[derive(Serialize)]
pub(crate) struct EventLine<'a> {
    pub data_type: &'a str,
    pub datetime: Instant,
    pub hostname: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<u64>,
    pub message: &'a str,
    pub timestamp: i64,
    pub timestamp_desc: &'a str,
}

impl<'a> EventLine<'a> {
    pub(crate) fn new(
        at: Instant,
        desc: &'a str,
        message: &'a str,
        data_type: &'a str,
        hostname: &'a str,
        item: Option<u64>,
    ) -> Self {
        let timestamp = i64::try_from(at.0.div_euclid(1_000)).unwrap_or(i64::MAX);
        Self { data_type, datetime: at, hostname, item, message, timestamp, timestamp_desc: desc }
    }
}

/// The distinct times of a file, each with the name of what happened then.
pub(crate) fn times_of(meta: &Meta) -> Vec<(Instant, String)> {
    let named = [
        (meta.mtime_ns, "Content Modification Time"),
        (meta.atime_ns, "Last Access Time"),
        (meta.ctime_ns, "Metadata Modification Time"),
        (meta.btime_ns, "Creation Time"),
    ];
    let mut times: Vec<(Instant, String)> = Vec::with_capacity(4);
    for (at, desc) in named {
        let Some(Nanos(at)) = at else { continue };
        match times.iter_mut().find(|(there, _)| there.0 == at) {
            Some((_, descs)) => {
                descs.push_str("; ");
                descs.push_str(desc);
            }
            None => times.push((Instant(at), desc.to_owned())),
        }
    }
    times
}

/// Appends one line of a TSK 3 bodyfile: `MD5|name|inode|mode|UID|GID|size|atime|mtime|ctime|crtime`, times in seconds.
/// `|`, `\` and control characters in the name are written as `\xHH`, so that a name cannot forge a column or a line.
pub fn bodyfile_line(out: &mut String, path: &[u8], meta: &Meta) {
    let seconds = |at: Option<Nanos>| at.map_or(0, |at| at.0.div_euclid(1_000_000_000));
    out.push_str("0|");
    for chunk in path.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || character == '|' || character == '\\' {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(out, "\\x{byte:02x}");
                }
            } else {
                out.push(character);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    if let Some(target) = &meta.target {
        out.push_str(" -> ");
        out.extend(target.chars().map(|c| if c.is_control() || c == '|' { '?' } else { c }));
    }
    let _ = writeln!(
        out,
        "|{}|{}|{}|{}|{}|{}|{}|{}|{}",
        meta.ino,
        mode_string(meta.st_mode().unwrap_or(0)),
        meta.uid,
        meta.gid,
        meta.size,
        seconds(meta.atime_ns),
        seconds(meta.mtime_ns),
        seconds(meta.ctime_ns),
        seconds(meta.btime_ns),
    );
}

/// `r/rrwxr-xr-x`: the type twice (directory entry and inode), then the permissions as ls(1) shows them.
fn mode_string(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o010_000 => 'p',
        0o140_000 => 's',
        0o020_000 => 'c',
        0o060_000 => 'b',
        _ => 'r',
    };
    let mut text = format!("{kind}/{kind}");
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => set,
            (true, false) => unset,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_a_column_or_a_line() {
        let meta = Meta { mode: "0104755".into(), ino: 7, ..Meta::default() };
        let mut line = String::new();
        bodyfile_line(&mut line, b"/tmp/a|b\nc\xff", &meta);
        assert_eq!(line, "0|/tmp/a\\x7cb\\x0ac\\xff|7|r/rrwsr-xr-x|0|0|0|0|0|0|0\n");
    }

    #[test]
    fn equal_times_share_a_line() {
        let meta =
            Meta { mtime_ns: Some(Nanos(5)), ctime_ns: Some(Nanos(5)), atime_ns: Some(Nanos(9)), ..Meta::default() };
        let times = times_of(&meta);
        assert_eq!(times.len(), 2);
        assert_eq!(times[0].1, "Content Modification Time; Metadata Modification Time");
    }
}
