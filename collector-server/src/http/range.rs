//! One byte range of a request (RFC 9110, section 14).

use std::ops::Range;

/// What a `Range` header asks of a content with a known length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// All of it: there is no such header, or one that need not be understood (another unit, several ranges).
    All,
    /// These bytes, at least one.
    Part(Range<u64>),
    /// Bytes that are not there: 416.
    Beyond,
}

/// Reads a `Range` header.
pub fn read(header: Option<&str>, length: u64) -> Asked {
    let Some((first, last)) = header.and_then(one_range) else { return Asked::All };
    let range = match (first, last) {
        (Some(first), Some(last)) if first > last => return Asked::All,
        (Some(first), last) => first..last.map_or(length, |last| last.saturating_add(1).min(length)),
        (None, Some(last)) => length.saturating_sub(last)..length,
        (None, None) => return Asked::All,
    };
    if range.is_empty() { Asked::Beyond } else { Asked::Part(range) }
}

/// The first and the last byte as they are written, each in digits or absent.
fn one_range(header: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = header.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (unit.trim().eq_ignore_ascii_case("bytes") && is_number(first) && is_number(last))
        .then(|| (number(first), number(last)))
}

/// More digits than a u64 has only say: beyond every end.
fn number(digits: &str) -> Option<u64> {
    (!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_the_rfc_has_them() {
        let read = |header| read(Some(header), 10);
        assert_eq!(super::read(None, 10), Asked::All);
        for all in ["bytes=0-1,3-4", "items=0-1", "bytes", "bytes=", "bytes=-", "bytes=5-4", "bytes=a-b", "bytes=+1-2"]
        {
            assert_eq!(read(all), Asked::All, "{all}");
        }
        assert_eq!(read("bytes=0-0"), Asked::Part(0..1));
        assert_eq!(read("Bytes=3-"), Asked::Part(3..10));
        assert_eq!(read("bytes=3-99999999999999999999999"), Asked::Part(3..10));
        assert_eq!(read("bytes=-4"), Asked::Part(6..10));
        assert_eq!(read("bytes=-40"), Asked::Part(0..10));
        for beyond in ["bytes=10-", "bytes=10-11", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(read(beyond), Asked::Beyond, "{beyond}");
        }
        assert_eq!(super::read(Some("bytes=0-"), 0), Asked::Beyond);
    }
}
