//! What automation does about one host of a SEV1 incident: a state, the facts, and the time, to the next state and what is
//! to be done for it. Pure: the records, the signatures and the network are elsewhere, and each step is one commit.
//!
//! ```text
//! triaged → capturing → captured → ordered → applied → holding → ended
//!                           ↓  ↑        ↑
//!                         waiting ──────┘
//! ```

use serde::{Deserialize, Serialize};
use wire::containment::ReleaseCause;
use wire::order::OrderState;
use wire::{Instant, OrderId};

use super::preserved::{Capture, Preserved};

/// Hosts take an isolation on evidence of the last hour.
const EVIDENCE_NS_MAX: i128 = 50 * 60 * 1_000_000_000;
/// Without anything that is due, it is looked at again after this long.
const IDLE_NS: i128 = 600 * 1_000_000_000;

/// Where automation stands with a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Automation {
    /// How far it is.
    #[serde(flatten)]
    pub stage: Stage,
    /// Since when.
    pub since: Instant,
    /// Why it does what it does, or does not, each in a sentence.
    pub why: Vec<String>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// The incident is SEV1, and the host is one of ours.
    Triaged,
    /// The capture is ordered; its volatile tier is awaited.
    Capturing {
        /// The order.
        capture: OrderId,
    },
    /// The evidence is safe, or its loss is named, and nothing further is ordered: `why` says what is missing.
    Captured {
        /// A person was asked already, and did not answer in time.
        asked: bool,
        /// When the capture began.
        at: Instant,
        /// The capture's order.
        capture: OrderId,
        /// The evidence.
        preserved: Preserved,
    },
    /// A person must approve the isolation.
    Waiting {
        /// When the capture began.
        at: Instant,
        /// The capture's order.
        capture: OrderId,
        /// When it is too late.
        deadline: Instant,
        /// The isolation's order.
        order: OrderId,
        /// The evidence.
        preserved: Preserved,
    },
    /// The isolation is on its way.
    Ordered {
        /// The isolation's order.
        order: OrderId,
    },
    /// It is in force, and not yet seen to hold from both sides, or no longer.
    Applied {
        /// The isolation's order.
        order: OrderId,
    },
    /// It holds, seen from the host and from the server.
    Holding {
        /// The isolation's order.
        order: OrderId,
    },
    /// Nothing more is done about it.
    Ended {
        /// The isolation's order, where there was one.
        order: Option<OrderId>,
    },
}

impl Stage {
    /// The name as it is serialised.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Triaged => "triaged",
            Self::Capturing { .. } => "capturing",
            Self::Captured { .. } => "captured",
            Self::Waiting { .. } => "waiting",
            Self::Ordered { .. } => "ordered",
            Self::Applied { .. } => "applied",
            Self::Holding { .. } => "holding",
            Self::Ended { .. } => "ended",
        }
    }

    /// The isolation's order.
    pub const fn order(&self) -> Option<OrderId> {
        match self {
            Self::Triaged | Self::Capturing { .. } | Self::Captured { .. } => None,
            Self::Waiting { order, .. }
            | Self::Ordered { order }
            | Self::Applied { order }
            | Self::Holding { order } => Some(*order),
            Self::Ended { order } => *order,
        }
    }

    /// The capture's order, while it matters.
    pub const fn capture(&self) -> Option<OrderId> {
        match self {
            Self::Capturing { capture } | Self::Captured { capture, .. } | Self::Waiting { capture, .. } => {
                Some(*capture)
            }
            _ => None,
        }
    }
}

/// What is known of the incident and of the host now.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any of them may hold with any other")]
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// How long a person has to approve.
    pub approval_secs: u64,
    /// How long it waits for the volatile tier.
    pub budget_secs: u32,
    /// Where the capture's order stands.
    pub capture: Option<OrderState>,
    /// When the agent took it.
    pub capture_taken: Option<Instant>,
    /// Another isolation of this host, by a person, is under way or in force.
    pub contained_by: Option<OrderId>,
    /// For a new order.
    pub fresh: OrderId,
    /// The host is named by its agent's id or by its FQDN.
    pub is_exact: bool,
    /// The site says that the host is never isolated.
    pub is_listed: bool,
    /// The site has automation switched on.
    pub is_on: bool,
    /// The incident is closed, or SEV1 no more: why.
    pub is_over: Option<&'static str>,
    /// The host says that it is protected.
    pub is_protected: bool,
    /// The isolation's order.
    pub order: Option<Contained>,
    /// Persons that triage asks for, where it proposes isolation at all.
    pub proposed: Option<u32>,
    /// Two independent signals about this host agree: in a sentence.
    pub signals: Option<String>,
    /// The volatile tier is on the server.
    pub volatile: Option<Preserved>,
}

