//! The second pass: the content of a verified bundle, checked again as it is read, because the file may have changed
//! since the first.

use std::io::{self, Read};

use super::Verified;
use super::content::{self, Outcome};
use super::stream::Stream;
use super::table::EntryRecord;
use crate::zip::{Entry, Parsed};

/// Why the content could not be given.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes are not those that were verified: somebody writes to the file.
    #[error("the bundle changed while it was read: the entry {0:?} is not the one that was verified")]
    Changed(String),
    /// Reading, or what was done with the content, failed.
    #[error("reading the bundle's entries failed")]
    Io(#[from] io::Error),
}

/// Reads the entries that `choose` takes, in the order of the stream, and gives each one's content to the sink that it
/// returned, piece by piece, with an empty piece at the end. An entry's content is only known to be right once the call
/// after it, or this function, returns without an error.
///
/// # Errors
/// [`ReadError`].
pub fn read_entries<W: FnMut(&[u8]) -> io::Result<()>>(
    verified: &Verified,
    bundle: impl Read,
    mut choose: impl FnMut(&EntryRecord) -> io::Result<Option<W>>,
) -> Result<(), ReadError> {
    let mut stream = Stream::new(bundle, []);
    for record in verified.entries() {
        let Some(mut sink) = choose(record)? else { continue };
        let changed = || ReadError::Changed(record.name().to_owned());
        let gap = record.data_offset - stream.position();
        if stream.skip(gap)? < gap {
            return Err(changed());
        }
        let mut failed = None;
        let outcome = content::read(&mut stream, &header_of(record), &mut |bytes| {
            if failed.is_none() {
                failed = sink(bytes).err();
            }
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        match outcome {
            Outcome::Whole(content) if content.sha256 == record.sha256() && content.damage.is_none() => sink(&[])?,
            _ => return Err(changed()),
        }
    }
    Ok(())
}

fn header_of(record: &EntryRecord) -> Parsed {
    let entry = Entry { name: String::new(), method: record.method, streamed: record.streamed, stamp: None };
    let (crc32, compressed, size) = (record.crc32, record.compressed, record.size);
    Parsed { entry, crc32, compressed, size, length: 0, canonical: true }
}
