//! `holdfast-agent contain`: root at the host contains it, whether it is enrolled or not.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::json;
use wire::containment::{Action, ContainmentEvent, Endpoint, ProcessRef};
use wire::{OrderId, Sha256};

use super::{Refusal, exit, print};
use crate::contain::engine::{Engine, EngineError};
use crate::contain::journal::{By, Entry, JournalError, Phase, Wish};
use crate::contain::{keeper, servers};
use crate::host::{Host, SystemClock};
use crate::{state, trust};

/// It holds, or does not, within this time.
const SETTLED_MAX: Duration = Duration::from_secs(30);

/// See [`super::Cli`].
#[derive(Args)]
#[command(
    after_help = "The host restores itself when the lease ends, also after a reboot, unless its policy says otherwise."
)]
pub struct Contain {
    #[command(subcommand)]
    action: What,
    /// How long it holds, at most 4h: 90s, 30m, 1h
    #[arg(long, global = true, value_name = "TIME", default_value = "1h", value_parser = seconds)]
    lease: u64,
    /// Only say what would be done, and whom it would touch
    #[arg(long, global = true)]
    rehearse: bool,
    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
#[command(rename_all = "snake_case")]
enum What {
    /// Cut the host and its containers off, but for its servers and these exceptions
    IsolateNetwork {
        /// A further exception, both ways: ADDR, ADDR/BITS, ADDR:PORT, [ADDR6]:PORT
        #[arg(long, value_name = "ADDR[:PORT]")]
        allow: Vec<Endpoint>,
        /// A resolver that may still be asked
        #[arg(long, value_name = "ADDR")]
        resolver: Vec<IpAddr>,
    },
    /// Cut the host and its containers off from these destinations
    BlockEgress {
        /// Where to: ADDR, ADDR/BITS, ADDR:PORT, [ADDR6]:PORT
        #[arg(required = true, value_name = "ADDR[:PORT]")]
        to: Vec<Endpoint>,
    },
    /// Cut the host and its containers off from the cloud's metadata service
    BlockMetadataService,
    /// Let a process and all that descend from it stand still
    FreezeProcess {
        /// Its number
        pid: u32,
    },
    /// End a process and all that descend from it; cannot be taken back
    KillProcess {
        /// Its number
        pid: u32,
    },
    /// Let nobody log in to an account
    LockAccount {
        /// Its name
        account: String,
    },
    /// End all sessions of an account; cannot be taken back
    EndSessions {
        /// Its name
        account: String,
    },
    /// Let keys of an account open no door
    RevokeSshKeys {
        /// Its name
        account: String,
        /// Fingerprints, SHA256:…; none for all of them
        keys: Vec<String>,
    },
    /// Stop a unit, and let nobody start it
    StopUnit {
        /// Its name with suffix
        unit: String,
    },
    /// Take a file out of reach, and keep its content
    QuarantineFile {
        /// Its absolute path
        path: String,
        /// What it must hold
        #[arg(long, value_name = "HEX")]
        sha256: Option<Sha256>,
    },
}

impl What {
    fn action(self) -> Result<Action, Refusal> {
        Ok(match self {
            Self::IsolateNetwork { allow, resolver } => Action::IsolateNetwork { allow, resolvers: resolver },
            Self::BlockEgress { to } => Action::BlockEgress { to },
            Self::BlockMetadataService => Action::BlockMetadataService {},
            Self::FreezeProcess { pid } => Action::FreezeProcess { process: process(pid)? },
            Self::KillProcess { pid } => Action::KillProcess { process: process(pid)? },
            Self::LockAccount { account } => Action::LockAccount { account },
            Self::EndSessions { account } => Action::EndSessions { account },
            Self::RevokeSshKeys { account, keys } => Action::RevokeSshKeys { account, keys },
            Self::StopUnit { unit } => Action::StopUnit { unit },
            Self::QuarantineFile { path, sha256 } => Action::QuarantineFile { path, sha256 },
        })
    }
}

/// The process that has the number now, with its start: field 22 of proc_pid_stat(5).
fn process(pid: u32) -> Result<ProcessRef, Refusal> {
    let text = Host::live().read_text(format!("/proc/{pid}/stat"), 4096).unwrap_or_default();
    let start = text.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19)?.parse().ok());
    let start_ticks = start.ok_or_else(|| refusal(exit::INPUT, format!("there is no process {pid}")))?;
    Ok(ProcessRef { pid, start_ticks })
}

impl Contain {
    pub(super) fn run(self) -> Result<ExitCode, Refusal> {
        root()?;
        let folder = state::folder();
        let policy = trust::load_policy(trust::SITE_FOLDER.as_ref(), &folder)?.contain;
        let wish = Wish {
            action: self.action.action()?,
            by: By::Console,
            lease_secs: self.lease,
            on_invalid: policy.on_invalid,
            on_lease_end: policy.on_lease_end,
            roles: if policy.protected { vec!["protected".to_owned()] } else { Vec::new() },
            servers: servers::pinned(&folder),
        };
        let id = new_id()?;
        let engine = Engine::open(&folder, Host::live())?;
        if self.rehearse {
            return rehearsed(&engine, id, &wish, self.json);
        }
        engine.ask(id, wish)?;
        let since = Instant::now();
        let mut entry = keeper::carry_out(&engine, &folder, id)?;
        while !entry.phase.is_over() && entry.holds.is_none() && since.elapsed() < SETTLED_MAX {
            std::thread::sleep(Duration::from_millis(100));
            entry = engine.advance(id)?;
        }
        told(&entry, self.json)
    }
}

