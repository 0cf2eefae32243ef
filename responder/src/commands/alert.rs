//! `holdfast alert send`: hands an alert to the server, in the dialect of whatever raised it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use serde_json::Value;
use wire::api::{AlertReceived, AlertsReply, Me, Role};

use super::{Failure, INPUT, IO, USAGE};
use crate::api::{self, Api};
use crate::config::Config;
use crate::show::{Look, print, remark};

/// The server takes no longer one.
const ALERT_BYTES_MAX: u64 = 1 << 20;

/// Send alerts.
#[derive(clap::Args)]
pub struct Alert {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send an alert, or a file of them, as the source wrote it
    Send {
        /// The alert, or `-` for standard input.
        file: PathBuf,
        /// The product that raised it, e.g. falco; otherwise the server finds out.
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
        /// Print the server's answer as JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Alert {
    /// Runs the sub-command.
    pub fn run(self) -> Result<u8, Failure> {
        let Command::Send { file, source, json } = self.command;
        let body = read(&file)?;
        let api = Api::of(&Config::load()?)?;
        let path = match &source {
            Some(source) => format!("/api/v1/alerts?source={}", api::percent_encoded(source)),
            None => "/api/v1/alerts".to_owned(),
        };
        let answer = api.post(&path, "application/json", body)?;
        if json {
            print(&format!("{answer}\n"))?;
        } else {
            told(&api, answer)?;
        }
        Ok(0)
    }
}

fn told(api: &Api, answer: Value) -> Result<(), Failure> {
    let reply: AlertsReply = api::read(api.server(), answer)?;
    let look = Look::of_stdout();
    print(&reply.alerts.iter().map(|alert| line(alert, look)).collect::<String>())?;
    match reply.alerts.iter().find_map(|alert| alert.incident.as_ref()) {
        Some(incident) if may_read(api) => remark(&format!("hint: holdfast incident show {incident}")),
        None if reply.alerts.is_empty() => remark("the server found no alert in it"),
        _ => {}
    }
    Ok(())
}

/// A source sends alerts and reads nothing.
fn may_read(api: &Api) -> bool {
    let me = api.get("/api/v1/me").and_then(|me| api::read::<Me>(api.server(), me));
    me.is_ok_and(|me| me.role != Role::Source)
}

fn line(alert: &AlertReceived, look: Look) -> String {
    let what = match (&alert.incident, alert.duplicate) {
        (None, _) => "closed by itself: a test, or closed by its source".to_owned(),
        (Some(incident), true) => format!("{incident}  a duplicate: nothing changed"),
        (Some(incident), false) => match &alert.correlated {
            Some(why) => format!("{incident}  attached: {}", crate::escape::shown(why)),
            None => format!("{incident}  opened"),
        },
    };
    format!("{}  {what}\n", look.severity(alert.severity))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        io::stdin().lock().take(ALERT_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(ALERT_BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("{} cannot be read", path.display())).map_err(|error| Failure::new(IO, error))?;
    match bytes.len() as u64 {
        0 => Err(Failure::new(INPUT, anyhow!("{} is empty", path.display()))),
        1..=ALERT_BYTES_MAX => Ok(bytes),
        _ => Err(Failure::new(USAGE, anyhow!("{} is longer than the 1 MiB that the server takes", path.display()))
            .hint("send the alerts in several files")),
    }
}
