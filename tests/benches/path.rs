//! What `cargo xtask bench` asks of the path: the time from a dispatch to the receipt of the volatile tier, step by step,
//! on a host with 300 more processes; and what an idle agent costs.
//!
//! One JSON object on standard output. Times are in nanoseconds; all clocks are this machine's.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a bench says that it failed")]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use harness::{Host, Running, Site, until};
use rustix::process::Signal;
use serde_json::{Value, json};

const PROCESSES: usize = 300;
const ROUNDS: usize = 5;
/// Idle means: nothing was asked of the agent for so long.
const IDLE: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_mins(1);

struct Herd(Vec<Child>);

impl Herd {
    fn start() -> Self {
        let mut sleep = Command::new("sleep");
        sleep.arg("infinity").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self((0..PROCESSES).map(|_| sleep.spawn().unwrap()).collect())
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}

fn main() {
    let site = Site::new();
    let host = site.enroll("bench");
    let daemon = host.daemon();
    until("the agent waits for orders", SOON, || {
        let hosts = site.api("hosts");
        (hosts["items"][0]["connected"] == true).then_some(())
    });
    let idle = idle(&site, &daemon);
    let herd = Herd::start();
    let incident = site.alert("bench", &json!({"event_type": "malware", "host": "bench", "details": "a bench"}));
    let rounds: Vec<Value> = (0..ROUNDS).map(|_| round(&site, &host, &incident)).collect();
    let after = memory_kib(&daemon);
    drop(herd);
    daemon.signal(Signal::TERM);
    daemon.wait(SOON).expect_code(0);
    println!("{}", json!({"idle": idle, "memory_after_kib": after, "rounds": rounds}));
}

fn idle(site: &Site, daemon: &Running) -> Value {
    let before = cpu_ticks(daemon);
    // What is measured is a time in which nothing happens.
    std::thread::sleep(IDLE);
    let (rss, anonymous) = memory_kib(daemon);
    json!({
        "anonymous_kib": anonymous, "connections": site.cable.open(), "cpu_ticks": cpu_ticks(daemon) - before,
        "rss_kib": rss, "seconds": IDLE.as_secs(),
    })
}

/// `VmRSS` and `RssAnon` of proc_pid_status(5).
fn memory_kib(daemon: &Running) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid().as_raw_nonzero())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    (field("VmRSS:"), field("RssAnon:"))
}

/// `utime` and `stime` of proc_pid_stat(5).
fn cpu_ticks(daemon: &Running) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid().as_raw_nonzero())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// From the start of `holdfast dispatch` to the receipt, in the steps between.
fn round(site: &Site, host: &Host, incident: &str) -> Value {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let order = host.dispatch(site, incident, "triage");
    let told = site.await_order(&order, "completed", SOON);
    let evidence = site.api(&format!("evidence/{}", told["bundle"].as_str().unwrap()));
    let receipts = evidence["receipts"].as_array().unwrap();
    let receipt = receipts.iter().find(|receipt| receipt["phase"] == "volatile" && receipt["phase_complete"] == true);
    let custody = site.api(&format!("custody?incident={incident}&limit=500"));
    let issued = custody["items"].as_array().unwrap().iter().find(|leaf| {
        leaf["event"] == "order_issued" && leaf["subject"].as_str().is_some_and(|subject| subject.ends_with(&order))
    });
    let event = |name: &str| {
        let found = told["events"].as_array().unwrap().iter().find(|event| event["event"] == name);
        at(&found.unwrap()["time"])
    };
    let moments = [
        i128::try_from(started).unwrap(),
        at(&issued.unwrap()["time"]),
        event("accepted"),
        event("started"),
        at(&receipt.unwrap()["received_at"]),
    ];
    let step = |n: usize| i64::try_from(moments[n] - moments[n - 1]).unwrap();
    json!({"sign_and_send": step(1), "deliver_and_check": step(2), "start": step(3), "collect_and_upload": step(4)})
}

fn at(time: &Value) -> i128 {
    serde_json::from_value::<wire::Instant>(time.clone()).unwrap().0
}
