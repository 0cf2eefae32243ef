//! What kind of program a file is, from its first bytes and, for ELF (elf(5)), its headers. Nothing is run or mapped.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::sqlite::ReadAt;

/// How much of the start is looked at for `#!` and for the marks of packers.
const HEAD_BYTES: usize = 4096;
/// The most program headers and section headers that are read.
const PROGRAM_HEADERS_MAX: u64 = 512;
const SECTION_HEADERS_MAX: u64 = 65_536;
/// The longest interpreter and the longest notes that are read.
const INTERPRETER_BYTES_MAX: u64 = 4096;
const NOTES_BYTES_MAX: u64 = 64 << 10;

/// Kinds of files that can be run or loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExecutableKind {
    /// Begins as an ELF file.
    Elf,
    /// Begins with `#!`.
    Script,
    /// Neither.
    Other,
}

/// What a file's headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    /// Its kind.
    pub kind: ExecutableKind,
    /// The program after `#!` with its argument, or the dynamic loader that an ELF file asks for.
    pub interpreter: Option<Vec<u8>>,
    /// What an ELF file says; `None` for others, and for one whose headers are malformed.
    pub elf: Option<Elf>,
}

/// Facts of an ELF file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not exclude each other")]
pub struct Elf {
    /// The note `NT_GNU_BUILD_ID` in hexadecimal digits.
    pub build_id: Option<String>,
    /// True when a segment is writable and executable at once.
    pub has_rwx_segment: bool,
    /// True when it has section headers: linkers write them, packers and droppers leave them out.
    pub has_sections: bool,
    /// True when it asks for the dynamic loader or has dynamic information.
    pub is_dynamic: bool,
    /// True when it has no table of symbols (`SHT_SYMTAB`).
    pub is_stripped: bool,
    /// True when it carries the mark of the packer UPX.
    pub is_upx: bool,
    /// `e_machine` by name, or its number.
    pub machine: String,
    /// `e_type`: `relocatable`, `executable`, `shared`, `core`, or its number.
    pub object: String,
}

/// True when a file that begins so can be run or loaded.
pub fn is_program(head: &[u8]) -> bool {
    head.starts_with(b"\x7fELF") || head.starts_with(b"#!")
}

/// Looks at a file of `size` bytes.
///
/// # Errors
/// As pread(2), for its first bytes.
pub fn look(file: &impl ReadAt, size: u64) -> std::io::Result<Executable> {
    let mut head = vec![0; usize::try_from(size).unwrap_or(HEAD_BYTES).min(HEAD_BYTES)];
    file.fill(&mut head, 0)?;
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
        // BINPRM_BUF_SIZE of the kernel: what is longer is cut there as well.
        let line = line.get(..254).unwrap_or(line);
        return Ok(Executable { kind: ExecutableKind::Script, interpreter: Some(line.to_vec()), elf: None });
    }
    if !head.starts_with(b"\x7fELF") {
        return Ok(Executable { kind: ExecutableKind::Other, interpreter: None, elf: None });
    }
    let read = Reading { file, size, is_64: head.get(4) == Some(&2), is_big: head.get(5) == Some(&2) };
    let (interpreter, elf) = match read.elf(&head) {
        Some((interpreter, elf)) => (interpreter, Some(elf)),
        None => (None, None),
    };
    Ok(Executable { kind: ExecutableKind::Elf, interpreter, elf })
}

struct Reading<'a, R> {
    file: &'a R,
    size: u64,
    is_64: bool,
    is_big: bool,
}

/// Where a field lies in a 32-bit and in a 64-bit header.
type At = (usize, usize);

