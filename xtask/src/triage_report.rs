//! What the shipped rules make of labelled alerts: a table, the totals, and every disagreement with its explanation.
//!
//! The folder holds `labels.csv` and the files that it names. All alerts of a file are one incident. The labels are
//! people's judgement, so a disagreement is read, not silenced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use triage::{Alert, Context, assess, normalise};
use wire::Instant;
use wire::assessment::{Assessment, HostRole, Severity};

pub(super) const SUMMARY: &str = "triage the labelled alerts of a folder, and show every disagreement";

/// See the module.
pub(super) fn run(options: &[String]) -> anyhow::Result<()> {
    let [folder] = options else { anyhow::bail!("one folder is wanted, which holds labels.csv") };
    let folder = Path::new(folder);
    let labels = folder.join("labels.csv");
    let labels = fs::read_to_string(&labels).with_context(|| labels.display().to_string())?;
    let rows = rows(&labels).map(|label| Row::read(folder, label)).collect::<anyhow::Result<Vec<_>>>()?;
    anyhow::ensure!(!rows.is_empty(), "labels.csv has no rows");
    println!("{:<46} {:<48} {:<10} {:<26} host", "file", "type (expected/got)", "severity", "verdict (expected/got)");
    rows.iter().for_each(Row::print);
    let missed = print_totals(&rows);
    rows.iter().for_each(Row::print_disagreement);
    anyhow::ensure!(missed == 0, "{missed} of the aims are missed");
    Ok(())
}

/// One row of labels.csv, and what triage says.
struct Row {
    label: BTreeMap<String, String>,
    assessment: Assessment,
}

impl Row {
    fn read(folder: &Path, label: BTreeMap<String, String>) -> anyhow::Result<Self> {
        let file = label.get("file").context("labels.csv has no column `file`")?;
        let raw = fs::read(folder.join(file)).with_context(|| file.clone())?;
        let context = Context::shipped().map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
        let taken = normalise(&raw, now()?, context.rules).with_context(|| file.clone())?;
        let alerts: Vec<&Alert> = taken.iter().map(|parsed| &parsed.alert).collect();
        Ok(Self { assessment: assess(&alerts, &context), label })
    }

    fn is(&self, column: &str) -> &str {
        self.label.get(column).map_or("", |value| value.trim())
    }

    fn is_type_right(&self) -> bool {
        self.is("incident_type") == self.assessment.incident_type
    }

    fn is_sev1(&self) -> bool {
        self.is("severity") == Severity::Sev1.name()
    }

    fn severity_apart(&self) -> u8 {
        let rank = |severity: Severity| severity as u8;
        self.is("severity").parse().map_or(u8::MAX, |wanted| rank(wanted).abs_diff(rank(self.assessment.severity)))
    }

    fn is_closed_wrongly(&self) -> bool {
        self.assessment.auto_close && self.is("auto_suppress_ok") != "yes"
    }

    fn is_test(&self) -> bool {
        self.is("false_positive_or_test") == "test"
    }

    fn is_test_found(&self) -> bool {
        self.assessment.disposition == "test"
    }

    /// The hosts and accounts that the label names; a kind alone (`user`, `cluster`) is no name.
    fn named(&self) -> Vec<&str> {
        const KINDS: &[&str] = &["user", "mailbox", "cluster", "s3", "cloudsql"];
        let names = self.is("hosts_or_entities").split(';').map(str::trim);
        names.filter(|name| !name.is_empty() && !KINDS.contains(name)).collect()
    }

    /// Each of the named is there, and one of them as more than what reported or passed it on.
    fn is_host_right(&self) -> bool {
        let hosts = &self.assessment.hosts;
        let accounts = &self.assessment.accounts;
        let is_there = |name: &&str| {
            hosts.iter().any(|host| is_same(name, &host.name)) || accounts.iter().any(|one| is_same(name, one))
        };
        let is_concerned = |name: &str| {
            let part = |role| matches!(role, HostRole::Victim | HostRole::Source);
            hosts.iter().any(|host| part(host.role) && is_same(name, &host.name))
                || accounts.iter().any(|one| is_same(name, one))
        };
        let named = self.named();
        named.iter().all(is_there) && named.iter().any(|name| is_concerned(name))
    }

    fn agrees(&self) -> bool {
        self.is_type_right()
            && self.severity_apart() == 0
            && !self.is_closed_wrongly()
            && (!self.is_test() || self.is_test_found())
            && (self.named().is_empty() || self.is_host_right())
    }

