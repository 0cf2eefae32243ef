//! The people's half of orders: a signed order is checked for sense, kept as it was signed, and its agent woken.
//!
//! The server need not know whose key signed: the agent decides. What is stored and delivered are the exact bytes that
//! were signed; the server reads them, and never writes them again.

use bundle::sign::{NotSigned, fingerprint, open_by_anybody};
use serde_json::json;
use ssh_key::PublicKey;
use wire::api::{ApprovalView, OrderView};
use wire::containment::is_automation;
use wire::order::{ORDER_TYPE, Order, OrderState, PROFILE_BYTES_MAX, VALID_SECS_MAX, VALUES_BYTES_MAX};
use wire::signed::{Signed, namespace};
use wire::{AgentId, IncidentId, Instant, OrderId, Sha256};

use super::{Actor, App, Problem, ProblemKind, details};
use crate::store::{ApprovalRecord, Change, HuntRecord, NewLeaf, OrderRecord, StoreError};

/// How far ahead of the server a responder's clock may be.
const SKEW_NS_MAX: i128 = 300 * 1_000_000_000;
const PRINCIPAL_BYTES_MAX: usize = 255;
pub(super) const TEXT_BYTES_MAX: usize = 4 << 10;

impl App {
    /// Takes an order and wakes its agent.
    ///
    /// # Errors
    /// [`ProblemKind::Input`] for what is no order or makes no sense, [`ProblemKind::NotFound`] for its agent or incident,
    /// [`ProblemKind::Conflict`] for one that came before.
    pub async fn dispatch(&self, by: &Actor, envelope: Signed) -> Result<OrderView, Problem> {
        if let Ok((message, key)) = open_by_anybody(&envelope, namespace::CONTAIN) {
            return self.dispatch_containment(by, envelope, &message, &key).await;
        }
        self.dispatch_in(by, envelope, None).await
    }

    /// The same, of a hunt: it waits for its turn.
    pub(super) async fn dispatch_in(
        &self,
        by: &Actor,
        envelope: Signed,
        hunt: Option<(&HuntRecord, u32)>,
    ) -> Result<OrderView, Problem> {
        let (message, key) = open_by_anybody(&envelope, namespace::COLLECT).map_err(not_signed)?;
        let order: Order = serde_json::from_slice(&message).map_err(|error| {
            Problem::new(ProblemKind::Input, "what was signed is no order that this server understands")
                .hint(error.to_string())
        })?;
        let now = self.now();
        check_form(&order, &envelope)?;
        check_times((order.issued, order.expires), VALID_SECS_MAX, now)?;
        self.check_place(&order).await?;
        if let Some((hunt, _)) = hunt
            && (order.incident != hunt.incident || order.profile.name != hunt.profile)
        {
            return Err(input("the order is not of this hunt", "its incident and its profile are those of the hunt"));
        }
        let (record, mut leaf) = self.collection_record(by, (order, envelope), &message, &key);
        if let Some((hunt, wave)) = hunt {
            leaf.details.insert("hunt".to_owned(), json!(hunt.hunt));
            leaf.details.insert("wave".to_owned(), json!(wave));
        }
        let held = hunt.map(|(hunt, wave)| Change::HoldOrder { hunt: hunt.hunt, order: record.order, wave });
        self.keep_order(record, held, vec![leaf]).await
    }

