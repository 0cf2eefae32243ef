//! The program that runs on every host.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = match agent::commands::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { agent::commands::exit::USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let log = agent::log::Log::install();
    cli.run(&log).unwrap_or_else(|refusal| {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "{refusal}");
        refusal.code.into()
    })
}
