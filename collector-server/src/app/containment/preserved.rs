//! Evidence goes before isolation, by construction: automation's isolation is built from a [`Preserved`] alone, and one is
//! made only of the receipt for a complete volatile tier, or of a loss that is named.

use serde::{Deserialize, Serialize};
use wire::containment::{BUDGET_SECS_MIN, EvidenceBasis};
use wire::order::OrderState;
use wire::{Instant, OrderId, Phase};

use crate::store::CheckpointRecord;

const SECOND: i128 = 1_000_000_000;

/// See the module. What was made once is kept in the records, and read from there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Preserved(EvidenceBasis);

/// A capture as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capture {
    /// How long automation waits for its volatile tier.
    pub budget_secs: u32,
    /// Its order.
    pub order: OrderId,
    /// Where the order stands.
    pub state: OrderState,
    /// When the agent took it: its time runs from then on, for a host that is away loses nothing to an isolation.
    pub taken: Option<Instant>,
}

impl Capture {
    fn is_taken_for(&self, secs: u32, now: Instant) -> bool {
        self.taken.is_some_and(|taken| now.0 >= taken.0 + i128::from(secs) * SECOND)
    }

    /// It ended, and the host believes that by now: of a capture that is cut short it takes no loss at once, or whoever has
    /// the server could do without evidence.
    fn is_over(&self, now: Instant) -> bool {
        self.state.is_final() && (self.taken.is_none() || self.is_taken_for(BUDGET_SECS_MIN, now))
    }
}

impl Preserved {
    /// By the receipt for the end of the volatile tier; `None` for any other receipt.
    pub fn receipted(checkpoint: &CheckpointRecord) -> Option<Self> {
        let receipt = &checkpoint.receipt;
        (receipt.phase == Phase::Volatile && receipt.phase_complete)
            .then(|| Self(EvidenceBasis::Receipted { bundle: receipt.bundle, receipt: checkpoint.envelope.clone() }))
    }

    /// By a loss: the time is spent, or the order ended without that tier. `None` while there is hope.
    pub fn lost(capture: &Capture, now: Instant) -> Option<Self> {
        let why = if capture.is_over(now) {
            format!("the capture is {}", capture.state.name())
        } else if capture.is_taken_for(capture.budget_secs, now) {
            format!("the volatile tier was not on the server within {} s", capture.budget_secs)
        } else {
            return None;
        };
        let lost = format!("{why}: processes, sockets, maps and sessions as they were before the isolation");
        Some(Self(EvidenceBasis::BudgetSpent { capture: capture.order, lost }))
    }

    /// What the isolation's order says of it.
    pub const fn basis(&self) -> &EvidenceBasis {
        &self.0
    }

    /// True when something is lost.
    pub const fn is_loss(&self) -> bool {
        !matches!(self.0, EvidenceBasis::Receipted { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_one_when_the_time_is_spent_or_the_order_has_ended() {
        let order = OrderId::new(1, [1; 10]);
        let capture = |state| Capture { budget_secs: 3, order, state, taken: Some(Instant(0)) };
        let running = capture(OrderState::Running);
        let away = Capture { taken: None, ..capture(OrderState::Queued) };
        assert_eq!(Preserved::lost(&away, Instant(9 * SECOND)), None);
        assert_eq!(Preserved::lost(&running, Instant(3 * SECOND - 1)), None);
        let spent = Preserved::lost(&running, Instant(3 * SECOND)).unwrap();
        assert!(spent.is_loss() && format!("{:?}", spent.basis()).contains("within 3 s"));
        let cut_short = Capture { budget_secs: 10, ..capture(OrderState::Interrupted) };
        assert_eq!(Preserved::lost(&cut_short, Instant(3 * SECOND - 1)), None);
        let lost = Preserved::lost(&cut_short, Instant(3 * SECOND)).unwrap();
        assert!(format!("{:?}", lost.basis()).contains("the capture is interrupted"));
        let never_taken = Capture { taken: None, ..capture(OrderState::Refused) };
        let refused = Preserved::lost(&never_taken, Instant(0)).unwrap();
        assert!(format!("{:?}", refused.basis()).contains("the capture is refused"));
    }
}
