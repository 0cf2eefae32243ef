//! How fast it is, as ratios within one run: both sides of a comparison in turn, and the medians of five.
//!
//! Nothing is asserted: a ratio is for people, and a busy machine moves it.

mod automation;
mod fleet;
mod intake;
mod limits;
mod load;
mod path;
mod triage;
mod volatile;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use crate::only;
use crate::programs::{self, Build};
use crate::setup::{MUSL_GCC, TAR, UNSHARE, UNZIP, prepare};
use crate::shell::{output, stage};

/// See `cargo xtask --help`.
pub const SUMMARY: &str =
    "what is fast, each against its floor, as ratios; bench alerts [DIR] | automation | fleet | load: these alone";

const ROUNDS: usize = 5;
const AUTOMATION: &str = "automation, with 300 more processes";
const LOAD: &str = "the server under load";

/// One line of the result: times in nanoseconds.
struct Row {
    what: &'static str,
    baseline: u64,
    subject: u64,
    aim: &'static str,
}

/// What the comparisons need.
struct Bench {
    agent: PathBuf,
    /// Holds outputs, profiles and state; gone at the end.
    folder: tempfile::TempDir,
}

/// See the module.
///
/// # Errors
/// When a side of a comparison does not run.
pub fn run(options: &[String]) -> anyhow::Result<()> {
    match options {
        [only_load] if only_load == "load" => return with_agent(LOAD, |agent| load::measure(agent).map(Some)),
        [only_automation] if only_automation == "automation" => return with_agent(AUTOMATION, automation::measure),
        [only_fleet] if only_fleet == "fleet" => return stage("a fleet", fleet::measure),
        [only_alerts] if only_alerts == "alerts" => return stage("alerts", || intake::measure(None)),
        [only_alerts, folder] if only_alerts == "alerts" => return stage("alerts", || intake::measure(Some(folder))),
        _ => only(options, &[])?,
    }
    prepare(&[MUSL_GCC, TAR, UNSHARE, UNZIP])?;
    let agent = stage("the agent as it is shipped", || programs::agent(Build::Release))?;
    let (proc_loop, writing) =
        stage("the baselines", || Ok((programs::bench("proc_loop")?, programs::bench("writing")?)))?;
    let bench = Bench { agent, folder: tempfile::tempdir()? };
    let mut rows = Vec::new();
    rows.extend(stage("the volatile tier, with 300 more processes", || volatile::compare(&bench, &proc_loop))?);
    rows.push(stage("bundle writing", || compare_writing(&writing))?);
    rows.push(stage("triage", || triage::compare(&bench))?);
    rows.extend(stage("limits", || limits::compare(&bench))?);
    rows.push(stage(LOAD, || load::measure(&bench.agent))?);
    rows.extend(stage(AUTOMATION, || automation::measure(&bench.agent))?);
    stage("the path, with 300 more processes", || path::measure(&bench.agent))?;
    stage("alerts", || intake::measure(None))?;
    stage("a fleet", fleet::measure)?;
    show(&rows);
    Ok(())
}

fn show(rows: &[Row]) {
    println!("\n{:<50} {:>12} {:>12} {:>7}  aim", "median of five", "baseline", "holdfast", "ratio");
    for Row { what, baseline, subject, aim } in rows {
        println!("{what:<50} {:>9} ms {:>9} ms {:>7}  {aim}", ms(*baseline), ms(*subject), ratio(*subject, *baseline));
    }
}

/// One row alone, or none where it cannot be measured.
fn with_agent(what: &str, measure: impl FnOnce(&Path) -> anyhow::Result<Option<Row>>) -> anyhow::Result<()> {
    prepare(&[MUSL_GCC])?;
    let agent = stage("the agent as it is shipped", || programs::agent(Build::Release))?;
    show(stage(what, || measure(&agent))?.as_slice());
    Ok(())
}

fn compare_writing(writing: &PathBuf) -> anyhow::Result<Row> {
    let told: Value = serde_json::from_str(&output(&mut Command::new(writing))?)?;
    let side = |key: &str| {
        let times = told[key].as_array().with_context(|| format!("the bench tells {key}"))?;
        Ok::<u64, anyhow::Error>(median(times.iter().filter_map(Value::as_u64).collect()))
    };
    println!("   {} files, {} MiB", told["files"], told["bytes"].as_u64().unwrap_or(0) >> 20);
    let (baseline, subject) = (side("baseline_ns")?, side("subject_ns")?);
    let what = "bundle writing : libdeflate 1 + SHA-256, all cores";
    Ok(Row { what, baseline, subject, aim: "at most 1.11 (0.9 of its throughput)" })
}

impl Bench {
    /// A collection by this profile; each has an output folder of its own.
    fn collect(&self, profile: &str, out: &str) -> Command {
        let mut collect = Command::new(&self.agent);
        collect.args(["collect", "--quiet", "--json", "--profile", profile, "--output"]);
        collect.arg(self.folder.path().join(out)).env("HOLDFAST_STATE_DIR", self.folder.path().join("state"));
        collect.stderr(std::process::Stdio::null());
        collect
    }
}

fn median(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or(0)
}

/// Milliseconds with one place.
fn ms(nanoseconds: u64) -> String {
    let tenths = nanoseconds / 100_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn ratio(subject: u64, baseline: u64) -> String {
    let hundredths = subject.saturating_mul(100) / baseline.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(vec![9, 1, 5]), 5);
        assert_eq!(median(Vec::new()), 0);
    }

    #[test]
    fn numbers_are_shown_with_their_places() {
        assert_eq!(ms(12_345_678), "12.3");
        assert_eq!((ratio(150, 100), ratio(1, 3)), ("1.50".into(), "0.33".into()));
    }
}
