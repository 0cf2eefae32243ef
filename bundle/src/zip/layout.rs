//! Headers from values. Everything that is not a field of [`Entry`] is fixed by the profile.

/// How an entry's bytes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// As they are.
    Stored,
    /// Deflate (RFC 1951).
    Deflate,
}

impl Method {
    /// The number in a header.
    pub const fn code(self) -> u16 {
        match self {
            Self::Stored => 0,
            Self::Deflate => 8,
        }
    }
}

/// Times and owners of an entry under `[root]`: fields 0x5455 and 0x7875, and the DOS time that is made from the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// DOS date and time, in UTC.
    pub dos: u32,
    /// Seconds since the epoch, where 32 bits hold it.
    pub mtime: Option<i32>,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// The DOS time of every entry without a [`Stamp`]: 1980-01-01 00:00:00.
const DOS_EPOCH: u32 = 0x0021_0000;
const FLAG_DESCRIPTOR: u16 = 1 << 3;
const FLAG_UTF8: u16 = 1 << 11;
const VERSION_PLAIN: u16 = 20;
const VERSION_ZIP64: u16 = 45;
const MADE_BY_UNIX: u16 = 3 << 8 | VERSION_ZIP64;
const MAX_32: u64 = 0xffff_ffff;

impl Stamp {
    /// A stamp from a modification time in seconds since the epoch.
    pub fn new(mtime_seconds: i64, uid: u32, gid: u32) -> Self {
        let there = jiff::Timestamp::from_second(mtime_seconds)
            .unwrap_or_default()
            .to_zoned(jiff::tz::TimeZone::UTC)
            .datetime();
        let unsigned = |part: i8| u32::from(part.unsigned_abs());
        let dos = match there.year() {
            1980..=2107 => {
                let years = u32::from((there.year() - 1980).unsigned_abs());
                years << 25
                    | unsigned(there.month()) << 21
                    | unsigned(there.day()) << 16
                    | unsigned(there.hour()) << 11
                    | unsigned(there.minute()) << 5
                    | (unsigned(there.second()) / 2)
            }
            _ => DOS_EPOCH,
        };
        Self { dos, mtime: i32::try_from(mtime_seconds).ok(), uid, gid }
    }
}

/// An entry, as far as its headers go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name; a folder's ends in `/`.
    pub name: String,
    /// See [`Method`].
    pub method: Method,
    /// True when sizes and CRC follow the data in a ZIP64 descriptor. Only ever with [`Method::Deflate`].
    pub streamed: bool,
    /// Present on entries under `[root]` that stand for a file of the host.
    pub stamp: Option<Stamp>,
}

/// What is known of an entry once it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryPlace {
    /// Where its local header stands.
    pub offset: u64,
    /// CRC-32 of the content.
    pub crc32: u32,
    /// Bytes in the file.
    pub compressed: u64,
    /// Bytes of content.
    pub size: u64,
    /// `st_mode`: type and permissions.
    pub mode: u32,
}

impl Entry {
    fn flags(&self) -> u16 {
        FLAG_UTF8 | if self.streamed { FLAG_DESCRIPTOR } else { 0 }
    }

    fn version(&self) -> u16 {
        if self.streamed { VERSION_ZIP64 } else { VERSION_PLAIN }
    }

    fn dos(&self) -> u32 {
        self.stamp.map_or(DOS_EPOCH, |stamp| stamp.dos)
    }

    fn stamp_fields(&self, extra: &mut Vec<u8>) {
        let Some(stamp) = self.stamp else { return };
        if let Some(mtime) = stamp.mtime {
            put16(extra, 0x5455);
            put16(extra, 5);
            extra.push(1);
            extra.extend(mtime.to_le_bytes());
        }
        put16(extra, 0x7875);
        put16(extra, 11);
        extra.extend([1, 4]);
        put32(extra, stamp.uid);
        extra.push(4);
        put32(extra, stamp.gid);
    }
}