fn rehearsed(engine: &Engine, id: OrderId, wish: &Wish, as_json: bool) -> Result<ExitCode, Refusal> {
    let planned = engine.rehearse(id, wish).map_err(|error| Refusal::new(exit::INPUT, &error))?;
    let (ContainmentEvent::Planned { preview, steps }, fallbacks) = planned else { return Ok(ExitCode::SUCCESS) };
    if as_json {
        let told = json!({ "action": wish.action, "fallbacks": fallbacks, "preview": preview, "rehearsed": true, "steps": steps });
        print(&told.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!("{} would be done; nothing was changed\n", wish.action.name());
    let sections = [
        ("steps", steps),
        ("fallbacks", fallbacks),
        ("protected roles", preview.protected_roles),
        ("addresses", preview.addresses.iter().map(ToString::to_string).collect()),
        ("listening", preview.listening),
        ("peers", preview.peers),
        ("sessions", preview.sessions),
    ];
    for (name, lines) in sections {
        let _ = writeln!(text, "{name}: {}", lines.len());
        for line in lines {
            let _ = writeln!(text, "  {}", line.escape_debug());
        }
    }
    print(text.trim_end());
    Ok(ExitCode::SUCCESS)
}

/// What became of it, and the exit code for that.
fn told(entry: &Entry, as_json: bool) -> Result<ExitCode, Refusal> {
    if as_json {
        print(&as_json_object(entry).to_string());
    }
    match entry.phase {
        Phase::Applied if entry.holds == Some(true) => {
            if !as_json {
                print(&in_words(entry));
            }
            Ok(ExitCode::SUCCESS)
        }
        Phase::Applied => {
            Err(refusal(exit::UNSEALED, format!("containment {} is in force, but {}", entry.id, why_not(entry))))
        }
        _ => {
            let why = entry.failure.clone().unwrap_or_else(|| why_not(entry));
            let hint = if entry.left.is_empty() { "the host is as before" } else { "see: holdfast-agent status" };
            Err(refusal(exit::UNSEALED, format!("{} was not applied: {why}", entry.wish.action.name())).hint(hint))
        }
    }
}

fn why_not(entry: &Entry) -> String {
    let last = entry.untold.iter().rev().find_map(|untold| match &untold.event {
        event @ ContainmentEvent::Validated { holds: false, .. } => Some(event.to_string()),
        _ => None,
    });
    last.unwrap_or_else(|| "whether it holds is not known yet".to_owned())
}

/// One containment as `--json` and `status --json` show it.
pub(super) fn as_json_object(entry: &Entry) -> serde_json::Value {
    let last = entry.untold.last().map(|untold| untold.event.name());
    json!({
        "action": entry.wish.action, "by": entry.wish.by, "failure": entry.failure, "fallbacks": entry.fallbacks,
        "holds": entry.holds, "id": entry.id, "last_event": last, "left": entry.left, "phase": entry.phase,
        "servers": entry.wish.servers, "until": entry.lease.as_ref().map(|lease| lease.until),
    })
}

/// One containment as people read it.
pub(super) fn in_words(entry: &Entry) -> String {
    let action = &entry.wish.action;
    let target = action.target();
    let mut text = format!("{}  {}", entry.id, action.name());
    if !target.is_empty() {
        let _ = write!(text, " {}", target.escape_debug());
    }
    match (entry.phase, &entry.lease) {
        (Phase::Applied, Some(_)) if entry.is_overdue => {
            text.push_str(": in force; its lease is over, and policy keeps it");
        }
        (Phase::Applied, Some(lease)) => {
            let _ = write!(text, ": in force until {}", lease.until);
        }
        (Phase::Asked | Phase::Applying, _) => text.push_str(": being applied"),
        (Phase::Releasing, _) => text.push_str(": being taken back"),
        _ => text.push_str(": over"),
    }
    if entry.holds == Some(false) {
        text.push_str("; it does not hold");
    }
    for fallback in &entry.fallbacks {
        let _ = write!(text, "\n    {}", fallback.escape_debug());
    }
    text
}

pub(super) fn root() -> Result<(), Refusal> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(refusal(exit::REFUSED, "only root may do this".to_owned()))
}

pub(super) fn refusal(code: u8, message: String) -> Refusal {
    Refusal { code, message, hint: None }
}

fn new_id() -> Result<OrderId, Refusal> {
    use bundle::time::Clock as _;
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|_| refusal(exit::IO, "the kernel gave no random bytes".to_owned()))?;
    let unix_ms = u64::try_from(SystemClock.realtime().0 / 1_000_000).unwrap_or(0);
    Ok(OrderId::new(unix_ms, random))
}

fn seconds(text: &str) -> Result<u64, String> {
    let wanted = || format!("`{text}` is no time: 90s, 30m or 1h");
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, text.chars().last()),
        None => return Err(wanted()),
    };
    let secs = match unit {
        Some('h') => 3600,
        Some('m') => 60,
        _ => 1,
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(secs)).ok_or_else(wanted)
}

impl From<JournalError> for Refusal {
    fn from(error: JournalError) -> Self {
        let code = match &error {
            JournalError::Io { .. } => exit::IO,
            JournalError::Damaged { .. } | JournalError::Unknown(_) | JournalError::Double(_) => exit::INPUT,
            JournalError::Full => exit::UNAVAILABLE,
        };
        Self::new(code, &error)
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Journal(error) => error.into(),
            EngineError::NotInForce { .. } => Self::new(exit::UNAVAILABLE, &error),
            EngineError::Lease(_) => Self::new(exit::USAGE, &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!((seconds("90s"), seconds("30m"), seconds("4h")), (Ok(90), Ok(1800), Ok(14_400)));
        for wrong in ["", "1", "h", "-1h", "1d", "99999999999999999999h"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
