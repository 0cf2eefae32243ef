//! Whether this agent takes an order. A pure function: the clock, the journal and the policy are handed in.
//!
//! **Which clock.** An order is judged by the host's clock as long as that agrees with the server's within
//! `clock_skew_secs_max`. A host whose clock is further off is a host whose evidence is still wanted, so its order is
//! judged by the server's clock instead, and the bundle's header records the offset. What a server gains by lying about
//! the time is little: it can have a collection that an allowed signer ordered from this very host run after its expiry,
//! but never twice, because the journal refuses nonces that it holds and everything that expired before those it forgot
//! ([`Seen::floor`](super::journal::Seen)), whatever time the server claims.

//!
//! **When a key counts.** A signer's key must be valid, by `valid-after` and `valid-before` in `allowed_signers`, both when
//! the order says that it was issued and now, by the clock above. So a key that is ended ends at once, also for orders
//! that were signed before and wait still: when an order was signed is only its signer's word, and whoever stole the key
//! would say that it was before. Such an order is signed again, with a key that counts. The file is read for each order.

use bundle::encryption::Recipient;
use bundle::sign::{AllowedSigners, NotSigned, open};
use wire::order::{ORDER_TYPE, Order, PROFILE_BYTES_MAX, RefusalReason, VALID_SECS_MAX, VALUES_BYTES_MAX};
use wire::profile::{Limits, STEPS_MAX};
use wire::signed::{Signed, namespace};
use wire::{AgentId, Instant, OrderId, Sha256};

use super::journal::Seen;
use crate::policy::Policy;
use crate::run::bind::{BoundStep, bind};

/// What an order is held against.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// This agent.
    pub agent: &'a AgentId,
    /// The id under which the server delivered it.
    pub delivered_as: OrderId,
    /// The host's clock.
    pub now: Instant,
    /// This host's policy.
    pub policy: &'a Policy,
    /// The orders that were taken before.
    pub seen: &'a Seen,
    /// The server's clock minus the host's.
    pub server_offset_ns: i128,
    /// Who may order.
    pub signers: &'a AllowedSigners,
}

/// An order that is taken.
pub struct Checked {
    /// The order.
    pub order: Order,
    /// Digest of its signed bytes.
    pub order_sha256: Sha256,
    /// Who signed it.
    pub principal: String,
    /// Its steps, bound.
    pub steps: Vec<BoundStep>,
    /// What its run is held to.
    pub limits: Limits,
    /// Who can read what it collects, by this host's policy.
    pub recipients: Vec<Recipient>,
    /// True when the server's clock was believed, because the host's is too far off.
    pub is_skewed: bool,
}

/// An order that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The class.
    pub reason: RefusalReason,
    /// What is wrong, in a sentence; at most [`MESSAGE_CHARS_MAX`] characters, without control characters.
    pub message: String,
}

/// A refusal's message is at most this long: it may quote what somebody sent.
pub const MESSAGE_CHARS_MAX: usize = 300;

/// Holds `envelope` against `context`.
///
/// # Errors
/// [`Refusal`]: the first thing that is wrong with it.
pub fn check(envelope: &Signed, context: &Context<'_>) -> Result<Checked, Refusal> {
    let skew_ns = i128::from(context.policy.orders.clock_skew_secs_max) * 1_000_000_000;
    let is_skewed = context.server_offset_ns.abs() > skew_ns;
    let now = if is_skewed { Instant(context.now.0.saturating_add(context.server_offset_ns)) } else { context.now };
    let message = open(envelope, context.signers, namespace::COLLECT, now).map_err(|error| {
        let reason = match error {
            NotSigned::Unsigned => RefusalReason::Unsigned,
            NotSigned::Bad => RefusalReason::SignatureBad,
            NotSigned::Unknown => RefusalReason::SignerUnknown,
        };
        refuse(reason, format!("{error} (signed as `{}`)", envelope.principal))
    })?;
    let order = parse(&message, context)?;
    timely(&order, now, skew_ns)?;
    if order.issued < now && open(envelope, context.signers, namespace::COLLECT, order.issued).is_err() {
        let message =
            format!("its signer `{}` was not allowed yet at {}, when it was issued", envelope.principal, order.issued);
        return Err(refuse(RefusalReason::SignerUnknown, message));
    }
    if let Some(why) = context.seen.holds(&order) {
        return Err(refuse(RefusalReason::Replayed, why));
    }
    let limits = context.policy.permit(&order).map_err(|why| refuse(RefusalReason::Policy, why))?;
    let steps = steps(&order)?;
    let order_sha256 = Sha256::of(&message);
    let recipients = context.policy.encryption.recipients();
    Ok(Checked { order, order_sha256, principal: envelope.principal.clone(), steps, limits, recipients, is_skewed })
}

