//! From a dispatch to the receipt of the volatile tier, and what an idle agent costs (`tests/benches/path.rs`).

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use super::{median, ms};
use crate::programs::{self, Build};
use crate::shell::output;

const STEPS: [&str; 4] = ["sign_and_send", "deliver_and_check", "start", "collect_and_upload"];

/// Prints the median of each step and its share of the whole.
pub(super) fn measure(agent: &Path) -> anyhow::Result<()> {
    let (holdfast, server) = (programs::holdfast(Build::Release)?, programs::server(Build::Release)?);
    let mut bench = Command::new(programs::bench("path")?);
    bench.env("HOLDFAST_AGENT", agent).env("HOLDFAST_BIN", holdfast).env("HOLDFAST_SERVER", server);
    let told: Value = serde_json::from_str(output(&mut bench)?.trim())?;
    let rounds = told["rounds"].as_array().context("the bench tells its rounds")?;
    let of = |step: &str| median(rounds.iter().filter_map(|round| round[step].as_u64()).collect());
    let whole = |round: &Value| STEPS.iter().filter_map(|step| round[*step].as_u64()).sum();
    let all = median(rounds.iter().map(whole).collect());
    println!("   dispatch to the receipt of the volatile tier: {} ms (aim: under a second)", ms(all));
    for step in STEPS {
        println!("   {step:<18} {:>8} ms {:>4} %", ms(of(step)), of(step) * 100 / all.max(1));
    }
    let idle = &told["idle"];
    println!(
        "   idle agent: {} KiB resident, {} KiB of it anonymous; {} ticks of CPU in {} s; {} connection(s)",
        idle["rss_kib"], idle["anonymous_kib"], idle["cpu_ticks"], idle["seconds"], idle["connections"]
    );
    println!(
        "   after the collections: {} KiB resident, {} KiB anonymous",
        told["memory_after_kib"][0], told["memory_after_kib"][1]
    );
    Ok(())
}
