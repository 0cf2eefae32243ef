//! `holdfast-server ca`: what hosts and browsers know the server by, and how it is replaced. All of it works beside a
//! server that runs, which takes it over with SIGHUP.

use std::io::Write as _;

use anyhow::{Context as _, anyhow};
use bundle::time::Clock;
use clap::Subcommand;
use serde_json::json;
use wire::{AgentId, Instant, Sha256};

use super::token::{At, open};
use super::{Failure, INPUT};
use crate::app::{Actor, details, identity};
use crate::authority::{Authority, InForce};
use crate::data_dir::DataDir;
use crate::store::{Change, HostRecord, NewLeaf, Store};

/// Hosts that are read at a time.
const HOSTS: u32 = 500;
/// Hosts that are named.
const NAMED_MAX: usize = 20;

/// What can be asked of the CA.
#[derive(Subcommand)]
pub enum Ca {
    /// Print the CA's certificate and, on standard error, its digest; while it is replaced, also who still needs the old one
    Show {
        /// See [`At`].
        #[command(flatten)]
        at: At,
        /// Print all of it as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Begin to replace the CA by a new one that the old one vouches for; both are believed until `ca retire`
    Roll {
        /// See [`At`].
        #[command(flatten)]
        at: At,
    },
    /// End it: the old CA's key is destroyed, and hosts that did not follow must be enrolled again
    Retire {
        /// See [`At`].
        #[command(flatten)]
        at: At,
        /// Even though hosts did not follow yet
        #[arg(long)]
        force: bool,
    },
}

impl Ca {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(self, clock: &dyn Clock) -> Result<(), Failure> {
        match self {
            Self::Show { at, json } => show(&at, json, clock.realtime()).await,
            Self::Roll { at } => roll(&at, clock.realtime()).await,
            Self::Retire { at, force } => retire(&at, force, clock.realtime()).await,
        }
    }
}

async fn show(at: &At, as_json: bool, now: Instant) -> Result<(), Failure> {
    let data = &at.data;
    // Whoever only wants the digest need not be the server's user.
    let path = data.join("ca.pem");
    let pem = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()));
    let pem = pem.map_err(|error| Failure {
        code: super::UNAVAILABLE,
        error,
        hint: Some("--data names the directory that the server was started with".to_owned()),
    })?;
    if !data.join("ca-next.pem").exists() {
        let sha256 = Authority::digest_of(&pem).context("ca.pem holds no certificate")?;
        if as_json {
            return Ok(writeln!(std::io::stdout(), "{}", json!({ "pem": pem, "sha256": sha256 }))?);
        }
        writeln!(std::io::stderr(), "sha256 {sha256}")?;
        return Ok(std::io::stdout().write_all(pem.as_bytes())?);
    }
    let in_force = DataDir::beside(data).and_then(|dir| dir.in_force(now)).map_err(anyhow::Error::new)?;
    let store = open(at, std::time::Duration::ZERO).await?;
    let hosts = hosts(&store, in_force.issuing.sha256(), now).await;
    store.close().await;
    let (followed, left) = hosts?;
    let sha256s = in_force.sha256s();
    let old = sha256s.get(1);
    if as_json {
        let told = json!({
            "hosts_followed": followed, "hosts_left": left, "pem": in_force.issuing.pem(), "replaces": old,
            "sha256": in_force.issuing.sha256(),
        });
        return Ok(writeln!(std::io::stdout(), "{told}")?);
    }
    writeln!(std::io::stderr(), "sha256 {}", in_force.issuing.sha256())?;
    if let Some(old) = old {
        writeln!(std::io::stderr(), "it replaces {old}, which is believed until: holdfast-server ca retire")?;
    }
    let total = followed + left.len();
    writeln!(
        std::io::stderr(),
        "{} of {total} hosts still hold certificates of the old one{}",
        left.len(),
        names(&left)
    )?;
    Ok(std::io::stdout().write_all(in_force.issuing.pem().as_bytes())?)
}

