//! The two messages of ssh-agent(1) that signing takes: which keys are there, and sign this (draft-miller-ssh-agent).
//!
//! Own code: the crate for it brings RSA and three ECDSA curves into every build, and waits for ever.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use ssh_key::public::KeyData;
use ssh_key::{PublicKey, Signature};

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
/// OpenSSH's own limit.
const MESSAGE_BYTES_MAX: u32 = 256 << 10;
/// A person may have to confirm, or to touch a security key.
const WAIT: Duration = Duration::from_mins(2);

/// A connection to an agent.
pub struct Client(UnixStream);

/// Why the agent did not do it. One variant for each thing that a person can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be reached, or it went away.
    #[error("ssh-agent does not answer")]
    Io(#[from] io::Error),
    /// It refused: locked, or somebody said no.
    #[error("ssh-agent refused")]
    Refused,
    /// It says something that is not the protocol.
    #[error("ssh-agent answered something that is not its protocol")]
    Malformed,
}

impl Client {
    /// Connects to the agent that listens at `socket`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn connect(socket: &Path) -> Result<Self, Error> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(WAIT))?;
        stream.set_write_timeout(Some(WAIT))?;
        Ok(Self(stream))
    }

    /// The keys that the agent holds. Certificates, and kinds of keys that are not known here, are left out.
    ///
    /// # Errors
    /// [`Error`].
    pub fn keys(&mut self) -> Result<Vec<PublicKey>, Error> {
        let answer = self.ask(IDENTITIES_ANSWER, &[REQUEST_IDENTITIES])?;
        let mut rest = answer.as_slice();
        let count = take_u32(&mut rest)?;
        let mut keys = Vec::new();
        for _ in 0..count {
            let blob = take_string(&mut rest)?;
            let comment = take_string(&mut rest)?;
            if let Ok(mut key) = PublicKey::from_bytes(blob) {
                key.set_comment(String::from_utf8_lossy(comment));
                keys.push(key);
            }
        }
        Ok(keys)
    }

    /// The signature of `message` by `key`.
    ///
    /// # Errors
    /// [`Error`].
    pub fn sign(&mut self, key: &KeyData, message: &[u8]) -> Result<Signature, Error> {
        let blob = PublicKey::from(key.clone()).to_bytes().map_err(|_| Error::Malformed)?;
        let mut request = vec![SIGN_REQUEST];
        put_string(&mut request, &blob);
        put_string(&mut request, message);
        request.extend(0_u32.to_be_bytes());
        let answer = self.ask(SIGN_RESPONSE, &request)?;
        let mut rest = answer.as_slice();
        Signature::try_from(take_string(&mut rest)?).map_err(|_| Error::Malformed)
    }

    /// Sends a request; returns what follows the type of the answer, when it is the wanted one.
    fn ask(&mut self, wanted: u8, request: &[u8]) -> Result<Vec<u8>, Error> {
        let mut message = Vec::with_capacity(request.len() + 4);
        put_string(&mut message, request);
        self.0.write_all(&message)?;
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > MESSAGE_BYTES_MAX {
            return Err(Error::Malformed);
        }
        let mut answer = Vec::new();
        Read::by_ref(&mut self.0).take(u64::from(length)).read_to_end(&mut answer)?;
        match answer.split_first() {
            Some((kind, rest)) if *kind == wanted && answer.len() == length as usize => Ok(rest.to_vec()),
            Some((&FAILURE, _)) => Err(Error::Refused),
            _ => Err(Error::Malformed),
        }
    }
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    // Nothing that is sent comes near 4 GiB: an order is at most 256 KiB, and only its digest is signed.
    out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(bytes);
}

fn take_u32(rest: &mut &[u8]) -> Result<u32, Error> {
    let (number, after) = rest.split_first_chunk::<4>().ok_or(Error::Malformed)?;
    *rest = after;
    Ok(u32::from_be_bytes(*number))
}

fn take_string<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Error> {
    let length = take_u32(rest)? as usize;
    let (string, after) = rest.split_at_checked(length).ok_or(Error::Malformed)?;
    *rest = after;
    Ok(string)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// What the client makes of an agent that answers `answer` to whatever it is asked.
    fn keys_after(answer: &'static [u8]) -> Result<Vec<PublicKey>, Error> {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 5]).unwrap();
            stream.write_all(answer).unwrap();
        });
        let keys = Client::connect(&dir.path().join("s")).unwrap().keys();
        thread.join().unwrap();
        keys
    }

    #[test]
    fn an_agent_that_lies_costs_nothing() {
        assert!(keys_after(&[0, 0, 0, 5, 12, 0, 0, 0, 0]).unwrap().is_empty());
        assert!(matches!(keys_after(&[0, 0, 0, 1, 5]), Err(Error::Refused)));
        for answer in [
            &[0, 0, 0, 0][..],
            &[255, 255, 255, 255, 12],
            &[0, 0, 0, 9, 12, 0],
            &[0, 0, 0, 5, 12, 255, 255, 255, 255],
            &[0, 0, 0, 9, 12, 0, 0, 0, 1, 255, 255, 255, 255],
            &[0, 0, 0, 1, 14],
        ] {
            assert!(matches!(keys_after(answer), Err(Error::Malformed)), "{answer:?}");
        }
    }
}
