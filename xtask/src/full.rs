//! What `cargo xtask test --full` adds: the program as it is shipped, its memory, ten minutes of
//! fuzzing for each parser of foreign bytes, and the path under fire for longer.

mod memory;

use std::path::Path;
use std::process::Command;

use anyhow::{bail, ensure};

use crate::programs::{self, Build, size};
use crate::setup::is_there;
use crate::shell::{cargo, root, run as run_it, stage};

/// The agent goes to every host: it stays small.
const AGENT_BYTES_MAX: u64 = 6 << 20;
/// Each fuzz target runs this long.
const FUZZ_SECS: u32 = 600;
/// What a parser takes longer for, or more memory, is a finding: half a minute, and MiB.
const FUZZ_LIMITS: [&str; 2] = ["-timeout=30", "-rss_limit_mb=1024"];
/// Rounds of the path under fire (`tests/fire`).
pub const FIRE_ROUNDS: u32 = 200;

/// See the module.
///
/// # Errors
/// The first thing that does not hold.
pub fn run() -> anyhow::Result<()> {
    let agent = stage("the agent as it is shipped", || programs::agent(Build::Release))?;
    println!("   {} ({})", agent.display(), size(&agent));
    stage("it is one static file of at most 6 MiB", || static_and_small(&agent))?;
    stage("2 GiB and 100,000 files in 64 MiB of memory", || memory::hold(&agent))?;
    stage("fuzzing", fuzz)?;
    stage("bench", || crate::bench::run(&[]))
}

fn static_and_small(agent: &Path) -> anyhow::Result<()> {
    let bytes = std::fs::metadata(agent)?.len();
    ensure!(bytes <= AGENT_BYTES_MAX, "the agent has {bytes} bytes, {AGENT_BYTES_MAX} are allowed");
    // ldd ends with 1 for a program that needs no loader; what it says is the answer.
    let ldd = Command::new("ldd").arg(agent).output()?;
    let said = String::from_utf8_lossy(&[ldd.stdout, ldd.stderr].concat()).into_owned();
    if !said.contains("statically linked") && !said.contains("not a dynamic executable") {
        bail!("ldd says that the agent is not static: {said}");
    }
    Ok(())
}

/// Fuzzing wants a nightly compiler, which is not installed for it, and cargo-fuzz, which is.
fn fuzz() -> anyhow::Result<()> {
    let folder = root().join("tests/fuzz");
    let nightly = Command::new("rustup").args(["run", "nightly", "rustc", "--version"]).output();
    if !nightly.is_ok_and(|ran| ran.status.success()) {
        println!("   skipped: it needs a nightly toolchain: rustup toolchain install nightly");
        return Ok(());
    }
    if !is_there("cargo-fuzz") {
        println!("   installing cargo-fuzz");
        run_it(cargo().args(["install", "--quiet", "--locked", "cargo-fuzz"]))?;
    }
    let targets = crate::shell::output(cargo_fuzz(&folder).arg("list"))?;
    for target in targets.lines() {
        println!("   {target}");
        let secs = format!("-max_total_time={FUZZ_SECS}");
        run_it(cargo_fuzz(&folder).args(["run", target, "--", &secs, "-verbosity=0"]).args(FUZZ_LIMITS))?;
    }
    Ok(())
}

/// Through rustup, which else would give the toolchain of the checkout.
fn cargo_fuzz(folder: &Path) -> Command {
    let mut cargo = Command::new("rustup");
    cargo.args(["run", "nightly", "cargo", "fuzz"]).current_dir(folder.parent().unwrap_or(folder));
    cargo.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    cargo
}
