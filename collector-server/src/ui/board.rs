//! The board: all incidents, the worst first.

use maud::{Markup, html};
use wire::api::{ConsoleView, IncidentSummary, OrderView, Page};

use super::incident::lease;
use super::parts::{age, badge, command, grouped, severity};
use super::text::{query, shown, words};
use super::{Frame, Here};

/// Hosts that are named in a row; the others are counted.
const HOSTS_SHOWN_MAX: usize = 4;

/// What is in force on hosts now.
#[derive(Default)]
pub struct Contained {
    /// What root did at consoles.
    pub consoles: Vec<ConsoleView>,
    /// By orders.
    pub orders: Vec<OrderView>,
}

/// The page. `origin` is the address of this server as the reader's browser knows it, e.g. `https://ir.example:8443`.
pub fn page(
    frame: Frame<'_>,
    incidents: &Page<IncidentSummary>,
    contained: &Contained,
    origin: &str,
    later: bool,
) -> Markup {
    let main = html! {
        div.heading {
            h1 { "Incidents" }
            p.quiet { "The worst first, and of those the last updated." }
        }
        (in_force(frame, contained))
        @if incidents.items.is_empty() {
            @if later { p { "There are no more." } } @else { (empty(origin)) }
        } @else {
            label.filter hidden {
                "Filter " input type="search" data-filter="incidents" placeholder="host, type, title";
            }
            (table(frame, &incidents.items))
        }
        nav.pager aria-label="Pages" {
            @if later { a href="/" { "To the first page" } }
            @if let Some(next) = &incidents.next {
                a rel="next" href={ "/" (query(&[("after", next)])) } { "More incidents" }
            }
        }
    };
    super::page(frame, Here::Incidents, "Incidents", &main)
}

/// The hosts that are contained, and until when.
fn in_force(frame: Frame<'_>, contained: &Contained) -> Markup {
    html! {
        @if !contained.orders.is_empty() || !contained.consoles.is_empty() {
            section #contained aria-labelledby="h-contained" {
                h2 #h-contained { "Contained hosts" }
                ul.plain {
                    @for order in &contained.orders {
                        li {
                            strong.host { (shown(&order.host)) } " " (words(&order.profile)) " "
                            a href={ "/incidents/" (order.incident) "#containment" } { (order.incident) }
                            " · " (lease(frame, order))
                        }
                    }
                    @for console in &contained.consoles {
                        li {
                            strong.host { (console.agent) } " " (words(console.action.name()))
                            " " (badge("warn", "by root at the console"))
                        }
                    }
                }
            }
        }
    }
}

fn table(frame: Frame<'_>, incidents: &[IncidentSummary]) -> Markup {
    html! {
        table #incidents .cards {
            caption.unseen-label { "Incidents, the worst first" }
            thead {
                tr {
                    th scope="col" { "Severity" }
                    th scope="col" { "Incident" }
                    th scope="col" { "Hosts" }
                    th.right scope="col" { "Alerts" }
                    th.right scope="col" { "Evidence" }
                    th scope="col" { "Opened" }
                    th scope="col" { "Updated" }
                }
            }
            tbody { @for incident in incidents { (row(frame, incident)) } }
        }
    }
}

fn row(frame: Frame<'_>, incident: &IncidentSummary) -> Markup {
    html! {
        tr class={ "row-" (incident.severity.name()) } {
            td { (severity(incident.severity)) }
            th scope="row" {
                a.title href={ "/incidents/" (incident.incident) } { (shown(&incident.title)) }
                div.quiet {
                    span.id { (incident.incident) } " · " (words(&incident.incident_type)) " · " (words(incident.phase.name())) " "
                    (standing(incident))
                }
            }
            td data-label="Hosts" { (hosts(&incident.hosts)) }
            td.right data-label="Alerts" { (grouped(incident.alerts)) }
            td.right data-label="Evidence" {
                @if incident.evidence == 0 { span.quiet { "none" } } @else { (grouped(incident.evidence)) }
            }
            td data-label="Opened" { (age(incident.opened, frame.now)) }
            td data-label="Updated" { (age(incident.updated, frame.now)) }
        }
    }
}

/// Whether somebody works on it.
fn standing(incident: &IncidentSummary) -> Markup {
    match (incident.closed, incident.acknowledged) {
        (Some(disposition), _) => html! { (badge("good", "closed")) " " (words(disposition.name())) },
        (None, true) => badge("busy", "acknowledged"),
        (None, false) => badge("warn", "nobody has it yet"),
    }
}

/// The first few names of hosts.
pub fn hosts(hosts: &[String]) -> Markup {
    let more = hosts.len().saturating_sub(HOSTS_SHOWN_MAX);
    html! {
        @if hosts.is_empty() { span.quiet { "none named" } }
        @for (at, host) in hosts.iter().take(HOSTS_SHOWN_MAX).enumerate() {
            @if at > 0 { ", " }
            span.host { (shown(host)) }
        }
        @if more > 0 { " and " (more) " more" }
    }
}

fn empty(origin: &str) -> Markup {
    html! {
        section.narrow {
            h2 { "No incidents yet" }
            p { "An alert opens the first one. Send it with the command line:" }
            (command(&format!("holdfast login {origin}\nholdfast alert send --source falco alert.json")))
            p {
                "or let the product that raises alerts send them to the server, with a token of the role "
                code { "source" } ":"
            }
            (command(&format!(
                "curl --cacert ca.pem -H @token-header --data-binary @alert.json \\\n  \
                 '{origin}/api/v1/alerts?source=falco'"
            )))
            p.quiet {
                code { "token-header" } " holds the line " code { "Authorization: Bearer hf_…" }
                ", so that the token is not on the command line."
            }
        }
    }
}
