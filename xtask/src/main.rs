//! The project's own commands. Each is one file and one line of [`COMMANDS`].
//!
//! They need cargo and nothing else: what a command wants beyond it, it installs ([`setup`]) or names.

#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

mod bench;
mod demo;
mod full;
mod measure;
mod programs;
mod schema;
mod setup;
mod shell;
mod test;
mod triage_report;
mod validate;
mod vectors;

use std::process::ExitCode;

/// A command: its name, its options, what it does, and its entry.
struct Command {
    name: &'static str,
    options: &'static str,
    summary: &'static str,
    run: fn(&[String]) -> anyhow::Result<()>,
}

const COMMANDS: &[Command] = &[
    Command { name: "demo", options: "[--exit] [--open] [--contain]", summary: demo::SUMMARY, run: demo::run },
    Command { name: "test", options: "[--full]", summary: test::SUMMARY, run: test::run },
    Command { name: "bench", options: "[alerts [DIR] | fleet | load]", summary: bench::SUMMARY, run: bench::run },
    Command { name: "schema", options: "[--check]", summary: schema::SUMMARY, run: schema::run },
    Command { name: "vectors", options: "", summary: vectors::SUMMARY, run: vectors::run },
    Command { name: "triage-report", options: "DIR", summary: triage_report::SUMMARY, run: triage_report::run },
    Command {
        name: "validate",
        options: "[--release] [--key FILE] [--out DIR]",
        summary: validate::SUMMARY,
        run: validate::run,
    },
    // For `test --full`: a fresh process, because the peak of one's children includes all children before.
    Command { name: "measure", options: "PROGRAM …", summary: measure::SUMMARY, run: measure::run },
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (name, options) = words.split_first().map_or(("", &[][..]), |(name, options)| (name.as_str(), options));
    if matches!(name, "-h" | "--help" | "help") {
        help();
        return ExitCode::SUCCESS;
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprintln!("xtask: unknown command `{name}`\n");
        help();
        return ExitCode::from(64);
    };
    if options.iter().any(|option| option == "--help") {
        println!("cargo xtask {} {}\n  {}", command.name, command.options, command.summary);
        return ExitCode::SUCCESS;
    }
    match (command.run)(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn help() {
    println!("cargo xtask COMMAND\n");
    for command in COMMANDS {
        println!("  {:<18} {}", format!("{} {}", command.name, command.options), command.summary);
    }
    println!("\nEach installs what it needs on Debian when it is run as root, and says what is missing otherwise.");
    println!("CARGO_TARGET_DIR moves all that is built out of the checkout.");
}

/// Refuses options that a command does not know, so that a typing mistake is not a shorter run.
fn only(options: &[String], known: &[&str]) -> anyhow::Result<()> {
    match options.iter().find(|option| !known.contains(&option.as_str())) {
        Some(option) if known.is_empty() => anyhow::bail!("unknown option `{option}`: it takes none"),
        Some(option) => anyhow::bail!("unknown option `{option}`: it takes {}", known.join(" ")),
        None => Ok(()),
    }
}
