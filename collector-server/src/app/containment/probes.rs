//! Whether an isolation holds, seen from the server: the agent still answers, and the host's other ports do not.
//!
//! It is tried again and again while it holds. A host names the addresses and ports itself, and it may lie: only addresses
//! of private networks are tried, few of them, and nothing is sent. A connection that comes about shows that it does not
//! hold; that none does shows as much as the network between would have let through.
//!
//! The host does not see that itself. So where a port takes connections several times in a row, the host is told under the
//! automation key, once, and does what its policy says: it takes the isolation back, or says that it stays closed. An agent
//! that answers no more cannot be told anything: its lease ends.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant as Deadline, timeout};
use wire::agent_api::POLL_WAIT_SECS_MAX;
use wire::api::{LiveEvent, TimedEvent};
use wire::containment::{
    Action, CONTAINMENT_TYPE, Check, ContainmentEvent, ContainmentOrder, Directive, Preview, Side,
};
use wire::order::{OrderEvent, OrderState};
use wire::{Instant, OrderId};

use super::super::alerts::unix_ms;
use super::super::orders::leaf;
use super::super::{Actor, App, Problem, random};
use super::effects::nonce;
use crate::store::{Change, OrderRecord, StoreError};

/// How often each is tried.
const EVERY: Duration = Duration::from_secs(30);
/// The same while one does not hold: somebody may see to it.
const AGAIN_EVERY: Duration = Duration::from_secs(5);
/// An agent that was not heard for so long does not answer: a long poll, and what is between two.
const AWAY_SECS_MAX: u64 = POLL_WAIT_SECS_MAX + 35;
const TICK: Duration = Duration::from_secs(1);
/// The host is told when a port took connections so many times in a row: never upon one look.
const OPEN_IN_A_ROW: u32 = 3;
/// What the host is told is of now: an agent that takes it later is not to act upon it.
const TOLD_VALID_NS: i128 = 120 * 1_000_000_000;
/// How long an answer may take.
const WAIT: Duration = Duration::from_millis(800);
/// Connections to one host at a time.
const TARGETS_MAX: usize = 16;
/// Orders that are looked at.
const ORDERS_MAX: u32 = 1000;

/// An isolation that is tried.
#[derive(Clone, Copy)]
struct Tried {
    at: Deadline,
    /// How many times in a row a port took a connection while the agent answered.
    open: u32,
}

