//! `holdfast-agent collectors`

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use wire::Tier;
use wire::profile::did_you_mean;

use super::{Refusal, exit, print};
use crate::collect::rows::RowType;
use crate::collect::{COLLECTORS, Collector};

/// See [`super::Cli`].
#[derive(Args)]
pub struct Collectors {
    /// Show this collector with its arguments
    name: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Print what every row of every collector holds, as a page of Markdown
    #[arg(long, conflicts_with_all = ["name", "json"])]
    records: bool,
}

impl Collectors {
    pub(super) fn run(self) -> Result<ExitCode, Refusal> {
        if self.records {
            print(records().trim_end());
            return Ok(ExitCode::SUCCESS);
        }
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
        "records": (collector.rows)().iter().map(record_json).collect::<Vec<_>>(),
        "summary": collector.summary,
        "tier": collector.tier,
        "with": (collector.schema)(),
    });
    print(&shown.to_string());
}

fn record_json(row: &RowType) -> serde_json::Value {
    let columns = row.columns().into_iter().map(|column| {
        json!({
            "always": column.is_always_there, "meaning": column.meaning, "name": column.name, "type": column.kind,
            "unit": column.unit,
        })
    });
    json!({ "columns": columns.collect::<Vec<_>>(), "record": row.record, "source": row.source, "summary": row.summary() })
}

/// The page `docs/records.md`.
fn records() -> String {
    let mut page = String::from(
        "# Records\n\nWhat every row in `data/<tier>/<collector>.jsonl` holds, made from the agent's own types by \
         `cargo xtask schema`. A column without a dot is in every row of its type; one with a dot (·) only where there \
         is something to say.\n",
    );
    for tier in Tier::ALL {
        let _ = write!(page, "\n## Tier {tier}\n");
        for collector in COLLECTORS.iter().filter(|collector| collector.tier == tier) {
            let _ = write!(page, "\n### {}\n\n{}\n", collector.name, collector.summary);
            if !collector.needs.is_empty() {
                let _ = write!(page, "\nTakes less without: {}.\n", collector.needs.join(", "));
            }
            let rows = (collector.rows)();
            if rows.is_empty() {
                page.push_str("\nNo rows: it hands over files, each of which is an item record.\n");
            }
            for row in rows {
                let _ = write!(page, "\n#### `{}`\n\n{}\n\nSource: {}\n\n", row.record, row.summary(), row.source);
                page.push_str("| column | type | unit | meaning |\n|---|---|---|---|\n");
                for column in row.columns() {
                    let dot = if column.is_always_there { "" } else { " ·" };
                    let meaning = column.meaning.replace('|', "\\|");
                    let _ =
                        writeln!(page, "| `{}`{dot} | {} | {} | {meaning} |", column.name, column.kind, column.unit);
                }
            }
        }
    }
    page
}

fn show(collector: &Collector) {
    print(&format!("{} ({} tier)\n  {}", collector.name, collector.tier, collector.summary));
    if !collector.needs.is_empty() {
        print(&format!("  takes less without: {}", collector.needs.join(", ")));
    }
    let schema = (collector.schema)().to_value();
    let Some(properties) = schema.get("properties").and_then(|properties| properties.as_object()) else {
        print("  it takes no arguments");
        return show_records(collector);
    };
    print("  with:");
    for (name, property) in properties {
        let text = property.get("description").and_then(|text| text.as_str()).unwrap_or_default();
        print(&format!("    {name:<16} {}", text.replace('\n', " ")));
    }
    show_records(collector);
}

fn show_records(collector: &Collector) {
    for row in (collector.rows)() {
        let columns: Vec<String> = row.columns().into_iter().map(|column| column.name).collect();
        print(&format!("  rows `{}`: {}\n    {}", row.record, row.summary(), columns.join(", ")));
    }
}
