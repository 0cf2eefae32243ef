//! The commands that people type. Each is one file; this is the list, and what they have in common.

mod asked;
mod collect;
mod collectors;
mod completions;
mod contain;
mod enroll;
mod keep;
mod leave;
mod plan;
mod profiles;
mod recipients;
mod relay;
mod release;
mod run;
mod status;
mod ticket;
mod via;

use std::fmt;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::causes::with_causes;
use crate::log::Log;
use crate::profiles::ProfileError;
use crate::state::StateError;

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
    Collect(Box<collect::Collect>),
    /// Say beforehand what a profile would read, how much, and with which privileges
    Plan(plan::Plan),
    /// Make this host known to a server, with a ticket
    Enroll(enroll::Enroll),
    /// Wait for orders of the server that this host is enrolled at, and run them
    Run,
    /// Let other agents through to the servers that this host is enrolled at, without opening their TLS
    Relay(relay::Relay),
    /// Tell the server that this agent is removed, which ends its certificate; root only
    Leave,
    /// Contain this host: cut it off, freeze a process, lock an account
    Contain(contain::Contain),
    /// Take a containment back
    Release(release::Release),
    /// Keep the promises of the containments of this host
    #[command(hide = true)]
    Keep,
    /// Show the enrolment, the last contact, the running order and the last receipt
    Status(status::Status),
    /// List the collectors, or show one with its arguments
    Collectors(collectors::Collectors),
    /// List the profiles, show one with its includes resolved, or print the schema for editors
    Profiles(profiles::Profiles),
    /// Print the completions for a shell
    Completions(completions::Completions),
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
            Command::Enroll(enroll) => enroll.run(),
            Command::Run => run::run(log),
            Command::Relay(relay) => relay.run(log),
            Command::Leave => leave::run(),
            Command::Contain(contain) => contain.run(),
            Command::Release(release) => release.run(),
            Command::Keep => keep::run(log),
            Command::Status(status) => status.run(),
            Command::Completions(completions) => completions.run(),
            Command::Collectors(collectors) => collectors.run(),
            Command::Profiles(profiles) => profiles.run(),
        }
    }
}

/// Exit codes, after sysexits.h where it has one.
pub mod exit {
    /// A bundle without a seal.
    pub const UNSEALED: u8 = 1;
    /// The command line.
    pub const USAGE: u8 = 64;
    /// What was given to read.
    pub const INPUT: u8 = 65;
    /// The server, or something else that may come back.
    pub const UNAVAILABLE: u8 = 69;
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
    fn new(code: u8, error: &(dyn std::error::Error + 'static)) -> Self {
        Self { code, message: with_causes(error), hint: None }
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

impl From<StateError> for Refusal {
    fn from(error: StateError) -> Self {
        let hint = match &error {
            StateError::Exposed { path, .. } => {
                format!("look who touched it, then: chmod go= {0}; or move it away", path.display())
            }
            StateError::BadKey { path, .. } => format!("move {} away: a new key is then made", path.display()),
            StateError::NoRandom => "the kernel's random device is not ready".to_owned(),
        };
        Self::new(exit::REFUSED, &error).hint(hint)
    }
}

/// The thread of everything that waits for the network. Names are looked up on another, which then ends.
fn runtime() -> Result<tokio::runtime::Runtime, Refusal> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .thread_keep_alive(std::time::Duration::from_secs(1))
        .build()
        .map_err(|error| Refusal::new(exit::IO, &error))
}

/// Prints to standard output. A reader that went away is no error of ours.
fn print(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{text}");
}
