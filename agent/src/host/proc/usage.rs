//! `/proc/PID/limits`, `io` and `statm`: what a process may use and what it has used.

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

use super::super::text::{Number, Text, decimal, key_value};

/// Columns of `limits`, in bytes: the kernel prints `%-25s %-20s %-20s %-10s` (fs/proc/base.c).
const NAME_BYTES: usize = 25;
/// Lines of a file that are kept at most; the kernel writes 16 and 7.
const LINES_MAX: usize = 64;

/// `limits` as an object: the kernel's name to `[soft, hard, unit]`, a limit being a number or `unlimited`.
#[derive(Clone, Debug)]
pub struct Limits<'a>(Vec<(&'a [u8], &'a [u8])>);

impl<'a> Limits<'a> {
    /// Parses the file. A line that is not in columns is kept whole as a name.
    pub fn of(file: &'a [u8]) -> Self {
        let lines = file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let mut limits: Vec<_> = lines
            .filter(|line| !line.starts_with(b"Limit "))
            .take(LINES_MAX)
            .map(|line| {
                let (name, rest) = line.split_at_checked(NAME_BYTES).unwrap_or((line, b""));
                (name.trim_ascii_end(), rest)
            })
            .collect();
        limits.sort_unstable();
        Self(limits)
    }
}

/// A limit: a number, or the kernel's word.
#[derive(schemars::JsonSchema, Serialize)]
#[serde(untagged)]
enum Limit<'a> {
    Number(Number),
    Word(Text<'a>),
}

impl Serialize for Limits<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, rest) in &self.0 {
            let mut words = rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            let mut limit = || {
                let word = words.next().unwrap_or_default();
                Number::parse(word).map_or(Limit::Word(Text(word)), Limit::Number)
            };
            let (soft, hard) = (limit(), limit());
            let unit = Text(words.next().unwrap_or_default());
            map.serialize_entry(&Text(name), &(soft, hard, unit))?;
        }
        map.end()
    }
}

/// Lines `name: number` as an object, sorted by name: `io`.
#[derive(Clone, Debug)]
pub struct Counters<'a>(Vec<(&'a [u8], &'a [u8])>);

impl<'a> Counters<'a> {
    /// Parses the file. A value that is no number is kept as text.
    pub fn of(file: &'a [u8]) -> Self {
        let lines = file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let mut counters: Vec<_> = lines.take(LINES_MAX).map(|line| key_value(line).unwrap_or((line, b""))).collect();
        counters.sort_unstable();
        Self(counters)
    }
}

impl Serialize for Counters<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            match Number::parse(value) {
                Some(number) => map.serialize_entry(&Text(name), &number)?,
                None => map.serialize_entry(&Text(name), &Text(value))?,
            }
        }
        map.end()
    }
}

/// `statm`, in pages (proc_pid_statm(5)); `lib` and `dt` are zero since 2.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema, Serialize)]
pub struct Memory {
    data: u64,
    dt: u64,
    lib: u64,
    resident: u64,
    shared: u64,
    size: u64,
    text: u64,
}

impl Memory {
    /// Parses the line.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let mut numbers = line.trim_ascii().split(|byte| *byte == b' ').map(decimal);
        let mut next = || numbers.next().flatten();
        Some(Self {
            size: next()?,
            resident: next()?,
            shared: next()?,
            text: next()?,
            lib: next()?,
            data: next()?,
            dt: next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_by_their_columns() {
        let file = b"Limit                     Soft Limit           Hard Limit           Units     
Max stack size            8388608              unlimited            bytes     
Max nice priority         0                    0                    
odd
";
        let json = serde_json::to_string(&Limits::of(file)).unwrap();
        assert_eq!(
            json,
            r#"{"Max nice priority":[0,0,""],"Max stack size":[8388608,"unlimited","bytes"],"odd":["","",""]}"#
        );
    }

    #[test]
    fn counters_and_pages() {
        let json = serde_json::to_string(&Counters::of(b"wchar: 2\nrchar: 1\nnew: x\n")).unwrap();
        assert_eq!(json, r#"{"new":"x","rchar":1,"wchar":2}"#);
        let memory = Memory::parse(b"765 436 407 5 0 123 0\n").unwrap();
        assert_eq!((memory.size, memory.resident, memory.data), (765, 436, 123));
        assert_eq!(Memory::parse(b"765 436"), None);
    }
}
