//! Texts about an incident for somebody, filled from what is known of it.

use triage::drafts::{DraftFacts, EvidenceItem, Happening, InternalNames};
use wire::IncidentId;
use wire::api::{Draft, IncidentView};
use wire::case::TimelineEntry;
use wire::response::Audience;

use super::super::{Actor, App, Problem, ProblemKind};

/// Entries of the timeline that a draft is made from, the last ones.
const ENTRIES_MAX: u32 = 500;
/// What happens all the time and says little to a reader.
const QUIET: &[&str] = &["alert_received", "order_delivered", "receipted", "evidence_receiving"];

impl App {
    /// A draft. What goes outward names no host, account or address.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`]; [`ProblemKind::Internal`] where the site's template fails.
    pub async fn draft(&self, by: &Actor, incident: &IncidentId, audience: Audience) -> Result<Draft, Problem> {
        let (view, anchors) = self.incident_and_standing(incident).await?;
        let mut entries = self.timeline_end(incident, ENTRIES_MAX).await?;
        entries.retain(|entry| !QUIET.contains(&entry.event.as_str()));
        let facts = DraftFacts {
            anchors,
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
