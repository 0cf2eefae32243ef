//! What automation knows of a host of an incident, read from the records.

use std::collections::BTreeSet;

use triage::Alert;
use triage::alert::HostIdKind;
use triage::incident::Incident;
use wire::OrderId;
use wire::api::EvidenceState;
use wire::assessment::Severity;
use wire::containment::{Action, ContainmentEvent, Directive, Side, is_automation};
use wire::order::{OrderEvent, OrderState};

use super::super::incidents::{is_named, names_of_victims, plain};
use super::super::{App, Problem, alerts, random};
use super::machine::{Automation, Contained, Facts};
use super::preserved::Preserved;
use crate::store::{AlertRecord, AutomationRecord, HostRecord, IncidentRecord, OrderRecord};

/// Merges of an incident that are followed.
const MERGES_MAX: usize = 16;
/// Containment orders that are looked through.
const OPEN_MAX: u32 = 1000;
const ISOLATE: &str = "isolate_network";

/// What a step is about.
pub struct Subject {
    /// What is known.
    pub facts: Facts,
    /// The incident that its alerts are in now.
    pub incident: IncidentRecord,
}

impl App {
    /// The facts of now; `None` when the host was taken away.
    pub(super) async fn facts(
        &self,
        record: &AutomationRecord,
        automation: &Automation,
    ) -> Result<Option<Subject>, Problem> {
        let Some(host) = self.store.host(&record.agent).await? else { return Ok(None) };
        let incident = self.surviving(record).await?;
        let rules = self.site.rules()?;
        let about = self.alerts_about(&host, &incident).await?;
        let (stage, switch) = (&automation.stage, self.site.automation());
        let capture = match stage.capture() {
            Some(order) => self.store.order(order).await?,
            None => None,
        };
        let order = match stage.order() {
            Some(order) => self.store.order(order).await?,
            None => None,
        };
        let incident_type = rules.taxonomy.get(&incident.assessment.incident_type);
        let proposes = incident_type.is_some_and(|known| known.containment.iter().any(|one| one.action == ISOLATE));
        let of_host: Vec<&Alert> = about.iter().collect();
        let facts = Facts {
            approval_secs: switch.approval_minutes * 60,
            budget_secs: rules.containment.budget_secs(&incident.assessment.incident_type),
            capture: capture.as_ref().map(|order| order.state),
            capture_taken: capture.as_ref().and_then(|order| order.events.first()).map(|event| event.time),
            contained_by: self.contained_by(&host, stage.order()).await?,
            fresh: OrderId::new(alerts::unix_ms(self.now()), random()?),
            is_exact: self.is_exact(&host, &about).await?,
            is_listed: host.marks.protected.is_some() || is_listed(&host, &switch.never_isolate),
            is_on: switch.on && self.automation.is_some(),
            is_over: over(&incident, &host),
            is_protected: self.says_protected(&record.incident, &record.agent).await?,
            order: order.as_ref().map(contained),
            proposed: proposes.then(|| rules.containment.approvers(incident_type, ISOLATE)),
            signals: Incident::of(&of_host, &rules).agreement,
            volatile: match capture {
                Some(capture) => self.volatile(&capture).await?,
                None => None,
            },
        };
        Ok(Some(Subject { facts, incident }))
    }

    /// The incident that took over what was merged.
    async fn surviving(&self, record: &AutomationRecord) -> Result<IncidentRecord, Problem> {
        let mut incident = self.incident_record(&record.incident).await?;
        for _ in 0..MERGES_MAX {
            let Some(into) = &incident.case.merged_into else { break };
            incident = self.incident_record(into).await?;
        }
        Ok(incident)
    }

