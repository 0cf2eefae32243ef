//! The volatile tier against a bare loop that reads the same files of procfs (`tests/benches/proc_loop.rs`).

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::Context as _;
use serde_json::Value;

use super::{Bench, ROUNDS, Row, median, ms};
use crate::shell::output;

/// Idle children, so that there is something to read on a small machine.
const PROCESSES: usize = 300;

const PROFILE: &str = "name: bench\nsummary: The volatile tier alone.\ncollect:\n  - include: volatile\n";

/// Children that are ended when they go out of scope.
struct Herd(Vec<Child>);

impl Herd {
    fn start() -> anyhow::Result<Self> {
        let mut herd = Self(Vec::with_capacity(PROCESSES));
        for _ in 0..PROCESSES {
            let mut sleep = Command::new("sleep");
            sleep.arg("infinity").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            herd.0.push(sleep.spawn().context("sleep could not be started")?);
        }
        Ok(herd)
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

/// Two rows: the collectors of the tier, and the whole process, with key, header and seal.
pub(super) fn compare(bench: &Bench, proc_loop: &Path) -> anyhow::Result<[Row; 2]> {
    let profile = bench.folder.path().join("volatile.yaml");
    std::fs::write(&profile, PROFILE)?;
    let profile = profile.to_str().context("a temporary folder has a plain name")?;
    let herd = Herd::start()?;
    let (mut bare, mut tier, mut bare_process, mut process) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut shares = Vec::new();
    let mut read = Value::Null;
    for round in 0..ROUNDS {
        let started = Instant::now();
        read = serde_json::from_str(&output(&mut Command::new(proc_loop))?)?;
        bare_process.push(since(started)?);
        bare.push(read["ns"].as_u64().context("the loop tells its time")?);
        let started = Instant::now();
        let told: Value = serde_json::from_str(&output(&mut bench.collect(profile, &format!("volatile-{round}")))?)?;
        process.push(since(started)?);
        let spans = spans(&told).context("the agent says when each collector began and ended")?;
        let begin = spans.iter().map(|span| span.1).min().unwrap_or(0);
        let end = spans.iter().map(|span| span.2).max().unwrap_or(0);
        tier.push(end - begin);
        shares.push(spans);
    }
    drop(herd);
    println!(
        "   {} processes, {} files, {} KiB",
        read["processes"],
        read["files"],
        read["bytes"].as_u64().unwrap_or(0) >> 10
    );
    let names: Vec<String> =
        shares.first().map(|spans| spans.iter().map(|span| span.0.clone()).collect()).unwrap_or_default();
    for (number, name) in names.iter().enumerate() {
        let times = shares.iter().filter_map(|spans| spans.get(number)).map(|span| span.2 - span.1);
        println!("   {name:<16} {:>8} ms", ms(median(times.collect())));
    }
    Ok([
        Row {
            what: "volatile tier : bare loop over /proc",
            baseline: median(bare),
            subject: median(tier),
            aim: "at most 2.00",
        },
        Row {
            what: "  the whole process, key, seal and disk included",
            baseline: median(bare_process),
            subject: median(process),
            aim: "-",
        },
    ])
}

fn since(started: Instant) -> anyhow::Result<u64> {
    Ok(u64::try_from(started.elapsed().as_nanos())?)
}

/// Collector, begin and end in nanoseconds of the day.
fn spans(told: &Value) -> Option<Vec<(String, u64, u64)>> {
    let steps = told["coverage"].as_array()?;
    let span = |step: &Value| {
        let (begin, end) = (of_day(step["started"].as_str()?)?, of_day(step["ended"].as_str()?)?);
        let midnight = if end < begin { 86_400_000_000_000 } else { 0 };
        Some((step["collector"].as_str()?.to_owned(), begin, end + midnight))
    };
    steps.iter().map(span).collect()
}

/// Nanoseconds since midnight, of RFC 3339 with nine fractional digits.
fn of_day(time: &str) -> Option<u64> {
    let field = |range: std::ops::Range<usize>| time.get(range)?.parse::<u64>().ok();
    let seconds = (field(11..13)? * 60 + field(14..16)?) * 60 + field(17..19)?;
    Some(seconds * 1_000_000_000 + field(20..29)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_read_to_the_nanosecond() {
        assert_eq!(of_day("2026-11-21T01:02:03.000000004Z"), Some(3_723_000_000_004));
        assert_eq!(of_day("2026-11-21"), None);
    }
}
