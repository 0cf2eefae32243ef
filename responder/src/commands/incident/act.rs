//! What people do to an incident: each command is one action of the server, which keeps who did it, when and why.

use std::fmt::Write as _;
use std::io::Read as _;

use anyhow::anyhow;
use clap::{Subcommand, ValueEnum};
use wire::assessment::Severity;
use wire::case::{Action, ActionReply, Disposition, StepOutcome, TEXT_BYTES_MAX};
use wire::response::{Anchor, Phase};
use wire::{AlertId, EditId, IncidentId, Instant};

use crate::api::{self, Api};
use crate::commands::{Failure, INPUT, IO, USAGE};
use crate::escape::shown;
use crate::show::{Look, print, remark};

/// What a command that changes an incident has in common with the others.
#[derive(clap::Args)]
pub struct On {
    /// The incident's id.
    incident: IncidentId,
    /// Print the server's answer as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
pub enum Act {
    /// Answer the page: you have it, nobody else is woken
    #[command(after_help = "Example: holdfast incident ack INC-2026-0007")]
    Ack {
        #[command(flatten)]
        on: On,
    },
    /// Write a note; with --update it tells people where the incident stands
    #[command(after_help = "Examples:\n  holdfast incident note INC-2026-0007 'db-1 is clean'\n  \
                            holdfast incident note INC-2026-0007 --update - < update.txt")]
    Note {
        #[command(flatten)]
        on: On,
        /// The note, or `-` for standard input.
        text: String,
        /// The update timer starts again.
        #[arg(long)]
        update: bool,
    },
    /// Set type or severity against the rules; without either, take that back
    #[command(
        after_help = "Upward it holds; downward it needs a reason, and holds until a trigger fires that was not there.\n\
                            Example: holdfast incident override INC-2026-0007 --severity SEV3 --reason 'a drill of HR'"
    )]
    Override {
        #[command(flatten)]
        on: On,
        /// SEV1 to SEV4.
        #[arg(long)]
        severity: Option<Severity>,
        /// A type of the taxonomy, e.g. ransomware.
        #[arg(long = "type", value_name = "TYPE")]
        incident_type: Option<String>,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Go on to another phase
    #[command(after_help = "Example: holdfast incident phase INC-2026-0007 containment")]
    Phase {
        #[command(flatten)]
        on: On,
        /// detection_and_analysis, containment, eradication, recovery or post_incident.
        phase: Phase,
        /// Why, where steps of the phases before are open.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Tick a step of the checklist
    #[command(after_help = "Examples:\n  holdfast incident step INC-2026-0007 ransomware.protect_backups\n  \
                            holdfast incident step INC-2026-0007 ransomware.protect_backups --is waived --note 'there are none'")]
    Step {
        #[command(flatten)]
        on: On,
        /// The step's id, as `incident checklist` has it.
        step: String,
        /// What became of it.
        #[arg(long = "is", value_enum, default_value = "done", value_name = "OUTCOME")]
        outcome: Outcome,
        /// A note; needed when it is waived.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Give a role to a person; without one, take it back
    #[command(after_help = "Example: holdfast incident assign INC-2026-0007 incident_commander 'Zoe Berg'")]
    Assign {
        #[command(flatten)]
        on: On,
        /// The role, e.g. incident_commander.
        role: String,
        /// Who.
        #[arg(default_value = "")]
        person: String,
    },
    /// Say that it is over, and what it was
    #[command(after_help = "Example: holdfast incident close INC-2026-0007 false_positive --reason 'the backup job'")]
    Close {
        #[command(flatten)]
        on: On,
        /// true_positive, false_positive, benign, suspicious, disregard, test, duplicate or insufficient_data.
        #[arg(value_parser = disposition)]
        disposition: Disposition,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Say that it is not over
    Reopen {
        #[command(flatten)]
        on: On,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Take over all alerts of another incident
    #[command(after_help = "Evidence and orders stay with the other one and are listed here. It can be undone.\n\
                            Example: holdfast incident merge INC-2026-0007 INC-2026-0009 --reason 'one attacker'")]
    Merge {
        #[command(flatten)]
        on: On,
        /// The incident whose alerts it takes over.
        other: IncidentId,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Put some of its alerts into an incident of their own
    #[command(after_help = "Example: holdfast incident split INC-2026-0007 ALERT ALERT --reason 'another matter'")]
    Split {
        #[command(flatten)]
        on: On,
        /// The alerts' ids, as `incident show` has them.
        #[arg(required = true)]
        alerts: Vec<AlertId>,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Put some of its alerts into another incident
    #[command(
        after_help = "Example: holdfast incident move INC-2026-0007 ALERT --to INC-2026-0009 --reason 'same host'"
    )]
    Move {
        #[command(flatten)]
        on: On,
        /// The alerts' ids, as `incident show` has them.
        #[arg(required = true)]
        alerts: Vec<AlertId>,
        /// The other incident.
        #[arg(long)]
        to: IncidentId,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Take back a merge, a split or a move
    #[command(after_help = "It can be undone while every alert is still where it was put.")]
    Undo {
        #[command(flatten)]
        on: On,
        /// The edit's id, as `incident show` has it.
        edit: EditId,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Record a fact that starts notification clocks
    #[command(after_help = "Example: holdfast incident anchor INC-2026-0007 aware_at --at 2026-11-21T17:41:00Z \
                            --reason 'the call of the bank'")]
    Anchor {
        #[command(flatten)]
        on: On,
        /// detected_at, aware_at, classified_major_at, material_determined_at, reasonable_belief_at,
        /// confirmed_breach_at or ransom_paid_at.
        anchor: Anchor,
        /// When it was so, as 2026-11-21T17:41:00Z; now when absent.
        #[arg(long, value_name = "TIME", value_parser = instant)]
        at: Option<Instant>,
        /// How it is known.
        #[arg(long)]
        reason: String,
    },
    /// Decide whether a notification clock applies, or record what was sent
    #[command(subcommand)]
    Clock(Clock),
}

#[derive(Subcommand)]
pub enum Clock {
    /// Decide whether a clock applies. Guidance, not legal advice
    #[command(
        after_help = "Example: holdfast incident clock decide INC-2026-0007 gdpr_art_33 no --reason 'no personal data'"
    )]
    Decide {
        #[command(flatten)]
        on: On,
        /// The clock's name, as `incident show` has it.
        clock: String,
        /// Whether it applies.
        #[arg(value_enum)]
        applies: YesNo,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Record that a notification was sent
    #[command(
        after_help = "Example: holdfast incident clock submit INC-2026-0007 gdpr_art_33 notification --receipt 'DPA 2026/117'"
    )]
    Submit {
        #[command(flatten)]
        on: On,
        /// The clock's name.
        clock: String,
        /// Which of its stages.
        stage: String,
        /// What the receiver gave for it.
        #[arg(long)]
        receipt: String,
        /// When it was sent, as 2026-11-21T17:41:00Z; now when absent.
        #[arg(long, value_name = "TIME", value_parser = instant)]
        at: Option<Instant>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum YesNo {
    Yes,
    No,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Outcome {
    Done,
    Open,
    Waived,
}

impl Act {
    /// Does it, and says what came of it.
    pub fn run(self, api: &Api) -> Result<(), Failure> {
        let (on, action) = self.action()?;
        let body = serde_json::to_vec(&action).map_err(|error| Failure::new(INPUT, error))?;
        let answer = api.post(&format!("/api/v1/incidents/{}/actions", on.incident), "application/json", body)?;
        if on.json {
            return print(&format!("{answer}\n"));
        }
        print(&text(&api::read(api.server(), answer)?, Look::of_stdout()))
    }

    fn action(self) -> Result<(On, Action), Failure> {
        Ok(match self {
            Self::Ack { on } => (on, Action::Acknowledge {}),
            Self::Note { on, text, update } => (on, Action::Note { text: read(text)?, update }),
            Self::Override { on, severity, incident_type, reason } => {
                (on, Action::Override { incident_type, reason, severity })
            }
            Self::Phase { on, phase, reason } => (on, Action::Phase { phase, reason }),
            Self::Step { on, step, outcome, note } => {
                let outcome = match outcome {
                    Outcome::Done => StepOutcome::Done,
                    Outcome::Open => StepOutcome::Open,
                    Outcome::Waived => StepOutcome::Waived,
                };
                (on, Action::Step { note, outcome, step })
            }
            Self::Assign { on, role, person } => (on, Action::Assign { person, role }),
            Self::Close { on, disposition, reason } => (on, Action::Close { disposition, reason }),
            Self::Reopen { on, reason } => (on, Action::Reopen { reason }),
            Self::Merge { on, other, reason } => (on, Action::Merge { other, reason }),
            Self::Split { on, alerts, reason } => (on, Action::Split { alerts, reason }),
            Self::Move { on, alerts, to, reason } => (on, Action::Move { alerts, reason, to }),
            Self::Undo { on, edit, reason } => (on, Action::Undo { edit, reason }),
            Self::Anchor { on, anchor, at, reason } => (on, Action::Anchor { anchor, at, reason }),
            Self::Clock(Clock::Decide { on, clock, applies, reason }) => {
                (on, Action::Decide { applies: matches!(applies, YesNo::Yes), clock, reason })
            }
            Self::Clock(Clock::Submit { on, clock, stage, receipt, at }) => {
                (on, Action::Submit { at, receipt, regime: clock, stage })
            }
        })
    }
}

/// One line, and each warning.
fn text(reply: &ActionReply, look: Look) -> String {
    let mut out = format!("{}  {}", reply.incident, look.severity(reply.severity));
    if let Some(created) = &reply.created {
        let _ = write!(out, "  created {created}");
    }
    if let Some(edit) = reply.edit {
        let _ = write!(out, "\nto take it back: holdfast incident undo {} {edit} --reason WHY", reply.incident);
    }
    out.push('\n');
    for warning in &reply.warnings {
        remark(&format!("warning: {}", shown(warning)));
    }
    out
}

/// The text, or what standard input holds.
fn read(text: String) -> Result<String, Failure> {
    if text != "-" {
        return Ok(text);
    }
    let mut text = String::new();
    let limit = TEXT_BYTES_MAX as u64 + 1;
    let read = std::io::stdin().lock().take(limit).read_to_string(&mut text);
    read.map_err(|error| Failure::new(IO, anyhow::Error::new(error).context("standard input cannot be read")))?;
    if text.len() > TEXT_BYTES_MAX {
        return Err(Failure::new(
            USAGE,
            anyhow!("the note is longer than the {TEXT_BYTES_MAX} bytes that the server takes"),
        )
        .hint("write several, or add a file as evidence"));
    }
    Ok(text)
}

/// A time as RFC 3339 has it.
pub fn instant(text: &str) -> Result<Instant, String> {
    serde_json::from_value(text.into()).map_err(|_| "write a time as 2026-11-21T17:41:00Z".to_owned())
}

fn disposition(text: &str) -> Result<Disposition, String> {
    Disposition::ALL.into_iter().find(|one| one.name() == text).ok_or_else(|| {
        let names = Disposition::ALL.map(Disposition::name);
        wire::suggest::nearest(text, names)
            .map_or_else(|| format!("one of {}", names.join(", ")), |near| format!("did you mean {near}?"))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::fake::{Answer, Fake};

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        act: Act,
    }

    fn sent(words: &[&str]) -> Value {
        let line = Line::try_parse_from(std::iter::once(&"incident").chain(words)).unwrap();
        serde_json::to_value(line.act.action().unwrap().1).unwrap()
    }

    #[test]
    fn each_command_is_one_action() {
        let (one, other) = ("INC-2026-0007", "INC-2026-0009");
        let alert = "01934f2e-0000-7abc-8def-0000000000aa";
        for (words, wanted) in [
            (vec!["ack", one], json!({"do": "acknowledge"})),
            (vec!["note", one, "x", "--update"], json!({"do": "note", "text": "x", "update": true})),
            (
                vec!["override", one, "--severity", "sev3", "--reason", "x"],
                json!({"do": "override", "severity": "SEV3", "incident_type": null, "reason": "x"}),
            ),
            (vec!["phase", one, "recovery"], json!({"do": "phase", "phase": "recovery", "reason": ""})),
            (
                vec!["step", one, "a.b", "--is", "waived", "--note", "x"],
                json!({"do": "step", "step": "a.b", "outcome": "waived", "note": "x"}),
            ),
            (vec!["assign", one, "lead"], json!({"do": "assign", "role": "lead", "person": ""})),
            (
                vec!["close", one, "benign", "--reason", "x"],
                json!({"do": "close", "disposition": "benign", "reason": "x"}),
            ),
            (vec!["reopen", one, "--reason", "x"], json!({"do": "reopen", "reason": "x"})),
            (vec!["merge", one, other, "--reason", "x"], json!({"do": "merge", "other": other, "reason": "x"})),
            (vec!["split", one, alert, "--reason", "x"], json!({"do": "split", "alerts": [alert], "reason": "x"})),
            (
                vec!["move", one, alert, "--to", other, "--reason", "x"],
                json!({"do": "move", "alerts": [alert], "to": other, "reason": "x"}),
            ),
            (vec!["undo", one, alert, "--reason", "x"], json!({"do": "undo", "edit": alert, "reason": "x"})),
            (
                vec!["anchor", one, "aware_at", "--at", "2026-11-21T17:41:00Z", "--reason", "x"],
                json!({"do": "anchor", "anchor": "aware_at", "at": "2026-11-21T17:41:00.000000000Z", "reason": "x"}),
            ),
            (
                vec!["clock", "decide", one, "gdpr_art_33", "no", "--reason", "x"],
                json!({"do": "decide", "clock": "gdpr_art_33", "applies": false, "reason": "x"}),
            ),
            (
                vec!["clock", "submit", one, "gdpr_art_33", "notification", "--receipt", "r"],
                json!({"do": "submit", "at": null, "regime": "gdpr_art_33", "stage": "notification", "receipt": "r"}),
            ),
        ] {
            assert_eq!(sent(&words), wanted);
        }
        for bad in [
            vec!["close", one, "benign"],
            vec!["split", one, "--reason", "x"],
            vec!["phase", one, "cleanup"],
            vec!["close", one, "false_positiv", "--reason", "x"],
            vec!["anchor", one, "aware_at", "--at", "noon", "--reason", "x"],
        ] {
            assert!(Line::try_parse_from(std::iter::once("incident").chain(bad)).is_err());
        }
    }

    #[test]
    fn an_action_is_posted_and_answered() {
        let fake = Fake::serve(|request| {
            assert_eq!(
                (request.method.as_str(), request.path.as_str()),
                ("POST", "/api/v1/incidents/INC-2026-0007/actions")
            );
            Answer::json(
                r#"{"created":"INC-2026-0010","edit":"01934f2e-0000-7abc-8def-0000000000aa","incident":"INC-2026-0007",
                    "severity":"SEV2","warnings":["\u001b[2J"]}"#,
            )
        });
        let line = Line::try_parse_from(["incident", "ack", "INC-2026-0007"]).unwrap();
        line.act.run(&Api::of_test(&fake.url)).unwrap();
        assert_eq!(fake.requests()[0].body, br#"{"do":"acknowledge"}"#);
    }
}
