//! One incident on one page: what it is, why, where, what to do, what was done, what there is.

use std::fmt::Write as _;

use wire::Instant;
use wire::api::{IncidentView, OrderView};
use wire::assessment::{Assessment, HostRole};
use wire::order::OrderEvent;

use crate::commands::evidence;
use crate::escape::shown;
use crate::show::{Look, Table, ago, counted, time, wrapped};

/// The page.
pub fn text(view: &IncidentView, look: Look, now: Instant) -> String {
    let (summary, assessment) = (&view.summary, &view.assessment);
    let mut out = format!(
        "{}  {}  {}\n{}\n",
        look.heading(summary.incident.as_str()),
        look.severity(summary.severity),
        shown(&summary.incident_type),
        look.heading(&shown(&summary.title)),
    );
    let (opened, updated) = (time(summary.opened), ago(summary.updated, now));
    let _ = writeln!(out, "opened {opened}, updated {updated}, {}", counted(view.alerts.len() as u64, "alert"));
    section(&mut out, look, "Next", &wrapped(&assessment.recommended_action, "  "));
    section(&mut out, look, "Why", &why(assessment, look));
    section(&mut out, look, "Hosts", &hosts(view, look, now));
    section(&mut out, look, "Accounts and techniques", &seen(assessment));
    section(&mut out, look, "Alerts", &alerts(view, look));
    section(&mut out, look, "Respond", &response(assessment));
    section(&mut out, look, "Orders", &orders(&view.orders, look, now));
    let bundles =
        if view.evidence.is_empty() { String::new() } else { evidence::table(&view.evidence, look, "  ", now) };
    section(&mut out, look, "Evidence", &bundles);
    out
}

fn section(out: &mut String, look: Look, name: &str, body: &str) {
    let body = if body.trim().is_empty() { "  none\n" } else { body };
    let _ = write!(out, "\n{}\n{body}", look.heading(name));
}

fn why(assessment: &Assessment, look: Look) -> String {
    let mut table = Table::new(&["RULE", "EFFECT", "BECAUSE"]);
    for effect in &assessment.severity_explanation {
        table.row([effect.rule.as_str().into(), effect.effect.as_str().into(), effect.input.as_str().into()]);
    }
    let mut out = if table.is_empty() { String::new() } else { table.text(look, "  ") };
    for change in &assessment.would_change_it {
        out += &wrapped(&format!("would change it: {change}"), "  ");
    }
    out
}

/// The hosts that the alerts name, each with its agent where it has one.
fn hosts(view: &IncidentView, look: Look, now: Instant) -> String {
    let mut table = Table::new(&["HOST", "PART", "AGENT", "SEEN"]);
    for host in &view.assessment.hosts {
        let same = |name: &str| name.eq_ignore_ascii_case(&host.name);
        let agent = view.hosts.iter().find(|agent| same(&agent.facts.name) || same(agent.agent.as_str()));
        let part = match host.role {
            HostRole::Victim => "victim",
            HostRole::Source => "source",
            HostRole::Reporter => "reporter",
            HostRole::Intermediary => "intermediary",
        };
        let (id, seen) = match agent {
            Some(agent) if agent.connected => (agent.agent.as_str(), "connected".to_owned()),
            Some(agent) => {
                (agent.agent.as_str(), agent.last_seen.map_or_else(|| "never".to_owned(), |seen| ago(seen, now)))
            }
            None => ("none", String::new()),
        };
        table.row([host.name.as_str().into(), part.into(), id.into(), seen.into()]);
    }
    if table.is_empty() { String::new() } else { table.text(look, "  ") }
}

/// The accounts and the ATT&CK techniques that the alerts name, as many as a person reads.
fn seen(assessment: &Assessment) -> String {
    const SHOWN_MAX: usize = 30;
    let line = |what: &str, names: Vec<String>| {
        let more = names.len().saturating_sub(SHOWN_MAX);
        let text = names.into_iter().take(SHOWN_MAX).collect::<Vec<_>>().join(", ");
        match (text.is_empty(), more) {
            (true, _) => String::new(),
            (_, 0) => wrapped(&format!("{what}: {text}"), "  "),
            (_, more) => wrapped(&format!("{what}: {text} and {more} more"), "  "),
        }
    };
    let techniques = assessment.techniques.iter().map(|one| format!("{} {}", one.id, one.name)).collect();
    line("accounts", assessment.accounts.clone()) + &line("techniques", techniques)
}

fn alerts(view: &IncidentView, look: Look) -> String {
    let mut table = Table::new(&["ALERT", "RECEIVED", "SOURCE", "SEVERITY", "ALONE, IT IS", "TITLE"]);
    for alert in &view.alerts {
        let title = match &alert.correlated {
            Some(why) => format!("{} (attached: {why})", alert.title),
            None => alert.title.clone(),
        };
        table.row([
            alert.alert.to_string().into(),
            time(alert.received).into(),
            alert.assessment.source.as_str().into(),
            crate::show::Cell::severity(alert.assessment.severity),
            alert.assessment.incident_type.as_str().into(),
            title.into(),
        ]);
    }
    if table.is_empty() { String::new() } else { table.text(look, "  ") }
}

/// Whom to wake, what to collect, what containment is proposed, which clocks may run.
fn response(assessment: &Assessment) -> String {
    let mut out = String::new();
    let path = &assessment.escalation_path;
    if !path.escalate_to.is_empty() {
        let line = format!("wake: {}, within {} minutes", path.escalate_to.join(", "), path.respond_within_minutes);
        out += &wrapped(&line, "  ");
    }
    let plan = &assessment.evidence_plan;
    if !plan.profile.is_empty() {
        let line = format!("collect: --profile {}, about {} s", plan.profile, plan.estimated_seconds);
        out += &wrapped(&line, "  ");
    }
    for action in &assessment.containment {
        let conditions = match action.conditions.as_slice() {
            [] => String::new(),
            conditions => format!(", when {}", conditions.join("; ")),
        };
        out += &wrapped(&format!("proposed: {}{conditions}", action.action), "  ");
    }
    for clock in &assessment.notification_clocks {
        let line = format!("may apply: {}, {}, starts at {}", clock.regime, clock.deadline, clock.anchor);
        out += &wrapped(&line, "  ");
    }
    out
}

fn orders(orders: &[OrderView], look: Look, now: Instant) -> String {
    let mut table = Table::new(&["ORDER", "HOST", "PROFILE", "SIGNED BY", "ISSUED", "STATE"]);
    for order in orders {
        let why = order.events.iter().rev().find_map(|timed| match &timed.event {
            OrderEvent::Refused { message, .. } | OrderEvent::Failed { message } => Some(format!(": {message}")),
            _ => None,
        });
        table.row([
            order.order.to_string().into(),
            order.host.as_str().into(),
            order.profile.as_str().into(),
            order.signed_by.as_str().into(),
            ago(order.issued, now).into(),
            format!("{}{}", order.state.name(), why.unwrap_or_default()).into(),
        ]);
    }
    if table.is_empty() { String::new() } else { table.text(look, "  ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: &str = include_str!("../../../tests/incident.json");

    #[test]
    fn an_incident_on_one_page() {
        let view: IncidentView = serde_json::from_str(VIEW).unwrap();
        let now: Instant = serde_json::from_str("\"2026-11-21T18:00:00Z\"").unwrap();
        let page = text(&view, Look::PLAIN, now);
        assert_eq!(page, include_str!("../../../tests/incident.txt"), "\n{page}");
        assert!(!page.contains('\u{1b}'), "a terminal would obey it");
    }
}
