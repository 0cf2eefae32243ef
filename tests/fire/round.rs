//! One round: what is collected, and what fails when. All of it comes from the seed.

use std::fmt;

use harness::Random;

use crate::fault::{Fault, KINDS, Kind};

/// Files of a mebibyte, at most.
const FILES_MAX: u64 = 10;

/// See the module.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the records are.
    pub on_postgres: bool,
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
    /// The round of this seed, on a machine that has PostgreSQL or not.
    pub fn from_seed(seed: u64, has_postgres: bool) -> Self {
        let mut random = Random::from_seed(seed);
        let kind = |number: u64| KINDS[usize::try_from(number % KINDS.len() as u64).unwrap()];
        // Every third round, and those whose first failure is the database's.
        let on_postgres = has_postgres && (kind(seed) == Kind::DatabaseRestarted || random.below(3) == 0);
        let mut faults = vec![Fault::draw(kind(seed), on_postgres, &mut random)];
        for _ in 0..random.below(3) {
            let number = random.number();
            faults.push(Fault::draw(kind(number), on_postgres, &mut random));
        }
        faults.sort_by_key(|fault| fault.at);
        Self {
            on_postgres,
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
        let records = if self.on_postgres { "PostgreSQL" } else { "SQLite" };
        write!(f, "{records}, {} MiB at {} MiB/s; {}", self.files, self.mebibytes_per_sec, faults.join(", "))
    }
}
