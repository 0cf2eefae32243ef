//! `holdfast hunt`: one profile over many hosts. An order is made and signed here for each of them, because a signature
//! must name its agent; the server lets them go by and by.
//!
//! A profile that begins with what is gone first (the shipped part `volatile`) becomes two orders for each host: that
//! part, and the rest. The server lets no rest go while a host that is there has its first order before it.

use anyhow::anyhow;
use bundle::checkpoint::to_sorted_json;
use clap::{ArgGroup, Subcommand};
use serde_json::json;
use wire::api::{HostView, Page, RevokeRequest};
use wire::host::Label;
use wire::hunt::{CONCURRENCY_MAX, FIRST_WAVE, HuntRequest, HuntView, LAST_WAVE, RATE_MAX};
use wire::profile::shipped::Shipped;
use wire::profile::{Library as _, Profile, Step, Text, read};
use wire::signed::namespace;
use wire::{HuntId, IncidentId};

use super::dispatch::{Ordered, find_host, incident, known, new_order, profile, wrong_profile};
use super::host::hosts_path;
use super::{Failure, IO, USAGE, sensitive};
use crate::api::{self, Api};
use crate::config::Config;
use crate::escape::shown;
use crate::order_key::OrderKey;
use crate::show::{self, Look, Table, ago, counted, print, remark, time};

/// What is gone first.
const VOLATILE: &str = "volatile";

/// Collect by one profile on many hosts, or see how that goes.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Hunt {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    begin: Option<Begin>,
}

