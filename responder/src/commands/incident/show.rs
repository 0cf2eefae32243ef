//! One incident on one page: what it is, why, where, what to do, what was done, what there is.

use std::fmt::Write as _;

use wire::api::{IncidentView, OrderView};
use wire::assessment::{Assessment, HostRole};
use wire::containment::Directive;
use wire::order::{OrderEvent, OrderState};
use wire::response::{StageStatus, TimerStatus};
use wire::{IncidentId, Instant};

use super::read::open_steps;
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
    out += &state(view);
    section(&mut out, look, "Next", &wrapped(&assessment.recommended_action, "  "));
    section(&mut out, look, "Why", &why(assessment, look));
    section(&mut out, look, "Hosts", &hosts(view, look, now));
    section(&mut out, look, "Accounts and techniques", &seen(assessment));
    section(&mut out, look, "Alerts", &alerts(view, look));
    section(&mut out, look, "Respond", &response(assessment));
    for (name, body) in [
        ("Timers", timers(view, look, now)),
        ("Clocks (guidance, not legal advice)", clocks(view, look, now)),
        ("Changes of its alerts", edits(view, look)),
    ] {
        if !body.is_empty() {
            section(&mut out, look, name, &body);
        }
    }
    section(&mut out, look, "Orders", &orders(&view.orders, look, now));
    let bundles =
        if view.evidence.is_empty() { String::new() } else { evidence::table(&view.evidence, look, "  ", now) };
    section(&mut out, look, "Evidence", &bundles);
    out
}

/// Who has it, where the work stands, and what people say against the rules.
fn state(view: &IncidentView) -> String {
    let case = &view.case;
    let mut out = format!("phase {}", case.phase);
    match &case.acknowledged {
        Some(stamp) => {
            let _ = write!(out, ", {} has it since {}", shown(&stamp.by), time(stamp.time));
        }
        None => out.push_str(", nobody has it yet"),
    }
    let open: Vec<String> = open_steps(view).iter().map(|(phase, count)| format!("{count} of {phase}")).collect();
    if !open.is_empty() {
        let _ = write!(out, "; open steps: {}", open.join(", "));
    }
    out.push('\n');
    let mut tell = |text: String| out += &wrapped(&text, "");
    if let Some(closing) = &case.closed {
        tell(format!("closed as {} by {}: {}", closing.disposition.name(), closing.stamp.by, closing.stamp.reason));
    }
    if let Some(into) = &case.merged_into {
        tell(format!("merged into {into}: what comes goes there; holdfast incident show {into}"));
    }
    if !view.absorbed.is_empty() {
        let names: Vec<&str> = view.absorbed.iter().map(IncidentId::as_str).collect();
        tell(format!("absorbed {}", names.join(", ")));
    }
    for (other, why) in &case.related {
        tell(format!("may have to do with {other}: {why}"));
    }
    if let Some(said) = &case.overridden {
        let severity = said.severity.map(|severity| severity.name().to_owned());
        let what = [severity, said.incident_type.clone()].into_iter().flatten().collect::<Vec<_>>().join(", ");
        tell(format!("set to {what} by {}: {}", said.stamp.by, said.stamp.reason));
    }
    for (role, person) in &case.roles {
        tell(format!("{role}: {person}"));
    }
    out
}

fn timers(view: &IncidentView, look: Look, now: Instant) -> String {
    let mut table = Table::new(&["TIMER", "STATE", "DUE", "WHO", "WHAT"]);
    for timer in &view.timers {
        let (state, due) = match (timer.met_at, timer.state) {
            (Some(met), TimerStatus::MetLate) => ("met late", time(met)),
            (Some(met), _) => ("met", time(met)),
            (None, TimerStatus::Overdue) => ("OVERDUE", ago(timer.due_at, now)),
            (None, TimerStatus::Warn) => ("soon", ago(timer.due_at, now)),
            (None, _) => ("runs", ago(timer.due_at, now)),
        };
        table.row([
            timer.timer.as_str().into(),
            state.into(),
            due.into(),
            timer.owner.as_str().into(),
            timer.what.as_str().into(),
        ]);
    }
    if table.is_empty() { String::new() } else { table.text(look, "  ") }
}

fn clocks(view: &IncidentView, look: Look, now: Instant) -> String {
    let mut table = Table::new(&["CLOCK", "STAGE", "STATE", "DUE", "TO"]);
    for clock in &view.clocks {
        for stage in &clock.stages {
            let (state, due) = match stage.state {
                StageStatus::NotApplicable => ("does not apply", String::new()),
                StageStatus::NotStarted => ("waits", stage.waits_for.join(", ")),
                StageStatus::Running => {
                    ("runs", stage.due_at.map_or_else(|| "at once".to_owned(), |due| ago(due, now)))
                }
                StageStatus::Warned => ("soon", stage.due_at.map_or_else(|| "at once".to_owned(), |due| ago(due, now))),
                StageStatus::Overdue => ("OVERDUE", stage.due_at.map(|due| ago(due, now)).unwrap_or_default()),
                StageStatus::Submitted => ("submitted", String::new()),
                StageStatus::SubmittedLate => ("submitted late", String::new()),
            };
            table.row([
                clock.clock.as_str().into(),
                stage.stage.as_str().into(),
                state.into(),
                due.into(),
                stage.to.as_str().into(),
            ]);
        }
    }
    if table.is_empty() { String::new() } else { table.text(look, "  ") }
}

fn edits(view: &IncidentView, look: Look) -> String {
    let mut table = Table::new(&["EDIT", "WHAT", "ALERTS", "FROM", "TO", "BY", "WHY"]);
    for edit in &view.edits {
        let why = match &edit.undone {
            Some(undone) => format!("{} (undone by {}: {})", edit.stamp.reason, undone.by, undone.reason),
            None => edit.stamp.reason.clone(),
        };
        table.row([
            edit.edit.to_string().into(),
            edit.kind.name().into(),
            edit.alerts.len().to_string().into(),
            edit.from.as_str().into(),
            edit.to.as_str().into(),
            edit.stamp.by.as_str().into(),
            why.into(),
        ]);
    }
    if table.is_empty() { String::new() } else { table.text(look, "  ") }
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
    let mut table = Table::new(&["ORDER", "HOST", "WHAT", "SIGNED BY", "ISSUED", "STATE"]);
    for order in orders {
        let why = order.events.iter().rev().find_map(|timed| match &timed.event {
            OrderEvent::Refused { message, .. } | OrderEvent::Failed { message } => Some(format!(": {message}")),
            _ => None,
        });
        let lease = order.lease_until().filter(|_| order.state == OrderState::Holding);
        let lease = lease.map(|until| format!(" until {}", time(until))).unwrap_or_default();
        table.row([
            order.order.to_string().into(),
            order.host.as_str().into(),
            order.directive.as_ref().map_or_else(|| order.profile.clone(), Directive::to_string).into(),
            order.signed_by.as_str().into(),
            ago(order.issued, now).into(),
            format!("{}{}{}", order.state.name().replace('_', " "), lease, why.unwrap_or_default()).into(),
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
