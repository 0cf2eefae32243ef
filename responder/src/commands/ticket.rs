//! `holdfast ticket`: lets a host without an agent upload one bundle.

use std::fs::File;
use std::io::{self, Read as _};

use anyhow::Context as _;
use wire::api::TicketRequest;
use wire::profile::shipped;
use wire::{IncidentId, Sha256};

use super::dispatch::no_profile;
use super::host::{revoke, ticket};
use super::{Failure, INPUT, IO};
use crate::api::Api;
use crate::config::Config;
use crate::show::{remark, time};

/// More than any ticket has.
const TEXT_BYTES_MAX: u64 = 16 << 10;

/// Print a ticket with which a host that has no agent uploads one bundle to an incident.
#[derive(clap::Args)]
pub struct Ticket {
    /// The incident that the evidence belongs to.
    #[arg(required_unless_present = "revoke")]
    incident: Option<IncidentId>,
    /// The host that it is for, for people.
    #[arg(long, required_unless_present = "revoke")]
    host: Option<String>,
    /// The profile to collect by: a shipped one's name, or the path of a file on that host.
    #[arg(long)]
    profile: Option<String>,
    /// How long it is good for: 30m, 1h, 2d; at most 7 days.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = super::seconds)]
    valid: u64,
    /// End a ticket instead, used or not: the file that holds it, or `-` for standard input, or its id in custody.
    #[arg(long, value_name = "FILE|ID", requires = "reason", conflicts_with_all = ["incident", "host", "profile"])]
    revoke: Option<String>,
    /// Why it is ended, for custody.
    #[arg(long, requires = "revoke")]
    reason: Option<String>,
    /// Print the server's answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Ticket {
    /// Asks for it, and prints it.
    pub fn run(self) -> Result<u8, Failure> {
        if let Some(profile) = &self.profile {
            check(profile)?;
        }
        let api = Api::of(&Config::load()?)?;
        if let Some(ticket) = &self.revoke {
            let id = id_of(ticket)?;
            revoke(&api, &format!("/api/v1/tickets/{id}/revoke"), self.reason.unwrap_or_default())?;
            remark("the ticket has ended; what came with it is kept");
            return Ok(0);
        }
        let request = TicketRequest { host: self.host, profile: self.profile, valid_secs: Some(self.valid) };
        // Either is there, as clap has seen to.
        let Some(incident) = self.incident else { return Ok(super::USAGE) };
        let path = format!("/api/v1/incidents/{incident}/tickets");
        let Some(reply) = ticket(&api, &path, &request, self.json)? else { return Ok(0) };
        remark(&format!("good for one upload, until {}; it is a secret, and shown once", time(reply.expires)));
        remark(
            "hint: copy holdfast-agent to the host, then: holdfast-agent collect --ticket FILE (or - for standard input)",
        );
        Ok(0)
    }
}

/// The id of a ticket, which is the digest of its secret.
fn id_of(given: &str) -> Result<Sha256, Failure> {
    if let Ok(id) = given.parse() {
        return Ok(id);
    }
    let mut text = String::new();
    if given == "-" {
        io::stdin().lock().take(TEXT_BYTES_MAX).read_to_string(&mut text)
    } else {
        File::open(given).and_then(|file| file.take(TEXT_BYTES_MAX).read_to_string(&mut text))
    }
    .with_context(|| format!("the ticket in {given} cannot be read"))
    .map_err(|error| Failure::new(IO, error).hint("give its file, or its id: holdfast custody show --json has it"))?;
    let ticket: wire::ticket::Ticket = text.parse().map_err(|error| Failure::new(INPUT, anyhow::Error::new(error)))?;
    Ok(Sha256::of(ticket.secret.as_bytes()))
}

/// A name is one of a shipped profile; a file lies on the host, where it will be looked for.
fn check(profile: &str) -> Result<(), Failure> {
    let is_file = profile.contains('/') || profile.ends_with(".yaml") || profile.ends_with(".yml");
    if is_file || shipped::find(profile).is_some() {
        return Ok(());
    }
    let own = format!("one of the host's own is given with its path there, /etc/holdfast/profiles/{profile}.yaml");
    Err(no_profile(profile, &own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_that_is_not_there_is_noticed_before_it_travels() {
        let failure = check("intrusio").unwrap_err();
        assert_eq!(failure.code, super::super::USAGE);
        assert!(failure.hint.unwrap().starts_with("did you mean `intrusion`?"));
        assert!(check("intrusion").is_ok() && check("/etc/holdfast/own.yaml").is_ok());
    }
}