#[derive(Subcommand)]
enum Command {
    /// Show a hunt: each host, and where its orders stand
    Show {
        /// Which.
        hunt: HuntId,
        /// Print the server's answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the last hunts
    List {
        /// Print the server's answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// End a hunt: what no agent has yet, none gets; what runs goes on
    Cancel {
        /// Which.
        hunt: HuntId,
        /// Why, for custody.
        #[arg(long)]
        reason: String,
        /// Print the server's answer as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// A new one.
#[derive(clap::Args)]
#[command(group(ArgGroup::new("hosts").args(["label", "host"]).required(true).multiple(true)))]
struct Begin {
    /// What to collect: the name of a shipped profile, or a YAML file.
    profile: String,
    /// The incident that the evidence belongs to.
    #[arg(long)]
    incident: IncidentId,
    /// All hosts with this label (again for more: those that have all of them).
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<Label>,
    /// A host: its agent's id, or its name where only one host has it (again for more).
    #[arg(long)]
    host: Vec<String>,
    /// Orders that are let go in a minute.
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=i64::from(RATE_MAX)))]
    rate: u32,
    /// Orders that are under way at a time.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(CONCURRENCY_MAX)))]
    concurrency: u32,
    /// When it ends, whatever is left of it: 30m, 2h, 2d; at most 7 days.
    #[arg(long, value_name = "TIME", default_value = "2h", value_parser = super::seconds)]
    expires: u64,
    /// For which purpose; it stands in each bundle.
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
    /// On which legal basis; it stands in each bundle.
    #[arg(long, value_name = "TEXT")]
    legal_basis: Option<String>,
    /// Approve that content of this class is taken: private_keys, password_hashes, credentials or personal.
    #[arg(long, value_name = "CLASS", value_parser = sensitive)]
    approve_sensitive: Vec<wire::profile::Sensitive>,
    /// Print the server's answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Hunt {
    /// Runs the sub-command.
    pub fn run(self) -> Result<u8, Failure> {
        let config = Config::load()?;
        match (self.command, self.begin) {
            (Some(command), _) => command.run(&Api::of(&config)?),
            (None, Some(begin)) => begin.run(&config),
            (None, None) => Err(Failure::new(USAGE, anyhow!("nothing is named that should be hunted for"))
                .hint("holdfast hunt PROFILE --label KEY=VALUE --incident INCIDENT")),
        }
    }
}

impl Command {
    fn run(self, api: &Api) -> Result<u8, Failure> {
        let (answer, is_json) = match self {
            Self::List { json } => {
                let answer = api.get("/api/v1/hunts")?;
                if json {
                    print(&format!("{answer}\n"))?;
                } else {
                    list(&api::read(api.server(), answer)?)?;
                }
                return Ok(0);
            }
            Self::Show { hunt, json } => (api.get(&format!("/api/v1/hunts/{hunt}"))?, json),
            Self::Cancel { hunt, reason, json } => {
                let body = serde_json::to_vec(&RevokeRequest { reason }).map_err(|error| Failure::new(IO, error))?;
                (api.post(&format!("/api/v1/hunts/{hunt}/cancel"), "application/json", body)?, json)
            }
        };
        if is_json {
            print(&format!("{answer}\n"))?;
        } else {
            print(&text(&api::read(api.server(), answer)?))?;
        }
        Ok(0)
    }
}

impl Begin {
    fn run(self, config: &Config) -> Result<u8, Failure> {
        // What can fail without the server fails first.
        let key = OrderKey::configured(config)?;
        let (profile, version) = profile(&self.profile)?;
        let waves = waves(&profile)?;
        let api = Api::of(config)?;
        let hosts = self.hosts(&api)?;
        let values = known(&incident(&api, &self.incident)?);
        let request = HuntRequest {
            concurrency: self.concurrency,
            incident: self.incident.clone(),
            labels: self.label.clone(),
            profile: profile.name.clone(),
            purpose: self.purpose.clone(),
            rate_per_min: self.rate,
            valid_secs: self.expires,
        };
        let begun: HuntView = api::read(api.server(), post(&api, "/api/v1/hunts", &request)?)?;
        let hunt = begun.hunt;
        for (wave, profile) in &waves {
            for host in &hosts {
                let ordered = Ordered {
                    agent: host.agent.clone(),
                    approved_sensitive: self.approve_sensitive.clone(),
                    incident: self.incident.clone(),
                    legal_basis: self.legal_basis.clone(),
                    profile: profile.clone(),
                    profile_version: version.clone(),
                    purpose: self.purpose.clone(),
                    supersedes: None,
                    valid_secs: self.expires,
                    values: values.clone(),
                };
                let order = new_order(ordered, show::now())?;
                let signed = key.sign_order(namespace::COLLECT, to_sorted_json(&order).as_bytes())?;
                post(&api, &format!("/api/v1/hunts/{hunt}/orders?wave={wave}"), &signed)?;
            }
        }
        let answer = post(&api, &format!("/api/v1/hunts/{hunt}/start"), &json!({}))?;
        if self.json {
            print(&format!("{answer}\n"))?;
            return Ok(0);
        }
        print(&format!(
            "hunt {hunt}: {} on {}, {}, until {}\n",
            shown(&profile.name),
            counted(hosts.len() as u64, "host"),
            counted((hosts.len() * waves.len()) as u64, "order"),
            time(begun.expires)
        ))?;
        remark(&format!("hint: holdfast hunt show {hunt}"));
        Ok(0)
    }

