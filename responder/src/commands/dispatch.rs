//! `holdfast dispatch`: tells one host to collect. The order is made and signed here; the server only carries it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use bundle::checkpoint::to_sorted_json;
use wire::api::{HostView, IncidentView, OrderView, Page};
use wire::order::{ORDER_TYPE, Order, PROFILE_BYTES_MAX, VALID_SECS_MAX};
use wire::profile::artifact::{FILE_BYTES_MAX, FILES_MAX, FOLDERS, in_file, names};
use wire::profile::shipped::{self, Shipped};
use wire::profile::{Library, Mistakes, Profile, TEXT_BYTES_MAX, Text, Values, did_you_mean, read};
use wire::signed::namespace;
use wire::{AgentId, IncidentId, Instant, OrderId};

use super::follow::{Goal, Watch};
use super::{Failure, INPUT, IO, USAGE, sensitive};
use crate::api::{self, Api};
use crate::config::Config;
use crate::escape::shown;
use crate::order_key::OrderKey;
use crate::show::{self, print, remark};

/// Tell a host to collect evidence, by an order that you sign.
#[derive(clap::Args)]
#[command(
    after_help = "With --follow, Ctrl-C stops watching, never the collection. Exit codes with --follow: 0 sealed, \
    3 sealed but a step timed out or met a limit, 1 no seal, 77 the agent refused."
)]
pub struct Dispatch {
    /// The incident that the evidence belongs to.
    incident: IncidentId,
    /// The host: its agent's id, or its name where only one host has it.
    #[arg(long)]
    host: String,
    /// What to collect: the name of a shipped profile, or a YAML file.
    #[arg(long)]
    profile: String,
    /// For which purpose; it stands in the bundle.
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
    /// On which legal basis; it stands in the bundle.
    #[arg(long, value_name = "TEXT")]
    legal_basis: Option<String>,
    /// Something known of the incident beside what its alerts say (again for more): from, until, accounts, addresses,
    /// hashes, paths, pids. It narrows the profile, and stands in the order.
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Approve that content of this class is taken: private_keys, password_hashes, credentials or personal.
    #[arg(long, value_name = "CLASS", value_parser = sensitive)]
    approve_sensitive: Vec<wire::profile::Sensitive>,
    /// How long the agent may take the order: 30m, 1h, 2d; at most 7 days.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = super::seconds)]
    valid: u64,
    /// The interrupted order that this one replaces.
    #[arg(long, value_name = "ORDER")]
    supersedes: Option<OrderId>,
    /// Show what happens until it ended.
    #[arg(long)]
    follow: bool,
    /// Print the server's answer as JSON; with --follow one object for each event.
    #[arg(long)]
    json: bool,
}

impl Dispatch {
    /// Makes, signs and sends the order.
    pub fn run(self) -> Result<u8, Failure> {
        let config = Config::load()?;
        // What can fail without the server fails first.
        let key = OrderKey::configured(&config)?;
        let (profile, version) = profile(&self.profile)?;
        let api = Api::of(&config)?;
        let host = find_host(&api, &self.host)?;
        let values = self.values(&incident(&api, &self.incident)?)?;
        let order = self.order(host.agent.clone(), (profile, version), values, show::now())?;
        let signed = key.sign_order(namespace::COLLECT, to_sorted_json(&order).as_bytes())?;
        // Opened before the order is sent, so that nothing that happens to it is missed.
        let watch = if self.follow { Some(Watch::open(&api, self.incident.clone(), self.json)?) } else { None };
        let body = serde_json::to_vec(&signed).map_err(|error| Failure::new(IO, error))?;
        let answer = api.post("/api/v1/orders", "application/json", body)?;
        let view: OrderView = api::read(api.server(), answer.clone())?;
        if self.json && !self.follow {
            print(&format!("{answer}\n"))?;
        } else if !self.json {
            self.say(&view, &host)?;
        }
        match watch {
            Some(watch) => watch.until(&Goal::Order(view.order)),
            None => Ok(0),
        }
    }

