//! Which names may stand where (FORMAT.md, "Tree"): at the top and under `checkpoints/` only those that the format
//! knows, and nowhere one that an extractor would take elsewhere.

use crate::name::{COMPONENT_BYTES_MAX, NAME_BYTES_MAX, ROOT};

/// What an entry is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One of the [`OPENING`] entries.
    Opening(usize),
    /// A folder, none of the opening ones.
    Folder,
    /// Evidence: below `[root]/`, `data/` or `memory/`.
    Evidence,
    /// `data/items/NNNNNN.jsonl`.
    Items(u64),
    /// `data/custody/NNNNNN.jsonl`.
    Custody(u64),
    /// `bag-info.txt`.
    BagInfo,
    /// `manifest-sha256.txt`.
    PayloadManifest,
    /// A checkpoint's entry.
    Checkpoint(u64, Part),
    /// `tagmanifest-sha256.txt`.
    TagManifest,
    /// Its signature.
    TagSignature,
}

/// A checkpoint's entries, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Folder,
    Manifest,
    Json,
    Signature,
    Index,
    Pad,
}

/// The entries that every bundle begins with.
pub(super) const OPENING: [&str; 7] =
    ["bagit.txt", "uac.log", "bundle.json", "[root]/", "[root]/etc/", "[root]/run/", "[root]/var/"];

/// What a name stands for, or why it may not stand anywhere.
pub(super) fn of_name(name: &str) -> Result<Place, &'static str> {
    bearable(name)?;
    if let Some(number) = OPENING.iter().position(|opening| *opening == name) {
        return Ok(Place::Opening(number));
    }
    match name {
        "bag-info.txt" => return Ok(Place::BagInfo),
        "manifest-sha256.txt" => return Ok(Place::PayloadManifest),
        "tagmanifest-sha256.txt" => return Ok(Place::TagManifest),
        "tagmanifest-sha256.txt.sig" => return Ok(Place::TagSignature),
        "data/" | "memory/" | "checkpoints/" => return Ok(Place::Folder),
        _ => {}
    }
    if let Some(rest) = name.strip_prefix("checkpoints/") {
        return of_checkpoint(rest).ok_or("it may not stand under checkpoints/");
    }
    if !["data/", "memory/", ROOT].iter().any(|top| name.starts_with(top)) {
        return Err("it may not stand at the top");
    }
    if name.ends_with('/') {
        return Ok(Place::Folder);
    }
    let set = |folder| number(name.strip_prefix(folder)?.strip_suffix(".jsonl")?);
    Ok(match (set("data/items/"), set("data/custody/")) {
        (Some(seq), _) => Place::Items(seq),
        (_, Some(seq)) => Place::Custody(seq),
        _ if name.starts_with("data/items/") || name.starts_with("data/custody/") => {
            return Err("only numbered sets may stand there");
        }
        _ => Place::Evidence,
    })
}

fn of_checkpoint(rest: &str) -> Option<Place> {
    let (seq, file) = rest.split_once('/')?;
    let part = match file {
        "" => Part::Folder,
        "manifest-sha256.txt" => Part::Manifest,
        "checkpoint.json" => Part::Json,
        "checkpoint.json.sig" => Part::Signature,
        "index.zipdir" => Part::Index,
        "pad" => Part::Pad,
        _ => return None,
    };
    Some(Place::Checkpoint(number(seq)?, part))
}

/// A sequence number as six digits, from 1.
fn number(text: &str) -> Option<u64> {
    let six_digits = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| six_digits && *number > 0)
}

/// Refuses a name that is too long, leads elsewhere, or that a terminal, a manifest or bagit would misread.
fn bearable(name: &str) -> Result<(), &'static str> {
    if name.len() > NAME_BYTES_MAX {
        return Err("it is longer than 2048 bytes");
    }
    let path = name.strip_suffix('/').unwrap_or(name);
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("it leads out of the extraction folder");
    }
    if path.split('/').any(|part| part.len() > COMPONENT_BYTES_MAX) {
        return Err("a part of it is longer than 255 bytes");
    }
    let mut escaped = String::with_capacity(name.len());
    crate::name::escape(name.as_bytes(), &mut escaped);
    if escaped != name || name.trim_end() != name {
        return Err("it holds characters that the format escapes");
    }
    Ok(())
}

/// True when the first bytes of a name that was cut can still become a name.
pub(super) fn may_begin_a_name(bytes: &[u8]) -> bool {
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => return may_begin_a_name(&bytes[..error.valid_up_to()]),
        Err(_) => return false,
    };
    !text.chars().any(|character| character.is_control() || matches!(character, '\u{2028}' | '\u{2029}'))
}

/// The folder of an entry, with its slash; `None` at the top.
pub(super) fn parent(name: &str) -> Option<&str> {
    let path = name.strip_suffix('/').unwrap_or(name);
    path.rfind('/').map(|slash| &name[..=slash])
}

/// True for entries whose bytes are signed one by one, or not at all: always stored, with known sizes, so that there is
/// one way to write them. (A deflate stream has many.)
pub(super) fn is_always_stored(place: Option<Place>) -> bool {
    matches!(
        place,
        Some(
            Place::Folder
                | Place::Checkpoint(_, Part::Folder | Part::Json | Part::Signature | Part::Index | Part::Pad)
                | Place::TagManifest
                | Place::TagSignature
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_names_stand_at_the_top_and_under_checkpoints() {
        for (name, place) in [
            ("bagit.txt", Place::Opening(0)),
            ("[root]/etc/", Place::Opening(4)),
            ("[root]/etc/passwd", Place::Evidence),
            ("data/volatile/", Place::Folder),
            ("data/items/000012.jsonl", Place::Items(12)),
            ("checkpoints/000001/", Place::Checkpoint(1, Part::Folder)),
            ("checkpoints/000001/index.zipdir", Place::Checkpoint(1, Part::Index)),
            ("memory/x.lime", Place::Evidence),
        ] {
            assert_eq!(of_name(name), Ok(place), "{name}");
        }
        for name in [
            "",
            "/",
            "fs/",
            "uploads.json",
            "c/x",
            "allowed_signers",
            "data",
            "[root]",
            "/etc/passwd",
            "../x",
            "data/../x",
            "data//x",
            "data/./x",
            "data/..",
            "[root]/a\nb",
            "[root]/a\u{9b}31m",
            "[root]/%0Ax",
            "checkpoints/000001/added",
            "checkpoints/1/pad",
            "checkpoints/000000/pad",
            "checkpoints/+00001/pad",
            "checkpoints/x",
            "data/items/1.jsonl",
            "data/custody/000001.jsonl/x",
        ] {
            assert!(of_name(name).is_err(), "{name:?}");
        }
        assert!(of_name(&format!("data/{}", "x".repeat(255))).is_ok());
        assert!(of_name(&format!("data/{}", "x".repeat(256))).is_err());
        assert!(of_name(&format!("data/{}y", "x/".repeat(1021))).is_ok());
        assert!(of_name(&format!("data/{}y", "x/".repeat(1022))).is_err());
    }

    #[test]
    fn parents() {
        assert_eq!(parent("a"), None);
        assert_eq!(parent("a/"), None);
        assert_eq!(parent("a/b"), Some("a/"));
        assert_eq!(parent("a/b/"), Some("a/"));
    }
}
