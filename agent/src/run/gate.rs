//! Lets one run wait until another has what is volatile: physical memory is read beside the run, and not before it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use wire::Tier;

use super::progress::Progress;

/// Closed at first.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits until it is open.
    pub fn wait(&self) {
        let mut is_open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_open {
            is_open = self.0.1.wait(is_open).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Opens a gate when it is dropped, so that nobody waits for a run that never came.
#[derive(Debug)]
pub struct Opener(pub Gate);

impl Drop for Opener {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// The progress of a run that opens a gate when its volatile tier is through, or when it ends.
pub struct Opens<'a> {
    /// Opens it.
    pub opener: Opener,
    /// Told of everything.
    pub inner: &'a mut dyn Progress,
}

impl Progress for Opens<'_> {
    fn step(&mut self, tier: Tier, collector: &str) {
        if tier != Tier::Volatile {
            self.opener.0.open();
        }
        self.inner.step(tier, collector);
    }

    fn moved(&mut self, items: u64, bytes: u64) {
        self.inner.moved(items, bytes);
    }

    fn tier_done(&mut self, tier: Tier, took: Duration, items: u64, bytes: u64) {
        self.opener.0.open();
        self.inner.tier_done(tier, took, items, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::super::progress::Silent;
    use super::*;

    #[test]
    fn it_opens_after_the_volatile_tier_or_with_the_end() {
        for ends in [false, true] {
            let gate = Gate::default();
            let waiting = std::thread::spawn({
                let gate = gate.clone();
                move || gate.wait()
            });
            let mut silent = Silent;
            let mut opens = Opens { opener: Opener(gate.clone()), inner: &mut silent };
            opens.step(Tier::Volatile, "processes");
            assert!(!*gate.0.0.lock().unwrap());
            if ends {
                drop(opens);
            } else {
                opens.step(Tier::Memory, "deleted_files");
            }
            waiting.join().unwrap();
        }
    }
}
