//! Who may send a body now: each holds megabytes of memory, so there are only so many; and one host that sends many, or
//! slowly, must not keep the others' evidence out.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::app::{Problem, ProblemKind};

/// Bodies that are taken at a time: each holds up to 16 MiB.
const BODIES_MAX: usize = 32;
/// Bodies of one owner.
const BODIES_OF_OWNER_MAX: usize = 2;
/// How long a body waits for its turn.
const WAIT_SECS_MAX: u64 = 20;

static ALL: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(BODIES_MAX)));
static OWNERS: LazyLock<Mutex<HashMap<String, Arc<Semaphore>>>> = LazyLock::new(Mutex::default);

/// The right to send a body. It ends when this is dropped.
pub struct Turn {
    _all: OwnedSemaphorePermit,
    _owner: OwnedSemaphorePermit,
}

/// Waits until the owner may send.
///
/// # Errors
/// [`ProblemKind::Unavailable`].
pub async fn wait(owner: &str) -> Result<Turn, Problem> {
    let own = {
        let mut owners = OWNERS.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody holds or waits for.
        owners.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        Arc::clone(owners.entry(owner.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(BODIES_OF_OWNER_MAX))))
    };
    let both = async {
        let own = own.acquire_owned().await.ok()?;
        let all = Arc::clone(&ALL).acquire_owned().await.ok()?;
        Some(Turn { _all: all, _owner: own })
    };
    let turn = timeout(Duration::from_secs(WAIT_SECS_MAX), both).await.ok().flatten();
    turn.ok_or_else(|| {
        Problem::new(ProblemKind::Unavailable, "too many uploads at this moment").hint("send it again in a minute")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_owner_does_not_keep_the_others_out() {
        let mut turns = Vec::new();
        for _ in 0..BODIES_OF_OWNER_MAX {
            turns.push(wait("agent:slow").await.unwrap());
        }
        let fifth = timeout(Duration::from_millis(50), wait("agent:slow"));
        assert!(fifth.await.is_err());
        drop(wait("agent:other").await.unwrap());
        turns.pop();
        drop(wait("agent:slow").await.unwrap());
    }
}
