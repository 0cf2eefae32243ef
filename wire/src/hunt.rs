//! Hunts: one profile over many hosts. A responder signs one order for each host, because a signature must name its agent;
//! the server keeps them, and lets agents have them at a rate, so many at a time, the most volatile evidence of the whole
//! fleet first.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finding::Level;
use crate::host::Label;
use crate::order::OrderState;
use crate::{AgentId, BundleId, HuntId, IncidentId, Instant, OrderId};

/// Orders of one hunt.
pub const ORDERS_MAX: usize = 20_000;
/// Orders that are let go in a minute.
pub const RATE_MAX: u32 = 6_000;
/// Orders that are under way at a time.
pub const CONCURRENCY_MAX: u32 = 1_000;
/// The wave of what is gone first; the rest of a profile is of the next one.
pub const FIRST_WAVE: u32 = 1;
/// The last wave.
pub const LAST_WAVE: u32 = 2;

/// Begins a hunt. Its orders follow, each under its signature, and then it is said that all of them are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HuntRequest {
    /// Orders under way at a time.
    #[schemars(range(min = 1, max = 1_000))]
    pub concurrency: u32,
    /// The incident that the evidence belongs to.
    pub incident: IncidentId,
    /// The labels by which the hosts were found, for people.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub labels: Vec<Label>,
    /// The profile's name.
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"))]
    pub profile: String,
    /// For which purpose.
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"))]
    pub purpose: Option<String>,
    /// Orders that are let go in a minute.
    #[schemars(range(min = 1, max = 6_000))]
    pub rate_per_min: u32,
    /// Seconds until it ends, whatever is left of it.
    #[schemars(range(min = 1, max = 604_800))]
    pub valid_secs: u64,
}

/// Where a hunt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HuntState {
    /// Its orders still come; of the first wave, they are let go already.
    Gathering,
    /// All of its orders are there.
    Running,
    /// Nothing more will happen to any of its orders.
    Done,
    /// Its time ended before all of them were let go, or taken.
    Expired,
    /// Somebody ended it.
    Cancelled,
}

impl HuntState {
    /// The name as it is serialised.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gathering => "gathering",
            Self::Running => "running",
            Self::Done => "done",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// True while orders may be let go.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Gathering | Self::Running)
    }
}

/// A hunt. Everything in it is counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HuntView {
    /// Orders under way at a time.
    pub concurrency: u32,
    /// When it began.
    pub created: Instant,
    /// Who began it.
    pub created_by: String,
    /// When it ends.
    pub expires: Instant,
    /// Findings of its bundles by level; counted where one hunt is shown.
    pub findings: BTreeMap<Level, u64>,
    /// Orders that wait for their turn.
    pub held: u64,
    /// Its hosts, in the order of their agents' ids; listed where one hunt is shown.
    pub hosts: Vec<HuntHost>,
    /// Its id.
    pub hunt: HuntId,
    /// The incident.
    pub incident: IncidentId,
    /// The labels by which its hosts were found.
    pub labels: Vec<Label>,
    /// Its orders by where they stand; those that wait for their turn are `queued`.
    pub orders: BTreeMap<String, u64>,
    /// The profile's name.
    pub profile: String,
    /// For which purpose.
    pub purpose: Option<String>,
    /// Orders that are let go in a minute.
    pub rate_per_min: u32,
    /// Where it stands.
    pub state: HuntState,
}

/// A host of a hunt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HuntHost {
    /// Its agent.
    pub agent: AgentId,
    /// Its name.
    pub host: String,
    /// Its orders, by wave.
    pub orders: Vec<HuntOrder>,
}

/// An order of a hunt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HuntOrder {
    /// The bundle that it made.
    pub bundle: Option<BundleId>,
    /// Findings in it, once they were looked for.
    pub findings: Option<u64>,
    /// Which.
    pub order: OrderId,
    /// When its agent could have it; none while it waits for its turn.
    pub released: Option<Instant>,
    /// Where it stands.
    pub state: OrderState,
    /// 1 for what is gone first, 2 for the rest.
    pub wave: u32,
}
