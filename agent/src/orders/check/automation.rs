//! The bounds of what nobody decided. The key that signs it lies on the server, so all of this is meant against a server
//! that is in the enemy's hands.
//!
//! A profile's name is what its signer says. So automation may order steps that this host's own profile of that name has,
//! with the same arguments, and no others. What its arguments are narrowed to by the incident's values stays the
//! signer's.

use bundle::sign::{AllowedSigners, open};
use wire::containment::{Action, BUDGET_SECS_MIN, Directive, Endpoint, EvidenceBasis};
use wire::order::Order;
use wire::receipt::{RECEIPT_TYPE, Receipt};
use wire::signed::{Signed, namespace};
use wire::{BundleId, Instant, Phase};

use super::Context;
use crate::orders::seen::AUTOMATIC_MAX;
use crate::run::bind::BoundStep;

/// Collectors whose content is memory as it is, and with it the environment of whatever ran in it.
const MEMORY: [&str; 3] = ["physical_memory", "process_memory", "swap"];
/// Evidence that was taken longer ago than this says little of what is there now.
const EVIDENCE_SECS_MAX: i128 = 3600;
/// A block that is at least this wide is an isolation by another name: bits of the network, IPv4 and IPv6.
const WIDE: (u8, u8) = (15, 31);
const SECOND_NS: i128 = 1_000_000_000;

/// Whether automation may order this collection.
pub(super) fn permit_collection(order: &Order, principal: &str, context: &Context<'_>) -> Result<(), String> {
    let policy = &context.policy.automation;
    policy.permit(principal)?;
    let name = &order.profile.name;
    policy.permit_profile(name)?;
    if let Some(class) = order.approved_sensitive.first() {
        return Err(format!("automation may not approve content of the class `{}`", class.name()));
    }
    let own = (context.own_profile)(name).ok_or_else(|| format!("this host has no profile `{name}` of its own"))?;
    let is_own = |step: &wire::profile::Step| {
        own.collect
            .iter()
            .any(|mine| mine.collect == step.collect && mine.with == step.with && mine.sensitive == step.sensitive)
    };
    match order.profile.collect.iter().find(|step| !is_own(step)) {
        Some(step) => Err(format!("the step `{}` is not one of this host's own profile `{name}`", step.collect)),
        None => Ok(()),
    }
}

/// Takes out the steps whose content would hold values of variables in the clear.
pub(super) fn without_memory(steps: Vec<BoundStep>) -> (Vec<BoundStep>, Vec<(BoundStep, &'static str)>) {
    let (memory, steps): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| MEMORY.contains(&step.collector.name));
    let why = "automation may not take memory, which holds the values of variables, in the clear: the policy names no \
        recipients";
    (steps, memory.into_iter().map(|step| (step, why)).collect())
}

/// Whether automation may order this containment.
pub(super) fn permit_containment(
    directive: &Directive,
    evidence: Option<&EvidenceBasis>,
    principal: &str,
    now: Instant,
    context: &Context<'_>,
) -> Result<(), String> {
    let policy = &context.policy.automation;
    policy.permit(principal)?;
    match directive {
        Directive::Renew { .. } => Err("a lease is renewed by a responder, and never by automation".to_owned()),
        Directive::Release { contains } => {
            let is_own = context.seen.automatic(now).any(|one| one.order == *contains);
            if is_own { Ok(()) } else { Err("automation may release only what it has applied itself".to_owned()) }
        }
        // Whoever applied it, and no new power for an enemy who has the server: without this he keeps renewals from the host
        // and answers it no more, and the lease ends. He ends it sooner, and only where policy does not keep it closed.
        Directive::DoesNotHold { .. } if context.policy.contain.protected => {
            Err("this host is protected, and stays as it is: nothing happens to it by automation".to_owned())
        }
        Directive::DoesNotHold { .. } => Ok(()),
        Directive::Rehearse { action } => policy.permit_action(action.name()),
        Directive::Apply { action, .. } => {
            policy.permit_action(action.name())?;
            if context.policy.contain.protected {
                return Err("this host is protected: nothing happens to it by automation".to_owned());
            }
            if !action.is_reversible() {
                return Err(format!("automation may not order `{}`, which cannot be taken back", action.name()));
            }
            let (count, isolations) = context
                .seen
                .automatic(now)
                .fold((0, 0), |(count, isolations), one| (count + 1, isolations + usize::from(one.isolates)));
            if count >= AUTOMATIC_MAX {
                return Err(format!("automation has ordered {count} containments within 24 hours"));
            }
            if isolates(action) && isolations >= policy.isolations_per_day_max {
                return Err(format!(
                    "automation has isolated this host {isolations} times within 24 hours, and {} are allowed",
                    policy.isolations_per_day_max
                ));
            }
            // What stands still loses nothing; what is cut off ends its connections.
            if matches!(action, Action::FreezeProcess { .. }) { Ok(()) } else { holds(evidence, now, context) }
        }
    }
}

