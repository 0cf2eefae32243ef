//! Whether something is done to this host. A pure function, as for collections.
//!
//! **Who has decided.** The signer and each approval sign the same bytes. An approval counts when its key is valid now and
//! when the order was issued, and neither its name nor its key has counted before. Automation is no person: it counts
//! nowhere, and what it alone has signed is held to its own bounds ([`super::automation`]). An order that automation has
//! drawn up and a person approved is the person's.
//!
//! What people are asked for is not less for being ordered by people: exceptions, leases and actions are bound by the
//! policy whoever signs.

use std::collections::BTreeSet;

use wire::containment::{APPROVALS_MAX, Action, Approval, ContainmentOrder, Directive, ENDPOINTS_MAX, LEASE_SECS_MAX};
use wire::order::RefusalReason;
use wire::signed::{Signed, namespace};
use wire::{Instant, Sha256};

use super::signed::{self, Opened};
use super::{Context, Refusal, automation, refuse};
use crate::orders::Ordered as _;
use crate::orders::seen::Automatic;

/// A containment order that is taken.
#[derive(Debug)]
pub struct CheckedContainment {
    /// The order.
    pub order: ContainmentOrder,
    /// Digest of its signed bytes.
    pub order_sha256: Sha256,
    /// The people who have decided it; automation's name where nobody has.
    pub approvers: Vec<String>,
    /// What the journal remembers of it, because automation alone has signed it.
    pub automatic: Option<Automatic>,
}

/// Holds a containment order and its approvals against `context`.
///
/// # Errors
/// [`Refusal`]: the first thing that is wrong with it.
pub fn check_containment(
    envelope: &Signed,
    approvals: &[Approval],
    context: &Context<'_>,
) -> Result<CheckedContainment, Refusal> {
    let Opened { order, sha256, key, now, is_skewed } = signed::open::<ContainmentOrder>(envelope, context)?;
    let policy = |why: String| refuse(RefusalReason::Policy, why);
    if is_skewed {
        let secs = context.server_offset_ns / 1_000_000_000;
        return Err(policy(format!("this host's clock is {secs} s from the server's: nobody knows when a lease ends")));
    }
    well_formed(&order.directive)?;
    let (people, not_counted) = people((envelope, &key), approvals, (order.issued, now), context)?;
    let secs = order.common().valid_secs();
    let valid_secs_max = context.policy.orders.valid_secs_max;
    if u64::try_from(secs).is_ok_and(|secs| secs > valid_secs_max) {
        return Err(policy(format!("it is valid for {secs} s, of which {valid_secs_max} are allowed")));
    }
    let contain = &context.policy.contain;
    if let Some(action) = order.directive.action() {
        contain.permit(action).map_err(policy)?;
    }
    if let Directive::Apply { lease_secs, .. } | Directive::Renew { lease_secs, .. } = &order.directive {
        contain.permit_lease(*lease_secs).map_err(policy)?;
    }
    if let Directive::DoesNotHold { .. } = &order.directive {
        if !people.is_empty() {
            return Err(policy("a person releases it: only the server says how it looks from there".to_owned()));
        }
        contain.permit_restoring().map_err(policy)?;
    }
    let mut automatic = None;
    if people.is_empty() {
        automation::permit_containment(&order.directive, order.evidence.as_ref(), &envelope.principal, now, context)
            .map_err(policy)?;
        if let Directive::Apply { action, .. } = &order.directive {
            automatic = Some(Automatic { at: now, isolates: automation::isolates(action), order: order.order });
        }
    }
    if let Directive::Apply { action, .. } = &order.directive {
        let asked = contain.approvals(action);
        // One signature is enough: that of whoever may order it, automation included.
        let counted = people.len().max(1);
        if counted < asked {
            let why = not_counted.map(|why| format!("; {why}")).unwrap_or_default();
            let message = format!("{} people have signed it, of which {asked} are wanted{why}", people.len());
            return Err(refuse(RefusalReason::Approvals, message));
        }
    }
    let approvers = if people.is_empty() { vec![envelope.principal.clone()] } else { people };
    Ok(CheckedContainment { order, order_sha256: sha256, approvers, automatic })
}

/// The people who have signed, each once; and why the first approval that does not count does not.
fn people(
    (envelope, key): (&Signed, &str),
    approvals: &[Approval],
    times: (Instant, Instant),
    context: &Context<'_>,
) -> Result<(Vec<String>, Option<String>), Refusal> {
    if approvals.len() > APPROVALS_MAX {
        let message = format!("it has {} approvals, of which {APPROVALS_MAX} are taken", approvals.len());
        return Err(refuse(RefusalReason::Malformed, message));
    }
    let mut keys = BTreeSet::new();
    let mut people: Vec<String> = Vec::new();
    let mut not_counted = None;
    let mut count = |principal: &str, key: &str| {
        if context.policy.automation.is(principal) {
            return Err(format!("`{principal}` is automation"));
        }
        if people.iter().any(|known| known == principal) || !keys.insert(key.to_owned()) {
            return Err(format!("`{principal}` has signed it twice, or two names with one key"));
        }
        people.push(principal.to_owned());
        Ok(())
    };
    if let Err(why) = count(&envelope.principal, key) {
        not_counted.get_or_insert(why);
    }
    for approval in approvals {
        let signed = Signed {
            principal: approval.principal.clone(),
            sig_ssh: approval.sig_ssh.clone(),
            signed_b64: envelope.signed_b64.clone(),
        };
        let counted = signed::vouched(&signed, namespace::CONTAIN, times.1, context)
            .and_then(|(_, key)| signed::vouched_at_issue(&signed, namespace::CONTAIN, times, context).map(|()| key))
            .map_err(|refusal| format!("an approval does not count: {}", refusal.message))
            .and_then(|key| count(&approval.principal, &key));
        if let Err(why) = counted {
            not_counted.get_or_insert(why);
        }
    }
    Ok((people, not_counted))
}

/// What makes no sense on any host.
fn well_formed(directive: &Directive) -> Result<(), Refusal> {
    let malformed = |message: String| Err(refuse(RefusalReason::Malformed, message));
    if let Directive::Apply { lease_secs, .. } | Directive::Renew { lease_secs, .. } = directive
        && !(1..=LEASE_SECS_MAX).contains(lease_secs)
    {
        return malformed(format!("its lease of {lease_secs} s is none: 1 to {LEASE_SECS_MAX} s are"));
    }
    let endpoints = match directive.action() {
        Some(Action::IsolateNetwork { allow, resolvers }) => allow.len().max(resolvers.len()),
        Some(Action::BlockEgress { to }) if to.is_empty() => {
            return malformed("it blocks the way to nowhere".to_owned());
        }
        Some(Action::BlockEgress { to }) => to.len(),
        Some(Action::RevokeSshKeys { keys, .. }) => keys.len(),
        _ => 0,
    };
    if endpoints > ENDPOINTS_MAX {
        return malformed(format!("it names {endpoints} of a kind, of which {ENDPOINTS_MAX} are taken"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "containment_tests.rs"]
mod tests;
