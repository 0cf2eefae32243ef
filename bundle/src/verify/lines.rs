//! Lines out of pieces, with a bound on each line.

/// Collects the pieces of a line until its LF comes.
pub(super) struct Lines {
    begun: Vec<u8>,
    bytes_max: usize,
    too_long: bool,
}

impl Lines {
    pub fn new(bytes_max: usize) -> Self {
        Self { begun: Vec::new(), bytes_max, too_long: false }
    }

    /// Gives each line that `bytes` completes, without its LF; `None` stands for one that is longer than the bound.
    pub fn feed(&mut self, bytes: &[u8], line: &mut dyn FnMut(Option<&[u8]>)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            self.too_long |= self.begun.len() + text.len() > self.bytes_max;
            if ends && self.begun.is_empty() && !self.too_long {
                line(Some(text));
                continue;
            }
            if !self.too_long {
                self.begun.extend_from_slice(text);
            }
            if ends {
                line(if self.too_long { None } else { Some(&self.begun) });
                self.begun.clear();
                self.too_long = false;
            }
        }
    }

    /// True when the last line is longer than the bound.
    pub fn is_too_long(&self) -> bool {
        self.too_long
    }

    /// True when the last line has no LF.
    pub fn is_open(&self) -> bool {
        !self.begun.is_empty() || self.too_long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        for size in 1..12 {
            let mut lines = Lines::new(4);
            let mut got = Vec::new();
            for piece in b"ab\n\nabcd\nabcde\nx".chunks(size) {
                lines.feed(piece, &mut |line| got.push(line.map(<[u8]>::to_vec)));
            }
            assert_eq!(got, [Some(b"ab".to_vec()), Some(vec![]), Some(b"abcd".to_vec()), None]);
            assert!(lines.is_open());
        }
    }
}
