//! `holdfast-agent collectors`

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use wire::profile::did_you_mean;

use super::{Refusal, exit, print};
use crate::collect::{COLLECTORS, Collector};

/// See [`super::Cli`].
#[derive(Args)]
pub struct Collectors {
    /// Show this collector with its arguments
    name: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Collectors {
    pub(super) fn run(self) -> Result<ExitCode, Refusal> {
        match &self.name {
            Some(name) => {
                let collector = Collector::named(name).ok_or_else(|| Refusal {
                    code: exit::USAGE,
                    message: format!("unknown collector `{name}`"),
                    hint: Some(did_you_mean(name, COLLECTORS.iter().map(|collector| collector.name))),
                })?;
                if self.json { show_json(collector) } else { show(collector) }
            }
            None if self.json => COLLECTORS.iter().for_each(show_json),
            None => {
                for collector in COLLECTORS {
                    print(&format!("{:<9} {:<16} {}", collector.tier, collector.name, collector.summary));
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn show_json(collector: &Collector) {
    let shown = json!({
        "collector": collector.name,
        "needs": collector.needs,
        "summary": collector.summary,
        "tier": collector.tier,
        "with": (collector.schema)(),
    });
    print(&shown.to_string());
}

fn show(collector: &Collector) {
    print(&format!("{} ({} tier)\n  {}", collector.name, collector.tier, collector.summary));
    if !collector.needs.is_empty() {
        print(&format!("  takes less without: {}", collector.needs.join(", ")));
    }
    let schema = (collector.schema)().to_value();
    let Some(properties) = schema.get("properties").and_then(|properties| properties.as_object()) else {
        return print("  it takes no arguments");
    };
    print("  with:");
    for (name, property) in properties {
        let text = property.get("description").and_then(|text| text.as_str()).unwrap_or_default();
        print(&format!("    {name:<16} {}", text.replace('\n', " ")));
    }
}