    /// What the alerts say, and then what was given on the command line.
    fn values(&self, incident: &IncidentView) -> Result<Values, Failure> {
        let mut values = known(incident);
        if self.set.iter().any(|(name, _)| name == "from") {
            values.from = None;
        }
        for (name, text) in &self.set {
            values.add(name, text).map_err(|error| {
                let failure = Failure::new(USAGE, anyhow!("--set {name}: {error}"));
                match &error.hint {
                    Some(hint) => failure.hint(hint.clone()),
                    None => failure,
                }
            })?;
        }
        Ok(values)
    }

    fn order(
        &self,
        agent: AgentId,
        (profile, version): (Profile, String),
        values: Values,
        now: Instant,
    ) -> Result<Order, Failure> {
        let ordered = Ordered {
            agent,
            approved_sensitive: self.approve_sensitive.clone(),
            incident: self.incident.clone(),
            legal_basis: self.legal_basis.clone(),
            profile,
            profile_version: version,
            purpose: self.purpose.clone(),
            supersedes: self.supersedes,
            valid_secs: self.valid,
            values,
        };
        new_order(ordered, now)
    }

    fn say(&self, order: &OrderView, host: &HostView) -> Result<(), Failure> {
        print(&format!(
            "order {}: {} on {} ({}), signed by {}, valid until {}\n",
            order.order,
            shown(&order.profile),
            shown(&host.facts.name),
            host.agent,
            shown(&order.signed_by),
            show::time(order.expires)
        ))?;
        if !host.connected {
            let seen = host.last_seen.map_or_else(|| "never".to_owned(), |seen| show::ago(seen, show::now()));
            remark(&format!("the agent is not connected (last seen: {seen}): it takes the order when it is back"));
        }
        if !self.follow {
            remark(&format!("hint: holdfast follow {}", order.order));
        }
        Ok(())
    }
}

/// What an order says.
pub struct Ordered {
    pub agent: AgentId,
    pub approved_sensitive: Vec<wire::profile::Sensitive>,
    pub incident: IncidentId,
    pub legal_basis: Option<String>,
    pub profile: Profile,
    pub profile_version: String,
    pub purpose: Option<String>,
    pub supersedes: Option<OrderId>,
    pub valid_secs: u64,
    pub values: Values,
}

/// The order, with an id and a nonce of its own.
pub fn new_order(ordered: Ordered, now: Instant) -> Result<Order, Failure> {
    let random = |bytes: &mut [u8]| {
        getrandom::fill(bytes).map_err(|error| Failure::new(IO, anyhow!("the system has no randomness: {error}")))
    };
    let (mut nonce, mut id) = ([0; 16], [0; 10]);
    random(&mut nonce)?;
    random(&mut id)?;
    let unix_ms = u64::try_from(now.0 / 1_000_000).unwrap_or(0);
    let valid = ordered.valid_secs.min(VALID_SECS_MAX);
    Ok(Order {
        agent: ordered.agent,
        approved_sensitive: ordered.approved_sensitive,
        expires: Instant(now.0 + i128::from(valid) * 1_000_000_000),
        incident: ordered.incident,
        issued: now,
        legal_basis: ordered.legal_basis,
        nonce: format!("{:032x}", u128::from_be_bytes(nonce)),
        order: OrderId::new(unix_ms, id),
        profile: ordered.profile,
        profile_version: ordered.profile_version,
        purpose: ordered.purpose,
        supersedes: ordered.supersedes,
        kind: ORDER_TYPE.to_owned(),
        v: 1,
        values: ordered.values,
    })
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, for instance pids=4711")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub fn incident(api: &Api, incident: &IncidentId) -> Result<IncidentView, Failure> {
    api::read(api.server(), api.get(&format!("/api/v1/incidents/{incident}"))?)
}

