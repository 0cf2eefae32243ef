//! Containment: what an agent does to its host so that an intruder gets no further, and takes back.
//!
//! A [`ContainmentOrder`] is signed as a collection order is, in a namespace of its own; each approval is one more
//! signature over the same bytes. What the agent does about it comes back as [`ContainmentEvent`]s of that order.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{AgentId, BundleId, IncidentId, Instant, OrderId, Sha256, signed::Signed};

/// `type` of a containment order.
pub const CONTAINMENT_TYPE: &str = "holdfast-containment";
/// A lease is at most this long; a responder renews it.
pub const LEASE_SECS_MAX: u64 = 4 * 3600;
/// Exceptions of one isolation, and destinations of one block.
pub const ENDPOINTS_MAX: usize = 64;
/// A containment order is for now: it is valid for at most this long, approvals included.
pub const VALID_SECS_MAX: u64 = 24 * 3600;
/// No host believes that the time for its volatile evidence is spent before this, whatever became of the capture: the
/// shortest budget, that of ransomware.
pub const BUDGET_SECS_MIN: u32 = 3;
/// Approvals that travel with an order.
pub const APPROVALS_MAX: usize = 8;
/// Who signs what nobody decided: this name, and whatever begins with it and `:` or `@`, is never a person's, whether a
/// host's policy lists it under `[automation]` or not.
pub const AUTOMATION: &str = "automation";

/// True for the names that are no person's by themselves; a host's policy may list more.
pub fn is_automation(principal: &str) -> bool {
    principal.strip_prefix(AUTOMATION).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '@']))
}

/// An order that changes a host. Unknown fields are refused: an agent must not do that of which it understands half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainmentOrder {
    /// The agent that it is for.
    pub agent: AgentId,
    /// What is to be done.
    pub directive: Directive,
    /// Why evidence cannot be lost by it. An isolation without it is refused where it is signed by automation.
    pub evidence: Option<EvidenceBasis>,
    /// From this moment on it is refused.
    pub expires: Instant,
    /// The incident.
    pub incident: IncidentId,
    /// When it was signed.
    pub issued: Instant,
    /// 32 hex digits; an agent takes each once.
    pub nonce: String,
    /// Its id.
    pub order: OrderId,
    /// Why, in the signer's words.
    pub reason: Option<String>,
    /// [`CONTAINMENT_TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// 1.
    pub v: u32,
}

/// What an order is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "directive", rename_all = "snake_case", deny_unknown_fields)]
pub enum Directive {
    /// Do it, until the lease ends.
    Apply {
        /// What.
        action: Action,
        /// From then on the host restores itself, in seconds from the moment of applying; at most [`LEASE_SECS_MAX`].
        lease_secs: u64,
    },
    /// Say what would be done, and to whom it would matter; change nothing.
    Rehearse {
        /// What.
        action: Action,
    },
    /// Hold on for this long from now. Takes a responder's key.
    Renew {
        /// The order that was applied.
        contains: OrderId,
        /// Seconds from the moment of renewing; at most [`LEASE_SECS_MAX`].
        lease_secs: u64,
    },
    /// Take it back.
    Release {
        /// The order that was applied.
        contains: OrderId,
    },
    /// It does not hold, seen from the server: the host does what its policy says about that. Never a person's, who releases
    /// it.
    DoesNotHold {
        /// The order that was applied.
        contains: OrderId,
    },
}

impl Directive {
    /// The name as it is serialised.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Apply { .. } => "apply",
            Self::Rehearse { .. } => "rehearse",
            Self::Renew { .. } => "renew",
            Self::Release { .. } => "release",
            Self::DoesNotHold { .. } => "does_not_hold",
        }
    }

    /// The action that it names itself.
    pub const fn action(&self) -> Option<&Action> {
        match self {
            Self::Apply { action, .. } | Self::Rehearse { action } => Some(action),
            Self::Renew { .. } | Self::Release { .. } | Self::DoesNotHold { .. } => None,
        }
    }
}

