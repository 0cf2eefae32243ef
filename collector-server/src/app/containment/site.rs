//! What the site lets automation do: `automation.yaml` in its folder. Without the file, nothing.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use wire::containment::{LEASE_SECS_MAX, VALID_SECS_MAX};
use wire::profile::{Mistake, Mistakes, Text, document};

/// The file's name.
pub const FILE: &str = "automation.yaml";

/// See the module.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Switch {
    /// How long a person has to approve an isolation.
    pub approval_minutes: u64,
    /// How long an isolation holds, unless a responder renews it.
    pub lease_minutes: u64,
    /// Hosts that stay connected whatever happens: their agents' ids or names.
    pub never_isolate: BTreeSet<String>,
    /// Captures are ordered, and hosts are isolated, by themselves.
    pub on: bool,
}

impl Default for Switch {
    fn default() -> Self {
        Self { approval_minutes: 30, lease_minutes: LEASE_SECS_MAX / 60, never_isolate: BTreeSet::new(), on: false }
    }
}

impl Switch {
    /// What stands in `folder`.
    ///
    /// # Errors
    /// The mistake.
    pub fn load(folder: &Path) -> Result<Self, Mistakes> {
        let mistake = |message: String| Mistakes(vec![Mistake { file: FILE.to_owned(), line: 0, message, hint: None }]);
        let yaml = match std::fs::read_to_string(folder.join(FILE)) {
            Ok(yaml) => yaml,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(mistake(format!("it cannot be read: {error}"))),
        };
        let (switch, _) = document::<Self>(&Text { file: FILE.to_owned(), yaml }).map_err(|one| Mistakes(vec![one]))?;
        for (name, minutes, max) in [
            ("approval_minutes", switch.approval_minutes, VALID_SECS_MAX / 60),
            ("lease_minutes", switch.lease_minutes, LEASE_SECS_MAX / 60),
        ] {
            if !(1..=max).contains(&minutes) {
                return Err(mistake(format!("{name} is {minutes}: from 1 to {max} are wanted")));
            }
        }
        let never_isolate = switch.never_isolate.iter().map(|name| name.trim().to_lowercase()).collect();
        Ok(Self { never_isolate, ..switch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_file_nothing_is_done_and_a_mistake_is_said() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!Switch::load(dir.path()).unwrap().on);
        let load = |yaml: &str| {
            std::fs::write(dir.path().join(FILE), yaml).unwrap();
            Switch::load(dir.path())
        };
        let on = load("on: true\nlease_minutes: 30\nnever_isolate: [DB-1.example.org]\n").unwrap();
        assert!(on.on && on.lease_minutes == 30 && on.never_isolate.contains("db-1.example.org"));
        for wrong in ["off: true\n", "on: maybe\n", "lease_minutes: 241\n", "approval_minutes: 0\n"] {
            assert!(load(wrong).unwrap_err().to_string().contains(FILE), "{wrong}");
        }
    }
}
