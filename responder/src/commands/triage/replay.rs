//! `holdfast triage replay`: what changed rules would make of past alerts, before they go live. Those of a file, or the
//! incidents of the server.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use triage::{Context, Past, normalise};
use wire::Instant;
use wire::api::{ReplayReply, ReplayRequest};
use wire::assessment::{Difference, Judgement};

use super::{not_taken, read};
use crate::api::{self, Api};
use crate::commands::{Failure, IO};
use crate::config::Config;
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
    /// The alerts, as they came (JSON, an array, one per line), or `-` for standard input; without any, the server looks
    /// at its incidents.
    files: Vec<PathBuf>,
    /// The folder of the changed rules.
    #[arg(long, value_name = "DIR")]
    rules: PathBuf,
    /// The folder of the rules that they are compared with; by default the shipped ones.
    #[arg(long, value_name = "DIR", requires = "files")]
    before: Option<PathBuf>,
    /// Take all alerts of a file for one incident, and compare it as well.
    #[arg(long, requires = "files")]
    incident: bool,
    /// Of the server's incidents, those that grew since then: 12h, 30d.
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = ago, conflicts_with = "files")]
    since: u64,
    /// Print the answer as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Replay {
    /// Prints what differs. Returns the exit code.
    pub fn run(&self) -> Result<u8, Failure> {
        if self.files.is_empty() {
            return self.of_server(&Api::of(&Config::load()?)?);
        }
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

    /// Asks the server what the rules would make of its incidents.
    fn of_server(&self, api: &Api) -> Result<u8, Failure> {
        // Here the mistakes are told with the paths of the files.
        rules::of(Some(&self.rules))?;
        let rules = rules::files(&self.rules)?.into_iter().map(|file| (file.name, file.text.yaml)).collect();
        let since = Instant(now().0 - i128::from(self.since) * 1_000_000_000);
        let request = ReplayRequest { rules, since: Some(since) };
        let request = serde_json::to_vec(&request).map_err(|error| Failure::new(IO, error))?;
        let answer = api.post_patiently("/api/v1/triage/replay", "application/json", &request)?;
        let reply: ReplayReply = api::read(api.server(), answer.clone())?;
        print(&if self.json { format!("{answer}\n") } else { incidents(&reply) })?;
        Ok(if reply.differences.is_empty() { 0 } else { 10 })
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

fn incidents(reply: &ReplayReply) -> String {
    let mut text = String::new();
    for one in &reply.differences {
        let _ = writeln!(text, "{}", one.incident);
        judgements(&mut text, &one.before.clone().into(), &one.after.clone().into());
    }
    let differences = counted(reply.differences.len() as u64, "difference");
    let cut = if reply.is_cut { "; there are more than are looked at once: ask for a shorter time" } else { "" };
    let (seen, alerts) = (counted(reply.incidents, "incident"), counted(reply.alerts, "alert"));
    let _ = writeln!(text, "{seen} with {alerts}, {differences}{cut}");
    text
}

/// A time before now, in seconds; at most ten years.
fn ago(text: &str) -> Result<u64, String> {
    let wanted = "write a number with h or d, as in 30d";
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(wanted)?;
    let unit = match unit {
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wanted.to_owned()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    seconds.filter(|seconds| (1..=3650 * 86_400).contains(seconds)).ok_or_else(|| wanted.to_owned())
}

fn difference(text: &mut String, one: &Difference) {
    let several = if one.alerts.len() > 1 { format!(" and {} more", one.alerts.len() - 1) } else { String::new() };
    let _ = writeln!(text, "{}{several}", shown(&one.title));
    if let Some(digest) = one.alerts.first() {
        let _ = writeln!(text, "  alert      sha256 {digest}");
    }
    judgements(text, &one.before, &one.after);
}

/// What was, what would be, and by which rules.
fn judgements(text: &mut String, before: &Judgement, after: &Judgement) {
    let row = |text: &mut String, name: &str, of: &dyn Fn(&Judgement) -> String| {
        let (was, is) = (of(before), of(after));
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
    for (name, it) in [("before", before), ("after", after)] {
        let _ = writeln!(text, "  {name}");
        for effect in &it.severity_explanation {
            let _ = writeln!(text, "    {}: {} ({})", shown(&effect.rule), shown(&effect.effect), shown(&effect.input));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fake::{Answer, Fake};

    #[test]
    fn differences_are_shown_with_both_reasons() {
        let folder = tempfile::tempdir().unwrap();
        let (rules, alerts) = (folder.path().join("rules"), folder.path().join("alerts.ndjson"));
        std::fs::create_dir(&rules).unwrap();
        let changed = "types:\n  - { type: phishing_attempt, severity: SEV2 }\n";
        std::fs::write(rules.join("taxonomy.yaml"), changed).unwrap();
        let lines = "{\"event_type\":\"phishing\",\"host\":\"pc-1\",\"title\":\"a\u{1b}[2Jmail\"}\n{\"event_type\":\"malware\"}\n";
        std::fs::write(&alerts, lines.replace('\u{1b}', "\\u001b")).unwrap();
        let replay = |files: Vec<PathBuf>, incident| Replay {
            files,
            rules: rules.clone(),
            before: None,
            incident,
            since: 1,
            json: false,
        };
        let answer = replay(vec![alerts.clone()], false).replay().unwrap();
        assert_eq!((answer.alerts, answer.differences.len()), (2, 1));
        let text = text(&answer);
        assert!(text.contains("severity   SEV4 → SEV2") && text.ends_with("2 alerts, 1 difference\n"), "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
        let together = replay(vec![alerts], true).replay().unwrap();
        assert!(together.differences.iter().all(|one| one.alerts.len() <= 2));
    }

    #[test]
    fn the_server_is_asked_with_all_files_and_its_answer_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("taxonomy.yaml"), "types:\n  - { type: phishing_attempt, severity: SEV2 }\n")
            .unwrap();
        let view: wire::api::IncidentView = serde_json::from_str(include_str!("../../../tests/incident.json")).unwrap();
        let mut after = view.assessment.clone();
        after.severity = wire::assessment::Severity::Sev4;
        let one = wire::api::ReplayedIncident { after, before: view.assessment, incident: view.summary.incident };
        let reply = ReplayReply { alerts: 2, differences: vec![one], incidents: 1, is_cut: true };
        let text = incidents(&reply);
        assert!(text.starts_with("INC-2026-0007\n") && text.contains("→ SEV4"), "{text}");
        assert!(text.contains("1 incident with 2 alerts, 1 difference; there are more"), "{text}");

        let answer = serde_json::to_string(&reply).unwrap();
        let fake = Fake::serve(move |_| Answer::json(&answer));
        let rules = folder.path().to_owned();
        let asked = Replay { files: Vec::new(), rules, before: None, incident: false, since: 3600, json: true };
        assert_eq!(asked.of_server(&Api::of_test(&fake.url)).unwrap(), 10);
        let request: ReplayRequest = serde_json::from_slice(&fake.requests()[0].body).unwrap();
        assert!(request.rules["taxonomy.yaml"].contains("SEV2") && request.since.unwrap() < now());
        assert_eq!((ago("12h"), ago("30d")), (Ok(43_200), Ok(2_592_000)));
        assert!(["", "0d", "3651d", "9", "-1d", "ü"].iter().all(|bad| ago(bad).is_err()));
    }
}
