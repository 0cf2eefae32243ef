//! `holdfast triage`: what an alert is, how bad, whom to wake and what to collect, without a server. And what changed
//! rules would make of past alerts.
//!
//! Exit codes: 0 SEV3 and SEV4, 10 SEV2, 20 SEV1, the worst of several alerts; 64 usage; 65 no alert in it, or mistakes
//! in the rules; 74 reading or writing failed. Of `replay`: 0 nothing changes, 10 something does.

mod check;
mod replay;

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use triage::{Context, NotTaken, triage_incident};
use wire::assessment::{Assessment, HostRole, Severity};

use super::{Failure, INPUT, IO};
use crate::escape::shown;
use crate::rules;
use crate::show::now;

/// Say what an alert is, how bad, and what to do about it. Needs no server.
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Exit codes: 0 SEV3 and SEV4, 10 SEV2, 20 SEV1 (the worst of several), 64 usage, 65 no alert in it or \
    mistakes in the rules, 74 input or output failed."
)]
pub struct Triage {
    #[command(subcommand)]
    command: Option<Command>,
    /// The alert or alerts (JSON, an array, or one per line), or `-` for standard input.
    #[arg(required = true)]
    file: Option<PathBuf>,
    /// The folder of your site's rules, which override the shipped ones entry by entry.
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,
    /// Print one JSON object per alert, each on its line.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show what changed rules would make of past alerts
    Replay(replay::Replay),
    /// Check a site's rules
    Rules {
        #[command(subcommand)]
        command: check::Rules,
    },
}

impl Triage {
    /// Assesses each alert by itself and prints what it comes to. Returns the exit code.
    pub fn run(&self) -> Result<u8, Failure> {
        match &self.command {
            Some(Command::Replay(replay)) => return replay.run(),
            Some(Command::Rules { command }) => return command.run().map(|()| 0),
            None => {}
        }
        let assessments = self.assess()?;
        match self.print(&mut io::stdout().lock(), &assessments) {
            // A reader that has seen enough (`| head`) does not change the answer.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(IO, error)),
            _ => Ok(exit_code(&assessments)),
        }
    }

    fn assess(&self) -> Result<Vec<Assessment>, Failure> {
        let file = self.file.as_deref().unwrap_or(Path::new("-"));
        let raw = read(file)?;
        let rules = rules::of(self.rules.as_deref())?;
        triage_incident(&raw, now(), &Context::with(&rules)).map_err(|error| not_taken(file, &error))
    }

    fn print(&self, out: &mut impl Write, assessments: &[Assessment]) -> io::Result<()> {
        for (n, assessment) in assessments.iter().enumerate() {
            if self.json {
                serde_json::to_writer(&mut *out, assessment)?;
                writeln!(out)?;
            } else {
                if n > 0 {
                    writeln!(out)?;
                }
                text(out, assessment)?;
            }
        }
        out.flush()
    }
}

fn not_taken(file: &Path, error: &NotTaken) -> Failure {
    let hint = match error {
        NotTaken::Empty => "give the alert as the product wrote it",
        NotTaken::TooLong(_) | NotTaken::TooMany => "cut it into several files",
    };
    Failure::new(INPUT, anyhow!("{}: {error}", file.display())).hint(hint)
}

/// That of the worst.
fn exit_code(assessments: &[Assessment]) -> u8 {
    match assessments.iter().map(|one| one.severity).max() {
        Some(Severity::Sev1) => 20,
        Some(Severity::Sev2) => 10,
        _ => 0,
    }
}

/// One byte more than is taken in, so that what is too long is told apart.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let most = triage::BYTES_MAX as u64 + 1;
    let mut raw = Vec::new();
    let done = if path.as_os_str() == "-" {
        io::stdin().lock().take(most).read_to_end(&mut raw)
    } else {
        File::open(path).and_then(|file| file.take(most).read_to_end(&mut raw))
    };
    done.with_context(|| format!("{} cannot be read", path.display())).map_err(|error| Failure::new(IO, error))?;
    Ok(raw)
}

