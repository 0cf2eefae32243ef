//! The orders that were taken: nonces, so that none is taken twice, and what automation did lately.
//!
//! A nonce may be forgotten some time after its order expired, or earlier when there are too many; the latest expiry
//! among the forgotten is then the floor, and what expires at or before it is refused unseen.

use serde::{Deserialize, Serialize};
use wire::{BundleId, Instant, OrderId};

use super::Common;

/// Nonces that are remembered.
pub(super) const NONCES_MAX: usize = 4096;
/// Orders of automation that are remembered: beyond it none is taken until the oldest is a day old.
pub const AUTOMATIC_MAX: usize = 256;
/// A nonce is remembered for this long after its order expired.
const MARGIN_NS: i128 = DAY_NS;
const DAY_NS: i128 = 24 * 3600 * 1_000_000_000;

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    floor: Instant,
    pub(super) nonces: Vec<Taken>,
    #[serde(default)]
    automatic: Vec<Automatic>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { floor: Instant(0), nonces: Vec::new(), automatic: Vec::new() }
    }
}

/// An order that was taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Taken {
    /// When, by this host's clock; unknown for those that an older version took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Instant>,
    /// The bundle that its run wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<BundleId>,
    expires: Instant,
    nonce: String,
    /// Its id.
    pub order: OrderId,
}

/// What automation had applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Automatic {
    /// When its order was taken.
    pub at: Instant,
    /// It cut the host off.
    pub isolates: bool,
    /// The order.
    pub order: OrderId,
}

impl Seen {
    /// Why the order cannot be new, if it cannot.
    pub fn holds(&self, order: &Common<'_>) -> Option<String> {
        if self.taken(order.order).is_some() {
            return Some(format!("order {} was taken before", order.order));
        }
        if self.nonces.iter().any(|seen| seen.nonce.eq_ignore_ascii_case(order.nonce)) {
            return Some(format!("its nonce {} was taken before", order.nonce));
        }
        (order.expires <= self.floor)
            .then(|| format!("it expires before {}, and the nonces until then are forgotten", self.floor))
    }

    /// The order, if it was taken and is not forgotten.
    pub fn taken(&self, order: OrderId) -> Option<&Taken> {
        self.nonces.iter().find(|seen| seen.order == order)
    }

    /// When the run that wrote this bundle began, if an order began it.
    pub fn began(&self, bundle: BundleId) -> Option<Instant> {
        self.nonces.iter().find(|seen| seen.bundle == Some(bundle))?.at
    }

    /// What automation had applied within the last 24 hours. A clock that was set back makes nothing older.
    pub fn automatic(&self, now: Instant) -> impl Iterator<Item = &Automatic> {
        self.automatic.iter().filter(move |one| one.at.0 > now.0.saturating_sub(DAY_NS))
    }

    pub(super) fn add(&mut self, order: &Common<'_>, bundle: Option<BundleId>, now: Instant) {
        let nonce = order.nonce.to_ascii_lowercase();
        self.nonces.push(Taken { at: Some(now), bundle, expires: order.expires, nonce, order: order.order });
        self.nonces.sort_by_key(|seen| seen.expires);
        let over = self.nonces.partition_point(|seen| seen.expires.0.saturating_add(MARGIN_NS) < now.0);
        let forgotten = over.max(self.nonces.len().saturating_sub(NONCES_MAX));
        if let Some(last) = self.nonces.drain(..forgotten).next_back() {
            self.floor = self.floor.max(last.expires);
        }
    }

    pub(super) fn add_automatic(&mut self, one: Automatic) {
        if self.automatic.len() >= AUTOMATIC_MAX {
            // The check has found room among those of the last day: these are older.
            self.automatic.remove(0);
        }
        self.automatic.push(one);
    }
}
