//! Small files that a collector reads for what stands in them: found by globs, each read once and bounded. They go into
//! the bundle by [`gather`](super::gather), if at all.

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use bundle::item::{Kind, Nanos, Status};

use super::copy::note_missed;
use crate::host::glob::Glob;
use crate::host::meta::{Type, nanoseconds};
use crate::host::walk::{Asked, Entry, Missed, Visitor, walk};
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

/// Finds what the globs name and reads the regular files among it, of at most `bytes_max` each; with 0 nothing is read. A glob that does not
/// parse (a configured path with odd characters) is noted.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn read_all(session: &mut Session, globs: &[String], bytes_max: u64) -> Result<Vec<Found>, Stopped> {
    let host = Arc::clone(session.host());
    let mut paths = Vec::new();
    let mut homes = None;
    for (number, text) in (0_u32..).zip(globs) {
        match Glob::parse(text) {
            Ok(glob) => {
                let homes: &[Vec<u8>] =
                    if glob.is_of_homes() { homes.get_or_insert_with(|| host.homes().0) } else { &[] };
                paths.extend(glob.below(homes).into_iter().map(|path| (number, path)));
            }
            Err(error) => {
                let item = session.item(Kind::File, text.as_str(), "walk", Status::Skipped);
                session.note(item.because(error.to_string()))?;
            }
        }
    }
    let mut reading = Reading { session, bytes_max, found: Vec::new(), bytes_left: ALL_BYTES_MAX };
    walk(&host, &Asked { paths, ..Asked::default() }, &mut reading)?;
    let Reading { session, found, .. } = reading;
    if found.len() >= OBJECTS_MAX {
        session.limited(format!("more than {OBJECTS_MAX} objects match {}", globs.join(" ")))?;
    }
    Ok(found)
}

struct Reading<'a> {
    session: &'a mut Session,
    bytes_max: u64,
    found: Vec<Found>,
    bytes_left: u64,
}

impl Reading<'_> {
    fn read(&mut self, entry: &Entry<'_>) -> Result<Option<Vec<u8>>, Stopped> {
        let size = entry.stat.stx_size;
        let rule = if size > self.bytes_max {
            Some(format!("longer than {} bytes: not read for rows", self.bytes_max))
        } else if size > self.bytes_left {
            Some(format!("{ALL_BYTES_MAX} bytes are read for rows at most"))
        } else {
            None
        };
        if let Some(rule) = rule {
            let item = self.session.item(Kind::File, entry.path, "read", Status::Truncated);
            self.session.note(item.because(rule.as_str()))?;
            self.session.limited(rule)?;
            return Ok(None);
        }
        self.session.spend(size)?;
        match open_and_read(entry, self.bytes_max) {
            Ok(bytes) => {
                self.bytes_left = self.bytes_left.saturating_sub(bytes.len() as u64);
                Ok(Some(bytes))
            }
            Err(error) => {
                let item = self.session.item(Kind::File, entry.path, "read", Status::Error);
                self.session.note(item.failed(&error))?;
                Ok(None)
            }
        }
    }
}

fn open_and_read(entry: &Entry<'_>, bytes_max: u64) -> io::Result<Vec<u8>> {
    let opened = entry.view.open_file(entry.folder, entry.name)?;
    if Type::of(entry.view.stat(opened.as_fd(), c"")?.stx_mode) != Type::File {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut bytes = Vec::new();
    // A file that grows is read to the bound.
    std::fs::File::from(opened).take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Visitor for Reading<'_> {
    type Stop = Stopped;

    fn go_on(&mut self, path: &[u8]) -> Result<(), Stopped> {
        self.session.at(path);
        self.session.go_on()
    }

    fn entry(&mut self, entry: &Entry<'_>, asked: &[u32]) -> Result<(), Stopped> {
        let Some(number) = asked.first().filter(|_| entry.hidden_under.is_none()) else { return Ok(()) };
        if self.found.len() >= OBJECTS_MAX {
            return Ok(());
        }
        let file_type = entry.file_type();
        let is_read = file_type == Type::File && self.bytes_max > 0;
        let bytes = if is_read { self.read(entry)? } else { None };
        let asked = usize::try_from(*number).unwrap_or(usize::MAX);
        self.found.push(Found {
            asked,
            path: entry.path.to_vec(),
            file_type,
            size_bytes: entry.stat.stx_size,
            mtime_ns: Nanos(nanoseconds(entry.stat.stx_mtime)),
            bytes,
        });
        Ok(())
    }

    fn missed(&mut self, path: &[u8], why: Missed) -> Result<(), Stopped> {
        note_missed(self.session, path, why)
    }
}
