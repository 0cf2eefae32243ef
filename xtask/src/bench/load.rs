//! The server under load (`tests/benches/load.rs`).

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use super::{Row, median, ms};
use crate::programs::{self, Build};
use crate::shell::output;

/// Prints what many uploads and many waiting agents cost; returns what one upload is held against.
pub(super) fn measure(agent: &Path) -> anyhow::Result<Row> {
    let (holdfast, server) = (programs::holdfast(Build::Release)?, programs::server(Build::Release)?);
    let mut bench = Command::new(programs::bench("load")?);
    bench.env("HOLDFAST_AGENT", agent).env("HOLDFAST_BIN", holdfast).env("HOLDFAST_SERVER", server);
    let said = output(&mut bench)?;
    let told: Value = serde_json::from_str(said.lines().next_back().unwrap_or_default())?;
    let number =
        |part: &str, key: &str| told[part][key].as_u64().with_context(|| format!("the bench tells {part}.{key}"));
    let times = |key: &str| {
        let times = told["ingest"][key].as_array().with_context(|| format!("the bench tells {key}"))?;
        Ok::<_, anyhow::Error>(median(times.iter().filter_map(Value::as_u64).collect()))
    };
    let (baseline, subject, bytes) = (times("baseline_ns")?, times("subject_ns")?, number("ingest", "bytes")?);
    println!(
        "   ingest: {} MiB/s through TLS, tus, digest and sync; {} MiB/s are written, synced and hashed",
        rate(bytes, subject),
        rate(bytes, baseline)
    );
    let (uploads, length) = (number("uploads", "uploads")?, number("uploads", "bytes")?);
    println!(
        "   {uploads} uploads of {} MiB at once: {} ms; the server holds {} MiB at its peak, {} MiB before",
        length >> 20,
        ms(number("uploads", "took_ns")?),
        number("uploads", "peak_kib")? >> 10,
        number("uploads", "before_kib")? >> 10
    );
    let (polls, memory) = (number("polls", "polls")?, number("polls", "memory_kib")?);
    println!(
        "   {polls} idle long polls: {} KiB and {} descriptor(s) each; {} ticks of CPU in {} s for all",
        memory / polls.max(1),
        number("polls", "files")? / polls.max(1),
        number("polls", "cpu_ticks")?,
        number("polls", "idle_secs")?
    );
    let what = "ingest : cat > file; sync, and SHA-256";
    Ok(Row { what, baseline, subject, aim: "at most 1.25 (0.8 of its throughput)" })
}

fn rate(bytes: u64, nanoseconds: u64) -> u64 {
    let per_sec = u128::from(bytes) * 1_000_000_000 / u128::from(nanoseconds.max(1));
    u64::try_from(per_sec >> 20).unwrap_or(u64::MAX)
}
