//! The commands that people type. Each is one file; this is the list, and what they have in common.

mod collect;
mod collectors;
mod plan;
mod profiles;

use std::fmt;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::log::Log;
use crate::profiles::ProfileError;

/// Takes the evidence of this host, the most volatile first, into a sealed bundle.
#[derive(Parser)]
#[command(name = "holdfast-agent", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 sealed; 3 sealed, but a step failed, timed out or met a limit; 1 no seal;\n64 usage, 65 input, 69 unavailable, 74 I/O, 77 refused by policy."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Collect evidence by a profile, into a file, a folder or standard output
    Collect(collect::Collect),
    /// Say beforehand what a profile would read, how much, and with which privileges
    Plan(plan::Plan),
    /// List the collectors, or show one with its arguments
    Collectors(collectors::Collectors),
    /// List the profiles, show one with its includes resolved, or print the schema for editors
    Profiles(profiles::Profiles),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// What ended it, with its exit code and the next step.
    pub fn run(self, log: &Log) -> Result<ExitCode, Refusal> {
        match self.command {
            Command::Collect(collect) => collect.run(log),
            Command::Plan(plan) => plan.run(),
            Command::Collectors(collectors) => collectors.run(),
            Command::Profiles(profiles) => profiles.run(),
        }
    }
}

/// Exit codes, after sysexits.h where it has one.
pub mod exit {
    /// A bundle without a seal.
    pub const UNSEALED: u8 = 1;
    /// A sealed bundle in which a step timed out or met a limit.
    pub const INCOMPLETE: u8 = 3;
    /// The command line.
    pub const USAGE: u8 = 64;
    /// What was given to read.
    pub const INPUT: u8 = 65;
    /// Reading or writing.
    pub const IO: u8 = 74;
    /// Refused by policy or by the state of the agent's own files.
    pub const REFUSED: u8 = 77;
}

/// Why a command could not do its work.
#[derive(Debug)]
pub struct Refusal {
    /// See [`exit`].
    pub code: u8,
    /// The subject and what is wrong with it.
    pub message: String,
    /// The next step.
    pub hint: Option<String>,
}

impl Refusal {
    fn new(code: u8, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Self { code, message, hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "holdfast-agent: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<ProfileError> for Refusal {
    fn from(error: ProfileError) -> Self {
        match &error {
            ProfileError::Unknown { hint, .. } => Self::new(exit::USAGE, &error).hint(hint.clone()),
            ProfileError::Unreadable { .. } => Self::new(exit::INPUT, &error)
                .hint("give the path of a YAML file, or a name that `holdfast-agent profiles` lists"),
            ProfileError::Mistakes(_) => Self::new(exit::INPUT, &error),
        }
    }
}

/// Prints to standard output. A reader that went away is no error of ours.
fn print(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{text}");
}
