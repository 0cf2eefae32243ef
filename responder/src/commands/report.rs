//! `holdfast report`: a person tells what they saw; it becomes an alert like any other.

use wire::Instant;
use wire::api::AlertsReply;
use wire::case::HumanReport;

use super::incident::instant;
use super::{Failure, INPUT};
use crate::api::{self, Api};
use crate::config::Config;
use crate::show::{Look, print};

/// Report what you saw: it becomes an alert like any other.
#[derive(clap::Args)]
#[command(
    after_help = "Example: holdfast report 'Files on web-1 do not open' --what 'All end in .locked since noon' --host web-1"
)]
pub struct Report {
    /// One line.
    title: String,
    /// What was seen, in your own words.
    #[arg(long)]
    what: String,
    /// The host that it is about.
    #[arg(long)]
    host: Option<String>,
    /// The account that it is about.
    #[arg(long)]
    user: Option<String>,
    /// A type of the taxonomy, where you know one, e.g. phishing_attempt.
    #[arg(long = "type", value_name = "TYPE")]
    incident_type: Option<String>,
    /// When it was seen, as 2026-11-21T17:41:00Z; now when absent.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    seen_at: Option<Instant>,
    /// How to reach whoever saw it.
    #[arg(long)]
    contact: Option<String>,
    /// Print the server's answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Report {
    /// Sends it.
    pub fn run(self) -> Result<u8, Failure> {
        let Self { title, what, host, user, incident_type, seen_at, contact, json } = self;
        let report = HumanReport { contact, host, incident_type, seen_at, title, user, what };
        let body = serde_json::to_vec(&report).map_err(|error| Failure::new(INPUT, error))?;
        let api = Api::of(&Config::load()?)?;
        let answer = api.post("/api/v1/reports", "application/json", body)?;
        if json {
            print(&format!("{answer}\n"))?;
            return Ok(0);
        }
        let reply: AlertsReply = api::read(api.server(), answer)?;
        let look = Look::of_stdout();
        print(&reply.alerts.iter().map(|alert| super::alert::line(alert, look)).collect::<String>())?;
        Ok(0)
    }
}