/// What is known of the isolation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contained {
    /// By the host's last word, it holds.
    pub host_holds: Option<bool>,
    /// Why it was taken back.
    pub released: Option<ReleaseCause>,
    /// By the server's last look, it holds.
    pub server_holds: Option<bool>,
    /// Where the order stands.
    pub state: Option<OrderState>,
}

/// What is to be done for a step, in the same commit.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Order the capture.
    Capture(OrderId),
    /// Order the isolation, which so many persons must approve until then.
    Isolate {
        /// Persons.
        approvers: u32,
        /// From then on it is refused.
        deadline: Instant,
        /// Under this id.
        order: OrderId,
        /// On this evidence.
        preserved: Preserved,
    },
    /// Take an order back that no agent has.
    Cancel(OrderId),
}

/// A step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When to look again, at the latest; none at the end.
    pub due: Option<Instant>,
    /// What is to be done.
    pub effects: Vec<Effect>,
    /// Where it stands then.
    pub next: Automation,
}

/// Where it begins.
pub const fn begun(now: Instant) -> Automation {
    Automation { stage: Stage::Triaged, since: now, why: Vec::new() }
}

/// The next step; `None` while nothing changes.
pub fn step(automation: &Automation, facts: &Facts, now: Instant) -> Option<Step> {
    let (stage, effects, why) = next(automation, facts, now)?;
    if stage == automation.stage && why == automation.why {
        return None;
    }
    let is_same = std::mem::discriminant(&stage) == std::mem::discriminant(&automation.stage);
    let since = if is_same { automation.since } else { now };
    let due = match &stage {
        Stage::Ended { .. } => None,
        // Its time runs from when the agent takes it.
        Stage::Triaged | Stage::Capturing { .. } => Some(now),
        Stage::Waiting { deadline, .. } => Some(*deadline),
        _ => Some(Instant(now.0 + IDLE_NS)),
    };
    Some(Step { due, effects, next: Automation { stage, since, why } })
}

/// A capture that is through, or lost.
struct Taken {
    at: Instant,
    capture: OrderId,
    preserved: Preserved,
}

type Next = (Stage, Vec<Effect>, Vec<String>);

fn next(automation: &Automation, facts: &Facts, now: Instant) -> Option<Next> {
    let over = |order| over(facts).map(|(effects, why)| (Stage::Ended { order }, effects, vec![why]));
    match &automation.stage {
        Stage::Triaged => over(None).or_else(|| {
            let capture = facts.fresh;
            Some((Stage::Capturing { capture }, vec![Effect::Capture(capture)], Vec::new()))
        }),
        Stage::Capturing { capture } => {
            let state = facts.capture?;
            let (order, taken) = (*capture, facts.capture_taken);
            let known = Capture { budget_secs: facts.budget_secs, order, state, taken };
            let preserved = facts.volatile.clone().or_else(|| Preserved::lost(&known, now))?;
            let taken = Taken { at: automation.since, capture: order, preserved };
            over(None).or_else(|| Some(decided(taken, false, facts, now)))
        }
        Stage::Captured { asked, at, capture, preserved } => {
            // What came after its time is evidence all the same.
            let late = facts.volatile.clone().filter(|_| preserved.is_loss());
            let preserved = late.unwrap_or_else(|| preserved.clone());
            let taken = Taken { at: *at, capture: *capture, preserved };
            over(None).or_else(|| Some(decided(taken, *asked, facts, now)))
        }
        Stage::Waiting { at, capture, order, preserved, .. } => {
            waited(Taken { at: *at, capture: *capture, preserved: preserved.clone() }, *order, facts, now)
        }
        Stage::Ordered { order } | Stage::Applied { order } | Stage::Holding { order } => {
            followed(*order, facts.order.as_ref()?)
        }
        Stage::Ended { .. } => None,
    }
}

