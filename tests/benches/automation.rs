//! What `cargo xtask bench` asks of automation: the time from the second alert to an isolation that was seen to hold from
//! both sides, on a host with 300 more processes. What it is held against is the same isolation by root at the console of
//! the same host: planned, applied and seen to hold from there. Only for root.
//!
//! One JSON object on standard output; times are in nanoseconds.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a bench says that it failed")]

use std::time::{Duration, Instant};

use harness::{Automated, is_root_or_skipped, until};
use serde_json::{Value, json};

const PROCESSES: usize = 300;
/// Each on a host of its own: one is isolated once a day.
const ROUNDS: usize = 5;
const SOON: Duration = Duration::from_mins(1);

fn main() {
    if !is_root_or_skipped("the bench of automation") {
        return;
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let Some(automated) = Automated::start(PROCESSES) else { return };
        rounds.push(round(&automated));
    }
    println!("{}", json!({"processes": PROCESSES, "rounds": rounds}));
}

fn round(automated: &Automated) -> Value {
    // The first alert alone: from it to the receipt for the volatile tier.
    let first = Instant::now();
    let incident = automated.alert("falco");
    let asked = automated.await_stage(&incident, "waiting");
    let preserved = first.elapsed();
    let second = Instant::now();
    automated.alert("guardduty");
    let holding = automated.await_stage(&incident, "holding");
    let held = second.elapsed();
    let order = holding["order"].as_str().unwrap();
    automated.site.holdfast_within(&["release", order, "--follow"], SOON).expect_code(0);
    until("the host takes connections again", SOON, || automated.is_open().then_some(()));
    let console = Instant::now();
    automated.at_the_console(&["contain", "isolate_network", "--lease", "1h"]).expect_code(0);
    let by_hand = console.elapsed();
    automated.at_the_console(&["release", "--all"]).expect_code(0);
    until("nothing is left to keep", SOON, || (!automated.is_kept()).then_some(()));
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap();
    json!({
        "at_the_console": nanos(by_hand), "first_alert_to_asked": nanos(preserved),
        "second_alert_to_held": nanos(held), "why": [&asked["why"], &holding["why"]],
    })
}