/// Appends the local header. For a streamed entry CRC and sizes are zero, and both sizes stand as zero in a ZIP64 field.
pub fn local(out: &mut Vec<u8>, entry: &Entry, crc32: u32, compressed: u64, size: u64) {
    let mut extra = Vec::with_capacity(44);
    if entry.streamed {
        put16(&mut extra, 1);
        put16(&mut extra, 16);
        extra.extend([0; 16]);
    }
    entry.stamp_fields(&mut extra);
    out.extend(b"PK\x03\x04");
    put16(out, entry.version());
    put16(out, entry.flags());
    put16(out, entry.method.code());
    put32(out, entry.dos());
    if entry.streamed {
        put32(out, 0);
        put32(out, u32::MAX);
        put32(out, u32::MAX);
    } else {
        put32(out, crc32);
        put32(out, clamp32(compressed));
        put32(out, clamp32(size));
    }
    put16(out, clamp16(entry.name.len() as u64));
    put16(out, clamp16(extra.len() as u64));
    out.extend(entry.name.as_bytes());
    out.extend(extra);
}

/// Appends the descriptor of a streamed entry: with its signature, sizes of eight bytes.
pub fn descriptor(out: &mut Vec<u8>, crc32: u32, compressed: u64, size: u64) {
    out.extend(b"PK\x07\x08");
    put32(out, crc32);
    out.extend(compressed.to_le_bytes());
    out.extend(size.to_le_bytes());
}

/// Appends the entry's header in the central directory.
pub fn central(out: &mut Vec<u8>, entry: &Entry, place: &EntryPlace) {
    let mut wide = Vec::new();
    for value in [place.size, place.compressed, place.offset] {
        if value >= MAX_32 {
            wide.extend(value.to_le_bytes());
        }
    }
    let mut extra = Vec::with_capacity(48);
    if !wide.is_empty() {
        put16(&mut extra, 1);
        put16(&mut extra, clamp16(wide.len() as u64));
        extra.extend(&wide);
    }
    entry.stamp_fields(&mut extra);
    out.extend(b"PK\x01\x02");
    put16(out, MADE_BY_UNIX);
    put16(out, if wide.is_empty() { entry.version() } else { VERSION_ZIP64 });
    put16(out, entry.flags());
    put16(out, entry.method.code());
    put32(out, entry.dos());
    put32(out, place.crc32);
    put32(out, clamp32(place.compressed));
    put32(out, clamp32(place.size));
    put16(out, clamp16(entry.name.len() as u64));
    put16(out, clamp16(extra.len() as u64));
    put16(out, 0); // no comment
    put16(out, 0); // disk
    put16(out, 0); // internal attributes
    put32(out, place.mode << 16);
    put32(out, clamp32(place.offset));
    out.extend(entry.name.as_bytes());
    out.extend(extra);
}

/// Where a central directory stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Number of entries.
    pub entries: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its offset.
    pub offset: u64,
}

/// Appends the end of the central directory: the ZIP64 record and locator where a number asks for them, then the
/// classic record without a comment.
pub fn end(out: &mut Vec<u8>, end: End) {
    let End { entries, bytes, offset } = end;
    if entries >= 0xffff || bytes >= MAX_32 || offset >= MAX_32 {
        out.extend(b"PK\x06\x06");
        out.extend(44u64.to_le_bytes());
        put16(out, MADE_BY_UNIX);
        put16(out, VERSION_ZIP64);
        put32(out, 0);
        put32(out, 0);
        for value in [entries, entries, bytes, offset] {
            out.extend(value.to_le_bytes());
        }
        out.extend(b"PK\x06\x07");
        put32(out, 0);
        out.extend((offset + bytes).to_le_bytes());
        put32(out, 1);
    }
    out.extend(b"PK\x05\x06");
    put32(out, 0);
    put16(out, clamp16(entries));
    put16(out, clamp16(entries));
    put32(out, clamp32(bytes));
    put32(out, clamp32(offset));
    put16(out, 0);
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend(value.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend(value.to_le_bytes());
}

fn clamp16(value: u64) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

fn clamp32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
