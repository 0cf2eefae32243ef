//! Whether this agent takes an order. Pure functions: the clock, the journal and the policy are handed in.
//!
//! Every order goes through [`signed`]: signature, addressee, time, nonce. What a collection may take is decided here,
//! what may be done to the host in [`containment`], and what nobody decided is bound in [`automation`].
//!
//! **Which clock.** An order is judged by the host's clock as long as that agrees with the server's within
//! `clock_skew_secs_max`. A host whose clock is further off is a host whose evidence is still wanted, so its order is
//! judged by the server's clock instead, and the bundle's header records the offset; but only by an answer to a question
//! of this agent's own ([`clock`](super::clock)), which nobody can have held back or kept. What a server gains by lying about
//! the time is little: it can have a collection that an allowed signer ordered from this very host run after its expiry,
//! but never twice, because the journal refuses nonces that it holds and everything that expired before those it forgot
//! ([`Seen::floor`](super::seen::Seen)), whatever time the server claims. A containment order is not taken then: with the clock,
//! nobody knows when a lease ends.
//!
//! **When a key counts.** A signer's key must be valid, by `valid-after` and `valid-before` in `allowed_signers`, both when
//! the order says that it was issued and now, by the clock above. So a key that is ended ends at once, also for orders
//! that were signed before and wait still: when an order was signed is only its signer's word, and whoever stole the key
//! would say that it was before. Such an order is signed again, with a key that counts. The file is read for each order.

mod automation;
pub mod containment;
mod signed;

use bundle::encryption::Recipient;
use bundle::sign::AllowedSigners;
use wire::order::{Order, PROFILE_BYTES_MAX, RefusalReason, VALUES_BYTES_MAX};
use wire::profile::{Limits, Profile, STEPS_MAX};
use wire::signed::Signed;
use wire::{AgentId, Instant, OrderId, Sha256};

use super::seen::Seen;
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
    /// This host's own profile of a name.
    pub own_profile: &'a dyn Fn(&str) -> Option<Profile>,
    /// This host's policy.
    pub policy: &'a Policy,
    /// The orders that were taken before.
    pub seen: &'a Seen,
    /// True when the server's clock was asked for with a nonce of this agent's, and told in good time.
    pub is_offset_fresh: bool,
    /// The server's clock minus the host's.
    pub server_offset_ns: i128,
    /// The key under which the server signs receipts, `ssh-ed25519 AAAA…`.
    pub server_signer: &'a str,
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
    /// Steps that are not run, and why: what automation may not take in the clear.
    pub left_out: Vec<(BoundStep, &'static str)>,
    /// What its run is held to.
    pub limits: Limits,
    /// Variables of processes whose values may be taken: all, where it does not say.
    pub environment: Option<Vec<String>>,
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

/// Holds a collection order against `context`.
///
/// # Errors
/// [`Refusal`]: the first thing that is wrong with it.
pub fn check(envelope: &Signed, context: &Context<'_>) -> Result<Checked, Refusal> {
    let opened = signed::open::<Order>(envelope, context)?;
    if opened.is_skewed && !context.is_offset_fresh {
        let secs = context.server_offset_ns / 1_000_000_000;
        let message = format!("the clocks are {secs} s apart, and the server did not answer a nonce of this agent's");
        return Err(refuse(RefusalReason::Policy, message));
    }
    let order = opened.order;
    let policy = |why: String| refuse(RefusalReason::Policy, why);
    let is_automatic = context.policy.automation.is(&envelope.principal);
    if is_automatic {
        automation::permit_collection(&order, &envelope.principal, context).map_err(policy)?;
    }
    let limits = context.policy.permit(&order).map_err(policy)?;
    let mut steps = steps(&order)?;
    let recipients = context.policy.encryption.recipients();
    let mut left_out = Vec::new();
    // Whoever reads an encrypted bundle was chosen by this host; the server was not.
    let environment = (is_automatic && recipients.is_empty()).then(|| {
        (steps, left_out) = automation::without_memory(std::mem::take(&mut steps));
        context.policy.automation.environment.clone()
    });
    if steps.is_empty() {
        return Err(policy(
            "all that it asks for is memory, which holds the values of variables in the clear".to_owned(),
        ));
    }
    Ok(Checked {
        order,
        order_sha256: opened.sha256,
        principal: envelope.principal.clone(),
        steps,
        left_out,
        limits,
        environment,
        recipients,
        is_skewed: opened.is_skewed,
    })
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
