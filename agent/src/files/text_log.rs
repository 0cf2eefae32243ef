//! The lines of a text log that a walk found, for the collectors that read what they hand over.

use std::fs::File;
use std::io;

use bundle::item::{Kind, Status};
use bundle::time::Instant;

use super::copy;
use crate::host::lines::{Line, Lines};
use crate::host::meta::{Type, nanoseconds};
use crate::host::walk::Entry;
use crate::run::session::{Session, Stopped};

/// Work is counted in pieces of this many bytes.
const SPEND_BYTES: u64 = 64 << 10;

/// Calls `take` with each line, until it says `false`: of a plain file that is longer than `bytes_max` with its last lines,
/// of a compressed one with its first. It is told when the file was last changed. What could not be read is noted.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn read(
    session: &mut Session,
    entry: &Entry<'_>,
    bytes_max: u64,
    mut take: impl FnMut(&mut Session, Line<'_>) -> Result<bool, Stopped>,
) -> Result<(), Stopped> {
    let opened = copy::open(entry).and_then(|(opened, stat)| {
        if Type::of(stat.stx_mode) != Type::File {
            return Err(io::ErrorKind::NotFound.into());
        }
        Lines::open(File::from(opened), stat.stx_size, bytes_max)
    });
    let mut lines = match opened {
        Ok(lines) => lines,
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            let item = session.item(Kind::Record, entry.path, "read", Status::Skipped);
            return session.note(item.because(error.to_string()));
        }
        Err(error) => return session.unreadable(entry.path, &error),
    };
    if let Some(rule) = lines.left_out.take() {
        leave_out(session, entry.path, &rule)?;
    }
    let mut unspent = 0;
    loop {
        let line = match lines.next_line() {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(error) => return session.unreadable(entry.path, &error),
        };
        unspent += line.text_bytes;
        if unspent >= SPEND_BYTES {
            session.spend(std::mem::take(&mut unspent))?;
        }
        if !take(session, line)? {
            return Ok(());
        }
    }
    session.spend(unspent)?;
    match lines.left_out.take() {
        Some(rule) => leave_out(session, entry.path, &rule),
        None => Ok(()),
    }
}

fn leave_out(session: &mut Session, path: &[u8], rule: &str) -> Result<(), Stopped> {
    let item = session.item(Kind::Record, path, "read", Status::Truncated);
    session.note(item.because(rule))?;
    session.limited(format!("{}: {rule}", bundle::item::shown(path).0))
}

/// When the content of what was found was last changed.
pub fn changed(entry: &Entry<'_>) -> Instant {
    Instant(nanoseconds(entry.stat.stx_mtime))
}
