//! Where profiles come from: the ones compiled in, so that one file is enough on a host, and the site's own.

use std::path::{Path, PathBuf};

use wire::profile::artifact::{FILE_BYTES_MAX, FILES_MAX, FOLDERS, in_file};
use wire::profile::shipped::{PARTS, PROFILES};
use wire::profile::{Library, Mistake, Mistakes, Profile, TEXT_BYTES_MAX, Text, artifact, did_you_mean, read};

/// Where a site keeps its own profiles; parts lie in `parts/` below. They add to the shipped ones and override them.
pub const SITE_FOLDER: &str = "/etc/holdfast/profiles";

/// A profile that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// No profile has this name.
    #[error("unknown profile `{name}`")]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The next step.
        hint: String,
    },
    /// The file could not be read.
    #[error("the profile {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The profile has mistakes.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
}

/// A profile and where it came from: the agent's version for a shipped one, `site` for another.
pub struct Found {
    /// The profile, includes resolved.
    pub profile: Profile,
    /// Where it came from.
    pub version: &'static str,
}

/// The profile of that name, or in that file: a word with a `/` or ending in `.yaml` is a file.
///
/// # Errors
/// [`ProfileError`].
pub fn find(name_or_file: &str) -> Result<Found, ProfileError> {
    if name_or_file.contains('/') || is_yaml(Path::new(name_or_file)) {
        let path = Path::new(name_or_file);
        let text = file_text(path, name_or_file.to_owned(), TEXT_BYTES_MAX)
            .map_err(|source| ProfileError::Unreadable { path: path.to_owned(), source })?;
        return Ok(Found { profile: read(&text, &Site)?, version: "site" });
    }
    let Some((text, version)) = named(name_or_file, "", PROFILES) else {
        let known = names();
        let hint = did_you_mean(name_or_file, known.iter().map(String::as_str));
        return Err(ProfileError::Unknown { name: name_or_file.to_owned(), hint });
    };
    let profile = read(&text, &Site)?;
    if profile.name != name_or_file {
        let message = format!("the profile in {name_or_file}.yaml calls itself `{}`", profile.name);
        let hint = Some(format!("write `name: {name_or_file}`"));
        return Err(Mistakes(vec![Mistake { file: text.file, line: 1, message, hint }]).into());
    }
    Ok(Found { profile, version })
}

/// The names of all profiles that can be had, sorted.
pub fn names() -> Vec<String> {
    all_names("", PROFILES)
}

/// The texts that profiles on this host name.
struct Site;

impl Library for Site {
    fn part(&self, name: &str) -> Result<Text, Vec<String>> {
        named(name, "parts/", PARTS).map(|(text, _)| text).ok_or_else(|| all_names("parts/", PARTS))
    }

    fn artifact(&self, name: &str) -> Result<Text, Vec<String>> {
        let mut known = Vec::new();
        for path in FOLDERS.iter().flat_map(|folder| definitions(Path::new(folder))) {
            let Ok(file) = file_text(&path, path.display().to_string(), FILE_BYTES_MAX) else { continue };
            match in_file(&file, name) {
                Some(text) => return Ok(text),
                None => known.extend(artifact::names(&file)),
            }
        }
        Err(known)
    }
}

/// The files of definitions in a folder, sorted.
fn definitions(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(FILES_MAX);
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).filter(|path| is_yaml(path)).collect();
    paths.sort();
    paths
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "yaml" || end == "yml")
}

fn named(name: &str, folder: &str, shipped: &[(&str, &str)]) -> Option<(Text, &'static str)> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let path = Path::new(SITE_FOLDER).join(format!("{folder}{name}.yaml"));
    if plain && let Ok(text) = file_text(&path, path.display().to_string(), TEXT_BYTES_MAX) {
        return Some((text, "site"));
    }
    let (_, yaml) = shipped.iter().find(|(shipped, _)| *shipped == name)?;
    let file = format!("profiles/{folder}{name}.yaml");
    Some((Text { file, yaml: (*yaml).to_owned() }, env!("CARGO_PKG_VERSION")))
}

fn file_text(path: &Path, file: String, bytes_max: usize) -> std::io::Result<Text> {
    use std::io::Read as _;
    let mut yaml = String::new();
    std::fs::File::open(path)?.take(bytes_max as u64 + 1).read_to_string(&mut yaml)?;
    Ok(Text { file, yaml })
}

fn all_names(folder: &str, shipped: &[(&str, &str)]) -> Vec<String> {
    let mut names: Vec<String> = shipped.iter().map(|(name, _)| (*name).to_owned()).collect();
    let site = std::fs::read_dir(Path::new(SITE_FOLDER).join(folder)).into_iter().flatten().flatten();
    names.extend(site.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".yaml").map(str::to_owned)));
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use wire::profile::Values;

    use super::*;
    use crate::run::bind::bind;

    #[test]
    fn every_shipped_profile_reads_and_binds() {
        for (name, _) in PROFILES {
            let found = find(name).unwrap_or_else(|error| panic!("{error}"));
            let steps = bind(&found.profile, &Values::default()).unwrap_or_else(|error| panic!("{error}"));
            assert!(!steps.is_empty(), "{name}");
            assert!(!found.profile.summary.is_empty(), "{name}");
        }
    }

    #[test]
    fn an_unknown_profile_is_answered_with_the_nearest() {
        match find("intrusoin") {
            Err(ProfileError::Unknown { hint, .. }) => assert_eq!(hint, "did you mean `intrusion`?"),
            _ => panic!("it was found"),
        }
    }
}
