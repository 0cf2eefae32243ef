//! `holdfast ticket`: lets a host without an agent upload one bundle.

use wire::IncidentId;
use wire::api::TicketRequest;
use wire::profile::shipped;

use super::Failure;
use super::dispatch::no_profile;
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
    /// The profile to collect by: a shipped one's name, or the path of a file on that host.
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
        if let Some(profile) = &self.profile {
            check(profile)?;
        }
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
