//! What a thread gives up before it parses what a host, an image or a stranger holds: should a parser ever be turned
//! against the agent, what turned it can run nothing and change nothing through it.
//!
//! Every collector's worker gives up running programs, tracing others, modules, mounts that are seen by others, changes of
//! file systems by name, of clocks and of BPF ([`filter`]). Those of logs and files, which parse the most and look at no
//! process, give up opening anything for writing, TCP and signals to others as well ([`landlock`]): under Landlock
//! `/proc/PID` of other processes cannot be read, so the workers of the tiers before cannot have it.
//!
//! The threads of the daemon do not: it starts the keeper of containments, and it contains.

mod filter;
mod landlock;
pub mod permissions;
pub mod watchdog;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use wire::Tier;

/// What could be given up in this process and what could not, and why: `seccomp` and `landlock`. It is the kernel's to say,
/// and the same for every thread.
static GIVEN_UP: Mutex<BTreeMap<&str, Result<String, String>>> = Mutex::new(BTreeMap::new());

/// Confines this thread for a worker of this tier, and every thread and process that it starts. A kernel that lacks
/// something is no reason not to collect: it is said once in the log, and in the footprint.
pub fn confine_worker(tier: Tier) {
    note("seccomp", filter::apply().map(|()| "all collectors".to_owned()));
    if matches!(tier, Tier::Logs | Tier::Files) {
        let applied = landlock::apply(landlock::Network::None);
        note("landlock", applied.map(|version| format!("collectors of logs and files, version {version}")));
    }
}

/// Confines a thread that only passes bytes on between sockets.
pub fn confine_relay() {
    note("seccomp", filter::apply().map(|()| "all of it".to_owned()));
    note("landlock", landlock::apply(landlock::Network::Tcp).map(|version| format!("all of it, version {version}")));
}

/// For the footprint.
pub fn report() -> Value {
    let given_up = GIVEN_UP.lock().unwrap_or_else(PoisonError::into_inner);
    let said = given_up.iter().map(|(what, applied)| match applied {
        Ok(whom) => ((*what).to_owned(), json!(whom)),
        Err(why) => ((*what).to_owned(), json!(format!("no: {why}"))),
    });
    Value::Object(said.collect())
}

fn note(what: &'static str, applied: io::Result<String>) {
    let applied = applied.map_err(|error| error.to_string());
    let mut given_up = GIVEN_UP.lock().unwrap_or_else(PoisonError::into_inner);
    if let (Err(why), None) = (&applied, given_up.get(what)) {
        tracing::warn!(what, why, "the agent's threads cannot be confined as they should");
    }
    given_up.insert(what, applied);
}

#[cfg(test)]
mod tests;
