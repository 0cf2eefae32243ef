//! What root did at a host's console, without an order: kept, shown, and in custody.

use serde_json::json;
use wire::AgentId;
use wire::api::{ConsoleView, OrderView, ToldEvent};
use wire::containment::{ConsoleReport, ContainmentEvent};
use wire::order::OrderState;

use super::super::{Actor, App, Problem, ProblemKind, details};
use super::told::{bounded, leaf_name};
use crate::store::{Change, ConsoleRecord, NewLeaf};

/// Events that are kept of one; all of them are in custody.
const EVENTS_MAX: usize = 64;
/// That are listed.
const LISTED_MAX: u32 = 200;

impl App {
    /// An agent tells of its console. Told again, it changes nothing.
    ///
    /// # Errors
    /// [`ProblemKind::Input`] for another action under the same id; [`ProblemKind::Conflict`].
    pub async fn console_report(&self, by: &Actor, agent: &AgentId, report: ConsoleReport) -> Result<(), Problem> {
        let ConsoleReport { action, event, id, rehearsed, time: agent_time } = report;
        super::ordered::check_action(&action)?;
        let (now, known) = (self.now(), self.store.console(agent, id).await?);
        let version = known.as_ref().map_or(1, |known| known.version + 1);
        let mut view = known.map_or_else(
            || ConsoleView {
                action: action.clone(),
                agent: agent.clone(),
                events: Vec::new(),
                id,
                is_in_force: false,
                rehearsed,
            },
            |known| known.view,
        );
        if view.action != action {
            let message = format!("containment {id} of {agent} is {}, not {}", view.action.name(), action.name());
            return Err(Problem::new(ProblemKind::Input, message).hint("each has an id of its own"));
        }
        let told = ToldEvent { agent_time, told: bounded(event), time: now };
        if view.events.iter().any(|known| known.agent_time == agent_time && known.told == told.told) {
            return Ok(());
        }
        let leaf = NewLeaf {
            actor: by.to_string(),
            details: details([
                ("action", json!(action)),
                ("agent_time", json!(agent_time)),
                ("at", json!("console")),
                ("rehearsed", json!(rehearsed)),
                ("told", json!(told.told)),
            ]),
            event: leaf_name(&told.told),
            incident: None,
            subject: format!("containment:{agent}/{id}"),
            time: now,
        };
        view.is_in_force = !rehearsed && is_in_force(&told.told, view.is_in_force);
        view.events.push(told);
        if view.events.len() > EVENTS_MAX {
            // The first says what is done and to whom it matters.
            view.events.remove(1);
        }
        let is_in_force = view.is_in_force;
        let record = ConsoleRecord { agent: agent.clone(), id, is_in_force, told: now, version, view };
        self.store.commit(vec![Change::PutConsole(Box::new(record))], vec![leaf]).await?;
        Ok(())
    }

    /// What is in force on hosts now, by orders; the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn orders_in_force(&self) -> Result<Vec<OrderView>, Problem> {
        let open = self.store.containment_orders(LISTED_MAX * 4).await?;
        let mut views = Vec::new();
        for order in open.into_iter().filter(|order| order.state == OrderState::Holding) {
            views.push(self.order_view(order).await?);
        }
        Ok(views)
    }

    /// What consoles told, those in force first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn consoles(&self) -> Result<Vec<ConsoleView>, Problem> {
        Ok(self.store.consoles(LISTED_MAX).await?.into_iter().map(|record| record.view).collect())
    }
}

const fn is_in_force(told: &ContainmentEvent, was: bool) -> bool {
    match told {
        ContainmentEvent::Planned { .. } => was,
        ContainmentEvent::Applied { .. }
        | ContainmentEvent::Validated { .. }
        | ContainmentEvent::Renewed { .. }
        | ContainmentEvent::Tampered { .. } => true,
        ContainmentEvent::Released { .. } => false,
        ContainmentEvent::Failed { restored, .. } => was && !*restored,
    }
}
