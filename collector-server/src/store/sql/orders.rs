//! Orders and what became of them.

use sqlx::AnyConnection;
use wire::api::TimedEvent;
use wire::containment::ContainmentEvent;
use wire::order::{OrderEvent, OrderState};
use wire::{AgentId, IncidentId, Instant, OrderId};

use super::super::{ApprovalRecord, ORDER_EVENTS_MAX, OrderRecord, StoreError};
use super::value::{self, Columns, instant, json, text, word};

fn read(row: &Columns<'_>) -> Result<OrderRecord, StoreError> {
    Ok(OrderRecord {
        agent: row.parsed("agent")?,
        approvals: row.json("approvals")?,
        approvers: u32::try_from(row.count("approvers")?).unwrap_or(u32::MAX),
        bundle: row.parsed_or_null("bundle")?,
        directive: row.json_or_null("directive")?,
        envelope: row.json("envelope")?,
        events: row.json("events")?,
        expires: row.instant("expires")?,
        incident: row.parsed("incident")?,
        issued: row.instant("issued")?,
        nonce: row.text("nonce")?,
        order: row.parsed("order_id")?,
        profile: row.text("profile")?,
        sha256: row.parsed("sha256")?,
        state: row.word("state")?,
        supersedes: row.parsed_or_null("supersedes")?,
    })
}

