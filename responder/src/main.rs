//! `holdfast`: what responders and analysts type. Each command is one file in `commands/`.
//!
//! Standard output is data; errors go to standard error, with a hint at the next step.

mod commands;
mod escape;
mod extract;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use commands::{Failure, triage, verify};

/// Collect evidence, look after incidents, verify bundles.
#[derive(Parser)]
#[command(name = "holdfast", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Say what an alert is, how bad, and what to do about it. Needs no server.
    Triage(triage::Triage),
    /// Check that nobody changed an evidence bundle, and who sealed it.
    Verify(verify::Verify),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { commands::USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let done = match cli.command {
        Command::Triage(triage) => triage.run(),
        Command::Verify(verify) => verify.run(),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    let mut stderr = std::io::stderr().lock();
    let causes: Vec<String> = failure.error.chain().map(|cause| escape::shown(&cause.to_string())).collect();
    let _ = writeln!(stderr, "error: {}", causes.join(": "));
    if let Some(hint) = &failure.hint {
        let _ = writeln!(stderr, "hint: {}", escape::shown(hint));
    }
    ExitCode::from(failure.code)
}
