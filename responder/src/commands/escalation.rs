//! `holdfast escalation`: who can be told of incidents, and whether that works.

use std::time::{Duration, Instant};

use clap::Subcommand;
use wire::api::{EscalationStatus, EscalationTest, EscalationTestReply, PageState, PageView};

use super::{Failure, IO, UNAVAILABLE};
use crate::api::{self, Api};
use crate::config::Config;
use crate::escape::shown;
use crate::show::{Look, Table, ago, now, print, remark};

const STATUS: &str = "/api/v1/escalation";
/// How long the pages of a test are waited for; the server gives each channel its own bound, far below.
const PATIENCE: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// See who can be told of incidents, or try a contact out.
#[derive(clap::Args)]
pub struct Escalation {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the contacts, the roles that nobody stands for, and the last pages
    Status {
        /// Print the server's answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Send a page over each channel of a contact, and say what became of it
    Test {
        /// Who, by the site's name.
        contact: String,
        /// Print the pages as JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Escalation {
    /// Runs the sub-command.
    pub fn run(self) -> Result<u8, Failure> {
        let api = Api::of(&Config::load()?)?;
        match self.command {
            Command::Status { json } => {
                let answer = api.get(STATUS)?;
                if json {
                    print(&format!("{answer}\n"))?;
                } else {
                    show(&api::read(api.server(), answer)?)?;
                }
                Ok(0)
            }
            Command::Test { contact, json } => test(&api, contact, json),
        }
    }
}

/// Exit code 69 when a channel failed.
fn test(api: &Api, contact: String, json: bool) -> Result<u8, Failure> {
    let body = serde_json::to_vec(&EscalationTest { contact }).map_err(|error| Failure::new(IO, error))?;
    let answer = api.post("/api/v1/escalation/test", "application/json", body)?;
    let reply: EscalationTestReply = api::read(api.server(), answer)?;
    let (mut pages, deadline) = (reply.pages, Instant::now() + PATIENCE);
    while pages.iter().any(|page| page.state == PageState::Queued) && Instant::now() < deadline {
        std::thread::sleep(LOOK_EVERY);
        let status: EscalationStatus = api::read(api.server(), api.get(STATUS)?)?;
        for page in &mut pages {
            if let Some(newer) = status.pages.iter().find(|newer| newer.page == page.page) {
                page.clone_from(newer);
            }
        }
    }
    if json {
        let text = serde_json::to_string(&EscalationTestReply { pages: pages.clone() });
        print(&format!("{}\n", text.map_err(|error| Failure::new(IO, error))?))?;
    } else {
        print(&table(&pages).text(Look::of_stdout(), ""))?;
    }
    let is_all_well = pages.iter().all(|page| page.state == PageState::Sent);
    Ok(if is_all_well { 0 } else { UNAVAILABLE })
}

fn show(status: &EscalationStatus) -> Result<(), Failure> {
    let look = Look::of_stdout();
    let mut contacts = Table::new(&["CONTACT", "ROLES", "CHANNELS"]);
    for contact in &status.contacts {
        let (roles, channels) = (contact.roles.join(", "), contact.channels.join(", "));
        contacts.row([contact.contact.as_str().into(), roles.into(), channels.into()]);
    }
    if contacts.is_empty() {
        remark("the site names nobody: incidents say whom one should call, and nobody is paged");
        remark("hint: contacts.yaml in the server's site folder; see packaging/site/contacts.yaml");
    } else {
        print(&contacts.text(look, ""))?;
    }
    if !status.vacant.is_empty() {
        remark(&format!("nobody stands for: {}", shown(&status.vacant.join(", "))));
    }
    if !status.pages.is_empty() {
        print(&format!("\n{}", table(&status.pages).text(look, "")))?;
    }
    Ok(())
}

fn table(pages: &[PageView]) -> Table {
    let mut table = Table::new(&["PAGE", "WHEN", "CONTACT", "ROLE", "CHANNEL", "ABOUT", "STATE", "TRIES", "ERROR"]);
    for page in pages {
        let about = match &page.incident {
            Some(incident) => format!("{incident} {}", page.purpose),
            None => page.purpose.clone(),
        };
        table.row([
            page.page.short().into(),
            ago(page.created, now()).into(),
            page.contact.as_str().into(),
            page.role.as_str().into(),
            page.channel.as_str().into(),
            about.into(),
            page.state.name().into(),
            page.attempts.to_string().into(),
            page.error.as_deref().unwrap_or("").into(),
        ]);
    }
    table
}
