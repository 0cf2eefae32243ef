//! One more person signs the bytes of an order. Two are two when both the name and the key are others: who has two keys is
//! one person, and so is who has two names.

use bundle::sign::{fingerprint, open_by_anybody};
use serde_json::json;
use wire::OrderId;
use wire::api::{LiveEvent, OrderView};
use wire::containment::{APPROVALS_MAX, Approval, is_automation};
use wire::order::OrderState;
use wire::signed::{Signed, namespace};

use super::super::dispatch::{check_principal, input};
use super::super::{Actor, App, Problem, ProblemKind, details};
use crate::store::{ApprovalRecord, Change, NewLeaf, OrderRecord};

impl App {
    /// Takes an approval. The agent is woken when there are enough.
    ///
    /// # Errors
    /// [`ProblemKind::Input`] for what is no signature over this order, [`ProblemKind::NotFound`],
    /// [`ProblemKind::Conflict`] for an order that waits for nobody and for who approved it already.
    pub async fn approve(&self, by: &Actor, order: OrderId, approval: Approval) -> Result<OrderView, Problem> {
        let record = self.order_record(order).await?;
        let now = self.now();
        check_principal(&approval.principal)?;
        let signed = Signed {
            principal: approval.principal.clone(),
            sig_ssh: approval.sig_ssh.clone(),
            signed_b64: record.envelope.signed_b64.clone(),
        };
        let (_, key) = open_by_anybody(&signed, namespace::CONTAIN).map_err(|why| {
            input(
                &format!("the approval cannot be taken: {why}"),
                "sign the exact bytes of the order: holdfast approve",
            )
        })?;
        if record.state != OrderState::AwaitingApproval || record.expires <= now {
            let is_over = record.state == OrderState::AwaitingApproval;
            let state = if is_over { OrderState::Expired } else { record.state };
            let message = format!("order {order} is {}: it waits for no approval", state.name());
            return Err(Problem::new(ProblemKind::Conflict, message).hint("holdfast follow says what became of it"));
        }
        let key = fingerprint(&key);
        check_another(&record, &approval.principal, &key)?;
        let approval = ApprovalRecord { approval, by: by.to_string(), key, time: now };
        let before = record.approvals.len();
        let persons = record.persons() + 1;
        let is_enough = persons >= record.approvers;
        let to = if is_enough { OrderState::Queued } else { OrderState::AwaitingApproval };
        let leaf = NewLeaf {
            actor: by.to_string(),
            details: details([
                ("persons", json!(persons)),
                ("approvers", json!(record.approvers)),
                ("key", json!(approval.key)),
                ("principal", json!(approval.approval.principal)),
                ("sha256", json!(record.sha256)),
            ]),
            event: "containment_approved",
            incident: Some(record.incident.clone()),
            subject: format!("order:{order}"),
            time: now,
        };
        let change = Change::AddApproval { approval: Box::new(approval), before, order, to };
        self.store.commit(vec![change], vec![leaf]).await?;
        if to == OrderState::Queued {
            self.hub.wake(&record.agent);
        }
        let event = LiveEvent::Case { actor: by.to_string(), event: "containment_approved".to_owned(), time: now };
        self.live.tell(&record.incident, event);
        self.order(order).await
    }
}

fn check_another(record: &OrderRecord, principal: &str, key: &str) -> Result<(), Problem> {
    let first = open_by_anybody(&record.envelope, namespace::CONTAIN);
    let first_key = first.map(|(_, key)| fingerprint(&key)).unwrap_or_default();
    let signers = std::iter::once((record.envelope.principal.as_str(), first_key.as_str()));
    let approvers = record.approvals.iter().map(|one| (one.approval.principal.as_str(), one.key.as_str()));
    if is_automation(principal) {
        return Err(input(&format!("{principal:?} is no person's name"), "approve under a name of your own"));
    }
    if let Some((name, _)) = signers.chain(approvers).find(|(name, its)| *name == principal || *its == key) {
        let message = format!("{name} has approved order {} already, under this name or with this key", record.order);
        return Err(Problem::new(ProblemKind::Conflict, message).hint("another person must, with a key of their own"));
    }
    if record.approvals.len() >= APPROVALS_MAX {
        let message = format!("order {} has {APPROVALS_MAX} approvals", record.order);
        return Err(Problem::new(ProblemKind::Conflict, message));
    }
    Ok(())
}