/// In words. Holds text of people: escape it before a screen.
impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply { action, lease_secs } => write!(f, "{action} for {} min", lease_secs.div_ceil(60)),
            Self::Rehearse { action } => write!(f, "rehearsal of {action}"),
            Self::Renew { contains, lease_secs } => {
                write!(f, "renewal of {contains} for {} min", lease_secs.div_ceil(60))
            }
            Self::Release { contains } => write!(f, "release of {contains}"),
            Self::DoesNotHold { contains } => write!(f, "word that {contains} does not hold"),
        }
    }
}

/// An action and its arguments. Each is one file in the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Nothing in, out or through but to the servers that the agent is enrolled at, and the exceptions.
    IsolateNetwork {
        /// Further exceptions, both ways.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        allow: Vec<Endpoint>,
        /// Resolvers that may still be asked.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        resolvers: Vec<IpAddr>,
    },
    /// Nothing out to these destinations, established connections included.
    BlockEgress {
        /// Where to.
        to: Vec<Endpoint>,
    },
    /// Nothing out to the cloud's metadata service, containers included.
    BlockMetadataService {},
    /// The process and all that descend from it stand still.
    FreezeProcess {
        /// Which.
        process: ProcessRef,
    },
    /// The process and all that descend from it end. Cannot be taken back.
    KillProcess {
        /// Which.
        process: ProcessRef,
    },
    /// Nobody logs in to the account: password, keys and expiry.
    LockAccount {
        /// Its name in passwd(5).
        account: String,
    },
    /// All sessions of the account end. Cannot be taken back.
    EndSessions {
        /// Its name in passwd(5).
        account: String,
    },
    /// Keys of the account open no door.
    RevokeSshKeys {
        /// Its name in passwd(5).
        account: String,
        /// Fingerprints, `SHA256:…`; empty for all of them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<String>,
    },
    /// The unit is stopped, and not started again.
    StopUnit {
        /// Its name with suffix.
        unit: String,
    },
    /// The file is taken out of reach; its content is kept.
    QuarantineFile {
        /// Its absolute path.
        path: String,
        /// What it must hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<Sha256>,
    },
}

impl Action {
    /// The names of all actions, in the order in which they are listed.
    pub const NAMES: [&'static str; 10] = [
        "isolate_network",
        "block_egress",
        "block_metadata_service",
        "freeze_process",
        "kill_process",
        "lock_account",
        "end_sessions",
        "revoke_ssh_keys",
        "stop_unit",
        "quarantine_file",
    ];

    /// The name as it is serialised.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::IsolateNetwork { .. } => "isolate_network",
            Self::BlockEgress { .. } => "block_egress",
            Self::BlockMetadataService {} => "block_metadata_service",
            Self::FreezeProcess { .. } => "freeze_process",
            Self::KillProcess { .. } => "kill_process",
            Self::LockAccount { .. } => "lock_account",
            Self::EndSessions { .. } => "end_sessions",
            Self::RevokeSshKeys { .. } => "revoke_ssh_keys",
            Self::StopUnit { .. } => "stop_unit",
            Self::QuarantineFile { .. } => "quarantine_file",
        }
    }

    /// True when it can be taken back.
    pub const fn is_reversible(&self) -> bool {
        !matches!(self, Self::KillProcess { .. } | Self::EndSessions { .. })
    }

    /// What it is aimed at, for people: an account, a PID, a unit, a path; empty for the host as a whole.
    pub fn target(&self) -> String {
        match self {
            Self::IsolateNetwork { .. } | Self::BlockMetadataService {} => String::new(),
            Self::BlockEgress { to } => to.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            Self::FreezeProcess { process } | Self::KillProcess { process } => process.pid.to_string(),
            Self::LockAccount { account } | Self::EndSessions { account } | Self::RevokeSshKeys { account, .. } => {
                account.clone()
            }
            Self::StopUnit { unit } => unit.clone(),
            Self::QuarantineFile { path, .. } => path.clone(),
        }
    }
}

/// Its name and what it is aimed at.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let target = self.target();
        if target.is_empty() { Ok(()) } else { write!(f, " {target}") }
    }
}

