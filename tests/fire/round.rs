//! One round: what is collected, and what fails when. All of it comes from the seed.

use std::fmt;

use harness::Random;

use crate::fault::{Fault, KINDS};

/// Files of a mebibyte, at most.
const FILES_MAX: u64 = 10;

/// See the module.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Files of a mebibyte that are collected after what is volatile …
    pub files: u64,
    /// … at this rate, so that the collection takes some seconds.
    pub mebibytes_per_sec: u64,
    /// What fails, the earliest first.
    pub faults: Vec<Fault>,
    /// The courier sets out so many milliseconds after the dispatch.
    pub courier_at: u64,
}

impl Plan {
    /// The round of this seed.
    pub fn from_seed(seed: u64) -> Self {
        let mut random = Random::from_seed(seed);
        let kind = |number: u64| KINDS[usize::try_from(number % KINDS.len() as u64).unwrap()];
        let mut faults = vec![Fault::draw(kind(seed), &mut random)];
        for _ in 0..random.below(3) {
            let number = random.number();
            faults.push(Fault::draw(kind(number), &mut random));
        }
        faults.sort_by_key(|fault| fault.at);
        Self {
            files: 3 + random.below(FILES_MAX - 2),
            mebibytes_per_sec: 2 + random.below(4),
            faults,
            courier_at: random.below(3_000),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        write!(f, "{} MiB at {} MiB/s; {}", self.files, self.mebibytes_per_sec, faults.join(", "))
    }
}