    /// The record of a collection order, and the leaf that says that it was given.
    pub(super) fn collection_record(
        &self,
        by: &Actor,
        (order, envelope): (Order, Signed),
        message: &[u8],
        key: &PublicKey,
    ) -> (OrderRecord, NewLeaf) {
        let sha256 = Sha256::of(message);
        let leaf = NewLeaf {
            actor: by.to_string(),
            details: details([
                ("agent", json!(order.agent)),
                ("expires", json!(order.expires)),
                ("key", json!(fingerprint(key))),
                ("profile", json!(order.profile.name)),
                ("sha256", json!(sha256)),
                ("signed_by", json!(envelope.principal)),
                ("supersedes", json!(order.supersedes)),
            ]),
            event: "order_issued",
            incident: Some(order.incident.clone()),
            subject: format!("order:{}", order.order),
            time: self.now(),
        };
        let record = OrderRecord {
            agent: order.agent,
            approvals: Vec::new(),
            approvers: u32::from(!is_automation(&envelope.principal)),
            bundle: None,
            directive: None,
            envelope,
            events: Vec::new(),
            expires: order.expires,
            incident: order.incident,
            issued: order.issued,
            nonce: order.nonce,
            order: order.order,
            profile: order.profile.name,
            sha256,
            state: OrderState::Queued,
            supersedes: order.supersedes,
        };
        (record, leaf)
    }

    /// Keeps a new order, and wakes its agent when there is something for it: one that is held waits for its turn.
    pub(super) async fn keep_order(
        &self,
        record: OrderRecord,
        held: Option<Change>,
        leaves: Vec<NewLeaf>,
    ) -> Result<OrderView, Problem> {
        let is_held = held.is_some();
        let changes = std::iter::once(Change::AddOrder(Box::new(record.clone()))).chain(held).collect();
        self.store.commit(changes, leaves).await.map_err(|error| match error {
            StoreError::Conflict(what) => Problem::new(ProblemKind::Conflict, what)
                .hint("each order has an id and a nonce of its own; sign a new one, and look whether this one came"),
            error @ StoreError::Backend(_) => error.into(),
        })?;
        if record.state == OrderState::Queued && !is_held {
            self.hub.wake(&record.agent);
        }
        self.order_view(record).await
    }

    /// An order and what became of it.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`].
    pub async fn order(&self, order: OrderId) -> Result<OrderView, Problem> {
        self.order_view(self.order_record(order).await?).await
    }

    pub(super) async fn order_record(&self, order: OrderId) -> Result<OrderRecord, Problem> {
        let record = self.store.order(order).await?;
        record.ok_or_else(|| {
            Problem::new(ProblemKind::NotFound, format!("there is no order {order}"))
                .hint("the orders of an incident are in: holdfast incident show INCIDENT")
        })
    }

    /// An order under its signature: the exact bytes that an approval signs.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`].
    pub async fn signed_order(&self, order: OrderId) -> Result<Signed, Problem> {
        Ok(self.order_record(order).await?.envelope)
    }

    pub(super) async fn order_view(&self, record: OrderRecord) -> Result<OrderView, Problem> {
        let host = self.store.host(&record.agent).await?.map_or_else(String::new, |host| host.facts.name);
        let OrderRecord { agent, bundle, envelope, events, expires, incident, issued, order, .. } = record;
        let OrderRecord { approvals, approvers, directive, profile, sha256, state, supersedes, .. } = record;
        let signed_by = envelope.principal;
        // The sweep comes a little later, and nobody is handed it meanwhile.
        let is_over = matches!(state, OrderState::Queued | OrderState::AwaitingApproval) && expires <= self.now();
        let state = if is_over { OrderState::Expired } else { state };
        Ok(OrderView {
            agent,
            approvals: approvals.into_iter().map(ApprovalRecord::view).collect(),
            approvers,
            bundle,
            directive,
            events,
            expires,
            host,
            incident,
            issued,
            order,
            profile,
            sha256,
            signed_by,
            state,
            supersedes,
        })
    }

    async fn check_place(&self, order: &Order) -> Result<(), Problem> {
        self.check_incident_and_agent(&order.incident, &order.agent).await?;
        let Some(before) = order.supersedes else { return Ok(()) };
        match self.store.order(before).await? {
            Some(before) if before.agent == order.agent && before.incident == order.incident => Ok(()),
            Some(_) => {
                Err(input("the order that it replaces is for another agent or incident", "name the interrupted one"))
            }
            None => Err(input(&format!("the order {before} that it replaces is not here"), "name the interrupted one")),
        }
    }

