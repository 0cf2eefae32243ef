//! Journal files of systemd-journald, as its JOURNAL_FILE_FORMAT document and `journal-def.h` describe them: header,
//! entries, and the fields of an entry, in the regular and the compact layout, compressed with zstd, LZ4 or xz.
//!
//! Why not the crate sdjournal: it opens files by path and maps them into memory, where a file that is cut while it is
//! read is a SIGBUS, and it refuses a damaged file where this one reads what is left. Here everything is pread(2)
//! through a descriptor that the caller opened, each offset is checked, and chains must go forward, so none is a loop.
//!
//! Known limits: hashes and seals (Forward Secure Sealing) are not verified: the key is not on the host.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::compressed::{Compression, decode};

/// The header of the first version of the format.
const HEADER_BYTES_MIN: usize = 208;
/// The header of systemd 254.
const HEADER_BYTES_MAX: usize = 272;
const SIGNATURE: &[u8; 8] = b"LPKSHHRH";
const OBJECT_BYTES: u64 = 16;
/// The most entries of one file that are looked at: journald begins a new file far earlier.
const ENTRIES_MAX: usize = 2_000_000;
/// The most fields of an entry: journald takes 1024.
const FIELDS_MAX: u64 = 1024;
/// The longest stored content of one field that is read.
const STORED_BYTES_MAX: u64 = 8 << 20;
/// The file is read in blocks of this size, of which as many are kept.
const BLOCK_BYTES: u64 = 64 << 10;
const BLOCKS_KEPT: usize = 128;

const COMPACT: u32 = 16;
const DATA: u8 = 1;
const ENTRY: u8 = 3;
const ENTRY_ARRAY: u8 = 6;

/// Why something of a journal could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The operating system refused.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// The file is not what its format says.
    #[error("{0}")]
    Format(String),
}

fn format(why: impl Into<String>) -> Broken {
    Broken::Format(why.into())
}

/// The header of a file.
#[derive(Clone, Debug)]
pub struct Header {
    /// What older readers may ignore.
    pub compatible_flags: u32,
    /// What they may not.
    pub incompatible_flags: u32,
    /// 0 offline, 1 online, 2 archived.
    pub state: u8,
    /// Of this file.
    pub file_id: [u8; 16],
    /// Of the machine that wrote it.
    pub machine_id: [u8; 16],
    /// Boot of the last entry.
    pub tail_entry_boot_id: [u8; 16],
    /// The series that the sequence numbers belong to.
    pub seqnum_id: [u8; 16],
    /// Length of the header.
    pub header_bytes: u64,
    /// Length of what follows it.
    pub arena_bytes: u64,
    /// Where the last object begins.
    pub tail_object_offset: u64,
    /// Objects.
    pub objects: u64,
    /// Entries.
    pub entries: u64,
    /// Sequence number of the last entry.
    pub tail_entry_seqnum: u64,
    /// Sequence number of the first entry.
    pub head_entry_seqnum: u64,
    /// Where the first array of entries begins.
    pub entry_array_offset: u64,
    /// Time of the first entry, in microseconds since the epoch.
    pub head_entry_realtime_us: u64,
    /// Time of the last entry, in microseconds since the epoch.
    pub tail_entry_realtime_us: u64,
    /// Tags of sealing; absent in old files.
    pub tags: Option<u64>,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, Broken> {
        if bytes.get(..8) != Some(SIGNATURE) {
            return Err(format("it does not begin as a journal does"));
        }
        if bytes.len() < HEADER_BYTES_MIN {
            return Err(format(format!("{} bytes are no whole header", bytes.len())));
        }
        let id = |at| array::<16>(bytes, at).unwrap_or_default();
        let long = |at| u64_at(bytes, at).unwrap_or(0);
        let header = Self {
            compatible_flags: u32_at(bytes, 8).unwrap_or(0),
            incompatible_flags: u32_at(bytes, 12).unwrap_or(0),
            state: bytes.get(16).copied().unwrap_or(0),
            file_id: id(24),
            machine_id: id(40),
            tail_entry_boot_id: id(56),
            seqnum_id: id(72),
            header_bytes: long(88),
            arena_bytes: long(96),
            tail_object_offset: long(136),
            objects: long(144),
            entries: long(152),
            tail_entry_seqnum: long(160),
            head_entry_seqnum: long(168),
            entry_array_offset: long(176),
            head_entry_realtime_us: long(184),
            tail_entry_realtime_us: long(192),
            tags: (long(88) >= 232).then(|| u64_at(bytes, 224)).flatten(),
        };
        if header.header_bytes < HEADER_BYTES_MIN as u64 {
            return Err(format(format!("its header claims {} bytes", header.header_bytes)));
        }
        Ok(header)
    }

