//! How long to wait before the next attempt: twice as long each time, with jitter, so that a fleet does not come back
//! all at once.

use std::time::Duration;

/// Waits that grow from `first` to `longest`.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// For an upload: a cut of some seconds is got over in some seconds.
    pub const fn upload() -> Self {
        Self::new(Duration::from_millis(250), Duration::from_secs(8))
    }

    /// For an agent that has nothing to say.
    pub const fn idle() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_mins(1))
    }

    const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The next wait: half of it certain, half of it by chance.
    pub fn wait(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(self.longest);
        let mut byte = [0];
        let _ = getrandom::fill(&mut byte);
        full / 2 + full / 2 * u32::from(byte[0]) / 255
    }

    /// It went well: the next wait is the first again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_begin_again() {
        let mut backoff = Backoff::upload();
        let waits: Vec<Duration> = (0..12).map(|_| backoff.wait()).collect();
        assert!(waits[0] >= Duration::from_millis(125) && waits[0] <= Duration::from_millis(250));
        assert!(waits[11] >= Duration::from_secs(4) && waits[11] <= Duration::from_secs(8));
        backoff.reset();
        assert!(backoff.wait() <= Duration::from_millis(250));
    }
}
