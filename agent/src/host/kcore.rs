//! Physical memory through `/proc/kcore`: which ranges there are, at which physical addresses, and where in the file.
//!
//! `/proc/iomem` names the ranges; without CAP_SYS_ADMIN the kernel writes every address as 0, which means "no
//! permission", not "no memory" (proc_iomem(5)). The program headers of `/proc/kcore` (fs/proc/kcore.c, proc_kcore(5))
//! say where each mapped range lies in the file. Their `p_paddr` is the physical address for memory and the kernel's text,
//! and -1 for what has none (vmalloc, vmemmap). A kernel that writes 0 everywhere leaves the kernel's direct map: if one
//! offset between virtual and physical addresses explains all memory, it is that map; if not, this refuses rather than
//! guesses.

use super::text::in_base;

/// Ranges of iomem, and headers of kcore, that are read.
const RANGES_MAX: usize = 65_536;
/// `ELFCLASS64`, and the machine's own order.
const IDENT: [u8; 6] = [0x7f, b'E', b'L', b'F', 2, if cfg!(target_endian = "little") { 1 } else { 2 }];
const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;
const PT_LOAD: u32 = 1;
/// The direct map begins at a multiple of this (PMD_SIZE with 4 KiB pages; randomised by the GiB).
const DIRECT_MAP_ALIGN: u64 = 2 << 20;

/// A line of `/proc/iomem`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoRange {
    /// First address.
    pub start: u64,
    /// Last address.
    pub last: u64,
    /// What lies there: `System RAM`, `Reserved`, a device.
    pub name: String,
    /// 0 for a range that lies in no other.
    pub depth: usize,
}

/// Reads iomem; lines that are no ranges are left out.
pub fn iomem(text: &str) -> Vec<IoRange> {
    let range = |line: &str| {
        let spaces = line.len() - line.trim_start_matches(' ').len();
        let (addresses, name) = line.trim_start_matches(' ').split_once(" : ")?;
        let (start, last) = addresses.split_once('-')?;
        let hex = |text: &str| in_base(text.as_bytes(), 16);
        Some(IoRange { start: hex(start)?, last: hex(last)?, name: name.to_owned(), depth: spaces / 2 })
    };
    text.lines().filter_map(range).take(RANGES_MAX).collect()
}

/// True when the kernel hides the addresses.
pub fn is_hidden(ranges: &[IoRange]) -> bool {
    ranges.iter().all(|range| range.start == 0 && range.last == 0)
}

/// A range of memory in whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ram {
    /// First physical address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
}

/// The memory among the ranges of iomem, whole pages only.
pub fn ram(ranges: &[IoRange], page_bytes: u64) -> Vec<Ram> {
    let is_memory = |range: &&IoRange| range.depth == 0 && range.name == "System RAM";
    let whole = |range: &IoRange| {
        let start = range.start.checked_next_multiple_of(page_bytes)?;
        let end = range.last.checked_add(1)? / page_bytes * page_bytes;
        (start < end).then_some(Ram { start, end })
    };
    let mut ram: Vec<Ram> = ranges.iter().filter(is_memory).filter_map(whole).collect();
    ram.sort_by_key(|range| range.start);
    ram
}

/// A `PT_LOAD` header of kcore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Virtual address.
    pub virtual_start: u64,
    /// `p_paddr`, as it stands there.
    pub physical: u64,
    /// Where in the file.
    pub offset: u64,
    /// How long.
    pub bytes: u64,
}

/// How many bytes of the beginning of kcore hold its headers; `None` when it is no ELF file of this machine.
pub fn headers_bytes(head: &[u8]) -> Option<usize> {
    if !head.starts_with(&IDENT) {
        return None;
    }
    let at = usize::try_from(long(head, 32)?).ok()?;
    let (size, count) = (half(head, 54)?, half(head, 56)?);
    (size == PROGRAM_HEADER_BYTES && at >= HEADER_BYTES).then(|| at.checked_add(count * size))?
}

/// The `PT_LOAD` headers, and the end of the notes, where kcore's readable head ends.
pub fn loaded(headers: &[u8]) -> Vec<Loaded> {
    let Some(at) = long(headers, 32).and_then(|at| usize::try_from(at).ok()) else { return Vec::new() };
    let table = headers.get(at..).unwrap_or_default();
    let load = |header: &[u8]| {
        let is_load = header.get(..4)? == PT_LOAD.to_ne_bytes();
        let loaded = Loaded {
            offset: long(header, 8)?,
            virtual_start: long(header, 16)?,
            physical: long(header, 24)?,
            bytes: long(header, 32)?,
        };
        (is_load && loaded.bytes > 0).then_some(loaded)
    };
    table.chunks_exact(PROGRAM_HEADER_BYTES).filter_map(load).take(RANGES_MAX).collect()
}

