//! How far a run is, from the thread that runs it to the one that tells the server: only the latest counts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use wire::Tier;
use wire::order::OrderEvent;

use crate::run::progress::Progress;

/// Numbers that merely grew are told this often.
pub const EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
struct Latest {
    step: Option<(Tier, String)>,
    items: u64,
    bytes: u64,
    is_new: bool,
}

/// Both ends; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<(Mutex<Latest>, Notify)>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Latest> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for another step, or until it is time to look at the numbers.
    pub async fn changed(&self) {
        let _ = tokio::time::timeout(EVERY, self.0.1.notified()).await;
    }

    /// What to tell, when it is not what was told last.
    pub fn news(&self) -> Option<OrderEvent> {
        let mut latest = self.lock();
        if !std::mem::take(&mut latest.is_new) {
            return None;
        }
        let (tier, collector) = latest.step.clone()?;
        Some(OrderEvent::Progress { bytes: latest.bytes, collector, items: latest.items, tier })
    }
}

impl Progress for Shared {
    fn step(&mut self, tier: Tier, collector: &str) {
        let mut latest = self.lock();
        latest.step = Some((tier, collector.to_owned()));
        latest.is_new = true;
        drop(latest);
        self.0.1.notify_one();
    }

    fn moved(&mut self, items: u64, bytes: u64) {
        let mut latest = self.lock();
        latest.is_new |= latest.bytes != bytes;
        (latest.items, latest.bytes) = (items, bytes);
    }

    fn tier_done(&mut self, _: Tier, _: Duration, items: u64, bytes: u64) {
        self.moved(items, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_is_told_and_only_once() {
        let mut shared = Shared::default();
        assert_eq!(shared.news(), None);
        shared.step(Tier::Volatile, "clock");
        shared.step(Tier::Volatile, "processes");
        shared.moved(3, 4096);
        let wanted =
            OrderEvent::Progress { bytes: 4096, collector: "processes".into(), items: 3, tier: Tier::Volatile };
        assert_eq!(shared.news(), Some(wanted));
        assert_eq!(shared.news(), None);
        shared.moved(3, 4096);
        assert_eq!(shared.news(), None);
        shared.moved(4, 4097);
        assert!(shared.news().is_some());
    }
}
