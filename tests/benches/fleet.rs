//! What `cargo xtask bench fleet` asks: 2,000 agents that enrol, wait, and take an order each, all at once; the same with
//! one agent on the same server is what they are held against.
//!
//! `HOLDFAST_FLEET` says how many. One JSON object on standard output: times in nanoseconds, memory in KiB.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a bench says that it failed")]
#![expect(clippy::print_stdout, reason = "the numbers are its answer")]

#[path = "../fleet/mod.rs"]
mod simulated;

use std::fs;
use std::time::Duration;

use harness::Site;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use simulated::{Fleet, Told, part};

const AGENTS: usize = 2_000;
/// One agent at a time, so many times.
const ALONE: usize = 10;

fn main() {
    let agents = std::env::var("HOLDFAST_FLEET").map_or(AGENTS, |count| count.parse().unwrap());
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
    let mut site = Site::new();
    let server = format!("/proc/{}", site.server_process().unwrap().pid().as_raw_nonzero());
    let kib = |field: &str| -> u64 {
        let status = fs::read_to_string(format!("{server}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let mut alone: Vec<Told> = Vec::new();
    for _ in 0..ALONE {
        alone.push(Fleet::enrol(&site, 1).run(&mut site, |_| {}));
    }
    let before = kib("VmRSS:");
    let fleet = Fleet::enrol(&site, agents);
    let enrolled = kib("VmRSS:");
    let mut halfway = 0;
    let told = fleet.run(&mut site, |_| halfway = kib("VmRSS:"));
    let all = |of: fn(&Told) -> &Vec<Duration>| {
        let mut times: Vec<Duration> = alone.iter().flat_map(|told| of(told).iter().copied()).collect();
        times.sort_unstable();
        times
    };
    let alone = json!({
        "completed": parts(&all(|told| &told.completed)), "delivered": parts(&all(|told| &told.delivered)),
        "orders": ALONE,
    });
    let fleet = json!({
        "agents": told.agents, "completed": parts(&told.completed), "delivered": parts(&told.delivered),
        "enrolled_ns": ns(told.enrolled), "took_ns": ns(told.took),
    });
    let memory = json!({
        "before_kib": before, "enrolled_kib": enrolled, "halfway_kib": halfway, "peak_kib": kib("VmHWM:"),
    });
    println!("{}", json!({"alone": alone, "fleet": fleet, "memory": memory}));
}

fn parts(sorted: &[Duration]) -> Value {
    json!({"p50_ns": ns(part(sorted, 50)), "p99_ns": ns(part(sorted, 99))})
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}