    /// True for the layout with offsets of 32 bits (systemd 252).
    pub fn is_compact(&self) -> bool {
        self.incompatible_flags & COMPACT != 0
    }

    /// The names of the flags that are set; a bit without a name as `0x…`.
    pub fn flag_names(&self) -> (Vec<String>, Vec<String>) {
        let compatible = [(1, "sealed"), (2, "tail_entry_boot_id"), (4, "sealed_continuous")];
        let incompatible =
            [(1, "compressed_xz"), (2, "compressed_lz4"), (4, "keyed_hash"), (8, "compressed_zstd"), (16, "compact")];
        (names(self.compatible_flags, &compatible), names(self.incompatible_flags, &incompatible))
    }

    /// The state as a word.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            0 => "offline",
            1 => "online",
            2 => "archived",
            _ => "unknown",
        }
    }
}

fn names(flags: u32, known: &[(u32, &str)]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut rest = flags;
    for (flag, name) in known {
        if flags & flag != 0 {
            names.push((*name).to_owned());
            rest &= !flag;
        }
    }
    if rest != 0 {
        names.push(format!("{rest:#x}"));
    }
    names
}

/// An entry, its fields not yet read.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Sequence number.
    pub seqnum: u64,
    /// Microseconds since the epoch.
    pub realtime_us: u64,
    /// Microseconds since the boot.
    pub monotonic_us: u64,
    /// The boot.
    pub boot_id: [u8; 16],
    /// Where its fields lie.
    pub fields: Vec<u64>,
}

/// The content of a field, `NAME=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The bytes, as many as were asked for.
    pub bytes: Vec<u8>,
    /// True when there are more.
    pub is_cut: bool,
}

impl Field {
    /// Name and value.
    pub fn split(&self) -> Option<(&[u8], &[u8])> {
        let at = self.bytes.iter().position(|byte| *byte == b'=')?;
        Some((self.bytes.get(..at)?, self.bytes.get(at + 1..)?))
    }
}

/// The entries of a file, by offset.
#[derive(Debug, Default)]
pub struct Entries {
    /// Where they begin, in the order in which they were written.
    pub offsets: Vec<u64>,
    /// What was wrong with the lists of them.
    pub problem: Option<String>,
}

struct Head {
    kind: u8,
    flags: u8,
    bytes: u64,
}

/// An open journal file.
pub struct Journal {
    file: File,
    size: u64,
    header: Header,
    blocks: Vec<Option<(u64, Vec<u8>)>>,
    read_bytes: u64,
}

impl Journal {
    /// Reads the header of a file that has `size` bytes.
    ///
    /// # Errors
    /// When it is no journal, or cannot be read.
    pub fn open(file: File, size: u64) -> Result<Self, Broken> {
        let mut head = vec![0; HEADER_BYTES_MAX];
        let got = read_full(&file, &mut head, 0)?;
        head.truncate(got);
        let header = Header::parse(&head)?;
        Ok(Self { file, size, header, blocks: vec![None; BLOCKS_KEPT], read_bytes: got as u64 })
    }

