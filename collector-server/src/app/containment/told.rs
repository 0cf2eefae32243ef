//! What an agent tells of a containment order: when it can happen, what it makes of the order, and how much of it is kept.

use wire::api::TimedEvent;
use wire::containment::{Check, ContainmentEvent, Directive, PREVIEW_ITEMS_MAX, Preview, Side};
use wire::order::{OrderEvent, OrderState};

use crate::store::OrderRecord;

/// Sentences of one list.
const SENTENCES_MAX: usize = 64;
/// Characters of one item of a preview.
const ITEM_CHARS_MAX: usize = 200;
const SENTENCE_CHARS_MAX: usize = 1024;

/// The states in which this can happen to a containment order; `None` when it is of none of them, or the event is one of
/// collections.
pub fn from_states(record: &OrderRecord, event: &OrderEvent) -> Option<&'static [OrderState]> {
    use OrderState::{Accepted, Delivered, Expired, Failed, Holding, Queued, Running};
    let from: &[OrderState] = match event {
        OrderEvent::Accepted => &[Queued, Delivered, Expired],
        OrderEvent::Refused { .. } => &[Queued, Delivered, Expired, Accepted],
        OrderEvent::Failed { .. } => &[Queued, Delivered, Expired, Accepted, Running],
        OrderEvent::Containment { told, .. } => match told {
            ContainmentEvent::Planned { .. } => &[Queued, Delivered, Expired, Accepted, Running],
            // What could not be taken back the last time may be taken back after all.
            ContainmentEvent::Released { .. } => &[Queued, Delivered, Expired, Accepted, Running, Holding, Failed],
            _ => &[Queued, Delivered, Expired, Accepted, Running, Holding],
        },
        _ => return None,
    };
    let is_failed = record.state == Failed && !is_left_changed(record);
    (from.contains(&record.state) && !is_failed).then_some(from)
}

/// True when the last that was told is that the host could not be made as before.
pub fn is_left_changed(record: &OrderRecord) -> bool {
    let last = record.events.last().map(|event| &event.event);
    matches!(last, Some(OrderEvent::Containment { told: ContainmentEvent::Failed { restored: false, .. }, .. }))
}

/// Where the order stands after it. An order that renews or releases another one, or says that it does not hold, is done
/// when that is so.
pub fn state_after(directive: &Directive, event: &OrderEvent) -> OrderState {
    match (directive, event) {
        (Directive::Renew { .. }, OrderEvent::Containment { told: ContainmentEvent::Renewed { .. }, .. })
        | (
            Directive::Release { .. } | Directive::DoesNotHold { .. },
            OrderEvent::Containment { told: ContainmentEvent::Released { .. }, .. },
        ) => OrderState::Completed,
        _ => event.state(),
    }
}

/// True when an agent told this before. It tells what happened until it was heard, so the same comes again with the same
/// time; and `validated` comes again, with another one, when it holds again after it did not.
pub fn is_known(record: &OrderRecord, event: &TimedEvent) -> bool {
    let is_same = |known: &TimedEvent| known.event == event.event;
    let last = record.events.iter().rev().find(|known| known.agent_time.is_some());
    last.is_some_and(is_same)
        || record.events.iter().any(|known| is_same(known) && known.agent_time == event.agent_time)
}

/// The event of the leaf that keeps it.
pub const fn leaf_name(told: &ContainmentEvent) -> &'static str {
    match told {
        ContainmentEvent::Planned { .. } => "containment_planned",
        ContainmentEvent::Applied { .. } => "containment_applied",
        ContainmentEvent::Validated { .. } => "containment_validated",
        ContainmentEvent::Renewed { .. } => "containment_renewed",
        ContainmentEvent::Tampered { .. } => "containment_tampered",
        ContainmentEvent::Released { .. } => "containment_released",
        ContainmentEvent::Failed { .. } => "containment_failed",
    }
}

/// True for what somebody should be told of at once.
pub const fn is_alarming(told: &ContainmentEvent) -> bool {
    matches!(
        told,
        ContainmentEvent::Applied { .. }
            | ContainmentEvent::Validated { .. }
            | ContainmentEvent::Tampered { .. }
            | ContainmentEvent::Released { .. }
            | ContainmentEvent::Failed { .. }
    )
}

/// Lists and texts from an agent are kept up to a bound.
pub fn bounded(told: ContainmentEvent) -> ContainmentEvent {
    let cut = |text: String| -> String { text.chars().take(SENTENCE_CHARS_MAX).collect() };
    let list = |texts: Vec<String>| texts.into_iter().take(SENTENCES_MAX).map(cut).collect();
    match told {
        ContainmentEvent::Planned { preview, steps } => {
            ContainmentEvent::Planned { preview: bounded_preview(preview), steps: list(steps) }
        }
        ContainmentEvent::Applied { fallbacks, until } => {
            ContainmentEvent::Applied { fallbacks: list(fallbacks), until }
        }
        ContainmentEvent::Validated { checks, holds } => {
            // An agent speaks of its own side.
            let check = |check: Check| Check { side: Side::Host, what: cut(check.what), ..check };
            ContainmentEvent::Validated { checks: checks.into_iter().take(SENTENCES_MAX).map(check).collect(), holds }
        }
        ContainmentEvent::Renewed { until } => ContainmentEvent::Renewed { until },
        ContainmentEvent::Tampered { message, restored } => {
            ContainmentEvent::Tampered { message: cut(message), restored }
        }
        ContainmentEvent::Released { cause, left } => ContainmentEvent::Released { cause, left: list(left) },
        ContainmentEvent::Failed { message, restored } => ContainmentEvent::Failed { message: cut(message), restored },
    }
}

fn bounded_preview(preview: Preview) -> Preview {
    let Preview { mut addresses, listening, peers, protected_roles, sessions, more } = preview;
    let mut more = more;
    let mut list = |items: Vec<String>| -> Vec<String> {
        more = more.saturating_add(items.len().saturating_sub(PREVIEW_ITEMS_MAX) as u64);
        let cut = |item: String| item.chars().take(ITEM_CHARS_MAX).collect();
        items.into_iter().take(PREVIEW_ITEMS_MAX).map(cut).collect()
    };
    let (listening, peers) = (list(listening), list(peers));
    let (protected_roles, sessions) = (list(protected_roles), list(sessions));
    addresses.truncate(PREVIEW_ITEMS_MAX);
    Preview { addresses, listening, peers, protected_roles, sessions, more }
}
