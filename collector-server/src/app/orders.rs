//! The agent's half of orders: they are handed over by a long poll, and the agent tells what becomes of them.
//!
//! An agent has not promised anything before it told of an order, so an order is handed over again until then. What the
//! agent tells is believed about its own orders only, and only in the order in which it can happen.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant as Deadline, timeout_at};
use wire::agent_api::{Delivery, OrderKind, OrderReport, OrdersReply, POLL_WAIT_SECS_MAX};
use wire::api::{LiveEvent, TimedEvent};
use wire::host::Beat;
use wire::order::{OrderEvent, OrderState};
use wire::{AgentId, BundleId, Instant, OrderId};

use super::containment::told::{self, is_alarming, state_after};
use super::{Actor, App, Problem, ProblemKind, details};
use crate::spool_key::SpoolKey;
use crate::store::{Change, NewLeaf, ORDER_EVENTS_MAX, OrderRecord, StoreError};

/// Orders in one reply: an envelope may have 350 KB.
const ORDERS_MAX: usize = 8;
/// Texts that agents tell, in characters.
const MESSAGE_CHARS_MAX: usize = 1024;
/// Progress is written down at most this often.
const PROGRESS_EVERY_NS: i128 = 1_000_000_000;
/// Orders that are looked at at a time for whether their time is over; the next sweep looks at the others. Those that were
/// handed over a moment ago are among them, and do not stop the others for long.
const OVERDUE_MAX: u32 = 5000;
/// An order that was handed over in time may be told of a little later.
const DELIVERED_GRACE_NS: i128 = 600 * 1_000_000_000;

impl App {
    /// The orders that wait for this agent; of containment only, where that is asked for. Without any, waits for one, for
    /// so many seconds at most.
    ///
    /// # Errors
    /// [`ProblemKind::TooMany`] for an agent that asks many times at once.
    pub async fn wait_for_orders(
        &self,
        agent: &AgentId,
        wait_secs: u64,
        kind: Option<OrderKind>,
        beat: Option<Beat>,
    ) -> Result<OrdersReply, Problem> {
        let poll = self.hub.poll(agent).ok_or_else(|| {
            Problem::new(ProblemKind::TooMany, format!("the agent {agent} asks for orders too many times at once"))
                .hint("one long poll is enough; wait for its answer")
        })?;
        self.heard(agent, beat).await?;
        let deadline = Deadline::now() + Duration::from_secs(wait_secs.min(POLL_WAIT_SECS_MAX));
        loop {
            // Before the records are read: what is dispatched after that wakes this poll.
            let woken = poll.notify.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            // It may have been shut out while it waited.
            self.enrolled(agent).await?;
            let orders = self.hand_over(agent, kind).await?;
            if !orders.is_empty() || self.stop.is_cancelled() {
                return Ok(self.orders_reply(orders));
            }
            let waited = async {
                tokio::select! {
                    () = woken => {}
                    () = self.stop.cancelled() => {}
                }
            };
            if timeout_at(deadline, waited).await.is_err() {
                return Ok(self.orders_reply(Vec::new()));
            }
        }
    }

    fn orders_reply(&self, orders: Vec<Delivery>) -> OrdersReply {
        let cas = self.authorities.get().map(|in_force| in_force.sha256s()).unwrap_or_default();
        let spool_recipient = self.spool.as_ref().map(SpoolKey::recipient);
        OrdersReply { cas, nonce: None, orders, server_time: self.now(), spool_recipient }
    }