impl<R: ReadAt> Reading<'_, R> {
    fn half(&self, bytes: &[u8], at: At) -> Option<u16> {
        let at = if self.is_64 { at.1 } else { at.0 };
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self.is_big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn word(&self, bytes: &[u8], at: At) -> Option<u32> {
        let at = if self.is_64 { at.1 } else { at.0 };
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self.is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// An address or an offset.
    fn long(&self, bytes: &[u8], at: At) -> Option<u64> {
        if !self.is_64 {
            return self.word(bytes, at).map(u64::from);
        }
        let bytes = *bytes.get(at.1..)?.first_chunk()?;
        Some(if self.is_big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    fn piece(&self, offset: u64, bytes: u64, bytes_max: u64) -> Option<Vec<u8>> {
        let end = offset.checked_add(bytes)?;
        if bytes > bytes_max || end > self.size {
            return None;
        }
        let mut piece = vec![0; usize::try_from(bytes).ok()?];
        self.file.fill(&mut piece, offset).ok()?;
        Some(piece)
    }

    fn elf(&self, head: &[u8]) -> Option<(Option<Vec<u8>>, Elf)> {
        let mut elf = Elf {
            is_stripped: true,
            is_upx: head.windows(4).any(|window| window == b"UPX!"),
            machine: machine(self.half(head, (18, 18))?),
            object: object(self.half(head, (16, 16))?),
            ..Elf::default()
        };
        let mut interpreter = None;
        let (offset, entry, count) =
            (self.long(head, (28, 32))?, u64::from(self.half(head, (42, 54))?), u64::from(self.half(head, (44, 56))?));
        let smallest = if self.is_64 { 56 } else { 32 };
        if count > 0 && entry >= smallest {
            let bytes = count.min(PROGRAM_HEADERS_MAX) * entry;
            for header in self.piece(offset, bytes, u64::MAX)?.chunks_exact(usize::try_from(entry).ok()?) {
                self.segment(header, &mut elf, &mut interpreter);
            }
        }
        let (offset, entry, count) =
            (self.long(head, (32, 40))?, u64::from(self.half(head, (46, 58))?), u64::from(self.half(head, (48, 60))?));
        let smallest = if self.is_64 { 64 } else { 40 };
        if offset != 0 && count > 0 && entry >= smallest {
            let bytes = count.min(SECTION_HEADERS_MAX) * entry;
            if let Some(headers) = self.piece(offset, bytes, 64 << 20) {
                elf.has_sections = true;
                let mut headers = headers.chunks_exact(usize::try_from(entry).ok()?);
                // SHT_SYMTAB
                elf.is_stripped = !headers.any(|header| self.word(header, (4, 4)) == Some(2));
            }
        }
        Some((interpreter, elf))
    }

    fn segment(&self, header: &[u8], elf: &mut Elf, interpreter: &mut Option<Vec<u8>>) {
        let place = || Some((self.long(header, (4, 8))?, self.long(header, (16, 32))?));
        match self.word(header, (0, 0)) {
            // PT_LOAD, with PF_X and PF_W.
            Some(1) => elf.has_rwx_segment |= self.word(header, (24, 4)).is_some_and(|flags| flags & 3 == 3),
            // PT_DYNAMIC
            Some(2) => elf.is_dynamic = true,
            // PT_INTERP
            Some(3) => {
                elf.is_dynamic = true;
                let text = place().and_then(|(offset, bytes)| self.piece(offset, bytes, INTERPRETER_BYTES_MAX));
                *interpreter = text.map(|text| text.split(|byte| *byte == 0).next().unwrap_or_default().to_vec());
            }
            // PT_NOTE
            Some(4) if elf.build_id.is_none() => {
                let notes = place().and_then(|(offset, bytes)| self.piece(offset, bytes, NOTES_BYTES_MAX));
                elf.build_id = notes.and_then(|notes| self.build_id(&notes));
            }
            _ => {}
        }
    }

    fn build_id(&self, mut notes: &[u8]) -> Option<String> {
        loop {
            let (name, length) = (self.word(notes, (0, 0))?, self.word(notes, (4, 4))?);
            let is_id = self.word(notes, (8, 8))? == 3 && notes.get(12..16) == Some(b"GNU\0".as_slice());
            let start = 12 + usize::try_from(name).ok()?.checked_next_multiple_of(4)?;
            let length = usize::try_from(length).ok()?;
            if is_id {
                let id = notes.get(start..start.checked_add(length)?)?;
                let mut digits = String::with_capacity(id.len() * 2);
                id.iter().try_for_each(|byte| write!(digits, "{byte:02x}")).ok()?;
                return Some(digits);
            }
            notes = notes.get(start.checked_add(length.checked_next_multiple_of(4)?)?..)?;
        }
    }
}

fn object(kind: u16) -> String {
    match kind {
        1 => "relocatable".to_owned(),
        2 => "executable".to_owned(),
        3 => "shared".to_owned(),
        4 => "core".to_owned(),
        other => other.to_string(),
    }
}

fn machine(machine: u16) -> String {
    match machine {
        3 => "x86".to_owned(),
        8 => "mips".to_owned(),
        20 => "ppc".to_owned(),
        21 => "ppc64".to_owned(),
        22 => "s390".to_owned(),
        40 => "arm".to_owned(),
        62 => "x86_64".to_owned(),
        183 => "aarch64".to_owned(),
        243 => "riscv".to_owned(),
        247 => "bpf".to_owned(),
        258 => "loongarch".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(bytes: &[u8]) -> Executable {
        look(&bytes.to_vec(), bytes.len() as u64).unwrap()
    }

    #[test]
    fn this_test_is_an_elf_file() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        let found = seen(&own);
        let elf = found.elf.unwrap();
        assert_eq!(found.kind, ExecutableKind::Elf);
        assert!(elf.has_sections && !elf.is_stripped && !elf.is_upx && !elf.has_rwx_segment);
        assert_eq!(elf.machine, if cfg!(target_arch = "x86_64") { "x86_64" } else { std::env::consts::ARCH });
        // A header alone: what the rest would say is not known, and nothing is made up.
        assert_eq!(seen(&own[..64]).elf, None);
        for cut in (0..own.len().min(8192)).step_by(11) {
            let _ = seen(&own[..cut]);
        }
        let mut state = 5_u32;
        for _ in 0..2000 {
            let mut bytes = own[..own.len().min(4096)].to_vec();
            for _ in 0..8 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = state as usize % 1024;
                bytes[at] = (state >> 24) as u8;
            }
            let _ = seen(&bytes);
        }
    }

    #[test]
    fn a_minimal_file_with_everything_odd() {
        let mut bytes = vec![0; 64 + 2 * 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[16] = 2;
        bytes[18] = 62;
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 2;
        // PT_LOAD, rwx; then a note with a build id after everything.
        bytes[64] = 1;
        bytes[68] = 7;
        bytes[120] = 4;
        bytes[128] = 64 + 112;
        bytes[152] = 20;
        bytes.extend_from_slice(b"\x04\0\0\0\x04\0\0\0\x03\0\0\0GNU\0\xab\xcd\xef\x01UPX!");
        let elf = seen(&bytes).elf.unwrap();
        assert_eq!(elf.build_id.as_deref(), Some("abcdef01"));
        assert!(elf.has_rwx_segment && elf.is_upx && elf.is_stripped && !elf.has_sections && !elf.is_dynamic);
        assert_eq!((elf.object.as_str(), elf.machine.as_str()), ("executable", "x86_64"));
    }

    #[test]
    fn scripts_and_others() {
        let script = seen(b"#! /usr/bin/env python3\nx");
        let interpreter = b"/usr/bin/env python3".to_vec();
        assert_eq!((script.kind, script.interpreter), (ExecutableKind::Script, Some(interpreter)));
        assert_eq!(seen(b"").kind, ExecutableKind::Other);
        assert_eq!(seen(b"\x7fELF").elf, None);
        assert!(is_program(b"#!") && !is_program(b"MZ"));
    }
}
