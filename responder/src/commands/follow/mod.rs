//! `holdfast follow`: what happens in an incident, as it happens. Watching changes nothing: it can end at any time.

mod story;

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use reqwest::Method;
use reqwest::blocking::Response;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;
use wire::api::{EvidenceState, EvidenceView, HostView, IncidentView, LiveEvent, OrderView, TimedEvent};
use wire::containment::ContainmentEvent;
use wire::order::{OrderEvent, OrderState, RefusalReason};
use wire::{BundleId, IncidentId, OrderId, Sha256};

use super::{Failure, INPUT, IO, REFUSED, UNAVAILABLE};
use crate::api::events::{Events, Said};
use crate::api::{self, Api};
use crate::config::Config;
use crate::escape::shown;
use crate::show::{self, print, remark};
pub use story::evidence;
use story::{Line, Story};

/// How long a server may be away before watching ends.
const AWAY_MAX: Duration = Duration::from_mins(5);
/// How long the server may take to verify what came, after the agent said that all of it is there.
const INGEST_WAIT: Duration = Duration::from_secs(30);

/// Watch an incident, or one order until it ended.
#[derive(clap::Args)]
#[command(
    after_help = "Ctrl-C stops watching, never the collection. Exit codes for an order: 0 sealed, 3 sealed but a \
    step timed out or met a limit, 1 no seal, 77 the agent refused."
)]
pub struct Follow {
    /// The incident's id, or the order's.
    #[arg(value_name = "INCIDENT|ORDER")]
    what: String,
    /// Print one JSON object for each event; the last one of an order has its final state.
    #[arg(long)]
    json: bool,
}

impl Follow {
    /// Watches.
    pub fn run(self) -> Result<u8, Failure> {
        let config = Config::load()?;
        let api = Api::of(&config)?;
        if let Ok(order) = self.what.parse::<OrderId>() {
            let view = order_view(&api, order)?;
            if !self.json
                && matches!(view.state, OrderState::AwaitingApproval | OrderState::Queued | OrderState::Delivered)
            {
                remark(&waiting(&api, &view));
            }
            return Watch::open(&api, view.incident, self.json)?.until(&Goal::Order(order));
        }
        let incident: IncidentId = self.what.parse().map_err(|error| {
            Failure::new(super::USAGE, anyhow::Error::new(error)).hint("give an incident's id or an order's id")
        })?;
        Watch::open(&api, incident, self.json)?.until(&Goal::Incident)
    }
}

/// How far to watch.
pub enum Goal {
    /// Until what this order did was seen to hold, or it ended.
    Held(OrderId),
    /// Until this order ended.
    Order(OrderId),
    /// For ever.
    Incident,
}

impl Goal {
    fn is_reached(&self, view: &OrderView) -> bool {
        let is_looked_at = || {
            view.events.iter().any(|timed| {
                matches!(timed.event, OrderEvent::Containment { told: ContainmentEvent::Validated { .. }, .. })
            })
        };
        view.state.is_final() || (matches!(self, Self::Held(_)) && view.state == OrderState::Holding && is_looked_at())
    }
}

/// True when the last look found that it holds.
fn is_held(view: &OrderView) -> bool {
    let last = view.events.iter().rev().find_map(|timed| match timed.event {
        OrderEvent::Containment { told: ContainmentEvent::Validated { holds, .. }, .. } => Some(holds),
        _ => None,
    });
    last == Some(true)
}

/// A stream of what happens in an incident.
pub struct Watch<'a> {
    api: &'a Api,
    incident: IncidentId,
    json: bool,
    stream: Option<Events<Response>>,
    /// When one began to wait: for whoever dispatched, just before the order was sent.
    began: Instant,
    /// Digests of the events that were printed as JSON: what was looked up may be heard as well.
    printed: BTreeSet<Sha256>,
    story: Story,
}

impl<'a> Watch<'a> {
    /// Opens the stream: whatever happens from now on will be told.
    pub fn open(api: &'a Api, incident: IncidentId, json: bool) -> Result<Self, Failure> {
        let stream = Some(connect(api, &incident)?);
        Ok(Self {
            api,
            incident,
            json,
            stream,
            began: Instant::now(),
            printed: BTreeSet::new(),
            story: Story::default(),
        })
    }

