//! `holdfast triage rules check`: every mistake of a site's rules, with its file and line.

use std::path::PathBuf;

use anyhow::anyhow;

use crate::commands::{Failure, INPUT};
use crate::escape::shown;
use crate::rules::files;
use crate::show::{counted, print};

/// What can be done with a site's rules.
#[derive(clap::Subcommand)]
pub enum Rules {
    /// Read them over the shipped ones, and tell every mistake
    Check {
        /// The folder: `taxonomy.yaml`, `recognise/*.yaml`, `sources/*.yaml` and the like.
        folder: PathBuf,
    },
}

impl Rules {
    /// Tells the mistakes, or the digest of what was read.
    pub fn run(&self) -> Result<(), Failure> {
        let Self::Check { folder } = self;
        let files = files(folder)?;
        let count = counted(files.len() as u64, "file");
        match triage::Rules::with_site(&files) {
            Ok(rules) => print(&format!("{count}, no mistake\nversion    sha256 {}\n", rules.version())),
            Err(mistakes) => {
                let lines: Vec<String> = mistakes.to_string().lines().map(shown).collect();
                print(&format!("{}\n", lines.join("\n")))?;
                let told = counted(mistakes.0.len() as u64, "mistake");
                Err(Failure::new(INPUT, anyhow!("{}: {told}", folder.display())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_an_input_error() {
        let folder = tempfile::tempdir().unwrap();
        let check = || Rules::Check { folder: folder.path().to_owned() }.run();
        assert!(check().is_ok());
        std::fs::write(folder.path().join("taxonomy.yaml"), "types: [{ type: ransomwear, remove: true }]\n").unwrap();
        let failure = check().unwrap_err();
        assert_eq!(failure.code, INPUT);
        assert!(failure.error.to_string().ends_with("1 mistake"), "{}", failure.error);
    }
}
