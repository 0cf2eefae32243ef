//! `holdfast`: what responders and analysts type. Each command is one file in `commands/`.
//!
//! Standard output is data; errors go to standard error, with a hint at the next step.

mod api;
mod commands;
mod config;
mod escape;
mod extract;
mod last_receipt;
mod order_key;
mod rules;
mod secret;
mod server_key;
mod show;
mod ssh_agent;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use commands::{Cli, Failure};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { commands::USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match cli.run() {
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
