//! Opening an encrypted bundle: the keys, and the place for what is decrypted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use bundle::encryption::{BadKeys, DecryptError, KEYS_BYTES_MAX, Keys, decrypt};
use bundle::verify::{Report, State};

use crate::commands::{Failure, INPUT, IO, USAGE};
use crate::secret::Secret;

/// The keys in these files; `None` where there is no file.
pub fn keys(files: &[PathBuf]) -> Result<Option<Keys>, Failure> {
    let mut all: Option<Keys> = None;
    for path in files {
        let mut text = String::new();
        let room = KEYS_BYTES_MAX as u64 + 1;
        File::open(path).and_then(|file| file.take(room).read_to_string(&mut text)).map_err(|error| {
            Failure::new(IO, anyhow::Error::new(error).context(format!("{} cannot be read", path.display())))
        })?;
        let mut no_terminal = None;
        let ask = || match Secret::passphrase(&format!("Passphrase of {}", path.display())) {
            Ok(passphrase) => Some(passphrase.reveal().to_owned()),
            Err(failure) => {
                no_terminal = Some(failure);
                None
            }
        };
        let keys = Keys::parse(&text, ask).map_err(|error| match (error, no_terminal) {
            (BadKeys::NoPassphrase, Some(failure)) => failure,
            (error, _) => {
                let error = anyhow::Error::new(error).context(path.display().to_string());
                Failure::new(INPUT, error)
                    .hint("give the file that age-keygen made, or an OpenSSH private key (Ed25519)")
            }
        })?;
        all = Some(match all {
            Some(there) => there.and(keys),
            None => keys,
        });
    }
    Ok(all)
}

/// What is in an encrypted file, for a second pass over it.
pub fn plaintext(path: &Path, keys: &Keys) -> Result<impl Read + use<>, Failure> {
    decrypt(BufReader::new(super::open(path)?), keys).map_err(|error| {
        let code = if matches!(error, DecryptError::Io(_)) { IO } else { INPUT };
        Failure::new(code, anyhow::Error::new(error).context(path.display().to_string()))
    })
}

/// Where the decrypted bundle goes: under another name until it is verified, and nowhere where none was asked for.
pub struct Plain {
    place: Option<(File, PathBuf, PathBuf)>,
}

impl Plain {
    /// Nothing is overwritten.
    pub fn create(output: Option<&Path>) -> Result<Self, Failure> {
        let Some(output) = output else { return Ok(Self { place: None }) };
        if output.exists() {
            return Err(Failure::new(USAGE, anyhow!("{} is there already", output.display()))
                .hint("give --output another name: nothing is ever overwritten"));
        }
        let mut part = output.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).map_err(|error| {
            let error = anyhow::Error::new(error).context(format!("{} cannot be made", part.display()));
            Failure::new(IO, error).hint("one of an attempt that broke off may be removed")
        })?;
        Ok(Self { place: Some((file, part, output.to_owned())) })
    }

    /// It is verified: gives it its name. Of a partial bundle, the part that is an ordinary ZIP file.
    pub fn keep(mut self, report: &Report) -> Result<Option<(PathBuf, u64)>, Failure> {
        let Some((file, part, output)) = &self.place else { return Ok(None) };
        let bytes = match report.state {
            State::Sealed => report.bytes,
            _ => report.boundary.unwrap_or(report.verified_to),
        };
        let kept = file.set_len(bytes).and_then(|()| file.sync_all()).and_then(|()| {
            // Unlike renaming, linking overwrites nothing that came meanwhile.
            fs::hard_link(part, output)?;
            fs::remove_file(part)
        });
        kept.map_err(|error| {
            Failure::new(IO, anyhow::Error::new(error).context(format!("{} cannot be written", output.display())))
        })?;
        let output = output.clone();
        self.place = None;
        Ok(Some((output, bytes)))
    }
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.place {
            Some((file, ..)) => file.write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        if let Some((_, part, _)) = &self.place {
            let _ = fs::remove_file(part);
        }
    }
}
