//! `holdfast contain` and what belongs to it: orders that change hosts. Made and signed here; the server carries them, counts
//! who approves, and hands them over; the host's policy has the last word.

mod action;
pub mod approve;
pub mod cancel;
pub mod hold;
pub mod touched;

use anyhow::anyhow;
use bundle::checkpoint::to_sorted_json;
use serde_json::Value;
use wire::api::OrderView;
use wire::containment::{
    Action, CONTAINMENT_TYPE, ContainmentOrder, Directive, Endpoint, LEASE_SECS_MAX, VALID_SECS_MAX,
};
use wire::order::OrderState;
use wire::signed::namespace;
use wire::{AgentId, IncidentId, Instant, OrderId, Sha256};

use super::dispatch::find_host;
use super::follow::{Goal, Watch, order_view};
use super::{Failure, IO, USAGE};
use crate::api::{self, Api};
use crate::config::Config;
use crate::escape::shown;
use crate::order_key::OrderKey;
use crate::show::{self, print, remark};

/// Change a host so that an intruder gets no further, or rehearse it, by an order that you sign.
#[derive(clap::Args)]
#[command(after_help = "Actions and their arguments:\n  \
    isolate_network [--allow ADDR[:PORT] …] [--resolver ADDR …]\n  block_egress ADDR[/BITS][:PORT] …\n  \
    block_metadata_service\n  freeze_process PID:START_TICKS\n  kill_process PID:START_TICKS (cannot be taken back)\n  \
    lock_account NAME\n  end_sessions NAME (cannot be taken back)\n  revoke_ssh_keys NAME [SHA256:… …]\n  \
    stop_unit UNIT\n  quarantine_file PATH [--sha256 DIGEST]\n\n\
    With --follow, Ctrl-C stops watching, never the containment. Exit codes with --follow: 0 it holds or was rehearsed, \
    1 it does not, 77 the agent refused.")]
pub struct Contain {
    /// The incident that it belongs to.
    incident: IncidentId,
    /// The host: its agent's id, or its name where only one host has it.
    #[arg(long)]
    host: String,
    /// What to do.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(Action::NAMES))]
    action: String,
    /// What to do it to.
    args: Vec<String>,
    /// What isolated hosts may still speak with, beside the servers (again for more).
    #[arg(long, value_name = "ADDR[:PORT]")]
    allow: Vec<Endpoint>,
    /// A resolver that isolated hosts may still ask (again for more).
    #[arg(long, value_name = "ADDR")]
    resolver: Vec<std::net::IpAddr>,
    /// What the file must hold.
    #[arg(long, value_name = "DIGEST")]
    sha256: Option<Sha256>,
    /// How long it holds, unless it is renewed: 30m, 4h; at most 4 hours.
    #[arg(long, value_name = "TIME", default_value = "4h", value_parser = lease)]
    lease: u64,
    /// Say what would be done and whom it would touch; change nothing.
    #[arg(long)]
    rehearse: bool,
    /// Why; it stands in the order.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// How long the agent may take it, approvals included: 30m, 1h; at most 24 hours.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = valid)]
    valid: u64,
    /// Show what happens until it holds.
    #[arg(long)]
    follow: bool,
    /// Print the server's answer as JSON; with --follow one object for each event.
    #[arg(long)]
    json: bool,
}

impl Contain {
    /// Makes, signs and sends the order.
    pub fn run(self) -> Result<u8, Failure> {
        let action = self.action()?;
        let config = Config::load()?;
        let key = OrderKey::configured(&config)?;
        let api = Api::of(&config)?;
        let host = find_host(&api, &self.host)?;
        let directive = if self.rehearse {
            Directive::Rehearse { action }
        } else {
            Directive::Apply { action, lease_secs: self.lease }
        };
        let place = (self.incident.clone(), host.agent.clone());
        let order = new_order(place, directive, self.reason.clone(), self.valid)?;
        if !host.connected && !self.json {
            remark("the agent is not connected: it takes the order when it is back");
        }
        give(&api, &key, &order, Telling { follow: self.follow, json: self.json }, Goal::Held)
    }
}

