//! Whether somebody else may replace what this agent believes: a file is as safe as the weakest folder on the way to it,
//! because whoever may write to a folder may put another one in its place.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A folder or file that somebody else than root and this user may change.
#[derive(Debug, thiserror::Error)]
#[error("{} may be changed by others (owner {uid}, mode {mode:o})", path.display())]
pub struct Exposed {
    /// Which.
    pub path: PathBuf,
    /// Its owner.
    pub uid: u32,
    /// Its permissions.
    pub mode: u32,
}

/// The first thing on the way to `path`, itself included, that others may change; by its name and by where links lead it.
/// What is not there is nobody's.
///
/// # Errors
/// As stat(2), except for what is not there.
pub fn exposed(path: &Path) -> io::Result<Option<Exposed>> {
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let named = std::path::absolute(path)?;
    for step in named.ancestors().chain(real.ancestors()) {
        let meta = step.metadata()?;
        let (uid, mode) = (meta.uid(), meta.mode() & 0o7777);
        let is_ours = uid == 0 || uid == rustix::process::geteuid().as_raw();
        // In a sticky folder (/tmp) only the owner of a name may take it away.
        let is_shared = mode & 0o022 != 0 && !(meta.is_dir() && mode & 0o1000 != 0);
        if !is_ours || is_shared {
            return Ok(Some(Exposed { path: step.to_owned(), uid, mode }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn the_weakest_folder_on_the_way_counts() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let deep = root.join("a/b/c");
        fs::create_dir_all(&deep).unwrap();
        symlink(&deep, root.join("link")).unwrap();
        let chmod = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for path in [&deep, &root.join("link"), &root.join("missing")] {
            assert!(exposed(path).unwrap().is_none(), "{}", path.display());
        }
        for mode in [0o775, 0o757, 0o777] {
            chmod(&root.join("a"), mode);
            for path in [deep.clone(), root.join("link")] {
                assert_eq!(exposed(&path).unwrap().unwrap().path, root.join("a"), "{mode:o}");
            }
        }
        chmod(&root.join("a"), 0o1777);
        assert!(exposed(&deep).unwrap().is_none());
        chmod(&deep, 0o1777);
        fs::write(deep.join("file"), "").unwrap();
        chmod(&deep.join("file"), 0o620);
        assert_eq!(exposed(&deep.join("file")).unwrap().unwrap().mode, 0o620);
    }
}
