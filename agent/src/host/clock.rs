//! The clocks: the machine's own, and one that stands still for tests.

use bundle::time::{Clock, Instant};
use rustix::time::{ClockId, clock_gettime};

/// The clocks of the running machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn realtime(&self) -> Instant {
        let now = clock_gettime(ClockId::Realtime);
        Instant(i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec))
    }

    fn boottime_ns(&self) -> u64 {
        let now = clock_gettime(ClockId::Boottime);
        u64::try_from(i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)).unwrap_or(0)
    }
}

/// A clock that always shows the same moment.
#[derive(Clone, Copy, Debug)]
pub struct FixedClock(pub Instant);

impl Clock for FixedClock {
    fn realtime(&self) -> Instant {
        self.0
    }

    fn boottime_ns(&self) -> u64 {
        1_000_000_000
    }
}
