//! The commands that people type, one file each: the list, what their arguments have in common, and how they fail.

mod alert;
mod completions;
mod contain;
mod custody;
mod dispatch;
mod escalation;
mod evidence;
mod findings;
mod follow;
mod host;
mod hunt;
mod incident;
mod keys;
mod login;
mod report;
mod ticket;
mod triage;
mod verify;

use clap::{Parser, Subcommand};
use wire::api::Page;
use wire::order::VALID_SECS_MAX;
use wire::profile::Sensitive;

use crate::show::remark;

/// Collect evidence, look after incidents, verify bundles.
#[derive(Parser)]
#[command(name = "holdfast", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 64 usage, 65 input, 69 the server is not available, 74 I/O, 77 refused; verify, follow and \
    triage have more.\nThe configuration lies in $HOLDFAST_CONFIG_DIR, else in ~/.config/holdfast."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Log in to a server, which is known by its CA's digest
    Login(login::Login),
    /// Make, choose or show the key that signs your orders
    Keys(keys::Keys),
    /// Say what an alert is, how bad, and what to do about it; replay alerts under changed rules; needs no server
    Triage(triage::Triage),
    /// Send alerts, or look at one
    Alert(alert::Alert),
    /// Report what you saw: it becomes an alert like any other
    Report(report::Report),
    /// Look at incidents, and work on them
    Incident(incident::Incident),
    /// Look at hosts with an agent, or let one in
    Host(host::Host),
    /// Collect by one profile on many hosts, or see how that goes
    Hunt(hunt::Hunt),
    /// See who can be told of incidents, or try a contact out
    Escalation(escalation::Escalation),
    /// Tell a host to collect evidence, by an order that you sign
    Dispatch(dispatch::Dispatch),
    /// Change a host so that an intruder gets no further, or rehearse it, by an order that you sign
    Contain(contain::Contain),
    /// Approve a containment order that somebody else signed
    Approve(contain::approve::Approve),
    /// Take an order back before an agent has it
    Cancel(contain::cancel::Cancel),
    /// Take back what a containment order did
    Release(contain::hold::Release),
    /// Have what a containment order did hold for longer
    Renew(contain::hold::Renew),
    /// Watch an incident, or one order until it ended
    Follow(follow::Follow),
    /// Print a ticket with which a host that has no agent uploads one bundle
    Ticket(ticket::Ticket),
    /// Plan a collection, list bundles, take one home and verify it, or bring one
    Evidence(evidence::Evidence),
    /// Look at the custody log, or prove that nobody rewrote it
    Custody(custody::Custody),
    /// Check that nobody changed an evidence bundle, and who sealed it
    Verify(verify::Verify),
    /// Say what the rules make of an evidence bundle: findings, each with its technique and its rows
    Findings(findings::Findings),
    /// Print the completions for a shell
    Completions(completions::Completions),
}

impl Cli {
    /// Runs the command. Returns the exit code.
    pub fn run(self) -> Result<u8, Failure> {
        match self.command {
            Command::Login(login) => login.run(),
            Command::Keys(keys) => keys.run(),
            Command::Triage(triage) => triage.run(),
            Command::Alert(alert) => alert.run(),
            Command::Report(report) => report.run(),
            Command::Incident(incident) => incident.run(),
            Command::Host(host) => host.run(),
            Command::Hunt(hunt) => hunt.run(),
            Command::Escalation(escalation) => escalation.run(),
            Command::Dispatch(dispatch) => dispatch.run(),
            Command::Contain(contain) => contain.run(),
            Command::Approve(approve) => approve.run(),
            Command::Cancel(cancel) => cancel.run(),
            Command::Release(release) => release.run(),
            Command::Renew(renew) => renew.run(),
            Command::Follow(follow) => follow.run(),
            Command::Ticket(ticket) => ticket.run(),
            Command::Evidence(evidence) => evidence.run(),
            Command::Custody(custody) => custody.run(),
            Command::Verify(verify) => verify.run(),
            Command::Findings(findings) => findings.run(),
            Command::Completions(completions) => completions.run(),
        }
    }
}

/// The command line cannot be understood (sysexits.h, EX_USAGE).
pub const USAGE: u8 = 64;
/// The input is not what it should be (EX_DATAERR).
pub const INPUT: u8 = 65;
/// The server or the ssh-agent cannot be asked (EX_UNAVAILABLE).
pub const UNAVAILABLE: u8 = 69;
/// Reading or writing failed (EX_IOERR).
pub const IO: u8 = 74;
/// Somebody who may do so said no (EX_NOPERM).
pub const REFUSED: u8 = 77;

/// Why a command could not do its work.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What failed, with its causes. May hold text from a bundle or from the network.
    pub error: anyhow::Error,
    /// What to do next.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self { code, error: error.into(), hint: None }
    }

    /// The same, with the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Says so, when a list holds more than is shown.
fn more<T>(page: &Page<T>) {
    if page.next.is_some() {
        remark(&format!("the first {} are shown; there are more", page.items.len()));
    }
}

/// A time as an argument: `90s`, `30m`, `1h`, `2d`; at most seven days. In seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let wanted = "write a number with s, m, h or d, as in 30m; at most 7d";
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(wanted)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wanted.to_owned()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    seconds.filter(|seconds| (1..=VALID_SECS_MAX).contains(seconds)).ok_or_else(|| wanted.to_owned())
}

/// A class of sensitive content as an argument.
fn sensitive(text: &str) -> Result<Sensitive, String> {
    use Sensitive::{Credentials, PasswordHashes, Personal, PrivateKeys};
    let all = [PrivateKeys, PasswordHashes, Credentials, Personal];
    all.into_iter().find(|class| class.name() == text).ok_or_else(|| {
        let hint = wire::profile::did_you_mean(text, all.iter().map(|class| class.name()));
        format!("there is no such class; {hint}")
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_have_units_and_a_bound() {
        assert_eq!((seconds("90s"), seconds("1h"), seconds("7d")), (Ok(90), Ok(3_600), Ok(604_800)));
        for bad in ["", "h", "1", "0s", "8d", "-1h", "1w", "ü", "99999999999999999999h"] {
            assert!(seconds(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn classes_have_names() {
        assert_eq!(sensitive("private_keys"), Ok(Sensitive::PrivateKeys));
        assert_eq!(sensitive("private_key").unwrap_err(), "there is no such class; did you mean `private_keys`?");
    }
}