/// A process, safe against the reuse of its PID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessRef {
    /// Its PID in the host's namespace.
    pub pid: u32,
    /// When it began, in clock ticks since the boot: field 22 of /proc/PID/stat (proc_pid_stat(5)), `start_ticks` in the
    /// rows of `processes`.
    pub start_ticks: u64,
}

/// An address or a network, and a port: `10.0.0.5`, `10.0.0.0/8`, `10.0.0.5:443`, `fd00::/8`, `[fd00::1]:443`,
/// `[fd00::/8]:443`. Without a port, all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address; of a network, its first one.
    pub address: IpAddr,
    /// Bits of the network: 32 or 128 for one address.
    pub prefix: u8,
    /// The port; all of them and all protocols where it is `None`, else TCP and UDP.
    pub port: Option<u16>,
}

impl Endpoint {
    /// One address, all ports.
    pub const fn of(address: IpAddr) -> Self {
        Self { address, prefix: bits(address), port: None }
    }

    /// True when everything that `other` names is named by this one as well.
    pub fn covers(&self, other: &Self) -> bool {
        self.address.is_ipv4() == other.address.is_ipv4()
            && self.prefix <= other.prefix
            && masked(other.address, self.prefix) == self.address
            && (self.port.is_none() || self.port == other.port)
    }
}

const fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, prefix, port } = self;
        let net = if *prefix == bits(*address) { address.to_string() } else { format!("{address}/{prefix}") };
        match port {
            None => f.pad(&net),
            Some(port) if address.is_ipv6() => f.pad(&format!("[{net}]:{port}")),
            Some(port) => f.pad(&format!("{net}:{port}")),
        }
    }
}

/// What is no address, network or port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no ADDR, ADDR/BITS or ADDR:PORT: {why}")]
pub struct BadEndpoint {
    given: String,
    why: &'static str,
}

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(given: &str) -> Result<Self, BadEndpoint> {
        let bad = |why| BadEndpoint { given: given.chars().take(80).collect(), why };
        let (net, port) = if let Some(rest) = given.strip_prefix('[') {
            let (net, port) = rest.split_once(']').ok_or_else(|| bad("the bracket is not closed"))?;
            let port = if port.is_empty() {
                None
            } else {
                Some(port.strip_prefix(':').ok_or_else(|| bad("a colon and a port come behind the bracket"))?)
            };
            (net, port)
        } else {
            match given.split_once(':') {
                // More than one colon: an IPv6 address without a port.
                Some((net, port)) if !port.contains(':') => (net, Some(port)),
                _ => (given, None),
            }
        };
        let port = match port {
            None => None,
            Some(port) => match port.parse::<u16>() {
                Ok(port) if port > 0 => Some(port),
                _ => return Err(bad("the port is no number from 1 to 65535")),
            },
        };
        let (address, prefix) = net.split_once('/').map_or((net, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| bad("the address is neither IPv4 nor IPv6"))?;
        let prefix = match prefix {
            None => bits(address),
            Some(given) => match given.parse::<u8>() {
                Ok(given) if given <= bits(address) => given,
                _ => return Err(bad("the network has more bits than an address")),
            },
        };
        if masked(address, prefix) != address {
            return Err(bad("the address has bits outside of its network"));
        }
        Ok(Self { address, prefix, port })
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Endpoint {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Endpoint".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "ADDR, ADDR/BITS, ADDR:PORT or [ADDR6]:PORT",
            "examples": ["10.0.0.5:443", "fd00::/8"]
        })
    }
}

/// Why an isolation loses no evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "evidence", rename_all = "snake_case", deny_unknown_fields)]
pub enum EvidenceBasis {
    /// The volatile tier of this host is on the server.
    Receipted {
        /// The bundle.
        bundle: BundleId,
        /// The server's receipt for the end of that tier.
        receipt: Signed,
    },
    /// Its time budget is spent, and what is lost is named.
    BudgetSpent {
        /// The order that should have taken it.
        capture: OrderId,
        /// What is lost.
        lost: String,
    },
    /// A person takes it upon themselves.
    Waived {
        /// Why.
        because: String,
    },
}

