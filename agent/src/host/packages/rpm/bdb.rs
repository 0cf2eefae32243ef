//! rpm's older store, `Packages`: a Berkeley DB of the hash kind (rpm up to 4.15; the layout is that of dbinc/db_page.h).
//! All pages are gone through in their order; the hash itself is not followed, so that a torn table loses one page only.

use super::{Error, HEADER_BYTES_MAX};
use crate::host::sqlite::ReadAt;

const MAGIC: u32 = 0x0006_1561;
const HEAD_BYTES: usize = 26;
/// Types of pages and of items on them.
const HASH_UNSORTED: u8 = 2;
const OVERFLOW: u8 = 7;
const HASH: u8 = 13;
const KEY_DATA: u8 = 1;
const OFF_PAGE: u8 = 3;

struct Store<'a, R> {
    file: &'a R,
    page_bytes: usize,
    last_page: u32,
    is_swapped: bool,
}

/// Calls `each` with every header, until it answers false. An item that is malformed is counted and passed over.
///
/// # Errors
/// When it is no such store, or cannot be read.
pub fn headers(file: &impl ReadAt, mut each: impl FnMut(&[u8]) -> bool) -> Result<u64, Error> {
    let mut head = [0; 72];
    file.fill(&mut head, 0)?;
    let is_swapped = match u32::from_ne_bytes([head[12], head[13], head[14], head[15]]) {
        MAGIC => false,
        magic if magic.swap_bytes() == MAGIC => true,
        _ => return Err(Error::Malformed("not a Berkeley DB of the hash kind")),
    };
    let word = |at| word(&head, at, is_swapped);
    let page_bytes = usize::try_from(word(20)).unwrap_or(0);
    if !page_bytes.is_power_of_two() || !(512..=65_536).contains(&page_bytes) {
        return Err(Error::Malformed("a Berkeley DB with an impossible page size"));
    }
    let store = Store { file, page_bytes, last_page: word(32), is_swapped };
    let mut malformed = 0;
    for number in 1..=store.last_page {
        // The file may end before the last page that it speaks of: no more of it is there.
        let Some(page) = store.page(number) else { break };
        if !matches!(page[25], HASH | HASH_UNSORTED) {
            continue;
        }
        // Keys and values take turns; a value is a header, or, under key 0, the next number.
        let entries = usize::from(store.half(&page, 20));
        for n in (1..entries).step_by(2) {
            match store.value(&page, n) {
                Some(value) if value.len() <= 16 => {}
                Some(value) if each(&value) => {}
                Some(_) => return Ok(malformed),
                None => malformed += 1,
            }
        }
    }
    Ok(malformed)
}

impl<R: ReadAt> Store<'_, R> {
    fn page(&self, number: u32) -> Option<Vec<u8>> {
        let mut page = vec![0; self.page_bytes];
        self.file.fill(&mut page, u64::from(number) * self.page_bytes as u64).ok()?;
        Some(page)
    }

    fn half(&self, page: &[u8], at: usize) -> u16 {
        let bytes = page.get(at..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or_default();
        let value = u16::from_ne_bytes(bytes);
        if self.is_swapped { value.swap_bytes() } else { value }
    }

    /// The item of that number on a page: from its start to that of the one before, which lies after it.
    fn value(&self, page: &[u8], n: usize) -> Option<Vec<u8>> {
        let start = usize::from(self.half(page, HEAD_BYTES + 2 * n));
        let end = usize::from(self.half(page, HEAD_BYTES + 2 * (n - 1)));
        let item = page.get(start..end)?;
        match *item.first()? {
            KEY_DATA => Some(item[1..].to_vec()),
            OFF_PAGE => self.overflow(word(item, 4, self.is_swapped), word(item, 8, self.is_swapped)),
            _ => None,
        }
    }

    fn overflow(&self, mut next: u32, length: u32) -> Option<Vec<u8>> {
        let length = usize::try_from(length).ok().filter(|length| *length <= HEADER_BYTES_MAX)?;
        let mut content = Vec::new();
        while content.len() < length {
            if next == 0 || next > self.last_page {
                return None;
            }
            let page = self.page(next)?;
            let piece = usize::from(self.half(&page, 22));
            // A page without content would be a chain without end.
            if page[25] != OVERFLOW || piece == 0 {
                return None;
            }
            content.extend_from_slice(page.get(HEAD_BYTES..HEAD_BYTES + piece)?);
            next = word(&page, 16, self.is_swapped);
        }
        content.truncate(length);
        Some(content)
    }
}

fn word(bytes: &[u8], at: usize, is_swapped: bool) -> u32 {
    let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or_default();
    let value = u32::from_ne_bytes(bytes);
    if is_swapped { value.swap_bytes() } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by Berkeley DB 5.3 (`db5.3_load -t hash`, pages of 512 bytes): key 0, then the values `v` × 40 and
    /// `w` × 3000.
    const STORE: &[u8] = include_bytes!("hash.bdb");

    #[test]
    fn items_on_their_page_and_beyond_it() {
        let mut found = Vec::new();
        let take = |value: &[u8]| {
            found.push(value.to_vec());
            true
        };
        assert_eq!(headers(&STORE.to_vec(), take).unwrap(), 0);
        found.sort();
        assert_eq!(found, [vec![b'v'; 40], vec![b'w'; 3000]]);
    }

    #[test]
    fn no_bytes_make_it_panic_or_run_for_ever() {
        assert!(headers(&vec![0; 100], |_| true).is_err());
        for cut in (0..STORE.len()).step_by(31) {
            let _ = headers(&STORE[..cut].to_vec(), |_| true);
        }
        let mut state = 3_u32;
        for _ in 0..2000 {
            let mut bytes = STORE.to_vec();
            for _ in 0..6 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = state as usize % bytes.len();
                bytes[at] = (state >> 24) as u8;
            }
            let _ = headers(&bytes, |_| true);
        }
    }
}
