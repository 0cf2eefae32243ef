//! The pass over the bytes: entry after entry, then the central directory, then nothing.

use std::io::{self, Read};

use super::book::{Book, Stage};
use super::content::{self, Outcome};
use super::directory::DirectoryCheck;
use super::finding::code;
use super::limits::{ENTRIES_BEFORE_HEADER_MAX, ENTRIES_MAX};
use super::place::may_begin_a_name;
use super::report::NotVerified;
use super::stream::Stream;
use crate::name::NAME_BYTES_MAX;
use crate::zip::{Unreadable, parse_local};

/// The longest extra fields that the profile writes: ZIP64, time and owner.
const EXTRA_BYTES_MAX: usize = 20 + 9 + 15;
const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";

/// How the pass ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With the end record, and nothing after it.
    Whole,
    /// The data ends before, inside this entry if it is one.
    Cut(Option<String>),
    /// What follows cannot be read; a finding says where.
    Broken,
}

pub(super) fn walk<R: Read>(stream: &mut Stream<R>, book: &mut Book) -> Result<Ended, NotVerified> {
    refuse_what_is_no_bundle(stream.peek(64)?)?;
    loop {
        book.blame(stream.position());
        let window = stream.peek(LOCAL.len())?;
        if window.starts_with(LOCAL) {
            if let Some(ended) = entry(stream, book)? {
                return Ok(ended);
            }
            let count = book.table.records().len();
            if book.header.is_none() && book.bad_header.is_none() && count >= ENTRIES_BEFORE_HEADER_MAX {
                return Err(NotVerified::NotABundle("it is a ZIP file without a bundle.json at its beginning".into()));
            }
            if count >= ENTRIES_MAX {
                book.findings.add(code::LIMIT, "the file", stream.position(), "it has more than 10 million entries");
                return Ok(Ended::Broken);
            }
        } else if window.starts_with(CENTRAL) {
            return directory(stream, book).map_err(NotVerified::Io);
        } else if LOCAL.starts_with(window) || CENTRAL.starts_with(window) {
            return Ok(Ended::Cut(None));
        } else {
            let after_seal = book.stage == Stage::Sealed;
            let message = if after_seal { "no central directory begins here" } else { "no entry begins here" };
            book.findings.add(code::DAMAGED, "the file", stream.position(), message);
            book.blame(stream.position() + LOCAL.len() as u64);
            return Ok(Ended::Broken);
        }
    }
}

fn refuse_what_is_no_bundle(beginning: &[u8]) -> Result<(), NotVerified> {
    let no_bundle = |why: &str| Err(NotVerified::NotABundle(why.to_owned()));
    if beginning.is_empty() {
        return no_bundle("it is empty");
    }
    if beginning.starts_with(b"age-encryption.org/v1") || beginning.starts_with(b"-----BEGIN AGE ENCRYPTED FILE") {
        return Err(NotVerified::Encrypted);
    }
    if !beginning.starts_with(&LOCAL[..LOCAL.len().min(beginning.len())]) {
        return no_bundle("it does not begin as a ZIP file does");
    }
    Ok(())
}

/// Reads one entry; `Some` when the pass ends with it.
fn entry<R: Read>(stream: &mut Stream<R>, book: &mut Book) -> io::Result<Option<Ended>> {
    let offset = stream.position();
    let header = match parse_local(stream.peek(30)?) {
        Ok(header) => header,
        Err(Unreadable::Short(wanted)) => match parse_local(stream.peek(wanted)?) {
            Ok(header) => header,
            Err(Unreadable::Short(_)) => return Ok(Some(cut_in_header(stream, book)?)),
            Err(Unreadable::NoHeader | Unreadable::Unsupported) => return unsupported(stream, book),
        },
        Err(Unreadable::NoHeader | Unreadable::Unsupported) => return unsupported(stream, book),
    };
    let mut reading = book.begin(&header, offset, stream.digest());
    stream.consume(header.length);
    book.blame(stream.position());
    match content::read(stream, &header, &mut |bytes| book.feed(&mut reading, bytes))? {
        Outcome::Whole(content) => {
            book.end(reading, &header, &content, stream.position());
            Ok(None)
        }
        Outcome::Cut => Ok(Some(Ended::Cut(Some(header.entry.name)))),
        Outcome::Lost(why, at) => {
            book.findings.add(code::DAMAGED, &header.entry.name, offset, why);
            book.blame(at);
            Ok(Some(Ended::Broken))
        }
    }
}

