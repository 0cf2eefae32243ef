//! An entry's content, streamed: inflated where it is deflated, hashed, and never held.

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress, Status};
use sha2::{Digest as _, Sha256 as Hasher};
use wire::Sha256;

use super::stream::Stream;
use crate::zip::{Method, Parsed, descriptor};

/// What an entry's data turned out to be.
pub(super) struct Content {
    pub crc32: u32,
    pub sha256: Sha256,
    pub size: u64,
    /// Bytes in the file.
    pub compressed: u64,
    /// Why the data cannot be what was written.
    pub damage: Option<&'static str>,
}

pub(super) enum Outcome {
    Whole(Content),
    /// The data ended first.
    Cut,
    /// Where the entry ends cannot be told: something before this offset is wrong.
    Lost(&'static str, u64),
}

/// Reads the data of an entry whose header was consumed, and its descriptor; gives the content to `sink` piece by piece.
pub(super) fn read<R: Read>(
    stream: &mut Stream<R>,
    header: &Parsed,
    sink: &mut dyn FnMut(&[u8]),
) -> io::Result<Outcome> {
    let mut tally = Tally::new(sink);
    let began = stream.position();
    let known = (!header.entry.streamed).then_some(header.compressed);
    let end = match header.entry.method {
        Method::Stored if header.entry.streamed => return Ok(Outcome::Lost("a stored entry has no known size", began)),
        Method::Stored => stored(stream, header.compressed, &mut tally)?,
        Method::Deflate => inflate(stream, known, header.size, &mut tally)?,
    };
    let (mut damage, damaged_at) = match end {
        End::Cut => return Ok(Outcome::Cut),
        End::Reached => (None, began),
        End::Damaged(why, at) => (Some(why), at),
    };
    if let Some(compressed) = known {
        let left = compressed - (stream.position() - began);
        if left > 0 {
            damage = damage.or(Some("its compressed data ends before its size does"));
            if stream.skip(left)? < left && damage.is_none() {
                return Ok(Outcome::Cut);
            }
        }
        let content = tally.content(compressed, damage);
        return Ok(Outcome::Whole(content));
    }
    if damage.is_some() && !find_descriptor(stream, began)? {
        return Ok(Outcome::Lost("its compressed data is damaged and its end cannot be found", damaged_at));
    }
    let content = tally.content(stream.position() - began, damage);
    end_of_streamed(stream, content)
}

enum End {
    Reached,
    Cut,
    /// Something before this offset is wrong.
    Damaged(&'static str, u64),
}

fn stored<R: Read>(stream: &mut Stream<R>, size: u64, tally: &mut Tally) -> io::Result<End> {
    let mut left = size;
    while left > 0 {
        let window = stream.peek(1)?;
        if window.is_empty() {
            return Ok(End::Cut);
        }
        let step = usize::try_from(left).unwrap_or(window.len()).min(window.len());
        tally.add(&window[..step]);
        stream.consume(step);
        left -= step as u64;
    }
    Ok(End::Reached)
}

/// Inflates to the end of the deflate stream. Of a known-size entry no more than the size that its header gives is ever
/// made; of a streamed one no more than deflate's own bound of 1032 bytes for each byte that is there.
fn inflate<R: Read>(stream: &mut Stream<R>, known: Option<u64>, size: u64, tally: &mut Tally) -> io::Result<End> {
    let mut inflater = Decompress::new(false);
    let mut out = vec![0; 64 << 10];
    let mut left = known.unwrap_or(u64::MAX);
    let mut out_was_full = false;
    loop {
        let window = if left == 0 { &[][..] } else { stream.peek(1)? };
        let input = &window[..usize::try_from(left).unwrap_or(window.len()).min(window.len())];
        if input.is_empty() && !out_was_full {
            let position = stream.position();
            return Ok(if left == 0 { End::Damaged("its compressed data does not end", position) } else { End::Cut });
        }
        let (in_before, out_before) = (inflater.total_in(), inflater.total_out());
        let Ok(status) = inflater.decompress(input, &mut out, FlushDecompress::None) else {
            let read_to = stream.position() + (inflater.total_in() - in_before) + 1;
            return Ok(End::Damaged("its compressed data cannot be read", read_to));
        };
        let used = usize::try_from(inflater.total_in() - in_before).unwrap_or(input.len());
        let made = usize::try_from(inflater.total_out() - out_before).unwrap_or(out.len());
        let starved = used == 0 && made == 0 && !input.is_empty();
        stream.consume(used);
        left -= used as u64;
        tally.add(&out[..made]);
        out_was_full = made == out.len();
        if known.is_some() && tally.size > size {
            return Ok(End::Damaged("it holds more than its size says", stream.position()));
        }
        match status {
            Status::StreamEnd => return Ok(End::Reached),
            _ if starved => return Ok(End::Damaged("its compressed data cannot be read", stream.position() + 1)),
            _ => {}
        }
    }
}

/// After damage in a streamed entry: goes on to the first descriptor whose compressed size is the distance to it.
fn find_descriptor<R: Read>(stream: &mut Stream<R>, began: u64) -> io::Result<bool> {
    loop {
        let distance = stream.position() - began;
        let window = stream.peek(24)?;
        if window.len() < 24 {
            return Ok(false);
        }
        let hit = window.windows(16).enumerate().find(|(at, bytes)| {
            bytes.starts_with(b"PK\x07\x08") && bytes[8..] == (distance + *at as u64).to_le_bytes()
        });
        let (step, found) = match hit {
            Some((at, _)) => (at, true),
            None => (window.len() - 15, false),
        };
        stream.consume(step);
        if found {
            return Ok(true);
        }
    }
}

fn end_of_streamed<R: Read>(stream: &mut Stream<R>, mut content: Content) -> io::Result<Outcome> {
    let mut expected = Vec::with_capacity(24);
    descriptor(&mut expected, content.crc32, content.compressed, content.size);
    let window = stream.peek(expected.len())?;
    if window.starts_with(&expected) {
        stream.consume(expected.len());
        return Ok(Outcome::Whole(content));
    }
    if expected.starts_with(window) {
        return Ok(Outcome::Cut);
    }
    content.damage = content.damage.or(Some("its descriptor does not fit its content"));
    if window.len() < expected.len() {
        let end = stream.position() + expected.len() as u64;
        return Ok(Outcome::Lost("its descriptor does not fit its content", end));
    }
    stream.consume(expected.len());
    Ok(Outcome::Whole(content))
}

struct Tally<'a> {
    crc32: crc32fast::Hasher,
    sha256: Hasher,
    size: u64,
    sink: &'a mut dyn FnMut(&[u8]),
}

impl<'a> Tally<'a> {
    fn new(sink: &'a mut dyn FnMut(&[u8])) -> Self {
        Self { crc32: crc32fast::Hasher::new(), sha256: Hasher::new(), size: 0, sink }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.crc32.update(bytes);
        self.sha256.update(bytes);
        self.size += bytes.len() as u64;
        (self.sink)(bytes);
    }

    fn content(self, compressed: u64, damage: Option<&'static str>) -> Content {
        let sha256 = Sha256(self.sha256.finalize().into());
        Content { crc32: self.crc32.finalize(), sha256, size: self.size, compressed, damage }
    }
}
