//! Small files that a collector reads for what stands in them: found by globs, read through their views, bounded.
//!
//! They go into the bundle by [`gather`](super::gather), if at all; here they are only read.

use std::io::{self, Read as _};
use std::sync::Arc;

use bundle::item::{Kind, Status};
use wire::ByteSize;

use super::copy::note_missed;
use crate::host::compressed;
use crate::host::glob::{Component, Glob};
use crate::host::meta::Type;
use crate::host::walk::{Asked, Entry, Missed, Visitor, walk};
use crate::run::session::{Session, Stopped};

/// Calls `each` with every object that one of the globs names and no mount hides, and with the number of the glob.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn each_object(
    session: &mut Session,
    globs: &[&str],
    each: impl FnMut(&mut Session, &Entry<'_>, usize) -> Result<(), Stopped>,
) -> Result<(), Stopped> {
    let mut paths: Vec<(u32, Vec<Component>)> = Vec::new();
    let mut homes = None;
    for (number, text) in (0_u32..).zip(globs) {
        match Glob::parse(text) {
            Ok(glob) if glob.is_of_homes() => {
                let homes = homes.get_or_insert_with(|| session.host().homes().0);
                paths.extend(glob.below(homes).into_iter().map(|path| (number, path)));
            }
            Ok(glob) => paths.extend(glob.below(&[]).into_iter().map(|path| (number, path))),
            // The globs are this program's own; a test parses every one of them.
            Err(error) => tracing::error!(glob = text, %error, "not a glob"),
        }
    }
    each_asked(session, &Asked { paths, ..Asked::default() }, each)
}

/// The same for a walk that was prepared by the caller.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn each_asked(
    session: &mut Session,
    asked: &Asked,
    each: impl FnMut(&mut Session, &Entry<'_>, usize) -> Result<(), Stopped>,
) -> Result<(), Stopped> {
    let host = Arc::clone(session.host());
    walk(&host, asked, &mut Each { session, each })
}

struct Each<'a, F> {
    session: &'a mut Session,
    each: F,
}

impl<F: FnMut(&mut Session, &Entry<'_>, usize) -> Result<(), Stopped>> Visitor for Each<'_, F> {
    type Stop = Stopped;

    fn go_on(&mut self, path: &[u8]) -> Result<(), Stopped> {
        self.session.at(path);
        // A walk reads no content, but it does work: the limit of CPU time holds for it too.
        self.session.spend(0)
    }

    fn entry(&mut self, entry: &Entry<'_>, asked: &[u32]) -> Result<(), Stopped> {
        if entry.hidden_under.is_some() {
            return Ok(());
        }
        for number in asked {
            (self.each)(self.session, entry, usize::try_from(*number).unwrap_or(usize::MAX))?;
        }
        Ok(())
    }

    fn missed(&mut self, path: &[u8], why: Missed) -> Result<(), Stopped> {
        note_missed(self.session, path, why)
    }
}

/// The content of a regular file of at most `bytes_max` bytes; `None` for anything else. What could not be read, or is
/// longer, is noted.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn read(session: &mut Session, entry: &Entry<'_>, bytes_max: u64) -> Result<Option<Vec<u8>>, Stopped> {
    if entry.file_type() != Type::File {
        return Ok(None);
    }
    session.at(entry.path);
    session.spend(entry.stat.stx_size.min(bytes_max))?;
    match read_whole(entry, bytes_max) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            let rule = format!("longer than {}, so it was not parsed", ByteSize(bytes_max));
            let item = session.item(Kind::File, entry.path, "read", Status::Skipped).because(rule.as_str());
            session.note(item)?;
            session.limited(rule)?;
            Ok(None)
        }
        Err(error) => {
            let item = session.item(Kind::File, entry.path, "read", Status::Error).failed(&error);
            session.note(item)?;
            Ok(None)
        }
    }
}

fn read_whole(entry: &Entry<'_>, bytes_max: u64) -> io::Result<Vec<u8>> {
    let (file, _) = entry.open_regular()?;
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// What compressed bytes decompress to, and other bytes as they are: at most `bytes_max`. What is longer, torn or
/// compressed in an unknown way is noted as such of `path`; of what is torn there is nothing.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn decompressed(session: &mut Session, path: &[u8], bytes: Vec<u8>, bytes_max: u64) -> Result<Vec<u8>, Stopped> {
    let outcome = match compressed::by_magic(&bytes) {
        Ok(None) => return Ok(bytes),
        Ok(Some(by)) => compressed::decode(by, &bytes, usize::try_from(bytes_max).unwrap_or(usize::MAX - 1)),
        Err(error) => Err(error),
    };
    let (content, why) = match outcome {
        Ok((content, false)) => return Ok(content),
        Ok((content, true)) => (content, format!("longer than {} when decompressed", ByteSize(bytes_max))),
        Err(error) => (Vec::new(), error.to_string()),
    };
    let item = session.item(Kind::File, path, "decompress", Status::Error);
    session.note(item.because(why))?;
    Ok(content)
}
