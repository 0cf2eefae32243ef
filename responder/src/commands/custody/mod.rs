//! `holdfast custody`: who did what to the evidence, and the proof that nobody rewrote it.

mod earlier;
mod verify;

use std::io;

use clap::Subcommand;
use reqwest::Method;
use serde_json::Value;
use wire::IncidentId;
use wire::api::Page;
use wire::custody::Leaf;

use super::{Failure, IO};
use crate::api::{self, Api};
use crate::config::Config;
use crate::show::{Look, Table, print, remark, time};

/// Look at the custody log, or prove that nobody rewrote it.
#[derive(clap::Args)]
pub struct Custody {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the custody log, or what belongs to one incident
    Show {
        /// Only what belongs to this incident.
        incident: Option<IncidentId>,
        /// Print the server's answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prove that nobody rewrote the custody log, from the server or offline from an export
    Verify(verify::Verify),
    /// Write the whole log and its newest head to standard output
    Export,
}

impl Custody {
    /// Runs the sub-command.
    pub fn run(self) -> Result<u8, Failure> {
        let config = Config::load()?;
        match self.command {
            Command::Verify(verify) => verify.run(&config),
            Command::Export => export(&Api::of(&config)?).map(|()| 0),
            Command::Show { incident, json } => show(&Api::of(&config)?, incident, json).map(|()| 0),
        }
    }
}

fn export(api: &Api) -> Result<(), Failure> {
    let mut response = api.send(api.request(Method::GET, "/api/v1/custody/export"))?;
    match io::copy(&mut response, &mut io::stdout().lock()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(IO, error).hint("what was written is incomplete: holdfast custody verify FILE says so"))
        }
        _ => Ok(()),
    }
}

fn show(api: &Api, incident: Option<IncidentId>, json: bool) -> Result<(), Failure> {
    let path = match incident {
        Some(incident) => format!("/api/v1/custody?incident={incident}"),
        None => "/api/v1/custody".to_owned(),
    };
    let answer = api.list(&path)?;
    if json {
        return print(&format!("{answer}\n"));
    }
    let page: Page<Leaf> = api::read(api.server(), answer)?;
    let mut table = Table::new(&["SEQ", "TIME", "ACTOR", "EVENT", "SUBJECT", "DETAILS"]);
    for leaf in &page.items {
        table.row([
            leaf.seq.to_string().into(),
            time(leaf.time).into(),
            short(&leaf.actor).into(),
            leaf.event.as_str().into(),
            short(&leaf.subject).into(),
            details(leaf).into(),
        ]);
    }
    if table.is_empty() {
        remark("nothing is in custody");
        return Ok(());
    }
    print(&table.text(Look::of_stdout(), ""))?;
    super::more(&page);
    Ok(())
}

/// A name as it stands in the log. A ticket's is a digest, of which the first 12 digits tell it apart.
fn short(name: &str) -> &str {
    const END: usize = "ticket:".len() + 12;
    if name.starts_with("ticket:") { name.get(..END).unwrap_or(name) } else { name }
}

/// `key=value`, those that are short: a leaf may hold a whole checkpoint.
fn details(leaf: &Leaf) -> String {
    const VALUE_CHARS_MAX: usize = 40;
    let pairs = leaf.details.iter().filter_map(|(key, value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        (value.chars().count() <= VALUE_CHARS_MAX).then(|| format!("{key}={value}"))
    });
    pairs.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_ticket_s_digest_is_short() {
        assert_eq!(super::short(&format!("ticket:{}", "0a".repeat(32))), "ticket:0a0a0a0a0a0a");
        assert_eq!((super::short("user:ada"), super::short("ticket:1")), ("user:ada", "ticket:1"));
    }
}
