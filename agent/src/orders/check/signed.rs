//! What every order is held to, whatever it is about: who signed it, for whom, when, and whether it came before.

use bundle::sign::{NotSigned, fingerprint, open_by_anybody};
use wire::order::RefusalReason;
use wire::signed::Signed;
use wire::{Instant, Sha256};

use super::{Context, Refusal, refuse};
use crate::orders::clock::is_skewed;
use crate::orders::{Common, Ordered};

/// An order whose signature, addressee, time and nonce are as they should be.
pub(super) struct Opened<T> {
    /// What it says.
    pub(super) order: T,
    /// Digest of its signed bytes.
    pub(super) sha256: Sha256,
    /// The key that signed it, `SHA256:…`.
    pub(super) key: String,
    /// What the clock says by which it is judged.
    pub(super) now: Instant,
    /// That clock is the server's.
    pub(super) is_skewed: bool,
}

/// Opens an order.
///
/// # Errors
/// [`Refusal`]: the first thing that is wrong with it.
pub(super) fn open<T: Ordered>(envelope: &Signed, context: &Context<'_>) -> Result<Opened<T>, Refusal> {
    let skew_ns = i128::from(context.policy.orders.clock_skew_secs_max) * 1_000_000_000;
    let is_skewed = is_skewed(context.server_offset_ns, context.policy.orders.clock_skew_secs_max);
    let now = if is_skewed { Instant(context.now.0.saturating_add(context.server_offset_ns)) } else { context.now };
    let (message, key) = vouched(envelope, T::NAMESPACE, now, context)?;
    let order: T = parse(&message, context)?;
    let issued = order.common().issued;
    timely(&order.common(), now, skew_ns)?;
    vouched_at_issue(envelope, T::NAMESPACE, (issued, now), context)?;
    if let Some(why) = context.seen.holds(&order.common()) {
        return Err(refuse(RefusalReason::Replayed, why));
    }
    Ok(Opened { order, sha256: Sha256::of(&message), key, now, is_skewed })
}

/// The signed bytes and the fingerprint of the key, when it is allowed at the time `at`.
pub(super) fn vouched(
    envelope: &Signed,
    namespace: &str,
    at: Instant,
    context: &Context<'_>,
) -> Result<(Vec<u8>, String), Refusal> {
    let opened = open_by_anybody(envelope, namespace).and_then(|(message, key)| {
        let is_allowed = context.signers.allow(&key, &envelope.principal, namespace, at);
        if is_allowed { Ok((message, fingerprint(&key))) } else { Err(NotSigned::Unknown) }
    });
    opened.map_err(|error| {
        let reason = match error {
            NotSigned::Unsigned => RefusalReason::Unsigned,
            NotSigned::Bad => RefusalReason::SignatureBad,
            NotSigned::Unknown => RefusalReason::SignerUnknown,
        };
        refuse(reason, format!("{error} (signed as `{}`)", envelope.principal))
    })
}

/// That the key was allowed already when the order says that it was issued.
pub(super) fn vouched_at_issue(
    envelope: &Signed,
    namespace: &str,
    (issued, now): (Instant, Instant),
    context: &Context<'_>,
) -> Result<(), Refusal> {
    if issued < now && vouched(envelope, namespace, issued, context).is_err() {
        let message =
            format!("its signer `{}` was not allowed yet at {issued}, when it was issued", envelope.principal);
        return Err(refuse(RefusalReason::SignerUnknown, message));
    }
    Ok(())
}

fn parse<T: Ordered>(message: &[u8], context: &Context<'_>) -> Result<T, Refusal> {
    let malformed = |message: String| refuse(RefusalReason::Malformed, message);
    let parsed: T = serde_json::from_slice(message).map_err(|error| malformed(format!("it is no order: {error}")))?;
    let order = parsed.common();
    if order.kind != T::TYPE || order.v != 1 {
        return Err(malformed(format!("it is a `{}` of version {}, no {} of version 1", order.kind, order.v, T::TYPE)));
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
    if order.expires.0 - order.issued.0 > i128::from(T::VALID_SECS_MAX) * 1_000_000_000 {
        return Err(malformed(format!("it is valid for longer than {} s", T::VALID_SECS_MAX)));
    }
    if order.agent != context.agent {
        let message = format!("it is for {}, and this is {}", order.agent, context.agent);
        return Err(refuse(RefusalReason::OtherAgent, message));
    }
    Ok(parsed)
}

fn timely(order: &Common<'_>, now: Instant, skew_ns: i128) -> Result<(), Refusal> {
    if order.issued.0 > now.0.saturating_add(skew_ns) {
        return Err(refuse(RefusalReason::NotYetValid, format!("it was issued at {}, and it is {now}", order.issued)));
    }
    if order.expires <= now {
        return Err(refuse(RefusalReason::Expired, format!("it expired at {}, and it is {now}", order.expires)));
    }
    Ok(())
}
