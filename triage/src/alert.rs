//! An alert in one schema, whatever product raised it.
//!
//! Everything in it comes from outside: capped where it is read ([`crate::fields`]), never trusted, to be escaped by
//! whoever shows it. The server stores it beside the raw bytes, so its JSON only ever gains keys.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wire::assessment::{Host, HostRole, Indicator};
use wire::{Instant, Sha256};

/// What one record says, normalised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Accounts as the product writes them; at most [`Alert::LIST_MAX`], as every list here.
    #[serde(default)]
    pub accounts: Vec<String>,
    /// Other names of the hosts in [`Alert::hosts`]: name to the one that stands there.
    #[serde(default)]
    pub aliases: BTreeMap<String, String>,
    /// Hours that the sender says the intruder was there.
    #[serde(default)]
    pub dwell_hours: Option<f64>,
    /// The product's own name for what happened: Falco's rule, GuardDuty's finding type, the plain form's event type.
    pub event: String,
    /// Named facts for rules, by the names of [`Alert::set`].
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// The first and the last time it was seen.
    #[serde(default)]
    pub first_seen: Option<Instant>,
    /// The hosts that it names, each with its part.
    #[serde(default)]
    pub hosts: Vec<Host>,
    /// What identifies a host exactly. Automation acts on these alone, never on an address.
    #[serde(default)]
    pub ids: Vec<HostId>,
    /// Addresses, digests, names to look for elsewhere.
    #[serde(default)]
    pub indicators: Vec<Indicator>,
    /// The id of the token that it came in with, set by whoever took it in. Two alerts with one token are not
    /// independent of each other.
    #[serde(default)]
    pub ingest_token: Option<String>,
    /// The product's labels and tags, as they are.
    #[serde(default)]
    pub labels: BTreeSet<String>,
    /// See [`Alert::first_seen`].
    #[serde(default)]
    pub last_seen: Option<Instant>,
    /// What the product itself says of the alert's worth.
    #[serde(default)]
    pub markers: BTreeSet<Marker>,
    /// When it happened, where the record says so.
    #[serde(default)]
    pub occurred_at: Option<Instant>,
    /// The product that detected it, e.g. `falco`; of a relayed alert the original one, not the relay.
    pub product: String,
    /// The digest of the record's bytes as they came.
    pub raw_sha256: Sha256,
    /// When it came.
    pub received: Instant,
    /// The normaliser that understood it.
    pub source: String,
    /// The product's own id of the record: two records with the same are one alert.
    #[serde(default)]
    pub source_ref: Option<String>,
    /// ATT&CK ids or names as they arrived, retired ones too.
    #[serde(default)]
    pub techniques: Vec<String>,
    /// What it says in words; rules look for phrases here.
    #[serde(default)]
    pub text: Vec<String>,
    /// One line for people.
    pub title: String,
    /// Escalation triggers that the sender names.
    #[serde(default)]
    pub triggers: Vec<String>,
    /// The incident type that the sender declares, not yet checked against the taxonomy.
    #[serde(default)]
    pub type_declared: Option<String>,
    /// How bad the product thinks it is.
    #[serde(default)]
    pub vendor_severity: Option<VendorSeverity>,
}

/// The product's own severity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VendorSeverity {
    /// What it comes to on one scale.
    pub level: Level,
    /// The product's scale, e.g. `guardduty 1-10`.
    pub scale: String,
    /// As it arrived.
    pub value: String,
}

/// One scale for all products. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// For information.
    Informational,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical.
    Critical,
}

/// What the product itself says of the alert's worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Marker {
    /// Closed by the product or its users before it came here.
    ClosedUpstream,
    /// Stopped before it took effect.
    Prevented,
    /// Made up by the product to show what a finding looks like: nothing happened.
    Sample,
    /// Says that it is a test, or is about the EICAR test file. An intruder can say so too.
    Test,
    /// Confirmed by a person of the vendor, or by the product from several signals of its own.
    VendorConfirmed,
}

/// What identifies a host exactly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostId {
    /// Which kind of id.
    pub kind: HostIdKind,
    /// The id.
    pub value: String,
}

/// The kinds of ids that name exactly one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostIdKind {
    /// Of an agent of ours.
    AgentId,
    /// A name with its domain.
    Fqdn,
    /// Of a cloud, e.g. `i-0f3a7c1d9e5b24a60`.
    InstanceId,
}

impl Alert {
    /// The most entries of any list.
    pub const LIST_MAX: usize = 64;

    /// An alert that says nothing yet. Normalisers fill it in.
    pub fn empty(source: &str) -> Self {
        Self {
            accounts: Vec::new(),
            aliases: BTreeMap::new(),
            dwell_hours: None,
            event: String::new(),
            fields: BTreeMap::new(),
            first_seen: None,
            hosts: Vec::new(),
            ids: Vec::new(),
            indicators: Vec::new(),
            ingest_token: None,
            labels: BTreeSet::new(),
            last_seen: None,
            markers: BTreeSet::new(),
            occurred_at: None,
            product: source.to_owned(),
            raw_sha256: Sha256([0; 32]),
            received: Instant(0),
            source: source.to_owned(),
            source_ref: None,
            techniques: Vec::new(),
            text: Vec::new(),
            title: String::new(),
            triggers: Vec::new(),
            type_declared: None,
            vendor_severity: None,
        }
    }

