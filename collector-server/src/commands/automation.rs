//! `holdfast-server automation`: what hosts must hold to take orders that nobody decided.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use wire::containment::AUTOMATION;
use wire::profile::shipped;
use wire::signed::namespace;

use super::Failure;
use crate::app::containment::site::FILE;
use crate::data_dir::DataDir;

/// What can be asked of it.
#[derive(Subcommand)]
pub enum Automation {
    /// Print the allowed_signers line of its key and, on standard error, what hosts and the site must say
    Show {
        /// The data directory
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Print all of it as one JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Automation {
    /// Does it. Works beside a server that runs.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn run(self) -> Result<(), Failure> {
        let Self::Show { data, json: as_json } = self;
        let key = DataDir::beside(&data)?.automation_key()?;
        let (collect, contain) = (namespace::COLLECT, namespace::CONTAIN);
        let line = format!("{AUTOMATION} namespaces=\"{collect},{contain}\" {}", key.public_line());
        let policy = policy();
        let site = "on: true\n";
        let mut out = std::io::stdout();
        if as_json {
            let all = json!({ "allowed_signers": line, "policy": policy, "site": { "content": site, "file": FILE } });
            return Ok(writeln!(out, "{all}")?);
        }
        writeln!(out, "{line}")?;
        let mut err = std::io::stderr();
        writeln!(err, "hint: each host that is to obey holds this line in its signers, and in its policy.toml:\n")?;
        writeln!(err, "{policy}")?;
        Ok(writeln!(err, "hint: the site switches it on in {FILE}: {}", site.trim_end())?)
    }
}

/// What a host's policy must say.
fn policy() -> String {
    let profiles: Vec<String> = shipped::PROFILES.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let profiles = profiles.join(", ");
    format!(
        "[contain]\nactions = [\"isolate_network\"]\n\n[automation]\nprincipals = [\"{AUTOMATION}\"]\n\
         actions = [\"isolate_network\"]\nprofiles = [{profiles}]\n"
    )
}
