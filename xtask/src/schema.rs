//! `profiles/schema.json`: what editors complete profiles with. The agent prints it from its own types.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

use crate::only;
use crate::programs::{self, Build};
use crate::setup::{MUSL_GCC, prepare};
use crate::shell::{output, root};

/// See `cargo xtask --help`.
pub const SUMMARY: &str = "writes profiles/schema.json from the collectors; --check says whether it is current";

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
    std::fs::write(path(), current(&agent)?)?;
    println!("written: {}", path().display());
    Ok(())
}

/// Compares the file with what the agent prints.
///
/// # Errors
/// When they differ.
pub fn check(agent: &Path) -> anyhow::Result<()> {
    if std::fs::read_to_string(path()).unwrap_or_default() != current(agent)? {
        bail!("profiles/schema.json is not current: run `cargo xtask schema` and commit it");
    }
    Ok(())
}

fn path() -> PathBuf {
    root().join("profiles/schema.json")
}

fn current(agent: &Path) -> anyhow::Result<String> {
    output(Command::new(agent).args(["profiles", "--schema"]))
}