/// Why nothing further is to be begun.
fn over(facts: &Facts) -> Option<(Vec<Effect>, String)> {
    if !facts.is_on {
        return Some((Vec::new(), "the site has switched automation off".to_owned()));
    }
    facts.is_over.map(|why| (Vec::new(), why.to_owned()))
}

/// The evidence is safe: isolate, ask, or leave it to people.
fn decided(taken: Taken, asked: bool, facts: &Facts, now: Instant) -> Next {
    let Taken { at, capture, preserved } = taken;
    let mut why: Vec<String> = Vec::new();
    if preserved.is_loss() {
        why.push("the volatile tier is lost".to_owned());
    }
    let stay = |mut why: Vec<String>, because: String| {
        why.push(because);
        (Stage::Captured { asked, at, capture, preserved: preserved.clone() }, Vec::new(), why)
    };
    if let Some(other) = facts.contained_by {
        return stay(why, format!("the host is isolated by order {other} already"));
    }
    let Some(persons) = facts.proposed else {
        return stay(why, "isolation is nothing that triage proposes for an incident of this type".to_owned());
    };
    if facts.is_listed {
        return stay(why, "the host is on the never-isolate list: it stays connected".to_owned());
    }
    if facts.is_protected {
        return stay(why, "the host is protected: two persons must order its isolation".to_owned());
    }
    let (missing, order) = (missing(facts, persons), facts.fresh);
    let stale = Instant(at.0 + EVIDENCE_NS_MAX);
    if now >= stale && (missing.is_empty() || !asked) {
        let why = vec!["the evidence was taken too long ago: it is taken again".to_owned()];
        return (Stage::Capturing { capture: order }, vec![Effect::Capture(order)], why);
    }
    // Hosts take no order that rests on old evidence.
    let deadline = Instant(now.0 + i128::from(facts.approval_secs) * 1_000_000_000).min(stale);
    if missing.is_empty() {
        why.extend(facts.signals.clone());
        let isolate = Effect::Isolate { approvers: 0, deadline, order, preserved };
        return (Stage::Ordered { order }, vec![isolate], why);
    }
    why.extend(missing);
    if asked {
        return stay(why, "nobody approved it in time".to_owned());
    }
    let isolate = Effect::Isolate { approvers: persons.max(1), deadline, order, preserved: preserved.clone() };
    (Stage::Waiting { at, capture, deadline, order, preserved }, vec![isolate], why)
}

/// What is missing for an isolation that nobody approves.
fn missing(facts: &Facts, persons: u32) -> Vec<String> {
    let mut missing = Vec::new();
    if facts.signals.is_none() {
        missing.push("one signal so far: two independent ones about this host are what confirmed means".to_owned());
    }
    if !facts.is_exact {
        missing.push("the host is not named by its agent's id or its FQDN".to_owned());
    }
    if persons > 1 {
        missing.push(format!("{persons} persons must approve it at an incident of this type"));
    }
    missing
}

/// A person was asked.
fn waited(taken: Taken, order: OrderId, facts: &Facts, now: Instant) -> Option<Next> {
    let state = facts.order.as_ref()?.state?;
    if let (OrderState::AwaitingApproval | OrderState::Expired, Some((_, why))) = (state, over(facts)) {
        let cancels = (state == OrderState::AwaitingApproval).then_some(Effect::Cancel(order));
        return Some((Stage::Ended { order: Some(order) }, cancels.into_iter().collect(), vec![why]));
    }
    match state {
        OrderState::AwaitingApproval => {
            let decided = decided(taken, true, facts, now);
            // What a person need not approve any more goes out by itself, and what must not be goes no further.
            let is_changed = match &decided.0 {
                Stage::Ordered { .. } | Stage::Capturing { .. } => true,
                Stage::Captured { .. } => missing_only(facts),
                _ => false,
            };
            is_changed.then(|| {
                let (stage, mut effects, why) = decided;
                effects.insert(0, Effect::Cancel(order));
                (stage, effects, why)
            })
        }
        OrderState::Expired => Some(decided(taken, true, facts, now)),
        OrderState::Cancelled => {
            let why = "a person took the isolation back".to_owned();
            Some((Stage::Ended { order: Some(order) }, Vec::new(), vec![why]))
        }
        _ => Some((Stage::Ordered { order }, Vec::new(), vec!["a person approved it".to_owned()])),
    }
}

/// True when it is no approval that is missing, but something that forbids it.
const fn missing_only(facts: &Facts) -> bool {
    facts.contained_by.is_some() || facts.proposed.is_none() || facts.is_listed || facts.is_protected
}