impl App {
    /// Tries the hosts that are isolated until the server stops.
    pub async fn run_probes(self: Arc<Self>) {
        let Ok(mut listener) = self.live.listen() else { return };
        let mut tried: HashMap<OrderId, Tried> = HashMap::new();
        loop {
            if self.peers.leads()
                && let Err(problem) = self.probe_due(&mut tried).await
            {
                let (message, cause) = (problem.message, problem.cause);
                tracing::error!(message, cause, "isolated hosts were not tried");
            }
            let tick = Deadline::now() + TICK;
            loop {
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = tokio::time::sleep_until(tick) => break,
                    heard = listener.receiver.recv() => match heard {
                        Ok((_, event)) if !is_applied(&event) => {}
                        Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => break,
                        Err(_) => return,
                    },
                }
            }
        }
    }

    async fn probe_due(&self, tried: &mut HashMap<OrderId, Tried>) -> Result<(), Problem> {
        let now = Deadline::now();
        let orders = self.store.containment_orders(ORDERS_MAX).await?;
        let holding: Vec<OrderRecord> = orders.into_iter().filter(is_isolation_in_force).collect();
        metrics::gauge!("holdfast_hosts_isolated").set(u32::try_from(holding.len()).unwrap_or(u32::MAX));
        let known: BTreeSet<OrderId> = holding.iter().map(|order| order.order).collect();
        tried.retain(|order, _| known.contains(order));
        for order in holding {
            let every = if super::facts::contained(&order).server_holds == Some(false) { AGAIN_EVERY } else { EVERY };
            let last = tried.get(&order.order).copied();
            if last.is_some_and(|last| now.duration_since(last.at) < every) {
                continue;
            }
            let open = last.map_or(0, |last| last.open);
            // One that fails is tried again in its time.
            tried.insert(order.order, Tried { at: now, open });
            let is_open = self.probe(&order).await?;
            let open = if is_open { open.saturating_add(1) } else { 0 };
            tried.insert(order.order, Tried { at: now, open });
            if open >= OPEN_IN_A_ROW {
                self.tell_host(&order).await?;
            }
        }
        Ok(())
    }

    /// Tries one host, and tells what changed since the last time. Answers whether a port took a connection, and
    /// the agent is there to be told of it.
    async fn probe(&self, order: &OrderRecord) -> Result<bool, Problem> {
        let agent = self.check_agent(order).await?;
        let answers = agent.holds;
        let mut checks = vec![agent];
        let preview = order.preview().cloned().unwrap_or_default();
        let targets = targets(&preview);
        if targets.is_empty() {
            let what = "the host names no port in a private network that could be tried from here".to_owned();
            checks.push(Check { holds: true, side: Side::Server, what });
        }
        let tried = try_all(targets).await;
        let is_open = answers && tried.iter().any(|check| !check.holds);
        checks.extend(tried);
        let holds = checks.iter().all(|check| check.holds);
        metrics::counter!("holdfast_probes_total", "holds" => if holds { "yes" } else { "no" }).increment(1);
        let told = ContainmentEvent::Validated { checks, holds };
        let last = order.events.iter().rev().find(|event| {
            event.agent_time.is_none()
                && matches!(event.event, OrderEvent::Containment { told: ContainmentEvent::Validated { .. }, .. })
        });
        let event = OrderEvent::Containment { told, rehearsed: false };
        if last.is_some_and(|last| last.event == event) && !is_renewed_since(order) {
            return Ok(is_open);
        }
        let now = self.now();
        let leaf = leaf(order, &Actor::Server, "containment_validated", [("told", json!(event))], now);
        let (order_id, state) = (order.order, OrderState::Holding);
        let event = TimedEvent { agent_time: None, event, time: now };
        let change = Change::OrderEvent { event: Some(event.clone()), from: vec![state], order: order_id, to: state };
        match self.store.commit(vec![change, Change::LookNow(order.incident.clone())], vec![leaf]).await {
            // It was released meanwhile.
            Ok(_) | Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
        self.live.tell(&order.incident, LiveEvent::Order { event, order: order_id, state });
        Ok(is_open)
    }

    /// Tells the host that its isolation does not hold, unless it was told already and has made something of it.
    async fn tell_host(&self, order: &OrderRecord) -> Result<(), Problem> {
        if !self.site.automation().on || self.automation.is_none() {
            return Ok(());
        }
        let tells = |other: &OrderRecord| {
            let is_of_it =
                matches!(other.directive, Some(Directive::DoesNotHold { contains }) if contains == order.order);
            is_of_it && !matches!(other.state, OrderState::Expired | OrderState::Cancelled)
        };
        if self.store.orders_of(&order.incident).await?.iter().any(tells) {
            return Ok(());
        }
        let now = self.now();
        let told = ContainmentOrder {
            agent: order.agent.clone(),
            directive: Directive::DoesNotHold { contains: order.order },
            evidence: None,
            expires: Instant(now.0 + TOLD_VALID_NS),
            incident: order.incident.clone(),
            issued: now,
            nonce: nonce()?,
            order: OrderId::new(unix_ms(now), random()?),
            reason: Some(format!("its ports took connections from the server {OPEN_IN_A_ROW} times in a row")),
            kind: CONTAINMENT_TYPE.to_owned(),
            v: 1,
        };
        let (record, leaf) = self.automatic_containment(told, 0)?;
        self.keep_order(record, None, vec![leaf]).await.map(|_| ())
    }

    async fn check_agent(&self, order: &OrderRecord) -> Result<Check, Problem> {
        let is_near = |at: Instant| self.now().0 - at.0 < i128::from(AWAY_SECS_MAX) * 1_000_000_000;
        let host = self.store.host(&order.agent).await?;
        let told = order.events.iter().rev().find(|event| event.agent_time.is_some());
        // A server that was just started waits for agents as long as one that was not.
        let holds = told.is_some_and(|event| is_near(event.time))
            || host.is_some_and(|host| self.is_connected(&host) || host.last_seen.is_some_and(is_near));
        let what = if holds { "the agent answers" } else { "the agent does not ask for orders any more" };
        Ok(Check { holds, side: Side::Server, what: what.to_owned() })
    }
}

