//! Names of entries and of bundles: what an extractor, a manifest and a screen can all bear.

use std::fmt::Write as _;

use wire::BundleId;

use crate::time::Instant;

/// The longest entry name; with an extraction folder before it, it still fits PATH_MAX (4096).
pub const NAME_BYTES_MAX: usize = 2048;
/// The longest component of an entry name (NAME_MAX, limits.h).
pub const COMPONENT_BYTES_MAX: usize = 255;
/// Where original bytes of the host stand.
pub const ROOT: &str = "[root]/";

/// The entry name for a path of the host: `[root]/` and the path without its leading slash, escaped. `None` when an
/// extractor could not create it: too long, or with a component that is empty, `.` or `..`.
pub fn of_path(path: &[u8]) -> Option<String> {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let mut name = String::with_capacity(ROOT.len() + path.len());
    name.push_str(ROOT);
    escape(path, &mut name);
    escape_trailing_blanks(&mut name);
    let extractable = name.len() <= NAME_BYTES_MAX
        && name.split('/').all(|part| !matches!(part, "" | "." | "..") && part.len() <= COMPONENT_BYTES_MAX);
    extractable.then_some(name)
}

/// Appends `bytes` as text, each byte of these written as `=HH`: invalid UTF-8; control characters; the line and
/// paragraph separators (bagit's reader ends lines there); `%` before `0A`, `0D` or `25` (bagit decodes those,
/// sha256sum does not).
pub fn escape(bytes: &[u8], out: &mut String) {
    fn hex(bytes: &[u8], out: &mut String) {
        for byte in bytes {
            let _ = write!(out, "={byte:02X}");
        }
    }
    for chunk in bytes.utf8_chunks() {
        let text = chunk.valid();
        for (at, character) in text.char_indices() {
            let decoded_by_bagit = || {
                let next = text.as_bytes().get(at + 1..at + 3);
                next.is_some_and(|next| [&b"0a"[..], b"0d", b"25"].contains(&&*next.to_ascii_lowercase()))
            };
            match character {
                '\u{2028}' | '\u{2029}' => hex(character.encode_utf8(&mut [0; 4]).as_bytes(), out),
                '%' if decoded_by_bagit() => hex(b"%", out),
                c if c.is_control() => hex(c.encode_utf8(&mut [0; 4]).as_bytes(), out),
                c => out.push(c),
            }
        }
        hex(chunk.invalid(), out);
    }
}

/// Writes white space at the end of a name as `=HH`: bagit's reader strips it from the line.
fn escape_trailing_blanks(name: &mut String) {
    let kept = name.trim_end().len();
    if kept < name.len() {
        for byte in name.split_off(kept).bytes() {
            let _ = write!(name, "={byte:02X}");
        }
    }
}

/// `<host>_<yyyymmddThhmmssZ>_<last 8 hex of the bundle id>.evidence.zip`, the host name cut to plain characters.
pub fn of_bundle(host: &str, started: Instant, bundle: BundleId) -> String {
    let host: String =
        host.chars().take(64).map(|c| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '-' }).collect();
    let host = host.trim_start_matches(['.', '-']);
    let host = if host.is_empty() { "host" } else { host };
    format!("{host}_{}_{}.evidence.zip", started.compact(), bundle.short())
}

/// The name of another part of the same run, where `first` is the first one's: they lie side by side.
pub fn of_part(first: &str, part: u32) -> String {
    let endings = [".evidence.zip", ".evidence.zip.age"];
    match endings.iter().find_map(|ending| Some((first.strip_suffix(ending)?, ending))) {
        Some((stem, ending)) if part > 1 => format!("{stem}-p{part:02}{ending}"),
        _ => first.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_the_format_says() {
        for (path, name) in [
            (&b"/etc/passwd"[..], "[root]/etc/passwd"),
            (b"/tmp/new\nline", "[root]/tmp/new=0Aline"),
            (b"/tmp/bad\xffutf8", "[root]/tmp/bad=FFutf8"),
            ("/tmp/c1\u{85}".as_bytes(), "[root]/tmp/c1=C2=85"),
            ("/tmp/\u{2028}".as_bytes(), "[root]/tmp/=E2=80=A8"),
            (b"/tmp/a%0Ab%41", "[root]/tmp/a=250Ab%41"),
            (b"/tmp/.. /x", "[root]/tmp/.. /x"),
            (b"/tmp/ trailing  ", "[root]/tmp/ trailing=20=20"),
            ("/tmp/wide\u{3000}".as_bytes(), "[root]/tmp/wide=E3=80=80"),
        ] {
            assert_eq!(of_path(path).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_cannot_be_extracted_has_no_name() {
        let long = [&b"/"[..], &[b'x'; COMPONENT_BYTES_MAX]].concat();
        assert!(of_path(&long).is_some());
        assert!(of_path(&[&long[..], b"x"].concat()).is_none());
        let deep = "/abc".repeat(NAME_BYTES_MAX / 4);
        assert!(of_path(deep.as_bytes()).is_none());
        for path in [&b"/a/../b"[..], b"/a//b", b"/./a", b"/", b""] {
            assert!(of_path(path).is_none(), "{path:?}");
        }
    }

    #[test]
    fn a_bundle_is_named_after_a_tame_host() {
        let id = BundleId::new(0, [7; 10]);
        assert_eq!(of_bundle("../we b", Instant(0), id), "we-b_19700101T000000Z_07070707.evidence.zip");
        assert_eq!(of_part("a_b_c.evidence.zip", 1), "a_b_c.evidence.zip");
        assert_eq!(of_part("a_b_c.evidence.zip", 2), "a_b_c-p02.evidence.zip");
        assert_eq!(of_part("a_b_c.evidence.zip.age", 2), "a_b_c-p02.evidence.zip.age");
        assert_eq!(of_part("a_b_c.evidence.zip", 123), "a_b_c-p123.evidence.zip");
    }
}
