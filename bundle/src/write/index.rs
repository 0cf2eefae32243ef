//! What is remembered of the entries that were written: the central directory as bytes, and one digest each.

use wire::Sha256;

use crate::zip::{End, Entry, EntryPlace, central, end};

/// The directory grows in pieces of this size, so that it is never moved as a whole.
const PIECE_BYTES: usize = 64 << 10;
/// Fixed part of a central header, and where its name's and extra fields' lengths stand.
const CENTRAL_BYTES: usize = 46;

/// See the module.
#[derive(Default)]
pub(super) struct Index {
    pieces: Vec<Vec<u8>>,
    bytes: u64,
    /// One for each entry; `None` for folders and symbolic links, which no manifest lists.
    digests: Vec<Option<Sha256>>,
    /// Bytes and number of the files below `data/`.
    payload: (u64, u64),
}

impl Index {
    pub(super) fn add(&mut self, entry: &Entry, place: &EntryPlace, digest: Option<Sha256>) {
        let piece = match self.pieces.last_mut() {
            Some(piece) if piece.len() < PIECE_BYTES => piece,
            _ => self.pieces.push_mut(Vec::with_capacity(PIECE_BYTES + 4096)),
        };
        let before = piece.len();
        central(piece, entry, place);
        self.bytes += (piece.len() - before) as u64;
        self.digests.push(digest);
        if entry.name.starts_with("data/") && !entry.name.ends_with('/') {
            self.payload.0 += place.size;
            self.payload.1 += 1;
        }
    }

    /// Adds what came behind.
    pub(super) fn append(&mut self, behind: Self) {
        self.pieces.extend(behind.pieces);
        self.bytes += behind.bytes;
        self.digests.extend(behind.digests);
    }

    /// Bytes and number of the files below `data/`.
    pub(super) fn payload(&self) -> (u64, u64) {
        self.payload
    }

    /// Number of entries.
    pub(super) fn entries(&self) -> u64 {
        self.digests.len() as u64
    }

    /// Length of the central directory.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The end record of a directory that stands at `offset`.
    pub(super) fn end_at(&self, offset: u64) -> Vec<u8> {
        let mut record = Vec::with_capacity(98);
        end(&mut record, End { entries: self.entries(), bytes: self.bytes, offset });
        record
    }

    /// The bytes of the central directory.
    pub(super) fn directory(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(Vec::as_slice)
    }

    /// Name and digest of each entry that manifests list, in stream order.
    pub(super) fn listed(&self) -> impl Iterator<Item = (&str, Sha256)> {
        self.pieces
            .iter()
            .flat_map(|piece| Headers(piece))
            .zip(&self.digests)
            .filter_map(|(name, digest)| digest.map(|digest| (name, digest)))
    }
}

/// The names in a piece of the central directory.
struct Headers<'a>(&'a [u8]);

impl<'a> Iterator for Headers<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let fixed: &[u8; CENTRAL_BYTES] = self.0.first_chunk()?;
        let name_length = usize::from(u16::from_le_bytes([fixed[28], fixed[29]]));
        let extra_length = usize::from(u16::from_le_bytes([fixed[30], fixed[31]]));
        let name = self.0.get(CENTRAL_BYTES..CENTRAL_BYTES + name_length)?;
        self.0 = self.0.get(CENTRAL_BYTES + name_length + extra_length..)?;
        str::from_utf8(name).ok()
    }
}
