//! Containment of an incident's hosts: what automation does and why, what waits for whom, what is in force and for how long.
//! A page signs nothing: it shows the command that does.

use maud::{Markup, html};
use wire::Instant;
use wire::api::{AutomationView, IncidentView, OrderView};
use wire::containment::{ContainmentEvent, Directive, Preview, is_automation};
use wire::order::{OrderEvent, OrderState};

use super::due::left;
use crate::ui::Frame;
use crate::ui::parts::{badge, command, count, order_state, time};
use crate::ui::text::{shown, words};

/// Items of a preview's list that are shown.
const ITEMS_MAX: usize = 12;
/// More orders that are over than this are folded away: what holds and what waits is what matters.
const OVER_SHOWN_MAX: usize = 2;

/// The section; nothing where there is nothing to say.
pub fn section(frame: Frame<'_>, view: &IncidentView) -> Markup {
    let orders: Vec<&OrderView> = view.orders.iter().filter(|order| order.directive.is_some()).collect();
    html! {
        section #containment aria-labelledby="h-containment" {
            h2 #h-containment { "Containment" }
            @if !view.automation_is_on {
                p.quiet { "Automation is switched off at this site: evidence is taken, and hosts are isolated, when a person says so." }
            }
            @if !view.automation.is_empty() {
                ul.entries { @for one in &view.automation { (automation(one)) } }
            }
            @if orders.is_empty() && view.automation.is_empty() {
                p { "Nothing was ordered yet. A person orders it with the command line:" }
                (command(&format!("holdfast contain {} --host HOST isolate_network --rehearse", view.summary.incident)))
            }
            @let (over, open): (Vec<_>, Vec<_>) = orders.iter().partition(|order| order.state.is_final());
            @if !open.is_empty() { ul.entries { @for order in open { (entry(frame, order, &orders)) } } }
            @if !over.is_empty() {
                details open[over.len() <= OVER_SHOWN_MAX] {
                    summary { (count(over.len() as u64, "order")) " that " @if over.len() == 1 { "is" } @else { "are" } " over" }
                    ul.entries { @for order in over { (entry(frame, order, &orders)) } }
                }
            }
        }
    }
}

fn automation(one: &AutomationView) -> Markup {
    let tone = match one.stage.as_str() {
        "holding" => "good",
        "captured" | "waiting" | "applied" => "warn",
        "ended" => "idle",
        _ => "busy",
    };
    html! {
        li {
            div.line {
                (badge(tone, &one.stage)) " automation at " strong.host { (shown(&one.host)) }
                " since " (time(one.since))
            }
            @for why in &one.why { div { (shown(why)) } }
            @if let Some(deadline) = one.deadline { p.alarm.warn { "Somebody must approve the isolation until " (time(deadline)) "." } }
        }
    }
}

/// One order; `orders` are those of the incident, the newest first.
fn entry(frame: Frame<'_>, order: &OrderView, orders: &[&OrderView]) -> Markup {
    let waits = order.state == OrderState::AwaitingApproval;
    // Who approves wants to know whom it touches, and this order was with no host yet. What another one does is not what
    // this one does.
    let rehearsed = || {
        let same_host = orders.iter().filter(|other| waits && other.agent == order.agent);
        same_host.copied().find_map(preview).map(|planned| Planned { steps: &[], ..planned })
    };
    html! {
        li data-order=(order.order) {
            div.line {
                (order_state(order.state)) " "
                @if let Some(directive) = &order.directive { (what(directive)) }
                " on " strong.host { (shown(&order.host)) }
            }
            @if order.state == OrderState::Holding { p { (lease(frame, order)) } }
            (told(order))
            @if waits { (approve(order)) }
            @if matches!(order.directive, Some(Directive::Apply { .. })) {
                @match order.state {
                    OrderState::Queued => (command(&format!("holdfast cancel {} --reason TEXT", order.order))),
                    OrderState::Holding => (command(&format!(
                        "holdfast release {0}\nholdfast renew {0} --lease 4h", order.order
                    ))),
                    _ => {}
                }
            }
            @match preview(order).or_else(rehearsed) {
                Some(planned) => (radius(planned)),
                None if waits => p.quiet { "Nobody has rehearsed it at this host: whom it touches is not known." },
                None => {},
            }
            div.quiet {
                "Signed by " (shown(&order.signed_by)) ", " (time(order.issued))
                @for one in &order.approvals { " · approved by " (shown(&one.principal)) ", " (time(one.time)) }
                @if !order.state.is_final() && order.state != OrderState::Holding { " · expires " (time(order.expires)) }
            }
            div.quiet { "Order " span.id { (order.order) } }
        }
    }
}