fn half(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..at + 2)?.try_into().ok().map(|two| usize::from(u16::from_ne_bytes(two)))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes)
}

/// How physical addresses were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The headers say them.
    Headers,
    /// All memory is mapped at this virtual address plus the physical one.
    DirectMap(u64),
}

/// A range of memory and where it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it lies.
    pub ram: Ram,
    /// Its place in kcore; `None` for a hole that kcore does not show.
    pub offset: Option<u64>,
}

/// All memory, in order, as pieces of kcore and holes.
///
/// # Errors
/// Why no physical address can be told.
pub fn plan(ram: &[Ram], loaded: &[Loaded]) -> Result<(Source, Vec<Piece>), &'static str> {
    const NONE: u64 = u64::MAX;
    if ram.is_empty() {
        return Err("/proc/iomem names no System RAM");
    }
    if loaded.is_empty() {
        return Err("/proc/kcore has no program headers");
    }
    let (source, mapped) = if loaded.iter().any(|one| one.physical != 0 && one.physical != NONE) {
        let mapped = loaded.iter().filter(|one| one.physical != NONE).map(|one| (one.physical, one.bytes, one.offset));
        (Source::Headers, mapped.collect())
    } else {
        let base = direct_map(ram, loaded)?;
        let in_map = |one: &Loaded| Some((one.virtual_start.checked_sub(base)?, one.bytes, one.offset));
        (Source::DirectMap(base), loaded.iter().filter_map(in_map).collect::<Vec<_>>())
    };
    Ok((source, ram.iter().flat_map(|range| cover(*range, &mapped)).collect()))
}

/// The virtual address at which physical address 0 is mapped, when there is exactly one that explains all memory.
fn direct_map(ram: &[Ram], loaded: &[Loaded]) -> Result<u64, &'static str> {
    let explains = |base: u64| {
        ram.iter().all(|range| {
            let at = base.checked_add(range.start);
            at.is_some_and(|at| {
                loaded.iter().any(|one| {
                    one.virtual_start <= at && at - one.virtual_start + (range.end - range.start) <= one.bytes
                })
            })
        })
    };
    let mut bases: Vec<u64> = loaded
        .iter()
        .flat_map(|one| ram.iter().map(move |range| (one, range)))
        .filter(|(one, range)| one.bytes == range.end - range.start)
        .filter_map(|(one, range)| one.virtual_start.checked_sub(range.start))
        .filter(|base| base % DIRECT_MAP_ALIGN == 0)
        .collect();
    bases.sort_unstable();
    bases.dedup();
    bases.retain(|base| explains(*base));
    match bases[..] {
        [base] => Ok(base),
        [] => Err("/proc/kcore gives no physical addresses, and no direct map explains its ranges"),
        _ => Err("/proc/kcore gives no physical addresses, and more than one direct map would explain its ranges"),
    }
}

/// Covers a range with what is mapped: where several mappings begin before a place, the one that reaches furthest.
fn cover(range: Ram, mapped: &[(u64, u64, u64)]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let here = mapped
            .iter()
            .filter(|(start, bytes, _)| *start <= at && at - start < *bytes)
            .max_by_key(|(start, bytes, _)| start.saturating_add(*bytes));
        let (end, offset) = match here {
            Some((start, bytes, offset)) => {
                (start.saturating_add(*bytes).min(range.end), offset.checked_add(at - start))
            }
            None => {
                let next = mapped.iter().map(|one| one.0).filter(|start| *start > at).min();
                (next.unwrap_or(range.end).min(range.end), None)
            }
        };
        pieces.push(Piece { ram: Ram { start: at, end }, offset });
        at = end;
    }
    pieces
}

