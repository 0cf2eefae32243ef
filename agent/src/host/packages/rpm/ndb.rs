//! rpm's own store, `Packages.db`: SUSE's default (lib/backend/ndb/rpmpkg.c). Little-endian; a header of 32 bytes, slots
//! of 16 that say where a blob lies in blocks of 16, and the blobs: `BlbS`, number, time, length, content.

use super::{Error, HEADER_BYTES_MAX};
use crate::host::sqlite::ReadAt;

const PAGE_BYTES: usize = 4096;
const ENTRY_BYTES: usize = 16;
/// More pages of slots than this are not read: a million packages.
const PAGES_MAX: u32 = 4096;

/// Calls `each` with every header, until it answers false. A blob that is malformed is counted and passed over.
///
/// # Errors
/// When it is no such store, or cannot be read.
pub fn headers(file: &impl ReadAt, mut each: impl FnMut(&[u8]) -> bool) -> Result<u64, Error> {
    let mut head = [0; 32];
    file.fill(&mut head, 0)?;
    if !head.starts_with(b"RpmP\0\0\0\0") {
        return Err(Error::Malformed("not rpm's Packages.db, or a version of it that is not known"));
    }
    let mut malformed = 0;
    let mut page = vec![0; PAGE_BYTES];
    for number in 0..word(&head, 12).min(PAGES_MAX) {
        file.fill(&mut page, u64::from(number) * PAGE_BYTES as u64)?;
        let skipped = if number == 0 { head.len() } else { 0 };
        for slot in page[skipped..].chunks_exact(ENTRY_BYTES) {
            if !slot.starts_with(b"Slot") {
                malformed += 1;
                continue;
            }
            let (index, start, blocks) = (word(slot, 4), u64::from(word(slot, 8)), u64::from(word(slot, 12)));
            if start == 0 {
                continue;
            }
            let room = blocks * ENTRY_BYTES as u64;
            match blob(file, index, start * ENTRY_BYTES as u64, room) {
                Some(header) if each(&header) => {}
                Some(_) => return Ok(malformed),
                None => malformed += 1,
            }
        }
    }
    Ok(malformed)
}

fn blob(file: &impl ReadAt, index: u32, at: u64, room: u64) -> Option<Vec<u8>> {
    let mut head = [0; ENTRY_BYTES];
    file.fill(&mut head, at).ok()?;
    let length = u64::from(word(&head, 12));
    let is_its = head.starts_with(b"BlbS") && word(&head, 4) == index;
    if !is_its || length + 28 > room || length > HEADER_BYTES_MAX as u64 {
        return None;
    }
    // The tail says the length again: a length that was made up does not cost its memory before it is compared.
    let mut tail = [0; 12];
    file.fill(&mut tail, at + room - 12).ok()?;
    if !tail.ends_with(b"BlbE") || u64::from(word(&tail, 4)) != length {
        return None;
    }
    let mut content = vec![0; usize::try_from(length).ok()?];
    file.fill(&mut content, at + ENTRY_BYTES as u64).ok()?;
    Some(content)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store as rpm lays it out, with these blobs.
    pub(super) fn store(blobs: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0; PAGE_BYTES];
        bytes[..8].copy_from_slice(b"RpmP\0\0\0\0");
        bytes[12] = 1;
        for slot in bytes[32..].chunks_exact_mut(ENTRY_BYTES) {
            slot[..4].copy_from_slice(b"Slot");
        }
        for (n, blob) in blobs.iter().enumerate() {
            let index = u32::try_from(n).unwrap() + 1;
            let start = u32::try_from(bytes.len() / ENTRY_BYTES).unwrap();
            let length = u32::try_from(blob.len()).unwrap();
            let blocks = (length + 28).div_ceil(16);
            let slot = 32 + n * ENTRY_BYTES;
            for (at, value) in [(4, index), (8, start), (12, blocks)] {
                bytes[slot + at..slot + at + 4].copy_from_slice(&value.to_le_bytes());
            }
            let mut entry = Vec::new();
            entry.extend_from_slice(b"BlbS");
            for value in [index, 0, length] {
                entry.extend_from_slice(&value.to_le_bytes());
            }
            entry.extend_from_slice(blob);
            entry.resize(blocks as usize * 16 - 12, 0);
            entry.extend_from_slice(&0_u32.to_le_bytes());
            entry.extend_from_slice(&length.to_le_bytes());
            entry.extend_from_slice(b"BlbE");
            bytes.extend(entry);
        }
        bytes
    }

    #[test]
    fn every_blob_comes_once() {
        let mut found = Vec::new();
        let whole = store(&[b"first", b"the second one is longer", b""]);
        let mut take = |blob: &[u8]| {
            found.push(blob.to_vec());
            true
        };
        assert_eq!(headers(&whole, &mut take).unwrap(), 0);
        assert_eq!(found, [b"first".to_vec(), b"the second one is longer".to_vec(), Vec::new()]);
        let mut torn = store(&[b"first", b"second"]);
        let last = torn.len() - 1;
        torn[last] = b'X';
        assert_eq!(headers(&torn, |_| true).unwrap(), 1);
        assert!(headers(&vec![0; 64], |_| true).is_err());
        for cut in (0..whole.len()).step_by(13) {
            let _ = headers(&whole[..cut].to_vec(), |_| true);
        }
    }
}
