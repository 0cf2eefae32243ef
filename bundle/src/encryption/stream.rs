//! A stream on its way through age: plaintext in, what of the ciphertext is ready out.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use age::Encryptor;
use age::stream::StreamWriter;

use super::{EncryptError, RECIPIENTS_MAX, Recipient, SCHEME};
use crate::encryption::BadRecipient;
use crate::header::Encryption;

/// See the module. age's writer does not give up what it writes to before its end, so that it writes to a buffer that
/// both ends hold.
pub(crate) struct AgeStream {
    writer: StreamWriter<Ready>,
    ready: Ready,
    taken: Vec<u8>,
}

#[derive(Clone, Default)]
struct Ready(Arc<Mutex<Vec<u8>>>);

impl Ready {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Ready {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AgeStream {
    /// Begins a stream for those whom `bundle.json` names. Its header is ready at once.
    ///
    /// # Errors
    /// [`EncryptError`].
    pub(crate) fn to(encryption: &Encryption) -> Result<Self, EncryptError> {
        if encryption.scheme != SCHEME {
            return Err(EncryptError::Scheme(encryption.scheme.clone()));
        }
        if encryption.recipients.len() > RECIPIENTS_MAX {
            return Err(BadRecipient::TooMany.into());
        }
        let parsed = encryption.recipients.iter().map(|line| line.parse()).collect::<Result<Vec<Recipient>, _>>()?;
        let encryptor = Encryptor::with_recipients(parsed.iter().map(Recipient::as_age))
            .map_err(|error| EncryptError::Age(io::Error::other(error.to_string())))?;
        let ready = Ready::default();
        let writer = encryptor.wrap_output(ready.clone()).map_err(EncryptError::Age)?;
        Ok(Self { writer, ready, taken: Vec::new() })
    }

    /// Takes plaintext; answers the ciphertext that is ready, which is nothing until a block is full and one more byte
    /// came.
    pub(crate) fn push(&mut self, plaintext: &[u8]) -> io::Result<&[u8]> {
        self.writer.write_all(plaintext)?;
        self.taken.clear();
        mem::swap(&mut *self.ready.lock(), &mut self.taken);
        Ok(&self.taken)
    }

    /// Ends the stream; answers the rest of the ciphertext.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        self.writer.finish()?;
        Ok(mem::take(&mut *self.ready.lock()))
    }
}