    /// Its header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How many bytes were read since this was asked last.
    pub fn take_read_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.read_bytes)
    }

    /// What the header and the size of the file say of its state.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let claimed = self.header.header_bytes.saturating_add(self.header.arena_bytes);
        if claimed > self.size {
            problems.push(format!("the header claims {claimed} bytes, the file has {}", self.size));
        }
        if self.header.tail_object_offset >= self.size {
            problems.push("the last object lies past the end of the file".to_owned());
        }
        if self.header.state > 2 {
            problems.push(format!("the state is {}", self.header.state));
        }
        if self.header.head_entry_realtime_us > self.header.tail_entry_realtime_us && self.header.entries > 1 {
            problems.push("the first entry is later than the last".to_owned());
        }
        problems
    }

    /// The entries that the file's own lists hold.
    pub fn entries(&mut self) -> Entries {
        let mut entries = Entries::default();
        let mut at = self.header.entry_array_offset;
        let mut before = 0;
        while at != 0 && entries.offsets.len() < ENTRIES_MAX {
            if at <= before {
                entries.problem = Some(format!("the list of entries at {at} goes back"));
                break;
            }
            before = at;
            match self.entry_array(at, &mut entries.offsets) {
                Ok(next) => at = next,
                Err(broken) => {
                    entries.problem = Some(format!("the list of entries at {at}: {broken}"));
                    break;
                }
            }
        }
        entries
    }

    fn entry_array(&mut self, at: u64, offsets: &mut Vec<u64>) -> Result<u64, Broken> {
        let head = self.object(at, ENTRY_ARRAY)?;
        let next = u64_at(&self.bytes(at + 16, 8)?, 0).unwrap_or(0);
        let (start, end) = (at + 24, at + head.bytes);
        let width = if self.header.is_compact() { 4 } else { 8 };
        let mut from = start;
        while from + width <= end {
            let piece_bytes = (end - from).min(BLOCK_BYTES) / width * width;
            let piece = self.bytes(from, piece_bytes)?;
            for offset in offsets_in(&piece, width) {
                // The rest of the last array is not used yet.
                if offset == 0 || offsets.len() >= ENTRIES_MAX {
                    return Ok(next);
                }
                offsets.push(offset);
            }
            from += piece_bytes;
        }
        Ok(next)
    }

    /// Every entry that lies in the file, in the order of the objects: also those that no list holds any more.
    pub fn scan(&mut self, mut go_on: impl FnMut(u64) -> bool) -> Entries {
        let mut entries = Entries::default();
        let mut at = aligned(self.header.header_bytes);
        while at.saturating_add(OBJECT_BYTES) <= self.size && entries.offsets.len() < ENTRIES_MAX {
            let head = match self.head(at) {
                Ok(head) if head.kind != 0 => head,
                // After the last object come zeros.
                Ok(_) if at > self.header.tail_object_offset => break,
                Ok(_) => {
                    entries.problem = Some(format!("no object where one must be, at {at}"));
                    break;
                }
                Err(broken) => {
                    entries.problem = Some(format!("the object at {at}: {broken}"));
                    break;
                }
            };
            if head.kind == ENTRY {
                entries.offsets.push(at);
            }
            at = aligned(at.saturating_add(head.bytes));
            if !go_on(self.take_read_bytes()) {
                break;
            }
        }
        entries
    }

    /// The entry at `offset`.
    ///
    /// # Errors
    /// When there is none.
    pub fn entry(&mut self, offset: u64) -> Result<Entry, Broken> {
        let head = self.object(offset, ENTRY)?;
        if head.bytes < 64 {
            return Err(format("it is too short for an entry"));
        }
        let fixed = self.bytes(offset, 64)?;
        let width = if self.header.is_compact() { 4 } else { 16 };
        let items = self.bytes(offset + 64, ((head.bytes - 64) / width).min(FIELDS_MAX) * width)?;
        Ok(Entry {
            seqnum: u64_at(&fixed, 16).unwrap_or(0),
            realtime_us: u64_at(&fixed, 24).unwrap_or(0),
            monotonic_us: u64_at(&fixed, 32).unwrap_or(0),
            boot_id: array(&fixed, 40).unwrap_or_default(),
            fields: offsets_in(&items, width).filter(|offset| *offset != 0).collect(),
        })
    }

    /// The first `bytes_max` bytes of the field at `offset`, decoded.
    ///
    /// # Errors
    /// When there is none, or it is damaged.
    pub fn field(&mut self, offset: u64, bytes_max: usize) -> Result<Field, Broken> {
        let head = self.object(offset, DATA)?;
        let start = if self.header.is_compact() { 72 } else { 64 };
        let stored = head.bytes.checked_sub(start).ok_or_else(|| format("it is too short for a field"))?;
        let compression = match head.flags & 7 {
            0 => {
                let wanted = stored.min(bytes_max as u64);
                return Ok(Field { bytes: self.bytes(offset + start, wanted)?, is_cut: stored > wanted });
            }
            1 => Compression::Xz,
            2 => Compression::Lz4Block,
            4 => Compression::Zstd,
            flags => return Err(format(format!("compressed in {flags} ways"))),
        };
        if stored > STORED_BYTES_MAX {
            return Err(format(format!("{stored} bytes are compressed in it")));
        }
        let (bytes, is_cut) = decode(compression, &self.bytes(offset + start, stored)?, bytes_max)?;
        Ok(Field { bytes, is_cut })
    }

    fn object(&mut self, offset: u64, kind: u8) -> Result<Head, Broken> {
        if !offset.is_multiple_of(8) || offset < self.header.header_bytes {
            return Err(format(format!("{offset} is no place for an object")));
        }
        let head = self.head(offset)?;
        if head.kind != kind {
            return Err(format(format!("an object of type {} at {offset}, not {kind}", head.kind)));
        }
        Ok(head)
    }

    fn head(&mut self, offset: u64) -> Result<Head, Broken> {
        let bytes = self.bytes(offset, OBJECT_BYTES)?;
        let head = Head {
            kind: bytes.first().copied().unwrap_or(0),
            flags: bytes.get(1).copied().unwrap_or(0),
            bytes: u64_at(&bytes, 8).unwrap_or(0),
        };
        if head.kind == 0 {
            return Ok(head);
        }
        if head.bytes < OBJECT_BYTES || offset.saturating_add(head.bytes) > self.size {
            return Err(format(format!("it claims {} bytes", head.bytes)));
        }
        Ok(head)
    }

    fn bytes(&mut self, offset: u64, length: u64) -> Result<Vec<u8>, Broken> {
        if offset.saturating_add(length) > self.size {
            return Err(format("it lies past the end of the file"));
        }
        let mut bytes = Vec::new();
        let mut at = offset;
        let end = offset + length;
        while at < end {
            let number = at / BLOCK_BYTES;
            let from = usize::try_from(at % BLOCK_BYTES).unwrap_or(0);
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX);
            let block = self.block(number)?;
            let there = block.get(from..).unwrap_or_default();
            let there = there.get(..wanted).unwrap_or(there);
            if there.is_empty() {
                return Err(format("the file became shorter"));
            }
            bytes.extend_from_slice(there);
            at += there.len() as u64;
        }
        Ok(bytes)
    }

    fn block(&mut self, number: u64) -> Result<&[u8], Broken> {
        let slot = usize::try_from(number % BLOCKS_KEPT as u64).unwrap_or(0);
        let Self { file, blocks, read_bytes, .. } = self;
        let Some(kept) = blocks.get_mut(slot) else { return Err(format("no block")) };
        if kept.as_ref().is_none_or(|(of, _)| *of != number) {
            let mut block = vec![0; usize::try_from(BLOCK_BYTES).unwrap_or(0)];
            let got = read_full(file, &mut block, number * BLOCK_BYTES)?;
            block.truncate(got);
            *read_bytes += got as u64;
            *kept = Some((number, block));
        }
        Ok(kept.as_ref().map_or(&[], |(_, block)| block.as_slice()))
    }
}

fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(got) => done += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// The offsets in a list: the first 8 bytes of each item, or the 4 of a compact one.
fn offsets_in(items: &[u8], width: u64) -> impl Iterator<Item = u64> {
    let width = usize::try_from(width).unwrap_or(8);
    items.chunks_exact(width).map(move |item| {
        if width == 4 { u64::from(u32_at(item, 0).unwrap_or(0)) } else { u64_at(item, 0).unwrap_or(0) }
    })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

/// Objects begin at multiples of eight. What has none above it lies beyond every file: wrapped around, a scan would begin
/// anew for ever.
fn aligned(offset: u64) -> u64 {
    offset.checked_next_multiple_of(8).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    /// Forty entries, written by systemd-journal-remote 252; the second has a message of 3,005 bytes.
    pub(crate) const REGULAR: &[u8] = include_bytes!("journal/fixtures/regular.journal.gz");
    /// The same in the compact layout.
    pub(crate) const COMPACT: &[u8] = include_bytes!("journal/fixtures/compact.journal.gz");

    pub(crate) fn unpacked(fixture: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(fixture).read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn journal(bytes: &[u8]) -> Result<Journal, Broken> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Journal::open(file, bytes.len() as u64)
    }

    fn fields(journal: &mut Journal, offset: u64) -> Vec<String> {
        let entry = journal.entry(offset).unwrap();
        let mut fields: Vec<String> = Vec::new();
        for field in entry.fields {
            fields.push(String::from_utf8_lossy(&journal.field(field, 4096).unwrap().bytes).into_owned());
        }
        fields
    }

    #[test]
    fn both_layouts_are_read_by_list_and_by_scan() {
        for fixture in [REGULAR, COMPACT] {
            let mut journal = journal(&unpacked(fixture)).unwrap();
            assert_eq!(journal.problems(), Vec::<String>::new());
            assert_eq!((journal.header().entries, journal.header().state_name()), (40, "offline"));
            let listed = journal.entries();
            let scanned = journal.scan(|_| true);
            assert_eq!((listed.offsets.len(), &listed.problem), (40, &None));
            assert_eq!(listed.offsets, scanned.offsets);
            assert_eq!(scanned.problem, None);
            let first = journal.entry(listed.offsets[0]).unwrap();
            assert_eq!((first.realtime_us, first.monotonic_us), (1_764_500_000_000_000, 1_000_000));
            let first = fields(&mut journal, listed.offsets[0]);
            let message = "MESSAGE=Accepted publickey for root from 192.0.2.7 port 50022 ssh2: ED25519 SHA256:abc";
            assert!(first.contains(&message.to_owned()), "{first:?}");
            let second = fields(&mut journal, listed.offsets[1]);
            assert!(second.iter().any(|field| field.len() == 3013 && field.ends_with("x long")), "zstd");
        }
    }

    #[test]
    fn entries_that_no_list_holds_are_found() {
        let mut bytes = unpacked(REGULAR);
        let at = usize::try_from(journal(&bytes).unwrap().header().entry_array_offset).unwrap();
        bytes[at] = 0;
        let mut journal = journal(&bytes).unwrap();
        let listed = journal.entries();
        assert!(listed.offsets.is_empty() && listed.problem.is_some());
        // The scan ends where the object is broken, which here is early; what lies before it is read.
        assert!(journal.scan(|_| true).problem.is_some());
        let mut unlinked = unpacked(REGULAR);
        unlinked[176..184].copy_from_slice(&[0; 8]);
        let mut journal = self::journal(&unlinked).unwrap();
        assert_eq!((journal.entries().offsets.len(), journal.scan(|_| true).offsets.len()), (0, 40));
    }

    #[test]
    fn a_damaged_file_is_read_as_far_as_it_goes_and_never_panics() {
        let whole = unpacked(REGULAR);
        let used = usize::try_from(journal(&whole).unwrap().header().tail_object_offset).unwrap() + 256;
        let read_all = |bytes: &[u8]| {
            let Ok(mut journal) = journal(bytes) else { return };
            let _ = journal.problems();
            for offset in [journal.entries().offsets, journal.scan(|_| true).offsets].concat() {
                let Ok(entry) = journal.entry(offset) else { continue };
                for field in entry.fields {
                    let _ = journal.field(field, 100);
                }
            }
        };
        for end in (0..used).step_by(997) {
            read_all(&whole[..end]);
        }
        // A byte here and there, by a fixed sequence.
        let mut seed = 7_usize;
        for _ in 0..60 {
            let mut bytes = whole[..used].to_vec();
            for _ in 0..50 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                bytes[(seed >> 20) % used] = u8::try_from((seed >> 10) & 0xff).unwrap();
            }
            bytes[..8].copy_from_slice(SIGNATURE);
            read_all(&bytes);
        }
        assert!(journal(b"LPKSHHRH").is_err() && journal(b"").is_err() && journal(&[0; 300]).is_err());
    }

    #[test]
    fn a_header_longer_than_any_file_ends_the_scan() {
        let mut bytes = unpacked(REGULAR);
        // `header_size`, found by fuzzing: rounded up it is 0 again.
        bytes[88..96].copy_from_slice(&(u64::MAX - 2).to_le_bytes());
        if let Ok(mut journal) = journal(&bytes) {
            assert!(journal.scan(|_| true).offsets.is_empty());
        }
        assert_eq!((aligned(0), aligned(9), aligned(u64::MAX - 2)), (0, 16, u64::MAX));
    }

    #[test]
    fn a_list_that_leads_to_itself_ends() {
        let mut bytes = unpacked(REGULAR);
        let first = journal(&bytes).unwrap().header().entry_array_offset;
        let at = usize::try_from(first).unwrap() + 16;
        bytes[at..at + 8].copy_from_slice(&first.to_le_bytes());
        let entries = journal(&bytes).unwrap().entries();
        assert!(entries.problem.unwrap().contains("goes back") && !entries.offsets.is_empty());
    }
}