    /// True of every alert that a normaliser makes, whatever the record was: no list is longer than [`Self::LIST_MAX`],
    /// and no text longer than a name and a value may be. What tests and fuzz targets ask.
    pub fn is_bounded(&self) -> bool {
        const TEXT_MAX: usize = 2 * crate::fields::TEXT_BYTES_MAX + 64;
        let lists = [
            self.accounts.len(),
            self.aliases.len(),
            self.fields.len(),
            self.hosts.len(),
            self.ids.len(),
            self.indicators.len(),
            self.labels.len(),
            self.techniques.len(),
            self.text.len(),
            self.triggers.len(),
        ];
        let single = [&self.event, &self.product, &self.source, &self.title];
        let optional = [&self.source_ref, &self.type_declared].into_iter().flatten();
        let listed =
            self.accounts.iter().chain(&self.labels).chain(&self.techniques).chain(&self.text).chain(&self.triggers);
        let pairs = self.aliases.iter().chain(&self.fields).flat_map(|(name, value)| [name, value]);
        let hosts = self.hosts.iter().map(|host| &host.name).chain(self.ids.iter().map(|id| &id.value));
        let indicators = self.indicators.iter().flat_map(|one| [&one.kind, &one.value]);
        let mut texts = single.into_iter().chain(optional).chain(listed).chain(pairs).chain(hosts).chain(indicators);
        lists.iter().all(|length| *length <= Self::LIST_MAX) && texts.all(|text| text.len() <= TEXT_MAX)
    }

    /// When it happened; else when it came.
    pub fn at(&self) -> Instant {
        self.occurred_at.unwrap_or(self.received)
    }

    /// Hours between the first sign and the last, as the sender counts them or as the times say.
    pub fn dwell(&self) -> Option<f64> {
        let seen = || {
            let (first, last) = (self.first_seen?, self.last_seen.unwrap_or(self.at()));
            let seconds = last.unix_seconds().checked_sub(first.unix_seconds())?;
            // Seconds of a century fit a double without loss.
            u32::try_from(seconds).ok().map(|seconds| f64::from(seconds) / 3600.0)
        };
        self.dwell_hours.or_else(seen)
    }

    /// Adds a host. An empty name and one that is there in the same part are left out.
    pub fn host(&mut self, name: impl Into<String>, role: HostRole) {
        push(&mut self.hosts, Host { name: name.into(), role }, |host| host.name.is_empty());
    }

    /// Adds another name of a host that is listed as `host`.
    pub fn alias(&mut self, name: impl Into<String>, host: &str) {
        let name = name.into();
        if !name.is_empty() && name != host && self.aliases.len() < Self::LIST_MAX {
            self.aliases.insert(name, host.to_owned());
        }
    }

    /// Adds a host's full name as an exact id: one with a dot that is no address.
    pub fn fqdn(&mut self, name: String) {
        if name.contains('.') && name.parse::<std::net::IpAddr>().is_err() {
            self.id(HostIdKind::Fqdn, name);
        }
    }

    /// Adds an exact id of a host.
    pub fn id(&mut self, kind: HostIdKind, value: impl Into<String>) {
        push(&mut self.ids, HostId { kind, value: value.into() }, |id| id.value.is_empty());
    }

    /// Adds an account.
    pub fn account(&mut self, name: impl Into<String>) {
        push(&mut self.accounts, name.into(), String::is_empty);
    }

    /// Adds an indicator.
    pub fn indicator(&mut self, kind: &str, value: impl Into<String>) {
        push(&mut self.indicators, Indicator { kind: kind.to_owned(), value: value.into() }, |one| {
            one.value.is_empty()
        });
    }

    /// Adds a technique as it arrived.
    pub fn technique(&mut self, id: impl Into<String>) {
        push(&mut self.techniques, id.into(), String::is_empty);
    }

    /// Adds words that rules may look at.
    pub fn words(&mut self, text: impl Into<String>) {
        push(&mut self.text, text.into(), String::is_empty);
    }

    /// Sets a named fact. The names that rules use, whatever the product: `actor.user`, `host.name`, `source.ip`,
    /// `process.name`, `process.path`, `process.command_line`, `process.parent`, `process.tty`, `process.flags`,
    /// `file.path`, `container.id`, `container.image`, `kubernetes.pod`, `kubernetes.namespace`, `cloud.account`,
    /// `action.api`, `action.direction`, `asset.criticality`, `data.records`, `data.bytes`, `data.class`.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() && self.fields.len() < Self::LIST_MAX {
            self.fields.insert(name.to_owned(), value);
        }
    }

    /// All names of a host that it lists, the listed one first.
    pub fn names<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = &'a str> + Clone {
        let others = self.aliases.iter().filter(|(_, of)| **of == host.name).map(|(name, _)| name.as_str());
        std::iter::once(host.name.as_str()).chain(others)
    }
}

fn push<T: PartialEq>(list: &mut Vec<T>, entry: T, is_empty: fn(&T) -> bool) {
    if !is_empty(&entry) && list.len() < Alert::LIST_MAX && !list.contains(&entry) {
        list.push(entry);
    }
}
