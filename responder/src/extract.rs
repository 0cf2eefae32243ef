//! Extraction of a verified bundle. Nothing of a host gets a meaning here: links are written as text, no bit is set that
//! makes a file run, and everything is the extractor's own.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use anyhow::Context as _;
use bundle::verify::{EntryRecord, ReadError, Verified, read_entries};

use crate::commands::{Failure, INPUT, IO, USAGE};

/// Writes the verified entries below `dir`, which must be empty or not there. Returns how many.
pub fn extract(verified: &Verified, source: impl Read, dir: &Path) -> Result<u64, Failure> {
    make_ready(dir)?;
    let mut count = 0;
    let written = read_entries(verified, source, |entry| {
        count += 1;
        open(dir, entry)
    });
    match written {
        Ok(()) => Ok(count),
        Err(error @ ReadError::Changed(_)) => Err(Failure::new(1, error).hint(format!(
            "what lies in {} is not verified: remove it, copy the bundle and verify the copy",
            dir.display()
        ))),
        Err(error @ ReadError::Io(_)) => {
            let error = anyhow::Error::new(error).context(format!("extracting to {} failed", dir.display()));
            Err(Failure {
                code: IO,
                error,
                hint: Some("what lies there is incomplete: remove it and try again".into()),
            })
        }
    }
}

fn make_ready(dir: &Path) -> Result<(), Failure> {
    match fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(USAGE, anyhow::anyhow!("{} is not empty", dir.display()))
            .hint("give --extract a folder that is empty or not there: nothing is ever overwritten")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => DirBuilder::new()
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("{} cannot be made", dir.display()))
            .map_err(|error| Failure::new(IO, error)),
        Err(error) => Err(Failure::new(INPUT, error).hint(format!("{} must be a folder", dir.display()))),
    }
}

/// Makes the folder, or opens the file and returns what writes it.
fn open(dir: &Path, entry: &EntryRecord) -> io::Result<Option<impl FnMut(&[u8]) -> io::Result<()> + use<>>> {
    let path = below(dir, entry.name())?;
    if entry.is_folder() {
        DirBuilder::new().mode(0o700).create(path)?;
        return Ok(None);
    }
    // `create_new` follows no link and overwrites nothing, whatever somebody else puts there meanwhile.
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(Some(move |bytes: &[u8]| file.write_all(bytes)))
}

/// The path of an entry. The verifier let through no name that leads elsewhere; this does not rely on it.
fn below(dir: &Path, name: &str) -> io::Result<PathBuf> {
    let relative = PathBuf::from(OsString::from(name));
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if !plain || name.is_empty() || name.contains('\0') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("the entry {name:?} leads out of the folder")));
    }
    Ok(dir.join(relative))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out() {
        let dir = Path::new("/d");
        assert_eq!(below(dir, "a/b").unwrap(), Path::new("/d/a/b"));
        for name in ["", "/", "/etc/passwd", "../x", "a/../../x", "./../x", "a/..", "a\0b"] {
            assert!(below(dir, name).is_err(), "{name:?}");
        }
    }
}