/// The header of a range in a LiME image (`lime.h`: magic, version 1, first and last address, eight reserved bytes).
pub fn lime_header(range: Ram) -> [u8; 32] {
    let mut header = [0; 32];
    let numbers = [0x1_4c69_4d45_u64, range.start, range.end.saturating_sub(1), 0];
    for (place, number) in header.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    const IOMEM: &str = "\
00000000-00000fff : Reserved
00001000-0009fbff : System RAM
0009fc00-000fffff : Reserved
  000f0000-000fffff : System ROM
00100000-1fffffff : System RAM
  01000000-02209987 : Kernel code
";
    const BASE: u64 = 0xffff_9d43_4000_0000;

    fn memory() -> [Ram; 2] {
        [Ram { start: 0x1000, end: 0x9f000 }, Ram { start: 0x10_0000, end: 0x2000_0000 }]
    }

    fn headers(loaded: &[Loaded]) -> Vec<u8> {
        let mut out = vec![0; 64];
        out[..6].copy_from_slice(&IDENT);
        out[32..40].copy_from_slice(&64_u64.to_ne_bytes());
        out[54..56].copy_from_slice(&56_u16.to_ne_bytes());
        out[56..58].copy_from_slice(&u16::try_from(loaded.len() + 1).unwrap().to_ne_bytes());
        out.resize(64 + 56, 4);
        for one in loaded {
            out.extend_from_slice(&1_u32.to_ne_bytes());
            out.extend_from_slice(&7_u32.to_ne_bytes());
            for value in [one.offset, one.virtual_start, one.physical, one.bytes, one.bytes, 4096] {
                out.extend_from_slice(&value.to_ne_bytes());
            }
        }
        out
    }

    fn kernel(physical: impl Fn(u64) -> u64) -> Vec<Loaded> {
        let mut all = vec![
            Loaded {
                virtual_start: 0xffff_ffff_8100_0000,
                physical: physical(0x100_0000),
                offset: 0x7fff_8100_1000,
                bytes: 0x300_0000,
            },
            Loaded {
                virtual_start: 0xffff_a000_0000_0000,
                physical: physical(u64::MAX),
                offset: 0x1000,
                bytes: 1 << 45,
            },
        ];
        all.extend(memory().map(|ram| Loaded {
            virtual_start: BASE + ram.start,
            physical: physical(ram.start),
            offset: 0x4000_0000 + ram.start,
            bytes: ram.end - ram.start,
        }));
        all
    }

    #[test]
    fn memory_is_whole_pages_of_iomem() {
        let ranges = iomem(IOMEM);
        assert_eq!((ranges.len(), ranges[3].depth), (6, 1));
        assert_eq!(ram(&ranges, 4096), memory());
        assert!(!is_hidden(&ranges));
        assert!(is_hidden(&iomem("00000000-00000000 : System RAM\n  00000000-00000000 : Kernel code\nno range\n")));
        let odd = iomem("00000000-ffffffffffffffff : System RAM\n00000010-00000020 : System RAM\n20-10 : System RAM\n");
        assert!(ram(&odd, 4096).is_empty());
    }

    #[test]
    fn headers_are_read_as_far_as_they_go() {
        let bytes = headers(&kernel(|at| at));
        assert_eq!(headers_bytes(&bytes), Some(bytes.len()));
        assert_eq!(loaded(&bytes), kernel(|at| at));
        for length in 0..bytes.len() {
            loaded(&bytes[..length]);
            headers_bytes(&bytes[..length]);
        }
        assert_eq!(headers_bytes(b"no ELF file"), None);
    }

    #[test]
    fn physical_addresses_come_from_the_headers() {
        let (source, pieces) = plan(&memory(), &kernel(|at| at)).unwrap();
        assert_eq!(source, Source::Headers);
        let whole = memory().map(|ram| Piece { ram, offset: Some(0x4000_0000 + ram.start) });
        assert_eq!(pieces, whole);
    }

    #[test]
    fn without_them_from_the_only_direct_map_that_explains_all_memory() {
        let (source, pieces) = plan(&memory(), &kernel(|_| 0)).unwrap();
        assert_eq!(source, Source::DirectMap(BASE));
        assert_eq!(pieces, memory().map(|ram| Piece { ram, offset: Some(0x4000_0000 + ram.start) }));
        let without_the_last: Vec<Loaded> = kernel(|_| 0).into_iter().take(3).collect();
        assert!(plan(&memory(), &without_the_last).unwrap_err().contains("no direct map explains"));
        let mut twice = kernel(|_| 0);
        let again = twice[2..].iter().map(|one| Loaded { virtual_start: one.virtual_start + (1 << 40), ..*one });
        let again: Vec<Loaded> = again.collect();
        twice.extend(again);
        assert!(plan(&memory(), &twice).unwrap_err().contains("more than one"));
    }

    #[test]
    fn what_kcore_does_not_show_is_a_hole() {
        let mut mapped = kernel(|at| at);
        mapped.retain(|one| one.physical != 0x10_0000);
        let (_, pieces) = plan(&memory(), &mapped).unwrap();
        let hole = |start, end| Piece { ram: Ram { start, end }, offset: None };
        let text = Piece { ram: Ram { start: 0x100_0000, end: 0x400_0000 }, offset: Some(0x7fff_8100_1000) };
        assert_eq!(pieces[1..], [hole(0x10_0000, 0x100_0000), text, hole(0x400_0000, 0x2000_0000)]);
    }

    #[test]
    fn a_lime_header() {
        let header = lime_header(Ram { start: 0x1000, end: 0x9f000 });
        assert_eq!(header[..8], *b"EMiL\x01\0\0\0");
        assert_eq!(header[16..24], 0x9efff_u64.to_le_bytes());
    }
}