    /// Tells what happened and what happens, until the goal is reached. Returns the exit code.
    pub fn until(mut self, goal: &Goal) -> Result<u8, Failure> {
        on_ctrl_c(match goal {
            Goal::Order(order) | Goal::Held(order) => order.to_string(),
            Goal::Incident => self.incident.to_string(),
        })?;
        let (mut heard, mut is_away) = (Instant::now(), false);
        loop {
            let Some(mut stream) = self.stream.take() else {
                std::thread::sleep(Duration::from_secs(1));
                match connect(self.api, &self.incident) {
                    Ok(stream) => self.stream = Some(stream),
                    Err(failure) if failure.code != UNAVAILABLE || heard.elapsed() > AWAY_MAX => return Err(failure),
                    Err(failure) if !is_away => {
                        is_away = true;
                        remark(&format!(
                            "{}; trying again. The collection goes on.",
                            shown(&failure.error.to_string())
                        ));
                    }
                    Err(_) => {}
                }
                continue;
            };
            (heard, is_away) = (Instant::now(), false);
            // What happened before the stream was open, or while it was broken.
            if let Some(code) = self.catch_up(goal)? {
                return Ok(code);
            }
            loop {
                match stream.next() {
                    Ok(Some(Said::Event(data))) => {
                        heard = Instant::now();
                        if let Some(code) = self.hear(&data, goal)? {
                            return Ok(code);
                        }
                    }
                    // An order that nobody took ends without an event.
                    Ok(Some(Said::Alive)) if self.story.is_overdue(show::now()) => {
                        if let Some(code) = self.catch_up(goal)? {
                            return Ok(code);
                        }
                    }
                    Ok(Some(Said::Alive)) => heard = Instant::now(),
                    // The server ends each stream after a while, and takes another.
                    Ok(None) | Err(_) => break,
                }
            }
        }
    }

    fn catch_up(&mut self, goal: &Goal) -> Result<Option<u8>, Failure> {
        match goal {
            Goal::Order(order) | Goal::Held(order) => {
                let view = order_view(self.api, *order)?;
                self.tell_order(&view)?;
                if goal.is_reached(&view) { self.end(&view).map(Some) } else { Ok(None) }
            }
            Goal::Incident => {
                let value = self.api.get(&format!("/api/v1/incidents/{}", self.incident))?;
                let view: IncidentView = api::read(self.api.server(), value)?;
                for order in view.orders.iter().rev() {
                    self.tell_order(order)?;
                }
                Ok(None)
            }
        }
    }

    /// Tells of an order what was not told yet, its receipts included.
    fn tell_order(&mut self, view: &OrderView) -> Result<(), Failure> {
        self.story.learn(view);
        let of_order = |event: &TimedEvent| {
            let state = event.event.state();
            (event.time, LiveEvent::Order { event: event.clone(), order: view.order, state })
        };
        let mut events: Vec<_> = view.events.iter().map(of_order).collect();
        if let Some(bundle) = view.bundle
            && let Some(evidence) = evidence_view(self.api, bundle)?
        {
            events.extend(
                evidence.receipts.into_iter().map(|receipt| (receipt.received_at, LiveEvent::Receipt { receipt })),
            );
        }
        // The end is told last, whatever the server heard later.
        let is_end = |event: &LiveEvent| matches!(event, LiveEvent::Order { state, .. } if state.is_final());
        events.sort_by_key(|(time, event)| (is_end(event), *time));
        events.iter().try_for_each(|(_, event)| self.tell(event, None))
    }

    fn hear(&mut self, data: &str, goal: &Goal) -> Result<Option<u8>, Failure> {
        let Ok(value) = serde_json::from_str::<Value>(data) else { return Ok(None) };
        // Some were lost on the way: the server asks to read the incident again.
        if value.get("what").is_none() {
            return self.catch_up(goal);
        }
        // A kind of event that this version does not know is passed on to machines, and passed over for people.
        let Ok(event) = serde_json::from_value::<LiveEvent>(value.clone()) else {
            if self.json {
                print(&format!("{value}\n"))?;
            }
            return Ok(None);
        };
        if let LiveEvent::Order { order, .. } = &event
            && !self.story.knows(*order)
            && matches!(goal, Goal::Incident)
        {
            self.story.learn(&order_view(self.api, *order)?);
        }
        self.tell(&event, Some(&value))?;
        match (&event, goal) {
            (LiveEvent::Order { order, event, state }, Goal::Order(wanted) | Goal::Held(wanted))
                if order == wanted && (state.is_final() || matches!(event.event, OrderEvent::Containment { .. })) =>
            {
                let view = order_view(self.api, *order)?;
                if goal.is_reached(&view) { self.end(&view).map(Some) } else { Ok(None) }
            }
            _ => Ok(None),
        }
    }

