//! Building the programs, and where they then lie.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use serde_json::Value;

use crate::setup::MUSL;
use crate::shell::{cargo, output};

/// How much time the compiler may take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// Quick to build; only what hashes and compresses is fast.
    Dev,
    /// As it is shipped.
    Release,
}

/// The static agent.
///
/// # Errors
/// When it does not compile.
pub fn agent(build: Build) -> anyhow::Result<PathBuf> {
    compile(build, &["--package", "holdfast-agent", "--bin", "holdfast-agent", "--target", MUSL])
}

/// The command line of people, for this machine.
///
/// # Errors
/// When it does not compile.
pub fn holdfast(build: Build) -> anyhow::Result<PathBuf> {
    compile(build, &["--package", "holdfast", "--bin", "holdfast"])
}

/// The collector server, for this machine.
///
/// # Errors
/// When it does not compile.
pub fn server(build: Build) -> anyhow::Result<PathBuf> {
    compile(build, &["--package", "holdfast-server", "--bin", "holdfast-server"])
}

/// A program of `tests/benches`.
///
/// # Errors
/// When it does not compile.
pub fn bench(name: &str) -> anyhow::Result<PathBuf> {
    compile(Build::Release, &["--package", "tests", "--bench", name])
}

fn compile(build: Build, which: &[&str]) -> anyhow::Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--quiet", "--message-format", "json"]).args(which).stdin(Stdio::null());
    if build == Build::Release {
        command.arg("--release");
    }
    let messages = output(command.stdout(Stdio::piped()))?;
    let program = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back();
    program.with_context(|| format!("cargo built no program for {}", which.join(" ")))
}

/// The length of a file, for people.
pub fn size(path: &Path) -> String {
    let bytes = std::fs::metadata(path).map_or(0, |meta| meta.len());
    format!("{}.{} MiB", bytes >> 20, ((bytes % (1 << 20)) * 10) >> 20)
}
