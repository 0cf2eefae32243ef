//! `holdfast-server site`: the site's own files.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Subcommand;

use super::Failure;
use crate::app::escalation;
use crate::site::Site;

/// What can be done with the site's files.
#[derive(Subcommand)]
pub enum Command {
    /// Look for mistakes in contacts and rules, and for roles that nobody stands for; sends nothing
    Check {
        /// The site's folder
        #[arg(long, value_name = "DIR")]
        site: PathBuf,
    },
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure`]: all mistakes.
    pub fn run(self) -> Result<(), Failure> {
        let Self::Check { site: folder } = self;
        let site = Site::default();
        site.load(&folder)?;
        let contacts = site.contacts();
        let mut out = std::io::stdout();
        for contact in &contacts.contacts {
            let view = contact.view();
            writeln!(out, "{:<24}  {:<40}  {}", view.contact, view.roles.join(", "), view.channels.join(", "))?;
        }
        let files = crate::site::rules_files(&folder)?;
        let rules = site.rules().map_err(|problem| anyhow!(problem.message))?;
        let vacant = escalation::vacant(&contacts, &rules);
        for file in files {
            writeln!(out, "{}", file.text.file)?;
        }
        let automation = site.automation();
        writeln!(out, "automation {}", if automation.on { "on" } else { "off" })?;
        writeln!(out, "rules      sha256 {}", rules.version())?;
        if !vacant.is_empty() {
            writeln!(std::io::stderr(), "hint: nobody stands for: {}", vacant.join(", "))?;
        }
        Ok(())
    }
}
