//! Bytes of the host on their way into a row: text where they are UTF-8, lossy text with the exact bytes beside it
//! where they are not. Nothing here copies: a row borrows the buffer that the kernel's answer was read into.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use base64::display::Base64Display;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::ser::{Serialize, SerializeSeq as _, Serializer};

/// Bytes shown as text, invalid UTF-8 replaced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text<'a>(pub &'a [u8]);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.serialize_str(&String::from_utf8_lossy(self.0)),
        }
    }
}

/// A borrowed type is documented as the owned one that it is serialised like.
macro_rules! documented_as {
    ($($borrowed:ty => $owned:ty),+ $(,)?) => {$(
        impl JsonSchema for $borrowed {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                <$owned>::schema_name()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                <$owned>::json_schema(generator)
            }
        }
    )+};
}
documented_as! {
    Text<'_> => String,
    Exact<'_> => String,
    List<'_> => Vec<String>,
    Number => i64,
    Device => String,
    super::proc::fdinfo::FlagNames => Vec<String>,
    super::proc::status::Numbers<'_> => Vec<u64>,
    super::proc::stat::Stat<'_> => BTreeMap<String, i64>,
    super::proc::usage::Counters<'_> => BTreeMap<String, i64>,
    super::proc::usage::Limits<'_> => BTreeMap<String, (String, String, String)>,
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.escape_ascii().to_string())
    }
}

/// The exact bytes behind a [`Text`] or a [`List`], in base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exact<'a>(&'a [u8]);

impl<'a> Exact<'a> {
    /// The bytes, when the text alone would not be exact.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        str::from_utf8(bytes).is_err().then_some(Self(bytes))
    }
}

impl Serialize for Exact<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::<'_, '_, GeneralPurpose>::new(self.0, &STANDARD))
    }
}

/// Bytes shown as a list of texts: the parts that `end` ends. The last part may lack its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List<'a> {
    bytes: &'a [u8],
    end: u8,
}

impl<'a> List<'a> {
    /// Parts that end with a zero byte: cmdline and environ of proc(5).
    pub fn zero_ended(bytes: &'a [u8]) -> Self {
        Self { bytes, end: 0 }
    }

    /// Lines.
    pub fn lines(bytes: &'a [u8]) -> Self {
        Self { bytes, end: b'\n' }
    }

    /// Words that one space ends or parts.
    pub fn words(bytes: &'a [u8]) -> Self {
        Self { bytes, end: b' ' }
    }

    /// The parts.
    pub fn parts(self) -> impl Iterator<Item = &'a [u8]> {
        let bytes = self.bytes.strip_suffix(&[self.end]).unwrap_or(self.bytes);
        let parts = if self.bytes.is_empty() { 0 } else { usize::MAX };
        bytes.split(move |byte| *byte == self.end).take(parts)
    }
}

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for part in self.parts() {
            list.serialize_element(&Text(part))?;
        }
        list.end()
    }
}

/// A number as the kernel prints it: a decimal, with a sign or without. It keeps the whole range of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(untagged)]
pub enum Number {
    /// Not negative.
    Unsigned(u64),
    /// Negative.
    Negative(i64),
}

impl Number {
    /// The number that is all of `bytes`.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        match bytes.strip_prefix(b"-") {
            Some(digits) => {
                let value = i64::try_from(decimal(digits)?).ok()?;
                Some(if value == 0 { Self::Unsigned(0) } else { Self::Negative(-value) })
            }
            None => decimal(bytes).map(Self::Unsigned),
        }
    }

    /// The number, if it is not negative.
    pub fn unsigned(self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(value),
            Self::Negative(_) => None,
        }
    }
}

/// The decimal number that is all of `bytes`: digits only, no sign, no overflow.
pub fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The number in `base` that is all of `bytes`.
pub fn in_base(bytes: &[u8], base: u32) -> Option<u64> {
    let text = str::from_utf8(bytes).ok()?;
    if text.starts_with('+') {
        return None;
    }
    u64::from_str_radix(text, base).ok()
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A line `key: value` as its two sides, blanks around the value removed.
pub fn key_value(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (key, value) = line.split_at(colon);
    Some((key, value.get(1..).unwrap_or_default().trim_ascii()))
}

/// A device as `major:minor` in decimal, as in every other record of the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

impl Serialize for Device {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}:{}", self.major, self.minor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[test]
    fn a_list_keeps_empty_parts_and_only_drops_the_last_end() {
        assert_eq!(json(&List::zero_ended(b"sh\0-c\0\0")), r#"["sh","-c",""]"#);
        assert_eq!(json(&List::zero_ended(b"nginx: master")), r#"["nginx: master"]"#);
        assert_eq!(json(&List::zero_ended(b"")), "[]");
        assert_eq!(json(&List::zero_ended(b"\0")), r#"[""]"#);
        assert_eq!(json(&List::lines(b"a\nb\n")), r#"["a","b"]"#);
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_and_kept() {
        assert_eq!(json(&Text(b"a\xffb")), "\"a\u{fffd}b\"");
        assert_eq!(json(&Exact::of(b"a\xffb")), "\"Yf9i\"");
        assert_eq!(Exact::of("ä\n".as_bytes()), None);
    }

    #[test]
    fn numbers_at_their_bounds() {
        assert_eq!(Number::parse(b"18446744073709551615"), Some(Number::Unsigned(u64::MAX)));
        assert_eq!(Number::parse(b"18446744073709551616"), None);
        assert_eq!(Number::parse(b"-1"), Some(Number::Negative(-1)));
        assert_eq!(Number::parse(b"-0"), Some(Number::Unsigned(0)));
        for bad in ["", "-", "+1", "1 ", "0x1", "--1"] {
            assert_eq!(Number::parse(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(in_base(b"02000002", 8), Some(0o2_000_002));
        assert_eq!(in_base(b"+7", 8), None);
    }
}
