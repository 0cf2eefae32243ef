//! Incidents: views over their alerts, orders and evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use triage::Alert;
use triage::alert::HostIdKind;
use wire::api::{HostView, IncidentSummary, IncidentView, Page};
use wire::assessment::{Assessment, HostRole};
use wire::response::Anchor;
use wire::{IncidentId, Instant};

use super::escalation::standing::Standing;
use super::{App, Problem, ProblemKind, alerts, page_of};
use crate::store::{AlertRecord, HostRecord, IncidentRecord};

/// Evidence that an incident's view lists; the rest is in the list of evidence.
const EVIDENCE_MAX: u32 = 500;

impl App {
    /// Incidents, the worst and last updated first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn incidents(&self, after: Option<&IncidentId>, limit: u32) -> Result<Page<IncidentSummary>, Problem> {
        let records = self.store.incidents(after, limit + 1).await?;
        let page = page_of(records, limit, |record| record.incident.to_string());
        let mut items = Vec::with_capacity(page.items.len());
        for record in page.items {
            items.push(self.summary(&record).await?);
        }
        Ok(Page { items, next: page.next })
    }

    /// An incident with all that belongs to it.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`].
    pub async fn incident(&self, incident: &IncidentId) -> Result<IncidentView, Problem> {
        Ok(self.incident_and_standing(incident).await?.0)
    }

    /// The view, and the facts that start its clocks.
    pub(super) async fn incident_and_standing(
        &self,
        incident: &IncidentId,
    ) -> Result<(IncidentView, BTreeMap<Anchor, Instant>), Problem> {
        let record = self.incident_record(incident).await?;
        let alerts = self.store.alerts_of(incident).await?;
        let pages = self.store.pages_of(incident).await?;
        let (watch, absorbed) = (self.store.watch(incident).await?, self.absorbed_records(incident).await?);
        let rules = self.site.rules()?;
        let standing = Standing::of(&record, &absorbed, &watch, &pages, &rules, self.now());
        let mut view = IncidentView {
            absorbed: absorbed.into_iter().map(|record| record.incident).collect(),
            alerts: Vec::new(),
            automation: Vec::new(),
            automation_is_on: self.site.automation().on && self.automation.is_some(),
            case: record.case.clone(),
            checklist: rules.checklists.for_type(&record.assessment.incident_type),
            clocks: standing.clocks,
            edits: Vec::new(),
            evidence: Vec::new(),
            hosts: self.hosts_named(&record.assessment, &alerts).await?,
            orders: Vec::new(),
            pages: pages.into_iter().map(|page| page.view).collect(),
            summary: self.summary(&record).await?,
            timers: standing.timers,
            assessment: record.assessment,
        };
        view.alerts = alerts.into_iter().map(alerts::view).collect();
        self.tell_membership(&mut view).await?;
        for one in std::iter::once(incident).chain(&view.absorbed) {
            view.automation.extend(self.automation_views(one).await?);
            view.evidence.extend(self.evidence_list(Some(one), None, EVIDENCE_MAX).await?.items);
            for order in self.store.orders_of(one).await? {
                view.orders.push(self.order_view(order).await?);
            }
        }
        if !view.absorbed.is_empty() {
            view.evidence.sort_by_key(|bundle| std::cmp::Reverse((bundle.received, bundle.bundle)));
            view.evidence.truncate(EVIDENCE_MAX as usize);
            view.orders.sort_by_key(|order| std::cmp::Reverse((order.issued, order.order)));
        }
        Ok((view, standing.anchors))
    }

    /// The incidents that were merged into this one.
    pub(super) async fn absorbed_records(&self, incident: &IncidentId) -> Result<Vec<IncidentRecord>, Problem> {
        let mut records = Vec::new();
        for absorbed in self.store.absorbed(incident).await? {
            records.push(self.incident_record(&absorbed).await?);
        }
        Ok(records)
    }

    /// Says whether there is such an incident.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`].
    pub async fn incident_exists(&self, incident: &IncidentId) -> Result<(), Problem> {
        self.incident_record(incident).await.map(|_| ())
    }

    pub(super) async fn incident_record(&self, incident: &IncidentId) -> Result<IncidentRecord, Problem> {
        let record = self.store.incident(incident).await?;
        record.ok_or_else(|| {
            Problem::new(ProblemKind::NotFound, format!("there is no incident {incident}"))
                .hint("the incidents are in: holdfast incident list")
        })
    }

    async fn summary(&self, record: &IncidentRecord) -> Result<IncidentSummary, Problem> {
        let (alerts, evidence) = self.store.counts(&record.incident).await?;
        let mut hosts: Vec<String> = victims(&record.assessment).map(str::to_owned).collect();
        hosts.dedup();
        Ok(IncidentSummary {
            acknowledged: record.case.acknowledged.is_some(),
            alerts,
            closed: record.case.closed.as_ref().map(|closing| closing.disposition),
            evidence,
            hosts,
            incident: record.incident.clone(),
            incident_type: record.assessment.incident_type.clone(),
            opened: record.opened,
            phase: record.case.phase,
            severity: record.assessment.severity,
            title: record.title.clone(),
            updated: record.updated,
        })
    }

    /// The enrolled hosts that are victims: by the exact name or agent id, never by an address, which another host may
    /// have had a moment before.
    async fn hosts_named(&self, assessment: &Assessment, alerts: &[AlertRecord]) -> Result<Vec<HostView>, Problem> {
        let names = names_of_victims(assessment, alerts);
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut hosts = Vec::new();
        self.each_host(|host| {
            if is_named(&host, &names) {
                hosts.push(self.host_view(host));
            }
        })
        .await?;
        Ok(hosts)
    }
}

pub(super) fn victims(assessment: &Assessment) -> impl Iterator<Item = &str> {
    assessment.hosts.iter().filter(|host| host.role == HostRole::Victim).map(|host| host.name.as_str())
}

/// All names of the victims, in lower case: as the assessment has them, and what else the alerts call the same hosts.
pub(super) fn names_of_victims(assessment: &Assessment, alerts: &[AlertRecord]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = victims(assessment).map(plain).collect();
    for record in alerts {
        let Ok(alert) = serde_json::from_value::<Alert>(record.normalised.clone()) else { continue };
        let others = alert.aliases.iter().filter(|(_, host)| names.contains(&plain(host))).map(|(name, _)| plain(name));
        let others: Vec<String> = others.collect();
        names.extend(others);
        let ids = alert.ids.iter().filter(|id| matches!(id.kind, HostIdKind::AgentId | HostIdKind::Fqdn));
        names.extend(ids.map(|id| plain(&id.value)));
    }
    names.retain(|name| !name.is_empty() && name.parse::<IpAddr>().is_err() && name != "localhost");
    names
}

pub(super) fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_lowercase()
}

pub(super) fn is_named(host: &HostRecord, names: &BTreeSet<String>) -> bool {
    host.is_enrolled() && (names.contains(host.agent.as_str()) || names.contains(&plain(&host.facts.name)))
}
