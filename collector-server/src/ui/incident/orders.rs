//! Orders and how far each is: the tiers as steps, and what the agent told last.

use maud::{Markup, html};
use wire::api::{EvidenceView, IncidentView, OrderView};
use wire::order::{OrderEvent, OrderState};
use wire::{Instant, Phase, Tier};

use crate::ui::parts::{grouped, order_state, short_bytes, short_digest, time};
use crate::ui::text::shown;

/// Where a run stands with a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It is on the server, with a receipt of this time where one was given.
    Received(Option<Instant>),
    /// The agent is at it.
    Running,
    /// Not yet, as far as is known.
    Waiting,
    /// The order ended without it.
    Absent,
}

/// The orders, the newest first.
pub fn section(view: &IncidentView) -> Markup {
    let orders: Vec<&OrderView> = view.orders.iter().filter(|order| order.directive.is_none()).collect();
    html! {
        section #orders aria-labelledby="h-orders" {
            h2 #h-orders { "Collections" }
            @if orders.is_empty() { p { "No order was sent yet." } }
            ul.entries {
                @for order in &orders {
                    @let evidence = order.bundle.and_then(|id| view.evidence.iter().find(|bundle| bundle.bundle == id));
                    (entry(order, evidence))
                }
            }
            @if orders.iter().any(|order| !order.state.is_final()) {
                noscript { p { a href="" { "Load again" } " to see how far it is." } }
            }
        }
    }
}

fn entry(order: &OrderView, evidence: Option<&EvidenceView>) -> Markup {
    html! {
        li data-order=(order.order) {
            div.line {
                (order_state(order.state)) " "
                strong { (shown(&order.profile)) } " on " strong.host { (shown(&order.host)) }
                @if let Some(bundle) = order.bundle { span.push { a href={ "/evidence/" (bundle) } { "evidence" } } }
            }
            @if is_under_way(order) || evidence.is_some() { (steps(order, evidence)) }
            (told(order))
            div.quiet {
                "Signed by " (shown(&order.signed_by)) ", " (time(order.issued))
                @if !order.state.is_final() { " · expires " (time(order.expires)) }
            }
            div.quiet {
                "Order " span.id { (order.order.short()) } " " (short_digest(order.sha256))
                @if let Some(old) = order.supersedes { " · supersedes " span.id { (old.short()) } }
            }
        }
    }
}

const fn is_under_way(order: &OrderView) -> bool {
    matches!(order.state, OrderState::Running)
}

fn steps(order: &OrderView, evidence: Option<&EvidenceView>) -> Markup {
    html! {
        ol.steps aria-label="Tiers" {
            @for tier in Tier::ALL {
                @let step = step(order, evidence, tier);
                li data-step=(tier.name()) class=(class(step)) {
                    span.name { (tier.name()) } " "
                    span.state { (word(step)) @if let Step::Received(Some(at)) = step { " " (clock(at)) } }
                }
            }
        }
        @if let Some(receipt) = evidence.and_then(|evidence| evidence.receipts.last()) {
            p.quiet {
                "Last receipt: " (short_bytes(receipt.offset)) " held since " (time(receipt.received_at))
            }
        } @else {
            p.quiet { "No receipt yet: nothing of it is proven to be held by this server." }
        }
    }
}

/// The hour of a moment; the page says the day elsewhere.
fn clock(at: Instant) -> Markup {
    html! { time datetime=(at) { (at.calendar().strftime("%H:%M:%SZ")) } }
}

fn step(order: &OrderView, evidence: Option<&EvidenceView>, tier: Tier) -> Step {
    if let Some(evidence) = evidence {
        let receipt = evidence.receipts.iter().find(|r| r.phase_complete && r.phase == Phase::from(tier));
        if receipt.is_some() || evidence.tiers.contains(&tier) {
            return Step::Received(receipt.map(|receipt| receipt.received_at));
        }
    }
    let at_work = order.events.iter().rev().find_map(|told| match told.event {
        OrderEvent::Progress { tier, .. } => Some(tier),
        _ => None,
    });
    match (order.state.is_final(), at_work) {
        (true, _) => Step::Absent,
        (false, Some(at_work)) if at_work == tier => Step::Running,
        (false, _) => Step::Waiting,
    }
}

const fn class(step: Step) -> &'static str {
    match step {
        Step::Received(_) => "is-done",
        Step::Running => "is-running",
        Step::Waiting => "is-waiting",
        Step::Absent => "is-absent",
    }
}

const fn word(step: Step) -> &'static str {
    match step {
        Step::Received(_) => "received",
        Step::Running => "running",
        Step::Waiting => "waiting",
        Step::Absent => "not received",
    }
}

/// The last thing that the agent told. Progress is there from the start, so that the script has a place to write to.
fn told(order: &OrderView) -> Markup {
    let progress = order.events.iter().rev().find_map(|told| match &told.event {
        OrderEvent::Progress { bytes, collector, items, .. } => Some((*bytes, collector.as_str(), *items)),
        _ => None,
    });
    let end = order.events.iter().rev().find(|told| told.event.state().is_final());
    let spooled = order.events.iter().rev().find_map(|told| match &told.event {
        OrderEvent::Spooled { bytes, full, reason } => Some((*bytes, *full, reason)),
        _ => None,
    });
    html! {
        @if is_under_way(order) {
            @let (bytes, collector, items) = progress.unwrap_or((0, "starting", 0));
            p.progress {
                span data-field="collector" { (shown(collector)) } " · "
                span.num data-field="items" { (grouped(items)) } " items · "
                span.num data-field="bytes" { (short_bytes(bytes)) }
            }
        }
        @if let Some((bytes, full, reason)) = spooled {
            p { (short_bytes(bytes)) " waited on the host, encrypted: " (shown(reason)) "." }
            @if full { p.alarm.warn { "The host's spool was full: what came after that was not kept." } }
        }
        @if order.state == OrderState::Queued { p { "Waits for the agent to ask." } }
        @if let Some(end) = end { (ended(&end.event, end.time)) }
        @else if order.state == OrderState::Expired { p.alarm.warn { "No agent took it before it expired." } }
    }
}

fn ended(event: &OrderEvent, at: Instant) -> Markup {
    html! {
        @match event {
            OrderEvent::Completed { bytes, exit, items, .. } => p {
                "Sealed " (time(at)) ": " (grouped(*items)) " items, " (short_bytes(*bytes)) "."
                @if *exit != 0 { " Some step ran out of time or met a limit; the coverage says which." }
            },
            OrderEvent::Refused { message, .. } => p.alarm { strong { "The agent refused it: " } (shown(message)) },
            OrderEvent::Interrupted { receipted, .. } => p.alarm.warn {
                strong { "The agent died in the run" }
                @if let Some(offset) = receipted { "; the last receipt is for " (short_bytes(*offset)) }
                ". What arrived is a partial bundle. Dispatch again to take the rest."
            },
            OrderEvent::Failed { message } => p.alarm { strong { "It ended without a seal: " } (shown(message)) },
            OrderEvent::Accepted
            | OrderEvent::Started { .. }
            | OrderEvent::Progress { .. }
            | OrderEvent::Spooled { .. }
            | OrderEvent::Containment { .. } => {},
        }
    }
}
