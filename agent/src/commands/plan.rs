//! `holdfast-agent plan`

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use wire::{ByteSize, Tier};

use super::{Refusal, exit, print};
use crate::host::{Host, capabilities};
use crate::profiles;
use crate::run::bind::bind;

/// See [`super::Cli`].
#[derive(Args)]
pub struct Plan {
    /// The profile: a name that `holdfast-agent profiles` lists, or a YAML file
    #[arg(long)]
    profile: String,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Plan {
    pub(super) fn run(self) -> Result<ExitCode, Refusal> {
        let profile = profiles::find(&self.profile)?.profile;
        let steps = bind(&profile).map_err(|mistakes| Refusal::new(exit::INPUT, &mistakes))?;
        let host = Host::live();
        let held = capabilities::effective(&host);
        let (mut files, mut bytes) = (0, 0);
        for tier in Tier::ALL {
            for step in steps.iter().filter(|step| step.collector.tier == tier) {
                let plan = step.step.plan(&host);
                let lacks = capabilities::lacking(step.collector.needs, &held);
                files += plan.files.unwrap_or(0);
                bytes += plan.bytes.unwrap_or(0);
                if self.json {
                    let line = json!({
                        "bytes": plan.bytes, "collector": step.collector.name, "files": plan.files, "lacks": lacks,
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
            print("Nothing was read but names and metadata, and nothing on the host was changed.");
        }
        Ok(ExitCode::SUCCESS)
    }
}
