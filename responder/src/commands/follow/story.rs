//! Events as lines for people: each thing once, whether it was heard live or looked up after a break.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use wire::api::{EvidenceState, EvidenceView, LiveEvent, OrderView, TimedEvent};
use wire::containment::ContainmentEvent;
use wire::order::{OrderEvent, OrderState};
use wire::{BundleId, OrderId, Phase};

use crate::commands::contain::touched;
use crate::escape::shown;
use crate::show::{bytes, clock, counted};

/// A line, and how long it is worth reading.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// It stays.
    Lasting(String),
    /// The next line replaces it.
    Passing(String),
}

/// What is known of the orders, and what was told.
#[derive(Default)]
pub struct Story {
    orders: BTreeMap<OrderId, Known>,
    told: BTreeSet<String>,
}

struct Known {
    host: String,
    expires: wire::Instant,
    state: OrderState,
    bundle: Option<BundleId>,
}

impl Story {
    /// True when the order's host is known.
    pub fn knows(&self, order: OrderId) -> bool {
        self.orders.contains_key(&order)
    }

    /// Takes in what the server says of an order.
    pub fn learn(&mut self, view: &OrderView) {
        let known = Known { host: shown(&view.host), expires: view.expires, state: view.state, bundle: view.bundle };
        self.orders.insert(view.order, known);
    }

    /// True when an order should have expired by now, by this clock.
    pub fn is_overdue(&self, now: wire::Instant) -> bool {
        let waits = |state| matches!(state, OrderState::AwaitingApproval | OrderState::Queued | OrderState::Delivered);
        self.orders.values().any(|known| waits(known.state) && known.expires <= now)
    }

    /// The line for an event; `None` when it was told before, or says nothing to people. `after` is how long one waited
    /// for an event that was heard live.
    pub fn tell(&mut self, event: &LiveEvent, after: Option<Duration>) -> Option<Line> {
        match event {
            LiveEvent::Order { event, order, state } => self.order(event, *order, *state),
            LiveEvent::Receipt { receipt } => {
                let host = self.host_of(receipt.bundle)?;
                let (size, time) = (bytes(receipt.offset), clock(receipt.received_at));
                let name = receipt.phase;
                if !receipt.phase_complete || receipt.phase == Phase::Start {
                    return Some(Line::Passing(format!("{time}  {host}  {name}: {size} on the server")));
                }
                self.once(format!("{}:{name}", receipt.bundle))?;
                let after = after.map(|after| format!(", after {:.1} s", after.as_secs_f32())).unwrap_or_default();
                Some(Line::Lasting(format!(
                    "{time}  {host}  {name:<11} on the server, with its receipt: {size} so far{after}"
                )))
            }
            LiveEvent::Alert { alert, severity } => {
                self.once(format!("{alert}"))?;
                Some(Line::Lasting(format!("          alert {alert}: the incident is {severity}")))
            }
            LiveEvent::Case { actor, event, time } => {
                self.once(format!("{event}:{time}"))?;
                let event = event.replace('_', " ");
                Some(Line::Lasting(format!("{}  {}, {}", clock(*time), shown(&event), shown(actor))))
            }
            LiveEvent::Evidence { bundle, state } => {
                let host = self.host_of(*bundle)?;
                self.once(format!("{bundle}:{}", state.name()))?;
                if *state == EvidenceState::Receiving {
                    return None;
                }
                Some(Line::Lasting(format!("          {host}  {:<11} bundle {bundle}", state.name())))
            }
        }
    }

    fn order(&mut self, timed: &TimedEvent, order: OrderId, state: OrderState) -> Option<Line> {
        let known = self.orders.get_mut(&order)?;
        known.state = state;
        if let OrderEvent::Started { bundle } = &timed.event {
            known.bundle = Some(*bundle);
        }
        let (host, time) = (known.host.clone(), clock(timed.time));
        let (word, rest) = match &timed.event {
            OrderEvent::Progress { bytes: so_far, collector, items, tier } => {
                let size = bytes(*so_far);
                let (collector, items) = (shown(collector), counted(*items, "item"));
                return Some(Line::Passing(format!("{time}  {host}  {tier}: {collector}, {items}, {size}")));
            }
            OrderEvent::Accepted => ("accepted", "the agent checked the order, and runs it".to_owned()),
            OrderEvent::Refused { message, .. } => ("refused", shown(message)),
            OrderEvent::Started { bundle } => ("started", format!("bundle {bundle}")),
            OrderEvent::Spooled { bytes: waits, full, reason } => {
                let full = if *full { "; the spool was full, and what came after that was not kept" } else { "" };
                ("spooled", format!("{} waited on the host: {}{full}", bytes(*waits), shown(reason)))
            }
            OrderEvent::Completed { bytes: length, exit, items, sha256 } => {
                let gaps = if *exit == 0 { "" } else { "; a step timed out, failed or met a limit" };
                let (items, size) = (counted(*items, "item"), bytes(*length));
                ("completed", format!("{items}, {size}, sha256 {sha256}{gaps}"))
            }
            OrderEvent::Interrupted { receipted, .. } => {
                let held = receipted.map_or_else(|| "nothing".to_owned(), bytes);
                ("interrupted", format!("the agent ended in the run; with a receipt: {held}"))
            }
            OrderEvent::Failed { message } => ("failed", shown(message)),
            OrderEvent::Containment { told, rehearsed } => {
                let name = told.name();
                // It may be told many times while it holds.
                self.once(format!("{order}:{name}:{}", timed.time))?;
                let rehearsal = if *rehearsed { "rehearsal: " } else { "" };
                let mut text = format!("{rehearsal}{}", shown(&told.to_string()));
                // It is all that a rehearsal is ordered for.
                if let (true, ContainmentEvent::Planned { preview, steps }) = (rehearsed, told) {
                    let steps = steps.iter().map(|step| ("step", step.clone()));
                    for (kind, item) in steps.chain(touched::items(preview)) {
                        let _ = write!(text, "\n          {kind:<8} {}", shown(&item));
                    }
                }
                return Some(Line::Lasting(format!("{time}  {host}  {name:<11} {text}")));
            }
        };
        self.once(format!("{order}:{word}"))?;
        Some(Line::Lasting(format!("{time}  {host}  {word:<11} {rest}")))
    }