/// What the alerts of an incident say, as far as a host can be searched for it. An intruder was there before the first
/// alert: the window begins with the dwell time that triage knows, or else a day before.
pub fn known(incident: &IncidentView) -> Values {
    let assessment = &incident.assessment;
    let mut values = Values::default();
    let named = assessment.accounts.iter().map(|account| ("accounts", account.as_str()));
    let indicators = assessment.indicators.iter().filter_map(|indicator| {
        let name = match indicator.kind.as_str() {
            "ip" => "addresses",
            "sha256" | "sha1" | "md5" => "hashes",
            "path" => "paths",
            "pid" => "pids",
            _ => return None,
        };
        Some((name, indicator.value.as_str()))
    });
    for (name, text) in named.chain(indicators) {
        // What an alert calls a path may be none of this kind; the order goes without it.
        if name != "paths" || text.starts_with('/') {
            let _ = values.add(name, text);
        }
    }
    let first = incident.alerts.iter().map(|alert| alert.assessment.timestamp_utc).min();
    values.from = first.map(|first| Instant(first.0 - dwell_ns(assessment.dwell_hours)));
    values
}

/// How long before the first alert the window begins: the dwell time, at least a day and at most a year.
fn dwell_ns(hours: Option<f64>) -> i128 {
    const HOUR_NS: i128 = 3_600_000_000_000;
    let hours = hours.unwrap_or(0.0).clamp(24.0, 24.0 * 366.0);
    #[expect(clippy::cast_possible_truncation, reason = "it is at most 8784")]
    let whole = hours.ceil() as i64;
    i128::from(whole) * HOUR_NS
}

/// The enrolled host of this agent id, or else of this name.
pub fn find_host(api: &Api, wanted: &str) -> Result<HostView, Failure> {
    let page: Page<HostView> = api::read(api.server(), api.list("/api/v1/hosts")?)?;
    one_host(&page.items, wanted)
}

fn one_host(hosts: &[HostView], wanted: &str) -> Result<HostView, Failure> {
    if let Some(host) = hosts.iter().find(|host| host.agent.as_str() == wanted) {
        return Ok(host.clone());
    }
    let named: Vec<&HostView> = hosts.iter().filter(|host| host.facts.name.eq_ignore_ascii_case(wanted)).collect();
    match named.as_slice() {
        [host] => Ok((*host).clone()),
        [] if hosts.is_empty() => Err(Failure::new(INPUT, anyhow!("no host is enrolled, so there is no {wanted}"))
            .hint("holdfast host enroll-ticket lets one in; holdfast ticket INC --host H serves one without an agent")),
        [] => {
            let names = hosts.iter().flat_map(|host| [host.facts.name.as_str(), host.agent.as_str()]);
            let near = match wire::suggest::nearest(wanted, names) {
                Some(near) => format!("did you mean {near}? "),
                None => String::new(),
            };
            Err(Failure::new(INPUT, anyhow!("no host is called {wanted}"))
                .hint(format!("{near}holdfast host list shows them; holdfast ticket serves a host without an agent")))
        }
        several => {
            let agents: Vec<String> = several
                .iter()
                .map(|host| format!("{}{}", host.agent, if host.connected { " (connected)" } else { "" }))
                .collect();
            Err(Failure::new(INPUT, anyhow!("{} hosts are called {wanted}", several.len()))
                .hint(format!("name one by its agent's id: {}", agents.join(", "))))
        }
    }
}