    fn print(&self) {
        let both = |expected: &str, got: &str| {
            if expected == got { expected.to_owned() } else { format!("{expected}/{got}") }
        };
        let it = &self.assessment;
        let closes = if it.auto_close { "closed" } else { "open" };
        let may_close = if self.is("auto_suppress_ok") == "yes" { "may close" } else { "open" };
        println!(
            "{:<46} {:<48} {:<10} {:<26} {}",
            self.is("file"),
            both(self.is("incident_type"), &it.incident_type),
            both(self.is("severity"), it.severity.name()),
            format!("{} {may_close}/{} {closes}", self.is("false_positive_or_test"), it.disposition),
            if self.named().is_empty() {
                "-"
            } else if self.is_host_right() {
                "right"
            } else {
                "WRONG"
            },
        );
    }

    fn print_disagreement(&self) {
        if self.agrees() {
            return;
        }
        let it = &self.assessment;
        println!("\n{}", self.is("file"));
        println!(
            "  expected {} {} {} ({}): {}",
            self.is("incident_type"),
            self.is("severity"),
            self.is("hosts_or_entities"),
            self.is("false_positive_or_test"),
            self.is("rationale")
        );
        let hosts: Vec<String> = it.hosts.iter().map(|host| format!("{} ({:?})", host.name, host.role)).collect();
        println!(
            "  got      {} {} {} [{}] ({}{})",
            it.incident_type,
            it.severity,
            hosts.join(", "),
            it.accounts.join(", "),
            it.disposition,
            if it.auto_close { ", closed" } else { "" }
        );
        for effect in &it.severity_explanation {
            println!("    {:<28} {} => {}", effect.rule, effect.input, effect.effect);
        }
    }
}

/// Prints how many of each aim were met, and counts the aims that were missed.
fn print_totals(rows: &[Row]) -> usize {
    let of = |wanted: &dyn Fn(&Row) -> bool, met: &dyn Fn(&Row) -> bool| {
        let all: Vec<&Row> = rows.iter().filter(|row| wanted(row)).collect();
        (all.iter().filter(|row| met(row)).count(), all.len())
    };
    let totals = [
        ("type right", 90, of(&|_| true, &Row::is_type_right)),
        ("severity exact", 85, of(&|_| true, &|row| row.severity_apart() == 0)),
        ("severity within one", 100, of(&|_| true, &|row| row.severity_apart() <= 1)),
        ("SEV1 found", 100, of(&Row::is_sev1, &|row| row.assessment.severity == Severity::Sev1)),
        ("kept open", 100, of(&|row| row.is("auto_suppress_ok") != "yes", &|row| !row.is_closed_wrongly())),
        ("tests recognised", 100, of(&Row::is_test, &Row::is_test_found)),
        ("host right", 95, of(&|row| !row.named().is_empty(), &Row::is_host_right)),
    ];
    println!();
    let mut missed = 0;
    for (what, aim, (met, all)) in totals {
        let is_missed = met * 100 < aim * all;
        missed += usize::from(is_missed);
        let tenths = met * 1000 / all.max(1);
        let mark = if is_missed { "  MISSED" } else { "" };
        println!("{what:<20} {:>3}.{} %  {met}/{all}, at least {aim} %{mark}", tenths / 10, tenths % 10);
    }
    missed
}

/// The same name, whatever stands before it: `gce:vm-1` and `vm-1`, `pod:shop/web` and `web`.
fn is_same(expected: &str, got: &str) -> bool {
    let forms = |name: &str| {
        let name = name.to_lowercase();
        let bare = name.split_once(':').map(|(_, bare)| bare.to_owned());
        let last = bare.as_deref().and_then(|bare| bare.rsplit_once('/')).map(|(_, last)| last.to_owned());
        // What follows in `localhost:8081` is a port.
        let others = [bare, last].into_iter().flatten().filter(|_| !name.starts_with("localhost:"));
        std::iter::once(name.clone()).chain(others).collect::<BTreeSet<String>>()
    };
    !forms(expected).is_disjoint(&forms(got))
}

fn now() -> anyhow::Result<Instant> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(Instant(i128::try_from(since.as_nanos())?))
}

/// The rows of a CSV file (RFC 4180) by its first line's names; a line that is short has empty values.
fn rows(csv: &str) -> impl Iterator<Item = BTreeMap<String, String>> {
    let mut lines = lines(csv).into_iter();
    let names = lines.next().unwrap_or_default();
    lines.filter(|values| values.len() > 1).map(move |values| names.iter().cloned().zip(values).collect())
}

fn lines(csv: &str) -> Vec<Vec<String>> {
    let (mut lines, mut is_quoted) = (vec![vec![String::new()]], false);
    let mut characters = csv.chars().peekable();
    while let Some(character) = characters.next() {
        let Some(line) = lines.last_mut() else { break };
        let value = line.len() - 1;
        match character {
            '"' if is_quoted && characters.next_if_eq(&'"').is_some() => line[value].push('"'),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => line.push(String::new()),
            '\r' if !is_quoted => {}
            '\n' if !is_quoted => lines.push(vec![String::new()]),
            other => line[value].push(other),
        }
    }
    lines
}
