//! `holdfast-agent completions`

use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Refusal};

/// See [`super::Cli`].
#[derive(Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    #[expect(clippy::unnecessary_wraps, reason = "all commands are run alike")]
    pub(super) fn run(self) -> Result<ExitCode, Refusal> {
        // Into memory first: a reader that goes away is no panic of ours.
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "holdfast-agent", &mut text);
        let _ = std::io::Write::write_all(&mut std::io::stdout(), &text);
        Ok(ExitCode::SUCCESS)
    }
}
