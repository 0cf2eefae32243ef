//! A containment order comes in: it is checked for sense, kept as it was signed, and waits until enough people approve it.

use bundle::sign::{fingerprint, open_by_anybody};
use serde_json::json;
use ssh_key::PublicKey;
use wire::api::OrderView;
use wire::containment::{
    Action, CONTAINMENT_TYPE, ContainmentEvent, ContainmentOrder, Directive, ENDPOINTS_MAX, EvidenceBasis,
    LEASE_SECS_MAX, VALID_SECS_MAX, is_automation,
};
use wire::order::{OrderEvent, OrderState};
use wire::signed::{Signed, namespace};
use wire::{AgentId, OrderId, Sha256};

use super::super::dispatch::{TEXT_BYTES_MAX, check_nonce, check_principal, check_times, input};
use super::super::{Actor, App, Problem, ProblemKind, details};
use super::approvers::{self, Place, wanted};
use crate::store::{NewLeaf, OrderRecord};

/// Names of accounts, units and keys; paths are longer.
const NAME_BYTES_MAX: usize = 512;
/// Fingerprints of one order.
const KEYS_MAX: usize = 64;
/// Orders that are looked through for the same at other hosts.
const OPEN_MAX: u32 = 1000;
/// What a protected host says of itself in its previews.
pub const PROTECTED: &str = "protected";

impl App {
    /// Takes a containment order that somebody signed. It is handed over when enough people approve it.
    pub(in crate::app) async fn dispatch_containment(
        &self,
        by: &Actor,
        envelope: Signed,
        message: &[u8],
        key: &PublicKey,
    ) -> Result<OrderView, Problem> {
        let order: ContainmentOrder = serde_json::from_slice(message).map_err(|error| {
            Problem::new(ProblemKind::Input, "what was signed is no containment order that this server understands")
                .hint(error.to_string())
        })?;
        check_form(&order)?;
        check_principal(&envelope.principal)?;
        check_times((order.issued, order.expires), VALID_SECS_MAX, self.now())?;
        self.check_incident_and_agent(&order.incident, &order.agent).await?;
        self.check_contains(&order).await?;
        self.check_evidence(&order)?;
        let place = self.place_of(&order).await?;
        let (approvers, because) = wanted(&order.directive, place);
        let (record, leaf) = self.containment_record(by, (order, envelope), message, key, (approvers, because));
        self.keep_order(record, None, vec![leaf]).await
    }

    /// The record of an order, and the leaf that says that it was given.
    pub(super) fn containment_record(
        &self,
        by: &Actor,
        (order, envelope): (ContainmentOrder, Signed),
        message: &[u8],
        key: &PublicKey,
        (approvers, because): (u32, Vec<String>),
    ) -> (OrderRecord, NewLeaf) {
        let sha256 = Sha256::of(message);
        let signers = u32::from(!is_automation(&envelope.principal));
        let state = if approvers > signers { OrderState::AwaitingApproval } else { OrderState::Queued };
        let leaf = NewLeaf {
            actor: by.to_string(),
            details: details([
                ("agent", json!(order.agent)),
                ("approvers", json!(approvers)),
                ("because", json!(because)),
                ("directive", json!(order.directive)),
                ("evidence", json!(order.evidence.as_ref().map(named))),
                ("expires", json!(order.expires)),
                ("key", json!(fingerprint(key))),
                ("reason", json!(order.reason)),
                ("sha256", json!(sha256)),
                ("signed_by", json!(envelope.principal)),
            ]),
            event: "containment_ordered",
            incident: Some(order.incident.clone()),
            subject: format!("order:{}", order.order),
            time: self.now(),
        };
        let profile = order.directive.action().map_or(order.directive.name(), Action::name).to_owned();
        let record = OrderRecord {
            agent: order.agent,
            approvals: Vec::new(),
            approvers,
            bundle: None,
            directive: Some(order.directive),
            envelope,
            events: Vec::new(),
            expires: order.expires,
            incident: order.incident,
            issued: order.issued,
            nonce: order.nonce,
            order: order.order,
            profile,
            sha256,
            state,
            supersedes: None,
        };
        (record, leaf)
    }

    /// What is renewed or released was applied at the same agent, and is not over.
    async fn check_contains(&self, order: &ContainmentOrder) -> Result<(), Problem> {
        let (Directive::Renew { contains, .. } | Directive::Release { contains }) = &order.directive else {
            return Ok(());
        };
        let Some(applied) = self.store.order(*contains).await? else {
            return Err(input(
                &format!("the order {contains} that it names is not here"),
                "name the one that applied it",
            ));
        };
        if applied.agent != order.agent || !matches!(applied.directive, Some(Directive::Apply { .. })) {
            return Err(input(
                &format!("the order {contains} applied nothing at {}", order.agent),
                "name the order that applied what is to be renewed or released",
            ));
        }
        let state = applied.state.name().replace('_', " ");
        let conflict = |hint: &str| {
            let message = format!("the order {contains} is {state}: nothing of it is in force");
            Err(Problem::new(ProblemKind::Conflict, message).hint(hint))
        };
        match (applied.state, &order.directive) {
            (OrderState::AwaitingApproval | OrderState::Queued, _) => {
                conflict(&format!("no agent has it yet: holdfast cancel {contains} takes it back"))
            }
            // What is on its way may come into force at any moment, and what could not be taken back may be now.
            (OrderState::Holding, _)
            | (
                OrderState::Delivered | OrderState::Accepted | OrderState::Running | OrderState::Failed,
                Directive::Release { .. },
            ) => Ok(()),
            _ => conflict("holdfast contain applies it anew"),
        }
    }