    /// An order is for an incident and an agent that are there.
    pub(super) async fn check_incident_and_agent(&self, incident: &IncidentId, agent: &AgentId) -> Result<(), Problem> {
        self.incident_record(incident).await?;
        let not_found = |message: String| {
            Problem::new(ProblemKind::NotFound, message).hint("the hosts with an agent are in: holdfast host list")
        };
        match self.store.host(agent).await? {
            None => Err(not_found(format!("there is no agent {agent}"))),
            Some(host) if !host.is_enrolled() => Err(not_found(format!("the agent {agent} was shut out, or is gone"))),
            Some(_) => Ok(()),
        }
    }
}

impl ApprovalRecord {
    fn view(self) -> ApprovalView {
        let Self { approval, by, key, time } = self;
        ApprovalView { by, key, principal: approval.principal, time }
    }
}

fn check_form(order: &Order, envelope: &Signed) -> Result<(), Problem> {
    if order.kind != ORDER_TYPE || order.v != 1 {
        return Err(input("what was signed is no order of version 1", "sign it with this version's holdfast"));
    }
    check_nonce(&order.nonce)?;
    check_principal(&envelope.principal)?;
    let texts = [&order.legal_basis, &order.purpose];
    if texts.into_iter().flatten().any(|text| text.len() > TEXT_BYTES_MAX) || order.profile_version.len() > 255 {
        return Err(input("the order's legal basis, purpose or profile version is too long", "shorten it"));
    }
    let profile_bytes = serde_json::to_vec(&order.profile).map_or(usize::MAX, |json| json.len());
    if profile_bytes > PROFILE_BYTES_MAX {
        return Err(input(
            &format!("the order's profile has {profile_bytes} bytes"),
            &format!("agents take at most {PROFILE_BYTES_MAX}"),
        ));
    }
    let values_bytes = serde_json::to_vec(&order.values).map_or(usize::MAX, |json| json.len());
    if values_bytes > VALUES_BYTES_MAX {
        return Err(input(
            &format!("the order's values have {values_bytes} bytes"),
            &format!("agents take at most {VALUES_BYTES_MAX}"),
        ));
    }
    Ok(())
}

pub(super) fn check_nonce(nonce: &str) -> Result<(), Problem> {
    if nonce.len() != 32 || !nonce.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(input("the order's nonce is not 32 lower-case hex digits", "take 16 random bytes"));
    }
    Ok(())
}

pub(super) fn check_principal(principal: &str) -> Result<(), Problem> {
    if principal.is_empty() || principal.len() > PRINCIPAL_BYTES_MAX || principal.chars().any(char::is_control) {
        return Err(input("the order's principal is no name", "name the signer as the agents' allowed_signers do"));
    }
    Ok(())
}

pub(super) fn check_times(
    (issued, expires): (Instant, Instant),
    valid_secs_max: u64,
    now: Instant,
) -> Result<(), Problem> {
    if expires <= now {
        return Err(input(&format!("the order expired at {expires}; the server's clock says {now}"), "sign a new one"));
    }
    if issued.0 > now.0 + SKEW_NS_MAX {
        return Err(input(
            &format!("the order was signed at {issued}, in the future; the server's clock says {now}"),
            "set the clock of the machine that signed it",
        ));
    }
    let valid_ns = expires.0 - issued.0;
    if valid_ns <= 0 || valid_ns > i128::from(valid_secs_max) * 1_000_000_000 {
        return Err(input(
            "the order does not expire after it was signed, or too long after",
            &format!("such an order is valid for at most {valid_secs_max} seconds"),
        ));
    }
    Ok(())
}

fn not_signed(why: NotSigned) -> Problem {
    input(&format!("the order cannot be taken: {why}"), "sign the exact bytes, in the namespace holdfast-collect")
}

pub(super) fn input(message: &str, hint: &str) -> Problem {
    Problem::new(ProblemKind::Input, message).hint(hint)
}
