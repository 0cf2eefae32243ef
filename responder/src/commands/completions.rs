//! `holdfast completions`: what a shell needs to complete the rest.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Failure};
use crate::show::print;

/// Print the completions for a shell.
#[derive(clap::Args)]
#[command(after_help = "bash: holdfast completions bash > ~/.local/share/bash-completion/completions/holdfast")]
pub struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    /// Prints them.
    pub fn run(&self) -> Result<u8, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "holdfast", &mut script);
        print(&String::from_utf8_lossy(&script))?;
        Ok(0)
    }
}
