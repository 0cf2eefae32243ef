//! The bytes of a bundle, in order and once: looked at in a window, and hashed as they are consumed.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};

use sha2::{Digest as _, Sha256 as Hasher};
use wire::Sha256;

/// The longest window that is ever asked for: a local header with the longest name and extra fields that 16 bits hold.
const WINDOW_BYTES_MAX: usize = 30 + 2 * 65_535;
const BUFFER_BYTES: usize = 256 << 10;

pub(super) struct Stream<R> {
    source: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    position: u64,
    /// After the last byte that is no zero.
    solid_to: u64,
    hasher: Hasher,
    /// Offsets at which the digest is wanted, increasing.
    marks: VecDeque<u64>,
    reached: Vec<(u64, Sha256)>,
}

impl<R: Read> Stream<R> {
    pub fn new(source: R, marks: impl IntoIterator<Item = u64>) -> Self {
        Self {
            source,
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            position: 0,
            solid_to: 0,
            hasher: Hasher::new(),
            marks: marks.into_iter().filter(|mark| *mark > 0).collect(),
            reached: Vec::new(),
        }
    }

    /// At least `wanted` of the next bytes (and whatever else is there), or fewer at the end of the data.
    pub fn peek(&mut self, wanted: usize) -> io::Result<&[u8]> {
        let wanted = wanted.min(WINDOW_BYTES_MAX);
        if self.end - self.start < wanted && self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        while self.end - self.start < wanted {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => break,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Goes on by `count` bytes of the window.
    pub fn consume(&mut self, count: usize) {
        let mut left = count.min(self.end - self.start);
        while left > 0 {
            let to_mark = self.marks.front().map_or(u64::MAX, |mark| mark - self.position);
            let step = usize::try_from(to_mark).unwrap_or(left).min(left);
            let piece = &self.buffer[self.start..self.start + step];
            self.hasher.update(piece);
            if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
                self.solid_to = self.position + last as u64 + 1;
            }
            self.start += step;
            self.position += step as u64;
            left -= step;
            if self.marks.front() == Some(&self.position) {
                self.marks.pop_front();
                self.reached.push((self.position, self.digest()));
            }
        }
    }

    /// Goes on by `count` bytes; returns how many there were.
    pub fn skip(&mut self, count: u64) -> io::Result<u64> {
        let mut left = count;
        while left > 0 {
            let window = self.peek(1)?.len();
            if window == 0 {
                break;
            }
            let step = usize::try_from(left).unwrap_or(window).min(window);
            self.consume(step);
            left -= step as u64;
        }
        Ok(count - left)
    }

    /// Bytes consumed so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// From here on all bytes consumed so far are zeros.
    pub fn solid_to(&self) -> u64 {
        self.solid_to
    }

    /// Digest of the bytes consumed so far.
    pub fn digest(&self) -> Sha256 {
        Sha256::so_far(&self.hasher)
    }

    /// The marks that were reached, with the digest at each.
    pub fn reached(&self) -> &[(u64, Sha256)] {
        &self.reached
    }

    /// Where the bytes come from; what was read ahead is lost to it.
    pub fn source(&self) -> &R {
        &self.source
    }
}

/// For whoever decrypts what goes by.
impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let window = self.fill_buf()?;
        let bytes = window.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&window[..bytes]);
        self.consume(bytes);
        Ok(bytes)
    }
}

impl<R: Read> BufRead for Stream<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.peek(1)
    }

    fn consume(&mut self, bytes: usize) {
        Self::consume(self, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_taken_exactly_at_the_marks() {
        let bytes: Vec<u8> = (0..600_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let marks = [1, 2, 70_000, 262_144, 262_145, 600_000, 600_001];
        let mut stream = Stream::new(&bytes[..], marks);
        assert_eq!(stream.peek(131_100).unwrap().len(), BUFFER_BYTES);
        stream.consume(100_000);
        assert!(stream.peek(131_100).unwrap().len() >= 131_100);
        assert_eq!(stream.skip(u64::MAX).unwrap(), 500_000);
        let reached = stream.reached();
        assert_eq!(reached.len(), 6);
        for (offset, digest) in reached {
            assert_eq!(*digest, Sha256::of(&bytes[..usize::try_from(*offset).unwrap()]));
        }
    }
}