/// One more signature over the bytes of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// Who approves, as in the hosts' `allowed_signers`.
    pub principal: String,
    /// SSHSIG over the exact bytes of the order, namespace `holdfast-contain`, armoured.
    pub sig_ssh: String,
}

/// What an agent tells of a containment order, in the order in which it happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "containment", rename_all = "snake_case")]
pub enum ContainmentEvent {
    /// What will be done, or would be.
    Planned {
        /// To whom it matters.
        preview: Preview,
        /// Each effect in a sentence.
        steps: Vec<String>,
    },
    /// It is done.
    Applied {
        /// What this kernel or host lacks, and what was done instead.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        fallbacks: Vec<String>,
        /// When the lease ends, by the host's clock.
        until: Instant,
    },
    /// It was looked whether it holds. Told when the answer changes, and not each time.
    Validated {
        /// What was looked at.
        checks: Vec<Check>,
        /// All of them are as they should be.
        holds: bool,
    },
    /// The lease ends later now.
    Renewed {
        /// When, by the host's clock.
        until: Instant,
    },
    /// Somebody else took it away, or changed it.
    Tampered {
        /// What, in a sentence.
        message: String,
        /// It is in place again.
        restored: bool,
    },
    /// It is taken back.
    Released {
        /// Why.
        cause: ReleaseCause,
        /// What somebody changed meanwhile, and was left so.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<String>,
    },
    /// It could not be done, or not be taken back.
    Failed {
        /// Why, in a sentence.
        message: String,
        /// The host is as before.
        restored: bool,
    },
}

impl ContainmentEvent {
    /// The name as it is serialised.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Planned { .. } => "planned",
            Self::Applied { .. } => "applied",
            Self::Validated { .. } => "validated",
            Self::Renewed { .. } => "renewed",
            Self::Tampered { .. } => "tampered",
            Self::Released { .. } => "released",
            Self::Failed { .. } => "failed",
        }
    }
}

/// In a sentence. Holds text of the host: escape it before a screen.
impl fmt::Display for ContainmentEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Planned { preview, steps } => {
                let of = |items: &[String], noun: &str| {
                    format!("{} {noun}{}", items.len(), if items.len() == 1 { "" } else { "s" })
                };
                let (peers, services) = (of(&preview.peers, "peer"), of(&preview.listening, "service"));
                let (steps, sessions) = (of(steps, "step"), of(&preview.sessions, "session"));
                write!(f, "{steps}; it touches {peers}, {services}, {sessions}")
            }
            Self::Applied { fallbacks, until } => {
                write!(f, "in force until {}", seconds(*until))?;
                fallbacks.iter().try_for_each(|fallback| write!(f, "; {fallback}"))
            }
            Self::Validated { checks, holds: true } => match checks.len() {
                1 => f.write_str("1 check says that it holds"),
                count => write!(f, "{count} checks say that it holds"),
            },
            Self::Validated { checks, holds: false } => {
                f.write_str("it does not hold")?;
                checks.iter().filter(|check| !check.holds).try_for_each(|check| write!(f, "; {}", check.what))
            }
            Self::Renewed { until } => write!(f, "in force until {} now", seconds(*until)),
            Self::Tampered { message, restored } => {
                write!(f, "{message}; it is {}", if *restored { "in place again" } else { "not in place" })
            }
            Self::Released { cause, left } => {
                write!(f, "taken back: {}", cause.sentence())?;
                left.iter().try_for_each(|left| write!(f, "; left as it is: {left}"))
            }
            Self::Failed { message, restored } => {
                write!(f, "{message}; the host is {}", if *restored { "as before" } else { "not as before" })
            }
        }
    }
}

/// A moment for people, to the second.
fn seconds(at: Instant) -> impl fmt::Display {
    at.calendar().strftime("%Y-%m-%d %H:%M:%SZ")
}

/// What root did at a host's console, and no order said: the body of `POST /agent/v1/containments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConsoleReport {
    /// What was done.
    pub action: Action,
    /// What happened.
    pub event: ContainmentEvent,
    /// The containment's id, made at the console.
    pub id: OrderId,
    /// Nothing was changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rehearsed: bool,
    /// When, by the host's clock.
    pub time: Instant,
}

