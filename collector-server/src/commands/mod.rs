//! What operators type. Each command is one file.

pub mod automation;
pub mod backup;
pub mod ca;
pub mod migrate;
pub mod place;
pub mod records;
pub mod restore;
pub mod scrub;
pub mod serve;
pub mod site;
pub mod token;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::data_dir::DataDirError;
use crate::objects::ObjectError;
use crate::process::SystemClock;
use wire::profile::Mistakes;

/// Something that was acknowledged is lost or was changed.
pub const WRONG: u8 = 1;
/// Nothing is wrong, and there are objects that no record names.
pub const ORPHANS: u8 = 3;
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
    /// What hosts must hold to take orders that nobody decided
    #[command(subcommand)]
    Automation(automation::Automation),
    /// Copy everything that the server holds, while it serves
    Backup(backup::Backup),
    /// The server's certificate authority
    #[command(subcommand)]
    Ca(ca::Ca),
    /// Completions for a shell, on standard output
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Bring the records to this version, or move everything to another place
    Migrate(migrate::Migrate),
    /// Bring a backup back, into an empty place
    Restore(restore::Restore),
    /// Read everything and compare it with what was written down of it; nothing is changed
    Scrub(scrub::Scrub),
    /// Run the server
    Serve(serve::Serve),
    /// The site's own files: contacts, rules, automation
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
        } else if let Some(hint) = error.downcast_ref::<ObjectError>().and_then(ObjectError::hint) {
            Some(hint.to_owned())
        } else if error.downcast_ref::<std::io::Error>().is_some_and(is_in_use) {
            Some("another holdfast-server? stop it, or choose another --listen ADDRESS:PORT".to_owned())
        } else {
            None
        };
        let code = if error.is::<Mistakes>() { INPUT } else { UNAVAILABLE };
        Self { code, error, hint }
    }
}

impl From<DataDirError> for Failure {
    fn from(error: DataDirError) -> Self {
        anyhow::Error::from(error).into()
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
    pub fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            Command::Scrub(scrub) => return runtime()?.block_on(scrub.run(&SystemClock)),
            Command::Backup(backup) => runtime()?.block_on(backup.run(&SystemClock)),
            Command::Migrate(migrate) => runtime()?.block_on(migrate.run(&SystemClock)),
            Command::Restore(restore) => runtime()?.block_on(restore.run(&SystemClock)),
            Command::Ca(ca) => runtime()?.block_on(ca.run(&SystemClock)),
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Self::command(), "holdfast-server", &mut script);
                Ok(std::io::stdout().write_all(&script)?)
            }
            Command::Automation(automation) => automation.run(),
            Command::Serve(serve) => runtime()?.block_on(serve.run()),
            Command::Site(site) => site.run(),
            Command::Token(token) => runtime()?.block_on(token.run(&SystemClock)),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
