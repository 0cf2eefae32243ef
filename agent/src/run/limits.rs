//! Limits by token buckets of our own: bytes read and CPU time, each per second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant as Monotonic};

/// How fast a run may go and how much it may store. `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// Bytes read from disks per second.
    pub read_bytes_per_sec_max: Option<u64>,
    /// CPU time as a share of all the machine's cores, in percent.
    pub cpu_percent_max: Option<u32>,
}

/// Holds one step to the run's limits.
pub struct Limiter {
    rates: Rates,
    started: Monotonic,
    cpu_at_start: Duration,
    cores: u32,
    spent_bytes: u64,
    next_cpu_check: Monotonic,
    content_bytes_max: u64,
    content_bytes: u64,
    run_bytes: Arc<AtomicU64>,
    run_bytes_max: u64,
}

/// The CPU is looked at this often: often enough to be even, rarely enough to cost nothing.
const CPU_CHECK: Duration = Duration::from_millis(20);
/// The longest single pause, so that a stop is noticed.
const PAUSE_MAX: Duration = Duration::from_millis(100);

impl Limiter {
    /// A limiter for a step that may store `content_bytes_max`, in a run that has stored `run_bytes` of `run_bytes_max`.
    pub fn new(rates: Rates, content_bytes_max: u64, run_bytes: Arc<AtomicU64>, run_bytes_max: u64) -> Self {
        let now = Monotonic::now();
        let cores = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
        Self {
            rates,
            started: now,
            cpu_at_start: cpu_time(),
            cores,
            spent_bytes: 0,
            next_cpu_check: now,
            content_bytes_max,
            content_bytes: 0,
            run_bytes,
            run_bytes_max,
        }
    }

    /// Counts `bytes` of reading and sleeps until the rates allow them, or until `may_wait` says no.
    pub fn spend(&mut self, bytes: u64, may_wait: impl Fn() -> bool) {
        self.spent_bytes = self.spent_bytes.saturating_add(bytes);
        while may_wait() {
            let pause = self.pause();
            if pause.is_zero() {
                return;
            }
            std::thread::sleep(pause.min(PAUSE_MAX));
        }
    }

    fn pause(&mut self) -> Duration {
        let now = Monotonic::now();
        let elapsed = now - self.started;
        let for_reading = self.rates.read_bytes_per_sec_max.map_or(Duration::ZERO, |rate| {
            let nanos = u128::from(self.spent_bytes) * 1_000_000_000 / u128::from(rate.max(1));
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).saturating_sub(elapsed)
        });
        let for_cpu = match self.rates.cpu_percent_max {
            Some(percent) if now >= self.next_cpu_check => {
                let used = cpu_time().saturating_sub(self.cpu_at_start);
                let share = f64::from(percent.max(1)) / 100.0 * f64::from(self.cores);
                let pause = Duration::from_secs_f64(used.as_secs_f64() / share).saturating_sub(elapsed);
                if pause.is_zero() {
                    self.next_cpu_check = now + CPU_CHECK;
                }
                pause
            }
            _ => Duration::ZERO,
        };
        for_reading.max(for_cpu)
    }

    /// How many bytes of content the step may still hand over.
    pub fn content_bytes_left(&self) -> u64 {
        let of_step = self.content_bytes_max.saturating_sub(self.content_bytes);
        let of_run = self.run_bytes_max.saturating_sub(self.run_bytes.load(Ordering::Relaxed));
        of_step.min(of_run)
    }

    /// Counts content that is handed over.
    pub fn count_content(&mut self, bytes: u64) {
        self.content_bytes += bytes;
        self.run_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// CPU time of this process so far, user and system (getrusage(2)).
pub fn cpu_time() -> Duration {
    use nix::sys::time::TimeValLike;
    nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).map_or(Duration::ZERO, |usage| {
        let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        Duration::from_micros(u64::try_from(microseconds).unwrap_or(0))
    })
}
