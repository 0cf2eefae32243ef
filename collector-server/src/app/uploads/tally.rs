//! The running digest of an upload, and its digest at each segment's end.
//!
//! A transport checkpoint is believed only when its digest is the one of the bytes that lie here. To know it without
//! reading gigabytes again, the hash goes along with the upload; after a restart it is made again from the segments.

use std::io::{self, Read};

use sha2::Digest as _;
use wire::Sha256;

use crate::objects::Segment;

const PIECE_BYTES: usize = 1 << 20;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Where each segment ends, increasing, and the digest of everything before.
    ends: Vec<(u64, Sha256)>,
    hasher: sha2::Sha256,
}

impl Tally {
    /// The tally of what lies there already.
    ///
    /// # Errors
    /// When the bytes cannot be read in full.
    pub fn of(mut bytes: impl Read, segments: &[Segment]) -> io::Result<Self> {
        let mut tally = Self::default();
        let mut piece = vec![0; PIECE_BYTES];
        for segment in segments {
            let mut left = segment.bytes;
            while left > 0 {
                let wanted = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                bytes.read_exact(&mut piece[..wanted])?;
                tally.hasher.update(&piece[..wanted]);
                left -= wanted as u64;
            }
            tally.end_segment(segment.bytes);
        }
        Ok(tally)
    }

    /// The tally after one more segment.
    #[must_use]
    pub fn with(mut self, segment: &[u8]) -> Self {
        self.hasher.update(segment);
        self.end_segment(segment.len() as u64);
        self
    }

    fn end_segment(&mut self, bytes: u64) {
        self.ends.push((self.offset() + bytes, Sha256::so_far(&self.hasher)));
    }

    /// Bytes that were counted.
    pub fn offset(&self) -> u64 {
        self.ends.last().map_or(0, |(offset, _)| *offset)
    }

    /// How many segments there are.
    pub fn segments(&self) -> usize {
        self.ends.len()
    }

    /// The digest of the bytes `[0, offset)`, where a segment ends at `offset`.
    pub fn sha256_at(&self, offset: u64) -> Option<Sha256> {
        let at = self.ends.binary_search_by_key(&offset, |(there, _)| *there).ok()?;
        self.ends.get(at).map(|(_, sha256)| *sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_again_it_is_the_same() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let segments = [(0, 1_500_001), (1_500_001, 1), (1_500_002, 1_499_998)];
        let mut grown = Tally::default();
        for (offset, length) in segments {
            grown = grown.with(&bytes[offset..offset + length]);
        }
        let segments = segments.map(|(offset, length)| Segment::of(offset as u64, &bytes[offset..offset + length]));
        let again = Tally::of(&bytes[..], &segments).unwrap();
        assert_eq!((again.offset(), again.segments()), (3_000_000, 3));
        for end in [1_500_001, 1_500_002, 3_000_000] {
            assert_eq!(again.sha256_at(end), Some(Sha256::of(&bytes[..usize::try_from(end).unwrap()])));
            assert_eq!(again.sha256_at(end), grown.sha256_at(end));
        }
        assert_eq!(again.sha256_at(1), None);
        assert!(Tally::of(&bytes[..10], &segments).is_err());
    }
}
