//! The profiles that are compiled in, so that one file is enough on a host, and a responder needs no copy of them.

use super::{Library, Mistakes, Profile, Text, read};

/// The shipped profiles: name and text.
pub const PROFILES: &[(&str, &str)] = &[
    ("intrusion", include_str!("../../../profiles/intrusion.yaml")),
    ("triage", include_str!("../../../profiles/triage.yaml")),
];

/// The shipped parts, which profiles include.
pub const PARTS: &[(&str, &str)] = &[
    ("persistence", include_str!("../../../profiles/parts/persistence.yaml")),
    ("volatile", include_str!("../../../profiles/parts/volatile.yaml")),
];

/// The shipped parts, and no definition of ForensicArtifacts: nothing that is shipped names one.
pub struct Shipped;

impl Library for Shipped {
    fn part(&self, name: &str) -> Result<Text, Vec<String>> {
        let found = PARTS.iter().find(|(part, _)| *part == name);
        found
            .map(|(_, yaml)| Text { file: format!("profiles/parts/{name}.yaml"), yaml: (*yaml).to_owned() })
            .ok_or_else(|| PARTS.iter().map(|(name, _)| (*name).to_owned()).collect())
    }

    fn artifact(&self, _name: &str) -> Result<Text, Vec<String>> {
        Err(Vec::new())
    }
}

/// The shipped profile of this name, its includes resolved; `None` when there is none.
///
/// # Errors
/// [`Mistakes`]: never for what is shipped, which a test reads.
pub fn find(name: &str) -> Option<Result<Profile, Mistakes>> {
    let (_, yaml) = PROFILES.iter().find(|(profile, _)| *profile == name)?;
    Some(read(&Text { file: format!("profiles/{name}.yaml"), yaml: (*yaml).to_owned() }, &Shipped))
}
