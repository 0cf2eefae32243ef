//! Server-sent events (WHATWG HTML, section 9.2), as far as one event in `data:` lines goes.

use std::io::{self, BufRead, BufReader, Read};

/// The longest event that is taken.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// What the stream says.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// An event's data.
    Event(String),
    /// Only that it is still there.
    Alive,
}

/// A stream of events.
pub struct Events<R>(BufReader<R>);

impl<R: Read> Events<R> {
    /// Reads events from here.
    pub fn new(source: R) -> Self {
        Self(BufReader::new(source))
    }

    /// The next thing that is said; `None` at the end. An event that is cut by the end was not said.
    ///
    /// # Errors
    /// When reading fails, and for an event that is longer than any.
    pub fn next(&mut self) -> io::Result<Option<Said>> {
        let mut data: Option<String> = None;
        loop {
            let mut line = Vec::new();
            let read = Read::by_ref(&mut self.0).take(EVENT_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
            if read == 0 || line.last() != Some(&b'\n') && read < EVENT_BYTES_MAX {
                return Ok(None);
            }
            if line.last() != Some(&b'\n') || data.as_ref().map_or(0, String::len) + read > EVENT_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "an event is longer than this version takes"));
            }
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                if let Some(data) = data.take() {
                    return Ok(Some(Said::Event(data)));
                }
            } else if line.starts_with(':') {
                return Ok(Some(Said::Alive));
            } else if let Some(piece) = line.strip_prefix("data:") {
                let piece = piece.strip_prefix(' ').unwrap_or(piece);
                match &mut data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(piece);
                    }
                    None => data = Some(piece.to_owned()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> io::Result<Vec<Said>> {
        let mut events = Events::new(text);
        let mut said = Vec::new();
        while let Some(next) = events.next()? {
            said.push(next);
        }
        Ok(said)
    }

    #[test]
    fn events_end_with_an_empty_line() {
        let text =
            b":\n\nevent: order\ndata: {\"a\":\ndata:1}\nid: 7\n\n: keep-alive\r\n\r\ndata: x\r\n\r\ndata: cut\n";
        let event = |text: &str| Said::Event(text.to_owned());
        assert_eq!(all(text).unwrap(), [Said::Alive, event("{\"a\":\n1}"), Said::Alive, event("x")]);
        assert_eq!(all(b"").unwrap(), []);
    }

    #[test]
    fn an_event_has_a_bound() {
        let line = |length: usize| [b"data:", &vec![b'x'; length][..], b"\n\n"].concat();
        assert_eq!(all(&line(EVENT_BYTES_MAX - 6)).unwrap().len(), 1);
        assert!(all(&line(EVENT_BYTES_MAX - 5)).is_err());
        assert!(all(&b"data: 0123456789\n".repeat(EVENT_BYTES_MAX / 10)).is_err());
    }
}
