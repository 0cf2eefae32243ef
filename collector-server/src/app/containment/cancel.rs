//! An order is taken back before an agent has it.

use serde_json::json;
use wire::OrderId;
use wire::api::{LiveEvent, OrderView};
use wire::containment::Directive;
use wire::order::OrderState;

use super::super::{Actor, App, Problem, ProblemKind, details, tickets};
use crate::store::{Change, NewLeaf, OrderRecord, StoreError};

impl App {
    /// Takes an order back, of whatever kind.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`]; [`ProblemKind::Conflict`] when an agent has it, or it is over: the hint says what to do.
    pub async fn cancel(&self, by: &Actor, order: OrderId, reason: &str) -> Result<OrderView, Problem> {
        tickets::check_text("reason", reason)?;
        let record = self.order_record(order).await?;
        let (change, leaf) = self.cancelled(by, &record, reason)?;
        match self.store.commit(vec![change], vec![leaf]).await {
            Ok(_) => {}
            // The agent was faster: say what to do now.
            Err(StoreError::Conflict(_)) => return Err(too_late(&self.order_record(order).await?)),
            Err(error) => return Err(error.into()),
        }
        let event = LiveEvent::Case { actor: by.to_string(), event: "order_cancelled".to_owned(), time: self.now() };
        self.live.tell(&record.incident, event);
        self.order(order).await
    }

    /// What takes it back.
    pub(super) fn cancelled(
        &self,
        by: &Actor,
        record: &OrderRecord,
        reason: &str,
    ) -> Result<(Change, NewLeaf), Problem> {
        if !matches!(record.state, OrderState::AwaitingApproval | OrderState::Queued) {
            return Err(too_late(record));
        }
        let leaf = NewLeaf {
            actor: by.to_string(),
            details: details([("reason", json!(reason)), ("state", json!(record.state))]),
            event: "order_cancelled",
            incident: Some(record.incident.clone()),
            subject: format!("order:{}", record.order),
            time: self.now(),
        };
        let from = vec![OrderState::AwaitingApproval, OrderState::Queued];
        let change = Change::OrderEvent { event: None, from, order: record.order, to: OrderState::Cancelled };
        Ok((change, leaf))
    }
}

fn too_late(record: &OrderRecord) -> Problem {
    let order = record.order;
    let message = format!("order {order} is {}: it cannot be cancelled", record.state.name());
    let hint = match (&record.directive, record.state.is_final()) {
        (_, true) => "it is over; nothing is to be done".to_owned(),
        (Some(Directive::Apply { .. }), false) => format!("the agent has it: holdfast release {order} takes it back"),
        (Some(_), false) => "the agent has it, and is about to do it; it changes nothing that stays".to_owned(),
        (None, false) => "the agent has it: a collection that runs goes on to its seal".to_owned(),
    };
    Problem::new(ProblemKind::Conflict, message).hint(hint)
}