/// True for what cuts the host off.
pub(super) fn isolates(action: &Action) -> bool {
    let is_wide = |to: &Endpoint| to.prefix <= if to.address.is_ipv4() { WIDE.0 } else { WIDE.1 };
    match action {
        Action::IsolateNetwork { .. } => true,
        Action::BlockEgress { to } => to.iter().any(is_wide),
        _ => false,
    }
}

/// Whether the volatile evidence is where nobody on this host can reach it, as far as this host can know.
fn holds(evidence: Option<&EvidenceBasis>, now: Instant, context: &Context<'_>) -> Result<(), String> {
    let is_recent = |at: Instant| now.0.saturating_sub(at.0) <= EVIDENCE_SECS_MAX * SECOND_NS;
    match evidence {
        Some(EvidenceBasis::Receipted { bundle, receipt }) => {
            if !context.seen.began(*bundle).is_some_and(is_recent) {
                return Err(format!("its evidence is bundle {bundle}, which no order of the last hour began here"));
            }
            is_receipt_of_volatile(receipt, *bundle, context.server_signer)
        }
        Some(EvidenceBasis::BudgetSpent { capture, .. }) => {
            let taken = context.seen.taken(*capture).and_then(|taken| taken.at).filter(|at| is_recent(*at));
            match taken {
                None => Err(format!("its evidence is order {capture}, which was not taken here in the last hour")),
                Some(at) if now.0.saturating_sub(at.0) < i128::from(BUDGET_SECS_MIN) * SECOND_NS => {
                    Err(format!("order {capture} was taken less than {BUDGET_SECS_MIN} s ago: its time is not spent"))
                }
                Some(_) => Ok(()),
            }
        }
        Some(EvidenceBasis::Waived { .. }) => Err("only a person can do without evidence".to_owned()),
        None => Err("it names no evidence, and automation does nothing before that is safe".to_owned()),
    }
}

fn is_receipt_of_volatile(receipt: &Signed, bundle: BundleId, server_signer: &str) -> Result<(), String> {
    let none = |why: &str| format!("the receipt for its evidence is none: {why}");
    // The server's key signs receipts whatever it calls itself in them.
    let server = AllowedSigners::parse(&format!("* {server_signer}")).map_err(|_| none("no server is known"))?;
    let message = open(receipt, &server, namespace::RECEIPT, Instant(0)).map_err(|error| none(&error.to_string()))?;
    let receipt: Receipt = serde_json::from_slice(&message).map_err(|error| none(&error.to_string()))?;
    let is_complete = receipt.phase > Phase::Volatile || (receipt.phase == Phase::Volatile && receipt.phase_complete);
    if receipt.kind != RECEIPT_TYPE || receipt.bundle != bundle {
        return Err(none("it is for something else"));
    }
    if is_complete { Ok(()) } else { Err(none("it is not for the end of the volatile tier")) }
}
