//! `holdfast-agent profiles`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Refusal, exit, print};
use crate::collect::COLLECTORS;
use crate::profiles;

/// See [`super::Cli`].
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Profiles {
    #[command(subcommand)]
    lint: Option<Lint>,
    /// Show this profile with its includes resolved
    name: Option<String>,
    /// Print the JSON Schema of profiles, for editors
    #[arg(long, conflicts_with_all = ["name", "json"])]
    schema: bool,
    /// JSON
    #[arg(long)]
    json: bool,
}

/// See [`Profiles`].
#[derive(Subcommand)]
enum Lint {
    /// Say what is wrong with profiles: all that are known here, or those in these files
    Lint {
        /// YAML files
        files: Vec<String>,
    },
}

impl Profiles {
    pub(super) fn run(self) -> Result<ExitCode, Refusal> {
        if let Some(Lint::Lint { files }) = self.lint {
            return lint(files);
        }
        if self.schema {
            print(&serde_json::to_string_pretty(&schema()).unwrap_or_default());
        } else if let Some(name) = &self.name {
            let found = profiles::find(name)?;
            if self.json {
                print(&found.profile.to_json());
            } else {
                print(&format!("{}: {}\n", found.profile.name, found.profile.summary));
                for step in &found.profile.collect {
                    let with = Value::Object(step.with.clone()).to_string();
                    let with = if step.with.is_empty() { "" } else { &with };
                    print(&format!("  {:<16} {with}", step.collect));
                }
            }
        } else {
            for name in profiles::names() {
                let found = profiles::find(&name);
                match (found, self.json) {
                    (Ok(found), false) => print(&format!("{name:<16} {}", found.profile.summary)),
                    (Ok(found), true) => {
                        print(&json!({"profile": name, "sha256": found.profile.sha256(), "summary": found.profile.summary, "version": found.version}).to_string());
                    }
                    // One site profile with a mistake must not hide the others.
                    (Err(error), _) => print(&format!("{name:<16} cannot be used: {error}")),
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn lint(files: Vec<String>) -> Result<ExitCode, Refusal> {
    let names = if files.is_empty() { profiles::names() } else { files };
    let mut wrong = 0;
    for name in &names {
        let mistakes = match profiles::find(name) {
            Ok(found) => profiles::lint(&found.profile),
            Err(error) => vec![error.to_string()],
        };
        wrong += usize::from(!mistakes.is_empty());
        let said = if mistakes.is_empty() { "ok".to_owned() } else { mistakes.join("\n") };
        print(&format!("{name:<24} {said}"));
    }
    if wrong == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Refusal {
        code: exit::INPUT,
        message: format!("{wrong} of {} profiles have mistakes", names.len()),
        hint: None,
    })
}

/// The schema of profiles: `collect` names a collector, and `with` is what that collector takes.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(wire::profile::Source).to_value();
    let mut branches = Vec::new();
    let mut definitions = serde_json::Map::new();
    for collector in COLLECTORS {
        let mut with = (collector.schema)().to_value();
        if let Some(with) = with.as_object_mut() {
            with.remove("$schema");
            if let Some(Value::Object(own)) = with.remove("$defs") {
                definitions.extend(own);
            }
        }
        branches.push(json!({
            "if": { "properties": { "collect": { "const": collector.name } }, "required": ["collect"] },
            "then": { "properties": { "with": with } },
        }));
    }
    let names: Vec<&str> = COLLECTORS.iter().map(|collector| collector.name).collect();
    if let Some(Value::Object(own)) = schema.pointer_mut("/$defs") {
        if let Some(Value::Object(step)) = own.get_mut("SourceStep") {
            step.insert("allOf".into(), Value::Array(branches));
            step.insert(
                "oneOf".into(),
                json!([{ "required": ["include"] }, { "required": ["collect"] }, { "required": ["artifact"] }]),
            );
            if let Some(collect) = step.get_mut("properties").and_then(|properties| properties.get_mut("collect")) {
                *collect = json!({ "description": "The collector to run.", "enum": names });
            }
        }
        own.extend(definitions);
    }
    schema
}