fn parse(message: &[u8], context: &Context<'_>) -> Result<Order, Refusal> {
    let malformed = |message: String| refuse(RefusalReason::Malformed, message);
    let order: Order =
        serde_json::from_slice(message).map_err(|error| malformed(format!("it is no order: {error}")))?;
    if order.kind != ORDER_TYPE || order.v != 1 {
        return Err(malformed(format!(
            "it is a `{}` of version {}, no {ORDER_TYPE} of version 1",
            order.kind, order.v
        )));
    }
    if order.order != context.delivered_as {
        return Err(malformed(format!("it is order {} and was delivered as {}", order.order, context.delivered_as)));
    }
    if order.nonce.len() != 32 || !order.nonce.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(malformed("its nonce is not 32 hex digits".to_owned()));
    }
    if order.expires <= order.issued {
        return Err(malformed("it expires before it was issued".to_owned()));
    }
    if order.expires.0 - order.issued.0 > i128::from(VALID_SECS_MAX) * 1_000_000_000 {
        return Err(malformed(format!("it is valid for longer than {VALID_SECS_MAX} s")));
    }
    if order.agent != *context.agent {
        return Err(refuse(
            RefusalReason::OtherAgent,
            format!("it is for {}, and this is {}", order.agent, context.agent),
        ));
    }
    Ok(order)
}

fn timely(order: &Order, now: Instant, skew_ns: i128) -> Result<(), Refusal> {
    if order.issued.0 > now.0.saturating_add(skew_ns) {
        return Err(refuse(RefusalReason::NotYetValid, format!("it was issued at {}, and it is {now}", order.issued)));
    }
    if order.expires <= now {
        return Err(refuse(RefusalReason::Expired, format!("it expired at {}, and it is {now}", order.expires)));
    }
    Ok(())
}

fn steps(order: &Order) -> Result<Vec<BoundStep>, Refusal> {
    let refuse = |message: String| refuse(RefusalReason::Profile, message);
    let bytes = order.profile.to_json().len();
    if bytes > PROFILE_BYTES_MAX {
        return Err(refuse(format!("its profile has {bytes} bytes, of which {PROFILE_BYTES_MAX} are allowed")));
    }
    if order.profile.collect.len() > STEPS_MAX {
        return Err(refuse(format!(
            "its profile has {} steps, of which {STEPS_MAX} are allowed",
            order.profile.collect.len()
        )));
    }
    let bytes = serde_json::to_vec(&order.values).map_or(usize::MAX, |json| json.len());
    if bytes > VALUES_BYTES_MAX {
        return Err(refuse(format!("its values have {bytes} bytes, of which {VALUES_BYTES_MAX} are allowed")));
    }
    let steps = bind(&order.profile, &order.values).map_err(|mistakes| {
        let said: Vec<String> = mistakes.0.into_iter().map(|mistake| mistake.message).collect();
        refuse(format!("its profile cannot be run here: {}", said.join("; ")))
    })?;
    if steps.is_empty() { Err(refuse("its profile has no step".to_owned())) } else { Ok(steps) }
}

fn refuse(reason: RefusalReason, message: impl AsRef<str>) -> Refusal {
    let plain = message.as_ref().chars().map(|c| if c.is_control() { ' ' } else { c });
    Refusal { reason, message: plain.take(MESSAGE_CHARS_MAX).collect() }
}

#[cfg(test)]
pub(super) mod tests;