/// A shipped profile by its name, or one from a file, which may include shipped parts; and its version.
pub fn profile(wanted: &str) -> Result<(Profile, String), Failure> {
    let is_file = wanted.contains('/') || wanted.ends_with(".yaml") || wanted.ends_with(".yml");
    let (found, version) = if is_file {
        let path = Path::new(wanted);
        (read(&Text { file: wanted.to_owned(), yaml: text(path, TEXT_BYTES_MAX)? }, &Here), "site")
    } else {
        let found = shipped::find(wanted).ok_or_else(|| {
            no_profile(wanted, &format!("a file of your own is given with its path, ./{wanted}.yaml"))
        })?;
        (found, env!("CARGO_PKG_VERSION"))
    };
    let profile = found.map_err(wrong_profile)?;
    let length = profile.to_json().len();
    if length > PROFILE_BYTES_MAX {
        return Err(Failure::new(
            INPUT,
            anyhow!("{wanted} is {length} bytes, of which an order takes {PROFILE_BYTES_MAX}"),
        )
        .hint("split it into two profiles, and dispatch both"));
    }
    Ok((profile, version.to_owned()))
}

/// No profile of this name is shipped; `else_hint` says how another one is named.
pub fn no_profile(wanted: &str, else_hint: &str) -> Failure {
    let known = shipped::PROFILES.iter().map(|(name, _)| *name);
    Failure::new(USAGE, anyhow!("there is no profile {wanted}"))
        .hint(format!("{}; {else_hint}", did_you_mean(wanted, known)))
}

/// The parts that are shipped, and the definitions of ForensicArtifacts on this machine.
struct Here;

impl Library for Here {
    fn part(&self, name: &str) -> Result<Text, Vec<String>> {
        Shipped.part(name)
    }

    fn artifact(&self, name: &str) -> Result<Text, Vec<String>> {
        let mut known = Vec::new();
        let folders = FOLDERS.iter().filter_map(|folder| std::fs::read_dir(folder).ok());
        let entries = folders.flat_map(|entries| entries.flatten().take(FILES_MAX));
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|end| end == "yaml")) {
            let Ok(yaml) = text(path, FILE_BYTES_MAX) else { continue };
            let file = Text { file: path.display().to_string(), yaml };
            match in_file(&file, name) {
                Some(text) => return Ok(text),
                None => known.extend(names(&file)),
            }
        }
        Err(known)
    }
}

fn text(path: &Path, bytes_max: usize) -> Result<String, Failure> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max as u64 + 1).read_to_string(&mut text))
        .with_context(|| format!("{} cannot be read", path.display()))
        .map_err(|error| Failure::new(IO, error))?;
    Ok(text)
}

/// All mistakes but the last are part of the message; the last one's hint is the hint.
pub fn wrong_profile(Mistakes(mistakes): Mistakes) -> Failure {
    let texts: Vec<String> = mistakes.iter().map(|mistake| mistake.to_string().replace("\n  hint: ", " — ")).collect();
    Failure::new(INPUT, anyhow!("{}", texts.join("; "))).hint("holdfast-agent plan --profile FILE checks it on a host")
}

#[cfg(test)]
mod tests {
    use bundle::sign::{AllowedSigners, SigningKey, open};
    use clap::Parser;
    use wire::profile::Sensitive;