/// For people: the answer first, then why, then what to do.
pub fn text(out: &mut impl Write, it: &Assessment) -> io::Result<()> {
    writeln!(
        out,
        "{}  {}  ({:.0} % sure, {}; from {})",
        it.severity,
        shown(&it.incident_type.replace('_', " ")),
        it.classification_confidence * 100.0,
        shown(&it.disposition.replace('_', " ")),
        shown(&it.source),
    )?;
    writeln!(out, "next       {}", shown(&it.recommended_action))?;
    list(out, "hosts", it.hosts.iter().map(|host| format!("{} ({})", host.name, role(host.role))))?;
    list(out, "accounts", it.accounts.iter().cloned())?;
    list(out, "techniques", it.techniques.iter().map(|one| format!("{} {}", one.id, one.name)))?;
    list(out, "indicators", it.indicators.iter().map(|one| format!("{} {}", one.kind, one.value)))?;
    let path = &it.escalation_path;
    let how = match (path.war_room, path.bridge_call) {
        (true, _) => ", war room and bridge call",
        (false, true) => ", bridge call",
        (false, false) => "",
    };
    writeln!(
        out,
        "call       {} within {} min{how}",
        shown(&path.escalate_to.join(" → ")),
        path.respond_within_minutes
    )?;
    let plan = &it.evidence_plan;
    writeln!(out, "collect    profile {}, about {} s", shown(&plan.profile), plan.estimated_seconds)?;
    writeln!(out, "why")?;
    for effect in &it.severity_explanation {
        writeln!(out, "  {}: {}", shown(&effect.rule), shown(&effect.effect))?;
        writeln!(out, "      {}", shown(&effect.input))?;
    }
    section(out, "what would change it", it.would_change_it.iter().cloned())?;
    section(
        out,
        "perhaps none",
        it.false_positive_indicators
            .iter()
            .map(|sign| format!("{}: {} = {}; ask {}", sign.rule, sign.field, sign.value, sign.owner)),
    )?;
    section(
        out,
        "containment, proposed",
        it.containment.iter().map(|proposed| {
            let how = if proposed.automatic { " (by itself)" } else { "" };
            format!("{}{how}: {}", proposed.action, proposed.conditions.join("; "))
        }),
    )?;
    section(
        out,
        "clocks that may apply (guidance, not legal advice)",
        it.notification_clocks
            .iter()
            .map(|clock| format!("{}, from {}: {}", clock.regime, clock.anchor, clock.deadline)),
    )?;
    writeln!(out, "alert      sha256 {}", it.raw_sha256)
}

fn list(out: &mut impl Write, name: &str, entries: impl Iterator<Item = String>) -> io::Result<()> {
    let entries: Vec<String> = entries.map(|entry| shown(&entry)).collect();
    if entries.is_empty() { Ok(()) } else { writeln!(out, "{name:<10} {}", entries.join(", ")) }
}

fn section(out: &mut impl Write, name: &str, entries: impl Iterator<Item = String>) -> io::Result<()> {
    let mut entries = entries.peekable();
    if entries.peek().is_some() {
        writeln!(out, "{name}")?;
    }
    entries.try_for_each(|entry| writeln!(out, "  {}", shown(&entry)))
}

const fn role(role: HostRole) -> &'static str {
    match role {
        HostRole::Victim => "victim",
        HostRole::Source => "source",
        HostRole::Reporter => "reporter",
        HostRole::Intermediary => "intermediary",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(file: &Path, json: bool) -> Triage {
        Triage { command: None, file: Some(file.to_owned()), rules: None, json }
    }

    fn run(raw: &str, json: bool) -> (u8, String) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), raw).unwrap();
        let command = of(file.path(), json);
        let assessments = command.assess().unwrap();
        let mut out = Vec::new();
        command.print(&mut out, &assessments).unwrap();
        (exit_code(&assessments), String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst() {
        let (sev4, sev2, sev1) =
            (r#"{"event_type":"phishing"}"#, r#"{"event_type":"malware"}"#, r#"{"event_type":"ransomware"}"#);
        assert_eq!(run(sev4, true).0, 0);
        assert_eq!(run(sev2, true).0, 10);
        assert_eq!(run(&format!("{sev2}\n{sev1}\n{sev4}"), true).0, 20);
        assert_eq!(run(&format!("[{sev1},{sev4}]"), true).1.lines().count(), 2);
    }

    #[test]
    fn what_an_alert_says_cannot_steer_the_terminal() {
        let raw = r#"{"event_type":"malware","host":"a\u001b[2J\nSEV4 nothing","user":"\u202eevil","details":"x"}"#;
        let text = run(raw, false).1;
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()) && !text.contains('\u{202e}'), "{text}");
        assert!(text.starts_with("SEV2  malware infection") && !text.contains("\nSEV4"), "{text}");
    }

    #[test]
    fn no_alert_is_an_input_error_and_no_file_an_io_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let code = |file: &Path| of(file, false).assess().map_err(|failure| failure.code).err();
        assert_eq!(code(file.path()), Some(INPUT));
        assert_eq!(code(Path::new("/nowhere")), Some(IO));
        std::fs::write(file.path(), vec![b'x'; triage::BYTES_MAX + 1]).unwrap();
        assert_eq!(code(file.path()), Some(INPUT));
    }
}