/// True when it was applied after the server looked last.
fn is_renewed_since(order: &OrderRecord) -> bool {
    super::facts::contained(order).server_holds.is_none()
}

fn is_applied(event: &LiveEvent) -> bool {
    matches!(
        event,
        LiveEvent::Order {
            event: TimedEvent { event: OrderEvent::Containment { told: ContainmentEvent::Applied { .. }, .. }, .. },
            ..
        }
    )
}

/// True for an isolation that is in force.
pub fn is_isolation_in_force(order: &OrderRecord) -> bool {
    order.state == OrderState::Holding
        && matches!(&order.directive, Some(Directive::Apply { action: Action::IsolateNetwork { .. }, .. }))
}

/// The ports that the host named, at its addresses in private networks.
fn targets(preview: &Preview) -> Vec<SocketAddr> {
    let addresses: Vec<IpAddr> = preview.addresses.iter().copied().filter(|one| is_private(*one)).collect();
    let mut targets = BTreeSet::new();
    for line in &preview.listening {
        let Some(at) = line.strip_prefix("tcp ").and_then(|rest| rest.split(' ').next()) else { continue };
        let Ok(at) = at.parse::<SocketAddr>() else { continue };
        let (ip, port) = (at.ip(), at.port());
        // A socket on all addresses of IPv6 takes connections over IPv4 too.
        let is_meant = |one: &&IpAddr| ip == **one || (ip.is_unspecified() && (ip.is_ipv6() || one.is_ipv4()));
        targets.extend(addresses.iter().filter(is_meant).map(|one| SocketAddr::new(*one, port)));
    }
    targets.into_iter().filter(|target| target.port() > 0).take(TARGETS_MAX).collect()
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            address.is_private() || (a == 100 && b & 0xc0 == 0x40)
        }
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

async fn try_all(targets: Vec<SocketAddr>) -> Vec<Check> {
    let mut tries = JoinSet::new();
    for target in targets {
        tries.spawn(async move { (target, matches!(timeout(WAIT, TcpStream::connect(target)).await, Ok(Ok(_)))) });
    }
    let mut tried = tries.join_all().await;
    tried.sort();
    let check = |(target, is_open): (SocketAddr, bool)| {
        let what = if is_open {
            format!("tcp {target} takes a connection from the server")
        } else {
            format!("tcp {target} takes no connection from the server")
        };
        Check { holds: !is_open, side: Side::Server, what }
    };
    tried.into_iter().map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_addresses_that_the_host_names_are_tried() {
        let preview = Preview {
            addresses: ["10.0.0.7", "8.8.8.8", "127.0.0.1", "169.254.169.254", "fd00::7", "2001:db8::1"]
                .map(|one| one.parse().unwrap())
                .to_vec(),
            listening: [
                "tcp 0.0.0.0:22 sshd",
                "tcp [::]:443 nginx",
                "tcp 10.0.0.7:5432 postgres",
                "tcp 10.0.0.8:1 other",
                "tcp 8.8.8.8:53 x",
                "udp 0.0.0.0:53 named",
                "tcp what",
            ]
            .map(str::to_owned)
            .to_vec(),
            ..Preview::default()
        };
        let found: Vec<String> = targets(&preview).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.7:22", "10.0.0.7:443", "10.0.0.7:5432", "[fd00::7]:443"]);
        let many = (1..100).map(|port| format!("tcp 0.0.0.0:{port} x")).collect();
        assert_eq!(targets(&Preview { listening: many, ..preview }).len(), TARGETS_MAX);
    }

    #[tokio::test]
    async fn a_port_that_answers_shows_that_it_does_not_hold() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let closed = SocketAddr::new(
            open.ip(),
            std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(),
        );
        let checks = try_all(vec![open, closed]).await;
        let of = |port: u16| checks.iter().find(|check| check.what.contains(&format!(":{port} "))).unwrap();
        assert!(!of(open.port()).holds && of(closed.port()).holds, "{checks:?}");
    }
}