/// The isolation is ordered: what becomes of it.
fn followed(order: OrderId, known: &Contained) -> Option<Next> {
    let ended = |why: String| Some((Stage::Ended { order: Some(order) }, Vec::new(), vec![why]));
    match known.state? {
        OrderState::Holding => {
            let both = (known.host_holds, known.server_holds);
            let why = match both {
                (Some(true), Some(true)) => {
                    let why = vec!["it holds, seen from the host and from the server".to_owned()];
                    return Some((Stage::Holding { order }, Vec::new(), why));
                }
                (Some(false), _) => "the host says that it does not hold",
                (_, Some(false)) => "the server sees that it does not hold",
                (None, _) => "the host has not looked yet whether it holds",
                (_, None) => "the server has not looked yet whether it holds",
            };
            Some((Stage::Applied { order }, Vec::new(), vec![why.to_owned()]))
        }
        OrderState::Completed => ended(
            known.released.map_or_else(|| "it is over".to_owned(), |cause| format!("taken back: {}", cause.sentence())),
        ),
        state if state.is_final() => ended(format!("the isolation is {}: people must act", state.name())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant(1_000 * 1_000_000_000);
    const SECOND: i128 = 1_000_000_000;

    fn id(n: u8) -> OrderId {
        OrderId::new(u64::from(n), [n; 10])
    }

    fn loss() -> Preserved {
        let state = OrderState::Failed;
        Preserved::lost(&Capture { budget_secs: 3, order: id(1), state, taken: None }, NOW).unwrap()
    }

    /// Everything that an isolation without a person asks for.
    fn ready() -> Facts {
        Facts {
            approval_secs: 3600,
            budget_secs: 10,
            capture: Some(OrderState::Running),
            capture_taken: Some(NOW),
            contained_by: None,
            fresh: id(9),
            is_exact: true,
            is_listed: false,
            is_on: true,
            is_over: None,
            is_protected: false,
            order: None,
            proposed: Some(1),
            signals: Some("falco and guardduty agree".to_owned()),
            volatile: Some(loss()),
        }
    }

    fn at(stage: Stage) -> Automation {
        Automation { stage, since: NOW, why: Vec::new() }
    }

    fn capturing() -> Automation {
        at(Stage::Capturing { capture: id(1) })
    }

    fn waiting() -> Automation {
        let deadline = Instant(NOW.0 + 60 * SECOND);
        at(Stage::Waiting { at: NOW, capture: id(1), deadline, order: id(2), preserved: loss() })
    }

    fn order(state: OrderState) -> Contained {
        Contained { state: Some(state), ..Contained::default() }
    }

    /// The stage's name after the step, and its effects; the same stage and none where nothing happens.
    fn goes(automation: &Automation, facts: &Facts) -> (&'static str, Vec<Effect>) {
        step(automation, facts, NOW)
            .map_or((automation.stage.name(), Vec::new()), |step| (step.next.stage.name(), step.effects))
    }

    #[test]
    fn evidence_goes_before_isolation_whatever_is_known() {
        assert_eq!(goes(&begun(NOW), &ready()), ("capturing", vec![Effect::Capture(id(9))]));
        let facts = Facts { volatile: None, ..ready() };
        assert_eq!(step(&capturing(), &facts, NOW), None, "it waits");
        assert_eq!(step(&capturing(), &facts, Instant(NOW.0 + 10 * SECOND - 1)), None);
        let spent = step(&capturing(), &facts, Instant(NOW.0 + 10 * SECOND)).unwrap();
        let [Effect::Isolate { approvers: 0, preserved, .. }] = &spent.effects[..] else { panic!("{spent:?}") };
        assert!(preserved.is_loss() && spent.next.why[0].contains("lost"));
        let (stage, effects) = goes(&capturing(), &ready());
        assert!(stage == "ordered" && matches!(effects[..], [Effect::Isolate { approvers: 0, .. }]));
        // No state but these makes an isolation, and each of them holds what was preserved.
        for stage in [Stage::Triaged, Stage::Ordered { order: id(2) }, Stage::Ended { order: None }] {
            let facts = Facts { order: Some(order(OrderState::Holding)), ..ready() };
            assert!(!goes(&at(stage), &facts).1.iter().any(|effect| matches!(effect, Effect::Isolate { .. })));
        }
    }

    #[test]
    fn every_condition_that_is_missing_keeps_the_host_connected() {
        let asks = |facts: &Facts, persons: u32| {
            let (stage, effects) = goes(&capturing(), facts);
            let [Effect::Isolate { approvers, .. }] = effects[..] else { panic!("{stage} {effects:?}") };
            assert_eq!((stage, approvers), ("waiting", persons), "{facts:?}");
        };
        asks(&Facts { signals: None, ..ready() }, 1);
        asks(&Facts { is_exact: false, ..ready() }, 1);
        asks(&Facts { proposed: Some(2), ..ready() }, 2);
        let stays = |facts: &Facts| assert_eq!(goes(&capturing(), facts), ("captured", Vec::new()), "{facts:?}");
        stays(&Facts { is_listed: true, ..ready() });
        stays(&Facts { is_protected: true, ..ready() });
        stays(&Facts { proposed: None, ..ready() });
        stays(&Facts { contained_by: Some(id(7)), ..ready() });
        // Two of them: what forbids it outranks what a person could approve.
        stays(&Facts { is_listed: true, signals: None, ..ready() });
        for facts in [Facts { is_on: false, ..ready() }, Facts { is_over: Some("closed"), ..ready() }] {
            for from in [
                begun(NOW),
                capturing(),
                at(Stage::Captured { asked: false, at: NOW, capture: id(1), preserved: loss() }),
            ] {
                assert_eq!(goes(&from, &facts), ("ended", Vec::new()));
            }
        }
    }

    #[test]
    fn what_changes_later_is_acted_upon() {
        let captured = |asked| at(Stage::Captured { asked, at: NOW, capture: id(1), preserved: loss() });
        let later = Instant(NOW.0 + EVIDENCE_NS_MAX);
        let again = step(&captured(true), &ready(), later).unwrap();
        assert_eq!(again.effects, [Effect::Capture(id(9))], "evidence that is too old is taken again");
        assert_eq!((again.next.stage.name(), again.next.since), ("capturing", later));
        assert_eq!(goes(&captured(true), &Facts { signals: None, ..ready() }), ("captured", Vec::new()));
        assert_eq!(goes(&captured(true), &ready()).0, "ordered", "the second signal comes after all");
        assert_eq!(goes(&captured(false), &Facts { signals: None, ..ready() }).0, "waiting");
        let after = step(&captured(true), &Facts { signals: None, ..ready() }, NOW).unwrap().next;
        assert_eq!(step(&after, &Facts { signals: None, ..ready() }, NOW), None, "said once");
    }

    #[test]
    fn a_person_is_asked_until_the_deadline() {
        let with = |state, facts: Facts| Facts { order: Some(order(state)), ..facts };
        let one = || Facts { signals: None, ..ready() };
        let awaits = OrderState::AwaitingApproval;
        assert_eq!(goes(&waiting(), &with(awaits, one())), ("waiting", Vec::new()));
        for approved in [OrderState::Queued, OrderState::Delivered, OrderState::Accepted, OrderState::Holding] {
            assert_eq!(goes(&waiting(), &with(approved, one())), ("ordered", Vec::new()));
        }
        let (stage, effects) = goes(&waiting(), &with(awaits, ready()));
        assert_eq!((stage, &effects[0]), ("ordered", &Effect::Cancel(id(2))));
        assert!(matches!(effects[1..], [Effect::Isolate { approvers: 0, .. }]), "nobody need approve it any more");
        let forbidden = Facts { is_listed: true, ..one() };
        assert_eq!(goes(&waiting(), &with(awaits, forbidden)), ("captured", vec![Effect::Cancel(id(2))]));
        let over = Facts { is_over: Some("closed"), ..one() };
        assert_eq!(goes(&waiting(), &with(awaits, over)), ("ended", vec![Effect::Cancel(id(2))]));
        assert_eq!(goes(&waiting(), &with(OrderState::Expired, one())), ("captured", Vec::new()));
        assert_eq!(goes(&waiting(), &with(OrderState::Expired, ready())).0, "ordered");
        assert_eq!(goes(&waiting(), &with(OrderState::Cancelled, ready())), ("ended", Vec::new()), "a person said no");
    }

    #[test]
    fn it_holds_when_both_sides_say_so_and_ends_with_its_order() {
        let follows = |from: &Automation, known: Contained| goes(from, &Facts { order: Some(known), ..ready() }).0;
        let looked = |host, server| Contained {
            host_holds: host,
            released: None,
            server_holds: server,
            state: Some(OrderState::Holding),
        };
        let from = [Stage::Ordered { order: id(2) }, Stage::Applied { order: id(2) }, Stage::Holding { order: id(2) }];
        for from in from.map(at) {
            assert_eq!(follows(&from, looked(Some(true), Some(true))), "holding");
            for (host, server) in [(None, None), (Some(true), None), (None, Some(true)), (Some(false), Some(true))] {
                assert_eq!(follows(&from, looked(host, server)), "applied");
            }
            assert_eq!(follows(&from, looked(Some(true), Some(false))), "applied");
            for end in [OrderState::Refused, OrderState::Failed, OrderState::Expired, OrderState::Cancelled] {
                assert_eq!(follows(&from, Contained { state: Some(end), ..Contained::default() }), "ended");
            }
            let state = Some(OrderState::Completed);
            let released = Contained { released: Some(ReleaseCause::LeaseEnded), state, ..Contained::default() };
            assert_eq!(follows(&from, released), "ended");
        }
        let same = [OrderState::AwaitingApproval, OrderState::Queued, OrderState::Delivered, OrderState::Accepted];
        for state in same {
            let known = Contained { state: Some(state), ..Contained::default() };
            assert_eq!(follows(&at(Stage::Ordered { order: id(2) }), known), "ordered");
        }
    }

    /// From each state, whatever the facts: a step leads to a state that reads as it was written, says why where a person
    /// wonders, and the same facts lead no further than a few steps.
    #[test]
    fn all_states_and_facts_come_to_rest() {
        let flags = |bits: u32, n: u32| bits >> n & 1 == 1;
        let states = [
            None,
            Some(OrderState::AwaitingApproval),
            Some(OrderState::Queued),
            Some(OrderState::Running),
            Some(OrderState::Holding),
            Some(OrderState::Completed),
            Some(OrderState::Refused),
            Some(OrderState::Expired),
            Some(OrderState::Cancelled),
        ];
        let stages = || {
            [
                begun(NOW),
                capturing(),
                at(Stage::Captured { asked: false, at: NOW, capture: id(1), preserved: loss() }),
                at(Stage::Captured { asked: true, at: NOW, capture: id(1), preserved: loss() }),
                waiting(),
                at(Stage::Ordered { order: id(2) }),
                at(Stage::Applied { order: id(2) }),
                at(Stage::Holding { order: id(2) }),
                at(Stage::Ended { order: None }),
            ]
        };
        let mut count = 0;
        for bits in 0..512 {
            for state in states {
                let facts = Facts {
                    capture: Some(if flags(bits, 0) { OrderState::Failed } else { OrderState::Running }),
                    contained_by: flags(bits, 1).then(|| id(7)),
                    is_exact: flags(bits, 2),
                    is_listed: flags(bits, 3),
                    is_on: flags(bits, 4),
                    is_over: flags(bits, 5).then_some("closed"),
                    order: state.map(order),
                    proposed: flags(bits, 6).then_some(1),
                    signals: flags(bits, 7).then(|| "two agree".to_owned()),
                    volatile: flags(bits, 8).then(loss),
                    ..ready()
                };
                for mut automation in stages() {
                    for turn in 0.. {
                        let Some(step) = step(&automation, &facts, NOW) else { break };
                        count += 1;
                        assert!(turn < 6, "{automation:?} {facts:?}");
                        let text = serde_json::to_string(&step.next).unwrap();
                        assert_eq!(serde_json::from_str::<Automation>(&text).unwrap(), step.next);
                        let isolates = step.effects.iter().any(|one| matches!(one, Effect::Isolate { .. }));
                        let forbidden = facts.is_listed || facts.contained_by.is_some() || facts.proposed.is_none();
                        let is_over = !facts.is_on || facts.is_over.is_some();
                        assert!(!(isolates && (forbidden || is_over)), "{automation:?} {facts:?}");
                        let is_end = matches!(step.next.stage, Stage::Ended { .. });
                        assert_eq!(step.due.is_none(), is_end);
                        assert!(!is_end || !step.next.why.is_empty());
                        automation = step.next;
                    }
                }
            }
        }
        assert!(count > 1000, "{count}");
    }
}
