//! Thousands of agents at once (`tests/benches/fleet.rs`).

use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use super::{ms, ratio};
use crate::programs::{self, Build};
use crate::shell::output;

/// Prints what a fleet costs, against one agent alone on the same server.
pub(super) fn measure() -> anyhow::Result<()> {
    let (holdfast, server) = (programs::holdfast(Build::Release)?, programs::server(Build::Release)?);
    let mut bench = Command::new(programs::bench("fleet")?);
    bench.env("HOLDFAST_BIN", holdfast).env("HOLDFAST_SERVER", server);
    let said = output(&mut bench)?;
    let told: Value = serde_json::from_str(said.lines().next_back().unwrap_or_default())?;
    let number =
        |path: &str| told.pointer(path).and_then(Value::as_u64).with_context(|| format!("the bench tells {path}"));
    println!(
        "   {} agents enrolled in {} ms; an order each, all through in {} ms: none lost, none run twice",
        number("/fleet/agents")?,
        ms(number("/fleet/enrolled_ns")?),
        ms(number("/fleet/took_ns")?)
    );
    for what in ["delivered", "completed"] {
        let side = |side: &str, part: &str| number(&format!("/{side}/{what}/{part}_ns"));
        println!(
            "   order → {what}: p50 {} ms, p99 {} ms; one agent alone p50 {} ms (x {})",
            ms(side("fleet", "p50")?),
            ms(side("fleet", "p99")?),
            ms(side("alone", "p50")?),
            ratio(side("fleet", "p50")?, side("alone", "p50")?)
        );
    }
    println!(
        "   the server holds {} MiB before, {} MiB with all enrolled, {} MiB halfway, {} MiB at its peak",
        number("/memory/before_kib")? >> 10,
        number("/memory/enrolled_kib")? >> 10,
        number("/memory/halfway_kib")? >> 10,
        number("/memory/peak_kib")? >> 10
    );
    Ok(())
}
