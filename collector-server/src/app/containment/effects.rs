//! What a step of automation does, as changes of one commit: orders under the automation key, and what takes one back.

use bundle::checkpoint::to_sorted_json;
use bundle::sign::SigningKey;
use wire::containment::{AUTOMATION, Action, CONTAINMENT_TYPE, ContainmentOrder, Directive};
use wire::order::{ORDER_TYPE, Order};
use wire::profile::{Values, shipped};
use wire::signed::namespace;
use wire::{Instant, OrderId};

use super::super::{Actor, App, Problem, ProblemKind, random};
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
        match effect {
            Effect::Cancel(order) => {
                let order = self.order_record(order).await?;
                self.cancelled(&Actor::Server, &order, "automation has decided otherwise")
            }
            Effect::Capture(order) => self.capture(record, subject, order),
            Effect::Isolate { approvers, deadline, order, preserved } => {
                let lease_secs = self.site.automation().lease_minutes * 60;
                let reason = subject.facts.signals.clone();
                let order = isolation(record, &preserved, (order, self.now(), deadline), lease_secs, reason)?;
                let (order, leaf) = self.automatic_containment(order, approvers)?;
                Ok((Change::AddOrder(Box::new(order)), leaf))
            }
        }
    }

    /// The record of a containment order under the automation key, which so many persons must approve, and its leaf.
    pub(super) fn automatic_containment(
        &self,
        order: ContainmentOrder,
        approvers: u32,
    ) -> Result<(OrderRecord, NewLeaf), Problem> {
        let (key, message) = (self.automation_key()?, to_sorted_json(&order));
        let envelope = key.envelope(AUTOMATION, namespace::CONTAIN, message.as_bytes()).map_err(internal)?;
        let by = (approvers, Vec::new());
        Ok(self.containment_record(&Actor::Server, (order, envelope), message.as_bytes(), &key.public(), by))
    }

    fn automation_key(&self) -> Result<&SigningKey, Problem> {
        self.automation.as_ref().ok_or_else(|| internal("there is no automation key"))
    }

    fn capture(
        &self,
        record: &AutomationRecord,
        subject: &Subject,
        order: OrderId,
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
        let (key, message) = (self.automation_key()?, to_sorted_json(&order));
        let envelope = key.envelope(AUTOMATION, namespace::COLLECT, message.as_bytes()).map_err(internal)?;
        let (order, leaf) =
            self.collection_record(&Actor::Server, (order, envelope), message.as_bytes(), &key.public());
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

/// 16 random bytes in hex.
pub(super) fn nonce() -> Result<String, Problem> {
    Ok(format!("{:032x}", u128::from_be_bytes(random()?)))
}

fn internal(error: impl std::fmt::Display) -> Problem {
    Problem::new(ProblemKind::Internal, "automation could not give an order").cause(error)
}
