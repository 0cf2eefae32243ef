//! A stream that was encrypted, on its way back: what age authenticates, and how it ended.
//!
//! A file that was cut still gives all its whole blocks. Its end cannot be told from a last block that was changed: that
//! a transport checkpoint says.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use age::Decryptor;
use age::stream::StreamReader;

use super::{BLOCK_BYTES, Keys};

/// The header of an age file: a stanza for each recipient.
const HEADER_BYTES_MAX: u64 = 64 << 10;
/// A block with what authenticates it.
const SEALED_BLOCK_BYTES: u64 = BLOCK_BYTES + 16;

/// Why nothing can be decrypted. One variant for each thing that a caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum DecryptError {
    /// It is encrypted to others.
    #[error("none of the keys opens it")]
    NoKey,
    /// Its header was changed.
    #[error("the header of the age file was changed")]
    Changed,
    /// It ends within its header.
    #[error("the age file ends within its header")]
    Cut,
    /// It is no age file of this version.
    #[error("it is no age file that can be read")]
    Unreadable,
    /// Reading failed.
    #[error("the age file could not be read")]
    Io(#[source] io::Error),
}

/// How the ciphertext ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With its last block.
    Whole,
    /// Before it.
    Cut,
    /// At a whole block that does not authenticate.
    Changed,
}

/// The plaintext of an age file. It ends where the authenticated part does; how, is for [`crate::verify`] to judge.
pub struct Decrypted<B> {
    plain: StreamReader<Counting<B>>,
    count: Rc<Cell<u64>>,
    /// Where the blocks begin.
    begins: u64,
    ending: Option<Ending>,
}

/// Opens an age file.
///
/// # Errors
/// [`DecryptError`].
pub fn decrypt<B: BufRead>(source: B, keys: &Keys) -> Result<Decrypted<B>, DecryptError> {
    let (count, room) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(HEADER_BYTES_MAX)));
    let counting = Counting { source, count: Rc::clone(&count), room: Rc::clone(&room) };
    let decryptor = Decryptor::new_buffered(counting).map_err(why)?;
    let begins = count.get();
    room.set(u64::MAX);
    let plain = decryptor.decrypt(keys.as_age()).map_err(why)?;
    Ok(Decrypted { plain, count, begins, ending: None })
}

fn why(error: age::DecryptError) -> DecryptError {
    match error {
        age::DecryptError::NoMatchingKeys => DecryptError::NoKey,
        age::DecryptError::InvalidMac | age::DecryptError::DecryptionFailed => DecryptError::Changed,
        age::DecryptError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => DecryptError::Cut,
        age::DecryptError::Io(error) => DecryptError::Io(error),
        _ => DecryptError::Unreadable,
    }
}

impl<B> Decrypted<B> {
    /// How the ciphertext ended; `None` before it did.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.ending
    }
}

impl<B: BufRead> Read for Decrypted<B> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.ending.is_some() {
            return Ok(0);
        }
        let ending = match self.plain.read(buffer) {
            Ok(0) => Ending::Whole,
            Ok(bytes) => return Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ending::Cut,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                // A short block is the last one of a file that was cut. A long one has all its bytes.
                let blocks = self.count.get() - self.begins;
                if blocks.is_multiple_of(SEALED_BLOCK_BYTES) { Ending::Changed } else { Ending::Cut }
            }
            Err(error) => return Err(error),
        };
        self.ending = Some(ending);
        Ok(0)
    }
}

/// Counts what age reads, and holds it to so much.
struct Counting<B> {
    source: B,
    count: Rc<Cell<u64>>,
    room: Rc<Cell<u64>>,
}

impl<B: BufRead> BufRead for Counting<B> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let room = usize::try_from(self.room.get()).unwrap_or(usize::MAX);
        let window = self.source.fill_buf()?;
        Ok(window.get(..room).unwrap_or(window))
    }

    fn consume(&mut self, bytes: usize) {
        self.source.consume(bytes);
        self.count.set(self.count.get() + bytes as u64);
        self.room.set(self.room.get().saturating_sub(bytes as u64));
    }
}

impl<B: BufRead> Read for Counting<B> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let window = self.fill_buf()?;
        let bytes = window.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&window[..bytes]);
        self.consume(bytes);
        Ok(bytes)
    }
}
