//! Reading no faster than was asked for, so that those who work do not wait for the disk.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    begun: Instant,
    bytes: u64,
    bytes_per_sec: Option<u64>,
}

impl Pace {
    pub fn new(bytes_per_sec: Option<u64>) -> Self {
        Self { begun: Instant::now(), bytes: 0, bytes_per_sec }
    }

    /// So many bytes were read. Returns when more may be.
    pub async fn read(&mut self, bytes: u64) {
        self.bytes += bytes;
        if let Some(rate) = self.bytes_per_sec {
            let due_ms = u128::from(self.bytes) * 1000 / u128::from(rate.max(1));
            let due = Duration::from_millis(u64::try_from(due_ms).unwrap_or(u64::MAX));
            if let Some(due) = self.begun.checked_add(due) {
                sleep_until(due).await;
            }
        }
    }

    /// How many were.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn so_many_bytes_take_their_time() {
        let mut pace = Pace::new(Some(20_000));
        for _ in 0..10 {
            pace.read(500).await;
        }
        assert!(pace.begun.elapsed() >= Duration::from_millis(250), "{pace:?}");
        assert_eq!(pace.bytes(), 5000);
    }
}
