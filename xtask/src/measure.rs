//! Runs one program and prints the most memory that it held.

use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use nix::sys::resource::{UsageWho, getrusage};

use crate::shell::run as run_it;

/// See `cargo xtask --help`.
pub const SUMMARY: &str = "runs a program and prints the KiB of memory that it held at its peak";

/// See the module.
///
/// # Errors
/// When the program fails.
pub fn run(command: &[String]) -> anyhow::Result<()> {
    let Some((program, words)) = command.split_first() else { bail!("which program?") };
    run_it(Command::new(program).args(words).stdout(Stdio::null()))?;
    println!("{}", getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss());
    Ok(())
}

/// The peak of `command` in KiB, measured by a process of its own.
///
/// # Errors
/// When it fails.
pub fn peak_kib(command: &Command) -> anyhow::Result<u64> {
    let own = std::env::current_exe().context("this program's own file")?;
    let mut measure = Command::new(own);
    measure.arg("measure").arg(command.get_program()).args(command.get_args());
    measure.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    crate::shell::output(&mut measure)?.trim().parse().context("the peak is a number")
}