    fn host_of(&self, bundle: BundleId) -> Option<String> {
        self.orders.values().find(|known| known.bundle == Some(bundle)).map(|known| known.host.clone())
    }

    fn once(&mut self, what: String) -> Option<()> {
        self.told.insert(what).then_some(())
    }
}

/// What the server holds of a bundle, and what that is worth.
pub fn evidence(view: &EvidenceView) -> String {
    let what = match view.state {
        EvidenceState::Sealed => "complete, and its seal holds",
        EvidenceState::Partial => "ends before its seal; what came up to the last checkpoint holds",
        EvidenceState::Unverified => "nothing in it could be verified",
        EvidenceState::Rejected => "was changed after it was signed",
        EvidenceState::Receiving => "still coming",
    };
    let mut lines =
        vec![format!("evidence {} in {}: {}, {}\n", shown(&view.name), view.incident, view.state.name(), what)];
    lines.extend(view.findings.iter().map(|finding| format!("  {}\n", shown(finding))));
    lines.concat()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ORDER: &str = "01934f2e-0000-7abc-8def-000000000001";
    const BUNDLE: &str = "01934f2e-7c00-7abc-8def-00000a1b2c3d";

    fn story() -> Story {
        let mut story = Story::default();
        let view = json!({
            "agent": "web-1-aa", "bundle": null, "events": [], "expires": "2026-11-21T18:00:00Z", "host": "web-1",
            "incident": "INC-1", "issued": "2026-11-21T17:00:00Z", "order": ORDER, "profile": "intrusion",
            "sha256": "0".repeat(64), "signed_by": "ada", "state": "queued", "supersedes": null,
        });
        story.learn(&serde_json::from_value(view).unwrap());
        story
    }

    fn order(state: &str, mut event: serde_json::Value) -> LiveEvent {
        event["time"] = "2026-11-21T17:00:01Z".into();
        serde_json::from_value(json!({"what": "order", "event": event, "order": ORDER, "state": state})).unwrap()
    }

    fn receipt(phase: &str, complete: bool) -> LiveEvent {
        let receipt = json!({
            "agent_certificate_serial": null, "bundle": BUNDLE, "custody": {"root": "0".repeat(64), "size": 1},
            "offset": 1_258_291, "phase": phase, "phase_complete": complete, "received_at": "2026-11-21T17:00:02Z",
            "seq": 2, "sha256": "0".repeat(64), "type": "holdfast-receipt", "v": 1,
        });
        serde_json::from_value(json!({"what": "receipt", "receipt": receipt})).unwrap()
    }

    #[test]
    fn a_collection_is_told_once_and_in_order() {
        let mut story = story();
        let refused = order("refused", json!({"event": "refused", "message": "a\u{1b}[2J", "reason": "policy"}));
        let mut lines = Vec::new();
        for _ in 0..2 {
            for event in [
                &order("accepted", json!({"event": "accepted"})),
                &order("running", json!({"event": "started", "bundle": BUNDLE})),
                &receipt("start", true),
                &receipt("volatile", true),
                &refused,
            ] {
                if let Some(Line::Lasting(line)) = story.tell(event, Some(Duration::from_millis(840))) {
                    lines.push(line);
                }
            }
        }
        assert_eq!(
            lines,
            [
                "17:00:01  web-1  accepted    the agent checked the order, and runs it".to_owned(),
                format!("17:00:01  web-1  started     bundle {BUNDLE}"),
                "17:00:02  web-1  volatile    on the server, with its receipt: 1.1 MiB so far, after 0.8 s".to_owned(),
                "17:00:01  web-1  refused     a\\u{1b}[2J".to_owned(),
            ]
        );
    }

    #[test]
    fn progress_passes_and_strangers_are_not_told() {
        let mut story = story();
        let progress =
            json!({"event": "progress", "bytes": 5, "collector": "processes", "items": 1, "tier": "volatile"});
        let line = story.tell(&order("running", progress), None);
        let text = "17:00:01  web-1  volatile: processes, 1 item, 5 B".to_owned();
        assert_eq!(line, Some(Line::Passing(text)));
        assert_eq!(story.tell(&receipt("volatile", true), None), None, "a bundle of no order that is watched");
    }

    #[test]
    fn an_order_that_nobody_takes_is_noticed() {
        let mut story = story();
        let at = |text: &str| serde_json::from_str::<wire::Instant>(&format!("\"{text}\"")).unwrap();
        assert!(!story.is_overdue(at("2026-11-21T17:59:59Z")));
        assert!(story.is_overdue(at("2026-11-21T18:00:00Z")));
        story.tell(&order("accepted", json!({"event": "accepted"})), None);
        assert!(!story.is_overdue(at("2026-11-21T18:00:00Z")));
    }
}
