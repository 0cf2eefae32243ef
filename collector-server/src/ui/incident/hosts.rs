//! The hosts of an incident, and how to take evidence from each.
//!
//! Orders are signed with the responder's own key, which the server does not have: the page can only offer the command.

use maud::{Markup, html};
use wire::IncidentId;
use wire::api::{HostView, IncidentView};
use wire::assessment::{Host, HostRole};

use crate::ui::Frame;
use crate::ui::hosts::connection;
use crate::ui::parts::{badge, command};
use crate::ui::text::{is_shell_word, shown};

/// More hosts than this are counted only: an alert may name thousands.
const HOSTS_SHOWN_MAX: usize = 50;

/// The hosts, each with its part, its agent and the command.
pub fn section(frame: Frame<'_>, view: &IncidentView) -> Markup {
    let named = &view.assessment.hosts;
    let unnamed = view.hosts.iter().filter(|agent| !named.iter().any(|host| is_same(host, agent)));
    html! {
        section #hosts aria-labelledby="h-hosts" {
            h2 #h-hosts { "Hosts and how to take evidence" }
            @if named.is_empty() && view.hosts.is_empty() { p { "The alerts name no host." } }
            ul.entries {
                @for host in named.iter().take(HOSTS_SHOWN_MAX) {
                    @let agent = view.hosts.iter().find(|agent| is_same(host, agent));
                    (entry(frame, view, &host.name, Some(host.role), agent))
                }
                @for agent in unnamed.take(HOSTS_SHOWN_MAX) {
                    (entry(frame, view, &agent.facts.name, None, Some(agent)))
                }
            }
            @if named.len() > HOSTS_SHOWN_MAX { p { "and " (named.len() - HOSTS_SHOWN_MAX) " more" } }
            @if !view.hosts.is_empty() {
                p.quiet {
                    "Dispatch asks for your SSH key: an agent takes only orders that a responder signed, and this "
                    "server cannot sign them."
                }
            }
        }
    }
}

fn entry(
    frame: Frame<'_>,
    view: &IncidentView,
    name: &str,
    role: Option<HostRole>,
    agent: Option<&HostView>,
) -> Markup {
    let incident = &view.summary.incident;
    html! {
        li {
            div.line {
                strong.host { (shown(name)) } " "
                @if let Some(role) = role { (badge("idle", role_word(role))) " " }
                @match agent {
                    Some(agent) => { (connection(frame, agent)) " " (crate::ui::host::marks(&agent.marks)) },
                    None => (badge("warn", "no agent")),
                }
            }
            @match agent {
                Some(agent) => {
                    (command(&dispatch(view, agent, &view.assessment.evidence_plan.profile)))
                    @if !agent.connected {
                        p.quiet { "The order waits here until the agent is back, or until it expires." }
                    }
                },
                None if matches!(role, Some(HostRole::Victim) | None) => (by_ticket(incident, name)),
                None => {},
            }
        }
    }
}

/// Exact, but for case: a name that is merely alike could be another machine.
fn is_same(host: &Host, agent: &HostView) -> bool {
    host.name.eq_ignore_ascii_case(&agent.facts.name) || host.name == agent.agent.as_str()
}

const fn role_word(role: HostRole) -> &'static str {
    match role {
        HostRole::Victim => "victim",
        HostRole::Source => "source",
        HostRole::Reporter => "reporter",
        HostRole::Intermediary => "intermediary",
    }
}

/// Names the agent by its id where the host's name is no word for a shell (the name comes from the host), and where
/// another host has the same.
fn dispatch(view: &IncidentView, agent: &HostView, profile: &str) -> String {
    let incident = &view.summary.incident;
    let name = &agent.facts.name;
    let is_one = view.hosts.iter().filter(|other| other.facts.name == *name).count() == 1;
    let host = if is_one && is_shell_word(name) { name } else { agent.agent.as_str() };
    let profile = if is_shell_word(profile) { profile } else { "triage" };
    format!("holdfast dispatch {incident} --host {host} --profile {profile} --follow")
}

fn by_ticket(incident: &IncidentId, name: &str) -> Markup {
    let host = if is_shell_word(name) { format!(" --host {name}") } else { String::new() };
    html! {
        details {
            summary { "Take evidence without an agent" }
            p { "Make an upload ticket, take it to the host in a file, and collect there:" }
            (command(&format!("holdfast ticket {incident}{host} > ticket\nholdfast-agent collect --ticket ticket")))
        }
    }
}
