//! Running other programs: shown before they run, and an error when they fail.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail};

/// The root of the checkout.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// The cargo that runs us.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// What a person would type.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Runs it with our own input and output.
///
/// # Errors
/// When it cannot be started or does not end with 0.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("`{}` could not be started", shown(command)))?;
    if status.success() { Ok(()) } else { bail!("`{}` failed: {status}", shown(command)) }
}

/// Runs it and returns what it wrote to standard output; its errors go where ours go.
///
/// # Errors
/// As [`run`].
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let ran = command.stderr(Stdio::inherit()).output();
    let ran = ran.with_context(|| format!("`{}` could not be started", shown(command)))?;
    if !ran.status.success() {
        bail!("`{}` failed: {}", shown(command), ran.status);
    }
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

/// One part of a longer command: says what it is, does it, and says how long it took.
///
/// # Errors
/// What `work` answers.
pub fn stage<T>(what: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    println!("== {what}");
    let started = Instant::now();
    let done = work()?;
    println!("   {:.1} s", started.elapsed().as_secs_f64());
    Ok(done)
}
