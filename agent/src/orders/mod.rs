//! Orders on their way into this host: [`check`] says whether one is taken, the [`journal`] that none is run twice, the
//! [`clock`] what time it is where they come from.

pub mod check;
pub mod clock;
pub mod journal;
pub mod seen;

use serde::de::DeserializeOwned;
use wire::containment::{self, ContainmentOrder};
use wire::order::{self, Order};
use wire::signed::namespace;
use wire::{AgentId, Instant, OrderId};

/// What orders of every kind say, and what each kind is held to.
pub trait Ordered: DeserializeOwned {
    /// `type` of the kind.
    const TYPE: &'static str;
    /// Signatures are of this namespace.
    const NAMESPACE: &'static str;
    /// The longest time between issue and expiry.
    const VALID_SECS_MAX: u64;

    /// What is said in the same way by every kind.
    fn common(&self) -> Common<'_>;
}

/// See [`Ordered`].
#[derive(Clone, Copy, Debug)]
pub struct Common<'a> {
    /// The agent that it is for.
    pub agent: &'a AgentId,
    /// From this moment on it is refused.
    pub expires: Instant,
    /// When it was signed.
    pub issued: Instant,
    /// 32 hex digits; an agent takes each once.
    pub nonce: &'a str,
    /// Its id.
    pub order: OrderId,
    /// `type`.
    pub kind: &'a str,
    /// Version.
    pub v: u32,
}

impl Common<'_> {
    /// Whole seconds from issue to expiry.
    pub fn valid_secs(&self) -> i64 {
        self.expires.unix_seconds().saturating_sub(self.issued.unix_seconds())
    }
}

impl Ordered for Order {
    const TYPE: &'static str = order::ORDER_TYPE;
    const NAMESPACE: &'static str = namespace::COLLECT;
    const VALID_SECS_MAX: u64 = order::VALID_SECS_MAX;

    fn common(&self) -> Common<'_> {
        let Self { agent, expires, issued, nonce, order, kind, v, .. } = self;
        Common { agent, expires: *expires, issued: *issued, nonce, order: *order, kind, v: *v }
    }
}

impl Ordered for ContainmentOrder {
    const TYPE: &'static str = containment::CONTAINMENT_TYPE;
    const NAMESPACE: &'static str = namespace::CONTAIN;
    const VALID_SECS_MAX: u64 = containment::VALID_SECS_MAX;

    fn common(&self) -> Common<'_> {
        let Self { agent, expires, issued, nonce, order, kind, v, .. } = self;
        Common { agent, expires: *expires, issued: *issued, nonce, order: *order, kind, v: *v }
    }
}
