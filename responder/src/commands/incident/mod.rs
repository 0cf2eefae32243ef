//! `holdfast incident`: what is going on, the worst first, one incident in full, and what people do about it.

mod act;
mod read;
mod show;

use clap::Subcommand;
use serde_json::json;
use wire::IncidentId;
use wire::api::{Draft, IncidentSummary, IncidentView, Page};
use wire::case::TimelineEntry;
use wire::response::Audience;

use super::Failure;
use crate::api::{self, Api};
use crate::config::Config;
use crate::escape::shown;
use crate::show::{Cell, Look, Table, ago, now, print, remark};

pub use act::instant;

/// Look at incidents, and work on them.
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
    /// Show what happened in an incident, the oldest first
    Timeline {
        /// The incident's id.
        incident: IncidentId,
        /// Print the server's answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what is to be done, phase by phase
    Checklist {
        /// The incident's id.
        incident: IncidentId,
        /// Print the steps and their states as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print a text about the incident for somebody, in Markdown, to be read and mended before it is sent
    #[command(after_help = "Example: holdfast incident draft INC-2026-0007 executive > update.md")]
    Draft {
        /// The incident's id.
        incident: IncidentId,
        /// For whom: technical, executive, legal, customers or regulator.
        audience: Audience,
        /// Print the server's answer as JSON.
        #[arg(long)]
        json: bool,
    },
    #[command(flatten)]
    Act(act::Act),
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
            Command::Timeline { incident, json } => {
                let answer = api.list(&format!("/api/v1/incidents/{incident}/timeline"))?;
                if json {
                    print(&format!("{answer}\n"))?;
                } else {
                    let page: Page<TimelineEntry> = api::read(api.server(), answer)?;
                    print(&read::timeline(&page, look))?;
                    super::more(&page);
                }
            }
            Command::Checklist { incident, json } => {
                let answer = api.get(&format!("/api/v1/incidents/{incident}"))?;
                let view: IncidentView = api::read(api.server(), answer)?;
                if json {
                    print(&format!("{}\n", json!({ "checklist": view.checklist, "steps": view.case.steps })))?;
                } else {
                    print(&read::checklist(&view, look))?;
                }
            }
            Command::Draft { incident, audience, json } => {
                let answer = api.get(&format!("/api/v1/incidents/{incident}/drafts/{audience}"))?;
                if json {
                    print(&format!("{answer}\n"))?;
                } else {
                    let draft: Draft = api::read(api.server(), answer)?;
                    draft.text.lines().try_for_each(|line| print(&format!("{}\n", shown(line))))?;
                }
            }
            Command::Act(act) => act.run(&api)?,
        }
        Ok(0)
    }
}

fn list(page: &Page<IncidentSummary>, look: Look) -> Result<(), Failure> {
    let mut table = Table::new(&["INCIDENT", "SEVERITY", "TYPE", "STATE", "HOSTS", "EVIDENCE", "UPDATED", "TITLE"]);
    for incident in &page.items {
        let hosts = match incident.hosts.as_slice() {
            [first, second, _, ..] => format!("{first}, {second} +{}", incident.hosts.len() - 2),
            few => few.join(", "),
        };
        table.row([
            incident.incident.to_string().into(),
            Cell::severity(incident.severity),
            incident.incident_type.as_str().into(),
            state(incident).into(),
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

/// Whether it is over, or somebody has it and where the work stands.
fn state(incident: &IncidentSummary) -> &'static str {
    match (incident.closed, incident.acknowledged) {
        (Some(disposition), _) => disposition.name(),
        (None, true) => incident.phase.name(),
        (None, false) => "new",
    }
}
