//! `holdfast triage replay`: what changed rules would make of past alerts, before they go live.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use triage::{Context, Past, normalise};
use wire::assessment::{Difference, Judgement};

use super::{not_taken, read};
use crate::commands::{Failure, IO};
use crate::escape::shown;
use crate::rules;
use crate::show::{counted, now, print};

/// See the module.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing changes, 10 something does, 64 usage, 65 no alert in a file or mistakes in \
    the rules, 74 input or output failed."
)]
pub struct Replay {
    /// The alerts, as they came (JSON, an array, one per line), or `-` for standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The folder of the changed rules.
    #[arg(long, value_name = "DIR")]
    rules: PathBuf,
    /// The folder of the rules that they are compared with; by default the shipped ones.
    #[arg(long, value_name = "DIR")]
    before: Option<PathBuf>,
    /// Take all alerts of a file for one incident, and compare it as well.
    #[arg(long)]
    incident: bool,
    /// Print the answer as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Replay {
    /// Prints what differs. Returns the exit code.
    pub fn run(&self) -> Result<u8, Failure> {
        let answer = self.replay()?;
        let code = if answer.differences.is_empty() { 0 } else { 10 };
        if self.json {
            let json = serde_json::to_string(&answer).map_err(|error| Failure::new(IO, error))?;
            print(&format!("{json}\n"))?;
        } else {
            print(&text(&answer))?;
        }
        Ok(code)
    }

    fn replay(&self) -> Result<wire::assessment::Replay, Failure> {
        let (before, after) = (rules::of(self.before.as_deref())?, rules::of(Some(&self.rules))?);
        let (before, after) = (Context::with(&before), Context::with(&after));
        let mut groups = Vec::new();
        for file in &self.files {
            let raw = read(file)?;
            let taken = normalise(&raw, now(), before.rules).map_err(|error| not_taken(file, &error))?;
            let past =
                taken.into_iter().map(|one| Past { ingest_token: None, raw: one.raw, received: one.alert.received });
            if self.incident {
                groups.push(past.collect());
            } else {
                groups.extend(past.map(|one| vec![one]));
            }
        }
        // What was taken in above is taken in again.
        triage::replay(&before, &after, &groups).map_err(|error| not_taken(Path::new("the alerts"), &error))
    }
}

fn text(answer: &wire::assessment::Replay) -> String {
    let mut text = String::new();
    for one in &answer.differences {
        difference(&mut text, one);
    }
    let (alerts, changes) = (counted(answer.alerts, "alert"), counted(answer.differences.len() as u64, "difference"));
    let _ = writeln!(text, "{alerts}, {changes}");
    text
}

fn difference(text: &mut String, one: &Difference) {
    let several = if one.alerts.len() > 1 { format!(" and {} more", one.alerts.len() - 1) } else { String::new() };
    let _ = writeln!(text, "{}{several}", shown(&one.title));
    if let Some(digest) = one.alerts.first() {
        let _ = writeln!(text, "  alert      sha256 {digest}");
    }
    let row = |text: &mut String, name: &str, of: &dyn Fn(&Judgement) -> String| {
        let (was, is) = (of(&one.before), of(&one.after));
        if was != is {
            let _ = writeln!(text, "  {name:<10} {} → {}", shown(&was), shown(&is));
        }
    };
    row(text, "type", &|it| it.incident_type.clone());
    row(text, "severity", &|it| it.severity.to_string());
    row(text, "verdict", &|it| it.disposition.clone());
    row(text, "closed", &|it| if it.auto_close { "by itself".to_owned() } else { "by people".to_owned() });
    row(text, "call", &|it| {
        let path = &it.escalation_path;
        format!("{} within {} min", path.escalate_to.join(", "), path.respond_within_minutes)
    });
    for (name, it) in [("before", &one.before), ("after", &one.after)] {
        let _ = writeln!(text, "  {name}");
        for effect in &it.severity_explanation {
            let _ = writeln!(text, "    {}: {} ({})", shown(&effect.rule), shown(&effect.effect), shown(&effect.input));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_shown_with_both_reasons() {
        let folder = tempfile::tempdir().unwrap();
        let (rules, alerts) = (folder.path().join("rules"), folder.path().join("alerts.ndjson"));
        std::fs::create_dir(&rules).unwrap();
        let changed = "types:\n  - { type: phishing_attempt, severity: SEV2 }\n";
        std::fs::write(rules.join("taxonomy.yaml"), changed).unwrap();
        let lines = "{\"event_type\":\"phishing\",\"host\":\"pc-1\",\"title\":\"a\u{1b}[2Jmail\"}\n{\"event_type\":\"malware\"}\n";
        std::fs::write(&alerts, lines.replace('\u{1b}', "\\u001b")).unwrap();
        let replay =
            |files: Vec<PathBuf>, incident| Replay { files, rules: rules.clone(), before: None, incident, json: false };
        let answer = replay(vec![alerts.clone()], false).replay().unwrap();
        assert_eq!((answer.alerts, answer.differences.len()), (2, 1));
        let text = text(&answer);
        assert!(text.contains("severity   SEV4 → SEV2") && text.ends_with("2 alerts, 1 difference\n"), "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
        let together = replay(vec![alerts], true).replay().unwrap();
        assert!(together.differences.iter().all(|one| one.alerts.len() <= 2));
    }
}
