//! Where the time comes from.

pub use wire::Instant;

/// Where the time comes from. Injected, so that the same host tree gives the same bundle.
pub trait Clock {
    /// The wall clock.
    fn realtime(&self) -> Instant;
    /// Nanoseconds since boot, suspend included (CLOCK_BOOTTIME, clock_gettime(2)): it cannot be set by anybody.
    fn boottime_ns(&self) -> u64;
}
