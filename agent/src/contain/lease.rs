//! How long a containment may last. Within a boot CLOCK_BOOTTIME says so, which nobody can set; across a reboot the wall
//! clock does, held to what was left when it was last written down: a clock that starts in 1970 prolongs nothing.

use bundle::time::Clock;
use serde::{Deserialize, Serialize};
use wire::Instant;

use crate::host::Host;

const SECOND_NS: u64 = 1_000_000_000;
/// What is left is written down this often.
const NOTED_EVERY_NS: u64 = 60 * SECOND_NS;

/// A lease that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The boot that `until_boottime_ns` belongs to.
    boot_id: String,
    /// What was left of it when it was last written down.
    left_ns: u64,
    /// As it was asked for.
    pub secs: u64,
    /// When it ends, by the wall clock of the moment at which it was given.
    pub until: Instant,
    until_boottime_ns: u64,
}

impl Lease {
    /// A lease of so many seconds from now.
    pub fn begin(host: &Host, secs: u64) -> Self {
        let left_ns = secs.saturating_mul(SECOND_NS);
        Self {
            boot_id: boot_id(host),
            left_ns,
            secs,
            until: Instant(host.now().0.saturating_add(i128::from(left_ns))),
            until_boottime_ns: host.clock().boottime_ns().saturating_add(left_ns),
        }
    }

    /// What is left of it, in nanoseconds; 0 when it is over.
    pub fn left_ns(&self, host: &Host) -> u64 {
        self.left_at(&boot_id(host), host.clock())
    }

    fn left_at(&self, boot_id: &str, clock: &(dyn Clock + Send + Sync)) -> u64 {
        let left = if boot_id == self.boot_id {
            self.until_boottime_ns.saturating_sub(clock.boottime_ns())
        } else {
            u64::try_from(self.until.0.saturating_sub(clock.realtime().0).max(0)).unwrap_or(u64::MAX)
        };
        left.min(self.left_ns)
    }

    /// True when it is over.
    pub fn is_over(&self, host: &Host) -> bool {
        self.left_ns(host) == 0
    }

    /// True when the host was started again since it was last noted.
    pub fn is_of_another_boot(&self, host: &Host) -> bool {
        self.boot_id != boot_id(host)
    }

    /// Notes what is left, and binds the lease to this boot. True when there is something to write: the boot is another
    /// one, or a minute has passed.
    pub fn note(&mut self, host: &Host) -> bool {
        let boot_id = boot_id(host);
        let left_ns = self.left_at(&boot_id, host.clock());
        if boot_id == self.boot_id && self.left_ns - left_ns < NOTED_EVERY_NS {
            return false;
        }
        self.left_ns = left_ns;
        self.until_boottime_ns = host.clock().boottime_ns().saturating_add(left_ns);
        self.boot_id = boot_id;
        true
    }
}

fn boot_id(host: &Host) -> String {
    host.read_text("/proc/sys/kernel/random/boot_id", 64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    struct At {
        wall_secs: i128,
        boot_secs: u64,
    }

    impl Clock for At {
        fn realtime(&self) -> Instant {
            Instant(self.wall_secs * i128::from(SECOND_NS))
        }

        fn boottime_ns(&self) -> u64 {
            self.boot_secs * SECOND_NS
        }
    }

    fn host(root: &std::path::Path, boot: &str, at: At) -> Host {
        let folder = root.join("proc/sys/kernel/random");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("boot_id"), boot).unwrap();
        Host::at(root, at)
    }

    #[test]
    fn a_clock_that_is_set_moves_nothing_within_a_boot() {
        let root = tempfile::tempdir().unwrap();
        let at = |wall_secs, boot_secs| host(root.path(), "one", At { wall_secs, boot_secs });
        let lease = Lease::begin(&at(1000, 50), 60);
        assert_eq!(lease.left_ns(&at(0, 60)), 50 * SECOND_NS);
        assert_eq!(lease.left_ns(&at(900_000, 60)), 50 * SECOND_NS);
        assert!(!lease.is_over(&at(0, 109)) && lease.is_over(&at(0, 110)));
    }

    #[test]
    fn a_reboot_prolongs_nothing_whatever_its_clock_shows() {
        let root = tempfile::tempdir().unwrap();
        let at = |boot, wall_secs, boot_secs| host(root.path(), boot, At { wall_secs, boot_secs });
        let mut lease = Lease::begin(&at("one", 100_000, 50), 3600);
        assert!(!lease.note(&at("one", 100_010, 60)));
        assert!(lease.note(&at("one", 100_600, 650)));
        // By the wall clock ten minutes more have gone; by one of 1970 none, but nothing is won either.
        assert_eq!(lease.left_ns(&at("two", 101_200, 1)), 2400 * SECOND_NS);
        assert_eq!(lease.left_ns(&at("two", 5, 1)), 3000 * SECOND_NS);
        assert!(lease.is_over(&at("two", 104_000, 1)));
        assert!(lease.note(&at("two", 101_200, 1)));
        assert_eq!(lease.left_ns(&at("two", 5, 401)), 2000 * SECOND_NS);
    }
}
