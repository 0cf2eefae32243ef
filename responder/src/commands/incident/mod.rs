//! `holdfast incident`: what is going on, the worst first, and one incident in full.

mod show;

use clap::Subcommand;
use wire::IncidentId;
use wire::api::{IncidentSummary, IncidentView, Page};

use super::Failure;
use crate::api::{self, Api};
use crate::config::Config;
use crate::show::{Cell, Look, Table, ago, now, print, remark};

/// Look at incidents.
#[derive(clap::Args)]
pub struct Incident {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the incidents, the worst and newest first
    List {
        /// Print the server's answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show an incident: why it is as bad as it is, its hosts, orders and evidence
    Show {
        /// The incident's id.
        incident: IncidentId,
        /// Print the server's answer as JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Incident {
    /// Runs the sub-command.
    pub fn run(self) -> Result<u8, Failure> {
        let api = Api::of(&Config::load()?)?;
        let look = Look::of_stdout();
        match self.command {
            Command::List { json } => {
                let answer = api.list("/api/v1/incidents")?;
                if json {
                    print(&format!("{answer}\n"))?;
                } else {
                    let page: Page<IncidentSummary> = api::read(api.server(), answer)?;
                    list(&page, look)?;
                }
            }
            Command::Show { incident, json } => {
                let answer = api.get(&format!("/api/v1/incidents/{incident}"))?;
                if json {
                    print(&format!("{answer}\n"))?;
                } else {
                    let view: IncidentView = api::read(api.server(), answer)?;
                    print(&show::text(&view, look, now()))?;
                }
            }
        }
        Ok(0)
    }
}

fn list(page: &Page<IncidentSummary>, look: Look) -> Result<(), Failure> {
    let mut table = Table::new(&["INCIDENT", "SEVERITY", "TYPE", "HOSTS", "EVIDENCE", "UPDATED", "TITLE"]);
    for incident in &page.items {
        let hosts = match incident.hosts.as_slice() {
            [first, second, _, ..] => format!("{first}, {second} +{}", incident.hosts.len() - 2),
            few => few.join(", "),
        };
        table.row([
            incident.incident.to_string().into(),
            Cell::severity(incident.severity),
            incident.incident_type.as_str().into(),
            hosts.into(),
            incident.evidence.to_string().into(),
            ago(incident.updated, now()).into(),
            incident.title.as_str().into(),
        ]);
    }
    if table.is_empty() {
        remark("there is no incident");
        return Ok(());
    }
    print(&table.text(look, ""))?;
    super::more(page);
    Ok(())
}
