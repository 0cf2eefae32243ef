//! `holdfast alert`: hands an alert to the server, in the dialect of whatever raised it, and shows one that is there.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use reqwest::Method;
use serde_json::Value;
use wire::api::{AlertReceived, AlertView, AlertsReply, DeadLetter, Me, Page, Role};
use wire::{AlertId, LetterId};

use super::{Failure, INPUT, IO, UNAVAILABLE, USAGE, more};
use crate::api::{self, Api};
use crate::config::Config;
use crate::escape::shown;
use crate::show::{Look, print, remark, time};

/// The server takes no longer one.
const ALERT_BYTES_MAX: u64 = 1 << 20;

/// Send alerts, or look at one.
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
    /// List the requests whose alerts could not be taken in, or take one in now
    DeadLetters {
        #[command(subcommand)]
        replay: Option<DeadLetters>,
        /// Print the server's answer as JSON.
        #[arg(long, global = true)]
        json: bool,
    },
    /// Show an alert: what triage makes of it alone, or its bytes as they came
    Show {
        /// The alert's id, as `incident show` has it.
        alert: AlertId,
        /// Print its bytes as its source wrote them.
        #[arg(long, conflicts_with = "json")]
        raw: bool,
        /// Print the server's answer as JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
enum DeadLetters {
    /// Take the alerts of a dead letter in
    Replay {
        /// Its id, as the list has it.
        letter: LetterId,
    },
}

impl Alert {
    /// Runs the sub-command.
    pub fn run(self) -> Result<u8, Failure> {
        match self.command {
            Command::Send { file, source, json } => send(&file, source.as_deref(), json)?,
            Command::DeadLetters { replay, json } => dead_letters(replay.as_ref(), json)?,
            Command::Show { alert, raw: true, .. } => raw(&Api::of(&Config::load()?)?, alert)?,
            Command::Show { alert, json, .. } => {
                let api = Api::of(&Config::load()?)?;
                let answer = api.get(&format!("/api/v1/alerts/{alert}"))?;
                if json {
                    print(&format!("{answer}\n"))?;
                } else {
                    print(&text(&api::read(api.server(), answer)?)?)?;
                }
            }
        }
        Ok(0)
    }
}

fn send(file: &Path, source: Option<&str>, json: bool) -> Result<(), Failure> {
    let body = read(file)?;
    let api = Api::of(&Config::load()?)?;
    let path = match source {
        Some(source) => format!("/api/v1/alerts?source={}", api::percent_encoded(source)),
        None => "/api/v1/alerts".to_owned(),
    };
    let answer = api.post_patiently(&path, "application/json", &body)?;
    if json { print(&format!("{answer}\n")) } else { told(&api, answer) }
}

fn dead_letters(replay: Option<&DeadLetters>, json: bool) -> Result<(), Failure> {
    let api = Api::of(&Config::load()?)?;
    let answer = match replay {
        Some(DeadLetters::Replay { letter }) => {
            api.post(&format!("/api/v1/dead-letters/{letter}/replay"), "application/json", Vec::new())?
        }
        None => api.list("/api/v1/dead-letters")?,
    };
    match replay {
        _ if json => print(&format!("{answer}\n")),
        Some(_) => told(&api, answer),
        None => {
            let page: Page<DeadLetter> = api::read(api.server(), answer)?;
            more(&page);
            print(&letters(&page.items))
        }
    }
}

/// One letter, and why it is one, on two lines.
fn letters(letters: &[DeadLetter]) -> String {
    let line = |letter: &DeadLetter| {
        let state = letter.replayed.map_or_else(|| "waits".to_owned(), |at| format!("replayed {}", time(at)));
        let (received, sent_by) = (time(letter.received), shown(&letter.sent_by));
        let DeadLetter { bytes, letter, reason, .. } = letter;
        format!("{letter}  {received}  {sent_by}, {bytes} bytes, {state}\n    {}\n", shown(reason))
    };
    letters.iter().map(line).collect()
}

/// As they came, but for a terminal, which would obey what stands in them.
fn raw(api: &Api, alert: AlertId) -> Result<(), Failure> {
    let request = api.request(Method::GET, &format!("/api/v1/alerts/{alert}/raw"));
    let mut bytes = Vec::new();
    api.send(request)?.take(ALERT_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| {
        Failure::new(UNAVAILABLE, anyhow::Error::new(error).context("the alert breaks off")).hint("try again")
    })?;
    if io::stdout().is_terminal() {
        let text = String::from_utf8_lossy(&bytes);
        return text.lines().try_for_each(|line| print(&format!("{}\n", shown(line))));
    }
    let mut stdout = io::stdout().lock();
    match stdout.write_all(&bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(IO, error)),
        _ => Ok(()),
    }
}

/// Where it came from and where it stands, then what it is by itself.
fn text(view: &AlertView) -> Result<String, Failure> {
    let place = match (&view.incident, &view.correlated) {
        (None, _) => "none: it was closed by itself".to_owned(),
        (Some(incident), None) => format!("{incident}, which it opened"),
        (Some(incident), Some(why)) => format!("{incident}, attached: {}", shown(why)),
    };
    let mut out = format!(
        "{}\nreceived   {}, sent by {}\nincident   {place}\n",
        shown(&view.title),
        time(view.received),
        shown(&view.sent_by)
    )
    .into_bytes();
    super::triage::text(&mut out, &view.assessment).map_err(|error| Failure::new(IO, error))?;
    Ok(String::from_utf8_lossy(&out).into_owned())
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

/// What became of an alert, in a line.
pub fn line(alert: &AlertReceived, look: Look) -> String {
    let what = match (&alert.incident, alert.duplicate) {
        (None, _) => "closed by itself: a test, or closed by its source".to_owned(),
        (Some(incident), true) => format!("{incident}  a duplicate: nothing changed"),
        (Some(incident), false) => match &alert.correlated {
            Some(why) => format!("{incident}  attached: {}", shown(why)),
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

#[cfg(test)]
mod tests {
    use wire::api::IncidentView;

    use super::*;

    #[test]
    fn an_alert_says_where_it_came_from_and_where_it_stands() {
        let view: IncidentView = serde_json::from_str(include_str!("../../tests/incident.json")).unwrap();
        let page = text(&view.alerts[1]).unwrap();
        let lines: Vec<&str> = page.lines().take(3).collect();
        assert_eq!(
            lines,
            [
                "Backdoor:EC2/C&CActivity.B",
                "received   2026-11-21 17:45:48Z, sent by guardduty",
                "incident   INC-2026-0007, attached: same host within 60 minutes",
            ]
        );
        assert!(page.lines().any(|line| line.starts_with("next ")) && !page.contains('\u{1b}'), "{page}");
    }
}
