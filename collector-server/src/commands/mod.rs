//! What operators type. Each command is one file.

pub mod ca;
pub mod serve;
pub mod site;
pub mod token;

use std::io::Write as _;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::data_dir::DataDirError;
use crate::process::SystemClock;
use wire::profile::Mistakes;

/// The command line cannot be understood (sysexits.h, EX_USAGE).
pub const USAGE: u8 = 64;
/// What was given is not there, or cannot be (EX_DATAERR).
pub const INPUT: u8 = 65;
/// What the command works on cannot be used (EX_UNAVAILABLE).
pub const UNAVAILABLE: u8 = 69;
/// Reading or writing failed (EX_IOERR).
pub const IO: u8 = 74;

/// Takes alerts, dispatches orders, receives and verifies evidence, keeps custody of all of it.
#[derive(Parser)]
#[command(name = "holdfast-server", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The server's certificate authority
    #[command(subcommand)]
    Ca(ca::Ca),
    /// Completions for a shell, on standard output
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Run the server
    Serve(serve::Serve),
    /// The site's own files: contacts
    #[command(subcommand)]
    Site(site::Command),
    /// Who may ask the server for anything
    #[command(subcommand)]
    Token(token::Token),
}

/// Why a command could not do its work.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What failed, with its causes.
    pub error: anyhow::Error,
    /// What to do next.
    pub hint: Option<String>,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let is_in_use = |error: &std::io::Error| error.kind() == std::io::ErrorKind::AddrInUse;
        let hint = if let Some(error) = error.downcast_ref::<DataDirError>() {
            Some(error.hint().to_owned())
        } else if error.downcast_ref::<std::io::Error>().is_some_and(is_in_use) {
            Some("another holdfast-server? stop it, or choose another --listen ADDRESS:PORT".to_owned())
        } else {
            None
        };
        let code = if error.is::<Mistakes>() { INPUT } else { UNAVAILABLE };
        Self { code, error, hint }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self { code: IO, error: error.into(), hint: None }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "error: {:#}", self.error)?;
        self.hint.iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

impl Cli {
    /// Does what was typed.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Ca(ca) => runtime()?.block_on(ca.run(&SystemClock)),
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Self::command(), "holdfast-server", &mut script);
                Ok(std::io::stdout().write_all(&script)?)
            }
            Command::Serve(serve) => runtime()?.block_on(serve.run()),
            Command::Site(site) => site.run(),
            Command::Token(token) => runtime()?.block_on(token.run(&SystemClock)),
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
