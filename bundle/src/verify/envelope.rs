//! An encrypted file and the bundle inside, both checked in one pass: the ciphertext is hashed on its way into age, the
//! ZIP on its way out.

use std::io::{self, Read, Write};

use super::book::Book;
use super::finding::code;
use super::report::{Envelope, NotVerified, State, Verified};
use super::sidecar::Seen;
use super::stream::Stream;
use super::walk::Ended;
use super::{Against, Pass};
use crate::encryption::{DecryptError, Decrypted, Ending, Keys, decrypt};

/// Verifies an encrypted bundle, whole or partial: the transport checkpoints against the file as it is, everything else
/// against what is in it. What is decrypted goes to `plain` meanwhile; nothing of it is right before this has said so.
///
/// A file that was cut is partial, as far as age authenticates it. Without transport checkpoints, a last block that was
/// changed looks like one that was cut.
///
/// # Errors
/// [`NotVerified`]: with all findings when it was changed, otherwise with the reason why there is nothing to verify.
/// Failures of `plain` are [`NotVerified::Io`].
pub fn check_encrypted(
    file: impl Read,
    keys: &Keys,
    against: Against,
    plain: &mut dyn Write,
) -> Result<Verified, NotVerified> {
    let (marks, zip_marks) = against.sidecar.map(|sidecar| (sidecar.marks(), sidecar.zip_marks())).unwrap_or_default();
    let mut ciphertext = Stream::new(file, marks);
    let decrypted = match decrypt(&mut ciphertext, keys) {
        Ok(decrypted) => decrypted,
        Err(DecryptError::NoKey) => return Err(NotVerified::NoKey),
        Err(DecryptError::Io(error)) => return Err(NotVerified::Io(error)),
        Err(DecryptError::Changed) => return Err(changed(&mut ciphertext, "its header does not authenticate")?),
        Err(error @ (DecryptError::Cut | DecryptError::Unreadable)) => {
            return Err(NotVerified::NotABundle(error.to_string()));
        }
    };
    let mut zip = Stream::new(Tee { decrypted, plain }, zip_marks);
    let passed = Pass::over(&mut zip);
    let ending = zip.source().decrypted.ending();
    let (zip_reached, zip_bytes) = (zip.reached().to_vec(), zip.position());
    drop(zip);
    let mut pass = match passed {
        Err(NotVerified::NotABundle(_)) if ending == Some(Ending::Changed) => {
            return Err(changed(&mut ciphertext, "its first block does not authenticate")?);
        }
        Err(NotVerified::NotABundle(_)) if ending == Some(Ending::Cut) && zip_bytes == 0 => {
            let why = "the age file ends before its first block is whole: nothing of it can be decrypted";
            return Err(NotVerified::NotABundle(why.to_owned()));
        }
        passed => passed?,
    };
    let at = ciphertext.position();
    match ending {
        Some(Ending::Changed) => {
            let message = "a block of the age file that ends here does not authenticate: it was changed";
            pass.book.findings.add(code::DECRYPTION_FAILED, "the file", at, message);
        }
        Some(Ending::Cut) if pass.ended == Ended::Whole => {
            let message = "there are bytes after the last block of the age file";
            pass.book.findings.add(code::TRAILING_BYTES, "the file", at, message);
        }
        _ => {}
    }
    ciphertext.skip(u64::MAX)?;
    let bytes = ciphertext.position();
    let envelope = Envelope { bytes, is_whole: ending == Some(Ending::Whole) };
    let seen = Seen { reached: ciphertext.reached(), held: bytes, zip: Some((&zip_reached, zip_bytes)) };
    pass.conclude(against, Some(envelope), seen)
}

/// A file of which nothing can be decrypted because it was changed.
fn changed<R: Read>(ciphertext: &mut Stream<R>, message: &str) -> io::Result<NotVerified> {
    let at = ciphertext.position();
    ciphertext.skip(u64::MAX)?;
    let mut book = Book::new();
    book.findings.add(code::DECRYPTION_FAILED, "the file", at, message);
    let mut report = super::report(&book, State::Unverified, Ended::Broken, 0);
    report.envelope = Some(Envelope { bytes: ciphertext.position(), is_whole: false });
    Ok(NotVerified::Rejected(Box::new(report)))
}

/// Passes on what is decrypted, and leaves a copy.
struct Tee<'a, B> {
    decrypted: Decrypted<B>,
    plain: &'a mut dyn Write,
}

impl<B: io::BufRead> Read for Tee<'_, B> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.decrypted.read(buffer)?;
        self.plain.write_all(buffer.get(..bytes).unwrap_or_default())?;
        Ok(bytes)
    }
}
