//! From the second alert to an isolation that holds (`tests/benches/automation.rs`).

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use super::{Row, median, ms};
use crate::programs::{self, Build};
use crate::shell::output;

/// Prints how long the evidence takes; returns what the isolation is held against. `None` where it cannot be measured: it
/// takes root, namespaces and nf_tables.
pub(super) fn measure(agent: &Path) -> anyhow::Result<Option<Row>> {
    let (holdfast, server) = (programs::holdfast(Build::Release)?, programs::server(Build::Release)?);
    let mut bench = Command::new(programs::bench("automation")?);
    bench.env("HOLDFAST_AGENT", agent).env("HOLDFAST_BIN", holdfast).env("HOLDFAST_SERVER", server);
    let said = output(&mut bench)?;
    let Some(told) = said.lines().next_back() else {
        println!("   not measured: see above");
        return Ok(None);
    };
    let told: Value = serde_json::from_str(told)?;
    let rounds = told["rounds"].as_array().context("the bench tells its rounds")?;
    let of = |step: &str| -> Vec<u64> { rounds.iter().filter_map(|round| round[step].as_u64()).collect() };
    let held = of("second_alert_to_held");
    println!(
        "   first alert to the volatile tier on the server, and a person asked: {} ms; second alert to held: {} to {} ms",
        ms(median(of("first_alert_to_asked"))),
        ms(held.iter().min().copied().context("the bench tells second_alert_to_held")?),
        ms(held.iter().max().copied().unwrap_or(0))
    );
    let what = "2nd alert to held : isolation at the console";
    let aim = "3 s from the second alert";
    Ok(Some(Row { what, baseline: median(of("at_the_console")), subject: median(held), aim }))
}
