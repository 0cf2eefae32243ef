//! What is generated from the agent's own types: `profiles/schema.json`, with which editors complete profiles, and
//! `docs/records.md`, what every row holds.

use std::path::Path;
use std::process::Command;

use anyhow::bail;

use crate::only;
use crate::programs::{self, Build};
use crate::setup::{MUSL_GCC, prepare};
use crate::shell::{output, root};

/// See `cargo xtask --help`.
pub const SUMMARY: &str = "writes profiles/schema.json and docs/records.md; --check says whether they are current";

/// The files, and what the agent prints them by.
const GENERATED: [(&str, &[&str]); 2] =
    [("profiles/schema.json", &["profiles", "--schema"]), ("docs/records.md", &["collectors", "--records"])];

/// See the module.
///
/// # Errors
/// With `--check`: when the file is not what the agent prints.
pub fn run(options: &[String]) -> anyhow::Result<()> {
    only(options, &["--check"])?;
    prepare(&[MUSL_GCC])?;
    let agent = programs::agent(Build::Dev)?;
    if options.iter().any(|option| option == "--check") {
        return check(&agent);
    }
    for (file, words) in GENERATED {
        std::fs::write(root().join(file), output(Command::new(&agent).args(words))?)?;
        println!("written: {file}");
    }
    Ok(())
}

/// Compares the files with what the agent prints.
///
/// # Errors
/// When they differ.
pub fn check(agent: &Path) -> anyhow::Result<()> {
    for (file, words) in GENERATED {
        let current = output(Command::new(agent).args(words))?;
        if std::fs::read_to_string(root().join(file)).unwrap_or_default() != current {
            bail!("{file} is not current: run `cargo xtask schema` and commit it");
        }
    }
    Ok(())
}
