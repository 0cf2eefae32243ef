//! Alerts: assessed on one core, and taken in over HTTP (`tests/benches/intake.rs`).

use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use super::{median, ms, ratio};
use crate::programs::{self, Build};
use crate::shell::output;

/// Prints both, each with what it is measured against.
pub(super) fn measure(alerts: Option<&str>) -> anyhow::Result<()> {
    let (holdfast, server) = (programs::holdfast(Build::Release)?, programs::server(Build::Release)?);
    let mut bench = Command::new(programs::bench("intake")?);
    bench.args(alerts).env("HOLDFAST_BIN", holdfast).env("HOLDFAST_SERVER", server);
    let told: Value = serde_json::from_str(output(&mut bench)?.trim())?;
    let number =
        |part: &str, key: &str| told[part][key].as_u64().with_context(|| format!("the bench tells {part}.{key}"));
    let times = |key: &str| {
        let times = told["assess"][key].as_array().with_context(|| format!("the bench tells {key}"))?;
        Ok::<_, anyhow::Error>(median(times.iter().filter_map(Value::as_u64).collect()))
    };
    let (count, bytes) = (number("assess", "alerts")?, number("assess", "bytes")?);
    let (baseline, subject) = (times("baseline_ns")?, times("subject_ns")?);
    println!(
        "   {} alerts a second are assessed on one core, of {} bytes each",
        rate(count, subject),
        bytes / count.max(1)
    );
    println!("   against reading the same bytes as JSON: {}", ratio(subject, baseline));
    let (count, subject) = (number("http", "alerts")?, number("http", "subject_ns")?);
    let (senders, refused) = (number("http", "senders")?, number("http", "refused")?);
    println!(
        "   {} alerts a second over HTTP are durable ({count} of {senders} senders in {} ms; {refused} were told to come again)",
        rate(count, subject),
        ms(subject)
    );
    for (what, key) in [
        ("appending them to a file, each synced", "append_ns"),
        ("appending them, 64 at a time synced", "append_64_ns"),
        ("inserting them into SQLite, each a commit", "insert_ns"),
    ] {
        let baseline = number("http", key)?;
        println!("   against {what} ({} a second): {}", rate(count, baseline), ratio(subject, baseline));
    }
    Ok(())
}

fn rate(count: u64, nanoseconds: u64) -> u64 {
    count.saturating_mul(1_000_000_000) / nanoseconds.max(1)
}