pub(super) async fn add(connection: &mut AnyConnection, order: &OrderRecord) -> Result<(), StoreError> {
    let sql = sqlx::query(
        "INSERT INTO orders (order_id, agent, incident, state, nonce, issued, expires, profile, sha256, bundle, \
         supersedes, envelope, events, directive, approvals, approvers) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(order.order.to_string())
    .bind(order.agent.as_str())
    .bind(order.incident.as_str())
    .bind(word(&order.state)?)
    .bind(&order.nonce)
    .bind(instant(order.issued)?)
    .bind(instant(order.expires)?)
    .bind(text(&order.profile))
    .bind(order.sha256.to_string())
    .bind(order.bundle.map(|bundle| bundle.to_string()))
    .bind(order.supersedes.map(|order| order.to_string()))
    .bind(json(&order.envelope)?)
    .bind(json(&order.events)?)
    .bind(order.directive.as_ref().map(json).transpose()?)
    .bind(json(&order.approvals)?)
    .bind(i64::from(order.approvers));
    value::add(connection, sql, || format!("order {} or its nonce", order.order)).await
}

pub(super) async fn event(
    connection: &mut AnyConnection,
    order: OrderId,
    from: &[OrderState],
    event: Option<TimedEvent>,
    to: OrderState,
) -> Result<(), StoreError> {
    let Some(mut record) = by_id(connection, order).await? else {
        return Err(StoreError::Conflict(format!("order {order} is not there")));
    };
    if !from.contains(&record.state) {
        return Err(StoreError::Conflict(format!("order {order} is {}", record.state.name())));
    }
    if let Some(event) = event {
        match event.event {
            OrderEvent::Progress { .. } => {
                record.events.retain(|before| !matches!(before.event, OrderEvent::Progress { .. }));
            }
            // Long, and planned anew after a restart.
            OrderEvent::Containment { told: ContainmentEvent::Planned { .. }, .. } => {
                record
                    .events
                    .retain(|before| !is_told(before, |told| matches!(told, ContainmentEvent::Planned { .. })));
            }
            OrderEvent::Started { bundle } => record.bundle = Some(bundle),
            _ => {}
        }
        record.events.push(event);
        if record.events.len() > ORDER_EVENTS_MAX
            && let Some(oldest) = record.events.iter().position(|event| is_told(event, is_repeated))
        {
            record.events.remove(oldest);
        }
        if record.events.len() > ORDER_EVENTS_MAX {
            return Err(StoreError::Conflict(format!("order {order} has {ORDER_EVENTS_MAX} events already")));
        }
    }
    let sql = sqlx::query("UPDATE orders SET state = $2, events = $3, bundle = $4 WHERE order_id = $1")
        .bind(order.to_string())
        .bind(word(&to)?)
        .bind(json(&record.events)?)
        .bind(record.bundle.map(|bundle| bundle.to_string()));
    value::change_one(connection, sql, || format!("order {order} is not there")).await
}

fn is_told(event: &TimedEvent, is_meant: fn(&ContainmentEvent) -> bool) -> bool {
    matches!(&event.event, OrderEvent::Containment { told, .. } if is_meant(told))
}

/// What is told of containment for as long as it holds.
fn is_repeated(told: &ContainmentEvent) -> bool {
    use ContainmentEvent::{Renewed, Tampered, Validated};
    matches!(told, Renewed { .. } | Tampered { .. } | Validated { .. })
}

pub(super) async fn approve(
    connection: &mut AnyConnection,
    order: OrderId,
    approval: ApprovalRecord,
    before: usize,
    to: OrderState,
) -> Result<(), StoreError> {
    let Some(mut record) = by_id(connection, order).await? else {
        return Err(StoreError::Conflict(format!("order {order} is not there")));
    };
    if record.state != OrderState::AwaitingApproval || record.approvals.len() != before {
        return Err(StoreError::Conflict(format!("order {order} was approved meanwhile, or waits for nobody")));
    }
    record.approvals.push(approval);
    let sql = sqlx::query("UPDATE orders SET state = $2, approvals = $3 WHERE order_id = $1")
        .bind(order.to_string())
        .bind(word(&to)?)
        .bind(json(&record.approvals)?);
    value::change_one(connection, sql, || format!("order {order} is not there")).await
}

pub(super) async fn by_id(connection: &mut AnyConnection, order: OrderId) -> Result<Option<OrderRecord>, StoreError> {
    let sql = sqlx::query("SELECT * FROM orders WHERE order_id = $1").bind(order.to_string());
    value::one(connection, sql, read).await
}

pub(super) async fn of_incident(
    connection: &mut AnyConnection,
    incident: &IncidentId,
) -> Result<Vec<OrderRecord>, StoreError> {
    let sql = "SELECT * FROM orders WHERE incident = $1 ORDER BY issued DESC, order_id DESC LIMIT 1000";
    value::many(connection, sqlx::query(sql).bind(incident.as_str()), read).await
}

pub(super) async fn waiting(connection: &mut AnyConnection, agent: &AgentId) -> Result<Vec<OrderRecord>, StoreError> {
    let sql = "SELECT * FROM orders WHERE agent = $1 AND state IN ('queued', 'delivered') AND NOT EXISTS \
               (SELECT 1 FROM hunt_orders AS h WHERE h.order_id = orders.order_id AND h.released IS NULL) \
               ORDER BY CASE WHEN directive IS NULL THEN 1 ELSE 0 END, issued, order_id LIMIT 100";
    value::many(connection, sqlx::query(sql).bind(agent.as_str()), read).await
}

pub(super) async fn overdue(
    connection: &mut AnyConnection,
    by: Instant,
    limit: u32,
) -> Result<Vec<OrderRecord>, StoreError> {
    let sql = "SELECT * FROM orders WHERE state IN ('awaiting_approval', 'queued', 'delivered') AND expires <= $1 \
               ORDER BY expires, order_id LIMIT $2";
    value::many(connection, sqlx::query(sql).bind(instant(by)?).bind(i64::from(limit)), read).await
}

pub(super) async fn of_containment(connection: &mut AnyConnection, limit: u32) -> Result<Vec<OrderRecord>, StoreError> {
    let sql = "SELECT * FROM orders WHERE directive IS NOT NULL AND state IN ('awaiting_approval', 'queued', \
               'delivered', 'accepted', 'running', 'holding') ORDER BY issued, order_id LIMIT $1";
    value::many(connection, sqlx::query(sql).bind(i64::from(limit)), read).await
}