    fn tell(&mut self, event: &LiveEvent, raw: Option<&Value>) -> Result<(), Failure> {
        let line = self.story.tell(event, raw.map(|_| self.began.elapsed()));
        if self.json {
            let text = bundle::checkpoint::to_sorted_json(event);
            if !self.printed.insert(Sha256::of(text.as_bytes())) {
                return Ok(());
            }
            // As the server has it, with what this version does not know.
            return print(&format!("{}\n", raw.map_or(text, Value::to_string)));
        }
        match line {
            Some(Line::Lasting(text)) => {
                passing("");
                print(&format!("{text}\n"))
            }
            Some(Line::Passing(text)) => {
                passing(&text);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Says how an order ended, and what there is now.
    fn end(&mut self, view: &OrderView) -> Result<u8, Failure> {
        let code = match view.state {
            OrderState::Completed => exit_of(view),
            OrderState::Holding => u8::from(!is_held(view)),
            OrderState::Refused => REFUSED,
            _ => 1,
        };
        if self.json {
            if !view.events.iter().any(|timed| timed.event.state().is_final()) {
                print(&format!("{}\n", ended(view)))?;
            }
            return Ok(code);
        }
        self.tell_order(view)?;
        passing("");
        if view.state == OrderState::Expired {
            print(&format!("the order expired at {}: no agent took it\n", show::time(view.expires)))?;
            remark("hint: is holdfast-agent running on the host? holdfast host list says when it was last seen");
        }
        if let Some(hint) = after_refusal(view) {
            remark(&format!("hint: {hint}"));
        }
        if view.state == OrderState::Interrupted {
            remark(&format!("hint: holdfast dispatch … --supersedes {} collects again", view.order));
        }
        if let Some(evidence) = self.ingested(view)? {
            print(&story::evidence(&evidence))?;
            remark(&format!("hint: holdfast evidence get {}", evidence.bundle));
        }
        Ok(code)
    }

    /// The bundle, once the server has verified it, or as it is when that takes long.
    fn ingested(&self, view: &OrderView) -> Result<Option<EvidenceView>, Failure> {
        let Some(bundle) = view.bundle else { return Ok(None) };
        let deadline = Instant::now() + INGEST_WAIT;
        loop {
            let evidence = evidence_view(self.api, bundle)?;
            let is_coming = evidence.as_ref().is_none_or(|evidence| evidence.state == EvidenceState::Receiving);
            if !is_coming || view.state != OrderState::Completed || Instant::now() > deadline {
                return Ok(evidence);
            }
            std::thread::sleep(Duration::from_millis(250));
        }
    }
}

/// What to do about an order that the agent refused. What is wrong with it stands in its message.
fn after_refusal(view: &OrderView) -> Option<&'static str> {
    let reason = view.events.iter().rev().find_map(|timed| match timed.event {
        OrderEvent::Refused { reason, .. } => Some(reason),
        _ => None,
    })?;
    match reason {
        RefusalReason::SignerUnknown => {
            Some("the host must know your key: holdfast keys show prints the line for its allowed_signers")
        }
        RefusalReason::Policy => Some("the host has the last word: root there changes /etc/holdfast/policy.toml"),
        RefusalReason::Approvals => Some("the host wants more people: order it again, and let others approve it"),
        RefusalReason::Expired | RefusalReason::NotYetValid | RefusalReason::Replayed => {
            Some("order it again; if that does not help, compare the host's clock with yours")
        }
        _ => None,
    }
}

/// The end of an order in the form of an event, where the agent told none: nobody took it in its time, or it is done by what
/// was told last.
fn ended(view: &OrderView) -> Value {
    let state = view.state.name();
    let last = view.events.last().filter(|_| view.state != OrderState::Expired);
    let time = last.map_or(view.expires, |timed| timed.time);
    json!({
        "event": {"event": state, "time": time}, "order": view.order, "state": state, "what": "order",
    })
}

/// Why nothing happens yet.
fn waiting(api: &Api, view: &OrderView) -> String {
    let agent = match super::dispatch::find_host(api, view.agent.as_str()) {
        Ok(host) if host.connected => "the agent is connected".to_owned(),
        Ok(HostView { last_seen: Some(seen), .. }) => {
            format!("the agent was last seen {}", show::ago(seen, show::now()))
        }
        Ok(_) => "the agent was never seen".to_owned(),
        Err(_) => "nothing is known of its agent".to_owned(),
    };
    format!("{}; {agent}; valid until {}", view.state.name(), show::time(view.expires))
}

fn exit_of(view: &OrderView) -> u8 {
    let completed = view.events.iter().rev().find_map(|timed| match timed.event {
        OrderEvent::Completed { exit, .. } => Some(exit),
        _ => None,
    });
    completed.unwrap_or(0)
}

fn connect(api: &Api, incident: &IncidentId) -> Result<Events<Response>, Failure> {
    let request = api.request(Method::GET, &format!("/api/v1/incidents/{incident}/events"));
    api.send(request.header(ACCEPT, "text/event-stream")).map(Events::new)
}

/// An order as the server has it.
pub fn order_view(api: &Api, order: OrderId) -> Result<OrderView, Failure> {
    api::read(api.server(), api.get(&format!("/api/v1/orders/{order}"))?)
}

/// The bundle, when the server has some of it.
fn evidence_view(api: &Api, bundle: BundleId) -> Result<Option<EvidenceView>, Failure> {
    match api.get(&format!("/api/v1/evidence/{bundle}")) {
        Ok(value) => api::read(api.server(), value).map(Some),
        Err(failure) if failure.code == INPUT => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A line that the next one replaces, on a terminal; nothing elsewhere.
fn passing(text: &str) {
    let stderr = io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr.lock(), "\r\u{1b}[K{text}");
    }
}

fn on_ctrl_c(what: String) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT]).map_err(|error| Failure::new(IO, anyhow!("signals: {error}")))?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            passing("");
            remark("stopped watching; the collection goes on");
            remark(&format!("hint: holdfast follow {what}"));
            std::process::exit(130);
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fake::{Answer, Fake};

    const ORDER: &str = "01934f2e-0000-7abc-8def-000000000001";

    fn view(state: &str, events: &Value) -> Value {
        json!({
            "agent": "web-1-aa", "bundle": null, "events": events, "expires": "2026-11-21T18:00:00Z", "host": "web-1",
            "incident": "INC-1", "issued": "2026-11-21T17:00:00Z", "order": ORDER, "profile": "intrusion",
            "sha256": "0".repeat(64), "signed_by": "ada", "state": state, "supersedes": null,
        })
    }

    #[test]
    fn each_event_is_printed_once_whether_it_was_heard_or_looked_up() {
        let accepted = json!({"event": "accepted", "time": "2026-11-21T17:00:01Z"});
        let refused = json!({"event": "refused", "message": "no", "reason": "policy", "time": "2026-11-21T17:00:02Z"});
        let over = view("refused", &json!([accepted, refused])).to_string();
        let heard = |event: &Value, state: &str| {
            format!("data: {}\n\n", json!({"what": "order", "event": event, "order": ORDER, "state": state}))
        };
        let stream = [heard(&accepted, "accepted"), heard(&refused, "refused"), heard(&accepted, "accepted")].concat();
        let running = view("accepted", &json!([accepted])).to_string();
        let mut asked = 0;
        let fake = Fake::serve(move |request| {
            if request.path.ends_with("/events") {
                return Answer::new(200, &[("content-type", "text/event-stream")], stream.clone());
            }
            asked += 1;
            Answer::json(if asked == 1 { &running } else { &over })
        });
        let api = Api::of_test(&fake.url);
        let goal = Goal::Order(ORDER.parse().unwrap());
        let mut watch = Watch::open(&api, "INC-1".parse().unwrap(), true).unwrap();
        let mut stream = watch.stream.take().unwrap();
        assert_eq!(watch.catch_up(&goal).unwrap(), None);
        let mut counts = Vec::new();
        let code = loop {
            let Some(Said::Event(data)) = stream.next().unwrap() else { panic!("the stream ended") };
            let code = watch.hear(&data, &goal).unwrap();
            counts.push(watch.printed.len());
            if let Some(code) = code {
                break code;
            }
        };
        assert_eq!((code, counts), (REFUSED, vec![1, 2]), "and nothing after the end");
    }

    #[test]
    fn an_order_that_nobody_took_has_an_end_too() {
        let view: OrderView = serde_json::from_value(view("expired", &json!([]))).unwrap();
        let end = ended(&view);
        assert_eq!((&end["what"], &end["state"]), (&json!("order"), &json!("expired")));
        assert_eq!(end["event"], json!({"event": "expired", "time": "2026-11-21T18:00:00.000000000Z"}));
    }
}
