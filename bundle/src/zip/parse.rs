//! Local headers into values. Only the profile's own headers come back the same when they are written again; whatever
//! else a ZIP may hold is parsed as far as it goes, so that a verifier can name what is wrong with it.

use super::layout::{Entry, Method, Stamp, local};

/// A parsed local header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The entry.
    pub entry: Entry,
    /// CRC-32; zero for a streamed entry.
    pub crc32: u32,
    /// Compressed size; zero for a streamed entry.
    pub compressed: u64,
    /// Size; zero for a streamed entry.
    pub size: u64,
    /// Length of the header with name and extra fields.
    pub length: usize,
    /// True when writing the values again gives exactly these bytes.
    pub canonical: bool,
}

/// Why there is no local header here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// The bytes end before the header does: at least this many are needed.
    Short(usize),
    /// These bytes are no local header.
    NoHeader,
    /// The method is neither stored nor deflate, the entry is encrypted, or its name is not UTF-8.
    Unsupported,
}

/// Parses the local header at the beginning of `bytes`.
///
/// # Errors
/// See [`Unreadable`].
pub fn parse_local(bytes: &[u8]) -> Result<Parsed, Unreadable> {
    let fixed: &[u8; 30] = bytes.first_chunk().ok_or(Unreadable::Short(30))?;
    if !fixed.starts_with(b"PK\x03\x04") {
        return Err(Unreadable::NoHeader);
    }
    let u16_at = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
    let u32_at = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    let (name_length, extra_length) = (usize::from(u16_at(26)), usize::from(u16_at(28)));
    let length = 30 + name_length + extra_length;
    let header = bytes.get(..length).ok_or(Unreadable::Short(length))?;
    let flags = u16_at(6);
    let method = match u16_at(8) {
        0 => Method::Stored,
        8 => Method::Deflate,
        _ => return Err(Unreadable::Unsupported),
    };
    if flags & 1 != 0 {
        return Err(Unreadable::Unsupported);
    }
    let name = str::from_utf8(&header[30..30 + name_length]).map_err(|_| Unreadable::Unsupported)?;
    let extra = Extra::parse(&header[30 + name_length..]);
    let streamed = flags & 1 << 3 != 0;
    let (mut crc32, mut compressed, mut size) = (u32_at(14), u64::from(u32_at(18)), u64::from(u32_at(22)));
    if streamed {
        (crc32, compressed, size) = (0, 0, 0);
    } else if let Some((wide_size, wide_compressed)) = extra.sizes {
        (compressed, size) = (wide_compressed, wide_size);
    }
    let stamp = extra.owner.map(|(uid, gid)| Stamp { dos: u32_at(10), mtime: extra.mtime, uid, gid });
    let entry = Entry { name: name.to_owned(), method, streamed, stamp };
    let mut again = Vec::with_capacity(length);
    local(&mut again, &entry, crc32, compressed, size);
    let canonical = again == header && !(streamed && method == Method::Stored);
    Ok(Parsed { entry, crc32, compressed, size, length, canonical })
}

/// The extra fields that the profile knows.
#[derive(Default)]
struct Extra {
    sizes: Option<(u64, u64)>,
    mtime: Option<i32>,
    owner: Option<(u32, u32)>,
}

impl Extra {
    fn parse(mut bytes: &[u8]) -> Self {
        let mut extra = Self::default();
        while let Some((&[id0, id1, length0, length1], rest)) = bytes.split_first_chunk() {
            let length = usize::from(u16::from_le_bytes([length0, length1]));
            let Some(field) = rest.get(..length) else { break };
            bytes = &rest[length..];
            match (u16::from_le_bytes([id0, id1]), field) {
                (0x0001, field) => {
                    if let Some((size, rest)) = field.split_first_chunk()
                        && let Some(compressed) = rest.first_chunk()
                    {
                        extra.sizes = Some((u64::from_le_bytes(*size), u64::from_le_bytes(*compressed)));
                    }
                }
                (0x5455, &[1, a, b, c, d]) => extra.mtime = Some(i32::from_le_bytes([a, b, c, d])),
                (0x7875, &[1, 4, a, b, c, d, 4, e, f, g, h]) => {
                    extra.owner = Some((u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])));
                }
                _ => {}
            }
        }
        extra
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(streamed: bool, stamp: Option<Stamp>) -> Entry {
        Entry { name: "[root]/etc/é".into(), method: Method::Deflate, streamed, stamp }
    }

    #[test]
    fn a_header_comes_back_and_every_flipped_bit_shows() {
        for (entry, crc32, compressed, size) in [
            (entry(false, None), 7, 11, 13),
            (entry(false, Some(Stamp::new(1_700_000_000, 0, 33))), 7, 11, 13),
            (entry(false, Some(Stamp::new(5_000_000_000, 0, 33))), 7, 11, 13),
            (entry(true, Some(Stamp::new(-5, 0, 33))), 0, 0, 0),
        ] {
            let mut bytes = Vec::new();
            local(&mut bytes, &entry, crc32, compressed, size);
            let parsed = parse_local(&bytes).unwrap();
            assert!(parsed.canonical);
            assert_eq!(
                (&parsed.entry, parsed.crc32, parsed.compressed, parsed.size),
                (&entry, crc32, compressed, size)
            );
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let same = parse_local(&flipped).is_ok_and(|again| again.canonical && again == parsed);
                assert!(!same, "bit {bit} is free");
            }
            for end in 0..bytes.len() {
                assert!(matches!(parse_local(&bytes[..end]), Err(Unreadable::Short(_))));
            }
        }
    }
}
