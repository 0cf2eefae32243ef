//! `holdfast evidence plan`: what to collect for a type of incident, and the command for it. Needs no server.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::anyhow;
use triage::{Context, collect_forensics};
use wire::assessment::{ForensicsPlan, Severity};

use crate::commands::{Failure, IO, USAGE};
use crate::escape::shown;
use crate::rules;
use crate::show::print;

/// See the module.
#[derive(clap::Args)]
pub struct Plan {
    /// The incident type, e.g. `ransomware`, or another word for it.
    #[arg(long = "type", value_name = "TYPE")]
    incident_type: String,
    /// The host that it is about.
    #[arg(long, value_name = "HOST")]
    target: Option<String>,
    /// How bad it is: SEV1 to SEV4; by default what the type is.
    #[arg(long)]
    severity: Option<Severity>,
    /// The folder of your site's triage rules, which override the shipped ones.
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,
    /// Print the plan as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Plan {
    /// Prints the plan.
    pub fn run(&self) -> Result<(), Failure> {
        let rules = rules::of(self.rules.as_deref())?;
        let context = Context::with(&rules);
        let plan = collect_forensics(&self.incident_type, self.target.as_deref(), self.severity, &context)
            .map_err(|unknown| Failure::new(USAGE, anyhow!("{unknown}")).hint(unknown.hint))?;
        if self.json {
            let json = serde_json::to_string(&plan).map_err(|error| Failure::new(IO, error))?;
            return print(&format!("{json}\n"));
        }
        print(&text(&plan))
    }
}

fn text(plan: &ForensicsPlan) -> String {
    let mut text = String::new();
    let assumed = if plan.severity_assumed { ", the type's own" } else { "" };
    let host = plan.target.as_deref().map(|host| format!(" on {}", shown(host))).unwrap_or_default();
    let _ = writeln!(
        text,
        "{}{host}: profile {}, about {} s ({}{assumed})",
        shown(&plan.incident_type.replace('_', " ")),
        shown(&plan.profile),
        plan.estimated_seconds,
        plan.severity,
    );
    let tiers: Vec<&str> = plan.tiers.iter().map(|tier| tier.name()).collect();
    let _ = writeln!(text, "tiers      {}", tiers.join(" → "));
    let _ = writeln!(text, "order");
    for (n, kind) in plan.order.iter().enumerate() {
        let _ = writeln!(text, "  {}. {}", n + 1, shown(kind));
    }
    let _ = writeln!(text, "collectors {}", shown(&plan.collectors.join(", ")));
    let _ = writeln!(text, "custody");
    for wanted in &plan.custody {
        let _ = writeln!(text, "  {}", shown(wanted));
    }
    let _ = writeln!(text, "dispatch   {}", shown(&plan.dispatch_line()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_for_people_ends_with_the_command() {
        let context = Context::shipped().unwrap();
        let plan = collect_forensics("ransomware", Some("web-app-02\u{1b}[2J"), None, &context).unwrap();
        let text = text(&plan);
        assert!(text.starts_with("ransomware on web-app-02") && text.contains("1. the encrypting process"), "{text}");
        assert!(text.lines().last().unwrap().starts_with("dispatch   holdfast dispatch INCIDENT --host"), "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
    }

    #[test]
    fn an_unknown_type_is_a_usage_error() {
        let plan = |incident_type: &str| Plan {
            incident_type: incident_type.to_owned(),
            target: None,
            severity: None,
            rules: None,
            json: false,
        };
        let failure = plan("ransomwear").run().unwrap_err();
        assert_eq!((failure.code, failure.hint.as_deref()), (USAGE, Some("did you mean `ransomware`?")));
    }
}
