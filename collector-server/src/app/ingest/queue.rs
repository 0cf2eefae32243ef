//! Which bundles are to be verified, and when. Each stands in the queue once, and is verified once at a time.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use wire::BundleId;

/// Verifications at a time: each reads a disk and keeps a core busy.
const AT_A_TIME_MAX: usize = 2;
/// When the last byte came, the last checkpoint is on its way.
const SOON: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Debug, Default)]
pub struct Queue {
    changed: Arc<Notify>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    due: HashMap<BundleId, Instant>,
    running: HashSet<BundleId>,
}

/// A verification under way. It ends when this is dropped.
#[derive(Debug)]
pub struct Turn {
    bundle: BundleId,
    changed: Arc<Notify>,
    state: Arc<Mutex<State>>,
}

impl Queue {
    /// To be verified at once; again, when it is being verified.
    pub fn now(&self, bundle: BundleId) {
        self.put(bundle, Instant::now());
    }

    /// To be verified in a moment, unless it is asked for earlier.
    pub fn soon(&self, bundle: BundleId) {
        self.put(bundle, Instant::now() + SOON);
    }

    /// To be verified at once, unless it is queued or being verified.
    pub fn when_idle(&self, bundle: BundleId) {
        let is_known = {
            let state = lock(&self.state);
            state.due.contains_key(&bundle) || state.running.contains(&bundle)
        };
        if !is_known {
            self.now(bundle);
        }
    }

    fn put(&self, bundle: BundleId, at: Instant) {
        let mut state = lock(&self.state);
        let due = state.due.entry(bundle).or_insert(at);
        *due = at.min(*due);
        self.changed.notify_one();
    }

    /// The next bundle, when it is due and there is room; `None` when the server stops.
    pub async fn next(&self, stop: &CancellationToken) -> Option<(BundleId, Turn)> {
        loop {
            let (ready, wake) = self.take_due(Instant::now());
            if let Some(bundle) = ready {
                let turn = Turn { bundle, changed: Arc::clone(&self.changed), state: Arc::clone(&self.state) };
                return Some((bundle, turn));
            }
            let due = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return None,
                () = self.changed.notified() => {}
                () = due => {}
            }
        }
    }

    /// A bundle that is due now, or when the next one will be.
    fn take_due(&self, now: Instant) -> (Option<BundleId>, Option<Instant>) {
        let mut state = lock(&self.state);
        if state.running.len() >= AT_A_TIME_MAX {
            return (None, None);
        }
        let waiting = state.due.iter().filter(|(bundle, _)| !state.running.contains(bundle));
        let Some((bundle, at)) = waiting.min_by_key(|(_, at)| **at).map(|(bundle, at)| (*bundle, *at)) else {
            return (None, None);
        };
        if at > now {
            return (None, Some(at));
        }
        state.due.remove(&bundle);
        state.running.insert(bundle);
        (Some(bundle), None)
    }

    /// Returns when nothing is being verified.
    pub async fn wait_until_idle(&self) {
        while !lock(&self.state).running.is_empty() {
            self.changed.notified().await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.state).running.remove(&self.bundle);
        self.changed.notify_one();
    }
}

/// A panic while the lock was held leaves nothing half done here.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(n: u8) -> BundleId {
        BundleId::new(1, [n; 10])
    }

    #[tokio::test]
    async fn two_at_a_time_and_none_twice_at_once() {
        let (queue, stop) = (Queue::default(), CancellationToken::new());
        for n in [1, 2, 3] {
            queue.now(bundle(n));
            queue.soon(bundle(n));
        }
        let (first, turn) = queue.next(&stop).await.unwrap();
        let (second, other) = queue.next(&stop).await.unwrap();
        assert_ne!(first, second);
        assert_eq!(queue.take_due(Instant::now()), (None, None));
        queue.when_idle(first);
        queue.now(first);
        drop(other);
        let (third, _third) = queue.next(&stop).await.unwrap();
        assert_ne!(third, first);
        assert_eq!(queue.take_due(Instant::now()), (None, None));
        drop(turn);
        assert_eq!(queue.next(&stop).await.unwrap().0, first);
        stop.cancel();
        assert!(queue.next(&stop).await.is_none());
    }

    #[tokio::test]
    async fn soon_is_not_now() {
        let queue = Queue::default();
        queue.soon(bundle(1));
        let (ready, wake) = queue.take_due(Instant::now());
        assert!(ready.is_none() && wake.is_some());
        assert_eq!(queue.take_due(Instant::now() + SOON).0, Some(bundle(1)));
    }
}