    /// A receipt that evidence rests on is this server's.
    fn check_evidence(&self, order: &ContainmentOrder) -> Result<(), Problem> {
        let Some(EvidenceBasis::Receipted { receipt, .. }) = &order.evidence else { return Ok(()) };
        let is_ours = open_by_anybody(receipt, namespace::RECEIPT)
            .is_ok_and(|(_, key)| key.key_data() == self.signer.public().key_data());
        if is_ours {
            return Ok(());
        }
        Err(input(
            "the receipt that the order names is none of this server",
            "take it from GET /api/v1/evidence/{bundle}/receipts",
        ))
    }

    /// What decides how many must approve.
    pub(super) async fn place_of(&self, order: &ContainmentOrder) -> Result<Place, Problem> {
        let Some(action) = order.directive.action() else {
            return Ok(Place { is_protected: false, others: 0, triage: 1 });
        };
        let (incident, rules) = (self.incident_record(&order.incident).await?, self.site.rules()?);
        let triage = rules.containment.approvers(rules.taxonomy.get(&incident.assessment.incident_type), action.name());
        let others = self.hosts_with(action, &order.agent).await?;
        let is_protected = self.says_protected(&order.incident, &order.agent).await?;
        Ok(Place { is_protected, others, triage })
    }

    async fn hosts_with(&self, action: &Action, but: &AgentId) -> Result<usize, Problem> {
        let open = self.store.containment_orders(OPEN_MAX).await?;
        let same = open.into_iter().filter(|order| {
            let applies = matches!(&order.directive, Some(Directive::Apply { action: other, .. }) if approvers::is_same(action, other));
            applies && order.agent != *but
        });
        let hosts: std::collections::BTreeSet<AgentId> = same.map(|order| order.agent).collect();
        Ok(hosts.len())
    }

    /// True when people say so, or the host did in its last preview of this incident.
    pub(super) async fn says_protected(&self, incident: &wire::IncidentId, agent: &AgentId) -> Result<bool, Problem> {
        if self.is_protected(agent).await?.is_some() {
            return Ok(true);
        }
        let orders = self.store.orders_of(incident).await?;
        let last = orders.iter().filter(|order| order.agent == *agent).find_map(OrderRecord::preview);
        Ok(last.is_some_and(|preview| preview.protected_roles.iter().any(|role| role == PROTECTED)))
    }
}

impl OrderRecord {
    /// Persons who approve it so far.
    pub fn persons(&self) -> u32 {
        u32::from(!is_automation(&self.envelope.principal)) + u32::try_from(self.approvals.len()).unwrap_or(u32::MAX)
    }

    /// Whom it touches, as the agent has told.
    pub fn preview(&self) -> Option<&wire::containment::Preview> {
        self.events.iter().rev().find_map(|event| match &event.event {
            OrderEvent::Containment { told: ContainmentEvent::Planned { preview, .. }, .. } => Some(preview),
            _ => None,
        })
    }
}

/// The basis without the receipt's bytes: custody has the receipt already.
fn named(basis: &EvidenceBasis) -> serde_json::Value {
    match basis {
        EvidenceBasis::Receipted { bundle, .. } => json!({"evidence": "receipted", "bundle": bundle}),
        other => json!(other),
    }
}

fn check_form(order: &ContainmentOrder) -> Result<(), Problem> {
    if order.kind != CONTAINMENT_TYPE || order.v != 1 {
        return Err(input(
            "what was signed is no containment order of version 1",
            "sign it with this version's holdfast",
        ));
    }
    check_nonce(&order.nonce)?;
    if matches!(order.directive, Directive::DoesNotHold { .. }) {
        return Err(input("only the server says how a containment looks from there", "holdfast release takes it back"));
    }
    if order.reason.as_ref().is_some_and(|reason| reason.len() > TEXT_BYTES_MAX) {
        return Err(input("the order's reason is too long", "shorten it"));
    }
    if let Directive::Apply { lease_secs, .. } | Directive::Renew { lease_secs, .. } = &order.directive
        && !(1..=LEASE_SECS_MAX).contains(lease_secs)
    {
        let message = format!("a lease of {lease_secs} seconds is none");
        return Err(input(&message, &format!("from 1 to {LEASE_SECS_MAX} seconds are wanted; a responder renews it")));
    }
    order.directive.action().map_or(Ok(()), check_action)
}

pub(super) fn check_action(action: &Action) -> Result<(), Problem> {
    let too_long = |name: &String| name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control);
    let is_wrong = match action {
        Action::IsolateNetwork { allow, resolvers } => allow.len() + resolvers.len() > ENDPOINTS_MAX,
        Action::BlockEgress { to } => to.is_empty() || to.len() > ENDPOINTS_MAX,
        Action::BlockMetadataService {} => false,
        Action::FreezeProcess { process } | Action::KillProcess { process } => process.pid < 2,
        Action::LockAccount { account } | Action::EndSessions { account } => too_long(account),
        Action::RevokeSshKeys { account, keys } => {
            too_long(account) || keys.len() > KEYS_MAX || keys.iter().any(too_long)
        }
        Action::StopUnit { unit } => too_long(unit),
        Action::QuarantineFile { path, .. } => {
            !path.starts_with('/') || path.len() > TEXT_BYTES_MAX || path.contains('\0')
        }
    };
    if is_wrong {
        return Err(input(
            &format!("the arguments of {} make no sense, or are too many", action.name()),
            "holdfast contain --help says what each action takes",
        ));
    }
    Ok(())
}

/// The order that a directive is about, when it is about another one.
pub const fn contained(directive: &Directive) -> Option<OrderId> {
    match directive {
        Directive::Renew { contains, .. } | Directive::Release { contains } | Directive::DoesNotHold { contains } => {
            Some(*contains)
        }
        Directive::Apply { .. } | Directive::Rehearse { .. } => None,
    }
}