fn what(directive: &Directive) -> Markup {
    html! {
        @match directive {
            Directive::Apply { action, .. } => strong { (words(action.name())) " " span.id { (shown(&action.target())) } },
            Directive::Rehearse { action } => { "rehearsal of " strong { (words(action.name())) " " span.id { (shown(&action.target())) } } },
            Directive::Renew { contains, .. } => { "renewal of " span.id { (contains.short()) } },
            Directive::Release { contains } => { "release of " span.id { (contains.short()) } },
            Directive::DoesNotHold { contains } => { "word that " span.id { (contains.short()) } " does not hold" },
        }
    }
}

fn approve(order: &OrderView) -> Markup {
    let signers = u32::from(!is_automation(&order.signed_by));
    let there = signers.saturating_add(u32::try_from(order.approvals.len()).unwrap_or(u32::MAX));
    let missing = count(u64::from(order.approvers.saturating_sub(there)), "person");
    html! {
        p.alarm.warn { "It waits for " (missing) " to approve it. At " (time(order.expires)) " it is too late." }
        (command(&format!("holdfast approve {0}\nholdfast cancel {0} --reason TEXT", order.order)))
    }
}

/// When the lease ends, by the host's clock.
pub fn lease(frame: Frame<'_>, order: &OrderView) -> Markup {
    html! {
        @if let Some(until) = order.lease_until() {
            @let seconds = until.unix_seconds() - frame.now.unix_seconds();
            "The lease ends " strong data-left=(seconds) { (left(seconds)) } ", at " (time(until)) "."
        }
    }
}

/// What the host said before it did anything, and when.
struct Planned<'a> {
    at: Instant,
    preview: &'a Preview,
    steps: &'a [String],
}

fn preview(order: &OrderView) -> Option<Planned<'_>> {
    order.events.iter().rev().find_map(|event| match &event.event {
        OrderEvent::Containment { told: ContainmentEvent::Planned { preview, steps }, .. } => {
            Some(Planned { at: event.time, preview, steps })
        }
        _ => None,
    })
}

/// What was told, the newest first; of validations the last of each side.
fn told(order: &OrderView) -> Markup {
    let mut sides = Vec::new();
    let lines = order.events.iter().rev().filter(|event| match &event.event {
        OrderEvent::Containment { told: ContainmentEvent::Validated { checks, .. }, .. } => {
            let side = checks.first().map(|check| check.side);
            let is_new = !sides.contains(&side);
            sides.push(side);
            is_new
        }
        // What was planned stands below, item by item.
        OrderEvent::Accepted | OrderEvent::Containment { told: ContainmentEvent::Planned { .. }, .. } => false,
        _ => true,
    });
    html! {
        @for event in lines {
            @match &event.event {
                OrderEvent::Refused { message, .. } => p.alarm { strong { "The agent refused it: " } (shown(message)) },
                OrderEvent::Failed { message } => p.alarm { strong { "It failed: " } (shown(message)) },
                OrderEvent::Containment { told, .. } => div class=[alarm(told)] {
                    (time(event.time)) " " strong { (words(told.name())) } ": " (shown(&told.to_string()))
                },
                _ => {},
            }
        }
    }
}

const fn alarm(told: &ContainmentEvent) -> Option<&'static str> {
    match told {
        ContainmentEvent::Tampered { .. }
        | ContainmentEvent::Failed { .. }
        | ContainmentEvent::Validated { holds: false, .. } => Some("alarm"),
        _ => None,
    }
}

/// Whom it touches.
fn radius(Planned { at, preview, steps }: Planned<'_>) -> Markup {
    let of = |items: &[String], noun| count(items.len() as u64, noun);
    let lists = [
        ("What it does", steps),
        ("Peers", &preview.peers),
        ("Services", &preview.listening),
        ("Sessions", &preview.sessions),
        ("What it is for others", &preview.protected_roles),
    ];
    html! {
        details {
            summary {
                "Whom it touches: " (of(&preview.peers, "peer")) ", " (of(&preview.listening, "service")) ", "
                (of(&preview.sessions, "session"))
                @if !preview.protected_roles.is_empty() { "; " (shown(&preview.protected_roles.join(", "))) }
            }
            p.quiet { "The host said so at " (time(at)) "." }
            @for (name, items) in lists {
                @if !items.is_empty() {
                    p.quiet { (name) }
                    ul.plain { @for item in items.iter().take(ITEMS_MAX) { li.id { (shown(item)) } } }
                    @if items.len() > ITEMS_MAX { p.quiet { "and " (items.len() - ITEMS_MAX) " more" } }
                }
            }
            @if preview.more > 0 { p.quiet { (preview.more) " more did not fit" } }
        }
    }
}
