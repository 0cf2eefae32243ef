//! What a step of automation does, as changes of one commit: orders under the automation key, and what takes one back.

use bundle::checkpoint::to_sorted_json;
use bundle::sign::SigningKey;
use serde_json::json;
use wire::containment::{AUTOMATION, Action, CONTAINMENT_TYPE, ContainmentOrder, Directive};
use wire::order::{ORDER_TYPE, Order, OrderState};
use wire::profile::{Values, shipped};
use wire::signed::namespace;
use wire::{Instant, OrderId, Sha256};

use super::super::{Actor, App, Problem, ProblemKind, details, random};
use super::facts::Subject;
use super::machine::Effect;
use super::preserved::Preserved;
use crate::store::{AutomationRecord, Change, NewLeaf, OrderRecord};

/// The agent may take a capture for so long: a host that is away is captured when it is back.
const CAPTURE_VALID_NS: i128 = 3600 * 1_000_000_000;

impl App {
    /// The changes of an effect, and their leaves.
    pub(super) async fn effect(
        &self,
        record: &AutomationRecord,
        subject: &Subject,
        effect: Effect,
    ) -> Result<(Change, NewLeaf), Problem> {
        let key = self.automation.as_ref().ok_or_else(|| internal("there is no automation key"))?;
        match effect {
            Effect::Cancel(order) => {
                let order = self.order_record(order).await?;
                self.cancelled(&Actor::Server, &order, "automation has decided otherwise")
            }
            Effect::Capture(order) => self.capture(record, subject, order, key),
            Effect::Isolate { approvers, deadline, order, preserved } => {
                let lease_secs = self.site.automation().lease_minutes * 60;
                let reason = subject.facts.signals.clone();
                let order = isolation(record, &preserved, (order, self.now(), deadline), lease_secs, reason)?;
                let message = to_sorted_json(&order);
                let envelope = key.envelope(AUTOMATION, namespace::CONTAIN, message.as_bytes()).map_err(internal)?;
                let by = (approvers, Vec::new());
                let (order, leaf) =
                    self.containment_record(&Actor::Server, (order, envelope), message.as_bytes(), &key.public(), by);
                Ok((Change::AddOrder(Box::new(order)), leaf))
            }
        }
    }

    fn capture(
        &self,
        record: &AutomationRecord,
        subject: &Subject,
        order: OrderId,
        key: &SigningKey,
    ) -> Result<(Change, NewLeaf), Problem> {
        let (now, wanted) = (self.now(), &subject.incident.assessment.evidence_plan.profile);
        // A site's plan may name a profile of its own hosts: what is shipped takes the volatile tier as well.
        let profile = shipped::find(wanted).or_else(|| shipped::find("triage"));
        let profile = profile.ok_or_else(|| internal("no profile is shipped"))?.map_err(internal)?;
        let order = Order {
            agent: record.agent.clone(),
            approved_sensitive: Vec::new(),
            expires: Instant(now.0 + CAPTURE_VALID_NS),
            incident: record.incident.clone(),
            issued: now,
            legal_basis: None,
            nonce: nonce()?,
            order,
            profile,
            profile_version: env!("CARGO_PKG_VERSION").to_owned(),
            purpose: Some("evidence of a SEV1 incident, by automation".to_owned()),
            supersedes: None,
            kind: ORDER_TYPE.to_owned(),
            v: 1,
            values: Values::default(),
        };
        let message = to_sorted_json(&order);
        let envelope = key.envelope(AUTOMATION, namespace::COLLECT, message.as_bytes()).map_err(internal)?;
        let sha256 = Sha256::of(message.as_bytes());
        let leaf = NewLeaf {
            actor: Actor::Server.to_string(),
            details: details([
                ("agent", json!(order.agent)),
                ("expires", json!(order.expires)),
                ("profile", json!(order.profile.name)),
                ("sha256", json!(sha256)),
                ("signed_by", json!(AUTOMATION)),
            ]),
            event: "order_issued",
            incident: Some(order.incident.clone()),
            subject: format!("order:{}", order.order),
            time: now,
        };
        let order = OrderRecord {
            agent: order.agent,
            approvals: Vec::new(),
            approvers: 0,
            bundle: None,
            directive: None,
            envelope,
            events: Vec::new(),
            expires: order.expires,
            incident: order.incident,
            issued: now,
            nonce: order.nonce,
            order: order.order,
            profile: order.profile.name,
            sha256,
            state: OrderState::Queued,
            supersedes: None,
        };
        Ok((Change::AddOrder(Box::new(order)), leaf))
    }
}

/// The one place where automation's isolation is made: it takes what only preserved evidence, or its named loss, can make.
fn isolation(
    record: &AutomationRecord,
    preserved: &Preserved,
    (order, issued, expires): (OrderId, Instant, Instant),
    lease_secs: u64,
    reason: Option<String>,
) -> Result<ContainmentOrder, Problem> {
    let action = Action::IsolateNetwork { allow: Vec::new(), resolvers: Vec::new() };
    Ok(ContainmentOrder {
        agent: record.agent.clone(),
        directive: Directive::Apply { action, lease_secs },
        evidence: Some(preserved.basis().clone()),
        expires,
        incident: record.incident.clone(),
        issued,
        nonce: nonce()?,
        order,
        reason,
        kind: CONTAINMENT_TYPE.to_owned(),
        v: 1,
    })
}

fn nonce() -> Result<String, Problem> {
    Ok(format!("{:032x}", u128::from_be_bytes(random()?)))
}

fn internal(error: impl std::fmt::Display) -> Problem {
    Problem::new(ProblemKind::Internal, "automation could not give an order").cause(error)
}
