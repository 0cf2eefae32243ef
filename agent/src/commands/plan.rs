//! `holdfast-agent plan`

use std::process::ExitCode;
use std::sync::Arc;

use clap::{ArgGroup, Args};
use serde_json::json;
use wire::profile::Values;
use wire::{ByteSize, Tier};

use super::asked::{Asked, Chosen};
use super::{Refusal, print};
use crate::collect::Step;
use crate::host::{Host, capabilities};
use crate::run::bind::BoundStep;
use crate::run::condition::holds;
use crate::run::reason_to_skip;

/// See [`super::Cli`].
#[derive(Args)]
#[command(group(ArgGroup::new("asked").required(true).multiple(true).args(["profile", "path", "pid"])))]
pub struct Plan {
    #[command(flatten)]
    asked: Asked,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Plan {
    pub(super) fn run(self) -> Result<ExitCode, Refusal> {
        let Chosen { profile, values, steps, .. } = self.asked.choose(None)?;
        let host = self.asked.host()?;
        let held = capabilities::effective(&host);
        let (mut files, mut bytes) = (0, 0);
        for tier in Tier::ALL {
            for step in steps.iter().filter(|step| step.collector.tier == tier) {
                let plan = match reason_not_to_run(step, &host, &values) {
                    Ok(step) => step.plan(&host),
                    Err(reason) => {
                        self.say_skipped(step, &reason);
                        continue;
                    }
                };
                let lacks = capabilities::lacking(step.collector.needs, &held);
                files += plan.files.unwrap_or(0);
                bytes += plan.bytes.unwrap_or(0);
                if self.json {
                    let line = json!({
                        "bytes": plan.bytes, "collector": step.collector.name, "disturbs": plan.disturbs, "files": plan.files, "lacks": lacks,
                        "limits": step.limits, "needs": step.collector.needs, "reads": plan.reads, "tier": tier,
                    });
                    print(&line.to_string());
                    continue;
                }
                let amount = match (plan.files, plan.bytes) {
                    (Some(files), Some(bytes)) => format!("{files} files, {}", ByteSize(bytes)),
                    (Some(files), None) => format!("{files} files"),
                    _ => String::new(),
                };
                print(&format!("{tier:<9} {:<16} {amount}", step.collector.name));
                if !plan.reads.is_empty() {
                    print(&format!("{:27}reads {}", "", plan.reads.join(" ")));
                }
                for what in &plan.disturbs {
                    print(&format!("{:27}disturbs the host: {what}", ""));
                }
                if !lacks.is_empty() {
                    print(&format!("{:27}takes less: this process lacks {}", "", lacks.join(", ")));
                }
            }
        }
        if !self.json {
            let wall =
                profile.limits.wall_secs_max.map_or("no limit of time".into(), |secs| format!("at most {secs} s"));
            let stored = profile.limits.bytes_max.map_or("no limit of size".into(), |size| format!("at most {size}"));
            print(&format!("\n{files} files, {} to read; {wall}, {stored}", ByteSize(bytes)));
            if let Some(rate) = profile.limits.read_bytes_per_sec_max.filter(|rate| rate.0 > 0) {
                print(&format!("Reading takes at least {} s, at {rate} a second.", bytes.div_ceil(rate.0)));
            }
            print("Nothing was read but names and metadata, and nothing on the host was changed.");
        }
        Ok(ExitCode::SUCCESS)
    }

    fn say_skipped(&self, step: &BoundStep, reason: &str) {
        let (tier, name) = (step.collector.tier, step.collector.name);
        if self.json {
            print(&json!({ "collector": name, "skipped": reason, "tier": tier }).to_string());
        } else {
            print(&format!("{tier:<9} {name:<16} skipped: {reason}"));
        }
    }
}

/// The step with its arguments.
///
/// # Errors
/// Why a run on this host would leave it out.
fn reason_not_to_run(step: &BoundStep, host: &Host, values: &Values) -> Result<Arc<dyn Step>, String> {
    let bound = reason_to_skip(step, host)?;
    match &step.when {
        Some(when) if !holds(when, host, values) => Err(format!("only when {when}")),
        _ => Ok(bound),
    }
}
