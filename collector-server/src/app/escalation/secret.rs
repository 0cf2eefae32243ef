//! A text that must not get into a log, a page or custody by accident, and the file that it comes from.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// The longest secret that is read.
const BYTES_MAX: u64 = 4 << 10;

/// A secret. Its `Debug` does not show it.
#[derive(Clone)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl Secret {
    /// The text, to be handed to the one who must have it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The one line of a file that nobody but the server's user may read.
    ///
    /// # Errors
    /// What is wrong with the file, and the next step. Nothing of its content is in it.
    pub fn read(path: &Path) -> Result<Self, (String, &'static str)> {
        let shown = path.display();
        let hint = "write the secret into it, as the server's user, with mode 0600";
        let unreadable = |error: std::io::Error| (format!("{shown} cannot be read: {error}"), hint);
        // Neither a link nor a pipe that nobody fills.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
        let meta = file.metadata().map_err(unreadable)?;
        let (uid, mode) = (meta.uid(), meta.mode() & 0o7777);
        if !meta.is_file() || uid != rustix::process::geteuid().as_raw() || mode & 0o077 != 0 {
            let message = format!("{shown} may be read or changed by others (owner {uid}, mode {mode:o})");
            return Err((message, "chown it to the server's user, chmod it to 0600, and think about who had access"));
        }
        let mut text = String::new();
        file.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
        let line = text.trim_end_matches(['\r', '\n']);
        if line.is_empty() || text.len() as u64 > BYTES_MAX || line.chars().any(char::is_control) {
            return Err((
                format!("{shown} does not hold one line of text"),
                "write the secret, and nothing else, into it",
            ));
        }
        Ok(Self(line.to_owned()))
    }
}