async fn roll(at: &At, now: Instant) -> Result<(), Failure> {
    let dir = DataDir::beside(&at.data).map_err(anyhow::Error::new)?;
    let InForce { issuing, before } = dir.in_force(now).map_err(anyhow::Error::new)?;
    if before.is_some() {
        return Err(Failure {
            code: INPUT,
            error: anyhow!("the CA is being replaced already"),
            hint: Some("end that first: holdfast-server ca retire; ca show says which hosts are left".to_owned()),
        });
    }
    let rolled = issuing.roll(now).context("the new CA could not be made")?;
    let new = Authority::digest_of(&rolled.certificate_pem).context("the new CA has no certificate")?;
    let store = open(at, std::time::Duration::ZERO).await?;
    let told = details([("from", json!(issuing.sha256())), ("to", json!(new))]);
    let recorded = store.commit(Vec::new(), vec![leaf("ca_rolled", told, now)]).await;
    store.close().await;
    recorded.context("it could not be recorded, and was not done")?;
    dir.begin_roll(&rolled).map_err(anyhow::Error::new)?;
    writeln!(std::io::stdout(), "{new}")?;
    writeln!(
        std::io::stderr(),
        "{} vouches for it; have the server take it over: SIGHUP, or a restart",
        issuing.sha256()
    )?;
    writeln!(
        std::io::stderr(),
        "hint: agents follow by themselves; when none is left (ca show): holdfast-server ca retire"
    )?;
    Ok(())
}

async fn retire(at: &At, force: bool, now: Instant) -> Result<(), Failure> {
    let dir = DataDir::beside(&at.data).map_err(anyhow::Error::new)?;
    let in_force = dir.in_force(now).map_err(anyhow::Error::new)?;
    let [new, old] = in_force.sha256s()[..] else {
        return Err(Failure {
            code: INPUT,
            error: anyhow!("no CA is being replaced"),
            hint: Some("begin with: holdfast-server ca roll".to_owned()),
        });
    };
    let store = open(at, std::time::Duration::ZERO).await?;
    let retired = async {
        let (_, left) = hosts(&store, new, now).await?;
        if !left.is_empty() && !force {
            return Err(Failure {
                code: INPUT,
                error: anyhow!("{} hosts still hold certificates of the old CA{}", left.len(), names(&left)),
                hint: Some("wait until they were on line; with --force they must be enrolled again".to_owned()),
            });
        }
        let told = details([("hosts_left", json!(left.len())), ("in_force", json!(new)), ("retired", json!(old))]);
        // Servers that share the records know each other by it.
        let known = store.identity(identity::CA).await.context("the records cannot be read")?;
        let known = known.filter(|known| *known == old.to_string());
        let changes = known.map(|old| Change::SetIdentity { from: Some(old), name: identity::CA, to: new.to_string() });
        let leaves = vec![leaf("ca_retired", told, now)];
        store.commit(changes.into_iter().collect(), leaves).await.context("it could not be recorded")?;
        Ok(left)
    };
    let left = retired.await;
    store.close().await;
    let left = left?;
    dir.end_roll().map_err(anyhow::Error::new)?;
    writeln!(std::io::stderr(), "{old} is retired; have the server take it over: SIGHUP, or a restart")?;
    if !left.is_empty() {
        writeln!(std::io::stderr(), "to be enrolled again{}", names(&left))?;
    }
    Ok(())
}

/// How many hosts trust this CA, and which do not: those that are welcome and whose certificate is still good.
async fn hosts(store: &dyn Store, ca: Sha256, now: Instant) -> Result<(usize, Vec<AgentId>), Failure> {
    let (mut after, mut followed, mut left) = (None, 0, Vec::new());
    loop {
        let hosts = store.hosts(after.as_ref(), HOSTS).await.context("the hosts cannot be read")?;
        let Some(last) = hosts.last() else { return Ok((followed, left)) };
        after = Some(last.agent.clone());
        let is_in = |host: &HostRecord| host.is_enrolled() && host.certificate_expires > now;
        for host in hosts.into_iter().filter(is_in) {
            if host.facts.cas.contains(&ca) {
                followed += 1;
            } else {
                left.push(host.agent);
            }
        }
    }
}

fn names(left: &[AgentId]) -> String {
    let named: Vec<&str> = left.iter().take(NAMED_MAX).map(AgentId::as_str).collect();
    match (named.is_empty(), left.len() > NAMED_MAX) {
        (true, _) => String::new(),
        (false, is_more) => format!(": {}{}", named.join(", "), if is_more { ", …" } else { "" }),
    }
}

fn leaf(event: &'static str, details: serde_json::Map<String, serde_json::Value>, time: Instant) -> NewLeaf {
    let (actor, subject) = (Actor::Server.to_string(), "ca".to_owned());
    NewLeaf { actor, details, event, incident: None, subject, time }
}
