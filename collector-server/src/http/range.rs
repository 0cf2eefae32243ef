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

fn one_range(header: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    Some((number(first)?, number(last)?))
}

fn number(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // More digits than a u64 has only say: beyond every end.
    Some(Some(text.parse().unwrap_or(u64::MAX)))
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
