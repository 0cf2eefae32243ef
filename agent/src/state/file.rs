//! Small files of the state folder: replaced whole or not at all, and read with a bound.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Replaces `folder/name` by `bytes`; on the medium before this returns when it is `durable`.
///
/// # Errors
/// As the file system has them; the old content is then still there.
pub fn put(folder: &Path, name: &str, bytes: &[u8], durable: bool) -> io::Result<()> {
    let draft = folder.join(format!("{name}.{}", std::process::id()));
    let _ = fs::remove_file(&draft);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        if durable { file.sync_all() } else { Ok(()) }
    })();
    if let Err(error) = written.and_then(|()| fs::rename(&draft, folder.join(name))) {
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    if durable { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// The text of `path`, of at most `bytes_max`; `None` when there is no such file.
///
/// # Errors
/// As the file system has them; a longer file and one that is not UTF-8 are errors as well.
pub fn get(path: &Path, bytes_max: u64) -> io::Result<Option<String>> {
    match File::open(path) {
        Ok(file) => read(file, bytes_max).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The text of a file that others may read and nobody but root and this user may change.
///
/// # Errors
/// As [`get`]; `PermissionDenied` when somebody else may have changed it.
pub fn get_trusted(path: &Path, bytes_max: u64) -> io::Result<Option<String>> {
    get_guarded(path, bytes_max, 0o022, "others may change it")
}

/// The text of a file that nobody but root and this user may read or change: it is a secret.
///
/// # Errors
/// As [`get`]; `PermissionDenied` when somebody else may have read or changed it.
pub fn get_private(path: &Path, bytes_max: u64) -> io::Result<Option<String>> {
    get_guarded(path, bytes_max, 0o077, "others may read or change it")
}

fn get_guarded(path: &Path, bytes_max: u64, forbidden: u32, what: &str) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    let (uid, mode) = (meta.uid(), meta.mode() & 0o7777);
    let is_ours = uid == 0 || uid == rustix::process::geteuid().as_raw();
    if !is_ours || mode & forbidden != 0 {
        let what = format!("{what} (owner {uid}, mode {mode:o})");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    read(file, bytes_max).map(Some)
}

fn read(file: File, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    file.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {bytes_max} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_replaced_whole_and_read_with_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        assert_eq!(get(&path, 4).unwrap(), None);
        put(folder.path(), "x", b"1234", true).unwrap();
        put(folder.path(), "x", b"5678", false).unwrap();
        assert_eq!(get(&path, 4).unwrap().as_deref(), Some("5678"));
        assert_eq!(get(&path, 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_others_may_change_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "x", b"", false).unwrap();
        let path = folder.path().join("x");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
        assert_eq!(get_trusted(&path, 4).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(get_trusted(&path, 4).unwrap().as_deref(), Some(""));
    }
}