/// The data ends inside a local header. A length that the format never writes is a change, not a cut.
fn cut_in_header<R: Read>(stream: &mut Stream<R>, book: &mut Book) -> io::Result<Ended> {
    let offset = stream.position();
    let window = stream.peek(usize::MAX)?;
    let Some(&fixed) = window.first_chunk::<30>() else { return Ok(Ended::Cut(None)) };
    let name_bytes = usize::from(u16::from_le_bytes([fixed[26], fixed[27]]));
    let extra_bytes = usize::from(u16::from_le_bytes([fixed[28], fixed[29]]));
    let name = &window[30..window.len().min(30 + name_bytes)];
    if name_bytes > NAME_BYTES_MAX || extra_bytes > EXTRA_BYTES_MAX || !may_begin_a_name(name) {
        book.findings.add(code::DAMAGED, "the file", offset, "no entry of the format begins here");
        let is_odd = name_bytes > NAME_BYTES_MAX || extra_bytes > EXTRA_BYTES_MAX;
        let fits = if is_odd { 0 } else { (1..=name.len()).find(|end| !may_begin_a_name(&name[..*end])).unwrap_or(0) };
        book.blame(offset + 30 + fits as u64);
        return Ok(Ended::Broken);
    }
    Ok(Ended::Cut(Some(String::from_utf8_lossy(name).into_owned())))
}

/// A header of another kind of ZIP: stepped over where it gives its size.
fn unsupported<R: Read>(stream: &mut Stream<R>, book: &mut Book) -> io::Result<Option<Ended>> {
    let offset = stream.position();
    let window = stream.peek(30 + 2 * usize::from(u16::MAX))?;
    let Some(&fixed) = window.first_chunk::<30>() else { return Ok(Some(Ended::Cut(None))) };
    let length = |at: usize| u64::from(u16::from_le_bytes([fixed[at], fixed[at + 1]]));
    let name_end = window.len().min(30 + usize::from(u16::from_le_bytes([fixed[26], fixed[27]])));
    let name = String::from_utf8_lossy(&window[30..name_end]).into_owned();
    let message = "it is encrypted, compressed in another way than deflate, or its name is not UTF-8";
    book.findings.add(code::NON_CANONICAL, &name, offset, message);
    let (raw, flags_fit) = (&window[30..name_end], fixed[6] & 1 == 0 && matches!(fixed[8], 0 | 8) && fixed[9] == 0);
    let reach = str::from_utf8(raw).err().filter(|_| flags_fit).map_or(0, |error| error.valid_up_to() as u64 + 1);
    book.blame(offset + 30 + reach);
    let is_streamed = fixed[6] & 1 << 3 != 0;
    let compressed = u64::from(u32::from_le_bytes([fixed[18], fixed[19], fixed[20], fixed[21]]));
    if is_streamed || compressed == u64::from(u32::MAX) {
        return Ok(Some(Ended::Broken));
    }
    stream.skip(30 + length(26) + length(28) + compressed)?;
    Ok(None)
}

fn directory<R: Read>(stream: &mut Stream<R>, book: &mut Book) -> io::Result<Ended> {
    let offset = stream.position();
    book.ends(offset);
    book.blame(offset);
    let records = book.table.records();
    let mut check = DirectoryCheck::new(offset, records.len());
    loop {
        let wanted = check.expected(records).len();
        if wanted == 0 || check.has_mismatch() {
            break;
        }
        let window = stream.peek(1)?;
        if window.is_empty() {
            return Ok(Ended::Cut(Some("the central directory".to_owned())));
        }
        let step = wanted.min(window.len());
        check.feed(records, &window[..step]);
        stream.consume(step);
    }
    let agrees_to = offset + check.agrees();
    if let Some(why) = check.mismatch(records) {
        book.findings.add(code::NON_CANONICAL, "the central directory", offset, why);
        book.blame(agrees_to + 1);
        return Ok(Ended::Broken);
    }
    let end = stream.position();
    if !stream.peek(1)?.is_empty() {
        book.findings.add(code::TRAILING_BYTES, "the file", end, "there are bytes after its end record");
    }
    Ok(Ended::Whole)
}
