//! Texts about an incident for somebody, filled from what is known of it.

use triage::drafts::{DraftFacts, EvidenceItem, Happening, InternalNames};
use wire::IncidentId;
use wire::api::{Draft, IncidentView};
use wire::case::TimelineEntry;
use wire::response::Audience;

use super::super::{Actor, App, Problem, ProblemKind};

/// Leaves that are read for one draft.
const LEAVES_MAX: usize = 2000;
/// Entries of the timeline that a draft holds, the last ones.
const ENTRIES_MAX: usize = 200;
/// What happens all the time and says little to a reader.
const QUIET: &[&str] = &["alert_received", "order_delivered", "receipted", "evidence_receiving"];

impl App {
    /// A draft. What goes outward names no host, account or address.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`]; [`ProblemKind::Internal`] where the site's template fails.
    pub async fn draft(&self, by: &Actor, incident: &IncidentId, audience: Audience) -> Result<Draft, Problem> {
        let (view, facts) = self.incident_and_facts(incident).await?;
        let entries = self.last_entries(incident).await?;
        let facts = DraftFacts {
            anchors: facts.anchors,
            drafted_at: Some(self.now()),
            written_by: Some(by.to_string()),
            ..of_view(view, &entries)
        };
        let rules = self.site.rules()?;
        let text = rules.drafts.write(audience, &facts, InternalNames::Hidden).map_err(|error| {
            let text = error.to_string();
            let (message, hint) = text.split_once("\n  hint: ").unwrap_or((&text, "look at drafts.yaml"));
            Problem::new(ProblemKind::Internal, message).hint(hint)
        })?;
        Ok(Draft { audience, text })
    }

    async fn last_entries(&self, incident: &IncidentId) -> Result<Vec<TimelineEntry>, Problem> {
        let (mut entries, mut from, mut read) = (Vec::new(), 0, 0);
        while read < LEAVES_MAX {
            let page = self.timeline(incident, from, 500).await?;
            read += page.items.len();
            let last = page.items.last().map(|entry| entry.seq);
            entries.extend(page.items.into_iter().filter(|entry| !QUIET.contains(&entry.event.as_str())));
            match (page.next, last) {
                (Some(_), Some(last)) => from = last + 1,
                _ => break,
            }
        }
        Ok(entries.split_off(entries.len().saturating_sub(ENTRIES_MAX)))
    }
}

fn of_view(view: IncidentView, entries: &[TimelineEntry]) -> DraftFacts {
    let happened =
        |entry: &TimelineEntry| Happening { at: entry.time, by: Some(entry.actor.clone()), text: entry.text.clone() };
    let is_person = |entry: &&TimelineEntry| entry.actor.starts_with("user:");
    let summary = entries.iter().rev().find_map(|entry| entry.text.strip_prefix("Update: "));
    let evidence = view.evidence.into_iter().map(|bundle| EvidenceItem {
        at: Some(bundle.received),
        bundle: bundle.bundle.to_string(),
        host: bundle.host,
        sha256: bundle.sha256,
        state: bundle.state.name().to_owned(),
    });
    DraftFacts {
        accounts: view.assessment.accounts,
        actions: entries.iter().filter(is_person).map(happened).collect(),
        clocks: view.clocks,
        evidence: evidence.collect(),
        first_sign: view.alerts.iter().map(|alert| alert.assessment.timestamp_utc).min(),
        hosts: view.assessment.hosts,
        incident: view.summary.incident.to_string(),
        incident_type: view.summary.incident_type,
        indicators: view.assessment.indicators,
        opened: Some(view.summary.opened),
        phase: Some(view.case.phase),
        recommended_action: Some(view.assessment.recommended_action),
        roles: view.case.roles,
        severity: Some(view.summary.severity),
        severity_explanation: view.assessment.severity_explanation,
        summary: summary.map(str::to_owned),
        techniques: view.assessment.techniques,
        timeline: entries.iter().map(happened).collect(),
        title: view.summary.title,
        ..DraftFacts::default()
    }
}