/// One thing that was looked at to see whether containment holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// It is as it should be.
    pub holds: bool,
    /// From where it was looked: `host` or `server`.
    pub side: Side,
    /// What was looked at and what was found, in a sentence.
    pub what: String,
}

/// From where it was looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The agent.
    Host,
    /// The server.
    Server,
}

/// Why it was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseCause {
    /// An order said so.
    Order,
    /// Root at the host's console said so.
    Console,
    /// The lease has ended.
    LeaseEnded,
    /// It did not hold, or cut off the server.
    NotValid,
}

impl ReleaseCause {
    /// The name as it is serialised.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Console => "console",
            Self::LeaseEnded => "lease_ended",
            Self::NotValid => "not_valid",
        }
    }

    /// In words.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Order => "an order said so",
            Self::Console => "root at the console said so",
            Self::LeaseEnded => "the lease ended",
            Self::NotValid => "it did not hold",
        }
    }
}

/// Items of each list of a preview.
pub const PREVIEW_ITEMS_MAX: usize = 200;

/// Whom it would touch: the blast radius.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Preview {
    /// Addresses of the host, loopback left out.
    pub addresses: Vec<IpAddr>,
    /// Services that listen on other than loopback: `tcp 0.0.0.0:443 nginx`.
    pub listening: Vec<String>,
    /// Who is connected: `out tcp 10.0.0.5:443 curl`, `in tcp 10.0.0.9:22 sshd`.
    pub peers: Vec<String>,
    /// What this host is for others, by what it listens on or its policy says: `name server`, `database`, `protected`.
    pub protected_roles: Vec<String>,
    /// Who is logged in: `ada pts/0 10.0.0.9`.
    pub sessions: Vec<String>,
    /// Items that the lists have no room for.
    pub more: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_they_are_written() {
        for text in [
            "10.0.0.5",
            "10.0.0.0/8",
            "10.0.0.5:443",
            "fd00::1",
            "fd00::/8",
            "[fd00::1]:443",
            "[fd00::/8]:53",
            "0.0.0.0/0",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for text in
            ["", "web-1", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.5:0", "10.0.0.5:70000", "[fd00::1", "[fd00::1]443"]
        {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn automation_has_names_of_its_own() {
        assert!(["automation", "automation:db", "automation@example.org"].into_iter().all(is_automation));
        assert!(!["automat", "automations", "ada", "ada@automation", ""].into_iter().any(is_automation));
    }

    #[test]
    fn an_endpoint_covers_what_is_within_it() {
        let covers = |wide: &str, narrow: &str| wide.parse::<Endpoint>().unwrap().covers(&narrow.parse().unwrap());
        assert!(
            covers("10.0.0.0/8", "10.1.2.3:443") && covers("10.0.0.5:443", "10.0.0.5:443") && covers("::/0", "fd00::1")
        );
        assert!(!covers("10.0.0.5:443", "10.0.0.5") && !covers("10.0.0.5:443", "10.0.0.5:22"));
        assert!(!covers("0.0.0.0/0", "::1") && !covers("10.0.0.0/8", "11.0.0.1") && !covers("10.0.0.5", "10.0.0.0/8"));
    }

    #[test]
    fn an_action_is_named_as_it_is_serialised_and_refuses_what_it_does_not_know() {
        let action: Action = serde_json::from_str(r#"{"action":"isolate_network","allow":["10.0.0.5:443"]}"#).unwrap();
        assert_eq!(serde_json::to_value(&action).unwrap()["action"], action.name());
        for wrong in [
            r#"{"action":"isolate_network","alow":[]}"#,
            r#"{"action":"block_metadata_service","to":[]}"#,
            r#"{"action":"freeze_process","process":{"pid":1}}"#,
            r#"{"action":"reboot"}"#,
        ] {
            assert!(serde_json::from_str::<Action>(wrong).is_err(), "{wrong}");
        }
        let directive =
            r#"{"directive":"renew","contains":"01a22e30-316c-7419-88ae-153773c19bc2","lease_secs":60,"action":{}}"#;
        assert!(serde_json::from_str::<Directive>(directive).is_err());
    }
}
