//! `holdfast host`: the hosts that have an agent, what people set about them, and how one gets in.

use std::fmt::Write as _;

use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use wire::AgentId;
use wire::api::{HostView, Page, RevokeRequest, TicketReply, TicketRequest};
use wire::host::{Criticality, HostMark, HostMarks, Label};

use super::dispatch::find_host;
use super::{Failure, IO};
use crate::api::{self, Api};
use crate::config::Config;
use crate::escape::shown;
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
        /// Only those with this label (again for more: those that have all of them).
        #[arg(long, value_name = "KEY=VALUE")]
        label: Vec<Label>,
        /// Print the server's answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what is known of a host
    Show {
        /// The host: its agent's id, or its name where only one host has it.
        host: String,
        /// Print the server's answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Give a host labels, or take them from it
    Label {
        /// The host: its agent's id, or its name where only one host has it.
        host: String,
        /// Labels that it has from now on.
        #[arg(value_name = "KEY=VALUE", required_unless_present = "remove")]
        set: Vec<Label>,
        /// A label that it has no more (again for more).
        #[arg(long, value_name = "KEY")]
        remove: Vec<String>,
        /// Print the server's answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say how much hangs on a host: an incident on a high or critical one is a severity higher
    Criticality {
        /// The host: its agent's id, or its name where only one host has it.
        host: String,
        /// How much.
        #[arg(value_parser = PossibleValuesParser::new(["low", "medium", "high", "critical", "none"]))]
        level: String,
        /// Print the server's answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Have a host never be isolated by automation, and by people only where two agree
    Protect {
        /// The host: its agent's id, or its name where only one host has it.
        host: String,
        /// Why, for custody.
        #[arg(long, value_name = "TEXT")]
        because: String,
        /// Print the server's answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take that back
    Unprotect {
        /// The host: its agent's id, or its name where only one host has it.
        host: String,
        /// Why, for custody.
        #[arg(long, value_name = "TEXT")]
        because: String,
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
            Command::List { label, json } => {
                let answer = api.list(&hosts_path(&label))?;
                if json {
                    print(&format!("{answer}\n"))?;
                } else {
                    list(&api::read(api.server(), answer)?, &label)?;
                }
            }
            Command::Show { host, json } => {
                let found = find_host(&api, &host)?;
                let answer = api.get(&format!("/api/v1/hosts/{}", found.agent))?;
                if json {
                    print(&format!("{answer}\n"))?;
                } else {
                    print(&text(&api::read(api.server(), answer)?))?;
                }
            }
            Command::Label { host, set, remove, json } => mark(&api, &host, &HostMark::Label { remove, set }, json)?,
            Command::Criticality { host, level, json } => {
                let level = Criticality::ALL.into_iter().find(|known| known.name() == level);
                mark(&api, &host, &HostMark::Criticality { level }, json)?;
            }
            Command::Protect { host, because, json } => mark(&api, &host, &HostMark::Protect { because }, json)?,
            Command::Unprotect { host, because, json } => mark(&api, &host, &HostMark::Unprotect { because }, json)?,
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

/// Where the hosts with all of these labels are asked for. Nothing in a label needs another spelling but `+`.
pub fn hosts_path(labels: &[Label]) -> String {
    if labels.is_empty() {
        return "/api/v1/hosts".to_owned();
    }
    let labels: Vec<String> = labels.iter().map(|label| label.to_string().replace('+', "%2B")).collect();
    format!("/api/v1/hosts?label={}", labels.join(","))
}

fn mark(api: &Api, host: &str, mark: &HostMark, json: bool) -> Result<(), Failure> {
    let found = find_host(api, host)?;
    let body = serde_json::to_vec(mark).map_err(|error| Failure::new(IO, error))?;
    let answer = api.post(&format!("/api/v1/hosts/{}/marks", found.agent), "application/json", body)?;
    if json {
        return print(&format!("{answer}\n"));
    }
    let view: HostView = api::read(api.server(), answer)?;
    let marks = marks(&view.marks);
    print(&format!(
        "{} ({}): {}\n",
        shown(&view.facts.name),
        view.agent,
        if marks.is_empty() { "nothing is set" } else { &marks }
    ))
}

/// What people have set, on one line.
fn marks(marks: &HostMarks) -> String {
    let criticality = marks.criticality.map(|level| level.name().to_owned());
    let protected = marks.protected.as_ref().map(|_| "never isolated".to_owned());
    let labels = marks.labels.iter().map(|(key, value)| shown(&format!("{key}={value}")));
    criticality.into_iter().chain(protected).chain(labels).collect::<Vec<_>>().join(", ")
}

fn seen(host: &HostView) -> String {
    match host.last_seen {
        _ if host.connected => "connected".to_owned(),
        Some(seen) if host.silent.is_some() => format!("silent, {}", ago(seen, now())),
        Some(seen) => ago(seen, now()),
        None => "never".to_owned(),
    }
}

fn text(host: &HostView) -> String {
    let mut text = String::new();
    let facts = &host.facts;
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<13}{}", shown(value));
    };
    line("host", &facts.name);
    line("agent", host.agent.as_str());
    line("seen", &seen(host));
    if let Some(at) = host.revoked {
        line("shut out", &time(at));
    }
    if let Some(at) = host.gone {
        line("removed", &time(at));
    }
    if let Some(at) = host.silent {
        line("silent", &format!("found so {}", time(at)));
    }
    if let Some(at) = host.went_back {
        line("count", &format!("went back {}: its disk was set back, or somebody else has its keys", time(at)));
    }
    line("criticality", host.marks.criticality.map_or("not said", Criticality::name));
    if let Some(said) = &host.marks.protected {
        line("protected", &format!("{} ({}, {})", said.because, said.by, time(said.since)));
    }
    for (key, value) in &host.marks.labels {
        line("label", &format!("{key}={value}"));
    }
    line("system", facts.os_id.as_deref().unwrap_or("unknown"));
    line("kernel", &format!("{} {}", facts.kernel, facts.arch));
    let clock = facts.clock().unwrap_or_else(|| "not known yet".to_owned());
    line("clock", &if facts.is_clock_wrong() { format!("{clock}: it is wrong") } else { clock });
    line("version", &facts.agent_version);
    line("certificate", &format!("ends {}", time(host.certificate_expires)));
    line("signer", &host.signer);
    text
}

fn list(page: &Page<HostView>, asked: &[Label]) -> Result<(), Failure> {
    let mut table =
        Table::new(&["HOST", "AGENT", "SEEN", "SYSTEM", "KERNEL", "CLOCK", "VERSION", "CERTIFICATE", "SET"]);
    for host in &page.items {
        let certificate = if host.certificate_expires < now() { "ended " } else { "ends " };
        table.row([
            host.facts.name.as_str().into(),
            host.agent.as_str().into(),
            seen(host).into(),
            host.facts.os_id.as_deref().unwrap_or("").into(),
            host.facts.kernel.as_str().into(),
            host.facts.clock().unwrap_or_default().into(),
            host.facts.agent_version.as_str().into(),
            format!("{certificate}{}", ago(host.certificate_expires, now())).into(),
            marks(&host.marks).into(),
        ]);
    }
    if table.is_empty() && !asked.is_empty() {
        remark("no host has these labels");
        remark("hint: holdfast host list shows those of each, holdfast host label sets them");
        return Ok(());
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
