//! `holdfast ticket`: lets a host without an agent upload one bundle.

use wire::IncidentId;
use wire::api::TicketRequest;

use super::Failure;
use super::host::ticket;
use crate::api::Api;
use crate::config::Config;
use crate::show::{remark, time};

/// Print a ticket with which a host that has no agent uploads one bundle to an incident.
#[derive(clap::Args)]
pub struct Ticket {
    /// The incident that the evidence belongs to.
    incident: IncidentId,
    /// The host that it is for, for people.
    #[arg(long)]
    host: String,
    /// The profile to collect by.
    #[arg(long)]
    profile: Option<String>,
    /// How long it is good for: 30m, 1h, 2d; at most 7 days.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = super::seconds)]
    valid: u64,
    /// Print the server's answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Ticket {
    /// Asks for it, and prints it.
    pub fn run(self) -> Result<u8, Failure> {
        let api = Api::of(&Config::load()?)?;
        let request = TicketRequest { host: Some(self.host), profile: self.profile, valid_secs: Some(self.valid) };
        let path = format!("/api/v1/incidents/{}/tickets", self.incident);
        let Some(reply) = ticket(&api, &path, &request, self.json)? else { return Ok(0) };
        remark(&format!("good for one upload, until {}; it is a secret, and shown once", time(reply.expires)));
        remark(
            "hint: copy holdfast-agent to the host, then: holdfast-agent collect --ticket FILE (or - for standard input)",
        );
        Ok(0)
    }
}