    /// The alerts of the incident that name this host as a victim.
    async fn alerts_about(&self, host: &HostRecord, incident: &IncidentRecord) -> Result<Vec<Alert>, Problem> {
        let records = self.store.alerts_of(&incident.incident).await?;
        let named = |record: &&AlertRecord| {
            is_named(host, &names_of_victims(&record.assessment, std::slice::from_ref(*record)))
        };
        Ok(records.iter().filter(named).filter_map(|record| alerts::read(record.normalised.clone()).ok()).collect())
    }

    /// True when an alert names exactly this host: by its agent, or by an FQDN that no other host has.
    async fn is_exact(&self, host: &HostRecord, about: &[Alert]) -> Result<bool, Problem> {
        let name = plain(&host.facts.name);
        let has = |kind: HostIdKind, value: &str| {
            about.iter().flat_map(|alert| &alert.ids).any(|id| id.kind == kind && plain(&id.value) == value)
        };
        if has(HostIdKind::AgentId, host.agent.as_str()) {
            return Ok(true);
        }
        if !name.contains('.') || !has(HostIdKind::Fqdn, &name) {
            return Ok(false);
        }
        let mut of_name = 0;
        self.each_host(|other| of_name += usize::from(other.is_enrolled() && plain(&other.facts.name) == name)).await?;
        Ok(of_name == 1)
    }

    /// Another isolation of the host, which automation did not order, and that goes on.
    async fn contained_by(&self, host: &HostRecord, but: Option<OrderId>) -> Result<Option<OrderId>, Problem> {
        let open = self.store.containment_orders(OPEN_MAX).await?;
        let isolates = |order: &OrderRecord| {
            matches!(&order.directive, Some(Directive::Apply { action: Action::IsolateNetwork { .. }, .. }))
                && order.state != OrderState::AwaitingApproval
                && !is_automation(&order.envelope.principal)
        };
        let other = open.iter().find(|order| order.agent == host.agent && Some(order.order) != but && isolates(order));
        Ok(other.map(|order| order.order))
    }

    /// The receipt for the volatile tier of this capture. What was changed on its way preserves nothing.
    async fn volatile(&self, capture: &OrderRecord) -> Result<Option<Preserved>, Problem> {
        let Some(bundle) = capture.bundle else { return Ok(None) };
        let Some(evidence) = self.store.evidence(bundle).await? else { return Ok(None) };
        if evidence.view.state == EvidenceState::Rejected || evidence.view.brought_by != capture.agent.principal() {
            return Ok(None);
        }
        Ok(self.store.checkpoints(bundle).await?.iter().find_map(Preserved::receipted))
    }
}

fn is_listed(host: &HostRecord, list: &BTreeSet<String>) -> bool {
    let name = plain(&host.facts.name);
    let short = name.split('.').next().unwrap_or_default();
    [host.agent.as_str(), &name, short].iter().any(|one| list.contains(*one))
}

fn over(incident: &IncidentRecord, host: &HostRecord) -> Option<&'static str> {
    if incident.case.closed.is_some() || incident.assessment.auto_close {
        return Some("the incident is closed");
    }
    if !host.is_enrolled() {
        return Some("the host was shut out, or is gone");
    }
    (incident.assessment.severity < Severity::Sev1).then_some("the incident is not SEV1 any more")
}

/// What the events of an isolation say.
pub fn contained(order: &OrderRecord) -> Contained {
    let mut known = Contained { state: Some(order.state), ..Contained::default() };
    for event in &order.events {
        let OrderEvent::Containment { told, .. } = &event.event else { continue };
        match told {
            ContainmentEvent::Applied { .. } => (known.host_holds, known.server_holds) = (None, None),
            ContainmentEvent::Validated { checks, holds } => {
                // The server's own looks have no time of an agent.
                let by_server = event.agent_time.is_none() && checks.iter().all(|check| check.side == Side::Server);
                *(if by_server { &mut known.server_holds } else { &mut known.host_holds }) = Some(*holds);
            }
            ContainmentEvent::Released { cause, .. } => known.released = Some(*cause),
            _ => {}
        }
    }
    known
}
