//! Where profiles come from: the ones compiled in, so that one file is enough on a host, and the site's own.

use std::path::{Path, PathBuf};

use wire::order::PROFILE_BYTES_MAX;
use wire::profile::artifact::{FILE_BYTES_MAX, FILES_MAX, FOLDERS, in_file};
use wire::profile::shipped::{PARTS, PROFILES};
use wire::profile::{
    Library, Mistake, Mistakes, Profile, Step, TEXT_BYTES_MAX, Text, Values, artifact, did_you_mean, read,
};

use crate::collect::Collector;
use crate::run::bind::bind;

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

/// This host's own profile of that name, if there is one. A word that is no plain name is none: it may be somebody else's.
pub fn own(name: &str) -> Option<Profile> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if is_plain { find(name).ok().map(|found| found.profile) } else { None }
}

/// What is wrong with a profile that could be read: arguments that do not fit, limits that limit nothing, steps that
/// stand there twice, more than an order takes.
pub fn lint(profile: &Profile) -> Vec<String> {
    let mut wrong: Vec<String> = match bind(profile, &Values::default()) {
        Ok(_) => Vec::new(),
        Err(Mistakes(mistakes)) => mistakes.iter().map(ToString::to_string).collect(),
    };
    let tier_of = |step: &Step| Collector::named(&step.collect).map(|collector| collector.tier);
    for (tier, limits) in &profile.tiers {
        if !profile.collect.iter().any(|step| tier_of(step) == Some(*tier)) {
            wrong.push(format!("tiers: no step is of the tier {tier}, which has limits"));
        }
        if limits.cpu_percent_max.or(limits.file_bytes_max.map(|_| 0)).is_some()
            || limits.read_bytes_per_sec_max.is_some()
        {
            wrong.push(format!("tiers: the tier {tier} takes wall_secs_max and bytes_max only"));
        }
    }
    for (n, step) in profile.collect.iter().enumerate() {
        let is_same =
            |other: &&Step| other.collect == step.collect && other.with == step.with && other.when == step.when;
        if let Some(first) = profile.collect.iter().take(n).find(is_same) {
            let (here, there) = (&step.place, &first.place);
            wrong.push(format!("{}:{}: the step stands in {}:{} too", here.file, here.line, there.file, there.line));
        }
    }
    let bytes = profile.to_json().len();
    if bytes > PROFILE_BYTES_MAX {
        wrong.push(format!("it is {bytes} bytes as an order holds it, of which {PROFILE_BYTES_MAX} are allowed"));
    }
    wrong
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
    use super::*;

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
    fn every_shipped_profile_is_without_a_mistake_that_lint_knows() {
        for (name, _) in PROFILES {
            assert_eq!(lint(&find(name).unwrap_or_else(|error| panic!("{error}")).profile), [""; 0], "{name}");
        }
    }

    #[test]
    fn lint_finds_what_limits_nothing_and_what_stands_twice() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.yaml");
        let yaml = "name: x\ntiers: { logs: { wall_secs_max: 5 }, volatile: { cpu_percent_max: 5 } }\ncollect:\n  - collect: processes\n  - collect: processes\n  - collect: files\n    with: { path: [] }\n";
        std::fs::write(&file, yaml).unwrap();
        let file = file.to_str().unwrap();
        let said = lint(&find(file).unwrap_or_else(|error| panic!("{error}")).profile).join("\n");
        for wanted in [
            ":7: unknown field `path`",
            "no step is of the tier logs",
            "the tier volatile takes wall_secs_max",
            &format!("{file}:5: the step stands in {file}:4 too"),
        ] {
            assert!(said.contains(wanted), "{wanted:?} is not in {said}");
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
