//! Automation at work: it begins with the hosts of SEV1 incidents, and takes one step after the other. Each step is one
//! commit of the new state, of what is done for it, and of the leaves that say so, under the version that was read: what
//! ends the server between two steps changes nothing, and of two servers that take the same step one does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant as Deadline, sleep_until};
use wire::IncidentId;
use wire::api::{AutomationView, LiveEvent};
use wire::assessment::Severity;

use super::super::incidents::{is_named, names_of_victims};
use super::super::{Actor, App, Problem, ProblemKind, details};
use super::machine::{Automation, Effect, Stage, Step, begun, step};
use crate::store::{AutomationRecord, Change, IncidentRecord, NewLeaf, StoreError};

/// Whatever happens, it is looked whether something is due.
const TICK: Duration = Duration::from_secs(1);
/// And whether an incident was overlooked.
const BEGIN_EVERY: Duration = Duration::from_secs(15);
/// Incidents that are looked at for hosts, the last updated first.
const INCIDENTS_MAX: u32 = 100;
/// Hosts that are looked after at a time.
const OPEN_MAX: u32 = 1000;
/// Steps of one host in a row.
const STEPS_MAX: usize = 8;

impl App {
    /// Looks after the hosts of SEV1 incidents until the server stops.
    pub async fn run_automation(self: Arc<Self>) {
        let Ok(mut listener) = self.live.listen() else { return };
        let (mut seen, mut begin_due, mut is_told) = (HashMap::new(), Deadline::now(), true);
        loop {
            // Only the leader: two would do the same, and one of them in vain.
            if self.peers.leads() {
                if Deadline::now() >= begin_due {
                    seen.clear();
                    begin_due = Deadline::now() + BEGIN_EVERY;
                }
                let begun = self.begin_automation(&mut seen).await;
                let worked = match begun {
                    Ok(()) => self.work_automation(is_told).await,
                    Err(problem) => Err(problem),
                };
                if let Err(problem) = worked {
                    let (message, cause) = (problem.message, problem.cause);
                    tracing::error!(message, cause, "automation did not go on");
                }
            }
            let tick = Deadline::now() + TICK;
            is_told = loop {
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = sleep_until(tick) => break false,
                    heard = listener.receiver.recv() => match heard {
                        Ok((_, event)) if !is_news(&event) => {}
                        Ok(_) | Err(RecvError::Lagged(_)) => break true,
                        Err(RecvError::Closed) => return,
                    },
                }
            };
            // What was told meanwhile is looked at together.
            while !matches!(listener.receiver.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
        }
    }

    /// Begins with the hosts that SEV1 incidents name.
    async fn begin_automation(&self, seen: &mut HashMap<IncidentId, u64>) -> Result<(), Problem> {
        if !self.site.automation().on || self.automation.is_none() {
            return Ok(());
        }
        for record in self.store.incidents(None, INCIDENTS_MAX).await? {
            if record.assessment.severity < Severity::Sev1 {
                break;
            }
            let is_open = record.case.closed.is_none() && !record.assessment.auto_close;
            if is_open && seen.insert(record.incident.clone(), record.version) != Some(record.version) {
                self.begin_at(&record).await?;
            }
        }
        Ok(())
    }

