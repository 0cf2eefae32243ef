//! File capabilities: the attribute `security.capability` (capabilities(7), include/uapi/linux/capability.h) in the words
//! of cap_to_text(3).

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bundle::item::Meta;

use super::capabilities;

/// The attribute's name.
pub const NAME: &str = "security.capability";

/// What a program gets when it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileCapabilities {
    /// Permitted, whoever runs it.
    pub permitted: u64,
    /// Permitted if the caller's inheritable set has them.
    pub inheritable: u64,
    /// True when they are effective at once.
    pub is_effective: bool,
    /// The user who is root of the user namespace that they count in (version 3).
    pub root_uid: Option<u32>,
}

impl FileCapabilities {
    /// Reads the attribute's bytes: little-endian, of version 1, 2 or 3.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let word = |at: usize| value.get(at * 4..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let magic = word(0)?;
        let (words, has_root) = match (magic >> 24, value.len()) {
            (1, 12) => (1, false),
            (2, 20) => (2, false),
            (3, 24) => (2, true),
            _ => return None,
        };
        let set = |first: usize| {
            let low = u64::from(word(first)?);
            let high = if words == 2 { u64::from(word(first + 2)?) } else { 0 };
            Some(low | high << 32)
        };
        Some(Self {
            permitted: set(1)?,
            inheritable: set(2)?,
            is_effective: magic & 1 != 0,
            root_uid: if has_root { word(5) } else { None },
        })
    }

    /// Those of an object whose attributes were read.
    pub fn of(meta: &Meta) -> Option<Self> {
        Self::parse(&BASE64_STANDARD.decode(meta.xattrs_b64.get(NAME)?).ok()?)
    }
}

impl fmt::Display for FileCapabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups = Vec::new();
        let names = |mask: u64| capabilities::names(mask).join(",").to_ascii_lowercase();
        let effective = if self.is_effective { "e" } else { "" };
        for (mask, flags) in [
            (self.permitted & self.inheritable, format!("{effective}ip")),
            (self.permitted & !self.inheritable, format!("{effective}p")),
            (self.inheritable & !self.permitted, format!("{effective}i")),
        ] {
            if mask != 0 {
                groups.push(format!("{}={flags}", names(mask)));
            }
        }
        f.write_str(&groups.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_words() {
        let value = |magic: u32, words: &[u32]| {
            let all = [&[magic], words].concat();
            all.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>()
        };
        let text = |bytes: &[u8]| FileCapabilities::parse(bytes).map(|found| found.to_string());
        assert_eq!(text(&value(0x0200_0001, &[1 << 7, 0, 0, 0])).unwrap(), "cap_setuid=ep");
        assert_eq!(
            text(&value(0x0200_0000, &[1 << 13 | 1 << 12, 1 << 12, 1 << 7, 0])).unwrap(),
            "cap_net_admin=ip cap_net_raw,cap_bpf=p"
        );
        assert_eq!(text(&value(0x0100_0001, &[1, 0])).unwrap(), "cap_chown=ep");
        let of_namespace = FileCapabilities::parse(&value(0x0300_0001, &[1 << 7, 0, 0, 0, 1000])).unwrap();
        assert_eq!(of_namespace.root_uid, Some(1000));
        for bad in [&value(0x0200_0001, &[1])[..], &value(0x0400_0001, &[1, 0, 0, 0]), b"", b"\x01"] {
            assert_eq!(FileCapabilities::parse(bad), None);
        }
    }
}
