//! `holdfast evidence`: what to collect, and the bundles on the server. List them, take one home and verify it, open one
//! that is encrypted, bring one.

mod add;
mod get;
mod plan;

use std::path::PathBuf;

use clap::Subcommand;
use wire::api::{EvidenceState, EvidenceView, Page, SignerTrust};
use wire::finding::Found;
use wire::{BundleId, IncidentId, Instant};

use super::Failure;
use super::verify::Verify;
use crate::api::{self, Api};
use crate::config::Config;
use crate::show::{Look, Table, ago, bytes, now, print, remark};

/// Plan a collection, list bundles, take one home and verify it, open one, or bring one.
#[derive(clap::Args)]
pub struct Evidence {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the bundles on the server
    List {
        /// Only those of this incident.
        incident: Option<IncidentId>,
        /// Print the server's answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Download a bundle with its checkpoints, receipts and signers, and verify it
    #[command(after_help = "A download that broke off goes on where it ended. Exit codes as of `holdfast verify`.")]
    Get {
        /// The bundle's id.
        bundle: BundleId,
        /// The folder to put it into.
        #[arg(long, value_name = "DIR", default_value = ".")]
        output: PathBuf,
        /// Print the verification as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Decrypt a bundle here, and verify both the file and what is in it; needs no server
    Open {
        #[command(flatten)]
        verify: Box<Verify>,
        /// The file for what is decrypted: of a bundle that was cut, the part that is an ordinary ZIP file.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Say what to collect for a type of incident, and the command for it; needs no server
    Plan(plan::Plan),
    /// Attach a bundle that came on another way, through the same verification
    Add {
        /// The incident that it belongs to.
        incident: IncidentId,
        /// The bundle.
        bundle: PathBuf,
        /// Its transport checkpoints; by default BUNDLE.stream.jsonl, where it exists.
        #[arg(long, value_name = "FILE")]
        stream: Option<PathBuf>,
        /// Print the server's view of it as JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Evidence {
    /// Runs the sub-command.
    pub fn run(self) -> Result<u8, Failure> {
        // Some need no server, so no configuration either.
        let command = match self.command {
            Command::Plan(plan) => return plan.run().map(|()| 0),
            Command::Open { verify, output } => return verify.opening(output)?.run(),
            command => command,
        };
        let config = Config::load()?;
        let api = Api::of(&config)?;
        match command {
            Command::List { incident, json } => {
                let path = match incident {
                    Some(incident) => format!("/api/v1/evidence?incident={incident}"),
                    None => "/api/v1/evidence".to_owned(),
                };
                list(&api, &path, json).map(|()| 0)
            }
            Command::Plan(_) | Command::Open { .. } => Ok(0),
            Command::Get { bundle, output, json } => get::get(&api, bundle, &output, json),
            Command::Add { incident, bundle, stream, json } => add::add(&api, &incident, &bundle, stream, json),
        }
    }
}

fn list(api: &Api, path: &str, json: bool) -> Result<(), Failure> {
    let answer = api.list(path)?;
    if json {
        return print(&format!("{answer}\n"));
    }
    let page: Page<EvidenceView> = api::read(api.server(), answer)?;
    if page.items.is_empty() {
        remark("there is no evidence");
        return Ok(());
    }
    print(&table(&page.items, Look::of_stdout(), "", now()))?;
    super::more(&page);
    Ok(())
}

/// The bundles as a table.
pub fn table(bundles: &[EvidenceView], look: Look, indent: &str, now: Instant) -> String {
    let mut table = Table::new(&["BUNDLE", "HOST", "STATE", "FINDINGS", "SIGNER", "SIZE", "RECEIVED", "INCIDENT"]);
    for bundle in bundles {
        let trust = match bundle.trust {
            Some(SignerTrust::Enrolled) => "enrolled",
            Some(SignerTrust::Unenrolled) => "unenrolled",
            Some(SignerTrust::Unknown) => "unknown",
            None => "",
        };
        let state = match (bundle.state, bundle.tiers.last()) {
            (EvidenceState::Receiving | EvidenceState::Partial, Some(tier)) => {
                format!("{}, {tier} complete", bundle.state.name())
            }
            (state, _) => state.name().to_owned(),
        };
        let state = match bundle.part.as_ref().filter(|part| part.number > 0) {
            Some(part) => format!("{state}, part {}", part.number),
            None => state,
        };
        let state = match bundle.contradictions.len() {
            0 => state,
            count => format!("{state}, CONTRADICTED {count}×"),
        };
        let state = if bundle.encrypted { format!("{state}, encrypted") } else { state };
        table.row([
            bundle.bundle.to_string().into(),
            bundle.host.as_str().into(),
            state.into(),
            bundle.found.as_ref().map(Found::words).unwrap_or_default().into(),
            trust.into(),
            bytes(bundle.bytes).into(),
            ago(bundle.received, now).into(),
            bundle.incident.to_string().into(),
        ]);
    }
    table.text(look, indent)
}