    /// Those with the labels, and those that are named, each once.
    fn hosts(&self, api: &Api) -> Result<Vec<HostView>, Failure> {
        let mut hosts: Vec<HostView> = Vec::new();
        if !self.label.is_empty() {
            let page: Page<HostView> = api::read(api.server(), api.list(&hosts_path(&self.label))?)?;
            hosts.extend(page.items);
        }
        for wanted in &self.host {
            hosts.push(find_host(api, wanted)?);
        }
        hosts.sort_by(|one, other| one.agent.cmp(&other.agent));
        hosts.dedup_by(|one, other| one.agent == other.agent);
        if hosts.is_empty() {
            return Err(Failure::new(super::INPUT, anyhow!("no host has these labels"))
                .hint("holdfast host list shows the labels of each"));
        }
        Ok(hosts)
    }
}

fn post<T: serde::Serialize>(api: &Api, path: &str, body: &T) -> Result<serde_json::Value, Failure> {
    let body = serde_json::to_vec(body).map_err(|error| Failure::new(IO, error))?;
    api.post(path, "application/json", body)
}

/// The profile in two, where it begins with what is gone first; else whole, as the first wave.
fn waves(profile: &Profile) -> Result<Vec<(u32, Profile)>, Failure> {
    let first = volatile()?;
    let is_first = |step: &Step| first.iter().any(|other| other.collect == step.collect && other.with == step.with);
    let (of_first, of_rest): (Vec<Step>, Vec<Step>) = profile.collect.iter().cloned().partition(is_first);
    if of_first.is_empty() || of_rest.is_empty() {
        return Ok(vec![(FIRST_WAVE, profile.clone())]);
    }
    let with = |collect: Vec<Step>| Profile { collect, ..profile.clone() };
    Ok(vec![(FIRST_WAVE, with(of_first)), (LAST_WAVE, with(of_rest))])
}

/// The steps of the shipped part.
fn volatile() -> Result<Vec<Step>, Failure> {
    let part = Shipped.part(VOLATILE).map_err(|_| Failure::new(IO, anyhow!("the part {VOLATILE} is not shipped")))?;
    let yaml = format!("name: {VOLATILE}\ncollect:\n  - include: {VOLATILE}\n");
    let whole = read(&Text { file: part.file, yaml }, &Shipped).map_err(wrong_profile)?;
    Ok(whole.collect)
}

fn list(page: &Page<HuntView>) -> Result<(), Failure> {
    let mut table = Table::new(&["HUNT", "PROFILE", "STATE", "INCIDENT", "BEGUN", "ORDERS"]);
    for hunt in &page.items {
        table.row([
            hunt.hunt.to_string().into(),
            hunt.profile.as_str().into(),
            hunt.state.name().into(),
            hunt.incident.as_str().into(),
            ago(hunt.created, show::now()).into(),
            orders(hunt).into(),
        ]);
    }
    if table.is_empty() {
        remark("nobody has hunted yet");
        return Ok(());
    }
    print(&table.text(Look::of_stdout(), ""))
}

fn orders(hunt: &HuntView) -> String {
    let states: Vec<String> = hunt.orders.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let waiting = if hunt.held > 0 { format!(" ({} wait for their turn)", hunt.held) } else { String::new() };
    format!("{}{waiting}", states.join(", "))
}

fn text(hunt: &HuntView) -> String {
    let mut table = Table::new(&["HOST", "WAVE", "STATE", "FINDINGS", "BUNDLE"]);
    for host in &hunt.hosts {
        for order in &host.orders {
            let waits = order.released.is_none() && !order.state.is_final();
            table.row([
                host.host.as_str().into(),
                order.wave.to_string().into(),
                if waits { "waits" } else { order.state.name() }.into(),
                order.findings.map(|count| count.to_string()).unwrap_or_default().into(),
                order.bundle.map(|bundle| bundle.to_string()).unwrap_or_default().into(),
            ]);
        }
    }
    let found: Vec<String> =
        hunt.findings.iter().rev().map(|(level, count)| format!("{count} {}", level.name())).collect();
    let found = if found.is_empty() { "no findings".to_owned() } else { found.join(", ") };
    format!(
        "hunt {} is {}: {} of {}; {}; {found}\n{}",
        hunt.hunt,
        hunt.state.name(),
        shown(&hunt.profile),
        hunt.incident,
        orders(hunt),
        table.text(Look::of_stdout(), "")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_that_begins_with_what_is_gone_first_is_cut_there_and_nothing_is_lost() {
        let (whole, _) = profile("intrusion").unwrap();
        let waves = waves(&whole).unwrap();
        assert_eq!(waves.iter().map(|(wave, _)| *wave).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(waves[0].1.collect.len(), volatile().unwrap().len());
        assert_eq!(waves.iter().map(|(_, part)| part.collect.len()).sum::<usize>(), whole.collect.len());
        assert!(waves[1].1.collect.iter().any(|step| step.collect == "file_timeline"));
        let rest = super::waves(&waves[1].1).unwrap();
        assert_eq!((rest.len(), rest[0].0), (1, 1), "what has nothing of the kind is one wave");
    }
}
