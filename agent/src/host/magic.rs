//! What a file's first bytes say that it is: enough to tell programs, scripts and archives from the rest, whatever their
//! names claim. The signatures are those of the formats' own documents and of magic(5).

/// How many of the first bytes are looked at.
pub const HEAD_BYTES: usize = 512;

/// Signatures at a place.
const SIGNATURES: [(usize, &[u8], &str); 34] = [
    (0, b"\x7fELF", "elf"),
    (0, b"#!", "script"),
    (0, b"<?php", "php"),
    (0, b"<?=", "php"),
    (0, b"<%@", "jsp_or_asp"),
    (0, b"<%", "jsp_or_asp"),
    (0, b"MZ", "pe"),
    (0, b"\xcf\xfa\xed\xfe", "mach_o"),
    (0, b"\xca\xfe\xba\xbe", "java_class"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ\0", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"\x04\x22\x4d\x18", "lz4"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"Rar!\x1a\x07", "rar"),
    (0, b"SQLite format 3\0", "sqlite"),
    (0, b"\xa1\xb2\xc3\xd4", "pcap"),
    (0, b"\xd4\xc3\xb2\xa1", "pcap"),
    (0, b"\x0a\x0d\x0d\x0a", "pcapng"),
    (0, b"LPKSHHRH", "journal"),
    (0, b"EMiL", "lime"),
    (0, b"-----BEGIN ", "pem"),
    (0, b"age-encryption.org/", "age"),
    (0, b"Salted__", "openssl_encrypted"),
    (0, b"\x89PNG", "png"),
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"GIF8", "gif"),
    (0, b"%PDF", "pdf"),
    (0, b"!<arch>\n", "ar"),
    (0, b"\xed\xab\xee\xdb", "rpm"),
    (257, b"ustar", "tar"),
    (0, b"\0asm", "wasm"),
];

/// What it is; `None` for what has no signature.
pub fn magic(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(b"\x7fELF") {
        // e_type, in the byte order that EI_DATA names: 4 is a core dump (elf(5)).
        let kind = if head.get(5) == Some(&2) { head.get(17) } else { head.get(16) };
        return Some(if kind == Some(&4) { "core_dump" } else { "elf" });
    }
    let is =
        |(at, signature, _): &&(usize, &[u8], &str)| head.get(*at..).is_some_and(|there| there.starts_with(signature));
    SIGNATURES.iter().find(is).map(|(_, _, name)| *name)
}

/// The program that `#!` names, with its argument (execve(2)): of the first line at most 256 bytes.
pub fn interpreter(head: &[u8]) -> Option<&[u8]> {
    let line = head.strip_prefix(b"#!")?;
    let line = line.get(..256).unwrap_or(line);
    let end = line.iter().position(|byte| *byte == b'\n').unwrap_or(line.len());
    Some(line.get(..end)?.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_tell_what_a_file_is() {
        for (head, expect) in [
            (&b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0"[..], Some("elf")),
            (b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x04\0", Some("core_dump")),
            (b"\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x04", Some("core_dump")),
            (b"#!/bin/sh\n", Some("script")),
            (b"<?php system(1);", Some("php")),
            (b"PK\x03\x04", Some("zip")),
            (b"", None),
            (b"plain", None),
        ] {
            assert_eq!(magic(head), expect, "{head:?}");
        }
        let tar = [&[b'x'; 257][..], b"ustar"].concat();
        assert_eq!(magic(&tar), Some("tar"));
        assert_eq!(interpreter(b"#! /usr/bin/env python3 \nx"), Some(&b"/usr/bin/env python3"[..]));
        assert_eq!((interpreter(b"#!"), interpreter(b"x")), (Some(&b""[..]), None));
    }
}
