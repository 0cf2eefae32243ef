//! What `cargo xtask bench` asks of automation: the time from the second alert to an isolation that was seen to hold from
//! both sides, on a host with 300 more processes. Only for root.
//!
//! One JSON object on standard output; times are in nanoseconds.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a bench says that it failed")]

use std::time::Instant;

use harness::{Automated, is_root_or_skipped};
use serde_json::json;

const PROCESSES: usize = 300;

fn main() {
    if !is_root_or_skipped("the bench of automation") {
        return;
    }
    let Some(automated) = Automated::start(PROCESSES) else { return };
    // The first alert alone: from it to the receipt for the volatile tier.
    let started = Instant::now();
    let incident = automated.alert("falco");
    let asked = automated.await_stage(&incident, "waiting");
    let preserved = started.elapsed();
    let second = Instant::now();
    automated.alert("guardduty");
    let holding = automated.await_stage(&incident, "holding");
    let isolated = second.elapsed();
    let nanos = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap();
    let why = [&asked["why"], &holding["why"]];
    println!(
        "{}",
        json!({"first_alert_to_asked": nanos(preserved), "second_alert_to_held": nanos(isolated), "why": why})
    );
}