    use super::*;
    use crate::config::KeyChoice;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        dispatch: Dispatch,
    }

    fn dispatch(more: &[&str]) -> Dispatch {
        let words = ["x", "INC-2026-0007", "--host", "web-1", "--profile", "intrusion"];
        Line::try_parse_from(words.iter().chain(more)).unwrap().dispatch
    }

    #[test]
    fn an_agent_opens_the_order_and_reads_in_it_what_was_asked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("k");
        let text = SigningKey::from_seed(&[3; 32]).to_openssh().unwrap();
        crate::config::write_whole(&file, text.as_bytes(), 0o600).unwrap();
        let key = OrderKey::open(&KeyChoice { agent: None, file: Some(file), principal: "ada".into() }).unwrap();
        let asked = dispatch(&["--valid", "30m", "--purpose", "p", "--approve-sensitive", "private_keys"]);
        let (profile, version) = profile(&asked.profile).unwrap();
        let now = show::now();
        let agent: AgentId = "web-1-0a1b2c3d".parse().unwrap();
        let order = asked.order(agent, (profile, version), Values::default(), now).unwrap();
        let signed = key.sign_order(namespace::COLLECT, to_sorted_json(&order).as_bytes()).unwrap();
        let signers = AllowedSigners::parse(&key.allowed_signers_line()).unwrap();
        let message = open(&signed, &signers, namespace::COLLECT, now).unwrap();
        let read: Order = serde_json::from_slice(&message).unwrap();
        assert_eq!(to_sorted_json(&read).as_bytes(), message, "the form is canonical");
        assert_eq!(read.expires.0 - read.issued.0, 1_800_000_000_000);
        assert_eq!(read.approved_sensitive, [Sensitive::PrivateKeys]);
        assert_eq!((read.nonce.len(), read.purpose.as_deref(), read.v), (32, Some("p"), 1));
        let again = (read.profile.clone(), String::new());
        let other = asked.order(read.agent.clone(), again, Values::default(), now).unwrap();
        assert!(other.nonce != read.nonce && other.order != read.order);
    }

    #[test]
    fn a_profile_is_a_name_or_a_file() {
        let hint = |failure: Failure| (failure.code, failure.error.to_string(), failure.hint.unwrap());
        assert_eq!(
            hint(profile("intrusio").unwrap_err()),
            (
                USAGE,
                "there is no profile intrusio".into(),
                "did you mean `intrusion`?; a file of your own is given with its path, ./intrusio.yaml".into()
            )
        );
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("own.yaml");
        std::fs::write(&file, "name: own\ncollect:\n  - include: volatile\n").unwrap();
        let (own, version) = profile(file.to_str().unwrap()).unwrap();
        assert!(own.collect.len() > 3 && version == "site");
        std::fs::write(&file, "name: own\ncollect:\n  - include: volatil\n").unwrap();
        let (code, error, _) = hint(profile(file.to_str().unwrap()).unwrap_err());
        assert_eq!(code, INPUT);
        assert_eq!(error, format!("{}:3: unknown part `volatil` — did you mean `volatile`?", file.display()));
        assert_eq!(profile("./none.yaml").unwrap_err().code, IO);
    }

    fn host(agent: &str, name: &str, connected: bool) -> HostView {
        let view = serde_json::json!({
            "agent": agent, "certificate_expires": "2026-12-21T00:00:00Z", "connected": connected,
            "enrolled": "2026-11-21T00:00:00Z", "last_seen": null, "signer": "",
            "facts": {"agent_version": "", "arch": "", "boot_id": null, "kernel": "", "machine_id": null, "name": name,
                "os_id": null, "profiles": []},
        });
        serde_json::from_value(view).unwrap()
    }

    #[test]
    fn a_host_is_named_without_doubt() {
        let hosts =
            || vec![host("web-1-aa", "web-1", true), host("web-1-bb", "web-1", false), host("db-cc", "db", true)];
        assert_eq!(one_host(&hosts(), "DB").unwrap().agent.as_str(), "db-cc");
        assert_eq!(one_host(&hosts(), "web-1-bb").unwrap().agent.as_str(), "web-1-bb");
        let shown = |failure: Failure| format!("{}: {} ({})", failure.code, failure.error, failure.hint.unwrap());
        assert_eq!(
            shown(one_host(&hosts(), "web-1").unwrap_err()),
            "65: 2 hosts are called web-1 (name one by its agent's id: web-1-aa (connected), web-1-bb)"
        );
        assert_eq!(
            shown(one_host(&hosts(), "web-1-ba").unwrap_err()),
            "65: no host is called web-1-ba (did you mean web-1-bb? holdfast host list shows them; holdfast ticket serves a host without an agent)"
        );
        assert_eq!(
            shown(one_host(&[], "web-1").unwrap_err()),
            "65: no host is enrolled, so there is no web-1 (holdfast host enroll-ticket lets one in; holdfast ticket INC --host H serves one without an agent)"
        );
    }
}
