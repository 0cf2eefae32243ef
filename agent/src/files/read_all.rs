//! Everything that globs name, at once: for collectors that put several files together into one row. The globs may come
//! from a configuration of the host, and so need not parse.

use bundle::item::{Kind, Nanos, Status};

use super::contents::{each_asked, read};
use crate::host::glob::Glob;
use crate::host::meta::{Type, nanoseconds};
use crate::host::walk::Asked;
use crate::run::session::{Session, Stopped};

/// Bytes that one call holds.
const ALL_BYTES_MAX: u64 = 256 << 20;
/// Objects that one call finds.
const OBJECTS_MAX: usize = 100_000;

/// What a glob found.
#[derive(Debug)]
pub struct Found {
    /// The number of the glob.
    pub asked: usize,
    /// Its path.
    pub path: Vec<u8>,
    /// Its type.
    pub file_type: Type,
    /// Its size.
    pub size_bytes: u64,
    /// Last change of its content.
    pub mtime_ns: Nanos,
    /// Its content, for a regular file that could be read and is not longer than was asked for.
    pub bytes: Option<Vec<u8>>,
}

impl Found {
    /// The name that stands `up` names from the end of its path: 0 is its own.
    pub fn name(&self, up: usize) -> String {
        let name = self.path.rsplit(|byte| *byte == b'/').nth(up).unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }

    /// Its path as text.
    pub fn path_text(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }

    /// Its content as JSON; `None` when it is none.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(self.bytes.as_deref()?).ok()
    }
}

/// Finds what the globs name and reads the regular files among it, of at most `bytes_max` each; with 0 nothing is read.
/// A glob that does not parse (a configured path with odd characters) is noted.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn read_all(session: &mut Session, globs: &[String], bytes_max: u64) -> Result<Vec<Found>, Stopped> {
    let mut paths = Vec::new();
    let mut homes = None;
    for (number, text) in (0_u32..).zip(globs) {
        match Glob::parse(text) {
            Ok(glob) => {
                let homes: &[Vec<u8>] =
                    if glob.is_of_homes() { homes.get_or_insert_with(|| session.host().homes().0) } else { &[] };
                paths.extend(glob.below(homes).into_iter().map(|path| (number, path)));
            }
            Err(error) => {
                let item = session.item(Kind::File, text.as_str(), "walk", Status::Skipped);
                session.note(item.because(error.to_string()))?;
            }
        }
    }
    let asked = Asked { paths, ..Asked::default() };
    let mut found: Vec<Found> = Vec::new();
    let (mut bytes_left, mut is_full) = (ALL_BYTES_MAX, false);
    each_asked(session, &asked, |session, entry, asked| {
        let is_read = bytes_max > 0 && entry.file_type() == Type::File;
        if found.len() >= OBJECTS_MAX || is_read && entry.stat.stx_size > bytes_left {
            is_full = true;
            return Ok(());
        }
        let bytes = if is_read { read(session, entry, bytes_max)? } else { None };
        bytes_left = bytes_left.saturating_sub(bytes.as_ref().map_or(0, Vec::len) as u64);
        found.push(Found {
            asked,
            path: entry.path.to_vec(),
            file_type: entry.file_type(),
            size_bytes: entry.stat.stx_size,
            mtime_ns: Nanos(nanoseconds(entry.stat.stx_mtime)),
            bytes,
        });
        Ok(())
    })?;
    if is_full {
        let of = globs.join(" ");
        session.limited(format!("more than {OBJECTS_MAX} objects or {ALL_BYTES_MAX} bytes match {of}"))?;
    }
    Ok(found)
}