    async fn begin_at(&self, record: &IncidentRecord) -> Result<(), Problem> {
        let alerts = self.store.alerts_of(&record.incident).await?;
        let names = names_of_victims(&record.assessment, &alerts);
        let mut named = Vec::new();
        self.each_host(|host| {
            if is_named(&host, &names) {
                named.push(host.agent);
            }
        })
        .await?;
        if named.is_empty() {
            return Ok(());
        }
        let (there, open) =
            (self.store.automations_of(&record.incident).await?, self.store.automations(OPEN_MAX).await?);
        for agent in named {
            // One at a time looks after a host, whatever incidents name it.
            if there.iter().chain(&open).any(|known| known.agent == agent) {
                continue;
            }
            let now = self.now();
            let automation = begun(now);
            let stands = json!(automation);
            let new = AutomationRecord { agent, due: Some(now), incident: record.incident.clone(), stands, version: 1 };
            let leaf = self.step_leaf(&new, None, &automation, &[]);
            match self.store.commit(vec![Change::AddAutomation(Box::new(new))], vec![leaf]).await {
                // Another server was faster.
                Ok(_) | Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes the steps that are due; all that can be taken, when something happened.
    async fn work_automation(&self, is_told: bool) -> Result<(), Problem> {
        let now = self.now();
        for record in self.store.automations(OPEN_MAX).await? {
            if !is_told && record.due.is_none_or(|due| due > now) {
                continue;
            }
            let (agent, incident) = (record.agent.clone(), record.incident.clone());
            // One that fails does not keep the others from theirs.
            if let Err(problem) = self.work_at(record).await {
                let (message, cause) = (problem.message, problem.cause);
                tracing::error!(%agent, %incident, message, cause, "automation did not go on at a host");
            }
        }
        Ok(())
    }

    async fn work_at(&self, mut record: AutomationRecord) -> Result<(), Problem> {
        for _ in 0..STEPS_MAX {
            let automation = read(&record)?;
            let Some(subject) = self.facts(&record, &automation).await? else { return Ok(()) };
            let now = self.now();
            let Some(Step { due, effects, next }) = step(&automation, &subject.facts, now) else { return Ok(()) };
            let after = AutomationRecord { due, stands: json!(next), version: record.version + 1, ..record.clone() };
            let mut leaves = vec![self.step_leaf(&after, Some(&automation), &next, &effects)];
            let mut changes = vec![Change::PutAutomation(Box::new(after.clone()))];
            for effect in effects {
                let (change, leaf) = self.effect(&record, &subject, effect).await?;
                changes.push(change);
                leaves.push(leaf);
            }
            // People are told of some of it.
            changes.push(Change::LookNow(subject.incident.incident.clone()));
            match self.store.commit(changes, leaves).await {
                Ok(_) => {}
                // Somebody approved, cancelled or told something meanwhile: that is news, and it is looked at again.
                Err(StoreError::Conflict(what)) => {
                    tracing::debug!(what, "automation was overtaken");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
            metrics::counter!("holdfast_automation_steps_total", "to" => next.stage.name()).increment(1);
            self.hub.wake(&record.agent);
            let event = leaf_name(&next.stage).to_owned();
            let event = LiveEvent::Case { actor: Actor::Server.to_string(), event, time: now };
            self.live.tell(&record.incident, event);
            record = after;
        }
        Ok(())
    }

    fn step_leaf(
        &self,
        record: &AutomationRecord,
        from: Option<&Automation>,
        to: &Automation,
        effects: &[Effect],
    ) -> NewLeaf {
        let orders: Vec<_> = effects
            .iter()
            .map(|effect| match effect {
                Effect::Capture(order) => json!({"capture": order}),
                Effect::Isolate { order, approvers, .. } => json!({"isolate": order, "approvers": approvers}),
                Effect::Cancel(order) => json!({"cancel": order}),
            })
            .collect();
        NewLeaf {
            actor: Actor::Server.to_string(),
            details: details([
                ("agent", json!(record.agent)),
                ("from", json!(from.map(|from| from.stage.name()))),
                ("order", json!(to.stage.order())),
                ("orders", json!(orders)),
                ("version", json!(record.version)),
                ("why", json!(to.why)),
            ]),
            event: leaf_name(&to.stage),
            incident: Some(record.incident.clone()),
            subject: format!("host:{}", record.agent),
            time: self.now(),
        }
    }

    /// What automation does about the hosts of an incident.
    pub(in crate::app) async fn automation_views(&self, incident: &IncidentId) -> Result<Vec<AutomationView>, Problem> {
        let mut views = Vec::new();
        for record in self.store.automations_of(incident).await? {
            let automation = read(&record)?;
            let host = self.store.host(&record.agent).await?.map_or_else(String::new, |host| host.facts.name);
            views.push(AutomationView {
                agent: record.agent,
                capture: automation.stage.capture(),
                deadline: match automation.stage {
                    Stage::Waiting { deadline, .. } => Some(deadline),
                    _ => None,
                },
                host,
                order: automation.stage.order(),
                since: automation.since,
                stage: automation.stage.name().to_owned(),
                why: automation.why,
            });
        }
        Ok(views)
    }
}

/// Where a record stands.
pub fn read(record: &AutomationRecord) -> Result<Automation, Problem> {
    serde_json::from_value(record.stands.clone())
        .map_err(|error| Problem::new(ProblemKind::Internal, "where automation stands cannot be read").cause(error))
}

/// True for what automation may have waited for.
fn is_news(event: &LiveEvent) -> bool {
    match event {
        LiveEvent::Alert { severity, .. } => *severity == Severity::Sev1,
        LiveEvent::Receipt { receipt } => receipt.phase_complete,
        LiveEvent::Order { event, .. } => !matches!(event.event, wire::order::OrderEvent::Progress { .. }),
        // Its own steps are told too.
        LiveEvent::Case { event, .. } => !event.starts_with("automation_"),
        LiveEvent::Evidence { .. } => false,
    }
}

const fn leaf_name(stage: &Stage) -> &'static str {
    match stage {
        Stage::Triaged => "automation_triaged",
        Stage::Capturing { .. } => "automation_capturing",
        Stage::Captured { .. } => "automation_captured",
        Stage::Waiting { .. } => "automation_waiting",
        Stage::Ordered { .. } => "automation_ordered",
        Stage::Applied { .. } => "automation_applied",
        Stage::Holding { .. } => "automation_holding",
        Stage::Ended { .. } => "automation_ended",
    }
}
