//! Words and numbers of the tables that the kernel prints: bytes in, no allocation, no regular expression.
//!
//! The tables of `/proc` are columns between blanks. What does not read as a number is `None`: a hostile or a newer
//! kernel line is then shown as it stands, and never a panic.

/// The words of one line, between blanks.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Words<'a> {
    /// The words of `line`.
    pub fn of(line: &'a [u8]) -> Self {
        Self { rest: line }
    }

    /// What stands after the words taken so far, from the blank on.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next word as a decimal number.
    pub fn decimal(&mut self) -> Option<u64> {
        self.next().and_then(decimal)
    }

    /// The next word as a decimal number with an optional minus.
    pub fn signed(&mut self) -> Option<i64> {
        self.next().and_then(signed)
    }

    /// The next word as a hexadecimal number without `0x`.
    pub fn hex(&mut self) -> Option<u64> {
        self.next().and_then(hex)
    }

    /// The next word as a pair `a:b`.
    pub fn pair(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        split_at(self.next()?, b':')
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.rest.iter().position(|&byte| !is_blank(byte))?;
        let rest = self.rest.get(start..)?;
        let end = rest.iter().position(|&byte| is_blank(byte)).unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        Some(word)
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// `a`, `b` of `a<mark>b`.
pub fn split_at(bytes: &[u8], mark: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == mark)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

/// A decimal number, all of `digits`.
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, &digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A decimal number that may be negative.
pub fn signed(digits: &[u8]) -> Option<i64> {
    match digits.split_first() {
        Some((b'-', digits)) => i64::try_from(decimal(digits)?).ok()?.checked_neg(),
        _ => i64::try_from(decimal(digits)?).ok(),
    }
}

/// A hexadecimal number of at most 64 bits, all of `digits`.
pub fn hex(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0u64, |number, &digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            b'A'..=b'F' => digit - b'A' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(digit))
    })
}

/// The number of `name:[number]`, as the links under `/proc/PID/ns` and `/proc/PID/fd` show kernel objects.
pub fn bracketed(link: &[u8], name: &[u8]) -> Option<u64> {
    let rest = link.strip_prefix(name)?.strip_prefix(b":[")?;
    decimal(rest.strip_suffix(b"]")?)
}

/// The lines of a table, without their ends.
pub fn lines(table: &[u8]) -> impl Iterator<Item = &[u8]> {
    table.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers() {
        let mut words = Words::of(b"  12: 0100007F:1F90\t-3 x");
        assert_eq!(words.next(), Some(b"12:".as_slice()));
        assert_eq!(words.pair(), Some((b"0100007F".as_slice(), b"1F90".as_slice())));
        assert_eq!(words.signed(), Some(-3));
        assert_eq!(words.decimal(), None);
        assert_eq!(words.next(), None);
    }

    #[test]
    fn what_overflows_or_is_no_number_is_none() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(decimal(b"18446744073709551616"), None);
        assert_eq!(hex(b"FFFFFFFFFFFFFFFF"), Some(u64::MAX));
        assert_eq!(hex(b"10000000000000000"), None);
        assert_eq!(decimal(b""), None);
        assert_eq!(decimal(b"1/"), None);
        assert_eq!(hex(b"0g"), None);
    }

    #[test]
    fn brackets() {
        assert_eq!(bracketed(b"socket:[77]", b"socket"), Some(77));
        assert_eq!(bracketed(b"socket:[77] (deleted)", b"socket"), None);
        assert_eq!(bracketed(b"/tmp/socket:[77]", b"socket"), None);
    }
}
