//! A window of time, as the collectors of logs take it.

use bundle::time::Instant;

use super::since::Since;

/// Moments from `from` to `until`, both within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first moment.
    pub from: Instant,
    /// The last.
    pub until: Instant,
}

impl Window {
    /// What a collector's `since` and `until` mean now; `days` when nothing is said.
    pub fn new(since: Option<Since>, until: Option<Since>, days: u64, now: Instant) -> Self {
        Self {
            from: since.unwrap_or(Since::Ago(days * 86_400)).moment(now),
            until: until.map_or(Instant(i128::MAX), |until| until.moment(now)),
        }
    }

    /// True for a moment within.
    pub fn holds(&self, at: Instant) -> bool {
        self.from.0 <= at.0 && at.0 <= self.until.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_its_ends() {
        let now = Instant(10 * 86_400 * 1_000_000_000);
        let window = Window::new(None, Since::parse("1s"), 1, now);
        assert!(window.holds(Instant(9 * 86_400 * 1_000_000_000)) && window.holds(Instant(now.0 - 1_000_000_000)));
        assert!(!window.holds(Instant(9 * 86_400 * 1_000_000_000 - 1)) && !window.holds(now));
    }
}
