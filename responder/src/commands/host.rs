//! `holdfast host`: the hosts that have an agent, and how one gets in.

use clap::Subcommand;
use wire::AgentId;
use wire::api::{HostView, Page, RevokeRequest, TicketReply, TicketRequest};

use super::{Failure, IO};
use crate::api::{self, Api};
use crate::config::Config;
use crate::show::{Look, Table, ago, now, print, remark, time};

/// Look at hosts with an agent, or let one in.
#[derive(clap::Args)]
pub struct Host {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the hosts that have an agent
    List {
        /// Print the server's answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print a ticket that enrols one host, once
    EnrollTicket {
        /// The host that it is for, for people.
        #[arg(long)]
        host: Option<String>,
        /// How long it is good for: 30m, 1h, 2d; at most 7 days.
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = super::seconds)]
        valid: u64,
        /// Print the server's answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shut a host out, for good: its agent is refused at once, and its key vouches for nothing from now on
    #[command(
        after_help = "What came is kept, and verifies as before. A host that is welcome again, or that has lost its \
        signing key, is enrolled with a new one: remove its state folder, then holdfast-agent enroll."
    )]
    Revoke {
        /// Its agent's id, as `holdfast host list` shows it.
        agent: AgentId,
        /// Why, for custody.
        #[arg(long)]
        reason: String,
        /// Print the server's answer as JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Host {
    /// Runs the sub-command.
    pub fn run(self) -> Result<u8, Failure> {
        let api = Api::of(&Config::load()?)?;
        match self.command {
            Command::List { json } => {
                let answer = api.list("/api/v1/hosts")?;
                if json {
                    print(&format!("{answer}\n"))?;
                } else {
                    list(&api::read(api.server(), answer)?)?;
                }
            }
            Command::EnrollTicket { host, valid, json } => {
                let request = TicketRequest { host, profile: None, valid_secs: Some(valid) };
                let Some(reply) = ticket(&api, "/api/v1/hosts/tickets", &request, json)? else { return Ok(0) };
                remark(&format!("good for one host, until {}; it is a secret, and shown once", time(reply.expires)));
                remark("hint: put it into a file on the host, then: holdfast-agent enroll --token FILE --signers FILE");
            }
            Command::Revoke { agent, reason, json } => {
                let answer = revoke(&api, &format!("/api/v1/hosts/{agent}/revoke"), reason)?;
                if json {
                    print(&format!("{answer}\n"))?;
                } else {
                    remark(&format!("{agent} is shut out; what it is sending ends, and what came is kept"));
                }
            }
        }
        Ok(0)
    }
}

/// Asks for a ticket and prints it, or the whole answer; returns it where there is more to say about it.
pub fn ticket(api: &Api, path: &str, request: &TicketRequest, json: bool) -> Result<Option<TicketReply>, Failure> {
    let body = serde_json::to_vec(request).map_err(|error| Failure::new(IO, error))?;
    let answer = api.post(path, "application/json", body)?;
    let reply: TicketReply = api::read(api.server(), answer.clone())?;
    // What is printed is what a person copies to a host: nothing else may stand in it.
    if let Err(error) = reply.ticket.parse::<wire::ticket::Ticket>() {
        return Err(api::not_understood(api.server(), &error.to_string()));
    }
    if json {
        return print(&format!("{answer}\n")).map(|()| None);
    }
    print(&format!("{}\n", reply.ticket)).map(|()| Some(reply))
}

/// Asks to shut something out.
pub fn revoke(api: &Api, path: &str, reason: String) -> Result<String, Failure> {
    let body = serde_json::to_vec(&RevokeRequest { reason }).map_err(|error| Failure::new(IO, error))?;
    api.post_for_text(path, "application/json", body)
}

fn list(page: &Page<HostView>) -> Result<(), Failure> {
    let mut table = Table::new(&["HOST", "AGENT", "SEEN", "SYSTEM", "KERNEL", "VERSION", "CERTIFICATE"]);
    for host in &page.items {
        let seen = match host.last_seen {
            _ if host.connected => "connected".to_owned(),
            Some(seen) => ago(seen, now()),
            None => "never".to_owned(),
        };
        let certificate = if host.certificate_expires < now() { "ended " } else { "ends " };
        table.row([
            host.facts.name.as_str().into(),
            host.agent.as_str().into(),
            seen.into(),
            host.facts.os_id.as_deref().unwrap_or("").into(),
            host.facts.kernel.as_str().into(),
            host.facts.agent_version.as_str().into(),
            format!("{certificate}{}", ago(host.certificate_expires, now())).into(),
        ]);
    }
    if table.is_empty() {
        remark("no host is enrolled");
        remark("hint: holdfast host enroll-ticket");
        return Ok(());
    }
    print(&table.text(Look::of_stdout(), ""))?;
    super::more(page);
    Ok(())
}
