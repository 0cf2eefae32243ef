//! Memory of a process as an ELF core file (elf(5), core(5)): what debuggers and disassemblers open with every region at
//! its address.
//!
//! The headers come first and say where everything lies, so that a file that was cut short still gives what came. A range
//! without content is a segment whose length in the file is 0, as the kernel writes it. There are no registers: they are
//! had only by stopping every thread with ptrace(2).

/// Program headers that one file may have: `e_phnum` has 16 bits, and its highest value means something else.
pub const SEGMENTS_MAX: usize = 65_000;

const HEADER_BYTES: u64 = 64;
const PROGRAM_HEADER_BYTES: u64 = 56;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// Notes of the owner `CORE`: the auxiliary vector, and which files are mapped where.
const NT_AUXV: u32 = 6;
const NT_FILE: u32 = 0x4649_4c45;

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First address.
    pub address: u64,
    /// Length in memory.
    pub bytes: u64,
    /// True when its content is in the file.
    pub stored: bool,
    /// 4 for readable, 2 for writable, 1 for executable.
    pub flags: u32,
}

/// A file that is mapped.
#[derive(Clone, Debug)]
pub struct Mapped {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// Offset in the file in bytes.
    pub offset: u64,
    /// Its path.
    pub path: Vec<u8>,
}

/// Everything before the first segment's content, which lies behind it in the order of the segments.
pub fn headers(segments: &[Segment], files: &[Mapped], auxv: &[u8], page_bytes: u64) -> Vec<u8> {
    let mut notes = Vec::new();
    note(&mut notes, NT_AUXV, auxv);
    note(&mut notes, NT_FILE, &file_note(files, page_bytes));
    let count = segments.len() as u64 + 1;
    let notes_at = HEADER_BYTES + count * PROGRAM_HEADER_BYTES;
    let mut offset = (notes_at + notes.len() as u64).next_multiple_of(page_bytes);
    let mut out = Vec::with_capacity(usize::try_from(offset).unwrap_or(0));
    // 64-bit, in the machine's own order, version 1, System V.
    out.extend_from_slice(b"\x7fELF\x02");
    out.push(if cfg!(target_endian = "little") { 1 } else { 2 });
    out.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    half(&mut out, 4); // ET_CORE
    half(&mut out, MACHINE);
    word(&mut out, 1);
    for value in [0, HEADER_BYTES, 0] {
        long(&mut out, value); // entry, program headers, section headers
    }
    word(&mut out, 0);
    half(&mut out, 64);
    half(&mut out, 56);
    half(&mut out, u16::try_from(count).unwrap_or(u16::MAX));
    for _ in 0..3 {
        half(&mut out, 0);
    }
    program_header(&mut out, (PT_NOTE, 0), notes_at, (0, notes.len() as u64, notes.len() as u64), 4);
    for segment in segments {
        let in_file = if segment.stored { segment.bytes } else { 0 };
        let sizes = (segment.address, in_file, segment.bytes);
        program_header(&mut out, (PT_LOAD, segment.flags), offset, sizes, page_bytes);
        offset += in_file;
    }
    out.extend_from_slice(&notes);
    out.resize(out.len().next_multiple_of(usize::try_from(page_bytes).unwrap_or(4096)), 0);
    out
}

/// `e_machine` of this program, which is that of the host.
const MACHINE: u16 = if cfg!(target_arch = "x86_64") {
    62
} else if cfg!(target_arch = "aarch64") {
    183
} else if cfg!(target_arch = "riscv64") {
    243
} else if cfg!(target_arch = "s390x") {
    22
} else if cfg!(target_arch = "powerpc64") {
    21
} else {
    0
};

fn half(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_ne_bytes());
}

fn word(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_ne_bytes());
}

fn long(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_ne_bytes());
}

fn program_header(
    out: &mut Vec<u8>,
    (kind, flags): (u32, u32),
    offset: u64,
    (address, in_file, in_memory): (u64, u64, u64),
    align: u64,
) {
    word(out, kind);
    word(out, flags);
    for value in [offset, address, 0, in_file, in_memory, align] {
        long(out, value);
    }
}

fn note(out: &mut Vec<u8>, kind: u32, content: &[u8]) {
    if content.is_empty() {
        return;
    }
    word(out, 5);
    word(out, u32::try_from(content.len()).unwrap_or(0));
    word(out, kind);
    out.extend_from_slice(b"CORE\0\0\0\0");
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Count, page size, three numbers for each file, then their names.
fn file_note(files: &[Mapped], page_bytes: u64) -> Vec<u8> {
    let mut out = Vec::new();
    if files.is_empty() {
        return out;
    }
    long(&mut out, files.len() as u64);
    long(&mut out, page_bytes);
    for file in files {
        for value in [file.start, file.end, file.offset / page_bytes] {
            long(&mut out, value);
        }
    }
    for file in files {
        out.extend_from_slice(&file.path);
        out.push(0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_say_where_everything_lies() {
        let segments = [
            Segment { address: 0x1000, bytes: 0x2000, stored: true, flags: 7 },
            Segment { address: 0x3000, bytes: 0x10_0000, stored: false, flags: 6 },
            Segment { address: 0x20_0000, bytes: 0x1000, stored: true, flags: 4 },
        ];
        let files = [Mapped { start: 0x1000, end: 0x3000, offset: 0x4000, path: b"/bin/x".to_vec() }];
        let out = headers(&segments, &files, &[1; 17], 4096);
        assert_eq!(out.len() % 4096, 0);
        let number = |at: usize| u64::from_ne_bytes(out[at..at + 8].try_into().unwrap());
        assert_eq!(u16::from_ne_bytes(out[56..58].try_into().unwrap()), 4);
        let first = out.len() as u64;
        let of = |n: usize| {
            let at = 64 + n * 56;
            (number(at + 8), number(at + 16), number(at + 32), number(at + 40))
        };
        assert_eq!(of(1), (first, 0x1000, 0x2000, 0x2000));
        assert_eq!(of(2), (first + 0x2000, 0x3000, 0, 0x10_0000));
        assert_eq!(of(3), (first + 0x2000, 0x20_0000, 0x1000, 0x1000));
        let (notes, length) = (usize::try_from(number(64 + 8)).unwrap(), usize::try_from(number(64 + 32)).unwrap());
        assert_eq!(notes, 64 + 4 * 56);
        assert!(out[notes..notes + length].ends_with(b"/bin/x\0\0"));
    }
}