    async fn hand_over(&self, agent: &AgentId, kind: Option<OrderKind>) -> Result<Vec<Delivery>, Problem> {
        let now = self.now();
        let waiting = self.store.orders_waiting(agent).await?.into_iter();
        let is_asked = |order: &OrderRecord| kind.is_none() || order.directive.is_some();
        let mut deliveries = Vec::new();
        for order in waiting.filter(|order| order.expires > now && is_asked(order)).take(ORDERS_MAX) {
            if order.state == OrderState::Queued {
                let change = Change::OrderEvent {
                    event: None,
                    from: vec![OrderState::Queued],
                    order: order.order,
                    to: OrderState::Delivered,
                };
                let leaf = leaf(&order, &Actor::Server, "order_delivered", [("agent", json!(agent))], now);
                match self.store.commit(vec![change], vec![leaf]).await {
                    // Another poll of the same agent was faster.
                    Ok(_) | Err(StoreError::Conflict(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            let approvals = order.approvals.into_iter().map(|one| one.approval).collect();
            deliveries.push(Delivery { approvals, envelope: order.envelope, order: order.order });
        }
        Ok(deliveries)
    }

    /// An agent tells of an order. Told again, it changes nothing.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`]; [`ProblemKind::Forbidden`] for another agent's order; [`ProblemKind::Conflict`] for what
    /// cannot happen to the order where it stands.
    pub async fn order_report(&self, by: &Actor, order: OrderId, report: OrderReport) -> Result<(), Problem> {
        let record = self.own_order(by, order).await?;
        let now = self.now();
        let event = TimedEvent { agent_time: Some(report.time), event: bounded(report.event), time: now };
        // It does not ask while it collects.
        self.heard(&record.agent, None).await?;
        if is_known(&record, &event) {
            return Ok(());
        }
        if is_frequent(&record, &event.event, now) {
            self.live.tell(&record.incident, LiveEvent::Order { event, order, state: record.state });
            return Ok(());
        }
        let Some(from) = from_states(&record, &event.event) else {
            let (state, what) = (record.state.name(), name_of(&event.event));
            return Err(Problem::new(
                ProblemKind::Conflict,
                format!("order {order} is {state}: it cannot be {what} now"),
            )
            .hint("nothing is resumed from memory: ask for the orders that wait"));
        };
        self.check_bundle_of(&record, &event.event).await?;
        let to =
            record.directive.as_ref().map_or(event.event.state(), |directive| state_after(directive, &event.event));
        let leaves = custody_leaf(&record, by, &event.event, report.time, now).into_iter().collect();
        let mut changes = vec![Change::OrderEvent { event: Some(event.clone()), from, order, to }];
        if matches!(&event.event, OrderEvent::Containment { told, .. } if is_alarming(told)) {
            changes.push(Change::LookNow(record.incident.clone()));
        }
        match self.store.commit(changes, leaves).await {
            Ok(_) => {}
            // The same was told twice at once.
            Err(StoreError::Conflict(_)) if is_known(&self.own_order(by, order).await?, &event) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let left = match &event.event {
            OrderEvent::Interrupted { bundle, .. } => bundle.or(record.bundle),
            OrderEvent::Failed { .. } => record.bundle,
            _ => None,
        };
        self.live.tell(&record.incident, LiveEvent::Order { event, order, state: to });
        if let Some(bundle) = left {
            self.ingest.now(bundle);
        }
        Ok(())
    }

    /// The order, when it is for the agent that asks.
    pub(super) async fn own_order(&self, by: &Actor, order: OrderId) -> Result<OrderRecord, Problem> {
        let record = self.store.order(order).await?.ok_or_else(|| {
            Problem::new(ProblemKind::NotFound, format!("there is no order {order}"))
                .hint("an order is told of under the id under which it was handed over")
        })?;
        if matches!(by, Actor::Agent { agent, .. } if *agent == record.agent) {
            return Ok(record);
        }
        tracing::warn!(%by, %order, "an order of another agent was asked for");
        Err(Problem::new(ProblemKind::Forbidden, format!("order {order} is not for {by}"))
            .hint("an agent tells of its own orders only"))
    }

    /// A bundle answers one order, and an order makes one bundle.
    async fn check_bundle_of(&self, record: &OrderRecord, event: &OrderEvent) -> Result<(), Problem> {
        let named = match event {
            OrderEvent::Started { bundle } | OrderEvent::Interrupted { bundle: Some(bundle), .. } => *bundle,
            _ => return Ok(()),
        };
        let there = self.store.evidence(named).await?;
        let is_of_another = there.is_some_and(|there| there.view.order != Some(record.order));
        if is_of_another || record.bundle.is_some_and(|bundle| bundle != named) {
            let message = format!("bundle {named} is not the one of order {}", record.order);
            return Err(Problem::new(ProblemKind::Conflict, message).hint("each run makes a bundle of its own"));
        }
        Ok(())
    }

    /// Marks the orders that no agent took in their time.
    pub(super) async fn expire_orders(&self) -> Result<(), Problem> {
        let now = self.now();
        for order in self.store.orders_overdue(now, OVERDUE_MAX).await? {
            let grace = if order.state == OrderState::Delivered { DELIVERED_GRACE_NS } else { 0 };
            if order.expires.0 + grace <= now.0 {
                self.expire(&order, now).await?;
            }
        }
        Ok(())
    }

    async fn expire(&self, order: &OrderRecord, now: Instant) -> Result<(), Problem> {
        let change =
            Change::OrderEvent { event: None, from: vec![order.state], order: order.order, to: OrderState::Expired };
        let leaf = leaf(order, &Actor::Server, "order_expired", [("expires", json!(order.expires))], now);
        match self.store.commit(vec![change], vec![leaf]).await {
            // The agent was faster.
            Ok(_) | Err(StoreError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The states in which this can happen; `None` when the order is in none of them. An order that the server gave up as
/// expired may have been taken in time all the same: the agent knows better.
fn from_states(record: &OrderRecord, event: &OrderEvent) -> Option<Vec<OrderState>> {
    use OrderState::{Accepted, Delivered, Expired, Queued, Running};
    if record.directive.is_some() {
        return told::from_states(record, event).map(<[OrderState]>::to_vec);
    }
    let from: &[OrderState] = match event {
        OrderEvent::Accepted => &[Queued, Delivered, Expired],
        OrderEvent::Refused { .. } | OrderEvent::Started { .. } => &[Queued, Delivered, Expired, Accepted],
        OrderEvent::Progress { .. } | OrderEvent::Spooled { .. } | OrderEvent::Completed { .. } => &[Running],
        OrderEvent::Interrupted { .. } | OrderEvent::Failed { .. } => &[Queued, Delivered, Expired, Accepted, Running],
        OrderEvent::Containment { .. } => return None,
    };
    let is_corrected = is_given_up(record)
        && matches!(
            event,
            OrderEvent::Spooled { .. }
                | OrderEvent::Completed { .. }
                | OrderEvent::Interrupted { .. }
                | OrderEvent::Failed { .. }
        );
    if is_corrected {
        return Some(vec![OrderState::Interrupted]);
    }
    from.contains(&record.state).then(|| from.to_vec())
}

/// True when it was the server that ended the order, for silence: the agent knows better, if it comes back.
pub(super) fn is_given_up(record: &OrderRecord) -> bool {
    record.state == OrderState::Interrupted
        && matches!(
            record.events.last(),
            Some(TimedEvent { event: OrderEvent::Interrupted { by_silence: true, .. }, .. })
        )
}

/// When something of an order was last told.
pub(super) fn last_told(record: &OrderRecord) -> Option<Instant> {
    record.events.last().map(|event| event.time)
}

/// The end of an order of which neither bytes nor reports come any more; `None` when it does not run, or was given up
/// too many times: what the agent may still tell needs room.
pub(super) fn given_up(
    record: &OrderRecord,
    bundle: BundleId,
    receipted: Option<u64>,
    now: Instant,
) -> Option<(Change, NewLeaf, TimedEvent)> {
    if record.state != OrderState::Running || record.events.len() >= ORDER_EVENTS_MAX / 2 {
        return None;
    }
    let event = OrderEvent::Interrupted { bundle: Some(bundle), by_silence: true, receipted };
    let leaf = leaf(record, &Actor::Server, "order_interrupted", [("told", json!(event))], now);
    let event = TimedEvent { agent_time: None, event, time: now };
    let (order, to) = (record.order, OrderState::Interrupted);
    let change = Change::OrderEvent { event: Some(event.clone()), from: vec![OrderState::Running], order, to };
    Some((change, leaf, event))
}

/// True when this was told before, or is progress that something else has overtaken.
fn is_known(record: &OrderRecord, event: &TimedEvent) -> bool {
    if matches!(event.event, OrderEvent::Containment { .. }) {
        return told::is_known(record, event);
    }
    let is_late_progress = matches!(event.event, OrderEvent::Progress { .. }) && record.state.is_final();
    is_late_progress || record.events.iter().any(|known| known.event == event.event)
}

/// Progress is shown as it comes, and written down once in a while.
fn is_frequent(record: &OrderRecord, event: &OrderEvent, now: Instant) -> bool {
    let last = record.events.iter().rfind(|known| matches!(known.event, OrderEvent::Progress { .. }));
    record.state == OrderState::Running
        && matches!(event, OrderEvent::Progress { .. })
        && last.is_some_and(|last| (0..PROGRESS_EVERY_NS).contains(&(now.0 - last.time.0)))
}

fn name_of(event: &OrderEvent) -> &'static str {
    match event {
        OrderEvent::Accepted => "accepted",
        OrderEvent::Refused { .. } => "refused",
        OrderEvent::Started { .. } => "started",
        OrderEvent::Progress { .. } => "under way",
        OrderEvent::Spooled { .. } => "spooled",
        OrderEvent::Completed { .. } => "completed",
        OrderEvent::Interrupted { .. } => "interrupted",
        OrderEvent::Failed { .. } => "failed",
        OrderEvent::Containment { told, .. } => told.name(),
    }
}

/// Texts from an agent are kept up to a bound.
fn bounded(event: OrderEvent) -> OrderEvent {
    let cut = |text: String| -> String { text.chars().take(MESSAGE_CHARS_MAX).collect() };
    match event {
        OrderEvent::Refused { message, reason } => OrderEvent::Refused { message: cut(message), reason },
        OrderEvent::Failed { message } => OrderEvent::Failed { message: cut(message) },
        OrderEvent::Progress { bytes, collector, items, tier } => {
            OrderEvent::Progress { bytes, collector: cut(collector), items, tier }
        }
        OrderEvent::Spooled { bytes, full, reason } => OrderEvent::Spooled { bytes, full, reason: cut(reason) },
        // Only the server gives an order up.
        OrderEvent::Interrupted { bundle, receipted, .. } => {
            OrderEvent::Interrupted { bundle, by_silence: false, receipted }
        }
        OrderEvent::Containment { told, rehearsed } => OrderEvent::Containment { told: told::bounded(told), rehearsed },
        other => other,
    }
}

/// Everything but progress is in custody, with the agent's own clock.
fn custody_leaf(record: &OrderRecord, by: &Actor, event: &OrderEvent, told: Instant, now: Instant) -> Option<NewLeaf> {
    let name = match event {
        OrderEvent::Accepted => "order_accepted",
        OrderEvent::Refused { .. } => "order_refused",
        OrderEvent::Started { .. } => "order_started",
        OrderEvent::Progress { .. } => return None,
        OrderEvent::Spooled { .. } => "order_spooled",
        OrderEvent::Completed { .. } => "order_completed",
        OrderEvent::Interrupted { .. } => "order_interrupted",
        OrderEvent::Failed { .. } => "order_failed",
        OrderEvent::Containment { told, .. } => told::leaf_name(told),
    };
    Some(leaf(record, by, name, [("agent_time", json!(told)), ("told", json!(event))], now))
}

pub(super) fn leaf<const N: usize>(
    record: &OrderRecord,
    by: &Actor,
    event: &'static str,
    more: [(&str, serde_json::Value); N],
    now: Instant,
) -> NewLeaf {
    NewLeaf {
        actor: by.to_string(),
        details: details(more),
        event,
        incident: Some(record.incident.clone()),
        subject: format!("order:{}", record.order),
        time: now,
    }
}