/// How much is said of an order.
#[derive(Clone, Copy)]
struct Telling {
    follow: bool,
    json: bool,
}

/// An order of now.
fn new_order(
    (incident, agent): (IncidentId, AgentId),
    directive: Directive,
    reason: Option<String>,
    valid_secs: u64,
) -> Result<ContainmentOrder, Failure> {
    let random = |bytes: &mut [u8]| {
        getrandom::fill(bytes).map_err(|error| Failure::new(IO, anyhow!("the system has no randomness: {error}")))
    };
    let (now, mut nonce, mut id) = (show::now(), [0; 16], [0; 10]);
    random(&mut nonce)?;
    random(&mut id)?;
    let unix_ms = u64::try_from(now.0 / 1_000_000).unwrap_or(0);
    Ok(ContainmentOrder {
        agent,
        directive,
        evidence: None,
        expires: Instant(now.0 + i128::from(valid_secs) * 1_000_000_000),
        incident,
        issued: now,
        nonce: format!("{:032x}", u128::from_be_bytes(nonce)),
        order: OrderId::new(unix_ms, id),
        reason,
        kind: CONTAINMENT_TYPE.to_owned(),
        v: 1,
    })
}

/// Signs it, sends it and says so; watches until the goal, where that is wanted. Returns the exit code.
fn give(
    api: &Api,
    key: &OrderKey,
    order: &ContainmentOrder,
    Telling { follow, json }: Telling,
    goal: fn(OrderId) -> Goal,
) -> Result<u8, Failure> {
    let signed = key.sign_order(namespace::CONTAIN, to_sorted_json(order).as_bytes())?;
    let body = serde_json::to_vec(&signed).map_err(|error| Failure::new(IO, error))?;
    // Opened before the order is sent, so that nothing that happens to it is missed.
    let watch = if follow { Some(Watch::open(api, order.incident.clone(), json)?) } else { None };
    let view = answered(api, api.post("/api/v1/orders", "application/json", body)?, json && !follow)?;
    if !json {
        say(&view, follow)?;
    }
    watch.map_or(Ok(0), |watch| watch.until(&goal(view.order)))
}

fn answered(api: &Api, answer: Value, as_json: bool) -> Result<OrderView, Failure> {
    if as_json {
        print(&format!("{answer}\n"))?;
    }
    api::read(api.server(), answer)
}

/// What is known of an order, and what to do next.
fn say(view: &OrderView, is_followed: bool) -> Result<(), Failure> {
    let what = view.directive.as_ref().map(Directive::to_string).unwrap_or_default();
    print(&format!(
        "order {}: {} on {} ({}), signed by {}, {}, valid until {}\n",
        view.order,
        shown(&what),
        shown(&view.host),
        view.agent,
        shown(&view.signed_by),
        view.state.name().replace('_', " "),
        show::time(view.expires)
    ))?;
    if view.state == OrderState::AwaitingApproval {
        remark(&format!("it waits for others: {} persons must approve it in all", view.approvers));
        remark(&format!("hint: another person: holdfast approve {}", view.order));
    } else if !is_followed && !view.state.is_final() {
        remark(&format!("hint: holdfast follow {}", view.order));
    }
    Ok(())
}

/// A lease as an argument.
fn lease(text: &str) -> Result<u64, String> {
    let seconds = super::seconds(text)?;
    if seconds > LEASE_SECS_MAX { Err("a lease is at most 4h; renew it".to_owned()) } else { Ok(seconds) }
}

fn valid(text: &str) -> Result<u64, String> {
    let seconds = super::seconds(text)?;
    if seconds > VALID_SECS_MAX { Err("such an order is valid for at most 24h".to_owned()) } else { Ok(seconds) }
}

fn usage(message: String) -> Failure {
    Failure::new(USAGE, anyhow!(message)).hint("holdfast contain --help says what each action takes")
}
