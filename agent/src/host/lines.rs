//! The lines of a text file that may be long, compressed, and without a single end of line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};

use super::compressed;

/// The longest line that is kept; the rest of it is passed over.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// A line, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number, from 1; absent when the beginning of the file was left out.
    pub number: Option<u64>,
    /// Its bytes, at most [`LINE_BYTES_MAX`] of them.
    pub bytes: &'a [u8],
    /// How many bytes of the text it took, its end included.
    pub text_bytes: u64,
}

/// Reads lines. See the module.
pub struct Lines {
    reader: Box<dyn BufRead>,
    line: Vec<u8>,
    number: Option<u64>,
    left: u64,
    is_compressed: bool,
    /// What was left out, if anything was.
    pub left_out: Option<String>,
}

impl Lines {
    /// The lines of a file that has `size` bytes: of one that is not compressed the last `bytes_max` bytes, of one that
    /// is the first.
    ///
    /// # Errors
    /// As read(2); `Unsupported` for what is compressed in a way that is not decoded here.
    pub fn open(mut file: File, size: u64, bytes_max: u64) -> io::Result<Self> {
        let mut head = [0; 6];
        let got = file.read(&mut head)?;
        file.seek(SeekFrom::Start(0))?;
        let compression = compressed::by_magic(head.get(..got).unwrap_or_default())?;
        let mut left_out = None;
        let is_late = compression.is_none() && size > bytes_max;
        if is_late {
            file.seek(SeekFrom::Start(size - bytes_max))?;
            left_out = Some(format!("of {size} bytes the last {bytes_max} are read"));
        }
        let (reader, compression) = compressed::open(file)?;
        // What comes after the size that the file had is for the next run: else a file that grows has no end.
        let is_compressed = compression.is_some();
        let left = if is_compressed { bytes_max } else { size.min(bytes_max) };
        let reader = Box::new(BufReader::with_capacity(64 << 10, reader.take(left.saturating_add(1))));
        let mut lines =
            Self { reader, line: Vec::new(), number: (!is_late).then_some(0), left, is_compressed, left_out };
        if is_late {
            lines.read()?;
        }
        Ok(lines)
    }

    /// The next line.
    ///
    /// # Errors
    /// As read(2), and when what is compressed is damaged.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        let text_bytes = self.read()?;
        if text_bytes == 0 {
            return Ok(None);
        }
        self.number = self.number.map(|number| number + 1);
        let bytes = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        Ok(Some(Line { number: self.number, bytes, text_bytes }))
    }

    fn read(&mut self) -> io::Result<u64> {
        self.line.clear();
        let mut done = 0;
        loop {
            if self.left == 0 {
                if self.is_compressed && self.left_out.is_none() && !self.reader.fill_buf()?.is_empty() {
                    self.left_out = Some("what comes after the limit of bytes is not read".to_owned());
                }
                break;
            }
            let there = self.reader.fill_buf()?;
            let there = there.get(..usize::try_from(self.left).unwrap_or(usize::MAX)).unwrap_or(there);
            if there.is_empty() {
                break;
            }
            let end = there.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            let taken = there.get(..end.unwrap_or(there.len())).unwrap_or_default();
            let room = (LINE_BYTES_MAX + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(taken.get(..room).unwrap_or(taken));
            let taken = taken.len();
            self.reader.consume(taken);
            done += taken as u64;
            self.left -= taken as u64;
            if end.is_some() {
                break;
            }
        }
        self.line.truncate(LINE_BYTES_MAX + 1);
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    type Numbered = Vec<(Option<u64>, Vec<u8>)>;

    fn all(content: &[u8], bytes_max: u64) -> (Numbered, Option<String>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        let mut lines = Lines::open(file, content.len() as u64, bytes_max).unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            all.push((line.number, line.bytes.to_vec()));
        }
        (all, lines.left_out)
    }

    #[test]
    fn lines_are_numbered_and_the_last_needs_no_end() {
        let (lines, left_out) = all(b"a\r\n\n\xffb", 100);
        assert_eq!(lines, [(Some(1), b"a".to_vec()), (Some(2), Vec::new()), (Some(3), b"\xffb".to_vec())]);
        assert_eq!(left_out, None);
        assert_eq!(all(b"", 100).0, []);
    }

    #[test]
    fn of_a_long_file_the_end_is_read_from_the_next_line_on() {
        let (lines, left_out) = all(b"first\nsecond\nthird\n", 10);
        assert_eq!(lines, [(None, b"third".to_vec())]);
        assert_eq!(left_out.unwrap(), "of 19 bytes the last 10 are read");
    }

    #[test]
    fn a_line_without_end_is_cut_and_passed_over() {
        let mut content = vec![b'x'; 3 * LINE_BYTES_MAX];
        content.extend_from_slice(b"\nnext\n");
        let (lines, _) = all(&content, u64::MAX);
        assert_eq!((lines.len(), lines[0].1.len(), lines[1].1.as_slice()), (2, LINE_BYTES_MAX + 1, b"next".as_slice()));
    }

    #[test]
    fn a_compressed_file_is_decoded_to_the_limit() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"one\ntwo\nthree\n").unwrap();
        let content = gzip.finish().unwrap();
        let (lines, left_out) = all(&content, 8);
        assert_eq!(lines, [(Some(1), b"one".to_vec()), (Some(2), b"two".to_vec())]);
        assert!(left_out.is_some());
        assert_eq!(
            all(&content, 14),
            (vec![(Some(1), b"one".to_vec()), (Some(2), b"two".to_vec()), (Some(3), b"three".to_vec())], None)
        );
    }
}
