//! What somebody is to be told of about the containment of an incident, each under a purpose of its own and with the time
//! from which on it is news.

use wire::Instant;
use wire::containment::{ContainmentEvent, ReleaseCause};
use wire::order::{OrderEvent, OrderState};

use super::super::{App, Problem};
use super::automation::read;
use super::machine::Stage;
use crate::store::{IncidentRecord, OrderRecord};

/// Before an order's or an agent's id.
pub const CONTAINMENT: &str = "containment_";

impl App {
    /// The alarms of an incident and of those that it absorbed.
    pub(in crate::app) async fn containment_alarms(
        &self,
        record: &IncidentRecord,
        absorbed: &[IncidentRecord],
    ) -> Result<Vec<(String, Instant)>, Problem> {
        let mut alarms = Vec::new();
        for record in absorbed.iter().chain([record]) {
            let orders = self.store.orders_of(&record.incident).await?;
            alarms.extend(orders.iter().filter(|order| order.directive.is_some()).flat_map(of_order));
            for automation in self.store.automations_of(&record.incident).await? {
                let stands = read(&automation)?;
                // People must decide what automation does not.
                if matches!(stands.stage, Stage::Captured { .. }) {
                    alarms.push((format!("{CONTAINMENT}undecided:{}", automation.agent), stands.since));
                }
            }
        }
        Ok(alarms)
    }
}

fn of_order(order: &OrderRecord) -> Vec<(String, Instant)> {
    let mut alarms: Vec<(&str, Instant)> = Vec::new();
    if order.state == OrderState::AwaitingApproval {
        alarms.push(("approval", order.issued));
    }
    let mut holds = None;
    for event in &order.events {
        let at = event.time;
        match &event.event {
            OrderEvent::Refused { .. } => alarms.push(("refused", at)),
            OrderEvent::Failed { .. } => alarms.push(("failed", at)),
            OrderEvent::Containment { told, rehearsed: false } => match told {
                ContainmentEvent::Applied { .. } => alarms.push(("applied", at)),
                ContainmentEvent::Validated { holds: false, .. } => holds = Some(at),
                ContainmentEvent::Tampered { .. } => alarms.push(("tampered", at)),
                ContainmentEvent::Failed { .. } => alarms.push(("failed", at)),
                ContainmentEvent::Released { cause, .. } if !matches!(cause, ReleaseCause::Order) => {
                    alarms.push(("released_without_an_order", at));
                }
                _ => {}
            },
            _ => {}
        }
    }
    alarms.extend(holds.map(|at| ("not_valid", at)));
    // Of each kind the last: what was told of the ones before it was told.
    let mut last: Vec<(String, Instant)> = Vec::new();
    for (what, at) in alarms {
        let purpose = format!("{CONTAINMENT}{what}:{}", order.order);
        last.retain(|(known, _)| *known != purpose);
        last.push((purpose, at));
    }
    last
}
