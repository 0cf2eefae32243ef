//! The file in which the tools of AWS keep keys: `~/.aws/credentials`, or the one that `AWS_SHARED_CREDENTIALS_FILE` names.
//!
//! The `object_store` crate reads variables, web identities and the services that hand out credentials to a machine, but
//! not this file. Only keys are read from it; a profile that takes on a role needs the variables.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

/// More than anybody's keys need.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Where it is looked for.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// The file, where a variable names it.
    pub file: Option<PathBuf>,
    /// The home of the server's user.
    pub home: Option<PathBuf>,
    /// The section of the file that counts; `default` when absent.
    pub profile: Option<String>,
}

/// A key and its secret.
#[derive(PartialEq, Eq)]
pub(super) struct Keys {
    pub key_id: String,
    pub secret: String,
    pub token: Option<String>,
}

impl Files {
    /// The keys in the file; none when it is not there or has none for the profile.
    ///
    /// # Errors
    /// When a file that was named cannot be read.
    pub fn read(&self) -> io::Result<Option<Keys>> {
        let at_home = || self.home.as_ref().map(|home| home.join(".aws/credentials"));
        let Some(path) = self.file.clone().or_else(at_home) else { return Ok(None) };
        let mut text = String::new();
        match File::open(&path) {
            Err(_) if self.file.is_none() => return Ok(None),
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
            Ok(file) => file.take(FILE_BYTES_MAX).read_to_string(&mut text)?,
        };
        Ok(keys_in(&text, self.profile.as_deref().unwrap_or("default")))
    }
}

fn keys_in(text: &str, profile: &str) -> Option<Keys> {
    let (mut is_inside, mut key_id, mut secret, mut token) = (false, None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_inside = name.trim() == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_inside) {
            let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match name.trim().to_ascii_lowercase().as_str() {
                "aws_access_key_id" => key_id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(Keys { key_id: key_id?, secret: secret?, token })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# keys\n[default]\naws_access_key_id = A\naws_secret_access_key=B=\n\n[ site ]\n\
        aws_access_key_id=C\naws_secret_access_key = D\naws_session_token= E\n[half]\naws_access_key_id=F\n";

    #[test]
    fn the_profile_that_was_asked_for_is_found() {
        let found = |profile| keys_in(TEXT, profile).map(|keys| (keys.key_id, keys.secret, keys.token));
        let text = |text: &str| text.to_owned();
        assert_eq!(found("default"), Some((text("A"), text("B="), None)));
        assert_eq!(found("site"), Some((text("C"), text("D"), Some(text("E")))));
        assert_eq!((found("half"), found("none")), (None, None));
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let home = Some(folder.path().to_owned());
        assert!(Files { home: home.clone(), ..Files::default() }.read().unwrap().is_none());
        let file = folder.path().join("keys");
        let files = Files { file: Some(file.clone()), home, profile: Some("site".to_owned()) };
        assert!(files.read().is_err());
        std::fs::write(file, TEXT).unwrap();
        assert_eq!(files.read().unwrap().unwrap().key_id, "C");
    }
}
